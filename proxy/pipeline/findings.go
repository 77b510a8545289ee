package pipeline

import (
	"cmp"
	"slices"
	"strings"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// shortestSecret bounds the names that are looked at; the names of protocols are
// shorter, and secrets are not.
const shortestSecret = 12

// memberName blocks a message whose structure spells out a secret: a name cannot
// be redacted without changing what the structure means.
func (o *output) memberName(name string) {
	if len(name) < shortestSecret {
		return
	}
	for gi, g := range o.p.opts.Output {
		if o.modes[gi] == guards.Off {
			continue
		}
		found := o.ask(gi, guards.Text{Value: name, Kind: guards.Metadata, Wrap: guards.WrapOff, Own: o.own})
		if len(found) > 0 {
			public := "blocked: the answer holds a secret where it cannot be redacted"
			if !redacts(g) {
				public = "blocked: the answer holds suspicious text where it cannot be marked"
			}
			o.withhold(gi, found[0], found[0].Rule, public)
		}
	}
}

// leaf is one string on its way to the client, and what the guards found in it. A
// message may hold very many.
type leaf struct {
	node  int
	text  guards.Text // as it came, but for what was found in other readings of it
	json  bool        // a parser may read it
	found *[maxGuards][]guards.Finding
}

// by returns what guard gi found.
func (l *leaf) by(gi int) []guards.Finding {
	if l.found == nil {
		return nil
	}
	return l.found[gi]
}

// keep notes what guard gi found.
func (l *leaf) keep(gi int, found []guards.Finding) {
	if l.found == nil {
		if len(found) == 0 {
			return
		}
		l.found = &[maxGuards][]guards.Finding{}
	}
	l.found[gi] = found
}

// text inspects the string at node i by itself.
func (o *output) text(i int, t guards.Text) {
	l := o.read(i, t)
	o.settle(&l)
}

// read shows the string at node i to every output guard. All of them read the
// text as it came, so that their findings share one set of offsets.
func (o *output) read(i int, t guards.Text) leaf {
	t.Value, t.Own, t.Nonce = o.m.Text(i), o.own, o.nonce
	l := leaf{node: i, text: t}
	switch {
	case t.Kind == guards.Binary:
		o.readBytes(&l)
	case looksLikeJSON(t.Value):
		l.json = true
		l.text.Wrap = guards.WrapOff
	}
	var inner []literal
	if t.Kind != guards.Binary {
		inner = o.readJSON(&l)
		l.mark(o.p.opts.Output, inner)
	}
	for gi := range o.p.opts.Output {
		if o.modes[gi] != guards.Off {
			l.keep(gi, without(o.ask(gi, l.text), inner, gi))
		}
	}
	return l
}

// settle lets each guard change what it found: what is taken away first, the
// delimiters around the rest last.
func (o *output) settle(l *leaf) {
	o.took(l)
	t := l.text
	enforced := 0
	for gi := range o.p.opts.Output {
		if o.modes[gi] == guards.Enforce {
			enforced += len(l.by(gi))
			t.Value = o.change(gi, t, l.by(gi))
		}
	}
	changed := t.Value != o.m.Text(l.node)
	if changed {
		if l.json && !validJSON(t.Value) {
			o.refuse(unredactable())
			return
		}
		patch := o.m.ReplaceText(l.node, t.Value)
		o.patches = append(o.patches, patch)
		if o.p.opts.Passive { // every other guard observes there
			o.vital = append(o.vital, patch)
		}
	}
	if (changed || enforced > 0) && !l.json && t.Kind == guards.Content {
		o.inText = true
	}
}

func (o *output) refuse(r *Rejection) {
	if o.err == nil {
		o.err = r
	}
}

// label is one finding as its reader is told of it, and where it was made.
type label struct {
	node, start int
	text        string
}

// took files what was found in l, in the order of position.
func (o *output) took(l *leaf) {
	if l.found == nil {
		return
	}
	type sighting struct {
		guards.Finding
		mode guards.Mode
	}
	var all []sighting
	for gi, found := range l.found {
		for _, f := range found {
			all = append(all, sighting{f, o.modes[gi]})
		}
	}
	slices.SortStableFunc(all, func(a, b sighting) int { return cmp.Compare(a.Start, b.Start) })
	for _, s := range all {
		o.file(s.Finding, s.mode, l.node)
	}
}

// file records a finding in the text at node.
func (o *output) file(f guards.Finding, mode guards.Mode, node int) {
	if mode == guards.Enforce {
		o.labels = append(o.labels, label{node, f.Start, f.Label})
		o.c.found(f)
		return
	}
	o.c.observed(f.Guard + ": " + f.Rule)
}

// told lists the labels in the order of their place in the message.
func (o *output) told() []string {
	slices.SortStableFunc(o.labels, func(a, b label) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.start, b.start))
	})
	list := make([]string, len(o.labels))
	for i, l := range o.labels {
		list[i] = l.text
	}
	return list
}

// tell says to the reader of a result what was found: in a text block of its own,
// or in _meta where the content is data that a program will parse. Errors,
// notifications and requests have no place for it; it stands in the record.
func (o *output) tell() {
	m := o.m
	if m.Result == wire.Absent || m.Nodes[m.Result].Kind != '{' {
		return
	}
	labels := o.told()
	if o.inText && o.note != wire.Absent {
		text := wire.Quote([]byte(`{"type":"text","text":`), o.p.opts.Note(labels))
		o.patches = append(o.patches, m.Edit(o.note, nil, wire.Field{Value: append(text, '}')})...)
		labels = nil
	}
	o.meta(labels)
	if o.cached {
		o.private()
	}
}

// meta writes labels into result._meta.
func (o *output) meta(labels []string) {
	m := o.m
	var add []wire.Field
	if len(labels) > 0 {
		add = []wire.Field{{Name: ours + "findings", Value: stringArray(unique(labels))}}
	}
	meta := m.Member(m.Result, "_meta")
	if meta != wire.Absent && m.Nodes[meta].Kind == '{' {
		o.ownMeta = meta
		o.patches = append(o.patches, m.Edit(meta, o.isOurs, add...)...)
		return
	}
	if meta == wire.Absent && len(add) > 0 {
		o.patches = append(o.patches, m.Edit(m.Result, nil, wire.Field{Name: "_meta", Value: object(add)})...)
	}
}

// disown removes what the upstream put into any _meta in the sidecar's name.
func (o *output) disown() {
	for i := range o.m.Nodes {
		if i != o.ownMeta && o.m.Nodes[i].Kind == '{' && o.m.Name(i) == "_meta" {
			o.patches = append(o.patches, o.m.Edit(i, o.isOurs)...)
		}
	}
}

func (o *output) isOurs(i int) bool { return strings.HasPrefix(o.m.Name(i), ours) }

func stringArray(values []string) []byte {
	b := []byte{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.Quote(b, v)
	}
	return append(b, ']')
}
