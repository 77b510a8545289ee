package schema

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// single, lists and named return the places of s that hold subschemas, by
// keyword. They are the one table that walking and following references share.

func single(s *jsonschema.Schema) map[string]*jsonschema.Schema {
	return map[string]*jsonschema.Schema{
		"not": s.Not, "if": s.If, "then": s.Then, "else": s.Else,
		"items": s.Items, "additionalItems": s.AdditionalItems,
		"contains": s.Contains, "unevaluatedItems": s.UnevaluatedItems,
		"additionalProperties": s.AdditionalProperties, "propertyNames": s.PropertyNames,
		"unevaluatedProperties": s.UnevaluatedProperties, "contentSchema": s.ContentSchema,
	}
}

func lists(s *jsonschema.Schema) map[string][]*jsonschema.Schema {
	return map[string][]*jsonschema.Schema{
		"allOf": s.AllOf, "anyOf": s.AnyOf, "oneOf": s.OneOf,
		"prefixItems": s.PrefixItems, "items": s.ItemsArray,
	}
}

func named(s *jsonschema.Schema) map[string]map[string]*jsonschema.Schema {
	return map[string]map[string]*jsonschema.Schema{
		"$defs": s.Defs, "definitions": s.Definitions, "properties": s.Properties,
		"patternProperties": s.PatternProperties, "dependentSchemas": s.DependentSchemas,
		"dependencies": s.DependencySchemas,
	}
}

// subschemas returns all schemas directly inside s. A JSON null in a list or
// under a name is returned as nil.
func subschemas(s *jsonschema.Schema) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	for _, sub := range single(s) {
		all = append(all, present(sub)...)
	}
	for _, list := range lists(s) {
		all = append(all, list...)
	}
	for _, m := range named(s) {
		all = slices.AppendSeq(all, maps.Values(m))
	}
	return all
}

// sameValue returns the schemas inside s that judge the same value as s.
func sameValue(s *jsonschema.Schema) []*jsonschema.Schema {
	all := present(s.Not, s.If, s.Then, s.Else)
	all = append(all, s.AllOf...)
	all = append(all, s.AnyOf...)
	all = append(all, s.OneOf...)
	all = slices.AppendSeq(all, maps.Values(s.DependentSchemas))
	return slices.AppendSeq(all, maps.Values(s.DependencySchemas))
}

func present(schemas ...*jsonschema.Schema) []*jsonschema.Schema {
	return slices.DeleteFunc(schemas, func(s *jsonschema.Schema) bool { return s == nil })
}

// follow returns the schema that a reference like "#/$defs/node" means, or nil.
// Anchors ("#node") are not followed.
func follow(root *jsonschema.Schema, ref string) *jsonschema.Schema {
	u, err := url.Parse(ref)
	if err != nil {
		return nil
	}
	s, rest := root, u.Fragment
	for s != nil && rest != "" {
		s, rest = step(s, rest)
	}
	return s
}

// step follows the first keyword of a JSON Pointer (RFC 6901) and returns what
// is left of it.
func step(s *jsonschema.Schema, pointer string) (*jsonschema.Schema, string) {
	keyword, rest, ok := cutSegment(pointer)
	if !ok {
		return nil, ""
	}
	if sub := single(s)[keyword]; sub != nil {
		return sub, rest
	}
	name, rest, ok := cutSegment(rest)
	if !ok {
		return nil, ""
	}
	if sub := named(s)[keyword][name]; sub != nil {
		return sub, rest
	}
	list := lists(s)[keyword]
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(list) {
		return list[i], rest
	}
	return nil, ""
}

func cutSegment(pointer string) (segment, rest string, ok bool) {
	after, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return "", "", false
	}
	segment, rest, more := strings.Cut(after, "/")
	if more {
		rest = "/" + rest
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(segment), rest, true
}
