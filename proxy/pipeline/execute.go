package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// execute is the only place that reaches the upstream. What it sends is built
// from nothing; every message that comes back passes inspectOutput.
func (p *Pipeline) execute(ctx context.Context, c *Call) error {
	if c.Dir == FromUpstream {
		return c.toClient()
	}
	if c.destructive {
		if err := p.writeIntent(c); err != nil {
			return unavailable("audit", err)
		}
	}
	life, cancel, stop := p.lifetime(ctx, c)
	defer stop()
	if c.isRequest() {
		task := c.Msg.Member(c.Msg.Params, "task") != wire.Absent
		defer p.flights.add(c.flightKey(c.Msg.ID), &flight{cancel, scalarKey(c.Msg, byToken(c)), task})()
	}
	if c.Forwarded != nil {
		c.Forwarded()
	}
	if c.Msg != nil {
		c.Msg.Forget() // the guards have read it; the upstream may take its time
	}
	start := p.opts.Now()
	err := p.opts.Upstream.Do(life, p.exchange(c), &answerSink{p: p, c: c, ctx: life})
	c.waited = p.since(start)
	return p.settle(c, p.ended(life, c, err))
}

// ended says what an exchange's error means, if anything.
func (p *Pipeline) ended(life context.Context, c *Call, err error) error {
	var refusal *Rejection
	switch {
	case errors.As(err, &refusal):
		return refusal
	case err != nil && c.isLong() && life.Err() != nil:
		return nil // whoever listened has gone, or may listen no longer
	case err != nil && p.closing.Err() != nil:
		return unavailable("shutdown", err)
	case errors.Is(err, identity.ErrNoCredential):
		return unavailable("credential", err)
	case err != nil && life.Err() != nil:
		return cancelled(err)
	case err != nil && c.remembered:
		return nil // the client asks for the rest with the last event's id
	case err != nil:
		return upstreamFailed("transport", err)
	}
	return nil
}

// isLong says whether the answer is a stream that stays open.
func (c *Call) isLong() bool { return c.Verb == wire.Watch || c.method != nil && c.method.long }

