package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// funnel brings what several servers say to the one sink. The sink runs on the
// goroutine of the exchange alone, so that it need not be safe for concurrent
// use, and a panic of its ends that exchange and nothing else.
type funnel struct {
	sink    wire.Sink
	replied bool
	stopped error // the sink's own error: it wants nothing more
	parcels chan parcel
}

type parcel struct {
	deliver func() error
	done    chan error // closed when deliver has panicked
}

func (p parcel) open() {
	defer close(p.done)
	p.done <- p.deliver()
}

func newFunnel(sink wire.Sink) *funnel { return &funnel{sink: sink, parcels: make(chan parcel)} }

// run runs work once for each of n servers at the same time, delivers what they
// send, and returns when all have ended. A panic of work's becomes one of the
// caller's: on its own goroutine nobody would catch it.
func (f *funnel) run(n int, work func(i int)) {
	ended := make(chan any, n)
	for i := range n {
		go func() {
			defer func() { ended <- recover() }()
			work(i)
		}()
	}
	var panicked any
	for n > 0 {
		select {
		case p := <-f.parcels:
			p.open()
		case v := <-ended:
			if n--; v != nil {
				panicked = v
			}
		}
	}
	if panicked != nil {
		panic(panicked)
	}
}

// send runs deliver on the goroutine of the exchange, and waits until it has run:
// it may use what belongs to the caller.
func (f *funnel) send(ctx context.Context, deliver func() error) error {
	p := parcel{deliver, make(chan error, 1)}
	select {
	case f.parcels <- p:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-p.done
}

// reply tells the sink how the exchange was taken, once.
func (f *funnel) reply(r wire.Reply) error {
	if f.replied {
		return f.stopped
	}
	f.replied = true
	return f.heed(f.sink.Reply(r))
}

// message hands the sink a message.
func (f *funnel) message(ev wire.Event) error {
	if f.stopped != nil {
		return f.stopped
	}
	return f.heed(f.sink.Message(ev))
}

// heed keeps an error of the sink's. It may have found in one server's message
// what forbids the rest, and the rest may come from another server.
func (f *funnel) heed(err error) error {
	if done(err) != nil {
		f.stopped = err
	}
	return err
}

// end ends the exchange with r alone.
func (f *funnel) end(r wire.Reply) error { return done(f.reply(r)) }

// event passes a message of a stream.
func (f *funnel) event(ev wire.Event) error {
	if err := f.reply(wire.Reply{Status: 200, Stream: true}); err != nil {
		return err
	}
	return f.message(ev)
}

// answer ends the exchange with body. On a stream it is the last message.
func (f *funnel) answer(r wire.Reply, body []byte) error {
	if err := f.reply(r); err != nil {
		return done(err)
	}
	return done(f.message(wire.Event{Data: body}))
}

func done(err error) error {
	if errors.Is(err, wire.ErrDone) {
		return nil
	}
	return err
}

// relay passes one server's answer to the client.
type relay struct {
	ctx  context.Context
	c    *carriage
	p    part
	lost bool // the server no longer knows the session
}

// Reply implements [wire.Sink].
func (r *relay) Reply(reply wire.Reply) error {
	r.lost = reply.Status == 404 && r.p.session != ""
	reply.Session = ""
	return r.c.out.reply(reply)
}

// Message implements [wire.Sink].
func (r *relay) Message(ev wire.Event) error {
	if r.lost || len(ev.Data) == 0 {
		return r.c.out.message(r.c.eventID(ev, r.p))
	}
	m, err := wire.Scan(ev.Data, r.c.g.opts.Answer)
	if err != nil {
		return fmt.Errorf("%w: %w", backend.ErrTransport, err)
	}
	ev, ok, err := r.c.fromMember(r.ctx, m, r.c.eventID(ev, r.p), r.p)
	if err != nil || !ok {
		return err
	}
	return r.c.out.message(ev)
}

// eventID marks the id of an event with whose it is. The client names it when it
// resumes the stream.
func (c *carriage) eventID(ev wire.Event, p part) wire.Event {
	if ev.ID = usable(ev.ID); ev.ID != "" {
		ev.ID = joined(map[string]string{p.Name: ev.ID})
	}
	return ev
}

// usable is id if it can stand in a header as it is, else nothing. A client sends
// it back in a form of which only this sees what it is.
func usable(id string) string {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return ""
		}
	}
	return id
}

