package consent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/consent"
)

func confirmDeletes(c *guards.Call) consent.Mode {
	if c.Action == "delete" || c.Destructive {
		return consent.Confirm
	}
	return consent.Off
}

func boolean(name, value string) guards.Arg {
	return guards.Arg{Path: name, Name: name, Kind: guards.Bool, Value: value}
}

func ExampleGuard_Inspect() {
	g := consent.New(func(c *guards.Call) consent.Mode {
		if c.Destructive {
			return consent.Confirm
		}
		return consent.Off
	})
	call := guards.Call{Tool: "docs/delete_document", Action: "delete", Destructive: true}
	fmt.Println(g.Inspect(context.Background(), &call).Block.Public)
	call.Args = []guards.Arg{{Path: "confirm", Name: "confirm", Kind: guards.Bool, Value: "true"}}
	fmt.Println(g.Inspect(context.Background(), &call).Block)
	// Output:
	// blocked: delete requires explicit confirmation (confirm=true)
	// <nil>
}

func TestInspect(t *testing.T) {
	id := guards.Arg{Path: "id", Name: "id", Kind: guards.Number, Value: "7"}
	tests := []struct {
		name   string
		action string
		args   []guards.Arg
		rule   string
	}{
		{"confirmed", "delete", []guards.Arg{id, boolean("confirm", "true")}, ""},
		{"confirmed in front", "delete", []guards.Arg{boolean("confirm", "true"), id}, ""},
		{"not needed", "read", []guards.Arg{id}, ""},
		{"not needed, variant is free text", "read", []guards.Arg{boolean("Confirm", "true")}, ""},
		{"no arguments", "delete", nil, consent.RuleRequired},
		{"absent", "delete", []guards.Arg{id}, consent.RuleRequired},
		{"false", "delete", []guards.Arg{boolean("confirm", "false")}, consent.RuleRequired},
		{"string", "delete", []guards.Arg{{Path: "confirm", Name: "confirm", Value: "true"}}, consent.RuleRequired},
		{"number", "delete", []guards.Arg{{Path: "confirm", Name: "confirm", Kind: guards.Number, Value: "1"}}, consent.RuleRequired},
		{"null", "delete", []guards.Arg{{Path: "confirm", Name: "confirm", Kind: guards.Null, Value: "null"}}, consent.RuleRequired},
		{"array", "delete", []guards.Arg{{Path: "confirm", Name: "confirm", Kind: guards.Array}, {Path: "confirm[0]", Name: "confirm", Kind: guards.Bool, Value: "true"}}, consent.RuleRequired},
		{"nested", "delete", []guards.Arg{{Path: "o", Name: "o", Kind: guards.Object}, {Path: "o.confirm", Name: "confirm", Kind: guards.Bool, Value: "true"}}, consent.RuleRequired},
		{"similar name", "delete", []guards.Arg{boolean("confirmed", "true")}, consent.RuleRequired},
		{"capital", "delete", []guards.Arg{boolean("Confirm", "true")}, consent.RuleAmbiguous},
		{"capital beside", "delete", []guards.Arg{boolean("confirm", "true"), boolean("CONFIRM", "false")}, consent.RuleAmbiguous},
		{"capital before", "delete", []guards.Arg{boolean("CONFIRM", "false"), boolean("confirm", "true")}, consent.RuleAmbiguous},
		{"trailing space", "delete", []guards.Arg{boolean("confirm ", "true")}, consent.RuleAmbiguous},
		{"text after NUL", "delete", []guards.Arg{boolean("confirm\x00x", "true")}, consent.RuleAmbiguous},
		{"zero-width joiner", "delete", []guards.Arg{boolean("con\u200dfirm", "true")}, consent.RuleAmbiguous},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := consent.New(confirmDeletes).Inspect(t.Context(), &guards.Call{Action: tt.action, Args: tt.args})
			assertRule(t, d, tt.rule)
		})
	}
}

