package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// Parts of a pipeline as functions, so that a test can make any of them fail.
type (
	authenticatorFunc func(identity.Secret) (identity.Principal, error)
	upstreamFunc      func(context.Context, wire.Exchange, wire.Sink) error
	recorderFunc      func(audit.Event) error
	authorizerFunc    func(subject string, p policy.Permission) policy.Decision
)

func (f authenticatorFunc) Authenticate(_ context.Context, t identity.Secret) (identity.Principal, error) {
	return f(t)
}
func (f upstreamFunc) Do(ctx context.Context, x wire.Exchange, s wire.Sink) error {
	return f(ctx, x, s)
}
func (f recorderFunc) Record(e audit.Event) error { return f(e) }
func (f authorizerFunc) Decide(s string, p policy.Permission, _ ...string) policy.Decision {
	return f(s, p)
}

// always is a policy that never changes.
func always(a Authorizer) func() (Authorizer, error) {
	return func() (Authorizer, error) { return a, nil }
}

func (authorizerFunc) Roles(string, ...string) []string { return []string{"role:any"} }
func (authorizerFunc) Revision() string                 { return "test" }

type inputFunc func(*guards.Call) guards.Decision

func (inputFunc) Name() string                                                { return "input" }
func (f inputFunc) Inspect(_ context.Context, c *guards.Call) guards.Decision { return f(c) }

// outputFuncs is an output guard; nil functions find and change nothing.
type outputFuncs struct {
	find   func(guards.Text) []guards.Finding
	change func(guards.Text) string
}

func (outputFuncs) Name() string { return "output" }

func (f outputFuncs) Find(t guards.Text) []guards.Finding {
	if f.find == nil {
		return nil
	}
	return f.find(t)
}

func (f outputFuncs) Change(t guards.Text, _ []guards.Finding) string {
	if f.change == nil {
		return t.Value
	}
	return f.change(t)
}

// kept is a sink that keeps what a client would get.
type kept struct {
	session string
	events  []string
	answer  *Answer
	onEvent error
}

func (k *kept) Session(id string) { heard.Hear("an answer", id); k.session = id }
func (k *kept) Open(bool)         {}
func (k *kept) Event(ev wire.Event) error {
	heard.Hear("an answer", ev.ID, ev.Type, ev.Retry, string(ev.Data))
	k.events = append(k.events, string(ev.Data))
	return k.onEvent
}
func (k *kept) Answer(a *Answer) {
	heard.Hear("an answer", string(a.Body), a.Allow)
	if a.Challenge != nil {
		heard.Hear("an answer", *a.Challenge)
	}
	k.answer = a
}

// world is a pipeline with everything around it.
type world struct {
	opts Options
	pipe *Pipeline

	mu      sync.Mutex
	records []audit.Event
	calls   []wire.Exchange
}

const answered = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`

// newWorld lets everything pass; change makes it otherwise. At the end of t all that it
// has let out is searched for credentials of its callers.
func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{}
	w.opts = Options{
		Server: "docs",
		Authenticator: authenticatorFunc(func(identity.Secret) (identity.Principal, error) {
			return identity.Principal{Issuer: "idp", Subject: "alice"}, nil
		}),
		Policy: always(authorizerFunc(func(string, policy.Permission) policy.Decision { return policy.Decision{Allowed: true} })),
		Upstream: upstreamFunc(func(_ context.Context, x wire.Exchange, s wire.Sink) error {
			return w.serve(x, s)
		}),
		Recorder: recorderFunc(func(e audit.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.records = append(w.records, e)
			return nil
		}),
		Limits:       Limits{RequestBody: 1 << 20, Tools: 10, ToolDefinition: 1000, Sessions: 4, Concurrent: 1000},
		NeedsConfirm: func(*guards.Call) bool { return false },
		Note:         func([]string) string { return "note" },
	}
	if change != nil {
		change(&w.opts)
	}
	watch(&w.opts)
	w.pipe = New(w.opts)
	t.Cleanup(func() { w.pipe.Close(); w.checkCanaries(t) })
	return w
}

// serve is an upstream with one harmless tool.
func (w *world) serve(x wire.Exchange, s wire.Sink) error {
	if err := s.Reply(wire.Reply{Status: 200}); err != nil {
		return pass(err)
	}
	if bytes.Contains(x.Body, []byte(reservedID)) {
		return pass(s.Message(wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":` + reservedID + `,"result":{"tools":[{"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},{"name":"wipe","inputSchema":{"type":"object"}}]}}`)}))
	}
	w.mu.Lock()
	w.calls = append(w.calls, x)
	w.mu.Unlock()
	return pass(s.Message(wire.Event{Data: []byte(answered)}))
}

