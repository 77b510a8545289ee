//go:build unix

package pgtest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mcp-sidecar/scenarios/pgserver"
)

func TestMain(m *testing.M) { Main(m) }

// Each test has a database of its own, and a role has no right that it was not given.
func TestPostgresDatabase(t *testing.T) {
	a, b := DB(t), DB(t)
	a.Exec("create table x (n int)")
	a.Exec("insert into x values (1), (2)")
	if n := a.Count("select count(*) from x"); n != 2 {
		t.Errorf("%d rows", n)
	}
	if err := b.Try("select * from x"); err == nil {
		t.Error("both are one database")
	}
	_, address := a.Role("reader")
	as := Connect(t, address)
	if _, err := as.Exec("select * from x"); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("a role without rights: %v", err)
	}
	if n := a.KillConnections("select * from x"); n != 1 {
		t.Errorf("%d connections", n)
	}
	if _, err := as.Exec("select 1"); err == nil {
		t.Error("the connection was not killed")
	}
	if _, err := as.Exec("select 1"); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

// A private server is not run by root, can be stopped and comes back with what it held,
// and leaves nothing.
func TestPostgresPrivate(t *testing.T) {
	s := Private(t, pgserver.Options{})
	db := Connect(t, s.AdminURL("postgres"))
	if _, err := db.Exec("create table x (n int)"); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		info, err := os.Stat(filepath.Join(s.Folder(), "data", "postmaster.pid"))
		if err != nil || ownerOf(info) == 0 {
			t.Errorf("it runs as root: %v", err)
		}
	}
	s.Pause()
	if err := db.Ping(t.Context()); err == nil {
		t.Error("it answers although it was stopped")
	}
	if err := s.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("select * from x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	folder := s.Folder()
	s.Stop()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// Without binaries and without DATABASE_URL a test is skipped visibly, and fails where
// PostgreSQL is required.
func TestPostgresMissing(t *testing.T) {
	if os.Getenv("PGTEST_CHILD") == "1" {
		pgserver.Usual = nil
		DB(t)
		return
	}
	for require, want := range map[string]string{"": "SKIP: TestPostgresMissing", "1": "FAIL: TestPostgresMissing"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPostgresMissing$", "-test.v")
		cmd.Env = []string{"PGTEST_CHILD=1", "PG_BIN=" + t.TempDir(), "PATH=" + t.TempDir(), requireVariable + "=" + require}
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || strings.Contains(string(out), Skipped) != (require == "") {
			t.Errorf("%s=%q:\n%s", requireVariable, require, out)
		}
	}
}

func ownerOf(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }
