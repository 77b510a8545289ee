package front

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// headBytes is how much of an over-long line may be kept.
const headBytes = 64 << 10

// desk stands in for the pipeline: it notes what it is handed and answers as the
// test says.
type desk struct {
	answer func(ctx context.Context, c *pipeline.Call, body string, out pipeline.Sink)

	mu    sync.Mutex
	calls []string
}

// handle is the pipeline's Handle. A call is noted as its verb, session and body.
func (d *desk) handle(ctx context.Context, c *pipeline.Call, out pipeline.Sink) {
	body, _ := io.ReadAll(c.Body.Reader)
	note := string(body)
	switch c.Verb {
	case wire.End:
		note = "end"
	case wire.Watch:
		note = "watch after " + c.Head.LastEvent
	}
	if c.Head.Session != "" {
		note += " @" + c.Head.Session
	}
	hearCall(c)
	c.ID = "audit"
	d.mu.Lock()
	d.calls = append(d.calls, note)
	d.mu.Unlock()
	d.answer(ctx, c, string(body), out)
}

func (d *desk) noted() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.calls...)
}

// talk is a client at one end of a pipe.
type talk struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *io.PipeReader
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	lines []string
}

// converse serves d until the test ends. The client reads all the time unless deaf, and
// has a credential unless the test says otherwise.
func converse(t *testing.T, d *desk, o StdioOptions, deaf bool) *talk {
	t.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	k := &talk{t: t, in: toServer, out: fromServer, stop: stop, done: make(chan error, 1)}
	o.Handle = d.handle
	if token := newToken(t); o.Token == nil && !o.Authenticated {
		o.Token = func() string { return token }
	}
	go func() {
		err := NewStdio(o).Serve(ctx, in, heardWriter{out})
		heard.Hear("an error", err)
		k.done <- err
		_ = out.Close()
		_ = in.Close()
	}()
	if !deaf {
		go k.read()
	}
	return k
}

func (k *talk) read() {
	lines := bufio.NewScanner(k.out)
	for lines.Scan() {
		if !json.Valid(lines.Bytes()) {
			k.t.Errorf("no message: %q", lines.Text())
		}
		k.mu.Lock()
		k.lines = append(k.lines, lines.Text())
		k.mu.Unlock()
	}
}

// say sends text and waits until everything that can happen has.
func (k *talk) say(text string) {
	k.t.Helper()
	if _, err := io.WriteString(k.in, text); err != nil {
		k.t.Fatal(err)
	}
	synctest.Wait()
}

// heard returns what has been printed since it was last asked.
func (k *talk) heard() []string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	lines := k.lines
	k.lines = nil
	return lines
}

func (k *talk) hangUp() error {
	_ = k.in.Close()
	return <-k.done
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// bubble runs f where time passes only when nothing else can happen, and where
// nothing may be left running at the end.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func allowed(out pipeline.Sink, body string) {
	a := &pipeline.Answer{Outcome: pipeline.Allowed, Status: 200}
	if body != "" {
		a.Body = []byte(body)
	}
	out.Answer(a)
}

// echo answers a request with its own text as a string.
func echo(_ context.Context, _ *pipeline.Call, body string, out pipeline.Sink) {
	quoted, _ := json.Marshal(body)
	allowed(out, string(quoted))
}

