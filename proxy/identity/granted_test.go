package identity

import (
	"context"
	"errors"
	"testing"
)

func TestGranted(t *testing.T) {
	gone := errors.New("gone")
	of := map[string]string{"alice": "token of alice", "carol": "", "": "token of nobody"}
	g := Granted{
		Token: func(_ context.Context, p Principal) (Secret, error) {
			if _, ok := of[p.Subject]; !ok {
				return Secret{}, gone
			}
			return NewSecret(of[p.Subject]), nil
		},
		Renewed: func(_ context.Context, p Principal, refused Secret) (Secret, error) {
			switch p.Subject {
			case "alice":
				return NewSecret(refused.Reveal() + ", renewed"), nil
			case "dave":
				return refused, nil
			case "erin":
				return Secret{}, nil
			}
			return NewSecret("x"), gone
		},
	}
	for _, row := range []struct {
		name, subject string
		want, renewed string
		err           error
	}{
		{"granted", "alice", "token of alice", "token of alice, renewed", nil},
		{"nothing granted", "bob", "", "", ErrNoCredential},
		{"the same again", "dave", "", "", ErrNoCredential},
		{"nothing in its place", "erin", "", "", ErrNoCredential},
		{"empty", "carol", "", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := NewDelegation(Principal{Subject: row.subject}, NewSecret("what the caller presented"))
			c, err := g.Current(t.Context(), d)
			if c.Reveal() != row.want || !errors.Is(err, row.err) {
				t.Errorf("%q, %v", c.Reveal(), err)
			}
			next, ok := g.Renew(t.Context(), d, c)
			if ok != (row.renewed != "") || ok && next.Reveal() != row.renewed {
				t.Errorf("renewed %q, %v", next.Reveal(), ok)
			}
		})
	}
	if c, err := g.Current(t.Context(), nil); !c.Empty() || !errors.Is(err, ErrNoCredential) {
		t.Errorf("nobody is shown as somebody: %v", err)
	}
	if _, ok := g.Renew(t.Context(), nil, Credential{}); ok {
		t.Error("nobody's is renewed")
	}
}
