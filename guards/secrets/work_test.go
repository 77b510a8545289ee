package secrets

import (
	"strings"
	"testing"
)

// maxWork bounds the bytes that matchers read behind words, per byte of text.
const maxWork = 60

// TestWorkIsLinear feeds each matcher the text that would make a careless one
// read the same bytes again and again. It counts bytes, so no clock decides.
func TestWorkIsLinear(t *testing.T) {
	patterns := map[string]string{
		"prose":                 "The quick brown fox, 42 times. ",
		"schemes without end":   "a://b:c/",
		"schemes and users":     "a://b:c@",
		"schemes glued":         "a://",
		"ports":                 "http://h:80/",
		"template passwords":    "a://b:${x}@",
		"token prefixes":        "sk-",
		"token prefixes apart":  "sk- ",
		"slack prefixes":        "xoxb-",
		"jwt starts":            "ey-",
		"jwt headers":           "eyJhbGciOiJIUzI1NiJ9.",
		"pem begins":            "-----BEGIN PRIVATE KEY-----",
		"pem begins, no key":    "-----BEGIN ",
		"pem ends":              "-----BEGIN PRIVATE KEY-----END ",
		"names":                 "token",
		"assignments":           "token=",
		"quoted assignments":    `token="`,
		"mixed quotes":          `token="token='token=\"`,
		"assignments, brackets": "token=ab9cdefgh[",
		"bearers":               "bearer ",
		"bearers, headers":      "authorization:bearer ",
		"user flags":            " -u a:",
		"escapes":               `\n\u003d%3D`,
		"white space":           "password     ",
		"foreign prefixes":      "tk-us-",
		"foreign prefixes, -":   "EAAA-",
		"foreign, in pieces":    "fo1_EAAA-s.pat-A3-",
		"foreign, anywhere":     "Q~_mmkatlasv1.",
		"foreign, everywhere":   "Q~",
		"foreign names":         "contentful=",
		"foreign names, quote":  `twitter='dropbox="`,
		"foreign names, many":   "yandex lob=",
		"markers":               "[REDACTED:password_assignment]=",
	}
	for name, pattern := range patterns {
		t.Run(name, func(t *testing.T) {
			work := func(size int) int {
				tail := strings.Repeat(")", size/4) + "[REDACTED:jwt]"
				c := scanner{text: strings.Repeat(pattern, size/len(pattern)+1) + tail}
				c.scan()
				return c.work
			}
			small, large := work(1<<14), work(1<<17)
			if large > 9*small+1<<12 {
				t.Errorf("8 times the text took %d instead of %d reads", large, small)
			}
			if large > maxWork<<17 {
				t.Errorf("%d reads for %d bytes", large, 1<<17)
			}
		})
	}
}
