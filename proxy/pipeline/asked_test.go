package pipeline

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"mcp-sidecar/proxy/wire"
)

// resumable is a world in whose session a call is answered in pieces: its stream
// begins with an event that can be resumed, and what calls and streams get then is
// up to the test.
func resumable(t *testing.T, call, watch func(s wire.Sink) error) (w *world, session string) {
	w = newWorld(t, func(o *Options) {
		next := o.Upstream
		o.Upstream = upstreamFunc(func(ctx context.Context, x wire.Exchange, s wire.Sink) error {
			switch {
			case x.Verb == wire.Watch:
				_ = s.Reply(wire.Reply{Status: 200, Stream: true})
				return pass(watch(s))
			case bytes.Contains(x.Body, []byte(`"initialize"`)):
				_ = s.Reply(wire.Reply{Status: 200, Session: "up"})
				return pass(s.Message(wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`)}))
			case x.Own:
				return next.Do(ctx, x, s)
			}
			_ = s.Reply(wire.Reply{Status: 200, Stream: true})
			_ = s.Message(wire.Event{ID: "e1"})
			return pass(call(s))
		})
	})
	k := w.handle(message(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`))
	return w, k.session
}

func answerTo(id string) wire.Event {
	return wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"done"}]}}`)}
}

// An answer may come on two streams at once: a client that resumes is shown it while
// the call itself still reads it.
func TestAnswerOnTwoStreams(t *testing.T) {
	for range 50 {
		answerOnTwoStreams(t)
	}
}

func answerOnTwoStreams(t *testing.T) {
	ready, both := make(chan struct{}), make(chan struct{})
	w, session := resumable(t, func(s wire.Sink) error {
		close(ready)
		<-both
		return s.Message(answerTo(`"a"`))
	}, func(s wire.Sink) error {
		<-both
		return s.Message(answerTo(`"a"`))
	})
	var done sync.WaitGroup
	done.Go(func() {
		c := message(`{"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{"name":"read","arguments":{}}}`)
		c.Head.Session = session
		if k := w.handle(c); k.answer.Outcome != Allowed || len(k.answer.Body) == 0 {
			t.Errorf("%+v", k.answer)
		}
	})
	<-ready
	done.Go(func() {
		c := message("")
		c.Verb, c.Head.Session = wire.Watch, session
		if k := w.handle(c); len(k.events) != 1 {
			t.Errorf("%q", k.events)
		}
	})
	close(both)
	done.Wait()
}

// What a session keeps of a call is the request, not what it was answered with.
func TestMemosAreSmall(t *testing.T) {
	w, session := resumable(t, func(s wire.Sink) error { return s.Message(answerTo("1")) }, nil)
	c := callOf("read")
	c.Head.Session = session
	w.handle(c)
	memos := w.pipe.sessions.byID[session].memos
	if len(memos) != 1 || memos[0].result != nil || memos[0].out != nil || memos[0].head != nil {
		t.Errorf("%d memos, of which the first keeps its answer", len(memos))
	}
}
