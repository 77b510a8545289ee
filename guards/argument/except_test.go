package argument_test

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/argument"
)

// What a rule lets be, the rules behind it and the other arguments are held to all the same.
func TestExcept(t *testing.T) {
	rules := map[string]map[string]argument.Rule{"docs/read": {
		"path":  {Pattern: argument.MustPattern("[a-z/]+"), Prefixes: []string{"/a/"}, Length: 8},
		"limit": {Max: big.NewRat(10, 1)},
		"name":  {Required: true},
	}}
	str := func(name, value string) guards.Arg { return guards.Arg{Path: name, Name: name, Value: value} }
	num := func(name, value string) guards.Arg {
		return guards.Arg{Path: name, Name: name, Value: value, Kind: guards.Number}
	}
	for _, row := range []struct {
		name     string
		args     []guards.Arg
		excepted string
		want     string
		used     string
	}{
		{"nothing amiss", []guards.Arg{str("path", "/a/b"), num("limit", "1"), str("name", "n")}, "pattern prefix length range required", "", ""},
		{"pattern", []guards.Arg{str("path", "/a/B"), str("name", "n")}, "pattern", "", "pattern"},
		{"pattern, and out of the folder", []guards.Arg{str("path", "/b/B"), str("name", "n")}, "pattern", "prefix", "pattern"},
		{"length, and out of the folder", []guards.Arg{str("path", "/b/bbbbbbbb"), str("name", "n")}, "length", "prefix", "length"},
		{"prefix of one, range of another", []guards.Arg{str("path", "/b"), num("limit", "11"), str("name", "n")}, "prefix", "range", "prefix"},
		{"range", []guards.Arg{num("limit", "11"), str("name", "n")}, "range", "", "range"},
		{"range, no number", []guards.Arg{str("limit", "11"), str("name", "n")}, "range", "wrong-type", ""},
		{"required", nil, "required", "", "required"},
		{"another spelling", []guards.Arg{str("Path", "/b"), str("name", "n")}, "prefix", "ambiguous-argument", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var used []string
			d := argument.New(rules).Inspect(t.Context(), &guards.Call{Tool: "docs/read", Args: row.args, Except: func(rule string) bool {
				if slices.Contains(strings.Fields(row.excepted), rule) {
					used = append(used, rule)
					return true
				}
				return false
			}})
			got := ""
			if d.Block != nil {
				got = d.Block.Rule
			}
			if got != row.want || strings.Join(used, " ") != row.used {
				t.Errorf("refused by %q, want %q; excepted %q, want %q", got, row.want, used, row.used)
			}
		})
	}
}
