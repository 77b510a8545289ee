package identity

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"mcp-sidecar/scenarios/canary"
)

// prints is every way in which a value could end up in a text.
func prints(v any) string {
	encoded, _ := yaml.Marshal(v) // not everything has such a form
	return canary.Print(v) + string(encoded)
}

// No way of printing what holds a secret shows it, however deep it lies and
// whether or not the field that holds it is exported.
func TestNothingPrintsASecret(t *testing.T) {
	const planted = "CANARY7OF9A2SECRET"
	secret, credential := NewSecret(planted), newCredential(planted)
	type hidden struct {
		secret     Secret
		credential Credential
		pointer    *Secret
		list       []Credential
		table      map[string]Secret
	}
	type shown struct {
		Secret     Secret
		Credential *Credential
		List       []Secret
	}
	stored, err := NewStored(StoredOptions{Value: secret})
	if err != nil {
		t.Fatal(err)
	}
	clock := newHand()
	s := newTokenServer(t, says(200, `{"access_token":"`+planted+`","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":300}`))
	o := options(t, s, clock)
	if o.Secret, err = NewStored(StoredOptions{Value: secret}); err != nil {
		t.Fatal(err)
	}
	g, x, alice := granted(t, o), exchanger(t, o), callerWith("alice", planted+"-of-alice")
	for _, source := range []interface {
		Current(context.Context, *Delegation) (Credential, error)
	}{g, x} {
		if c, err := source.Current(t.Context(), alice); err != nil || c.Reveal() != planted {
			t.Fatalf("%v %v", c, err)
		}
	}
	for _, tokens := range []*issuedTokens{&g.tokens, &x.tokens} {
		tokens.flights.group.Forget("") // whose lock its last flight may still be letting go
	}
	for name, v := range map[string]any{
		"client credentials": g, "what they are": g.endpoint, "exchanger": x, "token options": o, "a token that was issued": issued{credential, clock.Now()},
		"what is kept": *x.tokens.known[alice.key()], "everything that is kept": x.tokens.known, "granted": Granted{Token: func(context.Context, Principal) (Secret, error) { return secret, nil }},
		"secret": secret, "credential": credential, "pointer to a secret": &secret, "pointer to a credential": &credential,
		"texts": NewSecrets(planted, planted), "bytes": Hide([]byte(planted)), "a form": Hide(url.Values{planted: {planted}}), "entries": Hide([]string{planted}), "a struct": Hide(struct{ Text string }{planted}),
		"what hides": struct {
			texts Secrets
			bytes Hidden[[]byte]
			form  *Hidden[url.Values]
			list  []Hidden[[]string]
			table map[string]Hidden[struct{ Text string }]
		}{NewSecrets(planted, planted), Hide([]byte(planted)), new(Hide(url.Values{planted: {planted}})), []Hidden[[]string]{Hide([]string{planted})}, map[string]Hidden[struct{ Text string }]{"k": Hide(struct{ Text string }{planted})}},
		"hidden":     hidden{secret, credential, &secret, []Credential{credential}, map[string]Secret{"k": secret}},
		"shown":      shown{secret, &credential, []Secret{secret}},
		"delegation": *NewDelegation(Principal{Subject: "alice"}, secret),
		"stored":     stored,
		"options":    StoredOptions{Value: secret, Env: Hide([]string{"KEY=" + planted})},
	} {
		if text := prints(v); len(canary.Shows(text, planted)) > 0 {
			t.Errorf("%s is printed:\n%s", name, text)
		}
		if held := canary.Held(&v, []string{planted}); held != nil {
			t.Errorf("%s: in plain in %q", name, held)
		}
	}
}

