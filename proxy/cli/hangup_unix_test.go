//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHangup: SIGHUP opens the audit file again, and ends nothing.
func TestHangup(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SIDECAR_STATE_DIR", dir)
	s := startServe(t, "--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0", "--insecure-no-auth")
	file, moved := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "audit.jsonl.1")
	s.status(t)
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for { // there is nothing to wait for but the file itself
		if _, err := os.Stat(file); err == nil {
			break
		}
		s.status(t)
	}
	s.status(t)
	s.stop()
	if code := <-s.code; code != ExitOK {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{file, moved} {
		if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), "no/such") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if !strings.Contains(s.stderr.String(), "audit file opened again") {
		t.Errorf("stderr: %s", s.stderr)
	}
}
