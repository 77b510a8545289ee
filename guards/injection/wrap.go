package injection

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"mcp-sidecar/guards"
)

// Change implements [guards.Output]. It takes the power from look-alikes of our
// delimiters, in trusted text too, and puts untrusted text between real ones
// where t.Wrap asks for it. Nothing else is altered or taken away: a reader can
// see what was sent.
func (Guard) Change(t guards.Text, found []guards.Finding) string {
	if t.Kind == guards.Binary {
		return t.Value
	}
	text := defuse(t.Value)
	if t.Trusted || t.Wrap == guards.WrapOff || t.Wrap == guards.WrapFlagged && len(found) == 0 {
		return text
	}
	return wrap(text, t.Source, t.Nonce)
}

// defuse replaces the first character of every look-alike. It finds nothing to
// do in its own answer.
func defuse(s string) string {
	var b strings.Builder
	work, done := 0, 0
	for {
		l, ok := nextLookalike(s, done, &work)
		if !ok {
			break
		}
		b.WriteString(s[done:l.start])
		b.WriteString(l.defused)
		done = l.bracket
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// wrap puts the delimiters around text. A nonce makes them ones that nobody could have
// written before the message was there, also in a spelling that defuse does not know.
func wrap(text, source, nonce string) string {
	if nonce != "" {
		nonce = ` nonce="` + safeSource(nonce) + `"`
	}
	return openPrefix + safeSource(source) + `"` + nonce + ">\n" + text + "\n" + closePrefix + nonce + ">"
}

// maxSource bounds the source in bytes.
const maxSource = 128

// safeSource makes a source fit for an attribute: it may hold an argument that
// the caller chose.
func safeSource(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == maxSource {
			break
		}
		if r < utf8.RuneSelf && (isWordByte(byte(r)) || strings.IndexByte("._:/@{}-", byte(r)) >= 0) {
			b.WriteByte(byte(r))
		} else {
			b.WriteByte('_')
		}
	}
	return b.String()
}

// shownLabels bounds the labels of a note: a text of many small secrets must not
// come back larger than it was.
const shownLabels = 100

// Note is the text of the final block that tells the reader what the guards
// found: how much, and the first labels in the order given.
func Note(labels []string) string {
	if len(labels) == 0 {
		return noteMark + " no threats detected"
	}
	shown, more := labels, ""
	if len(labels) > shownLabels {
		shown, more = labels[:shownLabels], ", …"
	}
	return fmt.Sprintf("%s %d finding(s) [%s%s]", noteMark, len(labels), strings.Join(shown, ", "), more)
}
