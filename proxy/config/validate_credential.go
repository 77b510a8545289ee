package config

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// credentialKey is a key of a credential, and the kinds that it is for.
type credentialKey struct {
	key   string
	given func(Credential) bool
	of    func(CredentialKind) bool
}

func only(kinds ...CredentialKind) func(CredentialKind) bool {
	return func(k CredentialKind) bool { return slices.Contains(kinds, k) }
}

var credentialKeys = []credentialKey{
	{"header", func(c Credential) bool { return c.Header != "" }, CredentialKind.InHeader},
	{"prefix", func(c Credential) bool { return c.Prefix != nil }, CredentialKind.InHeader},
	{"variable", func(c Credential) bool { return c.Variable != "" }, only(CredentialEnv)},
	{"argument", func(c Credential) bool { return c.Argument != "" }, only(CredentialArg)},
	{"file", func(c Credential) bool { return c.File != "" }, CredentialKind.kept},
	{"value_env", func(c Credential) bool { return c.ValueEnv != "" }, CredentialKind.kept},
	{"exec", func(c Credential) bool { return c.Exec != nil }, CredentialKind.kept},
	{"token_url", func(c Credential) bool { return c.TokenURL != "" }, CredentialKind.Issued},
	{"client_id", func(c Credential) bool { return c.ClientID != "" }, CredentialKind.Issued},
	{"client_secret_file", func(c Credential) bool { return c.ClientSecretFile != "" }, CredentialKind.Issued},
	{"client_key_file", func(c Credential) bool { return c.ClientKeyFile != "" }, CredentialKind.Issued},
	{"client_key_id", func(c Credential) bool { return c.ClientKeyID != "" }, CredentialKind.Issued},
	{"scopes", func(c Credential) bool { return c.Scopes != nil }, CredentialKind.Issued},
	{"resource", func(c Credential) bool { return c.Resource != "" }, CredentialKind.Issued},
	{"audience", func(c Credential) bool { return c.Audience != "" }, CredentialKind.Issued},
	{"allow_loopback_http", func(c Credential) bool { return c.AllowLoopbackHTTP }, CredentialKind.Issued},
	{"max_age", func(c Credential) bool { return c.MaxAge != 0 }, CredentialKind.kept},
}

