package merge

import (
	"bytes"
	"regexp"
)

// toolName is what a name may be made of where servers are merged. MCP says so of
// tools (2025-11-25, server/tools, "Tool Names"). Anything else could be a
// look-alike of another name, so prompts are held to the same.
var toolName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// withhold marks the entries that are left out: those without a usable name, those
// that a reader could take for one another, and resources that more than one
// server lists. A server could otherwise have its tool called in place of another
// (tool shadowing). It returns all entries, in the order of servers and of their
// lists.
func (c *carriage) withhold(l listing, given []*pages) []entry {
	c.learn(l, given)
	var all []entry
	for _, g := range given {
		all = append(all, g.entries...)
	}
	alike := map[string]*entry{}
	for i := range all {
		e := &all[i]
		switch {
		case e.to == 0 || e.name == "":
			c.withheld(e, "it has no name")
		case l.alphabet && !toolName.MatchString(prefixed(e.server, e.name)):
			c.withheld(e, "its name is not made of at most 128 letters, digits, _, . and -")
		case !l.prefixed && c.g.indexes.at(c.x.Owner).owner(e.name) != e.server:
			c.withheld(e, "it is not certain whose it is: another server lists it too, a template of another matches it, or there are too many templates")
		case l.alphabet:
			c.tellApart(e, alike)
		}
	}
	return all
}

// tellApart withholds two entries that look alike. The same entry twice is one.
func (c *carriage) tellApart(e *entry, alike map[string]*entry) {
	key := e.server + "." + c.g.opts.LookAlike(e.name)
	twin := alike[key]
	switch {
	case twin == nil:
		alike[key] = e
	case bytes.Equal(twin.raw, e.raw):
		e.withheld = true
	default:
		c.withheld(e, "another of the same server has a name that looks alike")
		c.withheld(twin, "another of the same server has a name that looks alike")
	}
}

// withheld marks e and says so once.
func (c *carriage) withheld(e *entry, why string) {
	e.withheld = true
	name := e.name[:min(len(e.name), 128)]
	if c.g.reports.first(c.msg.Method + "\x00" + e.server + "\x00" + name) {
		c.g.opts.Log.Warn("an entry of a merged list is withheld", "server", e.server, "list", c.msg.Method, "name", c.g.opts.Redact(name), "why", why)
	}
}

// learn notes whose the listed resources are.
func (c *carriage) learn(l listing, given []*pages) {
	for _, g := range given {
		var names []string
		for _, e := range g.entries {
			names = append(names, e.name)
		}
		switch l.member {
		case "resources":
			c.g.indexes.at(c.x.Owner).setURIs(g.Name, names)
		case "resourceTemplates":
			c.g.indexes.at(c.x.Owner).setTemplates(g.Name, names)
		}
	}
}
