package pipeline

import "mcp-sidecar/guards"

// resourceRead inspects the contents of a resource. A read is decided for each
// caller, so a shared cache must not repeat it for another.
func (o *output) resourceRead() error {
	m := o.m
	o.cached = !o.asks
	for i := range m.Children(m.Result) {
		switch name := m.Name(i); {
		case name == "cacheScope" && m.Nodes[i].Kind == '"': // private sees to it
		case name != "contents":
			o.rest(i)
		case m.Nodes[i].Kind != '[':
			o.strings(i, foreign)
		default:
			o.resources(i)
		}
	}
	return nil
}

func (o *output) resources(list int) {
	m := o.m
	for i := range m.Children(list) {
		if m.Nodes[i].Kind != '{' {
			o.strings(i, foreign)
			continue
		}
		source := m.Text(m.Member(i, "uri"))
		if source == "" {
			source = o.c.Target
		}
		o.contents(i, guards.Text{Kind: guards.Content, Source: source})
	}
}
