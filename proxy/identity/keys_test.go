package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"
)

// Which keys of a set can be used, and for what.
func TestKeys(t *testing.T) {
	ec, rs, ed := ecKey(), rsaKey(), edKey()
	weak := testKey{"weak", "RS256", &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: odd(1024), E: 65537}}}
	huge := testKey{"huge", "RS256", &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: odd(8193), E: 65537}}}
	p384 := testKey{"p384", "ES384", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))}
	for _, row := range []struct {
		name string
		jwk  any
		want string // the algorithm, or why it is left out
	}{
		{"RSA", rs.jwk(nil), "RS256"},
		{"EC", ec.jwk(nil), "ES256"},
		{"Ed25519", ed.jwk(nil), "EdDSA"},
		{"Ed25519 by its new name", ed.jwk(change{"alg": "Ed25519"}), "EdDSA"},
		{"no algorithm", ec.jwk(change{"alg": nil}), "ES256"},
		{"no use", ec.jwk(change{"use": nil}), "ES256"},
		{"operations", ec.jwk(change{"use": nil, "key_ops": []string{"verify"}}), "ES256"},
		{"no id", ec.jwk(change{"kid": nil}), "ES256"},
		{"certificate beside it", ec.jwk(change{"x5c": []string{"MIIB"}}), "ES256"},
		{"greatest RSA key", testKey{"r", "RS256", &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: odd(8192), E: 3}}}.jwk(nil), "RS256"},

		{"symmetric", change{"kty": "oct", "kid": "s", "k": "AAAA"}, "symmetric key"},
		{"symmetric in disguise", ec.jwk(change{"k": "AAAA"}), "symmetric key"},
		{"private", ec.jwk(change{"d": "AAAA"}), "private key"},
		{"for encryption", rs.jwk(change{"use": "enc"}), "not for signatures"},
		{"empty use", rs.jwk(change{"use": ""}), "not for signatures"},
		{"for signing only", rs.jwk(change{"key_ops": []string{"sign"}}), "not for verification"},
		{"for no operation", rs.jwk(change{"key_ops": []string{}}), "not for verification"},
		{"RSA key for PS256", rs.jwk(change{"alg": "PS256"}), "not supported"},
		{"RSA key for encryption", rs.jwk(change{"alg": "RSA-OAEP"}), "not supported"},
		{"RSA key for HS256", rs.jwk(change{"alg": "HS256"}), "not supported"},
		{"EC key for RS256", ec.jwk(change{"alg": "RS256"}), "not supported"},
		{"EC key with the name of an Ed25519 algorithm", ec.jwk(change{"alg": "Ed25519"}), "not supported"},
		{"1024 bits", weak.jwk(nil), "1024 bits"},
		{"8193 bits", huge.jwk(nil), "8193 bits"},
		{"even modulus", rs.jwk(change{"n": b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())}), "that is none"},
		{"exponent 1", rs.jwk(change{"e": "AQ"}), "that is none"},
		{"even exponent", rs.jwk(change{"e": "AQAA"}), "that is none"},
		{"exponent beyond bounds", rs.jwk(change{"e": "AQAAAAAB"}), "that is none"},
		{"no modulus", rs.jwk(change{"n": nil}), "0 bits"},
		{"modulus that is no Base64", rs.jwk(change{"n": "!"}), "malformed"},
		{"P-384", p384.jwk(nil), `curve "P-384"`},
		{"P-256 of a P-384 key", p384.jwk(change{"crv": "P-256"}), "malformed"},
		{"not on the curve", ec.jwk(change{"y": b64(make([]byte, 32))}), "point"},
		{"short coordinate", ec.jwk(change{"x": b64(make([]byte, 31))}), "malformed"},
		{"X25519", ed.jwk(change{"crv": "X25519"}), "not supported"},
		{"short Ed25519 key", ed.jwk(change{"x": b64(make([]byte, 31))}), "malformed"},
		{"unknown type", ec.jwk(change{"kty": "AKP"}), "not supported"},
		{"no type", ec.jwk(change{"kty": nil}), "not supported"},
		{"use is no text", ec.jwk(change{"use": 1}), "not a JSON Web Key"},
		{"no object", "key", "not a JSON Web Key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			set, err := parseKeySet([]byte(text(change{"keys": []any{row.jwk, ed.jwk(change{"kid": "beside"})}})))
			if err != nil || len(set.keys) == 0 || set.keys[len(set.keys)-1].id != "beside" {
				t.Fatalf("the key beside it is gone: %v", err)
			}
			got := strings.Join(set.leftOut, "")
			if len(set.keys) == 2 {
				got = set.keys[0].algorithm
			}
			if !strings.Contains(got, row.want) || len(set.keys) == 2 != (got == row.want) {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

// odd is an odd number of n bits.
func odd(n uint) *big.Int {
	top := new(big.Int).Lsh(big.NewInt(1), n-1)
	return top.SetBit(top, 0, 1)
}

func TestKeySets(t *testing.T) {
	for _, row := range []struct {
		name, text string
		keys       int // -1: no key set
	}{
		{"one", text(change{"keys": []any{ecKey().jwk(nil)}}), 1},
		{"none: all are taken back", `{"keys":[]}`, 0},
		{"more members", `{"keys":[],"issuer":"x"}`, 0},
		{"a hundred", text(change{"keys": slicesOf(100, ecKey().jwk(nil))}), 100},
		{"one more", text(change{"keys": slicesOf(101, ecKey().jwk(nil))}), -1},
		{"no keys", `{}`, -1},
		{"null", `{"keys":null}`, -1},
		{"keys in other case", `{"Keys":[]}`, -1},
		{"keys twice", `{"keys":[],"keys":[]}`, -1},
		{"list", `[]`, -1},
		{"one key", text(ecKey().jwk(nil)), -1},
		{"garbage", `<html>`, -1},
		{"cut", `{"keys":[`, -1},
		{"empty", ``, -1},
		{"a name twice within a key", `{"keys":[{"kty":"EC","kty":"RSA"}]}`, -1},
	} {
		set, err := parseKeySet([]byte(row.text))
		if (err != nil) != (row.keys < 0) || err == nil && len(set.keys) != row.keys {
			t.Errorf("%s: %+v, %v", row.name, set, err)
		}
	}
}

func slicesOf(n int, v any) (list []any) {
	for range n {
		list = append(list, v)
	}
	return list
}

// Of several keys that fit, none is chosen; a key that is there for something
// else is no reason to look for it elsewhere.
func TestFindKey(t *testing.T) {
	a, b := newECKey("a"), newECKey("b")
	for _, row := range []struct {
		name          string
		keys          []any
		algorithm, id string
		found         bool
		unknown       bool
	}{
		{name: "by id", keys: []any{a.jwk(nil), b.jwk(nil)}, algorithm: "ES256", id: "b", found: true},
		{name: "the only one", keys: []any{a.jwk(nil), rsaKey().jwk(nil)}, algorithm: "ES256", found: true},
		{name: "several and no id", keys: []any{a.jwk(nil), b.jwk(nil)}, algorithm: "ES256"},
		{name: "several with the id", keys: []any{a.jwk(nil), b.jwk(change{"kid": "a"})}, algorithm: "ES256", id: "a"},
		{name: "three and no id", keys: []any{a.jwk(nil), b.jwk(nil), b.jwk(nil)}, algorithm: "ES256"},
		{name: "one of each kind with the id", keys: []any{rsaKey().jwk(change{"kid": "a"}), a.jwk(nil)}, algorithm: "ES256", id: "a", found: true},
		{name: "another kind with the id", keys: []any{a.jwk(nil)}, algorithm: "RS256", id: "a"},
		{name: "the only one has no id", keys: []any{a.jwk(change{"kid": nil})}, algorithm: "ES256", id: "a", unknown: true},
		{name: "unknown id", keys: []any{a.jwk(nil)}, algorithm: "ES256", id: "b", unknown: true},
		{name: "no key of the kind", keys: []any{a.jwk(nil)}, algorithm: "RS256", unknown: true},
		{name: "no key", algorithm: "RS256", unknown: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.keys == nil {
				row.keys = []any{}
			}
			set := must(parseKeySet([]byte(text(change{"keys": row.keys}))))
			key, unknown := set.find(row.algorithm, row.id)
			if (key != nil) != row.found || unknown != row.unknown {
				t.Errorf("key %v, unknown %t", key, unknown)
			}
		})
	}
}
