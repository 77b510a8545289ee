package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"mcp-sidecar/proxy/wire"
)

// Bounds of what a child may have pending.
const (
	maxQueued      = 64        // messages that wait for a session to come and take them
	maxQueuedBytes = 256 << 10 // the same
	maxAsked       = 256       // requests of the child's own that nobody has answered yet
)

var (
	errSilent = fmt.Errorf("%w: the child was silent for too long", ErrTransport)
	errBroken = fmt.Errorf("%w: the child sent a response that is no JSON-RPC message", ErrTransport)
	errOver   = errors.New("the subscription has ended")
	errTaken  = fmt.Errorf("%w: %w", ErrTransport, errSlow)
)

// party is one session, or one owner of stateless requests: what belongs to one
// party never reaches another.
type party struct {
	key   string
	owner string
	child *child

	// Guarded by Stdio.mu.
	active int       // exchanges in flight
	since  time.Time // when the last one ended

	// Guarded by child.mu.
	session bool        // may be asked by the child, and has a standalone stream
	gone    bool        // nobody speaks for it any more
	open    []*exchange // requests in flight, newest last
	watches []*exchange // standalone streams, newest last
	queue   []item      // what waits for the session to come
	queued  int         // bytes in queue
}

// exchange is one request of a client's in flight, or one standalone stream.
type exchange struct {
	id     int64  // towards the child; also its progress token there
	rawID  []byte // the client's own
	key    string // the same, however it is written
	token  []byte // the client's own progress token, nil without
	method string
	party  *party
	box    *mailbox
	hello  *hello // set when the answer is kept for every session of a shared child

	modern bool
	listen bool // subscriptions/listen
	long   bool // may be silent for as long as it likes
	logs   bool // asked for log messages (2026-07-28)
	own    bool // the sidecar's own request: its client does not see this stream
	task   bool // wants a task (2025-11-25): its progress outlives the answer
	sent   time.Time

	expired   bool         // nothing came for too long; only its own goroutine looks
	state     atomic.Int32 // waiting, written, withdrawn
	cancelled atomic.Bool  // the client has said so itself
}

// States of a request that is to be written.
const (
	waiting int32 = iota
	written
	withdrawn
)

// enter makes e known, so that its answer finds it, and hands it what has waited
// for its session.
func (c *child) enter(e *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		e.box.close(c.err)
		return
	}
	p := e.party
	c.spoken(p)
	if e.id != 0 {
		c.open[e.id] = e
		p.open = append(p.open, e)
	} else {
		p.watches = append(p.watches, e)
		c.watching[e] = true
	}
	if p.session && e.takes(nil) {
		for _, it := range p.queue {
			_, _ = e.box.tryPut(it) // an empty box has room for a whole queue
		}
		p.queue, p.queued = nil, 0
	}
}

// spoken notes that p has sent something to the child. As long as one party alone
// has, whatever the child says is for it.
func (c *child) spoken(p *party) {
	if c.first != nil && c.first.key != p.key {
		c.mixed = true
		return
	}
	c.first = p // an owner who has been away comes back as a new party
}

// takes says whether e's stream may carry m, which is not about e's own request;
// nil stands for whatever a queue holds.
func (e *exchange) takes(m *wire.Message) bool {
	if e.own || e.listen || e.hello != nil {
		return false
	}
	if e.modern && m != nil && m.Method == "notifications/message" {
		return e.logs // without a level the client must not be sent any
	}
	return true
}

// leave forgets e. An answer that still comes is dropped; what the session was to
// be told all the same goes another way.
func (c *child) leave(e *exchange) {
	c.mu.Lock()
	unanswered := c.open[e.id] == e
	c.drop(e)
	c.mu.Unlock()
	for _, it := range e.box.abandon() {
		if it.loose {
			c.reroute(e.party, it)
		}
	}
	sent := !e.state.CompareAndSwap(waiting, withdrawn)
	// Before 2026-07-28 a client that goes away cancels nothing; silence is the
	// sidecar's own reason, and initialize must not be cancelled at all.
	tell := e.modern || e.expired && e.method != "initialize"
	if unanswered && sent && tell && !e.cancelled.Load() {
		c.post(cancelled(e.id))
	}
}

// drop takes e off the lists; c.mu is held.
func (c *child) drop(e *exchange) {
	if c.open[e.id] == e {
		delete(c.open, e.id)
	}
	delete(c.watching, e)
	same := func(other *exchange) bool { return other == e }
	e.party.open = slices.DeleteFunc(e.party.open, same)
	e.party.watches = slices.DeleteFunc(e.party.watches, same)
}

// reroute hands it, which belongs to p's session, to another stream of p's, or
// keeps it until there is one.
func (c *child) reroute(p *party, it item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := p.stream(nil); e != nil {
		if done, err := e.box.tryPut(it); done && err == nil {
			return
		}
	}
	c.keep(p, it)
}

// stream is where p is told what is not about one request: the newest request
// that is open, else the newest standalone stream. c.mu is held.
func (p *party) stream(m *wire.Message) *exchange {
	for _, e := range slices.Backward(p.open) {
		if e.takes(m) {
			return e
		}
	}
	if n := len(p.watches); n > 0 {
		return p.watches[n-1]
	}
	return nil
}

