//go:build unix

package docserver

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A call that is cancelled must leave no process behind. A child of the
// shell holds a pipe open; only when it is dead does the reader see the end.
func TestCancelEndsTheWholeGroup(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, canaryFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := checkScratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	// It is the child that reports: it exists when the shell is killed.
	const attack = "words >/dev/null; (exec 3>pipe; echo up >&3; exec sleep 3600); true"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := shell{dir: path}.count(ctx, attack, "x")
		done <- err
	}()
	r, err := os.Open(pipe) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines := bufio.NewReader(r)
	if line, err := lines.ReadString('\n'); line != "up\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled call succeeded")
	}
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("read %q, %v", rest, err)
	}
}
