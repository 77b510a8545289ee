package pipeline

import (
	"strings"

	"mcp-sidecar/proxy/wire"
)

// readURLs notes which arguments a schema calls URLs. A schema has many ways to
// say where a "format" applies (anyOf, $ref, items, maps); following them all is
// what evaluators get wrong. So only the nearest property above counts, wherever
// it stands, and a format with none above it (in a definition, or for members
// that have no name) makes every argument a candidate. That errs on the side of
// checking too much, in one pass.
func (t *toolInfo) readURLs(m *wire.Message, schema int, property string) {
	for i := range m.Children(schema) {
		switch name := m.Name(i); {
		case name == "format" && isURLFormat(m.Text(i)):
			t.noteURL(property)
		case m.Nodes[i].Kind == '{' && name == "properties":
			for p := range m.Children(i) {
				t.readURLs(m, p, m.Name(p))
			}
		case name == "additionalProperties", name == "unevaluatedProperties", name == "patternProperties":
			t.readURLs(m, i, "")
		case m.Nodes[i].Kind == '{' || m.Nodes[i].Kind == '[':
			t.readURLs(m, i, property)
		}
	}
}

func (t *toolInfo) noteURL(property string) {
	if property == "" {
		t.anyURL = true
		return
	}
	if t.urls == nil {
		t.urls = map[string]bool{}
	}
	t.urls[strings.Clone(property)] = true
}

func isURLFormat(format string) bool {
	switch format {
	case "uri", "url", "iri", "uri-reference", "iri-reference":
		return true
	}
	return false
}

// readHeaders notes the arguments that the schema mirrors into headers. Only
// chains of "properties" count (MCP 2026-07-28, streamable-http, "Schema
// Extension").
func (t *toolInfo) readHeaders(m *wire.Message, props int, above []string) {
	if props == wire.Absent || m.Nodes[props].Kind != '{' {
		return
	}
	for prop := range m.Children(props) {
		path := append(above[:len(above):len(above)], strings.Clone(m.Name(prop)))
		if name := m.Text(m.Member(prop, "x-mcp-header")); name != "" {
			t.headers = append(t.headers, headerParam{path: path, name: "Mcp-Param-" + name})
		}
		t.readHeaders(m, m.Member(prop, "properties"), path)
	}
}