// relatedTask is the key of _meta under which a message names the task it
// belongs to (MCP 2025-11-25, basic/utilities/tasks, "Related Task Metadata").
const relatedTask = "io.modelcontextprotocol/related-task"

// fromMember rewrites a message of p's for the client: every id that the server
// chose gets its name in front. It says no where the message is not for the
// client: it speaks about what is not p's.
func (c *carriage) fromMember(ctx context.Context, m *wire.Message, ev wire.Event, p part) (wire.Event, bool, error) {
	ev.Server = p.Name
	var patches []wire.Patch
	mark := func(i int) {
		if i != wire.Absent {
			patches = append(patches, m.ReplaceText(i, marked(p.Name, m.Value(i))))
		}
	}
	task := func(i int) {
		if text := m.Text(i); text != "" {
			patches = append(patches, m.ReplaceText(i, prefixed(p.Name, text)))
		}
	}
	task(m.At(m.Params, "_meta", relatedTask, "taskId"))
	task(m.At(m.Result, "_meta", relatedTask, "taskId"))
	switch {
	case m.Kind == wire.Request && strings.HasPrefix(m.Method, "tasks/"):
		// No server was told that the client has tasks: this one belongs to another.
		c.decline(ctx, m, p)
		return ev, false, nil
	case m.Kind == wire.Request:
		mark(m.ID)
		mark(m.At(m.Params, "_meta", "progressToken"))
	case m.Kind == wire.Response:
		task(m.Member(m.Result, "taskId"))
		task(m.At(m.Result, "task", "taskId"))
	case !c.believes(m, p):
		return ev, false, nil
	case m.Method == "notifications/cancelled":
		mark(m.Member(m.Params, "requestId"))
	case m.Method == "notifications/tasks/status", m.Method == "notifications/tasks":
		task(m.Member(m.Params, "taskId"))
	case m.Method == "notifications/resources/list_changed":
		c.g.indexes.at(c.x.Owner).changes(p.Name)
	}
	data, err := wire.Splice(ev.Data, patches)
	ev.Data = data
	return ev, err == nil, err
}

// believes says whether a notification of p's is about p's own: progress of a
// request that it works on, a resource that is not another server's.
func (c *carriage) believes(m *wire.Message, p part) bool {
	switch m.Method {
	case "notifications/progress":
		token := m.Member(m.Params, "progressToken")
		at := c.g.flights.at(c.flight(byToken, m, token))
		if c.gaveOut(scalarOf(m, token)) { // without a session another request may have given out the same
			at = c.g.flights.of(c)
		}
		return slices.ContainsFunc(at, func(at part) bool { return at.Name == p.Name })
	case "notifications/resources/updated":
		owner := c.g.indexes.at(c.x.Owner).owner(m.Text(m.Member(m.Params, "uri")))
		return owner == "" || owner == p.Name
	}
	return true
}

// gaveOut says whether the request gave out the progress token, as scalarOf writes
// it.
func (c *carriage) gaveOut(token string) bool {
	return token != "" && c.msg != nil && scalarOf(c.msg, c.msg.At(c.msg.Params, "_meta", "progressToken")) == token
}

// marked is a scalar with a server's name in front. The scalar stays as the server
// wrote it.
func marked(server string, scalar []byte) string { return server + ":" + string(scalar) }

// unmark reads what marked wrote. Anything but a string or a number behind the
// mark was written by somebody else.
func unmark(text string) (server string, scalar []byte, ok bool) {
	server, rest, ok := strings.Cut(text, ":")
	ok = ok && json.Valid([]byte(rest)) && strings.IndexByte(`"-0123456789`, rest[0]) >= 0
	return server, []byte(rest), ok
}

