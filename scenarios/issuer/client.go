package issuer

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
)

// Client is a program that may ask for tokens.
type Client struct {
	ID     string
	Secret string // empty: a public client, which proves nothing about itself
	// Scopes are what it may have on its own behalf, by client credentials.
	Scopes []string
	// Grants are the grant types that it may use. Nil means all for which it has
	// what they need.
	Grants []string
}

// AddClient registers c, in place of another with the same id.
func (i *Issuer) AddClient(c Client) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clients[c.ID] = c
}

// may says whether c may use a grant type. A public client has nothing to show for
// itself, so it gets nothing on its own behalf and cannot act for others.
func (c Client) may(grant string) bool {
	if (grant == grantCredentials || grant == grantExchange) && !c.confidential() {
		return false
	}
	return c.Grants == nil || slices.Contains(c.Grants, grant)
}

func (c Client) confidential() bool { return c.Secret != "" }

// client is who sends form, proven as its registration wants (RFC 6749 section
// 2.3.1).
func (i *Issuer) client(r *http.Request, form url.Values) (Client, *oauthError) {
	id, secret, viaHeader := basic(r)
	switch {
	case viaHeader && form.Has("client_secret"):
		return Client{}, &oauthError{invalidRequest, "two ways of client authentication at once"}
	case !viaHeader:
		id, secret = form.Get("client_id"), form.Get("client_secret")
	case form.Has("client_id") && form.Get("client_id") != id:
		return Client{}, &oauthError{invalidRequest, "client_id differs from the authenticated client"}
	}
	i.mu.Lock()
	c, known := i.clients[id]
	i.mu.Unlock()
	if !known || !same(secret, c.Secret) {
		return Client{}, &oauthError{invalidClient, "unknown client or wrong secret"}
	}
	return c, nil
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
