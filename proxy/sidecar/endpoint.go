package sidecar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/consent"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/schema"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/terminal"
	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/front"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// upstream is a guarded server, however it is reached.
type upstream interface {
	pipeline.Upstream
	// Ready says whether the server answers, or why it does not.
	Ready(ctx context.Context) error
	// Close ends what is still open towards the server.
	Close() error
}

// endpoint is a path of the sidecar and everything behind it: the pipeline that
// decides, and the server that it protects.
type endpoint struct {
	name     string                 // the server's in configuration, policy and records
	path     string                 // where clients find it
	tools    map[string]config.Tool // by the name that clients use
	upstream upstream
	pipeline *pipeline.Pipeline
	answered answered // whether the server ever has
}

// shared are the parts that every endpoint uses: rules, identities and records do
// not depend on the server, and limits per principal hold over all of them.
type shared struct {
	verifier pipeline.Authenticator  // nil where everybody is anonymous
	sealKey  identity.Hidden[[]byte] // empty: random for each pipeline
	counts   *pipeline.Shared
	input    []guards.Input
	output   []guards.Output
	confirm  func(*guards.Call) bool
}

// buildEndpoints makes one endpoint for each configured server.
func (s *Sidecar) buildEndpoints(sh shared) error {
	names := slices.Sorted(maps.Keys(s.cfg.Upstreams))
	for _, name := range names {
		u, err := s.buildBackend(name, s.cfg.Upstreams[name])
		if err != nil {
			return err
		}
		e := &endpoint{name: name, path: s.pathOf(name), tools: s.toolsOf(name), upstream: u}
		s.endpoints = append(s.endpoints, e) // before anything can fail, so that it is closed
		e.pipeline = pipeline.New(s.pipelineOptions(e, sh))
	}
	if s.cfg.Merge {
		return s.buildMerged(sh)
	}
	return nil
}

// pathOf is where clients find the server called name.
func (s *Sidecar) pathOf(name string) string {
	if len(s.cfg.Upstreams) > 1 || s.cfg.Merge {
		return front.PathOf(name)
	}
	return front.Path
}

// buildBackend makes the way to the server called name.
func (s *Sidecar) buildBackend(name string, u config.Upstream) (upstream, error) {
	if u.Command != nil {
		return s.buildChild(name, u)
	}
	o := backend.Options{URL: u.URL, MaxResult: int(s.cfg.Limits.Result), IdleTimeout: time.Duration(s.cfg.Limits.CallIdleTimeout)}
	var err error
	if o.Credential, err = s.inHeader(name, u.Credential); err != nil {
		return nil, err
	}
	if s.brokered(name) {
		o.Credential = s.grantsFor(name)
	}
	if o.TLS, err = s.upstreamTLS(name, u.TLS); err != nil {
		return nil, err
	}
	h, err := backend.NewHTTP(o)
	if err != nil {
		return nil, fmt.Errorf("%w: upstreams.%s: %w", ErrConfig, name, err)
	}
	return h, nil
}

func (s *Sidecar) pipelineOptions(e *endpoint, sh shared) pipeline.Options {
	return pipeline.Options{
		Server:        e.name,
		Authenticator: s.remembering(s.verifierFor(e, sh.verifier)),
		Anyone:        s.anyone(),
		Methods:       s.cfg.Methods,
		SealKey:       sh.sealKey,
		SharedPipe:    s.cfg.Upstreams[e.name].Shared,
		Policy:        s.currentPolicy,
		Authorization: presetMode(s.cfg.Preset),
		PerCaller:     s.cfg.Policy != nil,
		Catalog:       s.parts.catalog,
		Scopes:        s.scopes(),
		Rules:         s.rules(e),
		Exceptable:    config.Exceptable,
		Quarantine:    s.cfg.Quarantines(),
		Upstream:      e.upstream,
		Recorder:      s.audit,
		Limits:        s.pipelineLimits(),
		Shared:        sh.counts,
		Input:         sh.input,
		Said:          []guards.Input{secrets.InputGuard{}},
		Output:        sh.output,
		Modes:         s.parts.modes,
		Passive:       s.passive(e.tools),
		NeedsConfirm:  sh.confirm,
		Confirm:       pipeline.Property{Name: consent.Argument, Schema: []byte(consent.PropertySchema)},
		Token:         s.tokenArgument(),
		Note:          injection.Note,
		Nonce:         s.nonce(),
		Review:        s.reviews(),
		Compile:       compileSchema,
		Listed:        s.lintListed,
		Arguments:     s.arguments(),
		Delegated:     s.delegated(e),
		Own:           s.ownFor(e),
		Redact:        s.redact,
		Log:           s.log.With("upstream", e.name),
		Now:           s.opts.Now,
		After:         s.opts.After,
	}
}

// tokenArgument is the argument that may carry a caller's token, where the
// operator has opened that way.
func (s *Sidecar) tokenArgument() pipeline.Property {
	if s.cfg.Auth == nil || !s.cfg.Auth.TokenArgument {
		return pipeline.Property{}
	}
	return pipeline.Property{Name: config.TokenArgumentName, Schema: []byte(`{"type":"string","description":"Access token of the user for whom this call is made. It is removed before the tool is called. Leave it out when the client shows a token by itself."}`)}
}

