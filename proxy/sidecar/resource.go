package sidecar

import (
	"maps"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/front"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
)

// What the sidecar is to OAuth: one protected resource for each endpoint, whose name
// is its address (RFC 8707 section 2, RFC 9728 section 1.2).

// audience is what tokens have to be meant for, whichever endpoint they are shown to.
func (s *Sidecar) audience() []string {
	if named := s.cfg.Auth.Audience; len(named) > 0 {
		return named
	}
	var all []string
	if s.cfg.Merge {
		all = append(all, s.cfg.Public()+front.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Upstreams)) {
		all = append(all, s.cfg.Public()+s.pathOf(name))
	}
	return all
}

// verifierFor lets only those in at e whose tokens are meant for it, unless the
// configuration has names for all endpoints together: otherwise the operator of one
// server, or whoever steals a token there, could use it at the others.
func (s *Sidecar) verifierFor(e *endpoint, v pipeline.Authenticator) pipeline.Authenticator {
	if s.brokered(e.name) {
		// Nobody else has granted it anything.
		return identity.Common{Verifiers: s.verifiers, Next: s.broker.Verifier(e.name)}
	}
	if v == nil || len(s.cfg.Auth.Audience) > 0 {
		return v
	}
	return identity.Audience{Names: []string{s.cfg.Public() + e.path}, Next: v}
}

// scopes is which scopes include others.
func (s *Sidecar) scopes() policy.Hierarchy {
	if s.cfg.Auth == nil {
		return nil
	}
	return policy.NewHierarchy(s.cfg.Auth.ScopeIncludes)
}

// metadata is the protected-resource metadata document of e (RFC 9728 section 2).
func (s *Sidecar) metadata(resource string, e *endpoint) *oauthex.ProtectedResourceMetadata {
	m := &oauthex.ProtectedResourceMetadata{Resource: resource, BearerMethodsSupported: []string{"header"}, ScopesSupported: s.firstScopes(e)}
	if s.brokered(e.name) {
		m.AuthorizationServers = []string{s.cfg.Public()}
	} else {
		m.AuthorizationServers = issuers(s.cfg.Auth)
	}
	return m
}

// firstScopes are what clients ask for when they log in (MCP 2026-07-28,
// basic/authorization, "Scope Selection Strategy"): what it takes to read. Everything
// else is asked for when it is needed, by a challenge that names it; a token that
// could do everything from the start would be worth more to a thief. Where no tool has
// an action, nothing tells which of them read.
func (s *Sidecar) firstScopes(e *endpoint) []string {
	if s.cfg.Auth != nil && len(s.cfg.Auth.ScopesSupported) > 0 {
		return s.cfg.Auth.ScopesSupported
	}
	var all, reading []string
	acting := false
	for _, t := range e.tools {
		if t.Hide {
			continue
		}
		all = append(all, t.Scopes...)
		acting = acting || t.Action != ""
		if t.Action == readAction {
			reading = append(reading, t.Scopes...)
		}
	}
	if !acting {
		reading = all
	}
	slices.Sort(reading)
	return slices.Compact(reading)
}

// scopesOf are the scopes that tools need, each once.
func scopesOf(tools map[string]config.Tool) []string {
	var scopes []string
	for _, t := range tools {
		scopes = append(scopes, t.Scopes...)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// readAction is the action of tools that only read, in the catalog.
const readAction = "read"
