package main

import (
	"bufio"
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
	present(t, cmd)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	defer checkCanaries(t, cmd, t.TempDir())
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

// init writes what validate takes and what holds its own expectations, for the document
// server over both transports and for a server made with the official SDK.
func TestInitDocserver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	docserver := filepath.Join(dir, "docserver")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", docserver, "../upstream").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	overHTTP := exec.CommandContext(t.Context(), docserver, "--exec", "argv", "--listen", "127.0.0.1:0")
	stdout, err := overHTTP.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := overHTTP.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = overHTTP.Process.Kill(); _ = overHTTP.Wait() })
	first, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(first[strings.Index(first, "http://"):])
	for name, row := range map[string]struct {
		args []string
		says []string
	}{
		"http":  {[]string{"--upstream", url}, []string{"read      read_document", "write     create_document", "delete    delete_document"}},
		"stdio": {[]string{"--", docserver, "--stdio", "--exec", "argv"}, []string{"read      read_document", "write     create_document", "delete    delete_document"}},
		"sdk":   {server("noise"), []string{"read      echo", "read      hang"}},
	} {
		to := filepath.Join(dir, name)
		code, out, stderr := tool(t, append([]string{"init", "--name", "docs", "-o", to}, row.args...)...)
		if code != 0 || strings.Contains(out+stderr, "\x00") {
			t.Errorf("%s: %d %q %q", name, code, out, stderr)
		}
		for _, line := range row.says {
			if !strings.Contains(out, line) {
				t.Errorf("%s: %q is missing in\n%s", name, line, out)
			}
		}
		file := filepath.Join(to, "sidecar.yaml")
		if code, out, stderr := tool(t, "validate", file); code != 0 {
			t.Errorf("%s: %d %s %s", name, code, out, stderr)
		}
		if code, out, stderr := tool(t, "policy", "test", "-c", file, filepath.Join(to, "policy.test.yaml")); code != 0 {
			t.Errorf("%s: %d %s %s", name, code, out, stderr)
		}
	}
}
