package command_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/command"
)

const tool = "docs/render_document"

var format = command.Rule{Enum: map[string]string{"words": "words", "lines": "lines", "chars": "chars"}}

func newGuard() *command.Guard {
	return command.New(map[string]map[string]command.Rule{
		tool: {
			"format": format,
			"kind":   {Enum: map[string]string{"w": "words", "L": "lines"}},
		},
	})
}

func arg(name, value string) guards.Arg {
	return guards.Arg{Path: name, Name: name, Value: value}
}

func ExampleCheck() {
	rule := command.Rule{Enum: map[string]string{"words": "-w", "lines": "-l"}}
	option, _ := command.Check("format", "words", rule)
	_, refused := command.Check("format", "words; id", rule)
	fmt.Println(option)
	fmt.Println(refused.Public)
	// Output:
	// -w
	// blocked by command-injection guard: format contains forbidden shell metacharacter ';'
}

func ExampleGuard_Inspect() {
	g := command.New(map[string]map[string]command.Rule{
		"docs/render_document": {"format": {Enum: map[string]string{"w": "words"}}},
	})
	d := g.Inspect(context.Background(), &guards.Call{
		Tool: "docs/render_document",
		Args: []guards.Arg{{Path: "format", Name: "format", Value: "w"}},
	})
	fmt.Println(d.Edits)
	// Output: [{format words}]
}

func TestCheck(t *testing.T) {
	const prefix = "blocked by command-injection guard: "
	meta := func(shown string) string {
		return prefix + "format contains forbidden shell metacharacter " + shown
	}
	const notInList = prefix + "format is not one of chars, lines, words"
	const dash = prefix + "format must not start with a dash"
	tests := []struct {
		name   string
		value  string
		rule   string
		public string
	}{
		{"semicolon", "words; rm -rf ~", command.RuleMetacharacter, meta("';'")},
		{"first of several", "words && id | tee x", command.RuleMetacharacter, meta("'&'")},
		{"pipe", "words|sh", command.RuleMetacharacter, meta("'|'")},
		{"backtick", "`id`", command.RuleMetacharacter, meta("'`'")},
		{"substitution", "$(id)", command.RuleMetacharacter, meta("'$'")},
		{"subshell", "(id)", command.RuleMetacharacter, meta("'('")},
		{"closing parenthesis", "words)", command.RuleMetacharacter, meta("')'")},
		{"input redirection", "words<x", command.RuleMetacharacter, meta("'<'")},
		{"output redirection", "words>x", command.RuleMetacharacter, meta("'>'")},
		{"backslash", `words\`, command.RuleMetacharacter, meta(`'\'`)},
		{"single quote", "words'", command.RuleMetacharacter, meta("'''")},
		{"double quote", `words"`, command.RuleMetacharacter, meta(`'"'`)},
		{"star", "w*", command.RuleMetacharacter, meta("'*'")},
		{"question mark", "word?", command.RuleMetacharacter, meta("'?'")},
		{"bracket", "word[s]", command.RuleMetacharacter, meta("'['")},
		{"closing bracket", "words]", command.RuleMetacharacter, meta("']'")},
		{"brace", "{words,lines}", command.RuleMetacharacter, meta("'{'")},
		{"closing brace", "words}", command.RuleMetacharacter, meta("'}'")},
		{"tilde", "~root", command.RuleMetacharacter, meta("'~'")},
		{"comment", "words #", command.RuleMetacharacter, meta("'#'")},
		{"history", "!words", command.RuleMetacharacter, meta("'!'")},
		{"newline", "words\nid", command.RuleMetacharacter, meta(`'\n'`)},
		{"trailing newline", "words\n", command.RuleMetacharacter, meta(`'\n'`)},
		{"carriage return", "words\r", command.RuleMetacharacter, meta(`'\r'`)},
		{"NUL", "words\x00", command.RuleMetacharacter, meta(`'\x00'`)},
		{"tab", "words\t", command.RuleMetacharacter, meta(`'\t'`)},
		{"escape", "words\x1b[0m", command.RuleMetacharacter, meta(`'\x1b'`)},
		{"delete", "words\x7f", command.RuleMetacharacter, meta(`'\x7f'`)},
		{"C1 control", "words\u0085", command.RuleMetacharacter, meta(`'\u0085'`)},
		{"line separator", "words\u2028id", command.RuleMetacharacter, meta(`'\u2028'`)},
		{"full-width semicolon", "words；id", command.RuleMetacharacter, meta(`'\uff1b'`)},
		{"small semicolon", "words﹔id", command.RuleMetacharacter, meta(`'\ufe54'`)},
		{"Greek question mark", "words\u037eid", command.RuleMetacharacter, meta(`'\u037e'`)},
		{"full-width dollar", "＄(id", command.RuleMetacharacter, meta(`'\uff04'`)},
		{"parenthesised letter", "words⒜", command.RuleMetacharacter, meta(`'\u249c'`)},
		{"metacharacter before dash", "-x;", command.RuleMetacharacter, meta("';'")},
		{"option", "-w", command.RuleLeadingDash, dash},
		{"long option", "--files0-from=/etc/passwd", command.RuleLeadingDash, dash},
		{"full-width dash", "－w", command.RuleLeadingDash, dash},
		{"en dash", "–w", command.RuleLeadingDash, dash},
		{"minus sign", "−w", command.RuleLeadingDash, dash},
		{"other word", "pages", command.RuleNotInList, notInList},
		{"empty", "", command.RuleNotInList, notInList},
		{"other case", "Words", command.RuleNotInList, notInList},
		{"trailing space", "words ", command.RuleNotInList, notInList},
		{"two words", "words lines", command.RuleNotInList, notInList},
		{"full-width word", "ｗｏｒｄｓ", command.RuleNotInList, notInList},
		{"zero-width space", "words\u200b", command.RuleNotInList, notInList},
		{"path", "../../etc/passwd", command.RuleNotInList, notInList},
		{"invalid UTF-8", "words\xff", command.RuleNotInList, notInList},
		{"in the list", "words", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			canonical, b := command.Check("format", tt.value, format)
			if tt.rule == "" {
				if b != nil || canonical != tt.value {
					t.Errorf("got %q, %v", canonical, b)
				}
				return
			}
			if b == nil {
				t.Fatalf("passed as %q", canonical)
			}
			if b.Rule != tt.rule || b.Public != tt.public {
				t.Errorf("got  %s %s\nwant %s %s", b.Rule, b.Public, tt.rule, tt.public)
			}
		})
	}
}

