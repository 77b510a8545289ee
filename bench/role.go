package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// roleCommand makes this program play one of its roles in a process of its own.
const roleCommand = "role"

// What the sidecar's configuration and the issuer agree on.
const (
	introspectionClient = "mcp-sidecar"
	subject             = "bench"
	audience            = "notes"
	scope               = "notes:read"
)

// playRole serves until standard input ends, so that no role outlives the
// program that started it, however that one ends.
func playRole(args []string, s streams) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening on loopback does not wait
	if err != nil {
		return err
	}
	server, err := roleServer(args, "http://"+l.Addr().String())
	if err != nil {
		return coded(exitUsage, err)
	}
	server.ReadHeaderTimeout = 10 * time.Second
	go func() {
		_, _ = io.Copy(io.Discard, s.in)
		_ = server.Close()
	}()
	fmt.Fprintf(s.out, "bench %s listening on http://%s\n", args[0], l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func roleServer(args []string, self string) (*http.Server, error) {
	if len(args) == 0 {
		return nil, errors.New("role: no role is named")
	}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	answer := fs.String("answer", answerSSE, "")
	tools := fs.Int("tools", 0, "")
	target := fs.String("upstream", "", "")
	secretFile := fs.String("secret-file", "", "")
	tokenFile := fs.String("token-file", "", "")
	if err := fs.Parse(args[1:]); err != nil {
		return nil, fmt.Errorf("role %s: %w", args[0], err)
	}
	switch args[0] {
	case "upstream":
		u := newUpstream(*answer, *tools)
		return &http.Server{Handler: u.handler(), ConnState: u.connected}, nil //nolint:gosec // the caller sets the time-out
	case "floor":
		return newFloor(*target)
	case "issuer":
		return newIssuer(self, *secretFile, *tokenFile)
	}
	return nil, fmt.Errorf("role %q: want upstream, floor or issuer", args[0])
}

// newFloor is the plain reverse proxy that everything is compared to. Its
// settings are those that make it cheap: connections are kept for all workers,
// and nothing is compressed. Flushing at once is what streams need.
func newFloor(target string) (*http.Server, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	return &http.Server{Handler: buffered(&httputil.ReverseProxy{ //nolint:gosec // the caller sets the time-out
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(u) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 4 * maxWorkers, DisableCompression: true},
	})}, nil
}

// buffered reads each body before next sees it. Without that a ReverseProxy on a
// busy machine aborts two calls in a thousand (golang/go#40747), and the
// connections that it opens anew would make the floor look dearer than it is.
func buffered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 || r.ContentLength > 4*maxSize {
			http.Error(w, "length required", http.StatusLengthRequired)
			return
		}
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			http.Error(w, "body cut short", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// newIssuer serves introspection and writes the one token of the run to
// tokenFile.
func newIssuer(self, secretFile, tokenFile string) (*http.Server, error) {
	secret, err := os.ReadFile(secretFile) //nolint:gosec // the program that starts this role names the file
	if err != nil {
		return nil, err
	}
	i := issuer.New(issuer.Config{URL: self, ClientID: introspectionClient, ClientSecret: strings.TrimSpace(string(secret))})
	token := i.Mint(issuer.Claims{
		Subject: subject, ClientID: "load", Audience: audience,
		Expiry: time.Now().Add(24 * time.Hour), Scopes: []string{scope},
	})
	return &http.Server{Handler: i.Handler()}, os.WriteFile(tokenFile, []byte(token), 0o600) //nolint:gosec // the caller sets the time-out
}