// lifetime is how long the upstream works for c. In 2026-07-28 a client that
// closes its request cancels it. Before, it does not: cancelling takes a
// notification, and only the sidecar's own end stops the call. A stream that
// stays open ends with its client, with the token that opened it (see Recheck), and
// when the sidecar shuts down.
func (p *Pipeline) lifetime(ctx context.Context, c *Call) (context.Context, context.CancelFunc, func()) {
	if c.Era == Legacy && c.Verb != wire.Watch {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	stops := []func() bool{context.AfterFunc(p.closing, cancel)}
	if c.isLong() {
		end := func(why string) {
			c.end(why)
			cancel()
		}
		stops = append(stops, context.AfterFunc(p.draining, func() { end("shutdown") }), p.guardStream(c, end))
		if expiry := c.Principal.Expiry; !expiry.IsZero() {
			t := time.AfterFunc(max(0, expiry.Sub(p.opts.Now())), func() { end("token-expired") })
			stops = append(stops, t.Stop)
		}
	}
	return ctx, cancel, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// cancelled ends a call that its client no longer waits for: there is nobody to
// tell.
func cancelled(cause error) *Rejection {
	r := upstreamFailed("cancelled", cause)
	r.Status, r.Silent = 202, true
	return r
}

func (p *Pipeline) exchange(c *Call) wire.Exchange {
	x := wire.Exchange{Verb: c.Verb, Body: c.request, Call: c.isRequest(), Long: c.isLong(), Version: c.Version, Session: c.upstreamSession(), Owner: c.Principal.Key(), Delegated: c.delegated()}
	if c.Verb == wire.Watch {
		x.LastEvent = c.lastEvent
	}
	x.Server, x.Owners = c.server, c.owners
	if c.Era == Modern {
		x.Method, x.Params = c.Method, c.params
		if c.method.named {
			x.Name = c.Target
		}
	}
	return x
}

// serverOf names the server that c is about: the only one, or the one of several
// that was decided about.
func (p *Pipeline) serverOf(c *Call) string { return cmp.Or(c.server, p.opts.Server) }

func (c *Call) upstreamSession() string {
	if c.Session == nil {
		return ""
	}
	return c.Session.Upstream
}

// settle judges an exchange that has ended, with err if its end was an error.
func (p *Pipeline) settle(c *Call, err error) error {
	status := c.reply.Status
	switch {
	case err != nil:
		if c.pending != nil {
			c.Session.putBack(c.pending)
		}
		return err
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
	case c.isLong():
		return p.settleLong(c)
	case !c.isRequest() && status >= 200 && status < 300:
		if c.method.need == ownRequest {
			p.flights.end(c.flightKey(c.Msg.Member(c.Msg.Params, "requestId")), p.opts.After)
		}
		return nil
	case c.remembered:
		// The upstream closed a stream that can be resumed; its answer comes there.
		c.end("detached")
		return nil
	}
	return c.noAnswer()
}

// settleLong ends a stream that stayed open until now.
func (p *Pipeline) settleLong(c *Call) error {
	switch {
	case c.Verb == wire.Watch && c.reply.Status == http.StatusMethodNotAllowed:
		return notAllowed()
	case c.Verb == wire.Watch && (c.reply.Stream || c.ended.Load() != nil):
		return nil
	case c.Verb != wire.Watch && c.ended.Load() != nil:
		// Ending a subscription takes a result (MCP 2026-07-28, basic/patterns/
		// subscriptions), and the upstream is not going to send one.
		id := c.Msg.Value(c.Msg.ID)
		c.result = fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, id, id)
		return nil
	case c.reply.Stream:
		return nil
	}
	return c.noAnswer()
}

// end notes why the answer ends without a result.
func (c *Call) end(why string) { c.ended.CompareAndSwap(nil, &why) }

func (c *Call) noAnswer() error {
	status := c.reply.Status
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
	if c.method == nil || !c.method.opensSession || upstream == "" && c.Transport != Stdio {
		return // an upstream without sessions; a pipe is one all the same
	}
	c.Session = s.p.sessions.open(&Session{
		Upstream: upstream, delegation: c.delegation, owner: c.Principal.Key(), server: s.p.opts.Server, piped: c.Transport == Stdio, capabilities: c.declaredCapabilities(), forget: s.p.forget,
	})
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
		return upstreamFailed("credential", fmt.Errorf("the upstream refuses the sidecar's own credential (HTTP %d); check upstreams.%s.credential", r.Status, s.p.serverOf(s.c)))
	case r.Status >= 300 && r.Status < 400:
		return upstreamFailed("redirect", fmt.Errorf("the upstream redirects (HTTP %d), which is not followed; correct upstreams.%s.url", r.Status, s.p.serverOf(s.c)))
	}
	s.openSession(r.Session)
	if r.Stream && r.Status == http.StatusOK {
		s.c.out.Open(s.c.isLong())
	}
	return nil
}

// Message takes one message of the answer. The response to c's own request is
// kept until it has been recorded; everything else goes on at once.
func (s *answerSink) Message(ev wire.Event) error {
	switch {
	case s.c.lostSession():
		return wire.ErrDone // whatever the body says
	case len(ev.Data) == 0:
		return s.pass(ev, nil) // sets an event id or a delay only
	}
	m, err := wire.Scan(ev.Data, s.p.opts.Limits.Answer)
	if err != nil {
		return upstreamFailed("malformed", fmt.Errorf("upstream message: %w", err))
	}
	switch {
	case m.Kind == wire.Notification:
		return s.notification(m, ev)
	case m.Kind == wire.Response && s.c.isRequest():
		return s.response(m)
	case m.Kind == wire.Response && s.c.Verb != wire.Watch:
		return upstreamFailed("unexpected", errors.New("the upstream answered a message that is no request"))
	}
	if s.c.asked++; s.c.asked > maxAsked && !s.c.isLong() {
		return upstreamFailed("flood", errors.New("the upstream starts one request after the other"))
	}
	s.p.fromUpstream(s, m, ev)
	return nil
}

