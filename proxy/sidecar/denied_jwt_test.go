package sidecar

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// signedOnly makes the issuer of the demo one of signed tokens, whose keys are
// found by its metadata.
func signedOnly(cfg *config.Config) {
	cfg.Auth.JWT = []config.JWT{{Issuer: cfg.Auth.Introspection[0].Issuer, AllowLoopbackHTTP: true}}
	cfg.Auth.Introspection = nil
}

func signing() setup { return setup{change: signedOnly} }

// signingWith is signing with further changes of the one issuer.
func signingWith(change func(*config.JWT)) func() setup {
	return func() setup {
		return setup{change: func(cfg *config.Config) {
			signedOnly(cfg)
			change(&cfg.Auth.JWT[0])
		}}
	}
}

type members = map[string]any

// claims are good ones with members changed; nil takes one away.
func (r *rig) claims(change members) members {
	now := r.clock.Now()
	m := members{
		"iss": r.issuerURL, "sub": "alice", "aud": "doc-server", "client_id": "cli", "scope": "documents:*",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": rand.Text(),
	}
	return changed(m, change)
}

func changed(m, change members) members {
	m = maps.Clone(m)
	for name, v := range change {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	return m
}

// signed returns a token of the issuer's with exactly these changes to a good one.
// What is nil in the header is null there, which is as good as missing.
func (r *rig) signed(header, claims members) string {
	r.t.Helper()
	with := members{"typ": "at+jwt"}
	maps.Copy(with, header)
	token, err := r.issuer.Sign(with, r.claims(claims))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.remembered(token)
}

// remembered makes sure that the token is looked for wherever it must not be.
func (r *rig) remembered(token string) string {
	if len(token) >= 12 {
		r.tokens[fmt.Sprintf("token %x", sha256.Sum256([]byte(token)))] = token
	}
	return token
}

// claiming asks with a token whose claims are changed.
func claiming(claims members) func(*rig, string, string) ask { return heads(nil, claims) }

// heads asks with a token whose header and claims are changed.
func heads(header, claims members) func(*rig, string, string) ask {
	return crafted(func(r *rig) string { return r.signed(header, claims) })
}

// crafted asks with the token that craft makes.
func crafted(craft func(*rig) string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		return toolCall(rev, r.remembered(craft(r)), id, "read_document", `{"id":1}`)
	}
}

