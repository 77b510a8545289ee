// Package marker keeps what the sidecar wrote into an answer from being written
// back. A model that reads a file, edits it and saves it would otherwise put
// [REDACTED:…] where the secret was, or our delimiters around the text, and the
// original is gone. What is looked for is exactly what the output guards write:
// a model copies it as it is.
package marker

import (
	"context"
	"strings"

	"mcp-sidecar/guards"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "marker_writeback"

// Rule ids of a [guards.Block].
const (
	RuleRedaction = "redaction" // a secret was taken out: [REDACTED:aws_access_key]
	RuleDelimiter = "delimiter" // the lines around untrusted content
	RuleDefused   = "defused"   // a look-alike that lost its first character: [DEFUSED:lt]
	RuleNote      = "note"      // the block that says what was found
	RuleRevealed  = "revealed"  // a character that was hidden: [U+202E], [TAGS:text], [VS:3]
)

// Guard looks at every string of a call. It has no state.
type Guard struct{}

var _ guards.Input = Guard{}

// Name returns the constant [Name].
func (Guard) Name() string { return Name }

// Inspect blocks c when one of its arguments holds a marker.
func (Guard) Inspect(_ context.Context, c *guards.Call) guards.Decision {
	for i := range c.Args {
		a := &c.Args[i]
		if a.Kind != guards.String {
			continue
		}
		if rule, at := find(a.Value, c.Except); rule != "" {
			return guards.Decision{
				Findings: []guards.Finding{{Guard: Name, Rule: rule, Label: Name + ":" + rule, Start: at, End: at + 1, Score: 1}},
				Block:    &guards.Block{Rule: rule, Public: "blocked: the arguments contain " + texts[rule] + ", which mcp-sidecar wrote into what was read; writing it back would destroy the original, so change the text around it instead"},
			}
		}
	}
	return guards.Decision{}
}

var texts = map[string]string{
	RuleRedaction: "the mark of a redaction",
	RuleDelimiter: "a delimiter of untrusted content",
	RuleDefused:   "the mark of a defused delimiter",
	RuleNote:      "the note of a guard",
	RuleRevealed:  "the mark of a hidden character",
}

// Find returns the rule of the first marker in s and where it starts; no rule
// when there is none.
func Find(s string) (rule string, at int) { return find(s, nil) }

func find(s string, except guards.Except) (rule string, at int) {
	square, angle := index(s, 0, '['), index(s, 0, '<')
	for at = min(square, angle); at < len(s); at = min(square, angle) {
		if rule := markerAt(s, at); rule != "" && !except.Has(rule) {
			return rule, at
		}
		if at == square {
			square = index(s, at+1, '[')
		} else {
			angle = index(s, at+1, '<')
		}
	}
	return "", 0
}

// index returns where the first c at or behind from stands in s, or the end of s.
// Each of two searches is much faster than one for either.
func index(s string, from int, c byte) int {
	if i := strings.IndexByte(s[from:], c); i >= 0 {
		return from + i
	}
	return len(s)
}

// markerAt says which marker starts at the bracket s[i].
func markerAt(s string, i int) string {
	rest := s[i:]
	switch {
	case isRedaction(rest):
		return RuleRedaction
	case strings.HasPrefix(rest, "[DEFUSED:"):
		return RuleDefused
	// Without the quote behind it, which is escaped in JSON inside a text.
	case strings.HasPrefix(rest, "<untrusted_content source="), strings.HasPrefix(rest, "</untrusted_content>"), strings.HasPrefix(rest, "</untrusted_content nonce="):
		return RuleDelimiter
	case isNote(rest):
		return RuleNote
	case isRevealed(rest):
		return RuleRevealed
	}
	return ""
}

// isRedaction says whether s starts with [REDACTED:kind].
func isRedaction(s string) bool {
	kind, ok := strings.CutPrefix(s, "[REDACTED:")
	if !ok {
		return false
	}
	end := strings.IndexFunc(kind, func(r rune) bool { return r != '_' && r != '-' && !isLower(r) && !isDigit(r) })
	return end > 0 && kind[end] == ']'
}

// isRevealed says whether s starts with what a hidden character was made visible as.
func isRevealed(s string) bool {
	if strings.HasPrefix(s, "[TAGS:") {
		return true
	}
	for _, mark := range []struct {
		start, digits string
	}{{"[U+", "0123456789ABCDEF"}, {"[VS:", "0123456789"}} {
		if rest, ok := strings.CutPrefix(s, mark.start); ok {
			end := strings.TrimLeft(rest, mark.digits)
			return len(end) < len(rest) && len(rest)-len(end) <= 6 && (strings.HasPrefix(end, "]") || strings.HasPrefix(end, "…]"))
		}
	}
	return false
}

// isNote says whether s starts with a note, as "[guard] 2 finding(s) [".
func isNote(s string) bool {
	note, ok := strings.CutPrefix(s, "[guard] ")
	if !ok {
		return false
	}
	counted := strings.TrimLeftFunc(note, isDigit)
	return strings.HasPrefix(note, "no threats detected") || len(counted) < len(note) && strings.HasPrefix(counted, " finding(s) [")
}

func isLower(r rune) bool { return 'a' <= r && r <= 'z' }

func isDigit(r rune) bool { return '0' <= r && r <= '9' }
