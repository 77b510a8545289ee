package pipeline

import (
	"errors"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// requests says how the params of each request that an upstream may start are
// inspected. A method that is not here is admitted by the configuration alone.
var requests = map[string]func(o *output, params int){
	"sampling/createMessage": (*output).sampling,
	"elicitation/create":     (*output).elicitation,
	"roots/list":             (*output).plain,
	"ping":                   (*output).plain,
	"tasks/get":              (*output).plain,
	"tasks/list":             (*output).plain,
	"tasks/result":           (*output).plain,
	"tasks/cancel":           (*output).plain,
}

// request inspects a request that the upstream starts, by itself or inside a
// result. What it says reaches a model or a person.
func (o *output) request(method string, params int) {
	if params == wire.Absent {
		return
	}
	inspect, known := requests[method]
	if !known || o.m.Nodes[params].Kind != '{' {
		o.strings(params, foreign)
		return
	}
	inspect(o, params)
}

// plain inspects params that hold no prose.
func (o *output) plain(params int) { o.strings(params, metadata) }

// sampling inspects what the upstream wants the client's model to complete.
func (o *output) sampling(params int) {
	m := o.m
	prose := guards.Text{Kind: guards.Content, Source: o.p.serverOf(o.c) + "/sampling"}
	for i := range m.Children(params) {
		switch m.Name(i) {
		case "messages":
			o.messages(i, prose)
		case "systemPrompt":
			o.prose(i, prose)
		case "tools":
			o.samplingTools(i)
		default:
			o.strings(i, metadata)
		}
	}
}

// samplingTools inspects definitions that only this one request uses: nothing is
// filtered, and calls of them come back to the upstream.
func (o *output) samplingTools(list int) {
	m := o.m
	if m.Nodes[list].Kind != '[' {
		o.strings(list, foreign)
		return
	}
	for tool := range m.Children(list) {
		o.definition(tool, guards.Text{Kind: guards.Description, Source: "tool:" + m.Text(m.Member(tool, "name"))})
	}
}

// elicitation inspects what the upstream wants a person to read and to fill in.
func (o *output) elicitation(params int) {
	m := o.m
	source := o.p.serverOf(o.c) + "/elicitation"
	for i := range m.Children(params) {
		switch name := m.Name(i); {
		case name == "message":
			o.prose(i, guards.Text{Kind: guards.Content, Source: source})
		case name == "requestedSchema":
			o.definition(i, guards.Text{Kind: guards.Description, Source: source})
		case name == "elicitationId" && m.Nodes[i].Kind == '"': // the upstream wants it back as it is
		default:
			o.strings(i, metadata)
		}
	}
}

// inputRequests inspects the requests inside a result that asks for input, each
// like one that comes by itself.
func (o *output) inputRequests(i int) {
	m := o.m
	for r := range m.Children(i) {
		o.memberName(m.Name(r))
		method := m.Text(m.Member(r, "method"))
		switch method {
		case "sampling/createMessage", "elicitation/create", "roots/list":
		default: // MCP 2026-07-28, basic/patterns/mrtr, "Server Requirements": nothing else
			o.refuse(upstreamFailed("input-request", errors.New("the upstream asks for something that no input request can ask for")))
			return
		}
		for f := range m.Children(r) {
			switch m.Name(f) {
			case "method":
			case "params":
				o.request(method, f)
			default:
				o.strings(f, metadata)
			}
		}
	}
}
