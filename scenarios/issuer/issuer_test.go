package issuer

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const testURL = "http://issuer.example"

func newIssuer() *Issuer {
	return New(Config{URL: testURL, ClientID: "mcp-sidecar", ClientSecret: "s3cret/+"})
}

// ask posts body to /introspect with the given client credentials ("" sends
// none) and returns the status and the decoded answer.
func ask(t *testing.T, i *Issuer, id, secret, body string) (*http.Response, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, introspectPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(id, secret)
	}
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("answer %q is no JSON: %v", w.Body, err)
	}
	return w.Result(), answer
}

func form(token string) string { return url.Values{"token": {token}}.Encode() }

func TestIntrospectClientAuthentication(t *testing.T) {
	for _, row := range []struct {
		name, id, secret string
		want             int
	}{
		{"form-encoded secret", "mcp-sidecar", "s3cret%2F%2B", http.StatusOK},
		{"slash left plain", "mcp-sidecar", "s3cret/%2B", http.StatusOK},
		{"plus left plain means a space", "mcp-sidecar", "s3cret/+", http.StatusUnauthorized},
		{"no credentials", "", "", http.StatusUnauthorized},
		{"wrong secret", "mcp-sidecar", "guess", http.StatusUnauthorized},
		{"wrong client", "somebody", "s3cret%2F%2B", http.StatusUnauthorized},
		{"empty secret", "mcp-sidecar", "", http.StatusUnauthorized},
		{"broken escape", "mcp-sidecar", "%zz", http.StatusUnauthorized},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := newIssuer()
			token := i.Mint(Claims{Subject: "alice"})
			resp, answer := ask(t, i, row.id, row.secret, form(token))
			if resp.StatusCode != row.want {
				t.Fatalf("status %d, want %d", resp.StatusCode, row.want)
			}
			if row.want == http.StatusOK {
				return
			}
			if _, told := answer["active"]; told || i.Counters().Active != 0 {
				t.Errorf("an unauthenticated client learned about a token: %v", answer)
			}
			if !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("WWW-Authenticate = %q", resp.Header.Get("WWW-Authenticate"))
			}
			if got := i.Counters().Unauthorized; got != 1 {
				t.Errorf("counted %d refusals, want 1", got)
			}
		})
	}
}

func TestIntrospectTokens(t *testing.T) {
	hour := time.Unix(1_900_000_000, 0)
	i := newIssuer()
	mint := func(audience string, expiry time.Time) string {
		return i.Mint(Claims{Subject: "alice", ClientID: "cli", Audience: audience, Expiry: expiry,
			Scopes: []string{"documents:read", "documents:update"}})
	}
	active := func(audience string, expiry time.Time) map[string]any {
		return map[string]any{"active": true, "iss": testURL, "sub": "alice", "client_id": "cli", "aud": audience,
			"exp": float64(expiry.Unix()), "scope": "documents:read documents:update", "token_type": "Bearer"}
	}
	revoked := mint("doc-server", hour)
	i.Revoke(revoked)

	for _, row := range []struct {
		name, token string
		want        map[string]any
	}{
		{"valid", mint("doc-server", hour), active("doc-server", hour)},
		{"expired is still active", mint("doc-server", time.Unix(1, 0)), active("doc-server", time.Unix(1, 0))},
		{"foreign audience is still active", mint("other-service", hour), active("other-service", hour)},
		{"unknown", "forged", map[string]any{"active": false}},
		{"revoked", revoked, map[string]any{"active": false}},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, got := ask(t, i, "mcp-sidecar", "s3cret/%2B", form(row.token))
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("status %d, headers %v", resp.StatusCode, resp.Header)
			}
			if len(got) != len(row.want) {
				t.Fatalf("answer %v, want %v", got, row.want)
			}
			for key, want := range row.want {
				if got[key] != want {
					t.Errorf("%s = %v, want %v", key, got[key], want)
				}
			}
		})
	}
	if got, want := i.Counters(), (Counters{Active: 3, Inactive: 2}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

func TestIntrospectBadRequests(t *testing.T) {
	for _, row := range []struct{ name, body string }{
		{"no token", ""},
		{"empty token", "token="},
		{"broken form", "token=%zz"},
		{"too large", "token=" + strings.Repeat("a", maxForm)},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, answer := ask(t, newIssuer(), "mcp-sidecar", "s3cret/%2B", row.body)
			if resp.StatusCode != http.StatusBadRequest || answer["error"] != "invalid_request" {
				t.Errorf("status %d, answer %v", resp.StatusCode, answer)
			}
		})
	}
}

func TestTokenInQueryIsNotRead(t *testing.T) {
	i := newIssuer()
	r := httptest.NewRequest(http.MethodPost, introspectPath+"?"+form(i.Mint(Claims{})), nil)
	r.SetBasicAuth("mcp-sidecar", "s3cret/%2B")
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", w.Code)
	}
}

func TestOtherEndpoints(t *testing.T) {
	for _, row := range []struct {
		name, method, path string
		want               int
		contains           string
	}{
		{"metadata", http.MethodGet, oauthMetadata, http.StatusOK, `"introspection_endpoint":"http://issuer.example/introspect"`},
		{"note", http.MethodGet, "/", http.StatusOK, "a test tool"},
		{"introspection by GET", http.MethodGet, introspectPath, http.StatusMethodNotAllowed, ""},
		{"tokens by GET", http.MethodGet, tokenPath, http.StatusMethodNotAllowed, ""},
		{"revocation by GET", http.MethodGet, revokePath, http.StatusMethodNotAllowed, ""},
		{"nothing else", http.MethodGet, "/admin", http.StatusNotFound, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			newIssuer().Handler().ServeHTTP(w, httptest.NewRequest(row.method, row.path, nil))
			body, err := io.ReadAll(w.Body)
			if err != nil || w.Code != row.want || !strings.Contains(string(body), row.contains) {
				t.Errorf("status %d, body %q, want %d and %q", w.Code, body, row.want, row.contains)
			}
		})
	}
}

func TestMintedTokensDiffer(t *testing.T) {
	i := newIssuer()
	if a, b := i.Mint(Claims{}), i.Mint(Claims{}); a == b || len(a) < 26 {
		t.Errorf("tokens %q and %q", a, b)
	}
}
