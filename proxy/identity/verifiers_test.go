package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who is asked about a token: its own issuer and nobody else. An opaque token
// does not say who that is.
func TestRouting(t *testing.T) {
	c := &stopped{now: begin}
	const second, opaque = "https://second.example", "https://opaque.example"
	other := newECKey("second")
	first := newIDP(ecKey())
	another := newIDP(other)
	signed := signedBy(t, first, c.Now, nil)
	signedToo := signedBy(t, another, c.Now, func(o *JWTOptions) { o.Issuer = second })
	e := &endpoint{answer: always(`{"active":true,"sub":"somebody","aud":"doc-server"}`)}
	asked := verifier(e, c)
	asked.opts.Issuer = opaque
	same := &endpoint{answer: always(`{"active":true,"sub":"somebody","aud":"doc-server"}`)}
	alsoSigned := verifier(same, c)
	alsoSigned.opts.Issuer = testIssuer
	v := &Verifiers{JWT: []*JWT{signed, signedToo}, Introspection: []*Introspector{asked, alsoSigned}}
	for _, row := range []struct {
		name, token string
		subject     string
		err         error
		first, second,
		opaque, same int64 // further questions
	}{
		{name: "of the first", token: ecKey().mint(nil, nil), subject: "alice", first: 1},
		{name: "of the second", token: other.mint(nil, change{"iss": second}), subject: "alice", second: 1},
		{name: "of the first, in the name of the second", token: ecKey().mint(nil, change{"iss": second}), err: ErrInvalid},
		{name: "of the second, in the name of the first", token: other.mint(nil, nil), err: ErrInvalid},
		{name: "of the second, with the key id of the first", token: testKey{"ec", "ES256", other.private}.mint(nil, nil), err: ErrInvalid},
		{name: "bad signature in the name of the first", token: testKey{"ec", "ES256", other.private}.mint(nil, change{"jti": "2"}), err: ErrInvalid},
		{name: "of an issuer that is asked", token: other.mint(nil, change{"iss": opaque}), subject: "somebody", opaque: 1},
		{name: "of a stranger", token: other.mint(nil, change{"iss": "https://stranger.example"}), err: ErrInvalid},
		{name: "of an issuer in other case", token: other.mint(nil, change{"iss": "https://OPAQUE.example"}), err: ErrInvalid},
		{name: "that cannot be read in one way", token: other.token(`{"alg":"ES256","alg":"ES256"}`, `{"iss":"`+opaque+`"}`), err: ErrInvalid},
		{name: "opaque", token: "opaque-token", subject: "somebody", opaque: 1},
		{name: "opaque with dots", token: "a.b.c", subject: "somebody", opaque: 1},
		{name: "encrypted", token: b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..AAAA.AAAA.AAAA", subject: "somebody", opaque: 1},
		{name: "signed by nobody in particular", token: other.mint(nil, change{"iss": nil}), subject: "somebody", opaque: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := [...]int64{first.fetched.Load(), another.fetched.Load(), e.asked.Load(), same.asked.Load()}
			p, err := v.Authenticate(t.Context(), NewSecret(row.token))
			if p.Subject != row.subject || !errors.Is(err, row.err) {
				t.Errorf("%+v, %v; want %q, %v", p, err, row.subject, row.err)
			}
			got := [...]int64{first.fetched.Load() - before[0], another.fetched.Load() - before[1], e.asked.Load() - before[2], same.asked.Load() - before[3]}
			if want := [...]int64{row.first, row.second, row.opaque, row.same}; got != want {
				t.Errorf("asked %v, want %v", got, want)
			}
			again := e.asked.Load() + same.asked.Load()
			if p, err := v.Authenticate(t.Context(), NewSecret(row.token)); p.Subject != row.subject || !errors.Is(err, row.err) || e.asked.Load()+same.asked.Load() != again {
				t.Errorf("the second time: %+v, %v", p, err)
			}
		})
	}
	if p, err := only(signed).Authenticate(t.Context(), NewSecret("opaque-token")); p.Subject != "" || !errors.Is(err, ErrInvalid) {
		t.Errorf("an opaque token where nobody can be asked: %+v, %v", p, err)
	}
}

