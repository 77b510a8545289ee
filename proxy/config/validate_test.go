package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// flags is what the command line builds without a file.
func flags(listen string) *Config {
	cfg := Default()
	cfg.Listen = listen
	cfg.Upstreams = map[string]Upstream{"upstream": {URL: "http://127.0.0.1:9001/mcp"}}
	cfg.InsecureNoAuth = true
	return cfg
}

// withBroker puts the only upstream behind a third party.
func withBroker(c *Config) {
	c.InsecureNoAuth, c.PublicURL = false, "https://sidecar.example"
	c.Broker = &Broker{Login: BrokerLogin{Issuer: "https://login.example", ClientID: "sidecar"}, KeyFile: "k"}
	c.Upstreams["upstream"] = Upstream{URL: "https://crm.example/mcp", Broker: &Provider{AuthorizeURL: "https://crm.example/a", TokenURL: "https://crm.example/t", ClientID: "sidecar"}}
}

func TestWithoutFile(t *testing.T) {
	auth := &Auth{
		Audience:      []string{"doc-server"},
		Introspection: []Introspection{{Issuer: "https://idp.example", URL: "https://idp.example/introspect"}},
	}
	inArguments := &Auth{Audience: auth.Audience, Introspection: auth.Introspection, TokenArgument: true}
	forAddress := &Auth{Introspection: auth.Introspection}
	rows := []struct {
		name   string
		change func(*Config)
		want   string // empty for a valid configuration
	}{
		{"insecure on IPv4 loopback", func(c *Config) {}, ""},
		{"insecure on a free port", func(c *Config) { c.Listen = "127.0.0.1:0" }, ""},
		{"insecure on IPv6 loopback", func(c *Config) { c.Listen = "[::1]:8811" }, ""},
		{"insecure on mapped loopback", func(c *Config) { c.Listen = "[::ffff:127.0.0.1]:8811" }, ""},
		{"insecure on localhost", func(c *Config) { c.Listen = "localhost:8811" }, ""},
		{"auth on loopback", func(c *Config) { c.Auth, c.InsecureNoAuth = auth, false }, ""},
		{"auth in public", func(c *Config) {
			c.Auth, c.InsecureNoAuth = auth, false
			c.Listen, c.BehindTLSProxy, c.PublicURL = "0.0.0.0:8811", true, "https://sidecar.example"
		}, ""},
		{"TLS in public", func(c *Config) {
			c.Auth, c.InsecureNoAuth = auth, false
			c.Listen, c.TLS, c.PublicURL = "0.0.0.0:8443", &TLS{CertFile: "a", KeyFile: "b"}, "https://sidecar.example"
		}, ""},
		{"TLS behind a proxy", func(c *Config) { c.TLS, c.BehindTLSProxy = &TLS{CertFile: "a", KeyFile: "b"}, true }, ""},
		{"TLS under an http address", func(c *Config) { c.TLS, c.PublicURL = &TLS{CertFile: "a", KeyFile: "b"}, "http://localhost:8443" }, "must be https, since tls is configured (public_url)"},
		{"TLS for everybody without auth", func(c *Config) { c.TLS, c.Listen = &TLS{CertFile: "a", KeyFile: "b"}, "0.0.0.0:8443" }, "must be loopback with --insecure-no-auth (listen)"},
		{"TLS without a key", func(c *Config) { c.TLS = &TLS{CertFile: "a"} }, "is required in tls (tls.key_file)"},
		{"probes", func(c *Config) { c.Diagnostics = &Diagnostics{} }, ""},
		{"probes for other hosts", func(c *Config) { c.Diagnostics = &Diagnostics{Listen: ":9464"} }, ""},
		{"probes on a free port beside a free port", func(c *Config) { c.Listen, c.Diagnostics = "127.0.0.1:0", &Diagnostics{Listen: "127.0.0.1:0"} }, ""},
		{"probes at the endpoint", func(c *Config) { c.Diagnostics = &Diagnostics{Listen: "127.0.0.1:8811"} }, "is the address of the MCP endpoint; probes have one of their own (diagnostics.listen)"},
		{"neither", func(c *Config) { c.InsecureNoAuth = false }, "no way to authenticate callers: configure auth or pass --insecure-no-auth (loopback only) (auth)"},
		{"only the program that started it", func(c *Config) { c.InsecureNoAuth, c.Local = false, true }, ""},
		{"that program, with tokens", func(c *Config) { c.Auth, c.InsecureNoAuth, c.Local = auth, false, true }, ""},
		{"tokens in arguments", func(c *Config) { c.Auth, c.InsecureNoAuth = inArguments, false }, ""},
		{"tokens in arguments, known as localhost", func(c *Config) { c.Auth, c.InsecureNoAuth, c.PublicURL = inArguments, false, "http://localhost:8811" }, ""},
		{"tokens in arguments for other hosts", func(c *Config) {
			c.Auth, c.InsecureNoAuth = inArguments, false
			c.Listen, c.TLS, c.PublicURL = "0.0.0.0:8443", &TLS{CertFile: "a", KeyFile: "b"}, "https://sidecar.example"
		}, "is for loopback and stdio only, and listen is reachable from other hosts; send tokens in the header Authorization (auth.token_argument)"},
		{"tokens in arguments behind a proxy", func(c *Config) { c.Auth, c.InsecureNoAuth, c.BehindTLSProxy = inArguments, false, true },
			"is for loopback and stdio only, and behind_tls_proxy or public_url says that other hosts call; send tokens in the header Authorization (auth.token_argument)"},
		{"tokens in arguments under a public name", func(c *Config) { c.Auth, c.InsecureNoAuth, c.PublicURL = inArguments, false, "https://sidecar.example" },
			"is for loopback and stdio only, and behind_tls_proxy or public_url says that other hosts call; send tokens in the header Authorization (auth.token_argument)"},
		{"tokens in arguments on a pipe", func(c *Config) {
			c.Auth, c.InsecureNoAuth, c.Local = inArguments, false, true
			c.Listen, c.BehindTLSProxy, c.PublicURL = "0.0.0.0:8811", true, "https://sidecar.example"
		}, ""},
		{"tokens in an argument that is set", func(c *Config) {
			c.Auth, c.InsecureNoAuth = inArguments, false
			c.Tools = map[string]Tool{"upstream/read": {InjectArgs: map[string]string{"Token": SubjectValue}}}
		}, `carries callers' tokens, since auth.token_argument is set (tools.upstream/read.inject_args.Token)`},
		{"tokens for the listen address", func(c *Config) { c.Auth, c.InsecureNoAuth = forAddress, false }, ""},
		{"tokens for a public address", func(c *Config) {
			c.Auth, c.InsecureNoAuth, c.Listen, c.PublicURL = forAddress, false, "127.0.0.1:0", "https://sidecar.example"
		}, ""},
		{"tokens for an unknown port", func(c *Config) { c.Auth, c.InsecureNoAuth, c.Listen = forAddress, false, "127.0.0.1:0" }, "is required: name at least one audience, or set public_url (auth.audience)"},
		{"tokens for no address", func(c *Config) { c.Auth, c.InsecureNoAuth, c.Local = forAddress, false, true }, "is required: name at least one audience, or set public_url (auth.audience)"},
		{"tokens for another's address", func(c *Config) {
			c.Auth, c.InsecureNoAuth, c.Local, c.PublicURL = forAddress, false, true, "https://sidecar.example"
		}, ""},
		{"the port that http has anyway", func(c *Config) { c.PublicURL = "http://localhost:80" }, "must be in lower case, without the port that its scheme has anyway (public_url)"},
		{"the port of the other scheme", func(c *Config) { c.PublicURL = "https://sidecar.example:80" }, ""},
		{"both", func(c *Config) { c.Auth = auth }, "excludes --insecure-no-auth: it would never be asked (auth)"},
		{"insecure in public", func(c *Config) { c.Listen, c.BehindTLSProxy = "0.0.0.0:8811", true }, "must be loopback with --insecure-no-auth (listen)"},
		{"insecure on every interface", func(c *Config) { c.Listen, c.BehindTLSProxy = ":8811", true }, "must be loopback with --insecure-no-auth (listen)"},
		{"insecure on a name", func(c *Config) { c.Listen, c.BehindTLSProxy = "localhost.example:8811", true }, "must be loopback with --insecure-no-auth (listen)"},
		{"no listener", func(c *Config) { c.Listen = "" }, "must be host:port, such as 127.0.0.1:8811 (listen)"},
		{"no upstream", func(c *Config) { c.Upstreams = nil }, "is required: name the server to guard (upstreams)"},
		{"no limits", func(c *Config) { c.Limits.Depth = 0 }, "must be from 8 to 512 (limits.depth)"},
		{"preset without name", func(c *Config) { c.Preset = 9 }, "must be one of balanced, observe, strict (preset)"},
		{"fail mode without name", func(c *Config) { c.Classifier = &Classifier{URL: "http://127.0.0.1:1/", OnError: 9} }, "must be one of flag, pass (classifier.on_error)"},
		{"delimiter without name", func(c *Config) { c.Guards.Delimiter = 9 }, "must be one of plain, nonce (guards.delimiter)"},
		{"mode without name", func(c *Config) { c.Guards.Secrets = 9 }, "must be one of off, observe, enforce (guards.secrets)"},
		{"address without value", func(c *Config) { c.DNS.Hosts = map[string][]netip.Addr{"a.example": {{}}} }, `must be an IP address without zone (dns.hosts["a.example"][0])`},
		{"credential over plain http", func(c *Config) {
			c.Upstreams["upstream"] = Upstream{URL: "http://10.0.0.5/mcp", Credential: Credential{Kind: CredentialHeader, File: "t"}}
		}, "would send the credential over plain http; use https, or allow_plaintext: true on an isolated network (upstreams.upstream.url)"},
		{"no credential over plain http", func(c *Config) { c.Upstreams["upstream"] = Upstream{URL: "http://10.0.0.5/mcp"} }, ""},
		{"credential over plain http, allowed", func(c *Config) {
			c.Upstreams["upstream"] = Upstream{URL: "http://10.0.0.5/mcp", AllowPlaintext: true, Credential: Credential{Kind: CredentialHeader, File: "t"}}
		}, ""},
		{"broker in place of auth", withBroker, ""},
		{"broker, everybody let in all the same", func(c *Config) { withBroker(c); c.InsecureNoAuth = true }, "excludes --insecure-no-auth: nobody would be asked (broker)"},
		{"broker on a pipe", func(c *Config) { withBroker(c); c.Local = true }, "needs a listener, which wrap does not open (broker)"},
		{"broker for one upstream of two", func(c *Config) { withBroker(c); c.Upstreams["other"] = Upstream{URL: "https://docs.example/mcp"} },
			"no way to authenticate callers: configure auth or pass --insecure-no-auth (loopback only) (auth)"},
		{"broker for one upstream of two, with auth", func(c *Config) {
			withBroker(c)
			shared := *auth
			shared.SharedSubjects = true
			c.Auth, c.Upstreams["other"] = &shared, Upstream{URL: "https://docs.example/mcp"}
		}, ""},
		{"broker whose users could be those of auth", func(c *Config) {
			withBroker(c)
			withAuth := *auth
			c.Auth = &withAuth
			c.Upstreams["other"] = Upstream{URL: "https://docs.example/mcp"}
			c.Auth.Introspection = []Introspection{{Issuer: "https://idp.example", URL: "https://idp.example/introspect", SubjectPrefix: "idp/"}}
		}, "is required for each of several issuers, unless auth.shared_subjects says that they mean the same users (broker.login.subject_prefix)"},
		{"broker whose users are those of auth", func(c *Config) {
			withBroker(c)
			withAuth := *auth
			c.Auth = &withAuth
			c.Upstreams["other"] = Upstream{URL: "https://docs.example/mcp"}
			c.Broker.Login.Issuer = c.Auth.Introspection[0].Issuer
		}, ""},
		{"broker with the key of others", func(c *Config) { withBroker(c); c.Broker.KeyFile, c.SealKeyFile = "", "k" }, ""},
		{"broker with a client of many letters", func(c *Config) {
			withBroker(c)
			c.Broker.Clients = []BrokerClient{{ID: strings.Repeat("c", 257), RedirectURIs: []string{"https://c.example/" + strings.Repeat("c", 1024)}}}
		}, "must be at most 256 characters of printable ASCII (broker.clients[0].id)\nmust be at most 1024 characters (broker.clients[0].redirect_uris[0])"},
		{"policy that may not rest", func(c *Config) {
			c.Policy = &Policy{File: "p.csv", MaxAge: new(Duration)}
			*c.Policy.MaxAge = Duration(29 * time.Second)
		}, "must be from 30s to 168h (policy.max_age)"},
		{"policy that may rest for ever", func(c *Config) { c.Policy = &Policy{File: "p.csv", MaxAge: new(Duration)} }, ""},
		{"line break in a file name", func(c *Config) { c.Policy = &Policy{File: "a\nb"} }, "must not hold a control character (policy.file)"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			cfg := flags("127.0.0.1:8811")
			r.change(cfg)
			if got := cfg.Validate().Error(); got != r.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, r.want)
			}
		})
	}
}

