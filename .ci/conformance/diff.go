package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
)

// difference is one place at which two messages differ. A value is nil where
// it is not there.
type difference struct {
	path            string // as /result/content/0/text
	direct, through any
}

func (d difference) String() string {
	return fmt.Sprintf("%s: %.300s instead of %.300s", d.path, show(d.through), show(d.direct))
}

func show(v any) string {
	if v == nil {
		return "nothing"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// differences compares two messages value by value.
func differences(direct, through []byte) ([]difference, error) {
	a, err := decode(direct)
	if err != nil {
		return nil, err
	}
	b, err := decode(through)
	if err != nil {
		return nil, err
	}
	return diff(nil, "", a, b), nil
}

func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // 1.0 is not 1, and big integers stay what they are
	var v any
	err := d.Decode(&v)
	return v, err
}

func diff(found []difference, at string, a, b any) []difference {
	switch x := a.(type) {
	case map[string]any:
		y, same := b.(map[string]any)
		if !same {
			break
		}
		names := slices.Collect(maps.Keys(x))
		for name := range y {
			if _, both := x[name]; !both {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			found = diff(found, at+"/"+name, x[name], y[name])
		}
		return found
	case []any:
		y, same := b.([]any)
		if !same {
			break
		}
		for i := range max(len(x), len(y)) {
			found = diff(found, fmt.Sprintf("%s/%d", at, i), element(x, i), element(y, i))
		}
		return found
	}
	if show(a) != show(b) {
		found = append(found, difference{at, a, b})
	}
	return found
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// change is a difference that a guard makes on purpose, at one place.
type change struct {
	server string // this and the next two are patterns as of path.Match
	step   string
	path   string
	reason string
}

func (c change) covers(server, step string, d difference) bool {
	return matches(c.server, server) && matches(c.step, step) && matches(c.path, d.path)
}

func matches(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}
