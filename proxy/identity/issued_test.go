package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenServer is a token endpoint that answers as a test wants.
type tokenServer struct {
	url    string
	asked  atomic.Int64
	mu     sync.Mutex
	answer http.HandlerFunc
	forms  []url.Values
	basics []string
}

func newTokenServer(t *testing.T, answer http.HandlerFunc) *tokenServer {
	t.Helper()
	s := &tokenServer{answer: answer}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		s.mu.Lock()
		s.forms, s.basics = append(s.forms, r.PostForm), append(s.basics, id+":"+secret)
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL + "/token"
	return s
}

func (s *tokenServer) becomes(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func (s *tokenServer) lastForm() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forms[len(s.forms)-1]
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// numbered issues another token each time: t1, t2, …
func numbered(more string) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		says(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","issued_token_type":%q%s}`, n.Add(1), typeAccessToken, more))(w, r)
	}
}

const clientSecret = "s3cret +/=&of the client"

// options are those of a client called "the sidecar".
func options(t *testing.T, s *tokenServer, clock *hand) TokenOptions {
	t.Helper()
	secret, err := NewStored(StoredOptions{Value: NewSecret(clientSecret), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFetcher(FetchOptions{URLs: []string{s.url}, AllowLoopbackHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return TokenOptions{URL: s.url, ClientID: "the sidecar", Secret: secret, Fetcher: f, Now: clock.Now}
}

func granted(t *testing.T, o TokenOptions) *ClientCredentials {
	t.Helper()
	c, err := NewClientCredentials(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func exchanger(t *testing.T, o TokenOptions) *Exchanger {
	t.Helper()
	x, err := NewExchanger(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// callerWith is somebody who has shown token.
func callerWith(name, token string) *Delegation {
	return NewDelegation(Principal{Issuer: "https://idp.example", Subject: name, ClientID: "cli"}, NewSecret(token))
}

// What is sent: who asks, in the way of RFC 6749 section 2.3.1, and what for.
func TestTokenRequests(t *testing.T) {
	s := newTokenServer(t, numbered(""))
	o := options(t, s, newHand())
	o.Scopes, o.Resource, o.Audience = []string{"a", "b:c"}, "https://docs.example/mcp", "docs"
	if c, err := granted(t, o).Current(t.Context(), nil); err != nil || c.Reveal() != "t1" {
		t.Fatalf("%v %v", c, err)
	}
	if got, want := s.lastForm().Encode(), "audience=docs&grant_type=client_credentials&resource=https%3A%2F%2Fdocs.example%2Fmcp&scope=a+b%3Ac"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if got, want := s.basics[0], url.QueryEscape("the sidecar")+":"+url.QueryEscape(clientSecret); got != want {
		t.Errorf("authenticated as %q, want %q", got, want)
	}
	if c, err := exchanger(t, o).Current(t.Context(), callerWith("alice", "token-of-alice")); err != nil || c.Reveal() != "t2" {
		t.Fatalf("%v %v", c, err)
	}
	want := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {"token-of-alice"}, "subject_token_type": {typeAccessToken},
		"requested_token_type": {typeAccessToken}, "audience": {"docs"}, "resource": {"https://docs.example/mcp"}, "scope": {"a b:c"},
	}
	if got := s.lastForm().Encode(); got != want.Encode() {
		t.Errorf("sent %s", got)
	}
}

// pemKey is key in PKCS #8.
func pemKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A client with a key signs an assertion for each question and shows no secret.
func TestAssertion(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	long, _ := rsa.GenerateKey(rand.Reader, 2048)
	file, clock := filepath.Join(t.TempDir(), "key.pem"), newHand()
	for alg, key := range map[string]interface{ Public() any }{"EdDSA": signer{ed.Public()}, "ES256": signer{ec.Public()}, "RS256": signer{long.Public()}} {
		private := map[string]any{"EdDSA": ed, "ES256": ec, "RS256": long}[alg]
		writeFile(t, file, pemKey(t, private), 0o600)
		s := newTokenServer(t, numbered(""))
		o := options(t, s, clock)
		o.Secret, o.KeyFile, o.KeyID = nil, file, "key-1"
		x := exchanger(t, o)
		ids := map[string]bool{}
		for _, user := range []string{"alice", "bob"} {
			if _, err := x.Current(t.Context(), callerWith(user, "token-of-"+user)); err != nil {
				t.Fatal(err)
			}
			form := s.lastForm()
			var claims jwt.RegisteredClaims
			token, err := jwt.ParseWithClaims(form.Get("client_assertion"), &claims, func(*jwt.Token) (any, error) { return key.Public(), nil },
				jwt.WithValidMethods([]string{alg}), jwt.WithIssuer("the sidecar"), jwt.WithSubject("the sidecar"), jwt.WithAudience(s.url), jwt.WithExpirationRequired(), jwt.WithTimeFunc(clock.Now))
			if err != nil || token.Header["kid"] != "key-1" || claims.ExpiresAt.Sub(clock.Now()) != time.Minute || form.Get("client_id") != "the sidecar" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
				t.Errorf("%s: %v, header %v, form %v", alg, err, token, form)
			}
			ids[claims.ID] = true
		}
		if len(ids) != 2 || s.basics[0] != ":" {
			t.Errorf("%s: ids %v, basic %q", alg, ids, s.basics)
		}
	}
}

type signer struct{ public any }

func (s signer) Public() any { return s.public }

func TestSigners(t *testing.T) {
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	legacy, _ := x509.MarshalECPrivateKey(ec)
	for name, text := range map[string]string{
		"nothing": "", "no PEM": "key", "a short RSA key": pemKey(t, short), "another curve": pemKey(t, p384), "broken": strings.Replace(pemKey(t, ec), "MIGH", "AAAA", 1),
		"another form": string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: legacy})),
	} {
		if _, err := parseSigner([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// hostileAnswers are none that yield a token, whatever was asked for.
func hostileAnswers() map[string]http.HandlerFunc {
	ok := `"token_type":"Bearer","issued_token_type":"` + typeAccessToken + `","expires_in":60`
	return map[string]http.HandlerFunc{
		"no JSON":            says(200, `<html>`),
		"nothing":            says(200, ``),
		"null":               says(200, `null`),
		"another media type": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"access_token":"t",`+ok+`}`) },
		"a form": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
			_, _ = io.WriteString(w, "access_token=t&token_type=Bearer")
		},
		"no token":              says(200, `{`+ok+`}`),
		"an empty token":        says(200, `{"access_token":"",`+ok+`}`),
		"a token that is none":  says(200, `{"access_token":7,`+ok+`}`),
		"space in it":           says(200, `{"access_token":"a b",`+ok+`}`),
		"a line break in it":    says(200, `{"access_token":"a\r\nX-Evil: 1",`+ok+`}`),
		"no ASCII":              says(200, `{"access_token":"tökén",`+ok+`}`),
		"too long":              says(200, `{"access_token":"`+strings.Repeat("x", maxToken+1)+`",`+ok+`}`),
		"two tokens":            says(200, `{"access_token":"a","access_token":"b",`+ok+`}`),
		"another spelling":      says(200, `{"Access_Token":"a",`+ok+`}`),
		"another type of token": says(200, strings.Replace(`{"access_token":"t",`+ok+`}`, "Bearer", "DPoP", 1)),
		"no type of token":      says(200, `{"access_token":"t","issued_token_type":"`+typeAccessToken+`"}`),
		"a life that is none":   says(200, `{"access_token":"t","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":"soon"}`),
		"a life that is over":   says(200, `{"access_token":"t","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":0}`),
		"a negative life":       says(200, `{"access_token":"t","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":-1}`),
		"an error with a token": says(200, `{"error":"invalid_grant","access_token":"t",`+ok+`}`),
		"an error":              says(400, `{"error":"invalid_grant"}`),
		"a token with an error": says(400, `{"access_token":"t",`+ok+`}`),
		"created":               says(201, `{"access_token":"t",`+ok+`}`),
		"failing":               says(500, `{"access_token":"t",`+ok+`}`),
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/token?moved", http.StatusTemporaryRedirect)
		},
		"too large": says(200, `{"access_token":"t",`+ok+`,"padding":"`+strings.Repeat("x", maxFetched)+`"}`),
		"hangs up":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
}

func TestHostileTokenEndpoints(t *testing.T) {
	for name, answer := range hostileAnswers() {
		t.Run(name, func(t *testing.T) {
			s := newTokenServer(t, answer)
			o := options(t, s, newHand())
			if c, err := granted(t, o).Current(t.Context(), nil); !errors.Is(err, ErrNoCredential) || !c.Empty() {
				t.Errorf("client credentials: %q, %v", c.Reveal(), err)
			}
			o = options(t, s, newHand())
			if c, err := exchanger(t, o).Current(t.Context(), callerWith("alice", "token-of-alice")); !errors.Is(err, ErrNoCredential) || !c.Empty() {
				t.Errorf("exchange: %q, %v", c.Reveal(), err)
			}
		})
	}
}

// What an exchange must not yield: the caller's own token in any wrapping, and a
// token of another type than was asked for.
func TestHostileExchanges(t *testing.T) {
	rest := `","token_type":"Bearer","expires_in":60,"issued_token_type":"`
	for name, answer := range map[string]string{
		"the caller's own token":      `{"access_token":"token-of-alice` + rest + typeAccessToken + `"}`,
		"the caller's token inside":   `{"access_token":"x.token-of-alice.y` + rest + typeAccessToken + `"}`,
		"no type":                     `{"access_token":"t","token_type":"Bearer","expires_in":60}`,
		"a refresh token":             `{"access_token":"t` + rest + `urn:ietf:params:oauth:token-type:refresh_token"}`,
		"an ID token":                 `{"access_token":"t` + rest + `urn:ietf:params:oauth:token-type:id_token"}`,
		"no access token (N_A)":       `{"access_token":"t","token_type":"N_A","expires_in":60,"issued_token_type":"` + typeAccessToken + `"}`,
		"a token that is not allowed": `{"access_token":"forbidden` + rest + typeAccessToken + `"}`,
	} {
		o := options(t, newTokenServer(t, says(200, answer)), newHand())
		o.Accept = func(token string) error {
			if token == "forbidden" {
				return errNotNow
			}
			return nil
		}
		x, alice := exchanger(t, o), callerWith("alice", "token-of-alice")
		if c, err := x.Current(t.Context(), alice); !errors.Is(err, ErrNoCredential) || !c.Empty() || alice.Issued() != nil {
			t.Errorf("%s: %q, %v", name, c.Reveal(), err)
		}
	}
	o := options(t, newTokenServer(t, says(200, `{"access_token":"t`+rest+typeJWT+`"}`)), newHand())
	if c, err := exchanger(t, o).Current(t.Context(), callerWith("alice", "a")); err != nil || c.Reveal() != "t" {
		t.Errorf("a JWT: %v", err)
	}
}

// A token is used until half a minute before its end, an hour at most, and half a
// minute where nothing is said of its life. Its age counts from the question.
func TestIssuedLife(t *testing.T) {
	for name, row := range map[string]struct {
		says string
		uses time.Duration
	}{
		"an hour":       {`,"expires_in":3600`, time.Hour - expiryMargin},
		"as a string":   {`,"expires_in":"3600"`, time.Hour - expiryMargin},
		"five minutes":  {`,"expires_in":300`, 5*time.Minute - expiryMargin},
		"a year":        {`,"expires_in":31536000`, time.Hour - expiryMargin},
		"for ever":      {`,"expires_in":1e12`, time.Hour - expiryMargin},
		"a moment":      {`,"expires_in":31`, time.Second},
		"nothing said":  {``, 30 * time.Second},
		"said as a sum": {`,"expires_in":90.7`, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newHand()
			s := newTokenServer(t, numbered(row.says))
			g := granted(t, options(t, s, clock))
			x, alice := exchanger(t, options(t, s, clock)), callerWith("alice", "a")
			for n, current := range []func() (Credential, error){
				func() (Credential, error) { return g.Current(t.Context(), nil) }, func() (Credential, error) { return x.Current(t.Context(), alice) },
			} {
				first, err := current()
				if err != nil {
					t.Fatal(n, err)
				}
				clock.advance(row.uses - 1)
				if c, err := current(); err != nil || !c.Same(first) {
					t.Errorf("%d: asked anew a moment before: %v", n, err)
				}
				clock.advance(1)
				if c, err := current(); err != nil || c.Same(first) {
					t.Errorf("%d: still used: %v", n, err)
				}
			}
		})
	}
}

// The last half minute of a token is not used at all: what is issued for less serves
// those who wait for it and nobody else.
func TestIssuedForAMoment(t *testing.T) {
	s := newTokenServer(t, numbered(`,"expires_in":30`))
	g := granted(t, options(t, s, newHand()))
	for i := range 3 {
		if c, err := g.Current(t.Context(), nil); err != nil || c.Reveal() != fmt.Sprint("t", i+1) {
			t.Errorf("%v %v", c.Reveal(), err)
		}
	}
}

// Down, slow or answering garbage: nothing older stands in, the endpoint is asked
// again every two seconds, and service returns by itself.
func TestTokenEndpointFailsClosed(t *testing.T) {
	for name, broken := range map[string]http.HandlerFunc{"down": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "garbage": says(200, "<html>"), "failing": says(503, `{}`)} {
		t.Run(name, func(t *testing.T) {
			clock := newHand()
			var log bytes.Buffer
			works := numbered(`,"expires_in":60`)
			s := newTokenServer(t, works)
			o := options(t, s, clock)
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			x := exchanger(t, o)
			current := func(who string) error {
				_, err := x.Current(t.Context(), callerWith(who, "token-of-"+who))
				return err
			}
			if err := current("alice"); err != nil {
				t.Fatal(err)
			}
			s.becomes(broken)
			if err := current("alice"); err != nil {
				t.Errorf("what still holds is not used: %v", err)
			}
			clock.advance(30 * time.Second)
			asked := s.asked.Load()
			for _, who := range []string{"alice", "alice", "bob", "carol", "bob"} {
				if err := current(who); !errors.Is(err, ErrNoCredential) {
					t.Errorf("%s: %v", who, err)
				}
			}
			if n := s.asked.Load() - asked; n != 1 {
				t.Errorf("asked %d times at once", n)
			}
			clock.advance(retryEvery - 1)
			if err := current("alice"); !errors.Is(err, ErrNoCredential) || s.asked.Load()-asked != 1 {
				t.Errorf("asked again too soon: %v", err)
			}
			clock.advance(1)
			if err := current("bob"); !errors.Is(err, ErrNoCredential) || s.asked.Load()-asked != 2 {
				t.Errorf("asked %d times after two seconds: %v", s.asked.Load()-asked, err)
			}
			s.becomes(works)
			clock.advance(retryEvery)
			for _, who := range []string{"alice", "bob"} {
				if err := current(who); err != nil {
					t.Errorf("%s after the repair: %v", who, err)
				}
			}
			if n := strings.Count(log.String(), "a token endpoint"); n != 2 || strings.Contains(log.String(), "token-of-") || strings.Contains(log.String(), clientSecret) {
				t.Errorf("log:\n%s", &log)
			}
		})
	}
}

// An endpoint that hangs is given up after five seconds, whoever waits, and asked
// again at once: it may have been repaired a moment after it was asked.
func TestSlowTokenEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		hangs := true
		o := TokenOptions{URL: "https://idp.example/token", ClientID: "a", Fetcher: fetcherOf(roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			if hangs {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return response(r, 200, "application/json", `{"access_token":"t","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":300}`), nil
		}))}
		var err error
		if o.Secret, err = NewStored(StoredOptions{Value: NewSecret("s")}); err != nil {
			t.Fatal(err)
		}
		x := exchanger(t, o)
		begun := time.Now()
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if _, err := x.Current(context.Background(), callerWith("alice", "a")); !errors.Is(err, ErrNoCredential) {
					t.Errorf("%v", err)
				}
			})
		}
		impatient, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := x.Current(impatient, callerWith("alice", "a")); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		wait.Wait()
		if took := time.Since(begun); took != fetchTimeout || asked != 1 {
			t.Errorf("given up after %v, asked %d times", took, asked)
		}
		hangs = false
		if _, err := x.Current(context.Background(), callerWith("alice", "a")); err != nil || time.Since(begun) > 5*time.Second {
			t.Errorf("%v %v after the repair", err, time.Since(begun)-fetchTimeout)
		}
	})
}

// A refusal is about one caller: others are served, and he is not asked about again
// at once.
func TestExchangeRefused(t *testing.T) {
	clock := newHand()
	s := newTokenServer(t, nil)
	s.becomes(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("subject_token") == "revoked" {
			says(400, `{"error":"invalid_grant","error_description":"the token revoked of alice is no good"}`)(w, r)
			return
		}
		says(200, `{"access_token":"t","token_type":"bearer","issued_token_type":"`+typeAccessToken+`","expires_in":300}`)(w, r)
	})
	x := exchanger(t, options(t, s, clock))
	for range 3 {
		if _, err := x.Current(t.Context(), callerWith("alice", "revoked")); !errors.Is(err, ErrNoCredential) || !strings.Contains(err.Error(), "(invalid_grant)") || strings.Contains(err.Error(), "of alice") {
			t.Errorf("%v", err)
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	for _, d := range []*Delegation{callerWith("bob", "b"), callerWith("alice", "another")} {
		if _, err := x.Current(t.Context(), d); err != nil {
			t.Errorf("%v", err)
		}
	}
	clock.advance(retryEvery)
	_, _ = x.Current(t.Context(), callerWith("alice", "revoked"))
	if n := s.asked.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
}

// Each caller has a token of his own, each of his tokens one of its own, and nobody
// has none.
func TestExchangePerCaller(t *testing.T) {
	s := newTokenServer(t, nil)
	s.becomes(func(w http.ResponseWriter, r *http.Request) {
		says(200, fmt.Sprintf(`{"access_token":"for-%x","token_type":"Bearer","issued_token_type":%q,"expires_in":300}`, digestOf(NewSecret(r.PostForm.Get("subject_token"))), typeAccessToken))(w, r)
	})
	x := exchanger(t, options(t, s, newHand()))
	seen := map[string]string{}
	for name, d := range map[string]*Delegation{
		"alice": callerWith("alice", "a"), "bob": callerWith("bob", "b"), "alice's other token": callerWith("alice", "a2"),
	} {
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if c, err := x.Current(context.Background(), d); err != nil || c.Empty() {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wait.Wait()
		c, _ := x.Current(t.Context(), d)
		if other, taken := seen[c.Reveal()]; taken {
			t.Errorf("%s and %s share a token", name, other)
		}
		seen[c.Reveal()] = name
		if got := d.Issued(); len(got) != 1 || !got[0].Same(c) {
			t.Errorf("%s remembers %d tokens", name, len(got))
		}
	}
	if n := s.asked.Load(); n != 3 {
		t.Errorf("asked %d times for three tokens", n)
	}
	// The same token of another caller is another caller's.
	if _, err := x.Current(t.Context(), callerWith("mallory", "a")); err != nil || s.asked.Load() != 4 {
		t.Errorf("a token is shared between callers: %v", err)
	}
	if c, err := x.Current(t.Context(), nil); !errors.Is(err, ErrNoCredential) || !c.Empty() {
		t.Errorf("nobody: %q, %v", c.Reveal(), err)
	}
	if c, ok := x.Renew(t.Context(), nil, newCredential("x")); ok || !c.Empty() {
		t.Errorf("nobody renews: %q", c.Reveal())
	}
}

// A token that has expired since it was verified is not shown to the endpoint.
func TestExchangeOfExpired(t *testing.T) {
	clock := newHand()
	s := newTokenServer(t, numbered(`,"expires_in":300`))
	x := exchanger(t, options(t, s, clock))
	d := NewDelegation(Principal{Subject: "alice", Expiry: clock.Now().Add(time.Minute)}, NewSecret("a"))
	if _, err := x.Current(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	clock.advance(time.Minute)
	if _, err := x.Current(t.Context(), d); err != nil {
		t.Errorf("what was issued still holds: %v", err)
	}
	clock.advance(5 * time.Minute)
	if _, err := x.Current(t.Context(), d); !errors.Is(err, ErrNoCredential) || s.asked.Load() != 1 {
		t.Errorf("%v, asked %d times", err, s.asked.Load())
	}
}

// A token that the upstream refuses is replaced once for all who were refused, and
// not again and again.
func TestIssuedRenews(t *testing.T) {
	clock := newHand()
	s := newTokenServer(t, numbered(`,"expires_in":300`))
	g := granted(t, options(t, s, clock))
	x, alice := exchanger(t, options(t, s, clock)), callerWith("alice", "a")
	for name, source := range map[string]interface {
		Current(context.Context, *Delegation) (Credential, error)
		Renew(context.Context, *Delegation, Credential) (Credential, bool)
	}{"client credentials": g, "exchange": x} {
		first, err := source.Current(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		asked := s.asked.Load()
		if _, ok := source.Renew(t.Context(), alice, first); ok || s.asked.Load() != asked {
			t.Errorf("%s: what was issued a moment ago is replaced", name)
		}
		clock.advance(retryEvery)
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				if c, ok := source.Renew(context.Background(), alice, first); !ok || c.Same(first) {
					t.Errorf("%s: not replaced", name)
				}
			})
		}
		if wait.Wait(); s.asked.Load() != asked+1 {
			t.Errorf("%s: asked %d times", name, s.asked.Load()-asked)
		}
		s.becomes(says(503, `{}`))
		clock.advance(retryEvery)
		now, _ := source.Current(t.Context(), alice)
		if _, ok := source.Renew(t.Context(), alice, now); ok {
			t.Errorf("%s: replaced by nothing", name)
		}
		s.becomes(numbered(`,"expires_in":300`))
		clock.advance(retryEvery)
	}
	if n := len(alice.Issued()); n != 2 {
		t.Errorf("%d tokens are remembered", n)
	}
}

// A client secret that was replaced is used at once.
func TestClientSecretRotates(t *testing.T) {
	file, clock := filepath.Join(t.TempDir(), "secret"), newHand()
	write(t, file, "old")
	s := newTokenServer(t, nil)
	s.becomes(func(w http.ResponseWriter, r *http.Request) {
		if _, secret, _ := r.BasicAuth(); secret != "new" {
			says(401, `{"error":"invalid_client"}`)(w, r)
			return
		}
		says(200, `{"access_token":"t","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":300}`)(w, r)
	})
	o := options(t, s, clock)
	var err error
	if o.Secret, err = NewStored(StoredOptions{File: file, Now: clock.Now}); err != nil {
		t.Fatal(err)
	}
	x := exchanger(t, o)
	if _, err := x.Current(t.Context(), callerWith("alice", "a")); !errors.Is(err, ErrNoCredential) || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("%v", err)
	}
	write(t, file, "new") // and looked at a moment ago
	if c, err := x.Current(t.Context(), callerWith("bob", "b")); err != nil || c.Reveal() != "t" {
		t.Errorf("%v", err)
	}
}

// Nobody can make the cache forget others: a caller with many tokens loses his own.
func TestIssuedIsBounded(t *testing.T) {
	clock := newHand()
	c := issuedTokens{now: clock.Now}
	put := func(owner string, n int, err error) {
		key := digestOf(NewSecret(fmt.Sprint(owner, n)))
		c.keep(key, &holding{issued: issued{newCredential("t"), clock.Now().Add(time.Minute)}, err: err, asked: clock.Now(), owner: owner})
	}
	put("alice", 0, nil)
	for n := range 100 {
		put("mallory", n, nil)
	}
	if len(c.known) != maxIssuedToOne+1 || len(c.of["mallory"]) != maxIssuedToOne {
		t.Errorf("%d tokens, %d of one caller", len(c.known), len(c.of["mallory"]))
	}
	for n := range maxIssued {
		put(fmt.Sprint("crowd", n), 0, nil)
	}
	if _, _, ok := c.recall(digestOf(NewSecret("alice0"))); !ok || len(c.known) != maxIssued {
		t.Errorf("%d tokens, alice's is there: %v", len(c.known), ok)
	}
	clock.advance(time.Minute)
	put("late", 0, nil)
	if len(c.known) != 1 || len(c.of) != 1 {
		t.Errorf("%d tokens of %d callers are left after all are over", len(c.known), len(c.of))
	}
}
