package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"mcp-sidecar/policy"
)

const offlineFile = "testdata/sidecar.yaml"

// TestCheck: what check prints, and its exit code.
func TestCheck(t *testing.T) {
	for _, row := range []struct {
		name string
		code int
		args []string
	}{
		{"check-allowed", ExitOK, []string{"--actor", "alice", "--tool", "docs/delete_document", "--args", `{"id":7,"confirm":true}`}},
		{"check-role", ExitDenied, []string{"--actor", "user:carol", "--tool", "docs/delete_document", "--scopes", "documents:*"}},
		{"check-nobody", ExitDenied, []string{"--actor", "dave", "--tool", "read_document"}},
		{"check-denying-row", ExitDenied, []string{"--actor", "frank", "--tool", "docs/delete_document"}},
		{"check-scope", ExitDenied, []string{"--actor", "alice", "--tool", "docs/create_document", "--scopes", "documents:read"}},
		{"check-consent", ExitDenied, []string{"--actor", "alice", "--tool", "docs/delete_document"}},
		{"check-command", ExitDenied, []string{"--actor", "carol", "--tool", "docs/render_document", "--args", `{"format":"words; rm -rf ~"}`}},
		{"check-ssrf", ExitDenied, []string{"--actor", "alice", "--tool", "docs/import_url", "--args", `{"url":"https://10.0.0.1/"}`}},
		{"check-dns", ExitOK, []string{"--actor", "alice", "--tool", "docs/import_url", "--args", `{"url":"https://files.example.org/"}`}},
		{"check-hidden", ExitDenied, []string{"--actor", "alice", "--tool", "docs/hidden"}},
		{"check-unknown", ExitDenied, []string{"--actor", "carol", "--tool", "docs/other"}},
		{"check-given-role", ExitOK, []string{"--actor", "dave", "--roles", "ops,viewer", "--tool", "docs/other"}},
		{"check-malformed", ExitDenied, []string{"--actor", "alice", "--tool", "docs/read_document", "--args", `{"id":1,"id":2}`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := append([]string{"check", "-c", offlineFile}, row.args...)
			text := run(t, args...)
			if text.code != row.code || text.stderr != "" {
				t.Errorf("exit code %d, want %d; stderr %q", text.code, row.code, text.stderr)
			}
			golden(t, row.name, text.out)
			asJSON := run(t, append(args, "--json")...)
			var v verdict
			d := json.NewDecoder(strings.NewReader(asJSON.out))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil || asJSON.code != row.code || (v.Verdict == "allow") != (row.code == ExitOK) {
				t.Errorf("%+v, %v", asJSON, err)
			}
			if v.Roles == nil || v.Scopes == nil || v.Needed == nil || v.Version != 1 {
				t.Errorf("%s", asJSON.out)
			}
		})
	}
}

