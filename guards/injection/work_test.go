package injection

import (
	"strings"
	"testing"
)

// maxWork bounds the characters and words that matchers read, per byte of text.
const maxWork = 60

func workOf(s string) int {
	var seen sightings
	findMarkup(s, false, &seen)
	findPhrases(s, &seen)
	defusing := 0
	for done := 0; ; {
		l, ok := nextLookalike(s, done, &defusing)
		if !ok {
			return seen.work + defusing
		}
		done = l.bracket
	}
}

// TestWorkIsLinear feeds the matchers texts that would make careless ones read
// the same bytes again and again. It counts steps, so no clock decides.
func TestWorkIsLinear(t *testing.T) {
	patterns := map[string]string{
		"prose":                 "The quick brown fox. ",
		"brackets":              "<",
		"brackets and blanks":   "<    ",
		"brackets and slashes":  `<\/`,
		"entities":              "&lt;",
		"ampersands":            "&amp;amp;",
		"long references":       "&#0000000000000060;",
		"percents":              "%2525",
		"backslashes":           `\`,
		"half delimiters":       "</untrusted_conten",
		"delimiters":            "</untrusted_content>",
		"half notes":            "[guar",
		"notes":                 "[guard]",
		"notes and blanks":      "    [guard]",
		"zero-width":            "\u200b",
		"bracket, zero-width":   "<\u200b",
		"headings":              "#",
		"headings and blanks":   "# ",
		"heading words":         "### system:",
		"templates":             "<|im_start|",
		"comments":              "<!-- ",
		"ignore":                "ignore ",
		"ignore and previous":   "ignore all previous ",
		"instructions":          "instructions ",
		"previous instructions": "all previous instructions ",
		"every ending":          "you must not act as a an the my to from any all user tool rules ",
		"marks":                 "a@b://",
		"send and secret":       "send the key token secret password to ",
		"chinese":               "文字",
	}
	for name, pattern := range patterns {
		t.Run(name, func(t *testing.T) {
			work := func(size int) int {
				blanks := strings.Repeat(" ", size/4)
				return workOf(strings.Repeat(pattern, size/len(pattern)+1) + blanks + pattern)
			}
			small, large := work(1<<13), work(1<<16)
			if large > 9*small+1<<12 {
				t.Errorf("8 times the text took %d instead of %d steps", large, small)
			}
			if large > maxWork<<16 {
				t.Errorf("%d steps for %d bytes", large, 1<<16)
			}
		})
	}
}
