package injection

import (
	"strings"
	"unicode/utf8"
)

// findPhrases reads s word by word and reports phrases of the rules.
//
// A phrase is a row of word sets with a few arbitrary words allowed between
// (see rules.go). The reader keeps the last words only; when a word can end a
// phrase, the words before it are compared backwards. So the text is read once,
// nothing is copied, and the work for a word is bounded.
func findPhrases(s string, seen *sightings) {
	r := reader{text: s, comment: -1}
	for r.next() {
		word := r.last().word
		if word == 0 {
			continue
		}
		for _, a := range vocabulary.anchors[word] {
			r.anchors[a] = r.count
		}
		for _, n := range vocabulary.endings[word] {
			p := &vocabulary.phrases[n]
			if near := r.anchors[p.anchor]; near == 0 || r.count-near > p.reach {
				continue // a word that the phrase needs has not been read, or too long ago
			}
			if start, ok := r.match(p, &seen.work); ok {
				r.report(p, start, seen)
			}
		}
	}
	seen.work += r.count
}

// report enters a phrase that starts at start and ends with the last word.
// Inside an HTML comment any phrase is also hidden text: no page shows it.
func (r *reader) report(p *phrase, start int, seen *sightings) {
	end := r.last().end
	if r.comment >= 0 {
		seen.add(hiddenText, r.comment, end)
	}
	if p.rule != hiddenText {
		seen.add(p.rule, start, end)
	}
}

// pause says what separates a word from the one before.
type pause uint8

const (
	none     pause = iota // blanks, hyphens and the like
	clause                // a comma, quote, bracket, colon or line break: a command may start here
	sentence              // a full stop or empty line: no phrase goes across
)

// token is one word of the text.
type token struct {
	word       uint16 // index in the vocabulary, 0 if it occurs in no phrase
	before     pause
	start, end int
}

// memory is how many words the reader remembers, a power of two and more than
// any phrase spans.
const memory = 32

// reader splits a text into words.
type reader struct {
	text    string
	pos     int
	comment int // where the HTML comment around pos starts, -1 outside
	count   int
	ring    [memory]token
	anchors [maxAnchors]int // anchor → count when one of its words was last read, 0 before
}

// last returns the word that next has read.
func (r *reader) last() *token { return r.at(r.count - 1) }

// at returns the n-th word; only the last ones are kept.
func (r *reader) at(n int) *token { return &r.ring[n&(memory-1)] }

// longest bounds the words of the vocabulary, in folded bytes.
const longest = 20

// letters are the first folded bytes of a word.
type letters [longest]byte

// kinds says what an ASCII byte is to the reader: its lower-case form if it
// stands in words, else one of these. All other bytes are unsure.
const (
	blank  = 0 // separates words and means nothing
	stop   = 1 // separates words and may mean something
	unsure = 2 // starts or continues a word, depending on what it decodes to
)

var kinds = buildKinds()

func buildKinds() (table [256]byte) {
	for i := range table {
		switch b := byte(i); {
		case isWordByte(b):
			table[i] = lowerASCII(b)
		case foldASCII(b) == ignored || b >= utf8.RuneSelf || strings.IndexByte("'&%\\", b) >= 0:
			table[i] = unsure
		case strings.IndexByte("\n!?;|.,:\"`()[]{}<>*#=@-", b) >= 0:
			table[i] = stop
		}
	}
	return table
}

// next reads one word. Marks such as @ and :// are words too: they tell where
// data would go.
func (r *reader) next() bool {
	before := sentence
	if r.count > 0 {
		before = none
	}
	for r.pos < len(r.text) {
		kind := kinds[r.text[r.pos]]
		if kind == blank {
			r.pos++
			continue
		}
		if kind > unsure {
			r.word(before)
			return true
		}
		c, width := decode(r.text[r.pos:])
		if isWordByte(c) || c == foreign {
			r.word(before)
			return true
		}
		if mark := r.mark(c); mark != 0 {
			r.push(token{word: mark, before: before, start: r.pos, end: r.pos + width})
			r.pos += width
			return true
		}
		if c == '\\' && r.pos+1 < len(r.text) && strings.IndexByte("nrt", r.text[r.pos+1]) >= 0 {
			width, c = 2, '\n' // a line break as JSON writes it
		}
		r.markComment(c)
		before = max(before, r.pauseAt(c, width))
		r.pos += width
	}
	return false
}