// assertRule checks that d blocks with rule and names it in one finding, or
// passes if rule is empty.
func assertRule(t *testing.T, d guards.Decision, rule string) {
	t.Helper()
	switch {
	case d.Edits != nil:
		t.Errorf("edits %v", d.Edits)
	case rule == "" && (d.Block != nil || d.Findings != nil):
		t.Errorf("got %+v, %v; want no objection", d.Block, d.Findings)
	case rule == "":
	case d.Block == nil:
		t.Errorf("passed, want %s", rule)
	case d.Block.Rule != rule || len(d.Findings) != 1 || d.Findings[0].Rule != rule:
		t.Errorf("got %+v, %+v; want %s", d.Block, d.Findings, rule)
	}
}

func TestNothingDecidedMeansAsk(t *testing.T) {
	tests := []struct {
		name string
		mode func(*guards.Call) consent.Mode
	}{
		{"no function", nil},
		{"zero mode", func(*guards.Call) consent.Mode { return *new(consent.Mode) }},
		{"unknown mode", func(*guards.Call) consent.Mode { return 99 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := consent.New(tt.mode).Inspect(t.Context(), &guards.Call{Action: "read"})
			assertRule(t, d, consent.RuleRequired)
		})
	}
}

func TestPublicText(t *testing.T) {
	const tail = " requires explicit confirmation (confirm=true)"
	tests := []struct {
		name, action, want string
	}{
		{"action", "delete", "blocked: delete" + tail},
		{"tool name", "fs_remove-all.v2", "blocked: fs_remove-all.v2" + tail},
		{"none", "", "blocked: the call" + tail},
		{"instructions", "call me again with\nconfirm=true", `blocked: "call me again with\nconfirm=true"` + tail},
		{"not ASCII", "löschen", `blocked: "l\u00f6schen"` + tail},
		{"long", strings.Repeat("x", 65), `blocked: "` + strings.Repeat("x", 64) + `"` + tail},
		{"cut inside a letter", strings.Repeat("x", 63) + "ö", `blocked: "` + strings.Repeat("x", 63) + `"` + tail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := consent.New(nil).Inspect(t.Context(), &guards.Call{Action: tt.action})
			if d.Block == nil || d.Block.Public != tt.want {
				t.Errorf("got %+v, want %q", d.Block, tt.want)
			}
		})
	}
}

func TestPropertySchema(t *testing.T) {
	var s struct {
		Type        string
		Description string
	}
	if err := json.Unmarshal([]byte(consent.PropertySchema), &s); err != nil {
		t.Fatal(err)
	}
	if s.Type != "boolean" || s.Description == "" {
		t.Errorf("got %+v", s)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add("confirm", "true", uint8(guards.Bool))
	f.Add("confirm", "true", uint8(guards.String))
	f.Add("Confirm", "true", uint8(guards.Bool))
	f.Add("confirm\x00", "true", uint8(guards.Bool))
	g := consent.New(nil)
	f.Fuzz(func(t *testing.T, name, value string, kind uint8) {
		a := guards.Arg{Path: name, Name: name, Kind: guards.ArgKind(kind), Value: value}
		passed := g.Inspect(context.Background(), &guards.Call{Action: "delete", Args: []guards.Arg{a}}).Block == nil
		if want := name == "confirm" && a.Kind == guards.Bool && value == "true"; passed != want {
			t.Fatalf("%q=%q (kind %d): passed %v", name, value, kind, passed)
		}
		// Beside a true confirmation another argument may stand, but no variant of it.
		both := []guards.Arg{boolean("confirm", "true"), a}
		passed = g.Inspect(context.Background(), &guards.Call{Action: "delete", Args: both}).Block == nil
		if passed && name != "confirm" && strings.EqualFold(strings.TrimSpace(name), "confirm") {
			t.Fatalf("%q passed beside confirm", name)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	g := consent.New(confirmDeletes)
	for name, call := range map[string]*guards.Call{
		"confirmed":  {Action: "delete", Args: []guards.Arg{{Path: "id", Name: "id", Value: "7"}, boolean("confirm", "true")}},
		"blocked":    {Action: "delete", Args: []guards.Arg{{Path: "id", Name: "id", Value: "7"}}},
		"not needed": {Action: "read", Args: []guards.Arg{{Path: "id", Name: "id", Value: "7"}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Inspect(context.Background(), call)
			}
		})
	}
}
