package broker

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Headers that every answer has, whatever it says.
func TestHeaders(t *testing.T) {
	r := start(t)
	b := r.browser()
	form := func() url.Values { _, f := b.toConsent(r.request()); return f }
	deny := form()
	deny.Set("decision", "deny")
	for name, p := range map[string]page{
		"to the login":    b.get(r.authorizeURL(r.request())),
		"refused":         b.get(r.authorizeURL(url.Values{})),
		"consent":         func() page { p, _ := b.toConsent(r.request()); return p }(),
		"refused consent": b.post(consentPath, url.Values{}),
		"denied":          b.post(consentPath, deny),
		"callback":        b.get(r.server.URL + callbackPath + "docs"),
		"token":           b.post(tokenPath, url.Values{}),
		"keys":            b.get(r.server.URL + keysPath),
		"metadata":        b.get(r.server.URL + metadataPath),
		"wrong method":    b.post(authorizePath, url.Values{}),
		"nothing there":   b.get(r.server.URL + "/nothing"),
	} {
		t.Run(name, func(t *testing.T) {
			csp := strings.Split(p.header.Get("Content-Security-Policy"), "; ")
			for _, want := range []string{"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
				if !slices.Contains(csp, want) {
					t.Errorf("policy %q has no %q", csp, want)
				}
			}
			if strings.Contains(strings.Join(csp, " "), "unsafe") || strings.Contains(strings.Join(csp, " "), "script-src") {
				t.Errorf("policy %q", csp)
			}
			for header, want := range map[string]string{
				"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin",
			} {
				if got := p.header.Get(header); got != want {
					t.Errorf("%s: %q", header, got)
				}
			}
		})
	}
}

// Cookies are bound to host, TLS and first-party use, and last as long as their
// step.
func TestCookies(t *testing.T) {
	r := start(t)
	b := r.browser()
	check := func(step string, p page, kind string, more int) {
		t.Helper()
		all := (&http.Response{Header: p.header}).Cookies()
		if len(all) != 1+more {
			t.Errorf("%s: %d cookies", step, len(all))
		}
		for _, c := range all {
			if c.Path != "/" || c.Domain != "" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("%s: %+v", step, c)
			}
			if strings.HasPrefix(c.Name, kind) && (c.MaxAge != 600 || len(c.Value) < 26) || !strings.HasPrefix(c.Name, kind) && (c.MaxAge != -1 || c.Value != "") {
				t.Errorf("%s: %+v", step, c)
			}
		}
	}
	p := b.get(r.authorizeURL(r.request()))
	check("authorize", p, loginCookie, 0)
	p = b.get(b.get(p.to).to)
	check("login", p, consentCookie, 1)
	p = b.get(p.to)
	f := formOf(p.body)
	f.Set("decision", "approve")
	p = b.post(consentPath, f)
	check("consent", p, stateCookie, 1)
	if p.status != http.StatusOK || p.header.Get("Location") != "" {
		t.Errorf("a form is answered with %d to %q, which form-action 'self' forbids", p.status, p.header.Get("Location"))
	}
	p = b.get(b.get(p.to).to)
	check("callback", p, "none", 0)
}

// What a client calls itself is text on the page, never markup, and the page shows
// what the decision is about.
func TestConsentPage(t *testing.T) {
	r := start(t)
	id := r.docs.put("/evil.json", `{"client_id":"https://example.com/evil.json","client_name":"</title><script>alert(1)</script>\"'&","redirect_uris":["`+webRedirect+`"]}`)
	v := r.request()
	v.Set("client_id", id)
	p, f := r.browser().toConsent(v)
	if strings.Contains(p.body, "<script") || strings.Count(p.body, "</title>") != 1 {
		t.Error("markup of the client's is on the page")
	}
	host, _ := url.Parse(r.third.URL)
	for _, want := range []string{`<html lang="en">`, "<h1>", id, "client.example", "documents:read", host.Host, "files.read", "files.write", "alice@example.com (alice)", r.opts.Upstreams["docs"].Resource, f.Get("csrf")} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(p.body, "The answer goes to this computer") {
		t.Error("a warning that does not apply")
	}
}

// The page in between carries the address as it is, whatever is in it.
func TestContinuePage(t *testing.T) {
	r := start(t)
	b := r.browser()
	v := r.request()
	v.Set("state", `"><script>&amp;`)
	_, f := b.toConsent(v)
	f.Set("decision", "deny")
	p := b.post(consentPath, f)
	u, err := url.Parse(p.to)
	if err != nil || u.Query().Get("state") != v.Get("state") || strings.Contains(p.body, "<script") {
		t.Errorf("%s %v", p.to, err)
	}
}

func TestMetadata(t *testing.T) {
	r := start(t)
	p := r.browser().get(r.server.URL + metadataPath)
	var m serverMetadata
	if err := json.Unmarshal([]byte(p.body), &m); err != nil {
		t.Fatal(err)
	}
	if m.Issuer != r.server.URL || m.Authorization != r.server.URL+"/authorize" || m.Token != r.server.URL+"/token" || m.Keys != r.server.URL+"/jwks" || m.Registration != r.server.URL+"/register" ||
		!slices.Equal(m.Challenges, []string{"S256"}) || !slices.Equal(m.Responses, []string{"code"}) || !m.IssInAnswers || !m.Documents ||
		!slices.Equal(m.Scopes, []string{"documents:read", "documents:write", "mail:read"}) {
		t.Errorf("%+v", m)
	}
	p = r.browser().get(r.server.URL + keysPath)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal([]byte(p.body), &set); err != nil || len(set.Keys) != 1 || set.Keys[0]["d"] != "" || set.Keys[0]["alg"] != "ES256" || len(set.Keys[0]) != 7 {
		t.Errorf("%s %v", p.body, err)
	}
}

// Methods and paths beyond those that are served.
func TestRoutes(t *testing.T) {
	r := start(t)
	for _, row := range []struct {
		method, path string
		want         int
	}{
		{"POST", authorizePath, 405}, {"HEAD", authorizePath, 405}, {"GET", tokenPath, 405}, {"PUT", consentPath, 405}, {"GET", registerPath, 405}, {"POST", callbackPath + "docs", 405},
		{"GET", callbackPath + "none", 404}, {"GET", "/callback", 404}, {"GET", "/authorize/", 404}, {"GET", "//authorize", 404}, {"GET", "/%61uthorize", 404},
	} {
		q, err := http.NewRequest(row.method, r.server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.URL.Opaque = "//" + q.URL.Host + row.path
		resp, err := r.browser().http.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.want {
			t.Errorf("%s %s: %d", row.method, row.path, resp.StatusCode)
		}
	}
	for _, path := range r.broker.Paths() {
		if _, ok := r.broker.route(path); !ok {
			t.Errorf("%s is named and not served", path)
		}
	}
}
