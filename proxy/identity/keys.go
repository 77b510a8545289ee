package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Algorithms are the names of those that can be allowed: asymmetric ones, whose
// keys can be published.
var Algorithms = []string{"RS256", "ES256", "EdDSA"}

// Bounds of a key set.
const (
	maxKeys     = 100
	leastRSA    = 2048 // bits (RFC 7518 section 3.3)
	greatestRSA = 8192 // bits; larger ones make each verification a burden
)

// keySet is an immutable set of public keys. Which set a verdict was reached with
// is remembered by its address: a new set is a new generation.
type keySet struct {
	keys    []publicKey
	sum     [sha256.Size]byte // of the text
	leftOut []string          // why keys were
}

// publicKey is a key and the one algorithm that it may verify.
type publicKey struct {
	id        string
	algorithm string
	key       crypto.PublicKey
}

// parseKeySet reads a JWK set (RFC 7517 section 5). A key that cannot be used is
// left out and named; only a text that is no key set is an error. A set without
// any key is one: its issuer has taken all of them back.
func parseKeySet(text []byte) (*keySet, error) {
	var set struct {
		Keys *[]jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(*set.Keys) > maxKeys {
		return nil, fmt.Errorf("a key set of more than %d keys", maxKeys)
	}
	s := &keySet{sum: sha256.Sum256(text)}
	for i, raw := range *set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			s.leftOut = append(s.leftOut, fmt.Sprintf("key %d (kid %.64q): %v", i+1, k.id, err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

// jwk holds the members of RFC 7517 section 4 and RFC 7518 section 6.
type jwk struct {
	Type       string         `json:"kty"`
	Use        *string        `json:"use"`
	Operations *[]string      `json:"key_ops"`
	Algorithm  string         `json:"alg"`
	ID         string         `json:"kid"`
	Curve      string         `json:"crv"`
	X          string         `json:"x"`
	Y          string         `json:"y"`
	Modulus    string         `json:"n"`
	Exponent   string         `json:"e"`
	Private    jsontext.Value `json:"d"`
	Symmetric  jsontext.Value `json:"k"`
}

// parseKey reads one key. On error the result has the id only, if that.
func parseKey(raw jsontext.Value) (publicKey, error) {
	var j jwk
	if json.Unmarshal(raw, &j) != nil {
		return publicKey{}, errors.New("not a JSON Web Key")
	}
	k := publicKey{id: j.ID}
	switch {
	case j.Type == "oct" || j.Symmetric != nil:
		return k, errors.New("a symmetric key, which everybody who can read it can sign with")
	case j.Private != nil:
		return k, errors.New("a private key, which everybody who can read it can sign with")
	case j.Use != nil && *j.Use != "sig":
		return k, errors.New("not for signatures (use)")
	case j.Operations != nil && !slices.Contains(*j.Operations, "verify"):
		return k, errors.New("not for verification (key_ops)")
	}
	var err error
	switch j.Type {
	case "RSA":
		k.algorithm = "RS256"
		k.key, err = j.rsa()
	case "EC":
		k.algorithm = "ES256"
		k.key, err = j.ecdsa()
	case "OKP":
		k.algorithm = "EdDSA"
		k.key, err = j.ed25519()
	default:
		err = errors.New("key type is not supported")
	}
	if err == nil && j.Algorithm != "" && j.Algorithm != k.algorithm && (k.algorithm != "EdDSA" || j.Algorithm != "Ed25519") { // RFC 9864 section 2.2
		err = errors.New("for an algorithm that is not supported, or not with this key")
	}
	return k, err
}

func (j *jwk) rsa() (crypto.PublicKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(j.Modulus)
	e, errE := base64.RawURLEncoding.DecodeString(j.Exponent)
	if errN != nil || errE != nil {
		return nil, errors.New("malformed")
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch bits := modulus.BitLen(); {
	case bits < leastRSA || bits > greatestRSA:
		return nil, fmt.Errorf("an RSA key of %d bits; from %d to %d are accepted", bits, leastRSA, greatestRSA)
	case exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 || modulus.Bit(0) == 0:
		return nil, errors.New("an RSA key that is none")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func (j *jwk) ecdsa() (crypto.PublicKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(j.X)
	y, errY := base64.RawURLEncoding.DecodeString(j.Y)
	if j.Curve != "P-256" {
		return nil, fmt.Errorf("curve %.16q is not supported", j.Curve)
	}
	if errX != nil || errY != nil || len(x) != 32 {
		return nil, errors.New("malformed")
	}
	// Refuses what is not on the curve.
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
}

func (j *jwk) ed25519() (crypto.PublicKey, error) {
	x, err := base64.RawURLEncoding.DecodeString(j.X)
	if j.Curve != "Ed25519" {
		return nil, fmt.Errorf("curve %.16q is not supported", j.Curve)
	}
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("malformed")
	}
	return ed25519.PublicKey(x), nil
}

// find returns the one key for a token with algorithm and key id, which may be
// empty. Nil together with unknown means that a newer set may hold it; nil alone
// that none will do, because several keys fit or the named one is for something
// else: trying them all would let an attacker choose.
func (s *keySet) find(algorithm, id string) (key crypto.PublicKey, unknown bool) {
	unknown = true
	for _, k := range s.keys {
		if id != "" && k.id != id {
			continue
		}
		if id != "" {
			unknown = false
		}
		if k.algorithm != algorithm {
			continue
		}
		if key != nil {
			return nil, false
		}
		key, unknown = k.key, false
	}
	return key, unknown
}
