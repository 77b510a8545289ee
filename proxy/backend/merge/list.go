package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// listing is a method whose result lists what a server offers.
type listing struct {
	member   string // of the result
	name     string // member of an entry that names it
	prefixed bool   // clients know the name with its server's in front
	alphabet bool   // the name must be one that a reader can tell from others
}

var listings = map[string]listing{
	"tools/list":               {member: "tools", name: "name", prefixed: true, alphabet: true},
	"prompts/list":             {member: "prompts", name: "name", prefixed: true, alphabet: true},
	"resources/list":           {member: "resources", name: "uri"},
	"resources/templates/list": {member: "resourceTemplates", name: "uriTemplate"},
	"tasks/list":               {member: "tasks", name: "taskId", prefixed: true},
}

// entry is one of what a server lists.
type entry struct {
	raw      []byte // the whole entry
	from, to int    // its name's value in raw
	name     string
	server   string
	withheld bool
	nodes    int // indexed values, as a measure of work
}

// pages is everything that one server lists.
type pages struct {
	answer  // to the last page that was asked for
	entries []entry
	ttl     int  // shortest, in milliseconds; -1 when a page names none
	public  bool // every page may be cached for everybody
}

// maxPages bounds the pages of one server's list.
const maxPages = 256

// list asks every server for all of its pages, or one server where the exchange
// names it, and gives one page. A server that cannot be asked, or that lists more
// than the limits allow, is left out whole.
func (c *carriage) list(ctx context.Context, l listing) error {
	if c.msg.Member(c.msg.Params, "cursor") != wire.Absent {
		return c.refuse(wire.CodeInvalidParams, "there is no such page: the list has one")
	}
	parts := c.parts
	if c.x.Server != "" {
		p, ok := c.part(c.x.Server)
		if !ok {
			return fmt.Errorf("%w: %s takes no part in this session", backend.ErrTransport, c.x.Server)
		}
		parts = []part{p}
	}
	all := c.collect(ctx, parts, l)
	var given []*pages
	missing := 0 // servers that have such a list and did not give it
	for i := range all {
		p := &all[i]
		switch {
		case p.lost():
			return c.loseSession(ctx, p.part)
		case p.ok():
			given = append(given, p)
		}
		if !p.ok() && !p.lacks() {
			missing++
		}
		c.noteAnswer(&p.answer)
	}
	if len(given) == 0 {
		return c.firstOf(answersOf(all))
	}
	return c.out.answer(wire.Reply{Status: 200}, c.page(l, c.withhold(l, given), given, missing == 0))
}

func answersOf(all []pages) []answer {
	answers := make([]answer, len(all))
	for i := range all {
		answers[i] = all[i].answer
	}
	return answers
}

// collect fetches the lists of parts at the same time.
func (c *carriage) collect(ctx context.Context, parts []part, l listing) []pages {
	all := make([]pages, len(parts))
	at := map[string]*pages{}
	for i, p := range parts {
		all[i].part = p
		at[p.Name] = &all[i]
	}
	for i, a := range c.gather(ctx, parts, listTime, func(ctx context.Context, p part) answer {
		return c.fetch(ctx, l, at[p.Name])
	}) {
		all[i].answer = a
	}
	return all
}

// fetch fetches every page of one server's list.
func (c *carriage) fetch(ctx context.Context, l listing, g *pages) answer {
	g.public = true
	body, id := c.x.Body, scalarOf(c.msg, c.msg.ID)
	c.g.flights.sent(c, g.part)
	budget := c.g.budget()
	for n := range maxPages {
		x := c.x
		x.Body, x.Own = body, x.Own || n > 0
		a := c.ask(ctx, g.part, x, id, true)
		if !a.ok() {
			return a
		}
		if err := g.take(l, &a, n == 0, &budget, c.g.opts); err != nil {
			a.err = err
			return a
		}
		cursor := a.msg.Member(a.msg.Result, "nextCursor")
		if a.msg.Text(cursor) == "" {
			return a
		}
		id = string(wire.Quote(nil, "mcp-sidecar/merged-"+strconv.FormatInt(c.g.own.Add(1), 10)))
		var err error
		if body, err = c.nextPage(id, a.msg.Value(cursor)); err != nil {
			a.err = err
			return a
		}
	}
	return answer{part: g.part, err: errors.New("the server lists on too many pages")}
}

