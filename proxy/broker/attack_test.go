package broker

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"mcp-sidecar/proxy/identity"
)

// stopped checks that a step was refused on a page of ours: no code has left, the
// third party was not reached, and the refusal is on record.
func (r *rig) stopped(p page, reason string) {
	r.t.Helper()
	if p.status != http.StatusBadRequest || p.to != "" || !strings.Contains(p.body, "Access was not granted") {
		r.t.Errorf("%d to %q: %s", p.status, p.to, p.body)
	}
	r.nothingLeft(reason)
}

func (r *rig) nothingLeft(reason string) {
	r.t.Helper()
	if n := r.third.touched() + r.other.touched(); n != 0 {
		r.t.Errorf("the third party was reached %d times", n)
	}
	r.noCode(reason)
}

func (r *rig) noCode(reason string) {
	r.t.Helper()
	if n := len(r.broker.codes.items); n != 0 {
		r.t.Errorf("%d codes were made", n)
	}
	if got := r.last(); got != reason {
		r.t.Errorf("recorded %q, want %q", got, reason)
	}
}

// Until the redirect URI is known to be the client's, nothing is sent there.
func TestRedirectURI(t *testing.T) {
	for name, uri := range map[string]string{
		"absent":             "",
		"prefix":             webRedirect + "/more",
		"shorter":            "https://client.example/call",
		"query":              webRedirect + "?x=1",
		"empty query":        webRedirect + "?",
		"other query":        "https://client.example/second?x=2",
		"query left out":     "https://client.example/second",
		"slash at the end":   webRedirect + "/",
		"case of path":       "https://client.example/Callback",
		"case of host":       "https://CLIENT.example/callback",
		"case of scheme":     "HTTPS://client.example/callback",
		"port":               "https://client.example:8443/callback",
		"default port":       "https://client.example:443/callback",
		"http":               "http://client.example/callback",
		"other host":         "https://attacker.example/callback",
		"subdomain":          "https://x.client.example/callback",
		"host as prefix":     "https://client.example.attacker.example/callback",
		"userinfo":           "https://client.example@attacker.example/callback",
		"own userinfo":       "https://user@client.example/callback",
		"fragment":           webRedirect + "#x",
		"empty fragment":     webRedirect + "#",
		"path up":            "https://client.example/x/../callback",
		"encoded path up":    "https://client.example/x/%2e%2e/callback",
		"encoded letter":     "https://client.example/%63allback",
		"encoded slash":      "https://client.example%2fcallback",
		"backslash":          `https://attacker.example\@client.example/callback`,
		"two slashes":        "https://client.example//callback",
		"no scheme":          "//client.example/callback",
		"relative":           "/callback",
		"javascript":         "javascript:alert(1)",
		"data":               "data:text/html,x",
		"own scheme":         "app://callback",
		"tab":                "https://client.example/\tcallback",
		"line break":         webRedirect + "\r\nSet-Cookie: x=y",
		"NUL":                webRedirect + "\x00",
		"space behind":       webRedirect + " ",
		"trailing dot":       "https://client.example./callback",
		"loopback":           "http://127.0.0.1/callback",
		"second of others":   "http://localhost:7777/callback",
		"full-width letters": "https://ｃlient.example/callback",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			v := r.request()
			v.Set("redirect_uri", uri)
			r.stopped(r.browser().get(r.authorizeURL(v)), "authorize denied redirect-uri")
			if r.login.touched() != 0 {
				t.Error("the user was sent to log in")
			}
		})
	}
}

// What browsers take for an address must be written as one, so that it can be told
// which machine is meant.
func TestRedirectAddress(t *testing.T) {
	for uri, want := range map[string]struct{ allowed, assured bool }{
		"https://client.example/":   {true, true},
		"https://4.example/":        {true, true},
		"https://192.0.2.1/":        {true, true},
		"https://[2001:db8::1]/":    {true, true},
		"https://0xyz/":             {true, true},
		"https://127.0.0.1/":        {true, false},
		"https://127.200.0.1:8443/": {true, false},
		"https://0.0.0.0/":          {true, false},
		"https://[::1]/":            {true, false},
		"https://[::]/":             {true, false},
		"https://[::ffff:7f00:1]/":  {true, false},
		"https://localhost/":        {true, false},
		"https://LocalHost./":       {true, false},
		"https://app.localhost/":    {true, false},
		"https://127.1/":            {false, true},
		"https://127.0.1/":          {false, true},
		"https://2130706433/":       {false, true},
		"https://0x7f000001/":       {false, true},
		"https://0X7F.1/":           {false, true},
		"https://0x/":               {false, true},
		"https://127.0.0.0x1/":      {false, true},
		"https://0177.0.0.1/":       {false, true},
		"https://127.0.0.1./":       {false, false},
		"https://a.1/":              {false, true},
		"http://127.1/":             {false, true},
	} {
		if got := RedirectDefect(uri) == ""; got != want.allowed {
			t.Errorf("%s: allowed %v, %q", uri, got, RedirectDefect(uri))
		}
		if got := assured(uri); got != want.assured {
			t.Errorf("%s: assured %v", uri, got)
		}
	}
}

