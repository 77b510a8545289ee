package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// get returns the answer to a GET.
func get(t *testing.T, i *Issuer, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// fetched reads the key set as a resource server does, with code of its own.
func fetched(t *testing.T, i *Issuer) map[string]crypto.PublicKey {
	t.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(get(t, i, keysPath).Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	bytes := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	keys := map[string]crypto.PublicKey{}
	for _, k := range set.Keys {
		switch k["kty"] {
		case "EC":
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, bytes(k["x"]), bytes(k["y"])))
			if err != nil {
				t.Fatal(err)
			}
			keys[k["kid"]] = key
		case "RSA":
			keys[k["kid"]] = &rsa.PublicKey{N: new(big.Int).SetBytes(bytes(k["n"])), E: int(new(big.Int).SetBytes(bytes(k["e"])).Int64())}
		case "OKP":
			keys[k["kid"]] = ed25519.PublicKey(bytes(k["x"]))
		}
	}
	return keys
}

// verified returns header and claims of a token that one of the published keys has
// signed.
func verified(t *testing.T, i *Issuer, token string) (header, claims map[string]any, err error) {
	t.Helper()
	parsed, err := jwt.ParseWithClaims(token, jwt.MapClaims{}, func(tok *jwt.Token) (any, error) {
		kid, _ := tok.Header["kid"].(string)
		if key, ok := fetched(t, i)[kid]; ok {
			return key, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	}, jwt.WithValidMethods([]string{"ES256", "RS256", "EdDSA"}), jwt.WithTimeFunc(i.config.Now))
	if err != nil {
		return nil, nil, err
	}
	return parsed.Header, parsed.Claims.(jwt.MapClaims), nil
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// atNoon is an issuer whose clock stands still.
func atNoon() *Issuer {
	return New(Config{URL: testURL, ClientID: "mcp-sidecar", ClientSecret: "s3cret/+", Now: func() time.Time { return noon }})
}

// A signed token has the claims of RFC 9068 and verifies with the published key of
// each algorithm.
func TestJWT(t *testing.T) {
	for _, a := range []Algorithm{ES256, RS256, EdDSA} {
		t.Run(string(a), func(t *testing.T) {
			i := atNoon()
			kid := i.Rotate(a)
			token := i.MintJWT(Claims{Subject: "alice", ClientID: "cli", Audience: "https://sidecar.example/mcp", Expiry: noon.Add(time.Minute),
				Scopes: []string{"documents:read", "documents:update"}, Actor: "agent", Extra: map[string]any{"groups": []string{"staff"}}})
			header, claims, err := verified(t, i, token)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]any{"alg": string(a), "typ": "at+jwt", "kid": kid}; !reflect.DeepEqual(header, want) {
				t.Errorf("header %v, want %v", header, want)
			}
			jti, _ := claims["jti"].(string)
			if len(jti) < 26 {
				t.Errorf("jti %q", jti)
			}
			delete(claims, "jti")
			want := map[string]any{"iss": testURL, "sub": "alice", "client_id": "cli", "aud": "https://sidecar.example/mcp", "iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 60),
				"scope": "documents:read documents:update", "act": map[string]any{"sub": "agent"}, "groups": []any{"staff"}}
			if !reflect.DeepEqual(claims, want) {
				t.Errorf("claims %v, want %v", claims, want)
			}
			if _, answer := ask(t, i, "mcp-sidecar", "s3cret%2F%2B", form(token)); answer["active"] != true || answer["sub"] != "alice" {
				t.Errorf("introspection answers %v", answer)
			}
		})
	}
}

// The newest key signs, older ones verify until they are retired.
func TestRotation(t *testing.T) {
	i := atNoon()
	mint := func() string { return i.MintJWT(Claims{Subject: "alice", Expiry: noon.Add(time.Minute)}) }
	first, old := i.KeyIDs()[0], mint()
	second := i.Rotate(EdDSA)
	fresh := mint()
	if got := i.KeyIDs(); !slices.Equal(got, []string{first, second}) {
		t.Errorf("keys %q", got)
	}
	for name, token := range map[string]string{"old": old, "fresh": fresh} {
		if _, _, err := verified(t, i, token); err != nil {
			t.Errorf("%s token: %v", name, err)
		}
	}
	i.Retire(first)
	if _, _, err := verified(t, i, old); err == nil {
		t.Error("a token of a retired key verifies")
	}
	if header, _, err := verified(t, i, fresh); err != nil || header["kid"] != second {
		t.Errorf("%v, %v", header, err)
	}
	i.Retire(second)
	if got := get(t, i, keysPath).Body.String(); got != `{"keys":[]}`+"\n" {
		t.Errorf("empty key set %q", got)
	}
	if _, err := i.Sign(nil, nil); err == nil {
		t.Error("signed without a key")
	}
}

// Tests make wrong tokens on purpose.
func TestSignSaysWhatItIsTold(t *testing.T) {
	i := atNoon()
	token, err := i.Sign(map[string]any{"kid": "other", "jku": "https://attacker.example/keys", "crit": []string{"x"}}, map[string]any{"sub": 7})
	if err != nil {
		t.Fatal(err)
	}
	part := func(n int) string {
		b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got, want := part(0), `{"alg":"ES256","crit":["x"],"jku":"https://attacker.example/keys","kid":"other"}`; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if got := part(1); got != `{"sub":7}` {
		t.Errorf("claims %s", got)
	}
	if _, answer := ask(t, i, "mcp-sidecar", "s3cret%2F%2B", form(token)); answer["active"] != false {
		t.Errorf("introspection knows it: %v", answer)
	}
}

func TestMetadataLocations(t *testing.T) {
	for url, paths := range map[string][]string{
		testURL:                   {"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"},
		testURL + "/realms/demo":  {"/.well-known/oauth-authorization-server/realms/demo", "/.well-known/openid-configuration/realms/demo", "/realms/demo/.well-known/openid-configuration"},
		"https://other.example/x": {"/.well-known/oauth-authorization-server/x"},
	} {
		for _, path := range paths {
			var doc map[string]any
			w := get(t, New(Config{URL: url}), path)
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%s%s: %d %v", url, path, w.Code, err)
			}
			if doc["issuer"] != url || doc["jwks_uri"] != url+"/jwks" || doc["token_endpoint"] != url+"/token" {
				t.Errorf("%s: %v", path, doc)
			}
		}
	}
	// The endpoints themselves are below the issuer's path.
	i := New(Config{URL: testURL + "/realms/demo"})
	for path, want := range map[string]int{"/realms/demo/jwks": http.StatusOK, "/jwks": http.StatusNotFound, "/realms/demo/": http.StatusOK} {
		if got := get(t, i, path).Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}
