package pipeline

import (
	"errors"
	"slices"
	"strings"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// ours is the prefix of the sidecar's own _meta keys. An upstream that uses it
// would speak in the sidecar's name.
const ours = "mcp-sidecar/"

// inspectOutput shows every string of m that the client could read to the output
// guards, and returns the bytes that may leave. Where nothing has to change they
// are m's own.
func (p *Pipeline) inspectOutput(c *Call, m *wire.Message) ([]byte, error) {
	o := &output{p: p, c: c, m: m}
	for i, g := range p.opts.Output {
		o.modes[i] = p.modeOf(g.Name(), c)
	}
	if err := o.inspect(); err != nil {
		return nil, err
	}
	if p.opts.Passive || len(o.patches) == 0 {
		return m.Raw, nil
	}
	body, err := wire.Splice(m.Raw, o.patches)
	if err != nil {
		return nil, failed(err)
	}
	return o.reconcile(body)
}

// maxGuards bounds the output guards of a pipeline.
const maxGuards = 8

// output is the inspection of one message.
type output struct {
	p       *Pipeline
	c       *Call
	m       *wire.Message
	modes   [maxGuards]guards.Mode
	patches []wire.Patch
	labels  []string // what enforcing guards found, in order
	ownMeta int      // node of the result's _meta once meta has edited it; 0 before
	inText  bool     // something was found or wrapped in text that a note can follow
	err     error    // the first refusal
}

func (o *output) inspect() error {
	m := o.m
	o.envelope()
	var err error
	switch {
	case m.Kind == wire.Notification:
		o.notification()
	case m.Err != wire.Absent:
		err = o.jsonRPCError()
	default:
		err = o.result()
	}
	if err != nil {
		return err
	}
	o.disown()
	if o.err == nil && m.Kind == wire.Response {
		o.ownID()
	}
	return o.err
}

// envelope inspects members that JSON-RPC does not define.
func (o *output) envelope() {
	for i := range o.m.Children(0) {
		switch o.m.Name(i) {
		case "jsonrpc", "id", "method", "params", "result", "error":
		default:
			o.strings(i, guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff})
		}
	}
}

func (o *output) result() error {
	m, c := o.m, o.c
	if m.Nodes[m.Result].Kind != '{' {
		return upstreamFailed("malformed", errors.New("the upstream's result is not an object"))
	}
	if t := m.Member(m.Result, "resultType"); t != wire.Absent && m.Text(t) != "complete" {
		return upstreamFailed("result-type", errors.New("the upstream asks for input in its result, which is not built yet"))
	}
	switch c.Method {
	case "tools/call":
		o.toolResult()
	case "tools/list":
		return o.toolList()
	case "initialize":
		version := slices.Index(legacyRevisions, m.Text(m.Member(m.Result, "protocolVersion")))
		if version < 0 {
			return upstreamFailed("version", errors.New("the upstream negotiates a protocol revision that is not served"))
		}
		if c.Session != nil {
			o.p.sessions.negotiated(c.Session, legacyRevisions[version])
		}
		o.serverInfo()
	default:
		o.serverInfo()
	}
	return nil
}

// ownID puts the request's id into an error whose sender could not read it.
func (o *output) ownID() {
	m := o.m
	id := o.c.Msg.Value(o.c.Msg.ID)
	switch {
	case m.ID == wire.Absent:
		o.patches = append(o.patches, m.Edit(0, nil, wire.Field{Name: "id", Value: id})...)
	case m.Nodes[m.ID].Kind == 'n':
		o.patches = append(o.patches, m.Replace(m.ID, id))
	}
}

func (o *output) jsonRPCError() error {
	m := o.m
	if m.Nodes[m.Err].Kind != '{' {
		return upstreamFailed("malformed", errors.New("the upstream's error is not an object"))
	}
	for i := range m.Children(m.Err) {
		t := guards.Text{Kind: guards.Error, Wrap: guards.WrapOff}
		if m.Name(i) == "message" {
			t.Wrap, t.Source = guards.WrapFlagged, o.source()
		}
		o.strings(i, t)
	}
	return nil
}

func (o *output) notification() {
	m := o.m
	if m.Params == wire.Absent {
		return
	}
	for i := range m.Children(m.Params) {
		switch m.Name(i) {
		case "progressToken": // the client's own, or the message would have been dropped
		case "message", "data":
			o.strings(i, guards.Text{Kind: guards.Notification, Source: o.source()})
		default:
			o.strings(i, guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff})
		}
	}
}

