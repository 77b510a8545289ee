// Package merge makes several servers look like one. Build [Servers] with [New]
// over the ways to the servers, and put one pipeline in front of them.
//
// Names of tools, prompts and tasks carry their server's name in front
// ("docs.read_document"); resources keep their URIs and belong to the server that
// lists them. What could be taken for another server's is left out.
//
// Nothing is kept of a session: what has to be remembered between two messages of
// a client (which servers take part, and their session ids) is the session id that
// is given out, and ids that servers chose travel to the client with their server's
// name in front. Everything else passes as the bytes it came in.
//
// Nothing is decided here. Which server a message is for is what [wire.Exchange]
// says, and the pipeline in front has decided about that very server.
package merge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// Servers are several servers that look like one. They are safe for concurrent use.
type Servers struct {
	opts    Options
	members []*member // by name
	flights flights
	indexes indexes
	own     atomic.Int64 // numbers the requests of its own
	reports reports
	life    context.Context
	stop    context.CancelFunc
}

// Member is one of the servers.
type Member struct {
	Name     string // as in the configuration: letters, digits, - and _
	Upstream exchanger
	// PerCaller says that the server is shown a credential of each caller, so that it
	// may offer something else to each.
	PerCaller bool
}

// exchanger carries an exchange to a server.
type exchanger interface {
	Do(ctx context.Context, x wire.Exchange, sink wire.Sink) error
}

// Options configure Servers.
type Options struct {
	Members   []Member
	Revisions []string    // of initialize, as far as they are served
	Answer    wire.Limits // of one message
	MaxResult int         // bytes of one message; 0 means 16 MiB
	Entries   int         // of one server in one list; 0 means 1024
	EntrySize int         // bytes of one of them; 0 means 64 KiB
	// LookAlike gives names that a reader could take for one another the same
	// value.
	LookAlike func(name string) string
	// Redact removes secrets from a text for logs. Nil withholds the text.
	Redact func(string) string
	Log    *slog.Logger
	// Now is the clock. Nil means the system's.
	Now func() time.Time
	// Pause waits before a stream that broke off is opened again. Nil means a
	// timer.
	Pause func(ctx context.Context, d time.Duration)
}

// Time that servers are given when all of them are asked: one that hangs must not
// take the others along.
const (
	openTime = 30 * time.Second // a child may have to be installed first
	listTime = 8 * time.Second
	endTime  = 5 * time.Second
)

// member is a server and what was last said about it.
type member struct {
	Member
	absent atomic.Pointer[string] // why it takes no part; nil when it does
}

// New puts servers together. Their names must differ in more than case and
// look-alike characters.
func New(o Options) (*Servers, error) {
	g := &Servers{opts: o.withDefaults()}
	seen := map[string]string{}
	for _, m := range o.Members {
		if m.Name == "" || strings.ContainsAny(m.Name, ".:=; ") {
			return nil, fmt.Errorf("%q cannot be the name of a server among others", m.Name)
		}
		folded := g.opts.LookAlike(m.Name)
		if other, taken := seen[folded]; taken {
			return nil, fmt.Errorf("the servers %q and %q have names that look alike", other, m.Name)
		}
		seen[folded] = m.Name
		g.members = append(g.members, &member{Member: m})
		g.indexes.perCaller = g.indexes.perCaller || m.PerCaller
	}
	slices.SortFunc(g.members, func(a, b *member) int { return strings.Compare(a.Name, b.Name) })
	g.life, g.stop = context.WithCancel(context.Background())
	return g, nil
}

