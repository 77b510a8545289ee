package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func goodFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("good files: %v, %v", files, err)
	}
	return files
}

func load(t testing.TB, file string) *Config {
	t.Helper()
	cfg, err := Load(file)
	if err != nil {
		t.Fatalf("Load:\n%v", err)
	}
	return cfg
}

// TestGoodFiles also shows that Validate opens nothing: the files that these
// configurations name do not exist.
func TestGoodFiles(t *testing.T) {
	for _, file := range goodFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg := load(t, file)
			before := asJSON(t, cfg)
			if problems := cfg.Validate(); problems != nil {
				t.Errorf("Validate:\n%s", problems.Explain())
			}
			if after := asJSON(t, cfg); after != before {
				t.Errorf("Validate changed the configuration:\n%s\n%s", before, after)
			}
		})
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDemo(t *testing.T) {
	cfg := load(t, "testdata/demo.good.yaml")
	cfg.origin = nil
	bearer := "Bearer "
	want := Default()
	want.Auth = &Auth{
		Audience: []string{"doc-server"},
		Introspection: []Introspection{{
			Issuer: "http://127.0.0.1:9101", URL: "http://127.0.0.1:9101/introspect",
			ClientID: "mcp-sidecar", ClientSecretFile: "introspection.secret", AllowLoopbackHTTP: true,
		}},
	}
	want.Upstreams = map[string]Upstream{"docs": {
		URL:        "http://127.0.0.1:9001/mcp",
		Credential: Credential{Kind: CredentialHeader, Header: "Authorization", Prefix: &bearer, File: "service.token"},
	}}
	want.Policy = &Policy{File: "policy.csv"}
	tool := func(action, scope string) Tool {
		return Tool{Resource: "document", Action: action, Scopes: []string{"documents:" + scope}}
	}
	create, read, remove, render, fetch := tool("create", "create"), tool("read", "read"), tool("delete", "delete"), tool("read", "read"), tool("create", "create")
	create.InjectArgs = map[string]string{"created_by": SubjectValue}
	read.Wrap, read.TrustedBlocks, read.Source = WrapAlways, []int{0}, "document:{id}"
	remove.Consent = ConsentConfirm
	render.Args = map[string]Arg{"format": {Enum: map[string]string{"words": "words", "lines": "lines", "chars": "chars"}}}
	fetch.Args = map[string]Arg{"url": {SSRF: &SSRF{}}}
	fetch.InjectArgs = create.InjectArgs
	want.Tools = map[string]Tool{
		"docs/create_document": create, "docs/read_document": read, "docs/update_document": tool("update", "update"),
		"docs/delete_document": remove, "docs/render_document": render, "docs/import_url": fetch,
	}
	want.DNS.Hosts = map[string][]netip.Addr{"example.com": {netip.MustParseAddr("93.184.215.14")}}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got:\n%s\nwant:\n%s", asJSON(t, cfg), asJSON(t, want))
	}
}

func TestEverySettingIsRead(t *testing.T) {
	cfg := load(t, "testdata/full.good.yaml")
	wantLimits := Limits{1 << 20, 16 << 20, 32, 5000, 8 << 10, 256, 32 << 10, 8, 16, 600, 30, Duration(90 * time.Second)}
	if cfg.Limits != wantLimits {
		t.Errorf("limits %+v", cfg.Limits)
	}
	tool := cfg.Tools["docs/render_document"]
	if want := (ToolGuards{ModeObserve, ModeOff, ModeObserve, ModeObserve, ModeEnforce, ModeObserve, ModeEnforce, ModeEnforce, ModeObserve, ModeOff, ModeObserve}); tool.Guards != want {
		t.Errorf("tool guards %+v", tool.Guards)
	}
	if tool.Consent != ConsentOff || tool.Wrap != WrapOff || cfg.Preset != PresetStrict {
		t.Errorf("consent %v, wrap %v, preset %v", tool.Consent, tool.Wrap, cfg.Preset)
	}
	if cfg.Guards != (Guards{ModeEnforce, ModeObserve, ModeObserve, ModeObserve, ModeEnforce, ModeEnforce, ModeOff, DelimiterNonce}) || cfg.Audit != (Audit{"/var/log/mcp-sidecar/audit.jsonl", true, SyncAlways}) {
		t.Errorf("guards %+v, audit %+v", cfg.Guards, cfg.Audit)
	}
	if low, high := cfg.Classifier.Zone(); low != 0.3 || high != 0.6 || cfg.Classifier.OnError != OnErrorPass {
		t.Errorf("classifier %+v", cfg.Classifier)
	}
	// Every field is set in that file, so none may be left at zero.
	leftAtZero(t, "config", reflect.ValueOf(*cfg))
}