// serverInfo inspects what an upstream says about itself.
func (o *output) serverInfo() {
	m := o.m
	for i := range m.Children(m.Result) {
		if m.Name(i) == "instructions" {
			o.strings(i, guards.Text{Kind: guards.Instructions, Source: o.p.opts.Server + "/instructions"})
			continue
		}
		o.strings(i, guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff})
	}
	o.meta(o.labels)
}

// toolResult inspects the answer to a tool call.
func (o *output) toolResult() {
	m := o.m
	structured := m.Member(m.Result, "structuredContent")
	content := wire.Absent
	for i := range m.Children(m.Result) {
		switch m.Name(i) {
		case "content":
			content = i
			if m.Nodes[i].Kind != '[' {
				o.strings(i, guards.Text{Kind: guards.Content, Wrap: guards.WrapOff})
				continue
			}
			o.content(i, structured != wire.Absent)
		case "structuredContent":
			o.strings(i, guards.Text{Kind: guards.Structured, Wrap: guards.WrapOff})
		case "resultType": // "complete" or absent, or the result would have been refused
		default:
			o.strings(i, guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff})
		}
	}
	o.note(content, structured != wire.Absent)
}

// content inspects content blocks.
func (o *output) content(list int, structured bool) {
	m, rule := o.m, o.c.rule
	isError := m.IsTrue(m.Member(m.Result, "isError"))
	t := guards.Text{Kind: guards.Content, Wrap: rule.Wrap, Source: o.source()}
	if structured {
		t.Wrap = guards.WrapOff
	}
	n := 0
	for block := range m.Children(list) {
		t.Trusted = !isError && slices.Contains(rule.TrustedBlocks, n)
		o.block(block, t)
		n++
	}
}

func (o *output) block(block int, t guards.Text) {
	m := o.m
	kind := m.Text(m.Member(block, "type"))
	rest := guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff}
	if kind != "text" && kind != "image" && kind != "audio" && kind != "resource" {
		// Links, kinds that are not known, things that are no block at all: a model
		// may read any of it.
		o.strings(block, guards.Text{Kind: guards.Content, Wrap: guards.WrapOff, Trusted: t.Trusted, Source: t.Source})
		return
	}
	for i := range m.Children(block) {
		switch name := m.Name(i); {
		case name == "data" && (kind == "image" || kind == "audio"):
			o.strings(i, guards.Text{Kind: guards.Binary, Wrap: guards.WrapOff})
		case name == "text" && kind == "text":
			o.strings(i, t)
		case name == "resource" && kind == "resource" && m.Nodes[i].Kind == '{':
			o.resource(i, t)
		default:
			o.strings(i, rest)
		}
	}
}

func (o *output) resource(i int, t guards.Text) {
	m := o.m
	for f := range m.Children(i) {
		switch m.Name(f) {
		case "text":
			o.strings(f, t)
		case "blob":
			o.strings(f, guards.Text{Kind: guards.Binary, Wrap: guards.WrapOff})
		default:
			o.strings(f, guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff})
		}
	}
}

// strings inspects every string in value i, member names included.
func (o *output) strings(i int, t guards.Text) {
	m := o.m
	for n := i; n < int(m.Nodes[i].Next); n++ {
		if m.Nodes[n].NameEnd != 0 {
			t.Member = m.Name(n) // an array's strings belong to the array's member
		}
		if m.Nodes[n].NameEnd != 0 {
			o.memberName(t.Member)
		}
		if m.Nodes[n].Kind != '"' {
			continue
		}
		leaf := t
		if n > i {
			leaf.Wrap = guards.WrapOff // inside a structure nothing is wrapped
		}
		o.text(n, leaf)
	}
}

// source names the origin of the call's results for the delimiters.
func (o *output) source() string {
	c := o.c
	switch {
	case c.Target == "":
		return o.p.opts.Server
	case c.rule.Source == "":
		return o.p.opts.Server + "/" + c.Target
	}
	return expand(c.rule.Source, func(name string) string {
		i := c.Msg.Member(c.Args, name)
		if i == wire.Absent {
			return "?"
		}
		if c.Msg.Nodes[i].Kind == '"' {
			return c.Msg.Text(i)
		}
		return string(c.Msg.Value(i))
	})
}

// expand replaces each {name} in template. The guard makes the result safe for
// where it is written.
func expand(template string, value func(string) string) string {
	var b strings.Builder
	for {
		head, rest, ok := strings.Cut(template, "{")
		b.WriteString(head)
		if !ok {
			return b.String()
		}
		name, tail, closed := strings.Cut(rest, "}")
		if !closed {
			return b.String() + "{" + rest
		}
		v := value(name)
		b.WriteString(v[:min(len(v), 64)])
		template = tail
	}
}
