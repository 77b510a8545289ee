package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Which URLs a configuration may name, and which of them are then asked.
func TestWhatIsFetched(t *testing.T) {
	dialer := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialed") }
	for _, row := range []struct {
		name    string
		opts    FetchOptions
		refused string // by NewFetcher
		ask     string
		denied  string // by Permits
	}{
		{name: "what is named", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://idp.example/keys"},
		{name: "another path", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://IDP.example:443/x?y=z"},
		{name: "the second", opts: FetchOptions{URLs: []string{"https://a.example", "https://b.example:8443"}}, ask: "https://b.example:8443/"},
		{name: "loopback", opts: FetchOptions{URLs: []string{"http://127.0.0.1:9/"}, AllowLoopbackHTTP: true}, ask: "http://127.0.0.1:9/keys"},
		{name: "IPv6 loopback", opts: FetchOptions{URLs: []string{"http://[::1]/"}, AllowLoopbackHTTP: true}, ask: "http://[::1]:80/"},
		{name: "localhost", opts: FetchOptions{URLs: []string{"http://localhost:9/"}, AllowLoopbackHTTP: true}, ask: "http://LOCALHOST:9/"},
		{name: "anywhere through a dialer", opts: FetchOptions{DialContext: dialer}, ask: "https://anybody.example/"},

		{name: "another host", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://evil.example/keys", denied: "does not name the host"},
		{name: "a host below", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://x.idp.example/keys", denied: "does not name the host"},
		{name: "a host behind", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://idp.example.evil.example/", denied: "does not name the host"},
		{name: "another port", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://idp.example:8443/keys", denied: "does not name the host"},
		{name: "downgrade", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "http://idp.example:443/keys", denied: "not https"},
		{name: "downgrade on loopback", opts: FetchOptions{URLs: []string{"https://127.0.0.1:9"}, AllowLoopbackHTTP: true}, ask: "http://127.0.0.1:9", denied: "does not name the host"},
		{name: "a user", opts: FetchOptions{URLs: []string{"https://idp.example/keys"}}, ask: "https://a:b@idp.example/keys", denied: "or a user"},
		{name: "another host although there is a dialer", opts: FetchOptions{URLs: []string{"https://idp.example"}, DialContext: dialer}, ask: "https://evil.example/", denied: "does not name the host"},
		{name: "plain HTTP through a dialer", opts: FetchOptions{DialContext: dialer, AllowLoopbackHTTP: true}, ask: "http://127.0.0.1/", denied: "not https"},
		{name: "a file", opts: FetchOptions{DialContext: dialer}, ask: "file:///etc/passwd", denied: "names no host"},

		{name: "nothing", refused: "neither URLs nor a dialer"},
		{name: "plain HTTP", opts: FetchOptions{URLs: []string{"http://idp.example"}, AllowLoopbackHTTP: true}, refused: "not https"},
		{name: "plain HTTP on loopback without the flag", opts: FetchOptions{URLs: []string{"http://127.0.0.1"}}, refused: "not https"},
		{name: "a name that only looks like this machine", opts: FetchOptions{URLs: []string{"http://localhost.evil.example"}, AllowLoopbackHTTP: true}, refused: "not https"},
		{name: "an address that only looks like this machine", opts: FetchOptions{URLs: []string{"http://127.0.0.1.evil.example"}, AllowLoopbackHTTP: true}, refused: "not https"},
		{name: "a private network", opts: FetchOptions{URLs: []string{"http://10.0.0.1"}, AllowLoopbackHTTP: true}, refused: "not https"},
		{name: "one bad of two", opts: FetchOptions{URLs: []string{"https://idp.example", "ftp://idp.example"}}, refused: "not https"},
		{name: "no host", opts: FetchOptions{URLs: []string{"https:///keys"}}, refused: "names no host"},
		{name: "a password", opts: FetchOptions{URLs: []string{"https://a:canary@idp.example"}}, refused: "or a user"},
		{name: "no URL", opts: FetchOptions{URLs: []string{"https://canary\x7f"}}, refused: "not a URL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := NewFetcher(row.opts)
			if !fails(err, row.refused) {
				t.Fatalf("NewFetcher: %v, want %q", err, row.refused)
			}
			if err != nil {
				return
			}
			defer f.Close()
			u, err := url.Parse(row.ask)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Permits(u); !fails(err, row.denied) {
				t.Errorf("Permits: %v, want %q", err, row.denied)
			}
			if row.denied == "" {
				return
			}
			f.next = trap{t}
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, row.ask, strings.NewReader("token"))
			if _, err := f.Do(r); !fails(err, row.denied) {
				t.Errorf("Do: %v, want %q", err, row.denied)
			}
		})
	}
}

// fails says whether err holds want, or is nil when nothing is wanted; no error
// may repeat what stood in a URL.
func fails(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "canary")
}

// quiet keeps expected complaints of a server out of the test's output.
var quiet = log.New(io.Discard, "", 0)

type trap struct{ t *testing.T }

func (r trap) RoundTrip(*http.Request) (*http.Response, error) {
	r.t.Error("the request left")
	return nil, errors.New("trap")
}

// localFetcher may ask server.
func localFetcher(t *testing.T, server *httptest.Server) *Fetcher {
	t.Helper()
	o := FetchOptions{URLs: []string{server.URL}, AllowLoopbackHTTP: true}
	if server.Certificate() != nil {
		pool := x509.NewCertPool()
		pool.AddCert(server.Certificate())
		o.TLS = &tls.Config{RootCAs: pool}
	}
	f, err := NewFetcher(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// Faulty servers, over real connections.
func TestFaultyServers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	reply := func(status int, media, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{media}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, row := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"good", reply(200, "application/json", "{}"), ""},
		{"good with parameters", reply(200, "Application/JSON; charset=utf-8", "{}"), ""},
		{"largest", reply(200, "application/json", strings.Repeat(" ", maxFetched)), ""},
		{"too large", reply(200, "application/json", strings.Repeat(" ", maxFetched+1)), "too large"},
		{"other media type", reply(200, "text/html", "{}"), "text/html"},
		{"no media type", reply(200, "", "{}"), "200 with media type"},
		{"not found", reply(404, "application/json", "{}"), "404"},
		{"created", reply(201, "application/json", "{}"), "201"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "302"},
		{"redirect on the same host", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/there" {
				t.Error("a redirect was followed")
			}
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		}, "307"},
		{"many headers", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 64<<10)) }, "exceeded"},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{")
		}, "cut short"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"compressed although nobody asked", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("compression was asked for")
			}
			reply(200, "application/json", "{}")(w, r)
		}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := httptest.NewServer(row.handler)
			defer server.Close()
			server.Config.ErrorLog = quiet
			_, err := localFetcher(t, server).Get(t.Context(), server.URL+"/keys", "application/json")
			if !fails(err, row.want) || err != nil && strings.Contains(err.Error(), server.URL) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}

