package pipeline

import "mcp-sidecar/policy"

// feature is a kind of what a server offers by name (MCP, "Server Features"), or
// of what else a message may be about.
type feature uint8

// Features. The zero value is none.
const (
	noFeature feature = iota
	aTool             // named by its name
	aResource         // named by its URI
	aTemplate         // named by its URI template
	aPrompt           // named by its name
	aRef              // what a completion refers to: a prompt or a resource template
	aMethod           // a method that the configuration admits
	aTask             // named by its id
)

// entry is what the use of a feature needs, and whether the configuration names
// it. One place makes the objects of the policy, so that a list and the request
// that follows from it are decided alike. Only tools have catalog entries.
//
//	tool                 SERVER/NAME          call, or as catalogued
//	resource, template   SERVER/resource:URI  read
//	prompt               SERVER/prompt:NAME   get
//	admitted method      SERVER/method:NAME   call
//
// A template is what its URI template says: whoever may read "x/{id}" is shown
// it, and what he then reads is decided by its own URI.
func (p *Pipeline) entry(c *Call, f feature, name string) (e policy.Entry, catalogued bool) {
	server, bare := p.split(c, name)
	return p.entryAt(f, server, bare)
}

// split tells of which server a target of c's is, and what it is called there.
func (p *Pipeline) split(c *Call, target string) (server, name string) {
	return p.opts.Split(c.Principal.Key(), target)
}

// entryAt is entry for whoever has to know that it is about that server.
func (p *Pipeline) entryAt(f feature, server, bare string) (e policy.Entry, catalogued bool) {
	if server == "" || bare == "" {
		return policy.Entry{}, false // names nothing, so every engine denies it
	}
	switch f {
	case aTool:
		if e, ok := p.opts.Catalog.Lookup(server, bare); ok {
			return e, true
		}
		return policy.Default(server, bare), false
	case aResource, aTemplate:
		return uncatalogued(server, "resource:"+normalURI(bare), "read"), false
	case aPrompt:
		return uncatalogued(server, "prompt:"+bare, "get"), false
	case aMethod:
		return uncatalogued(server, "method:"+bare, "call"), false
	}
	return policy.Entry{}, false
}

func uncatalogued(server, name, action string) policy.Entry {
	return policy.Entry{Permission: policy.Permission{Object: server + "/" + name, Action: action}, Action: action}
}

// visible says whether a listed feature may be shown to c's principal: as its
// use would be decided, except that a missing scope never hides (a step-up must
// stay possible).
func (p *Pipeline) visible(c *Call, f feature, name string) bool {
	return p.shows(p.policyOf(c), c, f, name)
}

// shows is visible under another policy than c began with.
func (p *Pipeline) shows(rules Authorizer, c *Call, f feature, name string) bool {
	if f == aTool && p.holdsBack(p.opts.Rules[name]) {
		return false
	}
	entry, _ := p.entry(c, f, name)
	var rule ToolRule
	if f == aTool {
		rule = p.opts.Rules[name]
	}
	d, _ := c.decide(rules, entry.Permission, rule, true) // some call may be about his own
	return d.Allowed
}
