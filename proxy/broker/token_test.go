package broker

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"mcp-sidecar/proxy/identity"
)

// Ways of a client to show its secret (RFC 6749 section 2.3.1).
func TestClientSecret(t *testing.T) {
	for name, change := range map[string]func(url.Values) func(*http.Request){
		"in the form": func(v url.Values) func(*http.Request) {
			v.Set("client_secret", ownSecret)
			return func(*http.Request) {}
		},
		"in the header": func(v url.Values) func(*http.Request) {
			v.Del("client_id")
			return func(q *http.Request) { q.SetBasicAuth(secretive, ownSecret) }
		},
		"in the header, with its id in the form": func(url.Values) func(*http.Request) {
			return func(q *http.Request) { q.SetBasicAuth(secretive, ownSecret) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			ask := r.request()
			ask.Set("client_id", secretive)
			v := r.redemption(r.browser().toCode(ask))
			v.Set("client_id", secretive)
			if a := r.token(v, change(v)); a.status != 200 {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	r := start(t)
	a := r.granted()
	if _, err := r.principalOf(a.Access); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(tokenLife)
	if _, err := r.principalOf(a.Access); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	b := r.token(r.prolongation(a.Refresh))
	if b.status != 200 || b.Refresh == a.Refresh || b.Scope != "documents:read" {
		t.Fatalf("%+v", b)
	}
	if _, err := r.principalOf(b.Access); err != nil {
		t.Error(err)
	}
	r.restart() // what refresh tokens prolong survives that, and so do the keys
	if _, err := r.principalOf(b.Access); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	c := r.token(r.prolongation(b.Refresh))
	if c.status != 200 {
		t.Fatalf("%+v", c)
	}
	if d := r.token(r.prolongation(b.Refresh)); d.Error != "invalid_grant" || r.last() != "refresh denied refresh-token-replayed" {
		t.Errorf("%+v %s", d, r.last())
	}
	if _, err := r.principalOf(c.Access); err == nil {
		t.Error("the session goes on after a replay")
	}
	if d := r.token(r.prolongation(c.Refresh)); d.Error != "invalid_grant" {
		t.Errorf("%+v", d)
	}
}

func TestRefreshDenied(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*rig, url.Values)
		code   string
		reason string
	}{
		{"made up", func(_ *rig, v url.Values) { v.Set("refresh_token", "x.y") }, "invalid_grant", "refresh-token"},
		{"absent", func(_ *rig, v url.Values) { v.Del("refresh_token") }, "invalid_grant", "refresh-token"},
		{"half of it", func(_ *rig, v url.Values) {
			s, _, _ := strings.Cut(v.Get("refresh_token"), ".")
			v.Set("refresh_token", s)
		}, "invalid_grant", "refresh-token-replayed"},
		{"another client", func(_ *rig, v url.Values) { v.Set("client_id", localClient) }, "invalid_grant", "refresh-token-of-another"},
		{"more scopes", func(_ *rig, v url.Values) { v.Set("scope", "documents:read documents:write") }, "invalid_scope", "scope"},
		{"another resource", func(r *rig, v url.Values) { v.Set("resource", r.opts.Upstreams["mail"].Resource) }, "invalid_target", "resource"},
		{"not used for a week", func(r *rig, _ url.Values) { r.clock.advance(idleLife) }, "invalid_grant", "refresh-token"},
		{"a month old", func(r *rig, v url.Values) {
			for range 6 {
				r.clock.advance(5 * 24 * time.Hour)
				r.third.life = 3600
				p := identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}
				if _, err := r.broker.Token(r.t.Context(), p, "docs"); err != nil {
					r.t.Fatal(err)
				}
				if v.Get("at-the-end") == "" && r.clock.Now().Before(time.Date(2026, 12, 23, 0, 0, 0, 0, time.UTC)) {
					v.Set("refresh_token", r.token(v).Refresh)
				}
			}
		}, "invalid_grant", "session-expired"},
		{"grant ended", func(r *rig, _ url.Values) {
			r.broker.vault.drop(kindGrant, r.broker.principal("alice", webClient, "docs").binding())
		}, "invalid_grant", "grant-ended"},
		{"session damaged", func(r *rig, _ url.Values) { damage(r.t, r.files(kindSession)[0]) }, "invalid_grant", "refresh-token"},
		{"another login provider", func(r *rig, _ url.Values) { r.broker.opts.Login.Issuer = "https://other.example" }, "invalid_grant", "refresh-token-of-another"},
		{"users under another prefix", func(r *rig, _ url.Values) { r.broker.opts.Login.SubjectPrefix = "corp/" }, "invalid_grant", "refresh-token-of-another"},
		{"another third party", func(r *rig, _ url.Values) {
			r.provider("docs", func(p *Provider) { p.TokenURL = "https://other.example/token" })
		}, "invalid_grant", "refresh-token-of-another"},
		{"another client at the third party", func(r *rig, _ url.Values) { r.provider("docs", func(p *Provider) { p.ClientID = "other" }) }, "invalid_grant", "refresh-token-of-another"},
		{"the server is gone", func(r *rig, _ url.Values) { delete(r.opts.Upstreams, "docs") }, "invalid_grant", "refresh-token-of-another"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			v := r.prolongation(r.granted().Refresh)
			row.change(r, v)
			if a := r.token(v); a.status != 400 || a.Error != row.code || a.Access != "" || r.last() != "refresh denied "+row.reason {
				t.Errorf("%+v %s", a, r.last())
			}
		})
	}
	t.Run("fewer scopes", func(t *testing.T) {
		r := start(t)
		v := r.prolongation(r.granted().Refresh)
		v.Set("scope", "")
		a := r.token(v)
		if p, err := r.principalOf(a.Access); err != nil || len(p.Scopes) != 0 {
			t.Errorf("%+v %v", p, err)
		}
		if b := r.token(r.prolongation(a.Refresh)); b.Scope != "documents:read" {
			t.Errorf("the session has lost scopes: %+v", b)
		}
	})
}

