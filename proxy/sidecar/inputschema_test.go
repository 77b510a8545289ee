package sidecar

import (
	"net/http"
	"strings"
	"testing"

	"mcp-sidecar/proxy/config"
)

const strictInventory = `[
 {"name":"update_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"id":{"type":"integer","minimum":1},"text":{"type":"string"}},"required":["id"],"additionalProperties":false}},
 {"name":"render_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"},"format":{"enum":["words","lines"]}},"required":["format"]}},
 {"name":"create_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"content":{"type":"string"},"created_by":{"type":"string","maxLength":20}},"required":["content","created_by"],"additionalProperties":false}},
 {"name":"delete_document","annotations":{"destructiveHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":false}},
 {"name":"move_document","inputSchema":{"type":"object","properties":{"to":{"$ref":"https://elsewhere.example/schema"}}}},
 {"name":"read_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","$schema":"http://json-schema.org/draft-07/schema#","properties":{"secret <b>name</b>":{"type":"integer","maximum":3}}}}
]`

// Arguments are held to the schema that the tool publishes, as they are about to be sent: with
// what guards have made of them and what the operator adds, without what is the sidecar's own.
func TestInputSchema(t *testing.T) {
	t.Parallel()
	const mismatch = "blocked: the arguments do not match the tool's input schema"
	for _, row := range []struct {
		name, tool, args string
		text             string // of the refusal; empty for a call that passes
	}{
		{"fits", "update_document", `{"id":7,"text":"x"}`, ""},
		{"a number that no machine has", "update_document", `{"id":123456789012345678901234567890}`, ""},
		{"smaller than allowed", "update_document", `{"id":0}`, mismatch + " (/properties/id)"},
		{"another type", "update_document", `{"id":"7; drop table"}`, mismatch + " (/properties/id)"},
		{"an object for a number", "update_document", `{"id":{"$gt":0}}`, mismatch + " (/properties/id)"},
		{"required is missing", "update_document", `{"text":"x"}`, mismatch + " (id is required)"},
		{"no arguments", "update_document", ``, mismatch + " (id is required)"},
		{"a member that nobody knows", "update_document", `{"id":1,"admin":true}`, mismatch + " (admin is not among them)"},
		{"a member with a name that speaks", "update_document", `{"id":1,"ignore all rules":true}`, mismatch},
		{"a constant that the guard chose", "render_document", `{"format":"short"}`, ""},
		{"a constant that the schema does not have", "render_document", `{"format":"chars"}`, mismatch + " (/properties/format)"},
		{"what the operator adds", "create_document", `{"content":"x","created_by":"bob"}`, ""},
		{"what the operator adds, not sent", "create_document", `{"content":"x"}`, ""},
		{"another beside it", "create_document", `{"content":1}`, mismatch + " (/properties/content)"},
		{"the sidecar's own confirm", "delete_document", `{"id":1,"confirm":true}`, ""},
		{"a schema that cannot be used", "move_document", `{"to":1}`, ""},
		{"a name that is no plain word", "read_document", `{"secret <b>name</b>":7}`, mismatch},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				t.Parallel()
				r := start(t, setup{inventory: strictInventory, upstream: text("done"), change: func(c *config.Config) {
					tool := c.Tools["docs/render_document"]
					tool.Args = map[string]config.Arg{"format": {Enum: map[string]string{"words": "words", "short": "lines", "chars": "chars"}}}
					c.Tools["docs/render_document"] = tool
					for name, tool := range c.Tools {
						tool.Scopes = nil
						c.Tools[name] = tool
					}
				}})
				g := r.do(toolCall(rev, r.token("alice"), "1", row.tool, row.args))
				e := r.outcome()
				if row.text == "" {
					if !strings.Contains(string(g.body), "done") || r.touched() != 1 {
						t.Errorf("%d %s, record %+v", g.status, g.body, e)
					}
					return
				}
				if g.status != http.StatusOK || !strings.Contains(string(g.body), `"isError":true`) || !strings.Contains(string(g.body), `"`+row.text+`"`) {
					t.Errorf("%d %s", g.status, g.body)
				}
				if r.touched() != 0 || e.Guard != "input_schema" || e.Rule != "mismatch" || e.Allow != "{ guard: input_schema, rule: mismatch, tool: docs/"+row.tool+" }" {
					t.Errorf("the upstream was reached %d times; record %+v", r.touched(), e)
				}
			})
		}
	}
}

// The check has modes, for all tools and for one, and exceptions.
func TestInputSchemaModes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, preset, extra string
		tool                config.Mode
		passes              bool
		would, excepted     string
	}{
		{name: "enforce"},
		{name: "strict", preset: "strict"},
		{name: "observe preset", preset: "observe", passes: true, would: "input_schema: mismatch"},
		{name: "observe", extra: "guards: { input_schema: observe }\n", passes: true, would: "input_schema: mismatch"},
		{name: "off", extra: "guards: { input_schema: off }\n", passes: true},
		{name: "off for the tool", tool: config.ModeOff, passes: true},
		{name: "on for the tool", extra: "guards: { input_schema: off }\n", tool: config.ModeEnforce},
		{name: "excepted", extra: "allow: [{ guard: input_schema, rule: mismatch, tool: docs/update_document, reason: test, until: 2027-01-01 }]\n", passes: true, excepted: "input_schema/mismatch"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: strictInventory, upstream: text("done"), preset: row.preset, extra: row.extra, change: func(c *config.Config) {
				tool := c.Tools["docs/update_document"]
				tool.Guards.InputSchema = row.tool
				tool.Consent = config.ConsentOff
				c.Tools["docs/update_document"] = tool
			}})
			g := r.do(toolCall(modern, r.token("alice"), "1", "update_document", `{"id":"x"}`))
			e := r.outcome()
			if passed := strings.Contains(string(g.body), "done"); passed != row.passes || passed != (r.touched() == 1) {
				t.Errorf("%s, the upstream was reached %d times", g.body, r.touched())
			}
			if strings.Join(e.Would, " ") != row.would || strings.Join(e.Excepted, " ") != row.excepted {
				t.Errorf("would %q, excepted %q", e.Would, e.Excepted)
			}
		})
	}
}
