package issuer

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	callback  = "http://127.0.0.1:7777/callback?app=1"
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// withUsers is an issuer for logins. Its clock can be moved.
func withUsers() (*Issuer, *time.Time) {
	now := noon
	i := New(Config{URL: testURL, ClientID: "mcp-sidecar", ClientSecret: "s3cret/+", Now: func() time.Time { return now },
		Users: map[string][]string{"alice": {"documents:read", "documents:update"}, "bob": nil}})
	i.AddClient(Client{ID: "app", Name: "The <App>", RedirectURIs: []string{callback}})
	i.AddClient(Client{ID: "other", RedirectURIs: []string{callback}})
	i.AddClient(Client{ID: "once", RedirectURIs: []string{callback}, Grants: []string{grantCode}})
	return i, &now
}

// request is a good authorization request, changed by more.
func authRequest(more ...string) url.Values {
	form := pairs("response_type", "code", "client_id", "app", "redirect_uri", callback, "state", "s-1", "scope", "documents:read documents:delete",
		"code_challenge", challenge, "code_challenge_method", "S256", "resource", resource, "login_hint", "alice")
	for n := 0; n < len(more); n += 2 {
		if form.Set(more[n], more[n+1]); more[n+1] == "" {
			form.Del(more[n])
		}
	}
	return form
}

// login sends an authorization request as a browser does.
func login(i *Issuer, query url.Values) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, authorizePath+"?"+query.Encode(), nil))
	return w
}

// sentBack returns what a redirect to the client carries.
func sentBack(t *testing.T, w *httptest.ResponseRecorder) url.Values {
	t.Helper()
	location := w.Header().Get("Location")
	u, err := url.Parse(location)
	if w.Code != http.StatusFound || err != nil || !strings.HasPrefix(location, "http://127.0.0.1:7777/callback?") {
		t.Fatalf("status %d, Location %q, body %s", w.Code, location, w.Body)
	}
	query := u.Query()
	if query.Get("app") != "1" || query.Get("iss") != testURL {
		t.Errorf("Location %q lacks the client's own parameter or iss", location)
	}
	return query
}

// code logs alice in.
func code(t *testing.T, i *Issuer, more ...string) string {
	t.Helper()
	query := sentBack(t, login(i, authRequest(more...)))
	if query.Get("code") == "" || query.Get("state") != "s-1" || query.Has("error") {
		t.Fatalf("sent back %v", query)
	}
	return query.Get("code")
}

// redemption is a good token request for a code, changed by more.
func redemption(code string, more ...string) url.Values {
	form := pairs("grant_type", grantCode, "client_id", "app", "code", code, "redirect_uri", callback, "code_verifier", verifier, "resource", resource)
	for n := 0; n < len(more); n += 2 {
		if form.Set(more[n], more[n+1]); more[n+1] == "" {
			form.Del(more[n])
		}
	}
	return form
}

