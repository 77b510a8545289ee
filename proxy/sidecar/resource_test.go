package sidecar

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// What a login asks for is what the configuration says, where it says something.
func TestConfiguredFirstScopes(t *testing.T) {
	t.Parallel()
	hidden := start(t, setup{tools: `
  docs/read_document:   { resource: document, action: read, scopes: ["documents:read", "documents:list"] }
  docs/render_document: { resource: document, action: read, scopes: ["documents:read"] }
  docs/secret_tool:     { resource: document, action: read, scopes: ["secret:read"], hide: true }
`})
	none := start(t, setup{tools: "\n  docs/update_document: { resource: document, action: update, scopes: [\"documents:update\"] }\n"})
	said := start(t, setup{change: func(c *config.Config) { c.Auth.ScopesSupported = []string{"openid", "documents:update"} }})
	for _, row := range []struct {
		name string
		rig  *rig
		want string
	}{
		{"hidden tools", hidden, `"scopes_supported":["documents:list","documents:read"],`},
		{"nothing reads", none, `"authorization_servers":["` + none.issuerURL + `"],"bearer_methods_supported"`},
		{"configured", said, `"scopes_supported":["openid","documents:update"],`},
	} {
		g := row.rig.do(ask{method: http.MethodGet, path: "/.well-known/oauth-protected-resource/mcp", header: http.Header{}})
		if !strings.Contains(string(g.body), row.want) {
			t.Errorf("%s: %s lacks %s", row.name, g.body, row.want)
		}
	}
}

// forAddress is s without a name for all endpoints: tokens have to be meant for the
// address of the one they are shown to.
func forAddress(s setup) setup {
	s.extra += "public_url: https://sidecar.example\n"
	s.change = func(c *config.Config) { c.Auth.Audience = nil }
	return s
}

// What a token is meant for is the address byte by byte: nothing that looks like it,
// begins like it or leads to it.
func TestAudienceIsTheAddress(t *testing.T) {
	t.Parallel()
	r := start(t, forAddress(setup{inventory: demoInventory}))
	var rows []denial
	for _, audience := range []string{
		"https://sidecar.example", "https://sidecar.example/", "https://sidecar.example/mcp/", "https://sidecar.example/mcp/x", "https://sidecar.example/mc", "https://sidecar.example//mcp",
		"https://sidecar.example/MCP", "https://sidecar.example/mcp?x", "https://sidecar.example/mcp#x", "https://sidecar.example/%6dcp", "https://SIDECAR.example/mcp", "HTTPS://sidecar.example/mcp",
		"http://sidecar.example/mcp", "https://sidecar.example:443/mcp", "https://sidecar.example./mcp", "sidecar.example/mcp", "https://sidecar.example.attacker.example/mcp", "https://attacker.example/mcp",
		"doc-server", r.base + "/mcp", "*",
	} {
		rows = append(rows, denial{name: audience, ask: minted(issuer.Claims{Subject: "alice", Audience: audience}),
			refusal: unauthorized(fmt.Sprintf(`token audience %q is not accepted (expected "https://sidecar.example/mcp")`, audience), "token audience is not accepted")})
	}
	for _, d := range rows {
		for _, rev := range bothRevisions {
			t.Run(d.name+"/"+rev, func(t *testing.T) { r.denied(t, d, rev, "1") })
		}
	}
	r.up.answerWith(text("done"))
	for _, rev := range bothRevisions {
		token := r.mint("meant"+rev, issuer.Claims{Subject: "alice", Audience: "https://sidecar.example/mcp", Scopes: allScopes})
		if g := r.do(toolCall(rev, token, "1", "read_document", `{"id":1}`)); g.status != http.StatusOK {
			t.Errorf("a token that is meant for it: %d %s", g.status, g.body)
		}
	}
	var out bytes.Buffer
	r.sidecar.Summary(&out)
	if want := "bearer tokens for https://sidecar.example/mcp, "; !strings.Contains(out.String(), want) {
		t.Errorf("summary lacks %q:\n%s", want, &out)
	}
}

