package pipeline

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// How far to each side of a seam between two texts guards read on, in bytes. A
// private key of 4,096 bits takes 3,300; the phrases of an order are short.
const (
	reach       = 4 << 10
	phraseReach = 512
)

// maxTails bounds the kinds of text of one stream whose ends are remembered.
const maxTails = 4

// window remembers the ends of what a call's stream has carried: what is split
// over messages shows only where they are joined. The requests that the upstream
// starts on the stream share it.
type window struct {
	mu    sync.Mutex
	tails []tail // the newest last
}

// flow names texts of a stream of which one goes on where the last one ended. The
// zero flow has nothing before it.
type flow struct{ method, member string }

// flow is where the texts of a whole message belong: what a request says goes on
// with what the last one of its kind said.
func (o *output) flow() flow {
	if o.m.Kind == wire.Request {
		return flow{method: o.m.Method}
	}
	return flow{}
}

// tail is the end of the texts of one flow.
type tail struct {
	flow flow
	text string
	open int // see leaf.open; what stands from there on was withheld
}

// streamed returns the window of c's stream.
func (c *Call) streamed() *window {
	if c.window == nil {
		c.window = &window{}
	}
	return c.window
}

func (w *window) tail(f flow) tail {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tails {
		if t.flow == f {
			return t
		}
	}
	return tail{flow: flow{strings.Clone(f.method), strings.Clone(f.member)}} // no part of a message is kept alive
}

func (w *window) keep(t tail) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tails = slices.DeleteFunc(w.tails, func(old tail) bool { return old.flow == t.flow })
	if len(w.tails) == maxTails {
		w.tails = slices.Delete(w.tails, 0, 1)
	}
	w.tails = append(w.tails, t)
}

// flush settles the texts that have been read in sequence, after it has looked
// for what is split over them, and over what f has carried before.
func (o *output) flush(f flow) {
	all := o.sequence
	if len(all) == 0 {
		return
	}
	var sent tail
	if f != (flow{}) {
		sent = o.c.streamed().tail(f)
	}
	if len(all) > 1 || sent.text != "" && all[0].text.Value != "" {
		o.join(sent, all)
	}
	for i := range all {
		o.settle(&all[i])
	}
	if f != (flow{}) && o.err == nil {
		o.c.streamed().keep(sent.after(all))
	}
	o.sequence = all[:0]
}

// after returns the tail once all has been sent, too.
func (t tail) after(all []leaf) tail {
	for i := range all {
		v := all[i].text.Value
		if v == "" {
			continue
		}
		open := all[i].open()
		if len(v) >= reach {
			t.text, t.open = "", 0 // what came before is out of reach
		}
		switch {
		case t.open == len(t.text):
			t.open += open
		case open > 0:
			t.text += "\n"
			t.open = len(t.text) + open
		default: // the finding goes on
			t.text += "\n"
		}
		joined := t.text + v
		cut := runeStart(joined, len(joined)-reach)
		t.text, t.open = strings.Clone(joined[cut:]), max(t.open-cut, 0)
	}
	return t
}

// open is where a finding starts behind which the text holds no white space any
// more; the length of the text when there is none.
func (l *leaf) open() int {
	v := l.text.Value
	open := len(v)
	if l.found == nil {
		return open
	}
	for _, found := range l.found {
		if n := len(found); n > 0 && !strings.ContainsAny(v[found[n-1].End:], " \t\r\n") {
			open = min(open, found[n-1].Start)
		}
	}
	return open
}

// runeStart returns the start of the character at i, which may be out of range.
func runeStart(s string, i int) int {
	i = min(max(i, 0), len(s))
	for i > 0 && i < len(s) && !utf8.RuneStart(s[i]) {
		i--
	}
	return i
}

// Guards that take away what they find: no part of it may leave. Others mark what
// they find, and can do so in the part that is at hand.
const (
	redacting     = "secrets"
	ownCredential = "credential" // see modeOf
)

func redacts(g guards.Output) bool { return g.Name() == redacting || g.Name() == ownCredential }

// join looks for what is split over texts. A secret is put together again by
// whoever wants it, so its parts are read as one word. An order is read by a model,
// which sees blocks one below the other; the messages of a stream may be either.
func (o *output) join(sent tail, all []leaf) {
	for gi, g := range o.p.opts.Output {
		switch {
		case o.modes[gi] == guards.Off:
		case redacts(g):
			o.seams(gi, sent, all, "", reach)
		default:
			o.seams(gi, sent, all, "\n", phraseReach)
			if sent.text != "" {
				o.seams(gi, sent, all, "", phraseReach)
			}
		}
	}
}

// stretch is what stands to both sides of one or more seams.
type stretch struct {
	glue              string // what stands in a seam
	text              strings.Builder
	pieces            []piece
	cutLeft, cutRight bool // the first, the last text goes on
}

