package pipeline

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

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
		found := g.Find(guards.Text{Value: name, Kind: guards.Metadata, Wrap: guards.WrapOff})
		if len(found) == 0 {
			continue
		}
		o.c.found(found...)
		if o.modes[gi] == guards.Enforce && o.err == nil {
			o.err = blocked(g.Name(), found[0].Rule, "blocked: the answer holds a secret where it cannot be redacted")
			continue
		}
		o.c.observed(g.Name() + ": " + found[0].Rule)
	}
}

// text shows the string at node i to every output guard. All of them read the
// text as it came, so that their findings share one set of offsets; then each
// changes what it found.
func (o *output) text(i int, t guards.Text) {
	t.Value = o.m.Text(i)
	json := looksLikeJSON(t.Value)
	if json {
		t.Wrap = guards.WrapOff
	}
	var found [maxGuards][]guards.Finding
	total := 0
	for gi, g := range o.p.opts.Output {
		if o.modes[gi] != guards.Off {
			found[gi] = g.Find(t)
			total += len(found[gi])
		}
	}
	if total > 0 {
		o.took(found[:len(o.p.opts.Output)])
	}
	before := t.Value
	enforced := 0
	for gi, g := range o.p.opts.Output {
		if o.modes[gi] == guards.Enforce {
			enforced += len(found[gi])
			t.Value = g.Change(t, found[gi])
		}
	}
	changed := t.Value != before
	if changed {
		if json && !jsontext.Value(t.Value).IsValid() {
			o.refuse(blocked("secrets", "unredactable", "blocked: the answer cannot be redacted without breaking its JSON"))
			return
		}
		o.patches = append(o.patches, o.m.ReplaceText(i, t.Value))
	}
	if (changed || enforced > 0) && !json && t.Kind == guards.Content {
		o.inText = true
	}
}

func (o *output) refuse(r *Rejection) {
	if o.err == nil {
		o.err = r
	}
}

// took files findings in the order of their position.
func (o *output) took(found [][]guards.Finding) {
	var all []guards.Finding
	mode := map[string]guards.Mode{}
	for gi, f := range found {
		all = append(all, f...)
		mode[o.p.opts.Output[gi].Name()] = o.modes[gi]
	}
	slices.SortStableFunc(all, func(a, b guards.Finding) int { return a.Start - b.Start })
	for _, f := range all {
		if mode[f.Guard] == guards.Enforce {
			o.labels = append(o.labels, f.Label)
			o.c.found(f)
			continue
		}
		o.c.observed(f.Guard + ": " + f.Rule)
	}
}

// note tells the reader what was found: in a text block of its own, or in _meta
// where the content is data that a program will parse.
func (o *output) note(content int, structured bool) {
	m := o.m
	if o.inText && !structured && content != wire.Absent && m.Nodes[content].Kind == '[' {
		text := wire.Quote([]byte(`{"type":"text","text":`), o.p.opts.Note(o.labels))
		o.patches = append(o.patches, m.Edit(content, nil, wire.Field{Value: append(text, '}')})...)
		o.meta(nil)
		return
	}
	o.meta(o.labels)
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

func looksLikeJSON(s string) bool {
	s = strings.TrimLeft(s, " \t\r\n")
	return s != "" && (s[0] == '{' || s[0] == '[') && jsontext.Value(s).IsValid()
}
