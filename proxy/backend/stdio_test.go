package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/proxy/wire"
)

func TestNewStdio(t *testing.T) {
	for name, o := range map[string]StdioOptions{
		"no command": {}, "an empty one": {Command: []string{""}},
		"NUL in the command": {Command: []string{"a\x00b"}}, "NUL in the environment": {Command: []string{"a"}, Env: []string{"A=\x00"}},
	} {
		if _, err := NewStdio(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	s, err := NewStdio(StdioOptions{Command: []string{"a"}})
	if err != nil || s.opts.MaxResult != 16<<20 || s.opts.IdleTimeout != 5*time.Minute || s.opts.MaxChildren != 64 {
		t.Errorf("%+v, %v", s.opts, err)
	}
}

// What the child reads and what the client reads, message by message.
func TestStdioRenames(t *testing.T) {
	const token = `"_meta":{"progressToken":`
	for _, row := range []struct {
		name, body string
		child      string // how the child reads it, $ standing for the new id
		say        string // what the child answers
		client     string // how the client reads that
	}{
		{"number", `{"jsonrpc":"2.0","id":7,"method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,"method":"say","params":{`,
			`{"jsonrpc":"2.0","id":$ID,"result":{}}`, `{"jsonrpc":"2.0","id":7,"result":{}}`},
		{"string with escapes", `{"jsonrpc":"2.0","id":"\u0041\/","method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,"method":"say","params":{`,
			`{"jsonrpc":"2.0","id":$ID,"result":{}}`, `{"jsonrpc":"2.0","id":"\u0041\/","result":{}}`},
		{"beyond 2^53", `{"jsonrpc":"2.0","id":9007199254740993,"method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,"method":"say","params":{`,
			`{"jsonrpc":"2.0","id":$ID,"result":{"n":9007199254740993,"f":1.0}}`, `{"jsonrpc":"2.0","id":9007199254740993,"result":{"n":9007199254740993,"f":1.0}}`},
		{"fraction", `{"jsonrpc":"2.0","id":1.50,"method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,"method":"say","params":{`,
			`{"jsonrpc":"2.0","id":$ID,"result":{}}`, `{"jsonrpc":"2.0","id":1.50,"result":{}}`},
		{"spaces and unknown members", `{ "x" : [1 , 2], "id" :  "a" , "jsonrpc":"2.0","method":"say","params":{%s} }`, `{ "x" : [1 , 2], "id" :  $ , "jsonrpc":"2.0","method":"say","params":{`,
			`{ "result" : {"b":1 , "a":2} ,"jsonrpc":"2.0", "id" : $ID }`, `{ "result" : {"b":1 , "a":2} ,"jsonrpc":"2.0", "id" : "a" }`},
		{"line breaks between tokens", "{\"jsonrpc\":\"2.0\",\r\n\"id\":1,\n\t\"method\":\"say\",\"params\":{%s}}", "{\"jsonrpc\":\"2.0\",  \"id\":$, \t\"method\":\"say\",\"params\":{",
			"{\"jsonrpc\":\"2.0\",\r\"id\":$ID,\"result\":{}}", `{"jsonrpc":"2.0", "id":1,"result":{}}`},
		{"id spelled otherwise", `{"jsonrpc":"2.0","id":1,"method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,`,
			`{"jsonrpc":"2.0","id":$ID.0,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"error", `{"jsonrpc":"2.0","id":1,"method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,`,
			`{"jsonrpc":"2.0","id":$ID,"error":{"code":-1,"message":"m","data":{"d":[1.50]}}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":{"d":[1.50]}}}`},
		{"error that names no id", `{"jsonrpc":"2.0","id":1,"method":"say","params":{%s}}`, `{"jsonrpc":"2.0","id":$,`,
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32700,"message":"m"}}`},
		{"token", `{"jsonrpc":"2.0","id":1,"method":"say","params":{%s,` + token + `"t"}}}`, token + `$}`,
			`{"jsonrpc":"2.0","id":$ID,"result":{"_meta":{"progressToken":"t"}}}`, `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"progressToken":"t"}}}`},
		{"a subscription that is not theirs", `{"jsonrpc":"2.0","id":1,"method":"say","params":{"_meta":{"a":1,"io.modelcontextprotocol/subscriptionId":1},%s}}`, `"params":{"_meta":{"a":1},`,
			`{"jsonrpc":"2.0","id":$ID,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			// The first request takes an id, so that old and new ids differ.
			do(t, s, statelessly("a", request("1", "env", "")))
			sink := do(t, s, statelessly("a", fmt.Appendf(nil, row.body, lines(row.say))))
			if len(sink.events) != 1 || sink.events[0] != row.client || sink.reply.Stream {
				t.Errorf("the client read %q (%+v), want %s", sink.events, sink.reply, row.client)
			}
			if got, want := seen(t, s, "a")[1], strings.ReplaceAll(row.child, "$", "2"); !strings.Contains(got, want) {
				t.Errorf("the child read %s, want %s", got, want)
			}
		})
	}
}

