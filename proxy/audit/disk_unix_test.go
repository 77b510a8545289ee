//go:build linux || darwin

package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A device that is always full: what is not written is not recorded.
func TestDiskIsFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	w, err := Open("/dev/full", Options{Redact: keep})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 2 {
		if err := w.Record(Event{}); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%v", err)
		}
	}
}

// A disk that fills up in the middle of a line leaves a torn one; the next record
// closes it off. The limit that stands for the full disk holds for a whole
// process, so a child runs into it.
func TestDiskFillsUp(t *testing.T) {
	const variable = "AUDIT_TEST_FILE"
	if path := os.Getenv(variable); path != "" {
		fillUp(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFillsUp$")
	cmd.Env = append(os.Environ(), variable+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var whole, torn []string
	for line := range bytes.Lines(text) {
		var e Event
		if json.Unmarshal(line, &e) != nil {
			torn = append(torn, string(line))
			continue
		}
		whole = append(whole, e.ID)
	}
	if len(torn) != 1 || len(whole) != 2 || whole[0] != "before" || whole[1] != "after" {
		t.Errorf("whole records %q, torn lines %q", whole, torn)
	}
}

func fillUp(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	w, err := Open(path, Options{Redact: keep})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Record(Event{ID: "before"}); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = 150 // in the middle of the second line
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"torn", "not even begun"} {
		if err := w.Record(Event{ID: id}); err == nil {
			t.Errorf("record %q succeeded on a full disk", id)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := w.Record(Event{ID: "after"}); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
