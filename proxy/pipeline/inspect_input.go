package pipeline

import (
	"context"
	"slices"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// inspectInput asks whether the request is safe. Guards see the arguments as the
// one scan read them; what they decide is patched into the same bytes. A message
// that the upstream starts is input to the client, and inspected as all that the
// client reads.
func (p *Pipeline) inspectInput(ctx context.Context, c *Call) error {
	if c.Dir == FromUpstream {
		return p.inspectUpstream(c)
	}
	if c.Verb != wire.Send {
		return nil
	}
	patches := c.stripMetaToken()
	if c.method.asks {
		state, err := p.openState(c)
		if err != nil {
			return err
		}
		patches = append(patches, state...)
	}
	c.destructive = c.method.admitted // nobody knows what it does
	if err := p.inspectSaid(ctx, c); err != nil {
		return err
	}
	if c.method.kind != aTool {
		return p.patchRequest(c, patches)
	}
	edits, err := p.inspectTool(ctx, c)
	if err != nil {
		return err
	}
	if err := p.patchRequest(c, append(patches, edits...)); err != nil {
		return err
	}
	return p.fitsInput(c, len(edits) > 0)
}

// inspectTool asks whether a tool call is safe, and returns what has to change in it.
func (p *Pipeline) inspectTool(ctx context.Context, c *Call) ([]wire.Patch, error) {
	var missing bool
	var err error
	if c.tool, missing, err = p.inventoryOf(c, p.serverOf(c)).tool(ctx, c); err != nil {
		return nil, unavailable("credential", err)
	}
	if p.sessions.ended(c.Session) {
		return nil, unknownSession() // the upstream has forgotten it
	}
	if missing {
		if p.opts.Authorization == guards.Enforce {
			return nil, unknownTool()
		}
		c.observed("inspect-input: the upstream lists no such tool")
	}
	if err := p.judgeArgument(c); err != nil {
		return nil, err
	}
	g := c.guardCall(c.server + "/" + c.bare)
	c.destructive = p.opts.NeedsConfirm(g) || c.tool.mayDestroy()
	if err := c.agreeParams(); err != nil {
		return nil, err
	}
	if err := p.checkHandles(c); err != nil {
		return nil, err
	}
	edits, err := p.runInputGuards(ctx, c, g)
	if err != nil {
		return nil, err
	}
	return p.rewriteCall(ctx, c, g, edits)
}

// patchRequest makes what is forwarded. Mirrored headers follow what has changed.
func (p *Pipeline) patchRequest(c *Call, patches []wire.Patch) error {
	if len(patches) == 0 {
		return nil
	}
	var err error
	if c.request, err = wire.Splice(c.Msg.Raw, patches); err != nil {
		return failed(err)
	}
	return c.rebuildParams(p.opts.Limits.Message)
}

// runInputGuards runs every guard in order; the first that blocks decides.
func (p *Pipeline) runInputGuards(ctx context.Context, c *Call, g *guards.Call) ([]guards.Edit, error) {
	return p.runGuards(ctx, c, g, p.opts.Input)
}

func (p *Pipeline) runGuards(ctx context.Context, c *Call, g *guards.Call, all []guards.Input) ([]guards.Edit, error) {
	var edits []guards.Edit
	for _, in := range all {
		mode := p.modeOf(in.Name(), c)
		if mode == guards.Off {
			continue
		}
		g.Except = p.except(in.Name(), c, c.rule)
		d := in.Inspect(ctx, g)
		if mode == guards.Observe {
			if d.Block != nil {
				c.observed(in.Name() + ": " + d.Block.Rule)
			}
			continue
		}
		c.found(d.Findings...)
		if d.Block != nil {
			return nil, blocked(in.Name(), d.Block.Rule, d.Block.Public)
		}
		edits = append(edits, d.Edits...)
	}
	return edits, nil
}

// said are the members of params, beside a tool's arguments, in which a client can write
// whatever it likes.
var said = [...]string{"arguments", "argument", "context", "uri", "inputResponses"}

// inspectSaid shows the guards that look at everything a client says what stands beside the
// arguments of a tool: those of prompts and completions, addresses of resources, and answers to
// what a server asked.
func (p *Pipeline) inspectSaid(ctx context.Context, c *Call) error {
	if len(p.opts.Said) == 0 {
		return nil
	}
	g := &guards.Call{Tool: c.server + "/" + c.bare}
	show := func(i int, name string) {
		if i != wire.Absent {
			c.addArg(g, i, guards.Arg{Path: name, Name: name})
		}
	}
	show(c.Msg.Result, "result")
	for _, name := range said {
		if c.method.kind != aTool || name == "inputResponses" {
			show(c.Msg.At(c.Msg.Params, name), name)
		}
	}
	if len(g.Args) == 0 {
		return nil
	}
	_, err := p.runGuards(ctx, c, g, p.opts.Said)
	if err != nil && c.pending != nil {
		c.Session.putBack(c.pending) // the client may give another answer
	}
	return err
}

// guardCall shows the call to the guards: every value inside the arguments, with
// its path.
func (c *Call) guardCall(tool string) *guards.Call {
	g := &guards.Call{
		Tool: tool, Action: c.Entry.Action,
		ReadOnly: c.tool.readOnly == yes, Destructive: c.tool.confirmable(), AnyURL: !c.tool.known || c.tool.anyURL,
	}
	if c.Args != wire.Absent {
		g.Args = make([]guards.Arg, 0, int(c.Msg.Nodes[c.Args].Next)-c.Args)
		c.addArgs(g, c.Args, guards.Arg{})
	}
	return g
}

// maxPath bounds the path of an argument, in bytes. The client chooses the names
// in it, and every value below one would carry a copy.
const maxPath = 256

// addArgs appends what container holds; above is the argument it belongs to.
func (c *Call) addArgs(g *guards.Call, container int, above guards.Arg) {
	if c.Msg.Nodes[container].Kind == '[' {
		c.addElements(g, container, above)
		return
	}
	for i := range c.Msg.Children(container) {
		if i == c.carrier {
			continue // the caller's token is none of the tool's business, nor of a guard's
		}
		a := guards.Arg{Path: c.Msg.Name(i), Name: c.Msg.Name(i)}
		if container != c.Args { // an empty name above must not lift its members to the first level
			a.Path = join(above.Path, a.Name)
		}
		c.addArg(g, i, a)
	}
}

func (c *Call) addElements(g *guards.Call, array int, above guards.Arg) {
	element := guards.Arg{Path: elements(above.Path), Name: above.Name}
	for i := range c.Msg.Children(array) {
		c.addArg(g, i, element)
	}
	if c.Msg.Nodes[array].Sparse {
		element.Kind = guards.Number
		g.Args = append(g.Args, element)
	}
}

func (c *Call) addArg(g *guards.Call, i int, a guards.Arg) {
	a.Kind = argKinds[byte(c.Msg.Nodes[i].Kind)]
	a.URL = c.tool.urls[a.Name]
	switch a.Kind {
	case guards.String:
		a.Value = c.Msg.Text(i)
	case guards.Number, guards.Bool, guards.Null:
		a.Value = string(c.Msg.Value(i))
	}
	g.Args = append(g.Args, a)
	if a.Kind == guards.Object || a.Kind == guards.Array {
		c.addArgs(g, i, a)
	}
}

// longPath stands for every path that would be too long.
const longPath = "…"

func join(path, name string) string {
	if path == longPath || len(path)+len(name) >= maxPath {
		return longPath
	}
	return path + "." + name
}

func elements(path string) string {
	if path == longPath || len(path) >= maxPath {
		return longPath
	}
	return path + "[]"
}

var argKinds = map[byte]guards.ArgKind{
	'"': guards.String, '0': guards.Number, 't': guards.Bool, 'f': guards.Bool,
	'n': guards.Null, '{': guards.Object, '[': guards.Array,
}

// rewriteCall returns what changes in the request: constants that guards chose, arguments that
// the operator injects, and confirm and the caller's token, which the upstream does not know.
func (p *Pipeline) rewriteCall(ctx context.Context, c *Call, g *guards.Call, edits []guards.Edit) ([]wire.Patch, error) {
	own, hidden, err := p.ownArgument(ctx, c)
	if err != nil {
		return nil, err
	}
	if p.opts.Passive {
		return c.argumentPatches(own, hidden)
	}
	set := make([]wire.Field, 0, len(edits)+len(c.rule.InjectSubject)+len(own))
	set = append(set, own...)
	for _, e := range edits {
		set = append(set, wire.Field{Name: e.Name, Value: wire.Quote(nil, e.Value)})
	}
	for _, name := range c.rule.InjectSubject {
		if claimed := c.Msg.Member(c.Args, name); claimed != wire.Absent && c.Msg.Text(claimed) != c.Principal.Subject {
			c.found(guards.Finding{Guard: "identity", Rule: "overridden", Label: "identity:overridden " + name, Score: 1})
		}
		set = append(set, wire.Field{Name: name, Value: wire.Quote(nil, c.Principal.Subject)})
	}
	confirm := ""
	if p.confirms(g, c.rule) && !c.tool.own[p.opts.Confirm.Name] {
		confirm = p.opts.Confirm.Name
	}
	return c.argumentPatches(set, hidden, confirm)
}

// argumentPatches replaces the first-level arguments in set, adds those that are
// absent, and removes strip and the caller's token.
func (c *Call) argumentPatches(set []wire.Field, strip ...string) ([]wire.Patch, error) {
	if c.Args == wire.Absent {
		if len(set) == 0 {
			return nil, nil
		}
		return c.Msg.Edit(c.Msg.Params, nil, wire.Field{Name: "arguments", Value: object(set)}), nil
	}
	var patches []wire.Patch
	var add []wire.Field
	for _, f := range set {
		if refusal := c.ambiguous(f.Name); refusal != nil {
			return nil, refusal
		}
		if at := c.Msg.Member(c.Args, f.Name); at != wire.Absent {
			patches = append(patches, c.Msg.Replace(at, f.Value))
			continue
		}
		add = append(add, f)
	}
	drop := func(i int) bool {
		return i == c.carrier || c.Msg.Name(i) != "" && slices.Contains(strip, c.Msg.Name(i))
	}
	return append(patches, c.Msg.Edit(c.Args, drop, add...)...), nil
}

// ambiguous refuses another spelling of an argument's name: it would win in an
// upstream that folds case.
func (c *Call) ambiguous(name string) *Rejection {
	for i := range c.Msg.ChildrenOf(c.Args) {
		if wire.FoldsTo(c.Msg.Name(i), name) {
			return blocked("identity", "ambiguous-argument", "blocked: the argument "+name+" is spelled with the wrong case")
		}
	}
	return nil
}

// confirms says whether calls of the tool are let through only with confirm=true,
// so that the argument is advertised and stripped.
func (p *Pipeline) confirms(g *guards.Call, r ToolRule) bool {
	mode, ok := r.Guards["consent"]
	if !ok {
		mode = p.opts.Modes["consent"]
	}
	return mode == guards.Enforce && !p.opts.Passive && p.opts.NeedsConfirm(g)
}

func object(fields []wire.Field) []byte {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(wire.Quote(b, f.Name), ':'), f.Value...)
	}
	return append(b, '}')
}