// pass is what an upstream makes of a sink's error.
func pass(err error) error {
	if errors.Is(err, wire.ErrDone) {
		return nil
	}
	return err
}

func message(body string) *Call {
	return &Call{Body: Body{Reader: strings.NewReader(body), Size: int64(len(body))}, Head: Head{Authorization: identity.NewSecrets("Bearer token-of-alice")}}
}

func callOf(tool string) *Call {
	return message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{}}}`)
}

func (w *world) handle(c *Call) *kept { return w.handleIn(context.Background(), c) }

func (w *world) handleIn(ctx context.Context, c *Call) *kept {
	k := &kept{}
	w.pipe.Handle(ctx, c, k)
	watchFor(c)
	return k
}

// outcomes are the outcome records so far.
func (w *world) outcomes() []audit.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.records), func(e audit.Event) bool { return e.Phase != audit.PhaseOutcome })
}

func (w *world) touched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// The zero value of an outcome, and any that nobody knows, is a failure of ours.
func TestZeroOutcomeIsNoSuccess(t *testing.T) {
	w := newWorld(t, nil)
	for _, outcome := range []Outcome{Undecided, Failed, 99} {
		for _, verb := range []wire.Verb{wire.Send, wire.End} {
			c := message("")
			c.begin(w.pipe.opts.Now(), &kept{})
			c.Outcome, c.Verb, c.result = outcome, verb, []byte(answered)
			a := w.pipe.answer(c)
			if a.Status != 500 || a.Code != CodeFailed || a.Outcome == Allowed || bytes.Contains(a.Body, []byte("done")) {
				t.Errorf("outcome %v, verb %v: %+v %s", outcome, verb, a, a.Body)
			}
		}
	}
	if (Outcome(99)).String() != "undecided" || (Outcome)(0).String() != "undecided" {
		t.Error("an unknown outcome has the name of another")
	}
	// A call that no stage decided is recorded as a failure, and answered as one.
	c, k := message(""), &kept{}
	c.begin(w.pipe.opts.Now(), k)
	c.result = []byte(answered)
	w.pipe.finish(c, k)
	if got := w.outcomes(); len(got) != 1 || got[0].Outcome != "failed" || k.answer.Status != 500 {
		t.Errorf("%+v, %+v", got, k.answer)
	}
}

// A panic anywhere fails its message only: it is answered, recorded, and the next
// message passes.
func TestPanicFailsItsMessageOnly(t *testing.T) {
	fault := func() { panic("a fault") }
	for _, row := range []struct {
		name   string
		change func(o *Options, on func() bool)
		code   int
	}{
		{"authenticator", func(o *Options, on func() bool) {
			next := o.Authenticator
			o.Authenticator = authenticatorFunc(func(s identity.Secret) (identity.Principal, error) {
				if on() {
					fault()
				}
				return next.Authenticate(context.Background(), s)
			})
		}, CodeFailed},
		{"authorizer", func(o *Options, on func() bool) {
			o.Policy = always(authorizerFunc(func(string, policy.Permission) policy.Decision {
				if on() {
					fault()
				}
				return policy.Decision{Allowed: true}
			}))
		}, CodeFailed},
		{"input guard", func(o *Options, on func() bool) {
			o.Input = []guards.Input{inputFunc(func(*guards.Call) guards.Decision {
				if on() {
					fault()
				}
				return guards.Decision{}
			})}
		}, CodeFailed},
		{"output guard", func(o *Options, on func() bool) {
			o.Output = []guards.Output{outputFuncs{find: func(guards.Text) []guards.Finding {
				if on() {
					fault()
				}
				return nil
			}}}
		}, CodeFailed},
		{"change of an output guard", func(o *Options, on func() bool) {
			o.Output = []guards.Output{outputFuncs{change: func(t guards.Text) string {
				if on() {
					fault()
				}
				return t.Value
			}}}
		}, CodeFailed},
		{"upstream", func(o *Options, on func() bool) {
			next := o.Upstream
			o.Upstream = upstreamFunc(func(ctx context.Context, x wire.Exchange, s wire.Sink) error {
				if on() {
					fault()
				}
				return next.Do(ctx, x, s)
			})
		}, CodeFailed},
		{"recorder", func(o *Options, on func() bool) {
			next := o.Recorder
			o.Recorder = recorderFunc(func(e audit.Event) error {
				if on() {
					fault()
				}
				return next.Record(e)
			})
		}, CodeUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			failing := true
			w := newWorld(t, func(o *Options) { row.change(o, func() bool { return failing }) })
			k := w.handle(callOf("read"))
			if k.answer == nil || k.answer.Code != row.code || !bytes.HasPrefix(k.answer.Body, []byte(`{"jsonrpc":"2.0","id":1,"error":{`)) || bytes.Contains(k.answer.Body, []byte("a fault")) {
				t.Fatalf("%+v", k.answer)
			}
			if got := w.outcomes(); row.code == CodeFailed && (len(got) != 1 || got[0].Outcome != "failed" || strings.Contains(got[0].Error, "a fault")) {
				t.Errorf("%+v", got)
			}
			failing = false
			if k := w.handle(callOf("read")); k.answer.Outcome != Allowed || string(k.answer.Body) != answered {
				t.Errorf("the next message: %+v", k.answer)
			}
			if len(w.pipe.quota.calls) != 0 || w.pipe.calls.n != 0 {
				t.Errorf("held: %v, %d", w.pipe.quota.calls, w.pipe.calls.n)
			}
		})
	}
}

// A listing that panics wakes those who wait for it.
func TestPanicWhileListing(t *testing.T) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	w := newWorld(t, func(o *Options) {
		next := o.Upstream
		o.Upstream = upstreamFunc(func(ctx context.Context, x wire.Exchange, s wire.Sink) error {
			if bytes.Contains(x.Body, []byte(reservedID)) {
				once.Do(func() {
					entered <- struct{}{}
					<-release
					panic("a fault")
				})
			}
			return next.Do(ctx, x, s)
		})
	})
	done := make(chan *kept, 2)
	go func() { done <- w.handle(callOf("read")) }()
	<-entered
	go func() { done <- w.handle(callOf("read")) }()
	close(release)
	codes := []int{(<-done).answer.Code, (<-done).answer.Code}
	slices.Sort(codes)
	if !slices.Equal(codes, []int{0, CodeFailed}) {
		t.Errorf("codes %v", codes)
	}
}

// An error that is no Rejection says nothing to the client.
func TestUnknownErrorsAreFailures(t *testing.T) {
	secret := errors.New("postgres://docs:n4ive@db")
	for name, change := range map[string]func(*Options){
		"authenticator": func(o *Options) {
			o.Authenticator = authenticatorFunc(func(identity.Secret) (identity.Principal, error) { return identity.Principal{}, secret })
		},
		"recorder": func(o *Options) { o.Recorder = recorderFunc(func(audit.Event) error { return secret }) },
		"upstream": func(o *Options) {
			o.Upstream = upstreamFunc(func(context.Context, wire.Exchange, wire.Sink) error { return secret })
		},
	} {
		w := newWorld(t, change)
		k := w.handle(callOf("read"))
		if k.answer.Outcome == Allowed || k.answer.Status < 500 || bytes.Contains(k.answer.Body, []byte("n4ive")) {
			t.Errorf("%s: %+v %s", name, k.answer, k.answer.Body)
		}
	}
}

// What an authorizer does not allow, whatever else it says, is denied; so is what
// a guard blocks.
func TestDeniedByDefault(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"zero decision": func(o *Options) {
			o.Policy = always(authorizerFunc(func(string, policy.Permission) policy.Decision { return policy.Decision{Rule: "a rule"} }))
		},
		"empty block": func(o *Options) {
			o.Input = []guards.Input{inputFunc(func(*guards.Call) guards.Decision { return guards.Decision{Block: &guards.Block{}} })}
		},
		"zero engine": func(o *Options) { o.Policy = always(&policy.Engine{}) },
		"mode not given": func(o *Options) {
			o.Modes = map[string]guards.Mode{"other": guards.Off}
			o.Input = []guards.Input{inputFunc(block)}
		},
		"mode of the tool": func(o *Options) {
			o.Modes, o.Input = map[string]guards.Mode{"input": guards.Off}, []guards.Input{inputFunc(block)}
			o.Rules = map[string]ToolRule{"read": {Guards: map[string]guards.Mode{"input": guards.Enforce}}}
		},
	} {
		w := newWorld(t, change)
		if k := w.handle(callOf("read")); k.answer.Outcome == Allowed || w.touched() != 0 {
			t.Errorf("%s: %+v, upstream reached %d times", name, k.answer, w.touched())
		}
	}
	for name, change := range map[string]func(*Options){
		"off": func(o *Options) {
			o.Modes, o.Input = map[string]guards.Mode{"input": guards.Off}, []guards.Input{inputFunc(block)}
		},
		"observe": func(o *Options) {
			o.Modes, o.Input = map[string]guards.Mode{"input": guards.Observe}, []guards.Input{inputFunc(block)}
		},
	} {
		w := newWorld(t, change)
		if k := w.handle(callOf("read")); k.answer.Outcome != Allowed || w.touched() != 1 {
			t.Errorf("%s: %+v", name, k.answer)
		}
	}
}

func block(*guards.Call) guards.Decision {
	return guards.Decision{Block: &guards.Block{Rule: "r", Public: "blocked"}, Edits: []guards.Edit{{Name: "x", Value: "y"}}}
}

// The first guard that blocks decides; edits of an observing guard are dropped.
func TestEditsOfGuards(t *testing.T) {
	edit := func(name, value string) guards.Input {
		return inputFunc(func(*guards.Call) guards.Decision {
			return guards.Decision{Edits: []guards.Edit{{Name: name, Value: value}}}
		})
	}
	w := newWorld(t, func(o *Options) { o.Input = []guards.Input{edit("a", "1"), edit("b", "2")} })
	w.handle(callOf("read"))
	if got := string(w.calls[0].Body); !strings.Contains(got, `"arguments":{"a":"1","b":"2"}`) {
		t.Errorf("%s", got)
	}
	w = newWorld(t, func(o *Options) {
		o.Input, o.Modes = []guards.Input{edit("a", "1")}, map[string]guards.Mode{"input": guards.Observe}
	})
	w.handle(callOf("read"))
	if got := string(w.calls[0].Body); !strings.Contains(got, `"arguments":{}`) {
		t.Errorf("an observing guard changed the call: %s", got)
	}
}

// An upstream's message that comes in by itself runs the same list, and reaches
// neither client nor upstream.
func TestUpstreamStartedMessage(t *testing.T) {
	w := newWorld(t, nil)
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"roots/list"}`,
	} {
		m, err := wire.Scan([]byte(body), wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		k := w.handle(&Call{Dir: FromUpstream, Msg: m, Principal: identity.Principal{Subject: "alice"}})
		if k.answer.Code != wire.CodeMethodNotFound || w.touched() != 0 {
			t.Errorf("%s: %+v", body, k.answer)
		}
	}
	// Were the table to admit one, there would be no session to answer in.
	if err := w.pipe.execute(context.Background(), &Call{Dir: FromUpstream, Msg: &wire.Message{Kind: wire.Request, ID: wire.Absent}}); err == nil {
		t.Error("a message of the upstream's was executed")
	}
}

// The table admits nothing in a direction or kind that it does not name.
func TestMethodTable(t *testing.T) {
	p := &Pipeline{}
	for key, m := range methods {
		if !m.legacy && !m.modern {
			t.Errorf("%v exists in no era", key)
		}
		for _, dir := range []Direction{FromClient, FromUpstream} {
			for _, kind := range []wire.Kind{wire.None, wire.Request, wire.Notification, wire.Response} {
				for _, era := range []Era{Legacy, Modern} {
					row := methods[methodKey{dir, kind, key.name}]
					want := row != nil && (era == Legacy && row.legacy || era == Modern && row.modern)
					if got := p.lookup(dir, kind, key.name, era) != nil; got != want {
						t.Errorf("%v %v %s in era %d: %v, want %v", dir, kind, key.name, era, got, want)
					}
				}
			}
		}
	}
	if p.lookup(FromClient, wire.Request, "", Legacy) != nil {
		t.Error("an empty method was found")
	}
}

// FuzzHandle: whatever the bytes, one record is written and one answer is given
// that is JSON-RPC; a stranger reaches nothing; what is forwarded is what came.
func FuzzHandle(f *testing.F) {
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"a":[1.0,{"b":"\u0061"}]}}}`,
		`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"wipe"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		`[]`, `{`, `null`, "\ufeff{}", `{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1e400,"method":"ping"}`,
	} {
		f.Add([]byte(body), false, "")
		f.Add([]byte(body), true, "2025-11-25")
	}
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`), true, "2026-07-28")
	f.Fuzz(func(t *testing.T, body []byte, known bool, version string) {
		w := newWorld(t, func(o *Options) {
			if !known {
				o.Authenticator = authenticatorFunc(func(identity.Secret) (identity.Principal, error) { return identity.Principal{}, identity.ErrInvalid })
			}
		})
		c := message(string(body))
		c.Head.Version = Header{Value: version, Present: version != ""}
		k := w.handle(c)
		if n := len(w.outcomes()); n != 1 {
			t.Fatalf("%d outcome records", n)
		}
		if !known && w.touched() != 0 {
			t.Fatalf("a stranger reached the upstream with %q", body)
		}
		for _, x := range w.calls {
			if !bytes.Equal(x.Body, body) {
				t.Fatalf("%q was forwarded as %q", body, x.Body)
			}
			if _, err := wire.Scan(x.Body, wire.Limits{}); err != nil {
				t.Fatalf("%q was forwarded: %v", body, err)
			}
		}
		var m map[string]json.RawMessage
		if k.answer.Body != nil && (json.Unmarshal(k.answer.Body, &m) != nil || string(m["jsonrpc"]) != `"2.0"` || (m["result"] == nil) == (m["error"] == nil)) {
			t.Fatalf("%q was answered with %q", body, k.answer.Body)
		}
		if (k.answer.Outcome == Allowed) != (w.outcomes()[0].Outcome == "allowed") {
			t.Fatalf("answer %v, record %v", k.answer.Outcome, w.outcomes()[0].Outcome)
		}
	})
}

// Sessions are counted exactly, whatever happens to them.
func TestSessionsAreCounted(t *testing.T) {
	now := newWorld(t, nil).pipe.opts.Now
	s := newSessions(2, now)
	for _, want := range []bool{true, true, false} {
		if s.reserve("a") != want {
			t.Fatal("not two places each")
		}
	}
	if !s.reserve("b") {
		t.Fatal("b has no place of its own")
	}
	s.unreserve("b")
	one, two := s.open(&Session{owner: "a", Upstream: "up-1"}), s.open(&Session{owner: "a", Upstream: "up-2"})
	if one.ID == two.ID || len(one.ID) < 26 {
		t.Errorf("ids %q and %q", one.ID, two.ID)
	}
	s.end(one)
	s.end(one) // forgotten already
	if !s.reserve("a") || s.reserve("a") {
		t.Error("ending a session twice gave two places back")
	}
	s.unreserve("a")
	s.end(two)
	if len(s.count) != 0 || len(s.byID) != 0 {
		t.Errorf("left: %v %v", s.count, s.byID)
	}
	if found, _, _ := s.find("", "", "", false); found != nil {
		t.Error("the empty id is a session")
	}
}

// A session whose opening is refused after all does not stay open at the upstream.
func TestRefusedSessionEnds(t *testing.T) {
	const greeting = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`
	opens := func(w *world, answer string, ended chan<- wire.Exchange) {
		w.pipe.opts.Upstream = watched{upstreamFunc(func(_ context.Context, x wire.Exchange, s wire.Sink) error {
			if x.Verb == wire.End {
				ended <- x
				return nil
			}
			if err := s.Reply(wire.Reply{Status: 200, Session: "up-1"}); err != nil {
				return err
			}
			return pass(s.Message(wire.Event{Data: []byte(answer)}))
		})}
	}
	for name, row := range map[string]struct {
		answer   string
		recorder error
		ends     int
	}{
		"it is open":          {`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}`, nil, 0},
		"it was not recorded": {`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}`, errors.New("disk full"), 1},
		"the answer is none":  {`{"jsonrpc":"2.0","id":2,"result":{}}`, nil, 1},
		"both":                {`{"jsonrpc":"2.0","id":2,"result":{}}`, errors.New("disk full"), 1},
	} {
		w := newWorld(t, func(o *Options) { o.Recorder = recorderFunc(func(audit.Event) error { return row.recorder }) })
		ended := make(chan wire.Exchange, 2)
		opens(w, row.answer, ended)
		if k := w.handle(message(greeting)); (k.answer.Outcome == Allowed) != (row.ends == 0) {
			t.Errorf("%s: %+v", name, k.answer)
		}
		w.pipe.Close()
		if len(ended) != row.ends {
			t.Errorf("%s: it was ended %d times, want %d", name, len(ended), row.ends)
		}
		close(ended)
		for x := range ended {
			if x.Session != "up-1" {
				t.Errorf("%s: %+v", name, x)
			}
		}
	}
}

