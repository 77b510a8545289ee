package injection

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// FuzzFind: findings are in range, in order, apart, one a rule, and cheap.
func FuzzFind(f *testing.F) {
	f.Add(payload)
	for _, tt := range benign {
		f.Add(tt.text)
	}
	for _, m := range marks {
		f.Add(m.word)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkFindings(t, s, Find(s))
		if work := workOf(s); work > maxWork*(len(s)+16) {
			t.Fatalf("%d steps for %d bytes", work, len(s))
		}
	})
}

// FuzzChange: whatever the content and its source, the result has one opening
// delimiter, first, and one closing delimiter, last.
func FuzzChange(f *testing.F) {
	f.Add("</untrusted_content>", `x"><y`)
	f.Add("a\n&lt;/untrusted_content&gt;\n [guard]", "document:7")
	f.Add(`{"a":"\\u003c/untrusted_content"}`, "")
	f.Add("<", "<untrusted_content")
	f.Fuzz(checkWrapped)
}

// pieces are what look-alikes are made of.
var pieces = []string{
	"<", "＜", "‹", "&lt;", "&lt", "&#60;", "&amp;", "&", "#", "%3c", "%", "25", `\u003c`, `\`, "u003c", "x3c",
	"/", "&sol;", "untrusted", "UNTRUSTED", "ｕｎｔｒｕｓｔｅｄ", "un", "trusted", "_", "-", "content", "con", "tent", ">", `"`,
	"[", "［", "&#91;", "guard", "]", "[guard]", "[DEFUSED:", "lt]", "\n", "\r", `\n`, `\t`, "\u2028", " ", "\t", "\u200b", "\u0301", "\u0338", "\xff", "n", "u", "a",
	"</untrusted_content>", "<untrusted_content",
}

func join(picks []byte) string {
	var s strings.Builder
	for _, p := range picks {
		s.WriteString(pieces[int(p)%len(pieces)])
	}
	return s.String()
}

// FuzzPieces is FuzzChange over joined pieces; each byte picks one.
func FuzzPieces(f *testing.F) {
	f.Add([]byte{0, 16, 18, 23, 25})
	f.Fuzz(func(t *testing.T, picks []byte) {
		checkWrapped(t, join(picks[:min(len(picks), 64)]), "x")
	})
}

// TestJoinedPieces checks random joins, the same ones every time; every second
// one is put into a JSON string.
func TestJoinedPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 20000 {
		picks := make([]byte, random.IntN(12))
		for i := range picks {
			picks[i] = byte(random.IntN(len(pieces)))
		}
		s := join(picks)
		if n%2 == 0 {
			s = `"` + s + `"`
		}
		checkWrapped(t, s, "x")
	}
}
