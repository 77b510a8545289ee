package identity

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestMetadataLocations(t *testing.T) {
	for issuer, want := range map[string][]string{
		"https://idp.example":             {"https://idp.example/.well-known/oauth-authorization-server", "https://idp.example/.well-known/openid-configuration"},
		"https://idp.example/":            {"https://idp.example/.well-known/oauth-authorization-server", "https://idp.example/.well-known/openid-configuration"},
		"https://idp.example:8443/a/b%2F": {"https://idp.example:8443/.well-known/oauth-authorization-server/a/b%2F", "https://idp.example:8443/.well-known/openid-configuration/a/b%2F", "https://idp.example:8443/a/b%2F/.well-known/openid-configuration"},
	} {
		if got := metadataLocations(issuer); !slices.Equal(got, want) {
			t.Errorf("%s: %q", issuer, got)
		}
	}
}

// Keys are believed only where the issuer's own metadata says that they are, on a
// host that the configuration names.
func TestDiscovery(t *testing.T) {
	const tenant = testIssuer + "/tenant"
	c := &stopped{now: begin}
	keys := text(change{"keys": []any{ecKey().jwk(nil)}})
	good := `{"issuer":"` + tenant + `","jwks_uri":"https://idp.example/tenant/keys"}`
	const first, second, third = "/.well-known/oauth-authorization-server/tenant", "/.well-known/openid-configuration/tenant", "/tenant/.well-known/openid-configuration"
	type page struct {
		status      int
		media, body string
	}
	found := func(body string) page { return page{200, "application/json", body} }
	for _, row := range []struct {
		name  string
		pages map[string]page
		asked []string
		err   string // in the log; empty: the token passes
	}{
		{"RFC 8414", map[string]page{first: found(good)}, []string{first, "/tenant/keys"}, ""},
		{"OpenID Connect at the place of RFC 8414", map[string]page{second: found(good)}, []string{first, second, "/tenant/keys"}, ""},
		{"OpenID Connect", map[string]page{third: found(good)}, []string{first, second, third, "/tenant/keys"}, ""},
		{"a page for people at the first place", map[string]page{first: {200, "text/html", "<html>"}, second: found(good)}, []string{first, second, "/tenant/keys"}, ""},
		{"metadata in a page for people at the first place", map[string]page{first: {200, "text/html", good}, second: found(good)}, []string{first, second, "/tenant/keys"}, ""},
		{"a redirect at the first place", map[string]page{first: {302, "text/html", ""}, second: found(good)}, []string{first, second, "/tenant/keys"}, ""},
		{"a list at the first place", map[string]page{first: found("[]"), second: found(good)}, []string{first, second, "/tenant/keys"}, ""},
		{"none", nil, []string{first, second, third}, "publishes no metadata"},
		{"another issuer", map[string]page{first: found(strings.Replace(good, tenant, "https://evil.example", 1)), second: found(good)}, []string{first}, "issuer \\\"https://evil.example\\\""},
		{"issuer without the tenant", map[string]page{first: found(strings.Replace(good, tenant, testIssuer, 1))}, []string{first}, "metadata is that of"},
		{"issuer with a slash", map[string]page{first: found(strings.Replace(good, tenant, tenant+"/", 1))}, []string{first}, "metadata is that of"},
		{"no issuer", map[string]page{first: found(`{"jwks_uri":"https://idp.example/tenant/keys"}`)}, []string{first}, "metadata is that of"},
		{"issuer twice", map[string]page{first: found(`{"issuer":"https://evil.example",` + good[1:])}, []string{first, second, third}, "publishes no metadata"},
		{"no keys", map[string]page{first: found(`{"issuer":"` + tenant + `"}`)}, []string{first}, "names no keys"},
		{"keys elsewhere", map[string]page{first: found(strings.Replace(good, "https://idp.example/tenant/keys", "https://evil.example/keys", 1))}, []string{first}, "configure jwks_url"},
		{"keys in the clear", map[string]page{first: found(strings.Replace(good, "https://idp.example/tenant/keys", "http://idp.example/keys", 1))}, []string{first}, "configure jwks_url"},
		{"keys at a port of their own", map[string]page{first: found(strings.Replace(good, "https://idp.example/tenant/keys", "https://idp.example:8443/keys", 1))}, []string{first}, "configure jwks_url"},
		{"keys in a file", map[string]page{first: found(strings.Replace(good, "https://idp.example/tenant/keys", "file:///etc/keys", 1))}, []string{first}, "configure jwks_url"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var asked []string
			server := roundTrip(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.URL.Path)
				if r.URL.Path == "/tenant/keys" {
					return response(r, 200, "application/jwk-set+json", keys), nil
				}
				if p, ok := row.pages[r.URL.Path]; ok {
					return response(r, p.status, p.media, p.body), nil
				}
				return response(r, 404, "application/json", "{}"), nil
			})
			log := &logged{}
			v := only(signedBy(t, server, c.Now, func(o *JWTOptions) { o.Issuer, o.KeysURL, o.Log = tenant, "", log.logger() }))
			_, err := v.Authenticate(t.Context(), NewSecret(ecKey().mint(nil, change{"iss": tenant})))
			if row.err == "" && err != nil || row.err != "" && !errors.Is(err, ErrUnavailable) || !slices.Equal(asked, row.asked) {
				t.Errorf("%v, asked %q", err, asked)
			}
			v.JWT[0].keys.busy.Wait()
			if text := log.String(); !strings.Contains(text, row.err) {
				t.Errorf("log %s, want %q", text, row.err)
			}
		})
	}
}

// A host that does not answer is not asked at every place that metadata may have.
func TestDiscoveryOfNobody(t *testing.T) {
	c := &stopped{now: begin}
	asked := 0
	server := roundTrip(func(*http.Request) (*http.Response, error) { asked++; return nil, errors.New("refused") })
	v := only(signedBy(t, server, c.Now, func(o *JWTOptions) { o.KeysURL = "" }))
	if err := pass(t, v, ecKey(), begin); !errors.Is(err, ErrUnavailable) || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}
