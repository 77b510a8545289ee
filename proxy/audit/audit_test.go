package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, o Options) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "folder", "audit.jsonl")
	w, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, path
}

func keep(s string) string { return s }

// lines reads whole records; anything else in the file is an error.
func lines(t *testing.T, path string) []Event {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		t.Errorf("the last line is torn: %q", text)
	}
	var events []Event
	for line := range bytes.Lines(text) {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

func TestRecord(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	e := Event{
		Time: time.Date(2026, 11, 23, 12, 0, 0, 5000, time.UTC), ID: "id-1", Phase: PhaseOutcome, Direction: "client", Transport: "http", Upstream: "docs",
		Kind: "request", Method: "tools/call", Name: "read_document", Issuer: "https://idp", Subject: "alice", ClientID: "cli", Scopes: []string{"a:b"}, Roles: []string{"role:admin"},
		Object: "document", Action: "read", Needed: []string{"a:b"},
		Stage: "execute", Outcome: "allowed", Findings: []string{"secret:redacted jwt"}, BytesIn: 7, Millis: 1.25,
	}
	if err := w.Record(e); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"ts":"2026-11-23T12:00:00.000005Z","audit_id":"id-1","phase":"outcome","direction":"client","transport":"http","upstream":"docs",` +
		`"kind":"request","mcp_method":"tools/call","mcp_name":"read_document","iss":"https://idp","sub":"alice","client_id":"cli","scopes":["a:b"],"roles":["role:admin"],"object":"document","action":"read","scopes_needed":["a:b"],` +
		`"stage":"execute","outcome":"allowed","findings":["secret:redacted jwt"],"bytes_in":7,"ms":1.25}` + "\n"
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
}

// Texts that somebody else chose are redacted, then cut.
func TestRecordIsClean(t *testing.T) {
	redact := func(s string) string { return strings.ReplaceAll(s, "SECRET", "[x]") }
	w, path := open(t, Options{Redact: redact})
	long := strings.Repeat("a", 125) + "SECRET"
	if err := w.Record(Event{Name: "tool SECRET", Method: "SECRET", Error: long, Subject: "SECRET", ClientID: "SECRET", Version: "SECRET", Redirect: "SECRET", Object: "docs/SECRET", Action: "SECRET"}); err != nil {
		t.Fatal(err)
	}
	e := lines(t, path)[0]
	if want := strings.Repeat("a", 125) + "[x]"; e.Error != want {
		t.Errorf("cut before it was redacted: %q", e.Error)
	}
	if text, _ := os.ReadFile(path); bytes.Contains(text, []byte("SECRET")) {
		t.Errorf("%s", text)
	}
	if err := w.Record(Event{Error: strings.Repeat("b", 129), Name: strings.Repeat("c", 128)}); err != nil {
		t.Fatal(err)
	}
	if e := lines(t, path)[1]; e.Error != strings.Repeat("b", 128)+"…" || e.Name != strings.Repeat("c", 128) {
		t.Errorf("%q %q", e.Error, e.Name)
	}
	blind, path := open(t, Options{})
	if err := blind.Record(Event{Name: "tool", Error: "cause"}); err != nil {
		t.Fatal(err)
	}
	if e := lines(t, path)[0]; e.Name != "[withheld]" || e.Error != "[withheld]" || e.Method != "" {
		t.Errorf("without a redactor: %+v", e)
	}
}

// A name cannot start a line of its own.
func TestRecordIsOneLine(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	if err := w.Record(Event{Name: "a\n{\"v\":1}\r\n\u2028\x00\xff"}); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, path); len(got) != 1 {
		t.Errorf("%d lines", len(got))
	}
}

// Many records at once are all there, each in one piece.
func TestConcurrentRecords(t *testing.T) {
	for _, all := range []bool{true, false} {
		w, path := open(t, Options{Redact: keep, SyncAll: all})
		var wg sync.WaitGroup
		const n = 200
		for i := range n {
			wg.Go(func() {
				phase := PhaseOutcome
				if i%2 == 0 {
					phase = PhaseIntent
				}
				if err := w.Record(Event{ID: fmt.Sprint(i), Phase: phase, Name: strings.Repeat("x", i%100)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for _, e := range lines(t, path) {
			seen[e.ID] = true
		}
		if len(seen) != n {
			t.Errorf("%d of %d records", len(seen), n)
		}
	}
}

// Intents wait for the disk, others only where all do; those follow by
// themselves.
func TestWhatWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := open(t, Options{Redact: keep})
		state := func() (int64, int64) {
			w.syncMu.Lock()
			defer w.syncMu.Unlock()
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.synced, w.written
		}
		if err := w.Record(Event{Phase: PhaseOutcome}); err != nil {
			t.Fatal(err)
		}
		if synced, written := state(); synced != 0 || written == 0 {
			t.Errorf("an outcome: %d of %d bytes on disk", synced, written)
		}
		if err := w.Record(Event{Phase: PhaseIntent}); err != nil {
			t.Fatal(err)
		}
		if synced, written := state(); synced != written {
			t.Errorf("an intent: %d of %d bytes on disk", synced, written)
		}
		if err := w.Record(Event{Phase: PhaseOutcome}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(syncDelay)
		synctest.Wait()
		if synced, written := state(); synced != written {
			t.Errorf("after %v: %d of %d bytes on disk", syncDelay, synced, written)
		}
		all, _ := open(t, Options{Redact: keep, SyncAll: true})
		if err := all.Record(Event{Phase: PhaseOutcome}); err != nil || all.synced != all.written {
			t.Errorf("with SyncAll: %v, %d of %d bytes on disk", err, all.synced, all.written)
		}
	})
}

// A line that a crash cut short spoils no later record.
func TestTornLineIsClosed(t *testing.T) {
	for name, before := range map[string]string{
		"torn":  `{"v":1}` + "\n" + `{"v":1,"audit_`,
		"whole": `{"v":1}` + "\n",
		"empty": "",
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Open(path, Options{Redact: keep})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Record(Event{ID: "next"}), w.Close()); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(path)
		rest, ok := strings.CutPrefix(string(text), before)
		if name == "torn" {
			rest, ok = strings.CutPrefix(rest, "\n")
		}
		if !ok || !strings.HasPrefix(rest, `{"v":1,`) || strings.Count(rest, "\n") != 1 {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Two sidecars may write to one file.
func TestSharedFile(t *testing.T) {
	one, path := open(t, Options{Redact: keep})
	two, err := Open(path, Options{Redact: keep})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	var wg sync.WaitGroup
	for i := range 100 {
		for _, w := range []*Writer{one, two} {
			wg.Go(func() {
				if err := w.Record(Event{ID: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := len(lines(t, path)); n != 200 {
		t.Errorf("%d of 200 records", n)
	}
}

func TestClose(t *testing.T) {
	w, path := open(t, Options{Redact: keep})
	if err := w.Record(Event{Phase: PhaseOutcome}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil || w.synced != w.written {
		t.Errorf("%v, %d of %d bytes on disk", err, w.synced, w.written)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := w.Record(Event{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if n := len(lines(t, path)); n != 1 {
		t.Errorf("%d records", n)
	}
}

// A copy is a convenience: it has what the file has, and its faults change
// nothing.
func TestCopy(t *testing.T) {
	var copied bytes.Buffer
	w, path := open(t, Options{Redact: keep, Copy: &copied})
	if err := w.Record(Event{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); copied.String() != string(text) {
		t.Errorf("%q and %q", copied.String(), text)
	}
	broken, _ := open(t, Options{Redact: keep, Copy: writer(func([]byte) (int, error) { return 0, errors.New("no terminal") })})
	if err := broken.Record(Event{}); err != nil {
		t.Errorf("a broken copy: %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// What cannot be written is an error, and so is everything behind a failed fsync.
func TestWriteFails(t *testing.T) {
	w, _ := open(t, Options{Redact: keep})
	_ = w.file.Close() // the disk goes away
	if err := w.Record(Event{}); err == nil {
		t.Error("a record on a closed file succeeded")
	}
	in, out, err := os.Pipe() // takes bytes, but cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() { _, _ = io.Copy(io.Discard, in) }()
	w, _ = open(t, Options{Redact: keep})
	_ = w.file.Close()
	w.file = out
	if err := w.Record(Event{Phase: PhaseOutcome}); err != nil {
		t.Errorf("a record that does not wait for the disk: %v", err)
	}
	if err := w.Record(Event{Phase: PhaseIntent}); err == nil {
		t.Error("an intent that is not on disk succeeded")
	}
	if err := w.Record(Event{Phase: PhaseOutcome}); err == nil {
		t.Error("a record behind a failed fsync succeeded")
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a folder": dir, "below a file": filepath.Join(file, "audit.jsonl"), "no name": ""} {
		if w, err := Open(path, Options{}); err == nil {
			_ = w.Close()
			t.Errorf("%s: opened", name)
		}
	}
}
