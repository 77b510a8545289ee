package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

// The child's environment is what the options say, to the letter.
func TestStdioEnvironment(t *testing.T) {
	t.Setenv("SIDECAR_SECRET", "ours")
	for _, row := range []struct {
		name string
		env  []string
	}{{"nothing", nil}, {"two", []string{"A=1", "B=x=y"}}} {
		t.Run(row.name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s := children(t, "server", StdioOptions{Env: row.env, Dir: dir})
			got := lists(t, do(t, s, statelessly("a", request("1", "env", ""))))
			want := append(slices.Clone(row.env), childMode+"=server", quickExit, "folder="+dir)
			slices.Sort(want)
			got = slices.DeleteFunc(got, func(v string) bool { return strings.HasPrefix(v, "pid=") })
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// A child without any environment is not given ours.
func TestStdioEmptyEnvironment(t *testing.T) {
	o := &StdioOptions{Command: []string{"x"}}
	if env := o.command().Env; env == nil || len(env) != 0 {
		t.Errorf("%q would be inherited", env)
	}
}

// What cannot be started says so as a shell would.
func TestStdioCannotStart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, row := range []struct {
		name, command, dir string
		err                error
		other              error // must not be it
	}{
		{"not in the path", "no-such-command-anywhere", "", exec.ErrNotFound, fs.ErrPermission},
		{"no such file", filepath.Join(dir, "none"), "", exec.ErrNotFound, fs.ErrPermission},
		{"not executable", file("plain", "#!/bin/sh\n", 0o600), "", fs.ErrPermission, exec.ErrNotFound},
		{"a folder", dir, "", fs.ErrPermission, exec.ErrNotFound},
		{"no such folder to work in", os.Args[0], filepath.Join(dir, "none"), fs.ErrNotExist, exec.ErrNotFound},
		{"a file to work in", os.Args[0], file("file", "", 0o600), ErrTransport, exec.ErrNotFound},
		{"relative to the folder to work in", "./none", dir, exec.ErrNotFound, fs.ErrPermission},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, shared := range []bool{false, true} {
				s, err := NewStdio(StdioOptions{Command: []string{row.command}, Dir: row.dir, Shared: shared})
				if err != nil {
					t.Fatal(err)
				}
				for what, err := range map[string]error{
					"ready": s.Ready(t.Context()), "an exchange": s.Do(t.Context(), statelessly("a", request("1", "env", "")), &taker{}),
				} {
					if shared && errors.Is(err, errBackoff) {
						continue // the other one of the two came first
					}
					if !errors.Is(err, ErrTransport) || !errors.Is(err, row.err) || errors.Is(err, row.other) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if n := s.Stats().Children; n != 0 {
					t.Errorf("%d children are left", n)
				}
				select {
				case <-s.Done():
					t.Error("a child that never ran has ended")
				default:
				}
			}
		})
	}
}

// A file that is executable but no program is not executable.
func TestStdioNoProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(path, []byte{0, 1, 2, 3}, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := NewStdio(StdioOptions{Command: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := doErr(t, s, statelessly("a", request("1", "env", ""))); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStdioReady(t *testing.T) {
	own := children(t, "server", StdioOptions{})
	if err := own.Ready(t.Context()); err != nil || own.Stats().Children != 0 {
		t.Errorf("%v, %d children", err, own.Stats().Children)
	}
	shared := children(t, "server", StdioOptions{Shared: true})
	for range 2 {
		if err := shared.Ready(t.Context()); err != nil || shared.Stats().Children != 1 {
			t.Errorf("%v, %d children", err, shared.Stats().Children)
		}
	}
	_, _ = doErr(t, shared, statelessly("a", request("1", "die", "")))
	gone(t, shared, 0)
	if err := shared.Ready(t.Context()); !errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
	if err := shared.Close(); err != nil {
		t.Error(err)
	}
	if err := shared.Ready(t.Context()); !errors.Is(err, errShut) {
		t.Errorf("%v", err)
	}
	if _, err := doErr(t, shared, statelessly("a", request("1", "env", ""))); !errors.Is(err, errShut) {
		t.Errorf("%v", err)
	}
}

func TestStdioDone(t *testing.T) {
	for _, row := range []struct {
		name, method, params string
		code                 int
	}{
		{"ends well", "die", `"code":0`, 0},
		{"fails", "die", `"code":42`, 42},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			id := open(t, s, "a")
			do(t, s, statelessly("b", request("1", "env", "")))
			if _, ok := s.Exit(); ok {
				t.Error("nothing has ended yet")
			}
			do(t, s, wire.Exchange{Verb: wire.End, Session: id})
			gone(t, s, 1)
			select {
			case <-s.Done():
				t.Error("a child that was ended has ended by itself")
			default:
			}
			_, err := doErr(t, s, statelessly("b", request("1", row.method, row.params)))
			if !errors.Is(err, ErrTransport) {
				t.Errorf("%v", err)
			}
			<-s.Done()
			if code, ok := s.Exit(); code != row.code || !ok {
				t.Errorf("exit code %d %v, want %d", code, ok, row.code)
			}
		})
	}
	t.Run("one of two", func(t *testing.T) {
		s := children(t, "server", StdioOptions{})
		do(t, s, statelessly("a", request("1", "env", "")))
		_, _ = doErr(t, s, statelessly("b", request("1", "die", `"code":7`)))
		gone(t, s, 1)
		select {
		case <-s.Done():
			t.Error("one is left")
		default:
		}
		if code, ok := s.Exit(); code != 7 || !ok {
			t.Errorf("exit code %d %v", code, ok)
		}
	})
}

// What a child says before it ends is heard, also by those who were held up.
func TestStdioLastWords(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	s.bounds.grace = time.Minute // is not used up
	held := start(t, s, statelessly("a", request(`"h"`, "hold", "")))
	at := numberOf(seenAfter(t, s, "a", "hold", 1), "hold")
	progress := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN}}`
	all := append(slices.Repeat([]string{progress}, maxWaiting+5), `{"jsonrpc":"2.0","id":`+at+`,"result":{}}`)
	release, over := make(chan struct{}), make(chan error)
	go func() {
		over <- s.Do(t.Context(), statelessly("a", request("1", "say", lines(all...)+`,"then":"die","_meta":{"progressToken":1}`)), sinkFunc(func(wire.Event) error {
			<-release
			return nil
		}))
	}()
	s.mu.Lock()
	c := s.parties[ownerKey("a")].child
	s.mu.Unlock()
	<-c.proc.exited
	close(release)
	held.want("reply 200 false", `{"jsonrpc":"2.0","id":"h","result":{}}`)
	if err := held.end(); err != nil {
		t.Error(err)
	}
	if err := <-over; !errors.Is(err, ErrTransport) {
		t.Errorf("%v", err)
	}
}

// Lines in front of the first message do not end anything.
func TestStdioBanner(t *testing.T) {
	s := children(t, "banner", StdioOptions{})
	do(t, s, statelessly("a", request("1", "env", "")))
	if n := s.Stats().Noise; n != 1 {
		t.Errorf("%d lines of noise", n)
	}
}

// A child that does not read is ended, and whatever waits for it fails.
func TestStdioDeaf(t *testing.T) {
	for _, shared := range []bool{false, true} {
		s := children(t, "server", StdioOptions{Shared: shared})
		s.bounds.write = 100 * time.Millisecond
		do(t, s, statelessly("a", request("1", "deaf", "")))
		waits := start(t, s, statelessly("a", request("1", "hold", "")))
		large := `"pad":"` + strings.Repeat("x", 1<<20) + `"` // more than the system keeps
		if _, err := doErr(t, s, statelessly("a", request("1", "env", large))); !errors.Is(err, ErrTransport) {
			t.Errorf("%v", err)
		}
		if err := waits.end(); !errors.Is(err, ErrTransport) {
			t.Errorf("%v", err)
		}
		gone(t, s, 0)
		if code, ok := s.Exit(); code != 128+9 || !ok {
			t.Errorf("exit code %d %v", code, ok)
		}
	}
}

// A request that nobody waits for any more is not even sent.
func TestStdioWithdrawn(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	p, err := s.find(t.Context(), statelessly("a", nil))
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.Scan(request("1", "never", ""), wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	e := p.child.exchange(p, statelessly("a", nil), m)
	b, err := p.child.outgoing(e, m)
	if err != nil {
		t.Fatal(err)
	}
	p.child.enter(e)
	p.child.leave(e)
	if err := p.child.send(t.Context(), outgoing{line: b, e: e}); err != nil {
		t.Fatal(err)
	}
	s.release(p)
	if got := seen(t, s, "a"); len(got) != 1 {
		t.Errorf("the child read %q", got)
	}
}

// alive says whether a process exists and is not merely waiting to be buried.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// Whatever a child starts ends with it, however it ends.
func TestStdioGroup(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	for _, row := range []struct {
		name, kind string
		end        func(t *testing.T, s *Stdio, session string)
	}{
		{"session ends", "server", func(t *testing.T, s *Stdio, id string) { do(t, s, wire.Exchange{Verb: wire.End, Session: id}) }},
		{"child ends by itself", "server", func(t *testing.T, s *Stdio, id string) {
			_, _ = doErr(t, s, inSession(id, request("1", "die", "")))
		}},
		{"sidecar ends", "server", func(t *testing.T, s *Stdio, _ string) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}},
		{"session ends, behind a wrapper", "wrapper", func(t *testing.T, s *Stdio, id string) { do(t, s, wire.Exchange{Verb: wire.End, Session: id}) }},
		{"server ends by itself, behind a wrapper", "wrapper", func(t *testing.T, s *Stdio, id string) {
			_, _ = doErr(t, s, inSession(id, request("1", "die", "")))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			files := openFiles(t)
			s := children(t, row.kind, StdioOptions{})
			s.bounds.grace = 200 * time.Millisecond
			id := open(t, s, "a")
			var pids []int
			for _, v := range lists(t, do(t, s, inSession(id, request("1", "env", "")))) {
				if text, ok := strings.CutPrefix(v, "pid="); ok {
					pid, _ := strconv.Atoi(text)
					pids = append(pids, pid)
				}
			}
			sink := do(t, s, inSession(id, request("1", "spawn", "")))
			var pid int
			if _, err := fmt.Sscanf(sink.events[0][strings.Index(sink.events[0], `"result":`):], `"result":%d`, &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
			for ready := false; !ready; { // to ignore SIGTERM
				ready = strings.Contains(do(t, s, inSession(id, request("1", "env", ""))).events[0], "notifications/ready")
			}
			for _, pid := range pids {
				if !alive(pid) {
					t.Fatalf("process %d does not run", pid)
				}
			}
			row.end(t, s, id)
			gone(t, s, 0)
			for _, pid := range pids {
				for alive(pid) { // a killed process takes a moment to go
					runtime.Gosched()
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if now := openFiles(t); now > files {
				t.Errorf("%d open files, %d before", now, files)
			}
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A child does not outlive a sidecar that was killed.
func TestStdioSidecarDies(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a child sees only that its input has ended")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childMode + "=sidecar"}
	out, _ := cmd.Output() // it was killed
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || cmd.ProcessState.Success() {
		t.Fatalf("%q, %v", out, cmd.ProcessState)
	}
	for alive(pid) {
		runtime.Gosched()
	}
}

// A child that ignores the end of its input and SIGTERM is killed.
func TestStdioStubborn(t *testing.T) {
	s := children(t, "stubborn", StdioOptions{})
	s.bounds.grace = 50 * time.Millisecond
	f := start(t, s, wire.Exchange{Body: request("1", "initialize", ""), Owner: "a"})
	f.want("reply 200 true", `{"jsonrpc":"2.0","method":"notifications/ready"}`)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := f.end(); !errors.Is(err, ErrTransport) {
		t.Errorf("%v", err)
	}
}

// Closing ends everything that is under way, once.
func TestStdioClose(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	for _, x := range []wire.Exchange{inSession(id, request("1", "hold", "")), {Verb: wire.Watch, Session: id}, statelessly("b", request("1", "hold", ""))} {
		f := start(t, s, x)
		defer func() {
			for range f.events {
			}
			if err := <-f.err; err != nil && !errors.Is(err, errShut) {
				t.Errorf("%v", err)
			}
		}()
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
