package backend

import (
	"context"
	"slices"
	"time"

	"mcp-sidecar/proxy/wire"
)

// outgoing is one line for the child.
type outgoing struct {
	line []byte
	e    *exchange     // of a request, which may be withdrawn before it is written
	done chan struct{} // closed when it has been written; may be nil
}

// outgoing is request m under the names that e has towards the child.
func (c *child) outgoing(e *exchange, m *wire.Message) ([]byte, error) {
	id := number(e.id)
	patches := []wire.Patch{m.Replace(m.ID, id)}
	if token := m.At(m.Params, "_meta", "progressToken"); token != wire.Absent {
		patches = append(patches, m.Replace(token, id))
	}
	c.mu.Lock()
	patches = append(patches, e.party.subscription(m)...)
	c.mu.Unlock()
	return line(m, patches)
}

// subscription renames the subscription that a client's message names. One that is
// not p's is cut out: under its number another's may be running. c.mu is held.
func (p *party) subscription(m *wire.Message) []wire.Patch {
	meta := m.Member(m.Params, "_meta")
	at := m.Member(meta, metaSubscription)
	if at == wire.Absent {
		return nil
	}
	if e := p.request(scalar(m, at)); e != nil && e.listen {
		return []wire.Patch{m.Replace(at, number(e.id))}
	}
	return m.Edit(meta, func(i int) bool { return i == at })
}

// request is p's newest open request with the client's id key. c.mu is held.
func (p *party) request(key string) *exchange {
	for _, e := range slices.Backward(p.open) {
		if e.key == key && key != "" {
			return e
		}
	}
	return nil
}

// tell carries a notification or a response to the child. What names something
// that is not p's is dropped: to its sender it looks the same.
func (c *child) tell(ctx context.Context, p *party, m *wire.Message) error {
	patches, ok := c.passing(p, m)
	if !ok {
		c.s.dropped.Add(1)
		return nil
	}
	b, err := line(m, patches)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	if err := c.send(ctx, outgoing{line: b, done: done}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.dead:
		return c.death()
	}
}

// passing says whether the child may be told m of p's, and what to patch in it.
func (c *child) passing(p *party, m *wire.Message) ([]wire.Patch, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoken(p)
	if m.Kind == wire.Response {
		key := scalar(m, m.ID)
		a, ok := c.asked[key]
		if !ok || a.party != p {
			return nil, false
		}
		delete(c.asked, key)
		return []wire.Patch{m.Replace(m.ID, a.rawID)}, true
	}
	switch m.Method {
	case "notifications/cancelled":
		at := m.Member(m.Params, "requestId")
		e := p.request(scalar(m, at))
		if e == nil || e.hello != nil {
			return nil, false
		}
		e.cancelled.Store(true)
		return []wire.Patch{m.Replace(at, number(e.id))}, true
	case "notifications/initialized":
		again := c.s.opts.Shared && c.initialized
		c.initialized = true
		return nil, !again
	case "notifications/progress":
		if c.s.opts.Shared && !c.gaveToken(p, scalar(m, m.Member(m.Params, "progressToken"))) {
			return nil, false
		}
	}
	return p.subscription(m), true
}

// gaveToken says whether a request of the child's that p has to answer gave out
// the progress token. c.mu is held.
func (c *child) gaveToken(p *party, token string) bool {
	for _, a := range c.asked {
		if a.party == p && a.token == token && token != "" {
			return true
		}
	}
	return false
}

// send queues o for the child's input.
func (c *child) send(ctx context.Context, o outgoing) error {
	select {
	case c.out <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.dead:
		return c.death()
	}
}

// post queues what the sidecar itself has to say, without waiting: the reader
// must not wait for a child that waits for its reader.
func (c *child) post(b []byte) {
	select {
	case c.out <- outgoing{line: b}:
	default:
		c.s.dropped.Add(1)
	}
}

// write feeds the child's input, a line at a time. A child that does not read is
// ended: a line that was cut off could not be told from the next.
func (c *child) write() {
	for {
		select {
		case <-c.dead:
			return
		case o := <-c.out:
			if o.e != nil && !o.e.state.CompareAndSwap(waiting, written) {
				continue // nobody waits for it any more
			}
			stuck := time.AfterFunc(c.s.bounds.write, func() { c.s.retire(c, errStuck, false) })
			_, err := c.proc.stdin.Write(o.line)
			stuck.Stop()
			if err != nil {
				c.s.retire(c, errClosed, false)
				return
			}
			if o.done != nil {
				close(o.done)
			}
		}
	}
}