// A client that the operator has removed has no session any more, and shows that by
// no secret less than before.
func TestRefreshOfAClientThatIsGone(t *testing.T) {
	const id = "https://example.com/app"
	for name, row := range map[string]struct {
		id     string
		remove func(*Options)
	}{
		"registered by the operator": {webClient, func(o *Options) { o.Clients = o.Clients[1:] }},
		"with a secret":              {secretive, func(o *Options) { o.Clients = o.Clients[:2] }},
		"registered by anybody":      {"", func(o *Options) { o.Register = false }},
		"documents of other hosts":   {id, func(o *Options) { o.Hosts = []string{"other.example"} }},
		"no documents":               {id, func(o *Options) { o.Documents = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.docs.put("/app", `{"client_id":"`+id+`","redirect_uris":["`+webRedirect+`"]}`)
			if row.id == "" {
				c, _ := r.broker.clients.registered(description{Redirects: []string{webRedirect}})
				row.id = c.ID
			}
			shown := func(v url.Values) url.Values {
				if v.Set("client_id", row.id); row.id == secretive {
					v.Set("client_secret", ownSecret)
				}
				return v
			}
			ask := r.request()
			ask.Set("client_id", row.id)
			a := r.token(shown(r.redemption(r.browser().toCode(ask))))
			r.restart()
			if a = r.token(shown(r.prolongation(a.Refresh))); a.status != 200 {
				t.Fatalf("before: %+v", a)
			}
			row.remove(&r.opts)
			r.restart()
			v := shown(r.prolongation(a.Refresh))
			v.Del("client_secret")
			if a := r.token(v); a.status != 401 || a.Error != "invalid_client" || a.Access != "" || r.last() != "token denied client" {
				t.Errorf("%+v %s", a, r.last())
			}
		})
	}
}