// A server that answers half, or nothing, holds a caller for five seconds.
func TestFetchEnds(t *testing.T) {
	for name, body := range map[string]io.Reader{"nothing": nil, "half": strings.NewReader("{")} {
		synctest.Test(t, func(t *testing.T) {
			f := fetcherOf(roundTrip(func(r *http.Request) (*http.Response, error) {
				if body == nil {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
					Body: io.NopCloser(io.MultiReader(body, waiting{r.Context()}))}, nil
			}))
			begun := time.Now()
			_, err := f.Get(t.Context(), "https://idp.example/", "application/json")
			if took := time.Since(begun); err == nil || took != 5*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// waiting is a body that ends with its request.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) { <-w.ctx.Done(); return 0, w.ctx.Err() }

// TLS is verified, and not older than 1.2.
func TestFetchTLS(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	server := httptest.NewTLSServer(ok)
	defer server.Close()
	server.Config.ErrorLog = quiet
	if _, err := localFetcher(t, server).Get(t.Context(), server.URL, "application/json"); err != nil {
		t.Errorf("a trusted authority: %v", err)
	}
	stranger, err := NewFetcher(FetchOptions{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Get(t.Context(), server.URL, "application/json"); !fails(err, "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}

	old := httptest.NewUnstartedServer(ok)
	old.Config.ErrorLog = quiet
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	if _, err := localFetcher(t, old).Get(t.Context(), old.URL, "application/json"); !fails(err, "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
}

// The environment does not decide who sees tokens, and a flood does not become
// one of connections.
func TestFetchTransport(t *testing.T) {
	f, err := NewFetcher(FetchOptions{URLs: []string{"https://idp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	transport := f.next.(*http.Transport)
	if transport.Proxy != nil || transport.MaxConnsPerHost != maxConns || f.Client().Timeout != fetchTimeout || f.Client().Jar != nil {
		t.Errorf("%+v", transport)
	}
}

// What is called localhost must be this machine.
func TestLocalhostIsLocal(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "93.184.215.14:80": false, "[fe80::1]:80": false, "x": false} {
		if err := onlyLoopback("tcp", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.1.2.3": true, "::1": true, "::ffff:127.0.0.1": true, "localhost": true, "LocalHost": true,
		"": false, "127.1": false, "localhost.": false, "0.0.0.0": false, "10.0.0.1": false, "::1%eth0": false, "localhost.example": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("isLoopback(%q) = %t", host, !want)
		}
	}
}

// Every connection goes through the dialer that was given.
func TestFetchDialer(t *testing.T) {
	refusal := errors.New("refused by the dialer")
	var dialed string
	f, err := NewFetcher(FetchOptions{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		dialed = network + " " + address
		return nil, refusal
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(t.Context(), "https://client.example/id.json", "application/json"); !errors.Is(err, refusal) || dialed != "tcp client.example:443" {
		t.Errorf("%v, dialed %q", err, dialed)
	}
}

// A library's client keeps the rules.
func TestFetchClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, maxFetched+1))
	}))
	defer server.Close()
	client := localFetcher(t, server).Client()
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a body of any size")
	}
	if _, err := client.Get("https://elsewhere.example"); !fails(err, "does not name the host") {
		t.Error(err)
	}
}
