package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mcp-sidecar/scenarios/pgtest"
)

// inPostgres is a folder with the test policy's configuration, its rows in a database in
// place of the file.
func inPostgres(t *testing.T, url string) (dir string) {
	t.Helper()
	dir = before(t, map[string]string{"next.csv": nextRows, "met.yaml": metByNext, "introspection.secret": "secret-of-the-client\n", "service.token": "token-of-the-sidecar\n"})
	file := filepath.Join(dir, "sidecar.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "policy: { file: policy.csv }", "policy: { database: {} }", 1)
	if changed == string(text) {
		t.Fatal("the configuration names no policy file")
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIDECAR_DATABASE_URL", url)
	return dir
}

// The commands for people do with a database what they do with a file: an empty one is
// made ready by the first apply, nothing is shown of its address, and whoever was slower
// is told so.
func TestPolicyToolsOnPostgres(t *testing.T) {
	d := pgtest.DB(t)
	dir := inPostgres(t, d.URL)
	if got := applyIn(t, dir, "DIR/policy.csv", "--dry-run"); got.code != ExitDown || !strings.Contains(got.stderr, "policy apply makes it") {
		t.Errorf("before: %+v", got)
	}
	if got := applyIn(t, dir, "DIR/policy.csv"); got.code != ExitOK || !strings.Contains(got.out, "source    postgres\n") {
		t.Fatalf("first: %+v", got)
	}
	var report policyReport
	config := filepath.Join(dir, "sidecar.yaml")
	if err := json.Unmarshal([]byte(run(t, "policy", "show", "-c", config, "--json").out), &report); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^1?\d-[0-9a-f]{8}$`).MatchString(report.Stored) || report.Source != "postgres" || len(report.Rows) == 0 || !regexp.MustCompile(`^postgres:\d+$`).MatchString(report.Rows[0].Place) {
		t.Errorf("%+v", report)
	}
	inFile := run(t, "policy", "matrix", "-c", filepath.Join(before(t, nil), "sidecar.yaml"))
	inDatabase := run(t, "policy", "matrix", "-c", config)
	place := regexp.MustCompile(`(\S*policy\.csv|postgres):\d+`)
	if a, b := place.ReplaceAllString(inFile.out, "PLACE"), place.ReplaceAllString(inDatabase.out, "PLACE"); inDatabase.code != ExitOK || verdicts(a) != verdicts(b) {
		t.Errorf("from the file:\n%s\nfrom the database:\n%s", a, b)
	}
	ask := func(actor string) int {
		return run(t, "check", "-c", config, "--actor", actor, "--tool", "docs/delete_document", "--args", `{"confirm":true}`).code
	}
	if got := ask("alice"); got != ExitOK {
		t.Errorf("alice: %d", got)
	}
	if got := ask("carol"); got != ExitDenied {
		t.Errorf("carol: %d", got)
	}
	if got := applyIn(t, dir, "DIR/next.csv", "--if-revision", "0-00000000"); got.code != ExitUnmet {
		t.Errorf("%+v", got)
	}
	if got := applyIn(t, dir, "DIR/next.csv", "--if-revision", report.Stored, "--test", "DIR/met.yaml"); got.code != ExitOK || !strings.Contains(got.out, "applied   ") {
		t.Errorf("%+v", got)
	}
	if got := ask("frank"); got != ExitOK {
		t.Errorf("frank, whom the new policy allows it: %d", got)
	}
	// Whoever writes rows need not be able to make tables.
	role, url := d.Role("writer")
	for _, sql := range []string{"grant usage on schema sidecar to ", "grant select on all tables in schema sidecar to ", "grant insert, delete on sidecar.casbin_rule to ", "grant update on sidecar.policy_revision to "} {
		d.Exec(sql + role)
	}
	t.Setenv("SIDECAR_DATABASE_URL", url)
	if got := applyIn(t, dir, "DIR/policy.csv"); got.code != ExitOK {
		t.Errorf("%+v", got)
	}
}

// verdicts are the lines of a matrix below its heading, which has source and revision.
func verdicts(out string) string {
	_, below, _ := strings.Cut(out, "\n\n")
	return below
}

// Every command that needs the policy ends with 4 while its database is down, none does
// without, and none shows the password.
func TestPolicyDatabaseIsDown(t *testing.T) {
	dir := inPostgres(t, "postgres://policy:pa55word@127.0.0.1:1/policy")
	config := filepath.Join(dir, "sidecar.yaml")
	for _, args := range [][]string{
		{"serve", "-c", config, "--listen", "127.0.0.1:0"}, {"wrap", "-c", config},
		{"policy", "show", "-c", config}, {"policy", "matrix", "-c", config}, {"policy", "test", "-c", config, filepath.Join(dir, "met.yaml")},
		{"policy", "apply", "-c", config, filepath.Join(dir, "next.csv")}, {"policy", "apply", "-c", config, filepath.Join(dir, "next.csv"), "--dry-run"},
		{"policy", "lint", "-c", config}, {"check", "-c", config, "--actor", "alice", "--tool", "docs/read_document"},
	} {
		got := run(t, args...)
		if got.code != ExitDown || !strings.Contains(got.stderr, "connection refused") || strings.Contains(got.stderr+got.out, "pa55word") {
			t.Errorf("%q: %+v", args[:2], got)
		}
	}
}