func TestStdioLines(t *testing.T) {
	bubble(t, "framing", func(t *testing.T) {
		tokens := 0
		d := &desk{answer: func(_ context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
			if c.Transport != pipeline.Stdio || c.Verb != wire.Send || c.Refused != nil || c.Body.Size != int64(len(body)) {
				t.Errorf("%+v", c)
			}
			if got := c.Head.Authorization; got.Len() != 1 || got.At(0).Reveal() != fmt.Sprintf("Bearer t%d", tokens) {
				t.Errorf("authorization %q", got)
			}
			_ = out.Event(wire.Event{ID: "only an id"})
			_ = out.Event(wire.Event{Data: []byte("{\r\n\"event\":\n1}"), Type: "message", ID: "7", Retry: "3"})
			allowed(out, "[\r\n\"answer\"\n]")
		}}
		k := converse(t, d, StdioOptions{Token: func() string { tokens++; return fmt.Sprintf("t%d", tokens) }}, false)
		k.say("{\"id\":1,\"method\":\"a\"}\r\n\n  \n")
		same(t, "request", k.heard(), `{  "event": 1}`, `[  "answer" ]`)
		k.say(`{"method":"b"}` + "\n" + `{"id":2,"method":"c"}`)
		if err := k.hangUp(); err != nil {
			t.Error(err)
		}
		same(t, "calls", d.noted(), `{"id":1,"method":"a"}`, `{"method":"b"}`, `{"id":2,"method":"c"}`)
		same(t, "notification, and a last line without an end", k.heard(), `{  "event": 1}`, `{  "event": 1}`, `[  "answer" ]`)
	})
	bubble(t, "no token", func(t *testing.T) {
		d := &desk{answer: func(_ context.Context, c *pipeline.Call, _ string, out pipeline.Sink) {
			if c.Head.Authorization.Len() > 0 {
				t.Errorf("authorization %q", c.Head.Authorization)
			}
			allowed(out, "1")
		}}
		k := converse(t, d, StdioOptions{Token: func() string { return "" }}, false)
		k.say(`{"id":1,"method":"a"}` + "\n")
		same(t, "answer", k.heard(), "1")
		_ = k.hangUp()
	})
	bubble(t, "over-long", func(t *testing.T) {
		d := &desk{answer: func(_ context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
			if c.Refused == nil {
				allowed(out, "1")
				return
			}
			if r := c.Refused; r.Outcome != pipeline.Limited || r.Code != pipeline.CodeSize || len(body) > headBytes {
				t.Errorf("%+v, body of %d bytes", r, len(body))
			}
			out.Answer(&pipeline.Answer{Outcome: pipeline.Limited, Status: 413, Body: []byte("413")})
		}}
		k := converse(t, d, StdioOptions{MaxMessage: 32}, false)
		for i, want := range map[int]string{31: "1", 32: "1", 33: "413", 100_000: "413"} {
			raw := `{"id":1,"method":"`
			k.say(raw + strings.Repeat("x", i-len(raw)-2) + "\"}\n")
			same(t, fmt.Sprint(i, " bytes"), k.heard(), want)
		}
		_ = k.hangUp()
	})
}

