package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// fakeParty is what login provider and third party have in common: it sends the
// user back with a code, and gives tokens for it to who knows the verifier.
type fakeParty struct {
	*httptest.Server
	mu     sync.Mutex
	codes  map[string]url.Values // the authorization request of each
	visits int                   // of users
	asked  []url.Values          // at the token endpoint
	given  []string              // codes, ever
	tokens []string              // ever given out
	heard  lockedBuffer          // all that it was sent
	answer func(url.Values)      // changes what the user brings back
	reply  func(url.Values, map[string]any) int
}

func (p *fakeParty) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.visits++
	q := r.URL.Query()
	code := rand.Text()
	p.codes[code] = q
	p.given = append(p.given, code)
	_, _ = p.heard.Write([]byte(r.URL.RawQuery + "\n"))
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}
	if p.answer != nil {
		p.answer(back)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// token answers a request for tokens with what make returns for the authorization
// request, which is nil for a refresh.
func (p *fakeParty) token(w http.ResponseWriter, r *http.Request, make func(url.Values) map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = r.ParseForm()
	p.asked = append(p.asked, maps.Clone(r.PostForm))
	_, _ = p.heard.Write([]byte(r.Header.Get("Authorization") + " " + r.PostForm.Encode() + "\n"))
	id, secret, _ := r.BasicAuth()
	if id == "" {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	w.Header().Set("Content-Type", "application/json")
	request := p.codes[r.PostForm.Get("code")]
	delete(p.codes, r.PostForm.Get("code"))
	redeems := r.PostForm.Get("grant_type") == "authorization_code"
	if secret != "secret-at-"+id || redeems && (request == nil || request.Get("redirect_uri") != r.PostForm.Get("redirect_uri") || challengeOf(r.PostForm.Get("code_verifier")) != request.Get("code_challenge")) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	out, status := make(request), http.StatusOK
	if p.reply != nil {
		status = p.reply(r.PostForm, out)
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if s, ok := out[name].(string); ok {
			p.tokens = append(p.tokens, s)
		}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}

// touched is how often the party was reached, by users or by us.
func (p *fakeParty) touched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.visits + len(p.asked)
}

// fakeLogin is an OpenID provider that logs everybody in as user.
type fakeLogin struct {
	fakeParty
	user     string
	claims   func(jwt.MapClaims)     // changes the ID token
	header   func(map[string]any)    // and its header
	metadata func(map[string]any)    // changes the metadata
	sign     func(*jwt.Token) string // in place of the published key
	rsa      *rsa.PrivateKey         // published too
	key      *ecdsa.PrivateKey
	keyID    string
	keysRead int
	now      func() time.Time
}

func newFakeLogin(t testing.TB, now func() time.Time) *fakeLogin {
	l := &fakeLogin{user: "alice", now: now}
	l.codes = map[string]url.Values{}
	l.rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", l.authorize)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		m := map[string]any{"issuer": l.URL, "authorization_endpoint": l.URL + "/authorize", "token_endpoint": l.URL + "/token", "jwks_uri": l.URL + "/jwks", "authorization_response_iss_parameter_supported": true}
		if l.metadata != nil {
			l.metadata(m)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(m)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		l.token(w, r, func(q url.Values) map[string]any {
			return map[string]any{"access_token": "login-" + rand.Text(), "token_type": "Bearer", "id_token": l.idToken(q)}
		})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.keysRead++
		point, _ := l.key.PublicKey.Bytes()
		encode := base64.RawURLEncoding.EncodeToString
		w.Header().Set("Content-Type", "application/json")
		keys := []any{map[string]any{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": l.keyID, "x": encode(point[1:33]), "y": encode(point[33:])}}
		if l.rsa != nil { // without alg, as many do
			keys = append(keys, map[string]any{"kty": "RSA", "kid": "rsa", "n": encode(l.rsa.N.Bytes()), "e": "AQAB"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	return l
}

func (l *fakeLogin) rotate() {
	l.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.keyID = rand.Text()
}

// signRSA makes the provider sign with an RSA key.
func (l *fakeLogin) signRSA(method jwt.SigningMethod) {
	l.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	l.sign = func(t *jwt.Token) string {
		n := jwt.NewWithClaims(method, t.Claims)
		n.Header["kid"] = "rsa"
		s, _ := n.SignedString(l.rsa)
		return s
	}
}

func (l *fakeLogin) idToken(q url.Values) string {
	claims := jwt.MapClaims{
		"iss": l.URL, "sub": l.user, "aud": q.Get("client_id"), "nonce": q.Get("nonce"), "preferred_username": l.user + "@example.com",
		"iat": l.now().Unix(), "exp": l.now().Add(time.Minute).Unix(),
	}
	if l.claims != nil {
		l.claims(claims)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["kid"] = l.keyID
	if l.header != nil {
		l.header(t.Header)
	}
	if l.sign != nil {
		return l.sign(t)
	}
	s, _ := t.SignedString(l.key)
	return s
}

// fakeThird is a third party that consents silently: it knows the sidecar already.
type fakeThird struct {
	fakeParty
	life int // of its access tokens, in seconds
}

func newFakeThird(t testing.TB) *fakeThird {
	p := &fakeThird{life: 3600}
	p.codes = map[string]url.Values{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.token(w, r, func(url.Values) map[string]any {
			return map[string]any{"access_token": "access-" + rand.Text(), "refresh_token": "refresh-" + rand.Text(), "token_type": "bearer", "expires_in": p.life}
		})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// refreshed are the refresh tokens that were shown, in order.
func (p *fakeThird) refreshed() (shown []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.asked {
		if v.Get("grant_type") == "refresh_token" {
			shown = append(shown, v.Get("refresh_token"))
		}
	}
	return slices.Clone(shown)
}
