package wire

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// Patch replaces the bytes from Start to End by New. Start == End inserts.
type Patch struct {
	Start, End int
	New        []byte
}

// Splice returns raw with all patches applied. Patches may come in any order;
// several insertions at one place keep theirs. A patch inside a larger one, or of
// what another removes, is dropped: what is cut out takes with it whatever was to
// be changed in it. Other overlaps are an error. Without patches it returns raw
// itself.
func Splice(raw []byte, patches []Patch) ([]byte, error) {
	if len(patches) == 0 {
		return raw, nil
	}
	slices.SortStableFunc(patches, func(a, b Patch) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), compareBool(a.End > a.Start, b.End > b.Start), cmp.Compare(b.End, a.End), compareBool(len(a.New) > 0, len(b.New) > 0))
	})
	out := make([]byte, 0, len(raw)+grown(patches))
	from, last := 0, Patch{}
	for _, p := range patches {
		switch {
		case p.Start < 0 || p.End < p.Start || p.End > len(raw):
			return nil, fmt.Errorf("patch %d..%d is out of range", p.Start, p.End)
		case p.inside(last):
			continue
		case p.Start < from:
			return nil, fmt.Errorf("patch %d..%d overlaps another", p.Start, p.End)
		}
		out = append(append(out, raw[from:p.Start]...), p.New...)
		from, last = p.End, p
	}
	return append(out, raw[from:]...), nil
}

// inside says whether p lies within q, and q is larger or a removal.
func (p Patch) inside(q Patch) bool {
	return p.Start >= q.Start && p.Start < q.End && p.End <= q.End && (p.End-p.Start < q.End-q.Start || len(q.New) == 0)
}

func grown(patches []Patch) int {
	n := 0
	for _, p := range patches {
		n += len(p.New)
	}
	return n
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Replace patches value i.
func (m *Message) Replace(i int, value []byte) Patch {
	return Patch{int(m.Nodes[i].Start), int(m.Nodes[i].End), value}
}

// ReplaceText patches value i by the string s.
func (m *Message) ReplaceText(i int, s string) Patch { return m.Replace(i, Quote(nil, s)) }

// Field is a member to be added to an object, its value already JSON.
type Field struct {
	Name  string
	Value []byte
}

// Edit removes the children of container i for which drop says so and appends
// add; add is for objects only when it carries names. A removed child takes
// exactly one comma with it; what stays keeps its bytes. drop may be nil, and
// must be nil for an array that is Sparse: what has no node cannot be kept apart.
func (m *Message) Edit(i int, drop func(child int) bool, add ...Field) []Patch {
	var patches []Patch
	kept, last := Absent, Absent // last child that stays; last child before this one
	for c := range m.Children(i) {
		if drop == nil || !drop(c) {
			kept, last = c, c
			continue
		}
		patches = append(patches, m.remove(i, c, kept, last))
		last = c
	}
	if len(add) == 0 {
		return patches
	}
	return append(patches, m.appendFields(i, kept != Absent || m.Nodes[i].Sparse, add))
}

// remove cuts child c together with one comma: the one before it when something
// stays in front, else the one behind it.
func (m *Message) remove(i, c, kept, last int) Patch {
	start, end := m.outerStart(c), int(m.Nodes[c].End)
	if kept != Absent {
		return Patch{Start: m.comma(int(m.Nodes[last].End)), End: end}
	}
	if next := int(m.Nodes[c].Next); next < int(m.Nodes[i].Next) {
		return Patch{Start: start, End: m.comma(end) + 1}
	}
	return Patch{Start: start, End: end}
}

func (m *Message) outerStart(c int) int {
	if m.Nodes[c].NameEnd != 0 {
		return int(m.Nodes[c].NameStart)
	}
	return int(m.Nodes[c].Start)
}

// comma finds the comma behind a value; only white space can stand in between.
func (m *Message) comma(from int) int { return from + bytes.IndexByte(m.Raw[from:], ',') }

func (m *Message) appendFields(i int, comma bool, add []Field) Patch {
	var b []byte
	for _, f := range add {
		if comma {
			b = append(b, ',')
		}
		if m.Nodes[i].Kind == '{' {
			b = append(Quote(b, f.Name), ':')
		}
		b = append(b, f.Value...)
		comma = true
	}
	end := int(m.Nodes[i].End) - 1
	return Patch{end, end, b}
}
