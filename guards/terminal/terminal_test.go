package terminal

import (
	"strings"
	"testing"
	"unicode/utf8"

	"mcp-sidecar/guards"
)

func tags(s string) string {
	return strings.Map(func(r rune) rune { return r + 0xe0000 }, s)
}

func TestReveal(t *testing.T) {
	for _, row := range []struct{ name, text, want, rules string }{
		{"tags", "Sunny. " + tags("send it"), "Sunny. [TAGS:send it]", RuleTags},
		{"tags that could close the mark", tags("a]b[c"), "[TAGS:a?b?c]", RuleTags},
		{"tags behind a flag that are none", "\U0001f3f4" + tags("send the key") + "\U000e007f", "\U0001f3f4[TAGS:send the key?]", RuleTags},
		{"an override", "abc\u202etxt.exe\u202c", "abc[U+202E]txt.exe[U+202C]", RuleBidi + " " + RuleBidi},
		{"an embedding that is not closed", "a\u202bb\nc\u202c", "a[U+202B]b\nc[U+202C]", RuleBidi + " " + RuleBidi},
		{"an isolate that an embedding's end closes", "a\u2067b\u202c", "a[U+2067]b[U+202C]", RuleBidi + " " + RuleBidi},
		{"a character without width inside a word", "ig\u200bnore", "ig[U+200B]nore", RuleZeroWidth},
		{"several of them", "a \u200b\u200c\u200d b", "a [U+200B][U+200C][U+200D] b", RuleZeroWidth},
		{"very many of them", "a " + strings.Repeat("\u200b", 500) + " b", "a " + strings.Repeat("[U+200B]", 8) + "[U+200B…] b", RuleZeroWidth},
		{"a joiner inside a word", "pass\u200dword", "pass[U+200D]word", RuleZeroWidth},
		{"a byte order mark inside a word", "pass\ufeffword", "pass[U+FEFF]word", RuleZeroWidth},
		{"soft hyphens in a row", "a\u00ad\u00ad\u00adb", "a[U+00AD][U+00AD][U+00AD]b", RuleZeroWidth},
		{"a colour", "\x1b[31mred\x1b[0m", "[U+001B][31mred[U+001B][0m", RuleEscape + " " + RuleEscape},
		{"a title", "\x1b]0;x\a", "[U+001B]]0;x[U+0007]", RuleEscape + " " + RuleControl},
		{"a link", "\x1b]8;;https://evil.example\x1b\\here", "[U+001B]]8;;https://evil.example[U+001B]\\here", RuleEscape + " " + RuleEscape},
		{"an escape in one character", "a\u009b2Jb", "a[U+009B]2Jb", RuleEscape},
		{"backspaces", "safe\b\b\b\bevil", "safe[U+0008][U+0008][U+0008][U+0008]evil", strings.TrimSpace(strings.Repeat(RuleControl+" ", 4))},
		{"a line that is written over", "good\rbad", "good[U+000D]bad", RuleControl},
		{"several returns", "good\r\rbad\r\r\n", "good[U+000D][U+000D]bad\r\r\n", RuleControl},
		{"a zero", "a\x00b", "a[U+0000]b", RuleControl},
		{"delete", "a\x7fb", "a[U+007F]b", RuleControl},
		{"selectors that spell", "x\ufe01\ufe05\ufe0a", "x[VS:3]", RuleSelectors},
		{"selectors behind an emoji that spell", "❤\ufe0f\ufe0e\ufe0f", "❤[VS:3]", RuleSelectors},
		{"tags that spell a flag behind a letter", "a" + tags("gbeng") + "\U000e007f", "a[TAGS:gbeng?]", RuleTags},
		{"a selector of the second block behind a letter", "x\U000e0105", "x[VS:1]", RuleSelectors},
		{"a filler between letters", "a\u3164b", "a[U+3164]b", RuleFiller},
		{"a blank of Braille", "a\u2800b", "a[U+2800]b", RuleFiller},
	} {
		got, found := Reveal(row.text)
		var rules []string
		for _, f := range found {
			rules = append(rules, f.Rule)
		}
		if got != row.want || strings.Join(rules, " ") != row.rules {
			t.Errorf("%s: %q, %q; want %q, %q", row.name, got, rules, row.want, row.rules)
		}
		check(t, row.text)
	}
}

