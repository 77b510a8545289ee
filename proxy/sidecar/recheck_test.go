package sidecar

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

const often = 5 * time.Millisecond

// ends waits for the end of a stream and returns what came last.
func ends(t *testing.T, events *wire.EventReader) (last string) {
	t.Helper()
	for {
		ev, err := events.Next()
		if errors.Is(err, io.EOF) {
			return last
		}
		if err != nil {
			t.Fatalf("%v; want the end of the stream", err)
		}
		last = string(ev.Data)
	}
}

// reasoned waits for a record of a stream with reason.
func (r *rig) reasoned(reason string) {
	r.t.Helper()
	r.eventually(func() bool {
		for _, e := range r.records() {
			if e.Reason == reason && e.Outcome == "allowed" {
				return true
			}
		}
		return false
	})
}

// A stream is open for longer than its token is believed. When the issuer takes the
// token back, the stream ends, and only that one.
func TestStreamsEndWhenTheirTokenIsRevoked(t *testing.T) {
	t.Parallel()
	t.Run(legacy, func(t *testing.T) {
		up := newStreaming()
		r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP, recheck: often})
		hers, _ := r.listen(t, "alice", r.initialize("alice"), "")
		his, _ := r.listen(t, "bob", r.initialize("bob"), "")
		r.issuer.Revoke(r.token("alice"))
		r.clock.advance(30 * time.Second)
		if last := ends(t, hers); last != "" {
			t.Errorf("%s", last)
		}
		r.reasoned("token-revoked")
		feed, _ := up.feed(1)
		feed <- data("s1", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		if ev := next(t, his); unmarked(ev) != "s1" {
			t.Errorf("%q %s", ev.ID, ev.Data)
		}
	})
	t.Run(modern, func(t *testing.T) {
		r := start(t, setup{policy: featurePolicy, upstream: listeningTo(nil), recheck: often})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		resp := r.open(ctx, request(modern, r.token("alice"), `"l-1"`, "subscriptions/listen", `"notifications":{}`))
		defer resp.Body.Close()
		events := wire.NewEventReader(resp.Body, 1<<20)
		next(t, events) // the acknowledgement
		r.issuer.Revoke(r.token("alice"))
		r.clock.advance(30 * time.Second)
		if last := ends(t, events); !strings.Contains(last, `"id":"l-1","result":{"resultType":"complete"`) {
			t.Errorf("%s", last)
		}
		r.reasoned("token-revoked")
	})
}

// Over a pipe the stream is opened with the token of a message, and ends with it.
func TestPipeStreamEndsWhenItsTokenIsRevoked(t *testing.T) {
	t.Parallel()
	p := &pipe{}
	up := newStreaming()
	up.call = text("done")
	r := start(t, setup{inventory: demoInventory, pipe: p, upstream: up.ServeHTTP, recheck: often})
	p.say(pipeOpens)
	if got := p.say(piped(legacy, "tools/call", `"name":"read_document","arguments":{"id":7}`, r.token("alice"))); !strings.Contains(got, "done") {
		t.Fatalf("%s", got)
	}
	r.eventually(func() bool {
		up.mu.Lock()
		defer up.mu.Unlock()
		return len(up.feeds) == 1
	})
	r.issuer.Revoke(r.token("alice"))
	r.clock.advance(30 * time.Second)
	r.reasoned("token-revoked")
}
