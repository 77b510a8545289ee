package issuer

import (
	"net/http"
	"strings"
)

// introspect answers one RFC 7662 request. Every answer to an authenticated
// client that names a token is 200: an unknown token is not an error (section
// 2.2).
func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := basic(r)
	if !ok || !same(id, i.config.ClientID) || !same(secret, i.config.ClientSecret) {
		i.count(func(c *Counters) { c.Unauthorized++ })
		w.Header().Set("WWW-Authenticate", `Basic realm="introspection"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": invalidClient})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	// PostForm and not Form: a token in the query would end in access logs.
	if err := r.ParseForm(); err != nil || r.PostForm.Get("token") == "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": invalidRequest})
		return
	}
	writeJSON(w, http.StatusOK, i.lookup(r.PostForm.Get("token")))
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
