package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestReopen: a file that was moved away keeps what it has, and a new one with
// the same rights gets what follows.
func TestReopen(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	record := func(id string) {
		t.Helper()
		if err := w.Record(Event{ID: id, Phase: PhaseIntent}); err != nil {
			t.Fatal(err)
		}
	}
	record("1")
	moved := path + ".1"
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	record("2") // the file is still open
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	record("3")
	for name, want := range map[string]string{moved: "12", path: "3"} {
		got := ""
		for _, e := range lines(t, name) {
			got += e.ID
		}
		if got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Nothing was moved: the same file goes on.
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	record("4")
	if got := lines(t, path); len(got) != 2 || got[1].ID != "4" {
		t.Errorf("%+v", got)
	}
}

// TestReopenLosesNothing: rotations in the middle of many records.
func TestReopenLosesNothing(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 50 {
				phase := PhaseOutcome
				if j%10 == 0 {
					phase = PhaseIntent
				}
				if err := w.Record(Event{ID: fmt.Sprint(i, "/", j), Phase: phase}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint(path, ".", i))
		if err := errors.Join(os.Rename(path, names[i]), w.Reopen()); err != nil {
			t.Error(err)
		}
	}
	wait.Wait()
	seen := map[string]int{}
	for _, name := range append(names, path) {
		for _, e := range lines(t, name) {
			seen[e.ID]++
		}
	}
	if len(seen) != 400 {
		t.Errorf("%d records, want 400", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("record %s is there %d times", id, n)
		}
	}
}

// TestReopenFails: the writer goes on with the file it has.
func TestReopenFails(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	moved := filepath.Join(filepath.Dir(path), "moved")
	if err := errors.Join(os.Rename(path, moved), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err == nil {
		t.Error("a folder is taken for an audit file")
	}
	if err := w.Record(Event{ID: "1", Phase: PhaseIntent}); err != nil {
		t.Error(err)
	}
	if got := lines(t, moved); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestReopenAfterAFailedSync: the first attempt says that records may be lost,
// the second goes on; whoever still waits for a lost record learns that it is.
func TestReopenAfterAFailedSync(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	if err := w.Record(Event{ID: "1", Phase: PhaseOutcome}); err != nil {
		t.Fatal(err)
	}
	end, err := w.append([]byte("{\"audit_id\":\"2\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.file.Close(); err != nil { // stands for a disk that went away
		t.Fatal(err)
	}
	if err := w.Reopen(); err == nil {
		t.Error("records that cannot be synced count as written")
	}
	if err := w.Record(Event{ID: "3"}); err == nil {
		t.Error("a broken writer takes records")
	}
	_ = w.Reopen() // reports that the broken file cannot be closed
	if err := w.syncTo(end); !errors.Is(err, errLost) {
		t.Errorf("a lost record: %v", err)
	}
	if err := w.Record(Event{ID: "4", Phase: PhaseIntent}); err != nil {
		t.Errorf("after the second attempt: %v", err)
	}
	if got := lines(t, path); got[len(got)-1].ID != "4" {
		t.Errorf("%+v", got)
	}
}
