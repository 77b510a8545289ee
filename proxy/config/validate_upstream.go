package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

func (c *Config) checkUpstreams(k *checker) {
	if len(c.Upstreams) == 0 {
		k.lacks("upstreams", "is required: name the server to guard")
	}
	c.checkLookAlikes(k)
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		path := child("upstreams", name)
		if !upstreamName.MatchString(name) {
			k.badKey(path, "must be at most 64 letters, digits, - and _")
		}
		c.Upstreams[name].check(k, path)
		if p := c.Policy; p != nil && p.Database != nil {
			at := slices.Index(c.Upstreams[name].EnvAllow, p.Database.Variable())
			k.unless(at < 0 || IsOwnVariable(p.Database.Variable()), item(child(path, "env_allow"), at), "holds the password of the policy's database, which the server must not see")
		}
		c.checkOwn(k, child(path, "credential"), c.Upstreams[name].Credential)
		c.checkFor(k, child(path, "credential"), c.Upstreams[name].Credential)
	}
}

func (up Upstream) check(k *checker, path string) {
	switch {
	case up.URL != "" && up.Command != nil:
		k.badKey(child(path, "command"), "excludes url: a server is reached in one way")
	case up.URL != "":
		up.checkURL(k, child(path, "url"))
		up.checkNoCommand(k, path)
	case up.Command != nil:
		up.checkCommand(k, path)
	default:
		k.lacks(path, "needs either url or command")
	}
	up.TLS.check(k, child(path, "tls"), up)
	up.Credential.check(k, child(path, "credential"), up)
	up.checkProvider(k, child(path, "broker"))
}

func (up Upstream) checkURL(k *checker, at string) {
	u, defect := parseURL(up.URL)
	switch {
	case defect != "":
		k.bad(at, "%s", defect)
	case secretParameter(u) != "":
		k.bad(at, "must not hold a secret in %s; name a credential file", secretParameter(u))
	case up.exposes(u):
		k.bad(at, "would send the credential over plain http; use https, or allow_plaintext: true on an isolated network")
	}
}

// exposes reports whether the credential would cross a network in plain text.
func (up Upstream) exposes(u *url.URL) bool {
	shown := up.Credential.Kind != CredentialNone || up.Broker != nil
	return shown && u.Scheme != "https" && !isLoopback(u.Hostname()) && !up.AllowPlaintext
}

func (c *Config) checkTool(k *checker, key string) {
	t, path := c.Tools[key], child("tools", key)
	upstream, name, _ := strings.Cut(key, "/")
	if _, known := c.Upstreams[upstream]; !known {
		k.badKey(path, "must be UPSTREAM/TOOL with a configured upstream")
	} else if !toolName.MatchString(name) {
		k.badKey(path, "needs a tool name of 1 to 128 letters, digits, _, . and - after the slash")
	}
	t.checkPermission(k, path)
	for _, arg := range slices.Sorted(maps.Keys(t.Args)) {
		t.Args[arg].check(k, child(child(path, "args"), arg), arg)
	}
	owners := 0
	for _, arg := range slices.Sorted(maps.Keys(t.Args)) {
		if t.Args[arg].Owner {
			owners++
			k.unless(owners == 1, child(child(child(path, "args"), arg), "owner"), "another argument says it already")
		}
	}
	for i, h := range t.Handles {
		at := item(child(path, "handles"), i)
		k.unless(h != "", at, "a member needs a name")
		k.unless(!slices.Contains(t.Handles[:i], h), at, "is given twice")
	}
	t.checkInjection(k, path)
	c.checkClaims(k, key)
	t.checkOutput(k, path)
	t.checkModes(k, path)
}

