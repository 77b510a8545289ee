package front

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

const (
	initialize  = `{"id":1,"method":"initialize"}`
	initialized = `{"method":"notifications/initialized"}`
	list        = `{"id":2,"method":"tools/list"}`
)

// sessions answers initialize with the session ids in turn, and other messages
// with "1". Streams are watched by watch, or refused.
type sessions struct {
	ids   []string
	watch func(ctx context.Context, c *pipeline.Call, out pipeline.Sink)
}

func (s *sessions) answer(ctx context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
	switch {
	case c.Verb == wire.Watch && s.watch != nil:
		s.watch(ctx, c, out)
		return
	case c.Verb == wire.Watch:
		out.Answer(&pipeline.Answer{Outcome: pipeline.UpstreamFailed, Status: 405, Body: []byte(`"405"`)})
		return
	case strings.Contains(body, `"initialize"`):
		out.Session(s.ids[0])
		s.ids = s.ids[1:]
	}
	allowed(out, "1")
}

func TestStdioSession(t *testing.T) {
	bubble(t, "is named by what follows, and ended", func(t *testing.T) {
		d := &desk{answer: (&sessions{ids: []string{"one", "two"}}).answer}
		k := converse(t, d, StdioOptions{}, false)
		k.say(list + "\n")
		k.say(initialize + "\n")
		k.say(initialized + "\n")
		k.say(list + "\n")
		k.say(initialize + "\n")
		k.say(list + "\n")
		same(t, "printed", k.heard(), "1", "1", "1", "1", "1")
		if err := k.hangUp(); err != nil {
			t.Error(err)
		}
		calls := d.noted()
		same(t, "before, and the first", calls[:5], list, initialize, "watch after  @one", initialized+" @one", list+" @one")
		if calls[6] == "watch after  @two" { // side by side with the first one's end
			calls[6], calls[7] = calls[7], calls[6]
		}
		same(t, "the second", calls[5:], initialize, "end @one", "watch after  @two", list+" @two", "end @two")
	})
	bubble(t, "of a refused initialize is none", func(t *testing.T) {
		d := &desk{answer: func(_ context.Context, _ *pipeline.Call, _ string, out pipeline.Sink) {
			out.Session("one")
			out.Answer(&pipeline.Answer{Outcome: pipeline.Blocked, Status: 200, Body: []byte("1")})
		}}
		k := converse(t, d, StdioOptions{}, false)
		k.say(initialize + "\n")
		k.say(list + "\n")
		_ = k.hangUp()
		same(t, "calls", d.noted(), initialize, list)
	})
	bubble(t, "of an upstream without sessions is none", func(t *testing.T) {
		d := &desk{answer: echo}
		k := converse(t, d, StdioOptions{}, false)
		k.say(initialize + "\n")
		k.say(list + "\n")
		_ = k.hangUp()
		same(t, "calls", d.noted(), initialize, list)
	})
	bubble(t, "is ended after a signal too, but not for ever", func(t *testing.T) {
		s := &sessions{ids: []string{"one"}}
		release := make(chan struct{})
		d := &desk{answer: func(ctx context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
			if c.Verb == wire.End {
				if ctx.Err() != nil {
					t.Error("the upstream cannot be told")
				}
				<-release
			}
			s.answer(ctx, c, body, out)
		}}
		k := converse(t, d, StdioOptions{}, false)
		k.say(initialize + "\n")
		began := time.Now()
		k.stop()
		if err := <-k.done; err != nil || time.Since(began) != endTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		same(t, "calls", d.noted()[2:], "end @one")
		close(release)
	})
}

// TestStdioStream: messages of the upstream that belong to no request.
func TestStdioStream(t *testing.T) {
	// serve runs a session whose stream is opened by each of turns in turn.
	serve := func(t *testing.T, turns ...func(ctx context.Context, out pipeline.Sink)) (*desk, *talk) {
		s := &sessions{ids: []string{"s"}}
		s.watch = func(ctx context.Context, _ *pipeline.Call, out pipeline.Sink) {
			if len(turns) == 0 {
				<-ctx.Done()
				out.Answer(&pipeline.Answer{Outcome: pipeline.Allowed, Status: 200})
				return
			}
			turn := turns[0]
			turns = turns[1:]
			turn(ctx, out)
		}
		d := &desk{answer: s.answer}
		k := converse(t, d, StdioOptions{}, false)
		k.say(initialize + "\n")
		k.say(initialized + "\n")
		return d, k
	}
	ends := func(o pipeline.Outcome, status int, events ...wire.Event) func(context.Context, pipeline.Sink) {
		return func(_ context.Context, out pipeline.Sink) {
			out.Open(true)
			for _, ev := range events {
				_ = out.Event(ev)
			}
			a := &pipeline.Answer{Outcome: o, Status: status}
			if o != pipeline.Allowed {
				a.Body = []byte(`"not for the client"`)
			}
			out.Answer(a)
		}
	}
	bubble(t, "is printed", func(t *testing.T) {
		d, k := serve(t, func(ctx context.Context, out pipeline.Sink) {
			_ = out.Event(wire.Event{Data: []byte(`{"method":"notifications/tools/list_changed"}`)})
			<-ctx.Done()
			out.Answer(&pipeline.Answer{Outcome: pipeline.UpstreamFailed, Status: 502, Body: []byte(`"not for the client"`)})
		})
		same(t, "printed", k.heard(), "1", `{"method":"notifications/tools/list_changed"}`)
		k.say(list + "\n")
		same(t, "answers go on", k.heard(), "1")
		if err := k.hangUp(); err != nil {
			t.Error(err)
		}
		same(t, "calls", d.noted(), initialize, "watch after  @s", initialized+" @s", list+" @s", "end @s")
		same(t, "printed at the end", k.heard())
	})
	for _, status := range []int{404, 405} {
		bubble(t, "is not there", func(t *testing.T) {
			d, k := serve(t, ends(pipeline.UpstreamFailed, status))
			time.Sleep(time.Hour)
			k.say(list + "\n")
			same(t, "printed", k.heard(), "1", "1")
			_ = k.hangUp()
			same(t, "calls", d.noted(), initialize, "watch after  @s", initialized+" @s", list+" @s", "end @s")
		})
	}
	bubble(t, "is opened again where it ended", func(t *testing.T) {
		message := func(id, retry string) wire.Event { return wire.Event{Data: []byte("2"), ID: id, Retry: retry} }
		d, k := serve(t,
			ends(pipeline.Allowed, 200, message("a", ""), wire.Event{ID: "b", Retry: "5000"}),
			ends(pipeline.UpstreamFailed, 502),
			ends(pipeline.Unavailable, 503),
			ends(pipeline.Allowed, 200, message("c", "0")),
		)
		after := func(d time.Duration, want ...string) func(*desk) {
			return func(k *desk) {
				t.Helper()
				time.Sleep(d)
				synctest.Wait()
				same(t, d.String(), k.noted()[3:], want...)
			}
		}
		after(5*time.Second - 1)(d)
		after(1, "watch after b @s")(d)
		after(10*time.Second-1, "watch after b @s")(d)
		after(1, "watch after b @s", "watch after b @s")(d)
		after(20*time.Second, "watch after b @s", "watch after b @s", "watch after b @s")(d)
		after(leastDelay, "watch after b @s", "watch after b @s", "watch after b @s", "watch after c @s")(d)
		same(t, "printed", k.heard(), "1", "2", "2")
		_ = k.hangUp()
	})
	bubble(t, "is opened with the last credential that was accepted", func(t *testing.T) {
		var with []string
		s := &sessions{ids: []string{"s"}, watch: func(_ context.Context, c *pipeline.Call, out pipeline.Sink) {
			for i := range c.Head.Authorization.Len() {
				with = append(with, c.Head.Authorization.At(i).Reveal())
			}
			out.Answer(&pipeline.Answer{Outcome: pipeline.AuthFailed, Status: 401})
		}}
		d := &desk{answer: func(ctx context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
			if token, ok := strings.CutPrefix(body, `{"id":2,"method":"`); ok {
				c.Head.Authorization = identity.NewSecrets("Bearer " + token[:1]) // as it stood in the message
			}
			if c.Verb == wire.End && c.Head.Authorization.Len() > 0 {
				t.Errorf("the end comes with %q, which may have expired", c.Head.Authorization.At(0).Reveal())
			}
			s.answer(ctx, c, body, out)
		}}
		k := converse(t, d, StdioOptions{Authenticated: true}, false)
		k.say(initialize + "\n")
		same(t, "calls", d.noted(), initialize)
		k.say(`{"id":2,"method":"a"}` + "\n")
		k.say(`{"id":2,"method":"b"}` + "\n")
		_ = k.hangUp()
		same(t, "credentials", with, "Bearer a", "Bearer b")
	})
	bubble(t, "that is refused waits for an answer", func(t *testing.T) {
		d, k := serve(t, ends(pipeline.AuthFailed, 401))
		time.Sleep(time.Hour)
		synctest.Wait()
		same(t, "calls", d.noted(), initialize, "watch after  @s", initialized+" @s")
		k.say(list + "\n")
		same(t, "calls", d.noted()[3:], list+" @s", "watch after  @s")
		same(t, "printed", k.heard(), "1", "1")
		_ = k.hangUp()
	})
}