func leftAtZero(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		value := reflect.Indirect(v.Field(i))
		switch {
		case keyOf(f) == "" || f.Name == "Hide" || f.Name == "TokenArgument" || path == "config.Policy" && f.Name == "File":
			// Hide is false there: the tool is shown. TokenArgument is for loopback only, and
			// a policy's file is no database.
		case value.Kind() == reflect.Struct:
			leftAtZero(t, path+"."+f.Name, value)
		case v.Field(i).IsZero():
			t.Errorf("%s.%s is zero", path, f.Name)
		}
	}
}

// TestFlowStyle: in a flow mapping the YAML library splits plain text at every
// colon. Keys, list items and values must come out whole, as YAML 1.2 says.
func TestFlowStyle(t *testing.T) {
	cfg := load(t, "testdata/flow.good.yaml")
	wantRoles := map[string][]string{"user:alice": {"role:admin"}, "user:bob": {"role:editor", "role:viewer"}, "user:a:b": {"role:x"}}
	if !reflect.DeepEqual(cfg.Auth.Roles, wantRoles) {
		t.Errorf("roles %q", cfg.Auth.Roles)
	}
	if got := cfg.Tools["docs/delete_document"].Scopes; !reflect.DeepEqual(got, []string{"documents:delete"}) {
		t.Errorf("scopes %q", got)
	}
	if got := cfg.Tools["docs/render_document"].Args["format"].Enum["a:b"]; got != "c:d" {
		t.Errorf("enum %q", got)
	}
	if got := cfg.Auth.Introspection[0]; got.URL != "https://idp.example:8443/introspect" || got.ClientID != "sidecar:one" {
		t.Errorf("introspection %+v", got)
	}
	if got := cfg.DNS.Hosts["localhost.example"]; len(got) != 2 || got[0] != netip.IPv6Loopback() {
		t.Errorf("addresses %v", got)
	}
}