// notification passes on what belongs to the stream on which it came. It is
// counted in the record of the call whose stream that is.
func (s *answerSink) notification(m *wire.Message, ev wire.Event) error {
	c := s.c
	row := s.p.lookup(FromUpstream, m.Kind, m.Method, c.Era)
	if row == nil || !c.isRequest() && c.Verb != wire.Watch || !s.p.mayNotify(c, m, row) {
		c.dropped++
		return nil
	}
	if m.Method == "notifications/tools/list_changed" {
		s.p.inventories.stale()
	}
	body, err := s.p.inspectOutput(c, m)
	if err != nil {
		return err // what came before cannot be recalled; the rest is withheld
	}
	c.events++
	return s.pass(ev, body)
}

// mayNotify says whether c's client may read the upstream's notification m.
func (p *Pipeline) mayNotify(c *Call, m *wire.Message, row *method) bool {
	switch row.need {
	case ownRequest:
		token := m.Member(m.Params, "progressToken")
		return c.owns(m, token) || c.Verb == wire.Watch && (p.flights.gaveOut(c.Session, scalarKey(m, token)) || c.Session.recall(m, token, byToken) != nil)
	case ownAsked:
		return c.Session.take(m, m.Member(m.Params, "requestId")) != nil
	case ownTask:
		id := taskID + m.Text(m.Member(m.Params, row.target))
		// A task says how it is before the answer that gives out its id.
		return p.given.holds(c.Principal.Key(), id) || p.flights.makesTask(c) && !p.given.known(id)
	case access:
		uri := m.Text(m.Member(m.Params, row.target))
		now, err := p.opts.Policy() // a stream outlives the policy under which it began
		return p.opts.Authorization != guards.Enforce || err == nil && checkURI(uri) == nil && p.shows(now, c, row.kind, uri)
	}
	return m.Method != "notifications/subscriptions/acknowledged" || c.isLong()
}

// owns says whether the progress token at node said is the one that c's request
// gave out. Another one may belong to another request, whose state this is not.
func (c *Call) owns(m *wire.Message, said int) bool {
	if c.Msg == nil {
		return false
	}
	given := byToken(c)
	return said != wire.Absent && given != wire.Absent && sameScalar(m, said, c.Msg, given)
}

func (s *answerSink) response(m *wire.Message) error {
	c := s.c
	own := m.ID == wire.Absent || m.Nodes[m.ID].Kind == 'n' // an error whose sender could not read our id
	if !own && !sameScalar(m, m.ID, c.Msg, c.Msg.ID) {
		return upstreamFailed("wrong-id", errors.New("the upstream answered another request"))
	}
	body, err := s.p.inspectAnswer(c, m)
	if err != nil {
		return err
	}
	c.result = body
	return wire.ErrDone
}

// inspectAnswer is inspectOutput for the response to c, with what such a response
// says about later requests.
func (p *Pipeline) inspectAnswer(c *Call, m *wire.Message) ([]byte, error) {
	body, err := p.inspectOutput(c, m)
	if err != nil {
		return nil, err
	}
	p.learn(c, m)
	if c.method.asks && m.Text(m.Member(m.Result, "resultType")) == "input_required" {
		return p.sealState(c, body)
	}
	return body, nil
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

// pass hands an event to the client, with body as its message. A client that is
// gone stops nothing: the call's context says when it should end.
//
// Event names mean nothing in MCP and are left out. Ids and delays let a client of
// an older revision resume the stream; the call is kept for that.
func (s *answerSink) pass(ev wire.Event, body []byte) error {
	c := s.c
	out := wire.Event{Data: body}
	if c.Era == Legacy && c.Session != nil && len(ev.ID) <= maxEventID && isVisible(ev.ID) {
		out.Retry = digits(ev.Retry)
		if ev.ID != "" {
			out.ID = s.p.events.mark(c.Session.ID, ev.ID)
		}
	}
	if out.ID != "" && c.isRequest() {
		c.Session.remember(c)
	}
	if body == nil && out.ID == "" && out.Retry == "" {
		return nil
	}
	c.bytesOut += len(body)
	if err := c.out.Event(out); err != nil && (c.Era == Modern || c.isLong()) {
		return upstreamFailed("client-gone", err)
	}
	return nil
}

// digits is s if it is a number, else nothing.
func digits(s string) string {
	if len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// writeIntent writes the record that precedes a destructive call.
func (p *Pipeline) writeIntent(c *Call) error {
	e := p.record(c, &Answer{})
	e.Phase, e.Outcome, e.Time = audit.PhaseIntent, "", p.opts.Now()
	return p.write(e)
}
