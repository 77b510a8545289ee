package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// ErrQuestion says that a question cannot be asked of this configuration.
var ErrQuestion = errors.New("question")

// Judge decides about tool calls without making them: the pipeline that serves a
// configuration, with nobody behind it and nothing recorded. It reads the policy,
// needs none of the secrets and talks to no server. It answers one question at a time.
type Judge struct {
	sidecar   *Sidecar
	tools     []json.RawMessage   // what the servers list
	directory map[string][]string // of auth.roles_file
}

// Question is one call that is only decided about.
type Question struct {
	Actor string // a user, with or without "user:"
	// Roles are those that the caller's token gives, beside those of the policy and of
	// the configuration.
	Roles []string
	// Scopes are what the token grants. AnyScopes says that it grants what the call
	// needs.
	Scopes    []string
	AnyScopes bool
	Tool      string          // "docs/read_document"; the server may be left out where there is one
	Args      json.RawMessage // an object; empty means none
}

// Verdict is what would have become of the call.
type Verdict struct {
	Allowed bool
	Record  audit.Event // as it would have been written
	Text    string      // what the client would have read; empty for an allowed call
	// Open says in words what the answer does not cover.
	Open []string
}

// JudgeOptions are what a configuration does not say.
type JudgeOptions struct {
	// Policy takes the place of the configuration's. Nil does not.
	Policy *policy.Engine
	// Tools are definitions as tools/list gives them. A tool without one counts as
	// plain: no annotations, an open schema.
	Tools []json.RawMessage
}

