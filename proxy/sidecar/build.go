package sidecar

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/command"
	"mcp-sidecar/guards/consent"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/schema"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/front"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// parts are what the summary wants to know beside the configuration.
type parts struct {
	name      string // the upstream's
	policy    *policy.Engine
	auditFile string
	modes     map[string]guards.Mode
}

// build makes every part, innermost first.
func (s *Sidecar) build() error {
	for name := range s.cfg.Upstreams {
		s.parts.name = name
	}
	engine, err := s.buildPolicy()
	if err != nil {
		return err
	}
	s.parts.policy = engine
	if err := s.buildUpstream(); err != nil {
		return err
	}
	verifier, err := s.buildVerifier()
	if err != nil {
		return err
	}
	if err := s.openAudit(); err != nil {
		return err
	}
	s.buildPipeline(verifier)
	return nil
}

func (s *Sidecar) buildPolicy() (*policy.Engine, error) {
	if s.cfg.Policy == nil {
		if s.cfg.Preset == config.PresetStrict {
			return &policy.Engine{}, nil // strict means default deny, and there is no rule
		}
		return policy.Builtin(), nil
	}
	var roles map[string][]string
	if s.cfg.Auth != nil {
		roles = s.cfg.Auth.Roles
	}
	engine, err := policy.LoadFile(s.cfg.Resolve(s.cfg.Policy.File), roles)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return engine, nil
}

