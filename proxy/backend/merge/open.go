package merge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"mcp-sidecar/proxy/wire"
)

// open opens a session at every server. All of them speak the lowest revision that
// any of them chose; who cannot takes no part. The session id is those of the
// servers.
func (c *carriage) open(ctx context.Context) error {
	body, err := c.withoutTasks()
	if err != nil {
		return err
	}
	id := scalarOf(c.msg, c.msg.ID)
	initialize := func(ctx context.Context, p part, body []byte) answer {
		x := c.x
		x.Body = body
		a := c.ask(ctx, p, x, id, false)
		a.session = a.reply.Session
		return a
	}
	answers := c.gather(ctx, c.parts, openTime, func(ctx context.Context, p part) answer {
		c.g.flights.sent(c, p)
		return initialize(ctx, p, body)
	})
	version := c.lowest(answers)
	if version == "" {
		c.noteAll(answers)
		for i := range answers {
			c.endAt(ctx, []part{answers[i].part})
		}
		return c.firstOf(answers)
	}
	if body, err = c.inRevision(body, version); err != nil {
		return err
	}
	answers = c.gather(ctx, c.parts, openTime, func(ctx context.Context, p part) answer {
		a := answers[slices.IndexFunc(answers, func(a answer) bool { return a.Name == p.Name })]
		if a.ok() && revisionOf(&a) == version {
			return a
		}
		c.endAt(ctx, []part{a.part})
		if !a.ok() {
			return a
		}
		return initialize(ctx, p, body)
	})
	return c.opened(ctx, answers, version)
}

// opened answers with what the servers that take part have in common.
func (c *carriage) opened(ctx context.Context, answers []answer, version string) error {
	sessions := map[string]string{}
	var members []answer
	for _, a := range answers {
		if a.ok() && revisionOf(&a) != version {
			c.endAt(ctx, []part{a.part})
			a.err = fmt.Errorf("the server does not speak revision %s, which the others do", version)
		}
		c.noteAnswer(&a)
		if a.ok() {
			sessions[a.Name] = a.session
			members = append(members, a)
		}
	}
	if len(members) == 0 {
		return c.firstOf(answers)
	}
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(c.msg.Value(c.msg.ID))
	fmt.Fprintf(&b, `,"result":{"protocolVersion":%q,"capabilities":`, version)
	b.Write(union(nil, capabilities(members)))
	b.WriteString(`,"serverInfo":` + serverInfo(members))
	writeInstructions(&b, members)
	b.WriteString(`}}`)
	return c.out.answer(wire.Reply{Status: 200, Session: joined(sessions)}, b.Bytes())
}

func (c *carriage) noteAll(answers []answer) {
	for i := range answers {
		c.noteAnswer(&answers[i])
	}
}

// withoutTasks takes the client's own tasks out of what it offers: a server could
// ask for one that the client made for another.
func (c *carriage) withoutTasks() ([]byte, error) {
	m := c.msg
	offered := m.Member(m.Params, "capabilities")
	if m.Member(offered, "tasks") == wire.Absent {
		return m.Raw, nil
	}
	return wire.Splice(m.Raw, m.Edit(offered, func(i int) bool { return m.Name(i) == "tasks" }))
}

// inRevision is body with another protocolVersion.
func (c *carriage) inRevision(body []byte, version string) ([]byte, error) {
	m, err := wire.Scan(body, wire.Limits{Depth: maxScan, Keys: maxScan, Values: maxScan})
	if err != nil {
		return nil, fmt.Errorf("merged: %w", err)
	}
	at := m.Member(m.Params, "protocolVersion")
	if at == wire.Absent {
		return body, nil
	}
	return wire.Splice(body, []wire.Patch{m.ReplaceText(at, version)})
}

func revisionOf(a *answer) string { return a.msg.Text(a.msg.Member(a.msg.Result, "protocolVersion")) }

// lowest is the oldest revision that a server chose, among those that are served.
// Revisions are dates, so they order as text.
func (c *carriage) lowest(answers []answer) string {
	version := ""
	for i := range answers {
		a := &answers[i]
		if !a.ok() {
			continue
		}
		chosen := revisionOf(a)
		if !slices.Contains(c.g.opts.Revisions, chosen) {
			a.err = fmt.Errorf("the server chose revision %.32q, which is not served", chosen)
			continue
		}
		if version == "" || chosen < version {
			version = chosen
		}
	}
	return version
}

// discover asks every server what it offers. Where one knows only revisions with
// sessions and all others know one of those too, its refusal is the answer, so
// that the client falls back to a revision in which all of them take part.
func (c *carriage) discover(ctx context.Context) error {
	id := scalarOf(c.msg, c.msg.ID)
	answers := c.gather(ctx, c.parts, openTime, func(ctx context.Context, p part) answer {
		c.g.flights.sent(c, p)
		return c.ask(ctx, p, c.x, id, false)
	})
	var members []answer
	var older *answer
	fallback := true
	for i := range answers {
		a := &answers[i]
		switch {
		case a.ok():
			members = append(members, *a)
			fallback = fallback && c.knowsOlder(a)
		case a.err == nil && a.reply.Status < 500 && older == nil:
			older = a
		}
	}
	if len(members) == 0 || older != nil && fallback {
		c.noteAll(answers)
		return c.firstRefusal(answers, older)
	}
	c.noteAll(answers)
	return c.out.answer(wire.Reply{Status: 200}, c.discovered(members, len(members) == len(answers)))
}

