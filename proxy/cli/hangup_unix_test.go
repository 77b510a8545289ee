//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// rotated moves the audit file away and sends SIGHUP, until there is a new one with
// a record in it. Use makes one, before and after.
func rotated(t *testing.T, dir string, use func()) {
	t.Helper()
	file, moved := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "audit.jsonl.1")
	use()
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for { // there is nothing to wait for but the file itself, which is there before it is used
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			break
		}
		use()
	}
	for _, name := range []string{file, moved} {
		if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), "no/such") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestHangup: SIGHUP opens the audit file again, and ends nothing.
func TestHangup(t *testing.T) {
	t.Run("serve", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("SIDECAR_STATE_DIR", dir)
		s := startServe(t, "--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0", "--insecure-no-auth")
		rotated(t, dir, func() { s.status(t) })
		s.stop()
		if code := <-s.code; code != ExitOK || !strings.Contains(s.stderr.String(), "audit file opened again") {
			t.Errorf("exit code %d, stderr: %s", code, s.stderr)
		}
	})
	t.Run("wrap", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("SIDECAR_STATE_DIR", dir)
		toUs, in := io.Pipe()
		out, fromUs := io.Pipe()
		code := make(chan int, 1)
		var stderr bytes.Buffer
		go func() {
			code <- Run(t.Context(), []string{"wrap", "--upstream", "http://127.0.0.1:9/mcp"}, Streams{In: toUs, Out: fromUs, Err: &stderr})
			_ = fromUs.Close()
		}()
		answers := bufio.NewReader(out)
		rotated(t, dir, func() {
			_, _ = io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"no/such"}`+"\n")
			if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "-32601") {
				t.Fatalf("%q, %v", line, err)
			}
		})
		_ = in.Close()
		if c := <-code; c != ExitOK || !strings.Contains(stderr.String(), "audit file opened again") {
			t.Errorf("exit code %d, stderr: %s", c, stderr.String())
		}
	})
}
