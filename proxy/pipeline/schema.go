package pipeline

import (
	"strings"

	"mcp-sidecar/proxy/wire"
)

// Bounds of reading one input schema; what lies beyond has no format.
const (
	maxSchemas = 4096 // subschemas, references counted each time
	schemaDeep = 16   // nesting, references included
)

// formatReader notes the "format" of arguments, wherever a schema can say it.
// Generators write an optional URL as anyOf, a nested model as $ref.
type formatReader struct {
	m    *wire.Message
	root int
	info *toolInfo
	left int
}

// read notes the formats in a schema for what stands at path.
func (r *formatReader) read(schema int, path string, depth int) {
	if schema == wire.Absent || r.m.Nodes[schema].Kind != '{' || depth > schemaDeep || path == longPath {
		return
	}
	if r.left--; r.left < 0 {
		return
	}
	for i := range r.m.Children(schema) {
		switch r.m.Name(i) {
		case "format":
			r.note(path, r.m.Text(i))
		case "$ref":
			r.read(r.resolve(r.m.Text(i)), path, depth+1)
		case "anyOf", "oneOf", "allOf":
			r.readEach(i, path, depth)
		case "if", "then", "else":
			r.read(i, path, depth+1)
		case "items":
			r.read(i, elements(path), depth+1)
		case "prefixItems":
			r.readEach(i, elements(path), depth)
		case "properties":
			r.readMembers(i, path, depth)
		case "additionalProperties", "unevaluatedProperties":
			r.read(i, member(path, anyMember), depth+1)
		case "patternProperties":
			r.readEach(i, member(path, anyMember), depth)
		}
	}
}

// anyMember stands for members that a schema does not name.
const anyMember = "*"

func (r *formatReader) readEach(list int, path string, depth int) {
	for i := range r.m.Children(list) {
		r.read(i, path, depth+1)
	}
}

func (r *formatReader) readMembers(properties int, path string, depth int) {
	for i := range r.m.Children(properties) {
		r.read(i, member(path, r.m.Name(i)), depth+1)
	}
}

// note keeps the first format of a path, but prefers one that means a URL.
func (r *formatReader) note(path, format string) {
	if format == "" || path == "" {
		return
	}
	if r.info.formats == nil {
		r.info.formats = map[string]string{}
	}
	if old := r.info.formats[path]; old == "" || strings.Contains(format, "ur") || strings.Contains(format, "ir") {
		r.info.formats[strings.Clone(path)] = strings.Clone(format)
	}
}

// resolve follows a reference inside the same schema ("#/$defs/Source").
func (r *formatReader) resolve(ref string) int {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return wire.Absent
	}
	at := r.root
	for part := range strings.SplitSeq(pointer, "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		at = r.m.Member(at, part)
	}
	return at
}

// member is the path of a member; the first level has no dot in front.
func member(path, name string) string {
	if path == "" {
		if len(name) >= maxPath {
			return longPath
		}
		return name
	}
	return join(path, name)
}

// formatAt returns the format of what stands at path below parent.
func (t *toolInfo) formatAt(path, parent string) string {
	if t.formats == nil {
		return ""
	}
	if f, ok := t.formats[path]; ok {
		return f
	}
	return t.formats[member(parent, anyMember)]
}

// readHeaders notes the arguments that the schema mirrors into headers. Only
// chains of "properties" count (MCP 2026-07-28, streamable-http, "Schema
// Extension").
func (t *toolInfo) readHeaders(m *wire.Message, props int, prefix string, depth int) {
	if props == wire.Absent || m.Nodes[props].Kind != '{' || depth > schemaDeep {
		return
	}
	for prop := range m.Children(props) {
		if len(prefix)+len(m.Name(prop)) >= maxPath {
			continue // no argument has a path like this either
		}
		path := prefix + m.Name(prop)
		if name := m.Text(m.Member(prop, "x-mcp-header")); name != "" {
			t.headers = append(t.headers, headerParam{path: strings.Clone(path), name: "Mcp-Param-" + name})
		}
		t.readHeaders(m, m.Member(prop, "properties"), path+".", depth+1)
	}
}
