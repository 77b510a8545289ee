package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"mcp-sidecar/proxy/identity"
)

// keyLife is how long a key signs. It stays published for as long as what it has
// signed may be shown.
const keyLife = 30 * 24 * time.Hour

// keys sign the tokens (ES256) and are published without their private half.
type keys struct {
	vault *vault
	now   func() time.Time

	mu  sync.Mutex
	all []signingKey // the newest last
}

type signingKey struct {
	ID   string          `json:"kid"`
	Made time.Time       `json:"made"`
	Key  identity.Secret `json:"key"` // PKCS #8 in Base64

	private *ecdsa.PrivateKey
}

// openKeys reads the keys, or makes the first. Keys that do not open were made
// with another encryption key, and so was everything else.
func openKeys(v *vault, now func() time.Time) (*keys, error) {
	k := &keys{vault: v, now: now}
	err := v.get(kindKeys, nil, &k.all)
	switch {
	case errors.Is(err, errNoRecord) && len(v.entries) > 0:
		return nil, wrapf("%s holds records but no key of ours: was it used with another key_file? Move it away to begin anew", v.folder)
	case errors.Is(err, errNoRecord):
	case err != nil:
		return nil, wrapf("%s: %w", v.folder, err)
	}
	for i := range k.all {
		private, ok := k.all[i].parse()
		if !ok {
			return nil, wrapf("%s: the signing key is damaged", v.folder)
		}
		k.all[i].private = private
	}
	_, err = k.signing()
	return k, err
}

func (s signingKey) parse() (*ecdsa.PrivateKey, bool) {
	encoded, err := base64.StdEncoding.DecodeString(s.Key.Reveal())
	if err != nil {
		return nil, false
	}
	parsed, err := x509.ParsePKCS8PrivateKey(encoded)
	private, ok := parsed.(*ecdsa.PrivateKey)
	return private, ok && err == nil
}

// signing returns the key that signs now. It is new when the last one is old.
func (k *keys) signing() (signingKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if n := len(k.all); n > 0 && now.Before(k.all[n-1].Made.Add(keyLife)) {
		return k.all[n-1], nil
	}
	fresh, err := newSigningKey(now)
	if err != nil {
		return signingKey{}, err
	}
	all := slices.DeleteFunc(slices.Clone(k.all), func(old signingKey) bool {
		return now.After(old.Made.Add(keyLife + 2*tokenLife))
	})
	all = append(all, fresh)
	if err := k.vault.put(kindKeys, nil, nil, 0, all); err != nil {
		return signingKey{}, err
	}
	k.all = all
	return fresh, nil
}

func newSigningKey(now time.Time) (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signingKey{}, wrapf("signing key: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return signingKey{}, wrapf("signing key: %w", err)
	}
	id := sha256.Sum256(encoded)
	return signingKey{ID: base64.RawURLEncoding.EncodeToString(id[:12]), Made: now, Key: identity.NewSecret(base64.StdEncoding.EncodeToString(encoded)), private: private}, nil
}

// public returns the key called id.
func (k *keys) public(id string) *ecdsa.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.all {
		if key.ID == id {
			return &key.private.PublicKey
		}
	}
	return nil
}

// publishKeys answers with the key set (RFC 7517).
func (b *Broker) publishKeys(w http.ResponseWriter, _ *http.Request) {
	type jwk struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
		X     string `json:"x"`
		Y     string `json:"y"`
		ID    string `json:"kid"`
		Use   string `json:"use"`
		Alg   string `json:"alg"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	b.keys.mu.Lock()
	for _, key := range b.keys.all {
		point, err := key.private.PublicKey.Bytes() // 4, X, Y (SEC 1 section 2.3.3)
		if err != nil {
			continue
		}
		half := (len(point) - 1) / 2
		encode := base64.RawURLEncoding.EncodeToString
		set.Keys = append(set.Keys, jwk{"EC", "P-256", encode(point[1 : 1+half]), encode(point[1+half:]), key.ID, "sig", "ES256"})
	}
	b.keys.mu.Unlock()
	publish(w, set)
}

// publish writes a document that anybody may read, pages of other origins too.
func publish(w http.ResponseWriter, document any) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	writeJSON(w, http.StatusOK, document)
}

func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // the reader may have gone
}
