package pgtest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mcp-sidecar/scenarios/pgserver"
)

// A server ends with the program that has started it, also when that is killed.
func TestPostgresKilled(t *testing.T) {
	if os.Getenv("PGTEST_CHILD") == "killed" {
		s := Private(t, pgserver.Options{})
		_, _ = os.Stdout.WriteString(s.Folder() + "\n" + s.Address() + "\n")
		select {}
	}
	NeedsBinaries(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPostgresKilled$")
	cmd.Env = append(os.Environ(), "PGTEST_CHILD=killed")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var said [2]string // folder and address
	for i := range said {
		if !lines.Scan() {
			t.Fatal("the program says nothing")
		}
		said[i] = lines.Text()
	}
	t.Cleanup(func() { // nobody else does it
		if file, err := os.ReadFile(filepath.Join(said[0], "data", "postmaster.pid")); err == nil && t.Failed() {
			first, _, _ := strings.Cut(string(file), "\n")
			if pid, err := strconv.Atoi(first); err == nil && pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGQUIT)
			}
		}
		_ = os.RemoveAll(said[0])
	})
	answers := func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", said[1])
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	if !answers() {
		t.Fatal("the server does not answer while its program runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(20 * time.Second); answers(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server is still there")
		}
	}
}
