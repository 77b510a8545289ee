package sidecar

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// Protocol revisions that every table runs in, where it makes sense.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

var bothRevisions = []string{modern, legacy}

// service is what the sidecar shows to the upstream in these tests.
const service = "service-credential-of-the-sidecar"

// introspectionSecret is what the sidecar shows to the issuer.
const introspectionSecret = "iN7+sP3/Q9rX2vK8="

// clock stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// setup says in what a rig differs from the demo. Its zero value is the demo
// with a booby-trapped upstream.
type setup struct {
	upstream   http.HandlerFunc  // what answers anything but the inventory; nil is a trap
	inventory  string            // JSON array of tools; empty makes tools/list a trap too
	resources  string            // members of the result of a list of resources or templates that the sidecar asks for
	locates    bool              // upstream answers that itself
	secure     *tls.Config       // of docs, which speaks https then
	members    string            // YAML of docs beside url and credential
	credential string            // YAML of what docs is shown; empty is a header from service.token
	files      map[string]string // further files beside the configuration
	others     map[string]setup  // further servers by name, of which upstream, inventory, resources and credential count
	introspect http.HandlerFunc  // instead of the demo issuer
	issuer     func(*issuer.Config)
	policy     string        // instead of demoPolicy
	maxAge     string        // of the policy; empty is for ever, since clocks jump here
	poll       time.Duration // of the policy
	tools      string        // YAML below "tools:", instead of demoTools
	extra      string        // YAML at top level
	preset     string
	lenient    bool // arguments need not fit the schemas of the inventory
	open       bool // no auth and no policy: everybody is anonymous
	now        func() time.Time
	resolver   ssrf.Resolver
	change     func(*config.Config)
	prepare    func(*rig)            // before the sidecar is built
	transport  func(*http.Transport) // changes the clients' side
	clientTime time.Duration
	drain      time.Duration
	recheck    time.Duration
	pipe       *pipe // serve this in place of a listener
}

const demoPolicy = `
p, role:admin,  document, create, allow
p, role:admin,  document, read,   allow
p, role:admin,  document, update, allow
p, role:admin,  document, delete, allow
p, role:editor, document, read,   allow
p, role:editor, document, update, allow
p, role:viewer, document, read,   allow
g, user:alice, role:admin
g, user:bob,   role:editor
g, user:carol, role:viewer
g, user:erin,  role:editor
g, user:erin,  role:viewer
`

const demoTools = `
  docs/create_document: { resource: document, action: create, scopes: ["documents:create"], inject_args: { created_by: $subject } }
  docs/read_document:   { resource: document, action: read, scopes: ["documents:read"], wrap: always, trusted_blocks: [0], source: "document:{id}" }
  docs/update_document: { resource: document, action: update, scopes: ["documents:update"] }
  docs/delete_document: { resource: document, action: delete, scopes: ["documents:delete"], consent: confirm }
  docs/move_document:   { resource: document, action: update, scopes: ["documents:read", "documents:update", "documents:move"] }
  docs/render_document: { resource: document, action: read, scopes: ["documents:read"], args: { format: { enum: { words: words, lines: lines, short: "words" } } } }
  docs/import_url:      { resource: document, action: create, scopes: ["documents:create"], args: { url: { ssrf: {} } }, inject_args: { created_by: $subject } }
  docs/secret_tool:     { resource: document, action: read, hide: true }
`

// demoInventory is what the upstream lists.
const demoInventory = `[
 {"name":"create_document","description":"Create.","inputSchema":{"type":"object","properties":{"content":{"type":"string"},"created_by":{"type":"string"}},"required":["content","created_by"]}},
 {"name":"read_document","description":"Read.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}},
 {"name":"update_document","description":"Update.","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}}},
 {"name":"delete_document","description":"Delete.","annotations":{"destructiveHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}},
 {"name":"move_document","description":"Move.","inputSchema":{"type":"object"}},
 {"name":"render_document","description":"Render.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"},"format":{"type":"string"}}}},
 {"name":"import_url","description":"Import.","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"url":{"type":"string"},"created_by":{"type":"string"}}}},
 {"name":"secret_tool","description":"Hidden.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}
]`

