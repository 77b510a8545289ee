package pipeline

import (
	"cmp"
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
//
// m is the response to c, a notification on c's stream, or a request that the
// upstream starts; then c is the call of that request.
func (p *Pipeline) inspectOutput(c *Call, m *wire.Message) ([]byte, error) {
	o := &output{p: p, c: c, m: m, own: p.ownCredentials(c), note: wire.Absent, tool: wire.Absent}
	o.sequence = o.first[:0]
	if p.opts.Review != nil {
		o.review = p.opts.Review()
	}
	if p.opts.Nonce != nil {
		o.nonce = p.opts.Nonce()
	}
	for i, g := range p.opts.Output {
		o.modes[i] = p.modeOf(g.Name(), c)
	}
	o.exceptions(c.rule)
	if err := o.inspect(); err != nil {
		return nil, err
	}
	if p.opts.Passive {
		o.patches = o.vital
	}
	if len(o.patches) == 0 {
		return m.Raw, nil
	}
	body, err := wire.Splice(m.Raw, o.patches)
	if err != nil {
		return nil, failed(err)
	}
	return o.reconcile(body)
}

// ownCredentials are what no answer to c may echo: those of the sidecar's, and what c
// came with. The upstream was not shown the latter, but may know it from elsewhere.
func (p *Pipeline) ownCredentials(c *Call) (all []string) {
	if p.opts.Own != nil {
		all = slices.Clip(p.opts.Own(c.Principal))
	}
	for _, credential := range c.delegation.Issued() {
		all = append(all, credential.Reveal())
	}
	for i := range c.presented.Len() {
		all = append(all, c.presented.At(i).Reveal())
	}
	return all
}

// maxGuards bounds the output guards of a pipeline.
const maxGuards = 8

// output is the inspection of one message.
type output struct {
	p        *Pipeline
	c        *Call
	m        *wire.Message
	own      []string // credentials that the answer may not echo
	nonce    string   // of the delimiters
	review   Review   // nil where there is none
	modes    [maxGuards]guards.Mode
	excepts  *[maxGuards]guards.Except // nil where the operator lets nothing be
	patches  []wire.Patch
	vital    []wire.Patch // those that are made where nothing else is changed
	sequence []leaf       // texts that a reader may join, not settled yet
	first    [1]leaf      // room for the only one that most answers have
	labels   []label      // what enforcing guards found
	ownMeta  int          // node of the result's _meta once meta has edited it; 0 before
	inText   bool         // something was found or wrapped in text that a note can follow
	note     int          // node of the content that a note may be added to, or Absent
	tool     int          // node of the tool result in the message, or Absent
	asks     bool         // the result asks for input
	cached   bool         // the result says who may keep it (cacheScope)
	err      error        // the first refusal
}

func (o *output) inspect() error {
	m := o.m
	o.envelope()
	var err error
	switch {
	case m.Kind == wire.Notification:
		o.notification()
	case m.Kind == wire.Request:
		o.request(m.Method, m.Params)
	case m.Err != wire.Absent:
		err = o.jsonRPCError()
	default:
		err = o.result()
	}
	o.flush(o.flow())
	if err != nil {
		return err
	}
	o.tell()
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
			o.strings(i, metadata)
		}
	}
}

// Texts that are neither prose nor part of a form that has its own inspector.
var (
	metadata = guards.Text{Kind: guards.Metadata, Wrap: guards.WrapOff}
	// foreign is what stands in a message whose form nobody knows: a model may
	// read any of it.
	foreign = guards.Text{Kind: guards.Content, Wrap: guards.WrapOff}
)

// results says how the result of each method is inspected. A method that is not
// here is admitted by the configuration alone.
var results = map[string]func(*output) error{
	"initialize":               (*output).initialized,
	"server/discover":          (*output).discovered,
	"ping":                     (*output).plainResult,
	"logging/setLevel":         (*output).plainResult,
	"tools/list":               (*output).toolList,
	"tools/call":               (*output).toolCall,
	"resources/list":           (*output).resourceList,
	"resources/templates/list": (*output).templateList,
	"resources/read":           (*output).resourceRead,
	"resources/subscribe":      (*output).plainResult,
	"resources/unsubscribe":    (*output).plainResult,
	"prompts/list":             (*output).promptList,
	"prompts/get":              (*output).promptGet,
	"completion/complete":      (*output).completion,
	"subscriptions/listen":     (*output).plainResult,
	"tasks/get":                (*output).taskState,
	"tasks/list":               (*output).taskList,
	"tasks/result":             (*output).taskResult,
	"tasks/update":             (*output).plainResult,
	"tasks/cancel":             (*output).taskState,
}

func (o *output) result() error {
	m := o.m
	inspect, known := results[o.c.Method]
	switch {
	case !known:
		o.strings(m.Result, foreign)
		return nil
	case m.Nodes[m.Result].Kind != '{':
		return upstreamFailed("malformed", errors.New("the upstream's result is not an object"))
	}
	if err := o.resultType(); err != nil {
		return err
	}
	return inspect(o)
}

