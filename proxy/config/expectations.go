package config

import (
	"encoding/json"
	"errors"

	"github.com/goccy/go-yaml/ast"
)

// Expectations is a file that says what a policy is to allow and to deny. It is read
// as strictly as the configuration.
type Expectations struct {
	// Version is the format of the file. Always 1.
	Version int `json:"version"`
	// Tests are decided about one by one.
	Tests []Expectation `json:"tests"`
}

// Expectation is one question and its answer. It asks about a tool, through all that
// is decided before a call is forwarded, or about a resource and an action, which is
// the policy alone.
type Expectation struct {
	// Name is shown where the answer is another one. Empty shows the question.
	Name string `json:"name,omitempty"`
	// Actor is the user, with or without user:. Empty is refused.
	Actor string `json:"actor"`
	// Roles are those that his token gives, beside those of the policy.
	Roles []string `json:"roles,omitempty"`
	// Tool is server/tool.
	Tool string `json:"tool,omitempty"`
	// Args are the arguments of the call. Empty means none.
	Args Arguments `json:"args,omitempty"`
	// Scopes are what his token grants. Nil means what the tool needs.
	Scopes *[]string `json:"scopes,omitempty"`
	// Resource and Action take the place of Tool.
	Resource string `json:"resource,omitempty"`
	Action   string `json:"action,omitempty"`
	// Expect is the answer. Zero is refused.
	Expect Expected `json:"expect"`
	// Reason is why a call is denied, as audit records have it. Empty accepts any.
	Reason string `json:"reason,omitempty"`
	// Rule is part of the rule that decides, as check prints it. Empty accepts any.
	Rule string `json:"rule,omitempty"`

	Line int `json:"-"` // where it stands, from 1
}

// Expected is the answer of an expectation.
type Expected string

// Answers.
const (
	ExpectAllow Expected = "allow"
	ExpectDeny  Expected = "deny"
)

// UnmarshalText accepts allow and deny.
func (e *Expected) UnmarshalText(b []byte) error {
	if s := Expected(b); s == ExpectAllow || s == ExpectDeny {
		*e = s
		return nil
	}
	return errors.New("must be allow or deny")
}

// Arguments are those of a tool call: a mapping in the file, an object in JSON.
type Arguments json.RawMessage

// ParseExpectations reads such a file. The error is Errors with every problem.
func ParseExpectations(name string, text []byte) ([]Expectation, error) {
	var file Expectations
	o, err := parseList(name, text, &file, func(k *checker) {
		k.unless(file.Version == 1, "version", "must be 1")
		if len(file.Tests) == 0 {
			k.lacks("tests", "is required: a file that asks nothing proves nothing")
		}
		for i, e := range file.Tests {
			e.check(k, item("tests", i))
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range file.Tests {
		file.Tests[i].Line = o.places[item("tests", i)].value.line
	}
	return file.Tests, nil
}

func (e Expectation) check(k *checker, path string) {
	if e.Actor == "" {
		k.lacks(child(path, "actor"), "is required")
	}
	if e.Expect == "" {
		k.lacks(child(path, "expect"), "is required: allow or deny")
	}
	aboutRole := e.Resource != "" || e.Action != ""
	switch {
	case e.Tool != "" && aboutRole:
		k.bad(child(path, "tool"), "excludes resource and action")
	case e.Tool == "" && (e.Resource == "" || e.Action == ""):
		k.lacks(child(path, "tool"), "is required, or resource and action")
	case aboutRole && (e.Args != nil || e.Scopes != nil):
		k.bad(path, "scopes and args belong to a call: name a tool")
	}
	k.unless(e.Reason == "" || e.Expect == ExpectDeny, child(path, "reason"), "belongs to expect: deny")
	if e.Scopes != nil {
		for i, s := range *e.Scopes {
			k.unless(scopeToken.MatchString(s), item(child(path, "scopes"), i), "is not a scope token (RFC 6749 section 3.3)")
		}
	}
}

// arguments turns a mapping into a JSON object, in the same order.
func (d *decoder) arguments(path string, n ast.Node) (Arguments, bool) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		b, ok := d.json(path, n)
		return b, ok
	}
	d.report(d.origin.places[path].value, path, "must be a mapping of argument names to values")
	return nil, false
}

// json writes a node as JSON. Numbers stay as they are written.
func (d *decoder) json(path string, n ast.Node) ([]byte, bool) {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return d.jsonObject(path, n)
	case *ast.SequenceNode:
		return d.jsonArray(path, n)
	case *ast.StringNode:
		return jsonString(showColons(n.Value)), true
	case *ast.LiteralNode:
		return jsonString(showColons(n.Value.Value)), true
	}
	if s, ok := scalarText(n); ok && json.Valid([]byte(s)) {
		return []byte(s), true
	}
	d.report(start(n), path, "must be written as in JSON, or in quotes")
	return nil, false
}

func (d *decoder) jsonObject(path string, n ast.Node) ([]byte, bool) {
	entries, ok := d.entries(path, n)
	b := []byte{'{'}
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		value, good := d.json(e.path, e.value)
		ok = ok && good
		b = append(append(append(b, jsonString(e.key)...), ':'), value...)
	}
	return append(b, '}'), ok
}

func (d *decoder) jsonArray(path string, n *ast.SequenceNode) ([]byte, bool) {
	b, ok := []byte{'['}, true
	for i, v := range n.Values {
		if i > 0 {
			b = append(b, ',')
		}
		d.origin.places[item(path, i)] = place{start(v), start(v)}
		value, good := d.json(item(path, i), v)
		ok = ok && good
		b = append(b, value...)
	}
	return append(b, ']'), ok
}

func jsonString(s string) []byte {
	b, _ := json.Marshal(s) // a string always can be
	return b
}
