package broker

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"mcp-sidecar/proxy/identity"
)

// login is the client of an OpenID provider (OpenID Connect Core, section 3.1).
type login struct {
	opts     Login
	redirect string
	now      func() time.Time

	mu       sync.Mutex // held while asking: others wait for the same answer
	found    discovered
	foundAt  time.Time
	set      keyfunc.Keyfunc
	setAt    time.Time
	failedAt time.Time // when the last attempt that failed began
	gaveUpAt time.Time // and ended
}

// discovered is what counts of a provider's metadata (OpenID Connect Discovery,
// section 3; RFC 9207 section 3).
type discovered struct {
	Issuer       string `json:"issuer"`
	Authorize    string `json:"authorization_endpoint"`
	Token        string `json:"token_endpoint"`
	Keys         string `json:"jwks_uri"`
	IssInAnswers bool   `json:"authorization_response_iss_parameter_supported"`
}

// How long what the provider publishes is believed, and how often it is asked.
const (
	discoveryLife = time.Hour
	keySetLife    = 15 * time.Minute
	keySetPause   = 30 * time.Second // between two looks for a key that is not there
	failurePause  = 2 * time.Second  // after a failure
)

func newLogin(o Login, redirect string, now func() time.Time) *login {
	return &login{opts: o, redirect: redirect, now: now}
}

var errLogin = errors.New("login failed")

func loginError(why string) error { return errors.Join(errLogin, errors.New(why)) }

// start returns where the user logs in.
func (l *login) start(ctx context.Context, state, nonce, challenge string) (string, error) {
	d, err := l.discover(ctx)
	if err != nil {
		return "", err
	}
	return withQuery(d.Authorize, url.Values{
		"response_type": {"code"}, "scope": {"openid profile"}, "client_id": {l.opts.ClientID}, "redirect_uri": {l.redirect},
		"state": {state}, "nonce": {nonce}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}), nil
}

// finish turns the provider's answer into the user.
func (l *login) finish(ctx context.Context, v url.Values, nonce, verifier string) (user, error) {
	d, err := l.discover(ctx)
	switch {
	case err != nil:
		return user{}, err
	case v.Has("iss") && v.Get("iss") != l.opts.Issuer, !v.Has("iss") && d.IssInAnswers:
		return user{}, loginError("the answer comes from another issuer (RFC 9207)")
	case v.Has("error") || v.Get("code") == "":
		return user{}, loginError("the provider did not log the user in")
	}
	ask := tokenRequest{url: d.Token, clientID: l.opts.ClientID, secret: l.opts.ClientSecret, fetch: l.opts.Fetch, form: identity.Hide(url.Values{
		"grant_type": {"authorization_code"}, "code": {v.Get("code")}, "redirect_uri": {l.redirect}, "code_verifier": {verifier},
	})}
	reply, err := ask.send(ctx)
	if err != nil {
		return user{}, err
	}
	return l.verify(ctx, reply.IDToken.Reveal(), nonce)
}

// discover returns the provider's metadata.
func (l *login) discover(ctx context.Context) (discovered, error) {
	came := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if !l.foundAt.IsZero() && now.Before(l.foundAt.Add(discoveryLife)) {
		return l.found, nil
	}
	var d discovered
	read := func(body []byte) (err error) {
		d, err = l.readMetadata(body)
		return err
	}
	if err := l.get(ctx, came, read, strings.TrimSuffix(l.opts.Issuer, "/")+"/.well-known/openid-configuration", "application/json"); err != nil {
		return discovered{}, err
	}
	l.found, l.foundAt = d, now
	return d, nil
}

func (l *login) readMetadata(body []byte) (discovered, error) {
	var d discovered
	if err := json.Unmarshal(body, &d); err != nil {
		return discovered{}, loginError("the provider's metadata is not the JSON it should be")
	}
	if d.Issuer != l.opts.Issuer {
		// Whoever serves this document speaks for somebody else (Discovery, section 4.3).
		return discovered{}, loginError("the provider's metadata names another issuer")
	}
	if !l.secure(d.Authorize) || !l.secure(d.Token) || !l.secure(d.Keys) {
		return discovered{}, loginError("an endpoint in the provider's metadata is not https")
	}
	return d, nil
}