// A loopback URI that was registered without a port may have any; nothing else
// may differ.
func TestLoopbackRedirectURI(t *testing.T) {
	c := &Client{Redirects: []string{"http://127.0.0.1/callback", "http://[::1]/callback?a=b", "http://localhost:7777/callback", "https://127.0.0.1/secure", "http://client.example/callback"}}
	for uri, want := range map[string]bool{
		"http://127.0.0.1/callback":                  true,
		"http://127.0.0.1:1/callback":                true,
		"http://127.0.0.1:65535/callback":            true,
		"http://[::1]:8080/callback?a=b":             true,
		"http://localhost:7777/callback":             true,
		"http://127.0.0.1:0/callback":                false,
		"http://127.0.0.1:65536/callback":            false,
		"http://127.0.0.1:080/callback":              false,
		"http://127.0.0.1:/callback":                 false,
		"http://127.0.0.1:80@attacker.example/callb": false,
		"http://127.0.0.1:80:80/callback":            false,
		"http://127.0.0.1:8080/other":                false,
		"http://127.0.0.1:8080/callback?x":           false,
		"http://127.0.0.1:8080/callback#x":           false,
		"http://127.0.0.2:8080/callback":             false,
		"http://u@127.0.0.1:8080/callback":           false,
		"http://localhost:8080/callback":             false,
		"http://localhost/callback":                  false,
		"http://[::1]:8080/callback":                 false,
		"https://127.0.0.1:8080/callback":            false,
		"https://127.0.0.1:8080/secure":              false,
		"http://attacker.example:8080/callback":      false,
		"http://client.example:8080/callback":        false,
	} {
		if got := c.allows(uri); got != want {
			t.Errorf("%s: %v", uri, got)
		}
	}
}

// FuzzRedirect: what is allowed goes to the registered host, in one reading.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{webRedirect, "http://127.0.0.1:1/callback", "http://127.0.0.1:1@x/callback", "https://client.example\\@x/callback"} {
		f.Add(s)
	}
	c := &Client{Redirects: []string{webRedirect, "http://127.0.0.1/callback"}}
	f.Fuzz(func(t *testing.T, uri string) {
		if !c.allows(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || RedirectDefect(uri) != "" || u.User != nil || (u.Hostname() != "client.example" && u.Hostname() != "127.0.0.1") || u.Path != "/callback" {
			t.Errorf("allowed %q", uri)
		}
	})
}

// Requests that name no right client, or are ambiguous, end on a page.
func TestAuthorizePage(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(r *rig, v url.Values) string // the query
		reason string
	}{
		{"no parameters", func(*rig, url.Values) string { return "" }, "client"},
		{"unknown client", func(_ *rig, v url.Values) string { v.Set("client_id", "nobody"); return v.Encode() }, "client"},
		{"client in other case", func(_ *rig, v url.Values) string { v.Set("client_id", "WEB"); return v.Encode() }, "client"},
		{"two clients", func(_ *rig, v url.Values) string { return v.Encode() + "&client_id=" + localClient }, "parameters"},
		{"two redirect URIs", func(_ *rig, v url.Values) string {
			return v.Encode() + "&redirect_uri=" + url.QueryEscape("https://attacker.example/")
		}, "parameters"},
		{"two states", func(_ *rig, v url.Values) string { return v.Encode() + "&state=x" }, "parameters"},
		{"two resources", func(r *rig, v url.Values) string {
			return v.Encode() + "&resource=" + url.QueryEscape(r.opts.Upstreams["mail"].Resource)
		}, "parameters"},
		{"two methods", func(_ *rig, v url.Values) string { return v.Encode() + "&code_challenge_method=plain" }, "parameters"},
		{"same twice", func(_ *rig, v url.Values) string { return v.Encode() + "&response_type=code" }, "parameters"},
		{"semicolons", func(_ *rig, v url.Values) string { return v.Encode() + ";client_id=x" }, "parameters"},
		{"bad escape", func(_ *rig, v url.Values) string { return v.Encode() + "&x=%zz" }, "parameters"},
		{"too long", func(_ *rig, v url.Values) string { return v.Encode() + "&x=" + strings.Repeat("x", maxForm) }, "parameters"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			r.stopped(r.browser().get(r.server.URL+authorizePath+"?"+row.change(r, r.request())), "authorize denied "+row.reason)
		})
	}
}

