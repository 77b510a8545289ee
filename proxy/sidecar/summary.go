package sidecar

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/command"
	"mcp-sidecar/guards/consent"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/marker"
	"mcp-sidecar/guards/schema"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/guards/terminal"
	"mcp-sidecar/proxy/config"
)

// Summary tells a person what is enforced, what is only observed, and what is
// off. It holds no secret and is meant for stderr.
func (s *Sidecar) Summary(w io.Writer) {
	lines := []string{"mcp-sidecar: preset " + s.cfg.Preset.String() + ", in front of " + s.guarded()}
	lines = append(lines, "  callers        "+s.callers())
	if v := s.verifiers; v != nil && v.Revoked != nil {
		lines = append(lines, fmt.Sprintf("  revoked        %s, %d entries, read again every %v", s.cfg.Auth.RevokedFile, v.Revoked.Size(), s.opts.Recheck))
	}
	for _, e := range s.endpoints {
		lines = append(lines, "  upstream       "+s.upstreamLine(e))
	}
	lines = append(lines,
		"  policy         "+s.policyLine(),
		"  enforced       "+s.list(guards.Enforce, append([]string{"message checks", "session binding", "credential replacement"}, when(s.cfg.Quarantines(), "quarantine")...)...),
		"  only observed  "+s.list(guards.Observe),
		"  off            "+s.list(guards.Off, when(!s.cfg.Quarantines(), "quarantine")...),
		"  audit          "+s.auditLine(),
	)
	if n := len(s.cfg.Allow); n > 0 {
		expired := len(s.cfg.Expired(s.opts.Now()))
		lines = append(lines, fmt.Sprintf("  exceptions     %d under allow:, %d of them expired", n, expired))
	}
	if c := s.cfg.Classifier; c != nil {
		lines = append(lines, fmt.Sprintf("  classifier     %s, about what scores %v or more; without an answer: %s", c.URL, s.doubts.low, c.OnError))
	}
	lines = append(lines, s.brokerLines()...)
	lines = append(lines, s.egressLines()...)
	lines = append(lines, s.listenerLines()...)
	if s.parts.modes[consent.Name] == guards.Enforce {
		lines = append(lines, "  note           confirm mode is not consent: a model can set confirm=true by itself")
	}
	if n := s.parts.smells; n > 0 {
		lines = append(lines, fmt.Sprintf("  note           the policy has %d row(s) without effect; mcp-sidecar policy lint lists them", n))
	}
	if s.cfg.Auth != nil && s.cfg.Auth.TokenArgument {
		lines = append(lines, "  WARNING        auth.token_argument: callers' tokens may stand in the argument "+config.TokenArgumentName+" of tool calls, where models read them and",
			"                 transcripts keep them (OWASP MCP01). For clients that can send a token in no other way, on this machine only")
	}
	for _, e := range s.endpoints {
		if s.cfg.Upstreams[e.name].AllowPlaintext {
			lines = append(lines, "  warning        upstreams."+e.name+".allow_plaintext: the service credential travels unencrypted to another host")
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(lines, "\n"))
}

// when is a list of name where that is so, and an empty one otherwise.
func when(is bool, name string) []string {
	if is {
		return []string{name}
	}
	return nil
}

func (s *Sidecar) callers() string {
	switch {
	case s.cfg.Auth == nil && s.cfg.Local:
		as := fmt.Sprintf("the program that started this one, as %q", localUser().Subject)
		if s.cfg.Policy == nil {
			as += " with role any"
		}
		return as + "; no token is needed"
	case s.cfg.Auth == nil && s.broker != nil:
		return "tokens of the broker, for the server that they name"
	case s.cfg.Auth == nil:
		return "NOT AUTHENTICATED (--insecure-no-auth): everybody on this host is \"anonymous\" with role any"
	}
	return "bearer tokens for " + strings.Join(s.audience(), ", ") + ", " + strings.Join(verifierLines(s.cfg.Auth), "; ")
}

// verifierLines say how tokens are verified.
func verifierLines(a *config.Auth) (lines []string) {
	var signed, asked []string
	for _, j := range a.JWT {
		signed = append(signed, j.Issuer)
	}
	for _, i := range a.Introspection {
		asked = append(asked, i.Issuer)
	}
	if len(signed) > 0 {
		lines = append(lines, "signed by "+strings.Join(signed, ", "))
	}
	if len(asked) > 0 {
		lines = append(lines, "introspected at "+strings.Join(asked, ", "))
	}
	if a.StaticTokensFile != "" {
		lines = append(lines, "or in "+a.StaticTokensFile+" (for development)")
	}
	return lines
}

// guarded names what is guarded: the server and its address, or how many there are.
func (s *Sidecar) guarded() string {
	if len(s.endpoints) > 1 {
		return fmt.Sprintf("%d servers", len(s.cfg.Upstreams))
	}
	e := s.endpoints[0]
	return fmt.Sprintf("%s (%s)", e.name, s.address(s.cfg.Upstreams[e.name]))
}

// upstreamLine says how one server is reached. Among several it begins with which.
func (s *Sidecar) upstreamLine(e *endpoint) string {
	if e.name == merged {
		return fmt.Sprintf("all of them together at %s, names with the server's in front (merge)", e.path)
	}
	u := s.cfg.Upstreams[e.name]
	if len(s.endpoints) > 1 {
		return fmt.Sprintf("%s at %s (%s): %s", e.name, e.path, s.address(u), credential(u))
	}
	return credential(u)
}

// address is where a server is reached, or how it is started.
func (s *Sidecar) address(u config.Upstream) string {
	if u.Command == nil {
		return u.URL
	}
	return s.redact(fmt.Sprintf("%q", u.Command))
}

func credential(u config.Upstream) string {
	switch u.Credential.Kind {
	case config.CredentialNone:
		if u.Broker != nil {
			return "the caller's token of the third party at " + hostOf(u.Broker.AuthorizeURL) + ", by way of the broker"
		}
		return "no credential is sent; the caller's never is"
	case config.CredentialEnv:
		return "the sidecar's own credential in the variable " + u.Credential.Variable + "; the caller's never travels on"
	case config.CredentialGranted:
		return "a token that " + u.Credential.TokenURL + " issues to the sidecar, in " + u.Credential.HeaderName() + "; the caller's never travels on"
	case config.CredentialExchanged:
		return "a token that " + u.Credential.TokenURL + " issues for each caller, in " + u.Credential.HeaderName() + "; the caller's own goes there and no further"
	case config.CredentialArg:
		return "the sidecar's own credential in the argument " + u.Credential.Argument + " of its tools, hidden from clients; the caller's never travels on"
	}
	return "the sidecar's own credential in " + u.Credential.HeaderName() + "; the caller's never travels on"
}

func (s *Sidecar) policyLine() string {
	how := "enforced"
	if s.cfg.Preset == config.PresetObserve {
		how = "only recorded"
	}
	switch {
	case s.cfg.Policy != nil:
		return fmt.Sprintf("%s (revision %s), default deny, %s, followed (%s)", s.policySource(), s.parts.policy.Health().Revision, how, s.maxAgeLine())
	case s.cfg.Preset == config.PresetStrict:
		return "none given: strict denies every tool; add policy.file"
	}
	return "built in: every authenticated caller has role any, which may use everything (" + how + "); add policy.file to restrict"
}

// maxAgeLine says what becomes of a policy that nobody confirms.
func (s *Sidecar) maxAgeLine() string {
	if age := s.cfg.Policy.Age(); age > 0 {
		return "denies everything once unconfirmed for " + config.Duration(age).String()
	}
	return "stays in force for as long as nobody confirms it"
}

// list names what is in mode, guards in a fixed order.
func (s *Sidecar) list(mode guards.Mode, more ...string) string {
	var names []string
	authorization := presetMode(s.cfg.Preset)
	if mode == authorization && mode != guards.Off {
		names = append(names, "authorization")
	}
	for _, g := range []string{secrets.Name, injection.Name, terminal.Name, marker.Name, secrets.InputName, command.Name, ssrf.Name, consent.Name, schema.InputName, schema.Name} {
		if s.parts.modes[g] == mode {
			names = append(names, g)
		}
	}
	if mode == guards.Enforce {
		names = slices.Concat(more, names)
	} else {
		names = append(names, more...)
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func (s *Sidecar) auditLine() string {
	if s.cfg.Audit.Sync == config.SyncAlways {
		return s.parts.auditFile + ", on disk before each answer"
	}
	return s.parts.auditFile + ", written before each answer, on disk before each destructive call"
}
