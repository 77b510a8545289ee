package schema

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// The engine writes the value into each error, also into those of alternatives
// that it then forgets. These types keep their contents out of any text, which
// makes a failed comparison cheap however large the value is, and an echo
// impossible.
type (
	object map[string]any
	array  []any
	text   string
)

// Format implements [fmt.Formatter].
func (object) Format(f fmt.State, _ rune) { hide(f) }

// Format implements [fmt.Formatter].
func (array) Format(f fmt.State, _ rune) { hide(f) }

// Format implements [fmt.Formatter].
func (text) Format(f fmt.State, _ rune) { hide(f) }

func hide(f fmt.State) { _, _ = f.Write([]byte("value")) }

// convert gives the engine types that it compares exactly: integers as int64 or
// uint64 (a float64 would round those above 2^53), since it takes a json.Number
// for a string. Constants of the schema itself (const, enum) are read by the
// engine and rounded there; above 2^53 they match only where a float64 is exact.
func convert(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		return convertObject(v)
	case []any:
		return convertArray(v)
	case string:
		return text(v), nil
	case json.Number:
		return convertNumber(v.String())
	}
	return v, nil // bool, nil
}

func convertObject(members map[string]any) (object, error) {
	o := make(object, len(members))
	for name, v := range members {
		c, err := convert(v)
		if err != nil {
			return nil, err
		}
		o[name] = c
	}
	return o, nil
}

func convertArray(items []any) (array, error) {
	a := make(array, len(items))
	for i, v := range items {
		c, err := convert(v)
		if err != nil {
			return nil, err
		}
		a[i] = c
	}
	return a, nil
}

func convertNumber(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return u, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil { // legal JSON, but out of range
		return nil, fmt.Errorf("number: %w", ErrTooLarge)
	}
	return f, nil
}
