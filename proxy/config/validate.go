package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Validate reports everything that is wrong with c, or nil. It has no side
// effects: no file is opened, no name resolved, nothing changed.
func (c *Config) Validate() Errors {
	var problems Errors
	for _, f := range c.check() {
		problems = append(problems, c.origin.locate(f))
	}
	return problems.arrange()
}

// kind says where in the file a finding belongs.
type kind uint8

const (
	badValue kind = iota
	badKey        // the key itself
	lacking       // something that is not there, or that another setting calls for
)

// finding is a Problem before its place is known.
type finding struct {
	path    string
	message string
	kind    kind
}

// checker collects findings. Maps are walked in sorted order, so that the same
// configuration gives the same list.
type checker struct{ found []finding }

func (k *checker) bad(path, format string, args ...any) {
	k.found = append(k.found, finding{path, fmt.Sprintf(format, args...), badValue})
}

func (k *checker) badKey(path, format string, args ...any) {
	k.found = append(k.found, finding{path, fmt.Sprintf(format, args...), badKey})
}

func (k *checker) lacks(path, format string, args ...any) {
	k.found = append(k.found, finding{path, fmt.Sprintf(format, args...), lacking})
}

// unless reports a value that does not hold.
func (k *checker) unless(holds bool, path, message string) {
	if !holds {
		k.bad(path, "%s", message)
	}
}

// Bounds of policy.max_age: below, a slow look at the source denies everything.
const (
	minPolicyAge = 30 * time.Second
	maxPolicyAge = 7 * 24 * time.Hour
)

func (p *Policy) check(k *checker) {
	if (p.File == "") == (p.Database == nil) {
		k.lacks("policy", "needs exactly one of file and database")
	}
	k.file("policy.file", p.File)
	if d := p.Database; d != nil && d.URLEnv != "" {
		k.unless(variableName.MatchString(d.URLEnv), "policy.database.url_env", "must be the name of a variable; the URL itself is a secret and stands nowhere in the file")
	}
	k.within("policy.max_age", Duration(p.Age()), minPolicyAge, maxPolicyAge)
}

func (c *Config) check() []finding {
	k := &checker{}
	switch c.Version {
	case 1:
	case 0:
		k.lacks("version", "is required: version: 1")
	default:
		k.bad("version", "must be 1")
	}
	checkEnum(k, "preset", presetNames, c.Preset)
	c.checkListener(k)
	c.checkCallers(k)
	c.checkUpstreams(k)
	c.checkBroker(k)
	if c.Policy != nil {
		c.Policy.check(k)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Tools)) {
		c.checkTool(k, key)
	}
	c.checkMerged(k)
	checkEnum(k, "guards.secrets", modeNames, c.Guards.Secrets)
	checkEnum(k, "guards.injection", modeNames, c.Guards.Injection)
	checkEnum(k, "guards.terminal", modeNames, c.Guards.Terminal)
	checkEnum(k, "guards.marker_writeback", modeNames, c.Guards.MarkerWriteback)
	checkEnum(k, "guards.input_secrets", modeNames, c.Guards.InputSecrets)
	checkEnum(k, "guards.schema", modeNames, c.Guards.Schema)
	checkEnum(k, "guards.input_schema", modeNames, c.Guards.InputSchema)
	checkEnum(k, "guards.delimiter", delimiterNames, c.Guards.Delimiter)
	c.checkClassifier(k)
	c.checkExceptions(k)
	c.DNS.check(k)
	c.checkEgress(k)
	c.Limits.check(k)
	for i, m := range c.Methods {
		at := item("methods", i)
		k.unless(methodName.MatchString(m) && !strings.HasPrefix(m, "rpc."), at, "must be a method name of at most 128 letters, digits, _, ., -, $ and /, and not begin with rpc. (JSON-RPC 2.0 section 4.3)")
		k.unless(!slices.Contains(c.Methods[:i], m), at, "is given twice")
	}
	k.file("seal_key_file", c.SealKeyFile)
	k.file("state_dir", c.StateDir)
	k.file("audit.file", c.Audit.File)
	return k.found
}

// checkEnum catches a constant that no name stands for; only Go code can set one.
func checkEnum[E ~uint8](k *checker, path string, names []string, e E) {
	if int(e) >= len(names) {
		k.bad(path, "must be one of %s", strings.Join(spelled(names), ", "))
	}
}

// file refuses a name that would not be what it looks like.
func (k *checker) file(path, name string) {
	switch {
	case name == "~" || strings.HasPrefix(name, "~/"):
		k.bad(path, "~ is not expanded; write the whole path")
	case strings.ContainsFunc(name, unicode.IsControl):
		k.bad(path, "must not hold a control character")
	}
}

