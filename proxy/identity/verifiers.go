package identity

import (
	"context"
	"errors"
)

// Verifiers are all ways in which a token can be verified, the list of those that
// were taken back, and the directory that adds roles. At least one way must be there.
type Verifiers struct {
	Static        *Static // nil: none
	JWT           []*JWT
	Introspection []*Introspector
	Revoked       *Revoked   // nil: none
	Directory     *Directory // nil: none
}

// Authenticate verifies token. Errors are a *Refusal, or wrap ErrUnavailable.
func (vs *Verifiers) Authenticate(ctx context.Context, token Secret) (Principal, error) {
	d := digestOf(token)
	p, err := vs.verify(ctx, token, d)
	if err != nil {
		return Principal{}, err
	}
	return vs.admit(token, d, p)
}

// admit is what holds for whoever was verified, in whichever way and how long ago.
func (vs *Verifiers) admit(token Secret, d digest, p Principal) (Principal, error) {
	if err := vs.Revoked.check(token, d, p); err != nil {
		return Principal{}, err
	}
	p.Roles = vs.Directory.of(p)
	return p, nil
}

// Common lets in whom Next lets in, under what Verifiers say of everybody: which
// tokens were taken back, and who has which roles. Nil Verifiers say nothing.
type Common struct {
	Verifiers *Verifiers
	Next      interface {
		Authenticate(ctx context.Context, token Secret) (Principal, error)
	}
}

// Authenticate verifies token. Errors are those of Next, and of [Verifiers].
func (c Common) Authenticate(ctx context.Context, token Secret) (Principal, error) {
	p, err := c.Next.Authenticate(ctx, token)
	if err != nil || c.Verifiers == nil {
		return p, err
	}
	return c.Verifiers.admit(token, digestOf(token), p)
}

// verify finds out who can say something about token, and asks nobody else: a
// token that is shown to another issuer than its own is a token that leaked.
func (vs *Verifiers) verify(ctx context.Context, token Secret, d digest) (Principal, error) {
	if p, err, found := vs.recall(ctx, d); found {
		return p, err
	}
	s, err := readSigned(token.Reveal())
	switch {
	case errors.Is(err, errOpaque):
		return ask(ctx, vs.Introspection, token, d)
	case err != nil:
		return Principal{}, err
	}
	// The claim is not verified yet. It chooses who verifies it, by being exactly
	// what that issuer is called, and nothing is fetched for any other.
	for _, v := range vs.JWT {
		if v.opts.Issuer == s.claims.Issuer {
			return v.verify(ctx, s, d)
		}
	}
	var issuers []*Introspector
	for _, v := range vs.Introspection {
		if s.claims.Issuer == "" || s.claims.Issuer == v.opts.Issuer {
			issuers = append(issuers, v)
		}
	}
	return ask(ctx, issuers, token, d)
}

// recall returns what is known without asking and without verifying anew.
func (vs *Verifiers) recall(ctx context.Context, d digest) (Principal, error, bool) {
	if vs.Static != nil {
		if p, err, found := vs.Static.verify(d); found {
			return p, err, true
		}
	}
	for _, v := range vs.JWT {
		if p, ok := v.recall(ctx, d); ok {
			return p, nil, true
		}
	}
	for _, v := range vs.Introspection {
		if p, err, ok := v.recall(d); ok {
			return p, err, true
		}
	}
	return Principal{}, nil, false
}

// ask asks several issuers in turn: an opaque token does not say who issued it.
// The first that accepts decides; when none does, one that could not be asked
// outweighs one that did not know the token.
func ask(ctx context.Context, issuers []*Introspector, token Secret, d digest) (Principal, error) {
	var result error = ErrInvalid
	for _, v := range issuers {
		p, err := v.verify(ctx, token, d)
		if err == nil {
			return p, nil
		}
		if errors.Is(result, ErrInvalid) || errors.Is(err, ErrUnavailable) {
			result = err
		}
	}
	return Principal{}, result
}

// Warm begins to fetch the keys of all issuers, so that the log says soon when they
// cannot be had. It waits for nothing.
func (vs *Verifiers) Warm() {
	for _, v := range vs.JWT {
		v.keys.warm()
	}
}

// Close ends what is under way.
func (vs *Verifiers) Close() {
	for _, v := range vs.JWT {
		v.Close()
	}
	for _, v := range vs.Introspection {
		v.Close()
	}
}
