package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// fakeServer is a server made of a function. It records what it is asked.
type fakeServer struct {
	name string
	do   func(ctx context.Context, x wire.Exchange, sink wire.Sink) error

	mu   sync.Mutex
	seen []wire.Exchange
}

func (f *fakeServer) Do(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
	f.mu.Lock()
	f.seen = append(f.seen, x)
	do := f.do
	f.mu.Unlock()
	return do(ctx, x, sink)
}

func (f *fakeServer) asked() []wire.Exchange {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]wire.Exchange(nil), f.seen...)
}

// bodies are the messages that f got, without the ends of sessions.
func (f *fakeServer) bodies() []string {
	var all []string
	for _, x := range f.asked() {
		if x.Verb == wire.Send {
			all = append(all, string(x.Body))
		}
	}
	return all
}

// idIn is the id of a message as it is written there.
func idIn(body []byte) string {
	m, err := wire.Scan(body, wire.Limits{})
	if err != nil {
		panic(err)
	}
	return string(m.Value(m.ID))
}

func methodIn(body []byte) string {
	m, err := wire.Scan(body, wire.Limits{})
	if err != nil {
		panic(err)
	}
	return m.Method
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type answering = func(ctx context.Context, x wire.Exchange, sink wire.Sink) error

// says answers each request with body; $ID stands for the request's id.
func says(body string) answering { return saysIn("", body) }

// saysIn is says, with a session id.
func saysIn(session, body string) answering {
	return func(_ context.Context, x wire.Exchange, sink wire.Sink) error {
		if err := sink.Reply(wire.Reply{Status: 200, Session: session}); err != nil || x.Verb != wire.Send || !x.Call {
			return done(err)
		}
		return done(sink.Message(wire.Event{Data: []byte(strings.ReplaceAll(body, "$ID", idIn(x.Body)))}))
	}
}

// results answers each request with a result; members without braces.
func results(members string) answering {
	return says(`{"jsonrpc":"2.0","id":$ID,"result":{` + members + `}}`)
}

// refuses answers each request with an error.
func refuses(status, code int) answering {
	return func(_ context.Context, x wire.Exchange, sink wire.Sink) error {
		if err := sink.Reply(wire.Reply{Status: status}); err != nil {
			return done(err)
		}
		return done(sink.Message(wire.Event{Data: fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"refused"}}`, idIn(x.Body), code)}))
	}
}

// status answers with a status and nothing else.
func status(code int) answering {
	return func(_ context.Context, _ wire.Exchange, sink wire.Sink) error {
		return done(sink.Reply(wire.Reply{Status: code}))
	}
}

var errDown = fmt.Errorf("%w: connection refused", backend.ErrTransport)

// down is a server that cannot be reached.
func down(context.Context, wire.Exchange, wire.Sink) error { return errDown }

// hangs never answers.
func hangs(ctx context.Context, _ wire.Exchange, _ wire.Sink) error {
	<-ctx.Done()
	return ctx.Err()
}

// byMethod answers by the message's method.
func byMethod(m map[string]answering) answering {
	return func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
		f, ok := m[methodIn(x.Body)]
		if !ok {
			f = refuses(200, wire.CodeMethodNotFound)
		}
		return f(ctx, x, sink)
	}
}

// trapped fails the test when it is touched.
func trapped(t testing.TB) answering {
	return func(_ context.Context, x wire.Exchange, _ wire.Sink) error {
		t.Errorf("the server was touched: verb %d %s", x.Verb, x.Body)
		return errors.New("touched")
	}
}

// table is what a merged rig is made of.
type table struct {
	*Servers
	t    testing.TB
	docs *fakeServer
	fs   *fakeServer
	log  *bytes.Buffer
	now  time.Time
}

// merge puts docs and fs together.
func merge(t testing.TB, docs, fs answering, change ...func(*Options)) *table {
	t.Helper()
	g := &table{t: t, docs: &fakeServer{name: "docs", do: docs}, fs: &fakeServer{name: "fs", do: fs}, log: &bytes.Buffer{}, now: time.Unix(1_800_000_000, 0)}
	var logMu sync.Mutex
	o := Options{
		Members:   []Member{{Name: "fs", Upstream: g.fs}, {Name: "docs", Upstream: g.docs}},
		Revisions: []string{"2025-11-25", "2025-06-18", "2025-03-26"},
		Redact:    func(s string) string { return s },
		Log:       slog.New(slog.NewTextHandler(&lockedWriter{mu: &logMu, w: g.log}, nil)),
		Now:       func() time.Time { return g.now },
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	if g.Servers, err = New(o); err != nil {
		t.Fatal(err)
	}
	return g
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// heard is what a client reads.
type heard struct {
	reply    *wire.Reply
	messages []wire.Event
	last     string // the newest message
	stop     func(ev wire.Event) error
}

func (h *heard) Reply(r wire.Reply) error {
	if h.reply != nil {
		panic("Reply is called twice")
	}
	h.reply = &r
	if r.Status == 204 {
		return wire.ErrDone // as after the end of a session
	}
	return nil
}

func (h *heard) Message(ev wire.Event) error {
	if h.reply == nil {
		panic("a message before Reply")
	}
	ev.Data = bytes.Clone(ev.Data)
	h.messages = append(h.messages, ev)
	h.last = string(ev.Data)
	if h.stop != nil {
		return h.stop(ev)
	}
	if m, err := wire.Scan(ev.Data, wire.Limits{}); err == nil && m.Kind == wire.Response {
		return wire.ErrDone
	}
	return nil
}

// send sends a message of 2025-11-25 and returns what the client reads.
func (g *table) send(x wire.Exchange) (*heard, error) {
	g.t.Helper()
	h := &heard{}
	err := g.Do(g.t.Context(), x, h)
	return h, err
}

func (g *table) must(x wire.Exchange) *heard {
	g.t.Helper()
	h, err := g.send(x)
	if err != nil || h.reply == nil {
		g.t.Fatalf("%s: %v", x.Body, err)
	}
	return h
}

// asking is a request; params are members without braces.
func asking(id, method, params string) wire.Exchange {
	return wire.Exchange{Body: []byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `}}`), Call: true, Version: "2025-11-25", Owner: "alice"}
}

// askingModern is a request of 2026-07-28.
func askingModern(id, method, params string) wire.Exchange {
	x := asking(id, method, params)
	x.Version, x.Method = "2026-07-28", method
	return x
}

func to(server string, x wire.Exchange) wire.Exchange { x.Server = server; return x }

func in(session string, x wire.Exchange) wire.Exchange { x.Session = session; return x }

// bothOpen is the session id of two servers that gave theirs.
var bothOpen = joined(map[string]string{"docs": "d-1", "fs": "f-1"})
