// Package issuer is a small authorization server for demonstrations and tests.
// It is a test tool and nothing else: tokens are minted by a Go call, live in
// memory, and are never handed out over HTTP.
//
// It answers token introspection (RFC 7662) and publishes its metadata (RFC
// 8414). It is lax on purpose: a token that has expired, or that was meant for
// another service, is still answered with "active": true together with its exp
// and aud. What the demonstration shows is then the checking of the resource
// server, which must not rely on a careful issuer.
package issuer

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	introspectPath = "/introspect"
	metadataPath   = "/.well-known/oauth-authorization-server"

	// maxForm bounds an introspection request; a token has 26 characters.
	maxForm = 64 << 10
)

// Claims is what a token stands for.
type Claims struct {
	Subject  string    // sub: the user's name
	ClientID string    // client_id: the program that acts for the user
	Audience string    // aud: the service that the token is meant for
	Expiry   time.Time // exp: may lie in the past
	Scopes   []string  // scope
}

// Config holds what New needs.
type Config struct {
	URL          string // issuer identifier and base address, without a trailing slash
	ClientID     string // the resource server that may introspect
	ClientSecret string // its secret
}

// Counters says what was asked so far.
type Counters struct {
	Unauthorized int // introspection requests refused for wrong client credentials
	Active       int // answers with "active": true
	Inactive     int // answers with "active": false
}

// Issuer mints opaque tokens and answers questions about them. It is safe for
// concurrent use.
type Issuer struct {
	config Config

	mu       sync.Mutex
	tokens   map[string]Claims
	counters Counters
}

// New returns an issuer without tokens.
func New(c Config) *Issuer {
	return &Issuer{config: c, tokens: make(map[string]Claims)}
}

// Mint returns a new opaque token for c, different in every run.
func (i *Issuer) Mint(c Claims) string {
	token := rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens[token] = c
	return token
}

// Revoke makes the issuer forget token, which is inactive from then on.
func (i *Issuer) Revoke(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.tokens, token)
}

// Counters returns what was asked so far.
func (i *Issuer) Counters() Counters {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counters
}

// Handler serves POST /introspect, the metadata document, and a note at / that
// says what this server is.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+introspectPath, i.introspect)
	mux.HandleFunc("GET "+metadataPath, i.metadata)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("demo issuer of mcp-sidecar: a test tool, lax on purpose, not for production\n"))
	})
	return mux
}

// introspect answers one RFC 7662 request. Every answer to an authenticated
// client that names a token is 200: an unknown token is not an error (section
// 2.2).
func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	if !i.authenticated(r) {
		i.count(func(c *Counters) { c.Unauthorized++ })
		w.Header().Set("WWW-Authenticate", `Basic realm="introspection"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	// PostForm and not Form: a token in the query would end in access logs.
	if err := r.ParseForm(); err != nil || r.PostForm.Get("token") == "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	writeJSON(w, http.StatusOK, i.lookup(r.PostForm.Get("token")))
}

// authenticated checks the client's HTTP Basic credentials, whose halves are
// form-encoded (RFC 6749 section 2.3.1).
func (i *Issuer) authenticated(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return false
	}
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	if errID != nil || errSecret != nil {
		return false
	}
	sameID := subtle.ConstantTimeCompare([]byte(id), []byte(i.config.ClientID))
	sameSecret := subtle.ConstantTimeCompare([]byte(secret), []byte(i.config.ClientSecret))
	return sameID&sameSecret == 1
}

// introspection is the answer of RFC 7662 section 2.2. An inactive token has
// no other member, so that nothing is learned about it.
type introspection struct {
	Active    bool   `json:"active"`
	Issuer    string `json:"iss,omitempty"`
	Subject   string `json:"sub,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Expiry    int64  `json:"exp,omitempty"`
	Scope     string `json:"scope,omitempty"`
	TokenType string `json:"token_type,omitempty"`
}

// lookup leaves expiry and audience unjudged: that is the intended laxness.
func (i *Issuer) lookup(token string) introspection {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.tokens[token]
	if !ok {
		i.counters.Inactive++
		return introspection{}
	}
	i.counters.Active++
	return introspection{
		Active:    true,
		Issuer:    i.config.URL,
		Subject:   c.Subject,
		ClientID:  c.ClientID,
		Audience:  c.Audience,
		Expiry:    c.Expiry.Unix(),
		Scope:     strings.Join(c.Scopes, " "),
		TokenType: "Bearer",
	}
}

// metadata answers with the members of RFC 8414 that apply to a server that
// grants nothing over HTTP.
func (i *Issuer) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                   i.config.URL,
		"introspection_endpoint":   i.config.URL + introspectPath,
		"response_types_supported": []string{},
		"grant_types_supported":    []string{},
		"introspection_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	})
}

func (i *Issuer) count(f func(*Counters)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(&i.counters)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that went away is no failure of ours.
	_ = json.NewEncoder(w).Encode(v)
}
