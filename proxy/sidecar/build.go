package sidecar

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/argument"
	"mcp-sidecar/guards/command"
	"mcp-sidecar/guards/consent"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/marker"
	"mcp-sidecar/guards/schema"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/guards/terminal"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/front"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
)

// parts are what the summary wants to know beside the configuration.
type parts struct {
	policy    *policy.Live
	smells    int      // of the first policy
	unlisted  sync.Map // places of the configuration that were said to be about nothing
	catalog   *policy.Catalog
	auditFile string
	modes     map[string]guards.Mode
}

// build makes every part, innermost first.
func (s *Sidecar) build() error {
	if err := s.learnSecrets(); err != nil {
		return err
	}
	if err := s.loadCertificates(); err != nil {
		return err
	}
	live, err := s.buildPolicy()
	if err != nil {
		return err
	}
	s.parts.policy, s.parts.catalog, s.parts.modes = live, s.catalog(), s.modes()
	verifier, err := s.buildAuthenticator()
	if err != nil {
		return err
	}
	if err := s.refuseStatic(); err != nil {
		return err
	}
	if err := s.openAudit(); err != nil {
		return err
	}
	if err := s.buildEgress(); err != nil {
		return err
	}
	if err := s.buildBroker(); err != nil {
		return err
	}
	if err := s.buildClassifier(); err != nil {
		return err
	}
	key, err := s.sealKey()
	if err != nil {
		return err
	}
	confirm := s.needsConfirm()
	return s.buildEndpoints(shared{
		verifier: verifier,
		sealKey:  key,
		counts:   pipeline.NewShared(s.pipelineLimits(), s.opts.Now),
		input:    s.inputGuards(confirm),
		output:   outputGuards(),
		confirm:  confirm,
	})
}

// shortestKey is the least length of a key's text, in bytes.
const shortestKey = 32

// sealKey is the configured key, or nothing.
func (s *Sidecar) sealKey() (identity.Hidden[[]byte], error) {
	if s.cfg.SealKeyFile == "" {
		return identity.Hidden[[]byte]{}, nil
	}
	return s.keyFrom("seal_key_file", s.cfg.SealKeyFile)
}

// keyFrom reads a key from the file that setting names.
func (s *Sidecar) keyFrom(setting, file string) (identity.Hidden[[]byte], error) {
	key, err := s.readSecret(file)
	if err == nil && len(key) < shortestKey {
		err = fmt.Errorf("%w: %s: the key has fewer than %d characters; make one with: openssl rand -hex 32", ErrConfig, setting, shortestKey)
	}
	return identity.Hide([]byte(key)), err
}

func (s *Sidecar) openAudit() error {
	file, err := s.cfg.AuditFile(os.LookupEnv)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.parts.auditFile = file
	o := audit.Options{Redact: s.redact, SyncAll: s.cfg.Audit.Sync == config.SyncAlways}
	if s.cfg.Audit.Stderr {
		o.Copy = s.opts.Stderr
	}
	s.audit, err = audit.Open(s.parts.auditFile, o)
	return err
}

// inputGuards are in the order in which they run; the one that may ask the DNS
// comes last.
func (s *Sidecar) inputGuards(needs func(*guards.Call) bool) []guards.Input {
	enums := map[string]map[string]command.Rule{}
	urls := map[string]map[string]ssrf.Rule{}
	bounds := map[string]map[string]argument.Rule{}
	for tool, t := range s.cfg.Tools {
		bounds[tool] = argumentRules(t)
		enums[tool], urls[tool] = map[string]command.Rule{}, map[string]ssrf.Rule{}
		for name, a := range t.Args {
			if a.Enum != nil || a.Command {
				enums[tool][name] = command.Rule{Enum: a.Enum, Free: a.Command}
			}
			if a.SSRF != nil {
				urls[tool][name] = ssrf.Rule{Hosts: a.SSRF.Hosts, Ports: a.SSRF.Ports}
			}
		}
	}
	mode := func(c *guards.Call) consent.Mode {
		if needs(c) {
			return consent.Confirm
		}
		return consent.Off
	}
	return []guards.Input{argument.New(bounds), marker.Guard{}, secrets.InputGuard{}, command.New(enums), consent.New(mode), ssrf.New(s.resolver(), urls)}
}

