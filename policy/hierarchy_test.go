package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestHierarchy(t *testing.T) {
	h := NewHierarchy(map[string][]string{
		"admin":           {"documents:*", "audit"},
		"documents:write": {"documents:read", "documents:list"},
		"drive":           {"drive.readonly"},
		"drive.readonly":  {"drive.metadata"},
		"one":             {"other"},
		"other":           {"one", "third"},
		"owner":           {"staff:*"},
		"staff:lead":      {"rota"},
	})
	for _, row := range []struct{ name, have, need, want string }{
		{"exact", "audit", "audit", ""},
		{"included", "documents:write", "documents:list documents:read", ""},
		{"not the other way round", "documents:read", "documents:write", "documents:write"},
		{"by wildcard that is included", "admin", "documents:delete audit", ""},
		{"wildcard that is included covers one level", "admin", "documents:a:b", "documents:a:b"},
		{"wildcard that is held includes too", "documents:*", "documents:read", ""},
		{"through another", "drive", "drive.metadata", ""},
		{"through a wildcard", "owner", "rota", ""},
		{"wildcard of a broader one", "staff:*", "rota", ""},
		{"in a circle", "one", "third other one", ""},
		{"in a circle, from the other side", "other", "one third", ""},
		{"out of a circle", "third", "one", "one"},
		{"only what is missing", "documents:write", "documents:read audit documents:delete", "audit documents:delete"},
		{"a broader one that is unknown", "superuser", "audit", "audit"},
		{"nothing held", "", "audit", "audit"},
		{"upper case", "ADMIN", "audit", "audit"},
	} {
		if got := h.Missing(strings.Fields(row.have), strings.Fields(row.need)); !slices.Equal(got, strings.Fields(row.want)) {
			t.Errorf("%s: missing %q, want %q", row.name, got, row.want)
		}
	}
	if got := h.Missing([]string{"admin"}, []string{""}); len(got) != 1 {
		t.Errorf("an empty requirement is met: %q", got)
	}
}

// FuzzHierarchy: who holds more never lacks more, and including nothing is as having
// no hierarchy.
func FuzzHierarchy(f *testing.F) {
	f.Add("a b", "c", "a", "c d")
	f.Add("x:*", "y z", "x:q", "y:* z")
	f.Fuzz(func(t *testing.T, haveText, needText, broad, narrowText string) {
		have, need, narrow := strings.Fields(haveText), strings.Fields(needText), strings.Fields(narrowText)
		flat := MissingScopes(have, need)
		h := NewHierarchy(map[string][]string{broad: narrow})
		deep := h.Missing(have, need)
		for _, s := range deep {
			if !slices.Contains(flat, s) {
				t.Errorf("have %q, need %q, %q includes %q: %q is missing only with the hierarchy", have, need, broad, narrow, s)
			}
		}
		if !granted(have, broad) && !slices.Equal(deep, flat) {
			t.Errorf("have %q, need %q: %q is not held and its %q counts: %q, %q", have, need, broad, narrow, deep, flat)
		}
		if got := NewHierarchy(nil).Missing(have, need); !slices.Equal(got, flat) {
			t.Errorf("have %q, need %q: %q, %q", have, need, got, flat)
		}
	})
}
