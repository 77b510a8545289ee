package identity

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
)

// Types of tokens (RFC 8693 section 3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // the name of a type, no token
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// Exchanger trades the verified token of each caller for one that an authorization
// server issues for the upstream (RFC 8693). The caller's token is sent to that
// server's token endpoint and nowhere else; what comes back is a token of its own.
// It is safe for concurrent use.
type Exchanger struct {
	endpoint *tokenEndpoint
	tokens   issuedTokens
}

// NewExchanger returns an exchanger that has exchanged nothing yet.
func NewExchanger(o TokenOptions) (*Exchanger, error) {
	o = o.withDefaults()
	e, err := newTokenEndpoint(o)
	return &Exchanger{endpoint: e, tokens: issuedTokens{now: o.Now}}, err
}

// Current returns what was issued for the caller. Errors wrap ErrNoCredential, or
// are the context's; without a caller there is nothing.
func (x *Exchanger) Current(ctx context.Context, d *Delegation) (Credential, error) {
	if d == nil {
		return Credential{}, fmt.Errorf("%w: it is issued for each caller, and nobody calls", ErrNoCredential)
	}
	c, err := x.tokens.get(ctx, d.key(), d.caller.Key(), x.trade(d))
	if err == nil {
		d.shown(c)
	}
	return c, err
}

// Renew returns what to show instead of refused, which the upstream did not take;
// false when there is nothing else.
func (x *Exchanger) Renew(ctx context.Context, d *Delegation, refused Credential) (Credential, bool) {
	if d == nil {
		return Credential{}, false
	}
	c, ok := x.tokens.renew(ctx, d.key(), d.caller.Key(), refused, x.trade(d))
	if ok {
		d.shown(c)
	}
	return c, ok
}

// trade asks for d's token. One that has expired since it was verified is not shown
// to anybody.
func (x *Exchanger) trade(d *Delegation) func(context.Context) (issued, error) {
	return func(ctx context.Context) (issued, error) {
		if d.caller.Expired(x.endpoint.opts.Now()) {
			return issued{}, fmt.Errorf("%w: the caller's token has expired", ErrNoCredential)
		}
		return x.endpoint.ask(ctx, url.Values{
			"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":        {d.subject.Reveal()},
			"subject_token_type":   {typeAccessToken},
			"requested_token_type": {typeAccessToken},
		}, typeAccessToken, typeJWT)
	}
}

// key tells callers apart, and the tokens of one: another token may stand for less.
func (d *Delegation) key() digest {
	return sha256.Sum256([]byte(d.caller.Key() + "\x00" + d.subject.Reveal()))
}