// Tokens and grants are those of one configuration: a third party's token is shown to
// no other, and equal names under another prefix are other people.
func TestTokensUnderAnotherConfiguration(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"another third party":    func(r *rig) { r.provider("docs", func(p *Provider) { p.TokenURL = r.other.URL + "/token" }) },
		"another prefix":         func(r *rig) { r.broker.opts.Login.SubjectPrefix = "corp/" },
		"another login provider": func(r *rig) { r.broker.opts.Login.Issuer = "https://other.example" },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			a := r.granted()
			whose := identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}
			if s, err := r.broker.Token(t.Context(), whose, "docs"); err != nil || s.Empty() {
				t.Fatal(err)
			}
			change(r)
			if _, err := r.principalOf(a.Access); !errors.Is(err, identity.ErrInvalid) {
				t.Errorf("our token: %v", err)
			}
			if s, err := r.broker.Token(t.Context(), whose, "docs"); !errors.Is(err, ErrNoGrant) || !s.Empty() {
				t.Errorf("the third party's: %v", err)
			}
		})
	}
}

// Requests with one refresh token at the same moment: one gets it, and the session
// ends, since one of them may be a thief. Many rounds, so that one of them hits the
// moment.
func TestRefreshRace(t *testing.T) {
	r := start(t)
	r.granted()
	p := r.broker.principal("alice", webClient, "docs")
	for round := range 40 {
		id := fmt.Sprint("session", round)
		if err := r.broker.vault.put(kindSession, []string{id}, p.user(), idleLife, lasting{principal: p, Refresh: hashOf("secret"), Opened: r.clock.Now()}); err != nil {
			t.Fatal(err)
		}
		if err := r.broker.keep(p, tokens{Access: identity.NewSecret("access")}); err != nil {
			t.Fatal(err)
		}
		statuses := r.atOnce(4, r.prolongation(id+".secret"))
		if statuses[0] != 200 || statuses[1] != 400 || r.broker.vault.has(kindSession, []string{id}) {
			t.Fatalf("round %d: %v", round, statuses)
		}
		r.clock.advance(time.Second) // the rates
	}
}

// atOnce sends v to the token endpoint n times at the same moment, and returns the
// statuses in order.
func (r *rig) atOnce(n int, v url.Values) []int {
	var wait sync.WaitGroup
	statuses, begin := make([]int, n), make(chan struct{})
	for i := range statuses {
		wait.Go(func() {
			q := httptest.NewRequest(http.MethodPost, tokenPath, strings.NewReader(v.Encode()))
			q.Header.Set("Content-Type", formMedia)
			w := httptest.NewRecorder()
			<-begin
			r.broker.ServeHTTP(w, q)
			statuses[i] = w.Code
		})
	}
	close(begin)
	wait.Wait()
	slices.Sort(statuses)
	return statuses
}

