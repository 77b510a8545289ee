package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each smell has a policy that has it and nothing else, and one that only looks so.
func TestLint(t *testing.T) {
	base := LintInput{
		Servers: []string{"docs"},
		Tools: []LintTool{
			{Name: "docs/read", Entry: Entry{Permission: Permission{"document", "read"}, Scopes: []string{"documents:read"}}, Args: []string{"id"}},
			{Name: "docs/count", Entry: Entry{Permission: Permission{"docs/count", "call"}}},
		},
	}
	for _, row := range []struct {
		name   string
		policy string
		change func(*LintInput)
		want   string // RULE:LINE or RULE:KEY, in order
	}{
		{"nothing", "p, role:a, document, read\ng, user:x, role:a", nil, ""},
		{"everything", "p, role:a, *, *\ng, user:x, role:a", nil, ""},

		{"nobody has the role", "p, role:a, document, read\np, user:x, document, read", nil, "role-without-members:1"},
		{"only another role has it", "p, role:a, document, read\ng, role:b, role:a", nil, "role-without-members:1"},
		{"a role of a role", "p, role:a, document, read\ng, role:b, role:a\ng, user:x, role:b", nil, ""},
		{"the configuration gives it", "p, role:a, document, read", func(in *LintInput) { in.Given = map[string][]string{"user:x": {"role:a"}} }, ""},
		{"a claim gives it", "p, role:a, document, read", func(in *LintInput) { in.Roles = []string{"role:a"} }, ""},
		{"a file may give it", "p, role:a, document, read", func(in *LintInput) { in.Anyones = true }, ""},

		{"a role that allows nothing", "p, user:x, document, read\ng, user:x, role:b", nil, "role-without-rows:2"},
		{"a role whose role allows something", "p, role:a, document, read\ng, user:x, role:b\ng, role:b, role:a", nil, ""},

		{"denied by the same subject", "p, user:x, document, read\np, user:x, document, *, deny", nil, "denied-anyway:1"},
		{"denied by a role that it has", "p, role:b, document, read\np, role:a, *, read, deny\ng, role:b, role:a\ng, user:x, role:b", nil, "denied-anyway:1"},
		{"denied to others", "p, role:b, document, read\np, role:a, document, read, deny\ng, user:x, role:b\ng, user:y, role:a", nil, ""},
		{"denied in part", "p, user:x, docs/*, *\np, user:x, docs/count, call, deny", nil, ""},
		{"denied elsewhere", "p, user:x, docs/count, call\np, user:x, docs/other, call, deny", nil, ""},
		{"allowed by another row", "p, user:x, document, *\np, user:x, document, read", nil, "covered:2"},
		{"denied by another row", "p, user:x, docs/*, *, deny\np, user:x, docs/count, call, deny", nil, "covered:2"},
		{"allowed to a role as well", "p, role:a, document, *\np, user:x, document, read\ng, user:x, role:a", nil, ""},

		{"nothing acts on it", "p, user:x, dokument, read", nil, "unused-object:1"},
		{"a group", "p, user:x, reports, read\ng2, docs/report, reports", nil, ""},
		{"a group that a tool's resource is in", "p, user:x, all, read\ng2, document, all", nil, ""},
		{"nobody does it", "p, user:x, document, write", nil, "unused-action:1"},
		{"what is one's own", "p, user:x, document, read:own\np, role:a, document, read:any\ng, user:y, role:a", func(in *LintInput) {
			in.Tools = []LintTool{{Name: "docs/read", Entry: Entry{Permission: Permission{"document", "read"}}, Owned: true}}
		}, ""},
		{"whose it is makes no difference", "p, user:x, document, read:own", nil, "unused-action:1"},
		{"it makes one", "p, user:x, document, read", func(in *LintInput) {
			in.Tools = []LintTool{{Name: "docs/read", Entry: Entry{Permission: Permission{"document", "read"}}, Owned: true}}
		}, "unused-action:1"},
		{"nobody does it to a tool", "p, user:x, docs/count, read", nil, "unused-action:1"},
		{"a tool without entry", "p, user:x, docs/other, call", nil, ""},
		{"a resource", "p, user:x, docs/resource:memo://a, read", nil, ""},
		{"no such server", "p, user:x, dosc/*, *", nil, "unknown-server:1"},
		{"a group about which there is no row", "p, user:x, document, read\ng2, docs/count, counters", nil, "empty-group:2"},
		{"a group in a group", "p, user:x, all, *\ng2, docs/count, counters\ng2, counters, all", nil, ""},

		{"a scope that no token has", "p, user:x, document, read", func(in *LintInput) { in.Granted = []string{"documents:write"} }, "ungranted-scope:tools.docs/read.scopes"},
		{"a scope that a broader one includes", "p, user:x, document, read", func(in *LintInput) { in.Granted = []string{"documents:*"} }, ""},
		{"a tool that is not listed", "p, user:x, document, read", func(in *LintInput) {
			in.Listed = map[string]map[string][]string{"docs": {"read": {"id"}}}
		}, "unknown-tool:tools.docs/count"},
		{"an argument that is not taken", "p, user:x, document, read", func(in *LintInput) {
			in.Listed = map[string]map[string][]string{"docs": {"read": {"name"}, "count": nil}}
		}, "unknown-argument:tools.docs/read.args.id"},
		{"a tool that takes any", "p, user:x, document, read", func(in *LintInput) {
			in.Listed = map[string]map[string][]string{"docs": {"read": nil, "count": nil}}
		}, ""},
		{"a circle of roles and groups", "p, role:a, x, *\ng, role:a, role:b\ng, role:b, role:a\ng, user:x, role:a\ng2, x, y\ng2, y, x", nil, ""},
	} {
		in := base
		rows, err := ParseRows("p.csv", []byte(row.policy))
		if err != nil {
			t.Fatal(err)
		}
		in.Rows = Rows{Name: "p.csv", Rows: rows}
		if row.change != nil {
			row.change(&in)
		}
		var got []string
		for _, s := range Lint(in) {
			got = append(got, s.Rule+":"+strings.TrimPrefix(s.Place(), "p.csv:"))
			if s.Text == "" || s.Cure == "" {
				t.Errorf("%s: %+v", row.name, s)
			}
		}
		if want := strings.Fields(row.want); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", row.name, got, want)
		}
	}
}

// Of what a server chose to list, a person is told as much as he reads.
func TestLintRepeatsLittle(t *testing.T) {
	many := map[string][]string{}
	for i := range 30 {
		many[fmt.Sprintf("t%02d%s", i, strings.Repeat("é", 4096))] = nil
	}
	got := LintListed([]LintTool{{Name: "docs/x"}}, map[string]map[string][]string{"docs": many})
	if len(got) != 1 || len(got[0].Cure) > 20*130+80 || !strings.HasSuffix(got[0].Cure, " and 10 more") || !utf8.ValidString(got[0].Cure) {
		t.Errorf("%+v", got)
	}
}
