package text

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what may be packed.
const (
	ShortestPacked = 20 // characters of Base64 or hexadecimal that may say something
	fullLine       = 60 // characters that a line of wrapped Base64 has at least
)

// NextPacked returns the next run of s, from there on, that may be Base64 (RFC 4648, either
// alphabet) or hexadecimal; start is -1 if there is none. Lines that are wrapped Base64 are
// one run.
func NextPacked(s string, from int) (start, end int) {
	for start := from; start+ShortestPacked <= len(s); {
		// Words are short: from behind, one of them shows soonest that no run starts here.
		i := start + ShortestPacked - 1
		for i >= start && packing[s[i]] != 0 {
			i--
		}
		if i >= start {
			start = i + 1
			continue
		}
		kinds := uint8(in64 | in16)
		for i = start; i < len(s) && packing[s[i]] != 0; i++ {
			kinds &= packing[s[i]]
		}
		if i-start >= fullLine {
			i = wrapped(s, i, kinds)
		}
		return start, i
	}
	return -1, -1
}

// wrapped is where a run of kinds ends that goes on in the lines behind the one which ends
// at i.
func wrapped(s string, i int, kinds uint8) int {
	for s[i-1] != '=' {
		line := strings.TrimPrefix(s[i:], "\r")
		if !strings.HasPrefix(line, "\n") {
			break
		}
		next := len(s) - len(line) + 1
		end := next
		for end < len(s) && packing[s[end]]&kinds == kinds {
			end++
		}
		// A line of prose begins with a word, too; the last one of Base64 may end in padding.
		if end == next || end < len(s) && s[end] != '\n' && s[end] != '\r' && s[end-1] != '=' {
			break
		}
		i = end
	}
	return i
}

// Bits of packing.
const (
	in64 = 1 << iota // stands in Base64
	in16             // stands in hexadecimal
)

var packing = buildPacking()

func buildPacking() (table [256]uint8) {
	for i := range table {
		switch c := byte(i); {
		case '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' && c < utf8.RuneSelf:
			table[i] = in64 | in16
		case 'a' <= c|0x20 && c|0x20 <= 'z' && c < utf8.RuneSelf || strings.IndexByte("+/=-_", c) >= 0:
			table[i] = in64
		}
	}
	return table
}

// Unpack decodes a run of Base64 or hexadecimal, in which pairs of digits may stand apart. A
// name in front is no part of it ("payload=", "data/"). What does not decode to text is "",
// and no copy is made of it: most runs are names, digests and identifiers.
func Unpack(run string) string {
	for _, from := range [...]int{0, strings.LastIndexAny(strings.TrimRight(run, "="), "=/") + 1} {
		if text := unpack16(run[from:]); text != "" {
			return text
		}
		if text := unpack64(run[from:]); text != "" {
			return text
		}
	}
	return ""
}

// headSize is how many bytes are decoded first, to see whether the rest is worth it.
const headSize = 24

func unpack16(s string) string {
	var head [headSize]byte
	n := 0 // digits
	for i := 0; i < len(s) && n < 2*headSize; i++ {
		switch c := s[i]; {
		case c == ' ' || c == ':' || c == '\n' || c == '\r':
			continue
		case packing[c]&in16 == 0:
			return ""
		case c > '9':
			head[n/2] = head[n/2]<<4 | (c | 0x20 - 'a' + 10)
		default:
			head[n/2] = head[n/2]<<4 | (c - '0')
		}
		n++
	}
	if n < ShortestPacked || !readable(head[:n/2]) {
		return ""
	}
	return decoded(hex.DecodeString(separators.Replace(s)))
}

func unpack64(s string) string {
	var in, head [headSize]byte
	n := 0
	for i := 0; i < len(s) && n < len(in); i++ {
		switch c := s[i]; c {
		case '\n', '\r':
			continue
		case '=':
			i = len(s) // only padding may follow
			continue
		case '-':
			in[n] = '+'
		case '_':
			in[n] = '/'
		default:
			in[n] = c
		}
		n++
	}
	n = n / 4 * 4
	if n+4 < ShortestPacked {
		return ""
	}
	if k, err := base64.RawStdEncoding.Decode(head[:], in[:n]); err != nil || !readable(head[:k]) {
		return ""
	}
	s = strings.TrimRight(standard.Replace(s), "=")
	if len(s)%4 == 1 {
		s = s[:len(s)-1] // a character that is cut off
	}
	return decoded(base64.RawStdEncoding.DecodeString(s))
}

// separators of hexadecimal digits, and how Base64 may be written otherwise.
var (
	separators = strings.NewReplacer(" ", "", ":", "", "\n", "", "\r", "")
	standard   = strings.NewReplacer("\n", "", "\r", "", "-", "+", "_", "/")
)

func decoded(b []byte, err error) string {
	if err != nil || !readable(b) {
		return ""
	}
	return string(b)
}

// readable says whether b is text: at most one in eight of its characters is a control, or
// no character at all. One NUL must not hide the rest.
func readable(b []byte) bool {
	odd, n := 0, 0
	for len(b) > 0 {
		r, width := utf8.DecodeRune(b)
		if r == utf8.RuneError && width == 1 && !utf8.FullRune(b) {
			break // cut off at the end
		}
		if r == utf8.RuneError && width == 1 || unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			odd++
		}
		n++
		b = b[width:]
	}
	return n > 0 && 8*odd <= n
}
