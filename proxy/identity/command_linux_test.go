package identity

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A command that is given up ends with everything that it has started.
func TestCommandIsEnded(t *testing.T) {
	p := newProgram(t, "sleep 600 &\necho $! >$0.pid; mv $0.pid $0.left; wait")
	left := filepath.Join(p.dir, "run.left")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := runCommand(ctx, p.command(), os.Environ()); ended <- err }()
	for {
		if _, err := os.Stat(left); err == nil {
			break
		}
		runtime.Gosched()
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a command that was ended has printed a secret")
	}
	pid, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	// A signal is on its way when kill returns; the process may still have to act on it.
	for until := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("what it has started is still there: %s", stat)
		}
	}
}
