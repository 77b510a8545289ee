package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"net/url"
)

// redeem turns a code into a token, once (RFC 6749 section 4.1.3). A code that comes
// again was stolen by one of the two, so its token ends too (section 4.1.2).
func (i *Issuer) redeem(c Client, form url.Values) (*grant, *oauthError) {
	i.mu.Lock()
	defer i.mu.Unlock()
	code := i.codes[form.Get("code")]
	switch {
	case code == nil || code.client.ID != c.ID || i.config.Now().After(code.expiry):
		return nil, &oauthError{invalidGrant, "the code is unknown, of another client, or has expired"}
	case code.token != "":
		i.endToken(code.token)
		return nil, &oauthError{invalidGrant, "the code was used before"}
	case form.Get("redirect_uri") != code.redirect:
		return nil, &oauthError{invalidGrant, "redirect_uri is not that of the request"}
	case !proves(form.Get("code_verifier"), code.challenge):
		return nil, &oauthError{invalidGrant, "code_verifier does not fit"}
	case form.Has("resource") && form.Get("resource") != code.resource:
		return nil, &oauthError{invalidTarget, "resource is not that of the request"}
	}
	g := i.issue(Claims{Subject: code.user, ClientID: c.ID, Audience: code.resource, Scopes: code.scopes}, i.config.Lifetime)
	i.addRefresh(c, g)
	code.token = g.AccessToken
	if code.login {
		g.IDToken = i.idToken(code)
	}
	return g, nil
}

// idToken says who logged in (OpenID Connect Core 1.0 section 2). The caller holds
// the lock.
func (i *Issuer) idToken(code *pendingCode) string {
	now := i.config.Now()
	claims := map[string]any{
		"iss": i.config.URL, "sub": code.user, "aud": code.client.ID, "preferred_username": code.user,
		"iat": now.Unix(), "exp": now.Add(i.config.Lifetime).Unix(),
	}
	if code.nonce != "" {
		claims["nonce"] = code.nonce
	}
	token, err := i.sign(map[string]any{"typ": "JWT"}, claims)
	if err != nil {
		panic("issuer: " + err.Error()) // no key is left
	}
	return token
}

// proves is the check of RFC 7636 section 4.6.
func proves(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return same(encode(sum[:]), challenge)
}

// addRefresh adds a refresh token to g, if c may use one.
func (i *Issuer) addRefresh(c Client, g *grant) {
	if !c.may(grantRefresh) {
		return
	}
	g.RefreshToken = rand.Text()
	i.refreshes[g.RefreshToken] = g.AccessToken
}

// endToken forgets an access token and the refresh token that came with it.
func (i *Issuer) endToken(token string) {
	delete(i.tokens, token)
	for refresh, access := range i.refreshes {
		if access == token {
			delete(i.refreshes, refresh)
		}
	}
}

// refresh turns a refresh token into an access token and the next refresh token
// (OAuth 2.1 section 4.3); each is good once.
func (i *Issuer) refresh(c Client, form url.Values) (*grant, *oauthError) {
	i.mu.Lock()
	defer i.mu.Unlock()
	access, ok := i.refreshes[form.Get("refresh_token")]
	before, alive := i.tokens[access]
	if !ok || !alive || before.ClientID != c.ID {
		return nil, &oauthError{invalidGrant, "the refresh token is unknown, used, or of another client"}
	}
	if form.Has("resource") && form.Get("resource") != before.Audience {
		return nil, &oauthError{invalidTarget, "resource is not that of the request"}
	}
	scopes, refusal := narrow(form, before.Scopes)
	if refusal != nil {
		return nil, refusal
	}
	delete(i.refreshes, form.Get("refresh_token"))
	g := i.issue(Claims{Subject: before.Subject, ClientID: c.ID, Audience: before.Audience, Scopes: scopes}, i.config.Lifetime)
	i.addRefresh(c, g)
	return g, nil
}