// seen are the lines that owner's child has read.
func seen(t *testing.T, s *Stdio, owner string) []string {
	t.Helper()
	return lists(t, do(t, s, statelessly(owner, request("1", "seen", ""))))
}

// numberOf is what a child knows the request by that calls method.
func numberOf(seen []string, method string) string {
	for _, line := range seen {
		var c call
		if json.Unmarshal([]byte(line), &c) == nil && c.Method == method {
			return string(c.ID)
		}
	}
	return "none"
}

// lists reads a result that is a list of strings.
func lists(t *testing.T, sink *taker) []string {
	t.Helper()
	var answer struct{ Result []string }
	if err := json.Unmarshal([]byte(sink.events[len(sink.events)-1]), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Result
}

func TestStdioAnswers(t *testing.T) {
	const result = `{"jsonrpc":"2.0","id":$ID,"result":{}}`
	fail := func(code int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":$ID,"error":{"code":%d,"message":"m"}}`, code)
	}
	progress := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}`
	log := `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`
	for _, row := range []struct {
		name    string
		version string
		meta    string
		say     []string
		reply   wire.Reply
		events  int
		dropped uint64
		noise   uint64
	}{
		{name: "result", say: []string{result}, reply: wire.Reply{Status: 200}, events: 1},
		{name: "unknown method", say: []string{fail(-32601)}, reply: wire.Reply{Status: 404}, events: 1},
		{name: "bad params", say: []string{fail(-32602)}, reply: wire.Reply{Status: 400}, events: 1},
		{name: "header mismatch", say: []string{fail(-32020)}, reply: wire.Reply{Status: 400}, events: 1},
		{name: "capability", say: []string{fail(-32021)}, reply: wire.Reply{Status: 400}, events: 1},
		{name: "version", say: []string{fail(-32022)}, reply: wire.Reply{Status: 400}, events: 1},
		{name: "invalid request", say: []string{fail(-32600)}, reply: wire.Reply{Status: 400}, events: 1},
		{name: "parse error", say: []string{fail(-32700)}, reply: wire.Reply{Status: 400}, events: 1},
		{name: "another error", say: []string{fail(-32000)}, reply: wire.Reply{Status: 200}, events: 1},
		{name: "unknown method, before 2026-07-28", version: legacy, say: []string{fail(-32601)}, reply: wire.Reply{Status: 200}, events: 1},
		{name: "progress", meta: `"progressToken":"t"`, say: []string{progress, progress, result}, reply: wire.Reply{Status: 200, Stream: true}, events: 3},
		{name: "progress that was not asked for", say: []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$ID,"progress":1}}`, result}, reply: wire.Reply{Status: 200}, events: 1, dropped: 1},
		{name: "progress of somebody's", meta: `"progressToken":"t"`, say: []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`, result}, reply: wire.Reply{Status: 200}, events: 1, dropped: 1},
		{name: "progress, then an error", meta: `"progressToken":"t"`, say: []string{progress, fail(-32601)}, reply: wire.Reply{Status: 200, Stream: true}, events: 2},
		{name: "log that was asked for", meta: `"io.modelcontextprotocol/logLevel":"info"`, say: []string{log, result}, reply: wire.Reply{Status: 200, Stream: true}, events: 2},
		{name: "log that was not asked for", say: []string{log, result}, reply: wire.Reply{Status: 200}, events: 1, dropped: 1},
		{name: "log, before 2026-07-28", version: legacy, say: []string{log, result}, reply: wire.Reply{Status: 200, Stream: true}, events: 2},
		{name: "response twice", say: []string{result, result}, reply: wire.Reply{Status: 200}, events: 1, dropped: 1},
		{name: "response to nothing", say: []string{`{"jsonrpc":"2.0","id":4711,"result":{}}`, `{"jsonrpc":"2.0","id":"1","result":{}}`, result}, reply: wire.Reply{Status: 200}, events: 1, dropped: 2},
		{name: "a subscription of nobody's", say: []string{`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":$ID}}}`, result}, reply: wire.Reply{Status: 200}, events: 1, dropped: 1},
		{name: "noise", say: []string{"", "hello", "[1]", `"a"`, "\x1b[2J{", `{"level":"info"}`, result}, reply: wire.Reply{Status: 200}, events: 1, noise: 5},
		{name: "a log entry about the request", say: []string{`{"level":"error","id":$ID,"msg":"{\"result\":1}"}`, result}, reply: wire.Reply{Status: 200}, events: 1, noise: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			x := statelessly("a", request("1", "say", lines(row.say...)+`,"_meta":{`+row.meta+`}`))
			if row.version != "" {
				x.Version = row.version
			}
			sink := do(t, s, x)
			if sink.reply != row.reply || len(sink.events) != row.events {
				t.Errorf("%+v and %q, want %+v and %d", sink.reply, sink.events, row.reply, row.events)
			}
			for _, ev := range sink.events[:len(sink.events)-1] {
				if row.meta != "" && strings.Contains(ev, "progress") && !strings.Contains(ev, `"progressToken":"t"`) {
					t.Errorf("not the client's token: %s", ev)
				}
			}
			do(t, s, statelessly("a", request("1", "seen", ""))) // the child has said everything
			if got := s.Stats(); got.Dropped != row.dropped || got.Noise != row.noise {
				t.Errorf("%+v, want %d dropped and %d lines of noise", got, row.dropped, row.noise)
			}
		})
	}
}