// kinds names those that the key is for.
func (f credentialKey) kinds() string {
	var names []string
	for i, name := range credentialNames {
		if f.of(CredentialKind(i)) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func (c Credential) check(k *checker, path string, up Upstream) {
	checkEnum(k, child(path, "kind"), credentialNames, c.Kind)
	var given []string
	for _, f := range credentialKeys {
		if !f.given(c) {
			continue
		}
		given = append(given, f.key)
		if c.Kind != CredentialNone && !f.of(c.Kind) {
			k.badKey(child(path, f.key), "is for kind %s", f.kinds())
		}
	}
	switch {
	case c.Kind == CredentialNone && given != nil:
		k.lacks(child(path, "kind"), "must be given with %s", strings.Join(given, ", "))
	case c.Kind.InHeader() && up.Command != nil:
		k.bad(child(path, "kind"), "must be env or arg: a command is sent no headers")
	case c.Kind == CredentialEnv && up.URL != "":
		k.bad(child(path, "kind"), "env is for command: a server with a url has an environment of its own")
	}
	if c.Kind.InHeader() {
		c.checkHeader(k, path)
	}
	if c.Kind == CredentialEnv {
		c.checkVariable(k, path)
	}
	if c.Kind == CredentialArg {
		c.checkArgument(k, path)
	}
	if c.Kind.kept() {
		c.checkKept(k, path)
	}
	if c.Kind.Issued() {
		c.checkIssued(k, path)
	}
}

// checkIssued checks who issues the credential, and what is asked for.
func (c Credential) checkIssued(k *checker, path string) {
	k.endpoint(child(path, "token_url"), c.TokenURL, false, c.AllowLoopbackHTTP)
	switch {
	case c.ClientID == "":
		k.lacks(child(path, "client_id"), "is required with kind %s", c.Kind)
	case !clientID.MatchString(c.ClientID):
		k.bad(child(path, "client_id"), "must be printable ASCII")
	}
	if (c.ClientSecretFile == "") == (c.ClientKeyFile == "") {
		k.lacks(path, "needs exactly one of client_secret_file and client_key_file with kind %s", c.Kind)
	}
	k.file(child(path, "client_secret_file"), c.ClientSecretFile)
	k.file(child(path, "client_key_file"), c.ClientKeyFile)
	k.unless(c.ClientKeyID == "" || c.ClientKeyFile != "", child(path, "client_key_id"), "is for client_key_file")
	k.unless(c.ClientKeyID == "" || isPlainName(c.ClientKeyID), child(path, "client_key_id"), "must be a name without space at its ends")
	for i, s := range c.Scopes {
		at := item(child(path, "scopes"), i)
		k.unless(scopeToken.MatchString(s), at, "is not a scope token (RFC 6749 section 3.3)")
		k.unless(!slices.Contains(c.Scopes[:i], s), at, "is given twice")
	}
	u, err := url.Parse(c.Resource)
	k.unless(c.Resource == "" || err == nil && u.IsAbs() && !strings.Contains(c.Resource, "#") && urlText.MatchString(c.Resource), child(path, "resource"), "must be an absolute URI without fragment (RFC 8707 section 2)")
	k.unless(c.Audience == "" || isPlainName(c.Audience), child(path, "audience"), "must be a name without space at its ends")
	if c.Kind == CredentialExchanged && c.Resource == "" && c.Audience == "" {
		// A token for nobody in particular may be good at every service, this one's own
		// callers' among them.
		k.lacks(path, "needs resource or audience with kind %s: whom the token is for", c.Kind)
	}
}

// minCredentialAge bounds max_age from below: a shorter one would run the command
// for every call.
const minCredentialAge = Duration(5 * time.Second)

// checkKept checks where the operator keeps the secret: in one place.
func (c Credential) checkKept(k *checker, path string) {
	places := 0
	for _, there := range []bool{c.File != "", c.ValueEnv != "", c.Exec != nil} {
		if there {
			places++
		}
	}
	if places != 1 {
		k.lacks(path, "needs exactly one of file, value_env and exec with kind %s", c.Kind)
	}
	k.file(child(path, "file"), c.File)
	variable := child(path, "value_env")
	switch {
	case c.ValueEnv == "":
	case !variableName.MatchString(c.ValueEnv):
		k.bad(variable, "must be the name of a variable")
	case isCallersVariable(c.ValueEnv):
		k.bad(variable, "holds the caller's token, which is never shown to a server")
	}
	checkProgram(k, child(path, "exec"), c.Exec)
	age := child(path, "max_age")
	switch {
	case c.MaxAge == 0:
	case c.Exec == nil:
		k.badKey(age, "is for exec")
	case c.MaxAge < minCredentialAge:
		k.bad(age, "must be at least %v", minCredentialAge)
	}
}

// checkProgram checks a program and its arguments; nil is none.
func checkProgram(k *checker, path string, argv []string) {
	if argv != nil && (len(argv) == 0 || argv[0] == "") {
		k.bad(path, "must begin with the program to start")
	}
	for i, arg := range argv {
		// A command line ends at NUL; only Go code can set one.
		k.unless(!strings.ContainsRune(arg, 0), item(path, i), "must not hold NUL")
	}
}

func (c Credential) checkHeader(k *checker, path string) {
	header := child(path, "header")
	switch {
	case !headerToken.MatchString(c.HeaderName()):
		k.bad(header, "is not a header name (RFC 9110 section 5.6.2)")
	case isOwnHeader(c.HeaderName()):
		k.bad(header, "is set by the connection or by MCP and cannot carry a credential")
	}
	k.unless(c.HeaderPrefix() == "" || clientID.MatchString(c.HeaderPrefix()), child(path, "prefix"), "must be printable ASCII")
}

func (c Credential) checkVariable(k *checker, path string) {
	variable := child(path, "variable")
	switch {
	case c.Variable == "":
		k.lacks(variable, "is required with kind env")
	case !variableName.MatchString(c.Variable):
		k.bad(variable, "must be the name of a variable")
	case IsOwnVariable(c.Variable):
		k.bad(variable, "must not be a setting of the sidecar")
	}
}

func (t *UpstreamTLS) check(k *checker, path string, up Upstream) {
	if t == nil {
		return
	}
	u, _ := parseURL(up.URL)
	switch {
	case up.URL == "":
		k.badKey(path, "is for url")
	case u != nil && u.Scheme != "https":
		k.badKey(path, "needs a url with https")
	case *t == UpstreamTLS{}:
		k.lacks(path, "needs ca_file, or cert_file and key_file")
	case t.CertFile == "" && t.KeyFile != "":
		k.lacks(child(path, "cert_file"), "is required with key_file")
	case t.CertFile != "" && t.KeyFile == "":
		k.lacks(child(path, "key_file"), "is required with cert_file")
	}
	k.file(child(path, "ca_file"), t.CAFile)
	k.file(child(path, "cert_file"), t.CertFile)
	k.file(child(path, "key_file"), t.KeyFile)
}

func (c Credential) checkArgument(k *checker, path string) {
	argument := child(path, "argument")
	switch {
	case c.Argument == "":
		k.lacks(argument, "is required with kind arg")
	case !isPlainName(c.Argument):
		k.bad(argument, "must be at most 256 printable characters")
	case strings.EqualFold(c.Argument, "confirm"):
		k.bad(argument, "belongs to consent: confirm")
	}
}

// checkClaims refuses two owners of one argument: the sidecar's credential and
// something else that the configuration binds to it.
func (c *Config) checkClaims(k *checker, tool string) {
	server, _, _ := strings.Cut(tool, "/")
	own, t, path := c.Upstreams[server].Credential, c.Tools[tool], child("tools", tool)
	if own.Kind != CredentialArg || own.Argument == "" {
		return
	}
	for _, arg := range slices.Sorted(maps.Keys(t.Args)) {
		if strings.EqualFold(arg, own.Argument) {
			k.badKey(child(child(path, "args"), arg), "the argument carries the sidecar's credential and is no client's")
		}
	}
	for _, arg := range slices.Sorted(maps.Keys(t.InjectArgs)) {
		if strings.EqualFold(arg, own.Argument) {
			k.badKey(child(child(path, "inject_args"), arg), "the argument carries the sidecar's credential")
		}
	}
}

// checkFor refuses to ask for tokens that callers present here, and to exchange
// those that nobody presents.
func (c *Config) checkFor(k *checker, path string, shown Credential) {
	if shown.Kind == CredentialExchanged && c.Auth == nil {
		k.bad(child(path, "kind"), "needs auth: there is no token to exchange where callers are not authenticated")
	}
	const ours = "is the sidecar's own: the token would be one that callers present"
	k.unless(!c.isAudience(shown.Audience), child(path, "audience"), ours)
	k.unless(!c.isAudience(shown.Resource), child(path, "resource"), ours)
}

// isAudience reports whether name is one that tokens of callers are meant for.
func (c *Config) isAudience(name string) bool {
	switch {
	case name == "" || c.Auth == nil:
		return false
	case slices.Contains(c.Auth.Audience, name):
		return true
	}
	own := c.Public()
	return own != "" && (name == own || strings.HasPrefix(name, own+"/"))
}

// checkOwn refuses an upstream's credential that is kept where another secret is:
// the upstream could do with it what the other one is for.
func (c *Config) checkOwn(k *checker, path string, shown Credential) {
	if shown.File == "" {
		return
	}
	for _, other := range c.otherSecrets() {
		if other.file != "" && filepath.Clean(other.file) == filepath.Clean(shown.File) {
			k.bad(child(path, "file"), "is %s too, which no server must be shown", other.path)
			return
		}
	}
}

// otherSecret is a file with a secret that is not for upstreams.
type otherSecret struct{ path, file string }

func (c *Config) otherSecrets() []otherSecret {
	all := []otherSecret{{"seal_key_file", c.SealKeyFile}}
	if c.TLS != nil {
		all = append(all, otherSecret{"tls.key_file", c.TLS.KeyFile})
	}
	if c.Classifier != nil {
		all = append(all, otherSecret{"classifier.token_file", c.Classifier.TokenFile})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		path, u := child("upstreams", name), c.Upstreams[name]
		if u.TLS != nil {
			all = append(all, otherSecret{child(child(path, "tls"), "key_file"), u.TLS.KeyFile})
		}
		all = append(all, otherSecret{child(child(path, "credential"), "client_secret_file"), u.Credential.ClientSecretFile},
			otherSecret{child(child(path, "credential"), "client_key_file"), u.Credential.ClientKeyFile})
		if u.Broker != nil {
			all = append(all, otherSecret{child(child(path, "broker"), "client_secret_file"), u.Broker.ClientSecretFile})
		}
	}
	if b := c.Broker; b != nil {
		all = append(all, otherSecret{"broker.key_file", b.KeyFile}, otherSecret{"broker.login.client_secret_file", b.Login.ClientSecretFile})
		for i, client := range b.Clients {
			all = append(all, otherSecret{fmt.Sprintf("broker.clients[%d].secret_file", i), client.SecretFile})
		}
	}
	if c.Auth != nil {
		all = append(all, otherSecret{"auth.static_tokens_file", c.Auth.StaticTokensFile})
		for i, in := range c.Auth.Introspection {
			all = append(all, otherSecret{fmt.Sprintf("auth.introspection[%d].client_secret_file", i), in.ClientSecretFile})
		}
	}
	return all
}