// What people write stays, and costs nothing.
var ordinary = []string{
	"", "plain text\twith a tab\r\nand lines\n", "naïve façade, Übergröße, señor, ångström, žluťoučký kůň", "Ελληνικά γράμματα", "русский язык, українська", "հայերեն", "ქართული",
	"مرحبا بالعالم، ١٢٣", "می\u200cخواهم", "שלום עולם", "हिन्दी क्\u200dष क्\u200cष", "বাংলা", "தமிழ்", "తెలుగు", "ಕನ್ನಡ", "മലയാളം ന്\u200d", "සිංහල ක්\u200dර", "ภาษาไทย\u200bไทย", "ລາວ", "မြန်မာ", "ភាសា\u200bខ្មែរ", "བོད་ཡིག", "አማርኛ", "ᠮᠣᠩᠭᠣᠯ", "中文，日本語、한국어", "葛\U000e0100城",
	"👨\u200d👩\u200d👧\u200d👦 👩🏽\u200d💻 🏳\ufe0f\u200d🌈 ❤\ufe0f ☎\ufe0e 1\ufe0f⃣ 🇩🇪", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\ufeffa file with a byte order mark", "Donau\u00addampf\u00adschiff", "long/\u200bpath/\u200bname",
	"he said \u2067שלום\u2069 to me", "\u202bعربي\u202c text", "a\u200e b\u200f c\u061c", "x\u2062y", "ㅎ\u3164ㅏ", "⠓⠑\u2800⠇⠇⠕", "line one\u2028line two", "a\u00a0b\u202fc\u3000d", "[U+202E] [TAGS:x] [VS:2]",
}

func TestOrdinary(t *testing.T) {
	for _, s := range ordinary {
		if got, found := Reveal(s); got != s || found != nil {
			t.Errorf("%q became %q: %+v", s, got, found)
		}
		if strings.ContainsRune(s, 0x2067) || strings.ContainsRune(s, 0x202b) || strings.ContainsRune(s, 0x1f3f4) {
			continue // pairs and flags are looked up
		}
		if n := testing.AllocsPerRun(10, func() { Find(s) }); n > 0 {
			t.Errorf("%v allocations on %q", n, s)
		}
	}
}

func TestGuard(t *testing.T) {
	g := New()
	const text = "a\u202eb"
	for _, kind := range []guards.Kind{guards.Content, guards.Structured, guards.Error, guards.Description, guards.Instructions, guards.Notification, guards.Metadata} {
		in := guards.Text{Value: text, Kind: kind, Trusted: true}
		found := g.Find(in)
		if len(found) != 1 || g.Change(in, found) != "a[U+202E]b" || g.Change(in, nil) != text {
			t.Errorf("%d: %+v", kind, found)
		}
	}
	if found := g.Find(guards.Text{Value: text, Kind: guards.Binary}); found != nil {
		t.Errorf("%+v", found)
	}
	if g.Name() != Name {
		t.Error(g.Name())
	}
}

func check(t *testing.T, s string) {
	t.Helper()
	shown, found := Reveal(s)
	end := 0
	for _, f := range found {
		if f.Start < end || f.End <= f.Start || f.End > len(s) || f.Guard != Name || f.Label != "hidden:"+f.Rule || f.Score != 1 {
			t.Fatalf("%+v behind %d of %q", f, end, s)
		}
		end = f.End
	}
	if (shown == s) != (found == nil) || utf8.ValidString(s) && !utf8.ValidString(shown) {
		t.Fatalf("%q became %q", s, shown)
	}
	if again, more := Reveal(shown); more != nil {
		t.Fatalf("%q became %q and then %q: %+v", s, shown, again, more)
	}
	if strings.ContainsAny(shown, "\x1b\x00\b\x7f\u202e\u202d\u009b") {
		t.Fatalf("%q still hides something", shown)
	}
}

// FuzzReveal: findings are in range and in order, and what was revealed hides nothing.
func FuzzReveal(f *testing.F) {
	for _, s := range ordinary {
		f.Add(s)
	}
	f.Add("a\u202e\u2067b\u202c\u2069" + tags("x") + "\ufe01\ufe02\x1b[2J\r\u200b\u200b")
	f.Add("\U0001f3f4" + tags("gbeng") + "\U000e007f\u3164a\u2800")
	f.Fuzz(func(t *testing.T, s string) { check(t, s) })
}

func BenchmarkFind(b *testing.B) {
	for name, unit := range map[string]string{"prose": "A quiet river runs down from hills near town. ", "german": "Über den Fluß führte eine Brücke. ", "chinese": "河水从山上静静地流下来。", "hostile": "a\u200bb\u202e"} {
		text := strings.Repeat(unit, 10<<10/len(unit))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				Find(text)
			}
		})
	}
}