func TestPublic(t *testing.T) {
	for _, r := range []struct {
		name   string
		config Config
		want   string
	}{
		{"said", Config{PublicURL: "https://sidecar.example", Listen: "127.0.0.1:8811"}, "https://sidecar.example"},
		{"listener", Config{Listen: "localhost:8811"}, "http://localhost:8811"},
		{"listener with TLS", Config{Listen: "[::1]:8443", TLS: &TLS{}}, "https://[::1]:8443"},
		{"any port", Config{Listen: "127.0.0.1:0"}, ""},
	} {
		if got := r.config.Public(); got != r.want {
			t.Errorf("%s: %q, want %q", r.name, got, r.want)
		}
	}
}

// TestLimitBounds tests each bound at its ends and one beyond.
func TestLimitBounds(t *testing.T) {
	set := map[string]func(*Limits, int64){
		"request_body":                      func(l *Limits, n int64) { l.RequestBody = ByteSize(n) },
		"result":                            func(l *Limits, n int64) { l.Result = ByteSize(n) },
		"depth":                             func(l *Limits, n int64) { l.Depth = int(n) },
		"keys":                              func(l *Limits, n int64) { l.Keys = int(n) },
		"headers":                           func(l *Limits, n int64) { l.Headers = ByteSize(n) },
		"tools":                             func(l *Limits, n int64) { l.Tools = int(n) },
		"tool_definition":                   func(l *Limits, n int64) { l.ToolDefinition = ByteSize(n) },
		"sessions_per_principal":            func(l *Limits, n int64) { l.SessionsPerPrincipal = int(n) },
		"concurrent_calls_per_principal":    func(l *Limits, n int64) { l.ConcurrentCallsPerPrincipal = int(n) },
		"requests_per_minute_per_principal": func(l *Limits, n int64) { l.RequestsPerMinutePerPrincipal = int(n) },
		"request_burst":                     func(l *Limits, n int64) { l.RequestBurst = int(n) },
		"call_idle_timeout":                 func(l *Limits, n int64) { l.CallIdleTimeout = Duration(n) },
	}
	if len(set) != len(limitBounds) {
		t.Fatalf("%d bounds, %d setters", len(limitBounds), len(set))
	}
	for _, b := range limitBounds {
		for n, valid := range map[int64]bool{b.min - 1: false, b.min: true, b.max: true, b.max + 1: false} {
			cfg := flags("127.0.0.1:0")
			set[b.key](&cfg.Limits, n)
			problems := cfg.Validate()
			if (problems == nil) != valid || !valid && problems[0].Path != "limits."+b.key {
				t.Errorf("%s %d: %v", b.key, n, problems)
			}
		}
		if v := b.value(&Default().Limits); v < b.min || v > b.max {
			t.Errorf("the default of %s is out of its bounds", b.key)
		}
	}
}

