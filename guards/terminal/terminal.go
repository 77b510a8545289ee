// Package terminal makes visible what a terminal or a page does not show as what it is:
// control characters and escape sequences, characters that turn the direction of writing,
// characters without a shape, and text that is spelled with them.
//
// Whoever reads the text sees what was hidden: [U+202E] for a character, [TAGS:text] for
// what tag characters spell, [VS:n] for n variation selectors in a row. What scripts and
// emoji need stays: joiners between letters of Arabic and Indic scripts and between emoji,
// one variation selector, flags that are spelled with tags, directions that are closed
// again.
package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"mcp-sidecar/guards"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "terminal"

// Rule ids of findings.
const (
	RuleTags      = "tag-characters"      // U+E0000 to U+E007F outside a flag
	RuleBidi      = "bidi-control"        // an override, or a direction that is not closed
	RuleZeroWidth = "zero-width"          // characters without width where no script needs them
	RuleSelectors = "variation-selectors" // several in a row, which spell something
	RuleEscape    = "escape-sequence"     // ESC, or one of the controls that stand for it
	RuleControl   = "control-character"   // any other control character but tab and line break
	RuleFiller    = "filler"              // a letter that shows nothing
)

// Guard makes visible what an upstream wrote, trusted or not: an operator vouches for what
// a text says, and nobody sees what this one says.
type Guard struct{}

var _ guards.Output = Guard{}

// New returns the guard. It has no state and may be used concurrently.
func New() Guard { return Guard{} }

// Name implements [guards.Output].
func (Guard) Name() string { return Name }

// Find implements [guards.Output].
func (Guard) Find(t guards.Text) []guards.Finding {
	if t.Kind == guards.Binary {
		return nil
	}
	return find(t.Value, t.Except)
}

// Change implements [guards.Output]. Other guards may have changed the text since, so it is
// read again.
func (Guard) Change(t guards.Text, found []guards.Finding) string {
	if len(found) == 0 {
		return t.Value
	}
	return reveal(t.Value, find(t.Value, t.Except))
}

// Find returns what Reveal would make visible, in order and without overlap.
func Find(s string) []guards.Finding { return find(s, nil) }

func find(s string, except guards.Except) (found []guards.Finding) {
	(&scanner{text: s}).read(func(r run) {
		if except.Has(r.rule) {
			return
		}
		found = append(found, guards.Finding{Guard: Name, Rule: r.rule, Label: "hidden:" + r.rule, Start: r.start, End: r.end, Score: 1})
	})
	return found
}

// Reveal returns s with what is hidden made visible, and what that was. It is s itself
// where there is nothing. In what it returns there is nothing more to reveal.
func Reveal(s string) (string, []guards.Finding) {
	found := Find(s)
	return reveal(s, found), found
}

func reveal(s string, found []guards.Finding) string {
	if found == nil {
		return s
	}
	var b strings.Builder
	done := 0
	for _, f := range found {
		b.WriteString(s[done:f.Start])
		show(&b, f.Rule, s[f.Start:f.End])
		done = f.End
	}
	b.WriteString(s[done:])
	return b.String()
}

// show writes a run so that it can be seen.
func show(b *strings.Builder, rule, run string) {
	switch rule {
	case RuleTags:
		b.WriteString("[TAGS:")
		for _, r := range run {
			if c := r - 0xe0000; c >= ' ' && c < 0x7f && c != '[' && c != ']' {
				b.WriteByte(byte(c))
			} else {
				b.WriteByte('?')
			}
		}
		b.WriteByte(']')
	case RuleSelectors:
		fmt.Fprintf(b, "[VS:%d]", utf8.RuneCountInString(run))
	default:
		for i, n := 0, 0; i < len(run); n++ {
			r, width := utf8.DecodeRuneInString(run[i:])
			if n == maxShown {
				fmt.Fprintf(b, "[U+%04X…]", r)
				break
			}
			fmt.Fprintf(b, "[U+%04X]", r)
			i += width
		}
	}
}

