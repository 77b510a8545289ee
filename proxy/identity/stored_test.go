package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// hand is a clock that a test moves by hand.
type hand struct {
	mu  sync.Mutex
	now time.Time
}

func newHand() *hand { return &hand{now: time.Unix(1_800_000_000, 0)} }

func (h *hand) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hand) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// shows fails unless the source yields want.
func shows(t *testing.T, s *Stored, want string) Credential {
	t.Helper()
	c, err := s.Current(t.Context(), nil)
	if err != nil || c.Reveal() != want {
		t.Errorf("%q, %v; want %q", c.Reveal(), err, want)
	}
	return c
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	for i, row := range []struct{ text, want string }{
		{"secret", "secret"}, {"secret\n", "secret"}, {" \tsecret\r\n\n", "secret"}, {"a b", "a b"},
		{"", ""}, {" \n", ""}, {"one\ntwo", ""}, {"one\rtwo", ""}, {"one\x00two", ""},
		{strings.Repeat("x", maxSecret), strings.Repeat("x", maxSecret)}, {strings.Repeat("x", maxSecret+1), ""}, {"x" + strings.Repeat(" ", maxSecret), ""},
	} {
		file := filepath.Join(dir, fmt.Sprint(i))
		write(t, file, row.text)
		if got, err := ReadSecretFile(file); got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%.20q: %.20q, %v", row.text, got, err)
		}
	}
	if _, err := ReadSecretFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A file is followed without a restart; what cannot be used leaves the value as it
// was, and is said once.
func TestStoredFile(t *testing.T) {
	file, clock := filepath.Join(t.TempDir(), "token"), newHand()
	var log bytes.Buffer
	var seen []string
	o := StoredOptions{File: file, Now: clock.Now, Log: slog.New(slog.NewTextHandler(&log, nil)), Accept: func(v string) error {
		if v == "forbidden" {
			return errNotNow
		}
		seen = append(seen, v)
		return nil
	}}
	if _, err := NewStored(o); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing file at the start: %v", err)
	}
	write(t, file, "forbidden")
	if _, err := NewStored(o); !errors.Is(err, errNotNow) {
		t.Fatalf("a forbidden value at the start: %v", err)
	}
	write(t, file, "first\n")
	s, err := NewStored(o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "second\n")
	shows(t, s, "first") // it was looked at a moment ago
	clock.advance(fileEvery)
	shows(t, s, "second")
	for _, broken := range []string{"", "two\nlines", "forbidden"} {
		write(t, file, broken)
		clock.advance(fileEvery)
		shows(t, s, "second")
		clock.advance(fileEvery)
		shows(t, s, "second")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	clock.advance(-time.Hour) // a clock that is set back
	shows(t, s, "second")
	if n := strings.Count(log.String(), "the one before stays"); n != 3 {
		t.Errorf("said %d times, want once for each defect:\n%s", n, &log)
	}
	write(t, file, "third")
	clock.advance(fileEvery)
	shows(t, s, "third")
	if got := strings.Join(seen, " "); got != "first second third" {
		t.Errorf("accepted %s", got)
	}
}