func TestCheckRule(t *testing.T) {
	tests := []struct {
		name  string
		rule  command.Rule
		value string
		want  string // the constant, or empty for a block
	}{
		{"mapped", command.Rule{Enum: map[string]string{"words": "-w"}}, "words", "-w"},
		{"zero rule admits nothing", command.Rule{}, "words", ""},
		{"key with a metacharacter", command.Rule{Enum: map[string]string{"a;b": "x"}}, "a;b", ""},
		{"key with a dash", command.Rule{Enum: map[string]string{"-a": "x"}}, "-a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, b := command.Check("format", tt.value, tt.rule)
			if got != tt.want || (b == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, b, tt.want)
			}
		})
	}
}

func TestInspect(t *testing.T) {
	tests := []struct {
		name string
		tool string
		args []guards.Arg
		rule string
	}{
		{"no arguments", tool, nil, ""},
		{"absent", tool, []guards.Arg{arg("id", "7; rm")}, ""},
		{"allowed", tool, []guards.Arg{arg("id", "7"), arg("format", "words")}, ""},
		{"other tool", "docs/other", []guards.Arg{arg("format", "x;y")}, ""},
		{"nested namesake", tool, []guards.Arg{{Path: "o", Name: "o", Kind: guards.Object}, {Path: "o.format", Name: "format", Value: "x;y"}}, ""},
		{"similar name", tool, []guards.Arg{arg("formats", "x;y")}, ""},
		{"metacharacter", tool, []guards.Arg{arg("format", "words;")}, command.RuleMetacharacter},
		{"second binding", tool, []guards.Arg{arg("format", "words"), arg("kind", "words")}, command.RuleNotInList},
		{"number", tool, []guards.Arg{{Path: "format", Name: "format", Kind: guards.Number, Value: "1"}}, command.RuleWrongType},
		{"bool", tool, []guards.Arg{{Path: "format", Name: "format", Kind: guards.Bool, Value: "true"}}, command.RuleWrongType},
		{"null", tool, []guards.Arg{{Path: "format", Name: "format", Kind: guards.Null, Value: "null"}}, command.RuleWrongType},
		{"object", tool, []guards.Arg{{Path: "format", Name: "format", Kind: guards.Object}, {Path: "format.a", Name: "a", Value: "words"}}, command.RuleWrongType},
		{"array", tool, []guards.Arg{{Path: "format", Name: "format", Kind: guards.Array}, {Path: "format[0]", Name: "format", Value: "words"}}, command.RuleWrongType},
		{"capital", tool, []guards.Arg{arg("format", "words"), arg("Format", "x;y")}, command.RuleAmbiguous},
		{"capital alone", tool, []guards.Arg{arg("FORMAT", "words")}, command.RuleAmbiguous},
		{"Kelvin sign", tool, []guards.Arg{arg("\u212aind", "w")}, command.RuleAmbiguous},
		{"trailing NUL", tool, []guards.Arg{arg("format\x00", "words")}, command.RuleAmbiguous},
		{"text after NUL", tool, []guards.Arg{arg("format\x00x", "words")}, command.RuleAmbiguous},
		{"trailing space", tool, []guards.Arg{arg("format ", "words")}, command.RuleAmbiguous},
		{"leading tab", tool, []guards.Arg{arg("\tformat", "words")}, command.RuleAmbiguous},
		{"zero-width space", tool, []guards.Arg{arg("for\u200bmat", "words")}, command.RuleAmbiguous},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.args)
			d := newGuard().Inspect(t.Context(), &guards.Call{Tool: tt.tool, Args: tt.args})
			assertRule(t, d, tt.rule)
			if !slices.Equal(before, tt.args) {
				t.Error("the call was changed")
			}
		})
	}
}

