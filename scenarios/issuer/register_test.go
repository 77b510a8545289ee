package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// registration posts body to the registration endpoint.
func registration(t *testing.T, i *Issuer, body string) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, registerPath, strings.NewReader(body)))
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	return w.Code, answer
}

func TestRegistration(t *testing.T) {
	i, _ := withUsers()
	status, public := registration(t, i, `{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"none","client_name":"App","application_type":"native","grant_types":["authorization_code","refresh_token","client_credentials"]}`)
	id, _ := public["client_id"].(string)
	if status != http.StatusCreated || id == "" || public["client_secret"] != nil || public["client_secret_expires_at"] != nil || fmt.Sprint(public["grant_types"]) != "[authorization_code refresh_token]" {
		t.Fatalf("%d %v", status, public)
	}
	if _, answer := post(t, i, tokenPath, "", "", redemption(code(t, i, "client_id", id), "client_id", id)); answer["access_token"] == nil || answer["refresh_token"] == nil {
		t.Errorf("%v", answer)
	}
	same := `{"redirect_uris":["` + callback + `"],"token_endpoint_auth_method":"none","client_name":"App","application_type":"native","grant_types":["authorization_code","refresh_token"],"client_id":"chosen","client_id_issued_at":7}`
	if _, again := registration(t, i, same); again["client_id"] != id {
		t.Errorf("registered once more as %v, was %v", again["client_id"], id)
	}
	if _, other := registration(t, i, strings.Replace(same, "App", "Other", 1)); other["client_id"] == id || other["client_id"] == "chosen" {
		t.Errorf("another client registered as %v", other["client_id"])
	}
	status, confidential := registration(t, i, `{"redirect_uris":["`+callback+`"]}`)
	id, secret := confidential["client_id"].(string), confidential["client_secret"].(string)
	if status != http.StatusCreated || secret == "" || confidential["client_secret_expires_at"] != 0.0 || confidential["token_endpoint_auth_method"] != "client_secret_basic" {
		t.Fatalf("%d %v", status, confidential)
	}
	if resp, _ := post(t, i, tokenPath, "", "", redemption(code(t, i, "client_id", id), "client_id", id)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without its secret: %d", resp.StatusCode)
	}
	for name, way := range map[string]func(form string) (*http.Response, map[string]any){
		"in the header": func(c string) (*http.Response, map[string]any) {
			return post(t, i, tokenPath, id, secret, redemption(c, "client_id", ""))
		},
		"in the form": func(c string) (*http.Response, map[string]any) {
			return post(t, i, tokenPath, "", "", redemption(c, "client_id", id, "client_secret", secret))
		},
	} {
		if resp, answer := way(code(t, i, "client_id", id)); resp.StatusCode != http.StatusOK || answer["refresh_token"] != nil {
			t.Errorf("secret %s: %d %v", name, resp.StatusCode, answer)
		}
	}
	// It stands for nobody but the users who log in.
	if resp, answer := post(t, i, tokenPath, id, secret, pairs("grant_type", grantCredentials, "resource", resource)); resp.StatusCode != http.StatusBadRequest || answer["error"] != unauthorizedClient {
		t.Errorf("on its own behalf: %d %v", resp.StatusCode, answer)
	}
}

func TestRegistrationRefusals(t *testing.T) {
	i, _ := withUsers()
	before := len(i.clients)
	for name, row := range map[string]struct{ body, code string }{
		"no JSON":                {`x`, invalidClientMetadata},
		"no redirects":           {`{}`, invalidRedirectURI},
		"plain http":             {`{"redirect_uris":["http://client.example/"]}`, invalidRedirectURI},
		"a script":               {`{"redirect_uris":["javascript:alert(1)"]}`, invalidRedirectURI},
		"a fragment":             {`{"redirect_uris":["https://client.example/#x"]}`, invalidRedirectURI},
		"a relative one":         {`{"redirect_uris":["/callback"]}`, invalidRedirectURI},
		"no host":                {`{"redirect_uris":["https:///callback"]}`, invalidRedirectURI},
		"a user in it":           {`{"redirect_uris":["https://good.example@client.example/"]}`, invalidRedirectURI},
		"the second of two":      {`{"redirect_uris":["https://client.example/","data:text/html,x"]}`, invalidRedirectURI},
		"another response type":  {`{"redirect_uris":["https://client.example/"],"response_types":["token"]}`, invalidClientMetadata},
		"another grant type":     {`{"redirect_uris":["https://client.example/"],"grant_types":["client_credentials"]}`, invalidClientMetadata},
		"another authentication": {`{"redirect_uris":["https://client.example/"],"token_endpoint_auth_method":"private_key_jwt"}`, invalidClientMetadata},
	} {
		if status, answer := registration(t, i, row.body); status != http.StatusBadRequest || answer["error"] != row.code {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	if len(i.clients) != before {
		t.Error("a refused client was registered")
	}
	for n := len(i.clients); n < maxClients; n++ {
		i.AddClient(Client{ID: fmt.Sprint(n)})
	}
	if status, _ := registration(t, i, `{"redirect_uris":["https://client.example/"]}`); status != http.StatusBadRequest {
		t.Errorf("one client too many: %d", status)
	}
}

// documents serves what stands at each path, over TLS.
func documents(t *testing.T, at map[string]string) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved.json" {
			http.Redirect(w, r, "/app.json", http.StatusFound)
			return
		}
		if r.URL.Path != "/text.json" {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		body, ok := at[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(body, "SELF", "https://"+r.Host)))
	}))
	t.Cleanup(server.Close)
	return server
}

