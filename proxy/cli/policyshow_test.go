package cli

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPolicyShow: what show and matrix print.
func TestPolicyShow(t *testing.T) {
	for name, args := range map[string][]string{
		"policy-show": {"show"}, "policy-matrix": {"matrix"}, "policy-matrix-tools": {"matrix", "--tools"}, "policy-matrix-actor": {"matrix", "--actor", "carol,user:dave"},
	} {
		got := run(t, slices.Concat([]string{"policy"}, args, []string{"-c", offlineFile})...)
		if got.code != ExitOK || got.stderr != "" {
			t.Errorf("%s: %+v", name, got)
		}
		golden(t, name, got.out)
		for _, line := range strings.Split(got.out, "\n") {
			if len(line) > widest && name != "policy-show" {
				t.Errorf("%s: a line of %d characters: %s", name, len(line), line)
			}
		}
		asJSON := run(t, slices.Concat([]string{"policy"}, args, []string{"-c", offlineFile, "--json"})...)
		if asJSON.code != ExitOK || !json.Valid([]byte(asJSON.out)) || strings.Contains(asJSON.out, "null") {
			t.Errorf("%s: %+v", name, asJSON)
		}
	}
}

// A cell says what check says of a call, as far as roles go.
func TestMatrixAgreesWithCheck(t *testing.T) {
	var m matrix
	if err := json.Unmarshal([]byte(run(t, "policy", "matrix", "--tools", "-c", offlineFile, "--json").out), &m); err != nil {
		t.Fatal(err)
	}
	asked := map[string]int{}
	for _, row := range m.Rows {
		for i, c := range m.Columns {
			if !strings.HasPrefix(row.Subject, "user:") || row.Subject == anybodyElse || strings.Contains(c.Name, "*") || c.Name == "docs/hidden" {
				continue
			}
			var v verdict
			if err := json.Unmarshal([]byte(run(t, "check", "-c", offlineFile, "--actor", row.Subject, "--tool", c.Name, "--json").out), &v); err != nil {
				t.Fatal(err)
			}
			want := "ALLOWED"
			if v.Reason == "role" || v.Reason == "unknown-tool" {
				want = "REJECTED"
			}
			if got := row.Cells[i]; got.Verdict != want || v.Guard == "" && got.Rule != v.Rule {
				t.Errorf("%s, %s: the matrix says %+v, check %+v", row.Subject, c.Name, got, v)
			}
			asked[want]++
		}
	}
	if asked["ALLOWED"] < 8 || asked["REJECTED"] < 8 {
		t.Errorf("asked %v", asked)
	}
}

// Without rows it is said what holds, and for whom.
func TestPolicyWithoutRows(t *testing.T) {
	const server = "version: 1\nupstreams: { docs: { url: http://127.0.0.1:1/mcp } }\ntools: { docs/read: { resource: document, action: read } }\n"
	dir := files(t, map[string]string{
		"open.yaml": server, "strict.yaml": server + "preset: strict\n", "watch.yaml": server + "preset: observe\npolicy: { file: policy.csv }\n", "policy.csv": goodPolicy,
		"bad.yaml": server + "policy: { file: bad.csv }\n", "bad.csv": "p, role:x, y\n", "gone.yaml": server + "policy: { file: gone.csv }\n",
	})
	for _, row := range []struct {
		file string
		code int
		says []string
	}{
		{"open.yaml", ExitOK, []string{"built in", "everything", "ALLOWED", anybodyElse}},
		{"strict.yaml", ExitOK, []string{"denies everything", "REJECTED", anybodyElse}},
		{"watch.yaml", ExitOK, []string{"only recorded", "role:admin"}},
		{"bad.yaml", ExitConfig, []string{"bad.csv:1"}},
		{"gone.yaml", ExitConfig, []string{"gone.csv"}},
	} {
		got := run(t, "policy", "matrix", "-c", filepath.Join(dir, row.file))
		for _, says := range row.says {
			if got.code != row.code || !strings.Contains(got.out+got.stderr, says) {
				t.Errorf("%s: %q is missing: %+v", row.file, says, got)
			}
		}
		if got := run(t, "policy", "show", "-c", filepath.Join(dir, row.file)); got.code != row.code {
			t.Errorf("%s: %+v", row.file, got)
		}
	}
}

// Users of the command line reach a terminal as letters too.
func TestMatrixIsHarmless(t *testing.T) {
	for _, more := range []string{"--tools", "--json"} {
		got := run(t, "policy", "matrix", "-c", offlineFile, more, "--actor", "x"+hostile)
		if got.code != ExitOK || !isHarmless(got.out) || strings.Count(got.out, "\n#") > 0 {
			t.Errorf("%+v", got)
		}
	}
}
