package injection

import (
	"strings"
	"unicode/utf8"

	known "mcp-sidecar/guards/text"
)

// Text that was written so that a model reads what a scanner does not. One pass looks for
// what may be such text; only that is decoded, and what it says is read like any other.
//
// Characters that only look like others, that show nothing, or that are escaped one by one
// are no matter of this file: fold and decode read through them.

// Bounds of decoding.
const (
	maxDepth = 3    // encodings inside one another
	maxMade  = 4    // bytes of all readings for each byte of the text,
	freeMade = 1024 // and as many besides
	fewWords = 2    // common words that a line must have when it is read another way
)

// hiding looks for other readings of a text, and reads them.
type hiding struct {
	seen       *sightings
	least      float64 // score from which the model counts
	depth      int     // 1 in the text itself
	start, end int     // of what is being decoded in the text itself, where depth is more
}

// find reads text in every other way.
func (h *hiding) find(text string) {
	if strings.Contains(text, "\u202e") {
		h.turned(text)
	}
	for from := 0; from < len(text); {
		l := line{text: text}
		from = l.read(from, h)
		h.line(&l)
	}
	for start, end := known.NextPacked(text, 0); start >= 0; start, end = known.NextPacked(text, end) {
		h.unpack(text, start, end)
	}
}

// unpack reads what a run of Base64 or hexadecimal says.
func (h *hiding) unpack(text string, start, end int) {
	if reading := known.Unpack(text[start:end]); reading != "" {
		h.read(reading, start, end)
	}
}

// read reads what the bytes from start to end say.
func (h *hiding) read(reading string, start, end int) {
	if h.depth > 1 {
		start, end = h.start, h.end
	}
	// Nobody writes one text in so many ways but to hide it.
	if h.seen.budget < len(reading) {
		h.seen.add(hiddenText, start, end)
		return
	}
	h.seen.budget -= len(reading)
	var inner sightings
	findMarkup(reading, false, &inner)
	findPhrases(reading, &inner)
	for r, f := range inner.first {
		// What is encoded closes nothing, and what stands there plainly has its place.
		if f.end > 0 && rule(r) != breakout && h.seen.first[r].end == 0 {
			h.seen.add(rule(r), start, end)
		}
	}
	h.seen.work += inner.work
	h.seen.ask(reading, start, end, h.least)
	if h.depth < maxDepth {
		deeper := hiding{seen: h.seen, least: h.least, depth: h.depth + 1, start: start, end: end}
		deeper.find(reading)
	}
}

// line is what one line may hide.
type line struct {
	text       string
	start, end int
	words      int // words of it
	plain      int // that are common in English,
	rotated    int // that are so when each letter is moved by 13,
	reversed   int // and when they are read from behind
	leet       int // words that are common when digits stand for letters
	single     int // words of one letter
	split      int // marks of emphasis inside words
}

// Classes of bytes.
const (
	isAlpha  = 1 << iota // a letter
	isNumber             // a digit
	isSign               // a sign that stands for a letter: @ $
	is16                 // hexadecimal
	isEmph               // a mark of emphasis: * ` ~
)

var byteClasses = buildClasses()

func buildClasses() (table [256]uint8) {
	for i := range table {
		b := byte(i)
		switch {
		case 'a' <= b|0x20 && b|0x20 <= 'z' && b < utf8.RuneSelf:
			table[i] = isAlpha
			if b|0x20 <= 'f' {
				table[i] |= is16
			}
		case '0' <= b && b <= '9':
			table[i] = isNumber | is16
		case b == '@' || b == '$':
			table[i] = isSign
		case b == '*' || b == '`' || b == '~':
			table[i] = isEmph
		}
	}
	return table
}

// read takes in the line that begins at from, and returns where the next one does. Pairs of
// hexadecimal digits that stand apart are read at once.
func (l *line) read(from int, h *hiding) (next int) {
	s := l.text
	l.start = from
	i, pairs, pairsAt := from, 0, 0
	for i < len(s) && s[i] != '\n' {
		switch c := byteClasses[s[i]]; {
		case c&(isAlpha|isNumber|isSign) != 0:
			at := i
			i = l.word(i)
			if i-at != 2 || byteClasses[s[at]]&is16 == 0 || byteClasses[s[at+1]]&is16 == 0 {
				pairs = 0
				continue
			}
			if pairs == 0 {
				pairsAt = at
			}
			if pairs++; 2*pairs >= known.ShortestPacked && !l.pairFollows(i) {
				h.unpack(s, pairsAt, i)
				pairs = 0
			}
			continue
		case c&isEmph != 0 && i > from && i+1 < len(s) && byteClasses[s[i-1]]&isAlpha != 0:
			l.split++
		}
		i++
	}
	l.end = i
	return i + 1
}

