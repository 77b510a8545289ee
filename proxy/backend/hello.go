package backend

import (
	"context"
	"time"

	"mcp-sidecar/proxy/wire"
)

// hello is the one initialize that a shared child sees. Its answer is every
// session's.
type hello struct {
	done   chan struct{} // closed when it is over
	answer *wire.Message // nil: there was none
	err    error         // why
}

// greet returns the answer to initialize m of p's, and whether it opens a session.
// The first one is sent; later ones wait for the answer to it. A refusal is only
// its sender's, since others ask for other things: the next one is sent then.
func (c *child) greet(ctx context.Context, p *party, x wire.Exchange, m *wire.Message) (answer []byte, ok bool, err error) {
	late := time.NewTimer(c.s.opts.IdleTimeout)
	defer late.Stop()
	for {
		h, mine, err := c.hail(ctx, p, x, m)
		if err != nil {
			return nil, false, err
		}
		select {
		case <-h.done:
		case <-c.dead:
			return nil, false, c.death()
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-late.C:
			c.s.retire(c, errSilent, false) // nobody can use a child that does not come up
			return nil, false, errSilent
		}
		switch {
		case h.answer == nil && mine:
			return nil, false, h.err
		case h.answer != nil && (mine || h.answer.Err == wire.Absent):
			answer, err = wire.Splice(h.answer.Raw, []wire.Patch{h.answer.Replace(h.answer.ID, m.Value(m.ID))})
			return answer, h.answer.Err == wire.Absent, err
		}
	}
}

// hail returns the hello under way, or sends m as one.
func (c *child) hail(ctx context.Context, p *party, x wire.Exchange, m *wire.Message) (h *hello, mine bool, err error) {
	c.mu.Lock()
	if h = c.hello; h != nil {
		c.mu.Unlock()
		return h, false, nil
	}
	h = &hello{done: make(chan struct{})}
	c.hello = h
	c.mu.Unlock()
	e := c.exchange(p, x, m)
	e.hello = h
	b, err := c.outgoing(e, m)
	if err == nil {
		c.enter(e)
		// Whoever gives up waiting withdraws nothing: others may be waiting too.
		err = c.send(ctx, outgoing{line: b})
	}
	if err != nil {
		c.take(e.id)
		c.greeted(h, nil, err)
		return nil, false, err
	}
	return h, true, nil
}

// greeted ends h with answer. Unless it is a result, the next initialize is sent.
func (c *child) greeted(h *hello, answer *wire.Message, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-h.done:
		return // what the child said without an id has ended it before it was sent
	default:
	}
	h.answer, h.err = answer, err
	if answer == nil || answer.Err != wire.Absent {
		c.hello = nil
	}
	close(h.done)
}
