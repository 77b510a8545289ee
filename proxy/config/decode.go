package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// decoder copies the file's tree into a Config by the json tags of its fields.
// The library's own decoder is not used: it stops at the first problem, accepts
// null and numbers where this file wants text, and gives no place to a problem
// that is found later.
type decoder struct {
	origin   *origin
	problems Errors
}

func (d *decoder) report(at spot, path, message string) {
	d.problems = append(d.problems, d.origin.problem(at, path, message))
}

// value decodes n into v and says whether that worked. A value that did not
// leaves v as it was.
func (d *decoder) value(path string, n ast.Node, v reflect.Value) bool {
	at := d.origin.places[path].value
	if n.Type() == ast.NullType {
		d.report(d.origin.places[path].key, path, "has no value; give it one or remove the key")
		return false
	}
	if v.Kind() == reflect.Pointer {
		target := reflect.New(v.Type().Elem())
		ok := d.value(path, n, target.Elem())
		if ok {
			v.Set(target)
		}
		return ok
	}
	switch target := v.Addr().Interface().(type) {
	case *Arguments:
		var ok bool
		*target, ok = d.arguments(path, n)
		return ok
	case encoding.TextUnmarshaler:
		return d.text(path, at, n, target)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.object(path, n, v)
	case reflect.Map:
		return d.mapping(path, n, v)
	case reflect.Slice:
		return d.list(path, n, v)
	default:
		return d.scalar(path, at, n, v)
	}
}

// instead is an error with another text, where there is one.
func instead(err error, text string) error {
	if err == nil {
		return nil
	}
	return errors.New(text)
}

// text decodes the types that spell themselves: enums, sizes, durations.
func (d *decoder) text(path string, at spot, n ast.Node, u encoding.TextUnmarshaler) bool {
	s, ok := scalarText(n)
	if !ok {
		d.report(at, path, "must be a single value")
		return false
	}
	err := u.UnmarshalText([]byte(s))
	switch u.(type) { // their own texts repeat the value twice
	case *netip.Addr:
		err = instead(err, "must be an IP address")
	case *netip.AddrPort:
		err = instead(err, "must be an IP address and a port, such as 127.0.0.1:53")
	}
	if err != nil {
		d.report(at, path, err.Error())
	}
	return err == nil
}

func (d *decoder) scalar(path string, at spot, n ast.Node, v reflect.Value) bool {
	message := ""
	switch v.Kind() {
	case reflect.String:
		message = decodeString(n, v)
	case reflect.Bool:
		message = "must be true or false"
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			message = ""
		}
	default:
		message = decodeInt(n, v)
	}
	if message != "" {
		d.report(at, path, message)
	}
	return message == ""
}

func decodeString(n ast.Node, v reflect.Value) string {
	var s string
	switch n := n.(type) {
	case *ast.StringNode:
		s = showColons(n.Value)
	case *ast.LiteralNode:
		s = showColons(n.Value.Value)
	case ast.ScalarNode:
		return "must be a string; put it in quotes"
	default:
		return "must be a string"
	}
	// A line break or an escape in a header name, a path or a pattern is an
	// attempt to smuggle, never a setting.
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "must not hold a control character"
	}
	v.SetString(s)
	return ""
}

func decodeInt(n ast.Node, v reflect.Value) string {
	s, _ := scalarText(n)
	i, err := wholeNumber(s)
	if _, isInt := n.(*ast.IntegerNode); !isInt || err != nil || v.OverflowInt(i) {
		return "must be a whole number in plain decimal digits"
	}
	v.SetInt(i)
	return ""
}

// scalarText is a scalar as written, without quotes.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return showColons(n.Value), true
	case ast.ScalarNode:
		return showColons(n.GetToken().Value), true
	}
	return "", false
}

// entry is one key with its value.
type entry struct {
	key   string
	path  string
	at    spot // of the key
	value ast.Node
}

