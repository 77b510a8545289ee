package sidecar

import (
	"fmt"
	"slices"
	"testing"
)

// The last tokens are known, and no more of them than there is room for.
func TestShownTokens(t *testing.T) {
	t.Parallel()
	var s shownTokens
	if s.knows("token-of-nobody") || s.within("token-of-nobody") != nil {
		t.Error("something is known from the start")
	}
	name := func(n int) string { return fmt.Sprintf("<token %03d>", n) }
	for n := range maxShown + 2 {
		s.note(name(n))
		s.note(name(n))
	}
	s.note("short")
	for n, want := range map[int]bool{0: false, 1: false, 2: true, maxShown - 1: true, maxShown + 1: true} {
		if s.knows(name(n)) != want {
			t.Errorf("%s known: %v", name(n), !want)
		}
	}
	if got := s.within("of " + name(2) + " and " + name(0) + ", short"); !slices.Equal(got, []string{name(2)}) {
		t.Errorf("%q", got)
	}
	if ring := s.tokens.Reveal(); len(ring.order) != maxShown || len(ring.known) != maxShown {
		t.Errorf("%d, %d are kept", len(ring.order), len(ring.known))
	}
}
