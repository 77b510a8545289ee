package secrets

import (
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"mcp-sidecar/guards/text"
)

// A secret that was encoded is one: who reads the text decodes it without effort. What may
// be encoded is decoded and looked at like the text itself; the finding is about the bytes
// of the encoded form.

const (
	maxDepth       = 3  // encodings inside one another
	shortestPacked = 24 // characters of Base64 or hexadecimal that may hold a secret
)

// encoded looks for secrets in what the text says otherwise.
func (c *scanner) encoded() {
	if c.depth == maxDepth {
		return
	}
	c.packed()
	c.escaped()
}

// inner scans a decoded text.
func (c *scanner) inner(decoded string) []candidate {
	if decoded == "" {
		return nil
	}
	d := scanner{text: decoded, depth: c.depth + 1, except: c.except}
	d.scan()
	d.plain = merge(d.seen)
	d.encoded()
	c.work += d.work + len(decoded)
	return d.seen
}

// packed decodes runs of Base64 and hexadecimal. Of a run that holds a secret all goes.
func (c *scanner) packed() {
	for start, end := text.NextPacked(c.text, 0); start >= 0; start, end = text.NextPacked(c.text, end) {
		if end-start < shortestPacked || c.covered(start, end) {
			continue
		}
		c.work += end - start
		if found := c.inner(text.Unpack(c.text[start:end])); len(found) > 0 {
			c.seen = append(c.seen, candidate{found[0].rule, start, end, exact})
		}
	}
}

// covered says whether a finding of the text as it stands is in the bytes from start to end.
func (c *scanner) covered(start, end int) bool {
	i, _ := slices.BinarySearchFunc(c.plain, start, func(f candidate, at int) int {
		if f.end <= at {
			return -1
		}
		return 1
	})
	return i < len(c.plain) && c.plain[i].start < end
}

// escaped reads the text without escapes and without characters that show nothing, where it
// has any.
func (c *scanner) escaped() {
	s := c.text
	if !hasEscape(s) {
		return
	}
	first := nextEscape(s, 0)
	c.work += first
	if first == len(s) {
		return
	}
	plain := append(make([]byte, 0, len(s)), s[:first]...)
	at := make([]int, first, len(s)+1) // where each byte of plain comes from
	for i := range at {
		at[i] = i
	}
	for i := first; i < len(s); {
		r, width := escape(s[i:])
		switch {
		case width == 0:
			for next := nextEscape(s, i+1); i < next; i++ {
				plain, at = append(plain, s[i]), append(at, i)
			}
			continue
		case r >= 0:
			var buf [utf8.UTFMax]byte
			for _, b := range buf[:utf8.EncodeRune(buf[:], r)] {
				plain, at = append(plain, b), append(at, i)
			}
		}
		i += width
	}
	at = append(at, len(s))
	for _, f := range c.inner(string(plain)) {
		start, end := at[f.start], at[f.end]
		if !c.covered(start, start+1) || !c.covered(end-1, end) {
			c.seen = append(c.seen, candidate{f.rule, start, end, f.rank})
		}
	}
}

// introduces are the bytes that an escape may start with.
var introduces = func() (table [256]uint8) {
	for i := range table {
		if i >= utf8.RuneSelf || strings.IndexByte(`%\&`, byte(i)) >= 0 {
			table[i] = 1
		}
	}
	return table
}()

// nextEscape returns where the first escape of s begins at or behind from, or the end of s.
func nextEscape(s string, from int) int {
	for i := from; ; i++ {
		for ; i+8 <= len(s); i += 8 {
			p := s[i : i+8]
			if introduces[p[0]]|introduces[p[1]]|introduces[p[2]]|introduces[p[3]]|introduces[p[4]]|introduces[p[5]]|introduces[p[6]]|introduces[p[7]] != 0 {
				break
			}
		}
		for i < len(s) && introduces[s[i]] == 0 {
			i++
		}
		if i >= len(s) {
			return len(s)
		}
		if _, width := escape(s[i:]); width > 0 {
			return i
		}
	}
}

// hasEscape says whether s may hold any.
func hasEscape(s string) bool {
	return strings.IndexByte(s, '%') >= 0 || strings.Contains(s, "&") || strings.Contains(s, `\u`) || strings.Contains(s, `\x`) ||
		strings.Contains(s, "\u00ad") || strings.Contains(s, "\xe2\x80") || strings.Contains(s, "\xe2\x81") || strings.Contains(s, "\ufeff")
}

// escape reads what stands for one character at the beginning of s: r is -1 for one that
// shows nothing. No width means that there is none.
func escape(s string) (r rune, width int) {
	switch {
	case s[0] == '%' && len(s) > 2:
		if v, ok := digits(s[1:3], 16); ok {
			return rune(v), 3
		}
	case s[0] == '\\' && len(s) > 5 && s[1] == 'u':
		if v, ok := digits(s[2:6], 16); ok && v >= ' ' {
			return rune(v), 6
		}
	case s[0] == '\\' && len(s) > 3 && s[1] == 'x':
		if v, ok := digits(s[2:4], 16); ok && v >= ' ' {
			return rune(v), 4
		}
	case s[0] == '&':
		end := strings.IndexByte(s[:min(len(s), 12)], ';')
		if end < 2 {
			return 0, 0
		}
		if one := html.UnescapeString(s[:end+1]); utf8.RuneCountInString(one) == 1 {
			r, _ := utf8.DecodeRuneInString(one)
			return r, end + 1
		}
	case s[0] >= utf8.RuneSelf:
		switch r, width := utf8.DecodeRuneInString(s); r {
		case 0xad, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0xfeff:
			return -1, width
		}
	}
	return 0, 0
}

func digits(s string, base int) (v int, ok bool) {
	for i := range len(s) {
		d := 99
		switch b := s[i]; {
		case isDigit(b):
			d = int(b - '0')
		case isLetter(b):
			d = int(b|0x20-'a') + 10
		}
		if d >= base {
			return 0, false
		}
		v = v*base + d
	}
	return v, true
}