// Tokens that are not ours, not for this upstream, or no access tokens at all.
func TestVerifierDenies(t *testing.T) {
	r := start(t)
	good := r.granted().Access
	if _, err := r.principalOf(good); err != nil {
		t.Fatal(err)
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(good, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := r.broker.keys.signing()
	if err != nil {
		t.Fatal(err)
	}
	header, claims := parsed.Header, parsed.Claims.(jwt.MapClaims)
	sign := func(method jwt.SigningMethod, key any, change func(h map[string]any, c jwt.MapClaims)) string {
		token := jwt.NewWithClaims(method, maps.Clone(claims))
		token.Header = maps.Clone(header)
		token.Header["alg"] = method.Alg()
		change(token.Header, token.Claims.(jwt.MapClaims))
		s, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	none := func(map[string]any, jwt.MapClaims) {}
	claim := func(name string, value any) string {
		return sign(jwt.SigningMethodES256, key.private, func(_ map[string]any, c jwt.MapClaims) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		})
	}
	head := func(name string, value any) string {
		return sign(jwt.SigningMethodES256, key.private, func(h map[string]any, _ jwt.MapClaims) { h[name] = value })
	}
	other, err := newSigningKey(r.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	public, _ := key.private.PublicKey.Bytes()
	for name, token := range map[string]string{
		"empty":                      "",
		"opaque":                     "abc",
		"other issuer":               claim("iss", "https://other.example"),
		"no issuer":                  claim("iss", nil),
		"another upstream":           claim("aud", r.opts.Upstreams["mail"].Resource),
		"issuer as audience":         claim("aud", r.server.URL),
		"no audience":                claim("aud", nil),
		"no expiry":                  claim("exp", nil),
		"expired":                    claim("exp", r.clock.Now().Unix()),
		"from the future":            claim("iat", r.clock.Now().Add(time.Second).Unix()),
		"not yet":                    claim("nbf", r.clock.Now().Add(time.Second).Unix()),
		"no session":                 claim("sid", nil),
		"another session":            claim("sid", "x"),
		"another user":               claim("sub", "bob"),
		"another client":             claim("client_id", localClient),
		"another type":               head("typ", "JWT"),
		"another key":                head("kid", "x"),
		"signed with another key":    sign(jwt.SigningMethodES256, other.private, none),
		"unsigned":                   sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, none),
		"the public key as a secret": sign(jwt.SigningMethodHS256, public, none),
		"signature cut off":          good[:strings.LastIndexByte(good, '.')+1],
		"one character changed":      good[:len(good)-2] + map[bool]string{true: "B", false: "A"}[good[len(good)-2] == 'A'] + good[len(good)-1:],
		"a fourth part":              good + ".x",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := r.principalOf(token)
			var refusal *identity.Refusal
			if !errors.As(err, &refusal) || p.Subject != "" {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	t.Run("at another upstream", func(t *testing.T) {
		if _, err := r.broker.Verifier("mail").Authenticate(t.Context(), identity.NewSecret(good)); !errors.Is(err, identity.ErrInvalid) {
			t.Error(err)
		}
	})
}

// The third party's token is renewed before it ends, its refresh token replaced
// where the third party does that.
func TestRenewal(t *testing.T) {
	r := start(t)
	r.granted()
	p := identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}
	get := func() string {
		t.Helper()
		s, err := r.broker.Token(t.Context(), p, "docs")
		if err != nil {
			t.Fatal(err)
		}
		return s.Reveal()
	}
	first := get()
	r.clock.advance(time.Hour - early - time.Second)
	if get() != first || len(r.third.refreshed()) != 0 {
		t.Error("renewed too early")
	}
	r.clock.advance(time.Second)
	second := get()
	if second == first || get() != second {
		t.Error("not renewed, or renewed twice")
	}
	// Whoever has looked before, and comes here after, finds it done.
	if late, err := r.broker.renew(t.Context(), r.broker.principal("alice", webClient, "docs"), ""); err != nil || late.Access.Reveal() != second {
		t.Errorf("renewed twice: %v", err)
	}
	r.clock.advance(time.Hour)
	r.third.reply = func(_ url.Values, m map[string]any) int { delete(m, "refresh_token"); return 200 }
	third := get()
	r.restart()
	r.clock.advance(time.Hour)
	if fourth := get(); fourth == third {
		t.Error("not renewed after a restart")
	}
	shown := r.third.refreshed()
	if len(shown) != 3 || shown[0] == shown[1] || shown[1] != shown[2] {
		t.Errorf("refresh tokens shown: %q", shown)
	}
}

// A token that the upstream does not take is replaced, once; where nothing can take
// its place the grant is over.
func TestRenewed(t *testing.T) {
	r := start(t)
	a := r.granted()
	p := identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}
	first, err := r.broker.Token(t.Context(), p, "docs")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if s, err := r.broker.Renewed(t.Context(), p, "docs", first); err != nil || s.Reveal() == first.Reveal() {
				t.Errorf("%v", err)
			}
		})
	}
	wait.Wait()
	if n := len(r.third.refreshed()); n != 1 {
		t.Errorf("renewed %d times", n)
	}
	second, err := r.broker.Token(t.Context(), p, "docs")
	if err != nil || !slices.Equal(r.broker.Shown(p, "docs"), []string{first.Reveal(), second.Reveal()}) {
		t.Errorf("shown %q: %v", r.broker.Shown(p, "docs"), err)
	}
	if bob := (identity.Principal{Issuer: r.server.URL, Subject: "bob", ClientID: webClient}); r.broker.Shown(bob, "docs") != nil || r.broker.Shown(p, "mail") != nil {
		t.Error("others have been shown it too")
	}
	r.third.reply = func(_ url.Values, m map[string]any) int { clear(m); m["error"] = "invalid_grant"; return 400 }
	if _, err := r.broker.Renewed(t.Context(), p, "docs", second); !errors.Is(err, ErrNoGrant) {
		t.Error(err)
	}
	if _, err := r.principalOf(a.Access); err == nil {
		t.Error("our token is still accepted")
	}
}

