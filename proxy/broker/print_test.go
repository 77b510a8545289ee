package broker

import (
	"crypto/x509"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/scenarios/canary"
)

// On the whole way from a client's request to a renewed grant the broker keeps no
// secret in plain, and prints none.
func TestNothingPrintsASecret(t *testing.T) {
	r := start(t, func(o *Options) { o.Key = identity.Hide([]byte("CANARY7OF9A2KEY" + strings.Repeat("k", 32))) })
	v := r.request()
	v.Set("state", "CANARY7OF9A2STATE")
	secrets := []string{"CANARY7OF9A2KEY", "CANARY7OF9A2STATE", ownSecret, "secret-at-sidecar", string(r.broker.vault.index.Reveal())}
	for i := range r.broker.keys.all {
		key := r.broker.keys.all[i]
		raw, err := key.private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, key.Key.Reveal(), string(raw))
	}
	check := func(step string, want int) {
		t.Helper()
		all := append(secrets, r.ours...)
		for _, p := range r.parties() {
			p.mu.Lock()
			all = append(append(all, p.given...), p.tokens...)
			p.mu.Unlock()
		}
		kept := map[string]any{"options": r.broker.opts, "keys": r.broker.keys.all, "vault": r.broker.vault, "what was shown": &r.broker.shown}
		flows := 0
		for name, s := range map[string]*shelf[flow]{"logins": r.broker.logins, "consents": r.broker.consents, "states": r.broker.states} {
			kept[name] = s
			for _, i := range s.items {
				f := i.value
				flows++
				kept["a flow of "+name], kept["a request of "+name], kept["an event of "+name] = f, f.request, event{step: name, request: f.request, user: f.user}
				for _, s := range []identity.Secret{f.nonce, f.verifier, f.csrf} {
					if !s.Empty() {
						all = append(all, s.Reveal())
					}
				}
			}
		}
		for _, i := range r.broker.codes.items {
			kept["what a code stands for"], kept["its tokens"] = i.value, i.value.tokens
			all = append(all, i.value.tokens.Access.Reveal(), i.value.tokens.Refresh.Reveal())
			flows++
		}
		if flows != want {
			t.Fatalf("%s: %d flows and codes are kept, want %d", step, flows, want)
		}
		if held := canary.Held(r.broker, all); held != nil {
			t.Errorf("%s: in plain in %q", step, held)
		}
		for name, v := range kept {
			if found := canary.Shows(canary.Print(v), all...); len(found) > 0 {
				t.Errorf("%s: %s is printed with %q", step, name, found)
			}
		}
	}
	b := r.browser()
	toLogin := b.get(r.authorizeURL(v)).to
	check("logging in", 1)
	consent := b.get(b.get(toLogin).to).to
	check("asked", 1)
	f := formOf(b.get(consent).body)
	f.Set("decision", "approve")
	toThird := b.post(consentPath, f).to
	check("approved", 1)
	code := r.codeIn(b.get(b.get(toThird).to))
	check("answered", 1)
	r.token(r.redemption(code))
	p := identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}
	first, err := r.broker.Token(t.Context(), p, "docs")
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.broker.Renewed(t.Context(), p, "docs", first)
	if err != nil || second.Reveal() == first.Reveal() {
		t.Fatalf("not renewed: %v", err)
	}
	secrets = append(secrets, first.Reveal(), second.Reveal())
	check("renewed", 0)
	for name, v := range map[string]any{
		"a request":       tokenRequest{secret: identity.NewSecret(ownSecret), form: identity.Hide(url.Values{"refresh_token": {first.Reveal()}})},
		"the login":       r.broker.login,
		"a client":        r.opts.Clients[2],
		"a provider":      r.opts.Upstreams["docs"].Provider,
		"a page":          consentView{CSRF: second},
		"the way further": continueView{To: second},
	} {
		if held := canary.Held(v, secrets); held != nil {
			t.Errorf("%s: in plain in %q", name, held)
		}
		if found := canary.Shows(canary.Print(v), secrets...); len(found) > 0 {
			t.Errorf("%s is printed with %q", name, found)
		}
	}
}

