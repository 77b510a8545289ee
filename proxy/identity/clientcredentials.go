package identity

import (
	"context"
	"net/url"
)

// ClientCredentials are tokens that an authorization server issues to the sidecar
// itself (RFC 6749 section 4.4). It is safe for concurrent use.
type ClientCredentials struct {
	endpoint *tokenEndpoint
	tokens   issuedTokens
}

// NewClientCredentials returns a source of such tokens. It asks for none yet.
func NewClientCredentials(o TokenOptions) (*ClientCredentials, error) {
	o = o.withDefaults()
	e, err := newTokenEndpoint(o)
	return &ClientCredentials{endpoint: e, tokens: issuedTokens{now: o.Now}}, err
}

// Current returns the token to show now. Errors wrap ErrNoCredential, or are the
// context's. It is the same for every caller.
func (c *ClientCredentials) Current(ctx context.Context, _ *Delegation) (Credential, error) {
	return c.tokens.get(ctx, digest{}, "", c.ask)
}

// Renew returns what to show instead of refused, which the upstream did not take;
// false when there is nothing else.
func (c *ClientCredentials) Renew(ctx context.Context, _ *Delegation, refused Credential) (Credential, bool) {
	return c.tokens.renew(ctx, digest{}, "", refused, c.ask)
}

func (c *ClientCredentials) ask(ctx context.Context) (issued, error) {
	return c.endpoint.ask(ctx, url.Values{"grant_type": {"client_credentials"}})
}
