package merge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// answer is what one server says to a request that several of them get.
type answer struct {
	part
	reply wire.Reply
	msg   *wire.Message // the response; nil when there was none
	err   error         // of the way to the server
}

// ok says whether the server answered with a result.
func (a *answer) ok() bool { return a.err == nil && a.msg != nil && a.msg.Result != wire.Absent }

// lost says whether the server no longer knows the session.
func (a *answer) lost() bool { return a.reply.Status == 404 && a.session != "" }

// lacks says whether the server does not know the method: it has no such feature.
func (a *answer) lacks() bool {
	return a.err == nil && a.msg != nil && a.code() == wire.CodeMethodNotFound
}

// code is the JSON-RPC code of an error, 0 without one.
func (a *answer) code() int {
	if a.msg == nil {
		return 0
	}
	code, _ := strconv.Atoi(string(a.msg.Value(a.msg.Member(a.msg.Err, "code"))))
	return code
}

// cause says why there is no result.
func (a *answer) cause() error {
	switch {
	case a.err != nil:
		return a.err
	case a.msg == nil:
		return fmt.Errorf("%w: HTTP %d without a message", backend.ErrTransport, a.reply.Status)
	}
	return fmt.Errorf("the server refuses the request (code %d)", a.code())
}

// gather asks every part at the same time, each for at most limit. What servers
// say beside their responses passes to the client.
func (c *carriage) gather(ctx context.Context, parts []part, limit time.Duration, ask func(ctx context.Context, p part) answer) []answer {
	answers := make([]answer, len(parts))
	c.out.run(len(parts), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		answers[i] = ask(ctx, parts[i])
		if answers[i].err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			answers[i].err = fmt.Errorf("%w: no answer within %v", backend.ErrTransport, limit)
		}
	})
	c.left = c.left || ctx.Err() != nil
	return answers
}

// ask sends x, which is a request, to p. Messages beside its response go to the
// client where aside says so.
func (c *carriage) ask(ctx context.Context, p part, x wire.Exchange, id string, aside bool) answer {
	k := &collector{ctx: ctx, c: c, id: id, aside: aside, answer: answer{part: p}}
	x.Session, x.Server, x.Owners = p.session, "", nil
	k.err = p.Upstream.Do(ctx, x, k)
	if k.err == nil && (k.reply.Status == 401 || k.reply.Status == 403 || k.reply.Status == 407) {
		k.err = fmt.Errorf("%w: the sidecar's own credential is refused (HTTP %d); check upstreams.%s.credential", backend.ErrTransport, k.reply.Status, p.Name)
	}
	return k.answer
}

// collector keeps the response to one request.
type collector struct {
	answer
	ctx   context.Context
	c     *carriage
	id    string // of the request, as scalarOf writes it
	aside bool
}

// Reply implements [wire.Sink].
func (k *collector) Reply(r wire.Reply) error {
	k.reply = r
	if k.lost() {
		return wire.ErrDone
	}
	return nil
}

// Message implements [wire.Sink].
func (k *collector) Message(ev wire.Event) error {
	if len(ev.Data) == 0 {
		return nil
	}
	m, err := wire.Scan(ev.Data, k.c.g.opts.Answer)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", backend.ErrTransport, err)
	case m.Kind == wire.Response && m.ID != wire.Absent && m.Nodes[m.ID].Kind != 'n' && scalarOf(m, m.ID) != k.id:
		return fmt.Errorf("%w: the answer is to another request", backend.ErrTransport)
	case m.Kind == wire.Response:
		k.msg = m
		return wire.ErrDone
	case !k.aside:
		if m.Kind == wire.Request {
			k.c.decline(k.ctx, m, k.part)
		}
		return nil
	}
	// Without an id: nobody could resume a stream that stands for several.
	ev, ok, err := k.c.fromMember(k.ctx, m, wire.Event{Data: ev.Data}, k.part)
	if err != nil || !ok {
		return err
	}
	return k.c.out.send(k.ctx, func() error { return k.c.out.event(ev) })
}

// broadcast sends the request to every server. The first result is the answer; a
// refusal is one only where nobody had a result.
func (c *carriage) broadcast(ctx context.Context) error {
	id := scalarOf(c.msg, c.msg.ID)
	answers := c.gather(ctx, c.parts, listTime, func(ctx context.Context, p part) answer {
		c.g.flights.sent(c, p)
		return c.ask(ctx, p, c.x, id, true)
	})
	for i := range answers {
		if answers[i].lost() {
			return c.loseSession(ctx, answers[i].part)
		}
		c.noteAnswer(&answers[i])
	}
	return c.firstOf(answers)
}

// noteAnswer notes whether the server takes part.
func (c *carriage) noteAnswer(a *answer) {
	if c.out.stopped != nil || c.left {
		return // the error may be the client's
	}
	if a.ok() || a.lacks() {
		c.g.note(a.member, nil)
		return
	}
	c.g.note(a.member, a.cause())
}

// firstOf answers with the first result, else with the first refusal, else with
// what went wrong on the way.
func (c *carriage) firstOf(answers []answer) error {
	var refused *answer
	var errs []error
	for i := range answers {
		a := &answers[i]
		switch {
		case a.ok():
			return c.out.answer(wire.Reply{Status: 200}, a.msg.Raw)
		case a.err == nil && refused == nil:
			refused = a
		case a.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", a.Name, a.err))
		}
	}
	switch {
	case refused != nil && refused.msg != nil:
		return c.out.answer(wire.Reply{Status: refused.reply.Status}, refused.msg.Raw)
	case refused != nil:
		return c.out.end(wire.Reply{Status: refused.reply.Status})
	case len(errs) == 0:
		return fmt.Errorf("%w: no server takes part in this session", backend.ErrTransport)
	}
	return errors.Join(errs...)
}

// loseSession tells the client to begin anew: one server has forgotten its part of
// the session.
func (c *carriage) loseSession(ctx context.Context, lost part) error {
	c.endOthers(ctx, lost)
	return c.out.end(wire.Reply{Status: 404})
}

// tell sends the notification to some of the servers. It has arrived where one of
// them took it.
func (c *carriage) tell(ctx context.Context, parts []part) error {
	if len(parts) == 0 {
		return c.out.end(wire.Reply{Status: 202})
	}
	answers := c.gather(ctx, parts, listTime, func(ctx context.Context, p part) answer {
		x, err := c.forward(p)
		if err != nil {
			return answer{part: p, err: err}
		}
		return c.ask(ctx, p, x, "", true)
	})
	var errs []error
	taken := false
	for i := range answers {
		a := &answers[i]
		switch {
		case a.lost():
			return c.loseSession(ctx, a.part)
		case a.err != nil:
			c.noteAnswer(a)
			errs = append(errs, fmt.Errorf("%s: %w", a.Name, a.err))
		default:
			taken = taken || a.reply.Status < 300
		}
	}
	switch {
	case taken:
		return c.out.end(wire.Reply{Status: 202})
	case len(errs) == len(answers):
		return errors.Join(errs...)
	}
	return c.out.end(wire.Reply{Status: 400})
}
