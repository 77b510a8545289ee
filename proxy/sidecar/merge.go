package sidecar

import (
	"fmt"
	"slices"
	"strings"

	"mcp-sidecar/proxy/backend/merge"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/front"
	"mcp-sidecar/proxy/pipeline"
)

// merged stands for all servers together, where a server's name is expected. No
// server can be called so.
const merged = "*"

// buildMerged makes the endpoint at which all servers are offered together, behind
// one pipeline of its own. It comes first.
func (s *Sidecar) buildMerged(sh shared) error {
	o := merge.Options{
		Revisions: pipeline.LegacyRevisions(),
		Answer:    s.pipelineLimits().Answer,
		MaxResult: int(s.cfg.Limits.Result),
		Entries:   s.cfg.Limits.Tools,
		EntrySize: int(s.cfg.Limits.ToolDefinition),
		LookAlike: config.LookAlike,
		Redact:    s.redact,
		Log:       s.log,
		Now:       s.opts.Now,
	}
	for _, e := range s.endpoints {
		if s.brokered(e.name) {
			continue // callers of all servers together have no third party's token
		}
		o.Members = append(o.Members, merge.Member{Name: e.name, Upstream: e.upstream, PerCaller: s.cfg.Upstreams[e.name].Credential.Kind == config.CredentialExchanged})
	}
	g, err := merge.New(o)
	if err != nil {
		return fmt.Errorf("%w: merge: %w", ErrConfig, err)
	}
	e := &endpoint{name: merged, path: front.Path, tools: s.mergedTools(), upstream: g}
	p := s.pipelineOptions(e, sh)
	p.Split, p.Locate = g.Split, g.Locate
	// Methods beyond the table say nothing of whose they are.
	p.Methods = nil
	p.Limits.Tools *= len(o.Members)
	e.pipeline = pipeline.New(p)
	s.endpoints = slices.Insert(s.endpoints, 0, e)
	return nil
}

// servers are the endpoints that stand for one server each.
func (s *Sidecar) servers() []*endpoint {
	return slices.DeleteFunc(slices.Clone(s.endpoints), func(e *endpoint) bool { return e.name == merged })
}

// mergedTools are the configured tools by the names that clients see there.
func (s *Sidecar) mergedTools() map[string]config.Tool {
	all := map[string]config.Tool{}
	for key, t := range s.cfg.Tools {
		all[strings.Replace(key, "/", ".", 1)] = t
	}
	return all
}