// firstRefusal answers with a refusal rather than with a result.
func (c *carriage) firstRefusal(answers []answer, older *answer) error {
	if older == nil {
		return c.firstOf(answers)
	}
	if older.msg == nil {
		return c.out.end(wire.Reply{Status: older.reply.Status})
	}
	return c.out.answer(wire.Reply{Status: older.reply.Status}, older.msg.Raw)
}

// knowsOlder says whether the server names a revision with sessions that is served.
func (c *carriage) knowsOlder(a *answer) bool {
	return slices.ContainsFunc(versions(a), func(v string) bool { return slices.Contains(c.g.opts.Revisions, v) })
}

func versions(a *answer) []string {
	m := a.msg
	list := m.Member(m.Result, "supportedVersions")
	if list == wire.Absent {
		return nil
	}
	var all []string
	for i := range m.Children(list) {
		all = append(all, m.Text(i))
	}
	return all
}

// discovered is what the members offer together.
func (c *carriage) discovered(members []answer, whole bool) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(c.msg.Value(c.msg.ID))
	b.WriteString(`,"result":{"resultType":"complete","supportedVersions":[`)
	common := versions(&members[0])
	for i := range members[1:] {
		others := versions(&members[i+1])
		common = slices.DeleteFunc(common, func(v string) bool { return !slices.Contains(others, v) })
	}
	for i, v := range common {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(wire.Quote(nil, v))
	}
	b.WriteString(`],"capabilities":`)
	b.Write(union(nil, capabilities(members)))
	writeInstructions(&b, members)
	b.WriteString(`,` + caching(pagesOf(members), whole))
	b.WriteString(`,"_meta":{"io.modelcontextprotocol/serverInfo":` + serverInfo(members) + `}}}`)
	return b.Bytes()
}

// pagesOf reads how long and by whom answers may be kept.
func pagesOf(members []answer) []*pages {
	var all []*pages
	for _, a := range members {
		g := &pages{answer: a, public: true}
		g.caching(a.msg, true)
		all = append(all, g)
	}
	return all
}

// serverInfo names the sidecar: what stands behind it is several servers.
func serverInfo(members []answer) string {
	var names []string
	for _, a := range members {
		names = append(names, a.Name)
	}
	return fmt.Sprintf(`{"name":"mcp-sidecar","title":%q,"version":"1"}`, strings.Join(names, ", "))
}

// writeInstructions puts the servers' instructions one behind the other, each
// below its server's name. Its lines are indented, so that no server can write
// what looks like another's name.
func writeInstructions(b *bytes.Buffer, members []answer) {
	var all []string
	for _, a := range members {
		text := a.msg.Text(a.msg.Member(a.msg.Result, "instructions"))
		if strings.TrimSpace(text) == "" {
			continue
		}
		all = append(all, a.Name+":\n  "+strings.Join(lines(text), "\n  "))
	}
	if all != nil {
		b.WriteString(`,"instructions":`)
		b.Write(wire.Quote(nil, strings.Join(all, "\n\n")))
	}
}

// lineBreaks are where a reader may see a new line begin (Unicode 17, section 5.8).
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

func lines(text string) []string { return strings.Split(lineBreaks.Replace(text), "\n") }

// piece is a value in one of several messages.
type piece struct {
	m *wire.Message
	i int
}

func capabilities(members []answer) []piece {
	var all []piece
	for _, a := range members {
		if i := a.msg.Member(a.msg.Result, "capabilities"); i != wire.Absent {
			all = append(all, piece{a.msg, i})
		}
	}
	return all
}

// union appends what all pieces say together: the members of all objects, true
// where one is true, else what the first says. Values that are not taken apart
// keep their bytes.
func union(b []byte, pieces []piece) []byte {
	objects := slices.DeleteFunc(slices.Clone(pieces), func(p piece) bool { return p.m.Nodes[p.i].Kind != '{' })
	if len(objects) == 0 {
		for _, p := range pieces {
			if p.m.IsTrue(p.i) {
				return append(b, "true"...)
			}
		}
		if len(pieces) == 0 {
			return append(b, "{}"...)
		}
		return append(b, pieces[0].m.Value(pieces[0].i)...)
	}
	var names []string
	of := map[string][]piece{}
	for _, p := range objects {
		for i := range p.m.Children(p.i) {
			name := p.m.Name(i)
			if of[name] == nil {
				names = append(names, name)
			}
			of[name] = append(of[name], piece{p.m, i})
		}
	}
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = union(append(wire.Quote(b, name), ':'), of[name])
	}
	return append(b, '}')
}