func TestStoredRenewsFile(t *testing.T) {
	file, clock := filepath.Join(t.TempDir(), "token"), newHand()
	write(t, file, "first")
	s, err := NewStored(StoredOptions{File: file, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	first := shows(t, s, "first")
	if c, ok := s.Renew(t.Context(), nil, first); ok {
		t.Errorf("the same again: %q", c.Reveal())
	}
	write(t, file, "second")
	if c, ok := s.Renew(t.Context(), nil, first); !ok || c.Reveal() != "second" {
		t.Errorf("a new file is not looked at when the old value is refused: %q %v", c.Reveal(), ok)
	}
	if c, ok := s.Renew(t.Context(), nil, first); !ok || c.Reveal() != "second" {
		t.Errorf("what another call has renewed: %q %v", c.Reveal(), ok)
	}
}

func TestStoredValue(t *testing.T) {
	s, err := NewStored(StoredOptions{Value: NewSecret("v")})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := s.Renew(t.Context(), nil, shows(t, s, "v")); ok {
		t.Errorf("a value of the environment changes to %q", c.Reveal())
	}
	if _, err := NewStored(StoredOptions{Value: NewSecret("v"), Accept: func(string) error { return errNotNow }}); !errors.Is(err, errNotNow) {
		t.Errorf("a forbidden value: %v", err)
	}
}

// program is a command that runs script, and how often it did.
type program struct{ dir string }

func newProgram(t *testing.T, script string) program {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	p := program{t.TempDir()}
	p.becomes(t, script)
	return p
}

func (p program) becomes(t *testing.T, script string) {
	write(t, filepath.Join(p.dir, "run"), "#!/bin/sh\nprintf x >>"+p.dir+"/runs\n"+script+"\n")
}

func (p program) command() []string { return []string{filepath.Join(p.dir, "run")} }

func (p program) runs() int {
	b, _ := os.ReadFile(filepath.Join(p.dir, "runs"))
	return len(b)
}

func TestStoredCommand(t *testing.T) {
	clock := newHand()
	p := newProgram(t, `echo "token-$NAME"; echo noise >&2`)
	var log bytes.Buffer
	s, err := NewStored(StoredOptions{Command: p.command(), Env: Hide([]string{"NAME=one"}), MaxAge: time.Minute, Now: clock.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || p.runs() != 0 {
		t.Fatalf("%v, run %d times before anybody asked", err, p.runs())
	}
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if c, err := s.Current(context.Background(), nil); err != nil || c.Reveal() != "token-one" {
				t.Errorf("%q, %v", c.Reveal(), err)
			}
		})
	}
	if wait.Wait(); p.runs() != 1 {
		t.Errorf("run %d times for callers at the same time", p.runs())
	}
	clock.advance(time.Minute - 1)
	shows(t, s, "token-one")
	p.becomes(t, "echo token-two")
	shows(t, s, "token-one")
	clock.advance(1)
	shows(t, s, "token-two")
	if p.runs() != 2 {
		t.Errorf("run %d times", p.runs())
	}
	// Past its age nothing stands in for what the command does not print.
	p.becomes(t, "exit 7")
	clock.advance(time.Minute)
	for range 3 {
		if c, err := s.Current(t.Context(), nil); !errors.Is(err, ErrNoCredential) || !strings.Contains(err.Error(), "exit status 7") || !c.Empty() {
			t.Errorf("%q, %v", c.Reveal(), err)
		}
	}
	if p.runs() != 3 {
		t.Errorf("a command that fails was run %d times at once", p.runs()-2)
	}
	if log.Len() > 0 {
		t.Errorf("the value before does not stay: %s", &log)
	}
	p.becomes(t, "echo token-three")
	clock.advance(retryEvery - 1)
	if _, err := s.Current(t.Context(), nil); !errors.Is(err, ErrNoCredential) {
		t.Error("tried again too soon")
	}
	clock.advance(1)
	shows(t, s, "token-three")
}

// A command is run again when the upstream refuses what it printed, but not for
// every refusal.
func TestStoredRenewsCommand(t *testing.T) {
	clock := newHand()
	p := newProgram(t, "echo first")
	s, err := NewStored(StoredOptions{Command: p.command(), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	first := shows(t, s, "first")
	p.becomes(t, "echo second")
	clock.advance(commandAgain - 1)
	if c, ok := s.Renew(t.Context(), nil, first); ok || p.runs() != 1 {
		t.Errorf("%q, run %d times", c.Reveal(), p.runs())
	}
	clock.advance(1)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if c, ok := s.Renew(context.Background(), nil, first); !ok || c.Reveal() != "second" {
				t.Errorf("%q, %v", c.Reveal(), ok)
			}
		})
	}
	if wait.Wait(); p.runs() != 2 {
		t.Errorf("run %d times for callers at the same time", p.runs())
	}
	p.becomes(t, "exit 1")
	clock.advance(commandAgain)
	if _, ok := s.Renew(t.Context(), nil, shows(t, s, "second")); ok {
		t.Error("a command that fails renews")
	}
}

func TestCommandIsBounded(t *testing.T) {
	for _, row := range []struct{ name, script, want string }{
		{"nothing", "true", "must hold one line"},
		{"several lines", "echo a; echo b", "must hold one line"},
		{"too much", "head -c 65537 /dev/zero | tr '\\0' x", "prints too much"},
		{"without end", "yes", "prints too much"},
		{"failure", "echo secret; exit 3", "exit status 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newProgram(t, row.script)
			if got, err := runCommand(t.Context(), p.command(), os.Environ()); err == nil || !strings.Contains(err.Error(), row.want) || got != "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%.20q, %v", got, err)
			}
		})
	}
	if _, err := runCommand(t.Context(), []string{filepath.Join(t.TempDir(), "none")}, nil); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program reads as one of the upstream's: %v", err)
	}
}

// Whoever gives up waiting stops nobody else's run.
func TestStoredCommandOutlivesItsCaller(t *testing.T) {
	p := newProgram(t, "while [ ! -e $GO ]; do sleep 0.01; done; echo late")
	gate := filepath.Join(p.dir, "go")
	s, err := NewStored(StoredOptions{Command: p.command(), Env: Hide(append(os.Environ(), "GO="+gate))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := s.Current(ctx, nil); first <- err }()
	for p.runs() == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	write(t, gate, "")
	shows(t, s, "late")
	if p.runs() != 1 {
		t.Errorf("run %d times", p.runs())
	}
}
