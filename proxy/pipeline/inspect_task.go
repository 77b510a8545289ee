package pipeline

import (
	"errors"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// taskState inspects a result that says how a task is.
func (o *output) taskState() error {
	o.task(o.m.Result)
	return o.fitsSchema(o.m.Member(o.m.Result, "result"))
}

// taskResult inspects what a tool call that ran as a task has come to.
func (o *output) taskResult() error {
	o.toolResult(o.m.Result)
	return o.fitsSchema(o.m.Result)
}

// taskList leaves the tasks that were given to the caller: the upstream knows all
// callers by one credential, and lists the tasks of each to all.
func (o *output) taskList() error {
	m := o.m
	list := m.Member(m.Result, "tasks")
	if list == wire.Absent || m.Nodes[list].Kind != '[' || m.Nodes[list].Sparse {
		return upstreamFailed("malformed", errors.New("tasks/list answered without a list of tasks"))
	}
	others := func(task int) bool {
		return !o.p.given.holds(o.c.Principal.Key(), taskID+m.Text(m.Member(task, "taskId")))
	}
	o.patches = append(o.patches, m.Edit(list, others)...)
	for task := range m.Children(list) {
		if !others(task) {
			o.task(task)
		}
	}
	for i := range m.Children(m.Result) {
		if i != list && !(m.Name(i) == "nextCursor" && m.Nodes[i].Kind == '"') { // the upstream wants it back as it is
			o.rest(i)
		}
	}
	return nil
}

// task inspects the state of a task. In the tasks extension it also holds what the
// task has come to, or what it waits for.
func (o *output) task(i int) {
	m := o.m
	if m.Nodes[i].Kind != '{' {
		o.strings(i, foreign)
		return
	}
	for f := range m.Children(i) {
		name, kind := m.Name(f), m.Nodes[f].Kind
		switch {
		case name == "taskId" && kind == '"': // the upstream wants it back as it is
		case name == "statusMessage":
			o.strings(f, guards.Text{Kind: guards.Notification, Source: o.source()})
		case name == "result" && kind == '{':
			o.toolResult(f)
		case name == "error" && kind == '{':
			o.failure(f)
		case name == "inputRequests" && kind == '{':
			if o.c.Era == Modern { // before, no message says what its client offers
				if refusal := o.c.checkInputRequests(m, f); refusal != nil {
					o.refuse(refusal)
				}
			}
			o.inputRequests(f)
		default:
			o.strings(f, metadata)
		}
	}
}