// TestStdioAnswers: a request has exactly one answer, everything else none.
func TestStdioAnswers(t *testing.T) {
	const silence = `{"jsonrpc":"2.0","id":"a\"","error":{"code":-32600,"message":"the session has ended; start the server again","data":{"outcome":"protocol_rejected","audit_id":"audit"}}}`
	refusal := pipeline.Answer{Outcome: pipeline.ProtocolRejected, Code: -32600, Status: 400, Body: []byte(`"refused"`)}
	lost := pipeline.Answer{Outcome: pipeline.ProtocolRejected, Code: -32600, Status: 404}
	gone := pipeline.Answer{Outcome: pipeline.UpstreamFailed, Code: 50200, Status: 202}
	const request, notification, response = `{"id":"a\"","method":"x"}`, `{"method":"x"}`, `{"id":1,"result":{}}`
	for _, row := range []struct {
		name, line string
		answer     pipeline.Answer
		want       []string
	}{
		{"refused request", request, refusal, []string{`"refused"`}},
		{"refused notification", notification, refusal, nil},
		{"refused cancellation", `{"method":"notifications/cancelled","params":{"requestId":1}}`, refusal, nil},
		{"refused response", response, refusal, nil},
		{"no message", `{"id":1,"method":`, refusal, []string{`"refused"`}},
		{"a batch", `[` + notification + `]`, refusal, []string{`"refused"`}},
		{"request in an unknown session", request, lost, []string{silence}},
		{"notification in an unknown session", notification, lost, nil},
		{"response in an unknown session", response, lost, nil},
		{"request that the client cancelled", request, gone, nil},
	} {
		bubble(t, row.name, func(t *testing.T) {
			d := &desk{answer: func(_ context.Context, _ *pipeline.Call, _ string, out pipeline.Sink) { out.Answer(&row.answer) }}
			k := converse(t, d, StdioOptions{}, false)
			k.say(row.line + "\n")
			same(t, "printed", k.heard(), row.want...)
			_ = k.hangUp()
			if n := len(d.noted()); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// waiting answers calls whose text holds one of its keys when that is released,
// and others at once.
type waiting map[string]chan struct{}

func (w waiting) answer(ctx context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
	for key, release := range w {
		if !strings.Contains(body, key) {
			continue
		}
		select {
		case <-release:
		case <-ctx.Done():
			out.Answer(&pipeline.Answer{Outcome: pipeline.UpstreamFailed, Status: 202})
			return
		}
	}
	if c.Refused != nil {
		out.Answer(&pipeline.Answer{Outcome: c.Refused.Outcome, Status: c.Refused.Status, Body: []byte(`"` + c.Refused.Reason + `"`)})
		return
	}
	echo(ctx, c, "answered", out)
}

func hold(keys ...string) waiting {
	w := waiting{}
	for _, k := range keys {
		w[k] = make(chan struct{})
	}
	return w
}

func TestStdioOrder(t *testing.T) {
	const slow, fast, note = `{"id":1,"method":"slow"}`, `{"id":2,"method":"fast"}`, `{"method":"note"}`
	bubble(t, "requests overtake", func(t *testing.T) {
		w := hold("slow")
		d := &desk{answer: w.answer}
		k := converse(t, d, StdioOptions{}, false)
		k.say(slow + "\n")
		k.say(fast + "\n")
		same(t, "calls", d.noted(), slow, fast)
		same(t, "printed", k.heard(), `"answered"`)
		close(w["slow"])
		same(t, "printed later", k.heard(), `"answered"`)
		_ = k.hangUp()
	})
	for name, first := range map[string]string{
		"notifications do not": note, "responses do not": `{"id":9,"result":"note"}`, "initialize does not": `{"id":1,"method":"initialize","params":"note"}`,
	} {
		bubble(t, name, func(t *testing.T) {
			w := hold("note")
			d := &desk{answer: w.answer}
			k := converse(t, d, StdioOptions{}, false)
			k.say(first + "\n")
			go func() { _, _ = io.WriteString(k.in, fast+"\n") }()
			synctest.Wait()
			same(t, "calls", d.noted(), first)
			close(w["note"])
			synctest.Wait()
			same(t, "calls later", d.noted(), first, fast)
			_ = k.hangUp()
		})
	}
	bubble(t, "a notification that hangs holds nobody up for long", func(t *testing.T) {
		w := hold("note")
		d := &desk{answer: w.answer}
		k := converse(t, d, StdioOptions{}, false)
		k.say(note + "\n")
		began := time.Now()
		_, _ = io.WriteString(k.in, fast+"\n")
		k.say(fast + "\n")
		same(t, "printed", k.heard(), `"answered"`, `"answered"`)
		if d := time.Since(began); d != orderTime {
			t.Errorf("after %v", d)
		}
		close(w["note"])
		_ = k.hangUp()
	})
	bubble(t, "too many", func(t *testing.T) {
		w := hold("slow")
		d := &desk{answer: w.answer}
		k := converse(t, d, StdioOptions{Concurrent: 2}, false)
		k.say(`{"id":1,"method":"slow"}` + "\n" + `{"id":2,"method":"slow"}` + "\n")
		w2 := `{"id":3,"method":"fast"}`
		k.say(w2 + "\n" + note + "\n")
		same(t, "printed", k.heard(), `"flood"`)
		same(t, "calls", d.noted()[2:], w2, note)
		close(w["slow"])
		k.heard()
		k.say(w2 + "\n")
		same(t, "printed later", k.heard(), `"answered"`)
		_ = k.hangUp()
	})
}

// TestStdioCancellation: it never arrives before what it cancels.
func TestStdioCancellation(t *testing.T) {
	const call, cancel = `{"id":"\u0061","method":"call"}`, `{"method":"notifications/cancelled","params":{"requestId":"a"}}`
	start := func(t *testing.T) (*desk, *talk, chan func(), chan struct{}) {
		forward, release := make(chan func(), 8), make(chan struct{})
		d := &desk{answer: func(_ context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
			if strings.Contains(body, `"call"`) {
				forward <- c.Forwarded
				<-release
			}
			allowed(out, "1")
		}}
		return d, converse(t, d, StdioOptions{}, false), forward, release
	}
	bubble(t, "waits until it is forwarded", func(t *testing.T) {
		d, k, forward, release := start(t)
		k.say(call + "\n")
		k.say(cancel + "\n" + `{"id":2,"method":"other"}` + "\n")
		same(t, "calls", d.noted(), call, `{"id":2,"method":"other"}`)
		(<-forward)()
		synctest.Wait()
		same(t, "calls", d.noted()[2:], cancel)
		k.say(cancel + "\n")
		same(t, "once more", d.noted()[3:], cancel)
		close(release)
		_ = k.hangUp()
	})
	bubble(t, "waits until it has ended", func(t *testing.T) {
		d, k, _, release := start(t)
		k.say(call + "\n")
		k.say(cancel + "\n")
		same(t, "calls", d.noted(), call)
		close(release)
		synctest.Wait()
		same(t, "calls", d.noted(), call, cancel)
		k.say(cancel + "\n")
		same(t, "nothing to wait for", d.noted()[2:], cancel)
		_ = k.hangUp()
	})
	bubble(t, "waits once", func(t *testing.T) {
		d, k, _, release := start(t)
		k.say(call + "\n")
		k.say(cancel + "\n" + cancel + "\n")
		same(t, "calls", d.noted(), call, cancel)
		close(release)
		_ = k.hangUp()
	})
	bubble(t, "the end does not wait for ever", func(t *testing.T) {
		d, k, _, release := start(t)
		k.say(call + "\n")
		k.say(cancel + "\n")
		began := time.Now()
		if err := k.hangUp(); err != nil || time.Since(began) < drainTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		synctest.Wait()
		same(t, "calls", d.noted(), call, cancel)
		close(release)
	})
}

// TestStdioEnd: what is in flight gets its time, and no more.
func TestStdioEnd(t *testing.T) {
	const slow = `{"id":1,"method":"slow"}`
	bubble(t, "waits for answers", func(t *testing.T) {
		w := hold("slow")
		k := converse(t, &desk{answer: w.answer}, StdioOptions{}, false)
		k.say(slow + "\n")
		time.AfterFunc(drainTime-1, func() { close(w["slow"]) })
		if err := k.hangUp(); err != nil {
			t.Error(err)
		}
		same(t, "printed", k.heard(), `"answered"`)
	})
	for name, text := range map[string]string{"cuts a request": slow, "cuts a notification": `{"method":"slow"}`} {
		bubble(t, name, func(t *testing.T) {
			k := converse(t, &desk{answer: hold("slow").answer}, StdioOptions{}, false)
			k.say(text + "\n")
			began := time.Now()
			if err := k.hangUp(); err != nil || time.Since(began) != drainTime {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			same(t, "printed", k.heard())
		})
		bubble(t, name+" sooner after a signal", func(t *testing.T) {
			k := converse(t, &desk{answer: hold("slow").answer}, StdioOptions{}, false)
			k.say(text + "\n")
			began := time.Now()
			k.stop()
			if err := <-k.done; err != nil || time.Since(began) != hurryTime {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			same(t, "printed", k.heard())
		})
	}
	bubble(t, "a signal ends an idle pipe at once", func(t *testing.T) {
		k := converse(t, &desk{answer: echo}, StdioOptions{}, false)
		began := time.Now()
		k.stop()
		if err := <-k.done; err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	bubble(t, "a stream that breaks", func(t *testing.T) {
		broken := errors.New("broken")
		k := converse(t, &desk{answer: echo}, StdioOptions{}, false)
		_ = k.in.CloseWithError(broken)
		if err := <-k.done; !errors.Is(err, broken) {
			t.Error(err)
		}
	})
	bubble(t, "a client that no longer reads", func(t *testing.T) {
		d := &desk{answer: func(_ context.Context, _ *pipeline.Call, _ string, out pipeline.Sink) {
			if err := out.Event(wire.Event{Data: []byte("1")}); !errors.Is(err, ErrClientGone) {
				t.Errorf("event: %v", err)
			}
			if err := out.Event(wire.Event{Data: []byte("1")}); !errors.Is(err, errClosed) {
				t.Errorf("second event: %v", err)
			}
			allowed(out, "1")
		}}
		k := converse(t, d, StdioOptions{}, true)
		_ = k.out.Close()
		k.say(slow + "\n")
		if err := <-k.done; !errors.Is(err, ErrClientGone) {
			t.Error(err)
		}
	})
	bubble(t, "a client that is stuck", func(t *testing.T) {
		k := converse(t, &desk{answer: echo}, StdioOptions{}, true)
		k.say(slow + "\n")
		began := time.Now()
		k.stop()
		if err := <-k.done; err != nil || time.Since(began) != hurryTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = k.out.Close()
	})
	bubble(t, "nothing is printed after the end", func(t *testing.T) {
		release := make(chan struct{})
		d := &desk{answer: func(_ context.Context, _ *pipeline.Call, _ string, out pipeline.Sink) {
			<-release // whatever the context says
			allowed(out, "1")
		}}
		in, client := io.Pipe()
		var out strings.Builder
		ctx, stop := context.WithCancel(t.Context())
		go func() { _, _ = io.WriteString(client, slow+"\n"); synctest.Wait(); stop() }()
		if err := NewStdio(StdioOptions{Handle: d.handle}).Serve(ctx, in, &out); err != nil {
			t.Error(err)
		}
		close(release)
		synctest.Wait()
		if out.Len() > 0 {
			t.Errorf("printed %q", out.String())
		}
		_ = client.Close()
	})
}
