package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

const expected = `version: 1
tests:
  - actor: carol
    tool: docs/delete_document
    args: { id: 9007199254740993, confirm: true, nested: [1, "two", null, { a: 1.50 }] }
    scopes: ["documents:*"]
    expect: deny
    reason: role
  - name: admins may delete
    actor: user:alice
    tool: delete_document
    args:
      confirm: true
    expect: allow
    rule: "role:admin, document"
  - { actor: dave, roles: [viewer], resource: document, action: read, expect: allow }
  - { actor: dave, resource: document, action: read, expect: deny }
  - { actor: alice, tool: docs/read_document, scopes: [], expect: deny, reason: scope }
  - { actor: erin, resource: document, action: update, expect: allow, rule: "policy.csv:4" }
`

func TestPolicyTest(t *testing.T) {
	bad := expected + `  - { actor: carol, resource: document, action: delete, expect: allow }
  - { actor: alice, tool: docs/delete_document, expect: deny, reason: role, rule: "no such" }
  - { name: of another server, actor: alice, tool: docs/read_document, expect: deny }
`
	dir := files(t, map[string]string{"good.yaml": expected, "bad.yaml": bad})
	in := func(name string) string { return filepath.Join(dir, name) }
	good := run(t, "policy", "test", "-c", offlineFile, in("good.yaml"))
	if good.code != ExitOK || good.out != "6 of 6 expectations met\n" || good.stderr != "" {
		t.Errorf("%+v", good)
	}
	got := run(t, "policy", "test", "-c", offlineFile, in("bad.yaml"))
	if got.code != ExitUnmet || !strings.Contains(got.stderr, "3 expectation(s) not met") {
		t.Errorf("%+v", got)
	}
	golden(t, "policy-test", strings.ReplaceAll(got.out, dir, "DIR"))
	got = run(t, "policy", "test", "-c", offlineFile, in("bad.yaml"), "--json")
	var report testReport
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != ExitUnmet || report.Tests != 9 || report.Failed != 3 || len(report.Results) != 9 {
		t.Errorf("%+v, %v", report, err)
	}
	if last := report.Results[8]; last.OK || last.Line == 0 || last.Got != "allow" || last.Name != "of another server (alice: docs/read_document)" {
		t.Errorf("%+v", last)
	}
}

// A file that cannot be read, or could be read in two ways, proves nothing.
func TestPolicyTestRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		says string
	}{
		"no tests":          {"version: 1\n", "asks nothing"},
		"an empty list":     {"version: 1\ntests: []\n", "asks nothing"},
		"another version":   {"version: 2\ntests: [{ actor: a, tool: x, expect: deny }]\n", "must be 1"},
		"an unknown key":    {"version: 1\ntests:\n  - { actor: a, tool: x, expects: deny }\n", "unknown key"},
		"no expectation":    {"version: 1\ntests: [{ actor: a, tool: x }]\n", "allow or deny"},
		"another answer":    {"version: 1\ntests: [{ actor: a, tool: x, expect: Deny }]\n", "allow or deny"},
		"nobody":            {"version: 1\ntests: [{ tool: x, expect: deny }]\n", "actor"},
		"about nothing":     {"version: 1\ntests: [{ actor: a, expect: deny }]\n", "resource and action"},
		"about two things":  {"version: 1\ntests: [{ actor: a, tool: x, resource: r, action: r, expect: deny }]\n", "excludes"},
		"scopes of no call": {"version: 1\ntests: [{ actor: a, resource: r, action: r, scopes: [a], expect: deny }]\n", "belong to a call"},
		"a reason to allow": {"version: 1\ntests: [{ actor: a, tool: x, expect: allow, reason: role }]\n", "expect: deny"},
		"a number":          {"version: 1\ntests: [{ actor: a, tool: x, expect: deny, args: { a: 0x10 } }]\n", "as in JSON"},
		"twice the same":    {"version: 1\ntests: [{ actor: a, tool: x, expect: deny, args: { a: 1, a: 2 } }]\n", "given twice"},
		"no mapping":        {"version: 1\ntests: [{ actor: a, tool: x, expect: deny, args: [1] }]\n", "mapping of argument names"},
		"an alias":          {"version: 1\ntests: [{ actor: a, tool: x, expect: deny, args: { a: &b 1 } }]\n", "anchors"},
	} {
		dir := files(t, map[string]string{"t.yaml": row.text})
		got := run(t, "policy", "test", "-c", offlineFile, filepath.Join(dir, "t.yaml"))
		if got.code != ExitConfig || got.out != "" || !strings.Contains(got.stderr, row.says) || !strings.Contains(got.stderr, "t.yaml:") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := run(t, "policy", "test", "-c", offlineFile, "missing.yaml"); got.code != ExitUsage || got.out != "" {
		t.Errorf("%+v", got)
	}
	if got := run(t, "policy"); got.code != ExitOK || !strings.Contains(got.out, "test") {
		t.Errorf("%+v", got)
	}
	dir := files(t, map[string]string{"t.yaml": "version: 1\ntests: [{ actor: a, tool: x, args: { a: b }, expect: allow }]\n", "two.yaml": "version: 1\nupstreams: { a: { url: http://127.0.0.1:1/mcp }, b: { url: http://127.0.0.1:2/mcp } }\n"})
	if got := run(t, "policy", "test", "-c", filepath.Join(dir, "two.yaml"), filepath.Join(dir, "t.yaml")); got.code != ExitUnmet || !strings.Contains(got.out, "of which server") {
		t.Errorf("%+v", got)
	}
}
