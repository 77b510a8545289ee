package merge

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"mcp-sidecar/proxy/wire"
)

// acknowledged is what a subscription's stream begins with (MCP 2026-07-28,
// basic/patterns/subscriptions).
const acknowledged = "notifications/subscriptions/acknowledged"

// subscriptionID is the key of _meta that names the request of a subscription.
const subscriptionID = "io.modelcontextprotocol/subscriptionId"

// listen subscribes at every server to its own part of the filter. The client
// reads one acknowledgement, of what all servers agreed to.
func (c *carriage) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stream{c: c, listens: true, cancel: cancel, last: map[string]string{}, begun: make(chan struct{})}
	bodies := map[string][]byte{}
	for _, p := range c.parts {
		body, err := c.filterFor(p)
		if err != nil {
			return err
		}
		if body != nil {
			bodies[p.Name] = body
			s.parts = append(s.parts, p)
			c.g.flights.sent(c, p)
		}
	}
	if len(s.parts) == 0 {
		return c.refuse(wire.CodeInvalidParams, "the filter names nothing that a server offers")
	}
	s.open = func(p part) (wire.Exchange, error) {
		x := c.x
		x.Body, x.Session, x.Owners = bodies[p.Name], p.session, nil
		return x, nil
	}
	c.out.run(len(s.parts)+1, func(i int) {
		if i == len(s.parts) {
			s.wait(ctx)
			return
		}
		s.follow(ctx, s.parts[i])
	})
	switch {
	case c.out.stopped != nil:
		return c.out.stopped
	case !c.out.replied:
		return c.firstOf(s.failed)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	id := c.msg.Value(c.msg.ID)
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(id)
	b.WriteString(`,"result":{"resultType":"complete","_meta":{"` + subscriptionID + `":`)
	b.Write(id)
	b.WriteString(`}}}`)
	return done(c.out.event(wire.Event{Data: b.Bytes()}))
}

// wait acknowledges what is there when servers take too long.
func (s *stream) wait(ctx context.Context) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-s.begun:
			stop()
		case <-waiting.Done():
		}
	}()
	s.c.g.opts.Pause(waiting, listTime)
	if waiting.Err() == nil {
		_ = s.c.out.send(ctx, func() error {
			if s.late = true; len(s.acks) > 0 {
				return s.acknowledge()
			}
			return nil
		})
	}
}

// filterFor is the request with the part of its filter that is p's; nil when there
// is nothing in it for p.
func (c *carriage) filterFor(p part) ([]byte, error) {
	m := c.msg
	filter := m.Member(m.Params, "notifications")
	if filter == wire.Absent || m.Nodes[filter].Kind != '{' {
		return m.Raw, nil // the server says what is wrong with it
	}
	var patches []wire.Patch
	wanted := false
	for i := range m.Children(filter) {
		switch name := m.Name(i); {
		case m.Nodes[i].Kind != '[' || m.Nodes[i].Sparse:
			wanted = wanted || m.Nodes[i].Kind != 'f'
		case name == "resourceSubscriptions":
			own := func(e int) bool { return c.x.Owners[m.Text(e)] == p.Name }
			wanted = c.keep(i, own, &patches) || wanted
		case name == "taskIds":
			own := func(e int) bool { return strings.HasPrefix(m.Text(e), prefixed(p.Name, "")) }
			wanted = c.keep(i, own, &patches) || wanted
			for e := range m.Children(i) {
				if own(e) {
					patches = append(patches, m.ReplaceText(e, strings.TrimPrefix(m.Text(e), prefixed(p.Name, ""))))
				}
			}
		default:
			wanted = true
		}
	}
	if !wanted {
		return nil, nil
	}
	return wire.Splice(m.Raw, patches)
}

// keep cuts the elements of list that are not own, and says whether any is left.
func (c *carriage) keep(list int, own func(int) bool, patches *[]wire.Patch) bool {
	left := false
	for e := range c.msg.Children(list) {
		left = left || own(e)
	}
	*patches = append(*patches, c.msg.Edit(list, func(e int) bool { return !own(e) })...)
	return left
}

// about says whether a message belongs to this subscription, as far as it says so.
func (s *stream) about(m *wire.Message) bool {
	at := m.At(m.Params, "_meta", subscriptionID)
	return at == wire.Absent || scalarOf(m, at) == scalarOf(s.c.msg, s.c.msg.ID)
}

// acknowledge notes what a server agreed to.
func (f *follower) acknowledge(m *wire.Message) error {
	if f.opened {
		return nil
	}
	f.opened = true
	return f.s.c.out.send(f.ctx, func() error { return f.s.agreed(f, m) })
}

// ack is what one server agreed to.
type ack struct {
	piece
	server string
}

// agreed notes an acknowledgement. One that comes late, or again after the
// server's stream broke off, is not shown: the stream has one.
func (s *stream) agreed(f *follower, m *wire.Message) error {
	s.c.g.note(f.p.member, nil)
	select {
	case <-s.begun:
		return nil
	default:
	}
	if at := m.Member(m.Params, "notifications"); at != wire.Absent && m.Nodes[at].Kind == '{' {
		s.acks = append(s.acks, ack{piece{m, at}, f.p.Name})
	}
	if s.late {
		return s.acknowledge()
	}
	return f.count()
}

// acknowledge tells the client what the servers agreed to, each to its part.
func (s *stream) acknowledge() error {
	select {
	case <-s.begun:
		return nil
	default:
	}
	if err := s.begin(); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","method":"` + acknowledged + `","params":{"_meta":{"` + subscriptionID + `":`)
	b.Write(s.c.msg.Value(s.c.msg.ID))
	b.WriteString(`},"notifications":`)
	b.Write(s.together())
	b.WriteString(`}}`)
	return s.c.out.event(wire.Event{Data: b.Bytes()})
}

// together is what the servers agreed to: what one of them does, and the lists of
// all.
func (s *stream) together() []byte {
	slices.SortFunc(s.acks, func(a, b ack) int { return strings.Compare(a.server, b.server) })
	lists := map[string][][]byte{}
	var flags []wire.Field
	seen := map[string]bool{}
	var order []string
	for _, a := range s.acks {
		for i := range a.m.Children(a.i) {
			name := a.m.Name(i)
			if a.m.Nodes[i].Kind != '[' {
				if a.m.IsTrue(i) && !seen[name] {
					seen[name] = true
					flags = append(flags, wire.Field{Name: name, Value: []byte("true")})
				}
				continue
			}
			if lists[name] == nil {
				order = append(order, name)
			}
			for e := range a.m.Children(i) {
				value := a.m.Value(e)
				if name == "taskIds" {
					value = wire.Quote(nil, prefixed(a.server, a.m.Text(e)))
				}
				lists[name] = append(lists[name], value)
			}
		}
	}
	for _, name := range order {
		flags = append(flags, wire.Field{Name: name, Value: append(append([]byte{'['}, bytes.Join(lists[name], []byte{','})...), ']')})
	}
	b := []byte{'{'}
	for i, f := range flags {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(wire.Quote(b, f.Name), ':'), f.Value...)
	}
	return append(b, '}')
}