func TestHideColons(t *testing.T) {
	hidden := string(hiddenColon)
	rows := []struct{ name, text, want string }{
		{"key and value", "a: b", "a: b"},
		{"inside plain text", "user:alice: x", "user" + hidden + "alice: x"},
		{"end of line", "a:\n", "a:\n"},
		{"end of file", "a:", "a:"},
		{"before a flow indicator", "{a:, b:[c], d:{}}", "{a:, b:[c], d:{}}"},
		{"after a quoted key", `{"a":b}`, `{"a":b}`},
		{"after a bracket", "{[a]:b}", "{[a]:b}"},
		{"address", "[::1]", "[" + hidden + hidden + "1]"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got := hideColons(r.text)
			if got != r.want || showColons(got) != r.text {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestJSON: a JSON file is a YAML file, also without spaces.
func TestJSON(t *testing.T) {
	const text = `{"version":1,"listen":"127.0.0.1:0","auth":{"audience":["a:b"],"introspection":[{"issuer":"https://i.example","url":"https://i.example:8443/i"}],` +
		`"roles":{"user:alice":["role:admin"]}},"upstreams":{"docs":{"url":"http://127.0.0.1:9001/mcp"}},"tools":{"docs/read":{"scopes":["documents:read"]}}}`
	cfg, err := Parse("sidecar.json", []byte(text))
	if err != nil || cfg.Validate() != nil {
		t.Fatalf("%v\n%v", err, cfg.Validate())
	}
	if asJSON(t, cfg.Auth.Roles) != `{"user:alice":["role:admin"]}` || cfg.Tools["docs/read"].Scopes[0] != "documents:read" {
		t.Errorf("%s", asJSON(t, cfg))
	}
}

func TestSpellings(t *testing.T) {
	base := "version: 1\nauth: { audience: [a], introspection: [{ issuer: https://i.example, url: https://i.example/i }] }\n" +
		"upstreams: { docs: { url: https://docs.example/mcp } }\n"
	rows := []struct {
		name, text string
		got        func(*Config) any
		want       any
	}{
		{"CRLF", "preset: strict\r\nlisten: localhost:1\r\n", func(c *Config) any { return c.Listen }, "localhost:1"},
		{"quoted key", `"preset": "strict"`, func(c *Config) any { return c.Preset }, PresetStrict},
		{"single quotes", "state_dir: 'it''s'", func(c *Config) any { return c.StateDir }, "it's"},
		{"folded block", "state_dir: >-\n  a\n  b\n", func(c *Config) any { return c.StateDir }, "a b"},
		{"off is a name, not false", "guards: { secrets: off }", func(c *Config) any { return c.Guards.Secrets }, ModeOff},
		{"quoted size", `limits: { headers: "8KiB" }`, func(c *Config) any { return c.Limits.Headers }, ByteSize(8192)},
		{"size in bytes", "limits: { headers: 8192 }", func(c *Config) any { return c.Limits.Headers }, ByteSize(8192)},
		{"other limits stay", "limits: { headers: 8192 }", func(c *Config) any { return c.Limits.Depth }, 64},
		{"hash inside text", "state_dir: /a#b # c", func(c *Config) any { return c.StateDir }, "/a#b"},
		{"last line without newline", "audit: { stderr: true }", func(c *Config) any { return c.Audit.Stderr }, true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			cfg, err := Parse("x.yaml", []byte(base+r.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.got(cfg); got != r.want {
				t.Errorf("got %v, want %v", got, r.want)
			}
		})
	}
}

// TestFilesAreNotOpened puts a canary where the configuration points. Whatever
// is wrong, the canary shows up in no report.
func TestFilesAreNotOpened(t *testing.T) {
	folder := t.TempDir()
	canary := strings.Repeat("c4n4ry", 4)
	for _, name := range []string{"introspection.secret", "service.token", "policy.csv"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(canary), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	demo, err := os.ReadFile("testdata/demo.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "sidecar.yaml")
	broken := strings.ReplaceAll(string(demo), "127.0.0.1", "0.0.0.0")
	if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	report := problemsOf(t, file).Explain()
	if report == "" || strings.Contains(report, canary) {
		t.Errorf("report:\n%s", report)
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range append(goodFiles(f), badFiles(f)...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: [b:c:, d, {e: f:g}]\n\"x\" :y\n"))
	f.Add([]byte("? - !t &a *b\n: |2\n   x\n...\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse("f.yaml", text)
		if err != nil {
			var problems Errors
			if !errors.As(err, &problems) || cfg != nil {
				t.Fatalf("cfg %v, error %T %v", cfg, err, err)
			}
			wellFormed(t, problems, text)
			return
		}
		before := asJSON(t, cfg)
		problems := cfg.Validate()
		wellFormed(t, problems, text)
		if again := cfg.Validate(); !reflect.DeepEqual(again, problems) {
			t.Errorf("validated twice: %v, then %v", problems, again)
		}
		if asJSON(t, cfg) != before {
			t.Errorf("Validate changed the configuration")
		}
		if showColons(hideColons(string(text))) != string(text) {
			t.Errorf("a colon got lost")
		}
	})
}

// wellFormed checks that every problem names a place that exists, in one line
// that cannot move a terminal's cursor.
func wellFormed(t *testing.T, problems Errors, text []byte) {
	t.Helper()
	lines := strings.Split(string(text), "\n")
	for _, p := range problems {
		if p.Message == "" || printable(p.String()) != p.String() {
			t.Errorf("problem %q", p.String())
		}
		if p.Line == 0 && p.Column == 0 {
			continue // about the file as a whole
		}
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 {
			t.Errorf("%s stands outside of %d lines", p, len(lines))
		}
		if got := strings.Count(p.Excerpt(), "\n"); got != 2 {
			t.Errorf("excerpt of %d lines: %q", got, p.Excerpt())
		}
	}
}
