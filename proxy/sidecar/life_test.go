package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mcp-sidecar/proxy/config"
)

// busy is an upstream that answers calls when it is told to, and streams like
// [streaming].
type busy struct {
	*streaming
	arrived chan struct{}
	release chan struct{}
	once    sync.Once
}

func newBusy() *busy {
	b := &busy{streaming: newStreaming(), arrived: make(chan struct{}, 64), release: make(chan struct{})}
	b.call = func(w http.ResponseWriter, r *http.Request) {
		b.arrived <- struct{}{}
		select {
		case <-b.release:
			text("done")(w, r)
		case <-r.Context().Done():
		}
	}
	return b
}

func (b *busy) finish() { b.once.Do(func() { close(b.release) }) }

// pending is a call whose answer is awaited.
type pending struct {
	status int
	body   string
	err    error
}

func (r *rig) begin(a ask) chan pending {
	done := make(chan pending, 1)
	go func() {
		resp, err := r.send(context.Background(), a)
		if err != nil {
			done <- pending{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		done <- pending{resp.StatusCode, string(body), err}
	}()
	return done
}

// TestDrain: streams on which a client only waits end at once and in good order,
// nothing new is accepted, and what is in flight finishes, however long there
// would be time.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, version := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
			t.Parallel()
			up := newBusy()
			t.Cleanup(up.finish)
			s := setup{inventory: demoInventory, upstream: up.ServeHTTP, drain: time.Hour}
			var r *rig
			if version == 0 {
				r = start(t, s)
			} else {
				r = startTLS(t, s, version, nil).rig
			}
			r.up.answerWith(up.ServeHTTP)
			session := r.initialize("alice")
			events, _ := r.listen(t, "alice", session, "")
			call := r.begin(toolCall(legacy, r.token("alice"), "1", "update_document", `{"id":1}`).in(session))
			<-up.arrived
			r.cancel()
			if ev, err := events.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("the stream goes on with %q, or does not end in order: %v", ev.Data, err)
			}
			r.eventually(func() bool {
				conn, err := net.Dial("tcp", r.sidecar.listener.Addr().String())
				if err == nil {
					_ = conn.Close()
				}
				return err != nil
			})
			select {
			case err := <-r.done:
				t.Fatalf("Serve returns although a call is in flight: %v", err)
			case p := <-call:
				t.Fatalf("the call was cut: %+v", p)
			default:
			}
			up.finish()
			if p := <-call; p.err != nil || p.status != http.StatusOK || !strings.Contains(p.body, "done") {
				t.Errorf("the call in flight: %+v", p)
			}
			r.stop()
			kinds := map[string]string{}
			for _, e := range r.records() {
				if e.Phase == "outcome" {
					kinds[e.Kind+" "+e.Method] = e.Outcome
				}
			}
			if kinds["request tools/call"] != "allowed" || kinds["session-stream "] != "allowed" {
				t.Errorf("records: %v", kinds)
			}
		})
	}
}

// TestDrainEnds: a call that does not finish is cut when the time is over. It has
// its record, and the end is still an orderly one.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		up := newBusy()
		t.Cleanup(up.finish)
		r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP, drain: 20 * time.Millisecond})
		call := r.begin(toolCall(rev, r.token("alice"), "1", "update_document", `{"id":1}`))
		<-up.arrived
		r.stop()
		if p := <-call; p.err == nil && p.status == http.StatusOK {
			t.Errorf("%s: %+v", rev, p)
		}
		if e := r.outcome(); e.Outcome == "allowed" || e.Method != "tools/call" {
			t.Errorf("%s: record %+v", rev, e)
		}
		if !strings.Contains(r.stderr.String(), "calls were cut off by the shutdown") {
			t.Errorf("%s: stderr lacks the reason:\n%s", rev, r.stderr)
		}
	}
}