// What is read from the outside is hidden from the moment it is read.
func TestNothingReadPrintsASecret(t *testing.T) {
	const planted = "CANARY7OF9A2SECRET"
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"ES256"}`)) + "." + encode([]byte(`{"sub":"alice","jti":"`+planted+`"}`)) + "." + encode([]byte(planted))
	read, err := readSigned(token)
	if err != nil {
		t.Fatal(err)
	}
	s := newTokenServer(t, says(200, `{"access_token":"`+planted+`","jti":"`+planted+`"}`))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := options(t, s, newHand()).Fetcher.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	var g grant
	if err := json.Unmarshal(reply.Body.Reveal(), &g); err != nil || g.AccessToken.Reveal() != planted {
		t.Fatalf("%v: %q", err, g.AccessToken.Reveal())
	}
	a, err := readAnswer(reply.Body.Reveal())
	if err != nil || a.ID.Reveal() != planted {
		t.Fatalf("%v: %q", err, a.ID.Reveal())
	}
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	key, err := parseSigner([]byte(pemKey(t, private)))
	if err != nil || !private.Equal(key.Reveal()) {
		t.Fatal(err)
	}
	followed := &followed[Hidden[crypto.Signer]]{}
	followed.current.Store(&key)
	for name, v := range map[string]any{"a token": read, "an answer": &reply, "a grant": &g, "an introspection": &a, "a key": key, "a key that is followed": followed} {
		secrets := []string{planted, token, string(private.Seed())}
		if text := prints(v); len(canary.Shows(text, secrets...)) > 0 {
			t.Errorf("%s is printed:\n%s", name, text)
		}
		if held := canary.Held(v, secrets); held != nil {
			t.Errorf("%s: in plain in %q", name, held)
		}
	}
}

func TestSecrets(t *testing.T) {
	var none Secrets
	two := NewSecrets("a", "")
	three := two
	three.Add(NewSecret("c"))
	two.Add(Secret{})
	if none.Len() != 0 || NewSecrets().Len() != 0 || NewSecrets("").Len() != 1 || two.Len() != 3 || three.Len() != 3 {
		t.Error("counted wrong")
	}
	if three.At(0).Reveal() != "a" || three.At(1).Reveal() != "" || three.At(2).Reveal() != "c" || two.At(2).Reveal() != "" {
		t.Error("a copy has changed, or the order")
	}
	if (Hidden[[]byte]{}).Reveal() != nil || string(Hide([]byte("k")).Reveal()) != "k" {
		t.Error("the value is lost")
	}
	values := []string{"Bearer one"}
	if n := testing.AllocsPerRun(100, func() { none = NewSecrets(values...) }); n != 0 {
		t.Errorf("%v allocations for the one header of a request", n)
	}
}

// What a client presents and what an upstream is shown are types that neither
// convert nor assign to each other.
func TestSecretsAreNoCredentials(t *testing.T) {
	secret, credential := reflect.TypeFor[Secret](), reflect.TypeFor[Credential]()
	if secret.ConvertibleTo(credential) || credential.ConvertibleTo(secret) || secret.AssignableTo(credential) || credential.AssignableTo(secret) {
		t.Error("one can take the other's place")
	}
}

func TestCredential(t *testing.T) {
	c := newCredential("v")
	if c.Reveal() != "v" || c.Empty() || !(Credential{}).Empty() || (Credential{}).Reveal() != "" || !newCredential("").Empty() {
		t.Error("the value is lost")
	}
	if !c.Same(newCredential("v")) || c.Same(newCredential("w")) || c.Same(Credential{}) || !(Credential{}).Same(newCredential("")) {
		t.Error("credentials are told apart by something else than their value")
	}
}

func TestDelegation(t *testing.T) {
	d := NewDelegation(Principal{Subject: "alice", Expiry: time.Unix(9, 0)}, NewSecret("token"))
	if p, ok := d.Caller(); !ok || p.Subject != "alice" {
		t.Errorf("%+v %v", p, ok)
	}
	var nobody *Delegation
	if p, ok := nobody.Caller(); ok || !reflect.DeepEqual(p, Principal{}) {
		t.Errorf("nobody is %+v", p)
	}
}

var errNotNow = errors.New("not now")