func (t Tool) checkPermission(k *checker, path string) {
	switch {
	case t.Resource != "" && t.Action == "":
		k.lacks(child(path, "action"), "is required with resource")
	case t.Resource == "" && t.Action != "":
		k.lacks(child(path, "resource"), "is required with action")
	}
	const alphabet = "must be at most 128 letters, digits, _, ., : and -"
	k.unless(t.Resource == "" || policyName.MatchString(t.Resource), child(path, "resource"), alphabet)
	k.unless(t.Action == "" || policyName.MatchString(t.Action), child(path, "action"), alphabet)
	for i, s := range t.Scopes {
		at := item(child(path, "scopes"), i)
		k.unless(scopeToken.MatchString(s), at, "is not a scope token (RFC 6749 section 3.3)")
		k.unless(!slices.Contains(t.Scopes[:i], s), at, "is given twice")
	}
}

func (a Arg) check(k *checker, path, name string) {
	if name == "" {
		k.badKey(path, "an argument needs a name")
	}
	bound := 0
	for _, b := range []bool{a.Enum != nil, a.SSRF != nil, a.Command, a.Handle} {
		if b {
			bound++
		}
	}
	if bound > 1 {
		k.lacks(path, "takes one of enum, ssrf, command and handle")
	}
	if bound == 0 && !a.Bounds() {
		k.lacks(path, "binds nothing: say enum, ssrf, command, handle, pattern, prefix, hosts, min, max, max_length, owner or required")
	}
	a.checkBounds(k, path)
	if a.Enum != nil {
		a.checkEnum(k, child(path, "enum"))
	}
	if a.SSRF != nil {
		a.SSRF.check(k, child(path, "ssrf"))
	}
}

// Owned says whether an argument of the tool says whose the thing is.
func (t Tool) Owned() bool {
	for _, a := range t.Args {
		if a.Owner {
			return true
		}
	}
	return false
}

// Bounds says whether the value is bounded beside what it is.
func (a Arg) Bounds() bool {
	return a.Pattern != "" || a.Prefix != nil || a.Hosts != nil || a.number() || a.MaxLength != 0 || a.Required || a.Owner
}

func (a Arg) number() bool { return a.Min != nil || a.Max != nil }

func (a Arg) checkBounds(k *checker, path string) {
	text := a.Pattern != "" || a.Prefix != nil || a.Hosts != nil || a.MaxLength != 0
	switch {
	case a.number() && (text || a.Enum != nil || a.SSRF != nil || a.Command || a.Handle):
		k.lacks(path, "min and max are for numbers, and exclude everything but required")
	case a.Enum != nil && text:
		k.lacks(path, "enum lists the values, and excludes everything but required")
	case a.Owner && (a.number() || a.Enum != nil || a.SSRF != nil):
		k.badKey(child(path, "owner"), "is for a subject or a handle, and excludes enum, ssrf, min and max")
	case a.Hosts != nil && a.SSRF != nil:
		k.badKey(child(path, "hosts"), "is for host names; a URL has ssrf.hosts")
	}
	if _, err := regexp.Compile(a.Pattern); err != nil {
		k.bad(child(path, "pattern"), "is no regular expression in RE2 syntax: %v", err)
	}
	for i, p := range a.Prefix {
		k.unless(p != "" && !strings.ContainsFunc(p, unicode.IsControl), item(child(path, "prefix"), i), "must be a text that is not empty")
		_, host, isURL := strings.Cut(p, "://")
		k.unless(!isURL || strings.ContainsAny(host, "/?#"), item(child(path, "prefix"), i), "must end the host with a slash: without it, longer hosts begin so, too")
	}
	for i, h := range a.Hosts {
		k.unless(isHostPattern(h), item(child(path, "hosts"), i), "must be a host, or *. and a domain, in lower case and without port")
	}
	k.unless(a.Prefix == nil || len(a.Prefix) > 0, child(path, "prefix"), "must name at least one")
	k.unless(a.Hosts == nil || len(a.Hosts) > 0, child(path, "hosts"), "must name at least one")
	k.unless(a.MaxLength >= 0, child(path, "max_length"), "must not be negative")
	if a.Min != nil && a.Max != nil && a.Min.Rat().Cmp(a.Max.Rat()) > 0 {
		k.bad(child(path, "max"), "is smaller than min: no number would do")
	}
}