// keep queues it for p's session. When there is no room the oldest goes; c.mu is
// held.
func (c *child) keep(p *party, it item) {
	if !p.session || p.gone || c.err != nil {
		c.refuse(it)
		return
	}
	p.queue = append(p.queue, it)
	p.queued += len(it.data)
	for len(p.queue) > maxQueued || p.queued > maxQueuedBytes && len(p.queue) > 1 {
		oldest := p.queue[0]
		p.queue = p.queue[1:]
		p.queued -= len(oldest.data)
		c.refuse(oldest)
	}
}

// refuse drops it. If the child waits for an answer, it gets one.
func (c *child) refuse(it item) {
	c.s.dropped.Add(1)
	m, err := wire.Scan(it.data, fromChild)
	if err != nil || m.Kind != wire.Request {
		return
	}
	delete(c.asked, scalar(m, m.ID))
	c.post(reply(m.Value(m.ID), notDelivered))
}

// ask carries a request to the child and its answer to sink. session is the id of
// a session that the answer opens. It reports whether the answer was a result.
func (c *child) ask(ctx context.Context, p *party, x wire.Exchange, m *wire.Message, sink wire.Sink, session string) (ok bool, err error) {
	e := c.exchange(p, x, m)
	b, err := c.outgoing(e, m)
	if err != nil {
		return false, err
	}
	c.enter(e)
	defer c.leave(e)
	if err := c.send(ctx, outgoing{line: b, e: e}); err != nil {
		return false, err
	}
	return c.answer(ctx, e, sink, session)
}

func (c *child) exchange(p *party, x wire.Exchange, m *wire.Message) *exchange {
	return &exchange{
		id: c.lastID.Add(1), rawID: m.Value(m.ID), key: scalar(m, m.ID), token: m.Value(m.At(m.Params, "_meta", "progressToken")),
		method: m.Method, party: p, box: newMailbox(),
		modern: x.Version >= stateless, listen: m.Method == "subscriptions/listen", long: x.Long,
		logs: m.At(m.Params, "_meta", metaLogLevel) != wire.Absent, own: x.Own,
		task: m.Member(m.Params, "task") != wire.Absent, sent: c.s.opts.Now(),
	}
}

// answer hands what comes for e to sink. Until the first message it is open
// whether the answer is one message or a stream.
func (c *child) answer(ctx context.Context, e *exchange, sink wire.Sink, session string) (ok bool, err error) {
	silence := newSilence(c.s.opts.IdleTimeout, e.long)
	defer silence.stop()
	for begun := false; ; begun = true {
		it, err := e.next(ctx, silence.C)
		if errors.Is(err, errSilent) {
			e.expired = true
			c.unresponsive(e)
		}
		if errors.Is(err, errOver) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !begun {
			r := wire.Reply{Status: 200, Stream: !it.final}
			if it.final {
				r.Status = it.status
			}
			if !it.refused {
				r.Session = session
			}
			if err := sink.Reply(r); err != nil {
				return false, err
			}
		}
		silence.pause()
		err = sink.Message(wire.Event{Data: it.data})
		if it.final {
			return !it.refused && (err == nil || errors.Is(err, wire.ErrDone)), err
		}
		if err != nil {
			return false, err
		}
		silence.restart()
	}
}

// watch hands what is about no request of p's to sink, until ctx or the child
// ends.
func (c *child) watch(ctx context.Context, p *party, sink wire.Sink) error {
	if err := sink.Reply(wire.Reply{Status: 200, Stream: true}); err != nil {
		return err
	}
	e := &exchange{party: p, box: newMailbox()}
	c.enter(e)
	defer c.leave(e)
	for {
		it, err := e.next(ctx, nil)
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := sink.Message(wire.Event{Data: it.data}); err != nil {
			return err
		}
	}
}

// next waits for e's next message.
func (e *exchange) next(ctx context.Context, silence <-chan time.Time) (item, error) {
	for {
		if it, ok, err := e.box.take(); ok || err != nil {
			return it, err
		}
		select {
		case <-e.box.ready:
		case <-ctx.Done():
			return item{}, ctx.Err()
		case <-silence:
			return item{}, errSilent
		}
	}
}

// unresponsive ends a child that has said nothing at all for as long as e has
// waited: it hangs, and only a new one can answer again. The child of a session
// stays, since nothing can take its place.
func (c *child) unresponsive(e *exchange) {
	c.mu.Lock()
	hangs := !c.heard.After(e.sent) && (c.s.opts.Shared || !e.party.session)
	c.mu.Unlock()
	if hangs {
		c.s.retire(c, errSilent, false)
	}
}

// silence ends an answer in which nothing comes for too long. The time that the
// client takes does not count.
type silence struct {
	C     <-chan time.Time
	timer *time.Timer
	limit time.Duration
}

func newSilence(limit time.Duration, never bool) *silence {
	if never {
		return &silence{}
	}
	t := time.NewTimer(limit)
	return &silence{C: t.C, timer: t, limit: limit}
}

func (s *silence) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *silence) pause() { s.stop() }

func (s *silence) restart() {
	if s.timer != nil {
		s.timer.Reset(s.limit)
	}
}