// A modern client that leaves cancels its call; before 2026-07-28 the call goes on.
func TestClientLeaves(t *testing.T) {
	for _, row := range []struct {
		name      string
		head      Header
		params    string
		cancelled bool
	}{
		{"legacy", Header{}, `{"name":"read"}`, false},
		{"modern", Header{Value: revisionModern, Present: true}, `{"name":"read","_meta":{"` + metaVersion + `":"` + revisionModern + `"}}`, true},
	} {
		ctx, leave := context.WithCancel(context.Background())
		var after error
		w := newWorld(t, nil)
		next := w.opts.Upstream
		w.pipe.opts.Upstream = watched{upstreamFunc(func(ctx context.Context, x wire.Exchange, s wire.Sink) error {
			if bytes.Contains(x.Body, []byte(reservedID)) {
				return next.Do(ctx, x, s)
			}
			leave()
			if after = ctx.Err(); after != nil {
				return after
			}
			return next.Do(ctx, x, s)
		})}
		c := message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + row.params + `}`)
		c.Head.Version = row.head
		c.Head.Method, c.Head.Name = Header{Value: "tools/call", Present: true}, Header{Value: "read", Present: true}
		k := w.handleIn(ctx, c)
		if (after != nil) != row.cancelled || (k.answer.Outcome == Allowed) == row.cancelled {
			t.Errorf("%s: %v, %+v", row.name, after, k.answer)
		}
		leave()
	}
}