func TestCredentialHeader(t *testing.T) {
	empty, basic := "", "Basic "
	rows := []struct {
		name           string
		credential     Credential
		header, prefix string
	}{
		{"nothing said", Credential{}, "Authorization", "Bearer "},
		{"case of the header", Credential{Header: "authorization"}, "authorization", "Bearer "},
		{"other header", Credential{Header: "X-Api-Key"}, "X-Api-Key", ""},
		{"prefix taken away", Credential{Prefix: &empty}, "Authorization", ""},
		{"other prefix", Credential{Header: "X-Api-Key", Prefix: &basic}, "X-Api-Key", "Basic "},
	}
	for _, r := range rows {
		if h, p := r.credential.HeaderName(), r.credential.HeaderPrefix(); h != r.header || p != r.prefix {
			t.Errorf("%s: %q %q", r.name, h, p)
		}
	}
}

func TestNames(t *testing.T) {
	rows := []struct {
		name  string
		test  func(string) bool
		yes   []string
		never []string
	}{
		{
			"host", isHost,
			[]string{"a", "a.example", "xn--bcher-kva.example", "_dmarc.example", "192.0.2.1", "2001:db8::1", "3com.example"},
			[]string{"", "A.example", "a..example", "a.example.", "-a.example", "a b", "127.1", "0x7f.1", "1.2.3.0x4", "2130706433", "fe80::1%eth0", "a/b", "a:1", "bücher.example", strings.Repeat("a.", 127) + "a", strings.Repeat("a", 64)},
		},
		{
			"host and port", isHostPort,
			[]string{"a", "a:1", "a:65535", "[::1]", "[::1]:8811", "192.0.2.1:80"},
			[]string{"", ":80", "a:", "a:0", "a:65536", "a:080", "::1", "[::1", "[a]", "[192.0.2.1]", "*.a", "a:b"},
		},
		{
			"host pattern", isHostPattern,
			[]string{"a.example", "*.a.example", "[2001:db8::1]", "192.0.2.1"},
			[]string{"*", "*.com", "a.*.example", "*a.example", "*.192.0.2.1", "2001:db8::1", "a.example:443"},
		},
		{
			"loopback", isLoopback,
			[]string{"localhost", "LocalHost", "127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"},
			[]string{"", "0.0.0.0", "::", "localhost.example", "a.localhost", "127.1", "10.0.0.1", "loopback"},
		},
		{
			"header of its own", isOwnHeader,
			[]string{"Host", "CONNECTION", "content-length", "Content-Anything", "Mcp-Session-Id", "MCP-Protocol-Version", "Te", "Accept"},
			[]string{"Authorization", "X-Api-Key", "Cookie", "Proxy-Key", "Hosts", "Mcp"},
		},
	}
	for _, r := range rows {
		for _, s := range r.yes {
			if !r.test(s) {
				t.Errorf("%s: %q is refused", r.name, s)
			}
		}
		for _, s := range r.never {
			if r.test(s) {
				t.Errorf("%s: %q is accepted", r.name, s)
			}
		}
	}
}

