package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const testIssuer = "https://idp.example"

// testKey is a key pair of an issuer.
type testKey struct {
	id, alg string
	private any
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Making an RSA key takes a while; one of each kind serves all tests.
var (
	rsaKey   = sync.OnceValue(func() testKey { return testKey{"rsa", "RS256", must(rsa.GenerateKey(rand.Reader, 2048))} })
	ecKey    = sync.OnceValue(func() testKey { return newECKey("ec") })
	edKey    = sync.OnceValue(func() testKey { return testKey{"ed", "EdDSA", edPrivate()} })
	otherKey = sync.OnceValue(func() testKey { return newECKey("other") })
)

func newECKey(id string) testKey {
	return testKey{id, "ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func edPrivate() ed25519.PrivateKey {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return must(private, err)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public half, with members changed: nil takes one away.
func (k testKey) jwk(change map[string]any) map[string]any {
	m := map[string]any{"kid": k.id, "alg": k.alg, "use": "sig"}
	switch p := k.private.(crypto.Signer).Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point := must(p.Bytes())
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", p.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(p)
	}
	for name, v := range change {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	return m
}

// token signs exactly these parts.
func (k testKey) token(header, claims string) string {
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	return input + "." + b64(must(jwt.GetSigningMethod(k.alg).Sign(input, k.private)))
}

// goodHeader and goodClaims are accepted; tests change them.
func (k testKey) goodHeader() map[string]any {
	return map[string]any{"alg": k.alg, "kid": k.id, "typ": "at+jwt"}
}

// begin is when the clocks of tests start.
var begin = time.Unix(1_800_000_000, 0)

func goodClaims() map[string]any {
	return map[string]any{
		"iss": testIssuer, "sub": "alice", "aud": "doc-server", "client_id": "cli", "scope": "a:b c:d", "jti": "1",
		"iat": begin.Unix(), "exp": begin.Add(time.Hour).Unix(),
	}
}

// with returns m with members changed: nil takes one away.
func with(m map[string]any, change map[string]any) map[string]any {
	m = maps.Clone(m)
	for name, v := range change {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	return m
}

// mint signs goodHeader and goodClaims with changes.
func (k testKey) mint(header, claims map[string]any) string {
	return k.token(text(with(k.goodHeader(), header)), text(with(goodClaims(), claims)))
}

func text(v any) string { return string(must(json.Marshal(v))) }

// idp publishes keys and metadata without a network.
type idp struct {
	mu       sync.Mutex
	keys     []map[string]any
	metadata map[string]any                      // nil: none is published
	broken   func(*http.Request) (string, error) // instead of an answer; an empty text means not broken
	fetched  atomic.Int64                        // requests for keys
	asked    atomic.Int64                        // requests for metadata
}

func newIDP(keys ...testKey) *idp {
	p := &idp{}
	p.publish(keys...)
	return p
}

func (p *idp) publish(keys ...testKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = []map[string]any{}
	for _, k := range keys {
		p.keys = append(p.keys, k.jwk(nil))
	}
}

func (p *idp) breakWith(f func(*http.Request) (string, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = f
}

func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	keys, metadata, broken := p.keys, p.metadata, p.broken
	p.mu.Unlock()
	var body any = map[string]any{"keys": keys}
	if r.URL.Path != "/keys" {
		p.asked.Add(1)
		if metadata == nil || r.URL.Path != "/.well-known/oauth-authorization-server" {
			return response(r, 404, "text/html", "not found"), nil
		}
		body = metadata
	} else {
		p.fetched.Add(1)
	}
	if broken != nil {
		instead, err := broken(r)
		switch {
		case err != nil:
			return nil, err
		case instead != "":
			return response(r, 200, "application/json", instead), nil
		}
	}
	return response(r, 200, "application/json", text(body)), nil
}

func response(r *http.Request, status int, media, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(bytes.NewReader([]byte(body))), Request: r}
}

// signedBy returns a verifier for the tokens of p; change may alter its options.
func signedBy(t testing.TB, p http.RoundTripper, now func() time.Time, change func(*JWTOptions)) *JWT {
	t.Helper()
	o := JWTOptions{Issuer: testIssuer, Audience: []string{"doc-server", "other"}, KeysURL: testIssuer + "/keys", Fetcher: fetcherOf(p), Now: now}
	if change != nil {
		change(&o)
	}
	v, err := NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// only is all there is to verify with.
func only(v *JWT) *Verifiers { return &Verifiers{JWT: []*JWT{v}} }
