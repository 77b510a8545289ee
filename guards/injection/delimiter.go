package injection

import (
	"strings"
	"unicode/utf8"
)

// The delimiters around untrusted content, and what starts the guard's own
// final block.
const (
	openPrefix  = `<untrusted_content source="`
	closePrefix = "</untrusted_content"
	noteMark    = "[guard]"
)

// What stands in place of a look-alike's first character. The rest stays as it
// is. An entity such as &lt; would not do: a reader that decodes entities has
// the delimiter back, and &lt;/untrusted_content> is a look-alike itself. No
// decoding or normalisation turns these into a bracket before its name.
const (
	defusedDelimiter = "[DEFUSED:lt]"
	defusedNote      = "[DEFUSED:"
)

// lookalike is a place where a reader may see one of our delimiters or the
// start of a [guard] line.
type lookalike struct {
	start, bracket, end int // the first character is text[start:bracket]
	defused             string
}

// suspects are the bytes that a look-alike, or markup, may start with: brackets
// and number signs as such, as entity, percent or backslash escape, and first
// bytes of characters that are not ASCII. Those that start nothing else than
// Chinese characters and Korean syllables (U+4000 to U+9FFF, U+B000 to U+CFFF)
// are none.
var suspects = buildSuspects()

func buildSuspects() (table [256]uint8) {
	for _, b := range []byte("<[&%\\#") {
		table[b] = 1
	}
	for b := 0xc0; b < len(table); b++ {
		if b < 0xe4 || b == 0xea || b > 0xec {
			table[b] = 1
		}
	}
	return table
}

// suspect returns the first place of s at or behind from that holds one of
// suspects, or the end of s. Most texts are read by little else than this.
func suspect(s string, from int) int {
	i := from
	for ; i+8 <= len(s); i += 8 {
		p := s[i : i+8]
		if suspects[p[0]]|suspects[p[1]]|suspects[p[2]]|suspects[p[3]]|suspects[p[4]]|suspects[p[5]]|suspects[p[6]]|suspects[p[7]] != 0 {
			break
		}
	}
	for i < len(s) && suspects[s[i]] == 0 {
		i++
	}
	return i
}

// nextLookalike returns the first look-alike of s at or behind from. work is
// raised by the characters read.
func nextLookalike(s string, from int, work *int) (lookalike, bool) {
	for i := suspect(s, from); i < len(s); i = suspect(s, i+1) {
		c, width := decode(s[i:])
		*work += width
		if l, ok := lookalikeAt(s, i, c, width, work); ok {
			return l, true
		}
	}
	return lookalike{}, false
}

// lookalikeAt says whether the character c, which stands at i, starts one.
func lookalikeAt(s string, i int, c byte, width int, work *int) (lookalike, bool) {
	end := -1
	defused := defusedDelimiter
	switch c {
	case '<':
		end = matchDelimiter(s, i+width, work)
	case '[':
		defused = defusedNote
		if end = matchNote(s, i+width, work); end >= 0 && !startsLine(s[:i], work) {
			end = -1
		}
	}
	if end < 0 {
		return lookalike{}, false
	}
	return lookalike{bracketStart(s, i), i + width, end, defused}, true
}