// neglect uses a sidecar as badly as clients do: sessions that nobody ends,
// streams that nobody reads, callers that vanish, calls that are in flight at the
// end. It returns once everything has been taken down again.
func neglect(t *testing.T, version int) {
	up := newBusy()
	defer up.finish()
	s := setup{inventory: demoInventory, upstream: up.ServeHTTP, drain: 20 * time.Millisecond, extra: withProbes}
	var r *rig
	if version == 0 {
		r = start(t, s)
	} else {
		r = startTLS(t, s, version, nil).rig
	}
	if code, body := r.probe(ReadyPath); code != http.StatusOK && code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", code, body)
	}
	for i := range 8 {
		session := r.initialize("alice")
		ctx, vanish := context.WithCancel(t.Context())
		stream := r.open(ctx, getOf(r.token("alice"), session, ""))
		if stream.StatusCode != http.StatusOK {
			t.Fatalf("GET: %d", stream.StatusCode)
		}
		feed, _ := up.feed(i)
		feed <- data("e", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		call := r.begin(toolCall(bothRevisions[i%2], r.token("alice"), "1", "update_document", `{"id":1}`))
		<-up.arrived
		if i%4 == 0 {
			vanish()
		}
		t.Cleanup(func() {
			vanish()
			_ = stream.Body.Close()
			<-call
		})
	}
	r.discard(toolCall(modern, "", "1", "update_document", `{"id":1}`))
	if version == 0 {
		conn := r.dial(t)
		_, _ = io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost: "+conn.RemoteAddr().String()+"\r\nContent-Length: 100\r\n\r\n{")
	}
	r.stop()
}

// neglectChildren leaves sessions open whose servers are processes of their own.
func neglectChildren(t *testing.T) {
	server, _ := sdkMember(t, "docs", true)
	command, _ := sdkChild(t, server)
	r := start(t, setup{drain: 20 * time.Millisecond, extra: withProbes, change: func(c *config.Config) {
		c.Upstreams["docs"] = config.Upstream{Command: command}
	}})
	if code, body := r.probe(ReadyPath); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	for range 3 {
		r.initialize("alice")
	}
	r.discard(request(modern, r.token("bob"), "1", "tools/list", ""))
	if n, known := processes(t); known && n < 4 {
		t.Errorf("%d processes, want one for each session and one for bob", n)
	}
	r.stop()
	if n, _ := processes(t); n > 0 {
		t.Errorf("%d processes are left", n)
	}
}

// TestNothingIsLeft: when a sidecar has been closed, no goroutine, no descriptor
// and no process of it is left, however it was used. It does not run beside other
// tests, which have some too.
func TestNothingIsLeft(t *testing.T) {
	for _, row := range []struct {
		name    string
		neglect func(*testing.T)
	}{
		{"plain", func(t *testing.T) { neglect(t, 0) }},
		{"TLS", func(t *testing.T) { neglect(t, 1) }},
		{"HTTP2", func(t *testing.T) { neglect(t, 2) }},
		{"children", neglectChildren},
	} {
		t.Run("first "+row.name, row.neglect) // opens what the runtime keeps
		before, goroutines := descriptors(t), goleak.IgnoreCurrent()
		t.Run(row.name, row.neglect)
		if err := goleak.Find(goroutines); err != nil {
			t.Error(err)
		}
		after := descriptors(t)
		for end := time.Now().Add(5 * time.Second); len(after) > len(before) && time.Now().Before(end); after = descriptors(t) {
			runtime.Gosched() // what was closed may still be in use for a moment
		}
		if len(after) > len(before) {
			t.Errorf("%s: %d descriptors before, %d after:\n%s", row.name, len(before), len(after), strings.Join(after, "\n"))
		}
	}
}

// TestSessionsLeaveNothing: what a session took is given back when it ends, while
// the sidecar goes on. It does not run beside other tests either.
func TestSessionsLeaveNothing(t *testing.T) {
	for name, begin := range map[string]func(*testing.T) *rig{
		"HTTP": func(t *testing.T) *rig {
			up := newStreaming()
			up.call = text("done")
			return start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
		},
		"children": func(t *testing.T) *rig { return newScripted(t).behind(t) },
	} {
		t.Run(name, func(t *testing.T) {
			r := begin(t)
			use := func(sessions int) {
				for range sessions {
					session := r.initialize("alice")
					stream := r.open(t.Context(), getOf(r.token("alice"), session, ""))
					if g := r.do(toolCall(legacy, r.token("alice"), "1", "update_document", `{"id":1}`).in(session)); g.status != http.StatusOK {
						t.Fatalf("%d %s", g.status, g.body)
					}
					if g := r.do(endOf(r.token("alice"), session)); g.status != http.StatusNoContent {
						t.Fatalf("DELETE: %d %s", g.status, g.body)
					}
					_ = stream.Body.Close()
				}
				r.http.CloseIdleConnections()
			}
			use(1) // opens what is kept for whoever comes next
			const sessions = 16
			goroutines, files := runtime.NumGoroutine(), len(descriptors(t))
			use(sessions)
			r.eventually(func() bool {
				n, _ := processes(t)
				return n == 0 && runtime.NumGoroutine() < goroutines+sessions/2 && len(descriptors(t)) < files+sessions/2
			})
		})
	}
}

// processes counts the children of this process, where the system says.
func processes(t *testing.T) (n int, known bool) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if text, err := os.ReadFile(task); err == nil { // a thread may have ended
			for pid := range strings.FieldsSeq(string(text)) {
				// The database that tests share is none of the sidecar's.
				if name, err := os.ReadFile("/proc/" + pid + "/comm"); err != nil || string(name) != "postgres\n" {
					n++
				}
			}
		}
	}
	return n, len(tasks) > 0
}

// descriptors lists what the process has open, where the system says.
func descriptors(t *testing.T) []string {
	t.Helper()
	const folder = "/proc/self/fd"
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		if target, err := os.Readlink(folder + "/" + e.Name()); err == nil { // not the folder itself, which is closed again
			open = append(open, e.Name()+" "+target)
		}
	}
	return open
}

// ending is a server that ends once all of them have been asked to.
type ending struct {
	upstream
	asked *sync.WaitGroup
}

func (e ending) Close() error {
	e.asked.Done()
	e.asked.Wait()
	return nil
}

// Servers that take their time to end do so at the same time: whoever stops the
// sidecar kills it in the end.
func TestServersEndTogether(t *testing.T) {
	t.Parallel()
	var asked sync.WaitGroup
	asked.Add(3)
	s := &Sidecar{}
	for range 3 {
		s.endpoints = append(s.endpoints, &endpoint{upstream: ending{asked: &asked}})
	}
	ended := make(chan error, 1)
	go func() { ended <- s.closeEndpoints() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("one waits for the end of another")
	}
}
