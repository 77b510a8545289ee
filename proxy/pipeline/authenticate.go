package pipeline

import (
	"context"
	"errors"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// authenticate asks who sent the message. A session is looked up only here,
// behind the token: it is bound to a principal and never stands for one.
func (p *Pipeline) authenticate(ctx context.Context, c *Call) error {
	if c.Dir == FromUpstream {
		return nil // inherits the principal of the call or session it belongs to
	}
	if c.Transport == Stdio && c.tokens().Len() == 0 && (c.Verb == wire.End || c.method != nil && c.method.unauthenticated && !p.delegates()) {
		// Clients open a pipe before they know that a token is wanted. What they read
		// here grants nothing. A server that is shown a credential of each caller would
		// be shown none, so it is not asked. Its end comes from the pipe itself, which knows of no
		// session but its own.
		c.Principal, c.verified = p.stranger(), true
	}
	if err := p.verify(ctx, c); err != nil {
		return err
	}
	if err := c.checkCredential(); err != nil {
		return err
	}
	if c.Era == Modern || c.Head.Session == "" {
		return nil // 2026-07-28 has no sessions; the header is ignored there
	}
	return p.enterSession(c)
}

func (p *Pipeline) enterSession(c *Call) error {
	session, version, foreign := p.sessions.find(c.Head.Session, c.Principal.Key(), p.opts.Server, c.Transport == Stdio && p.opts.SharedPipe)
	if foreign && c.Transport == Stdio {
		return &Rejection{Outcome: NotAuthorized, Code: CodeRole, Reason: "session", Public: "denied: this pipe serves another caller; set shared: true for the upstream to let several share it"}
	}
	if c.Session = session; session == nil {
		return unknownSession()
	}
	session.usedBy(c.delegation)
	c.usesSession = true
	if c.Version == "" {
		c.Version = version
	}
	return p.readEvent(c)
}

// stranger is whoever opens a pipe before a token is there. Without an
// authenticator there are no strangers.
func (p *Pipeline) stranger() identity.Principal {
	if p.opts.Authenticator == nil {
		return p.opts.Anyone
	}
	return identity.Principal{Issuer: unbound}
}

// unbound is the issuer of strangers, which no configured issuer is called.
const unbound = "none"

// strangers is the key that all of them have.
var strangers = identity.Principal{Issuer: unbound}.Key()

// tokens are the values that were presented, wherever they stand.
func (c *Call) tokens() identity.Secrets {
	if c.carrier != 0 {
		return identity.NewSecrets("Bearer " + c.Msg.Text(c.carrier))
	}
	return c.Head.Authorization
}

// Credentials are the values of Authorization that c came with, wherever they stood.
// The stream of a pipe's session needs one, and no message brings it.
func (c *Call) Credentials() identity.Secrets { return c.tokens() }

// verify checks the presented token, once per message. Whether there are too many
// of them may be known only after that, when the whole body has been read.
func (p *Pipeline) verify(ctx context.Context, c *Call) error {
	if c.doubt != nil {
		return authFailed(c.doubt)
	}
	if c.verified {
		return nil
	}
	c.verified = true
	if p.opts.Authenticator == nil {
		c.Principal = p.opts.Anyone
		return nil
	}
	token, err := c.token()
	if err == nil {
		c.Principal, err = p.opts.Authenticator.Authenticate(ctx, token)
	}
	if err == nil {
		p.delegate(c, token)
	}
	var refusal *identity.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return authFailed(refusal)
	case errors.Is(err, identity.ErrUnavailable):
		return unavailable("authentication", err)
	}
	return failed(err)
}

func (c *Call) token() (identity.Secret, error) {
	if c.Head.QueryTokens.Len() > 0 {
		// Queries end up in logs and histories (RFC 6750 section 5.3).
		return identity.Secret{}, &identity.Refusal{Public: "a token in the query is not accepted", Description: "unknown or invalid token"}
	}
	return identity.ParseBearer(c.tokens())
}