func TestURLs(t *testing.T) {
	rows := []struct{ url, want string }{
		{"https://docs.example/mcp", ""},
		{"http://[::1]:9001/mcp?profile=a", ""},
		{"https://DOCS.example", ""},
		{"", "is not a URL"},
		{"https://docs.example/a b", "is not a URL"},
		{"https://docs.example/\x7F", "is not a URL"},
		{"https://doçs.example/", "is not a URL"},
		{"docs.example/mcp", "must start with https:// or http://"},
		{"//docs.example/mcp", "must start with https:// or http://"},
		{"https:docs.example", "must start with https:// or http://"},
		{"file:///etc/passwd", "must start with https:// or http://"},
		{"https://a@docs.example/", "must not hold a user name or password; name a credential file"},
		{"https://docs.example/#", "must not have a fragment"},
		{"https:///mcp", "needs a valid host"},
		{"https://docs.example:/", "needs a valid host"},
		{"https://docs.example:0/", "needs a valid host"},
		{"https://docs.example:65536/", "needs a valid host"},
		{"http://0x7f.1/", "needs a valid host"},
		{"http://[fe80::1%25eth0]/", "needs a valid host"},
	}
	for _, r := range rows {
		if _, got := parseURL(r.url); got != r.want {
			t.Errorf("%q: %q, want %q", r.url, got, r.want)
		}
	}
}