// maxShown bounds the characters of a run that are shown one by one.
const maxShown = 8

// run is a row of hidden characters of one rule.
type run struct {
	rule       string
	start, end int
}

// scanner reads a text once.
type scanner struct {
	text string
}

// hidden says by which rule the character r is hidden if it stands where nothing needs it;
// "" for one that never is.
func hidden(r rune) string {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ""
	case r == 0x1b || r == 0x90 || r == 0x9b || r == 0x9d || r == 0x9e || r == 0x9f:
		return RuleEscape
	case r < ' ' || 0x7f <= r && r < 0xa0 && r != 0x85 || 0xfff9 <= r && r <= 0xfffb:
		return RuleControl
	case r < 0xad:
		return ""
	case r == 0x202d || r == 0x202e || r == 0x202a || r == 0x202b || 0x2066 <= r && r <= 0x2068 || r == 0x202c || r == 0x2069:
		return RuleBidi
	case 0x200b <= r && r <= 0x200d || 0x2060 <= r && r <= 0x2064 || r == 0xfeff || r == 0x180e || r == 0xad || 0x206a <= r && r <= 0x206f:
		return RuleZeroWidth
	case 0xfe00 <= r && r <= 0xfe0f || 0xe0100 <= r && r <= 0xe01ef:
		return RuleSelectors
	case 0xe0000 <= r && r <= 0xe007f:
		return RuleTags
	case r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 || r == 0x2800:
		return RuleFiller
	}
	return ""
}

// read shows every run that is hidden to see.
func (c *scanner) read(see func(run)) {
	s := c.text
	var bidi *directions
	for i := 0; i < len(s); {
		if b := s[i]; b >= ' ' && b < 0x7f || b == '\n' || b == '\t' {
			i++
			continue
		}
		r, width := utf8.DecodeRuneInString(s[i:])
		rule := hidden(r)
		if r == '\r' {
			end := i + len(s[i:]) - len(strings.TrimLeft(s[i:], "\r"))
			if end < len(s) && s[end] != '\n' { // writes over the line that it stands in
				see(run{RuleControl, i, end})
			}
			i = end
			continue
		}
		if rule == "" {
			i += width
			continue
		}
		end := i + width
		for end < len(s) && rule != RuleBidi && rule != RuleControl && rule != RuleEscape {
			next, w := utf8.DecodeRuneInString(s[end:])
			if hidden(next) != rule {
				break
			}
			end += w
		}
		start := i
		i = end
		switch rule {
		case RuleBidi:
			if bidi == nil {
				bidi = pair(s)
			}
			if bidi.closed[start] {
				continue
			}
		case RuleZeroWidth:
			if c.needed(start, end) {
				continue
			}
		case RuleSelectors:
			if c.selects(start, end) {
				continue
			}
		case RuleTags:
			if c.flag(start, end) {
				continue
			}
		case RuleFiller:
			if c.hangul(start, end) {
				continue
			}
		}
		see(run{rule, start, end})
	}
}

// around are the characters before start and behind end; 0 where there is none.
func (c *scanner) around(start, end int) (before, after rune) {
	if start > 0 {
		before, _ = utf8.DecodeLastRuneInString(c.text[:start])
	}
	if end < len(c.text) {
		after, _ = utf8.DecodeRuneInString(c.text[end:])
	}
	return before, after
}

// needed says whether the run of characters without width has a use where it stands. A
// single one has: at the beginning of a text (a byte order mark), between letters of
// scripts that join, between emoji, for breaking long words, anywhere but inside a word of
// Latin, Greek or Cyrillic letters or digits.
func (c *scanner) needed(start, end int) bool {
	run := c.text[start:end]
	if start == 0 && run == "\ufeff" {
		return true
	}
	if utf8.RuneCountInString(run) > 1 {
		return false
	}
	before, after := c.around(start, end)
	switch r, _ := utf8.DecodeRuneInString(run); {
	case r == 0xad: // a place where a word may be broken
		return true
	case r == 0x200d && (emoji(before) || before == 0xfe0f || 0x1f3fb <= before && before <= 0x1f3ff) && emoji(after):
		return true
	case 0x2061 <= r && r <= 0x2064: // invisible operators of formulas
		return true
	case 0x206a <= r && r <= 0x206f || r == 0x180e && !unicode.Is(unicode.Mongolian, before):
		return false
	}
	return !(alphabetic(before) && alphabetic(after))
}

