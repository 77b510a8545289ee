// Package broker is an authorization server for upstreams that want the token of
// a third party. It lets a user give the sidecar, and never a client, a token of
// that third party, and gives the client a short token of its own instead.
//
// The third party knows one client: the sidecar. It asks the user once and may
// answer silently from then on, so a client of an attacker that got this far
// would be let through in the user's name (the confused deputy; MCP security best
// practices, "Confused Deputy Problem"). Hence the order, which [Broker.ServeHTTP]
// shows path by path:
//
//	/authorize       the client's request is checked, the user sent to log in
//	/login/callback  who the user is; only now is there somebody to ask
//	/consent         the user is asked about this very client, on a page of ours
//	/callback/NAME   the third party's answer to a state that only approval mints
//	/token           our own token for the code; the third party's stays here
//
// What one step hands to the next is kept here under a random value, used once,
// for ten minutes, and bound to the browser by a cookie of that step alone.
//
// A Broker is an [http.Handler] for [Broker.Paths]; [Broker.Verifier] accepts its
// tokens; [Broker.Token] gives the upstream side what the user has granted.
package broker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
)

// How long things live.
const (
	flowLife    = 10 * time.Minute // for each step that a user takes
	codeLife    = time.Minute      // RFC 6749 section 4.1.2 says at most ten
	spentLife   = 10 * time.Minute // how long a second use of a code is recognised
	tokenLife   = 5 * time.Minute
	idleLife    = 7 * 24 * time.Hour  // of a refresh token that is not used
	sessionLife = 30 * 24 * time.Hour // of what refresh tokens prolong
	consentLife = 90 * 24 * time.Hour
)

// Paths that do not depend on an upstream. Clients that know no metadata guess
// three of them (MCP 2025-03-26, "Fallbacks for Servers without Metadata
// Discovery").
const (
	authorizePath = "/authorize"
	loginPath     = "/login/callback"
	consentPath   = "/consent"
	callbackPath  = "/callback/" // and the upstream's name: an answer cannot pass for another provider's
	tokenPath     = "/token"
	registerPath  = "/register"
	keysPath      = "/jwks"
	metadataPath  = "/.well-known/oauth-authorization-server"
)

// Login is the OpenID provider where users say who they are.
type Login struct {
	Issuer            string
	ClientID          string
	ClientSecret      identity.Secret
	SubjectPrefix     string // stands before the subject, to tell users of several issuers apart
	AllowLoopbackHTTP bool
	Fetch             *identity.Fetcher // may ask the issuer's hosts
}

// Provider is a third party whose tokens an upstream wants.
type Provider struct {
	// Issuer is compared with iss of the provider's answers (RFC 9207), which
	// must be there then. Empty means that the provider sends none.
	Issuer       string
	AuthorizeURL string
	TokenURL     string
	ClientID     string
	ClientSecret identity.Secret // empty: a public client, with PKCE alone
	SecretInForm bool            // client_secret_post instead of client_secret_basic
	Resource     string          // RFC 8707; empty sends none
	Scopes       []string
	Fetch        *identity.Fetcher // may ask TokenURL
}

// Upstream is a guarded server whose credential is the user's token of Provider.
type Upstream struct {
	Resource string   // the URL of its endpoint, which clients name
	Scopes   []string // those that a client may ask for
	Provider Provider
}

// Options describe a Broker.
type Options struct {
	Issuer    string // the public URL, without a path
	Login     Login
	Upstreams map[string]Upstream // by name
	Clients   []Client            // registered by the operator
	// Documents fetches the metadata of clients whose id is a URL. It must dial
	// public addresses only. Nil knows no such clients.
	Documents *identity.Fetcher
	// Hosts are the only hosts of such ids. Empty means any.
	Hosts []string
	// Register lets anybody register a client (RFC 7591).
	Register bool
	Folder   string                  // for what is kept; made if missing
	Key      identity.Hidden[[]byte] // encrypts what is kept

	Record func(audit.Event) error // an error refuses what was to be recorded
	Log    *slog.Logger            // nil discards
	Now    func() time.Time        // nil: time.Now
}

