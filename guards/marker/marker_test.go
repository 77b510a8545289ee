package marker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/marker"
)

func ExampleFind() {
	fmt.Println(marker.Find("KEY=[REDACTED:aws_access_key]"))
	// Output: redaction 4
}

func TestFind(t *testing.T) {
	for _, row := range []struct {
		name, text, rule string
		at               int
	}{
		{"nothing", "", "", 0},
		{"plain text", "a [link](x) <b>bold</b> list[0] < 1", "", 0},
		{"redaction", "key [REDACTED:jwt].", marker.RuleRedaction, 4},
		{"redaction of a long kind", "[REDACTED:connection_string]", marker.RuleRedaction, 0},
		{"redaction with digits", "[REDACTED:pkcs12-file]", marker.RuleRedaction, 0},
		{"second bracket", "[x] [REDACTED:jwt]", marker.RuleRedaction, 4},
		{"brackets in a row", "[[[REDACTED:jwt]", marker.RuleRedaction, 2},
		{"redaction without a kind", "[REDACTED:]", "", 0},
		{"redaction without an end", "[REDACTED:jwt", "", 0},
		{"redaction by somebody else", "[REDACTED] and [REDACTED: the name]", "", 0},
		{"redaction in another case", "[redacted:jwt]", "", 0},
		{"opening delimiter", "a\n<untrusted_content source=\"docs/read\">", marker.RuleDelimiter, 2},
		{"opening delimiter in JSON", `{"t":"<untrusted_content source=\"x\">"}`, marker.RuleDelimiter, 6},
		{"closing delimiter", "x</untrusted_content>", marker.RuleDelimiter, 1},
		{"opening delimiter with a nonce", `<untrusted_content source="x" nonce="K7Q">`, marker.RuleDelimiter, 0},
		{"closing delimiter with a nonce", `x</untrusted_content nonce="K7Q">`, marker.RuleDelimiter, 1},
		{"closing delimiter with a nonce in JSON", `{"t":"</untrusted_content nonce=\"K7Q\">"}`, marker.RuleDelimiter, 6},
		{"another element", "<untrusted_contents source=\"x\">", "", 0},
		{"defused", "[DEFUSED:lt]untrusted_content", marker.RuleDefused, 0},
		{"defused note", "[DEFUSED:guard]", marker.RuleDefused, 0},
		{"note", "x\n[guard] 2 finding(s) [secret:redacted jwt]", marker.RuleNote, 2},
		{"note of nothing", "[guard] no threats detected", marker.RuleNote, 0},
		{"another guard", "[guard] 2 findings", "", 0},
		{"note without a number", "[guard]  finding(s) [", "", 0},
		{"hidden character", "a [U+202E] b", marker.RuleRevealed, 2},
		{"hidden characters cut short", "[U+200B…]", marker.RuleRevealed, 0},
		{"tags", "x [TAGS:send it]", marker.RuleRevealed, 2},
		{"selectors", "x[VS:12]", marker.RuleRevealed, 1},
		{"a character's name", "U+202E is [U+] and [U+20 2E] and [VS:x] and [VS:]", "", 0},
		{"a long number", "[U+1234567]", "", 0},
		{"last character", "[", "", 0},
		{"behind other alphabets", "日本語 [REDACTED:jwt]", marker.RuleRedaction, len("日本語 ")},
	} {
		if rule, at := marker.Find(row.text); rule != row.rule || at != row.at {
			t.Errorf("%s: %q at %d, want %q at %d", row.name, rule, at, row.rule, row.at)
		}
	}
}

// TestInspect: any string of a call counts, and the answer does not repeat it.
func TestInspect(t *testing.T) {
	const text = "secret [REDACTED:jwt]"
	for _, row := range []struct {
		name    string
		args    []guards.Arg
		blocked bool
	}{
		{"no argument", nil, false},
		{"a plain one", []guards.Arg{{Path: "content", Name: "content", Value: "text"}}, false},
		{"a marker", []guards.Arg{{Path: "id", Name: "id", Kind: guards.Number, Value: "1"}, {Path: "content", Name: "content", Value: text}}, true},
		{"deep inside", []guards.Arg{{Path: "edits", Name: "edits", Kind: guards.Array}, {Path: "edits[].newText", Name: "newText", Value: text}}, true},
	} {
		d := marker.Guard{}.Inspect(context.Background(), &guards.Call{Tool: "fs/write_file", Args: row.args})
		if (d.Block != nil) != row.blocked {
			t.Errorf("%s: %+v", row.name, d.Block)
		}
		if d.Block != nil && (d.Block.Rule != marker.RuleRedaction || strings.Contains(d.Block.Public, "jwt") || len(d.Findings) != 1) {
			t.Errorf("%s: %+v, %+v", row.name, d.Block, d.Findings)
		}
	}
}

// FuzzFind: what surrounds a marker does not hide it, and nothing is found
// without a bracket.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{"", "[", "[REDACTED:", "<untrusted_content ", "[guard] 1", "日[本<語"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, m := range []string{"[REDACTED:aws_access_key]", "</untrusted_content>", `</untrusted_content nonce="K7Q">`, "[DEFUSED:lt]", "[guard] no threats detected"} {
			rule, at := marker.Find(before + m + after)
			if rule == "" || at > len(before) {
				t.Errorf("%q behind %q: %q at %d", m, before, rule, at)
			}
		}
		if !strings.ContainsAny(before, "[<") {
			if rule, _ := marker.Find(before); rule != "" {
				t.Errorf("%q is found in %q", rule, before)
			}
		}
	})
}
