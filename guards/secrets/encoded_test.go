package secrets

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func each(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// coding is a way in which a secret is written so that a reader has it all the same.
var coding = []struct {
	name   string
	encode func(string) string
}{
	{"Base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"Base64 for URLs, without padding", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }},
	{"Base64 of Base64", func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s))))
	}},
	{"hexadecimal", func(s string) string { return hex.EncodeToString([]byte(s)) }},
	{"hexadecimal in capitals", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }},
	{"percent", func(s string) string { return each(s, "%%%02X") }},
	{"percent of Base64", func(s string) string { return each(base64.StdEncoding.EncodeToString([]byte(s)), "%%%02x") }},
	{"escapes of JSON", func(s string) string { return each(s, `\u%04x`) }},
	{"escapes of C", func(s string) string { return each(s, `\x%02x`) }},
	{"entities", func(s string) string { return each(s, "&#%d;") }},
	{"entities in hexadecimal", func(s string) string { return each(s, "&#x%x;") }},
	{"zero-width characters", func(s string) string { return each(s, "%c\u200b") }},
	{"word joiners", func(s string) string { return s[:3] + "\u2060" + s[3:9] + "\ufeff" + s[9:] }},
	{"soft hyphens", func(s string) string { return s[:6] + "\u00ad" + s[6:] }},
}

// A secret in any of them is found where it stands, and nothing beside it goes.
func TestEncoded(t *testing.T) {
	for _, secret := range []struct{ text, rule string }{
		{awsID, "aws_access_key"}, {"ghp_" + body36, ""}, {"postgres://app:hunter22@db:5432/app", "connection_string"}, {"DB_PASSWORD=hunter22xyz", "password_assignment"}, {"~~~???>>> " + awsID, "aws_access_key"},
	} {
		for _, c := range coding {
			encoded := c.encode(secret.text)
			for _, place := range []string{"%s", "before %s after", "{\"data\": \"%s\"}", "value=%s", "line\n%s\nline"} {
				if place == "value=%s" && strings.Contains(c.name, "zero") {
					continue
				}
				s := fmt.Sprintf(place, encoded)
				out, found := Redact(s)
				if len(found) != 1 || secret.rule != "" && found[0].Rule != secret.rule {
					t.Errorf("%s in %q as %s: %+v", secret.text, place, c.name, found)
					continue
				}
				if strings.Contains(out, encoded) || !strings.HasPrefix(out, s[:min(found[0].Start, len(s))]) || !strings.HasSuffix(out, s[found[0].End:]) {
					t.Errorf("%q became %q", s, out)
				}
				checkRedaction(t, s)
			}
		}
	}
}

// A byte that is no text, or a line break, does not hide the rest.
func TestEncodedInLines(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a line of settings\n", 3) + "key = " + awsID + "\n\x00and more settings"))
	for _, s := range []string{encoded, encoded[:76] + "\n" + encoded[76:], encoded[:76] + "\r\n" + encoded[76:]} {
		if out, found := Redact("data: " + s + "\n. end"); out != "data: [REDACTED:aws_access_key]\n. end" {
			t.Errorf("%q, %+v", out, found)
		}
	}
}

// What is encoded and no secret stays.
func TestEncodedHarmless(t *testing.T) {
	for _, text := range []string{"The quick brown fox jumps over the lazy dog near the bank", `{"id":17,"name":"boiler","ok":true}`, "https://example.com/docs/page?lang=en&sort=asc"} {
		for _, c := range coding {
			s := "data " + c.encode(text) + " end"
			if out, found := Redact(s); found != nil || out != s {
				t.Errorf("%s: %+v in %q", c.name, found, s)
			}
		}
	}
	for _, s := range []string{
		"sha1 2896a86e40bfd07f567e7c71cc46f2e45a301f28", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
		"24b6e7b1-c1e3-4c4e-8826-2938e25f9bda", "100% of %s", "a &amp; b &lt; c", `\u00e9t\u00e9`, "/usr/share/application-registry/mimeinfo.cache",
	} {
		if out, found := Redact(s); found != nil || out != s {
			t.Errorf("%+v in %q", found, s)
		}
	}
}

// Depth is bounded, and so is the work.
func TestEncodedDepth(t *testing.T) {
	s := awsID
	for range maxDepth + 1 {
		s = base64.StdEncoding.EncodeToString([]byte(s))
	}
	if _, found := Redact(s); found != nil {
		t.Errorf("%+v", found)
	}
	for _, pattern := range []string{"%41", "QUFB", "4142 ", "&#65;", `\u0041`, "\u200b", "a%", "&", "%2541", base64.StdEncoding.EncodeToString([]byte("QUFBQUFBQUFBQUFBQUFBQUFB")) + " ", awsID + " QUFBQUFBQUFBQUFBQUFBQUFBQUFB "} {
		work := func(size int) int {
			c := scanner{text: strings.Repeat(pattern, size/len(pattern))}
			c.scan()
			c.plain = merge(c.seen)
			c.encoded()
			return c.work
		}
		if small, large := work(1<<13), work(1<<16); large > 9*small+1<<12 {
			t.Errorf("%q: 8 times the text took %d instead of %d", pattern, large, small)
		}
	}
}

// FuzzEncoded: a secret that is encoded never survives, whatever stands around it.
func FuzzEncoded(f *testing.F) {
	for i := range coding {
		f.Add("before", "after", uint8(i))
	}
	f.Fuzz(func(t *testing.T, before, after string, n uint8) {
		encoded := coding[int(n)%len(coding)].encode(awsID)
		if strings.Contains(before+after, encoded) {
			return
		}
		s := before + " \n " + encoded + " \n " + after
		if out, _ := Redact(s); strings.Contains(out, encoded) {
			t.Fatalf("%q survives in %q", encoded, out)
		}
		checkRedaction(t, s)
	})
}
