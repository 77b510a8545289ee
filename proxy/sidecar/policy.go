package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/pipeline"
)

// buildPolicy reads the policy for the first time; followPolicy reads it again.
func (s *Sidecar) buildPolicy() (*policy.Live, error) {
	if s.cfg.Policy == nil {
		if s.cfg.Preset == config.PresetStrict {
			return policy.Fixed(&policy.Engine{}), nil // strict means default deny, and there is no rule
		}
		return policy.Fixed(policy.Builtin()), nil
	}
	var roles map[string][]string
	if s.cfg.Auth != nil {
		roles = s.cfg.Auth.Roles
	}
	var err error
	if s.policies, err = OpenPolicy(s.cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.life, firstPolicyTime)
	defer cancel()
	live, err := policy.NewLive(ctx, s.policies, policy.LiveOptions{
		Extra: roles, MaxAge: s.cfg.Policy.Age(), Poll: s.opts.PolicyPoll, Settle: s.cfg.Policy.File != "", Now: s.opts.Now, Notify: s.policyEvent, Read: s.lintPolicy,
	})
	switch {
	case errors.Is(err, policy.ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return live, nil
}

// Bounds of what is said about a policy that is loaded.
const (
	// maxLinted rows take a fifth of a second at worst, in which no change is taken over:
	// the time grows with their square. Above, "policy lint" says it.
	maxLinted = 2_000
	maxSmells = 20
)

// lintPolicy says in the log what of a changed policy does nothing, or not what it looks
// like. Of the first one the summary says how much there is, after a start that works.
func (s *Sidecar) lintPolicy(rows policy.Rows) {
	if len(rows.Rows) > maxLinted {
		return
	}
	smells := policy.Lint(LintInput(s.cfg, rows))
	if s.parts.policy == nil {
		s.parts.smells = len(smells)
		return
	}
	for _, smell := range smells[:min(len(smells), maxSmells)] {
		s.log.Warn("the policy has a row without effect", "at", smell.Place(), "rule", smell.Rule, "why", smell.Text, "cure", smell.Cure)
	}
	if more := len(smells) - maxSmells; more > 0 {
		s.log.Warn("the policy has more rows without effect; mcp-sidecar policy lint lists them", "more", more)
	}
}

// lintListed says in the log which tools and arguments the configuration has that a
// server does not, once the server was asked: each once, as a server may list the same
// again and again.
func (s *Sidecar) lintListed(server string, listed map[string][]string) {
	for _, smell := range policy.LintListed(lintTools(s.cfg), map[string]map[string][]string{server: listed}) {
		if _, said := s.parts.unlisted.LoadOrStore(smell.Place(), true); !said {
			s.log.Warn("the configuration is about what the server does not list", "at", smell.Place(), "rule", smell.Rule, "why", smell.Text, "cure", smell.Cure)
		}
	}
	if !s.cfg.Quarantines() {
		return
	}
	for _, tool := range slices.Sorted(maps.Keys(listed)) {
		name := server + "/" + tool
		if _, named := s.cfg.Tools[name]; named {
			continue
		}
		if _, said := s.parts.unlisted.LoadOrStore("quarantine "+name, true); !said {
			s.log.Warn("a tool is held back: the configuration does not name it", "tool", s.redact(name), "cure", "look at what it does, then add it under tools:; an empty entry will do")
		}
	}
}

// LintInput is what rows are read against under a configuration.
func LintInput(cfg *config.Config, rows policy.Rows) policy.LintInput {
	in := policy.LintInput{Rows: rows, Servers: slices.Sorted(maps.Keys(cfg.Upstreams)), Tools: lintTools(cfg)}
	auth := cfg.Auth
	if auth == nil {
		return in
	}
	in.Given, in.Anyones, in.Scopes = auth.Roles, auth.RolesFile != "", policy.NewHierarchy(auth.ScopeIncludes)
	for _, j := range auth.JWT {
		for _, roles := range j.RolesMap {
			in.Roles = append(in.Roles, roles...)
		}
	}
	for _, i := range auth.Introspection {
		for _, roles := range i.RolesMap {
			in.Roles = append(in.Roles, roles...)
		}
	}
	if len(auth.JWT)+len(auth.Introspection) == 0 && cfg.Broker == nil && auth.StaticTokensFile != "" {
		in.Granted = staticScopes(cfg)
	}
	return in
}

func lintTools(cfg *config.Config) (tools []policy.LintTool) {
	catalog := catalogOf(cfg)
	for _, name := range slices.Sorted(maps.Keys(cfg.Tools)) {
		server, tool, _ := strings.Cut(name, "/")
		entry, _ := catalog.Lookup(server, tool)
		tools = append(tools, policy.LintTool{Name: name, Entry: entry, Args: slices.Sorted(maps.Keys(cfg.Tools[name].Args)), Owned: cfg.Tools[name].Owned()})
	}
	return tools
}

// staticScopes are the scopes that tokens of the file have, where there are no others. A
// file that cannot be read says nothing.
func staticScopes(cfg *config.Config) []string {
	name := cfg.Resolve(cfg.Auth.StaticTokensFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	tokens, err := config.ParseStaticTokens(name, text)
	if err != nil {
		return nil
	}
	scopes := []string{}
	for _, t := range tokens {
		scopes = append(scopes, t.Scopes...)
	}
	return scopes
}

// firstPolicyTime is how long the first policy may take: without one nothing starts.
const firstPolicyTime = 15 * time.Second

// OpenPolicy opens the place where cfg, which has a policy, keeps it. Errors wrap
// ErrConfig. They and later ones hold nothing of a database's URL.
func OpenPolicy(cfg *config.Config) (policy.Store, error) {
	d := cfg.Policy.Database
	if d == nil {
		return policy.NewFile(cfg.Resolve(cfg.Policy.File)), nil
	}
	address := os.Getenv(d.Variable())
	if address == "" {
		return nil, fmt.Errorf("%w: policy.database: the variable %s is empty or not set", ErrConfig, d.Variable())
	}
	store, err := policy.OpenPostgres(policy.PostgresOptions{URL: address, AllowPlaintext: d.AllowPlaintext, InsecureTLS: d.InsecureTLS})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, d.Variable(), err)
	}
	return store, nil
}

// learnDatabase keeps the URL of the policy's database, and its password, out of logs
// and out of the environment of servers.
func (s *Sidecar) learnDatabase() {
	if s.cfg.Policy == nil || s.cfg.Policy.Database == nil {
		return
	}
	address := os.Getenv(s.cfg.Policy.Database.Variable())
	s.own.learn("policy.database", address)
	if u, err := url.Parse(address); err == nil {
		password, _ := u.User.Password()
		s.own.learn("policy.database password", password)
	}
}

// policySource names where the policy is kept.
func (s *Sidecar) policySource() string {
	if d := s.cfg.Policy.Database; d != nil {
		return "postgres at " + d.Variable()
	}
	return s.cfg.Policy.File
}

// currentPolicy is the policy in force.
func (s *Sidecar) currentPolicy() (pipeline.Authorizer, error) { return s.parts.policy.Current() }

// followPolicy takes over what changes in the source of the policy, until Close.
func (s *Sidecar) followPolicy(ctx context.Context) { s.parts.policy.Run(ctx) }

// policyEvent says in the log, and on record where decisions are concerned, what has
// happened to the policy.
func (s *Sidecar) policyEvent(e policy.Event) {
	log := s.log.With("source", e.Source, "revision", e.Revision)
	if e.Err != nil {
		log = log.With("error", s.redact(e.Err.Error()))
	}
	if !e.Until.IsZero() {
		log = log.With("until", e.Until.UTC())
	}
	switch e.Kind {
	case policy.Changed:
		log.Info("the policy has changed", "before", e.Before)
		s.recordPolicy(e, "changed", "")
	case policy.Refused:
		log.Error("the changed policy cannot be used; the one before stays in force")
		s.recordPolicy(e, "refused", "policy-invalid")
	case policy.Unreachable:
		log.Error("the policy cannot be read again; the one before stays in force")
	case policy.Deaf:
		log.Warn("changes of the policy are not told; they are found by looking")
	case policy.Stale:
		log.Error("the policy has not been confirmed for too long; everything is denied")
		s.recordPolicy(e, "denied", "policy-age")
	case policy.Confirmed:
		log.Info("the policy in force is confirmed again")
		s.recordPolicy(e, "confirmed", "")
	}
}

// recordPolicy puts on record since when calls are decided otherwise. A record that
// cannot be written changes nothing: each call has its own, with the revision.
func (s *Sidecar) recordPolicy(e policy.Event, outcome, reason string) {
	id, err := uuid.NewV7()
	if err == nil {
		a := audit.Event{
			Time: s.opts.Now().UTC(), ID: id.String(), Phase: audit.PhaseOutcome, Direction: "operator", Kind: "policy",
			Stage: "policy", Outcome: outcome, Reason: reason, Policy: e.Revision,
		}
		if e.Err != nil {
			a.Error = e.Err.Error()
		}
		err = s.audit.Record(a)
	}
	if err != nil && !errors.Is(err, audit.ErrClosed) {
		s.log.Error("a change of the policy could not be recorded", "error", s.redact(err.Error()))
	}
}

// policyCheck says how the policy is, and whether anything is decided by it.
func (s *Sidecar) policyCheck() (c Check, decides bool) {
	c = Check{Name: "policy"}
	if s.parts.policy == nil {
		return c, false
	}
	h := s.parts.policy.Health()
	c.OK = h.Problem == nil && !h.Stale
	switch {
	case h.Stale:
		c.Why = "has not been confirmed for so long that everything is denied"
	case h.Problem != nil:
		c.Why = "cannot be used or read as it is now; the one before is in force"
	}
	return c, !h.Stale
}
