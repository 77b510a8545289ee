package pipeline

import (
	"slices"
	"time"

	"mcp-sidecar/guards"
)

// Exception is a rule of a guard that the operator lets be for one tool, until a moment.
type Exception struct {
	Guard, Rule string
	Until       time.Time // the first moment at which it does not count
}

// except is what guard lets be in c's tool, or nil. What it lets be is noted in c.
func (p *Pipeline) except(guard string, c *Call, r ToolRule) guards.Except {
	if !slices.ContainsFunc(r.Exceptions, func(e Exception) bool { return e.Guard == guard }) {
		return nil
	}
	now := p.opts.Now()
	return func(rule string) bool {
		for _, e := range r.Exceptions {
			if e.Guard == guard && e.Rule == rule && now.Before(e.Until) {
				c.excepted(guard + "/" + rule)
				return true
			}
		}
		return false
	}
}

// exceptions takes what the operator lets be in the texts of the tool of r.
func (o *output) exceptions(r ToolRule) {
	if o.excepts = nil; len(r.Exceptions) == 0 {
		return
	}
	o.excepts = &[maxGuards]guards.Except{}
	for gi, g := range o.p.opts.Output {
		o.excepts[gi] = o.p.except(g.Name(), o.c, r)
	}
}

// ask shows t to guard gi, and what it has found to the review.
func (o *output) ask(gi int, t guards.Text) []guards.Finding {
	if o.excepts != nil {
		t.Except = o.excepts[gi]
	}
	g := o.p.opts.Output[gi]
	found := g.Find(t)
	if o.review == nil {
		return found
	}
	all, passed := o.review(g.Name(), t, found)
	if passed {
		o.c.observed(g.Name() + ": classifier-unanswered")
	}
	return all
}

// change has guard gi change t for what it found there.
func (o *output) change(gi int, t guards.Text, found []guards.Finding) string {
	if o.excepts != nil {
		t.Except = o.excepts[gi]
	}
	return o.p.opts.Output[gi].Change(t, found)
}

func (c *Call) excepted(what string) {
	if !slices.Contains(c.Excepted, what) {
		c.Excepted = append(c.Excepted, what)
	}
}

// allowEntry is the exception that would let be what a guard has refused, as it is written in
// the configuration; empty where none would.
func (p *Pipeline) allowEntry(c *Call) string {
	r := c.refusal
	if r == nil || r.Outcome != Blocked || r.Guard == "" || p.opts.Exceptable == nil {
		return ""
	}
	tool := c.runs
	if c.targetKind == aTool && c.bare != "" {
		tool = c.bare
	}
	if tool == "" || c.carries(tool) || !p.opts.Exceptable(r.Guard, r.Rule, p.serverOf(c)+"/"+tool) {
		return ""
	}
	return "{ guard: " + r.Guard + ", rule: " + r.Rule + ", tool: " + p.serverOf(c) + "/" + tool + " }"
}