// nextPage is the client's request for another page, under an id of its own: the
// client's has been answered.
func (c *carriage) nextPage(id string, cursor []byte) ([]byte, error) {
	m := c.msg
	patches := []wire.Patch{m.Replace(m.ID, []byte(id))}
	if m.Params == wire.Absent {
		patches = append(patches, m.Edit(0, nil, wire.Field{Name: "params", Value: append(append([]byte(`{"cursor":`), cursor...), '}')})...)
	} else {
		patches = append(patches, m.Edit(m.Params, nil, wire.Field{Name: "cursor", Value: cursor})...)
	}
	return wire.Splice(m.Raw, patches)
}

// budget is what one server may list: its share of what one message may hold, so
// that one cannot make the list of all of them too long.
type budget struct{ bytes, nodes int }

func (g *Servers) budget() budget {
	nodes := g.opts.Answer.Values
	if nodes == 0 {
		nodes = wire.DefaultLimits.Values
	}
	return budget{g.opts.MaxResult / len(g.members) * 7 / 8, nodes / len(g.members) * 7 / 8} // the rest is for what stands around
}

var errListsTooMuch = errors.New("the server lists more than the limits allow")

// take keeps what one page lists.
func (g *pages) take(l listing, a *answer, first bool, left *budget, o Options) error {
	m := a.msg
	list := m.Member(m.Result, l.member)
	if list == wire.Absent || m.Nodes[list].Kind != '[' || m.Nodes[list].Sparse {
		return fmt.Errorf("%w: a list without its entries", backend.ErrTransport)
	}
	for i := range m.Children(list) {
		e := newEntry(m, i, l.name)
		e.server = g.Name
		left.bytes -= len(e.raw) + len(g.Name) + len(",.")
		left.nodes -= e.nodes
		if left.bytes < 0 || left.nodes < 0 || len(g.entries) >= o.Entries || len(e.raw) > o.EntrySize {
			return errListsTooMuch
		}
		g.entries = append(g.entries, e)
	}
	g.caching(m, first)
	return nil
}

// caching reads how long and by whom one answer may be kept.
func (g *pages) caching(m *wire.Message, first bool) {
	ttl, err := strconv.Atoi(string(m.Value(m.Member(m.Result, "ttlMs"))))
	if err != nil || ttl < 0 {
		ttl = 0
	}
	if first || ttl < g.ttl {
		g.ttl = ttl
	}
	g.public = g.public && m.Text(m.Member(m.Result, "cacheScope")) == "public"
}

func newEntry(m *wire.Message, i int, name string) entry {
	e := entry{raw: m.Value(i), nodes: int(m.Nodes[i].Next) - i}
	if at := m.Member(i, name); at != wire.Absent && m.Nodes[at].Kind == '"' {
		e.name = m.Text(at)
		e.from, e.to = int(m.Nodes[at].Start-m.Nodes[i].Start), int(m.Nodes[at].End-m.Nodes[i].Start)
	}
	return e
}

// page is the one page of a merged list. An entry keeps its bytes but for its
// name.
func (c *carriage) page(l listing, entries []entry, given []*pages, whole bool) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(c.msg.Value(c.msg.ID))
	b.WriteString(`,"result":{`)
	if c.modern() {
		b.WriteString(`"resultType":"complete",` + caching(given, whole) + `,`)
	}
	b.WriteString(`"` + l.member + `":[`)
	comma := false
	for _, e := range entries {
		if e.withheld {
			continue
		}
		if comma {
			b.WriteByte(',')
		}
		comma = true
		if !l.prefixed {
			b.Write(e.raw)
			continue
		}
		b.Write(e.raw[:e.from])
		b.Write(wire.Quote(nil, prefixed(e.server, e.name)))
		b.Write(e.raw[e.to:])
	}
	b.WriteString(`]}}`)
	return b.Bytes()
}

// caching says how long and by whom the list may be kept: as its strictest part
// (MCP 2026-07-28, server/utilities/caching). A list that lacks a server's part is
// stale at once.
func caching(given []*pages, whole bool) string {
	ttl, scope := math.MaxInt, "public"
	for _, g := range given {
		ttl = min(ttl, g.ttl)
		if !g.public {
			scope = "private"
		}
	}
	if !whole {
		ttl = 0
	}
	return fmt.Sprintf(`"ttlMs":%d,"cacheScope":%q`, ttl, scope)
}
