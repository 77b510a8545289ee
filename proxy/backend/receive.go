package backend

import (
	"bytes"
	"errors"
	"regexp"

	"mcp-sidecar/proxy/wire"
)

// asked is a request of the child's that waits for a client's answer.
type asked struct {
	party *party
	rawID []byte // as the child wrote it
	token string // key of the progress token that it gave out, if any
}

// receive takes one line of the child's output. Whatever comes is handed to the
// party it belongs to, or to nobody.
func (c *child) receive(raw []byte) {
	oneLine(raw) // a bare CR would end a line of an event stream
	m, err := wire.Scan(raw, fromChild)
	c.mu.Lock()
	c.heard = c.s.opts.Now()
	c.mu.Unlock()
	switch {
	case err != nil:
		c.unreadable(raw)
	case m.Kind == wire.Response:
		c.response(m)
	case m.Kind == wire.Request:
		c.request(m)
	default:
		c.notification(m)
	}
}

// envelope finds members that a response has and a log entry has not.
var envelope = regexp.MustCompile(`"(jsonrpc|result|error)"[ \t]*:`)

// unreadable is for lines that are no message. A response that is not what
// JSON-RPC wants ends the request that it answers; anything else is noise, such
// as a banner, or a log entry that names the request it is about.
func (c *child) unreadable(raw []byte) {
	if envelope.Match(raw) && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		if id, ok := idFrom(raw, raw); ok && c.fail(id, errBroken) {
			return
		}
	}
	c.s.noisy()
}

// tooLarge ends what a line above the limit may have answered: the request whose
// id it shows, else every one that is open.
func (c *child) tooLarge(id int64, known bool) {
	if known {
		c.fail(id, ErrTooLarge)
		return
	}
	c.mu.Lock()
	var all []int64
	for id := range c.open {
		all = append(all, id)
	}
	c.mu.Unlock()
	for _, id := range all {
		c.fail(id, ErrTooLarge)
	}
}

// fail ends the request id with err, if it is open.
func (c *child) fail(id int64, err error) bool {
	e := c.take(id)
	if e == nil {
		return false
	}
	if e.hello != nil {
		c.greeted(e.hello, nil, err)
	}
	e.box.close(err)
	return true
}

// take removes and returns the open request id: its answer is here.
func (c *child) take(id int64) *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.open[id]
	if e != nil {
		c.drop(e)
	}
	return e
}

// response ends the request that it answers. One for a request that nobody waits
// for any more is dropped.
func (c *child) response(m *wire.Message) {
	e := c.answered(m)
	if e == nil {
		c.s.dropped.Add(1)
		return
	}
	if e.hello != nil {
		c.greeted(e.hello, m, nil)
		return
	}
	c.outlive(e)
	data, err := e.restore(m)
	if err != nil {
		e.box.close(errBroken)
		return
	}
	_ = e.box.put(item{data: data, final: true, refused: m.Err != wire.Absent, status: e.httpStatus(m)}, 0)
}

// task is a request that was answered with a task: its progress token lives on
// (MCP 2025-11-25, basic/utilities/tasks, "Task Progress").
type task struct {
	id    int64
	token []byte
	party *party
}

// maxTasks bounds the tasks of which progress is still passed on; the oldest goes.
const maxTasks = 64

// outlive keeps e's progress token, if its request became a task.
func (c *child) outlive(e *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.task || e.token == nil || !e.party.session {
		return
	}
	c.tasks = append(c.tasks, task{e.id, e.token, e.party})
	c.tasks = c.tasks[max(0, len(c.tasks)-maxTasks):]
}

// answered finds the request that m answers.
func (c *child) answered(m *wire.Message) *exchange {
	if id, ok := integer(m, m.ID); ok {
		e := c.take(id)
		if e != nil && m.Err == wire.Absent {
			c.mu.Lock()
			c.useful = true
			c.mu.Unlock()
		}
		return e
	}
	if m.ID != wire.Absent && m.Nodes[m.ID].Kind != 'n' {
		return nil
	}
	// An error whose sender could not read the request's id. If there is but one
	// it can only be for that one.
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) != 1 || c.mixed {
		return nil
	}
	for _, e := range c.open {
		c.drop(e)
		return e
	}
	return nil
}

// request takes a request of the child's to the session that it is for.
func (c *child) request(m *wire.Message) {
	p, e, refusal := c.addressee(m)
	switch {
	case refusal != "":
		c.s.dropped.Add(1)
		c.post(reply(m.Value(m.ID), refusal))
	case p != nil:
		c.hand(p, e, item{data: m.Raw, loose: true})
	default:
		c.s.dropped.Add(1) // a request with the id of one that is open: any answer would be for both
	}
}