// resultType reads which of its forms the result has. A form that is not known
// could hold anything, in places where nobody looks.
func (o *output) resultType() error {
	m := o.m
	row := methods[methodKey{FromClient, wire.Request, o.c.Method}]
	t := m.Member(m.Result, "resultType")
	switch said := m.Text(t); {
	case t == wire.Absent || said == "complete":
		return nil
	case o.c.Era == Legacy: // older revisions have no forms, and their clients would not see this one
	case said == "input_required" && row != nil && row.asks:
		o.asks = true
		return nil
	case said == "task" && o.c.Method == "tools/call":
		return nil // the tasks extension: the result comes later
	}
	return upstreamFailed("result-type", errors.New("the upstream's result has a resultType that this method does not have"))
}

func (o *output) initialized() error {
	m, c := o.m, o.c
	version := slices.Index(legacyRevisions, m.Text(m.Member(m.Result, "protocolVersion")))
	if version < 0 {
		return upstreamFailed("version", errors.New("the upstream negotiates a protocol revision that is not served"))
	}
	if c.Session != nil {
		o.p.sessions.negotiated(c.Session, legacyRevisions[version])
	}
	return o.serverInfo()
}

// discovered leaves out the revisions that are not served: a client that chose one
// of them would be refused, where it could have had another.
func (o *output) discovered() error {
	m := o.m
	if list := m.Member(m.Result, "supportedVersions"); list != wire.Absent && m.Nodes[list].Kind == '[' && !m.Nodes[list].Sparse {
		o.patches = append(o.patches, m.Edit(list, func(i int) bool { return !slices.Contains(revisions, m.Text(i)) })...)
	}
	return o.serverInfo()
}

// serverInfo inspects what an upstream says about itself.
func (o *output) serverInfo() error {
	m := o.m
	for i := range m.Children(m.Result) {
		if m.Name(i) == "instructions" {
			o.strings(i, guards.Text{Kind: guards.Instructions, Source: o.p.opts.Server + "/instructions"})
			continue
		}
		o.rest(i)
	}
	return nil
}

// plainResult inspects a result that says no more than that something was done.
func (o *output) plainResult() error {
	for i := range o.m.Children(o.m.Result) {
		o.rest(i)
	}
	return nil
}

// rest inspects a member of the result that is nobody's prose.
func (o *output) rest(i int) {
	m := o.m
	name := m.Name(i)
	switch {
	case name == "resultType": // judged already, or the result would have been refused
	case o.asks && name == "inputRequests" && m.Nodes[i].Kind == '{':
		o.inputRequests(i)
	case o.asks && name == "requestState" && m.Nodes[i].Kind == '"': // opaque; it is sealed before it leaves
	default:
		o.strings(i, metadata)
	}
}

// ownID puts the request's id into an error whose sender could not read it.
func (o *output) ownID() {
	m := o.m
	if o.c.Msg == nil || o.c.Msg.ID == wire.Absent {
		return
	}
	id := o.c.Msg.Value(o.c.Msg.ID)
	switch {
	case m.ID == wire.Absent:
		o.patches = append(o.patches, m.Edit(0, nil, wire.Field{Name: "id", Value: id})...)
	case m.Nodes[m.ID].Kind == 'n':
		o.patches = append(o.patches, m.Replace(m.ID, id))
	}
}

func (o *output) jsonRPCError() error {
	if o.m.Nodes[o.m.Err].Kind != '{' {
		return upstreamFailed("malformed", errors.New("the upstream's error is not an object"))
	}
	o.failure(o.m.Err)
	return nil
}

// failure inspects a JSON-RPC error object.
func (o *output) failure(i int) {
	for f := range o.m.Children(i) {
		t := guards.Text{Kind: guards.Error, Wrap: guards.WrapOff}
		if o.m.Name(f) == "message" {
			t.Wrap, t.Source = guards.WrapFlagged, o.source()
		}
		o.strings(f, t)
	}
}

// strings inspects every string in value i, member names included.
func (o *output) strings(i int, t guards.Text) { o.each(i, t, o.text) }

// each calls inspect for every string in value i, and judges the member names.
func (o *output) each(i int, t guards.Text, inspect func(i int, t guards.Text)) {
	m := o.m
	for n := i; n < int(m.Nodes[i].Next); n++ {
		if m.Nodes[n].NameEnd != 0 {
			t.Member = m.Name(n) // an array's strings belong to the array's member
			o.memberName(t.Member)
		}
		if m.Nodes[n].Kind != '"' {
			continue
		}
		leaf := t
		if n > i {
			leaf.Wrap = guards.WrapOff // inside a structure nothing is wrapped
		}
		inspect(n, leaf)
	}
}

// source names the origin of the call's results for the delimiters.
func (o *output) source() string {
	c := o.c
	switch {
	case c.Target == "":
		return o.p.opts.Server
	case c.rule.Source == "":
		return o.p.serverOf(c) + "/" + cmp.Or(c.bare, c.Target)
	}
	return expand(c.rule.Source, func(name string) string {
		i := c.Msg.Member(c.Args, name)
		if i == wire.Absent || i == c.carrier {
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