// A login ends in a token for the user, the client and the resource, with the scopes
// that the user may grant.
func TestLogin(t *testing.T) {
	for name, enter := range map[string]func(*testing.T, *Issuer) string{
		"by login hint": func(t *testing.T, i *Issuer) string { return code(t, i) },
		"by the form": func(t *testing.T, i *Issuer) string {
			query := authRequest("login_hint", "")
			page := login(i, query)
			if body := page.Body.String(); page.Code != http.StatusOK || !strings.Contains(body, "The &lt;App&gt; asks for access to "+resource) || !strings.Contains(body, `<option value="bob">`) {
				t.Fatalf("page %d %s", page.Code, body)
			}
			if got := page.Header().Get("Content-Security-Policy"); !strings.Contains(got, "frame-ancestors 'none'") {
				t.Errorf("Content-Security-Policy %q", got)
			}
			r := httptest.NewRequest(http.MethodPost, authorizePath+"?"+query.Encode(), strings.NewReader("user=alice"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			i.Handler().ServeHTTP(w, r)
			return sentBack(t, w).Get("code")
		},
	} {
		t.Run(name, func(t *testing.T) {
			i, _ := withUsers()
			resp, answer := post(t, i, tokenPath, "", "", redemption(enter(t, i)))
			token, _ := answer["access_token"].(string)
			if resp.StatusCode != http.StatusOK || answer["scope"] != "documents:read" || answer["refresh_token"] == "" {
				t.Fatalf("status %d, %v", resp.StatusCode, answer)
			}
			_, claims, err := verified(t, i, token)
			if err != nil || claims["sub"] != "alice" || claims["client_id"] != "app" || claims["aud"] != resource || claims["scope"] != "documents:read" {
				t.Errorf("%v, %v", claims, err)
			}
		})
	}
}

func TestAnybodyLogsInWithoutUsers(t *testing.T) {
	i := atNoon()
	i.AddClient(Client{ID: "app", RedirectURIs: []string{callback}})
	_, answer := post(t, i, tokenPath, "", "", redemption(code(t, i, "login_hint", "zoe")))
	if answer["scope"] != "documents:read documents:delete" {
		t.Errorf("%v", answer)
	}
}

// Nothing is sent to an address that is not the client's.
func TestAuthorizationIsNotSentAnywhere(t *testing.T) {
	for name, query := range map[string]url.Values{
		"no client":                    authRequest("client_id", ""),
		"unknown client":               authRequest("client_id", "nobody"),
		"no redirect":                  authRequest("redirect_uri", ""),
		"another redirect":             authRequest("redirect_uri", "https://attacker.example/"),
		"redirect with more behind it": authRequest("redirect_uri", callback+"&x=1"),
		"redirect with another port":   authRequest("redirect_uri", "http://127.0.0.1:7778/callback?app=1"),
		"redirect without its query":   authRequest("redirect_uri", "http://127.0.0.1:7777/callback"),
		"redirect in other case":       authRequest("redirect_uri", "HTTP://127.0.0.1:7777/callback?app=1"),
		"a client's document":          authRequest("client_id", "https://client.example/app.json"),
	} {
		i, _ := withUsers()
		if w := login(i, query); w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
			t.Errorf("%s: status %d, Location %q", name, w.Code, w.Header().Get("Location"))
		}
	}
	twice := authRequest()
	twice.Add("redirect_uri", "https://attacker.example/")
	i, _ := withUsers()
	if w := login(i, twice); w.Code != http.StatusBadRequest {
		t.Errorf("two redirects: status %d", w.Code)
	}
}

func TestAuthorizationErrors(t *testing.T) {
	for _, row := range []struct {
		name string
		more []string
		code string
	}{
		{"another response type", []string{"response_type", "token"}, unsupportedResponseType},
		{"no PKCE", []string{"code_challenge", "", "code_challenge_method", ""}, invalidRequest},
		{"PKCE without a method, which means plain", []string{"code_challenge_method", ""}, invalidRequest},
		{"plain PKCE", []string{"code_challenge_method", "plain"}, invalidRequest},
		{"short challenge", []string{"code_challenge", "x"}, invalidRequest},
		{"no resource", []string{"resource", ""}, invalidTarget},
		{"resource with fragment", []string{"resource", resource + "#x"}, invalidTarget},
		{"unknown user", []string{"login_hint", "mallory"}, accessDenied},
	} {
		i, _ := withUsers()
		query := sentBack(t, login(i, authRequest(row.more...)))
		if query.Get("error") != row.code || query.Has("code") || query.Get("state") != "s-1" {
			t.Errorf("%s: sent back %v", row.name, query)
		}
	}
	twice := authRequest()
	twice.Add("resource", "https://other.example")
	i, _ := withUsers()
	if query := sentBack(t, login(i, twice)); query.Get("error") != invalidRequest {
		t.Errorf("two resources: sent back %v", query)
	}
}

func TestCodeRefusals(t *testing.T) {
	for _, row := range []struct {
		name string
		more []string
		wait time.Duration
		code string
	}{
		{"unknown code", []string{"code", "guess"}, 0, invalidGrant},
		{"another client's code", []string{"client_id", "other"}, 0, invalidGrant},
		{"too late", nil, codeLifetime + 1, invalidGrant},
		{"another redirect", []string{"redirect_uri", "http://127.0.0.1:7777/"}, 0, invalidGrant},
		{"no verifier", []string{"code_verifier", ""}, 0, invalidGrant},
		{"the challenge as verifier", []string{"code_verifier", challenge}, 0, invalidGrant},
		{"another resource", []string{"resource", "https://other.example/mcp"}, 0, invalidTarget},
	} {
		i, now := withUsers()
		form := redemption(code(t, i))
		for n := 0; n < len(row.more); n += 2 {
			form.Set(row.more[n], row.more[n+1])
		}
		*now = now.Add(row.wait)
		if resp, answer := post(t, i, tokenPath, "", "", form); resp.StatusCode != http.StatusBadRequest || answer["error"] != row.code {
			t.Errorf("%s: status %d, %v", row.name, resp.StatusCode, answer)
		}
	}
}

// A code is good once; when it comes again, what it was turned into ends.
func TestCodeTwice(t *testing.T) {
	i, _ := withUsers()
	form := redemption(code(t, i))
	_, first := post(t, i, tokenPath, "", "", form)
	if resp, answer := post(t, i, tokenPath, "", "", form); resp.StatusCode != http.StatusBadRequest || answer["error"] != invalidGrant {
		t.Fatalf("second time: %d %v", resp.StatusCode, answer)
	}
	token, refresh := first["access_token"].(string), first["refresh_token"].(string)
	if _, answer := ask(t, i, "mcp-sidecar", "s3cret%2F%2B", url.Values{"token": {token}}.Encode()); answer["active"] != false {
		t.Errorf("the token lives on: %v", answer)
	}
	if resp, _ := post(t, i, tokenPath, "", "", pairs("grant_type", grantRefresh, "client_id", "app", "refresh_token", refresh)); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the refresh token lives on: %d", resp.StatusCode)
	}
}