// environment is a lookup over pairs.
func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if i := slices.Index(pairs, name); i >= 0 {
			return pairs[i+1], true
		}
		return "", false
	}
}

func TestApplyEnv(t *testing.T) {
	cfg := load(t, "testdata/demo.good.yaml")
	problems := cfg.ApplyEnv(environment(EnvListen, "localhost:0", EnvPreset, "observe", EnvPublicURL, "http://localhost:8811", EnvStateDir, "state"))
	if problems != nil || cfg.Validate() != nil {
		t.Fatalf("%v\n%v", problems, cfg.Validate())
	}
	if cfg.Listen != "localhost:0" || cfg.Preset != PresetObserve || cfg.PublicURL != "http://localhost:8811" || cfg.StateDir != "state" {
		t.Errorf("%+v", cfg)
	}
}

func TestApplyEnvProblems(t *testing.T) {
	cfg := load(t, "testdata/full.good.yaml")
	problems := cfg.ApplyEnv(environment(EnvPreset, "loud", EnvListen, "nowhere", EnvPublicURL, ""))
	problems = append(problems, cfg.Validate()...)
	const want = "SIDECAR_PRESET: must be one of balanced, observe, strict (preset)\n" +
		"SIDECAR_LISTEN: must be host:port, such as 127.0.0.1:8811 (listen)"
	if problems.Error() != want {
		t.Errorf("got:\n%v", problems)
	}
	if cfg.Preset != PresetStrict || cfg.PublicURL != "https://sidecar.example:8443" {
		t.Errorf("an unreadable or empty variable changed the setting: %v, %v", cfg.Preset, cfg.PublicURL)
	}
}

