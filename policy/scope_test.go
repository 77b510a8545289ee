package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestMissingScopes(t *testing.T) {
	for _, row := range []struct {
		name             string
		have, need, want string // separated by blanks
	}{
		{"exact", "documents:read", "documents:read", ""},
		{"nothing needed", "", "", ""},
		{"nothing held", "", "documents:read", "documents:read"},
		{"all missing, in order of need", "x", "c b a", "c b a"},
		{"some missing", "a c", "d c b a", "d b"},
		{"named twice", "a", "b b", "b b"},
		{"wildcard", "documents:*", "documents:update documents:read", ""},
		{"wildcard of another resource", "documents:*", "folders:read", "folders:read"},
		{"wildcard asked for by name", "documents:*", "documents:*", ""},
		{"wildcard needed, action held", "documents:read", "documents:*", "documents:*"},
		{"wildcard covers one level", "documents:*", "documents:read:all", "documents:read:all"},
		{"wildcard below a level", "documents:read:*", "documents:read:all documents:write:all", "documents:write:all"},
		{"wildcard needs an action", "documents:*", "documents:", "documents:"},
		{"wildcard is no prefix", "doc*", "documents:read", "documents:read"},
		{"partial wildcard", "documents:re*", "documents:read", "documents:read"},
		{"wildcard in front", "*:read", "documents:read", "documents:read"},
		{"star alone", "*", "documents:read", "documents:read"},
		{"star alone, bare scope", "*", "admin", "admin"},
		{"no resource", ":*", ":read documents:read", ":read documents:read"},
		{"two stars", "documents:**", "documents:read", "documents:read"},
		{"upper case", "Documents:Read", "documents:read", "documents:read"},
		{"prefix held", "documents:rea", "documents:read", "documents:read"},
		{"longer held", "documents:reads", "documents:read", "documents:read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := MissingScopes(strings.Fields(row.have), strings.Fields(row.need))
			if want := strings.Fields(row.want); !slices.Equal(got, want) {
				t.Errorf("MissingScopes = %q, want %q", got, want)
			}
		})
	}
	t.Run("an empty requirement is never met", func(t *testing.T) {
		if got := MissingScopes([]string{"", "*", "a:*"}, []string{""}); len(got) != 1 {
			t.Errorf("MissingScopes = %q", got)
		}
	})
}

// FuzzMissingScopes: what is missing is exactly what has to be added, and a
// token without a star gets what it names and nothing else.
func FuzzMissingScopes(f *testing.F) {
	f.Add("documents:* a", "documents:read b a")
	f.Add("* :* x:y:*", "x:y:z x:y * :")
	f.Fuzz(func(t *testing.T, haveText, needText string) {
		have, need := strings.Fields(haveText), strings.Fields(needText)
		missing := MissingScopes(have, need)
		if rest := MissingScopes(append(slices.Clone(have), missing...), need); rest != nil {
			t.Errorf("have %q, need %q: with %q still missing %q", have, need, missing, rest)
		}
		for _, n := range need {
			exact, gone := slices.Contains(have, n), slices.Contains(missing, n)
			if exact && gone || !exact && !gone && !strings.Contains(haveText, ":*") {
				t.Errorf("have %q, need %q: held %t, missing %t", have, n, exact, gone)
			}
		}
	})
}
