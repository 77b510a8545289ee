package identity

import (
	"context"
	"fmt"
)

// Granted shows an upstream what each caller has granted: the token of a third
// party. Its functions are told who calls and never what the caller has presented,
// so that cannot be shown in the grant's place.
type Granted struct {
	// Token returns the caller's token.
	Token func(ctx context.Context, caller Principal) (Secret, error)
	// Renewed returns the caller's token in place of refused, which the upstream did
	// not take.
	Renewed func(ctx context.Context, caller Principal, refused Secret) (Secret, error)
}

// Current returns what the upstream is shown in d's name. Errors wrap
// [ErrNoCredential].
func (g Granted) Current(ctx context.Context, d *Delegation) (Credential, error) {
	caller, ok := d.Caller()
	if !ok {
		return Credential{}, ErrNoCredential
	}
	token, err := g.Token(ctx, caller)
	if err != nil {
		return Credential{}, fmt.Errorf("%w: %w", ErrNoCredential, err)
	}
	return newCredential(token.Reveal()), nil
}

// Renew returns what to show instead of refused; false when there is nothing else.
func (g Granted) Renew(ctx context.Context, d *Delegation, refused Credential) (Credential, bool) {
	caller, ok := d.Caller()
	if !ok {
		return Credential{}, false
	}
	token, err := g.Renewed(ctx, caller, NewSecret(refused.Reveal()))
	c := newCredential(token.Reveal())
	return c, err == nil && !c.Empty() && !c.Same(refused)
}
