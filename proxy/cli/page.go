package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// page is a text for people. Names of tools, texts of records and whatever else
// somebody else chose go through its arguments: there no control character, line
// break or bidirectional mark reaches a terminal as itself.
type page struct{ b strings.Builder }

// line adds a line. Texts among args are made visible.
func (p *page) line(format string, args ...any) {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = visible(a)
		case []string:
			args[i] = visible(strings.Join(a, ", "))
		case error:
			args[i] = visible(a.Error())
		}
	}
	fmt.Fprintf(&p.b, format+"\n", args...)
}

// field adds a line with a name, unless there is nothing to say.
func (p *page) field(name, value string) {
	if value != "" {
		p.line("  %-13s %s", name, value)
	}
}

func (p *page) list(name string, values []string) {
	for i, v := range values {
		if i > 0 {
			name = ""
		}
		p.field(name, v)
	}
}

func (p *page) to(w io.Writer) error {
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return exit(ExitFailure, err)
	}
	return nil
}

// visible writes what cannot be seen as an escape.
func visible(s string) string {
	return strings.Join(strings.FieldsFunc(escaped(s), func(r rune) bool { return r == '\n' }), `\n`)
}

// escaped is s with everything that is not printable as \u and four hexadecimal
// digits, line breaks apart.
func escaped(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s { // a byte that is no UTF-8 becomes U+FFFD
		switch high, low := utf16.EncodeRune(r); {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case high != unicode.ReplacementChar:
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// writeJSON writes v for a program, and harmless for a terminal all the same:
// encoding/json leaves C1 controls and bidirectional marks as they are.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return exit(ExitFailure, err)
	}
	if _, err := io.WriteString(w, escaped(b.String())); err != nil {
		return exit(ExitFailure, err)
	}
	return nil
}
