package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/wire"
)

// execute is the only place that reaches the upstream. What it sends is built
// from nothing; every message that comes back passes inspectOutput.
func (p *Pipeline) execute(ctx context.Context, c *Call) error {
	if c.Dir == FromUpstream {
		// The method table admits no request of the upstream's yet.
		return failed(errors.New("a request of the upstream passed the method table"))
	}
	if c.destructive && c.isRequest() {
		if err := p.write(p.intent(c)); err != nil {
			return unavailable("audit", err)
		}
	}
	ctx, cancel, stop := p.lifetime(ctx, c)
	defer stop()
	if c.isRequest() {
		defer p.flights.add(c.flightKey(c.Msg.ID), cancel)()
	}
	if c.Forwarded != nil {
		c.Forwarded()
	}
	start := p.opts.Now()
	err := p.opts.Upstream.Do(ctx, p.exchange(c), &answerSink{p: p, c: c, ctx: ctx})
	c.waited = p.since(start)
	var refusal *Rejection
	switch {
	case errors.As(err, &refusal):
		return refusal
	case err != nil && p.closing.Err() != nil:
		return unavailable("shutdown", err)
	case err != nil && ctx.Err() != nil:
		return cancelled(err)
	case err != nil:
		return upstreamFailed("transport", err)
	}
	return p.settle(c)
}

// lifetime is how long the upstream works for c. In 2026-07-28 a client that
// closes its request cancels it. Before, it does not: cancelling takes a
// notification, and only the sidecar's own end stops the call.
func (p *Pipeline) lifetime(ctx context.Context, c *Call) (context.Context, context.CancelFunc, func()) {
	if c.Era == Legacy {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.closing, cancel)
	return ctx, cancel, func() { stop(); cancel() }
}

// cancelled ends a call that its client no longer waits for: there is nobody to
// tell.
func cancelled(cause error) *Rejection {
	r := upstreamFailed("cancelled", cause)
	r.Status, r.Silent = 202, true
	return r
}

func (p *Pipeline) exchange(c *Call) wire.Exchange {
	x := wire.Exchange{Verb: c.Verb, Body: c.request, Call: c.isRequest(), Version: c.Version, Session: c.upstreamSession()}
	if c.Era == Modern {
		x.Method, x.Name, x.Params = c.Method, c.Target, c.params
	}
	return x
}

func (c *Call) upstreamSession() string {
	if c.Session == nil {
		return ""
	}
	return c.Session.Upstream
}

// settle judges an exchange that ended without an error of the transport.
func (p *Pipeline) settle(c *Call) error {
	status := c.reply.Status
	switch {
	case c.Verb == wire.End:
		p.sessions.end(c.Session)
		return nil // ours is gone, whatever the upstream does with its own
	case c.lostSession():
		// The upstream has forgotten the session: the client must see that, and
		// only an empty 404 tells it (MCP 2025-11-25, "Session Management").
		p.sessions.end(c.Session)
		return unknownSession()
	case c.result != nil:
		return nil
	case !c.isRequest() && status >= 200 && status < 300:
		if c.method.need == ownRequest {
			p.flights.end(c.flightKey(c.Msg.Member(c.Msg.Params, "requestId")), p.opts.After)
		}
		return nil
	}
	r := upstreamFailed("no-answer", fmt.Errorf("upstream answered %d without a JSON-RPC message", status))
	if status >= 400 && status < 500 && c.Era == Modern {
		// A client that can fall back to an older revision looks at the status
		// (MCP 2026-07-28, "Backward Compatibility").
		r.Status = status
	}
	return r
}

// maxAsked bounds the requests that an upstream may start during one call: each
// has a record of its own.
const maxAsked = 100

// lostSession says whether the upstream no longer knows c's session.
func (c *Call) lostSession() bool { return c.reply.Status == 404 && c.Session != nil }

// openSession gives the client a session id of ours when the upstream gave one.
// Events may precede the result, so this cannot wait for it.
func (s *answerSink) openSession(upstream string) {
	c := s.c
	if c.method == nil || !c.method.opensSession || upstream == "" {
		return
	}
	c.Session = s.p.sessions.open(c.Principal.Key(), s.p.opts.Server, upstream)
	c.holdsSession = false // the place is filled
	c.out.Session(c.Session.ID)
}

// answerSink takes the upstream's answer to c.
type answerSink struct {
	p   *Pipeline
	c   *Call
	ctx context.Context
}

// Reply refuses answers about the sidecar's own standing with the upstream: a
// client that read a 401 would throw its token away, which is not at fault.
func (s *answerSink) Reply(r wire.Reply) error {
	s.c.reply = r
	switch {
	case s.c.Verb == wire.End:
		return wire.ErrDone
	case r.Status == 401 || r.Status == 403 || r.Status == 407:
		return upstreamFailed("credential", fmt.Errorf("the upstream refuses the sidecar's own credential (HTTP %d); check upstreams.%s.credential", r.Status, s.p.opts.Server))
	case r.Status >= 300 && r.Status < 400:
		return upstreamFailed("redirect", fmt.Errorf("the upstream redirects (HTTP %d), which is not followed; correct upstreams.%s.url", r.Status, s.p.opts.Server))
	}
	s.openSession(r.Session)
	return nil
}

