package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// vendorRig is a third party that knows one program, and alice's browser.
type vendorRig struct {
	vendor *thirdParty
	url    string
	fakes  *fakes
	alice  *browser
}

func newVendorRig(t *testing.T) *vendorRig {
	t.Helper()
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	r := &vendorRig{vendor: newThirdParty()}
	if r.fakes, err = startFakes(ln, ca); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.fakes.close)
	server := httptest.NewServer(r.vendor.handler())
	t.Cleanup(server.Close)
	r.url = server.URL
	r.vendor.admit("app", desktopURL)
	if r.alice, err = newBrowser("alice", "http://issuer.example", r.fakes, ca); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.alice.close)
	return r
}

func (r *vendorRig) link(redirect string) string {
	return r.url + "/authorize?" + url.Values{"client_id": {"app"}, "redirect_uri": {redirect}, "state": {"s"}, "code_challenge": {challengeOf("v")}}.Encode()
}

// TestThirdParty: it asks once, sends nobody to a place that it does not know, and
// gives one token for one code.
func TestThirdParty(t *testing.T) {
	r := newVendorRig(t)
	for _, row := range []struct {
		name, redirect string
		allow          bool
		stop, asked    string
		code           bool
	}{
		{"not her program's redirect", attackerURL, true, "HTTP 400", "", false},
		{"asked, no answer", desktopURL, false, thirdPartyTitle, thirdPartyTitle, false},
		{"asked, allowed", desktopURL, true, "HTTP 200", thirdPartyTitle, true},
		{"never asked again", desktopURL, false, "HTTP 200", "", true},
	} {
		last, asked, err := r.alice.visit(t.Context(), r.link(row.redirect), row.allow)
		code := r.fakes.code(desktopHost)
		if err != nil || last.title != row.stop || strings.Join(asked, " ") != row.asked || (code != "") != row.code {
			t.Errorf("%s: stopped at %q, asked %q, code %v, %v", row.name, last.title, asked, code != "", err)
		}
		if !row.code {
			continue
		}
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"app"}, "code": {code}, "code_verifier": {"v"}}
		if token, err := redeem(t.Context(), r.url, form); err != nil || token == "" {
			t.Errorf("%s: %v", row.name, err)
		}
		if _, err := redeem(t.Context(), r.url, form); err == nil {
			t.Errorf("%s: the code is good twice", row.name)
		}
	}
	if n := len(r.vendor.issued()); n != 2 {
		t.Errorf("%d tokens", n)
	}
	if code := r.fakes.code(desktopHost); code != "" {
		t.Error("a code is there twice")
	}
	if _, _, err := r.alice.visit(t.Context(), r.link(desktopURL), false); err != nil {
		t.Fatal(err)
	}
	if _, err := redeem(t.Context(), r.url, url.Values{"client_id": {"app"}, "code": {r.fakes.code(desktopHost)}, "code_verifier": {"w"}}); err == nil {
		t.Error("a token without the verifier")
	}
}

// TestProtected: the server behind a third party sees who is let in, and never the
// third party's token.
func TestProtected(t *testing.T) {
	vendor := newThirdParty()
	vendor.tokens["good"] = true
	for _, row := range []struct {
		name, service, authorization string
		status                       int
		seen                         string
	}{
		{"nothing", "service", "", 401, ""},
		{"made up", "service", "Bearer bad", 401, ""},
		{"the third party's", "service", "Bearer good", 200, "Bearer service"},
		{"the third party's, to an open server", "", "Bearer good", 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			seen := ""
			h := vendor.protect(row.service, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }))
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/mcp", nil)
			r.Header.Set("Authorization", row.authorization)
			if h.ServeHTTP(w, r); w.Code != row.status || seen != row.seen {
				t.Errorf("status %d, seen %q", w.Code, seen)
			}
		})
	}
}

// TestBrowserGoesOn: a refresh and a login are followed, a page without either is the
// end, and a circle has one.
func TestBrowserGoesOn(t *testing.T) {
	var logins []string
	mux := http.NewServeMux()
	serve := func(path, text string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	serve("GET /refresh", `<meta http-equiv="refresh" content="0; url=`+server.URL+`/end?a=1&amp;b=2">`)
	serve("GET /end", `<title>The &amp; end</title>`)
	serve("GET /circle", `<meta http-equiv="refresh" content="0; url=`+server.URL+`/circle">`)
	serve("GET /authorize", `<form method="post">`)
	mux.HandleFunc("POST /authorize", func(w http.ResponseWriter, r *http.Request) {
		logins = append(logins, r.PostFormValue("user")+" at "+r.URL.RawQuery)
		http.Redirect(w, r, "/end", http.StatusFound)
	})
	r := newVendorRig(t)
	r.alice.issuer = server.URL
	for _, row := range []struct{ path, stop string }{
		{"/refresh", "The & end"}, {"/authorize?x=1", "The & end"}, {"/nowhere", "HTTP 404"},
	} {
		if last, asked, err := r.alice.visit(t.Context(), server.URL+row.path, false); err != nil || last.title != row.stop || asked != nil {
			t.Errorf("%s: %q, asked %q, %v", row.path, last.title, asked, err)
		}
	}
	if _, _, err := r.alice.visit(t.Context(), server.URL+"/circle", false); err == nil {
		t.Error("the circle has an end")
	}
	if len(logins) != 1 || logins[0] != "alice at x=1" {
		t.Errorf("logins %q", logins)
	}
}

// TestStaticProxyHoles: what makes it a deputy, without anything in front of it.
func TestStaticProxyHoles(t *testing.T) {
	s := newStaticProxy("http://proxy.example", "http://vendor.example", nil)
	m := remembered{attackerURL, "s", "c"}
	if got, err := s.recall(m.pack()); err != nil || got != m {
		t.Errorf("a state of anybody's: %+v, %v", got, err)
	}
	if _, err := s.recall("%"); err == nil {
		t.Error("a state that is none")
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/authorize?client_id=desktop&code_challenge=c&state=s&redirect_uri="+url.QueryEscape(attackerURL), nil))
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "http://vendor.example/authorize?client_id="+staticClient+"&") {
		t.Errorf("%d to %q", w.Code, to)
	}
	if got, err := s.recall(""); err != nil || got != m {
		t.Errorf("no state: %+v, %v", got, err)
	}
	w = httptest.NewRecorder()
	if s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mcp", nil)); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", w.Code)
	}
}
