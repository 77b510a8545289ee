package merge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// Pauses before a stream that broke off is opened again; each failure doubles the
// last one.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// stream is one long stream towards the client that carries those of several
// servers. A server whose stream breaks off has it opened again: the client does
// not notice, and the others' streams go on. Its fields belong to the goroutine of
// the exchange.
type stream struct {
	c        *carriage
	parts    []part
	open     func(p part) (wire.Exchange, error)
	listens  bool // subscriptions/listen: begins with an acknowledgement
	cancel   context.CancelFunc
	resolved int               // servers whose first attempt has succeeded or failed
	last     map[string]string // id of the last event of each server
	lost     *part
	failed   []answer // first attempts that failed
	acks     []ack
	late     bool          // whoever has not acknowledged by now is not waited for
	begun    chan struct{} // closed when the client has been told that the stream is open
}

// watch opens the standalone stream of every server (MCP 2025-11-25,
// basic/transports, "Listening for Messages from the Server").
func (c *carriage) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stream{c: c, parts: c.parts, cancel: cancel, last: parted(c.x.LastEvent), begun: make(chan struct{})}
	s.open = func(p part) (wire.Exchange, error) {
		x := c.x
		x.Session, x.LastEvent = p.session, usable(s.last[p.Name])
		return x, nil
	}
	c.out.run(len(s.parts), func(i int) { s.follow(ctx, s.parts[i]) })
	switch {
	case c.out.stopped != nil:
		return c.out.stopped
	case s.lost != nil:
		return c.loseSession(ctx, *s.lost)
	case c.out.replied:
		return ctx.Err()
	}
	var errs []error
	for i := range s.failed {
		errs = append(errs, c.g.ended(s.failed[i].part, s.failed[i].err))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.out.end(wire.Reply{Status: http.StatusMethodNotAllowed}) // no server has one
}

// follow keeps p's part of the stream open until the stream ends.
func (s *stream) follow(ctx context.Context, p part) {
	wait := firstPause
	for first := true; ; first = false {
		f := &follower{ctx: ctx, s: s, p: p, first: first}
		x, err := s.exchange(ctx, p)
		if err == nil {
			err = p.Upstream.Do(ctx, x, f)
		}
		if ctx.Err() != nil {
			return
		}
		f.err = done(err)
		_ = s.c.out.send(ctx, func() error { return s.ended(f) })
		if f.over() || ctx.Err() != nil {
			return
		}
		if f.opened {
			wait = firstPause
		}
		s.c.g.opts.Pause(ctx, wait)
		wait = min(2*wait, maxPause)
	}
}

// exchange opens p's part, where it was left.
func (s *stream) exchange(ctx context.Context, p part) (x wire.Exchange, err error) {
	return x, s.c.out.send(ctx, func() error {
		x, err = s.open(p)
		return err
	})
}

// ended notes that a server's part has ended, or was not opened at all.
func (s *stream) ended(f *follower) error {
	a := answer{part: f.p, reply: f.reply, msg: f.msg, err: f.err}
	if s.c.out.stopped != nil || a.lost() {
		if a.lost() {
			s.lost = &f.p
		}
		s.cancel()
		return nil
	}
	if !f.ended && f.reply.Status != http.StatusMethodNotAllowed {
		s.c.g.note(f.p.member, a.cause())
	}
	if f.opened {
		return nil
	}
	if f.first {
		s.failed = append(s.failed, a)
	}
	return f.count()
}

// resolve counts a server whose first attempt has succeeded or failed. Where all
// have failed there is no stream.
func (s *stream) resolve() error {
	s.resolved++
	switch {
	case s.resolved < len(s.parts):
	case len(s.failed) == len(s.parts):
		s.cancel()
	case s.listens:
		return s.acknowledge()
	}
	return nil
}

// begin tells the client that the stream is open, once.
func (s *stream) begin() error {
	select {
	case <-s.begun:
		return nil
	default:
	}
	close(s.begun)
	return s.c.out.reply(wire.Reply{Status: http.StatusOK, Stream: true})
}

// follower takes one server's part of a stream.
type follower struct {
	ctx    context.Context
	s      *stream
	p      part
	first  bool // the first attempt
	reply  wire.Reply
	opened bool
	ended  bool          // the server ended it, and means it
	msg    *wire.Message // the response that ended it
	err    error
}

// count counts the outcome of the first attempt.
func (f *follower) count() error {
	if !f.first {
		return nil
	}
	return f.s.resolve()
}

// over says whether the server's part is not opened again.
func (f *follower) over() bool {
	refused := f.reply.Status >= 400 && f.reply.Status < 500
	return f.ended || refused || f.reply.Status == http.StatusOK && !f.reply.Stream
}

// Reply implements [wire.Sink].
func (f *follower) Reply(r wire.Reply) error {
	f.reply = r
	switch {
	case r.Status == http.StatusNotFound && f.p.session != "":
		return wire.ErrDone
	case r.Status != http.StatusOK || !r.Stream || f.s.listens:
		return nil // a subscription is open when it is acknowledged
	}
	f.opened = true
	return f.s.c.out.send(f.ctx, func() error {
		f.s.c.g.note(f.p.member, nil)
		if err := f.s.begin(); err != nil {
			return err
		}
		return f.count()
	})
}

// Message implements [wire.Sink].
func (f *follower) Message(ev wire.Event) error {
	if len(ev.Data) == 0 {
		return f.deliver(ev)
	}
	m, err := wire.Scan(ev.Data, f.s.c.g.opts.Answer)
	if err != nil {
		return fmt.Errorf("%w: %w", backend.ErrTransport, err)
	}
	if f.s.listens {
		switch {
		case m.Kind == wire.Response:
			f.msg, f.ended = m, true
			return wire.ErrDone
		case m.Method == acknowledged:
			return f.acknowledge(m)
		case !f.s.about(m):
			return nil // it would pass for news of another subscription
		}
	}
	ev, ok, err := f.s.c.fromMember(f.ctx, m, ev, f.p)
	if err != nil || !ok {
		return err
	}
	return f.deliver(ev)
}

// deliver passes an event once the stream is open. Its id says where each server's
// part stands, so that a client that comes back misses nothing.
func (f *follower) deliver(ev wire.Event) error {
	select {
	case <-f.s.begun:
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
	return f.s.c.out.send(f.ctx, func() error {
		if ev.ID = usable(ev.ID); ev.ID != "" {
			f.s.last[f.p.Name] = ev.ID
			if ev.ID = joined(f.s.last); len(ev.ID) > maxEventID {
				ev.ID = joined(map[string]string{f.p.Name: f.s.last[f.p.Name]})
			}
		}
		return f.s.c.out.event(ev)
	})
}

// maxEventID is how long an id may be that says where all parts stand, in bytes.
const maxEventID = 1000
