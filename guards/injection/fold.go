package injection

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// What fold answers for characters that are no ASCII. Both are no ASCII either,
// so that no rule can spell them.
const (
	ignored = 0x80 // shows nothing: control, zero-width, combining and bidi characters
	foreign = 0xff // any other character
)

// fold returns the ASCII character that a reader takes the first character of s
// for, in lower case, and how many bytes it is long: NFKC and lower case, with
// the letters and brackets that only look like ASCII ones. It works on one
// character at a time, so matchers keep the offsets of the original text and
// need no copy of it.
func fold(s string) (c byte, width int) {
	if b := s[0]; b < utf8.RuneSelf {
		return foldASCII(b), 1
	}
	r, width := utf8.DecodeRuneInString(s)
	if int(r) < len(folded) {
		return folded[r], width
	}
	return foldRune(r), width
}

func foldASCII(b byte) byte {
	if b < ' ' && (b < '\t' || b > '\r') || b == 0x7f {
		return ignored
	}
	return lowerASCII(b)
}

func lowerASCII(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// Tag characters spell ASCII that no page shows and that models read.
const tagFirst, tagLast = 0xe0020, 0xe007e

// folded holds the answers for the alphabets that ordinary text is made of.
var folded = buildFolded()

func buildFolded() (table [0x600]byte) {
	for r := range table {
		table[r] = foldRune(rune(r))
	}
	return table
}

func foldRune(r rune) byte {
	switch {
	case r < utf8.RuneSelf:
		return foldASCII(byte(r))
	case 0x3400 <= r && r < 0xa000 || 0xac00 <= r && r < 0xd7a4 || 0x3041 <= r && r < 0x3100:
		return foreign // Chinese, Korean, Japanese
	case r == '\u0085' || r == '\u2028' || r == '\u2029':
		return '\n'
	case unicode.IsSpace(r):
		return ' '
	case tagFirst <= r && r <= tagLast:
		return lowerASCII(byte(r - tagFirst + ' '))
	}
	if c, ok := lookalikes[r]; ok {
		return c
	}
	if invisible(r) {
		return ignored
	}
	return decompose(r)
}

// invisible says whether r leaves no mark of its own on the page.
func invisible(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800: // fillers and the blank Braille pattern
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Mn, unicode.Me, unicode.Cf, unicode.Variation_Selector)
}

// decompose folds full-width, styled, circled and accented characters.
func decompose(r rune) byte {
	var buf [utf8.UTFMax]byte
	properties := norm.NFKD.Properties(buf[:utf8.EncodeRune(buf[:], r)])
	parts := properties.Decomposition()
	if len(parts) == 0 {
		return foreign
	}
	if parts[0] < utf8.RuneSelf {
		return lowerASCII(parts[0])
	}
	first, _ := utf8.DecodeRune(parts)
	if c, ok := lookalikes[first]; ok {
		return c
	}
	return foreign
}

// lookalikes are characters whose shape is that of an ASCII one although they
// have no decomposition: the usual Cyrillic and Greek letters and the brackets.
var lookalikes = map[rune]byte{
	'а': 'a', 'А': 'a', 'α': 'a', 'Α': 'a', 'ɑ': 'a',
	'В': 'b', 'Β': 'b', 'Ь': 'b',
	'с': 'c', 'С': 'c', 'ϲ': 'c', 'Ϲ': 'c',
	'ԁ': 'd',
	'е': 'e', 'Е': 'e', 'Ε': 'e', 'є': 'e', 'ε': 'e',
	'ɡ': 'g',
	'һ': 'h', 'Н': 'h', 'Η': 'h',
	'і': 'i', 'І': 'i', 'ι': 'i', 'Ι': 'i', 'ı': 'i',
	'ј': 'j', 'Ј': 'j',
	'к': 'k', 'К': 'k', 'κ': 'k', 'Κ': 'k',
	'Ӏ': 'l', 'ӏ': 'l', 'ł': 'l',
	'М': 'm', 'Μ': 'm',
	'п': 'n', 'Ν': 'n', 'ո': 'n',
	'о': 'o', 'О': 'o', 'ο': 'o', 'Ο': 'o', 'ø': 'o', 'Ø': 'o', 'օ': 'o',
	'р': 'p', 'Р': 'p', 'ρ': 'p', 'Ρ': 'p',
	'г': 'r',
	'ѕ': 's', 'Ѕ': 's', 'ꜱ': 's',
	'т': 't', 'Т': 't', 'τ': 't', 'Τ': 't',
	'υ': 'u', 'ս': 'u', 'ц': 'u',
	'ν': 'v', 'ѵ': 'v',
	'ѡ': 'w', 'ԝ': 'w',
	'х': 'x', 'Х': 'x', 'χ': 'x', 'Χ': 'x',
	'у': 'y', 'У': 'y', 'γ': 'y', 'Υ': 'y',
	'Ζ': 'z',
	'‹': '<', '˂': '<', '❮': '<', '⟨': '<', '〈': '<', 'ᐸ': '<',
	'【': '[', '〔': '[', '⟦': '[', '❲': '[', '】': ']', '〕': ']', '⟧': ']', '❳': ']',
	'∕': '/', '⁄': '/', '⧸': '/',
	'‐': '-', '–': '-', '—': '-', '−': '-',
	'’': '\'', '‘': '\'', '“': '"', '”': '"',
	'。': '.', '｡': '.',
}
