package broker

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// The whole way: the client gets a token of ours, the upstream the third party's,
// and neither sees the other's.
func TestFlow(t *testing.T) {
	r := start(t)
	a := r.granted()
	if a.status != 200 || a.Type != "Bearer" || a.Life != int(tokenLife/time.Second) || a.Scope != "documents:read" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer %+v", a)
	}
	p, err := r.principalOf(a.Access)
	if err != nil {
		t.Fatal(err)
	}
	if p.Issuer != r.server.URL || p.Subject != "alice" || p.ClientID != webClient || !slices.Equal(p.Scopes, []string{"documents:read"}) || !p.Expiry.Equal(r.clock.Now().Add(tokenLife)) {
		t.Errorf("principal %+v", p)
	}
	secret, err := r.broker.Token(t.Context(), p, "docs")
	if err != nil || !strings.HasPrefix(secret.Reveal(), "access-") {
		t.Errorf("third party's token %v: %v", secret.Reveal(), err)
	}
	if _, err := r.broker.Token(t.Context(), p, "mail"); !errors.Is(err, ErrNoGrant) {
		t.Errorf("another upstream: %v", err)
	}
	var stages []string
	for _, e := range r.events {
		stages = append(stages, e.Stage+" "+e.Outcome)
		if e.ClientID != webClient || e.Upstream != "docs" || e.Subject != "alice" || e.Redirect != "client.example" {
			t.Errorf("record %+v", e)
		}
	}
	if want := []string{"consent allowed", "callback allowed", "token allowed"}; !slices.Equal(stages, want) {
		t.Errorf("records %q", stages)
	}
	if v := r.third.asked[0]; v.Get("redirect_uri") != r.server.URL+"/callback/docs" || v.Get("code_verifier") == "" {
		t.Errorf("asked the third party %v", v)
	}
}

// A client on the user's machine takes a free port, and the user is asked every
// time.
func TestLoopbackClient(t *testing.T) {
	r := start(t)
	v := r.request()
	v.Set("client_id", localClient)
	for _, uri := range []string{"http://127.0.0.1:49152/callback", "http://127.0.0.1/callback", "http://localhost:7777/callback"} {
		v.Set("redirect_uri", uri)
		b := r.browser()
		p, _ := b.toConsent(v)
		if !strings.Contains(p.body, "The answer goes to this computer") {
			t.Error("no warning")
		}
		f := r.redemption(b.toCode(v))
		f.Set("client_id", localClient)
		f.Set("redirect_uri", uri)
		if a := r.token(f); a.status != 200 {
			t.Errorf("%s: %d %s", uri, a.status, a.Error)
		}
	}
	if n := len(r.files(kindConsent)); n != 0 {
		t.Errorf("%d consents are remembered", n)
	}
}

// What was agreed to is not asked again; a change of any of it is.
func TestConsentIsRemembered(t *testing.T) {
	r := start(t)
	b := r.browser()
	b.toCode(r.request())
	p := b.get(b.get(b.get(r.authorizeURL(r.request())).to).to)
	if !strings.HasPrefix(p.to, r.third.URL) {
		t.Fatalf("asked again: %d %s", p.status, p.to)
	}
	if r.last() != "consent allowed remembered" {
		t.Error(r.last())
	}
	r.codeIn(b.get(b.get(p.to).to))
	for name, change := range map[string]func(url.Values){
		"scope":    func(v url.Values) { v.Set("scope", "documents:read documents:write") },
		"no scope": func(v url.Values) { v.Del("scope") },
		"redirect": func(v url.Values) { v.Set("redirect_uri", "https://client.example/second?x=1") },
		"client":   func(v url.Values) { v.Set("client_id", secretive) },
		"upstream": func(v url.Values) {
			v.Set("resource", r.opts.Upstreams["mail"].Resource)
			v.Del("scope")
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := r.request()
			change(v)
			r.browser().toConsent(v)
		})
	}
	t.Run("upstream alone", func(t *testing.T) {
		v, was := r.request(), r.opts.Upstreams["mail"]
		r.provider("mail", func(p *Provider) { *p = r.opts.Upstreams["docs"].Provider })
		defer func() { r.opts.Upstreams["mail"] = was }()
		v.Del("scope")
		r.browser().toCode(v)
		v.Set("resource", r.opts.Upstreams["mail"].Resource)
		r.browser().toConsent(v)
	})
	for name, change := range map[string]func(*Provider){
		"third party":               func(p *Provider) { p.AuthorizeURL = r.other.URL + "/authorize" },
		"scopes of the third party": func(p *Provider) { p.Scopes = append(p.Scopes, "files.delete") },
	} {
		t.Run(name, func(t *testing.T) {
			was := r.opts.Upstreams["docs"]
			defer func() { r.opts.Upstreams["docs"] = was }()
			r.provider("docs", change)
			r.browser().toConsent(r.request())
		})
	}
	t.Run("user", func(t *testing.T) {
		r.login.user = "bob"
		r.browser().toConsent(r.request())
		r.login.user = "alice"
	})
	t.Run("after a restart it is not", func(t *testing.T) {
		r.restart()
		b := r.browser()
		if p := b.get(b.get(b.get(r.authorizeURL(r.request())).to).to); !strings.HasPrefix(p.to, r.third.URL) {
			t.Errorf("%d %s", p.status, p.to)
		}
	})
	t.Run("after its time", func(t *testing.T) {
		r.clock.advance(consentLife)
		r.browser().toConsent(r.request())
	})
}

