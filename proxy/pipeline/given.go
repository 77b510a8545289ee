package pipeline

import (
	"crypto/sha256"
	"strings"
	"sync"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// Bounds of what is remembered. When one is reached the oldest id is forgotten,
// and what it names can no longer be reached through the sidecar.
const (
	givenToOwner = 4096
	givenOwners  = 8192
)

// given are the ids that an upstream gave to each principal: of tasks, and of what
// the configuration calls handles. An id is no permission by itself: somebody
// else's would open what is his (MCP 2025-11-25, basic/utilities/tasks, "Security
// Considerations").
type given struct {
	mu     sync.Mutex
	owners map[string]*ownIDs
}

type ownIDs struct {
	ids   map[string]origin
	order []string // oldest first
}

// origin is the tool that an id came from, whose rules hold for what the id leads
// to. Only tasks have one.
type origin struct {
	tool   string
	output *outputSchema
}

// Kinds of ids. They stand in front of an id in the table.
const (
	taskID   = "task\x00"
	handleID = "handle\x00"
)

// maxID is the length above which an id's digest stands for it, in bytes: an upstream
// chooses how long its ids are, and thousands are kept.
const maxID = 256

func short(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return string(sum[:])
}

// holds says whether owner was given id.
func (g *given) holds(owner, id string) bool {
	_, ok := g.from(owner, id)
	return ok
}

// from returns what owner was given id for, and whether he was.
func (g *given) from(owner, id string) (o origin, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if own := g.owners[owner]; own != nil {
		o, ok = own.ids[short(id)]
	}
	return o, ok
}

// known says whether anybody was given id.
func (g *given) known(id string) bool {
	id = short(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, own := range g.owners {
		if _, ok := own.ids[id]; ok {
			return true
		}
	}
	return false
}

func (g *given) give(owner, id string, o origin) {
	id = short(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.owners[owner]
	if own == nil {
		own = g.admit(owner)
	}
	if _, ok := own.ids[id]; ok {
		return
	}
	if len(own.order) >= givenToOwner {
		delete(own.ids, own.order[0])
		own.order = own.order[1:]
	}
	own.ids[id] = o
	own.order = append(own.order, id)
}

// admit makes room for owner.
func (g *given) admit(owner string) *ownIDs {
	if g.owners == nil {
		g.owners = map[string]*ownIDs{}
	}
	for other := range g.owners {
		if len(g.owners) < givenOwners {
			break
		}
		delete(g.owners, other)
	}
	own := &ownIDs{ids: map[string]origin{}}
	g.owners[owner] = own
	return own
}

// learn notes the ids that the answer m gives to c's principal.
func (p *Pipeline) learn(c *Call, m *wire.Message) {
	if m.Result == wire.Absent {
		return
	}
	p.learnTask(c, m)
	if len(c.rule.Handles) > 0 {
		p.learnHandles(c, m)
	}
}

// learnTask notes the task that answers c, if a task does. Lists and questions
// about tasks teach nothing: who may ask is decided by what was given before.
func (p *Pipeline) learnTask(c *Call, m *wire.Message) {
	if c.method == nil || c.method.need == ownTask || c.Method == "tasks/list" {
		return
	}
	id := m.Member(m.Result, "taskId")
	if id == wire.Absent {
		id = m.At(m.Result, "task", "taskId")
	}
	if text := m.Text(id); text != "" {
		p.given.give(c.Principal.Key(), taskID+text, c.origin())
	}
}

// origin is what a task that answers c came from.
func (c *Call) origin() origin {
	if c.targetKind != aTool {
		return origin{}
	}
	return origin{strings.Clone(c.Target), c.tool.output}
}

// authorizeTask asks whether the task was given to the caller. What it has come to
// is the result of the tool that it runs, and is held to the same rules: whoever
// calls could otherwise choose whether it is.
func (p *Pipeline) authorizeTask(c *Call) error {
	o, ok := p.given.from(c.Principal.Key(), taskID+c.Target)
	if !ok {
		// The same words as for a task that does not exist: possession of an id is
		// no permission (MCP 2025-11-25, basic/utilities/tasks, "Security").
		return malformed(wire.CodeInvalidParams, "task", "unknown task")
	}
	c.runs, c.rule, c.tool.output = o.tool, p.opts.Rules[o.tool], o.output
	return nil
}

// learnHandles notes the handles in a tool's result: members of the configured
// names in its structured content, and in text blocks that are JSON.
func (p *Pipeline) learnHandles(c *Call, m *wire.Message) {
	root := m.Result
	if inner := m.Member(root, "result"); inner != wire.Absent && c.method.need == ownTask {
		root = inner // of the task's state
	}
	if at := m.Member(root, "structuredContent"); at != wire.Absent {
		p.handlesIn(c, m.Value(at))
	}
	for block := range m.ChildrenOf(m.Member(root, "content")) {
		if text := m.Text(m.Member(block, "text")); looksLikeJSON(text) {
			p.handlesIn(c, []byte(text))
		}
	}
}

func (p *Pipeline) handlesIn(c *Call, value []byte) {
	envelope := append(append([]byte(`{"jsonrpc":"2.0","id":0,"result":`), value...), '}')
	m, err := wire.Scan(envelope, p.opts.Limits.Answer)
	if err != nil {
		return // it was never inspected as JSON, and hands nothing out
	}
	for i, n := range m.Nodes {
		if n.NameEnd == 0 {
			continue
		}
		for _, name := range c.rule.Handles {
			if m.Name(i) == name {
				p.given.give(c.Principal.Key(), handleID+scalarKey(m, i), origin{})
			}
		}
	}
}

// checkHandles refuses arguments that are handles and were not given to the
// caller, with one text for those of others and those that do not exist.
func (p *Pipeline) checkHandles(c *Call) error {
	for _, name := range c.rule.HandleArgs {
		refusal := c.ambiguous(name)
		if refusal == nil {
			refusal = p.checkHandle(c, name)
		}
		switch {
		case refusal == nil:
		case p.opts.Authorization == guards.Enforce:
			return refusal
		default:
			c.observed("identity: " + refusal.Rule)
		}
	}
	return nil
}

func (p *Pipeline) checkHandle(c *Call, name string) *Rejection {
	at := c.Msg.Member(c.Args, name)
	if at == wire.Absent {
		return nil
	}
	kind := c.Msg.Nodes[at].Kind
	if (kind == '"' || kind == '0') && p.given.holds(c.Principal.Key(), handleID+scalarKey(c.Msg, at)) {
		return nil
	}
	return blocked("identity", "unknown-handle", "blocked: "+name+" is no handle that was given to you")
}