// Broker is an authorization server. It is safe for concurrent use.
type Broker struct {
	opts      Options
	login     *login
	clients   *clients
	keys      *keys
	vault     *vault
	refreshes identity.Flights[tokens]
	healths   map[string]*identity.Health // of the third parties, by upstream
	shown     shown
	limits    limits
	// redeeming lets no two requests use up the same code or refresh token: the
	// second has to find what the first has made, to end it.
	redeeming sync.Mutex

	// What a step hands to the next. The kinds are apart, so that what was minted
	// for one step means nothing to another.
	logins   *shelf[flow]  // by the state that the login provider sends back
	consents *shelf[flow]  // by the handle of the page
	states   *shelf[flow]  // by the state that the third party sends back
	codes    *shelf[grant] // by authorization code
	spent    *shelf[session]
}

// Bounds of what is kept for a short while. The rates keep most of it empty.
const (
	maxFlows = 8192
	maxCodes = 2048
)

// New returns a broker and reads what an earlier one has kept in its folder.
func New(o Options) (*Broker, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	v, err := openVault(o.Folder, o.Key.Reveal(), o.Now)
	if err != nil {
		return nil, err
	}
	k, err := openKeys(v, o.Now)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		opts: o, vault: v, keys: k, limits: newLimits(o.Now), healths: healthsOf(o),
		logins: newShelf[flow](maxFlows, o.Now), consents: newShelf[flow](maxFlows, o.Now), states: newShelf[flow](maxFlows, o.Now),
		codes: newShelf[grant](maxCodes, o.Now), spent: newShelf[session](maxCodes, o.Now),
	}
	b.login = newLogin(o.Login, o.Issuer+loginPath, o.Now)
	if b.clients, err = newClients(o); err != nil {
		return nil, err
	}
	return b, nil
}

func healthsOf(o Options) map[string]*identity.Health {
	all := map[string]*identity.Health{}
	for name := range o.Upstreams {
		all[name] = identity.NewHealth(o.Log.With("upstream", name),
			"a third party's token endpoint fails; calls whose grant is due are refused",
			"a third party's token endpoint answers again")
	}
	return all
}

// Paths are what ServeHTTP answers.
func (b *Broker) Paths() []string {
	paths := []string{authorizePath, loginPath, consentPath, tokenPath, keysPath, metadataPath}
	if b.opts.Register {
		paths = append(paths, registerPath)
	}
	for _, name := range slices.Sorted(maps.Keys(b.opts.Upstreams)) {
		paths = append(paths, callbackPath+name)
	}
	return paths
}

// ServeHTTP implements [http.Handler].
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secureHeaders(w.Header())
	route, ok := b.route(r.URL.EscapedPath())
	step := route.steps[r.Method]
	switch {
	case !ok:
		b.errorPage(w, http.StatusNotFound, "There is nothing at this address.")
	case step == nil:
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(route.steps)), ", "))
		b.errorPage(w, http.StatusMethodNotAllowed, "This address is not used that way.")
	case !route.limit.allow():
		b.tooMany(w, route)
	default:
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		step(w, r)
	}
}

func (b *Broker) tooMany(w http.ResponseWriter, r route) {
	w.Header().Set("Retry-After", "10")
	if r.steps[http.MethodGet] == nil { // asked by programs
		writeJSON(w, http.StatusTooManyRequests, map[string]string{"error": "temporarily_unavailable"})
		return
	}
	b.errorPage(w, http.StatusTooManyRequests, "Too many requests at the moment. Try again in a few seconds.")
}

// route is what answers at a path, by method, and how often.
type route struct {
	limit *limit
	steps map[string]http.HandlerFunc
}

