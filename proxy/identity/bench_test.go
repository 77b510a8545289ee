package identity

import "testing"

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
