package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithm is how a key signs (RFC 7518 section 3.1, RFC 8037 section 3.1).
type Algorithm string

// Algorithms of keys.
const (
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	EdDSA Algorithm = "EdDSA"
)

// signingKey is a key pair and its public half as the key set shows it.
type signingKey struct {
	method  jwt.SigningMethod
	private crypto.Signer
	public  jwk
}

// jwk is a member of a key set (RFC 7517 section 4).
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// Rotate makes a key that signs from now on and returns its kid. Older keys stay in
// the key set until they are retired. An unknown algorithm is a mistake of the
// calling test and panics.
func (i *Issuer) Rotate(a Algorithm) (kid string) {
	key := newKey(a)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, key)
	return key.public.ID
}

// Retire takes a key out of the key set. The last one that is left signs.
func (i *Issuer) Retire(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = slices.DeleteFunc(i.keys, func(k signingKey) bool { return k.public.ID == kid })
}

// KeyIDs returns the kid of every key of the key set, the signing one last.
func (i *Issuer) KeyIDs() (ids []string) {
	for _, k := range i.published() {
		ids = append(ids, k.ID)
	}
	return ids
}

// newKey makes a key pair. Its kid is random: a set that was fetched before a
// restart must not seem to hold the new key.
func newKey(a Algorithm) signingKey {
	k := signingKey{public: jwk{Use: "sig", Algorithm: string(a), ID: rand.Text()[:8]}}
	var err error
	switch a {
	case ES256:
		k.method = jwt.SigningMethodES256
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			k.private = key
			point, _ := key.PublicKey.Bytes() // 4, x, y; P-256 has no point that it refuses
			k.public.Type, k.public.Curve, k.public.X, k.public.Y = "EC", "P-256", encode(point[1:33]), encode(point[33:])
		}
	case RS256:
		k.method = jwt.SigningMethodRS256
		var key *rsa.PrivateKey
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			k.private = key
			k.public.Type, k.public.N, k.public.E = "RSA", encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())
		}
	case EdDSA:
		k.method = jwt.SigningMethodEdDSA
		var public ed25519.PublicKey
		var key ed25519.PrivateKey
		if public, key, err = ed25519.GenerateKey(rand.Reader); err == nil {
			k.private = key
			k.public.Type, k.public.Curve, k.public.X = "OKP", "Ed25519", encode(public)
		}
	default:
		err = fmt.Errorf("unknown algorithm %q", a)
	}
	if err != nil {
		panic("issuer: " + err.Error())
	}
	return k
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// keySet is the document of RFC 7517 section 5.
type keySet struct {
	Keys []jwk `json:"keys"`
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, keySet{i.published()})
}

// published are the public halves of the keys, or those from before the key set
// became stale.
func (i *Issuer) published() []jwk {
	i.mu.Lock()
	defer i.mu.Unlock()
	if f := i.faults[EndpointKeys]; f != nil && f.kind == Stale {
		return f.keys
	}
	return publicKeys(i.keys)
}

func publicKeys(keys []signingKey) []jwk {
	public := []jwk{} // an empty set is an array too
	for _, k := range keys {
		public = append(public, k.public)
	}
	return public
}
