package config

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// checkCallers checks how callers are told apart.
func (c *Config) checkCallers(k *checker) {
	loopback := isLoopback(listenHost(c.Listen))
	switch {
	case c.Auth == nil && !c.InsecureNoAuth && !c.Local:
		k.lacks("auth", "no way to authenticate callers: configure auth or pass --insecure-no-auth (loopback only)")
	case c.Auth != nil && c.InsecureNoAuth:
		k.badKey("auth", "excludes --insecure-no-auth: it would never be asked")
	case c.InsecureNoAuth && listenDefect(c.Listen) == "" && !loopback:
		// Everybody who reaches the port would act with the upstream credential.
		k.bad("listen", "must be loopback with --insecure-no-auth")
	}
	if c.Auth == nil {
		return
	}
	if c.PublicURL == "" && listenDefect(c.Listen) == "" && !loopback {
		// RFC 9728: the resource identifier must not come from the Host header.
		k.bad("listen", "needs public_url, since it is not loopback and auth is configured")
	}
	c.Auth.check(k)
	c.checkTokenArgument(k)
}

// checkTokenArgument keeps tokens in arguments on this machine, and the argument
// free for them.
func (c *Config) checkTokenArgument(k *checker) {
	if !c.Auth.TokenArgument {
		return
	}
	u, _ := parseURL(c.PublicURL)
	switch {
	case c.Local: // a pipe
	case listenDefect(c.Listen) == "" && !isLoopback(listenHost(c.Listen)):
		k.bad("auth.token_argument", "is for loopback and stdio only, and listen is reachable from other hosts; send tokens in the header Authorization")
	case c.BehindTLSProxy, u != nil && !isLoopback(u.Hostname()):
		k.bad("auth.token_argument", "is for loopback and stdio only, and behind_tls_proxy or public_url says that other hosts call; send tokens in the header Authorization")
	}
	for _, tool := range slices.Sorted(maps.Keys(c.Tools)) {
		for _, name := range slices.Sorted(maps.Keys(c.Tools[tool].InjectArgs)) {
			if strings.EqualFold(name, TokenArgumentName) {
				k.badKey(child(child(child("tools", tool), "inject_args"), name), "carries callers' tokens, since auth.token_argument is set")
			}
		}
	}
}

// TokenArgumentName is the argument that Auth.TokenArgument is about.
const TokenArgumentName = "token"

func (a *Auth) check(k *checker) {
	if len(a.Audience) == 0 {
		k.lacks("auth.audience", "is required: name at least one audience")
	}
	for i, s := range a.Audience {
		path := item("auth.audience", i)
		k.unless(isPlainName(s), path, "must be a name without space at its ends")
		k.unless(!slices.Contains(a.Audience[:i], s), path, "is given twice")
	}
	if len(a.Introspection) == 0 {
		k.lacks("auth.introspection", "is required: name at least one issuer")
	}
	issuers := map[string]bool{}
	for i, in := range a.Introspection {
		path := item("auth.introspection", i)
		in.check(k, path)
		// Two endpoints would both speak for the same subjects.
		k.unless(in.Issuer == "" || !issuers[in.Issuer], child(path, "issuer"), "is given twice")
		issuers[in.Issuer] = true
	}
	a.checkRoles(k)
}

func (in Introspection) check(k *checker, path string) {
	in.checkURL(k, child(path, "issuer"), in.Issuer, true)
	in.checkURL(k, child(path, "url"), in.URL, false)
	secret := child(path, "client_secret_file")
	switch {
	case in.ClientID != "" && in.ClientSecretFile == "":
		k.lacks(secret, "is required with client_id")
	case in.ClientID == "" && in.ClientSecretFile != "":
		k.lacks(child(path, "client_id"), "is required with client_secret_file")
	}
	k.unless(in.ClientID == "" || clientID.MatchString(in.ClientID), child(path, "client_id"), "must be printable ASCII")
	k.file(secret, in.ClientSecretFile)
}

// checkURL accepts https, and http on loopback with the explicit flag: an
// attacker in between could otherwise declare any token active.
func (in Introspection) checkURL(k *checker, path, raw string, issuer bool) {
	if raw == "" {
		k.lacks(path, "is required")
		return
	}
	u, defect := parseURL(raw)
	switch {
	case defect != "":
		k.bad(path, "%s", defect)
	case issuer && (u.RawQuery != "" || u.ForceQuery):
		k.bad(path, "must not have a query (RFC 8414 section 2)")
	case secretParameter(u) != "":
		k.bad(path, "must not hold a secret; use client_secret_file")
	case u.Scheme == "https":
	case !isLoopback(u.Hostname()):
		k.bad(path, "must be https")
	case !in.AllowLoopbackHTTP:
		k.bad(path, "must be https; plain http on loopback needs allow_loopback_http: true")
	}
}

// checkRoles keeps users and roles apart by their prefix: a user who calls
// himself like a role gains nothing.
func (a *Auth) checkRoles(k *checker) {
	for _, user := range slices.Sorted(maps.Keys(a.Roles)) {
		path := child("auth.roles", user)
		if name, ok := strings.CutPrefix(user, "user:"); !ok || !isPlainName(name) {
			k.badKey(path, "must be user: and a name")
		}
		if len(a.Roles[user]) == 0 {
			k.bad(path, "needs at least one role")
		}
		for i, role := range a.Roles[user] {
			name, ok := strings.CutPrefix(role, "role:")
			k.unless(ok && isPlainName(name), item(path, i), "must be role: and a name")
		}
	}
}

// isPlainName accepts what people and identity providers use as names, but
// nothing that a log or the policy could read as more than one name.
func isPlainName(s string) bool {
	return s != "" && len(s) <= 256 && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r)
	})
}
