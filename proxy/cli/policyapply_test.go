package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/policy"
)

// nextRows are what the test policy becomes: carol is promoted, frank may delete again,
// operators lose everything.
const nextRows = `p, role:admin, document, *, allow
p, role:editor, document, read, allow
p, role:editor, document, update
p, role:viewer, document, read, allow
g, user:alice, role:admin
g, user:bob, role:editor
g, user:carol, role:editor
g, user:frank, role:admin
g, role:editor, role:viewer
g2, docs/archive, archives
p, role:viewer, archives, call, allow
`

func applyIn(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	for i, a := range args {
		if name, ok := strings.CutPrefix(a, "DIR/"); ok {
			args[i] = filepath.Join(dir, name)
		}
	}
	got := run(t, slices.Concat([]string{"policy", "apply", "-c", filepath.Join(dir, "sidecar.yaml")}, args)...)
	for _, s := range []*string{&got.out, &got.stderr} {
		*s = strings.ReplaceAll(*s, dir, "DIR")
	}
	return got
}

// rowsIn are the texts of the rows in force.
func rowsIn(t *testing.T, dir string) []string {
	t.Helper()
	rows, err := policy.NewFile(filepath.Join(dir, "policy.csv")).Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, r := range rows.Rows {
		texts = append(texts, rowText(r))
	}
	return texts
}

// before is a folder with the test policy in force and these files.
func before(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := evidence(t)
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	metByNext = "version: 1\ntests:\n  - { actor: carol, resource: document, action: update, expect: allow }\n  - { actor: carol, tool: docs/delete_document, expect: deny, reason: role }\n"
	metByOld  = "version: 1\ntests:\n  - { actor: carol, resource: document, action: update, expect: deny }\n"
)

// TestPolicyApply: what is shown, what is written, and that a second time changes nothing.
func TestPolicyApply(t *testing.T) {
	dir := before(t, map[string]string{"next.csv": nextRows, "met.yaml": metByNext})
	old := rowsIn(t, dir)
	dry := applyIn(t, dir, "DIR/next.csv", "--dry-run", "--test", "DIR/met.yaml")
	if dry.code != ExitOK || dry.stderr != "" || !slices.Equal(rowsIn(t, dir), old) {
		t.Errorf("%+v", dry)
	}
	golden(t, "policy-apply-dry", dry.out)
	var report policyReport
	if err := json.Unmarshal([]byte(run(t, "policy", "show", "-c", filepath.Join(dir, "sidecar.yaml"), "--json").out), &report); err != nil {
		t.Fatal(err)
	}
	got := applyIn(t, dir, "DIR/next.csv", "--test", "DIR/met.yaml", "--if-revision", report.Stored)
	if got.code != ExitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	golden(t, "policy-apply", got.out)
	want, err := policy.ParseRows("next.csv", []byte(nextRows))
	if err != nil {
		t.Fatal(err)
	}
	now := rowsIn(t, dir)
	for _, r := range want {
		if !slices.Contains(now, rowText(r)) {
			t.Errorf("%s is missing", rowText(r))
		}
	}
	if len(now) != len(want) {
		t.Errorf("%q", now)
	}
	for _, row := range []struct{ actor, tool string }{{"carol", "docs/delete_document"}, {"dave", "docs/read_document"}} {
		if got := run(t, "check", "-c", filepath.Join(dir, "sidecar.yaml"), "--actor", row.actor, "--tool", row.tool, "--args", `{"confirm":true}`); got.code != ExitDenied {
			t.Errorf("%+v", got)
		}
	}
	if got := run(t, "check", "-c", filepath.Join(dir, "sidecar.yaml"), "--actor", "frank", "--tool", "docs/delete_document", "--args", `{"confirm":true}`); got.code != ExitOK {
		t.Errorf("%+v", got)
	}
	info, err := os.Stat(filepath.Join(dir, "policy.csv"))
	if err != nil {
		t.Fatal(err)
	}
	again := applyIn(t, dir, "DIR/next.csv", "--json")
	var a applied
	if err := json.Unmarshal([]byte(again.out), &a); err != nil || again.code != ExitOK || a.Applied || len(a.Added)+len(a.Removed)+len(a.Decisions) != 0 || a.Unchanged != len(want) {
		t.Errorf("%+v, %v", again, err)
	}
	if after, err := os.Stat(filepath.Join(dir, "policy.csv")); err != nil || !os.SameFile(info, after) {
		t.Error("nothing was to be changed, and the file was written")
	}
}

