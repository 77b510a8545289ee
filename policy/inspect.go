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

// ParseRows reads rows as [Load] does, in the order of the source, rows that say the
// same left out and effects filled in. The error is [Problems].
func ParseRows(name string, src []byte) ([]Row, error) {
	l := newLoader()
	l.keeps = true
	l.file(name, src)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.kept, nil
}
