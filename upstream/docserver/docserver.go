// Package docserver is a document server that is vulnerable on purpose. It shows
// what an MCP server looks like whose author thought of features only, so that
// attacks against it, and what stops them, can be seen for real.
//
// It speaks streamable HTTP at /mcp in every revision the SDK knows: requests
// that carry MCP-Protocol-Version 2026-07-28 or later are served without a
// session, all others with one. It also speaks stdio to the one program that
// started it. Its six tools are create_document, read_document, update_document,
// delete_document, render_document and import_url.
//
// # Do not expose it
//
// Every weakness stands below a comment that starts with "INTENDED HOLE:"; list
// them with
//
//	grep -rn 'INTENDED HOLE:' upstream
//
// With [Shell], whoever may call render_document runs shell commands as the user
// who started the server. Only `~` and the working directory are confined: both
// are a scratch folder with a file canary.txt in it, and [New] refuses to build
// a server without one. The commands themselves are not confined. Keep the
// server on loopback or on an isolated network.
//
// # What is not a hole
//
// Three switches let a deployment put a second layer behind whatever guards the
// server: [Options.ServiceToken] admits one caller only, [Argv] counts without a
// shell, and [Options.Hosts] pins every outgoing connection to loopback.
//
//	srv, err := docserver.New(docserver.Options{Exec: docserver.Argv})
//	if err != nil { … }
//	defer srv.Close()
//	http.ListenAndServe("127.0.0.1:9001", srv.Handler())
package docserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// firstStateless is the first protocol revision without sessions. Revisions are
// dates, so later ones compare greater as strings.
const firstStateless = "2026-07-28"

// sessionIdle ends a session of an older revision whose client went away without
// saying so.
const sessionIdle = 30 * time.Minute

// Exec says how render_document starts wc.
type Exec string

// Ways to start wc. The zero value of [Options.Exec] means Shell.
const (
	Shell Exec = "shell" // vulnerable: a command line for sh, made of the caller's text
	Argv  Exec = "argv"  // safe: wc with one argument from a fixed list, no shell
)

// Options says what a server is built from.
type Options struct {
	// Store keeps the documents. Nil means a new [Memory].
	Store Store
	// ServiceToken is the bearer token that every request must carry, or that is
	// presented to ServeStdio. Empty means that anybody may call.
	ServiceToken string
	// Exec is Shell or Argv. Empty means Shell.
	Exec Exec
	// Scratch is HOME and working directory of the shell. It must be a folder of
	// its own that holds a file canary.txt. Required with Shell, unused with Argv.
	Scratch string
	// Hosts maps "host:port" to the loopback "address:port" that is dialed in its
	// place; what is not in it is not dialed. Nil means that everything is dialed
	// as it is. See [ParseHosts].
	Hosts map[string]string
	// RootCAs are trusted for https. Nil means the system's.
	RootCAs *x509.CertPool
	// EgressProxy is an HTTP proxy that every fetch goes through. Nil means none;
	// the environment's proxy settings are never used. With Hosts, a proxy on a
	// loopback address may be dialed without an entry.
	EgressProxy *url.URL
}

// Server is a document server. Build it with [New].
type Server struct {
	store   Store
	count   counter
	fetcher *http.Client
	token   string
	mcp     *mcp.Server
}

// New builds a server. It fails with [ErrScratch] when Shell has no safe scratch
// folder, and with another error when an option cannot be used.
func New(o Options) (*Server, error) {
	count, err := newCounter(o.Exec, o.Scratch)
	if err != nil {
		return nil, err
	}
	fetcher, err := newFetcher(o)
	if err != nil {
		return nil, err
	}
	s := &Server{store: o.Store, count: count, fetcher: fetcher, token: o.ServiceToken}
	if s.store == nil {
		s.store = NewMemory()
	}
	s.mcp = mcp.NewServer(
		&mcp.Implementation{Name: "docserver", Title: "Naive document server", Version: "1.0.0"},
		&mcp.ServerOptions{Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}}},
	)
	s.addTools()
	return s, nil
}

func newCounter(e Exec, scratch string) (counter, error) {
	switch e {
	case Argv:
		return countArgv, nil
	case Shell, "":
		dir, err := checkScratch(scratch)
		if err != nil {
			return nil, err
		}
		return shell{dir: dir}.count, nil
	default:
		return nil, fmt.Errorf("exec is %q, want %q or %q", e, Shell, Argv)
	}
}

// Handler serves MCP at /mcp and answers 404 elsewhere. With a service token,
// every request without it is answered 401, whatever its path.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/mcp", s.protocol())
	if s.token == "" {
		// INTENDED HOLE: nobody is asked who they are. No user is known to any
		// tool, so none of them can tell the owner of a document from a stranger.
		return mux
	}
	return requireToken(s.token, mux)
}

// protocol serves both eras at one URL. The SDK's handler is either stateless or
// stateful; only the stateless one speaks revisions without sessions.
func (s *Server) protocol() http.Handler {
	server := func(*http.Request) *mcp.Server { return s.mcp }
	stateless := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{
		Stateless:                    true,
		PropagateRequestCancellation: true,
	})
	stateful := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{SessionTimeout: sessionIdle})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= firstStateless {
			stateless.ServeHTTP(w, r)
			return
		}
		stateful.ServeHTTP(w, r)
	})
}

// ErrServiceToken says that whoever started the server did not show the token.
var ErrServiceToken = errors.New("a service token is required")

// ServeStdio serves whoever is at the other end of in and out until in ends or ctx
// does. There are no requests of their own to show a service token with: whoever
// starts the server presents it once.
func (s *Server) ServeStdio(ctx context.Context, presented string, in io.ReadCloser, out io.WriteCloser) error {
	// INTENDED HOLE: without a service token nobody is asked, as over HTTP.
	if s.token != "" && !equal(presented, s.token) {
		return ErrServiceToken
	}
	err := s.mcp.Run(ctx, &mcp.IOTransport{Reader: in, Writer: out})
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return nil
	}
	return err
}

// Close ends all sessions and open streams. Calls under way finish first.
func (s *Server) Close() {
	for session := range s.mcp.Sessions() {
		session.Close() // an error says only that the peer was gone already
	}
}

// equal takes the same time for every length and content.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// requireToken lets only the one caller pass that knows token.
func requireToken(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !equal(bearer(r.Header), token) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a service token is required", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearer returns the presented token, empty for none or for more than one
// Authorization header: two readers might pick different ones.
func bearer(h http.Header) string {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}
