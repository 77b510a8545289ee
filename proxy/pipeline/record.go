package pipeline

import (
	"slices"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/wire"
)

// record is the audit record of c as it stands. It names what was asked and
// decided; it holds no token, no argument value and nothing of a result.
func (p *Pipeline) record(c *Call, a *Answer) audit.Event {
	e := audit.Event{
		Time: p.opts.Now(), ID: c.ID, Parent: c.Parent, Phase: audit.PhaseOutcome,
		Direction: c.Dir.String(), Transport: c.Transport, Upstream: p.serverOf(c),
		Version: c.clean(c.Version), Kind: c.kindName(), Method: c.clean(c.Method), Name: c.clean(c.Target),
		Issuer: c.Principal.Issuer, Subject: c.Principal.Subject, ClientID: c.Principal.ClientID,
		Scopes: c.Principal.Scopes, Roles: c.roles,
		Object: c.Entry.Permission.Object, Action: c.Entry.Permission.Action, Needed: c.Entry.Scopes,
		Stage: c.Stage, Outcome: c.Outcome.String(), Code: a.Code, Rule: c.decision,
		Findings: labels(c), Would: c.Would, Excepted: c.Excepted, Allow: p.allowEntry(c), Policy: p.policyOf(c).Revision(),
		BytesIn: c.bytesIn, BytesOut: c.bytesOut + len(a.Body), Events: c.events, Dropped: c.dropped,
		Millis: p.since(c.started), Waited: c.waited,
	}
	if why := c.ended.Load(); why != nil {
		e.Reason = *why
	}
	if r := c.refusal; r != nil {
		e.Reason, e.Guard = r.Reason, r.Guard
		if r.Rule != "" {
			e.Rule = r.Rule
		}
		if r.Cause != nil {
			e.Error = r.Cause.Error()
		}
	}
	return e
}

// policyOf is the policy by which c was decided, or would have been.
func (p *Pipeline) policyOf(c *Call) Authorizer {
	if c.policy != nil {
		return c.policy
	}
	now, _ := p.opts.Policy()
	return now
}

// clean drops a text of the client's that holds its credential.
func (c *Call) clean(text string) string {
	if c.carries(text) {
		return "[credential]"
	}
	return text
}

func (c *Call) kindName() string {
	switch {
	case c.Verb == wire.End:
		return "session-end"
	case c.Verb == wire.Watch:
		return "session-stream"
	case c.Msg == nil:
		return ""
	}
	return c.Msg.Kind.String()
}

// labels lists the findings in the order in which they were made.
func labels(c *Call) []string {
	var out []string
	for _, f := range c.Findings {
		out = append(out, f.Label)
	}
	return out
}

// unique drops repetitions; there are far fewer labels than findings.
func unique(labels []string) []string {
	var out []string
	for _, l := range labels {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}
