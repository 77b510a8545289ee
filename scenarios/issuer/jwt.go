package issuer

import (
	"crypto/rand"
	"errors"
	"maps"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// MintJWT returns a signed access token for c (RFC 9068), which introspection knows
// as well.
func (i *Issuer) MintJWT(c Claims) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mint(c)
}

// mint is MintJWT for callers that hold the lock.
func (i *Issuer) mint(c Claims) string {
	now := i.config.Now()
	claims := map[string]any{
		"iss": i.config.URL, "sub": c.Subject, "aud": c.Audience, "client_id": c.ClientID,
		"iat": now.Unix(), "exp": c.Expiry.Unix(), "jti": rand.Text(), "scope": strings.Join(c.Scopes, " "),
	}
	if c.Actor != "" {
		claims["act"] = map[string]any{"sub": c.Actor} // RFC 8693 section 4.1
	}
	maps.Copy(claims, c.Extra)
	token, err := i.sign(map[string]any{"typ": "at+jwt"}, claims)
	if err != nil {
		panic("issuer: " + err.Error()) // Extra holds what JSON cannot, or no key is left
	}
	i.tokens[token] = c
	return token
}

// Sign signs exactly claims with the newest key. Entries of header are added to alg
// and kid, or take their place: tests make tokens with it that no issuer should.
// Introspection does not know the token.
func (i *Issuer) Sign(header, claims map[string]any) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sign(header, claims)
}

// sign is Sign for callers that hold the lock.
func (i *Issuer) sign(header, claims map[string]any) (string, error) {
	if len(i.keys) == 0 {
		return "", errors.New("every key is retired")
	}
	k := i.keys[len(i.keys)-1]
	token := jwt.NewWithClaims(k.method, jwt.MapClaims(claims))
	token.Header["kid"] = k.public.ID
	delete(token.Header, "typ") // is no more than what header says
	maps.Copy(token.Header, header)
	return token.SignedString(k.private)
}
