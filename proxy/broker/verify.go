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
}

// Verifier returns the verifier for upstream, one of the broker's.
func (b *Broker) Verifier(upstream string) *Verifier {
	resource := b.opts.Upstreams[upstream].Resource
	return &Verifier{b, upstream, resource, jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(b.opts.Issuer), jwt.WithAudience(resource),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(b.opts.Now), jwt.WithStrictDecoding(),
	)}
}

var errUnknownKey = errors.New("unknown key")

// Authenticate verifies token. Its errors are those of [identity.Refusal].
func (v *Verifier) Authenticate(_ context.Context, token identity.Secret) (identity.Principal, error) {
	var c accessClaims
	_, err := v.parser.ParseWithClaims(token.Reveal(), &c, v.key)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return identity.Principal{}, identity.ErrExpired
	case err != nil:
		return identity.Principal{}, identity.ErrInvalid
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
