package pipeline

import (
	"context"
	"fmt"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/wire"
)

// authorize asks what the credential granted and what the identity may do. Scope
// comes first: a token that cannot be used for this anyway says nothing about
// the roles of its owner.
func (p *Pipeline) authorize(ctx context.Context, c *Call) error {
	var err error
	c.policy, err = p.opts.Policy() // once: what is decided, listed and recorded is of one policy
	c.roles = c.policy.Roles(c.subject(), c.Principal.Roles...)
	if c.Dir == FromUpstream {
		return c.checkCapability()
	}
	if err != nil && c.Verb != wire.End { // whoever ends a session gets nothing
		if err := p.enforce(c, unavailable("policy-age", err)); err != nil {
			return err
		}
	}
	if c.method != nil {
		if err := p.authorizeMethod(ctx, c); err != nil {
			return err
		}
	}
	if c.method != nil && c.method.opensSession && !p.reserveSession(c) {
		return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "sessions", Public: "too many open sessions; end one with DELETE", Status: 429, RetryAfter: 60}
	}
	if c.Verb == wire.Watch && !p.sessions.watch(c) {
		return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "streams", Public: "too many open streams of this session", Status: 429, RetryAfter: 60}
	}
	if c.isRequest() {
		if wait := p.opts.Shared.rates.take(c.Principal.Key(), p.opts.Limits.Rate, p.opts.Now()); wait > 0 {
			return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "rate", Public: fmt.Sprintf("rate limited, retry in %d s", wait), Status: 429, RetryAfter: wait}
		}
	}
	if c.isRequest() && !p.quota.take(c, p.opts.Limits.Concurrent) {
		return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "concurrency", Public: "rate limited, retry in 1 s", Status: 429, RetryAfter: 1}
	}
	return nil
}

func (p *Pipeline) authorizeMethod(ctx context.Context, c *Call) error {
	switch {
	case c.method.capability != "":
		return c.checkCapability()
	case c.method == response:
		return p.takeAsked(c)
	case c.method.need == access:
		return p.authorizeTarget(ctx, c)
	case c.method.need == filter:
		return p.authorizeFilter(ctx, c)
	case c.method.need == ownTask:
		return p.authorizeTask(c)
	case c.method.need == ownRequest:
		id := c.Msg.Member(c.Msg.Params, "requestId")
		if id == wire.Absent || p.flights.get(c.flightKey(id)) == nil {
			return malformed(wire.CodeInvalidParams, "not-in-flight", "no such request is in flight")
		}
	case c.method.need == ownAsked && !c.Session.askedToken(c.Msg, c.Msg.Member(c.Msg.Params, "progressToken")):
		return malformed(wire.CodeInvalidParams, "not-asked", "no request of the server gave out this token")
	}
	return nil
}

// checkCapability asks whether the client offers what the message is about: it
// has said so when it opened the session (MCP 2025-11-25, basic/lifecycle,
// "Capability Negotiation").
func (c *Call) checkCapability() error {
	if c.method.capability != "" && !c.Session.declared(c.method.capability) {
		return malformed(wire.CodeMethodNotFound, "capability", "the client does not offer this")
	}
	return nil
}

func (p *Pipeline) reserveSession(c *Call) bool {
	c.holdsSession = p.sessions.reserve(c.Principal.Key())
	return c.holdsSession
}

func (c *Call) subject() string { return "user:" + c.Principal.Subject }

// authorizeTarget decides about what the message acts on, at the server to which
// the message will go.
func (p *Pipeline) authorizeTarget(ctx context.Context, c *Call) error {
	p.locate(ctx, c, c.Target)
	c.server, c.bare = p.split(c, c.Target)
	entry, catalogued := p.entryAt(c.targetKind, c.server, c.bare)
	c.Entry = entry
	if c.targetKind == aTool {
		c.rule = p.opts.Rules[c.Target]
	}
	return p.enforce(c, p.judge(c, catalogued))
}

// holdsBack says whether the tool of r is not there for anybody.
func (p *Pipeline) holdsBack(r ToolRule) bool { return r.Hide || p.opts.Quarantine && !r.Named }

// enforce lets a refusal pass where authorization is only observed.
func (p *Pipeline) enforce(c *Call, err error) error {
	if err == nil || p.opts.Authorization == guards.Enforce {
		return err
	}
	c.observed("authorize: " + err.Error())
	return nil
}

