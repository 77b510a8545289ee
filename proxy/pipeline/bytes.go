package pipeline

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"mcp-sidecar/guards"
)

// sniffed is how many bytes decide whether bytes are text.
const sniffed = 512

// readBytes shows the guards what bytes in Base64 say, when they are text: a
// configuration file is sent as a blob as often as it is sent as text. A finding
// is redacted in the text, which is then encoded again. Images, sound and other
// formats are left alone: a change would break them.
func (o *output) readBytes(l *leaf) {
	head := decodeBase64(l.text.Value, sniffed)
	if !isText(head) {
		return
	}
	t := guards.Text{Value: string(decodeBase64(l.text.Value, len(l.text.Value)))}
	was := t.Value
	if is, _ := o.inside(l, t, 0, 0); is != was {
		l.text.Value = encodeLike(l.text.Value, is)
	}
}

// isText says whether bytes look like text in UTF-8; the last character may be
// cut off.
func isText(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	for i := 0; i < len(b); {
		r, width := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && width == 1:
			return len(b)-i < utf8.UTFMax && !utf8.FullRune(b[i:])
		case r < ' ' && strings.IndexByte("\t\n\v\f\r\x1b", byte(r)) < 0:
			return false
		}
		i += width
	}
	return true
}

// decodeBase64 decodes at most limit bytes of s as the most lenient decoder would
// (RFC 4648 in both alphabets): whatever belongs to neither alphabet is skipped,
// since some decoders skip it, and padding ends a group wherever it stands.
func decodeBase64(s string, limit int) []byte {
	out := make([]byte, 0, min(limit, len(s)/4*3)+3)
	group, n := uint32(0), 0
	for i := 0; i < len(s) && len(out) < limit; i++ {
		v := sextets[s[i]]
		switch {
		case v < 64:
			group = group<<6 | uint32(v)
			if n++; n == 4 {
				out = append(out, byte(group>>16), byte(group>>8), byte(group))
				group, n = 0, 0
			}
		case s[i] == '=':
			out = lastGroup(out, group, n)
			group, n = 0, 0
		}
	}
	if len(out) < limit {
		out = lastGroup(out, group, n)
	}
	return out
}

// lastGroup appends the bytes of a group that holds n characters only.
func lastGroup(out []byte, group uint32, n int) []byte {
	switch n {
	case 2:
		return append(out, byte(group>>4))
	case 3:
		return append(out, byte(group>>10), byte(group>>2))
	}
	return out
}

// sextetsOf counts the characters of s that carry bits.
func sextetsOf(s string) int {
	n := 0
	for i := range len(s) {
		if sextets[s[i]] < 64 {
			n++
		}
	}
	return n
}

// sextets are the values of the characters of both alphabets; 64 for any other.
var sextets = buildSextets()

func buildSextets() (table [256]byte) {
	for i := range table {
		table[i] = 64
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		table[alphabet[i]] = byte(i)
	}
	table['+'], table['-'], table['/'], table['_'] = 62, 62, 63, 63
	return table
}

// encodeLike encodes text in the alphabet and with the padding of model.
func encodeLike(model, text string) string {
	encoding := base64.StdEncoding
	if strings.ContainsAny(model, "-_") {
		encoding = base64.URLEncoding
	}
	if n := sextetsOf(model); n%4 != 0 && strings.IndexByte(model, '=') < 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	return encoding.EncodeToString([]byte(text))
}