// What may not be applied leaves everything as it was.
func TestPolicyApplyRefuses(t *testing.T) {
	dir := before(t, map[string]string{
		"next.csv": nextRows, "unmet.yaml": metByOld, "empty.yaml": "version: 1\ntests: []\n", "bad.csv": nextRows + "p, admin, document, read\np, role:a, docs/*_x, call, allow\n", "escape.csv": "p, role:\x1b[2J\u202e, x, y\n",
		"none.yaml": "version: 1\nupstreams: { docs: { url: http://127.0.0.1:1/mcp } }\n",
	})
	old := rowsIn(t, dir)
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"expectations", []string{"DIR/next.csv", "--test", "DIR/unmet.yaml"}, ExitUnmet, "1 expectation(s) not met"},
		{"expectations of nothing", []string{"DIR/next.csv", "--test", "DIR/empty.yaml"}, ExitConfig, "asks nothing"},
		{"no expectations", []string{"DIR/next.csv", "--test", "DIR/missing.yaml"}, ExitUsage, "missing.yaml"},
		{"another revision", []string{"DIR/next.csv", "--if-revision", "0123456789ab"}, ExitUnmet, "look at the difference again"},
		{"rows that cannot be loaded", []string{"DIR/bad.csv"}, ExitConfig, "bad.csv:13"},
		{"rows that act on a terminal", []string{"DIR/escape.csv"}, ExitConfig, "escape.csv:1"},
		{"no rows", []string{"DIR/missing.csv"}, ExitUsage, "missing.csv"},
		{"no file", nil, ExitUsage, "accepts 1 arg(s)"},
		{"no policy", []string{"DIR/next.csv", "-c", "DIR/none.yaml"}, ExitConfig, "names no policy"},
	} {
		got := applyIn(t, dir, row.args...)
		if got.code != row.code || !strings.Contains(got.stderr, row.says) || strings.Contains(got.out, "\napplied ") || !isHarmless(got.out+got.stderr) {
			t.Errorf("%s: %+v", row.name, got)
		}
		if !slices.Equal(rowsIn(t, dir), old) {
			t.Errorf("%s: the policy is another one: %q", row.name, rowsIn(t, dir))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.csv"), []byte("p, admin, x, y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := applyIn(t, dir, "DIR/next.csv"); got.code != ExitConfig || !strings.Contains(got.stderr, "policy.csv:1") {
		t.Errorf("a policy that cannot be shown: %+v", got)
	}
	if err := os.Remove(filepath.Join(dir, "policy.csv")); err != nil {
		t.Fatal(err)
	}
	if got := applyIn(t, dir, "DIR/next.csv"); got.code != ExitOK || !strings.Contains(got.out, "there is no policy yet") || len(rowsIn(t, dir)) != 11 {
		t.Errorf("a first policy: %+v", got)
	}
}

// otherStore is a store in which something happens at the wrong moment.
type otherStore struct {
	*policy.File
	replace func() error
	rows    func(policy.Rows) policy.Rows
}

func (s *otherStore) Replace(ctx context.Context, rows [][]string, from string) (string, error) {
	if s.replace != nil {
		if err := s.replace(); err != nil {
			return "", err
		}
	}
	return s.File.Replace(ctx, rows, from)
}

func (s *otherStore) Rows(ctx context.Context) (policy.Rows, error) {
	rows, err := s.File.Rows(ctx)
	if s.rows != nil {
		rows = s.rows(rows)
	}
	return rows, err
}

// Only what was shown is replaced, and what is there afterwards is looked at.
func TestPolicyApplyBesideOthers(t *testing.T) {
	for _, row := range []struct {
		name  string
		store otherStore
		code  int
		rows  int // in force afterwards
	}{
		{"nothing else happens", otherStore{}, ExitOK, 1},
		{"another writer in between", otherStore{replace: nil}, ExitUnmet, 2},
		{"the source goes down", otherStore{replace: func() error { return fmt.Errorf("%w: refused", policy.ErrUnavailable) }}, ExitDown, 1},
		{"a row gets lost", otherStore{rows: func(r policy.Rows) policy.Rows { r.Rows = nil; return r }}, ExitFailure, 1},
		{"a row comes back", otherStore{rows: func(r policy.Rows) policy.Rows {
			r.Rows = append(r.Rows, policy.Row{Fields: []string{"p", "role:b", "x", "y", "allow"}})
			return r
		}}, ExitFailure, 1},
		{"another writer behind", otherStore{rows: func(r policy.Rows) policy.Rows { r.Revision = "another"; return r }}, ExitUnmet, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := files(t, map[string]string{"policy.csv": "g, user:a, role:b\n"})
			file := policy.NewFile(filepath.Join(dir, "policy.csv"))
			row.store.File = file
			revision, err := file.Revision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if row.name == "another writer in between" {
				row.store.replace = func() error {
					_, err := policy.NewFile(filepath.Join(dir, "policy.csv")).Replace(t.Context(), [][]string{{"g", "user:x", "role:b"}, {"g", "user:y", "role:b"}}, "")
					return err
				}
			}
			a := &applied{Before: revision, rows: [][]string{{"g", "user:c", "role:b"}}}
			err = a.apply(t.Context(), &row.store)
			var e *exitError
			if code := report(io.Discard, err); errors.As(err, &e) && code != row.code || err == nil && row.code != ExitOK {
				t.Errorf("exit code %d, want %d: %v", code, row.code, err)
			}
			now, err := file.Rows(t.Context())
			if err != nil || len(now.Rows) != row.rows {
				t.Errorf("%+v, %v", now, err)
			}
		})
	}
}