func (p *Pipeline) judge(c *Call, catalogued bool) error {
	if c.targetKind == aTool && p.holdsBack(c.rule) {
		return unknownTool()
	}
	if missing := p.opts.Scopes.Missing(c.Principal.Scopes, c.Entry.Scopes); missing != nil {
		return missingScope(missing, c.Entry.Scopes)
	}
	own, err := p.own(c)
	if err != nil {
		return err
	}
	d, asked := c.decide(c.policy, c.Entry.Permission, c.rule, own)
	c.decision, c.Entry.Permission = d.Rule, asked
	switch {
	case d.Allowed:
		return nil
	case c.targetKind == aTool && !catalogued:
		// Nothing names the tool, so the caller cannot tell it from one that does
		// not exist: there is no list to ask, and none is asked for a refusal.
		return unknownTool()
	case c.Entry.Permission == policy.Permission{}:
		return malformed(wire.CodeInvalidParams, "unknown-target", "no server offers this")
	}
	action := c.Entry.Action
	if c.rule.Owner != "" {
		action = asked.Action
	}
	return roleRefuses(c.subject(), c.roles, action, asked.Object, d.Rule)
}

// own says whether what the call is about is the caller's, as far as the tool has an
// argument that tells. Who does not tell asks about everybody's.
func (p *Pipeline) own(c *Call) (bool, error) {
	if c.rule.Owner == "" {
		return false, nil
	}
	if refusal := c.ambiguous(c.rule.Owner); refusal != nil {
		return false, refusal
	}
	at := c.Msg.Member(c.Args, c.rule.Owner)
	if at == wire.Absent {
		return false, nil
	}
	kind := c.Msg.Nodes[at].Kind
	if c.rule.OwnerHandle {
		return (kind == '"' || kind == '0') && p.given.holds(c.Principal.Key(), handleID+scalarKey(c.Msg, at)), nil
	}
	return kind == '"' && c.Msg.Text(at) == c.Principal.Subject, nil
}

// decide asks the policy about a permission: the one place for calls and lists of every
// feature. Where it depends on whose the thing is, what is allowed for everybody's is
// allowed for one's own, and what is denied for either is denied.
func (c *Call) decide(rules Authorizer, need policy.Permission, rule ToolRule, own bool) (policy.Decision, policy.Permission) {
	ask := func(relation string) (policy.Decision, policy.Permission) {
		q := policy.Permission{Object: need.Object, Action: need.Action + relation}
		return rules.Decide(c.subject(), q, c.Principal.Roles...), q
	}
	if rule.Owner == "" {
		return ask("")
	}
	everybodys, about := ask(policy.Any)
	if !own || !everybodys.Allowed && everybodys.Rule != "" {
		return everybodys, about
	}
	his, asked := ask(policy.Own)
	if his.Allowed || his.Rule != "" || !everybodys.Allowed {
		return his, asked
	}
	return everybodys, about
}

// authorizeFilter decides about every resource that a subscription names, as
// about a read of it (MCP 2026-07-28, basic/patterns/subscriptions).
func (p *Pipeline) authorizeFilter(ctx context.Context, c *Call) error {
	m := c.Msg
	asked := m.Member(m.Params, "notifications")
	for i := range m.ChildrenOf(asked) {
		if wire.FoldsTo(m.Name(i), "resourceSubscriptions") {
			return malformed(wire.CodeInvalidRequest, "member-case", "a member of params.notifications is spelled with the wrong case")
		}
	}
	list := m.Member(asked, "resourceSubscriptions")
	if list == wire.Absent {
		return nil
	}
	if m.Nodes[list].Kind != '[' || m.Nodes[list].Sparse {
		return malformed(wire.CodeInvalidParams, "params", "resourceSubscriptions is not a list of URIs")
	}
	c.targetKind = aResource
	n := 0
	for i := range m.Children(list) {
		if n++; n > maxSubscribed {
			return malformed(wire.CodeInvalidParams, "params", "resourceSubscriptions names too many resources")
		}
		uri := m.Text(i)
		if err := checkURI(uri); err != nil {
			return err
		}
		p.locate(ctx, c, uri)
		server, bare := p.split(c, uri)
		c.goesTo(server, uri)
		c.Entry, _ = p.entryAt(aResource, server, bare)
		if err := p.enforce(c, p.judge(c, false)); err != nil {
			return err
		}
	}
	return nil
}

// maxSubscribed bounds the resources in one subscription: each is decided about.
const maxSubscribed = 1024

// locate makes known whose a resource is. Where that cannot be found out nothing
// is, and the message is refused.
func (p *Pipeline) locate(ctx context.Context, c *Call, uri string) {
	if p.opts.Locate == nil || c.targetKind != aResource {
		return
	}
	if err := p.opts.Locate(ctx, p.ownExchange(c), uri); err != nil {
		p.opts.Log.Warn("servers could not be asked for their resources", "audit_id", c.ID, "cause", p.opts.Redact(err.Error()))
	}
}

// goesTo notes whose a resource of a subscription is.
func (c *Call) goesTo(server, uri string) {
	if c.owners == nil {
		c.owners = map[string]string{}
	}
	c.owners[uri] = server
}