func part(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parts cuts a good token in three.
func (r *rig) parts() (header, claims, signature string) {
	p := strings.Split(r.signed(nil, nil), ".")
	return p[0], p[1], p[2]
}

// ownKey is no key of the demo issuer.
var ownKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// ownKeys takes ownKey for one of the issuer's, from a file.
func ownKeys() setup {
	return setup{change: func(cfg *config.Config) {
		signedOnly(cfg)
		cfg.Auth.JWT[0].JWKSFile = filepath.Join(cfg.StateDir, "keys.json")
		point, err := ownKey().PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		set, err := json.Marshal(members{"keys": []members{{"kid": "own", "kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}}})
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile(cfg.Auth.JWT[0].JWKSFile, set, 0o600); err != nil {
			panic(err)
		}
	}}
}

// byHand signs with ES256 and ownKey, or with secret and HS256.
func byHand(header, claims string, secret []byte) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	if secret != nil {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	sum := sha256.Sum256([]byte(input))
	a, b, err := ecdsa.Sign(rand.Reader, ownKey(), sum[:])
	if err != nil {
		panic(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...))
}

func (r *rig) asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

var (
	wrongType  = unauthorized("not an access token that a bearer may use", "not an access token that a bearer may use")
	incomplete = unauthorized("token names no subject or no expiry", "token names no subject or no expiry")
	tooLong    = unauthorized("token lives longer than is accepted here", "token lives longer than is accepted here")
	tooEarly   = unauthorized("token is not valid yet", "token is not valid yet")
	isExpired  = unauthorized("token expired", "token expired")
)

func foreignAudience(quoted string) refusal {
	return unauthorized("token audience "+quoted+` is not accepted (expected "doc-server")`, "token audience is not accepted")
}

// goodPasses shows that a good token of the rig is not what is refused.
func goodPasses(r *rig) {
	g := r.do(toolCall(modern, r.signed(nil, members{"sub": "dave"}), "1", "read_document", `{"id":1}`))
	if g.status != 200 || !strings.Contains(string(g.body), `user \"dave\" has no role`) {
		r.t.Errorf("a good token: %d %s", g.status, g.body)
	}
}

// kid is the id of the key that signs.
func (r *rig) kid() string {
	ids := r.issuer.KeyIDs()
	return ids[len(ids)-1]
}

// tokenDenials are signed tokens that must not pass, each for a reason of its own.
var tokenDenials = []category{
	{name: "signed: algorithm", setup: signing, warm: goodPasses, rows: []denial{
		{name: "none", ask: crafted(func(r *rig) string {
			return part(members{"alg": "none", "typ": "at+jwt"}) + "." + part(r.claims(nil)) + "."
		}), refusal: badToken},
		{name: "none beside a signature", ask: crafted(func(r *rig) string {
			_, claims, signature := r.parts()
			return part(members{"alg": "none", "kid": r.kid()}) + "." + claims + "." + signature
		}), refusal: badToken},
		{name: "HS256 with the public key for a secret", ask: crafted(func(r *rig) string {
			return byHand(r.asJSON(members{"alg": "HS256", "kid": r.kid(), "typ": "at+jwt"}), r.asJSON(r.claims(nil)), []byte(publicKeys(r)))
		}), refusal: badToken},
		{name: "HS256 with nothing for a secret", ask: crafted(func(r *rig) string {
			return byHand(`{"alg":"HS256"}`, r.asJSON(r.claims(nil)), []byte{})
		}), refusal: badToken},
		{name: "another than the key's", ask: heads(members{"alg": "RS256"}, nil), refusal: badToken},
		{name: "missing", ask: heads(members{"alg": nil}, nil), refusal: badToken},
	}},
	{name: "signed: algorithm that is not allowed", setup: signingWith(func(j *config.JWT) { j.Algorithms = []config.Algorithm{config.AlgorithmES256} }), warm: goodPasses, rows: []denial{
		{name: "EdDSA", ask: crafted(rotated(issuer.EdDSA)), refusal: badToken},
		{name: "RS256", ask: crafted(rotated(issuer.RS256)), refusal: badToken},
		{name: "EdDSA under the name of ES256", ask: crafted(func(r *rig) string {
			before := r.issuer.KeyIDs()[0]
			token := rotated(issuer.EdDSA)(r)
			_, rest, _ := strings.Cut(token, ".")
			return part(members{"alg": "ES256", "kid": before}) + "." + rest
		}), refusal: badToken},
	}},
	{name: "signed: key", setup: signing, warm: goodPasses, rows: []denial{
		{name: "of nobody", ask: crafted(func(r *rig) string {
			return byHand(r.asJSON(members{"alg": "ES256", "kid": r.kid(), "typ": "at+jwt"}), r.asJSON(r.claims(nil)), nil)
		}), refusal: badToken},
		{name: "unknown", ask: heads(members{"kid": "unknown"}, nil), refusal: badToken},
		{name: "a path", ask: heads(members{"kid": "../../../dev/null"}, nil), refusal: badToken},
		{name: "number", ask: heads(members{"kid": 7}, nil), refusal: badToken},
	}},
	{name: "signed: several keys and no id", setup: func() setup {
		s := signing()
		s.prepare = func(r *rig) { r.issuer.Rotate(issuer.ES256) }
		return s
	}, warm: goodPasses, rows: []denial{
		{name: "of the first", ask: heads(members{"kid": nil}, nil), refusal: badToken},
		{name: "empty id", ask: heads(members{"kid": ""}, nil), refusal: badToken},
		{name: "of nobody", ask: crafted(func(r *rig) string { return byHand(`{"alg":"ES256"}`, r.asJSON(r.claims(nil)), nil) }), refusal: badToken},
	}},
	{name: "signed: signature", setup: signing, warm: goodPasses, rows: []denial{
		{name: "missing", ask: crafted(func(r *rig) string { h, c, _ := r.parts(); return h + "." + c + "." }), refusal: badToken},
		{name: "of another token", ask: crafted(func(r *rig) string {
			h, c, _ := r.parts()
			_, _, s := r.parts()
			return h + "." + c + "." + s
		}), refusal: badToken},
		{name: "claims exchanged", ask: crafted(func(r *rig) string {
			h, _, s := r.parts()
			return h + "." + part(r.claims(members{"sub": "mallory"})) + "." + s
		}), refusal: badToken},
		{name: "zeros", ask: crafted(func(r *rig) string {
			h, c, _ := r.parts()
			return h + "." + c + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
		}), refusal: badToken},
	}},
	{name: "signed: keys in the header", setup: signing, warm: goodPasses, rows: []denial{
		{name: "jku", ask: heads(members{"jku": "https://evil.example/keys"}, nil), refusal: badToken},
		{name: "jku of the issuer", ask: crafted(func(r *rig) string { return r.signed(members{"jku": r.issuerURL + "/jwks"}, nil) }), refusal: badToken},
		{name: "x5u", ask: heads(members{"x5u": "https://evil.example/cert"}, nil), refusal: badToken},
		{name: "jwk", ask: crafted(selfSigned), refusal: badToken},
		{name: "jwk of the issuer's key, which signed", ask: crafted(func(r *rig) string {
			return r.signed(members{"jwk": json.RawMessage(publicKeys(r))}, nil)
		}), refusal: badToken},
		{name: "x5c", ask: heads(members{"x5c": []string{"MIIB"}}, nil), refusal: badToken},
	}},
	{name: "signed: extensions", setup: signing, warm: goodPasses, rows: []denial{
		{name: "critical", ask: heads(members{"crit": []string{"x"}, "x": 1}, nil), refusal: badToken},
		{name: "unencoded", ask: heads(members{"b64": false}, nil), refusal: badToken},
		{name: "compressed", ask: heads(members{"zip": "DEF"}, nil), refusal: badToken},
		{name: "encrypted", ask: crafted(func(*rig) string { return part(members{"alg": "dir", "enc": "A256GCM"}) + "..AAAA.AAAA.AAAA" }), refusal: badToken},
	}},
	{name: "signed: type", setup: signing, warm: goodPasses, rows: []denial{
		{name: "proof of possession", ask: heads(members{"typ": "dpop+jwt"}, nil), refusal: wrongType},
		{name: "logout token", ask: heads(members{"typ": "logout+jwt"}, nil), refusal: wrongType},
		{name: "something", ask: heads(members{"typ": "x"}, nil), refusal: wrongType},
	}},
	{name: "signed: type that must be said", setup: signingWith(func(j *config.JWT) { j.RequireATJWT = true }), warm: goodPasses, rows: []denial{
		{name: "JWT", ask: heads(members{"typ": "JWT"}, nil), refusal: wrongType},
		{name: "none", ask: heads(members{"typ": nil}, nil), refusal: wrongType},
		{name: "application/jwt", ask: heads(members{"typ": "application/jwt"}, nil), refusal: wrongType},
	}},
	{name: "signed: purpose", setup: signing, warm: goodPasses, rows: []denial{
		{name: "id token", ask: heads(members{"typ": "JWT"}, members{"nonce": "n"}), refusal: wrongType},
		{name: "id token by its hash", ask: heads(members{"typ": nil}, members{"at_hash": "h"}), refusal: wrongType},
		{name: "refresh token of Keycloak", ask: heads(members{"typ": "JWT"}, members{"typ": "Refresh"}), refusal: wrongType},
		{name: "id token of Cognito", ask: heads(members{"typ": nil}, members{"token_use": "id"}), refusal: wrongType},
		{name: "security event", ask: heads(members{"typ": "JWT"}, members{"events": members{}}), refusal: wrongType},
	}},
	{name: "signed: bound to a key", setup: signing, warm: goodPasses, rows: []denial{
		{name: "DPoP", ask: claiming(members{"cnf": members{"jkt": "x"}}), refusal: wrongType},
		{name: "certificate", ask: claiming(members{"cnf": members{"x5t#S256": "x"}}), refusal: wrongType},
		{name: "something", ask: claiming(members{"cnf": "x"}), refusal: wrongType},
	}},
	{name: "signed: issuer", setup: signing, warm: goodPasses, rows: []denial{
		{name: "missing", ask: claiming(members{"iss": nil}), refusal: badToken},
		{name: "other", ask: claiming(members{"iss": "https://other.example"}), refusal: badToken},
		{name: "with a slash", ask: crafted(func(r *rig) string { return r.signed(nil, members{"iss": r.issuerURL + "/"}) }), refusal: badToken},
		{name: "with a path", ask: crafted(func(r *rig) string { return r.signed(nil, members{"iss": r.issuerURL + "/tenant"}) }), refusal: badToken},
		{name: "list", ask: crafted(func(r *rig) string { return r.signed(nil, members{"iss": []string{r.issuerURL}}) }), refusal: badToken},
	}},
	{name: "signed: two issuers", setup: twoIssuers, warm: goodPasses, rows: []denial{
		{name: "in the name of the other", ask: claiming(members{"iss": "https://second.example"}), refusal: dependency},
		{name: "in the name of the one that is asked", ask: claiming(members{"iss": "https://opaque.example"}), refusal: dependency},
		{name: "in the name of a stranger", ask: claiming(members{"iss": "https://third.example"}), refusal: badToken},
	}},
	{name: "signed: audience", setup: signing, warm: goodPasses, rows: []denial{
		{name: "missing", ask: claiming(members{"aud": nil}), refusal: unauthorized(`token has no audience (expected "doc-server")`, "token audience is not accepted")},
		{name: "other", ask: claiming(members{"aud": "other-service"}), refusal: foreignAudience(`"other-service"`)},
		{name: "ours with a path", ask: claiming(members{"aud": "doc-server/x"}), refusal: foreignAudience(`"doc-server/x"`)},
		{name: "in other case", ask: claiming(members{"aud": "Doc-Server"}), refusal: foreignAudience(`"Doc-Server"`)},
		{name: "that breaks a header", ask: claiming(members{"aud": []string{"a\"\r\nX: 1"}}), refusal: foreignAudience(`"a\"\r\nX: 1"`)},
		{name: "number", ask: claiming(members{"aud": 1}), refusal: badToken},
	}},
	{name: "signed: expiry", setup: signing, warm: goodPasses, rows: []denial{
		{name: "missing", ask: claiming(members{"exp": nil}), refusal: incomplete},
		{name: "an hour ago", ask: aged(-2*time.Hour, -time.Hour), refusal: isExpired},
		{name: "at the end of the skew", ask: aged(-time.Hour, -30*time.Second), refusal: isExpired},
		{name: "before all time", ask: claiming(members{"exp": -1e300}), refusal: isExpired},
		{name: "as text", ask: claiming(members{"exp": "4102444800"}), refusal: badToken},
	}},
	{name: "signed: lifetime", setup: signingWith(func(j *config.JWT) { j.MaxLifetime = config.Duration(time.Hour) }), warm: goodPasses, rows: []denial{
		{name: "a second longer than with the skew", ask: aged(0, time.Hour+31*time.Second), refusal: tooLong},
		{name: "for ever", ask: claiming(members{"exp": 1e300}), refusal: tooLong},
		{name: "since long ago", ask: aged(-24*time.Hour, time.Hour), refusal: tooLong},
		{name: "no time of issue", ask: crafted(func(r *rig) string {
			return r.signed(nil, members{"iat": nil, "exp": r.clock.Now().Add(2 * time.Hour).Unix()})
		}), refusal: tooLong},
	}},
	{name: "signed: not yet", setup: signing, warm: goodPasses, rows: []denial{
		{name: "nbf", ask: crafted(func(r *rig) string {
			return r.signed(nil, members{"nbf": r.clock.Now().Add(31 * time.Second).Unix()})
		}), refusal: tooEarly},
		{name: "issued in the future", ask: aged(31*time.Second, time.Hour), refusal: tooEarly},
		{name: "nbf as text", ask: claiming(members{"nbf": "0"}), refusal: badToken},
	}},
	{name: "signed: subject", setup: signing, warm: goodPasses, rows: []denial{
		{name: "missing", ask: claiming(members{"sub": nil}), refusal: incomplete},
		{name: "empty", ask: claiming(members{"sub": ""}), refusal: incomplete},
		{name: "number", ask: claiming(members{"sub": 1}), refusal: badToken},
		{name: "with a NUL", ask: claiming(members{"sub": "alice\x00cli"}), refusal: badToken},
		{name: "client with a line break", ask: claiming(members{"client_id": "a\nb"}), refusal: badToken},
		{name: "of no one we know", ask: claiming(members{"sub": "stranger"}), refusal: role(`user "stranger" has no role`)},
	}},
	{name: "signed: two readings", setup: ownKeys, warm: func(r *rig) {
		g := r.do(toolCall(modern, r.handSigned(`{"sub":"dave",`, members{"sub": nil}), "1", "read_document", `{"id":1}`))
		if g.status != 200 || !strings.Contains(string(g.body), `user \"dave\" has no role`) {
			r.t.Errorf("a good token: %d %s", g.status, g.body)
		}
	}, rows: []denial{
		{name: "a claim twice", ask: crafted(func(r *rig) string { return r.handSigned(`{"aud":"other-service",`, nil) }), refusal: badToken},
		{name: "a claim twice, once escaped", ask: crafted(func(r *rig) string { return r.handSigned(`{"\u0073ub":"mallory",`, nil) }), refusal: badToken},
		{name: "a name twice further down", ask: crafted(func(r *rig) string { return r.handSigned(`{"x":{"a":1,"a":2},`, nil) }), refusal: badToken},
		{name: "subject in other case", ask: crafted(func(r *rig) string { return r.handSigned(`{"SUB":"alice",`, members{"sub": nil}) }), refusal: incomplete},
		{name: "no UTF-8", ask: crafted(func(r *rig) string { return r.handSigned("{\"x\":\"\xff\",", nil) }), refusal: badToken},
		{name: "algorithm twice", ask: crafted(func(r *rig) string {
			return byHand(`{"alg":"none","alg":"ES256","kid":"own"}`, r.asJSON(r.claims(nil)), nil)
		}), refusal: badToken},
		{name: "bits left over", ask: crafted(func(r *rig) string {
			token := r.handSigned("{", nil)
			at := strings.LastIndexByte(token, '.') + 1
			return token[:at] + otherSpelling(token[at:])
		}), refusal: badToken},
	}},
	{name: "signed: encoding", setup: signing, warm: goodPasses, rows: []denial{
		{name: "bits left over", ask: crafted(func(r *rig) string { h, c, s := r.parts(); return h + "." + c + "." + otherSpelling(s) }), refusal: badToken},
		{name: "padding", ask: crafted(func(r *rig) string { h, c, s := r.parts(); return h + "." + c + "." + s + "==" }), refusal: badToken},
		{name: "two parts", ask: crafted(func(r *rig) string { h, c, _ := r.parts(); return h + "." + c }), refusal: badToken},
		{name: "four parts", ask: crafted(func(r *rig) string { h, c, s := r.parts(); return h + "." + c + "." + s + "." + s }), refusal: badToken},
		{name: "no JSON", ask: crafted(func(r *rig) string { _, c, s := r.parts(); return "AAAA." + c + "." + s }), refusal: badToken},
		{name: "opaque", ask: crafted(func(*rig) string { return "just-an-opaque-token-of-somebody" }), refusal: badToken},
	}},
	{name: "signed: carrier", setup: signing, warm: goodPasses, rows: []denial{
		{name: "twice", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, r.signed(nil, nil), id, "read_document", `{"id":1}`)
			return a.with("Authorization", a.header.Get("Authorization"), a.header.Get("Authorization"))
		}, refusal: badToken},
		{name: "in the query", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, "", id, "read_document", `{"id":1}`)
			a.path = "/mcp?access_token=" + r.signed(nil, nil)
			return a
		}, refusal: unauthorized("a token in the query is not accepted", "unknown or invalid token")},
		{name: "in _meta", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, r.signed(nil, nil), id, "read_document", `{"id":1}`)
			a.body = strings.Replace(a.body, `"name":`, `"_meta":{"mcp-sidecar/token":"`+r.signed(nil, nil)+`"},"name":`, 1)
			return a
		}, only: legacy, refusal: unauthorized("a token in _meta is accepted over stdio only", "unknown or invalid token")},
		{name: "under another scheme", ask: func(r *rig, rev, id string) ask {
			return toolCall(rev, "", id, "read_document", `{"id":1}`).with("Authorization", "DPoP "+r.signed(nil, nil))
		}, refusal: badToken},
	}},
	{name: "static tokens", setup: staticOnly, rows: []denial{
		{name: "unknown", ask: crafted(func(*rig) string { return "static-token-of-nobody" }), refusal: badToken},
		{name: "its own hash", ask: crafted(func(*rig) string { return hashOf("static-token-of-alice") }), refusal: badToken},
		{name: "expired", ask: crafted(func(*rig) string { return "static-token-expired" }), refusal: isExpired},
		{name: "for another service", ask: crafted(func(*rig) string { return "static-token-elsewhere" }), refusal: foreignAudience(`"other-service"`)},
		{name: "without the scope", ask: crafted(func(*rig) string { return "static-token-of-dave" }), refusal: scopes(`"documents:read"`, "documents:read")},
	}},
	{name: "signed: the issuer is down", setup: func() setup {
		s := signing()
		s.prepare = func(r *rig) { r.issuer.Break(issuer.EndpointKeys, issuer.Down) } // keys are asked for at the start already
		return s
	}, rows: []denial{
		{name: "good token", ask: crafted(func(r *rig) string { return r.signed(nil, nil) }), refusal: dependency},
		{name: "good token, a moment later", ask: crafted(func(r *rig) string { r.clock.advance(2 * time.Second); return r.signed(nil, nil) }), refusal: dependency},
		{name: "bad token", ask: crafted(func(r *rig) string { return r.signed(members{"kid": "unknown"}, nil) }), refusal: dependency},
		{name: "a token that can never be good", ask: crafted(func(r *rig) string { return r.signed(members{"alg": "HS256"}, nil) }), refusal: badToken},
	}},
}