func (a Arg) checkEnum(k *checker, path string) {
	if len(a.Enum) == 0 {
		k.bad(path, "must name at least one accepted value")
	}
	for _, value := range slices.Sorted(maps.Keys(a.Enum)) {
		at := child(path, value)
		if value == "" || strings.ContainsFunc(value, unicode.IsControl) {
			k.badKey(at, "an accepted value must not be empty or hold a control character")
		}
		k.unless(!strings.ContainsFunc(a.Enum[value], unicode.IsControl), at, "must not hold a control character")
	}
}

func (s *SSRF) check(k *checker, path string) {
	for i, h := range s.Hosts {
		k.unless(isHostPattern(h), item(child(path, "hosts"), i), "must be a host, or *. and a domain, in lower case and without port")
	}
	for i, p := range s.Ports {
		k.unless(p >= 1 && p <= 65535, item(child(path, "ports"), i), "must be a port from 1 to 65535")
	}
}

// checkInjection refuses two owners of one argument: which of them wins would be
// a matter of order.
func (t Tool) checkInjection(k *checker, path string) {
	for _, arg := range slices.Sorted(maps.Keys(t.InjectArgs)) {
		at := child(child(path, "inject_args"), arg)
		if arg == "" {
			k.badKey(at, "an argument needs a name")
		}
		k.unless(t.InjectArgs[arg] == SubjectValue, at, "must be "+SubjectValue)
		if _, bound := t.Args[arg]; bound {
			k.badKey(at, "the argument is set by the sidecar and cannot be bound in args too")
		}
	}
	if t.Consent != ConsentConfirm {
		return
	}
	const taken = "the argument confirm belongs to consent: confirm"
	if _, bound := t.Args["confirm"]; bound {
		k.badKey(child(child(path, "args"), "confirm"), taken)
	}
	if _, injected := t.InjectArgs["confirm"]; injected {
		k.badKey(child(child(path, "inject_args"), "confirm"), taken)
	}
}

// sourceTemplate is text with {argument} placeholders. Quotes and angle brackets
// are refused because the text stands in an attribute of the delimiter, which it
// could end early.
var sourceTemplate = regexp.MustCompile(`^([^{}"'<>&]|\{[A-Za-z0-9_.-]+\})*$`)

func (t Tool) checkOutput(k *checker, path string) {
	source := child(path, "source")
	switch {
	case !sourceTemplate.MatchString(t.Source):
		k.bad(source, `must be text without quotes and < > &; braces only as {argument}`)
	case t.Source != "" && !isPlainName(t.Source):
		k.bad(source, "must be at most 256 printable characters")
	}
	for i, b := range t.TrustedBlocks {
		at := item(child(path, "trusted_blocks"), i)
		k.unless(b >= 0, at, "must not be negative; the first block is 0")
		k.unless(!slices.Contains(t.TrustedBlocks[:i], b), at, "is given twice")
	}
}

func (t Tool) checkModes(k *checker, path string) {
	checkEnum(k, child(path, "consent"), consentNames, t.Consent)
	checkEnum(k, child(path, "wrap"), wrapNames, t.Wrap)
	guards := child(path, "guards")
	checkEnum(k, child(guards, "secrets"), modeNames, t.Guards.Secrets)
	checkEnum(k, child(guards, "injection"), modeNames, t.Guards.Injection)
	checkEnum(k, child(guards, "terminal"), modeNames, t.Guards.Terminal)
	checkEnum(k, child(guards, "marker_writeback"), modeNames, t.Guards.MarkerWriteback)
	checkEnum(k, child(guards, "input_secrets"), modeNames, t.Guards.InputSecrets)
	checkEnum(k, child(guards, "argument"), modeNames, t.Guards.Argument)
	checkEnum(k, child(guards, "command"), modeNames, t.Guards.Command)
	checkEnum(k, child(guards, "ssrf"), modeNames, t.Guards.SSRF)
	checkEnum(k, child(guards, "consent"), modeNames, t.Guards.Consent)
	checkEnum(k, child(guards, "schema"), modeNames, t.Guards.Schema)
	checkEnum(k, child(guards, "input_schema"), modeNames, t.Guards.InputSchema)
}