// alphabetic says whether r is a letter or digit of a script in which nothing joins.
func alphabetic(r rune) bool {
	return unicode.IsDigit(r) || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Hebrew, unicode.Georgian)
}

// emoji says whether r may be part of a picture that joiners make.
func emoji(r rune) bool {
	return 0x1f000 <= r && r < 0x20000 || 0x2190 <= r && r < 0x2c00 || r == 0xa9 || r == 0xae || r == 0x3030 || r == 0x303d || r == 0x3297 || r == 0x3299
}

// selects says whether the variation selectors are one, behind a character that it may be
// about.
func (c *scanner) selects(start, end int) bool {
	if utf8.RuneCountInString(c.text[start:end]) > 1 {
		return false
	}
	before, _ := c.around(start, end)
	switch r, _ := utf8.DecodeRuneInString(c.text[start:end]); {
	case r >= 0xe0100:
		return unicode.Is(unicode.Han, before)
	case r >= 0xfe0e:
		return emoji(before) || unicode.IsDigit(before) || before == '#' || before == '*' || unicode.IsSymbol(before) || unicode.IsPunct(before)
	}
	return unicode.In(before, unicode.Han, unicode.Mongolian, unicode.Myanmar, unicode.Phags_Pa) || unicode.IsSymbol(before)
}

// flag says whether tag characters spell a flag: behind the black one, letters and digits,
// and a cancel tag at the end.
func (c *scanner) flag(start, end int) bool {
	const black, cancel = 0x1f3f4, 0xe007f
	before, _ := c.around(start, end)
	run := []rune(c.text[start:end])
	if before != black || len(run) < 4 || len(run) > 8 || run[len(run)-1] != cancel {
		return false
	}
	for _, r := range run[:len(run)-1] {
		if !(0xe0061 <= r && r <= 0xe007a || 0xe0030 <= r && r <= 0xe0039) {
			return false
		}
	}
	return true
}

// hangul says whether fillers stand beside Korean letters, or are a blank of Braille
// beside Braille.
func (c *scanner) hangul(start, end int) bool {
	before, after := c.around(start, end)
	return unicode.Is(unicode.Hangul, before) || unicode.Is(unicode.Hangul, after) ||
		0x2801 <= before && before <= 0x28ff || 0x2801 <= after && after <= 0x28ff
}

// directions says which marks of direction are one of a pair.
type directions struct{ closed map[int]bool }

// maxOpen bounds directions inside one another (Unicode Annex 9, max_depth).
const maxOpen = 125

// pair finds the embeddings and isolates of s that are closed in the same line. An
// override turns letters around, closed or not.
func pair(s string) *directions {
	d := &directions{closed: map[int]bool{}}
	type mark struct {
		at      int
		isolate bool
		turns   bool
	}
	var open []mark
	for i, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == 0x2029:
			open = open[:0]
		case r == 0x202a || r == 0x202b || r == 0x202d || r == 0x202e || 0x2066 <= r && r <= 0x2068:
			if len(open) < maxOpen {
				open = append(open, mark{i, r >= 0x2066, r == 0x202d || r == 0x202e})
			}
		case r == 0x202c || r == 0x2069:
			if n := len(open); n > 0 && open[n-1].isolate == (r == 0x2069) {
				if !open[n-1].turns {
					d.closed[open[n-1].at], d.closed[i] = true, true
				}
				open = open[:n-1]
			}
		}
	}
	return d
}
