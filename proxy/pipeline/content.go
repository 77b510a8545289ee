package pipeline

import (
	"slices"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// toolCall inspects the answer to a tool call: a result, a promise of one, or a
// question.
func (o *output) toolCall() error {
	m := o.m
	if m.Text(m.Member(m.Result, "resultType")) == "task" {
		return o.taskState()
	}
	o.toolResult(m.Result)
	return o.fitsSchema(m.Result)
}

// toolResult inspects the tool result at node root, wherever in the message it
// stands.
func (o *output) toolResult(root int) {
	m := o.m
	if m.Nodes[root].Kind != '{' {
		o.strings(root, foreign)
		return
	}
	structured := m.Member(root, "structuredContent") != wire.Absent
	o.tool = root
	for i := range m.Children(root) {
		switch m.Name(i) {
		case "content":
			if m.Nodes[i].Kind != '[' {
				o.strings(i, foreign)
				continue
			}
			o.toolContent(root, i, structured)
		case "structuredContent":
			o.strings(i, guards.Text{Kind: guards.Structured, Wrap: guards.WrapOff})
		case "task": // 2025-11-25: the result comes later
			o.task(i)
		default:
			if root == m.Result {
				o.rest(i)
				continue
			}
			o.strings(i, metadata)
		}
	}
}

// toolContent inspects the content blocks of the tool result at root.
func (o *output) toolContent(root, list int, structured bool) {
	m, rule := o.m, o.c.rule
	isError := m.IsTrue(m.Member(root, "isError"))
	t := guards.Text{Kind: guards.Content, Wrap: rule.Wrap, Source: o.source()}
	if structured {
		t.Wrap = guards.WrapOff
	} else {
		o.note = list
	}
	n := 0
	for block := range m.Children(list) {
		t.Trusted = !isError && slices.Contains(rule.TrustedBlocks, n)
		o.block(block, t)
		n++
	}
}

// blocks inspects what is one content block in some revisions and a list of them
// in others, or a text where a server means one.
func (o *output) blocks(i int, t guards.Text) {
	switch o.m.Nodes[i].Kind {
	case '[':
		for block := range o.m.Children(i) {
			o.block(block, t)
		}
	case '{':
		o.block(i, t)
	default:
		o.prose(i, t)
	}
}

// block inspects one content block; t is for its text.
func (o *output) block(block int, t guards.Text) {
	m := o.m
	switch kind := m.Text(m.Member(block, "type")); kind {
	case "text", "image", "audio", "resource", "tool_result":
		for i := range m.Children(block) {
			o.blockMember(kind, i, t)
		}
	default:
		// Links, calls of tools, kinds that are not known, things that are no block
		// at all: a model may read any of it.
		o.strings(block, guards.Text{Kind: guards.Content, Wrap: guards.WrapOff, Trusted: t.Trusted, Source: t.Source})
	}
}

func (o *output) blockMember(kind string, i int, t guards.Text) {
	m := o.m
	switch name := m.Name(i); {
	case name == "data" && (kind == "image" || kind == "audio"):
		o.strings(i, guards.Text{Kind: guards.Binary, Wrap: guards.WrapOff})
	case name == "text" && kind == "text":
		o.prose(i, t)
	case name == "resource" && kind == "resource" && m.Nodes[i].Kind == '{':
		o.contents(i, t)
	case name == "content" && kind == "tool_result":
		o.blocks(i, t)
	case name == "structuredContent" && kind == "tool_result":
		o.strings(i, guards.Text{Kind: guards.Structured, Wrap: guards.WrapOff})
	default:
		o.strings(i, metadata)
	}
}

// contents inspects the contents of a resource: a text, or bytes in Base64.
func (o *output) contents(i int, t guards.Text) {
	m := o.m
	for f := range m.Children(i) {
		switch m.Name(f) {
		case "text":
			o.prose(f, t)
		case "blob":
			o.strings(f, guards.Text{Kind: guards.Binary, Wrap: guards.WrapOff})
		default:
			o.strings(f, metadata)
		}
	}
}

// prose inspects a text that a reader sees next to others of its kind; where
// there is none, whatever stands in its place.
func (o *output) prose(i int, t guards.Text) {
	if o.m.Nodes[i].Kind != '"' {
		o.strings(i, t)
		return
	}
	t.Member = o.m.Name(i)
	o.sequence = append(o.sequence, o.read(i, t))
}