// Requests that cannot be granted. A client that the operator vouches for reads
// the error at its redirect URI; for one that anybody could have registered nobody
// is sent away.
func TestAuthorizeError(t *testing.T) {
	set := func(name, value string) func(*rig, url.Values) {
		return func(_ *rig, v url.Values) { v.Set(name, value) }
	}
	without := func(name string) func(*rig, url.Values) { return func(_ *rig, v url.Values) { v.Del(name) } }
	for _, row := range []struct {
		name   string
		change func(*rig, url.Values)
		want   string
	}{
		{"PKCE absent", without("code_challenge"), "invalid_request"},
		{"PKCE method absent", without("code_challenge_method"), "invalid_request"},
		{"PKCE plain", set("code_challenge_method", "plain"), "invalid_request"},
		{"PKCE method in lower case", set("code_challenge_method", "s256"), "invalid_request"},
		{"PKCE all absent", func(_ *rig, v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }, "invalid_request"},
		{"challenge too short", set("code_challenge", "abc"), "invalid_request"},
		{"challenge too long", set("code_challenge", challengeOf(verifier)+"A"), "invalid_request"},
		{"challenge padded", set("code_challenge", challengeOf(verifier)+"="), "invalid_request"},
		{"challenge in the other alphabet", set("code_challenge", strings.Repeat("+", 43)), "invalid_request"},
		{"token wanted", set("response_type", "token"), "unsupported_response_type"},
		{"ID token too", set("response_type", "code id_token"), "unsupported_response_type"},
		{"response type absent", without("response_type"), "unsupported_response_type"},
		{"fragment wanted", set("response_mode", "fragment"), "invalid_request"},
		{"form wanted", set("response_mode", "form_post"), "invalid_request"},
		{"request object", set("request", "x.y.z"), "request_not_supported"},
		{"request elsewhere", set("request_uri", "https://attacker.example/"), "request_uri_not_supported"},
		{"resource absent", without("resource"), "invalid_target"},
		{"resource empty", set("resource", ""), "invalid_target"},
		{"foreign resource", set("resource", "https://other.example/mcp"), "invalid_target"},
		{"resource with a slash", func(_ *rig, v url.Values) { v.Set("resource", v.Get("resource")+"/") }, "invalid_target"},
		{"resource in other case", func(_ *rig, v url.Values) { v.Set("resource", strings.ToUpper(v.Get("resource"))) }, "invalid_target"},
		{"issuer as resource", func(r *rig, v url.Values) { v.Set("resource", r.server.URL) }, "invalid_target"},
		{"unknown scope", set("scope", "documents:read admin"), "invalid_scope"},
		{"scope of another upstream", set("scope", "mail:read"), "invalid_scope"},
		{"wildcard", set("scope", "documents:*"), "invalid_scope"},
		{"long state", set("state", strings.Repeat("s", maxState+1)), "invalid_request"},
		{"state with a line break", set("state", "a\r\nb"), "invalid_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			v := r.request()
			row.change(r, v)
			p := r.browser().get(r.authorizeURL(v))
			u, _ := url.Parse(p.to)
			q := u.Query()
			if p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, webRedirect+"?") || q.Get("error") != row.want || q.Get("iss") != r.server.URL || q.Has("code") {
				t.Errorf("%d %s", p.status, p.to)
			}
			if s := q.Get("state"); s != "" && s != "state of the client" {
				t.Errorf("state %q", s)
			}
			r.nothingLeft("authorize denied " + row.want)
			v.Set("client_id", r.docs.client(webRedirect))
			r.stopped(r.browser().get(r.authorizeURL(v)), "authorize denied "+row.want)
			if r.login.touched() != 0 {
				t.Error("the user was sent to log in")
			}
		})
	}
}

// client publishes metadata for a client that is answered at redirect, and returns
// its id.
func (d *documents) client(redirect string) string {
	return d.put("/client.json", `{"client_id":"https://example.com/client.json","client_name":"Published App","redirect_uris":["`+redirect+`"]}`)
}