// pairFollows says whether two more hexadecimal digits stand behind a blank at i.
func (l *line) pairFollows(i int) bool {
	s := l.text
	return i+2 < len(s) && (s[i] == ' ' || s[i] == ':') && byteClasses[s[i+1]]&is16 != 0 && byteClasses[s[i+2]]&is16 != 0 &&
		(i+3 == len(s) || byteClasses[s[i+3]]&(isAlpha|isNumber) == 0)
}

// word reads a word that starts at i.
func (l *line) word(i int) int {
	s := l.text
	start, letters, others := i, 0, 0
	var key, spelt uint64
	for ; i < len(s); i++ {
		c := byteClasses[s[i]]
		switch {
		case c&isAlpha != 0:
			if i-start < 8 {
				key = key<<8 | uint64(s[i]|0x20)
				spelt = spelt<<8 | uint64(s[i]|0x20)
			}
			letters++
		case c&(isNumber|isSign) != 0:
			if i-start < 8 {
				spelt = spelt<<8 | uint64(spelled(rune(s[i])))
			}
			others++
		default:
			l.enter(key, spelt, letters, others)
			return i
		}
	}
	l.enter(key, spelt, letters, others)
	return i
}

func (l *line) enter(key, spelt uint64, letters, others int) {
	l.words++
	switch {
	case letters+others == 1:
		l.single++
	case others > 0:
		if letters > 0 && frequent.of(spelt, letters+others)&commonPlain != 0 {
			l.leet++
		}
	default:
		switch kinds := frequent.of(key, letters); {
		case kinds == 0:
		case kinds&commonPlain != 0:
			l.plain++
		case kinds&commonRotated != 0:
			l.rotated++
		default:
			l.reversed++
		}
	}
}

// line reads a line in its other ways.
func (h *hiding) line(l *line) {
	if l.rotated >= fewWords && l.rotated > l.plain {
		h.read(strings.Map(rotate, l.text[l.start:l.end]), l.start, l.end)
	}
	if l.reversed >= fewWords && l.reversed > l.plain {
		h.read(backwards(l.text[l.start:l.end]), l.start, l.end)
	}
	if l.leet >= fewWords && l.leet > l.plain {
		h.read(strings.Map(spelled, l.text[l.start:l.end]), l.start, l.end)
	}
	if l.single >= 8 && 2*l.single >= l.words {
		h.read(closeUp(l.text[l.start:l.end]), l.start, l.end)
	}
	if l.split >= 3 {
		h.read(withoutEmphasis.Replace(l.text[l.start:l.end]), l.start, l.end)
	}
}

var withoutEmphasis = strings.NewReplacer("*", "", "`", "", "~", "")

func rotate(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case 'A' <= r && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

// spelled is the letter that a digit or sign stands for.
func spelled(r rune) rune {
	switch r {
	case '0':
		return 'o'
	case '1':
		return 'i'
	case '3':
		return 'e'
	case '4', '@':
		return 'a'
	case '5', '$':
		return 's'
	case '7':
		return 't'
	case '8':
		return 'b'
	}
	return r
}

func backwards(s string) string {
	b := make([]byte, len(s))
	for from := 0; from < len(s); {
		_, width := utf8.DecodeRuneInString(s[from:])
		copy(b[len(s)-from-width:], s[from:from+width])
		from += width
	}
	return string(b)
}

// closeUp takes one separator out between letters that stand alone: "I g n o r e  a l l".
func closeUp(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if i > 0 && strings.IndexByte(" .-_*\t", s[i]) >= 0 && s[i-1] != ' ' && (i+1 == len(s) || s[i+1] != ' ') && (i < 2 || byteClasses[s[i-2]]&isAlpha == 0) {
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// turned reads what stands behind a right-to-left override in the order in which a reader
// sees it.
func (h *hiding) turned(s string) {
	const override, pop = "\u202e", "\u202c"
	for from := 0; ; {
		k := strings.Index(s[from:], override)
		if k < 0 {
			return
		}
		start := from + k
		end := len(s)
		for _, stop := range []string{"\n", pop, override} {
			if e := strings.Index(s[start+len(override):end], stop); e >= 0 {
				end = start + len(override) + e
			}
		}
		h.read(backwards(s[start+len(override):end]), start, end)
		from = end
	}
}
