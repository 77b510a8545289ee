package pipeline

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// maxNesting bounds how often JSON may stand in a string of JSON. What is nested
// deeper is blocked: nobody has read it.
const maxNesting = 4

// lenient accepts what lenient parsers do: a text that only a strict one refuses
// must not be a way around.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

func validJSON(s string) bool { return jsontext.Value(s).IsValid(lenient...) }

// looksLikeJSON says whether s is an object or array: data that a program will
// parse.
func looksLikeJSON(s string) bool {
	c := firstByte(s)
	return (c == '{' || c == '[') && validJSON(s)
}

// isSequence says whether s is one JSON value or several behind each other, such
// as JSON Lines.
func isSequence(s string) bool {
	if c := firstByte(s); c != '{' && c != '[' && c != '"' {
		return false
	}
	d := jsontext.NewDecoder(strings.NewReader(s), lenient...)
	for {
		if err := d.SkipValue(); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// firstByte returns the first byte of s that is not white space, or 0.
func firstByte(s string) byte {
	s = strings.TrimLeft(s, " \t\r\n")
	if s == "" {
		return 0
	}
	return s[0]
}

// readJSON shows the guards the strings of a text that is JSON as its parser will
// read them: a key that is spelled with escapes is the key all the same. It
// replaces l's value by one whose strings are redacted, and says where the guards
// have found something.
func (o *output) readJSON(l *leaf) []literal {
	if strings.IndexByte(l.text.Value, '\\') < 0 || !l.json && !isSequence(l.text.Value) {
		return nil // without escapes the text itself says everything
	}
	var found []literal
	l.text.Value, found = o.literals(l, l.text.Value, 1)
	return found
}

// mark has a text wrapped for what is spelled with escapes in it, as if it were
// not. Only texts that are no JSON are: a program may parse the others.
func (l *leaf) mark(all []guards.Output, inner []literal) {
	for gi, g := range all {
		here := func(i literal) bool { return i.by>>gi&1 != 0 }
		if !l.json && l.text.Wrap == guards.WrapFlagged && !redacts(g) && slices.ContainsFunc(inner, here) {
			l.text.Wrap = guards.WrapAlways
		}
	}
}

// literal is a string literal of a JSON text in which guards found something.
type literal struct {
	start, end int // in bytes, quotes included
	by         uint8
}

// literals inspects the escaped strings of json, which is valid, and returns it
// with what they have become. Strings without escapes are left to the guards that
// read the whole text: they see them together with what stands around them.
func (o *output) literals(l *leaf, json string, depth int) (string, []literal) {
	var out []byte
	var found []literal
	done, member := 0, ""
	for i := strings.IndexByte(json, '"'); i >= 0; {
		end, escaped := literalEnd(json, i)
		switch name := isName(json[end:]); {
		case name:
			member = unquoted(json[i:end])
			if escaped {
				o.memberName(member)
			}
		case escaped:
			was := unquoted(json[i:end])
			is, by := o.inside(l, guards.Text{Value: was, Member: member}, i, depth)
			if by == 0 {
				break
			}
			out = append(out, json[done:i]...)
			at := len(out)
			if is == was {
				out = append(out, json[i:end]...)
			} else {
				out = wire.Quote(out, is)
			}
			found = append(found, literal{at, len(out), by})
			done = end
		}
		if i = strings.IndexByte(json[end:], '"'); i >= 0 {
			i += end
		}
	}
	if found == nil {
		return json, nil
	}
	return string(append(out, json[done:]...)), found
}

// inside inspects t, which stands at offset at inside l, and returns what it
// becomes and which guards found something, one bit each.
func (o *output) inside(l *leaf, t guards.Text, at, depth int) (value string, by uint8) {
	t.Kind, t.Trusted, t.Source, t.Own, t.Wrap = l.text.Kind, l.text.Trusted, l.text.Source, o.own, guards.WrapOff
	json := false
	var inner []literal
	if strings.IndexByte(t.Value, '\\') >= 0 && isSequence(t.Value) {
		if depth == maxNesting {
			o.tooDeep()
			return t.Value, 0
		}
		json = true
		t.Value, inner = o.literals(l, t.Value, depth+1)
	}
	for _, i := range inner {
		by |= i.by
	}
	var found [maxGuards][]guards.Finding
	for gi := range o.p.opts.Output {
		if o.modes[gi] == guards.Off {
			continue
		}
		found[gi] = without(o.ask(gi, t), inner, gi)
		for _, f := range found[gi] {
			f.Start, f.End = at, at
			o.file(f, o.modes[gi], l.node)
			by |= 1 << gi
		}
	}
	for gi := range o.p.opts.Output {
		if o.modes[gi] == guards.Enforce {
			t.Value = o.change(gi, t, found[gi])
		}
	}
	if json && by != 0 && !isSequence(t.Value) {
		o.refuse(unredactable())
	}
	return t.Value, by
}

func (o *output) tooDeep() {
	for gi, g := range o.p.opts.Output {
		switch o.modes[gi] {
		case guards.Enforce:
			o.refuse(blocked(g.Name(), "guard-budget", "blocked: the answer nests JSON in JSON too deeply to be inspected"))
		case guards.Observe:
			o.c.observed(g.Name() + ": guard-budget")
		}
	}
}

func unredactable() *Rejection {
	return blocked("secrets", "unredactable", "blocked: the answer cannot be redacted without breaking its JSON")
}

// without drops what guard gi found in literals that it has already judged.
func without(found []guards.Finding, judged []literal, gi int) []guards.Finding {
	if len(found) == 0 || len(judged) == 0 {
		return found
	}
	return slices.DeleteFunc(found, func(f guards.Finding) bool {
		return slices.ContainsFunc(judged, func(l literal) bool {
			return l.by>>gi&1 != 0 && l.start <= f.Start && f.End <= l.end
		})
	})
}

// literalEnd returns the end of the string literal that starts at i, and whether
// there is an escape in it.
func literalEnd(json string, i int) (end int, escaped bool) {
	for i++; ; i++ {
		i += strings.IndexAny(json[i:], `"\`)
		if json[i] == '"' {
			return i + 1, escaped
		}
		escaped = true
		i++ // whatever is escaped does not end the literal
	}
}

// isName says whether a literal is a member's name, by what stands behind it.
func isName(rest string) bool { return firstByte(rest) == ':' }

func unquoted(literal string) string {
	// The text is valid JSON; only lone surrogates are wrong, and become U+FFFD.
	plain, _ := jsontext.AppendUnquote(nil, literal)
	return string(plain)
}
