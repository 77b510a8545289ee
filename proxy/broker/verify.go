package broker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"mcp-sidecar/proxy/identity"
)

// Verifier accepts the broker's tokens for one upstream. The keys are at hand, and
// so is what a signature cannot say: whether session and grant still stand.
type Verifier struct {
	broker   *Broker
	upstream string
	resource string
	parser   *jwt.Parser
	good     *shelf[accessClaims] // tokens whose signature was verified, until they expire
}

// maxGood bounds what is remembered of tokens. Only those of ours get there.
const maxGood = 10_000

// Verifier returns the verifier for upstream, one of the broker's.
func (b *Broker) Verifier(upstream string) *Verifier {
	resource := b.opts.Upstreams[upstream].Resource
	return &Verifier{b, upstream, resource, jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(b.opts.Issuer), jwt.WithAudience(resource),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(b.opts.Now), jwt.WithStrictDecoding(),
	), newShelf[accessClaims](maxGood, b.opts.Now)}
}

var errUnknownKey = errors.New("unknown key")

// Authenticate verifies token. Its errors are those of [identity.Refusal].
func (v *Verifier) Authenticate(_ context.Context, token identity.Secret) (identity.Principal, error) {
	c, err := v.claims(token.Reveal())
	if err != nil {
		return identity.Principal{}, err
	}
	whose := v.broker.principal(c.Subject, c.ClientID, v.upstream)
	if !v.broker.vault.has(kindSession, []string{c.Session}) || !v.broker.vault.has(kindGrant, whose.binding()) {
		return identity.Principal{}, identity.ErrInvalid // revoked, or the third party's grant has ended
	}
	return identity.Principal{
		Issuer: c.Issuer, Subject: c.Subject, ClientID: c.ClientID, Audience: c.Audience,
		Expiry: c.ExpiresAt.Time, Issued: issued(c), TokenID: identity.NewSecret(c.ID), Scopes: strings.Fields(c.Scope),
	}, nil
}

// claims are what token says, if it is ours and for this upstream.
func (v *Verifier) claims(token string) (accessClaims, error) {
	if c, ok := v.good.look(token); ok {
		return c, nil
	}
	var c accessClaims
	_, err := v.parser.ParseWithClaims(token, &c, v.key)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return accessClaims{}, identity.ErrExpired
	case err != nil:
		return accessClaims{}, identity.ErrInvalid
	}
	v.good.put(token, c, c.ExpiresAt.Sub(v.broker.opts.Now())) // without room it is verified again
	return c, nil
}

// issued is when c says that it was; zero if it does not.
func issued(c accessClaims) time.Time {
	if c.IssuedAt == nil {
		return time.Time{}
	}
	return c.IssuedAt.Time
}

func (v *Verifier) key(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	key := v.broker.keys.public(id)
	if key == nil || t.Header["typ"] != tokenType {
		return nil, errUnknownKey
	}
	return key, nil
}
