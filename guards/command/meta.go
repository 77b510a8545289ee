package command

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// metacharacters are what a POSIX shell treats as more than itself, quoting,
// globbing and history expansion included. Control characters are tested
// apart.
const metacharacters = ";&|`$()<>\\'\"*?[]{}~#!"

// firstMeta returns the first metacharacter of s. A character that compatibility
// normalisation turns into one (full-width ';', the Greek question mark) counts:
// an upstream may normalise after the check.
func firstMeta(s string) (rune, bool) {
	for _, c := range s {
		if isMeta(c) {
			return c, true
		}
	}
	return 0, false
}

func isMeta(c rune) bool {
	if c < 0x80 {
		return c < ' ' || c == 0x7f || strings.IndexByte(metacharacters, byte(c)) >= 0
	}
	if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' { // line and paragraph separator end a line too
		return true
	}
	return strings.ContainsAny(norm.NFKC.String(string(c)), metacharacters)
}

// show makes c readable between single quotes: control characters and anything
// outside ASCII are escaped, so that the answer itself carries no trick.
func show(c rune) string {
	if c > ' ' && c < 0x7f {
		return "'" + string(c) + "'"
	}
	return strconv.QuoteRuneToASCII(c)
}