func (c *Config) checkListener(k *checker) {
	if c.Listen == "" {
		k.lacks("listen", "must be host:port, such as 127.0.0.1:8811")
	} else if defect := listenDefect(c.Listen); defect != "" {
		k.bad("listen", "%s", defect)
	} else if !isLoopback(listenHost(c.Listen)) && c.TLS == nil && !c.BehindTLSProxy {
		// A bearer token in plain text can be read and used by the whole network.
		k.bad("listen", "is reachable from other hosts without TLS; listen on loopback, configure tls, or set behind_tls_proxy: true")
	}
	c.TLS.check(k)
	c.Diagnostics.check(k, c.Listen)
	if c.PublicURL != "" {
		c.checkPublicURL(k)
	}
	for i, h := range c.AllowedHosts {
		k.unless(isHostPort(h), item("allowed_hosts", i), "must be a host or host:port in lower case, without wildcard")
	}
	for i, o := range c.AllowedOrigins {
		if defect := originDefect(o); defect != "" {
			k.bad(item("allowed_origins", i), "%s", defect)
		}
	}
}

func (c *Config) checkPublicURL(k *checker) {
	u, defect := parseURL(c.PublicURL)
	switch {
	case defect != "":
		k.bad("public_url", "%s", defect)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery:
		k.bad("public_url", "must end after the host and port: no path, not even a slash, and no query")
	case u.Scheme != "https" && !isLoopback(u.Hostname()):
		k.bad("public_url", "must be https; http is for loopback only")
	case u.Scheme != "https" && c.TLS != nil:
		k.bad("public_url", "must be https, since tls is configured")
	case c.PublicURL != strings.ToLower(c.PublicURL) || u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		// Clients and issuers compare it byte by byte, and browsers write it so.
		k.bad("public_url", "must be in lower case, without the port that its scheme has anyway")
	}
}

// check bounds every limit on both sides: none can be switched off, and none can
// be raised to where it protects nothing.
func (l *Limits) check(k *checker) {
	for _, b := range limitBounds {
		if v := b.value(l); v < b.min || v > b.max {
			k.bad("limits."+b.key, "must be from %s to %s", b.spell(b.min), b.spell(b.max))
		}
	}
}

// limitBound is the range of one limit, both ends allowed.
type limitBound struct {
	key      string
	min, max int64
	spell    func(int64) string
	value    func(*Limits) int64
}

var limitBounds = []limitBound{
	{"request_body", 1 << 10, 256 << 20, spellSize, func(l *Limits) int64 { return int64(l.RequestBody) }},
	{"result", 1 << 10, 256 << 20, spellSize, func(l *Limits) int64 { return int64(l.Result) }},
	{"depth", 8, 512, spellCount, func(l *Limits) int64 { return int64(l.Depth) }},
	{"keys", 64, 1_000_000, spellCount, func(l *Limits) int64 { return int64(l.Keys) }},
	{"headers", 1 << 10, 1 << 20, spellSize, func(l *Limits) int64 { return int64(l.Headers) }},
	{"tools", 1, 65_536, spellCount, func(l *Limits) int64 { return int64(l.Tools) }},
	{"tool_definition", 1 << 10, 16 << 20, spellSize, func(l *Limits) int64 { return int64(l.ToolDefinition) }},
	{"sessions_per_principal", 1, 10_000, spellCount, func(l *Limits) int64 { return int64(l.SessionsPerPrincipal) }},
	{"concurrent_calls_per_principal", 1, 10_000, spellCount, func(l *Limits) int64 { return int64(l.ConcurrentCallsPerPrincipal) }},
	{"requests_per_minute_per_principal", 0, 1_000_000, spellCount, func(l *Limits) int64 { return int64(l.RequestsPerMinutePerPrincipal) }},
	{"request_burst", 0, 1_000_000, spellCount, func(l *Limits) int64 { return int64(l.RequestBurst) }},
	{"call_idle_timeout", int64(time.Second), int64(24 * time.Hour), spellDuration, func(l *Limits) int64 { return int64(l.CallIdleTimeout) }},
}

func spellSize(n int64) string     { return ByteSize(n).String() }
func spellCount(n int64) string    { return fmt.Sprint(n) }
func spellDuration(n int64) string { return Duration(n).String() }

func (d *DNS) check(k *checker) {
	k.unless(!d.Server.IsValid() || d.Server.Port() != 0 && d.Server.Addr().Zone() == "", "dns.server", "must be an address and a port, such as 9.9.9.9:53")
	for _, name := range slices.Sorted(maps.Keys(d.Hosts)) {
		path := child("dns.hosts", name)
		if !isHost(name) {
			k.badKey(path, "must be a host name in lower case")
		}
		if len(d.Hosts[name]) == 0 {
			k.bad(path, "needs at least one address")
		}
		for i, a := range d.Hosts[name] {
			k.unless(a.IsValid() && a.Zone() == "", item(path, i), "must be an IP address without zone")
		}
	}
}

// consequencesLeftOut drops findings that only follow from what could not be
// decoded: they would send the reader to a place that is fine.
func consequencesLeftOut(found []finding, undecoded Errors) []finding {
	broken, around, beside := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range undecoded {
		broken[p.Path] = true
		parents := prefixes(p.Path)
		for _, parent := range parents[:max(len(parents)-1, 0)] {
			around[parent] = true
		}
		if len(parents) > 1 {
			beside[parents[len(parents)-2]] = true
		}
	}
	return slices.DeleteFunc(found, func(f finding) bool {
		up := prefixes(f.path)
		sibling := len(up) > 1 && beside[up[len(up)-2]]
		return slices.ContainsFunc(up, func(p string) bool { return broken[p] }) ||
			f.kind == lacking && (around[f.path] || sibling)
	})
}
