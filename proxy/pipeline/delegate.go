package pipeline

import (
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// delegate keeps what stands for c's caller towards servers whose credential is
// issued for each caller. The token that it is made from goes no further than
// package identity.
func (p *Pipeline) delegate(c *Call, verified identity.Secret) {
	if p.delegates() {
		c.delegation = identity.NewDelegation(c.Principal, verified)
	}
}

// delegates says whether a server is shown a credential issued for each caller.
func (p *Pipeline) delegates() bool { return len(p.opts.Delegated) > 0 }

// delegated is what travels in an exchange for c. The end of a pipe's session has no
// token of its own; it is for whoever the session was last used by.
func (c *Call) delegated() wire.Delegated {
	if c.delegation == nil {
		return c.Session.delegated()
	}
	return c.delegation
}

// usedBy notes who uses s.
func (s *Session) usedBy(d *identity.Delegation) {
	if d == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delegation = d
}

// delegated is whoever used s last; nil where there is no session, or nobody.
func (s *Session) delegated() wire.Delegated {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.delegation == nil {
		return nil
	}
	return s.delegation
}

// inventoryOf is what is known of a server's tools, as far as c's caller is
// concerned.
func (p *Pipeline) inventoryOf(c *Call, server string) *inventory {
	if p.opts.Delegated[server] {
		return p.inventories.ofCaller(server, c.Principal.Key())
	}
	return p.inventories.at(server)
}