// argumentRules are the bounds of a tool's arguments.
func argumentRules(t config.Tool) map[string]argument.Rule {
	rules := map[string]argument.Rule{}
	for name, a := range t.Args {
		if !a.Bounds() {
			continue
		}
		r := argument.Rule{Prefixes: a.Prefix, Hosts: a.Hosts, Length: a.MaxLength, Required: a.Required}
		if a.Pattern != "" {
			r.Pattern = argument.MustPattern(a.Pattern)
		}
		if a.Min != nil {
			r.Min = a.Min.Rat()
		}
		if a.Max != nil {
			r.Max = a.Max.Rat()
		}
		rules[name] = r
	}
	return rules
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
		secrets.Name:      guardMode(s.cfg.Guards.Secrets, preset),
		injection.Name:    guardMode(s.cfg.Guards.Injection, preset),
		terminal.Name:     guardMode(s.cfg.Guards.Terminal, preset),
		marker.Name:       guardMode(s.cfg.Guards.MarkerWriteback, preset),
		secrets.InputName: guardMode(s.cfg.Guards.InputSecrets, guards.Observe),
		argument.Name:     preset,
		command.Name:      preset,
		consent.Name:      preset,
		ssrf.Name:         preset,
		schema.Name:       guardMode(s.cfg.Guards.Schema, preset),
		schema.InputName:  guardMode(s.cfg.Guards.InputSchema, preset),
	}
}

func toolModes(g config.ToolGuards) map[string]guards.Mode {
	own := map[string]guards.Mode{}
	for name, m := range map[string]config.Mode{
		secrets.Name: g.Secrets, injection.Name: g.Injection, terminal.Name: g.Terminal, marker.Name: g.MarkerWriteback, secrets.InputName: g.InputSecrets, argument.Name: g.Argument, command.Name: g.Command, consent.Name: g.Consent, ssrf.Name: g.SSRF, schema.Name: g.Schema, schema.InputName: g.InputSchema,
	} {
		if m != config.ModeUnset {
			own[name] = guardMode(m, guards.Enforce)
		}
	}
	return own
}

func (s *Sidecar) catalog() *policy.Catalog { return catalogOf(s.cfg) }

func catalogOf(cfg *config.Config) *policy.Catalog {
	entries := map[string]policy.Entry{}
	for tool, t := range cfg.Tools {
		entries[tool] = policy.Entry{Permission: policy.Permission{Object: t.Resource, Action: t.Action}, Scopes: t.Scopes}
	}
	return policy.NewCatalog(entries)
}

// handler is the client side, once the listener's address is known.
func (s *Sidecar) handler() http.Handler {
	public := s.cfg.Public()
	if public == "" {
		public = s.listener.url()
	}
	o := front.Options{Hosts: slices.Clone(s.cfg.AllowedHosts), Origins: s.cfg.AllowedOrigins, MaxHeaders: int(s.cfg.Limits.Headers), ClientTime: s.opts.ClientTime, Pages: s.brokerPages()}
	if u, err := url.Parse(public); err == nil {
		o.Hosts = append(o.Hosts, u.Host)
	}
	for _, e := range s.endpoints {
		f := front.Endpoint{Path: e.path, Pipeline: e.pipeline}
		if s.cfg.Auth != nil || s.brokered(e.name) {
			f.MetadataURL = public + front.MetadataPath + e.path
			f.Metadata = s.metadata(public+e.path, e)
		}
		o.Endpoints = append(o.Endpoints, f)
	}
	return front.NewHandler(o)
}
