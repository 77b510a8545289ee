package main

var (
	identityTests = []string{"./proxy/identity", "./proxy/sidecar"}
	policyTests   = []string{"./policy", "./proxy/sidecar"}
)

// callerMutants accept callers that must be refused.
var callerMutants = []mutant{
	{name: "identity: several Authorization headers", file: "proxy/identity/identity.go", old: "\tcase 1:\n\tdefault:\n\t\treturn Secret{}, ErrInvalid\n\t}", new: "\tdefault:\n\t}", pkgs: identityTests},
	{name: "identity: any scheme", file: "proxy/identity/identity.go", old: `!ok || !strings.EqualFold(scheme, "Bearer")`, new: "!ok || scheme == \"\"", pkgs: identityTests},
	{name: "identity: any characters", file: "proxy/identity/identity.go", old: "if !isToken68(token) {", new: "if token == \"\" {", pkgs: identityTests},
	{name: "identity: tokens of any length", file: "proxy/identity/identity.go", old: ` || len(s) > maxToken`, new: "", pkgs: identityTests},
	{name: "identity: secrets are printed", file: "proxy/identity/identity.go", old: "// Empty says whether there is no value.\nfunc (s Secret)", new: "func (s Secret) String() string { return s.Reveal() }\n\nfunc (s Secret)", pkgs: identityTests},
	{name: "identity: the subject alone is the principal", file: "proxy/identity/identity.go", old: `return p.Issuer + "\x00" + p.Subject + "\x00" + p.ClientID`, new: "return p.Subject", pkgs: identityTests},
	{name: "identity: tokens live a moment longer", file: "proxy/identity/identity.go", old: "!now.Before(p.Expiry)", new: "now.After(p.Expiry)", pkgs: identityTests},
	{name: "identity: inactive tokens", file: "proxy/identity/introspection.go", old: "case !a.Active, a.Subject == \"\"", new: "case a.Subject == \"\"", pkgs: identityTests},
	{name: "identity: tokens of nobody", file: "proxy/identity/introspection.go", old: "case !a.Active, a.Subject == \"\",", new: "case !a.Active,", pkgs: identityTests},
	{name: "identity: subjects with a NUL", file: "proxy/identity/introspection.go", old: "case strings.ContainsFunc(a.Subject+a.ClientID, unicode.IsControl):", new: "case strings.ContainsFunc(\"\", unicode.IsControl):", pkgs: identityTests},
	{name: "identity: tokens that expired in 1970", file: "proxy/identity/introspection.go", old: "if a.Expiry != nil {", new: "if a.Expiry != nil && *a.Expiry != 0 {", pkgs: identityTests},
	{name: "identity: tokens of other issuers", file: "proxy/identity/introspection.go", old: ", a.Issuer != \"\" && a.Issuer != v.opts.Issuer:", new: ":", pkgs: identityTests},
	{name: "identity: bound tokens", file: "proxy/identity/introspection.go", old: "case a.Bound != nil, ", new: "case ", pkgs: identityTests},
	{name: "identity: tokens of other types", file: "proxy/identity/introspection.go", old: "case a.Bound != nil, a.Type != \"\" && !strings.EqualFold(a.Type, \"Bearer\") && !strings.EqualFold(a.Type, \"access_token\"):", new: "case a.Bound != nil:", pkgs: identityTests},
	{name: "identity: tokens for others", file: "proxy/identity/introspection.go", old: "case !intersects(a.Audience, v.opts.Audience):", new: "case false:", pkgs: identityTests},
	{name: "identity: tokens for nobody", file: "proxy/identity/introspection.go", old: "case !intersects(a.Audience, v.opts.Audience):", new: "case len(a.Audience) > 0 && !intersects(a.Audience, v.opts.Audience):", pkgs: identityTests},
	{name: "identity: expired tokens", file: "proxy/identity/introspection.go", old: "case p.Expired(now):", new: "case false:", pkgs: identityTests},
	{name: "identity: tokens before their time", file: "proxy/identity/introspection.go", old: "case a.Before != 0 && now.Before(date(a.Before)):", new: "case false:", pkgs: identityTests},
	{name: "identity: tokens that expired in the cache", file: "proxy/identity/introspection.go", old: "return known.principal, current(known.principal, now), true", new: "return known.principal, nil, true", pkgs: identityTests},
	{name: "identity: revoked tokens pass for longer", file: "proxy/identity/introspection.go", old: "positiveLife   = 30 * time.Second", new: "positiveLife   = 31 * time.Second", pkgs: identityTests},
	{name: "identity: one cache for all", file: "proxy/identity/introspection.go", old: "v.unknown.put(d,", new: "v.known.put(d,", pkgs: identityTests},
	{name: "identity: caches without bounds", file: "proxy/identity/verdict.go", old: "\t\tif len(c.known) >= maxCached {", new: "\t\tif false {", pkgs: identityTests},
	{name: "flights: a question ends with its first caller", file: "proxy/identity/flight.go", old: "ask(context.WithoutCancel(ctx))", new: "ask(ctx)", pkgs: identityTests, run: "Flights"},
	{name: "flights: a panic ends the process", file: "proxy/identity/flight.go", old: "if p := recover(); p != nil {", new: "if p := any(nil); p != nil {", pkgs: identityTests, run: "FlightsPanic"},
	{name: "flights: a panic says with what", file: "proxy/identity/flight.go", old: "panic of type %T", new: "panic of type %v", pkgs: identityTests, run: "FlightsPanic"},
	{name: "flights: keys that panic end the process", file: "proxy/identity/keyring.go", old: "caught(func() (*keySet, error) { return r.fetch(ctx) })", new: "r.fetch(ctx)", pkgs: identityTests, run: "KeysPanic"},
	{name: "identity: a question for each caller", file: "proxy/identity/introspection.go", old: "v.flights.Do(ctx, string(d[:]), func(", new: "v.flights.Do(ctx, fmt.Sprintf(\"%x %p\", d, new(int)), func(", pkgs: identityTests},
	{name: "identity: an issuer that is down knows nothing", file: "proxy/identity/verifiers.go", old: "if errors.Is(result, ErrInvalid) || errors.Is(err, ErrUnavailable) {", new: "if errors.Is(result, ErrInvalid) {", pkgs: identityTests},

	{name: "policy: denying rows do not count", file: "policy/policy.go", old: "case f.deny != 0:", new: "case false:", pkgs: policyTests},
	{name: "policy: everything is allowed", file: "policy/policy.go", old: "\treturn Decision{}\n}\n", new: "\treturn Decision{Allowed: true}\n}\n", pkgs: policyTests},
	{name: "policy: odd names", file: "policy/policy.go", old: "case !wellNamed(subject) || !wellNamed(p.Object) || !wellNamed(p.Action):", new: "case false:", pkgs: policyTests},
	{name: "policy: nobody is somebody under the built-in policy", file: "policy/policy.go", old: `case e == nil || subject == "" || p.Object == "" || p.Action == "":`, new: "case e == nil:", pkgs: policyTests},
	{name: "policy: a lone wildcard covers everything", file: "policy/scope.go", old: "if !ok || len(prefix) < 2 || !strings.HasSuffix(prefix, \":\") {", new: "if !ok {", pkgs: policyTests},
	{name: "policy: a wildcard covers several levels", file: "policy/scope.go", old: ` && !strings.Contains(action, ":")`, new: "", pkgs: policyTests},
	{name: "policy: scopes compare without case", file: "policy/scope.go", old: "if h == need || covers(h, need) {", new: "if strings.EqualFold(h, need) || covers(h, need) {", pkgs: policyTests},
	{name: "policy: scopes are ranges of letters", file: "policy/scope.go", old: "if h == need || covers(h, need) {", new: "if strings.HasPrefix(h, need) || covers(h, need) {", pkgs: policyTests},
}