// What browsers bring back from the login provider.
func TestLoginAnswer(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(r *rig, b *browser, v url.Values) *browser // v is the answer
		reason string
	}{
		{"state made up", func(_ *rig, b *browser, v url.Values) *browser { v.Set("state", "x"); return b }, "state"},
		{"state absent", func(_ *rig, b *browser, v url.Values) *browser { v.Del("state"); return b }, "state"},
		{"state without cookie", func(r *rig, _ *browser, _ url.Values) *browser { return r.browser() }, "cookie"},
		{"state with the cookie of another flow", func(r *rig, _ *browser, _ url.Values) *browser {
			other := r.browser()
			other.get(r.authorizeURL(r.request()))
			return other
		}, "cookie"},
		{"state expired", func(r *rig, b *browser, _ url.Values) *browser { r.clock.advance(flowLife); return b }, "state"},
		{"state used", func(r *rig, b *browser, v url.Values) *browser {
			b.get(r.server.URL + loginPath + "?" + v.Encode())
			return b
		}, "state"},
		{"state used by a thief", func(r *rig, b *browser, v url.Values) *browser {
			r.browser().get(r.server.URL + loginPath + "?" + v.Encode())
			return b
		}, "state"},
		{"other issuer", func(_ *rig, b *browser, v url.Values) *browser { v.Set("iss", "https://other.example"); return b }, "login"},
		{"issuer absent", func(_ *rig, b *browser, v url.Values) *browser { v.Del("iss"); return b }, "login"},
		{"issuer with a slash", func(_ *rig, b *browser, v url.Values) *browser { v.Set("iss", v.Get("iss")+"/"); return b }, "login"},
		{"error", func(_ *rig, b *browser, v url.Values) *browser { v.Set("error", "access_denied"); return b }, "login"},
		{"code absent", func(_ *rig, b *browser, v url.Values) *browser { v.Del("code"); return b }, "login"},
		{"code of another login", func(r *rig, b *browser, v url.Values) *browser {
			other := r.browser()
			u, _ := url.Parse(other.get(other.get(r.authorizeURL(r.request())).to).to)
			v.Set("code", u.Query().Get("code")) // PKCE ties it to the other flow
			return b
		}, "login"},
		{"two states", func(_ *rig, b *browser, v url.Values) *browser { v["state"] = append(v["state"], "x"); return b }, "state"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			b := r.browser()
			u, _ := url.Parse(b.get(b.get(r.authorizeURL(r.request())).to).to)
			v := u.Query()
			b = row.change(r, b, v)
			r.stopped(b.get(r.server.URL+loginPath+"?"+v.Encode()), "login denied "+row.reason)
			if n := len(r.broker.consents.items); n > 1 || n == 1 && row.name != "state used" {
				t.Errorf("%d pages wait for a user", n)
			}
		})
	}
}

// ID tokens that do not say who logged in here, now, to us.
func TestIDToken(t *testing.T) {
	claim := func(name string, value any) func(*fakeLogin) {
		return func(l *fakeLogin) { l.claims = func(c jwt.MapClaims) { c[name] = value } }
	}
	without := func(name string) func(*fakeLogin) {
		return func(l *fakeLogin) { l.claims = func(c jwt.MapClaims) { delete(c, name) } }
	}
	for _, row := range []struct {
		name  string
		spoil func(*fakeLogin)
	}{
		{"other issuer", claim("iss", "https://other.example")},
		{"no issuer", without("iss")},
		{"other audience", claim("aud", "other")},
		{"no audience", without("aud")},
		{"several audiences", claim("aud", []string{"sidecar-login", "other"})},
		{"made for another", func(l *fakeLogin) {
			l.claims = func(c jwt.MapClaims) { c["aud"], c["azp"] = []string{"sidecar-login", "other"}, "other" }
		}},
		{"made for another alone", claim("azp", "other")},
		{"expired", func(l *fakeLogin) {
			l.claims = func(c jwt.MapClaims) { c["exp"] = l.now().Add(-31 * time.Second).Unix() }
		}},
		{"no expiry", without("exp")},
		{"from the future", func(l *fakeLogin) {
			l.claims = func(c jwt.MapClaims) { c["iat"] = l.now().Add(31 * time.Second).Unix() }
		}},
		{"not yet", func(l *fakeLogin) {
			l.claims = func(c jwt.MapClaims) { c["nbf"] = l.now().Add(31 * time.Second).Unix() }
		}},
		{"other nonce", claim("nonce", "x")},
		{"no nonce", without("nonce")},
		{"no subject", without("sub")},
		{"subject with a NUL", claim("sub", "alice\x00")},
		{"subject with a line break", claim("sub", "alice\n")},
		{"subject that turns text", claim("sub", "alice\u202e")},
		{"long subject", claim("sub", strings.Repeat("a", 256))},
		{"unsigned", func(l *fakeLogin) {
			l.sign = func(t *jwt.Token) string {
				n := jwt.NewWithClaims(jwt.SigningMethodNone, t.Claims)
				n.Header["kid"] = l.keyID
				s, _ := n.SignedString(jwt.UnsafeAllowNoneSignatureType)
				return s
			}
		}},
		{"algorithm that is not allowed", func(l *fakeLogin) { l.signRSA(jwt.SigningMethodPS512) }},
		{"signed with the public key as a secret", func(l *fakeLogin) {
			l.sign = func(t *jwt.Token) string {
				public, _ := l.key.PublicKey.Bytes()
				n := jwt.NewWithClaims(jwt.SigningMethodHS256, t.Claims)
				n.Header["kid"] = l.keyID
				s, _ := n.SignedString(public)
				return s
			}
		}},
		{"signed with another key", func(l *fakeLogin) {
			published := l.keyID
			l.header = func(h map[string]any) { h["kid"] = published }
			l.sign = func(t *jwt.Token) string {
				other := &fakeLogin{}
				other.rotate()
				s, _ := t.SignedString(other.key)
				return s
			}
		}},
		{"key that is not published", func(l *fakeLogin) { l.header = func(h map[string]any) { h["kid"] = "other" } }},
		{"absent", func(l *fakeLogin) {
			l.reply = func(_ url.Values, m map[string]any) int { delete(m, "id_token"); return 200 }
		}},
		{"error from the token endpoint", func(l *fakeLogin) { l.reply = func(url.Values, map[string]any) int { return 500 } }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			row.spoil(r.login)
			b := r.browser()
			r.stopped(b.get(b.get(b.get(r.authorizeURL(r.request())).to).to), "login denied login")
		})
	}
}