// rig is a running sidecar with everything around it.
type rig struct {
	t         testing.TB
	sidecar   *Sidecar
	clock     *clock
	issuer    *issuer.Issuer
	up        *fakeUpstream            // docs
	ups       map[string]*fakeUpstream // all of them by name
	url       string                   // of the first endpoint
	base      string                   // of the listener
	public    string                   // what clients call it
	issuerURL string
	dir       string // of the configuration
	auditLog  string
	stderr    *buffer
	answers   *buffer // everything that clients received
	served    *ear    // everything that the listeners sent, whoever asked
	cancel    context.CancelFunc
	done      chan error
	tokens    map[string]string
	own       []string // secrets of the sidecar's own, which show nowhere but where they belong
	read      int      // bytes of the audit file that records has returned
	http      *http.Client
}

// buffer is a bytes.Buffer for many writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the real program with s around it until the test ends.
func start(t testing.TB, s setup) *rig {
	t.Helper()
	r := &rig{
		t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)},
		stderr: &buffer{}, answers: &buffer{}, served: &ear{}, tokens: map[string]string{}, done: make(chan error, 1),
		http: &http.Client{
			Transport:     &http.Transport{Proxy: nil, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if s.transport != nil {
		s.transport(r.http.Transport.(*http.Transport))
	}
	r.startUpstreams(s)
	cfg := r.config(s)
	if s.prepare != nil {
		s.prepare(r)
	}
	if s.now == nil {
		s.now = r.clock.Now
	}
	if s.resolver == nil {
		s.resolver = noNames{}
	}
	o := Options{Stderr: r.stderr, Resolver: s.resolver, Now: s.now, After: soon, ClientTime: s.clientTime, Drain: s.drain, Recheck: s.recheck, PolicyPoll: s.poll}
	if s.pipe != nil {
		o.Token, o.TokenFile = s.pipe.token, s.pipe.tokenFile
	}
	var err error
	if r.sidecar, err = New(cfg, o); err != nil {
		t.Fatal(err)
	}
	if s.pipe != nil {
		s.pipe.serve(r)
		return r
	}
	if err := r.sidecar.Listen(); err != nil {
		t.Fatal(err)
	}
	r.url, r.base = r.sidecar.URL(), r.sidecar.listener.url()
	r.public = cmp.Or(cfg.Public(), r.base)
	r.witness(r.sidecar.listener)
	r.witness(r.sidecar.probes)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- r.sidecar.Serve(ctx) }()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) startUpstreams(s setup) {
	r.up = newFakeUpstream(r.t, s)
	r.ups = map[string]*fakeUpstream{"docs": r.up}
	for name, other := range s.others {
		r.ups[name] = newFakeUpstream(r.t, other)
	}
}

func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	r.http.CloseIdleConnections()
	r.cancel()
	r.cancel = nil
	if err := <-r.done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		r.t.Errorf("Serve: %v", err)
	}
	if err := r.sidecar.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	r.checkCanaries()
}

