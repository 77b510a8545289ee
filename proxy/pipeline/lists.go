package pipeline

import (
	"errors"
	"slices"
	"strings"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// listing is a result that lists features of one kind.
type listing struct {
	member  string // of the result, which holds the list
	id      string // member of an entry that names it
	feature feature
	source  string // what names an entry in the delimiters, before its name
}

func (o *output) toolList() error {
	return o.list(listing{"tools", "name", aTool, "tool:"}, func(list int) { o.learn(list) }, func(t int) {
		if !o.p.opts.Passive {
			o.schema(t, o.m.Text(o.m.Member(t, "name")))
		}
	})
}

func (o *output) resourceList() error {
	return o.list(listing{"resources", "uri", aResource, "resource:"}, nil, nil)
}

func (o *output) templateList() error {
	return o.list(listing{"resourceTemplates", "uriTemplate", aTemplate, "template:"}, nil, nil)
}

func (o *output) promptList() error {
	return o.list(listing{"prompts", "name", aPrompt, "prompt:"}, nil, nil)
}

// list filters a listing for the caller: what a request of his could not reach is
// left out. all is shown the whole list, each what is left of it.
func (o *output) list(l listing, all, each func(int)) error {
	m, p := o.m, o.p
	list := m.Member(m.Result, l.member)
	if list == wire.Absent || m.Nodes[list].Kind != '[' || m.Nodes[list].Sparse {
		return upstreamFailed("malformed", errors.New(o.c.Method+" answered without a list of "+l.member))
	}
	if err := o.count(list); err != nil {
		return err
	}
	if all != nil {
		all(list)
	}
	hidden := func(e int) bool {
		return p.opts.Authorization == guards.Enforce && !p.visible(o.c, l.feature, m.Text(m.Member(e, l.id)))
	}
	cuts := m.Edit(list, hidden)
	for e := range m.Children(list) {
		if hidden(e) {
			continue
		}
		if l.feature == aTool {
			o.exceptions(p.opts.Rules[m.Text(m.Member(e, l.id))])
		}
		o.definition(e, guards.Text{Kind: guards.Description, Source: l.source + m.Text(m.Member(e, l.id))})
		if each != nil {
			each(e)
		}
	}
	o.exceptions(o.c.rule)
	for i := range m.Children(m.Result) {
		// The upstream wants its cursor back as it is; private sees to cacheScope.
		name := m.Name(i)
		spared := m.Nodes[i].Kind == '"' && (name == "nextCursor" || name == "cacheScope")
		if i != list && !spared {
			o.rest(i)
		}
	}
	o.patches = append(o.patches, cuts...)
	o.cached = true
	return nil
}

// count holds a list to its limits. They bound what one upstream can make the
// sidecar and its clients read.
func (o *output) count(list int) error {
	n := 0
	for e := range o.m.Children(list) {
		if n++; n > o.p.opts.Limits.Tools {
			return upstreamFailed("tools", errors.New("the upstream lists more entries than the limit allows"))
		}
		if len(o.m.Value(e)) > o.p.opts.Limits.ToolDefinition {
			return upstreamFailed("tool-definition", errors.New("the upstream lists an entry whose definition exceeds the limit"))
		}
	}
	return nil
}

// learn keeps the definitions of a complete list, so that no request of the
// sidecar's own is needed.
func (o *output) learn(list int) {
	m := o.m
	if m.Member(m.Result, "nextCursor") != wire.Absent || o.c.Msg.At(o.c.Msg.Params, "cursor") != wire.Absent {
		return
	}
	tools := map[string]map[string]toolInfo{o.p.opts.Server: {}} // by server
	for t := range m.Children(list) {
		name := strings.Clone(m.Text(m.Member(t, "name")))
		server, _ := o.p.split(o.c, name)
		if tools[server] == nil {
			tools[server] = map[string]toolInfo{}
		}
		tools[server][name] = describe(m, t)
	}
	for server := range tools {
		o.p.inventoryOf(o.c, server).set(tools[server], o.c.upstreamSession())
		o.p.tell(o.c, server, tools[server])
	}
}

// definition inspects the strings of a definition. Only what a person reads is
// prose; the rest are words that the schema is made of.
func (o *output) definition(i int, t guards.Text) {
	m := o.m
	for n := i; n < int(m.Nodes[i].Next); n++ {
		if m.Nodes[n].NameEnd != 0 {
			o.memberName(m.Name(n))
		}
		if m.Nodes[n].Kind != '"' {
			continue
		}
		leaf := t
		switch m.Name(n) {
		case "description":
		case "title":
			leaf.Wrap = guards.WrapOff
		default:
			leaf.Kind, leaf.Wrap = guards.Metadata, guards.WrapOff
		}
		o.text(n, leaf)
	}
}

// schema takes injected arguments out of a tool's input schema and adds those that
// the sidecar reads itself.
func (o *output) schema(t int, name string) {
	m, p := o.m, o.p
	rule, info := p.opts.Rules[name], describe(m, t)
	schema := m.Member(t, "inputSchema")
	props := m.Member(schema, "properties")
	server, _ := p.split(o.c, name)
	injected := func(n string) bool { return slices.Contains(rule.InjectSubject, n) || p.hides(server, n) }
	if own := p.opts.Arguments[server].Name; own != "" && !info.plain && !info.own[own] {
		p.inventories.at(server).warnOnce(name+"\x00"+own, func() {
			p.opts.Log.Warn("the tool keeps its own input schema: where it declares the sidecar's argument cannot be told", "tool", name, "argument", own)
		})
	}
	add := p.additions(o.c, name, rule, info)
	if props == wire.Absent {
		if add != nil {
			o.patches = append(o.patches, m.Edit(schema, nil, wire.Field{Name: "properties", Value: object(add)})...)
		}
		return
	}
	if m.Nodes[props].Kind != '{' {
		return
	}
	o.patches = append(o.patches, m.Edit(props, func(i int) bool { return injected(m.Name(i)) }, add...)...)
	if required := m.Member(schema, "required"); required != wire.Absent && m.Nodes[required].Kind == '[' && !m.Nodes[required].Sparse {
		o.patches = append(o.patches, m.Edit(required, func(i int) bool { return injected(m.Text(i)) })...)
	}
}

// additions are the arguments that are added to the tool's schema: the
// confirmation where it is needed, and the caller's token where that way is open.
// The schema must be one that can be added to.
func (p *Pipeline) additions(c *Call, name string, r ToolRule, info toolInfo) []wire.Field {
	server, bare := p.split(c, name)
	g := &guards.Call{Tool: server + "/" + bare, ReadOnly: info.readOnly == yes, Destructive: info.confirmable()}
	var add []wire.Field
	for _, a := range []struct {
		Property
		wanted, kept bool
	}{
		{p.opts.Confirm, p.confirms(g, r), info.own[p.opts.Confirm.Name] || !info.plain},
		{p.opts.Token, p.opts.Token.Name != "", info.keeps(p.opts.Token.Name)},
	} {
		switch {
		case !a.wanted:
		case a.kept:
			p.inventories.at(server).warnOnce(name+"\x00"+a.Name, func() {
				p.opts.Log.Warn("the tool keeps its own input schema: an argument of the sidecar's cannot be added to it", "tool", name, "argument", a.Name, "own_argument", info.own[a.Name])
			})
		default:
			add = append(add, wire.Field{Name: a.Name, Value: a.Schema})
		}
	}
	return add
}

// private marks a result that was filtered or rewritten for this caller: a shared
// cache would hand it to others (MCP 2026-07-28, server/utilities/caching). A
// scope that is none becomes private too.
func (o *output) private() {
	m := o.m
	scope := m.Member(m.Result, "cacheScope")
	said := m.Text(scope)
	mine := o.c.Era == Modern && (len(o.patches) > 0 || o.p.opts.PerCaller || o.p.delegates())
	switch {
	case scope == wire.Absent && mine:
		o.patches = append(o.patches, m.Edit(m.Result, nil, wire.Field{Name: "cacheScope", Value: []byte(`"private"`)})...)
	case scope == wire.Absent || said == "private":
	case mine || said != "public" && m.Nodes[scope].Kind == '"':
		o.patches = append(o.patches, m.ReplaceText(scope, "private"))
	}
}
