package merge

import (
	"context"
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mcp-sidecar/proxy/wire"
)

// part is a server that takes part in a session, with its own id of it.
type part struct {
	*member
	session string // empty where the server gives none
}

// participants reads a session id that joined wrote. Without one every server
// takes part: the revision has no sessions, or this is about to be one.
func (g *Servers) participants(session string) []part {
	var parts []part
	if session == "" {
		for _, m := range g.members {
			parts = append(parts, part{member: m})
		}
		return parts
	}
	ids := parted(session)
	for _, m := range g.members {
		if id, ok := ids[m.Name]; ok {
			parts = append(parts, part{m, id})
		}
	}
	return parts
}

// joined is one text of several servers' texts: session ids, or ids of events. It
// is visible ASCII whatever the servers chose.
func joined(texts map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name + "=" + base64.RawURLEncoding.EncodeToString([]byte(texts[name])))
	}
	return b.String()
}

// parted reads what joined wrote. What it did not write is left out.
func parted(text string) map[string]string {
	texts := map[string]string{}
	for _, entry := range strings.Split(text, ";") {
		name, value, ok := strings.Cut(entry, "=")
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(value)
		if ok && err == nil {
			texts[name] = string(decoded)
		}
	}
	return texts
}

func (c *carriage) part(name string) (part, bool) {
	i := slices.IndexFunc(c.parts, func(p part) bool { return p.Name == name })
	if i < 0 {
		return part{}, false
	}
	return c.parts[i], true
}

// end ends the session at every server.
func (c *carriage) end(ctx context.Context) error {
	c.endAt(ctx, c.parts)
	return c.out.end(wire.Reply{Status: 204})
}

// endAt ends the session at some of the servers. They are told and not asked.
func (c *carriage) endAt(ctx context.Context, parts []part) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	var wait sync.WaitGroup
	for _, p := range parts {
		if p.session == "" {
			continue
		}
		x := wire.Exchange{Verb: wire.End, Version: c.x.Version, Session: p.session, Owner: c.x.Owner, Delegated: c.x.Delegated}
		wait.Go(func() { _ = p.Upstream.Do(ctx, x, silent{}) })
	}
	wait.Wait()
}

// endOthers ends the session where it still goes on, because one server has lost
// its part of it: the client has to begin a new one.
func (c *carriage) endOthers(ctx context.Context, lost part) {
	c.endAt(ctx, slices.DeleteFunc(slices.Clone(c.parts), func(p part) bool { return p.Name == lost.Name }))
}

// silent takes an answer that nobody waits for.
type silent struct{}

// Reply implements [wire.Sink].
func (silent) Reply(wire.Reply) error { return wire.ErrDone }

// Message implements [wire.Sink].
func (silent) Message(wire.Event) error { return wire.ErrDone }

// flights are the requests that are under way, so that a cancellation reaches
// whoever works on them, and progress is believed only of whoever does.
type flights struct {
	mu   sync.Mutex
	open map[flight]*carriage
}

// flight names a request by its id, or by the progress token that it gave out.
type flight struct{ owner, session, kind, scalar string }

const (
	byID    = "id"
	byToken = "token"
)

func (c *carriage) flight(kind string, m *wire.Message, i int) flight {
	return flight{owner: c.x.Owner, session: c.x.Session, kind: kind, scalar: scalarOf(m, i)}
}

// scalarOf writes a string or a number so that equal values are equal texts,
// however they are spelled: an upstream may write 1 as 1.0, or escape another way.
func scalarOf(m *wire.Message, i int) string {
	switch {
	case i == wire.Absent:
		return ""
	case m.Nodes[i].Kind == '"':
		return string(wire.Quote(nil, m.Text(i)))
	}
	raw := string(m.Value(i))
	if f, err := strconv.ParseFloat(raw, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return raw
}

// add notes c's request; the returned function forgets it.
func (f *flights) add(c *carriage) func() {
	names := []flight{c.flight(byID, c.msg, c.msg.ID)}
	if token := c.msg.At(c.msg.Params, "_meta", "progressToken"); token != wire.Absent {
		names = append(names, c.flight(byToken, c.msg, token))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[flight]*carriage{}
	}
	for _, name := range names {
		f.open[name] = c
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, name := range names {
			if f.open[name] == c { // not a later request of the same id
				delete(f.open, name)
			}
		}
	}
}

// sent notes that a server works on c's request.
func (f *flights) sent(c *carriage, p part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.at = append(c.at, p)
}

// at returns who works on a request.
func (f *flights) at(name flight) []part {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.open[name]; c != nil {
		return slices.Clone(c.at)
	}
	return nil
}

// of returns who works on c's request.
func (f *flights) of(c *carriage) []part {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(c.at)
}
