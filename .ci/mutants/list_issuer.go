package main

var (
	resourceTests = []string{"./proxy/sidecar"}
	configTests   = []string{"./proxy/config"}
)

// issuerMutants weaken what the sidecar is to OAuth: a protected resource with a name
// of its own, metadata, and challenges.
var issuerMutants = []mutant{
	{name: "resource: tokens for any endpoint", file: "proxy/sidecar/resource.go", old: "if v == nil || len(s.cfg.Auth.Audience) > 0 {", new: "if true {", pkgs: resourceTests, run: "Audience"},
	{name: "resource: every endpoint has the first one's name", file: "proxy/sidecar/resource.go", old: "[]string{s.cfg.Public() + e.path}", new: "[]string{s.cfg.Public() + front.Path}", pkgs: resourceTests, run: "Audience"},
	{name: "resource: tokens for all endpoints", file: "proxy/identity/audience.go", old: "case !intersects(p.Audience, a.Names):", new: "case false:", pkgs: []string{"./proxy/identity", "./proxy/sidecar"}, run: "Audience"},
	{name: "resource: a refusal names the other endpoints", file: "proxy/identity/audience.go", old: "case errors.As(err, &refusal) && refusal.foreign:", new: "case errors.As(err, &refusal) && false:", pkgs: []string{"./proxy/identity", "./proxy/sidecar"}, run: "Audience"},
	{name: "resource: an audience may lack", file: "proxy/config/validate_caller.go", old: "if len(c.Auth.Audience) == 0 && (", new: "if false && (", pkgs: configTests},
	{name: "resource: a pipe has an address", file: "proxy/config/validate_caller.go", old: ` || c.Local && c.PublicURL == ""`, new: "", pkgs: configTests},
	{name: "resource: its name is spelled as one likes", file: "proxy/config/validate.go", old: "case c.PublicURL != strings.ToLower(c.PublicURL) ||", new: "case false ||", pkgs: configTests},
	{name: "resource: its name has the port of https", file: "proxy/config/validate.go", old: ` || u.Scheme == "https" && u.Port() == "443"`, new: "", pkgs: configTests},
	{name: "resource: its name has the port of http", file: "proxy/config/validate.go", old: ` || u.Scheme == "http" && u.Port() == "80"`, new: "", pkgs: configTests},
	{name: "resource: plain text under TLS", file: "proxy/config/listener.go", old: "case c.TLS != nil:\n\t\treturn \"https://\" + c.Listen", new: "case false:\n\t\treturn \"https://\" + c.Listen", pkgs: configTests},
	{name: "metadata: scopes of hidden tools", file: "proxy/sidecar/resource.go", old: "\t\tif t.Hide {\n\t\t\tcontinue\n\t\t}\n", new: "", pkgs: resourceTests, run: "FirstScopes|Metadata"},
	{name: "metadata: every scope at once", file: "proxy/sidecar/resource.go", old: "if !acting {", new: "if true {", pkgs: resourceTests, run: "FirstScopes|Metadata"},
	{name: "metadata: configured scopes do not count", file: "proxy/sidecar/resource.go", old: "if s.cfg.Auth != nil && len(s.cfg.Auth.ScopesSupported) > 0 {", new: "if false {", pkgs: resourceTests, run: "FirstScopes|Metadata"},
	{name: "metadata: refresh tokens are a scope", file: "proxy/config/validate_caller.go", old: `k.unless(s != "offline_access", path,`, new: `k.unless(true, path,`, pkgs: configTests},
	{name: "metadata: the root speaks for the last of several", file: "proxy/front/metadata.go", old: "if e.Path == Path {", new: "if true {", pkgs: resourceTests, run: "Several|Metadata"},
	{name: "metadata: not at the root", file: "proxy/front/metadata.go", old: "if e.Path == Path {", new: "if false {", pkgs: resourceTests, run: "Several|Metadata"},
	{name: "metadata: any method", file: "proxy/front/metadata.go", old: "\t\tdefault:\n\t\t\th.Set(\"Allow\"", new: "\t\tcase \"\":\n\t\t\th.Set(\"Allow\"", pkgs: resourceTests, run: "Metadata"},
	{name: "metadata: pages may not name their version", file: "proxy/front/metadata.go", old: `"Content-Type, Mcp-Protocol-Version"`, new: `"Content-Type"`, pkgs: resourceTests, run: "Metadata"},
	{name: "scopes: broader ones include nothing", file: "policy/hierarchy.go", old: "if !granted(have, n) && !h.implied(have, n) {", new: "if !granted(have, n) {", pkgs: policyTests},
	{name: "scopes: broader ones need not be held", file: "policy/hierarchy.go", old: "if granted(narrow, need) && granted(have, broad) {", new: "if granted(narrow, need) && broad != \"\" {", pkgs: policyTests},
	{name: "scopes: inclusion works both ways", file: "policy/hierarchy.go", old: "if granted(narrow, need) && granted(have, broad) {", new: "if granted(narrow, need) && granted(have, broad) || len(have) > 0 && granted(narrow, have[0]) && need == broad {", pkgs: policyTests},
	{name: "scopes: inclusion ends after one step", file: "policy/hierarchy.go", old: "if next != found[n] && !covers(found[n], next) {", new: "if next != \"\" {", pkgs: policyTests},
	{name: "scopes: wildcards include nothing", file: "policy/hierarchy.go", old: "if next != found[n] && !covers(found[n], next) {", new: "if next != found[n] {", pkgs: policyTests},
	{name: "scopes: the configuration does not count", file: "proxy/sidecar/endpoint.go", old: "\t\tScopes:        s.scopes(),\n", new: "", pkgs: resourceTests, run: "Hierarchy"},
	{name: "scopes: one may include itself", file: "proxy/config/validate_caller.go", old: `k.unless(s != broad, item(path, i), "includes itself")`, new: `_ = broad`, pkgs: configTests},
}