// bracketStart returns where replacing the bracket at i may start. In \\u003c
// the first backslash escapes the second: taking the second away would leave a
// stray one, and JSON inside the text would break.
func bracketStart(s string, i int) int {
	if s[i] != '\\' {
		return i
	}
	slashes := i - len(strings.TrimRight(s[:i], `\`))
	return i + slashes%2
}

// matchDelimiter reads the rest of a delimiter behind its bracket: an optional
// slash and the name in any dress. What follows the name does not matter. It
// returns the end of the name or -1. A bracket ends every match, so brackets in
// a row are not read twice.
func matchDelimiter(s string, i int, work *int) int {
	i = matchWord(s, i, `/\`, "untrusted", work)
	return matchWord(s, i, `_-.:/\`, "content", work)
}

// matchNote reads the rest of [guard] behind its bracket.
func matchNote(s string, i int, work *int) int {
	i = matchWord(s, i, "", "guard", work)
	return matchWord(s, i, "", "]", work)
}

// matchWord matches word at i, after characters of lead and with blanks before
// and between its letters. It returns the end of the match; i < 0 and no match
// give -1.
func matchWord(s string, i int, lead, word string, work *int) int {
	matched := 0
	escaped := false // behind a backslash: \n and \t are blanks
	for i >= 0 && i < len(s) && matched < len(word) {
		c, width := decode(s[i:])
		*work += width
		switch {
		case c == word[matched]:
			matched++
		case c == ignored || c <= ' ' || c == '\\' || isTag(s[i:]):
		case escaped && strings.IndexByte("nrt", c) >= 0:
		case matched == 0 && strings.IndexByte(lead, c) >= 0:
		default:
			return -1
		}
		escaped = c == '\\'
		i += width
	}
	if matched < len(word) {
		return -1
	}
	return i
}

// isTag says whether s starts with an invisible tag character.
func isTag(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return tagFirst <= r && r <= tagLast
}

// startsLine says whether only blanks stand between the last line break of
// before and its end.
func startsLine(before string, work *int) bool {
	for len(before) > 0 {
		c, width := decodeLast(before, work)
		switch {
		case '\n' <= c && c <= '\r':
			return true
		case c != ignored && c > ' ':
			return false
		}
		before = before[:len(before)-width]
	}
	return true
}

// maxEscape bounds how far back the start of an escape is looked for.
const maxEscape = 32

// decodeLast is decode for the last character of s. There \n, \r and \t are
// line break and blank, as JSON inside a text writes them.
func decodeLast(s string, work *int) (c byte, width int) {
	r, width := utf8.DecodeLastRuneInString(s)
	*work += width
	c = foldRune(r)
	if c == ignored || c <= ' ' {
		return c, width
	}
	for i := len(s) - 1; i >= max(0, len(s)-maxEscape); i-- {
		*work++
		switch s[i:] {
		case `\n`, `\r`:
			return '\n', 2
		case `\t`:
			return '\t', 2
		}
		if strings.IndexByte("&%\\", s[i]) >= 0 {
			if c, width := decode(s[i:]); i+width == len(s) {
				return c, width
			}
		}
	}
	return c, width
}

// decode is fold for text that may be escaped: an HTML entity, a percent escape
// or a \u or \x escape of an ASCII character counts as the character.
func decode(s string) (c byte, width int) {
	switch s[0] {
	case '&':
		return entity(s)
	case '%':
		return percent(s)
	case '\\':
		return backslash(s)
	}
	return fold(s)
}

// entities are the named characters that spell a delimiter or leave a gap in it
// (HTML standard, section 13.5). HTML reads lt and nbsp without semicolon too.
var entities = []struct {
	name string
	char byte
}{
	{"lt;", '<'}, {"lt", '<'}, {"lbrack;", '['}, {"lsqb;", '['}, {"rbrack;", ']'}, {"rsqb;", ']'},
	{"sol;", '/'}, {"bsol;", '\\'}, {"lowbar;", '_'}, {"underbar;", '_'}, {"num;", '#'}, {"colon;", ':'}, {"vert;", '|'},
	{"newline;", '\n'}, {"tab;", '\t'}, {"nbsp;", ' '}, {"nbsp", ' '}, {"nonbreakingspace;", ' '},
	{"ensp;", ' '}, {"emsp;", ' '}, {"emsp13;", ' '}, {"emsp14;", ' '}, {"numsp;", ' '}, {"puncsp;", ' '},
	{"thinsp;", ' '}, {"thinspace;", ' '}, {"hairsp;", ' '}, {"verythinspace;", ' '}, {"mediumspace;", ' '}, {"thickspace;", ' '},
	{"zerowidthspace;", ignored}, {"shy;", ignored}, {"shy", ignored}, {"zwj;", ignored}, {"zwnj;", ignored},
	{"lrm;", ignored}, {"rlm;", ignored}, {"nobreak;", ignored}, {"applyfunction;", ignored}, {"af;", ignored},
	{"invisibletimes;", ignored}, {"it;", ignored}, {"invisiblecomma;", ignored}, {"ic;", ignored},
	{"negativethinspace;", ignored}, {"negativemediumspace;", ignored}, {"negativethickspace;", ignored},
	{"negativeverythinspace;", ignored},
}

// entity decodes the HTML entity at the start of s, which starts with &, also
// when its & was escaped again (&amp;lt;).
func entity(s string) (c byte, width int) {
	i := 1
	for hasFoldPrefix(s[i:], "amp;") {
		i += len("amp;")
	}
	if i < len(s) && s[i] == '#' {
		if c, width := reference(s[i+1:]); width > 0 {
			return c, i + 1 + width
		}
	}
	for _, e := range entities {
		if i < len(s) && lowerASCII(s[i]) == e.name[0] && hasFoldPrefix(s[i:], e.name) {
			return e.char, i + len(e.name)
		}
	}
	return '&', 1
}

// maxDigits bounds how many leading zeros a numeric reference is read with.
const maxDigits = 16

// reference decodes the digits of a numeric reference, 60; or x3c; .
func reference(s string) (c byte, width int) {
	base, i := rune(10), 0
	if i < len(s) && s[i]|0x20 == 'x' {
		base, i = 16, 1
	}
	r, digits := number(s[i:], base, maxDigits)
	if i += digits; digits == 0 {
		return 0, 0
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	return foldRune(r), i
}

// percent decodes %3C and %253C.
func percent(s string) (c byte, width int) {
	i := 1
	for strings.HasPrefix(s[i:], "25") {
		i += 2
	}
	if r, n := number(s[i:], 16, 2); n == 2 && r < utf8.RuneSelf {
		return foldRune(r), i + 2
	}
	return '%', 1
}

// backslash decodes \u003c, \x3c and \u{3c}. Any other backslash is itself.
func backslash(s string) (c byte, width int) {
	switch {
	case len(s) < 2:
	case s[1] == 'u' && len(s) > 2 && s[2] == '{':
		if r, n := number(s[3:], 16, 6); n > 0 && strings.HasPrefix(s[3+n:], "}") {
			return foldRune(r), 3 + n + 1
		}
	case s[1] == 'u':
		if r, n := number(s[2:], 16, 4); n == 4 {
			return foldRune(r), 6
		}
	case s[1] == 'x':
		if r, n := number(s[2:], 16, 2); n == 2 {
			return foldRune(r), 4
		}
	}
	return '\\', 1
}

// number reads at most limit digits at the start of s. Numbers beyond Unicode
// come back as the replacement character.
func number(s string, base rune, limit int) (r rune, digits int) {
	for digits < min(len(s), limit) {
		d := rune(99)
		switch b := lowerASCII(s[digits]); {
		case '0' <= b && b <= '9':
			d = rune(b - '0')
		case 'a' <= b && b <= 'f':
			d = rune(b-'a') + 10
		}
		if d >= base {
			break
		}
		r = min(r*base+d, utf8.MaxRune+1)
		digits++
	}
	if r > utf8.MaxRune {
		r = utf8.RuneError
	}
	return r, digits
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
