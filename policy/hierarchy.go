package policy

import "slices"

// Hierarchy says which scopes a broader one grants as well (MCP 2026-07-28,
// basic/authorization, "Step-Up Authorization Flow"): a server has to know, since
// tokens carry the broad one alone. Nil grants by wildcards only.
type Hierarchy map[string][]string

// NewHierarchy returns the hierarchy in which each scope grants what includes says,
// and what that grants in turn.
func NewHierarchy(includes map[string][]string) Hierarchy {
	h := Hierarchy{}
	for broad := range includes {
		h[broad] = included(includes, broad)
	}
	return h
}

// included is everything that broad leads to. Two scopes may include each other: they
// then grant the same.
func included(includes map[string][]string, broad string) []string {
	found := slices.Clone(includes[broad])
	for n := 0; n < len(found); n++ {
		for next, more := range includes {
			if next != found[n] && !covers(found[n], next) {
				continue
			}
			for _, s := range more {
				if !slices.Contains(found, s) {
					found = append(found, s)
				}
			}
		}
	}
	return found
}

// Missing is [MissingScopes] for tokens whose broader scopes grant narrower ones.
func (h Hierarchy) Missing(have, need []string) []string {
	var missing []string
	for _, n := range need {
		if !granted(have, n) && !h.implied(have, n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// implied says whether a scope that is held includes need.
func (h Hierarchy) implied(have []string, need string) bool {
	for broad, narrow := range h {
		if granted(narrow, need) && granted(have, broad) {
			return true
		}
	}
	return false
}