// rotated signs with a new key of another kind, which the issuer publishes.
func rotated(a issuer.Algorithm) func(*rig) string {
	return func(r *rig) string {
		r.issuer.Rotate(a)
		r.clock.advance(30 * time.Second) // the new key may be asked for
		return r.signed(nil, nil)
	}
}

// publicKeys is the key set as everybody can read it.
func publicKeys(r *rig) string {
	resp, err := r.http.Get(r.issuerURL + "/jwks")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || len(set.Keys) == 0 {
		r.t.Fatalf("key set: %v", err)
	}
	return string(set.Keys[0])
}

// selfSigned brings its own key.
func selfSigned(r *rig) string {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	header := members{"alg": "EdDSA", "typ": "at+jwt", "jwk": members{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)}}
	input := part(header) + "." + part(r.claims(nil))
	signature, err := private.Sign(rand.Reader, []byte(input), crypto.Hash(0))
	if err != nil {
		r.t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// aged asks with a token that was issued and ends that far from now.
func aged(issued, ends time.Duration) func(*rig, string, string) ask {
	return crafted(func(r *rig) string {
		now := r.clock.Now()
		return r.signed(nil, members{"iat": now.Add(issued).Unix(), "exp": now.Add(ends).Unix()})
	})
}

// handSigned is a token that is signed with ownKey, whose claims begin with begin.
func (r *rig) handSigned(begin string, claims members) string {
	return byHand(`{"alg":"ES256","kid":"own","typ":"at+jwt"}`, begin+r.asJSON(r.claims(claims))[1:], nil)
}

// otherSpelling writes the same bytes with other bits behind them.
func otherSpelling(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])|1])
}

