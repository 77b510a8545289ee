package sidecar

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/proxy/config"
)

const boundedTools = `
  docs/read_document: { resource: document, action: read, args: { id: { min: 1, max: 100, required: true }, path: { prefix: [/reports/], max_length: 40 }, name: { pattern: "[a-z]+" }, db: { hosts: ["*.internal.example"] }, url: { ssrf: {}, prefix: ["https://example.com/"] } } }
`

// What a role may do is bounded by the arguments: a call that breaks a bound is refused
// whoever makes it, reaches no server, and the tool is listed all the same, since other
// arguments are allowed.
func TestArgumentRules(t *testing.T) {
	t.Parallel()
	s := setup{inventory: demoInventory, upstream: toolsResult("", demoInventory), tools: boundedTools}
	r := start(t, s)
	for _, row := range []struct{ name, args, rule, says string }{
		{"nothing but what must be", `{"id":1}`, "", ""},
		{"everything in its bounds", `{"id":100,"path":"/reports/a","name":"abc","db":"a.internal.example","url":"https://example.com/x"}`, "", ""},
		{"absent", `{}`, "required", "id must be given"},
		{"no arguments", ``, "required", "id must be given"},
		{"too large", `{"id":101}`, "range", "id must be at most 100"},
		{"too large by a hair", `{"id":100.00000000000000000001}`, "range", "id must be at most 100"},
		{"written with an exponent", `{"id":1e3}`, "range", "id must be at most 100"},
		{"too small", `{"id":0}`, "range", "id must be at least 1"},
		{"a string", `{"id":"1"}`, "wrong-type", "id must be a number"},
		{"null", `{"id":null}`, "wrong-type", "id must be a number"},
		{"a list", `{"id":[1]}`, "wrong-type", "id must be a number"},
		{"upwards", `{"id":1,"path":"/reports/../etc"}`, "prefix", "path must begin with /reports/, and stay there"},
		{"upwards, escaped in JSON", `{"id":1,"path":"/reports/\u002e\u002e/etc"}`, "prefix", "path must begin with /reports/, and stay there"},
		{"long", `{"id":1,"path":"/reports/` + strings.Repeat("a", 40) + `"}`, "length", "path must have at most 40 characters"},
		{"a second line", `{"id":1,"name":"abc\nrm"}`, "pattern", "name does not match the pattern that the operator has set"},
		{"another host", `{"id":1,"db":"internal.example"}`, "host", "db must be one of the hosts *.internal.example"},
		{"another URL", `{"id":1,"url":"https://other.example/x"}`, "prefix", "url must begin with https://example.com/, and stay there"},
		{"another spelling", `{"id":1,"PATH":"/etc"}`, "ambiguous-argument", "an argument name differs from path only in case or invisible characters"},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+" "+rev, func(t *testing.T) {
				r.records()
				touched := r.touched()
				g := r.do(toolCall(rev, r.token("carol"), "7", "read_document", row.args))
				e := r.outcome()
				if row.rule == "" {
					if g.status != http.StatusOK || e.Outcome != "allowed" || r.touched() == touched {
						t.Errorf("%d %s %+v", g.status, g.body, e)
					}
					return
				}
				if g.status != http.StatusOK || !strings.Contains(string(g.body), `"isError":true`) || !strings.Contains(string(g.body), "blocked by argument rule: "+row.says+`"`) {
					t.Errorf("%d %s", g.status, g.body)
				}
				if e.Stage != "inspect-input" || e.Outcome != "blocked" || e.Guard != "argument" || e.Rule != row.rule || r.touched() != touched {
					t.Errorf("%+v, %d requests reached the server", e, r.touched()-touched)
				}
			})
		}
	}
	for _, rev := range bothRevisions {
		if got := r.listed(rev, "carol"); !slices.Contains(got, "read_document") {
			t.Errorf("%s lists %q", rev, got)
		}
	}
	t.Run("who has no role is told of that alone", func(t *testing.T) {
		r.records()
		r.do(toolCall(modern, r.token("dave documents:read"), "7", "read_document", `{"id":101}`))
		if e := r.outcome(); e.Outcome != "not_authorized" || e.Reason != "role" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("observed", func(t *testing.T) {
		s := s
		s.change = func(c *config.Config) {
			tool := c.Tools["docs/read_document"]
			tool.Guards.Argument = config.ModeObserve
			c.Tools["docs/read_document"] = tool
		}
		r := start(t, s)
		r.do(toolCall(modern, r.token("carol"), "7", "read_document", `{"id":101}`))
		if e := r.outcome(); e.Outcome != "allowed" || !slices.Contains(e.Would, "argument: range") {
			t.Errorf("%+v", e)
		}
	})
}