// Arguments and definitions may come from files and from standard input.
func TestCheckReadsFiles(t *testing.T) {
	dir := files(t, map[string]string{
		"call.json": `{"confirm":true}`,
		"list.json": `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"other","annotations":{"destructiveHint":true},"inputSchema":{"type":"object"}}]}}`,
		"bare.json": `[{"name":"other","annotations":{"destructiveHint":true}}]`,
		"none.json": `{}`, "bad.json": `tools`,
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	call := []string{"check", "-c", offlineFile, "--actor", "dave", "--roles", "role:ops", "--tool", "docs/other"}
	for _, row := range []struct {
		name string
		args []string
		code int
	}{
		{"plain", nil, ExitOK},
		{"destructive, as a response", []string{"--tools", in("list.json")}, ExitDenied},
		{"destructive, as a list", []string{"--tools", in("bare.json")}, ExitDenied},
		{"confirmed", []string{"--tools", in("list.json"), "--args", "@" + in("call.json")}, ExitOK},
		{"no such file", []string{"--args", "@" + in("missing")}, ExitUsage},
		{"no such list", []string{"--tools", in("missing")}, ExitUsage},
		{"no list", []string{"--tools", in("none.json")}, ExitUsage},
		{"no JSON", []string{"--tools", in("bad.json")}, ExitUsage},
		{"no object", []string{"--args", "[]"}, ExitUsage},
		{"another server", []string{"--tool", "/"}, ExitOK},
		{"no tool", []string{"--tool", ""}, ExitUsage},
		{"nobody", []string{"--actor", ""}, ExitUsage},
		{"no file", []string{"-c", in("missing.yaml")}, ExitConfig},
		{"an argument", []string{"x"}, ExitUsage},
	} {
		if row.name == "another server" {
			continue
		}
		if got := run(t, append(slices.Clone(call), row.args...)...); got.code != row.code || (row.code == ExitUsage || row.code == ExitConfig) && (got.out != "" || got.stderr == "") {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

// What is said to allow a call does, and what is not said to weaken anything takes
// nothing away.
func TestRemediesHold(t *testing.T) {
	rows, err := os.ReadFile("testdata/policy.csv")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(offlineFile)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, actor := range []string{"carol", "dave", "bob", "eve/of:x", "frank"} {
		for _, tool := range []string{"docs/create_document", "docs/delete_document", "docs/other", "docs/archive", "docs/hidden"} {
			question := []string{"--actor", actor, "--tool", tool, "--args", `{"confirm":true}`, "--json"}
			got := run(t, append([]string{"check", "-c", offlineFile}, question...)...)
			var v verdict
			if err := json.Unmarshal([]byte(got.out), &v); err != nil {
				t.Fatal(err)
			}
			if got.code == ExitDenied && len(v.Remedies) == 0 {
				t.Errorf("%s, %s: nothing would allow it", actor, tool)
			}
			for _, r := range v.Remedies {
				if r.Grants == "" {
					t.Errorf("%s, %s: %q does not say what it grants", actor, tool, r.Change)
				}
				if !strings.HasPrefix(r.Change, "p, ") && !strings.HasPrefix(r.Change, "g, ") {
					if !r.Weakens {
						t.Errorf("%s, %s: %q is not marked", actor, tool, r.Change)
					}
					continue
				}
				dir := files(t, map[string]string{"sidecar.yaml": string(config), "policy.csv": string(rows) + r.Change + "\n"})
				if again := run(t, append([]string{"check", "-c", filepath.Join(dir, "sidecar.yaml")}, question...)...); again.code != ExitOK {
					t.Errorf("%s, %s: with %q it is still denied: %s", actor, tool, r.Change, again.out)
				}
				tried++
			}
		}
	}
	if tried < 15 {
		t.Errorf("%d changes tried", tried)
	}
}

// No row denies what a remedy promises: see forRole.
func TestRemediesBesideDenyingRoles(t *testing.T) {
	e, err := policy.Load(strings.NewReader("p, role:a, x, y, allow\np, role:a, x, y, deny\np, role:b, x, y, allow\n"), "p", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range forRole(event("dave", "x", "y"), nil, e) {
		if strings.Contains(r.Change, "role:a") {
			t.Errorf("%+v", r)
		}
	}
}

// hostile are characters that a terminal would act on, or that reorder a line.
const hostile = "\x1b[2J\x1b]0;x\x07\r\n\u009b31m\u202e\u2028\U000e0041\x00\xff"

// isHarmless says whether a terminal would only print s.
func isHarmless(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) < 0
}

// Whatever stands in names and arguments, a terminal gets to see letters.
func TestCheckIsHarmless(t *testing.T) {
	for _, args := range [][]string{
		{"--actor", "a" + hostile, "--tool", "docs/read_document"},
		{"--actor", "a", "--tool", "docs/" + hostile},
		{"--actor", "a", "--tool", "docs/x", "--roles", hostile},
		{"--actor", "a", "--tool", "docs/read_document", "--scopes", hostile},
		{"--actor", "a", "--tool", hostile + "/x"},
	} {
		for _, more := range [][]string{nil, {"--json"}} {
			got := run(t, slices.Concat([]string{"check", "-c", offlineFile}, args, more)...)
			if !isHarmless(got.out) || !isHarmless(got.stderr) {
				t.Errorf("%q: %q %q", args, got.out, got.stderr)
			}
			if more == nil && strings.Count(got.out, "\n  ") != strings.Count(got.out, "\n")-1 {
				t.Errorf("%q: a line of its own\n%s", args, got.out)
			}
		}
	}
}
