// Package issuer is a small authorization server for demonstrations, tests and
// local trials. It is a test tool and nothing else: whoever reaches it may log in
// under any name and without a password, and everything that it knows lives in
// memory.
//
// What it speaks is real, so that the other side of it can be tested:
//
//   - metadata (RFC 8414, and OpenID Connect Discovery's location of it)
//   - signed access tokens (RFC 9068) and a key set with rotation: [Issuer.MintJWT],
//     [Issuer.Rotate], [Issuer.Retire], [Issuer.Sign]
//   - authorization code with PKCE, exact redirects and iss (OAuth 2.1, RFC 7636, RFC
//     8707, RFC 9207), refresh tokens that are good once
//   - clients by [Issuer.AddClient], dynamic registration (RFC 7591), or a document at
//     their id (draft-ietf-oauth-client-id-metadata-document)
//   - logins with an ID token (OpenID Connect Core, scope openid)
//   - client credentials (RFC 6749 section 4.4), token exchange (RFC 8693)
//   - introspection (RFC 7662) and revocation (RFC 7009)
//
// [Issuer.Break] makes it fail in the ways in which such servers fail.
//
// Introspection is lax on purpose: a token that has expired, or that was meant for
// another service, is still answered with "active": true together with its exp
// and aud. What the demonstration shows is then the checking of the resource
// server, which must not rely on a careful issuer.
package issuer

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Paths of the endpoints, below the path of Config.URL.
const (
	authorizePath  = "/authorize"
	registerPath   = "/register"
	introspectPath = "/introspect"
	tokenPath      = "/token"
	revokePath     = "/revoke"
	keysPath       = "/jwks"
)

// Bounds of what clients send and of how long things live.
const (
	maxForm         = 64 << 10
	defaultLifetime = 5 * time.Minute
)

// Claims is what a token stands for.
type Claims struct {
	Subject  string         // sub: the user's name
	ClientID string         // client_id: the program that acts for the user
	Audience string         // aud: the service that the token is meant for
	Expiry   time.Time      // exp: may lie in the past
	Scopes   []string       // scope
	Actor    string         // act: who uses the token in the subject's place; empty: nobody
	Extra    map[string]any // further claims of a JWT
}

// Config holds what New needs.
type Config struct {
	URL          string // issuer identifier and base address, without a trailing slash
	ClientID     string // the resource server that may introspect
	ClientSecret string // its secret
	// Users may log in, and grant the scopes that stand with them. Nil lets anybody
	// grant anything.
	Users map[string][]string
	// Documents fetches the documents of clients whose id is a URL. Nil means that
	// there are no such clients: whoever reaches the issuer could make it fetch
	// anything.
	Documents *http.Client
	// Lifetime is how long tokens live that are asked for over HTTP. Zero means
	// five minutes.
	Lifetime time.Duration
	// Now is the time. Nil means the system's.
	Now func() time.Time
}

// Counters says what was asked so far.
type Counters struct {
	Unauthorized int // introspection requests refused for wrong client credentials
	Active       int // introspection answers with "active": true
	Inactive     int // introspection answers with "active": false
	Keys         int // requests for the key set, failed ones included
	Metadata     int // requests for the metadata, failed ones included
	Granted      int // tokens that the token endpoint has handed out
}

// Issuer mints tokens and answers questions about them. It is safe for concurrent
// use.
type Issuer struct {
	config Config
	path   string // of Config.URL

	mu         sync.Mutex
	keys       []signingKey // the last one signs
	tokens     map[string]Claims
	clients    map[string]Client
	codes      map[string]*pendingCode
	refreshes  map[string]string    // refresh token → the access token that came with it
	assertions map[string]time.Time // jti of assertions that were used → their expiry
	faults     map[Endpoint]*fault
	counters   Counters
}

// New returns an issuer with one ES256 key, without tokens and clients.
func New(c Config) *Issuer {
	if c.Lifetime == 0 {
		c.Lifetime = defaultLifetime
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	i := &Issuer{config: c, tokens: map[string]Claims{}, clients: map[string]Client{}, codes: map[string]*pendingCode{},
		refreshes: map[string]string{}, assertions: map[string]time.Time{}, faults: map[Endpoint]*fault{}}
	if u, err := url.Parse(c.URL); err == nil {
		i.path = strings.TrimSuffix(u.Path, "/")
	}
	i.Rotate(ES256)
	return i
}

// Mint returns a new opaque token for c, different in every run.
func (i *Issuer) Mint(c Claims) string {
	token := rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens[token] = c
	return token
}

// Revoke makes the issuer forget token, which introspection calls inactive from
// then on. Whoever checks a JWT by its signature alone does not notice.
func (i *Issuer) Revoke(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.endToken(token)
}

// Counters returns what was asked so far.
func (i *Issuer) Counters() Counters {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counters
}

// Handler serves every endpoint, and a note at / that says what this server is.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, method := range []string{"GET ", "POST "} {
		mux.Handle(method+i.path+authorizePath, i.breakable(EndpointAuthorize, i.authorize))
	}
	mux.Handle("POST "+i.path+registerPath, i.breakable(EndpointRegister, i.register))
	mux.Handle("POST "+i.path+introspectPath, i.breakable(EndpointIntrospect, i.introspect))
	mux.Handle("POST "+i.path+tokenPath, i.breakable(EndpointToken, i.token))
	mux.Handle("POST "+i.path+revokePath, i.breakable(EndpointRevoke, i.revoke))
	mux.Handle("GET "+i.path+keysPath, i.breakable(EndpointKeys, i.serveKeys))
	for _, path := range i.metadataPaths() {
		mux.Handle("GET "+path, i.breakable(EndpointMetadata, i.metadata))
	}
	mux.HandleFunc("GET "+i.path+"/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("demo issuer of mcp-sidecar: a test tool, lax on purpose, not for production\n"))
	})
	return mux
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