// get asks the provider for somebody who came at came, and has the answer read. After
// a failure, which an answer that cannot be used is as well, nobody asks for a moment,
// and whoever waited for the answer has it: a provider that hangs would make a queue
// otherwise, one attempt long for each. l.mu is held.
func (l *login) get(ctx context.Context, came time.Time, read func(body []byte) error, rawURL string, media ...string) error {
	now := l.now()
	if now.Before(l.failedAt.Add(failurePause)) || came.Before(l.gaveUpAt) {
		return loginError("the provider could not be asked a moment ago")
	}
	// A request that ends early must not count as a failure of the provider's.
	body, err := l.opts.Fetch.Get(context.WithoutCancel(ctx), rawURL, media...)
	if err == nil {
		err = read(body)
	}
	if err != nil {
		l.failedAt, l.gaveUpAt = now, l.now()
	}
	return err
}

func (l *login) secure(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && u.Fragment == "" &&
		(u.Scheme == "https" || u.Scheme == "http" && l.opts.AllowLoopbackHTTP && isLoopback(u.Hostname()))
}

// idClaims are those of an ID token that count here (OpenID Connect Core, section 2).
type idClaims struct {
	jwt.RegisteredClaims
	Nonce      string `json:"nonce"`
	Authorized string `json:"azp"`
	Username   string `json:"preferred_username"`
	Email      string `json:"email"`
	Name       string `json:"name"`
}

// verify checks an ID token (OpenID Connect Core, section 3.1.3.7).
func (l *login) verify(ctx context.Context, token, nonce string) (user, error) {
	var c idClaims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "ES256", "EdDSA"}), jwt.WithIssuer(l.opts.Issuer), jwt.WithAudience(l.opts.ClientID),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(30*time.Second), jwt.WithTimeFunc(l.now), jwt.WithStrictDecoding(),
	)
	_, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return l.key(ctx, t) })
	switch {
	case err != nil:
		return user{}, loginError("the ID token is not valid: " + reasonOf(err))
	case subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) != 1:
		return user{}, loginError("the ID token belongs to another login")
	case c.Authorized != "" && c.Authorized != l.opts.ClientID, c.Authorized == "" && len(c.Audience) > 1:
		return user{}, loginError("the ID token was made for another client")
	case !isSubject(c.Subject):
		return user{}, loginError("the ID token names no subject that can be used")
	}
	u := user{subject: l.opts.SubjectPrefix + c.Subject}
	for _, name := range []string{c.Name, c.Email, c.Username} {
		if name != "" {
			u.name = shownName(name)
		}
	}
	return u, nil
}

// reasonOf is which check failed, without what the token says.
func reasonOf(err error) string {
	for _, known := range []error{jwt.ErrTokenSignatureInvalid, jwt.ErrTokenExpired, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenUnverifiable, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenRequiredClaimMissing} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return jwt.ErrTokenMalformed.Error()
}

// isSubject keeps out what could make two users one, or look like one of ours.
func isSubject(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) && r != ' ' })
}

// key returns the provider's key for t. One that is not there is looked for once
// more, but not for every token that names some.
func (l *login) key(ctx context.Context, t *jwt.Token) (any, error) {
	came := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.set == nil || !now.Before(l.setAt.Add(keySetLife)) {
		if err := l.fetchKeys(ctx, came, now); err != nil {
			return nil, err
		}
	}
	k, err := l.set.Keyfunc(t)
	if err == nil || now.Before(l.setAt.Add(keySetPause)) {
		return k, err
	}
	if err := l.fetchKeys(ctx, came, now); err != nil {
		return nil, err
	}
	return l.set.Keyfunc(t)
}

func (l *login) fetchKeys(ctx context.Context, came, now time.Time) error {
	return l.get(ctx, came, func(body []byte) error {
		set, err := keyfunc.NewJWKSetJSON(body)
		if err != nil {
			return loginError("the provider's key set cannot be read")
		}
		l.set, l.setAt = set, now
		return nil
	}, l.found.Keys, "application/json", "application/jwk-set+json")
}

// mediaOf is the media type of a request's body, if there is exactly one.
func mediaOf(r *http.Request) string {
	if len(r.Header.Values("Content-Type")) != 1 {
		return ""
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}
