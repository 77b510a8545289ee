package policy

import (
	"maps"
	"slices"
)

// Subjects returns the users and roles that the rows name, sorted, those from the
// configuration among them. The built-in policy names nobody.
func (e *Engine) Subjects() []string {
	if e == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(e.subjects))
}
