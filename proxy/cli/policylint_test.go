package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

const lintedConfig = `version: 1
auth: { audience: [docs], static_tokens_file: tokens.yaml }
upstreams: { docs: { url: http://127.0.0.1:1/mcp } }
policy: { file: policy.csv }
tools:
  docs/read: { resource: document, action: read, scopes: ["documents:read"], args: { path: { prefix: [/a/] } } }
`

// TestPolicyLint: what is found, in text and JSON, and when it is an exit code.
func TestPolicyLint(t *testing.T) {
	const token = "tokens: [{ sha256: 3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0, subject: x, audience: [docs], expires: 2027-01-31T00:00:00Z, scopes: [%s] }]\n"
	dir := files(t, map[string]string{
		"sidecar.yaml": lintedConfig, "tokens.yaml": strings.Replace(token, "%s", "documents:write", 1),
		"policy.csv": "p, role:a, document, read\np, user:x, dokument, read\n",
		"tools.json": `{"tools":[{"name":"read","inputSchema":{"type":"object","properties":{"file":{}}}}]}`,
		"bad.json":   `{"tools":[{"name":7}]}`,
	})
	config, policyFile := filepath.Join(dir, "sidecar.yaml"), filepath.Join(dir, "policy.csv")
	want := policyFile + `:1: nobody has role:a (role-without-members)
  give it to somebody (g, user:NAME, role:a), or remove the row
` + policyFile + `:2: no tool acts on dokument (unused-object)
  correct it, or give a tool this resource (tools: NAME: { resource: dokument })
tools.docs/read.scopes: no token is granted documents:read (ungranted-scope)
  correct it, or have a token granted it
`
	if got := run(t, "policy", "lint", "-c", config); got.code != ExitOK || got.out != want+"3 finding(s)\n" || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	withTools := want + "tools.docs/read.args.path: the tool takes no argument path (unknown-argument)\n  correct it; the tool takes file\n4 finding(s)\n"
	for _, name := range []string{"docs=", ""} {
		if got := run(t, "policy", "lint", "-c", config, "--strict", "--tools", name+filepath.Join(dir, "tools.json")); got.code != ExitUnmet || got.out != withTools {
			t.Errorf("%+v", got)
		}
	}
	var report struct {
		Version  int
		Stored   string
		Findings []smell
	}
	if got := run(t, "policy", "lint", "-c", config, "--json"); got.code != ExitOK || json.Unmarshal([]byte(got.out), &report) != nil || report.Version != 1 || report.Stored == "" || len(report.Findings) != 3 || report.Findings[0].Rule != "role-without-members" {
		t.Errorf("%+v", got)
	}
	for name, args := range map[string][]string{
		"another server": {"--tools", "mail=" + filepath.Join(dir, "tools.json")}, "no file": {"--tools", filepath.Join(dir, "none")}, "no tools": {"--tools", filepath.Join(dir, "bad.json")},
	} {
		if got := run(t, append([]string{"policy", "lint", "-c", config}, args...)...); got.code == ExitOK || got.out != "" || !strings.Contains(got.stderr, "--tools") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	clean := files(t, map[string]string{
		"sidecar.yaml": lintedConfig, "tokens.yaml": strings.Replace(token, "%s", "documents:read", 1), "policy.csv": "p, user:x, document, read\n",
	})
	if got := run(t, "policy", "lint", "-c", filepath.Join(clean, "sidecar.yaml"), "--strict"); got.code != ExitOK || got.out != "0 finding(s)\n" {
		t.Errorf("%+v", got)
	}
}

// TestPolicyLintLive: the servers are asked, each but those whose list is in a file.
func TestPolicyLintLive(t *testing.T) {
	const own = `[{"name":"read","inputSchema":{"type":"object","properties":{"file\u001b[2J":{}}}},{"name":"list"}]`
	for _, modern := range []bool{false, true} {
		docs, mail := &listing{pages: []string{own, `[{"name":"last"}]`}, modern: modern, token: "service"}, &listing{pages: []string{`[]`}}
		dir := files(t, map[string]string{
			"sidecar.yaml": `version: 1
auth: { audience: [docs], static_tokens_file: tokens.yaml }
upstreams: { docs: { url: ` + docs.serve(t) + `, credential: { kind: header, file: service.token } }, mail: { url: ` + mail.serve(t) + ` } }
policy: { file: policy.csv }
tools:
  docs/read: { resource: document, action: read, args: { path: { prefix: [/a/] } } }
  docs/last: { resource: document, action: read }
  mail/send: { resource: document, action: read }
`, "tokens.yaml": "tokens: []\n", "policy.csv": "p, user:x, document, read\n", "service.token": "service",
			"tools.json": `{"tools":[{"name":"send"}]}`,
		})
		config := filepath.Join(dir, "sidecar.yaml")
		argument := `tools.docs/read.args.path: the tool takes no argument path (unknown-argument)
  correct it; the tool takes file\u001b[2J
`
		tool := `tools.mail/send: mail lists no tool send (unknown-tool)
  correct its name; the server lists none
`
		if got := run(t, "policy", "lint", "-c", config, "--live", "--strict"); got.code != ExitUnmet || got.out != argument+tool+"2 finding(s)\n" {
			t.Errorf("%+v", got)
		}
		mail.asked = nil
		if got := run(t, "policy", "lint", "-c", config, "--live", "--tools", "mail="+filepath.Join(dir, "tools.json")); got.code != ExitOK || got.out != argument+"1 finding(s)\n" || mail.asked != nil {
			t.Errorf("%+v, %v", got, mail.asked)
		}
		docs.token = "another"
		if got := run(t, "policy", "lint", "-c", config, "--live"); got.code != ExitDown || got.out != "" || !strings.Contains(got.stderr, "asking docs for its tools") || !strings.Contains(got.stderr, "--tools docs=FILE") {
			t.Errorf("%+v", got)
		}
	}
}
