// Package text holds readings of text that several guards need. It is a
// vocabulary, not a guard: it decides nothing.
package text

import (
	"strings"
	"unicode"
)

// IsVariant says whether a lenient decoder could take name for want, or is it:
// encoding/json matches members without regard to case (U+017F counts as s,
// U+212A as k), C code stops at a NUL, and some frameworks trim names.
func IsVariant(name, want string) bool {
	if strings.EqualFold(name, want) {
		return true
	}
	if !strings.ContainsFunc(name, Invisible) { // nearly every name
		return false
	}
	untilNUL, _, _ := strings.Cut(name, "\x00")
	return strings.EqualFold(visible(name), want) || strings.EqualFold(visible(untilNUL), want)
}

// visible drops spaces, control and format characters.
func visible(s string) string {
	return strings.Map(func(c rune) rune {
		if Invisible(c) {
			return -1
		}
		return c
	}, s)
}

// Invisible says whether c shows nothing: white space, a control or a format
// character.
func Invisible(c rune) bool {
	return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c)
}