// Users of several issuers are told apart.
func TestSubjectPrefix(t *testing.T) {
	r := start(t, func(o *Options) { o.Login.SubjectPrefix = "corp/" })
	if p, err := r.principalOf(r.granted().Access); err != nil || p.Subject != "corp/alice" {
		t.Errorf("%q, %v", p.Subject, err)
	}
}

func TestIDTokenOfAnRSAKey(t *testing.T) {
	r := start(t)
	r.login.signRSA(jwt.SigningMethodRS256)
	r.browser().toConsent(r.request())
}

// A key that the provider has just begun to use is looked for, but not at every
// token that names one.
func TestLoginKeyRotation(t *testing.T) {
	r := start(t)
	b := r.browser()
	b.toConsent(r.request())
	r.login.rotate()
	p := r.browser()
	r.stopped(p.get(p.get(p.get(r.authorizeURL(r.request())).to).to), "login denied login")
	r.clock.advance(keySetPause)
	r.browser().toConsent(r.request())
	if r.login.keysRead != 2 {
		t.Errorf("keys were read %d times", r.login.keysRead)
	}
}

// A provider that hangs is asked once for all who wait, and not again for a moment.
func TestLoginProviderHangs(t *testing.T) {
	for name, ask := range map[string]func(*login) error{
		"metadata": func(l *login) error { _, err := l.discover(t.Context()); return err },
		"keys":     func(l *login) error { _, err := l.key(t.Context(), &jwt.Token{}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			c, hits := &clock{now: time.Now()}, atomic.Int32{}
			asked, came := make(chan struct{}), make(chan struct{}, 16)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if hits.Add(1) == 1 {
					close(asked)
					<-came // somebody else wants it too
					c.advance(5 * time.Second)
				}
				w.WriteHeader(http.StatusInternalServerError)
			}))
			defer server.Close()
			fetch, err := identity.NewFetcher(identity.FetchOptions{URLs: []string{server.URL}, AllowLoopbackHTTP: true})
			if err != nil {
				t.Fatal(err)
			}
			defer fetch.Close()
			l := newLogin(Login{Issuer: server.URL, Fetch: fetch}, "", func() time.Time {
				now := c.Now()
				if hits.Load() > 0 && len(came) < cap(came) {
					came <- struct{}{}
				}
				return now
			})
			l.found.Keys = server.URL
			failed := make(chan error, 2)
			go func() { failed <- ask(l) }()
			<-asked
			go func() { failed <- ask(l) }()
			if one, other := <-failed, <-failed; one == nil || other == nil || hits.Load() != 1 {
				t.Errorf("asked %d times", hits.Load())
			}
			for range 3 {
				if ask(l) == nil || hits.Load() != 2 {
					t.Errorf("afterwards asked %d times", hits.Load())
				}
			}
		})
	}
}

// Metadata of a provider that speaks for somebody else, or in the open.
func TestLoginMetadata(t *testing.T) {
	for name, value := range map[string][2]string{
		"other issuer":        {"issuer", "https://other.example"},
		"issuer with a slash": {"issuer", "/"},
		"keys in the open":    {"jwks_uri", "http://keys.example/jwks"},
		"token in the open":   {"token_endpoint", "http://token.example/token"},
		"login in the open":   {"authorization_endpoint", "http://login.example/"},
		"login in a script":   {"authorization_endpoint", "javascript:alert(1)"},
		"no token endpoint":   {"token_endpoint", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.login.metadata = func(m map[string]any) {
				if value[1] == "/" {
					value[1] = r.login.URL + "/"
				}
				m[value[0]] = value[1]
			}
			p := r.browser().get(r.authorizeURL(r.request()))
			if p.status != http.StatusServiceUnavailable || p.to != "" {
				t.Errorf("%d %s", p.status, p.to)
			}
			r.nothingLeft("authorize failed login-provider")
		})
	}
}