// What a token endpoint answers is hidden from the moment it is read.
func TestTokenReplyIsHidden(t *testing.T) {
	const access, refresh, id = "CANARY7OF9A2ACCESS", "CANARY7OF9A2REFRESH", "CANARY7OF9A2IDTOKEN"
	secrets := []string{access, refresh, id}
	reply := identity.Reply{Status: 200, Media: "application/json", Body: identity.Hide([]byte(`{"token_type":"Bearer","access_token":"` + access + `","refresh_token":"` + refresh + `","id_token":"` + id + `"}`))}
	got, err := readTokenReply(reply)
	if err != nil || got.Access.Reveal() != access || got.Refresh.Reveal() != refresh || got.IDToken.Reveal() != id {
		t.Fatalf("%v", err)
	}
	for name, v := range map[string]any{"reply": reply, "what counts of it": got} {
		if held := canary.Held(&v, secrets); held != nil {
			t.Errorf("%s: in plain in %q", name, held)
		}
		if found := canary.Shows(canary.Print(v), secrets...); len(found) > 0 {
			t.Errorf("%s is printed with %q", name, found)
		}
	}
	for name, body := range map[string]string{"null": `{"token_type":"Bearer","access_token":null}`, "a number": `{"token_type":"Bearer","access_token":7}`, "nothing": `{"token_type":"Bearer"}`, "empty": `{"token_type":"Bearer","access_token":""}`} {
		if _, err := readTokenReply(identity.Reply{Status: 200, Media: "application/json", Body: identity.Hide([]byte(body))}); err == nil {
			t.Errorf("%s is a token", name)
		}
	}
	without, err := readTokenReply(identity.Reply{Status: 200, Media: "application/json", Body: identity.Hide([]byte(`{"token_type":"Bearer","access_token":"a","refresh_token":null}`))})
	if err != nil || !without.Refresh.Empty() {
		t.Errorf("%v: refresh token %q", err, without.Refresh.Reveal())
	}
}

// Records have the form that encoding/json gives plain texts and bytes: what was kept
// before secrets had a type is read, and what is kept now is whole.
func TestRecordsHoldSecrets(t *testing.T) {
	c := newClock()
	v, whose := newVault(t, c), []string{"alice"}
	type plainTokens struct {
		Access  string    `json:"access_token"`
		Refresh string    `json:"refresh_token,omitempty"`
		Expires time.Time `json:"expires,omitzero"`
	}
	type plainKey struct {
		ID    string    `json:"kid"`
		Made  time.Time `json:"made"`
		Bytes []byte    `json:"key"`
	}
	key, err := newSigningKey(c.now)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key.private)
	if err != nil {
		t.Fatal(err)
	}
	session := lasting{principal: principal{Login: "l", Subject: "<s>", Client: "c"}, Scopes: []string{"a"}, Refresh: [32]byte{1, 2}, Opened: c.now}
	secret := identity.NewSecret
	for name, row := range map[string]struct{ now, before any }{
		"tokens":          {tokens{Access: secret("a<&>\u2028\""), Refresh: secret("r"), Expires: c.now}, plainTokens{"a<&>\u2028\"", "r", c.now}},
		"an access token": {tokens{Access: secret("a")}, plainTokens{Access: "a"}},
		"keys":            {[]signingKey{key}, []plainKey{{key.ID, c.now, pkcs8}}},
		"a session":       {session, session},
		"a consent":       {consent{c.now}, consent{c.now}},
	} {
		if err := v.put(kindGrant, whose, nil, time.Hour, row.now); err != nil {
			t.Fatal(err)
		}
		var got json.RawMessage
		if err := v.get(kindGrant, whose, &got); err != nil {
			t.Fatal(err)
		}
		if want, _ := json.Marshal(row.before); string(got) != string(want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		read := reflect.New(reflect.TypeOf(row.now))
		if err := v.get(kindGrant, whose, read.Interface()); err != nil {
			t.Errorf("%s: cannot be read: %v", name, err)
		}
		if again, _ := jsonv2.Marshal(read.Interface(), revealed); string(again) != string(got) {
			t.Errorf("%s: %s was read as %s", name, got, again)
		}
	}
}