func (s *Sidecar) buildUpstream() error {
	u := s.cfg.Upstreams[s.parts.name]
	o := backend.Options{URL: u.URL, MaxResult: int(s.cfg.Limits.Result), IdleTimeout: time.Duration(s.cfg.Limits.CallIdleTimeout)}
	if u.Credential.Kind == config.CredentialHeader {
		secret, err := s.readSecret(u.Credential.File)
		if err != nil {
			return err
		}
		o.Credential = backend.Credential{Header: u.Credential.HeaderName(), Value: identity.NewSecret(u.Credential.HeaderPrefix() + secret)}
	}
	var err error
	if s.upstream, err = backend.NewHTTP(o); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// buildVerifier returns nil where everybody is anonymous.
func (s *Sidecar) buildVerifier() (pipeline.Authenticator, error) {
	if s.cfg.Auth == nil {
		return nil, nil
	}
	var all identity.Verifiers
	for _, i := range s.cfg.Auth.Introspection {
		o := identity.IntrospectionOptions{Issuer: i.Issuer, URL: i.URL, ClientID: i.ClientID, Audience: s.cfg.Auth.Audience, Now: s.opts.Now}
		if i.ClientID != "" {
			secret, err := s.readSecret(i.ClientSecretFile)
			if err != nil {
				return nil, err
			}
			o.ClientSecret = identity.NewSecret(secret)
		}
		all = append(all, identity.NewIntrospector(o))
	}
	return all, nil
}

func (s *Sidecar) openAudit() error {
	file, err := s.cfg.AuditFile(os.LookupEnv)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.parts.auditFile = file
	o := audit.Options{Redact: redact, SyncAll: s.cfg.Audit.Sync == config.SyncAlways}
	if s.cfg.Audit.Stderr {
		o.Copy = s.opts.Stderr
	}
	s.audit, err = audit.Open(s.parts.auditFile, o)
	return err
}

// redact removes secrets from texts for the audit file and for logs.
func redact(text string) string {
	clean, _ := secrets.Redact(text)
	return clean
}

func (s *Sidecar) buildPipeline(verifier pipeline.Authenticator) {
	limits := s.cfg.Limits
	s.parts.modes = s.modes()
	needs := s.needsConfirm()
	s.pipeline = pipeline.New(pipeline.Options{
		Server:        s.parts.name,
		Authenticator: verifier,
		Policy:        s.parts.policy,
		Authorization: presetMode(s.cfg.Preset),
		PerCaller:     s.cfg.Policy != nil,
		Catalog:       s.catalog(),
		Rules:         s.rules(),
		Upstream:      s.upstream,
		Recorder:      s.audit,
		Limits: pipeline.Limits{
			RequestBody: int64(limits.RequestBody),
			Message:     wire.Limits{Depth: limits.Depth, Keys: limits.Keys, Values: requestValues(limits.Keys)},
			// A list of many tools has more members than any request may have.
			Answer:         wire.Limits{Depth: limits.Depth, Keys: wire.DefaultLimits.Values},
			Tools:          limits.Tools,
			ToolDefinition: int(limits.ToolDefinition),
			Sessions:       limits.SessionsPerPrincipal,
			Concurrent:     limits.ConcurrentCallsPerPrincipal,
		},
		Input:        s.inputGuards(needs),
		Output:       []guards.Output{secrets.New(), injection.New()},
		Modes:        s.parts.modes,
		Passive:      s.passive(),
		NeedsConfirm: needs,
		Confirm:      pipeline.Property{Name: consent.Argument, Schema: []byte(consent.PropertySchema)},
		Note:         injection.Note,
		Validate:     schema.Validate,
		Redact:       redact,
		Log:          s.log,
		Now:          s.opts.Now,
		After:        s.opts.After,
	})
}

// requestValues bounds the values of a request, array elements included: guards
// are shown each of them.
func requestValues(keys int) int { return max(4*keys, 1<<14) }

// inputGuards are in the order in which they run; the one that may ask the DNS
// comes last.
func (s *Sidecar) inputGuards(needs func(*guards.Call) bool) []guards.Input {
	enums := map[string]map[string]command.Rule{}
	urls := map[string]map[string]ssrf.Rule{}
	for tool, t := range s.cfg.Tools {
		enums[tool], urls[tool] = map[string]command.Rule{}, map[string]ssrf.Rule{}
		for name, a := range t.Args {
			if a.Enum != nil {
				enums[tool][name] = command.Rule{Enum: a.Enum}
			}
			if a.SSRF != nil {
				urls[tool][name] = ssrf.Rule{Hosts: a.SSRF.Hosts, Ports: a.SSRF.Ports}
			}
		}
	}
	resolver := s.opts.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	mode := func(c *guards.Call) consent.Mode {
		if needs(c) {
			return consent.Confirm
		}
		return consent.Off
	}
	return []guards.Input{command.New(enums), consent.New(mode), ssrf.New(ssrf.NewStatic(s.cfg.DNS.Hosts, resolver), urls)}
}

// needsConfirm says which calls are let through only with confirm=true.
func (s *Sidecar) needsConfirm() func(*guards.Call) bool {
	strict := s.cfg.Preset == config.PresetStrict
	return func(c *guards.Call) bool {
		switch s.cfg.Tools[c.Tool].Consent {
		case config.ConsentConfirm:
			return true
		case config.ConsentOff:
			return false
		}
		return c.Destructive || strict && !c.ReadOnly
	}
}

func presetMode(p config.Preset) guards.Mode {
	if p == config.PresetObserve {
		return guards.Observe
	}
	return guards.Enforce
}

func guardMode(m config.Mode, otherwise guards.Mode) guards.Mode {
	switch m {
	case config.ModeOff:
		return guards.Off
	case config.ModeObserve:
		return guards.Observe
	case config.ModeEnforce:
		return guards.Enforce
	}
	return otherwise
}

// modes are the guards' modes where a tool has none of its own.
func (s *Sidecar) modes() map[string]guards.Mode {
	preset := presetMode(s.cfg.Preset)
	return map[string]guards.Mode{
		secrets.Name:   guardMode(s.cfg.Guards.Secrets, preset),
		injection.Name: guardMode(s.cfg.Guards.Injection, preset),
		command.Name:   preset,
		consent.Name:   preset,
		ssrf.Name:      preset,
	}
}

func toolModes(g config.ToolGuards) map[string]guards.Mode {
	own := map[string]guards.Mode{}
	for name, m := range map[string]config.Mode{
		secrets.Name: g.Secrets, injection.Name: g.Injection, command.Name: g.Command, consent.Name: g.Consent, ssrf.Name: g.SSRF,
	} {
		if m != config.ModeUnset {
			own[name] = guardMode(m, guards.Enforce)
		}
	}
	return own
}

// passive says whether no message is changed at all: the observe preset, unless
// somebody asked for a guard to enforce all the same.
func (s *Sidecar) passive() bool {
	if s.cfg.Preset != config.PresetObserve {
		return false
	}
	for _, m := range s.parts.modes {
		if m == guards.Enforce {
			return false
		}
	}
	for _, t := range s.cfg.Tools {
		for _, m := range toolModes(t.Guards) {
			if m == guards.Enforce {
				return false
			}
		}
	}
	return true
}

func (s *Sidecar) catalog() *policy.Catalog {
	entries := map[string]policy.Entry{}
	for tool, t := range s.cfg.Tools {
		entries[tool] = policy.Entry{Permission: policy.Permission{Object: t.Resource, Action: t.Action}, Scopes: t.Scopes}
	}
	return policy.NewCatalog(entries)
}

func (s *Sidecar) rules() map[string]pipeline.ToolRule {
	rules := map[string]pipeline.ToolRule{}
	for tool, t := range s.cfg.Tools {
		_, name, _ := strings.Cut(tool, "/")
		var inject []string
		for arg := range t.InjectArgs {
			inject = append(inject, arg)
		}
		slices.Sort(inject)
		rules[name] = pipeline.ToolRule{
			Hide: t.Hide, Wrap: wrap(t.Wrap), TrustedBlocks: t.TrustedBlocks, Source: t.Source,
			InjectSubject: inject, Guards: toolModes(t.Guards),
		}
	}
	return rules
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

// handler is the client side, once the listener's address is known.
func (s *Sidecar) handler() http.Handler {
	public := s.cfg.PublicURL
	if public == "" {
		public = "http://" + s.listener.Addr().String()
	}
	o := front.Options{Pipeline: s.pipeline, Hosts: slices.Clone(s.cfg.AllowedHosts), Origins: s.cfg.AllowedOrigins, MaxHeaders: int(s.cfg.Limits.Headers)}
	if u, err := url.Parse(public); err == nil {
		o.Hosts = append(o.Hosts, u.Host)
	}
	if s.cfg.Auth != nil {
		o.MetadataURL = public + front.MetadataPath + front.Path
		o.Metadata = s.metadata(public + front.Path)
	}
	return front.NewHandler(o)
}

// metadata is the protected-resource metadata document (RFC 9728 section 2).
func (s *Sidecar) metadata(resource string) *oauthex.ProtectedResourceMetadata {
	m := &oauthex.ProtectedResourceMetadata{Resource: resource, BearerMethodsSupported: []string{"header"}}
	for _, i := range s.cfg.Auth.Introspection {
		m.AuthorizationServers = append(m.AuthorizationServers, i.Issuer)
	}
	for _, t := range s.cfg.Tools {
		m.ScopesSupported = append(m.ScopesSupported, t.Scopes...)
	}
	slices.Sort(m.ScopesSupported)
	m.ScopesSupported = slices.Compact(m.ScopesSupported)
	return m
}