// The decision is the user's, in the browser where he was asked.
func TestConsentForm(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(q *http.Request) { q.Header.Set(name, value) }
	}
	for _, row := range []struct {
		name   string
		change func(r *rig, b *browser, v url.Values) (*browser, []func(*http.Request))
		reason string
	}{
		{"no CSRF token", func(_ *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) { v.Del("csrf"); return b, nil }, "csrf"},
		{"other CSRF token", func(_ *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) {
			v.Set("csrf", "x")
			return b, nil
		}, "csrf"},
		{"CSRF token of another flow", func(r *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) {
			_, other := b.toConsent(r.request())
			v.Set("csrf", other.Get("csrf"))
			return b, nil
		}, "csrf"},
		{"another browser", func(r *rig, _ *browser, _ url.Values) (*browser, []func(*http.Request)) { return r.browser(), nil }, "cookie"},
		{"a browser in a flow of its own", func(r *rig, _ *browser, _ url.Values) (*browser, []func(*http.Request)) {
			other := r.browser()
			other.toConsent(r.request())
			return other, nil
		}, "cookie"},
		{"two cookies", func(_ *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){func(q *http.Request) {
				q.AddCookie(b.http.Jar.Cookies(q.URL)[0]) // the right one comes first
				q.AddCookie(&http.Cookie{Name: consentCookie + v.Get("flow"), Value: "x"})
			}}
		}, "cookie"},
		{"from another site", func(_ *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}
		}, "origin"},
		{"from a sister site", func(_ *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){header("Sec-Fetch-Site", "same-site")}
		}, "origin"},
		{"from another origin", func(_ *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){header("Origin", "https://attacker.example")}
		}, "origin"},
		{"from nowhere", func(_ *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){header("Origin", "null")}
		}, "origin"},
		{"flow made up", func(_ *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) {
			v.Set("flow", "x")
			return b, nil
		}, "flow"},
		{"too late", func(r *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			r.clock.advance(flowLife)
			return b, nil
		}, "flow"},
		{"two decisions", func(_ *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) {
			v["decision"] = []string{"deny", "approve"}
			return b, nil
		}, "form"},
		{"as JSON", func(_ *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){header("Content-Type", "application/json")}
		}, "form"},
		{"as plain text", func(_ *rig, b *browser, _ url.Values) (*browser, []func(*http.Request)) {
			return b, []func(*http.Request){header("Content-Type", "text/plain")}
		}, "form"},
		{"too much", func(_ *rig, b *browser, v url.Values) (*browser, []func(*http.Request)) {
			v.Set("x", strings.Repeat("x", maxForm))
			return b, nil
		}, "form"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			b := r.browser()
			_, v := b.toConsent(r.request())
			v.Set("decision", "approve")
			b, change := row.change(r, b, v)
			p := b.post(consentPath, v, change...)
			r.stopped(p, "consent denied "+row.reason)
			if len(r.broker.states.items) != 0 || strings.Contains(strings.Join(p.header["Set-Cookie"], " "), stateCookie) {
				t.Error("a state for the third party was minted")
			}
		})
	}
	t.Run("decided twice", func(t *testing.T) {
		r := start(t)
		b := r.browser()
		_, v := b.toConsent(r.request())
		jar := b.http.Jar
		home, _ := url.Parse(r.server.URL)
		kept := jar.Cookies(home)
		v.Set("decision", "deny")
		b.post(consentPath, v)
		jar.SetCookies(home, kept)
		v.Set("decision", "approve")
		r.stopped(b.post(consentPath, v), "consent denied flow")
	})
	t.Run("shown to another browser", func(t *testing.T) {
		r := start(t)
		_, v := r.browser().toConsent(r.request())
		p := r.browser().get(r.server.URL + consentPath + "?flow=" + v.Get("flow"))
		r.stopped(p, "consent denied flow")
		if strings.Contains(p.body, v.Get("csrf")) {
			t.Error("the CSRF token was shown")
		}
	})
}

// Before a decision there is nothing with which the third party could be reached,
// and what the steps use to know the browser is of no use in other steps.
func TestConsentIsNotSkipped(t *testing.T) {
	r := start(t)
	b := r.browser()
	_, v := b.toConsent(r.request())
	home, _ := url.Parse(r.server.URL)
	for _, c := range b.http.Jar.Cookies(home) {
		if !strings.HasPrefix(c.Name, consentCookie) {
			t.Errorf("cookie %s", c.Name)
		}
		// The page's cookie under the name of the next step's.
		b.http.Jar.SetCookies(home, []*http.Cookie{{Name: stateCookie + v.Get("flow"), Value: c.Value, Path: "/", Secure: true}})
	}
	for _, state := range []string{v.Get("flow"), v.Get("csrf"), "", "x"} {
		p := b.get(r.server.URL + callbackPath + "docs?" + url.Values{"code": {"third-party-code"}, "state": {state}, "iss": {r.third.URL}}.Encode())
		r.stopped(p, "callback denied state")
	}
	if len(r.broker.states.items) != 0 {
		t.Error("a state for the third party was minted")
	}
}

