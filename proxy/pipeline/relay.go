package pipeline

import (
	"cmp"
	"context"
	"time"

	"mcp-sidecar/proxy/wire"
)

// fromUpstream runs the list for a message that the upstream sends on c's stream
// and that needs a record of its own: a request that the client is to answer, or
// an answer that comes again because the client resumes a stream. It inherits
// c's principal and session.
func (p *Pipeline) fromUpstream(s *answerSink, m *wire.Message, ev wire.Event) {
	c := s.c
	up := &Call{
		Parent: c.ID, Dir: FromUpstream, Transport: c.Transport, Msg: m, Era: c.Era, Version: c.Version,
		Principal: c.Principal, delegation: c.delegation, presented: c.presented, Session: c.Session, server: cmp.Or(ev.Server, c.server), window: c.streamed(), bytesIn: len(m.Raw),
	}
	if m.Kind == wire.Response {
		if up.memo = c.Session.recall(m, m.ID, byID); up.memo == nil {
			c.dropped++ // an answer to nothing that is known here
			return
		}
		up.Parent, up.Method, up.Target = up.memo.ID, up.memo.Method, up.memo.Target
	}
	p.Handle(s.ctx, up, &relay{s: s, up: up, ev: ev})
}

// inspectUpstream inspects what a client is to read of a message that the upstream
// started.
func (p *Pipeline) inspectUpstream(c *Call) (err error) {
	if c.memo != nil {
		c.result, err = p.inspectAnswer(c.memo, c.Msg)
		c.found(c.memo.Findings...)
		c.Would = append(c.Would, c.memo.Would...)
		c.Excepted = append(c.Excepted, c.memo.Excepted...)
		return err
	}
	c.result, err = p.inspectOutput(c, c.Msg)
	return err
}

// toClient hands c over to the relay, which sends it once it has been recorded.
func (c *Call) toClient() error {
	if c.Msg.Kind == wire.Request {
		return c.Session.ask(c)
	}
	return nil
}

// relay takes the verdict about a message of the upstream's: what is allowed goes
// to the client on the stream on which it came; what is not is answered to the
// upstream.
type relay struct {
	s  *answerSink
	up *Call
	ev wire.Event
}

// Session implements [Sink].
func (*relay) Session(string) {}

// Open implements [Sink].
func (*relay) Open(bool) {}

// Event implements [Sink].
func (*relay) Event(wire.Event) error { return nil }

// Answer implements [Sink].
func (r *relay) Answer(a *Answer) {
	c := r.s.c
	switch {
	case a.Outcome == Allowed, r.up.memo != nil && a.Body != nil:
		c.events++
		_ = r.s.pass(r.ev, a.Body) // a client that is gone resumes, or its session ends
	case r.up.Msg.Kind == wire.Request:
		c.dropped++
		r.refuse(a.Body)
	}
}

// refuse tells the upstream that its request is not admitted. 2026-07-28 has no
// such requests, and no place to answer them.
func (r *relay) refuse(body []byte) {
	c, p := r.s.c, r.s.p
	if body == nil || c.Era == Modern {
		return
	}
	ctx, cancel := context.WithTimeout(r.s.ctx, refuseTime)
	defer cancel()
	x := wire.Exchange{Body: body, Version: c.Version, Session: c.upstreamSession(), Owner: c.Principal.Key(), Delegated: c.delegated()}
	if err := p.opts.Upstream.Do(ctx, x, discard{}); err != nil {
		p.opts.Log.Warn("the upstream could not be told that its request is refused", "audit_id", r.up.ID, "error", p.opts.Redact(err.Error()))
	}
}

// refuseTime is how long an upstream may take to be told.
const refuseTime = 10 * time.Second

// discard takes an answer that nobody waits for.
type discard struct{}

func (discard) Reply(wire.Reply) error   { return nil }
func (discard) Message(wire.Event) error { return nil }
