package pipeline

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// inventoryRetry is how long a failed listing stands, so that an upstream
// without tools/list is not asked before every call.
const inventoryRetry = 30 * time.Second

// inventoryFresh is how long a listing is proof that a tool does not exist.
const inventoryFresh = time.Second

// Bounds of a listing.
const (
	maxListings = 3 // that one call starts or waits for
	listTime    = 10 * time.Second
)

// hint is a tool annotation: absent is not the same as false.
type hint uint8

const (
	unsaid hint = iota
	yes
	no
)

// toolInfo is what the pipeline needs of a tool's published definition. Its zero
// value stands for a tool of which nothing is known.
type toolInfo struct {
	known       bool
	readOnly    hint
	destructive hint
	own         map[string]bool // names in inputSchema.properties
	urls        map[string]bool // names of arguments that are URLs
	anyURL      bool            // the schema speaks of URLs without saying which argument
	headers     []headerParam
	output      *outputSchema
	input       *inputSchema
	plain       bool // inputSchema is an object schema that can be added to
}

// confirmable says whether the definition marks the tool as destructive; what is
// unknown is.
func (t toolInfo) confirmable() bool { return !t.known || t.destructive == yes }

// mayDestroy follows MCP's defaults (server/tools, "Tool Annotations"): unless a
// tool says that it only reads or does not destroy, it may.
func (t toolInfo) mayDestroy() bool { return t.readOnly != yes && t.destructive != no }

// inventory holds the upstream's tool definitions. It is shared by all principals
// who reach the upstream with the same credential.
type inventory struct {
	fetch func(ctx context.Context, c *Call) (map[string]toolInfo, error)
	now   func() time.Time

	mu       sync.Mutex
	tools    map[string]toolInfo
	listed   time.Time     // when they were listed last
	listedIn string        // the upstream session of that listing
	failed   time.Time     // when the last listing failed; zero when it did not
	failedIn string        // the upstream session of that listing
	pending  chan struct{} // closed when the listing in flight ends
	epoch    int           // counts what made listings stale
	told     int           // the epoch whose first listing Options.Listed was told, plus one
	warned   map[string]bool
}

// inventories are those of the servers behind one pipeline, so that one which does
// not answer says nothing of the others' tools, and those of each caller where
// every caller has a credential of his own.
type inventories struct {
	make func() *inventory

	mu      sync.Mutex
	of      map[string]*inventory
	callers map[callersInventory]*inventory
}

// callersInventory names what a server offers to one caller.
type callersInventory struct{ server, owner string }

// maxCallers bounds the callers whose tools are remembered. Who is forgotten is
// asked for again.
const maxCallers = 1024

// ofCaller is at for a server that is shown a credential of owner's.
func (v *inventories) ofCaller(server, owner string) *inventory {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.callers == nil {
		v.callers = map[callersInventory]*inventory{}
	}
	key := callersInventory{server, owner}
	if v.callers[key] != nil {
		return v.callers[key]
	}
	for other := range v.callers {
		if len(v.callers) < maxCallers {
			break
		}
		delete(v.callers, other)
	}
	v.callers[key] = v.make()
	return v.callers[key]
}

// at returns the inventory of a server. Names of servers come from the
// configuration, so there are few.
func (v *inventories) at(server string) *inventory {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[string]*inventory{}
	}
	if v.of[server] == nil {
		v.of[server] = v.make()
	}
	return v.of[server]
}

// stale forgets every server's definitions: one of them said that its changed.
func (v *inventories) stale() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range v.of {
		i.stale()
	}
	for _, i := range v.callers {
		i.stale()
	}
}

func newInventory(fetch func(context.Context, *Call) (map[string]toolInfo, error), now func() time.Time) *inventory {
	return &inventory{fetch: fetch, now: now}
}

// tool returns what is known of c's tool, and whether a listing succeeded that
// lacks it. The first call that asks lists the tools, inside its own session;
// concurrent ones wait for it. A tool that is missing is looked for once more: an
// upstream may offer it in this session only, or since a moment ago. A listing
// that fails leaves the tool unknown. The error says that there is no credential to
// list with: then there is none for the call either.
func (v *inventory) tool(ctx context.Context, c *Call) (info toolInfo, missing bool, err error) {
	for range maxListings {
		v.mu.Lock()
		if info, missing, ok := v.look(c); ok {
			v.mu.Unlock()
			return info, missing, nil
		}
		wait := v.pending
		if wait == nil {
			v.pending = make(chan struct{})
			epoch := v.epoch
			v.mu.Unlock()
			if err := v.list(ctx, c, epoch); errors.Is(err, identity.ErrNoCredential) {
				return toolInfo{}, false, err
			}
			continue
		}
		v.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return toolInfo{}, false, nil
		}
	}
	return toolInfo{}, false, nil // the tools change faster than they can be listed
}

