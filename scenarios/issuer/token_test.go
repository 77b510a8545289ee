package issuer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

const resource = "https://upstream.example/mcp"

// withClients is an issuer that knows a confidential client and two that may less.
func withClients() *Issuer {
	i := atNoon()
	i.AddClient(Client{ID: "sidecar", Secret: "p@ss word", Scopes: []string{"upstream:read", "upstream:write"}})
	i.AddClient(Client{ID: "public"})
	i.AddClient(Client{ID: "limited", Secret: "limited", Grants: []string{grantCredentials}})
	return i
}

// post sends form as client id with its secret in the header; "" sends none.
func post(t *testing.T, i *Issuer, path, id, secret string, form url.Values) (*http.Response, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, r)
	answer := map[string]any{}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("answer %q is no JSON: %v", w.Body, err)
		}
	}
	return w.Result(), answer
}

// pairs makes a form of names and values.
func pairs(list ...string) url.Values {
	form := url.Values{}
	for n := 0; n < len(list); n += 2 {
		form.Add(list[n], list[n+1])
	}
	return form
}

func TestClientCredentials(t *testing.T) {
	for _, row := range []struct {
		name  string
		form  url.Values
		scope string
	}{
		{"all scopes", pairs("resource", resource), "upstream:read upstream:write"},
		{"fewer scopes", pairs("resource", resource, "scope", "upstream:read"), "upstream:read"},
		{"by audience", pairs("audience", resource), "upstream:read upstream:write"},
		{"no scope", pairs("resource", resource, "scope", ""), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := withClients()
			row.form.Set("grant_type", grantCredentials)
			resp, answer := post(t, i, tokenPath, "sidecar", "p@ss word", row.form)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("status %d, %v", resp.StatusCode, answer)
			}
			token, _ := answer["access_token"].(string)
			delete(answer, "access_token")
			if want := map[string]any{"token_type": "Bearer", "expires_in": 300.0, "scope": row.scope}; !reflect.DeepEqual(answer, want) {
				t.Errorf("answer %v, want %v", answer, want)
			}
			_, claims, err := verified(t, i, token)
			if err != nil || claims["sub"] != "sidecar" || claims["client_id"] != "sidecar" || claims["aud"] != resource || claims["scope"] != row.scope || claims["exp"] != float64(noon.Unix()+300) || claims["act"] != nil {
				t.Errorf("%v, %v", claims, err)
			}
			if i.Counters().Granted != 1 {
				t.Errorf("counters %+v", i.Counters())
			}
		})
	}
}

func TestTokenExchange(t *testing.T) {
	for _, row := range []struct {
		name  string
		life  time.Duration // of the subject token
		form  url.Values
		scope string
		left  float64
	}{
		{"the subject's scopes", time.Hour, pairs("resource", resource), "documents:read documents:update", 300},
		{"fewer scopes", time.Hour, pairs("resource", resource, "scope", "documents:read", "requested_token_type", typeAccessToken), "documents:read", 300},
		{"no longer than the subject's token", time.Minute, pairs("audience", resource, "requested_token_type", typeJWT), "documents:read documents:update", 60},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := withClients()
			claims := Claims{Subject: "alice", ClientID: "cli", Audience: "doc-server", Expiry: noon.Add(row.life), Scopes: []string{"documents:read", "documents:update"}}
			for kind, subject := range map[string]string{typeAccessToken: i.Mint(claims), typeJWT: i.MintJWT(claims)} {
				row.form.Set("grant_type", grantExchange)
				row.form.Set("subject_token", subject)
				row.form.Set("subject_token_type", kind)
				resp, answer := post(t, i, tokenPath, "sidecar", "p@ss word", row.form)
				token, _ := answer["access_token"].(string)
				delete(answer, "access_token")
				if want := map[string]any{"token_type": "Bearer", "issued_token_type": typeAccessToken, "expires_in": row.left, "scope": row.scope}; resp.StatusCode != http.StatusOK || !reflect.DeepEqual(answer, want) {
					t.Fatalf("status %d, answer %v, want %v", resp.StatusCode, answer, want)
				}
				_, claims, err := verified(t, i, token)
				if err != nil || claims["sub"] != "alice" || claims["client_id"] != "sidecar" || claims["aud"] != resource || claims["scope"] != row.scope || !reflect.DeepEqual(claims["act"], map[string]any{"sub": "sidecar"}) {
					t.Errorf("%v, %v", claims, err)
				}
			}
		})
	}
}