func compileSchema(rules []byte) (func([]byte) (string, bool, error), error) {
	s, err := schema.Compile(rules)
	if err != nil {
		return nil, err
	}
	return s.Fits, nil
}

func (s *Sidecar) pipelineLimits() pipeline.Limits {
	limits := s.cfg.Limits
	return pipeline.Limits{
		RequestBody: int64(limits.RequestBody),
		Message:     wire.Limits{Depth: limits.Depth, Keys: limits.Keys, Values: requestValues(limits.Keys)},
		// A list of many tools has more members than any request may have.
		Answer:         wire.Limits{Depth: limits.Depth, Keys: wire.DefaultLimits.Values},
		Tools:          limits.Tools,
		ToolDefinition: int(limits.ToolDefinition),
		Sessions:       limits.SessionsPerPrincipal,
		Concurrent:     limits.ConcurrentCallsPerPrincipal,
		Rate:           rate(limits),
	}
}

// rate is what the configuration says, with its burst.
func rate(l config.Limits) pipeline.Rate {
	r := pipeline.Rate{PerMinute: l.RequestsPerMinutePerPrincipal, Burst: l.RequestBurst}
	if r.Burst == 0 {
		r.Burst = max(1, r.PerMinute/6)
	}
	return r
}

// requestValues bounds the values of a request, array elements included: guards
// are shown each of them.
func requestValues(keys int) int { return max(4*keys, 1<<14) }

// toolsOf are the configured tools of one server, by bare name.
func (s *Sidecar) toolsOf(server string) map[string]config.Tool {
	own := map[string]config.Tool{}
	for key, t := range s.cfg.Tools {
		if of, name, _ := strings.Cut(key, "/"); of == server {
			own[name] = t
		}
	}
	return own
}

// rules are what the pipeline wants to know of the tools of e.
func (s *Sidecar) rules(e *endpoint) map[string]pipeline.ToolRule {
	rules := map[string]pipeline.ToolRule{}
	for name, t := range e.tools {
		rules[name] = pipeline.ToolRule{
			Named: true, Hide: t.Hide, Wrap: wrap(t.Wrap), TrustedBlocks: t.TrustedBlocks, Source: t.Source,
			InjectSubject: slices.Sorted(maps.Keys(t.InjectArgs)), Guards: toolModes(t.Guards),
			Handles: t.Handles, HandleArgs: handleArgs(t.Args), Owner: ownerArg(t.Args), OwnerHandle: t.Args[ownerArg(t.Args)].Handle,
		}
	}
	for _, a := range s.cfg.Allow {
		server, name, _ := strings.Cut(a.Tool, "/")
		switch e.name {
		case server:
		case merged:
			name = server + "." + name
		default:
			continue
		}
		r := rules[name]
		r.Exceptions = append(r.Exceptions, pipeline.Exception{Guard: a.Guard, Rule: a.Rule, Until: time.Time(a.Until)})
		rules[name] = r
	}
	return rules
}

// ownerArg is the argument that says whose the thing is.
func ownerArg(args map[string]config.Arg) string {
	for name, a := range args {
		if a.Owner {
			return name // there is at most one
		}
	}
	return ""
}

func handleArgs(args map[string]config.Arg) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if args[name].Handle && !args[name].Owner { // there it tells whose it is, and refuses nobody
			names = append(names, name)
		}
	}
	return names
}

func wrap(w config.Wrap) guards.Wrap {
	switch w {
	case config.WrapAlways:
		return guards.WrapAlways
	case config.WrapOff:
		return guards.WrapOff
	}
	return guards.WrapFlagged
}

// nonce makes the random text of delimiters, where they have one.
func (s *Sidecar) nonce() func() string {
	if s.cfg.Guards.Delimiter == config.DelimiterNonce {
		return rand.Text
	}
	return nil
}

// passive says whether no message is changed at all: the observe preset, unless
// somebody asked for a guard to enforce all the same.
func (s *Sidecar) passive(tools map[string]config.Tool) bool {
	if s.cfg.Preset != config.PresetObserve {
		return false
	}
	for _, m := range s.parts.modes {
		if m == guards.Enforce {
			return false
		}
	}
	for _, t := range tools {
		for _, m := range toolModes(t.Guards) {
			if m == guards.Enforce {
				return false
			}
		}
	}
	return true
}

// outputGuards are in the order in which they run: what is redacted is not
// wrapped again, and what is wrapped has nothing hidden in it.
func outputGuards() []guards.Output {
	return []guards.Output{secrets.OwnGuard{}, secrets.New(), terminal.New(), injection.New()}
}

// closeEndpoints ends the calls of every pipeline at the same time, then what they
// were made over, at the same time too.
func (s *Sidecar) closeEndpoints() error {
	var wait sync.WaitGroup
	for _, e := range s.endpoints {
		if e.pipeline != nil {
			wait.Go(e.pipeline.Close)
		}
	}
	wait.Wait()
	errs := make([]error, len(s.endpoints))
	for i, e := range s.endpoints {
		wait.Go(func() { errs[i] = e.upstream.Close() }) // a child that does not want to end takes seconds
	}
	wait.Wait()
	return errors.Join(errs...)
}