// A browser may be in several flows; each has its own cookies, and they are gone
// at the end.
func TestFlowsSideBySide(t *testing.T) {
	r := start(t)
	b := r.browser()
	v := r.request()
	v.Set("client_id", localClient)
	v.Set("redirect_uri", "http://127.0.0.1:1234/callback")
	_, first := b.toConsent(v)
	_, second := b.toConsent(v)
	for _, f := range []url.Values{second, first} {
		f.Set("decision", "approve")
		r.codeIn(b.get(b.get(b.post(consentPath, f).to).to))
	}
	home, _ := url.Parse(r.server.URL)
	if left := b.http.Jar.Cookies(home); len(left) != 0 {
		t.Errorf("cookies left: %v", left)
	}
}

func TestDenied(t *testing.T) {
	for _, decision := range []string{"deny", "", "approve ", "APPROVE"} {
		r := start(t)
		b := r.browser()
		_, f := b.toConsent(r.request())
		f.Set("decision", decision)
		p := b.post(consentPath, f)
		u, _ := url.Parse(p.to)
		if p.status != 200 || u.Host != "client.example" || u.Query().Get("error") != "access_denied" || u.Query().Get("state") != "state of the client" || u.Query().Has("code") {
			t.Errorf("%q: %d %s", decision, p.status, p.to)
		}
		if r.third.touched() != 0 || len(r.files(kindConsent)) != 0 || r.last() != "consent denied denied-by-user" {
			t.Errorf("%q: third party touched %d times, %s", decision, r.third.touched(), r.last())
		}
	}
}

// The third party's refusal reaches the client without the third party's words.
func TestThirdPartyRefuses(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(*fakeThird)
		want  string
	}{
		{"denied", func(p *fakeThird) {
			p.answer = func(v url.Values) {
				v.Del("code")
				v.Set("error", "access_denied")
				v.Set("error_description", "words")
			}
		}, "access_denied"},
		{"other error", func(p *fakeThird) { p.answer = func(v url.Values) { v.Set("error", "words") } }, "server_error"},
		{"no code", func(p *fakeThird) { p.answer = func(v url.Values) { v.Del("code") } }, "server_error"},
		{"foreign code", func(p *fakeThird) { p.answer = func(v url.Values) { v.Set("code", "words") } }, "server_error"},
		{"500", func(p *fakeThird) { p.reply = func(url.Values, map[string]any) int { return 500 } }, "server_error"},
		{"200 with an error", func(p *fakeThird) {
			p.reply = func(_ url.Values, m map[string]any) int { m["error"] = "words"; return 200 }
		}, "server_error"},
		{"no token", func(p *fakeThird) {
			p.reply = func(_ url.Values, m map[string]any) int { delete(m, "access_token"); return 200 }
		}, "server_error"},
		{"token that ends a header", func(p *fakeThird) {
			p.reply = func(_ url.Values, m map[string]any) int { m["access_token"] = "a\r\nb"; return 200 }
		}, "server_error"},
		{"MAC token", func(p *fakeThird) {
			p.reply = func(_ url.Values, m map[string]any) int { m["token_type"] = "mac"; return 200 }
		}, "server_error"},
		{"token type missing", func(p *fakeThird) {
			p.reply = func(_ url.Values, m map[string]any) int { delete(m, "token_type"); return 200 }
		}, "server_error"},
		{"huge refresh token", func(p *fakeThird) {
			p.reply = func(_ url.Values, m map[string]any) int {
				m["refresh_token"] = strings.Repeat("x", maxToken+1)
				return 200
			}
		}, "server_error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			row.spoil(r.third)
			b := r.browser()
			p := b.get(b.toThird(r.request()))
			u, _ := url.Parse(p.to)
			q := u.Query()
			if q.Get("error") != row.want || q.Has("code") || strings.Contains(p.to, "words") || q.Get("iss") != r.server.URL {
				t.Errorf("%d %s", p.status, p.to)
			}
			if r.last() != "callback denied third-party-"+row.want || len(r.files(kindGrant)) != 0 {
				t.Error(r.last())
			}
		})
	}
}

// Without a record nothing goes on.
func TestUnrecorded(t *testing.T) {
	full := errors.New("disk full")
	t.Run("consent", func(t *testing.T) {
		r := start(t)
		b := r.browser()
		_, f := b.toConsent(r.request())
		f.Set("decision", "approve")
		r.broken = full
		if p := b.post(consentPath, f); p.status != 503 || p.to != "" || r.third.touched() != 0 {
			t.Errorf("%d %q", p.status, p.to)
		}
	})
	t.Run("callback", func(t *testing.T) {
		r := start(t)
		b := r.browser()
		to := b.toThird(r.request())
		r.broken = full
		if p := b.get(to); p.status != 503 || p.to != "" {
			t.Errorf("%d %q", p.status, p.to)
		}
	})
	t.Run("token", func(t *testing.T) {
		r := start(t)
		f := r.redemption(r.browser().toCode(r.request()))
		r.broken = full
		if a := r.token(f); a.status != 503 || a.Access != "" || len(r.files(kindSession))+len(r.files(kindGrant)) != 0 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("refusal", func(t *testing.T) {
		r := start(t)
		r.broken = full
		if p := r.browser().get(r.authorizeURL(url.Values{})); p.status != 503 {
			t.Errorf("%d", p.status)
		}
	})
	t.Run("registration", func(t *testing.T) {
		r := start(t)
		r.broken = full
		if p := r.browser().registration(`{"redirect_uris":["https://a.example/cb"]}`); p.status != 503 || strings.Contains(p.body, "client_id") {
			t.Errorf("%d %s", p.status, p.body)
		}
	})
}

func (b *browser) registration(body string, change ...func(*http.Request)) page {
	b.r.t.Helper()
	q, err := http.NewRequest(http.MethodPost, b.r.server.URL+registerPath, strings.NewReader(body))
	if err != nil {
		b.r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(q)
	}
	return b.do(q)
}
