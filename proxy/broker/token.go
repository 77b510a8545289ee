package broker

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// token answers requests of clients for tokens of ours (RFC 6749 section 3.2).
func (b *Broker) token(w http.ResponseWriter, r *http.Request) {
	v, err := form(r)
	if err != nil || r.URL.RawQuery != "" { // secrets in a query end up in logs
		b.refuseToken(w, event{step: "token", reason: "form"}, "invalid_request")
		return
	}
	id, code := b.authenticate(r, v)
	if code != "" {
		b.refuseToken(w, event{step: "token", request: request{client: &Client{ID: id}}, reason: "client"}, code)
		return
	}
	b.redeeming.Lock()
	defer b.redeeming.Unlock()
	switch v.Get("grant_type") {
	case "authorization_code":
		b.redeem(w, id, v)
	case "refresh_token":
		b.prolong(w, id, v)
	default:
		b.refuseToken(w, event{step: "token", request: request{client: &Client{ID: id}}, reason: "grant-type"}, "unsupported_grant_type")
	}
}

// authenticate says which client asks (RFC 6749 section 2.3), or which error it
// reads. A public client is who it says: what it shows next is bound to it.
func (b *Broker) authenticate(r *http.Request, v url.Values) (id, code string) {
	id, secret := v.Get("client_id"), v.Get("client_secret")
	if basicID, basicSecret, ok := basic(r); ok {
		if secret != "" || id != "" && id != basicID {
			return id, "invalid_request" // two ways at once
		}
		id, secret = basicID, basicSecret
	} else if len(r.Header["Authorization"]) > 0 {
		return id, "invalid_client"
	}
	client := b.clients.known[id]
	if client == nil {
		client = &Client{ID: id} // one that nobody vouches for has no secret
	}
	if !b.clients.admits(id) || !client.authentic(secret) {
		return id, "invalid_client"
	}
	return id, ""
}

func basic(r *http.Request) (id, secret string, ok bool) {
	if len(r.Header["Authorization"]) != 1 {
		return "", "", false
	}
	id, secret, ok = r.BasicAuth()
	id, err := url.QueryUnescape(id)
	secret, also := url.QueryUnescape(secret)
	return id, secret, ok && err == nil && also == nil
}

// verifierForm is RFC 7636 section 4.1.
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// redeem gives tokens for a code. The code is used up by any attempt: whoever
// guesses at what goes with it has one guess.
func (b *Broker) redeem(w http.ResponseWriter, id string, v url.Values) {
	code := v.Get("code")
	g, known := b.codes.take(code)
	e := event{step: "token", request: g.request, user: g.user}
	switch {
	case !known:
		e.client, e.reason = &Client{ID: id}, "code"
		if s, replayed := b.spent.take(code); replayed {
			// One of the two who have shown it is a thief (RFC 6749 section 4.1.2).
			b.revoke(s)
			e.reason = "code-replayed"
			e.upstream, e.user.subject = s.principal.Upstream, s.principal.Subject
		}
	case g.client.ID != id:
		e.reason = "code-of-another-client"
	case v.Get("redirect_uri") != g.redirect:
		e.reason = "redirect-uri"
	case !verifierForm.MatchString(v.Get("code_verifier")) || subtle.ConstantTimeCompare([]byte(challengeOf(v.Get("code_verifier"))), []byte(g.challenge)) != 1:
		e.reason = "code-verifier"
	}
	if e.reason != "" {
		b.refuseToken(w, e, "invalid_grant")
		return
	}
	if v.Has("resource") && v.Get("resource") != b.opts.Upstreams[g.upstream].Resource {
		e.reason = "resource"
		b.refuseToken(w, e, "invalid_target")
		return
	}
	b.open(w, e, code, g)
}

// lasting is the record of a session. Of refresh tokens it has hashes only.
type lasting struct {
	principal
	Scopes  []string  `json:"scopes,omitempty"`
	Refresh [32]byte  `json:"refresh"`
	Opened  time.Time `json:"opened"`
}

// open begins a session for g: the third party's tokens are kept, ours given out.
func (b *Broker) open(w http.ResponseWriter, e event, code string, g grant) {
	p := b.principal(g.user.subject, g.client.ID, g.upstream)
	s := session{id: rand.Text(), principal: p}
	secret := rand.Text()
	l := lasting{principal: p, Scopes: g.scopes, Refresh: hashOf(secret), Opened: b.opts.Now()}
	err := b.keep(p, g.tokens)
	if err == nil {
		err = b.vault.put(kindSession, []string{s.id}, p.user(), idleLife, l)
	}
	// Without this a replay of the code would go unnoticed.
	if err == nil && !b.spent.put(code, s, spentLife) {
		err = errFull
	}
	if err != nil {
		b.revoke(s)
		b.opts.Log.Error("a session could not be opened", "upstream", p.Upstream, "error", err)
		e.reason = "store"
		b.refuseToken(w, e, "temporarily_unavailable")
		return
	}
	b.give(w, e, s, l.Scopes, l.Scopes, secret)
}