// assertRule checks that d blocks with rule (empty: passes), names it in one
// finding, and edits nothing when it blocks.
func assertRule(t *testing.T, d guards.Decision, rule string) {
	t.Helper()
	if rule == "" {
		if d.Block != nil || d.Findings != nil {
			t.Fatalf("got %+v, %v; want no objection", d.Block, d.Findings)
		}
		return
	}
	if d.Block == nil {
		t.Fatalf("passed, want %s", rule)
	}
	if d.Block.Rule != rule || len(d.Findings) != 1 || d.Findings[0].Rule != rule || d.Findings[0].Label != "command:"+rule {
		t.Errorf("got %+v, %+v; want %s", d.Block, d.Findings, rule)
	}
	if d.Edits != nil {
		t.Errorf("blocked and edits: %v", d.Edits)
	}
}

func TestInspectReplacesByConstant(t *testing.T) {
	d := newGuard().Inspect(t.Context(), &guards.Call{Tool: tool, Args: []guards.Arg{
		arg("format", "lines"), // is its own constant
		arg("kind", "L"),
	}})
	if want := []guards.Edit{{Name: "kind", Value: "lines"}}; d.Block != nil || !slices.Equal(d.Edits, want) {
		t.Errorf("got %v, %v; want %v", d.Block, d.Edits, want)
	}
}

// TestUnicodeLookalikes covers every character, so that a new Unicode version
// in x/text cannot open a gap.
func TestUnicodeLookalikes(t *testing.T) {
	const set = ";&|`$()<>\\'\"*?[]{}~#!\n\r\x00"
	for c := rune(0); c <= 0x10ffff; c++ {
		if !strings.ContainsAny(norm.NFKC.String(string(c)), set) {
			continue
		}
		if _, b := command.Check("format", "words"+string(c), format); b == nil || b.Rule != command.RuleMetacharacter {
			t.Errorf("%U: got %+v", c, b)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"words", "lines", "words; id", "-w", "words\n", "＄(id)", "\x00", "–x", "wor\u0338ds"} {
		f.Add(s)
	}
	rule := command.Rule{Enum: map[string]string{"words": "-w", "lines": "-l", "a b": "--ab"}}
	constants := []string{"-w", "-l", "--ab"}
	f.Fuzz(func(t *testing.T, value string) {
		canonical, b := command.Check("format", value, rule)
		if b != nil {
			if canonical != "" || b.Rule == "" {
				t.Fatalf("block %+v with value %q", b, canonical)
			}
			if len(value) > 12 && strings.Contains(b.Public, value) {
				t.Fatalf("the refusal echoes the value: %q", b.Public)
			}
			return
		}
		if !slices.Contains(constants, canonical) {
			t.Fatalf("%q became %q, which is no constant", value, canonical)
		}
		if strings.ContainsAny(norm.NFKC.String(value), ";&|`$()<>\\'\"*?[]{}~#!\n\r\x00") {
			t.Fatalf("%q passed", value)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	g := newGuard()
	for name, call := range map[string]*guards.Call{
		"allowed": {Tool: tool, Args: []guards.Arg{arg("id", "7"), arg("format", "words")}},
		"blocked": {Tool: tool, Args: []guards.Arg{arg("id", "7"), arg("format", "words; rm -rf ~")}},
		"unbound": {Tool: "docs/other", Args: []guards.Arg{arg("id", "7"), arg("format", "words")}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Inspect(context.Background(), call)
			}
		})
	}
}
