package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	credentials "mcp-sidecar/scenarios/canary"
)

// recorder is a plain reverse proxy right in front of a document server. It
// keeps what arrives there, so that the demo can say what reached the server and
// whether somebody's credential was in it.
type recorder struct {
	url    string // where clients of the document server connect
	server *http.Server

	mu       sync.Mutex
	requests []recorded
}

// recorded is one request as the document server received it.
type recorded struct {
	header http.Header
	url    string
	body   []byte
}

// startRecorder keeps what arrives at l and hands it to next, which stands in front
// of the MCP endpoint target.
func startRecorder(l net.Listener, target *url.URL, next http.Handler) *recorder {
	r := &recorder{url: "http://" + l.Addr().String() + target.Path}
	r.server = serveHTTP(l, r.keep(next))
	return r
}

// forward is a plain reverse proxy to the server of target. As such proxies do, it
// passes every header on.
func forward(target *url.URL) *httputil.ReverseProxy {
	origin := &url.URL{Scheme: target.Scheme, Host: target.Host}
	return &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(origin) },
		FlushInterval: -1, // each event of a stream at once
		ErrorLog:      log.New(io.Discard, "", 0),
		// Neither the environment's proxy nor compression may change what is seen.
		Transport: &http.Transport{DisableCompression: true},
	}
}

// serveHTTP answers at l until the server is closed.
func serveHTTP(l net.Listener, h http.Handler) *http.Server {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }()
	return server
}

func (r *recorder) keep(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, "reading the request failed", http.StatusBadRequest)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		r.mu.Lock()
		r.requests = append(r.requests, recorded{header: req.Header.Clone(), url: req.URL.String(), body: body})
		r.mu.Unlock()
		next.ServeHTTP(w, req)
	})
}

// mark returns a position for since.
func (r *recorder) mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// since returns what arrived after mark.
func (r *recorder) since(mark int) []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[mark:len(r.requests):len(r.requests)]
}

func (r *recorder) close() { _ = r.server.Close() }

// calls reports whether the request calls the given tool.
func (r recorded) calls(tool string) bool {
	var m struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	return json.Unmarshal(r.body, &m) == nil && m.Method == "tools/call" && m.Params.Name == tool
}

// finds reports whether the line is the sidecar's record of a call of tool in which
// it found label.
func (r recorded) finds(tool, label string) bool {
	var record struct {
		Name     string   `json:"mcp_name"`
		Findings []string `json:"findings"`
	}
	return json.Unmarshal(r.body, &record) == nil && record.Name == tool && slices.Contains(record.Findings, label)
}

// holds reports whether any part of credential occurs anywhere in the request, as it
// is or encoded.
func (r recorded) holds(credential string) bool {
	var w credentials.Watch
	w.Add("credential", credential)
	return len(w.Search(r.text())) > 0
}

// bearer is the credential that the request shows, empty without one.
func (r recorded) bearer() string {
	return strings.TrimPrefix(r.header.Get("Authorization"), "Bearer ")
}

// carries reports whether the request has the header, in any spelling that a server
// could take for it.
func (r recorded) carries(header string) bool {
	for name := range r.header {
		if variable(name) == variable(header) {
			return true
		}
	}
	return false
}

// text is all of the request.
func (r recorded) text() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, r.url)
	for name, values := range r.header {
		fmt.Fprintln(&b, name, values)
	}
	b.Write(r.body)
	return b.Bytes()
}