// revoke ends a session and what it can reach.
func (b *Broker) revoke(s session) {
	b.vault.drop(kindSession, []string{s.id})
	b.vault.drop(kindGrant, s.principal.binding())
}

// prolong gives new tokens for a refresh token, which is replaced (RFC 9700
// section 4.14.2). One that was replaced already has been stolen, from one side or
// the other: the session ends.
func (b *Broker) prolong(w http.ResponseWriter, id string, v url.Values) {
	sid, secret, _ := strings.Cut(v.Get("refresh_token"), ".")
	var l lasting
	err := b.vault.get(kindSession, []string{sid}, &l)
	s := session{sid, l.principal}
	e := event{step: "refresh", request: request{client: &Client{ID: id}, scopes: l.Scopes, upstream: l.Upstream}, user: user{subject: l.Subject}}
	got := hashOf(secret)
	switch {
	case errors.Is(err, errNoRecord):
		e.reason = "refresh-token"
	case errors.Is(err, errRecord): // and stays so: only a new login helps
		b.opts.Log.Error("a session is damaged", "error", err)
		b.vault.drop(kindSession, []string{sid})
		e.reason = "refresh-token"
	case err != nil:
		b.opts.Log.Error("a session cannot be read", "error", err)
		e.reason = "store"
		b.refuseToken(w, e, "temporarily_unavailable")
		return
	case l.principal != b.principal(l.Subject, id, l.Upstream):
		e.reason = "refresh-token-of-another"
	case subtle.ConstantTimeCompare(got[:], l.Refresh[:]) != 1:
		b.revoke(s)
		e.reason = "refresh-token-replayed"
	case !b.opts.Now().Before(l.Opened.Add(sessionLife)):
		b.revoke(s)
		e.reason = "session-expired"
	case !b.vault.has(kindGrant, l.binding()):
		b.revoke(s)
		e.reason = "grant-ended"
	}
	if e.reason != "" {
		b.refuseToken(w, e, "invalid_grant")
		return
	}
	b.renewSession(w, e, s, l, v)
}

func (b *Broker) renewSession(w http.ResponseWriter, e event, s session, l lasting, v url.Values) {
	given := l.Scopes
	if v.Has("scope") {
		given = slices.Compact(slices.Sorted(strings.FieldsSeq(v.Get("scope"))))
	}
	switch {
	case !containsAll(l.Scopes, given):
		e.reason = "scope"
		b.refuseToken(w, e, "invalid_scope")
		return
	case v.Has("resource") && v.Get("resource") != b.opts.Upstreams[l.Upstream].Resource:
		e.reason = "resource"
		b.refuseToken(w, e, "invalid_target")
		return
	}
	secret := rand.Text()
	l.Refresh = hashOf(secret)
	if err := b.vault.put(kindSession, []string{s.id}, l.user(), idleLife, l); err != nil {
		b.opts.Log.Error("a session could not be kept", "error", err)
		e.reason = "store"
		b.refuseToken(w, e, "temporarily_unavailable")
		return
	}
	b.give(w, e, s, given, l.Scopes, secret)
}

// accessClaims are RFC 9068 section 2.2.
type accessClaims struct {
	jwt.RegisteredClaims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"`
	Session  string `json:"sid"`
}

// tokenType is RFC 9068 section 2.1: no other token of ours can pass for one.
const tokenType = "at+jwt"

// give answers with an access token of ours and the next refresh token. A session
// of which nobody can find out later is not given.
func (b *Broker) give(w http.ResponseWriter, e event, s session, scopes, granted []string, secret string) {
	access, err := b.sign(s, scopes)
	if err == nil {
		e.scopes = granted
		err = b.write(e.allowed())
	}
	if err != nil {
		b.revoke(s)
		b.notRecorded(w, e, err)
		return
	}
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(tokenLife / time.Second),
		"scope": strings.Join(scopes, " "), "refresh_token": s.id + "." + secret,
	})
}

func (b *Broker) sign(s session, scopes []string) (string, error) {
	key, err := b.keys.signing()
	if err != nil {
		return "", err
	}
	now := b.opts.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: b.opts.Issuer, Subject: s.principal.Subject, Audience: jwt.ClaimStrings{b.opts.Upstreams[s.principal.Upstream].Resource},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)), ID: rand.Text(),
		},
		ClientID: s.principal.Client, Scope: strings.Join(scopes, " "), Session: s.id,
	})
	t.Header["typ"], t.Header["kid"] = tokenType, key.ID
	return t.SignedString(key.private)
}

// refuseToken answers with an error of RFC 6749 section 5.2.
func (b *Broker) refuseToken(w http.ResponseWriter, e event, code string) {
	status := http.StatusBadRequest
	switch code {
	case "invalid_client":
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		status = http.StatusUnauthorized
	case "temporarily_unavailable":
		status = http.StatusServiceUnavailable
	}
	b.refuseJSON(w, e, status, code)
}