// Message takes one message of the answer. The response to c's own request is
// kept until it has been recorded; everything else goes on at once.
func (s *answerSink) Message(ev wire.Event) error {
	switch {
	case s.c.lostSession():
		return wire.ErrDone // whatever the body says
	case len(ev.Data) == 0:
		return nil // sets an event id or a delay only
	}
	m, err := wire.Scan(ev.Data, s.p.opts.Limits.Answer)
	if err != nil {
		return upstreamFailed("malformed", fmt.Errorf("upstream message: %w", err))
	}
	switch m.Kind {
	case wire.Response:
		return s.response(m)
	case wire.Request:
		if s.c.asked++; s.c.asked > maxAsked {
			return upstreamFailed("flood", errors.New("the upstream starts one request after the other, and none is admitted"))
		}
		s.p.fromUpstream(s, m)
		return nil
	}
	return s.notification(m)
}

// notification passes on what belongs to the request on whose stream it came. It
// is counted in that call's record.
func (s *answerSink) notification(m *wire.Message) error {
	c := s.c
	if !c.isRequest() || lookup(FromUpstream, m.Kind, m.Method, c.Era) == nil || !c.owns(m) {
		c.dropped++
		return nil
	}
	if m.Method == "notifications/tools/list_changed" {
		s.p.inventory.stale()
	}
	body, err := s.p.inspectOutput(c, m)
	if err != nil {
		return err // what came before cannot be recalled; the rest is withheld
	}
	c.events++
	// Event names mean nothing in MCP. Event ids would promise that the stream can
	// be resumed, which takes a GET that is not served yet.
	return s.pass(wire.Event{Data: body})
}

// owns says whether a progress notification names the token that c's request
// gave out. Another one may belong to another request, whose state this is not.
func (c *Call) owns(m *wire.Message) bool {
	if m.Method != "notifications/progress" {
		return true
	}
	said := m.At(m.Params, "progressToken")
	asked := c.Msg.At(c.Msg.Params, "_meta", "progressToken")
	return said != wire.Absent && asked != wire.Absent && sameScalar(m, said, c.Msg, asked)
}

func (s *answerSink) response(m *wire.Message) error {
	c := s.c
	if !c.isRequest() {
		return upstreamFailed("unexpected", errors.New("the upstream answered a message that is no request"))
	}
	own := m.ID == wire.Absent || m.Nodes[m.ID].Kind == 'n' // an error whose sender could not read our id
	if !own && !sameScalar(m, m.ID, c.Msg, c.Msg.ID) {
		return upstreamFailed("wrong-id", errors.New("the upstream answered another request"))
	}
	body, err := s.p.inspectOutput(c, m)
	if err != nil {
		return err
	}
	c.result = body
	return wire.ErrDone
}

// sameScalar compares strings and numbers by value: an upstream may write 1 as
// 1.0, or escape another way, though few do.
func sameScalar(a *wire.Message, i int, b *wire.Message, j int) bool {
	x, y := a.Value(i), b.Value(j)
	if a.Nodes[i].Kind != b.Nodes[j].Kind {
		return false
	}
	switch a.Nodes[i].Kind {
	case '"':
		return a.Text(i) == b.Text(j)
	case '0':
		n, ok := safeInteger(string(x))
		k, same := safeInteger(string(y))
		return string(x) == string(y) || ok && same && n == k
	}
	return false
}

// pass hands an event to the client. A client that is gone stops nothing: the
// call's context says when it should end.
func (s *answerSink) pass(ev wire.Event) error {
	s.c.bytesOut += len(ev.Data)
	if err := s.c.out.Event(ev); err != nil && s.c.Era == Modern {
		return upstreamFailed("client-gone", err)
	}
	return nil
}

// fromUpstream runs the list for a request that the upstream started on c's
// stream. It inherits c's principal and session and has a record of its own.
func (p *Pipeline) fromUpstream(s *answerSink, m *wire.Message) {
	c := s.c
	p.Handle(s.ctx, &Call{
		Parent: c.ID, Dir: FromUpstream, Transport: c.Transport, Msg: m, Era: c.Era, Version: c.Version,
		Principal: c.Principal, Session: c.Session, bytesIn: len(m.Raw),
	}, &refuser{s})
}

// refuser answers a request of the upstream's that the method table does not
// admit.
type refuser struct{ s *answerSink }

func (r *refuser) Session(string) {}

func (r *refuser) Open(bool) {}

func (r *refuser) Event(wire.Event) error { return errors.New("nothing is relayed here") }

func (r *refuser) Answer(a *Answer) {
	c := r.s.c
	c.dropped++
	if a.Body == nil || c.Era == Modern {
		return // 2026-07-28 has no such requests, and no place to answer them
	}
	ctx, cancel := context.WithTimeout(r.s.ctx, 10*time.Second)
	defer cancel()
	x := wire.Exchange{Body: a.Body, Version: c.Version, Session: c.upstreamSession()}
	if err := r.s.p.opts.Upstream.Do(ctx, x, discard{}); err != nil {
		r.s.p.opts.Log.Warn("the upstream could not be told that its request is refused", "audit_id", c.ID, "error", r.s.p.opts.Redact(err.Error()))
	}
}

// discard takes an answer that nobody waits for.
type discard struct{}

func (discard) Reply(wire.Reply) error   { return nil }
func (discard) Message(wire.Event) error { return nil }

// intent is the record that precedes a destructive call.
func (p *Pipeline) intent(c *Call) audit.Event {
	e := p.record(c, &Answer{})
	e.Phase, e.Outcome, e.Time = audit.PhaseIntent, "", p.opts.Now()
	return e
}