// A client whose id is a URL is what the document there says.
func TestClientDocument(t *testing.T) {
	at := map[string]string{
		"/app.json":    `{"client_id":"SELF/app.json","client_name":"App","redirect_uris":["` + callback + `"],"grant_types":["authorization_code","refresh_token"]}`,
		"/other.json":  `{"client_id":"SELF/app.json","redirect_uris":["` + callback + `"]}`,
		"/moved.json":  `{"client_id":"SELF/moved.json","redirect_uris":["` + callback + `"]}`,
		"/text.json":   `{"client_id":"SELF/text.json","redirect_uris":["` + callback + `"]}`,
		"/secret.json": `{"client_id":"SELF/secret.json","redirect_uris":["` + callback + `"],"client_secret":"public knowledge"}`,
		"/basic.json":  `{"client_id":"SELF/basic.json","redirect_uris":["` + callback + `"],"token_endpoint_auth_method":"client_secret_basic"}`,
		"/script.json": `{"client_id":"SELF/script.json","redirect_uris":["javascript:alert(1)"]}`,
		"/huge.json":   `{"client_id":"SELF/huge.json","redirect_uris":["` + callback + `"],"x":"` + strings.Repeat("x", maxForm) + `"}`,
		"/broken.json": `{`,
	}
	server := documents(t, at)
	i, _ := withUsers()
	i.config.Documents = server.Client()
	if !bytes.Contains(get(t, i, oauthMetadata).Body.Bytes(), []byte(`"client_id_metadata_document_supported":true`)) {
		t.Error("the metadata does not say that documents are supported")
	}
	id := server.URL + "/app.json"
	if resp, answer := post(t, i, tokenPath, "", "", redemption(code(t, i, "client_id", id), "client_id", id)); resp.StatusCode != http.StatusOK || answer["refresh_token"] == nil {
		t.Errorf("%d %v", resp.StatusCode, answer)
	}
	for path := range at {
		if path == "/app.json" {
			continue
		}
		if w := login(i, authRequest("client_id", server.URL+path)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	for _, id := range []string{server.URL + "/absent.json", server.URL, server.URL + "/", server.URL + "/app.json#x", strings.Replace(id, "https://", "https://u@", 1), strings.Replace(id, "https", "http", 1)} {
		if w := login(i, authRequest("client_id", id)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d", id, w.Code)
		}
	}
}

// A client can prove who it is with a key in place of a secret.
func TestAssertions(t *testing.T) {
	i, now := withUsers()
	key := newKey(ES256).private.(*ecdsa.PrivateKey)
	i.AddClient(Client{ID: "keyed", Key: &key.PublicKey, Scopes: []string{"upstream:read"}})
	i.AddClient(Client{ID: "sidecar", Secret: "p@ss word"})
	n := 0
	sign := func(change func(jwt.MapClaims)) string {
		n++
		claims := jwt.MapClaims{"iss": "keyed", "sub": "keyed", "aud": testURL, "exp": now.Add(time.Minute).Unix(), "jti": fmt.Sprint(n)}
		if change != nil {
			change(claims)
		}
		token, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	set := func(name string, v any) func(jwt.MapClaims) { return func(c jwt.MapClaims) { c[name] = v } }
	without := func(name string) func(jwt.MapClaims) { return func(c jwt.MapClaims) { delete(c, name) } }
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": "keyed", "sub": "keyed", "aud": testURL, "exp": now.Add(time.Minute).Unix(), "jti": "x"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	used := sign(nil)
	for _, row := range []struct {
		name, assertion string
		more            []string
		status          int
	}{
		{"good", used, nil, 200},
		{"for the token endpoint, with client_id", sign(set("aud", testURL+tokenPath)), []string{"client_id", "keyed"}, 200},
		{"used before", used, nil, 401},
		{"of another client", sign(nil), []string{"client_id", "sidecar"}, 401},
		{"in another's name", sign(set("sub", "sidecar")), nil, 401},
		{"by another issuer", sign(set("iss", "sidecar")), nil, 401},
		{"for another server", sign(set("aud", "https://other.example")), nil, 401},
		{"expired", sign(set("exp", now.Add(-time.Second).Unix())), nil, 401},
		{"without an end", sign(without("exp")), nil, 401},
		{"for too long", sign(set("exp", now.Add(maxAssertion+time.Second).Unix())), nil, 401},
		{"without an id", sign(without("jti")), nil, 401},
		{"unsigned", unsigned, nil, 401},
		{"no JWT", "x", nil, 401},
		{"with a secret too", sign(nil), []string{"client_secret", "p@ss word"}, 400},
	} {
		form := pairs(append([]string{"grant_type", grantCredentials, "resource", resource, "client_assertion_type", assertionType, "client_assertion", row.assertion}, row.more...)...)
		if resp, answer := post(t, i, tokenPath, "", "", form); resp.StatusCode != row.status {
			t.Errorf("%s: %d %v", row.name, resp.StatusCode, answer)
		}
	}
	form := pairs("grant_type", grantCredentials, "resource", resource)
	form.Set("client_id", "keyed")
	if resp, _ := post(t, i, tokenPath, "", "", form); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without an assertion: %d", resp.StatusCode)
	}
	form.Set("client_assertion", sign(nil))
	if resp, _ := post(t, i, tokenPath, "", "", form); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without its type: %d", resp.StatusCode)
	}
	*now = now.Add(maxAssertion)
	form.Set("client_assertion", sign(nil))
	form.Set("client_assertion_type", assertionType)
	if resp, _ := post(t, i, tokenPath, "", "", form); resp.StatusCode != http.StatusOK || len(i.assertions) != 1 {
		t.Errorf("later: %d, %d assertions remembered", resp.StatusCode, len(i.assertions))
	}
}