// entries returns the keys of a mapping that are text and given once, and notes
// their places. It reports the others, or that n is no mapping.
func (d *decoder) entries(path string, n ast.Node) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.report(d.origin.places[path].value, path, "must be a mapping of keys to values")
		return nil, false
	}
	out := make([]entry, 0, len(values))
	seen := make(map[string]spot, len(values))
	for _, m := range values {
		at := spotOf(m.Key.GetToken())
		name, ok := m.Key.(*ast.StringNode)
		if !ok {
			d.report(at, path, "a key must be a string; put it in quotes")
			continue
		}
		key := showColons(name.Value)
		if first, twice := seen[key]; twice {
			d.report(at, child(path, key), fmt.Sprintf("key %s is given twice, first at %d:%d", quote(key), first.line, first.column))
			continue
		}
		seen[key] = at
		out = append(out, entry{key, child(path, key), at, m.Value})
		d.note(out[len(out)-1])
	}
	return out, true
}

// note keeps the place of an entry. A block mapping or list has no mark of its
// own, so its key stands for it.
func (d *decoder) note(e entry) {
	p := place{key: e.at, value: start(e.value)}
	if isBlock(e.value) || e.value.Type() == ast.NullType {
		p.value = e.at
	}
	d.origin.places[e.path] = p
}

func isBlock(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.MappingNode:
		return !n.IsFlowStyle
	case *ast.SequenceNode:
		return !n.IsFlowStyle
	case *ast.MappingValueNode:
		return true
	}
	return false
}

// start is where a node's text begins; a block mapping begins with its first
// key, though its token is the colon.
func start(n ast.Node) spot {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return spotOf(n.Values[0].Key.GetToken())
		}
		return spotOf(n.Start)
	case *ast.MappingValueNode:
		return spotOf(n.Key.GetToken())
	}
	return spotOf(n.GetToken())
}

// object decodes a mapping whose keys are the fields of a struct.
func (d *decoder) object(path string, n ast.Node, v reflect.Value) bool {
	entries, ok := d.entries(path, n)
	for _, e := range entries {
		if i, ok := fieldByKey(v.Type(), e.key); ok {
			d.value(e.path, e.value, v.Field(i))
			continue
		}
		d.unknown(v.Type(), e)
	}
	return ok
}

// unknown reports a key that is no field.
func (d *decoder) unknown(t reflect.Type, e entry) {
	d.origin.mask(start(e.value))
	d.report(e.at, e.path, "unknown key "+quote(e.key)+hint(e.key, knownKeys(t)))
}

func hint(key string, known []string) string {
	if name, _, ok := strings.Cut(key, ":"); ok && slices.Contains(known, name) {
		return "; a space must follow the colon"
	}
	if near := nearest(key, known); near != "" {
		return ", did you mean " + quote(near) + "?"
	}
	return ""
}

// mapping decodes a mapping whose keys are names that the operator chose.
func (d *decoder) mapping(path string, n ast.Node, v reflect.Value) bool {
	entries, ok := d.entries(path, n)
	if !ok {
		return false
	}
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	for _, e := range entries {
		if strings.ContainsFunc(e.key, unicode.IsControl) {
			d.report(e.at, e.path, "must not hold a control character")
			continue
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(e.path, e.value, element)
		m.SetMapIndex(reflect.ValueOf(e.key), element)
	}
	v.Set(m)
	return true
}

func (d *decoder) list(path string, n ast.Node, v reflect.Value) bool {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(d.origin.places[path].value, path, "must be a list")
		return false
	}
	s := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, value := range seq.Values {
		at := start(value)
		d.origin.places[item(path, i)] = place{at, at}
		d.value(item(path, i), value, s.Index(i))
	}
	v.Set(s)
	return true
}

// fieldByKey finds the field whose json tag names key.
func fieldByKey(t reflect.Type, key string) (int, bool) {
	for i := range t.NumField() {
		if k := keyOf(t.Field(i)); k != "" && k == key {
			return i, true
		}
	}
	return 0, false
}

// keyOf is a field's key in the file; empty for a field that a file cannot set.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func knownKeys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if k := keyOf(t.Field(i)); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// nearest is the known key that key was probably meant to be: at most two edits
// away. It is empty when there is none.
func nearest(key string, known []string) string {
	best, found := 3, ""
	for _, k := range known {
		if gap := len(k) - len(key); gap > 2 || gap < -2 {
			continue
		}
		if n := edits(key, k); n < best && n < len(k) {
			best, found = n, k
		}
	}
	return found
}

// edits counts insertions, deletions, replacements and swaps of neighbours that
// lead from a to b (optimal string alignment).
func edits(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			replace := row[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			next[j] = min(row[j]+1, next[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