// TestOverride: a problem with a flag's value must not point into the file.
func TestOverride(t *testing.T) {
	cfg := load(t, "testdata/demo.good.yaml")
	cfg.Listen = "0.0.0.0:8811"
	cfg.Override("listen", "--listen")
	cfg.Upstreams = map[string]Upstream{"docs": {URL: "ftp://docs"}}
	cfg.Override("upstreams", "--upstream")
	want := []string{
		"--listen: is reachable from other hosts without TLS; listen on loopback, configure tls, or set behind_tls_proxy: true (listen)",
		"--listen: needs public_url, since it is not loopback and auth is configured (listen)",
		"--upstream: must start with https:// or http:// (upstreams.docs.url)",
	}
	if got := cfg.Validate().Error(); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s", got)
	}
	if out := cfg.Validate()[0].Excerpt(); out != "" {
		t.Errorf("excerpt of a flag: %q", out)
	}
}

func TestFolders(t *testing.T) {
	root := t.TempDir() // an absolute path on every system
	at := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	fromFile := func(text string) *Config {
		cfg, err := Parse(at("etc", "sidecar.yaml"), []byte("version: 1\nupstreams: {}\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	variable := fromFile("state_dir: kept")
	variable.ApplyEnv(environment(EnvStateDir, "state"))
	rows := []struct {
		name         string
		cfg          *Config
		env          []string
		state, audit string
	}{
		{"XDG", Default(), []string{"XDG_STATE_HOME", at("xdg"), "HOME", at("home")}, at("xdg", "mcp-sidecar"), at("xdg", "mcp-sidecar", "audit.jsonl")},
		{"relative XDG is ignored", Default(), []string{"XDG_STATE_HOME", "xdg", "HOME", at("home")}, at("home", ".local", "state", "mcp-sidecar"), at("home", ".local", "state", "mcp-sidecar", "audit.jsonl")},
		{"Windows", Default(), []string{"USERPROFILE", at("me")}, at("me", ".local", "state", "mcp-sidecar"), at("me", ".local", "state", "mcp-sidecar", "audit.jsonl")},
		{"beside the file", fromFile("state_dir: kept"), nil, at("etc", "kept"), at("etc", "kept", "audit.jsonl")},
		{"beside the working folder", variable, nil, "state", filepath.Join("state", "audit.jsonl")},
		{"audit elsewhere", fromFile("audit: { file: log/a.jsonl }"), []string{"HOME", at("home")}, at("home", ".local", "state", "mcp-sidecar"), at("etc", "log", "a.jsonl")},
		{"nowhere", Default(), []string{"HOME", ""}, "", ""},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			lookup := environment(r.env...)
			state, err := r.cfg.StateFolder(lookup)
			if state != r.state || (err != nil) != (r.state == "") {
				t.Errorf("state %q, %v", state, err)
			}
			audit, err := r.cfg.AuditFile(lookup)
			if audit != r.audit || (err != nil) != (r.audit == "") {
				t.Errorf("audit %q, %v", audit, err)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	folder := t.TempDir()
	cfg, err := Parse(filepath.Join(folder, "sidecar.yaml"), []byte("version: 1\nupstreams: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Resolve("a/b"); got != filepath.Join(folder, "a", "b") {
		t.Errorf("relative: %q", got)
	}
	if got := cfg.Resolve(folder); got != folder {
		t.Errorf("absolute: %q", got)
	}
	if got := Default().Resolve("a"); got != "a" {
		t.Errorf("without a file: %q", got)
	}
}

// TestOverTLS: probes travel in plain text only where nobody can stand in
// between, or where no certificate is at hand.
func TestOverTLS(t *testing.T) {
	pair := &TLS{CertFile: "a", KeyFile: "b"}
	for _, row := range []struct {
		name        string
		tls         *TLS
		diagnostics *Diagnostics
		want        bool
	}{
		{"no listener", pair, nil, false},
		{"default address", pair, &Diagnostics{}, false},
		{"loopback", pair, &Diagnostics{Listen: "[::1]:1"}, false},
		{"every interface", pair, &Diagnostics{Listen: ":1"}, true},
		{"one address", pair, &Diagnostics{Listen: "10.0.0.5:1"}, true},
		{"no certificate", nil, &Diagnostics{Listen: ":1"}, false},
	} {
		if got := (&Config{TLS: row.tls, Diagnostics: row.diagnostics}).OverTLS(); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
