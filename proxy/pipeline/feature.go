package pipeline

import "mcp-sidecar/policy"

// feature is a kind of what a server offers by name (MCP, "Server Features").
type feature uint8

// Features. The zero value is a tool.
const (
	aTool     feature = iota // named by its name
	aResource                // named by its URI
	aTemplate                // named by its URI template
	aPrompt                  // named by its name
)

// entry is what the use of a feature needs, and whether the configuration names
// it. One place makes the objects of the policy, so that a list and the request
// that follows from it are decided alike. Only tools have catalog entries.
func (p *Pipeline) entry(f feature, name string) (e policy.Entry, catalogued bool) {
	switch {
	case f == aTool:
		if e, ok := p.opts.Catalog.Lookup(p.opts.Server, name); ok {
			return e, true
		}
		return policy.Default(p.opts.Server, name), false
	case name == "":
		return policy.Entry{}, false // names nothing, so every engine denies it
	case f == aPrompt:
		return p.uncatalogued("/prompt:"+name, "get"), false
	}
	// A template is what its URI template says: whoever may read "x/{id}" is shown
	// it, and what he then reads is decided by its own URI.
	return p.uncatalogued("/resource:"+name, "read"), false
}

func (p *Pipeline) uncatalogued(object, action string) policy.Entry {
	return policy.Entry{Permission: policy.Permission{Object: p.opts.Server + object, Action: action}, Action: action}
}

// visible says whether a listed feature may be shown to c's principal: as its
// use would be decided, except that a missing scope never hides (a step-up must
// stay possible).
func (p *Pipeline) visible(c *Call, f feature, name string) bool {
	if f == aTool && p.opts.Rules[name].Hide {
		return false
	}
	entry, _ := p.entry(f, name)
	return p.opts.Policy.Decide(c.subject(), entry.Permission).Allowed
}
