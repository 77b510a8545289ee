package pipeline

import (
	"context"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// Argument is a credential of the sidecar's own that a server takes as an argument
// of its tools. Clients neither see it nor choose it.
type Argument struct {
	Name  string
	Value func(context.Context) (identity.Credential, error)
}

// ownArgument is what carries the sidecar's credential in c: a value to be set
// where the tool takes it, and else a name to be removed. What the client sent in
// its place has been judged like any argument, and is dropped.
func (p *Pipeline) ownArgument(ctx context.Context, c *Call) (set []wire.Field, strip string, err error) {
	a := p.opts.Arguments[p.serverOf(c)]
	if a.Name == "" {
		return nil, "", nil
	}
	if c.Msg.Member(c.Args, a.Name) != wire.Absent {
		c.found(guards.Finding{Guard: "credential", Rule: "overridden", Label: "credential:overridden " + a.Name, Score: 1})
	}
	if refusal := c.ambiguous(a.Name); refusal != nil {
		return nil, "", refusal
	}
	if !c.tool.takes(a.Name) {
		return nil, a.Name, nil
	}
	secret, err := a.Value(ctx)
	if err != nil {
		return nil, "", unavailable("credential", err)
	}
	return []wire.Field{{Name: a.Name, Value: wire.Quote(nil, secret.Reveal())}}, "", nil
}

// takes says whether the tool has an argument called name, or may have: nothing is
// known of it, or its schema is no plain one, which can declare it in many places.
func (t toolInfo) takes(name string) bool { return !t.plain || t.own[name] }

// hides says whether the argument of the server's tools is the sidecar's to set.
func (p *Pipeline) hides(server, argument string) bool {
	return argument != "" && p.opts.Arguments[server].Name == argument
}