// look answers from what is at hand, if that is good enough. A failure counts in
// the session it happened in: one client's broken session says nothing of others.
func (v *inventory) look(c *Call) (info toolInfo, missing, ok bool) {
	now := v.now()
	info, found := v.tools[c.Target]
	if !found && !v.failed.IsZero() && v.failedIn == c.upstreamSession() && now.Sub(v.failed) < inventoryRetry {
		return toolInfo{}, false, true
	}
	// Tools may differ between sessions, so one says nothing about another's.
	fresh := v.tools != nil && v.listedIn == c.upstreamSession() && now.Sub(v.listed) < inventoryFresh
	return info, !found, found || fresh
}

// list fetches the definitions. Whoever waits is woken whatever happens.
func (v *inventory) list(ctx context.Context, c *Call, epoch int) (err error) {
	var tools map[string]toolInfo
	err = errors.New("listing did not return")
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		close(v.pending)
		v.pending = nil
		switch {
		case errors.Is(err, identity.ErrNoCredential): // says nothing of the tools
		case err != nil:
			v.failed, v.failedIn = v.now(), c.upstreamSession()
		case v.epoch == epoch:
			v.keep(tools, c.upstreamSession())
		}
	}()
	tools, err = v.fetch(ctx, c)
	return err
}

// set keeps definitions that came by in a client's own complete listing.
func (v *inventory) set(tools map[string]toolInfo, session string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(tools, session)
}

// keep replaces what the same session listed before, and adds to what others
// did.
func (v *inventory) keep(tools map[string]toolInfo, session string) {
	if v.listedIn != session && len(v.tools) < maxKept {
		for name, info := range v.tools {
			if _, ok := tools[name]; !ok {
				tools[name] = info
			}
		}
	}
	v.tools, v.listed, v.listedIn, v.failed = tools, v.now(), session, time.Time{}
}

// maxKept bounds the definitions of tools that only other sessions list.
const maxKept = 4096

// tell passes what a server lists on, once in an epoch. c is the call that it was
// listed for.
func (p *Pipeline) tell(c *Call, server string, tools map[string]toolInfo) {
	if p.opts.Listed == nil || p.opts.Delegated[server] || !p.inventories.at(server).untold() {
		return
	}
	args := make(map[string][]string, len(tools))
	for target, info := range tools {
		_, name := p.split(c, target)
		args[name] = nil
		if info.plain && info.own != nil {
			args[name] = slices.Sorted(maps.Keys(info.own))
		}
	}
	p.opts.Listed(server, args)
}

// untold says whether nobody was told of a listing in this epoch, for the one who
// will.
func (v *inventory) untold() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	first := v.told <= v.epoch
	v.told = v.epoch + 1
	return first
}

// warnOnce runs warn the first time it is called for a tool.
func (v *inventory) warnOnce(tool string, warn func()) {
	tool = strings.Clone(tool)
	v.mu.Lock()
	seen := v.warned[tool]
	if v.warned == nil {
		v.warned = map[string]bool{}
	}
	if len(v.warned) < maxWarned {
		v.warned[tool] = true
	}
	v.mu.Unlock()
	if !seen {
		warn()
	}
}

// maxWarned bounds what warnOnce remembers; an upstream chooses the names.
const maxWarned = 4096

// stale forgets the definitions: the upstream said that they changed.
func (v *inventory) stale() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tools, v.failed = nil, time.Time{}
	v.epoch++
}

