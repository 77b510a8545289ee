package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
)

// listKind is a method that lists features, and how an entry is written.
type listKind struct{ method, member, id, source, object, action string }

var listKinds = []listKind{
	{"tools/list", "tools", "name", "tool:", "docs/", "call"},
	{"resources/list", "resources", "uri", "resource:", "docs/resource:", "read"},
	{"resources/templates/list", "resourceTemplates", "uriTemplate", "template:", "docs/resource:", "read"},
	{"prompts/list", "prompts", "name", "prompt:", "docs/prompt:", "get"},
}

func (k listKind) entry(name, members string) string {
	return `{"` + k.id + `":"` + name + `"` + members + `}`
}

func (k listKind) result(entries ...string) string {
	return `{ "` + k.member + `" : [` + strings.Join(entries, ",") + `],"nextCursor":"` + awsKey + `"}`
}

// A list shows what a request of its caller would be let through for.
func TestListsAreFiltered(t *testing.T) {
	for _, k := range listKinds {
		asked := map[policy.Permission]bool{}
		p := inspector(t, func(o *Options) {
			o.Policy = always(authorizerFunc(func(subject string, q policy.Permission) policy.Decision {
				asked[q] = subject == "user:alice"
				return policy.Decision{Allowed: !strings.Contains(q.Object, "secret")}
			}))
		})
		a, b, c := k.entry("x:a", ""), k.entry("x:secret", `,"description":"KEY"`), k.entry("x:c", `,"x":1.0`)
		for _, era := range []Era{Legacy, Modern} {
			want := k.result(a, c)
			if era == Modern {
				want = strings.TrimSuffix(want, "}") + `,"cacheScope":"private"}`
			}
			t.Run(k.method, func(t *testing.T) {
				inspection{method: k.method, body: k.result(a, b, c), want: want}.run(t, p, "", era)
				inspection{method: k.method, body: k.result(a, c)}.run(t, p, "", era)
				inspection{method: k.method, body: k.result()}.run(t, p, "", era)
			})
		}
		for _, name := range []string{"x:a", "x:secret", "x:c"} {
			if !asked[policy.Permission{Object: k.object + name, Action: k.action}] {
				t.Errorf("%s: the policy was not asked about %s: %v", k.method, name, asked)
			}
		}
		// An entry without a name is nobody's to use.
		none := inspector(t, func(o *Options) { o.Policy = always(&policy.Engine{}) })
		inspection{method: k.method, body: k.result(`{}`, `"x"`, `{"`+k.id+`":7}`), want: k.result()}.run(t, none, "", Legacy)
		seen := inspector(t, func(o *Options) {
			o.Policy, o.Authorization, o.Passive, o.Modes = always(&policy.Engine{}), guards.Observe, true, map[string]guards.Mode{"secrets": guards.Observe}
		})
		inspection{method: k.method, body: k.result(a, b)}.run(t, seen, "", Modern)
	}
}

// What an entry says of itself is read like content.
func TestListsAreInspected(t *testing.T) {
	for _, k := range listKinds {
		for _, row := range []inspection{
			{name: "key", body: k.result(k.entry("a", `,"description":"KEY","title":"KEY","icons":[{"src":"KEY"}],"arguments":[{"name":"b","description":"KEY"}]`)),
				want: k.result(k.entry("a", `,"description":"RED","title":"RED","icons":[{"src":"RED"}],"arguments":[{"name":"b","description":"RED"}]`)), findings: "K"},
			{name: "order", body: k.result(k.entry("a", `,"description":"ORDER"`)), want: k.result(k.entry("a", `,"description":"«`+k.source+`a›ORDER»"`)), findings: "O"},
			{name: "member", body: k.result(k.entry("a", `,"KEY":1`)), rule: "secrets aws_access_key"},
			{name: "no list", body: `{"` + k.member + `":{"a":1}}`, rule: "malformed"},
			{name: "numbers", body: `{"` + k.member + `":[1]}`, rule: "malformed"},
			{name: "nothing", body: `{}`, rule: "malformed"},
			{name: "ten entries", body: k.result(entries(k, 10, 100)...)},
			{name: "eleven entries", body: k.result(entries(k, 11, 100)...), rule: "tools"},
			{name: "large entry", body: k.result(entries(k, 1, 4096)...)},
			{name: "too large entry", body: k.result(entries(k, 1, 4097)...), rule: "tool-definition"},
		} {
			t.Run(row.name+"/"+k.method, func(t *testing.T) {
				row.method = k.method
				if row.want != "" {
					label := map[string]string{"K": awsLabel, "O": ordLabel}[row.findings]
					row.want = strings.TrimSuffix(row.want, "}") + `,"_meta":{"mcp-sidecar/findings":["` + label + `"]}}`
				}
				// The cursor of every list holds a key, which is nobody's business.
				row.body, row.want = strings.ReplaceAll(row.body, awsKey, "KEY"), strings.ReplaceAll(row.want, `"nextCursor":"RED"`, `"nextCursor":"KEY"`)
				row.run(t, inspector(t, nil), "", Legacy)
			})
		}
	}
}

func entries(k listKind, n, size int) []string {
	list := make([]string, n)
	for i := range list {
		e := k.entry(fmt.Sprintf("x:%d", i), `,"description":""`)
		list[i] = strings.Replace(e, `:""`, `:"`+strings.Repeat("x", size-len(e))+`"`, 1)
	}
	return list
}