func (o Options) withDefaults() Options {
	if o.MaxResult == 0 {
		o.MaxResult = 16 << 20
	}
	if o.Entries == 0 {
		o.Entries = 1024
	}
	if o.EntrySize == 0 {
		o.EntrySize = 64 << 10
	}
	if o.LookAlike == nil {
		o.LookAlike = strings.ToLower
	}
	if o.Redact == nil {
		o.Redact = func(string) string { return "[withheld]" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	return o
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Ready says whether any of the servers answers; each answers for itself
// elsewhere.
func (g *Servers) Ready(ctx context.Context) error {
	var errs []error
	for _, m := range g.members {
		up, ok := m.Upstream.(interface{ Ready(context.Context) error })
		if !ok {
			return nil
		}
		err := up.Ready(ctx)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
	}
	return errors.Join(errs...)
}

// Close ends what nobody waits for. The servers themselves belong to whoever made
// them.
func (g *Servers) Close() error {
	g.stop()
	return nil
}

// carriage is one exchange on its way to servers.
type carriage struct {
	g     *Servers
	x     wire.Exchange
	msg   *wire.Message // nil unless the exchange carries one
	parts []part        // the servers that take part in the session
	at    []part        // those that work on it; see flights
	left  bool          // the client has gone: a server that did not answer may be well
	out   *funnel
}

// modern says whether the exchange follows a revision without sessions.
func (c *carriage) modern() bool { return c.x.Method != "" }

// Do carries x to the servers that it is for.
func (g *Servers) Do(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // also when the sink panics: nothing else would end what is still asked
	c := &carriage{g: g, x: x, parts: g.participants(x.Session), out: newFunnel(sink)}
	switch x.Verb {
	case wire.End:
		return c.end(ctx)
	case wire.Watch:
		return c.watch(ctx)
	}
	var err error
	// Its limits are those of the client's side, which have been checked there.
	if c.msg, err = wire.Scan(x.Body, wire.Limits{Depth: maxScan, Keys: maxScan, Values: maxScan}); err != nil {
		return fmt.Errorf("merged: %w", err)
	}
	switch c.msg.Kind {
	case wire.Response:
		return c.respond(ctx)
	case wire.Notification:
		return c.notify(ctx)
	}
	defer g.flights.add(c)()
	return c.request(ctx)
}

// maxScan is above every configured limit.
const maxScan = 1 << 30

// request carries a request to one server, or to all of them.
func (c *carriage) request(ctx context.Context) error {
	switch method := c.msg.Method; method {
	case "initialize":
		return c.open(ctx)
	case "server/discover":
		return c.discover(ctx)
	case "ping", "logging/setLevel":
		return c.broadcast(ctx)
	case "subscriptions/listen":
		return c.listen(ctx)
	case "tools/call", "prompts/get", "completion/complete", "resources/read", "resources/subscribe", "resources/unsubscribe":
		return c.one(ctx, c.x.Server)
	case "tasks/get", "tasks/result", "tasks/update", "tasks/cancel":
		server, _ := c.g.split(c.text("taskId"))
		return c.one(ctx, server)
	default:
		if l, ok := listings[method]; ok {
			return c.list(ctx, l)
		}
		return c.refuse(wire.CodeMethodNotFound, "method not found")
	}
}

// text is a string among the message's parameters.
func (c *carriage) text(name string) string { return c.msg.Text(c.msg.Member(c.msg.Params, name)) }

// refuse answers a request that no server is asked.
func (c *carriage) refuse(code int, text string) error {
	status := 200
	if c.modern() {
		status = 400
		if code == wire.CodeMethodNotFound {
			status = 404
		}
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), c.msg.Value(c.msg.ID)...)
	b = fmt.Appendf(b, `,"error":{"code":%d,"message":%s}}`, code, wire.Quote(nil, text))
	return c.out.answer(wire.Reply{Status: status}, b)
}

// one carries the request to the server called name, whose answer passes.
func (c *carriage) one(ctx context.Context, name string) error {
	p, ok := c.part(name)
	switch {
	case ok:
	case c.g.member(name) == nil:
		return c.refuse(wire.CodeInvalidParams, "no server offers this")
	default:
		return fmt.Errorf("%w: %s takes no part in this session: it could not be opened there", backend.ErrTransport, name)
	}
	x, err := c.forward(p)
	if err != nil {
		return err
	}
	return c.pass(ctx, p, x)
}

// ended names the server in an error of the way to it.
func (g *Servers) ended(p part, err error) error {
	if err == nil || errors.Is(err, wire.ErrDone) {
		return nil
	}
	return fmt.Errorf("%s: %w", p.Name, err)
}

// member finds a server by name, or nil.
func (g *Servers) member(name string) *member {
	for _, m := range g.members {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Split tells of which server a tool, prompt, task, resource or resource template
// is, and what it is called there; two empty strings when that is not certain. It
// knows the resources that servers have listed, to owner where that differs: see
// [Servers.Locate].
func (g *Servers) Split(owner, target string) (server, name string) {
	if server, name = g.split(target); server != "" && toolName.MatchString(target) {
		return server, name
	}
	if server = g.indexes.at(owner).owner(target); server != "" {
		return server, target
	}
	return "", ""
}

// split takes the server's name off.
func (g *Servers) split(target string) (server, name string) {
	server, name, ok := strings.Cut(target, ".")
	if !ok || name == "" || g.member(server) == nil {
		return "", ""
	}
	return server, name
}

// prefixed is a name as clients know it.
func prefixed(server, name string) string { return server + "." + name }

// note says once that a server takes no part, and once that it does again.
func (g *Servers) note(m *member, cause error) {
	if cause == nil {
		if m.absent.Swap(nil) != nil {
			g.opts.Log.Info("a merged server takes part again", "server", m.Name)
		}
		return
	}
	text := cause.Error()
	if old := m.absent.Swap(&text); old == nil || *old != text {
		g.opts.Log.Warn("a merged server takes no part; what it offers is left out", "server", m.Name, "cause", g.opts.Redact(text))
	}
}

// reports remembers what was said, so that it is said once.
type reports struct {
	mu   sync.Mutex
	said map[string]bool
}

// maxReports bounds what is remembered: servers choose the names.
const maxReports = 4096

// first says whether text was not said before.
func (r *reports) first(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said[text] || len(r.said) >= maxReports {
		return false
	}
	if r.said == nil {
		r.said = map[string]bool{}
	}
	r.said[text] = true
	return true
}