func TestTokenRefusals(t *testing.T) {
	i := withClients()
	subject := i.Mint(Claims{Subject: "alice", Expiry: noon.Add(time.Hour), Scopes: []string{"documents:read"}})
	expired := i.Mint(Claims{Subject: "alice", Expiry: noon})
	exchange := func(token string, more ...string) url.Values {
		return pairs(append([]string{"grant_type", grantExchange, "subject_token", token, "subject_token_type", typeAccessToken, "resource", resource}, more...)...)
	}
	credentials := func(more ...string) url.Values {
		return pairs(append([]string{"grant_type", grantCredentials}, more...)...)
	}
	for _, row := range []struct {
		name, id, secret string
		form             url.Values
		status           int
		code             string
	}{
		{"no client", "", "", credentials("resource", resource), 401, invalidClient},
		{"unknown client", "somebody", "", credentials("resource", resource), 401, invalidClient},
		{"wrong secret", "sidecar", "guess", credentials("resource", resource), 401, invalidClient},
		{"empty secret", "sidecar", "", credentials("resource", resource), 401, invalidClient},
		{"a public client's secret", "public", "x", credentials("resource", resource), 401, invalidClient},
		{"secret twice", "sidecar", "p@ss word", credentials("resource", resource, "client_secret", "p@ss word"), 400, invalidRequest},
		{"two clients", "sidecar", "p@ss word", credentials("resource", resource, "client_id", "public"), 400, invalidRequest},
		{"no grant type", "sidecar", "p@ss word", pairs("resource", resource), 400, unsupportedGrantType},
		{"unknown grant type", "sidecar", "p@ss word", pairs("grant_type", "password"), 400, unsupportedGrantType},
		{"public client on its own behalf", "", "", credentials("client_id", "public", "resource", resource), 400, unauthorizedClient},
		{"public client for another", "", "", exchange(subject, "client_id", "public"), 400, unauthorizedClient},
		{"grant type not allowed", "limited", "limited", exchange(subject), 400, unauthorizedClient},
		{"parameter twice", "sidecar", "p@ss word", credentials("resource", resource, "resource", "https://other.example"), 400, invalidRequest},
		{"for nobody", "sidecar", "p@ss word", credentials(), 400, invalidTarget},
		{"for two", "sidecar", "p@ss word", credentials("resource", resource, "audience", "other"), 400, invalidTarget},
		{"relative resource", "sidecar", "p@ss word", credentials("resource", "/mcp"), 400, invalidTarget},
		{"resource with fragment", "sidecar", "p@ss word", credentials("resource", resource+"#x"), 400, invalidTarget},
		{"scope not granted", "sidecar", "p@ss word", credentials("resource", resource, "scope", "upstream:admin"), 400, invalidScope},
		{"more scope than the subject", "sidecar", "p@ss word", exchange(subject, "scope", "documents:delete"), 400, invalidScope},
		{"unknown subject", "sidecar", "p@ss word", exchange("forged"), 400, invalidRequest},
		{"expired subject", "sidecar", "p@ss word", exchange(expired), 400, invalidRequest},
		{"subject of another type", "sidecar", "p@ss word", pairs("grant_type", grantExchange, "subject_token", subject, "subject_token_type", "urn:ietf:params:oauth:token-type:id_token", "resource", resource), 400, invalidRequest},
		{"another type is asked for", "sidecar", "p@ss word", exchange(subject, "requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"), 400, invalidRequest},
		{"actor token", "sidecar", "p@ss word", exchange(subject, "actor_token", subject), 400, invalidRequest},
		{"too large", "sidecar", "p@ss word", credentials("resource", resource, "padding", strings.Repeat("x", maxForm)), 400, invalidRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, answer := post(t, i, tokenPath, row.id, row.secret, row.form)
			if resp.StatusCode != row.status || answer["error"] != row.code || answer["access_token"] != nil {
				t.Errorf("status %d, %v, want %d %s", resp.StatusCode, answer, row.status, row.code)
			}
			if (row.status == 401) != (resp.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate %q", resp.Header.Get("WWW-Authenticate"))
			}
		})
	}
	if n := i.Counters().Granted; n != 0 {
		t.Errorf("%d tokens were granted", n)
	}
}

func TestRevocation(t *testing.T) {
	i := withClients()
	i.AddClient(Client{ID: "other", Secret: "other"})
	token := i.MintJWT(Claims{Subject: "alice", ClientID: "sidecar", Expiry: noon.Add(time.Hour)})
	active := func() any {
		_, answer := ask(t, i, "mcp-sidecar", "s3cret%2F%2B", form(token))
		return answer["active"]
	}
	for _, row := range []struct {
		name, id, secret string
		form             url.Values
		status           int
		active           bool
	}{
		{"no client", "", "", pairs("token", token), 401, true},
		{"no token", "sidecar", "p@ss word", pairs(), 400, true},
		{"another client", "other", "other", pairs("token", token), 400, true},
		{"token twice", "sidecar", "p@ss word", pairs("token", token, "token", token), 400, true},
		{"its client", "sidecar", "p@ss word", pairs("token", token), 200, false},
		{"once more", "sidecar", "p@ss word", pairs("token", token), 200, false},
		{"an unknown one", "other", "other", pairs("token", "unknown"), 200, false},
	} {
		if resp, answer := post(t, i, revokePath, row.id, row.secret, row.form); resp.StatusCode != row.status || active() != row.active {
			t.Errorf("%s: status %d, %v, active %v", row.name, resp.StatusCode, answer, active())
		}
	}
}
