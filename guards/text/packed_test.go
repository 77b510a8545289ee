package text

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

const sentence = "The key lies under the third stone, they say."

func TestUnpack(t *testing.T) {
	std, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	for _, row := range []struct{ name, run, want string }{
		{"Base64", std([]byte(sentence)), sentence},
		{"without padding", strings.TrimRight(std([]byte(sentence)), "="), sentence},
		{"for URLs", url([]byte("~~~???>>> " + sentence)), "~~~???>>> " + sentence},
		{"behind a name", "payload=" + std([]byte(sentence)), sentence},
		{"in a path", "data/" + url([]byte(sentence)), sentence},
		{"hexadecimal", hex.EncodeToString([]byte(sentence)), sentence},
		{"hexadecimal in capitals", strings.ToUpper(hex.EncodeToString([]byte(sentence))), sentence},
		{"pairs apart", fmt.Sprintf("% x", sentence), sentence},
		{"hexadecimal behind a name", "payload=" + hex.EncodeToString([]byte(sentence)), sentence},
		{"with a NUL", std([]byte(sentence + "\x00" + sentence)), sentence + "\x00" + sentence},
		{"another script", std([]byte("Ключ лежит под третьим камнем")), "Ключ лежит под третьим камнем"},
		{"a digest", "2896a86e40bfd07f567e7c71cc46f2e45a301f28", ""},
		{"an identifier", "24b6e7b1-c1e3-4c4e-8826-2938e25f9bda", ""},
		{"a picture", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk", ""},
		{"a name", "application_registry_mimeinfo_cache", ""},
		{"short", "QUJD", ""},
		{"padding alone", strings.Repeat("=", 40), ""},
		{"nothing", "", ""},
	} {
		if got := Unpack(row.run); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		if row.want == "" {
			if n := testing.AllocsPerRun(10, func() { Unpack(row.run) }); n > 0 {
				t.Errorf("%s: %v allocations", row.name, n)
			}
		}
	}
}

func TestNextPacked(t *testing.T) {
	long := strings.Repeat("QUJD", 16) // a full line
	for _, row := range []struct {
		name, text string
		want       []string
	}{
		{"none", "a quiet river runs down from hills", nil},
		{"two", "x " + long[:20] + ", " + long[:24] + ".", []string{long[:20], long[:24]}},
		{"too short", long[:19], nil},
		{"wrapped", "x: " + long + "\n" + long + "\r\nQUJD\nnot this.", []string{long + "\n" + long + "\r\nQUJD"}},
		{"padding in the last line", "x: " + long + "\nQUI=, and so on", []string{long + "\nQUI="}},
		{"padding ends it", long + "==\n" + long, []string{long + "==", long}},
		{"a word behind hexadecimal", strings.Repeat("41", 32) + "\nline\n", []string{strings.Repeat("41", 32)}},
		{"a word behind it", long + "\nand so on", []string{long}},
	} {
		var got []string
		for start, end := NextPacked(row.text, 0); start >= 0; start, end = NextPacked(row.text, end) {
			got = append(got, row.text[start:end])
		}
		if strings.Join(got, "|") != strings.Join(row.want, "|") {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// plainly is where NextPacked has to begin, byte by byte.
func plainly(s string, from int) int {
	for start := from; start < len(s); start++ {
		end := start
		for end < len(s) && packing[s[end]] != 0 {
			end++
		}
		if end-start >= ShortestPacked {
			return start
		}
		start = end
	}
	return -1
}

// FuzzPacked: no run is passed over, runs are apart and in order, and what they say is no
// longer than they are.
func FuzzPacked(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString([]byte(sentence)) + "\n" + hex.EncodeToString([]byte(sentence)))
	f.Add(strings.Repeat("QUJD", 16) + "\r\n\r\nQUJD==\n")
	f.Fuzz(func(t *testing.T, s string) {
		if start, _ := NextPacked(s, 0); start != plainly(s, 0) {
			t.Fatalf("the first run begins at %d, want %d", start, plainly(s, 0))
		}
		for start, end := NextPacked(s, 0); start >= 0; {
			if text := Unpack(s[start:end]); len(text) > end-start {
				t.Fatalf("%d bytes of %d", len(text), end-start)
			}
			from := end
			if start, end = NextPacked(s, from); start >= 0 && (start < from || end-start < ShortestPacked) {
				t.Fatalf("%d:%d behind %d", start, end, from)
			}
		}
	})
}
