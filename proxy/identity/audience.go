package identity

import (
	"context"
	"errors"
)

// Audience lets in whom Next lets in, if the token is meant for one of Names. Next
// serves several services, each of which has an Audience of its own in front: a token
// for one of them is none for the others (RFC 8707 section 2).
type Audience struct {
	Names []string
	Next  interface {
		Authenticate(ctx context.Context, token Secret) (Principal, error)
	}
}

// Authenticate verifies token. Errors are those of Next, except that what stands in
// them as expected is what is expected here.
func (a Audience) Authenticate(ctx context.Context, token Secret) (Principal, error) {
	p, err := a.Next.Authenticate(ctx, token)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal) && refusal.foreign:
		return Principal{}, wrongAudience(refusal.audience, a.Names)
	case err != nil:
		return Principal{}, err
	case !intersects(p.Audience, a.Names):
		return Principal{}, wrongAudience(p.Audience, a.Names)
	}
	return p, nil
}
