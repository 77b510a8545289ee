package pipeline

import (
	"context"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/wire"
)

// authorize asks what the credential granted and what the identity may do. Scope
// comes first: a token that cannot be used for this anyway says nothing about
// the roles of its owner.
func (p *Pipeline) authorize(_ context.Context, c *Call) error {
	if c.Dir == FromClient {
		c.Principal.Roles = p.opts.Policy.Roles(c.subject())
	}
	if c.method != nil && c.method.need == toolAccess {
		if err := p.authorizeTool(c); err != nil {
			return err
		}
	}
	if c.method != nil && c.method.need == ownRequest {
		id := c.Msg.Member(c.Msg.Params, "requestId")
		if id == wire.Absent || p.flights.get(c.flightKey(id)) == nil {
			return malformed(wire.CodeInvalidParams, "not-in-flight", "no such request is in flight")
		}
	}
	if c.method != nil && c.method.opensSession && !p.reserveSession(c) {
		return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "sessions", Public: "too many open sessions; end one with DELETE", Status: 429, RetryAfter: 60}
	}
	if c.Dir == FromClient && c.isRequest() && !p.quota.take(c, p.opts.Limits.Concurrent) {
		return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "concurrency", Public: "rate limited, retry in 1 s", Status: 429, RetryAfter: 1}
	}
	return nil
}

func (p *Pipeline) reserveSession(c *Call) bool {
	c.holdsSession = p.sessions.reserve(c.Principal.Key())
	return c.holdsSession
}

func (c *Call) subject() string { return "user:" + c.Principal.Subject }

func (p *Pipeline) authorizeTool(c *Call) error {
	entry, catalogued := p.entry(aTool, c.Target)
	c.Entry, c.rule = entry, p.opts.Rules[c.Target]
	err := p.judge(c, catalogued)
	if err == nil || p.opts.Authorization == guards.Enforce {
		return err
	}
	c.observed("authorize: " + err.Error())
	return nil
}

func (p *Pipeline) judge(c *Call, catalogued bool) error {
	if c.rule.Hide {
		return unknownTool()
	}
	if missing := policy.MissingScopes(c.Principal.Scopes, c.Entry.Scopes); missing != nil {
		return missingScope(missing, c.Entry.Scopes)
	}
	d := p.opts.Policy.Decide(c.subject(), c.Entry.Permission)
	c.decision = d.Rule
	switch {
	case d.Allowed:
		return nil
	case !catalogued:
		// Nothing names the tool, so the caller cannot tell it from one that does
		// not exist: there is no list to ask, and none is asked for a refusal.
		return unknownTool()
	}
	return roleRefuses(c.subject(), c.Principal.Roles, c.Entry.Action, resourceName(c.Entry), d.Rule)
}

func resourceName(e policy.Entry) string { return e.Permission.Object }
