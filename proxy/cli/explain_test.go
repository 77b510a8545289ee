package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/audit"
)

const firstID = "01976b2e-5a4c-7d6e-9f10-2b3c4d5e6f01"

// event is a refusal by the policy.
func event(who, object, action string) audit.Event {
	return audit.Event{
		V: 1, Time: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC), ID: firstID, Phase: audit.PhaseOutcome, Direction: "client", Transport: "http", Upstream: "docs",
		Kind: "request", Method: "tools/call", Name: "delete_document", Subject: who, ClientID: "cli", Stage: "authorize", Outcome: "not_authorized", Reason: "role",
		Object: object, Action: action,
	}
}

// evidence is a folder with the test configuration and an audit file of these lines.
func evidence(t *testing.T, lines ...any) string {
	t.Helper()
	texts := map[string]string{}
	for _, name := range []string{"sidecar.yaml", "policy.csv"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	texts["sidecar.yaml"] += "audit: { file: audit.jsonl }\n"
	texts["audit.jsonl"] = jsonLines(t, lines...)
	return files(t, texts)
}

func jsonLines(t *testing.T, lines ...any) string {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		if s, ok := l.(string); ok {
			b.WriteString(s + "\n")
			continue
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	return b.String()
}

func explainIn(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	got := run(t, slices.Concat([]string{"explain", "-c", filepath.Join(dir, "sidecar.yaml")}, args)...)
	for _, s := range []*string{&got.out, &got.stderr} {
		*s = strings.ReplaceAll(*s, dir, "DIR")
	}
	return got
}

// revisionOf is the revision of the test configuration's policy.
func revisionOf(t *testing.T) string {
	t.Helper()
	var v verdict
	if err := json.Unmarshal([]byte(run(t, "check", "-c", offlineFile, "--actor", "a", "--tool", "docs/x", "--json").out), &v); err != nil {
		t.Fatal(err)
	}
	return v.Policy
}

// TestExplain: what explain prints.
func TestExplain(t *testing.T) {
	now := revisionOf(t)
	role := event("carol", "document", "delete")
	role.Roles, role.Scopes, role.Needed, role.Policy, role.Code = []string{"role:viewer"}, []string{"documents:*"}, []string{"documents:delete"}, now, 0
	scope := role
	scope.Reason, scope.Scopes, scope.Code = "scope", []string{"documents:read"}, 40300
	blocked := role
	blocked.Stage, blocked.Outcome, blocked.Reason, blocked.Guard, blocked.Rule, blocked.Findings = "inspect-input", "blocked", "consent", "consent", "confirmation-required", []string{"consent:confirmation-required"}
	allowed := role
	allowed.Subject, allowed.Stage, allowed.Outcome, allowed.Reason, allowed.Rule = "alice", "execute", "allowed", "", "policy.csv:2: p, role:admin, document, *, allow"
	intent := allowed
	intent.Phase, intent.Outcome = audit.PhaseIntent, ""
	below := allowed
	below.ID, below.Parent, below.Method = "01976b2e-5a4c-7d6e-9f10-2b3c4d5e6f99", firstID, "elicitation/create"
	older := role
	older.Policy = "0123456789ab"
	deniedThen := older
	deniedThen.Subject, deniedThen.Roles = "alice", []string{"role:viewer"}
	taken := older
	taken.Subject, taken.Roles, taken.Reason, taken.Outcome, taken.Stage = "dave", []string{"role:admin"}, "", "allowed", "execute"
	blame := older
	blame.Subject, blame.Roles, blame.Policy = "frank", []string{"role:admin"}, now
	blame.Rule = "policy.csv:6: p, user:frank, document, delete, deny"
	down := role
	down.Stage, down.Outcome, down.Reason, down.Error, down.Code = "execute", "upstream_failed", "transport", "dial tcp: refused", 50200
	for _, row := range []struct {
		name  string
		lines []any
	}{
		{"explain-role", []any{role}}, {"explain-scope", []any{scope}}, {"explain-blocked", []any{blocked}},
		{"explain-allowed", []any{intent, below, allowed}}, {"explain-unfinished", []any{intent}},
		{"explain-older-policy", []any{older}}, {"explain-allowed-today", []any{deniedThen}}, {"explain-denying-row", []any{blame}}, {"explain-role-taken-away", []any{taken}},
		{"explain-upstream", []any{down}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := evidence(t, row.lines...)
			got := explainIn(t, dir, firstID)
			if got.code != ExitOK || got.stderr != "" {
				t.Errorf("%+v", got)
			}
			golden(t, row.name, got.out)
			asJSON := explainIn(t, dir, strings.ToUpper(firstID), "--json")
			var x explanation
			d := json.NewDecoder(strings.NewReader(asJSON.out))
			d.DisallowUnknownFields()
			if err := d.Decode(&x); err != nil || asJSON.code != ExitOK || x.ID != firstID || x.Version != 1 {
				t.Errorf("%+v, %v", asJSON, err)
			}
		})
	}
}

// Records are found behind what is no record, behind a line without end, in files that
// were rotated away, and across a rotation.
func TestExplainFinds(t *testing.T) {
	want := event("carol", "document", "delete")
	intent := want
	intent.Phase = audit.PhaseIntent
	other := want
	other.ID = "01976b2e-5a4c-7d6e-9f10-2b3c4d5e6f02"
	torn := `{"audit_id":"` + firstID + `","phase":"outco`
	huge := `{"audit_id":"` + firstID + `","phase":"outcome","sub":"` + strings.Repeat("x", 3<<20) + `"}`
	long := make([]any, 0, 20_001)
	for range 20_000 {
		long = append(long, other)
	}
	for name, lines := range map[string][]any{
		"torn": {torn, want}, "huge": {huge, want, huge}, "garbage": {"\x00\xff", "", "[1]", `"` + firstID + `"`, want}, "far": append(long, want),
	} {
		if got := explainIn(t, evidence(t, lines...), firstID); got.code != ExitOK || !strings.Contains(got.out, "by carol") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, lines := range map[string][]any{"torn": {torn}, "huge": {huge}, "another's": {other}, "empty": {}} {
		if got := explainIn(t, evidence(t, lines...), firstID); got.code != ExitFailure || got.out != "" || !strings.Contains(got.stderr, "no record has this id") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	dir := evidence(t, other)
	for name, text := range map[string]string{"audit.jsonl.20270101": jsonLines(t, intent), "audit.jsonl-20270102": jsonLines(t, want), "audit.jsonl.1.gz": "x", "audit.jsonlx": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := explainIn(t, dir, firstID); got.code != ExitOK || !strings.Contains(got.out, "DIR/audit.jsonl-20270102") {
		t.Errorf("rotated: %+v", got)
	}
	if got := explainIn(t, dir, "--audit", filepath.Join(dir, "audit.jsonl.20270101"), firstID); got.code != ExitOK || !strings.Contains(got.out, "not finished") {
		t.Errorf("one file: %+v", got)
	}
}

// TestExplainNothing: what is no id, and what is no file.
func TestExplainNothing(t *testing.T) {
	dir := evidence(t)
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-"}, ExitFailure, `"-" is no audit id`},
		{[]string{"x" + hostile}, ExitFailure, "is no audit id"},
		{[]string{"{" + firstID + "}"}, ExitFailure, "is no audit id"},
		{[]string{"--audit", filepath.Join(dir, "none"), firstID}, ExitFailure, "not exist"},
		{[]string{"--audit", filepath.Join(dir, "none", "none"), firstID}, ExitFailure, "no such file"},
		{nil, ExitUsage, "accepts 1 arg(s)"},
	} {
		got := explainIn(t, dir, row.args...)
		if got.code != row.code || got.out != "" || !strings.Contains(got.stderr, row.says) || !isHarmless(got.stderr) {
			t.Errorf("%q: %+v", row.args, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("looking for a file has made it")
	}
}

// A record holds what clients and servers chose. None of it reaches a terminal as it is.
func TestExplainIsHarmless(t *testing.T) {
	e := event("x"+hostile, "docs/"+hostile, hostile)
	for _, s := range []*string{&e.Method, &e.Name, &e.ClientID, &e.Error, &e.Rule, &e.Reason, &e.Guard, &e.Stage, &e.Outcome, &e.Upstream, &e.Policy, &e.Transport, &e.Parent} {
		*s = hostile
	}
	e.Roles, e.Scopes, e.Needed, e.Findings, e.Would = []string{hostile}, []string{hostile}, []string{hostile}, []string{hostile}, []string{hostile}
	for _, reason := range []string{hostile, "role", "scope"} {
		e.Reason = reason
		dir := evidence(t, e)
		for _, more := range [][]string{nil, {"--json"}} {
			got := explainIn(t, dir, append([]string{firstID}, more...)...)
			if got.code != ExitOK || !isHarmless(got.out) || !isHarmless(got.stderr) {
				t.Errorf("%+v", got)
			}
			if more == nil && strings.Count(got.out, "\n  ") != strings.Count(got.out, "\n")-1 {
				t.Errorf("a line of its own\n%s", got.out)
			}
		}
	}
	if got, want := visible(hostile), `\u001b[2J\u001b]0;x\u0007\u000d\n\u009b31m\u202e\u2028\udb40\udc41\u0000`+"\ufffd"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var back string
	if err := json.Unmarshal([]byte(escaped(fmt.Sprintf("%q", "a")+" ")), &back); err != nil || back != "a" {
		t.Errorf("%q, %v", back, err)
	}
}
