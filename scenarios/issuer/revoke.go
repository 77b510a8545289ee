package issuer

import "net/http"

// revoke answers one RFC 7009 request. A token that is unknown already is revoked
// (section 2.2); one of another client is none of the caller's business (section
// 2.1).
func (i *Issuer) revoke(w http.ResponseWriter, r *http.Request) {
	form, refusal := parseForm(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	c, refusal := i.client(r, form)
	if refusal != nil {
		refusal.write(w)
		return
	}
	token := form.Get("token")
	i.mu.Lock()
	claims, known := i.tokens[token]
	i.mu.Unlock()
	switch {
	case token == "":
		(&oauthError{invalidRequest, "no token"}).write(w)
	case known && claims.ClientID != c.ID:
		(&oauthError{unauthorizedClient, "the token belongs to another client"}).write(w)
	default:
		i.Revoke(token)
		w.WriteHeader(http.StatusOK)
	}
}