// An issuer that is down harms no token of another.
func TestOneIssuerIsDown(t *testing.T) {
	c := &stopped{now: begin}
	down := newIDP()
	down.breakWith(func(*http.Request) (string, error) { return "", errors.New("refused") })
	v := &Verifiers{JWT: []*JWT{
		signedBy(t, down, c.Now, func(o *JWTOptions) { o.Issuer = "https://down.example" }),
		signedBy(t, newIDP(ecKey()), c.Now, nil),
	}}
	if err := pass(t, v, ecKey(), c.Now()); err != nil || down.fetched.Load() != 0 {
		t.Errorf("%v; the other was asked %d times", err, down.fetched.Load())
	}
	if _, err := v.Authenticate(t.Context(), NewSecret(ecKey().mint(nil, change{"iss": "https://down.example"}))); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// A verdict lives as long as its token and not a moment longer.
func TestVerdictEndsWithItsToken(t *testing.T) {
	c := &stopped{now: begin}
	signed := signedBy(t, newIDP(ecKey()), c.Now, nil)
	v := only(signed)
	token := NewSecret(ecKey().mint(nil, change{"exp": begin.Add(time.Minute).Unix()}))
	for _, row := range []struct {
		after time.Duration
		err   error
		known int
	}{{0, nil, 1}, {time.Minute + skew - 1, nil, 1}, {1, ErrExpired, 1}, {time.Hour, ErrExpired, 1}} {
		c.advance(row.after)
		if _, err := v.Authenticate(t.Context(), token); !errors.Is(err, row.err) || signed.known.len() != row.known {
			t.Errorf("after %v: %v, %d verdicts", row.after, err, signed.known.len())
		}
	}
}

// A token whose last characters differ is another token, though its claims are
// the same: caches know the whole of it.
func TestVerdictIsOfTheWholeToken(t *testing.T) {
	c := &stopped{now: begin}
	v := only(signedBy(t, newIDP(ecKey()), c.Now, nil))
	good := ecKey().mint(nil, nil)
	if _, err := v.Authenticate(t.Context(), NewSecret(good)); err != nil {
		t.Fatal(err)
	}
	head := good[:strings.LastIndexByte(good, '.')+1]
	for _, signature := range []string{"", b64(make([]byte, 64)), good[len(head):len(good)-1] + "A", leftOver(good[len(head):])} {
		if head+signature == good {
			continue
		}
		if _, err := v.Authenticate(t.Context(), NewSecret(head+signature)); !errors.Is(err, ErrInvalid) {
			t.Errorf("signature %q: %v", signature, err)
		}
	}
}

// The prefix of an issuer keeps its users from being those of another.
func TestSubjectPrefix(t *testing.T) {
	c := &stopped{now: begin}
	signed := signedBy(t, newIDP(ecKey()), c.Now, func(o *JWTOptions) { o.SubjectPrefix = "corp/" })
	e := verifier(&endpoint{answer: always(activeAlice)}, c)
	e.opts.SubjectPrefix = "partner/"
	v := &Verifiers{JWT: []*JWT{signed}, Introspection: []*Introspector{e}}
	for token, want := range map[string]string{ecKey().mint(nil, nil): "corp/alice", "opaque": "partner/alice"} {
		if p, err := v.Authenticate(t.Context(), NewSecret(token)); err != nil || p.Subject != want {
			t.Errorf("%+v, %v; want %s", p, err, want)
		}
	}
}

// What a token must be by configuration.
func TestJWTOptions(t *testing.T) {
	c := &stopped{now: begin}
	for _, row := range []struct {
		name           string
		change         func(*JWTOptions)
		key            testKey
		header, claims change
		want           error
	}{
		{"algorithm that is not allowed", func(o *JWTOptions) { o.Algorithms = []string{"EdDSA"} }, ecKey(), nil, nil, ErrInvalid},
		{"algorithm that is", func(o *JWTOptions) { o.Algorithms = []string{"ES256"} }, ecKey(), nil, nil, nil},
		{"type that must be said", func(o *JWTOptions) { o.RequireType = true }, ecKey(), change{"typ": "JWT"}, nil, ErrWrongType},
		{"type that must be said and is not", func(o *JWTOptions) { o.RequireType = true }, ecKey(), change{"typ": nil}, nil, ErrWrongType},
		{"type that is said", func(o *JWTOptions) { o.RequireType = true }, ecKey(), change{"typ": "application/at+jwt"}, nil, nil},
		{"shorter life", func(o *JWTOptions) { o.MaxLifetime = time.Hour - skew - 1 }, ecKey(), nil, nil, ErrLong},
		{"long enough", func(o *JWTOptions) { o.MaxLifetime = time.Hour - skew }, ecKey(), nil, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := only(signedBy(t, newIDP(ecKey(), edKey()), c.Now, row.change))
			if _, err := v.Authenticate(t.Context(), NewSecret(row.key.mint(row.header, row.claims))); !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
		})
	}
	for _, algorithm := range []string{"none", "HS256", "RS384", "es256", ""} {
		if _, err := NewJWT(JWTOptions{Issuer: testIssuer, Algorithms: []string{"ES256", algorithm}, KeysFile: "x"}); err == nil {
			t.Errorf("%q can be allowed", algorithm)
		}
	}
	// Shorter patience with keys that cannot be fetched.
	clock := &stopped{now: begin}
	p := newIDP(ecKey())
	v := only(signedBy(t, p, clock.Now, func(o *JWTOptions) { o.MaxStale = time.Hour }))
	if err := pass(t, v, ecKey(), begin); err != nil {
		t.Fatal(err)
	}
	p.breakWith(func(*http.Request) (string, error) { return "", errors.New("refused") })
	clock.advance(time.Hour)
	if err := pass(t, v, ecKey(), clock.Now()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after an hour: %v", err)
	}
}

// FuzzAuthenticate: no bytes that nobody signed make a principal, and none end
// otherwise than in a refusal.
func FuzzAuthenticate(f *testing.F) {
	c := &stopped{now: begin}
	good := ecKey().mint(nil, nil)
	f.Add(good)
	for _, row := range hostileTokens() {
		f.Add(row.token)
	}
	v := only(signedBy(f, newIDP(rsaKey(), ecKey(), edKey()), c.Now, nil))
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Authenticate(context.Background(), NewSecret(token))
		var refusal *Refusal
		switch {
		case err == nil && token != good:
			t.Errorf("accepted: %+v", p)
		case err != nil && (!errors.As(err, &refusal) || p.Subject != ""):
			t.Errorf("%+v, %v", p, err)
		}
	})
}