// errForeign says that a message names what is not the server's that it is for.
var errForeign = errors.New("the message names what belongs to another server")

// forward is the exchange as p may see it: names without its own in front, its
// own session, its own ids.
func (c *carriage) forward(p part, patches ...wire.Patch) (wire.Exchange, error) {
	x := c.x
	x.Server, x.Owners, x.Session = "", nil, p.session
	m := c.msg
	strip := func(i int) error {
		bare, ok := strings.CutPrefix(m.Text(i), prefixed(p.Name, ""))
		if !ok || bare == "" {
			return errForeign
		}
		patches = append(patches, m.ReplaceText(i, bare))
		if x.Name != "" {
			x.Name = bare
		}
		return nil
	}
	var err error
	switch {
	case m.Method == "tools/call" || m.Method == "prompts/get":
		err = strip(m.Member(m.Params, "name"))
	case m.Method == "completion/complete" && m.Text(m.At(m.Params, "ref", "type")) == "ref/prompt":
		err = strip(m.At(m.Params, "ref", "name"))
	case strings.HasPrefix(m.Method, "tasks/") && m.Method != "tasks/list":
		err = strip(m.Member(m.Params, "taskId"))
	}
	if err != nil {
		return x, err
	}
	for _, holder := range []int{m.Params, m.Result} {
		if i := m.At(holder, "_meta", relatedTask, "taskId"); i != wire.Absent {
			if bare, ok := strings.CutPrefix(m.Text(i), prefixed(p.Name, "")); ok {
				patches = append(patches, m.ReplaceText(i, bare))
			}
		}
	}
	x.Body, err = wire.Splice(c.x.Body, patches)
	if err == nil && x.Call {
		c.g.flights.sent(c, p)
	}
	return x, err
}

// respond carries the client's answer to the server that asked, under the id that
// it chose.
func (c *carriage) respond(ctx context.Context) error {
	return c.backTo(ctx, c.msg.ID)
}

// backTo sends the message to the server whose mark the scalar at node i carries,
// with the mark taken off.
func (c *carriage) backTo(ctx context.Context, i int) error {
	server, scalar, ok := unmark(c.msg.Text(i))
	p, there := c.part(server)
	if !ok || !there {
		return fmt.Errorf("%w: no server waits for this", backend.ErrTransport)
	}
	x, err := c.forward(p, c.msg.Replace(i, scalar))
	if err != nil {
		return err
	}
	return c.pass(ctx, p, x)
}

// pass sends x to one server, whose answer passes.
func (c *carriage) pass(ctx context.Context, p part, x wire.Exchange) error {
	r := &relay{ctx: ctx, c: c, p: p}
	err := p.Upstream.Do(ctx, x, r)
	if r.lost {
		c.endOthers(ctx, p)
	}
	return c.g.ended(p, err)
}

// decline answers a server's request that is not relayed.
func (c *carriage) decline(ctx context.Context, m *wire.Message, p part) {
	body := append([]byte(`{"jsonrpc":"2.0","id":`), m.Value(m.ID)...)
	body = fmt.Appendf(body, `,"error":{"code":%d,"message":"not offered"}}`, wire.CodeMethodNotFound)
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	_ = p.Upstream.Do(ctx, wire.Exchange{Body: body, Version: c.x.Version, Session: p.session, Owner: c.x.Owner, Delegated: c.x.Delegated}, silent{})
}

// notify carries the client's notification to whom it concerns.
func (c *carriage) notify(ctx context.Context) error {
	switch m := c.msg; m.Method {
	case "notifications/cancelled":
		return c.tell(ctx, c.g.flights.at(c.flight(byID, m, m.Member(m.Params, "requestId"))))
	case "notifications/progress":
		return c.backTo(ctx, m.Member(m.Params, "progressToken"))
	}
	return c.tell(ctx, c.parts)
}
