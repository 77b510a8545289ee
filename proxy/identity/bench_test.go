package identity

import (
	"context"
	"testing"
)

// What a call costs whose token was verified before.
func BenchmarkVerifyCached(b *testing.B) {
	c := &stopped{now: begin}
	for _, k := range []testKey{rsaKey(), ecKey(), edKey()} {
		b.Run(k.alg, func(b *testing.B) {
			v := only(signedBy(b, newIDP(k), c.Now, nil))
			token := NewSecret(k.mint(nil, nil))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Authenticate(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The cost of a verdict that is remembered must not grow with what it took to reach
// it: one allocation, for the bytes that are hashed.
func TestCachedVerdictIsCheap(t *testing.T) {
	c := &stopped{now: begin}
	v := only(signedBy(t, newIDP(rsaKey()), c.Now, nil))
	token := NewSecret(rsaKey().mint(nil, nil))
	n := testing.AllocsPerRun(100, func() {
		if _, err := v.Authenticate(context.Background(), token); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// What a token costs that was never seen before.
func BenchmarkVerifyCold(b *testing.B) {
	c := &stopped{now: begin}
	for _, k := range []testKey{rsaKey(), ecKey(), edKey()} {
		b.Run(k.alg, func(b *testing.B) {
			signed := signedBy(b, newIDP(k), c.Now, nil)
			v, token := only(signed), NewSecret(k.mint(nil, nil))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Authenticate(b.Context(), token); err != nil {
					b.Fatal(err)
				}
				signed.known.drop(digestOf(token))
			}
		})
	}
}
