package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a command of the sidecar's that ends by itself.
func tool(t *testing.T, args ...string) (code int, out, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What a running sidecar has refused, explain explains; check says the same of the
// call, and with a row that explain suggests the sidecar lets it pass.
func TestExplainWhatWasRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	me := fmt.Sprintf("local:%d", os.Getuid())
	rows := "p, user:" + me + ", box/echo, call, allow\n"
	policy := write(t, dir, "policy.csv", rows)
	file := write(t, dir, "sidecar.yaml", "version: 1\nupstreams: { box: { command: [unused] } }\npolicy: { file: policy.csv }\n"+
		"tools: { box/key: { resource: keys, action: read } }\naudit: { file: audit.jsonl }\n")
	refused := func() bool {
		t.Helper()
		p := wrap(t, nil, append([]string{"-c", file}, server()...)...).open()
		if got := p.call("echo", "hello"); !strings.Contains(got, "hello") {
			t.Errorf("echo: %s", got)
		}
		got := p.call("key", "")
		if code := p.hangUp(); code != 0 {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
		return strings.Contains(got, "may not read keys") || strings.Contains(got, "has no role")
	}
	if !refused() {
		t.Fatal("the call was not refused")
	}
	id := ""
	text, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var e struct {
			ID   string `json:"audit_id"`
			Name string `json:"mcp_name"`
		}
		if json.Unmarshal(line, &e) == nil && e.Name == "key" {
			id = e.ID
		}
	}
	code, out, stderr := tool(t, "explain", "-c", file, id, "--json")
	var x struct {
		Outcome, Reason, Object, Action string
		Remedies                        []struct{ Change string } `json:"would_allow"`
	}
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != 0 || stderr != "" || x.Outcome != "not_authorized" || x.Reason != "role" || x.Object != "keys" || x.Action != "read" || len(x.Remedies) == 0 {
		t.Fatalf("%d %s %s %v", code, out, stderr, err)
	}
	if code, out, _ := tool(t, "check", "-c", file, "--actor", me, "--tool", "box/key"); code != 6 || !strings.Contains(out, "DENIED") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := tool(t, "check", "-c", file, "--actor", me, "--tool", "echo", "--args", `{"text":"hello"}`); code != 0 || !strings.Contains(out, "ALLOWED") {
		t.Errorf("%d %s", code, out)
	}
	write(t, dir, filepath.Base(policy), rows+x.Remedies[len(x.Remedies)-1].Change+"\n")
	if refused() {
		t.Errorf("still refused with %q", x.Remedies)
	}
	if code, out, _ := tool(t, "explain", "-c", file, id); code != 0 || !strings.Contains(out, "the policy has changed since") || !strings.Contains(out, "role today    allow") {
		t.Errorf("%d %s", code, out)
	}
}
