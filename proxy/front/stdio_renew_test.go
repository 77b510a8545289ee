package front

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// forgetful is an upstream that forgets its sessions. Each initialize opens the
// next one; what names a session that is not alive is answered with nothing but a
// status.
type forgetful struct {
	mu      sync.Mutex
	opened  int
	alive   map[string]bool
	version func(n int) string // of the answer to the nth initialize; empty refuses it
}

func (u *forgetful) answer(_ context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case strings.Contains(body, `"initialize"`):
		u.opened++
		version := u.version(u.opened)
		if version == "" {
			out.Answer(&pipeline.Answer{Outcome: pipeline.UpstreamFailed, Status: 502, Body: []byte(`"down"`)})
			return
		}
		id := fmt.Sprint("s", u.opened)
		u.alive[id] = true
		out.Session(id)
		allowed(out, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"`+version+`"}}`)
	case c.Verb == wire.Watch:
		out.Answer(&pipeline.Answer{Outcome: pipeline.UpstreamFailed, Status: 405})
	case !u.alive[c.Head.Session]:
		out.Answer(&pipeline.Answer{Outcome: pipeline.ProtocolRejected, Code: -32600, Status: 404})
	default:
		allowed(out, `"`+c.Head.Session+`"`)
	}
}

func always(version string) func(int) string { return func(int) string { return version } }

// TestStdioRenewal: a client over stdio knows of no session that it could lose.
func TestStdioRenewal(t *testing.T) {
	// begin opens a session; then the upstream forgets it.
	begin := func(t *testing.T, version func(int) string) (*forgetful, *desk, *talk) {
		u := &forgetful{alive: map[string]bool{}, version: version}
		d := &desk{answer: u.answer}
		k := converse(t, d, StdioOptions{}, false)
		k.say(initialize + "\n")
		k.say(initialized + "\n")
		k.heard()
		clear(u.alive)
		return u, d, k
	}
	const lost = `{"jsonrpc":"2.0","id":2,"error":{"code":-32600,"message":"the session has ended; start the server again","data":{"outcome":"protocol_rejected","audit_id":"audit"}}}`
	bubble(t, "opens another session and asks once more", func(t *testing.T) {
		u, d, k := begin(t, always("v"))
		k.say(list + "\n")
		same(t, "printed", k.heard(), `"s2"`)
		same(t, "calls", d.noted()[3:], list+" @s1", initialize, initialized+" @s2", list+" @s2", "watch after  @s2")
		clear(u.alive)
		k.say(list + "\n")
		same(t, "printed the next time", k.heard(), `"s3"`)
		_ = k.hangUp()
		if last := d.noted(); last[len(last)-1] != "end @s3" {
			t.Errorf("calls %q", last)
		}
	})
	bubble(t, "once for all requests", func(t *testing.T) {
		u, _, k := begin(t, always("v"))
		k.say(strings.Repeat(list+"\n", 10))
		same(t, "printed", k.heard(), strings.Split(strings.Repeat(`"s2" `, 10), " ")[:10]...)
		if u.opened != 2 {
			t.Errorf("%d sessions", u.opened)
		}
		_ = k.hangUp()
	})
	bubble(t, "does not go on for ever", func(t *testing.T) {
		u, d, k := begin(t, func(n int) string { return "v" })
		d.answer = func(ctx context.Context, c *pipeline.Call, body string, out pipeline.Sink) {
			u.answer(ctx, c, body, out)
			clear(u.alive)
		}
		k.say(list + "\n")
		same(t, "printed", k.heard(), lost)
		same(t, "calls", d.noted()[3:], list+" @s1", initialize, initialized+" @s2", list+" @s2")
		_ = k.hangUp()
	})
	for name, second := range map[string]string{"a server that is down": "", "a server of another revision": "w"} {
		bubble(t, name, func(t *testing.T) {
			u, d, k := begin(t, func(n int) string {
				if n == 2 {
					return second
				}
				return "v"
			})
			k.say(list + "\n")
			same(t, "printed", k.heard(), lost)
			calls := d.noted()[5:]
			if second != "" {
				same(t, "the other session is ended", calls, "end @s2")
			} else {
				same(t, "calls", calls)
			}
			k.say(list + "\n")
			same(t, "printed the next time", k.heard(), `"s3"`)
			_ = k.hangUp()
			if u.opened != 3 {
				t.Errorf("%d sessions", u.opened)
			}
		})
	}
	bubble(t, "notifications are not worth it", func(t *testing.T) {
		u, _, k := begin(t, always("v"))
		k.say(initialized + "\n")
		same(t, "printed", k.heard())
		if u.opened != 1 {
			t.Errorf("%d sessions", u.opened)
		}
		_ = k.hangUp()
	})
}