func TestRenewalOnce(t *testing.T) {
	r := start(t)
	r.granted()
	r.clock.advance(time.Hour)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			p := identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}
			if _, err := r.broker.Token(t.Context(), p, "docs"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := len(r.third.refreshed()); n != 1 {
		t.Errorf("renewed %d times", n)
	}
}

// What ends a grant, and what does not.
func TestRenewalFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(*rig)
		want  error
		ends  bool
	}{
		{"revoked", func(r *rig) {
			r.third.reply = func(_ url.Values, m map[string]any) int { clear(m); m["error"] = "invalid_grant"; return 400 }
		}, ErrNoGrant, true},
		{"down", func(r *rig) { r.third.Close() }, identity.ErrUnavailable, false},
		{"failing", func(r *rig) { r.third.reply = func(url.Values, map[string]any) int { return 500 } }, identity.ErrUnavailable, false},
		{"garbage", func(r *rig) {
			r.third.reply = func(_ url.Values, m map[string]any) int { m["access_token"] = 1; return 200 }
		}, identity.ErrUnavailable, false},
		{"record damaged", func(r *rig) { damage(r.t, r.files(kindGrant)[0]) }, ErrNoGrant, true},
		{"record unreadable", func(r *rig) {
			f := r.files(kindGrant)[0]
			if err := errors.Join(os.Remove(f), os.Symlink(f, f)); err != nil {
				r.t.Fatal(err)
			}
		}, identity.ErrUnavailable, false},
		{"record gone", func(r *rig) { _ = os.Remove(r.files(kindGrant)[0]) }, ErrNoGrant, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			a := r.granted()
			r.clock.advance(time.Hour)
			a = r.token(r.prolongation(a.Refresh))
			p, err := r.principalOf(a.Access)
			if err != nil {
				t.Fatal(err)
			}
			row.spoil(r)
			if s, err := r.broker.Token(t.Context(), p, "docs"); !errors.Is(err, row.want) || !s.Empty() {
				t.Errorf("%v", err)
			}
			if _, err := r.principalOf(a.Access); (err != nil) != row.ends {
				t.Errorf("our token afterwards: %v", err)
			}
		})
	}
	t.Run("no refresh token", func(t *testing.T) {
		r := start(t)
		r.third.reply = func(_ url.Values, m map[string]any) int { delete(m, "refresh_token"); return 200 }
		r.granted()
		r.clock.advance(time.Hour)
		if _, err := r.broker.Token(t.Context(), identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}, "docs"); !errors.Is(err, ErrNoGrant) {
			t.Error(err)
		}
	})
	t.Run("life unknown", func(t *testing.T) {
		r := start(t)
		r.third.reply = func(_ url.Values, m map[string]any) int { delete(m, "expires_in"); return 200 }
		r.granted()
		r.clock.advance(24 * time.Hour)
		if _, err := r.broker.Token(t.Context(), identity.Principal{Issuer: r.server.URL, Subject: "alice", ClientID: webClient}, "docs"); err != nil || len(r.third.refreshed()) != 0 {
			t.Error(err)
		}
	})
}

// A third party's token is for the user, the client and the upstream that it was
// granted for, and nobody else.
func TestTokenIsOfItsPrincipal(t *testing.T) {
	r := start(t)
	r.granted()
	for name, p := range map[string]identity.Principal{
		"another user":     {Issuer: r.server.URL, Subject: "bob", ClientID: webClient},
		"another client":   {Issuer: r.server.URL, Subject: "alice", ClientID: localClient},
		"another issuer":   {Issuer: "https://other.example", Subject: "alice", ClientID: webClient},
		"the login's user": {Issuer: r.login.URL, Subject: "alice", ClientID: webClient},
		"anonymous":        identity.Anonymous(),
	} {
		if s, err := r.broker.Token(t.Context(), p, "docs"); !errors.Is(err, ErrNoGrant) || !s.Empty() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