// NewJudge prepares the pipeline of cfg, which must be valid. Errors wrap ErrConfig
// when cfg is to blame.
func NewJudge(cfg *config.Config, o JudgeOptions) (*Judge, error) {
	own := *cfg
	own.Upstreams = map[string]config.Upstream{}
	for name, u := range cfg.Upstreams {
		// A credential takes part in a decision only by the name of the argument that
		// carries it.
		if u.Broker = nil; u.Credential.Kind != config.CredentialArg {
			u.Credential = config.Credential{}
		}
		own.Upstreams[name] = u
	}
	s := &Sidecar{cfg: &own, opts: Options{Now: time.Now, Stderr: io.Discard}, log: slog.New(slog.DiscardHandler)}
	s.life, s.end = context.WithCancel(context.Background())
	var err error
	if o.Policy != nil {
		s.parts.policy = policy.Fixed(o.Policy)
	} else {
		s.parts.policy, err = s.buildPolicy()
	}
	j := &Judge{sidecar: s, tools: o.Tools}
	if err == nil {
		s.parts.catalog, s.parts.modes = s.catalog(), s.modes()
		err = j.readDirectory()
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// readDirectory reads the roles that users have beside the policy.
func (j *Judge) readDirectory() error {
	auth := j.sidecar.cfg.Auth
	if auth == nil || auth.RolesFile == "" {
		return nil
	}
	name := j.sidecar.cfg.Resolve(auth.RolesFile)
	text, err := os.ReadFile(name)
	if err == nil {
		j.directory, err = config.ParseRoles(name, text)
	}
	if err != nil {
		return fmt.Errorf("%w: auth.roles_file: %w", ErrConfig, err)
	}
	return nil
}

// Close ends what the judge holds.
func (j *Judge) Close() {
	j.sidecar.end()
	if j.sidecar.policies != nil {
		_ = j.sidecar.policies.Close()
	}
}

// Policy is what the judge decides by.
func (j *Judge) Policy() *policy.Engine {
	e, _ := j.sidecar.parts.policy.Current() // just read
	return e
}

// Judge decides about one call. The error, which wraps ErrQuestion, says that the
// configuration has no such server, or that Args is no object.
func (j *Judge) Judge(ctx context.Context, q Question) (Verdict, error) {
	server, tool, err := j.locate(q.Tool)
	if err != nil {
		return Verdict{}, err
	}
	request, err := callOf(tool, q.Args)
	if err != nil {
		return Verdict{}, err
	}
	t := &trial{tool: tool, definition: j.definition(tool)}
	p := pipeline.New(j.options(t, server, tool, q))
	defer p.Close()
	p.Handle(ctx, &pipeline.Call{Transport: pipeline.Stdio, Body: pipeline.Body{Reader: bytes.NewReader(request), Size: int64(len(request))}}, t)
	v := Verdict{Allowed: t.record.Outcome == pipeline.Allowed.String() && t.reached, Record: t.record}
	if !v.Allowed {
		v.Text = t.text()
	}
	v.Open = j.open(t, server, tool, q)
	return v, nil
}

// Ask decides by the policy alone whether the actor, with roles that his token gives,
// holds a permission.
func (j *Judge) Ask(actor string, p policy.Permission, roles ...string) policy.Decision {
	subject := "user:" + strings.TrimPrefix(actor, "user:")
	return j.Policy().Decide(subject, p, slices.Concat(roles, j.directory[subject])...)
}

// locate finds the server in a tool's name.
func (j *Judge) locate(name string) (server, tool string, err error) {
	upstreams := j.sidecar.cfg.Upstreams
	names := slices.Sorted(maps.Keys(upstreams))
	if server, tool, ok := strings.Cut(name, "/"); ok && tool != "" {
		if _, known := upstreams[server]; known {
			return server, tool, nil
		}
		if len(names) > 1 {
			return "", "", fmt.Errorf("%w: no upstream is called %q; there are %s", ErrQuestion, server, strings.Join(names, ", "))
		}
	}
	switch {
	case name == "":
		return "", "", fmt.Errorf("%w: the tool has no name", ErrQuestion)
	case len(names) > 1:
		return "", "", fmt.Errorf("%w: of which server is %q? Write SERVER/TOOL; there are %s", ErrQuestion, name, strings.Join(names, ", "))
	}
	return names[0], name, nil
}

// callOf is the call as a client of the current revision sends it. The arguments stand
// in it as they were written, so that what is wrong with them is judged too.
func callOf(tool string, args json.RawMessage) ([]byte, error) {
	args = bytes.TrimSpace(args)
	switch {
	case len(args) == 0:
		args = []byte("{}")
	case args[0] != '{' || !json.Valid(args):
		return nil, fmt.Errorf("%w: the arguments are not a JSON object", ErrQuestion)
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`), wire.Quote(nil, tool)...)
	b = append(append(b, `,"arguments":`...), args...)
	return append(b, `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"check","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`...), nil
}

// definition is what the server lists about tool; nil where nobody has said.
func (j *Judge) definition(tool string) json.RawMessage {
	for _, raw := range j.tools {
		var d struct{ Name string }
		if json.Unmarshal(raw, &d) == nil && d.Name == tool {
			return raw
		}
	}
	return nil
}

func (j *Judge) options(t *trial, server, tool string, q Question) pipeline.Options {
	s := j.sidecar
	confirm := s.needsConfirm()
	t.resolver = &silentDNS{}
	s.opts.Resolver = t.resolver
	tools := s.toolsOf(server)
	if c, ok := tools[tool]; ok && len(handleArgs(c.Args)) > 0 {
		// Which handles a caller has been given, only the running sidecar knows.
		t.handles = handleArgs(c.Args)
		c.Args = maps.Clone(c.Args)
		for _, name := range t.handles {
			a := c.Args[name]
			a.Handle = false
			c.Args[name] = a
		}
		tools[tool] = c
	}
	o := s.pipelineOptions(&endpoint{name: server, tools: tools, upstream: t}, shared{
		counts: pipeline.NewShared(s.pipelineLimits(), s.opts.Now), input: s.inputGuards(confirm), output: outputGuards(), confirm: confirm,
	})
	o.Authenticator, o.Anyone, o.Recorder, o.Upstream = nil, j.caller(server, tool, q), t, t
	for name, a := range o.Arguments {
		a.Value = func(context.Context) (identity.Credential, error) { return identity.Credential{}, nil }
		o.Arguments[name] = a
	}
	return o
}

// caller is who asks, after his token has been verified.
func (j *Judge) caller(server, tool string, q Question) identity.Principal {
	p := identity.Principal{Issuer: "offline", Subject: strings.TrimPrefix(q.Actor, "user:"), Scopes: q.Scopes}
	p.Roles = slices.Concat(q.Roles, j.directory["user:"+p.Subject])
	if q.AnyScopes {
		e, _ := j.sidecar.parts.catalog.Lookup(server, tool)
		p.Scopes = e.Scopes
	}
	return p
}

// open says what the verdict does not cover.
func (j *Judge) open(t *trial, server, tool string, q Question) []string {
	open := []string{"the caller's token (signature, audience, expiry, revocation)", "limits on the number of calls", "what the server answers"}
	e, _ := j.sidecar.parts.catalog.Lookup(server, tool)
	if args := j.sidecar.cfg.Tools[server+"/"+tool].Args; args[ownerArg(args)].Handle {
		open = append(open, "whether "+ownerArg(args)+" is the caller's own handle; it counts as somebody else's")
	}
	if q.AnyScopes && len(e.Scopes) > 0 {
		open = append(open, "scopes: none were given, so the token counts as granting what the call needs: "+strings.Join(e.Scopes, " "))
	}
	if auth := j.sidecar.cfg.Auth; auth != nil && len(q.Roles) == 0 {
		for _, issuer := range auth.JWT {
			if issuer.RolesClaim != "" {
				open = append(open, "roles that tokens of "+issuer.Issuer+" give by "+issuer.RolesClaim)
			}
		}
	}
	if t.definition == nil && t.listed {
		open = append(open, "the server's own definition of the tool: taken as plain, without annotations and URL arguments")
	}
	for _, host := range t.resolver.names() {
		open = append(open, fmt.Sprintf("the addresses of %q: the DNS is not asked, they count as public", host))
	}
	for _, name := range t.handles {
		open = append(open, fmt.Sprintf("whether the caller was given the handle in %q", name))
	}
	return open
}

// trial is one question on its way: it stands for the server, the audit file and the
// client.
type trial struct {
	tool       string
	definition json.RawMessage
	resolver   *silentDNS
	handles    []string
	listed     bool // the pipeline wanted to know the tool
	reached    bool // the call would have been forwarded
	record     audit.Event
	answer     *pipeline.Answer
}

// Record implements [pipeline.Recorder]. Of a destructive call the intent comes first.
func (t *trial) Record(e audit.Event) error {
	t.record = e
	return nil
}

// Do implements [pipeline.Upstream] and calls nobody.
func (t *trial) Do(_ context.Context, x wire.Exchange, sink wire.Sink) error {
	result := []byte(`{"resultType":"complete","content":[]}`)
	if x.Own {
		t.listed = true
		definition := t.definition
		if definition == nil {
			definition = append(wire.Quote([]byte(`{"name":`), t.tool), `,"inputSchema":{"type":"object"}}`...)
		}
		result = append(append([]byte(`{"resultType":"complete","tools":[`), definition...), `]}`...)
	} else {
		t.reached = true
	}
	if err := sink.Reply(wire.Reply{Status: 200}); err != nil {
		return err
	}
	data := append([]byte(`{"jsonrpc":"2.0","id":`), wire.FindID(x.Body)...)
	err := sink.Message(wire.Event{Data: append(append(append(data, `,"result":`...), result...), '}')})
	if errors.Is(err, wire.ErrDone) {
		return nil
	}
	return err
}

// Ready and Close make it an upstream of the sidecar's.
func (t *trial) Ready(context.Context) error { return nil }
func (t *trial) Close() error                { return nil }

// The client's end takes the answer.
func (t *trial) Session(string)            {}
func (t *trial) Open(bool)                 {}
func (t *trial) Event(wire.Event) error    { return nil }
func (t *trial) Answer(a *pipeline.Answer) { t.answer = a }

// text is what the client reads of a refusal.
func (t *trial) text() string {
	var body struct {
		Error  struct{ Message string }
		Result struct{ Content []struct{ Text string } }
	}
	if t.answer == nil || json.Unmarshal(t.answer.Body, &body) != nil {
		return ""
	}
	if len(body.Result.Content) > 0 {
		return body.Result.Content[0].Text
	}
	return body.Error.Message
}

// silentDNS answers for the DNS with a public address, and notes for what.
type silentDNS struct {
	mu    sync.Mutex
	hosts []string
}

// LookupNetIP implements ssrf.Resolver.
func (u *silentDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !slices.Contains(u.hosts, host) {
		u.hosts = append(u.hosts, host)
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{1, 1, 1, 1})}, nil
}

func (u *silentDNS) names() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.hosts)
}
