package pipeline

import (
	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// notifications says how the params of each notification of an upstream are
// inspected. A method that is not here is admitted by the configuration alone.
var notifications = map[string]func(o *output, params int){
	"notifications/progress":                   (*output).progress,
	"notifications/message":                    (*output).logged,
	"notifications/cancelled":                  (*output).cancellation,
	"notifications/resources/updated":          (*output).plain,
	"notifications/resources/list_changed":     (*output).plain,
	"notifications/tools/list_changed":         (*output).plain,
	"notifications/prompts/list_changed":       (*output).plain,
	"notifications/subscriptions/acknowledged": (*output).plain,
	"notifications/elicitation/complete":       (*output).elicited,
	"notifications/tasks":                      (*output).task,
	"notifications/tasks/status":               (*output).task,
}

func (o *output) notification() {
	params := o.m.Params
	if params == wire.Absent {
		return
	}
	inspect, known := notifications[o.m.Method]
	if !known {
		o.strings(params, foreign)
		return
	}
	inspect(o, params)
}

// progress inspects how far a request is. The token is the client's own, or the
// message would have been dropped.
func (o *output) progress(params int) { o.event(params, "message", "progressToken") }

// logged inspects a log message, whose data may be any JSON.
func (o *output) logged(params int) { o.event(params, "data", "") }

// cancellation inspects why the upstream gives up a request of its own.
func (o *output) cancellation(params int) { o.event(params, "reason", "requestId") }

// elicited inspects the end of what a person did elsewhere.
func (o *output) elicited(params int) { o.event(params, "", "elicitationId") }

// event inspects a notification with one member that somebody reads, and one whose
// owner wants it back as it is; either may be empty for none.
func (o *output) event(params int, read, owned string) {
	m := o.m
	for i := range m.Children(params) {
		switch name := m.Name(i); {
		case read != "" && name == read:
			o.streamed(i)
		case owned != "" && name == owned && m.Nodes[i].Kind == '"':
		default:
			o.strings(i, metadata)
		}
	}
}

// streamed inspects the strings of value i, the first of them as what goes on
// where earlier messages' strings of the same name ended.
func (o *output) streamed(i int) {
	seen := 0
	o.each(i, guards.Text{Kind: guards.Notification, Source: o.source()}, func(n int, t guards.Text) {
		if seen++; seen > maxTails {
			o.text(n, t)
			return
		}
		o.sequence = append(o.sequence, o.read(n, t))
		o.flush(flow{o.m.Method, t.Member})
	})
}