func (b *Broker) route(path string) (route, bool) {
	get := func(l *limit, h http.HandlerFunc) route {
		return route{l, map[string]http.HandlerFunc{http.MethodGet: h}}
	}
	post := func(l *limit, h http.HandlerFunc) route {
		return route{l, map[string]http.HandlerFunc{http.MethodPost: h}}
	}
	switch path {
	case authorizePath:
		return get(b.limits.pages, b.authorize), true
	case loginPath:
		return get(b.limits.pages, b.loggedIn), true
	case consentPath:
		return route{b.limits.pages, map[string]http.HandlerFunc{http.MethodGet: b.ask, http.MethodPost: b.decide}}, true
	case tokenPath:
		return post(b.limits.tokens, b.token), true
	case registerPath:
		return post(b.limits.registrations, b.register), b.opts.Register
	case keysPath:
		return get(b.limits.documents, b.publishKeys), true
	case metadataPath:
		return get(b.limits.documents, b.metadata), true
	}
	name, ok := strings.CutPrefix(path, callbackPath)
	_, known := b.opts.Upstreams[name]
	return get(b.limits.pages, func(w http.ResponseWriter, r *http.Request) { b.granted(w, r, name) }), ok && known
}

// flow is what one user does with one client's request.
type flow struct {
	request
	handle   string          // tells the cookies of a browser's flows apart; no secret
	browser  [32]byte        // SHA-256 of the cookie of this step
	nonce    identity.Secret // of the login
	verifier identity.Secret // PKCE of the way to the login provider, then to the third party
	user     user            // once logged in
	csrf     identity.Secret // of the consent page
}

// request is what a client asks for, once it is known to be right.
type request struct {
	client    *Client
	redirect  string
	state     identity.Secret // the client's own, by which it knows its answer
	challenge string
	scopes    []string
	upstream  string
}

// user is who logged in.
type user struct {
	subject string
	name    string // shown on the page only
}

// session is what a refresh token prolongs: one client's access to one upstream in
// one user's name.
type session struct {
	id        string
	principal principal
}

// principal is whose a third party's token is. All of it is bound to the token.
type principal struct {
	Login    string `json:"login"` // the login provider: after a change of it, equal subjects are other people
	Prefix   string `json:"prefix,omitempty"`
	Subject  string `json:"sub"`
	Client   string `json:"client"`
	Upstream string `json:"upstream"`
	Provider string `json:"provider"` // the third party: another one must not be shown its tokens
}

func (p principal) binding() []string {
	return []string{p.Login, p.Prefix, p.Subject, p.Client, p.Upstream, p.Provider}
}

// user names whose records share a bound.
func (p principal) user() []string { return []string{p.Login, p.Subject} }

// grant is what a code stands for.
type grant struct {
	request
	user   user
	tokens tokens // of the third party
}

func (b *Broker) principal(subject, client, upstream string) principal {
	p := b.opts.Upstreams[upstream].Provider
	return principal{b.opts.Login.Issuer, b.opts.Login.SubjectPrefix, subject, client, upstream, p.TokenURL + " " + p.ClientID}
}

// ErrNoGrant says that the user has granted nothing, or no longer: the client has
// to ask again.
var ErrNoGrant = errors.New("the third party's grant is missing or has ended")

var errParameters = errors.New("malformed or repeated parameters")

// parameters reads a query or form strictly: a parameter that is there twice
// could mean one thing here and another to the next reader (RFC 6749 section 3.1).
func parameters(raw string) (url.Values, error) {
	v, err := url.ParseQuery(raw)
	if err != nil || len(raw) > maxForm {
		return nil, errParameters
	}
	for _, values := range v {
		if len(values) != 1 {
			return nil, errParameters
		}
	}
	return v, nil
}

// maxForm bounds a query or a form, in bytes.
const maxForm = 16 << 10

func hashOf(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

func wrapf(format string, args ...any) error { return fmt.Errorf("broker: "+format, args...) }
