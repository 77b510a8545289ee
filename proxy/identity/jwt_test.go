package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

type change = map[string]any

func TestGoodTokens(t *testing.T) {
	c := &stopped{now: begin}
	p := newIDP(rsaKey(), ecKey(), edKey())
	v := only(signedBy(t, p, c.Now, nil))
	alice := Principal{Issuer: testIssuer, Subject: "alice", ClientID: "cli", Audience: []string{"doc-server"}, Expiry: begin.Add(time.Hour + skew), Issued: begin, TokenID: NewSecret("1"), Scopes: []string{"a:b", "c:d"}}
	for _, row := range []struct {
		name           string
		key            testKey
		header, claims change
		want           func(*Principal)
	}{
		{name: "RS256", key: rsaKey()},
		{name: "ES256", key: ecKey()},
		{name: "EdDSA", key: edKey()},
		{name: "no key id, one key of the kind", key: ecKey(), header: change{"kid": nil}},
		{name: "media type in full", key: ecKey(), header: change{"typ": "application/at+jwt"}},
		{name: "media type in capitals", key: ecKey(), header: change{"typ": "AT+JWT"}},
		{name: "JWT", key: ecKey(), header: change{"typ": "JWT"}},
		{name: "no type", key: ecKey(), header: change{"typ": nil}},
		{name: "thumbprints", key: ecKey(), header: change{"x5t": "abc", "x5t#S256": "abc"}},
		{name: "several audiences", key: ecKey(), claims: change{"aud": []string{"x", "other"}}, want: func(p *Principal) { p.Audience = []string{"x", "other"} }},
		{name: "client by azp", key: ecKey(), claims: change{"client_id": nil, "azp": "spa"}, want: func(p *Principal) { p.ClientID = "spa" }},
		{name: "client_id before azp", key: ecKey(), claims: change{"azp": "spa"}},
		{name: "no client", key: ecKey(), claims: change{"client_id": nil}, want: func(p *Principal) { p.ClientID = "" }},
		{name: "scp as a list", key: ecKey(), claims: change{"scope": nil, "scp": []string{"x", "y z"}}, want: func(p *Principal) { p.Scopes = []string{"x", "y z"} }},
		{name: "scp as text", key: ecKey(), claims: change{"scope": nil, "scp": "x y"}, want: func(p *Principal) { p.Scopes = []string{"x", "y"} }},
		{name: "scope before scp", key: ecKey(), claims: change{"scp": []string{"x"}}},
		{name: "no scope", key: ecKey(), claims: change{"scope": nil}, want: func(p *Principal) { p.Scopes = nil }},
		{name: "issued a moment ahead", key: ecKey(), claims: change{"iat": begin.Add(skew).Unix()}, want: func(p *Principal) { p.Issued = begin.Add(skew) }},
		{name: "valid from a moment ahead", key: ecKey(), claims: change{"nbf": begin.Add(skew).Unix()}},
		{name: "expired a moment ago", key: ecKey(), claims: change{"iat": begin.Add(-time.Hour).Unix(), "exp": begin.Add(1-skew).Unix() + 1}, want: func(p *Principal) { p.Issued, p.Expiry = begin.Add(-time.Hour), time.Unix(begin.Unix()+1, 0) }},
		{name: "fractions of seconds", key: ecKey(), claims: change{"iat": 1_799_999_999.5, "exp": 1_800_003_600.25}, want: func(p *Principal) { p.Issued = begin.Add(-time.Second) }},
		{name: "no time of issue", key: ecKey(), claims: change{"iat": nil}, want: func(p *Principal) { p.Issued = time.Time{} }},
		{name: "no id", key: ecKey(), claims: change{"jti": nil}, want: func(p *Principal) { p.TokenID = NewSecret("") }},
		{name: "longest life", key: ecKey(), claims: change{"exp": begin.Add(24*time.Hour + skew).Unix()}, want: func(p *Principal) { p.Expiry = begin.Add(24*time.Hour + 2*skew) }},
		{name: "Keycloak", key: ecKey(), header: change{"typ": "JWT"}, claims: change{"typ": "Bearer"}},
		{name: "Cognito", key: ecKey(), header: change{"typ": nil}, claims: change{"token_use": "access"}},
		{name: "nonce in a token that says what it is", key: ecKey(), claims: change{"nonce": "n"}},
		{name: "unbound", key: ecKey(), claims: change{"cnf": nil}},
		{name: "foreign letters", key: ecKey(), claims: change{"sub": "日本"}, want: func(p *Principal) { p.Subject = "日本" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := alice
			if row.want != nil {
				row.want(&want)
			}
			token := NewSecret(row.key.mint(row.header, row.claims))
			for range 2 { // the second time from the cache
				got, err := v.Authenticate(t.Context(), token)
				if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || got.TokenID.Reveal() != want.TokenID.Reveal() {
					t.Errorf("%+v, %v; want %+v", got, err, want)
				}
			}
		})
	}
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// hostile is a token that must not pass, and what its owner reads.
type hostile struct {
	class, name string
	token       string
	want        error // nil: any refusal that names the audience
}

// Every row differs in its cause. None may cause more than the one fetch of keys
// that good tokens need, unless its key is unknown.
func hostileTokens() []hostile {
	ec, rs := ecKey(), rsaKey()
	good := ec.mint(nil, nil)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	claims := text(goodClaims())
	header := func(c change) hostile { return hostile{token: ec.mint(c, nil)} }
	says := func(c change) hostile { return hostile{token: ec.mint(nil, c)} }
	raw := func(h, c string) hostile { return hostile{token: ec.token(h, c)} }
	public := must(x509.MarshalPKIXPublicKey(&rs.private.(*rsa.PrivateKey).PublicKey))
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	mac := func(secret []byte) string {
		input := b64([]byte(`{"alg":"HS256","kid":"rsa","typ":"at+jwt"}`)) + "." + b64([]byte(claims))
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(input))
		return input + "." + b64(h.Sum(nil))
	}
	p384 := testKey{"ec", "ES384", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))}
	der := must(ecdsa.SignASN1(rand.Reader, ec.private.(*ecdsa.PrivateKey), digestBytes(head+"."+body)))
	ago, ahead := begin.Add(-time.Hour).Unix(), begin.Add(time.Hour)
	rows := []struct {
		class, name string
		hostile
		want error
	}{
		{"algorithm", "none", hostile{token: b64([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + body + "."}, ErrInvalid},
		{"algorithm", "none with a signature", hostile{token: b64([]byte(`{"alg":"none","kid":"ec"}`)) + "." + body + "." + signature}, ErrInvalid},
		{"algorithm", "None", hostile{token: b64([]byte(`{"alg":"nOnE"}`)) + "." + body + "."}, ErrInvalid},
		{"algorithm", "missing", raw(`{"kid":"ec","typ":"at+jwt"}`, claims), ErrInvalid},
		{"algorithm", "other case", header(change{"alg": "es256"}), ErrInvalid},
		{"algorithm", "no text", header(change{"alg": 256}), ErrInvalid},
		{"algorithm", "HS256 with the PEM of the public key", hostile{token: mac(asPEM)}, ErrInvalid},
		{"algorithm", "HS256 with the DER of the public key", hostile{token: mac(public)}, ErrInvalid},
		{"algorithm", "HS256 with nothing", hostile{token: mac(nil)}, ErrInvalid},
		{"algorithm", "RS512", hostile{token: testKey{"rsa", "RS512", rs.private}.mint(nil, nil)}, ErrInvalid},
		{"algorithm", "PS256", hostile{token: testKey{"rsa", "PS256", rs.private}.mint(nil, nil)}, ErrInvalid},
		{"algorithm", "ES384", hostile{token: p384.mint(nil, nil)}, ErrInvalid},

		{"key", "of somebody else", hostile{token: testKey{"ec", "ES256", otherKey().private}.mint(nil, nil)}, ErrInvalid},
		{"key", "of another kind than the algorithm", hostile{token: ec.mint(change{"kid": "rsa"}, nil)}, ErrInvalid},
		{"key", "RS256 with the id of an EC key", hostile{token: rs.mint(change{"kid": "ec"}, nil)}, ErrInvalid},
		{"key", "EdDSA with the id of an EC key", hostile{token: edKey().mint(change{"kid": "ec"}, nil)}, ErrInvalid},
		{"key", "unknown", hostile{token: otherKey().mint(nil, nil)}, ErrInvalid},
		{"key", "path for an id", hostile{token: otherKey().mint(change{"kid": "../../etc/passwd"}, nil)}, ErrInvalid},
		{"key", "no text for an id", header(change{"kid": 1}), ErrInvalid},
		{"key", "id in other case", header(change{"kid": "EC"}), ErrInvalid},

		{"signature", "missing", hostile{token: head + "." + body + "."}, ErrInvalid},
		{"signature", "of another token", hostile{token: head + "." + body + "." + lastPart(ec.mint(nil, change{"jti": "2"}))}, ErrInvalid},
		{"signature", "claims changed", hostile{token: head + "." + b64([]byte(text(with(goodClaims(), change{"sub": "mallory"})))) + "." + signature}, ErrInvalid},
		{"signature", "header changed", hostile{token: b64([]byte(text(with(ec.goodHeader(), change{"x": 1})))) + "." + body + "." + signature}, ErrInvalid},
		{"signature", "cut", hostile{token: good[:len(good)-4]}, ErrInvalid},
		{"signature", "longer", hostile{token: good + "AAAA"}, ErrInvalid},
		{"signature", "zeros", hostile{token: head + "." + body + "." + b64(make([]byte, 64))}, ErrInvalid},
		{"signature", "as ASN.1", hostile{token: head + "." + body + "." + b64(der)}, ErrInvalid},

		{"header", "jku", header(change{"jku": "https://evil.example/keys"}), ErrInvalid},
		{"header", "jku of the issuer", header(change{"jku": testIssuer + "/keys"}), ErrInvalid},
		{"header", "x5u", header(change{"x5u": "https://evil.example/cert"}), ErrInvalid},
		{"header", "jwk", hostile{token: testKey{"ec", "ES256", otherKey().private}.mint(change{"jwk": otherKey().jwk(nil)}, nil)}, ErrInvalid},
		{"header", "jwk of the issuer's key, which signed", header(change{"jwk": ec.jwk(nil)}), ErrInvalid},
		{"header", "x5c", header(change{"x5c": []string{"MIIB"}}), ErrInvalid},
		{"header", "x5c that is null", raw(`{"alg":"ES256","kid":"ec","x5c":null}`, claims), ErrInvalid},
		{"header", "crit", header(change{"crit": []string{"exp"}, "exp": 1}), ErrInvalid},
		{"header", "empty crit", header(change{"crit": []string{}}), ErrInvalid},
		{"header", "b64", header(change{"b64": false}), ErrInvalid},
		{"header", "enc", header(change{"enc": "A256GCM"}), ErrInvalid},
		{"header", "zip", header(change{"zip": "DEF"}), ErrInvalid},

		{"type", "of an id token", header(change{"typ": "id_token+jwt"}), ErrWrongType},
		{"type", "of a proof", header(change{"typ": "dpop+jwt"}), ErrWrongType},
		{"type", "of a logout token", header(change{"typ": "logout+jwt"}), ErrWrongType},
		{"type", "media type alone", header(change{"typ": "application/"}), ErrWrongType},
		{"type", "no text", header(change{"typ": []string{"at+jwt"}}), ErrInvalid},

		{"purpose", "id token with a nonce", hostile{token: ec.mint(change{"typ": "JWT"}, change{"nonce": "n"})}, ErrWrongType},
		{"purpose", "id token with at_hash", hostile{token: ec.mint(change{"typ": nil}, change{"at_hash": "h"})}, ErrWrongType},
		{"purpose", "id token with c_hash", hostile{token: ec.mint(change{"typ": nil}, change{"c_hash": "h"})}, ErrWrongType},
		{"purpose", "Keycloak's id token", hostile{token: ec.mint(change{"typ": "JWT"}, change{"typ": "ID"})}, ErrWrongType},
		{"purpose", "Keycloak's refresh token", hostile{token: ec.mint(change{"typ": "JWT"}, change{"typ": "Refresh"})}, ErrWrongType},
		{"purpose", "Cognito's id token", hostile{token: ec.mint(change{"typ": nil}, change{"token_use": "id"})}, ErrWrongType},
		{"purpose", "purpose that is no text", hostile{token: ec.mint(change{"typ": nil}, change{"token_use": []string{"access"}})}, ErrWrongType},
		{"purpose", "event", hostile{token: ec.mint(change{"typ": "JWT"}, change{"events": change{"logout": change{}}})}, ErrWrongType},

		{"binding", "to a key", says(change{"cnf": change{"jkt": "x"}}), ErrWrongType},
		{"binding", "to a certificate", says(change{"cnf": change{"x5t#S256": "x"}}), ErrWrongType},
		{"binding", "to something", says(change{"cnf": "x"}), ErrWrongType},

		{"issuer", "missing", says(change{"iss": nil}), ErrInvalid},
		{"issuer", "other", says(change{"iss": "https://other.example"}), ErrInvalid},
		{"issuer", "with a slash", says(change{"iss": testIssuer + "/"}), ErrInvalid},
		{"issuer", "in capitals", says(change{"iss": "https://IDP.example"}), ErrInvalid},
		{"issuer", "ours in front", says(change{"iss": testIssuer + ".evil.example"}), ErrInvalid},
		{"issuer", "list", says(change{"iss": []string{testIssuer}}), ErrInvalid},

		{"audience", "missing", says(change{"aud": nil}), nil},
		{"audience", "empty", says(change{"aud": ""}), nil},
		{"audience", "empty list", says(change{"aud": []string{}}), nil},
		{"audience", "other", says(change{"aud": "other-service"}), nil},
		{"audience", "ours in front", says(change{"aud": "doc-server/admin"}), nil},
		{"audience", "ours with a slash", says(change{"aud": "doc-server/"}), nil},
		{"audience", "in other case", says(change{"aud": "Doc-Server"}), nil},
		{"audience", "number", says(change{"aud": 1}), ErrInvalid},
		{"audience", "list in a list", says(change{"aud": []any{[]string{"doc-server"}}}), ErrInvalid},

		{"time", "no expiry", says(change{"exp": nil}), ErrIncomplete},
		{"time", "expired", says(change{"iat": ago, "exp": begin.Add(-time.Minute).Unix()}), ErrExpired},
		{"time", "expires at the end of the skew", says(change{"iat": ago, "exp": begin.Add(-skew).Unix()}), ErrExpired},
		{"time", "expired in 1970", says(change{"iat": 0, "exp": 0}), ErrExpired},
		{"time", "expired before all time", says(change{"exp": -1e300}), ErrExpired},
		{"time", "expiry in words", says(change{"exp": "2027-01-15T09:00:00Z"}), ErrInvalid},
		{"time", "expiry as text", says(change{"exp": fmt.Sprint(ahead.Unix())}), ErrInvalid},
		{"time", "expiry in milliseconds", says(change{"exp": ahead.UnixMilli()}), ErrLong},
		{"time", "expiry beyond numbers", raw(text(ec.goodHeader()), strings.Replace(claims, fmt.Sprintf(`"exp":%d`, ahead.Unix()), `"exp":1e999`, 1)), ErrInvalid},
		{"time", "never ends", says(change{"exp": 1e300}), ErrLong},
		{"time", "lives too long", says(change{"exp": begin.Add(24*time.Hour+skew).Unix() + 1}), ErrLong},
		{"time", "lives too long, no time of issue", says(change{"iat": nil, "exp": begin.Add(25 * time.Hour).Unix()}), ErrLong},
		{"time", "has lived too long", says(change{"iat": begin.Add(-24 * time.Hour).Unix()}), ErrLong},
		{"time", "not yet", says(change{"nbf": begin.Add(skew).Unix() + 1}), ErrEarly},
		{"time", "issued in the future", says(change{"iat": begin.Add(skew).Unix() + 1}), ErrEarly},
		{"time", "not before as text", says(change{"nbf": "0"}), ErrInvalid},

		{"subject", "missing", says(change{"sub": nil}), ErrIncomplete},
		{"subject", "empty", says(change{"sub": ""}), ErrIncomplete},
		{"subject", "number", says(change{"sub": 7}), ErrInvalid},
		{"subject", "with a NUL", says(change{"sub": "alice\x00cli"}), ErrInvalid},
		{"subject", "with a line break", says(change{"sub": "alice\n"}), ErrInvalid},
		{"subject", "client with a control character", says(change{"client_id": "a\x1b[0m"}), ErrInvalid},
		{"subject", "other client with a control character", says(change{"client_id": nil, "azp": "a\u0085"}), ErrInvalid},

		{"JSON", "algorithm twice", raw(`{"alg":"none","alg":"ES256","kid":"ec"}`, claims), ErrInvalid},
		{"JSON", "audience twice", raw(text(ec.goodHeader()), `{"aud":"other-service",`+claims[1:]), ErrInvalid},
		{"JSON", "expiry twice, once escaped", raw(text(ec.goodHeader()), `{"\u0065xp":9999999999,`+claims[1:]), ErrInvalid},
		{"JSON", "a name twice further down", raw(text(ec.goodHeader()), `{"x":{"a":1,"a":2},`+claims[1:]), ErrInvalid},
		{"JSON", "subject in other case", says(change{"sub": nil, "Sub": "alice"}), ErrIncomplete},
		{"JSON", "text behind the claims", raw(text(ec.goodHeader()), claims+"{}"), ErrInvalid},
		{"JSON", "text behind the header", raw(text(ec.goodHeader())+"{}", claims), ErrInvalid},
		{"JSON", "claims are a list", raw(text(ec.goodHeader()), "["+claims+"]"), ErrInvalid},
		{"JSON", "claims are null", raw(text(ec.goodHeader()), "null"), ErrInvalid},
		{"JSON", "no UTF-8", raw(text(ec.goodHeader()), strings.Replace(claims, "alice", "al\xffce", 1)), ErrInvalid},
		{"JSON", "half a surrogate", raw(text(ec.goodHeader()), strings.Replace(claims, "alice", `al\ud800ce`, 1)), ErrInvalid},
		{"JSON", "scope as a list", says(change{"scope": []string{"a:b"}}), ErrInvalid},

		{"encoding", "padding", hostile{token: head + "=." + body + "." + signature}, ErrInvalid},
		{"encoding", "standard alphabet", hostile{token: head + "." + body + "." + swapAlphabet(ec)}, ErrInvalid},
		{"encoding", "bits left over", hostile{token: head + "." + body + "." + leftOver(signature)}, ErrInvalid},
		{"encoding", "line break", hostile{token: head + "." + body + ".\n" + signature}, ErrInvalid},
		{"encoding", "two parts", hostile{token: head + "." + body}, ErrInvalid},
		{"encoding", "four parts", hostile{token: good + "." + signature}, ErrInvalid},
		{"encoding", "JWE", hostile{token: b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..AAAA.AAAA.AAAA"}, ErrInvalid},
		{"encoding", "JWS as JSON", hostile{token: fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, head, body, signature)}, ErrInvalid},
		{"encoding", "nothing", hostile{token: ""}, ErrInvalid},
		{"encoding", "dots", hostile{token: ".."}, ErrInvalid},
	}
	var all []hostile
	for _, r := range rows {
		all = append(all, hostile{r.class, r.name, r.token, r.want})
	}
	return all
}

func digestBytes(s string) []byte { d := sha256.Sum256([]byte(s)); return d[:] }

func lastPart(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }

// swapAlphabet returns a signature over the good token that is written with the
// letters of plain Base64.
func swapAlphabet(k testKey) string {
	for {
		s := lastPart(k.mint(nil, nil))
		if swapped := strings.NewReplacer("-", "+", "_", "/").Replace(s); swapped != s {
			return swapped
		}
	}
}

// leftOver writes the same 64 bytes with other bits behind them.
func leftOver(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, signature[len(signature)-1])
	s := signature[:len(signature)-1] + string(alphabet[last|1])
	if b, err := base64.RawURLEncoding.DecodeString(s); err != nil || b64(b) != signature {
		panic("not another spelling of the same bytes")
	}
	return s
}

func TestHostileTokens(t *testing.T) {
	c := &stopped{now: begin}
	p := newIDP(rsaKey(), ecKey(), edKey())
	signed := signedBy(t, p, c.Now, nil)
	trap := verifier(&endpoint{wait: func(*http.Request) error { t.Error("a signed token went to another issuer"); return errors.New("trap") }}, c)
	trap.opts.Issuer = "https://opaque.example"
	v := &Verifiers{JWT: []*JWT{signed}}
	classes := map[string]bool{}
	for _, row := range hostileTokens() {
		classes[row.class] = true
		t.Run(row.class+"/"+row.name, func(t *testing.T) {
			for range 2 { // nothing is remembered to their advantage
				got, err := v.Authenticate(t.Context(), NewSecret(row.token))
				var refusal *Refusal
				switch {
				case got.Subject != "" || !errors.As(err, &refusal):
					t.Errorf("%+v, %v", got, err)
				case row.want != nil && !errors.Is(err, row.want), row.want == nil && refusal.Description != "token audience is not accepted":
					t.Errorf("%v, want %v", err, row.want)
				}
			}
			if row.class == "encoding" {
				return // some of them are opaque tokens to somebody
			}
			withTrap := &Verifiers{JWT: []*JWT{signed}, Introspection: []*Introspector{trap}}
			if row.name != "missing" || row.class != "issuer" {
				_, _ = withTrap.Authenticate(t.Context(), NewSecret(row.token))
			}
		})
	}
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if signed.known.len() != 0 {
		t.Errorf("%d refused tokens are remembered", signed.known.len())
	}
	t.Log(len(classes), "classes:", slices.Sorted(maps.Keys(classes)))
}
