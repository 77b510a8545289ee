package sidecar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/wire"
)

// behind is a rig whose server is a child that s speaks for.
func (s *scripted) behind(t *testing.T) *rig {
	return start(t, setup{change: func(c *config.Config) {
		c.Upstreams["docs"] = config.Upstream{Command: []string{os.Args[0], childFlag + s.address}}
	}})
}

// A child that ends fails the call in flight like any server that is down, and
// another takes its place. In the older revisions the client learns that its
// session is lost.
func TestChildEnds(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			server := newScripted(t)
			r := server.behind(t)
			session := ""
			call := func(id string) ask {
				if rev == modern {
					return r.update(rev, id)
				}
				if session == "" {
					session = r.initialize("alice")
				}
				return r.update(rev, id).in(session)
			}
			if g := r.do(call("1")); g.status != http.StatusOK {
				t.Fatalf("%d %s", g.status, g.body)
			}
			r.records()
			server.answerWith("tools/call", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}`)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			resp := r.open(ctx, call("2"))
			defer resp.Body.Close()
			events := wire.NewEventReader(resp.Body, 1<<20)
			// Nobody keeps what a child has said: there is nothing to resume from.
			if ev := next(t, events); ev.ID != "" || ev.Retry != "" || !strings.Contains(string(ev.Data), `"progressToken":7`) {
				t.Errorf("%+v %s", ev, ev.Data)
			}
			server.answerWith("")
			server.end()
			ev := next(t, events)
			if e := r.outcome(); !strings.Contains(string(ev.Data), `"id":2,"error":{"code":50200,"message":"upstream failed (audit `+e.ID+`)"`) || e.Outcome != "upstream_failed" || e.Reason != "transport" {
				t.Errorf("%s, record %+v", ev.Data, e)
			}
			if ev, err := events.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%s, %v", ev.Data, err)
			}
			if rev == legacy {
				if g := r.do(call("3")); g.status != http.StatusNotFound || len(g.body) != 0 {
					t.Errorf("the session of a child that has ended: %d %s", g.status, g.body)
				}
				session = ""
			}
			r.eventually(func() bool { return r.do(call("4")).status == http.StatusOK })
		})
	}
}