// A sink's errors end the exchange, as over HTTP.
func TestStdioSink(t *testing.T) {
	stop := errors.New("enough")
	body := request("1", "say", lines(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN}}`, `{"jsonrpc":"2.0","id":$ID,"result":{}}`)+`,"_meta":{"progressToken":1}`)
	for _, row := range []struct {
		name   string
		sink   taker
		err    error
		events int
	}{
		{"takes all", taker{}, nil, 2},
		{"refuses the head", taker{onReply: stop}, stop, 0},
		{"has enough with the head", taker{onReply: wire.ErrDone}, nil, 0},
		{"refuses a message", taker{onEvent: stop}, stop, 1},
		{"has enough with one", taker{stopAt: 1}, nil, 1},
		{"has enough with all", taker{stopAt: 2}, nil, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			sink := row.sink
			if err := s.Do(t.Context(), statelessly("a", body), &sink); !errors.Is(err, row.err) || (err == nil) != (row.err == nil) || len(sink.events) != row.events {
				t.Errorf("%v after %d messages, want %v after %d", err, len(sink.events), row.err, row.events)
			}
			if p := s.parties[ownerKey("a")]; len(p.open) != 0 || len(p.child.open) != 0 || p.active != 0 {
				t.Error("the exchange is still known")
			}
		})
	}
}

func TestStdioSessions(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	a, b := open(t, s, "o"), open(t, s, "o")
	do(t, s, statelessly("o", request("1", "env", "")))
	if a == b || len(a) < 26 {
		t.Fatalf("session ids %q and %q", a, b)
	}
	pid := func(session string) string {
		for _, v := range lists(t, do(t, s, inSession(session, request(`"x"`, "env", "")))) {
			if strings.HasPrefix(v, "pid=") {
				return v
			}
		}
		return ""
	}
	if first := pid(a); first == pid(b) || first != pid(a) {
		t.Error("sessions do not have a child each")
	}
	if sink := do(t, s, inSession(a, notification("notifications/initialized", ""))); sink.reply != (wire.Reply{Status: 202}) || len(sink.events) != 0 {
		t.Errorf("notification: %+v", sink.reply)
	}
	if got := lists(t, do(t, s, inSession(a, request("1", "seen", "")))); !slices.Contains(got, `{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}`) {
		t.Errorf("the child has seen %q", got)
	}
	for name, x := range map[string]wire.Exchange{
		"request": inSession("nope", request("1", "env", "")), "notification": inSession("nope", notification("n", "")),
		"end": {Verb: wire.End, Session: "nope"}, "watch": {Verb: wire.Watch, Session: "nope"},
		"owner as a session": inSession("o", request("1", "env", "")),
	} {
		if sink := do(t, s, x); sink.reply.Status != 404 || len(sink.events) != 0 {
			t.Errorf("%s in an unknown session: %+v", name, sink.reply)
		}
	}
	if sink := do(t, s, wire.Exchange{Verb: wire.End, Session: a}); sink.reply.Status != 204 {
		t.Errorf("end: %+v", sink.reply)
	}
	if sink := do(t, s, inSession(a, request("1", "env", ""))); sink.reply.Status != 404 {
		t.Errorf("after the end: %+v", sink.reply)
	}
	pid(b) // is still there
}

// Without a session there is neither a standalone stream nor an end, and nobody's
// request is everybody's.
func TestStdioNobody(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	for name, x := range map[string]wire.Exchange{"watch": {Verb: wire.Watch, Owner: "a"}, "end": {Verb: wire.End, Owner: "a"}} {
		if sink := do(t, s, x); sink.reply.Status != 405 {
			t.Errorf("%s: %+v", name, sink.reply)
		}
	}
	if sink := do(t, s, wire.Exchange{Body: request("1", "initialize", ""), Session: "x", Owner: "a"}); sink.reply.Status != 400 {
		t.Errorf("initialize in a session: %+v", sink.reply)
	}
	if err := s.Do(t.Context(), wire.Exchange{Body: request("1", "env", "")}, &taker{}); !errors.Is(err, errNoOwner) {
		t.Errorf("nobody's request: %v", err)
	}
	if err := s.Do(t.Context(), wire.Exchange{Body: []byte("{"), Owner: "a"}, &taker{}); err == nil {
		t.Error("half a message was carried")
	}
	if n := s.Stats().Children; n != 0 {
		t.Errorf("%d children were started", n)
	}
}

// An initialize that is refused, or whose answer is, opens no session.
func TestStdioInitializeFails(t *testing.T) {
	stop := errors.New("blocked")
	for name, row := range map[string]struct {
		kind string
		sink taker
		err  error
	}{
		"the sink refuses":  {"server", taker{onEvent: stop}, stop},
		"the child dies":    {"dies", taker{}, ErrTransport},
		"closed output":     {"mute", taker{}, ErrTransport},
		"the child refuses": {"scripted", taker{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := children(t, row.kind, StdioOptions{})
			s.bounds.grace = 50 * time.Millisecond
			sink := row.sink
			err := s.Do(t.Context(), wire.Exchange{Body: request("1", "initialize", `"answer":"error"`), Owner: "a"}, &sink)
			if !errors.Is(err, row.err) {
				t.Errorf("%v, want %v", err, row.err)
			}
			if err == nil && sink.reply != (wire.Reply{Status: 200}) {
				t.Errorf("%+v", sink.reply)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.parties) != 0 {
				t.Error("a session is left")
			}
		})
	}
}

// A client that has gone before its child is there leaves none behind.
func TestStdioInitializeLeft(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if err := s.Do(ctx, initialize("1", ""), &taker{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parties) != 0 {
		t.Error("a session is left")
	}
}

// A client that speaks both eras asks for the new one first. When the server does
// not know it, the session gets the same process.
func TestStdioFallback(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	discover := statelessly("a", request("1", "server/discover", ""))
	if sink := do(t, s, discover); sink.reply.Status != 404 {
		t.Fatalf("%+v", sink.reply)
	}
	id := open(t, s, "a")
	if n := s.Stats().Children; n != 1 {
		t.Errorf("%d children for one client", n)
	}
	if got := lists(t, do(t, s, inSession(id, request("1", "seen", "")))); len(got) != 3 {
		t.Errorf("the child has seen %q", got)
	}
	// A server that has answered is of the new era, and another owner's is not theirs.
	do(t, s, statelessly("b", request("1", "env", "")))
	open(t, s, "b")
	do(t, s, statelessly("c", request("1", "server/discover", "")))
	open(t, s, "d")
	if n := s.Stats().Children; n != 5 {
		t.Errorf("%d children, want 5", n)
	}
}

// A stream that a request opens is closed for the child, too: before 2026-07-28
// nothing is said, since a lost connection cancels nothing there.
func TestStdioCancel(t *testing.T) {
	const meta = `"_meta":{"progressToken":"t"}`
	hold := request(`"mine"`, "hold", meta)
	for _, row := range []struct {
		name  string
		x     func(session string) wire.Exchange
		tells bool
	}{
		{"2026-07-28", func(string) wire.Exchange { return statelessly("a", hold) }, true},
		{"before", func(id string) wire.Exchange { return inSession(id, hold) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			id := open(t, s, "b")
			x := row.x(id)
			again := func(body []byte) wire.Exchange { y := x; y.Body = body; return y }
			f := start(t, s, x)
			do(t, s, again(request("1", "await", `"text":"hold"`)))
			f.cancel()
			if err := f.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			// The late answer and what belongs to it is dropped.
			at := numberOf(lists(t, do(t, s, again(request("1", "seen", "")))), "hold")
			if sink := do(t, s, again(request("5", "say", lines(
				`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`+at+`}}`,
				`{"jsonrpc":"2.0","id":`+at+`,"result":{"secret":1}}`, `{"jsonrpc":"2.0","id":$ID,"result":{}}`)))); len(sink.events) != 1 {
				t.Errorf("a late answer went to another request: %q", sink.events)
			}
			said := slices.Contains(lists(t, do(t, s, again(request("1", "seen", "")))), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+at+`}}`)
			if said != row.tells {
				t.Errorf("the child was told: %v", said)
			}
		})
	}
}

// The client's own cancellation names its own requests only.
func TestStdioCancelNotification(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	first := start(t, s, inSession(id, request("9", "hold", "")))
	do(t, s, inSession(id, request("1", "await", `"text":"hold"`)))
	at := numberOf(lists(t, do(t, s, inSession(id, request("1", "seen", "")))), "hold")
	for _, row := range []struct {
		name, params string
		want         string
	}{
		{"theirs", `"requestId":9,"reason":"r"`, `"requestId":` + at + `,"reason":"r"`},
		{"theirs, spelled otherwise", `"requestId":9.0`, `"requestId":` + at},
		{"not theirs", `"requestId":` + at, ""},
		{"a string", `"requestId":"9"`, ""},
		{"none", ``, ""},
		{"nonsense", `"requestId":{}`, ""},
	} {
		before := len(lists(t, do(t, s, inSession(id, request("1", "seen", "")))))
		if sink := do(t, s, inSession(id, notification("notifications/cancelled", row.params))); sink.reply.Status != 202 {
			t.Errorf("%s: %+v", row.name, sink.reply)
		}
		got := lists(t, do(t, s, inSession(id, request("1", "seen", ""))))[before:]
		if want := string(notification("notifications/cancelled", row.want)); row.want != "" && got[0] != want || row.want == "" && len(got) != 1 {
			t.Errorf("%s: the child read %q", row.name, got)
		}
	}
	first.cancel()
	_ = first.end()
}

// Owners have a child each, started when it is needed.
func TestStdioOwners(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	var wg sync.WaitGroup
	for _, owner := range []string{"a", "a", "a", "b", "b"} {
		wg.Go(func() { do(t, s, statelessly(owner, request("1", "env", ""))) })
	}
	wg.Wait()
	if n := s.Stats().Children; n != 2 {
		t.Errorf("%d children for 2 owners", n)
	}
	if a, b := seen(t, s, "a"), seen(t, s, "b"); len(a) != 4 || len(b) != 3 {
		t.Errorf("a's child has seen %q, b's %q", a, b)
	}
}

// clock stands still until a test moves it, and keeps what is to run later.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	later []func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(_ time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.later = append(c.later, f)
}

// advance moves the clock and runs what was to run later.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	due := c.later
	c.later = nil
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

func newClock() *clock { return &clock{now: time.Unix(1e9, 0)} }

// gone waits until n children are left.
func gone(t *testing.T, s *Stdio, n int) {
	t.Helper()
	for {
		s.mu.Lock()
		var over chan struct{}
		for c := range s.children {
			if c.retired {
				over = c.over
			}
		}
		left := len(s.children)
		s.mu.Unlock()
		if over == nil {
			if left != n {
				t.Fatalf("%d children are left, want %d", left, n)
			}
			return
		}
		<-over
	}
}

func TestStdioIdle(t *testing.T) {
	c := newClock()
	s := children(t, "server", StdioOptions{Now: c.Now, After: c.After})
	id := open(t, s, "s")
	do(t, s, statelessly("a", request("1", "env", "")))
	busy := start(t, s, statelessly("b", request("1", "hold", "")))
	do(t, s, statelessly("b", request("1", "await", `"text":"hold"`)))
	c.advance(ownerIdle - time.Second)
	gone(t, s, 3)
	c.advance(time.Second)
	gone(t, s, 2) // a's; b is busy
	do(t, s, statelessly("a", request("1", "env", "")))
	gone(t, s, 3)
	c.advance(sessionIdle - ownerIdle - time.Second)
	do(t, s, inSession(id, request("1", "env", ""))) // is still there, and used
	c.advance(sessionIdle - time.Second)
	do(t, s, inSession(id, request("1", "env", "")))
	c.advance(sessionIdle)
	if sink := do(t, s, inSession(id, request("1", "env", ""))); sink.reply.Status != 404 {
		t.Errorf("a session that was silent for too long: %+v", sink.reply)
	}
	gone(t, s, 1)
	busy.cancel()
	_ = busy.end()
}

func TestStdioMaxChildren(t *testing.T) {
	c := newClock()
	s := children(t, "server", StdioOptions{MaxChildren: 2, Now: c.Now, After: c.After})
	env := request("1", "env", "")
	a := open(t, s, "a")
	do(t, s, statelessly("b", env))
	refused := func(who string, x wire.Exchange) {
		t.Helper()
		if err := s.Do(t.Context(), x, &taker{}); !errors.Is(err, ErrTransport) || !errors.Is(err, errCrowded) {
			t.Errorf("%s: %v", who, err)
		}
	}
	initialize := func(owner string) wire.Exchange {
		return wire.Exchange{Body: request("1", "initialize", ""), Owner: owner}
	}
	refused("a third owner", statelessly("c", env))
	refused("a session of a third owner's", initialize("c"))
	c.mu.Lock()
	c.now = c.now.Add(time.Minute) // nobody is idle for too long yet
	c.mu.Unlock()
	do(t, s, statelessly("c", env)) // b's child is started again on demand
	refused("while the others are busy or a session's", statelessly("b", env))
	if sink := do(t, s, inSession(a, env)); sink.reply.Status != 200 {
		t.Errorf("somebody lost a session to somebody else: %+v", sink.reply)
	}
	do(t, s, wire.Exchange{Verb: wire.End, Session: a})
	a = open(t, s, "a") // waits for the room that its own end makes
	c.mu.Lock()
	c.now = c.now.Add(time.Minute)
	c.mu.Unlock()
	do(t, s, statelessly("c", env))
	if b := open(t, s, "a"); b == a {
		t.Error("the same session twice")
	}
	if sink := do(t, s, inSession(a, env)); sink.reply.Status != 404 {
		t.Errorf("the idle session that made room for its owner's next: %+v", sink.reply)
	}
}

// Silence ends an answer, length does not: each message starts the clock anew.
func TestStdioSilenceStartsAnew(t *testing.T) {
	const limit = 5 * time.Minute
	for name, row := range map[string]struct {
		gap        time.Duration // before each message
		sent, seen int
	}{
		"silent from the start":               {0, 0, 0},
		"silent after three messages":         {4 * time.Minute, 3, 3},
		"each message at the last moment":     {limit - 1, 3, 3},
		"the first message a moment too late": {limit + 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &child{s: &Stdio{opts: StdioOptions{IdleTimeout: limit}}}
				e := &exchange{box: newMailbox(), party: &party{session: true}}
				go func() {
					for range row.sent {
						time.Sleep(row.gap)
						_ = e.box.put(item{data: []byte("{}")}, 0)
					}
				}()
				sink, begun := &taker{}, time.Now()
				_, err := c.answer(t.Context(), e, sink, "")
				if took, want := time.Since(begun), time.Duration(row.seen)*row.gap+limit; !errors.Is(err, errSilent) || took != want || len(sink.events) != row.seen {
					t.Errorf("%v after %v and %d messages, want %v", err, took, len(sink.events), want)
				}
				time.Sleep(limit) // until everything has been sent
			})
		})
	}
}

// Silence ends an answer, and the child's work on it.
func TestStdioSilence(t *testing.T) {
	s := children(t, "server", StdioOptions{IdleTimeout: 300 * time.Millisecond})
	id := open(t, s, "a")
	if err := s.Do(t.Context(), inSession(id, request("1", "hold", "")), &taker{}); !errors.Is(err, ErrTransport) {
		t.Errorf("%v", err)
	}
	got := lists(t, do(t, s, inSession(id, request("1", "seen", ""))))
	if !slices.Contains(got, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+numberOf(got, "hold")+`}}`) {
		t.Errorf("the child was not told: %q", got)
	}
	// A standalone stream may be silent.
	watch := start(t, s, wire.Exchange{Verb: wire.Watch, Session: id})
	watch.want("reply 200 true")
	if err := s.Do(t.Context(), inSession(id, request("1", "hold", "")), &taker{}); !errors.Is(err, ErrTransport) {
		t.Errorf("%v", err)
	}
	watch.cancel()
	if err := watch.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("the standalone stream ended with %v", err)
	}
	// The child of an owner that says nothing at all hangs: the next request gets a
	// new one, once the backoff is over.
	if err := s.Do(t.Context(), statelessly("o", request("1", "hold", "")), &taker{}); !errors.Is(err, errSilent) {
		t.Errorf("%v", err)
	}
	if err := s.Do(t.Context(), statelessly("o", request("1", "env", "")), &taker{}); !errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
}