// What browsers bring back from the third party.
func TestThirdPartyAnswer(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(r *rig, b *browser, u *url.URL, v url.Values) *browser
		reason string
	}{
		{"state made up", func(_ *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Set("state", "x"); return b }, "state"},
		{"state absent", func(_ *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Del("state"); return b }, "state"},
		{"state stolen", func(r *rig, _ *browser, _ *url.URL, _ url.Values) *browser { return r.browser() }, "cookie"},
		{"state with the cookie of another flow", func(r *rig, _ *browser, _ *url.URL, _ url.Values) *browser {
			other := r.browser()
			other.toThird(r.request())
			return other
		}, "cookie"},
		{"another cookie of the same browser", func(r *rig, b *browser, _ *url.URL, _ url.Values) *browser {
			home, _ := url.Parse(r.server.URL)
			for _, c := range b.http.Jar.Cookies(home) {
				b.http.Jar.SetCookies(home, []*http.Cookie{{Name: c.Name, Value: c.Value + "x", Path: "/", Secure: true}})
			}
			return b
		}, "cookie"},
		{"state expired", func(r *rig, b *browser, _ *url.URL, _ url.Values) *browser { r.clock.advance(flowLife); return b }, "state"},
		{"state used by a thief", func(r *rig, b *browser, u *url.URL, _ url.Values) *browser { r.browser().get(u.String()); return b }, "state"},
		{"other issuer", func(r *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Set("iss", r.other.URL); return b }, "issuer"},
		{"issuer absent", func(_ *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Del("iss"); return b }, "issuer"},
		{"issuer with a slash", func(_ *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Set("iss", v.Get("iss")+"/"); return b }, "issuer"},
		{"another provider's address", func(r *rig, b *browser, u *url.URL, _ url.Values) *browser { u.Path = callbackPath + "mail"; return b }, "provider"},
		{"two codes", func(_ *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Add("code", "x"); return b }, "state"},
		{"two issuers", func(_ *rig, b *browser, _ *url.URL, v url.Values) *browser { v.Add("iss", "x"); return b }, "state"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			b := r.browser()
			u, _ := url.Parse(b.toThird(r.request()))
			v := u.Query()
			b = row.change(r, b, u, v)
			u.RawQuery = v.Encode()
			p := b.get(u.String())
			if p.status != http.StatusBadRequest || p.to != "" || len(r.third.asked)+len(r.other.asked) != 0 {
				t.Errorf("%d to %q, asked %v", p.status, p.to, r.third.asked)
			}
			r.noCode("callback denied " + row.reason)
		})
	}
	t.Run("used", func(t *testing.T) {
		r := start(t)
		b := r.browser()
		to := b.toThird(r.request())
		r.codeIn(b.get(to))
		if p := b.get(to); p.status != http.StatusBadRequest || p.to != "" || len(r.third.asked) != 1 || len(r.broker.codes.items) != 1 {
			t.Errorf("%d to %q", p.status, p.to)
		}
	})
	t.Run("code of another's login at the third party", func(t *testing.T) {
		r := start(t)
		victim, attacker := r.browser(), r.browser()
		theirs, _ := url.Parse(victim.toThird(r.request()))
		own, _ := url.Parse(attacker.toThird(r.request()))
		v := own.Query()
		v.Set("code", theirs.Query().Get("code"))
		own.RawQuery = v.Encode()
		u, _ := url.Parse(attacker.get(own.String()).to)
		if u.Query().Has("code") || u.Query().Get("error") != "server_error" {
			t.Error(u)
		}
		r.noCode("callback denied third-party-server_error")
	})
	t.Run("issuer that is not expected", func(t *testing.T) {
		r := start(t, func(o *Options) {
			u := o.Upstreams["docs"]
			u.Provider.Issuer = ""
			o.Upstreams["docs"] = u
		})
		b := r.browser()
		p := b.get(b.toThird(r.request()))
		if p.status != http.StatusBadRequest || len(r.third.asked) != 0 {
			t.Errorf("%d to %q", p.status, p.to)
		}
		r.noCode("callback denied issuer")
	})
}

