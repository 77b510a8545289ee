package injection

import (
	"unicode"
	"unicode/utf8"
)

// Features of the model. A text is a row of tokens; each token has features: itself, itself
// behind the one before and behind the two before, and every four letters in a row inside
// it. A feature is a bucket.
const (
	bucketBits  = 18
	Buckets     = 1 << bucketBits
	maxLetters  = 24             // of a token that are looked at by fours
	maxFeatures = maxLetters + 4 // of a token
)

// Tokens reads a text token by token. It keeps nothing of it.
type Tokens struct {
	text  string
	pos   int
	start int       // of the token that was read last
	last  [2]uint32 // hashes of the two tokens before

	features [maxFeatures]uint32
	n        int

	// recent holds where three tokens in a row were seen last, by their bucket, two in
	// each place: the older one makes room.
	recent [256][2]struct{ three, count uint32 }
	count  uint32
}

// NewTokens begins at the start of text.
func NewTokens(text string) *Tokens { return &Tokens{text: text} }

// Features are those of the token that Next has read, until it reads the next one.
func (t *Tokens) Features() []uint32 { return t.features[:t.n] }

// Start is where that token begins.
func (t *Tokens) Start() int { return t.start }

// Next reads a token and says whether there was one. A token is a word, or a character of a
// script that has no blanks between words.
func (t *Tokens) Next() bool {
	for t.pos < len(t.text) {
		t.start = t.pos
		if v := plain[t.text[t.pos]]; v != 0 {
			t.word()
			return true
		}
		if t.text[t.pos] < utf8.RuneSelf {
			t.pos++
			continue
		}
		switch v, width := letter(t.text[t.pos:]); {
		case v == 0 || v == unseen:
			t.pos += width
		case v&standsAlone != 0:
			t.pos += width
			t.n = 0
			t.token(hash(v))
			return true
		default:
			t.word()
			return true
		}
	}
	return false
}

// plain are the letters of ASCII in lower case, the digits and the underscore; 0 is
// anything else.
var plain = buildPlain()

func buildPlain() (table [256]byte) {
	for c := range utf8.RuneSelf {
		if l := foldASCII(byte(c)); 'a' <= l && l <= 'z' || '0' <= l && l <= '9' || l == '_' {
			table[c] = l
		}
	}
	return table
}

// What letter says of a character beside its value.
const (
	unseen      = 1 << 30 // shows nothing
	standsAlone = 1 << 29 // is a token by itself
)

// letter is the value of the first character of s, which is no ASCII: that of the letter
// which it looks like, or its own in lower case; 0 separates words.
func letter(s string) (v uint32, width int) {
	c, width := fold(s)
	switch {
	case c == ignored:
		return unseen, width
	case c < utf8.RuneSelf:
		return uint32(plain[c]), width
	}
	r, _ := utf8.DecodeRuneInString(s)
	switch {
	case !unicode.IsLetter(r):
		return 0, width
	case 0x2e80 <= r && r < 0xa4d0 || 0xf900 <= r && r < 0xfb00 || 0x0e00 <= r && r < 0x0f00 || r >= 0x20000:
		return uint32(r) | standsAlone, width // Chinese, Japanese, Thai, Lao
	}
	return uint32(unicode.ToLower(r)), width
}

// hash spreads the bits of v (the end of MurmurHash3, 32 bits).
func hash(v uint32) uint32 {
	v ^= v >> 16
	v *= 0x85ebca6b
	v ^= v >> 13
	v *= 0xc2b2ae35
	return v ^ v>>16
}

// Numbers that keep features of different kinds apart, and odd ones to multiply with.
const (
	seedFour  = 0x165667b1
	timesWord = 0x01000193
	timesPair = 0x9e3779b1
	timesLast = 0x27d4eb2f
)

func bucket(h uint32) uint32 { return hash(h) >> (32 - bucketBits) }

// token enters a token of hash h, with those before it. Features of its letters are there
// already.
func (t *Tokens) token(h uint32) {
	pair := h*timesPair ^ t.last[0]
	three := bucket(pair*timesPair ^ t.last[1]*timesLast)
	t.features[t.n] = h >> (32 - bucketBits)
	t.features[t.n+1] = bucket(pair)
	t.features[t.n+2] = three
	t.n += 3
	t.last[1], t.last[0] = t.last[0], h
	// What is said again within a window says nothing more.
	t.count++
	place := &t.recent[three%uint32(len(t.recent))]
	if place[0].three != three {
		place[0], place[1] = place[1], place[0] // the one that was seen last stands first
	}
	if place[0].three == three && place[0].count > 0 && t.count-place[0].count < Window {
		t.n = 0
	}
	place[0].three, place[0].count = three, t.count
}

// word reads a word.
func (t *Tokens) word() {
	t.n = 0
	h, four, letters := uint32(0x811c9dc5), uint32(' '), 0
	text, pos := t.text, t.pos
	for pos < len(text) {
		v := uint32(plain[text[pos]])
		switch {
		case v != 0:
			pos++
		case text[pos] == '\'':
			pos++
			continue
		case text[pos] < utf8.RuneSelf:
			goto end
		default:
			next, width := letter(text[pos:])
			if next == 0 || next&standsAlone != 0 {
				goto end
			}
			pos += width
			if next == unseen {
				continue
			}
			v = next
		}
		h = (h ^ v) * timesWord
		four = four<<8 ^ v
		if letters++; letters >= 3 && letters <= maxLetters {
			t.features[t.n] = bucket(four ^ seedFour)
			t.n++
		}
	}
end:
	if letters > 3 && letters <= maxLetters {
		t.features[t.n] = bucket(four<<8 ^ ' ' ^ seedFour)
		t.n++
	}
	t.pos = pos
	t.token(hash(h))
}