// config writes the files of a rig and returns its configuration.
func (r *rig) config(s setup) *config.Config {
	t := r.t
	t.Helper()
	r.dir = t.TempDir()
	r.write("service.token", service+"\n")
	r.write("introspection.secret", introspectionSecret+"\n")
	for name, text := range s.files {
		r.write(name, text)
	}
	r.own = append(r.own, service, introspectionSecret)
	if s.policy == "" {
		s.policy = demoPolicy
	}
	r.write("policy.csv", s.policy)
	if s.tools == "" {
		s.tools = demoTools
	}
	if s.preset == "" {
		s.preset = "balanced"
	}
	if !strings.Contains(s.extra, "audit:") {
		s.extra += "\naudit: { file: audit.jsonl }\n"
	}
	upstreams := ""
	for name, up := range r.ups {
		of := s
		if name != "docs" {
			of = s.others[name]
		}
		upstreams += strings.ReplaceAll(fmt.Sprintf("  %s: { url: %q, %s credential: %s }\n", name, up.url(), of.members, cmp.Or(of.credential, "{ kind: header, file: service.token }")), "$DIR", r.dir)
	}
	text := fmt.Sprintf(`version: 1
preset: %s
listen: 127.0.0.1:0
upstreams:
%s
state_dir: %q
%s
`, s.preset, upstreams, r.dir, s.extra)
	if !s.open {
		text += fmt.Sprintf(`
auth:
  audience: [doc-server]
  introspection: [{ issuer: %q, url: %q, client_id: mcp-sidecar, client_secret_file: introspection.secret, allow_loopback_http: true }]
policy: { file: policy.csv, max_age: %s }
tools:%s`, r.startIssuer(s), r.issuerURL+"/introspect", cmp.Or(s.maxAge, "0s"), s.tools)
	}
	r.write("sidecar.yaml", strings.ReplaceAll(text, "$ISSUER", r.issuerURL))
	cfg, err := config.Load(filepath.Join(r.dir, "sidecar.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.InsecureNoAuth, cfg.Local = s.open && s.pipe == nil, s.pipe != nil
	if cfg.DNS.Hosts == nil {
		cfg.DNS.Hosts = map[string][]netip.Addr{
			"example.com":          {netip.MustParseAddr("93.184.215.14")},
			"good.example.com":     {netip.MustParseAddr("93.184.215.14")},
			"rebind.example.com":   {netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("10.0.0.1")},
			"inside.example.com":   {netip.MustParseAddr("192.168.7.7")},
			"metadata.example.com": {netip.MustParseAddr("169.254.169.254")},
		}
	}
	if s.lenient {
		cfg.Guards.InputSchema = config.ModeOff
	}
	if s.change != nil {
		s.change(cfg)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	r.auditLog = filepath.Join(r.dir, "audit.jsonl")
	return cfg
}

// write replaces a file beside the configuration, at once, as a secret store does.
func (r *rig) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.WriteFile(file+".new", []byte(text), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		r.t.Fatal(err)
	}
}

// startIssuer serves the demo issuer, or introspect in its place, and returns
// its name.
func (r *rig) startIssuer(s setup) string {
	server := httptest.NewUnstartedServer(nil)
	name := "http://" + server.Listener.Addr().String()
	c := issuer.Config{URL: name, ClientID: "mcp-sidecar", ClientSecret: introspectionSecret, Now: r.clock.Now}
	if s.issuer != nil {
		s.issuer(&c)
	}
	r.issuer = issuer.New(c)
	server.Config.Handler = r.issuer.Handler()
	if s.introspect != nil {
		server.Config.Handler = s.introspect
	}
	server.Start()
	r.t.Cleanup(server.Close)
	r.issuerURL = name
	return name
}

// noNames knows no host.
type noNames struct{}

func (noNames) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }

// allScopes are what the roles of the demo could use.
var allScopes = []string{"documents:create", "documents:read", "documents:update", "documents:delete", "documents:move"}

// token returns a token of who: "alice" or, with scopes, "alice documents:read".
// Without authentication there is none.
func (r *rig) token(who string) string {
	if t, ok := r.tokens[who]; ok {
		return t
	}
	if r.issuer == nil {
		return "" // everybody is anonymous
	}
	words := strings.Fields(who)
	scopes := words[1:]
	if len(scopes) == 0 {
		scopes = allScopes
	}
	return r.mint(who, issuer.Claims{Subject: words[0], Scopes: scopes})
}

// mint makes a token and remembers it under name; what c leaves out is filled in
// so that it would be accepted.
func (r *rig) mint(name string, c issuer.Claims) string {
	if c.ClientID == "" {
		c.ClientID = "cli"
	}
	if c.Audience == "" {
		c.Audience = "doc-server"
	}
	if c.Expiry.IsZero() {
		c.Expiry = r.clock.Now().Add(time.Hour)
	}
	r.tokens[name] = r.issuer.Mint(c)
	credentials.Add(name, r.tokens[name])
	return r.tokens[name]
}

// records returns the audit records since the last call of records.
func (r *rig) records() []audit.Event {
	r.t.Helper()
	text, err := os.ReadFile(r.auditLog)
	if err != nil {
		r.t.Fatal(err)
	}
	fresh := text[r.read:]
	fresh = fresh[:bytes.LastIndexByte(fresh, '\n')+1] // a line may be half written, while another call ends
	r.read += len(fresh)
	var events []audit.Event
	for line := range bytes.Lines(fresh) {
		var e audit.Event
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			r.t.Fatalf("audit line %s: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// outcome returns the one outcome record since the last look.
func (r *rig) outcome() audit.Event {
	r.t.Helper()
	var found []audit.Event
	for _, e := range r.records() {
		if e.Phase == audit.PhaseOutcome {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		r.t.Fatalf("%d outcome records, want 1: %+v", len(found), found)
	}
	return found[0]
}

// soon runs f at once: no test waits for a timer.
func soon(_ time.Duration, f func()) { go f() }