// word reads the word at the reader's place.
func (r *reader) word(before pause) {
	s, start := r.text, r.pos
	end := start
	for end < len(s) && kinds[s[end]] > unsure {
		end++
	}
	if end < len(s) && kinds[s[end]] == unsure {
		r.oddWord(before)
		return
	}
	r.pos = end
	r.push(token{word: vocabulary.find(s, start, end), before: before, start: start, end: end})
}

// oddWord reads a word that holds more than letters and digits of ASCII.
// Apostrophes and what shows nothing do not end it: don't, ig<zero width>nore.
func (r *reader) oddWord(before pause) {
	var buf letters
	start, end, n := r.pos, r.pos, 0
	for r.pos < len(r.text) {
		c, width := kinds[r.text[r.pos]], 1
		if c == unsure {
			c, width = decode(r.text[r.pos:])
		}
		if isWordByte(c) || c == foreign {
			if n < longest {
				buf[n] = c
			}
			n++
			end = r.pos + width
		} else if c != ignored && c != '\'' {
			break
		}
		r.pos += width
	}
	r.push(token{word: vocabulary.lookup(&buf, n), before: before, start: start, end: end})
}

func (r *reader) push(t token) {
	*r.at(r.count) = t
	r.count++
}

// mark returns the vocabulary's word for an @ inside an address and for the
// :// of a URL, or 0.
func (r *reader) mark(c byte) uint16 {
	switch {
	case c == '@' && r.inside():
		return vocabulary.at
	case c == ':' && strings.HasPrefix(r.text[r.pos:], "://"):
		return vocabulary.url
	}
	return 0
}

// markComment follows HTML comments.
func (r *reader) markComment(c byte) {
	switch rest := r.text[r.pos:]; {
	case c == '<' && r.comment < 0 && strings.HasPrefix(rest, "<!--"):
		r.comment = r.pos
	case c == '-' && strings.HasPrefix(rest, "-->"):
		r.comment = -1
	}
}

// inside says whether the reader stands between two word characters.
func (r *reader) inside() bool {
	return r.pos > 0 && isWordByte(lowerASCII(r.text[r.pos-1])) &&
		r.pos+1 < len(r.text) && isWordByte(lowerASCII(r.text[r.pos+1]))
}

// pauseAt says what the character c at the reader's place separates.
func (r *reader) pauseAt(c byte, width int) pause {
	rest := r.text[r.pos+width:]
	switch c {
	case '!', '?', ';', '|':
		return sentence
	case '.':
		if rest == "" || rest[0] <= ' ' || rest[0] >= utf8.RuneSelf || strings.IndexByte("\"')*_<\\", rest[0]) >= 0 {
			return sentence
		}
	case '\n':
		for rest != "" && (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r') && len(r.text)-len(rest)-r.pos < 8 {
			rest = rest[1:]
		}
		if rest != "" && rest[0] == '\n' {
			return sentence
		}
		return clause
	case ',', ':', '"', '\'', '`', '(', ')', '[', ']', '{', '}', '<', '>', '*', '#', '=':
		return clause
	}
	return none
}

// match compares the words before the last one with p, backwards, and returns
// where the phrase starts.
func (r *reader) match(p *phrase, work *int) (start int, ok bool) {
	return r.back(p, len(p.steps)-1, r.count-1, work)
}

// back says whether steps[:k+1] of p end at word n, which is in steps[k].
func (r *reader) back(p *phrase, k, n int, work *int) (start int, ok bool) {
	*work++
	here := r.at(n)
	if k == 0 {
		return here.start, !p.command || r.commands(n)
	}
	for gap := 0; gap <= p.steps[k].gap; gap++ {
		if r.at(n-gap).before == sentence {
			break
		}
		m := n - gap - 1
		if m < 0 || r.count-m > memory {
			break
		}
		if p.steps[k-1].set.has(r.at(m).word) {
			if start, ok := r.back(p, k-1, m, work); ok {
				return start, true
			}
		}
	}
	return 0, false
}

// commands says whether word n may start a command: it opens a clause or
// follows a word that leads into one (and, please, you must).
func (r *reader) commands(n int) bool {
	if r.at(n).before != none || n == 0 {
		return true
	}
	return vocabulary.leadIn.has(r.at(n - 1).word)
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z'
}
