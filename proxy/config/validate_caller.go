package config

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// checkCallers checks how callers are told apart.
func (c *Config) checkCallers(k *checker) {
	loopback := isLoopback(listenHost(c.Listen))
	switch {
	case c.Auth == nil && !c.InsecureNoAuth && !c.Local && !c.brokered():
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
	if len(c.Auth.Audience) == 0 && (c.Public() == "" || c.Local && c.PublicURL == "") {
		// No address, no name for what tokens have to be meant for (RFC 8707).
		k.lacks("auth.audience", "is required: name at least one audience, or set public_url")
	}
	c.Auth.check(k)
	c.checkSubjects(k)
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
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		own := c.Upstreams[name].Credential
		k.unless(own.Kind != CredentialArg || !strings.EqualFold(own.Argument, TokenArgumentName), child(child(child("upstreams", name), "credential"), "argument"), "carries callers' tokens, since auth.token_argument is set")
	}
}

// TokenArgumentName is the argument that Auth.TokenArgument is about.
const TokenArgumentName = "token"

func (a *Auth) check(k *checker) {
	for i, s := range a.Audience {
		path := item("auth.audience", i)
		k.unless(isPlainName(s), path, "must be a name without space at its ends")
		k.unless(!slices.Contains(a.Audience[:i], s), path, "is given twice")
	}
	if len(a.JWT) == 0 && len(a.Introspection) == 0 && a.StaticTokensFile == "" {
		k.lacks("auth", "needs a way to verify tokens: jwt, introspection or static_tokens_file")
	}
	for i, j := range a.JWT {
		path := item("auth.jwt", i)
		j.check(k, path)
		given := slices.ContainsFunc(a.JWT[:i], func(other JWT) bool { return other.Issuer == j.Issuer })
		k.unless(j.Issuer == "" || !given, child(path, "issuer"), "is given twice")
	}
	for i, in := range a.Introspection {
		path := item("auth.introspection", i)
		in.check(k, path)
		// Two endpoints would both speak for the same subjects.
		given := slices.ContainsFunc(a.Introspection[:i], func(other Introspection) bool { return other.Issuer == in.Issuer })
		k.unless(in.Issuer == "" || !given, child(path, "issuer"), "is given twice")
	}
	k.file("auth.static_tokens_file", a.StaticTokensFile)
	k.file("auth.roles_file", a.RolesFile)
	k.file("auth.revoked_file", a.RevokedFile)
	a.checkScopes(k)
	checkRoles(k, "auth.roles", a.Roles)
}

func (j JWT) check(k *checker, path string) {
	k.endpoint(child(path, "issuer"), j.Issuer, true, j.AllowLoopbackHTTP)
	if j.JWKSURL != "" {
		k.endpoint(child(path, "jwks_url"), j.JWKSURL, false, j.AllowLoopbackHTTP)
	}
	if j.JWKSURL != "" && j.JWKSFile != "" {
		k.badKey(child(path, "jwks_file"), "excludes jwks_url: keys come from one place")
	}
	k.file(child(path, "jwks_file"), j.JWKSFile)
	for i, a := range j.Algorithms {
		at := item(child(path, "algorithms"), i)
		checkEnum(k, at, algorithmNames, a)
		k.unless(!slices.Contains(j.Algorithms[:i], a), at, "is given twice")
	}
	k.within(child(path, "max_lifetime"), j.MaxLifetime, time.Minute, 31*24*time.Hour)
	k.within(child(path, "max_stale"), j.MaxStale, time.Minute, 7*24*time.Hour)
	checkPrefix(k, path, j.SubjectPrefix)
	checkClaim(k, path, j.RolesClaim, j.RolesMap)
}

// within bounds a duration that may be left out.
func (k *checker) within(path string, d Duration, low, high time.Duration) {
	if d != 0 && (time.Duration(d) < low || time.Duration(d) > high) {
		k.bad(path, "must be from %s to %s", Duration(low), Duration(high))
	}
}

func (a *Auth) checkScopes(k *checker) {
	for i, s := range a.ScopesSupported {
		path := item("auth.scopes_supported", i)
		k.unless(scopeToken.MatchString(s), path, "is not a scope token (RFC 6749 section 3.3)")
		k.unless(!slices.Contains(a.ScopesSupported[:i], s), path, "is given twice")
		// Whether a client may refresh is between it and the issuer.
		k.unless(s != "offline_access", path, "is not a scope of this service (MCP 2026-07-28, basic/authorization, Refresh Tokens)")
	}
	for _, broad := range slices.Sorted(maps.Keys(a.ScopeIncludes)) {
		path := child("auth.scope_includes", broad)
		if !scopeToken.MatchString(broad) {
			k.badKey(path, "is not a scope token (RFC 6749 section 3.3)")
		}
		if len(a.ScopeIncludes[broad]) == 0 {
			k.bad(path, "needs at least one scope")
		}
		for i, s := range a.ScopeIncludes[broad] {
			k.unless(scopeToken.MatchString(s), item(path, i), "is not a scope token (RFC 6749 section 3.3)")
			k.unless(s != broad, item(path, i), "includes itself")
		}
	}
}