// What clients, and others, do with codes.
func TestRedemption(t *testing.T) {
	set := func(name, value string) func(*rig, url.Values) {
		return func(_ *rig, v url.Values) { v.Set(name, value) }
	}
	without := func(name string) func(*rig, url.Values) { return func(_ *rig, v url.Values) { v.Del(name) } }
	for _, row := range []struct {
		name   string
		change func(*rig, url.Values)
		status int
		code   string
		reason string
	}{
		{"verifier absent", without("code_verifier"), 400, "invalid_grant", "code-verifier"},
		{"other verifier", set("code_verifier", verifier+"x"), 400, "invalid_grant", "code-verifier"},
		{"challenge as verifier", set("code_verifier", challengeOf(verifier)), 400, "invalid_grant", "code-verifier"},
		{"short verifier", set("code_verifier", "short"), 400, "invalid_grant", "code-verifier"},
		{"code of another client", set("client_id", localClient), 400, "invalid_grant", "code-of-another-client"},
		{"client absent", without("client_id"), 401, "invalid_client", "client"},
		{"secret of a public client", set("client_secret", "x"), 401, "invalid_client", "client"},
		{"client with a secret, without it", set("client_id", secretive), 401, "invalid_client", "client"},
		{"client with a secret, and another", func(_ *rig, v url.Values) { v.Set("client_id", secretive); v.Set("client_secret", "x") }, 401, "invalid_client", "client"},
		{"redirect URI absent", without("redirect_uri"), 400, "invalid_grant", "redirect-uri"},
		{"other redirect URI of the client", set("redirect_uri", "https://client.example/second?x=1"), 400, "invalid_grant", "redirect-uri"},
		{"redirect URI in other case", set("redirect_uri", "https://client.example/Callback"), 400, "invalid_grant", "redirect-uri"},
		{"foreign resource", func(r *rig, v url.Values) { v.Set("resource", r.opts.Upstreams["mail"].Resource) }, 400, "invalid_target", "resource"},
		{"expired", func(r *rig, _ url.Values) { r.clock.advance(codeLife) }, 400, "invalid_grant", "code"},
		{"made up", set("code", "x"), 400, "invalid_grant", "code"},
		{"absent", without("code"), 400, "invalid_grant", "code"},
		{"password grant", set("grant_type", "password"), 400, "unsupported_grant_type", "grant-type"},
		{"client credentials", set("grant_type", "client_credentials"), 400, "unsupported_grant_type", "grant-type"},
		{"grant type absent", without("grant_type"), 400, "unsupported_grant_type", "grant-type"},
		{"two codes", func(_ *rig, v url.Values) { v.Add("code", "x") }, 400, "invalid_request", "form"},
		{"two verifiers", func(_ *rig, v url.Values) { v.Add("code_verifier", "x") }, 400, "invalid_request", "form"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t)
			v := r.redemption(r.browser().toCode(r.request()))
			row.change(r, v)
			a := r.token(v)
			if a.status != row.status || a.Error != row.code || a.Access+a.Refresh != "" {
				t.Errorf("%+v", a)
			}
			if r.last() != "token denied "+row.reason || len(r.files(kindGrant))+len(r.files(kindSession)) != 0 {
				t.Errorf("%s, %d grants", r.last(), len(r.files(kindGrant)))
			}
			if row.status == 400 && row.code == "invalid_grant" && v.Get("code") != "x" && v.Has("code") {
				// Whoever tried has used it up.
				if a := r.token(r.redemption(v.Get("code"))); a.Error != "invalid_grant" {
					t.Errorf("again: %+v", a)
				}
			}
		})
	}
	for name, change := range map[string]func(*http.Request){
		"as JSON":                 func(q *http.Request) { q.Header.Set("Content-Type", "application/json") },
		"in the query":            func(q *http.Request) { q.URL.RawQuery = "x=y" },
		"two ways of showing who": func(q *http.Request) { q.SetBasicAuth(secretive, ownSecret) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			if a := r.token(r.redemption(r.browser().toCode(r.request())), change); a.status != 400 || a.Error != "invalid_request" {
				t.Errorf("%+v", a)
			}
		})
	}
	for name, change := range map[string]func(*http.Request){
		"bearer token": func(q *http.Request) { q.Header.Set("Authorization", "Bearer x") },
		"two headers":  func(q *http.Request) { q.Header["Authorization"] = []string{"Basic eDp5", "Basic eDp5"} },
		"bad escape":   func(q *http.Request) { q.SetBasicAuth("%zz", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			v := r.redemption(r.browser().toCode(r.request()))
			v.Del("client_id")
			if a := r.token(v, change); a.status != 401 || a.Error != "invalid_client" || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A code that is shown twice ends what the first one gave.
func TestCodeReplay(t *testing.T) {
	r := start(t)
	v := r.redemption(r.browser().toCode(r.request()))
	a := r.token(v)
	p, err := r.principalOf(a.Access)
	if err != nil {
		t.Fatal(err)
	}
	if again := r.token(v); again.Error != "invalid_grant" || r.last() != "token denied code-replayed" {
		t.Errorf("%+v, %s", again, r.last())
	}
	if _, err := r.principalOf(a.Access); err == nil {
		t.Error("the access token is still accepted")
	}
	if _, err := r.broker.Token(t.Context(), p, "docs"); err == nil {
		t.Error("the third party's token is still there")
	}
	if b := r.token(r.prolongation(a.Refresh)); b.Error != "invalid_grant" {
		t.Errorf("the refresh token is still accepted: %+v", b)
	}
}

// A code that is shown by two at the same moment is one that was shown twice.
func TestCodeRace(t *testing.T) {
	r := start(t)
	for round := range 20 {
		statuses := r.atOnce(2, r.redemption(r.browser().toCode(r.request())))
		if statuses[0] != http.StatusOK || statuses[1] != http.StatusBadRequest || len(r.files(kindSession))+len(r.files(kindGrant)) != 0 {
			t.Fatalf("round %d: %v, %d sessions, %d grants", round, statuses, len(r.files(kindSession)), len(r.files(kindGrant)))
		}
		r.clock.advance(time.Second) // the rates
	}
}

func (r *rig) prolongation(refresh string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {webClient}}
}