// addressee says whom a request of the child's is for, and notes that an answer
// is expected; or else what to answer.
func (c *child) addressee(m *wire.Message) (p *party, e *exchange, refusal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.sole(); p == nil || !p.session || p.gone {
		// Whose client is meant cannot be told, or there is none that could answer.
		if m.Method == "ping" {
			return nil, nil, emptyResult // the sidecar, which is the child's client, is there
		}
		return nil, nil, notFound
	}
	e = p.stream(m)
	if e == nil && m.Method == "ping" {
		return nil, nil, emptyResult // nobody will look before the child has given up
	}
	key := scalar(m, m.ID)
	if _, open := c.asked[key]; open {
		return nil, nil, ""
	}
	if len(c.asked) >= maxAsked {
		return nil, nil, notDelivered
	}
	c.asked[key] = asked{p, bytes.Clone(m.Value(m.ID)), scalar(m, m.At(m.Params, "_meta", "progressToken"))}
	return p, e, ""
}

// sole is the one party that the child knows of, or nil: messages that name no
// request can be told apart only then. c.mu is held.
func (c *child) sole() *party {
	if c.mixed {
		return nil
	}
	return c.first
}

// notification takes m to the request that it names, or to the session it is for.
func (c *child) notification(m *wire.Message) {
	p, e, it := c.correlate(m)
	if it.data == nil {
		c.s.dropped.Add(1)
		return
	}
	c.hand(p, e, it)
	if e != nil && m.Method == "notifications/cancelled" && !it.loose {
		// The end of a subscription (MCP 2026-07-28, basic/patterns/subscriptions).
		c.mu.Lock()
		c.drop(e)
		c.mu.Unlock()
		e.box.close(errOver)
	}
}

// correlate finds out whom m is for and makes it theirs. Without data it is for
// nobody.
func (c *child) correlate(m *wire.Message) (*party, *exchange, item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	named := func(at int) *exchange { id, _ := integer(m, at); return c.open[id] }
	subscription := m.At(m.Params, "_meta", metaSubscription)
	switch {
	case m.Method == "notifications/progress":
		at := m.Member(m.Params, "progressToken")
		if e := named(at); e != nil && e.token != nil {
			return e.mine(m, m.Replace(at, e.token))
		}
		return c.taskProgress(m, at)
	case subscription != wire.Absent:
		if e := named(subscription); e != nil && e.listen {
			return e.mine(m, m.Replace(subscription, e.rawID))
		}
		return nil, nil, item{}
	case m.Method == "notifications/cancelled":
		at := m.Member(m.Params, "requestId")
		if e := named(at); e != nil && e.listen {
			return e.mine(m, m.Replace(at, e.rawID))
		}
		a, ok := c.asked[scalar(m, at)]
		if !ok {
			return nil, nil, item{}
		}
		delete(c.asked, scalar(m, at))
		return a.party, a.party.stream(m), item{data: m.Raw, loose: true}
	}
	p := c.sole()
	if p == nil || p.gone {
		return nil, nil, item{}
	}
	return p, p.stream(m), item{data: m.Raw, loose: true}
}

// taskProgress is progress m on a task. c.mu is held.
func (c *child) taskProgress(m *wire.Message, at int) (*party, *exchange, item) {
	id, _ := integer(m, at)
	for _, t := range c.tasks {
		if t.id != id || t.party.gone {
			continue
		}
		if data, err := wire.Splice(m.Raw, []wire.Patch{m.Replace(at, t.token)}); err == nil {
			return t.party, t.party.stream(m), item{data: data, loose: true}
		}
	}
	return nil, nil, item{}
}

// mine is m, about e, with e's own names in it.
func (e *exchange) mine(m *wire.Message, patch wire.Patch) (*party, *exchange, item) {
	data, err := wire.Splice(m.Raw, []wire.Patch{patch})
	if err != nil {
		return nil, nil, item{}
	}
	return e.party, e, item{data: data}
}

// hand gives it to e, or, when there is none, keeps it for p's session.
func (c *child) hand(p *party, e *exchange, it item) {
	if e == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keep(p, it)
		return
	}
	err := e.box.put(it, c.s.bounds.stall)
	if err == nil {
		return
	}
	if errors.Is(err, errSlow) {
		c.mu.Lock()
		c.drop(e)
		c.mu.Unlock()
		e.box.close(errTaken)
		if e.modern {
			c.post(cancelled(e.id))
		}
	}
	if it.loose {
		c.reroute(p, it)
	}
}
