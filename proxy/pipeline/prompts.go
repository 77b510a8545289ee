package pipeline

import "mcp-sidecar/guards"

// promptGet inspects a prompt: messages that a client puts in front of its model.
func (o *output) promptGet() error {
	m := o.m
	for i := range m.Children(m.Result) {
		switch m.Name(i) {
		case "description":
			o.strings(i, guards.Text{Kind: guards.Description, Source: "prompt:" + o.c.Target})
		case "messages":
			o.messages(i, guards.Text{Kind: guards.Content, Source: o.source()})
		default:
			o.rest(i)
		}
	}
	return nil
}

// messages inspects messages to a model; t is for their texts.
func (o *output) messages(list int, t guards.Text) {
	m := o.m
	if m.Nodes[list].Kind != '[' {
		o.strings(list, foreign)
		return
	}
	for message := range m.Children(list) {
		if m.Nodes[message].Kind != '{' {
			o.strings(message, foreign)
			continue
		}
		for i := range m.Children(message) {
			if m.Name(i) == "content" {
				o.blocks(i, t)
				continue
			}
			o.strings(i, metadata)
		}
	}
}

// completion inspects the values that an argument can be completed to. They go
// into arguments as they are, so nothing is wrapped.
func (o *output) completion() error {
	m := o.m
	for i := range m.Children(m.Result) {
		if m.Name(i) == "completion" {
			o.strings(i, foreign)
			continue
		}
		o.rest(i)
	}
	return nil
}