// A token for one of several endpoints is none for the others, whichever has seen it
// first.
func TestAudienceOfSeveral(t *testing.T) {
	t.Parallel()
	t.Run("introspected", func(t *testing.T) {
		r := start(t, forAddress(together(text("done"), text("done"))))
		r.keepsAudiencesApart(t, r.mint)
	})
	t.Run("signed", func(t *testing.T) {
		s := forAddress(together(text("done"), text("done")))
		s.change = func(c *config.Config) {
			c.Auth.Audience = nil
			signedOnly(c)
		}
		r := start(t, s)
		r.keepsAudiencesApart(t, func(name string, c issuer.Claims) string {
			c.ClientID, c.Expiry = "cli", r.clock.Now().Add(time.Hour)
			r.tokens[name] = r.issuer.MintJWT(c)
			return r.tokens[name]
		})
	})
}

func (r *rig) keepsAudiencesApart(t *testing.T, mint func(name string, c issuer.Claims) string) {
	t.Helper()
	calls := map[string]func(rev, token, id string) ask{
		"/mcp":      func(rev, token, id string) ask { return toolCall(rev, token, id, "docs.read", `{}`) },
		"/docs/mcp": func(rev, token, id string) ask { return toolCall(rev, token, id, "read", `{}`).at("docs") },
		"/fs/mcp":   func(rev, token, id string) ask { return toolCall(rev, token, id, "read", `{}`).at("fs") },
	}
	for audience := range calls {
		for path, call := range calls {
			for _, rev := range bothRevisions {
				t.Run(audience+" at "+path+"/"+rev, func(t *testing.T) {
					token := mint(audience, issuer.Claims{Subject: "alice", Audience: "https://sidecar.example" + audience, Scopes: []string{"documents:read", "files:read"}})
					if audience == path {
						if g := r.do(call(rev, token, "1")); g.status != http.StatusOK || !strings.Contains(string(g.body), "done") {
							t.Errorf("%d %s", g.status, g.body)
						}
						return
					}
					r.denied(t, denial{ask: func(_ *rig, rev, id string) ask { return call(rev, token, id) }, refusal: unauthorized(
						fmt.Sprintf(`token audience "https://sidecar.example%s" is not accepted (expected "https://sidecar.example%s")`, audience, path), "token audience is not accepted")}, rev, "1")
					// Once more with a token that its own endpoint has let in.
					r.do(calls[audience](rev, token, "1"))
					if g := r.do(call(rev, token, "1")); g.status != http.StatusUnauthorized {
						t.Errorf("after it was used where it belongs: %d %s", g.status, g.body)
					}
				})
			}
		}
	}
	foreign := mint("foreign", issuer.Claims{Subject: "alice", Audience: "https://other.example/mcp"})
	r.denied(t, denial{ask: func(_ *rig, rev, id string) ask { return calls["/fs/mcp"](rev, foreign, id) },
		refusal: unauthorized(`token audience "https://other.example/mcp" is not accepted (expected "https://sidecar.example/fs/mcp")`, "token audience is not accepted")}, modern, "1")
}

// A broader scope that includes narrower ones is enough, and not the other way round.
func TestScopeHierarchy(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, change: func(c *config.Config) {
		c.Auth.ScopeIncludes = map[string][]string{"documents.write": {"documents:update", "documents.read"}, "documents.read": {"documents:read"}}
	}})
	for _, d := range []denial{
		{name: "narrower", ask: calls("alice documents.read", "update_document", `{"id":1}`), refusal: scopes(`"documents:update"`, "documents:update")},
		{name: "not included", ask: calls("alice documents.write", "delete_document", `{"id":1,"confirm":true}`), refusal: scopes(`"documents:delete"`, "documents:delete")},
		{name: "one of several", ask: calls("alice documents.write", "move_document", `{}`), refusal: scopes(`"documents:move"`, "documents:read documents:update documents:move")},
		{name: "longer name", ask: calls("alice documents.writes", "update_document", `{"id":1}`), refusal: scopes(`"documents:update"`, "documents:update")},
	} {
		for _, rev := range bothRevisions {
			t.Run(d.name+"/"+rev, func(t *testing.T) { r.denied(t, d, rev, "1") })
		}
	}
	r.up.answerWith(text("done"))
	for _, row := range []struct{ scope, tool string }{{"documents.write", "update_document"}, {"documents.write", "read_document"}, {"documents.read", "read_document"}, {"documents:*", "update_document"}} {
		if g := r.do(toolCall(modern, r.token("alice "+row.scope), "1", row.tool, `{"id":1}`)); g.status != http.StatusOK {
			t.Errorf("%s with %s: %d %s", row.tool, row.scope, g.status, g.body)
		}
	}
}