// Codes that nobody fetches do not pile up.
func TestOldCodesGo(t *testing.T) {
	i, now := withUsers()
	code(t, i)
	*now = now.Add(codeLifetime + 1)
	code(t, i)
	if n := len(slices.Collect(maps.Keys(i.codes))); n != 1 {
		t.Errorf("%d codes, want 1", n)
	}
}

func TestRefresh(t *testing.T) {
	i, _ := withUsers()
	_, first := post(t, i, tokenPath, "", "", redemption(code(t, i, "scope", "documents:read documents:update")))
	refresh := func(token any, more ...string) (*http.Response, map[string]any) {
		return post(t, i, tokenPath, "", "", pairs(append([]string{"grant_type", grantRefresh, "client_id", "app", "refresh_token", token.(string)}, more...)...))
	}
	for _, row := range []struct {
		name string
		more []string
		code string
	}{
		{"another resource", []string{"resource", "https://other.example"}, invalidTarget},
		{"more scope", []string{"scope", "documents:delete"}, invalidScope},
	} {
		if resp, answer := refresh(first["refresh_token"], row.more...); resp.StatusCode != http.StatusBadRequest || answer["error"] != row.code {
			t.Errorf("%s: %d %v", row.name, resp.StatusCode, answer)
		}
	}
	if resp, _ := post(t, i, tokenPath, "", "", pairs("grant_type", grantRefresh, "client_id", "other", "refresh_token", first["refresh_token"].(string))); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("another client: %d", resp.StatusCode)
	}
	resp, second := refresh(first["refresh_token"], "scope", "documents:read", "resource", resource)
	if resp.StatusCode != http.StatusOK || second["scope"] != "documents:read" || second["refresh_token"] == first["refresh_token"] {
		t.Fatalf("%d %v", resp.StatusCode, second)
	}
	if _, claims, err := verified(t, i, second["access_token"].(string)); err != nil || claims["sub"] != "alice" || claims["aud"] != resource {
		t.Errorf("%v %v", claims, err)
	}
	if resp, _ := refresh(first["refresh_token"]); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("used twice: %d", resp.StatusCode)
	}
	i.Revoke(second["access_token"].(string))
	if resp, _ := refresh(second["refresh_token"]); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("after revocation: %d", resp.StatusCode)
	}
	_, once := post(t, i, tokenPath, "", "", redemption(code(t, i, "client_id", "once"), "client_id", "once"))
	if once["access_token"] == nil || once["refresh_token"] != nil {
		t.Errorf("a client that may not refresh: %v", once)
	}
}

// A login with the scope openid says who the user is, to the client that asked and
// for the login that it began. It needs no resource, and gets no further without.
func TestIDToken(t *testing.T) {
	i, now := withUsers()
	resp, answer := post(t, i, tokenPath, "", "", redemption(code(t, i, "scope", "openid profile", "resource", "", "nonce", "n-1"), "resource", ""))
	token, _ := answer["id_token"].(string)
	if resp.StatusCode != http.StatusOK || token == "" {
		t.Fatalf("status %d, %v", resp.StatusCode, answer)
	}
	header, claims, err := verified(t, i, token)
	if err != nil || header["typ"] != "JWT" || claims["iss"] != testURL || claims["sub"] != "alice" || claims["aud"] != "app" || claims["nonce"] != "n-1" ||
		claims["exp"] != float64(now.Add(defaultLifetime).Unix()) {
		t.Errorf("%v %v, %v", header, claims, err)
	}
	access, _ := answer["access_token"].(string)
	if _, claims, err := verified(t, i, access); err != nil || claims["aud"] != "" {
		t.Errorf("the access token is for %v, %v", claims["aud"], err)
	}
	if _, answer := post(t, i, tokenPath, "", "", redemption(code(t, i))); answer["id_token"] != nil {
		t.Error("an ID token that nobody asked for")
	}
	if back := sentBack(t, login(i, authRequest("resource", ""))); back.Get("error") != invalidTarget {
		t.Errorf("without resource and openid: %v", back)
	}
	page := login(i, authRequest("login_hint", "", "scope", "openid", "resource", "")).Body.String()
	if !strings.Contains(page, "The &lt;App&gt; asks who you are, with the scopes openid.") {
		t.Errorf("page %s", page)
	}
}