// twoIssuers has a second one that signs and one that is asked, both of which
// nobody can reach.
func twoIssuers() setup {
	return setup{change: func(cfg *config.Config) {
		signedOnly(cfg)
		unreachable := "http://127.0.0.1:1/"
		cfg.Auth.JWT = append(cfg.Auth.JWT, config.JWT{Issuer: "https://second.example", JWKSURL: unreachable, AllowLoopbackHTTP: true})
		cfg.Auth.Introspection = []config.Introspection{{Issuer: "https://opaque.example", URL: unreachable, AllowLoopbackHTTP: true}}
		cfg.Auth.SharedSubjects = true
	}}
}

func hashOf(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

// staticOnly knows tokens from a file.
func staticOnly() setup {
	return setup{change: func(cfg *config.Config) {
		cfg.Auth.Introspection = nil
		cfg.Auth.StaticTokensFile = filepath.Join(cfg.StateDir, "tokens.yaml")
		entry := "- { sha256: %s, subject: %s, audience: [%s], expires: %s, scopes: [%s] }\n"
		text := "tokens:\n" +
			fmt.Sprintf(entry, hashOf("static-token-of-alice"), "alice", "doc-server", "2027-01-01T00:00:00Z", `"documents:*"`) +
			fmt.Sprintf(entry, hashOf("static-token-expired"), "alice", "doc-server", "2026-11-23T12:00:00Z", `"documents:*"`) +
			fmt.Sprintf(entry, hashOf("static-token-elsewhere"), "alice", "other-service", "2027-01-01T00:00:00Z", `"documents:*"`) +
			fmt.Sprintf(entry, hashOf("static-token-of-dave"), "dave", "doc-server", "2027-01-01T00:00:00Z", "")
		if err := os.WriteFile(cfg.Auth.StaticTokensFile, []byte(text), 0o600); err != nil {
			panic(err)
		}
	}}
}