// fetchTools lists the upstream's tools with requests of the sidecar's own, in
// c's session and revision.
func (p *Pipeline) fetchTools(ctx context.Context, c *Call) (map[string]toolInfo, error) {
	// Others wait for this listing, so it must not end with the client that
	// happened to ask first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTime)
	defer cancel()
	tools := map[string]toolInfo{}
	cursor := []byte(nil)
	for range p.opts.Limits.Tools { // a page may be empty, but not every page
		m, err := p.ask(ctx, c, listRequest(c, cursor))
		if err != nil {
			return nil, err
		}
		list := m.At(m.Result, "tools")
		if list == wire.Absent || m.Nodes[list].Kind != '[' {
			return nil, errors.New("tools/list answered without tools")
		}
		for t := range m.Children(list) {
			if len(tools) >= p.opts.Limits.Tools || len(m.Value(t)) > p.opts.Limits.ToolDefinition {
				return nil, errors.New("the upstream lists more than the limits allow")
			}
			tools[strings.Clone(m.Text(m.Member(t, "name")))] = describe(m, t)
		}
		next := m.Value(m.At(m.Result, "nextCursor"))
		if m.Text(m.At(m.Result, "nextCursor")) == "" || string(next) == string(cursor) {
			p.tell(c, p.serverOf(c), tools)
			return tools, nil
		}
		cursor = next
	}
	return nil, errors.New("the upstream lists its tools on too many pages")
}

func listRequest(c *Call, cursor []byte) []byte {
	b := []byte(`{"jsonrpc":"2.0","id":` + reservedID + `,"method":"tools/list","params":{`)
	if cursor != nil {
		b = append(append(b, `"cursor":`...), cursor...)
	}
	if c.Era == Modern {
		if cursor != nil {
			b = append(b, ',')
		}
		b = append(b, `"_meta":{"`+metaVersion+`":"`+revisionModern+`","io.modelcontextprotocol/clientInfo":{"name":"mcp-sidecar","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`...)
	}
	return append(b, `}}`...)
}

// ask sends a request of the sidecar's own and returns the response to it.
func (p *Pipeline) ask(ctx context.Context, c *Call, request []byte) (*wire.Message, error) {
	x := p.ownExchange(c)
	x.Body = request
	r := &ownAnswer{limits: p.opts.Limits.Answer}
	if err := p.opts.Upstream.Do(ctx, x, r); err != nil {
		return nil, err
	}
	if c.Session != nil && r.status == http.StatusNotFound {
		// The client has to learn of it, and not that nothing is known of its tool.
		p.sessions.end(c.Session)
	}
	if r.message == nil || r.message.Err != wire.Absent {
		return nil, errors.New("tools/list was not answered with a result")
	}
	return r.message, nil
}

// ownExchange is a request of the sidecar's own in c's session, without its body.
func (p *Pipeline) ownExchange(c *Call) wire.Exchange {
	x := wire.Exchange{Call: true, Own: true, Version: c.Version, Session: c.upstreamSession(), Owner: c.Principal.Key(), Delegated: c.delegated(), Server: c.server}
	if c.Era == Modern {
		x.Method = "tools/list"
	}
	return x
}

// ownAnswer keeps the response to a request of the sidecar's own and drops
// whatever else comes on the stream.
type ownAnswer struct {
	limits  wire.Limits
	status  int
	message *wire.Message
}

func (a *ownAnswer) Reply(r wire.Reply) error {
	a.status = r.Status
	return nil
}

func (a *ownAnswer) Message(ev wire.Event) error {
	if len(ev.Data) == 0 {
		return nil
	}
	m, err := wire.Scan(ev.Data, a.limits)
	if err != nil {
		return err
	}
	if m.Kind != wire.Response || !isReserved(m, m.ID) {
		return nil
	}
	a.message = m
	return wire.ErrDone
}

// describe reads one tool definition. It keeps copies: what shares memory with
// the message would keep all of it.
func describe(m *wire.Message, t int) toolInfo {
	notes := m.Member(t, "annotations")
	schema := m.Member(t, "inputSchema")
	props := m.Member(schema, "properties")
	info := toolInfo{
		known:       true,
		readOnly:    hintAt(m, m.Member(notes, "readOnlyHint")),
		destructive: hintAt(m, m.Member(notes, "destructiveHint")),
		plain:       m.Text(m.Member(schema, "type")) == "object" && (props == wire.Absent || m.Nodes[props].Kind == '{'),
		output:      newOutputSchema(m.Value(m.Member(t, "outputSchema"))),
		input:       newInputSchema(m.Value(schema)),
	}
	if schema != wire.Absent {
		info.readURLs(m, schema, "")
	}
	if props == wire.Absent || m.Nodes[props].Kind != '{' {
		return info
	}
	info.own = map[string]bool{}
	for prop := range m.Children(props) {
		info.own[strings.Clone(m.Name(prop))] = true
	}
	info.readHeaders(m, props, nil)
	return info
}

func hintAt(m *wire.Message, i int) hint {
	switch {
	case i == wire.Absent:
		return unsaid
	case m.IsTrue(i):
		return yes
	}
	return no
}
