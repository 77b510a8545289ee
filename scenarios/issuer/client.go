package issuer

import (
	"context"
	"crypto"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Client is a program that may ask for tokens.
type Client struct {
	ID string
	// Name is what the login page shows. Empty shows the id.
	Name string
	// Secret proves who the client is, by HTTP Basic or in the form. Empty: it has
	// none.
	Secret string
	// Key verifies the assertions by which the client proves who it is (RFC 7523
	// section 2.2). Without Secret and Key it proves nothing: a public client.
	Key crypto.PublicKey
	// RedirectURIs are where codes may be sent.
	RedirectURIs []string
	// Scopes are what it may have on its own behalf, by client credentials.
	Scopes []string
	// Grants are the grant types that it may use. Nil means all for which it has
	// what they need.
	Grants []string
}

// maxClients bounds the clients that register themselves.
const maxClients = 1024

// AddClient registers c, in place of another with the same id.
func (i *Issuer) AddClient(c Client) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clients[c.ID] = c
}

// admit registers a client that came by itself, if there is room.
func (i *Issuer) admit(c Client) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, known := i.clients[c.ID]; !known && len(i.clients) >= maxClients {
		return false
	}
	i.clients[c.ID] = c
	return true
}

// lookupClient finds the client called id, or asks for its document.
func (i *Issuer) lookupClient(ctx context.Context, id string) (Client, bool) {
	if i.isDocument(id) {
		c, err := i.fetchClient(ctx, id)
		return c, err == nil && i.admit(c)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.clients[id]
	return c, ok
}

// may says whether c may use a grant type. A public client has nothing to show for
// itself, so it gets nothing on its own behalf and cannot act for others.
func (c Client) may(grant string) bool {
	if (grant == grantCredentials || grant == grantExchange) && c.Secret == "" && c.Key == nil {
		return false
	}
	return c.Grants == nil || slices.Contains(c.Grants, grant)
}

// assertionType is the only kind of client_assertion (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// client is who sends form, proven as its registration wants (RFC 6749 section
// 2.3).
func (i *Issuer) client(r *http.Request, form url.Values) (Client, *oauthError) {
	id, secret, viaHeader := basic(r)
	assertion := form.Get("client_assertion")
	ways := 0
	for _, used := range []bool{viaHeader, form.Has("client_secret"), assertion != ""} {
		if used {
			ways++
		}
	}
	switch {
	case ways > 1:
		return Client{}, &oauthError{invalidRequest, "two ways of client authentication at once"}
	case viaHeader && form.Has("client_id") && form.Get("client_id") != id:
		return Client{}, &oauthError{invalidRequest, "client_id differs from the authenticated client"}
	case !viaHeader:
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	if assertion != "" {
		id = claimedClient(assertion, id)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c, known := i.clients[id]
	switch {
	case !known, assertion == "" && (c.Key != nil || !same(secret, c.Secret)):
		return Client{}, &oauthError{invalidClient, "unknown client or wrong secret"}
	case assertion != "" && (form.Get("client_assertion_type") != assertionType || !i.asserts(c, assertion)):
		return Client{}, &oauthError{invalidClient, "the assertion is not accepted"}
	}
	return c, nil
}

// claimedClient is whom an assertion is about, not yet verified. client_id may say it
// too and must not say anything else (RFC 7521 section 4.2).
func claimedClient(assertion, id string) string {
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(assertion, &claims); err != nil || id != "" && id != claims.Subject {
		return ""
	}
	return claims.Subject
}

// maxAssertion bounds the life of an assertion, so that used ones are forgotten.
const maxAssertion = 5 * time.Minute

// asserts verifies a client's assertion (RFC 7523 section 3). Each is good once.
func (i *Issuer) asserts(c Client, assertion string) bool {
	if c.Key == nil {
		return false
	}
	now := i.config.Now()
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(assertion, &claims, func(*jwt.Token) (any, error) { return c.Key, nil },
		jwt.WithValidMethods([]string{string(ES256), string(RS256), string(EdDSA)}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(i.config.Now),
		jwt.WithIssuer(c.ID), jwt.WithSubject(c.ID), jwt.WithAudience(i.config.URL, i.config.URL+tokenPath))
	if err != nil || claims.ID == "" || claims.ExpiresAt.Sub(now) > maxAssertion {
		return false
	}
	for id, expiry := range i.assertions {
		if now.After(expiry) {
			delete(i.assertions, id)
		}
	}
	key := c.ID + "\x00" + claims.ID
	if _, used := i.assertions[key]; used {
		return false
	}
	i.assertions[key] = claims.ExpiresAt.Time
	return true
}

// basic returns HTTP Basic credentials, whose halves are form-encoded (RFC 6749
// section 2.3.1).
func basic(r *http.Request) (id, secret string, ok bool) {
	id, secret, ok = r.BasicAuth()
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	return id, secret, ok && errID == nil && errSecret == nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
