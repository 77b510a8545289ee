package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// prints is every way in which a value could end up in a text.
func prints(t *testing.T, v any) string {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	fmt.Fprintln(&out, v, &v, []any{v}, map[string]any{"k": v}, struct{ hidden any }{v})
	fmt.Fprintln(&out, fmt.Errorf("with %v", v))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Error("m", "value", v, "group", slog.GroupValue(slog.Any("inner", v)))
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal, xml.Marshal} {
		if b, err := encode(v); err == nil { // some have no form in some of them
			out.Write(b)
		}
	}
	return out.String()
}

// No way of printing what holds a secret shows it, however deep it lies and
// whether or not the field that holds it is exported.
func TestNothingPrintsASecret(t *testing.T) {
	const canary = "CANARY7OF9A2SECRET"
	secret, credential := NewSecret(canary), newCredential(canary)
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
	s := newTokenServer(t, says(200, `{"access_token":"`+canary+`","token_type":"Bearer","issued_token_type":"`+typeAccessToken+`","expires_in":300}`))
	o := options(t, s, clock)
	if o.Secret, err = NewStored(StoredOptions{Value: secret}); err != nil {
		t.Fatal(err)
	}
	g, x, alice := granted(t, o), exchanger(t, o), callerWith("alice", canary+"-of-alice")
	for _, source := range []interface {
		Current(context.Context, *Delegation) (Credential, error)
	}{g, x} {
		if c, err := source.Current(t.Context(), alice); err != nil || c.Reveal() != canary {
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
		"hidden":     hidden{secret, credential, &secret, []Credential{credential}, map[string]Secret{"k": secret}},
		"shown":      shown{secret, &credential, []Secret{secret}},
		"delegation": *NewDelegation(Principal{Subject: "alice"}, secret),
		"stored":     stored,
		"options":    StoredOptions{Value: secret},
	} {
		text := prints(t, v)
		for _, form := range []string{canary, "43414e415259", "43414E415259"} {
			if strings.Contains(text, form) {
				t.Errorf("%s is printed:\n%s", name, text)
			}
		}
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