// What is made for one caller does not come out of a shared cache for another.
func TestCacheScope(t *testing.T) {
	kinds := append([]listKind{{method: "resources/read", member: "contents", id: "uri"}}, listKinds...)
	for _, k := range kinds {
		shared := func(*Options) {}
		policy := func(o *Options) { o.PerCaller = true }
		delegated := func(o *Options) { o.Delegated = map[string]bool{"docs": true} }
		for _, row := range []struct {
			name, scope, want string
			set               func(*Options)
		}{
			{"public", `,"cacheScope":"public"`, `,"cacheScope":"public"`, shared},
			{"none", ``, ``, shared},
			{"something else", `,"cacheScope":"all"`, `,"cacheScope":"private"`, shared},
			{"public, of a policy", `,"cacheScope":"public"`, `,"cacheScope":"private"`, policy},
			{"none, of a policy", ``, `,"cacheScope":"private"`, policy},
			{"private, of a policy", `,"cacheScope":"private"`, `,"cacheScope":"private"`, policy},
			{"public, of a caller's credential", `,"cacheScope":"public"`, `,"cacheScope":"private"`, delegated},
			{"none, of a caller's credential", ``, `,"cacheScope":"private"`, delegated},
		} {
			t.Run(row.name+"/"+k.method, func(t *testing.T) {
				p := inspector(t, row.set)
				list := `{"` + k.member + `":[` + k.entry("x:a", "") + `]`
				inspection{method: k.method, body: list + row.scope + "}", want: list + row.want + "}"}.run(t, p, "", Modern)
				if row.scope == "" {
					inspection{method: k.method, body: list + "}"}.run(t, p, "", Legacy)
				}
			})
		}
	}
}

// structured is a call of a tool with an output schema.
func structured(t *testing.T, schema string) *Call {
	t.Helper()
	c := caller(t, "tools/call", "t", Modern)
	c.tool = toolInfo{known: true, output: newOutputSchema([]byte(schema))}
	return c
}

// sized is a value of n bytes.
func sized(n int) string { return `{"n":"` + strings.Repeat("x", n-len(`{"n":""}`)) + `"}` }

// Structured content is what its schema says, or it does not leave.
func TestOutputSchema(t *testing.T) {
	const schema = `{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string","maxLength":20}},"additionalProperties":false}`
	off, observe := map[string]guards.Mode{schemaGuard: guards.Off}, map[string]guards.Mode{schemaGuard: guards.Observe, "secrets": guards.Observe}
	for _, row := range []struct {
		name, schema, result, rule string
		modes                      map[string]guards.Mode
		would                      string
	}{
		{name: "fits", schema: schema, result: `{"content":[],"structuredContent":{"n":1,"s":"x"}}`},
		{name: "wrong type", schema: schema, result: `{"content":[],"structuredContent":{"n":"1"}}`, rule: "schema mismatch"},
		{name: "one member more", schema: schema, result: `{"content":[],"structuredContent":{"n":1,"next_action":"x"}}`, rule: "schema mismatch"},
		{name: "in a result that failed", schema: schema, result: `{"content":[],"structuredContent":{"n":"1"},"isError":true}`},
		{name: "without structured content", schema: schema, result: `{"content":[]}`},
		{name: "without a schema", result: `{"content":[],"structuredContent":{"n":"1"}}`},
		{name: "with a schema that cannot be used", schema: `{"$ref":"https://example.com/"}`, result: `{"content":[],"structuredContent":{"n":"1"}}`},
		{name: "with one that cannot be used, redacted", schema: `{"$ref":"https://example.com/"}`, result: words.Replace(`{"content":[],"structuredContent":{"n":"KEY"}}`), rule: "secrets schema"},
		{name: "no longer fits, redacted", schema: schema, result: words.Replace(`{"content":[],"structuredContent":{"s":"KEY"}}`), rule: "secrets schema"},
		{name: "as large as can be judged", schema: schema, result: `{"content":[],"structuredContent":` + sized(maxJudged) + `}`, rule: "schema mismatch"},
		{name: "too large to be judged", schema: schema, result: `{"content":[],"structuredContent":` + sized(maxJudged+1) + `}`},
		{name: "nobody looks", schema: schema, modes: off, result: `{"content":[],"structuredContent":{"n":"1"}}`},
		{name: "observed", schema: schema, modes: observe, result: `{"content":[],"structuredContent":{"n":"1"}}`, would: "schema: mismatch"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := inspector(t, func(o *Options) { o.Modes = row.modes })
			c := structured(t, row.schema)
			if row.schema == "" {
				c.tool.output = nil
			}
			for range 2 { // the second time the schema is compiled
				body := `{"jsonrpc":"2.0","id":1,"result":` + row.result + `}`
				got := inspectMessage(t, p, c, body)
				if got.rule != row.rule || row.rule == "" && got.body != body || strings.Join(got.would, " ") != row.would {
					t.Errorf("%+v, want %q", got, row.rule)
				}
			}
		})
	}
}

// A schema that makes the compiler panic fails its message, and the next alike.
func TestOutputSchemaPanics(t *testing.T) {
	compile := func([]byte) (func([]byte) (string, bool, error), error) { panic("a fault") }
	s := newOutputSchema([]byte(`{}`))
	func() {
		defer func() { _ = recover() }()
		_, _ = s.fits(compile, nil)
	}()
	if fits, err := s.fits(compile, nil); fits || err == nil {
		t.Errorf("%v, %v", fits, err)
	}
}