// piece is a text, or its end or beginning, inside a stretch.
type piece struct {
	leaf    *leaf // nil when it was sent before
	from    int   // where it starts in its text
	at, end int   // where it stands in the stretch
	open    int   // see leaf.open; in the stretch
}

// seams shows guard gi the texts as one. Long ones it sees near their ends only,
// and no byte more than once.
func (o *output) seams(gi int, sent tail, all []leaf, glue string, reach int) {
	s := &stretch{glue: glue}
	rest := runeStart(sent.text, len(sent.text)-reach)
	s.add(nil, sent.text[rest:], rest, sent.open-rest)
	for i := range all {
		l := &all[i]
		v, open := l.text.Value, l.open()
		if len(v) <= 2*reach {
			s.add(l, v, 0, open)
			continue
		}
		head, rest := runeStart(v, reach), runeStart(v, len(v)-reach)
		s.add(l, v[:head], 0, head)
		s.cutRight = true
		o.find(gi, s)
		s = &stretch{glue: glue, cutLeft: true}
		s.add(l, v[rest:], rest, open-rest)
	}
	o.find(gi, s)
}

// add puts part, which starts at from in l's text, behind the others. Where the
// one before ends in a finding of its own, a line break comes in between: the rest
// of a block of lines may follow, but a word that follows a key is another word.
func (s *stretch) add(l *leaf, part string, from, open int) {
	if part == "" {
		return
	}
	if n := len(s.pieces); n > 0 && s.pieces[n-1].open < s.pieces[n-1].end {
		s.text.WriteByte('\n')
	} else if n > 0 {
		s.text.WriteString(s.glue)
	}
	at := s.text.Len()
	s.text.WriteString(part)
	s.pieces = append(s.pieces, piece{l, from, at, s.text.Len(), at + max(open, 0)})
}

func (o *output) find(gi int, s *stretch) {
	if len(s.pieces) < 2 {
		return
	}
	doubtful := func(p piece) bool { return p.leaf == nil || !p.leaf.text.Trusted }
	t := guards.Text{Value: s.text.String(), Wrap: guards.WrapOff, Own: o.own, Trusted: !slices.ContainsFunc(s.pieces, doubtful)}
	for _, f := range o.ask(gi, t) {
		o.share(s, gi, f)
	}
}

// share gives each text its part of what guard gi found in s.
func (o *output) share(s *stretch, gi int, f guards.Finding) {
	parts := s.parts(f)
	first, cut := parts[0], s.cutLeft && f.Start == 0 || s.cutRight && f.End == s.text.Len()
	secret := redacts(o.p.opts.Output[gi])
	switch {
	case len(parts) == 1 && (first.at == 0 || cut || first.leaf.overlaps(gi, first.local(f))):
		return // nothing that stands in front of the text has a part in it
	case len(parts) > 1 && secret && first.leaf == nil && f.Start < first.open:
		o.withhold(gi, f, f.Rule, "blocked: a secret is split over messages, and its beginning has been sent")
		return
	case len(parts) > 1 && secret && cut:
		o.withhold(gi, f, "guard-budget", "blocked: a secret is split over texts and longer than can be followed")
		return
	}
	for _, p := range parts {
		if p.leaf != nil {
			p.leaf.add(gi, p.local(f))
		}
	}
}

// parts returns the pieces that f touches.
func (s *stretch) parts(f guards.Finding) []piece {
	var parts []piece
	for _, p := range s.pieces {
		if f.Start < p.end && f.End > p.at {
			parts = append(parts, p)
		}
	}
	return parts
}

// withhold refuses the message, for what guard gi found and nobody can redact.
func (o *output) withhold(gi int, f guards.Finding, rule, public string) {
	if o.modes[gi] != guards.Enforce {
		o.c.observed(f.Guard + ": " + rule)
		return
	}
	o.c.found(f)
	o.refuse(blocked(f.Guard, rule, public))
}

// local returns the part of f that stands in p, in the offsets of its text.
func (p piece) local(f guards.Finding) guards.Finding {
	shift := p.from - p.at
	f.Start, f.End = max(f.Start, p.at)+shift, min(f.End, p.end)+shift
	return f
}

func (l *leaf) overlaps(gi int, f guards.Finding) bool {
	return slices.ContainsFunc(l.by(gi), func(own guards.Finding) bool { return own.Start < f.End && f.Start < own.End })
}

// add puts f in its place among the text's own findings; those that it overlaps
// become part of it.
func (l *leaf) add(gi int, f guards.Finding) {
	own := slices.DeleteFunc(l.by(gi), func(g guards.Finding) bool {
		over := g.Start < f.End && f.Start < g.End
		if over {
			f.Start, f.End = min(f.Start, g.Start), max(f.End, g.End)
		}
		return over
	})
	at, _ := slices.BinarySearchFunc(own, f.Start, func(g guards.Finding, start int) int { return g.Start - start })
	l.keep(gi, slices.Insert(own, at, f))
}