func (in Introspection) check(k *checker, path string) {
	k.endpoint(child(path, "issuer"), in.Issuer, true, in.AllowLoopbackHTTP)
	k.endpoint(child(path, "url"), in.URL, false, in.AllowLoopbackHTTP)
	secret := child(path, "client_secret_file")
	switch {
	case in.ClientID != "" && in.ClientSecretFile == "":
		k.lacks(secret, "is required with client_id")
	case in.ClientID == "" && in.ClientSecretFile != "":
		k.lacks(child(path, "client_id"), "is required with client_secret_file")
	}
	k.unless(in.ClientID == "" || clientID.MatchString(in.ClientID), child(path, "client_id"), "must be printable ASCII")
	k.file(secret, in.ClientSecretFile)
	checkPrefix(k, path, in.SubjectPrefix)
	checkClaim(k, path, in.RolesClaim, in.RolesMap)
}

// endpoint accepts https, and http on loopback with the explicit flag: an
// attacker in between could otherwise declare any token active, or any key good.
func (k *checker) endpoint(path, raw string, issuer, allowLoopbackHTTP bool) {
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
	case !allowLoopbackHTTP:
		k.bad(path, "must be https; plain http on loopback needs allow_loopback_http: true")
	}
}

func checkPrefix(k *checker, path, prefix string) {
	k.unless(prefix == "" || isPlainName(prefix), child(path, "subject_prefix"), "must be at most 256 printable characters without space at its ends")
}

// checkClaim checks how roles follow from a token.
func checkClaim(k *checker, path, claim string, roles map[string][]string) {
	at := child(path, "roles_claim")
	switch {
	case claim == "" && len(roles) > 0:
		k.lacks(at, "is required with roles_map")
	case claim != "" && len(roles) == 0:
		// Otherwise a token would name its own roles.
		k.lacks(child(path, "roles_map"), "is required with roles_claim: it says which role follows from which value")
	case claim != "" && !claimPath.MatchString(claim):
		k.bad(at, `must be names with dots between them; a dot or backslash inside a name needs a backslash before it`)
	}
	for _, value := range slices.Sorted(maps.Keys(roles)) {
		checkRoleList(k, child(child(path, "roles_map"), value), roles[value])
	}
}

// namesOf is an issuer and how its subjects are told from those of others.
type namesOf struct{ path, issuer, prefix string }

// checkSubjects keeps issuers from naming each other's users: whoever can make an
// issuer call him alice would be alice.
func (c *Config) checkSubjects(k *checker) {
	a := c.Auth
	var all []namesOf
	for i, j := range a.JWT {
		all = append(all, namesOf{item("auth.jwt", i), j.Issuer, j.SubjectPrefix})
	}
	for i, in := range a.Introspection {
		all = append(all, namesOf{item("auth.introspection", i), in.Issuer, in.SubjectPrefix})
	}
	if c.Broker != nil {
		all = append(all, namesOf{"broker.login", c.Broker.Login.Issuer, c.Broker.Login.SubjectPrefix})
	}
	all = slices.DeleteFunc(all, func(n namesOf) bool { return n.issuer == "" }) // that is said already
	for i, n := range all {
		at := child(n.path, "subject_prefix")
		switch {
		case slices.ContainsFunc(all[:i], n.contradicts):
			k.lacks(at, "must be the same wherever the issuer is named")
		case a.SharedSubjects:
		case n.prefix == "" && slices.ContainsFunc(all, n.isOther):
			k.lacks(at, "is required for each of several issuers, unless auth.shared_subjects says that they mean the same users")
		case slices.ContainsFunc(all[:i], n.overlaps):
			k.bad(at, "begins like that of another issuer: one of them could name the users of the other")
		}
	}
}

func (n namesOf) isOther(o namesOf) bool     { return n.issuer != o.issuer }
func (n namesOf) contradicts(o namesOf) bool { return n.issuer == o.issuer && n.prefix != o.prefix }
func (n namesOf) overlaps(o namesOf) bool {
	return n.issuer != o.issuer && o.prefix != "" && (strings.HasPrefix(n.prefix, o.prefix) || strings.HasPrefix(o.prefix, n.prefix))
}

// checkRoles keeps users and roles apart by their prefix: a user who calls
// himself like a role gains nothing.
func checkRoles(k *checker, path string, roles map[string][]string) {
	for _, user := range slices.Sorted(maps.Keys(roles)) {
		at := child(path, user)
		if name, ok := strings.CutPrefix(user, "user:"); !ok || !isPlainName(name) {
			k.badKey(at, "must be user: and a name")
		}
		checkRoleList(k, at, roles[user])
	}
}

func checkRoleList(k *checker, path string, roles []string) {
	if len(roles) == 0 {
		k.bad(path, "needs at least one role")
	}
	for i, role := range roles {
		name, ok := strings.CutPrefix(role, "role:")
		k.unless(ok && isPlainName(name), item(path, i), "must be role: and a name")
	}
}

// isPlainName accepts what people and identity providers use as names, but
// nothing that a log or the policy could read as more than one name.
func isPlainName(s string) bool {
	return s != "" && len(s) <= 256 && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r)
	})
}
