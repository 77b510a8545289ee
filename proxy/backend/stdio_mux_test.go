package backend

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

// loose is a message that names no request.
func loose(n int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:%d"}}`, n)
}

// say has the child of a session write something by itself, and waits until it has.
func say(t *testing.T, s *Stdio, session string, list ...string) {
	t.Helper()
	do(t, s, inSession(session, notification("notifications/say", lines(list...))))
	own := inSession(session, request("1", "seen", "")) // takes nothing of what was said
	own.Own = true
	do(t, s, own)
}

// What is about no request goes to the newest request that is open, else to the
// standalone stream, else it waits.
func TestStdioLooseMessages(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	watch := func() *stream {
		f := start(t, s, wire.Exchange{Verb: wire.Watch, Session: id})
		f.want("reply 200 true")
		for n := 0; n == 0; { // until it is known
			s.mu.Lock()
			p := s.parties[sessionKey(id)]
			s.mu.Unlock()
			p.child.mu.Lock()
			n = len(p.watches)
			p.child.mu.Unlock()
		}
		return f
	}
	say(t, s, id, loose(1), loose(2))
	if sink := do(t, s, inSession(id, request("7", "env", ""))); len(sink.events) != 3 || sink.events[0] != loose(1) || sink.events[1] != loose(2) || !sink.reply.Stream {
		t.Errorf("what had waited did not come with the next request: %q", sink.events)
	}
	say(t, s, id, loose(3))
	w := watch()
	w.want(loose(3))
	say(t, s, id, loose(4))
	w.want(loose(4))
	held := start(t, s, inSession(id, request("8", "hold", "")))
	do(t, s, inSession(id, request("1", "await", `"text":"hold"`)))
	say(t, s, id, loose(5))
	held.want("reply 200 true", loose(5))
	// Whoever goes away leaves what it did not take to the next.
	held.cancel()
	_ = held.end()
	say(t, s, id, loose(6))
	w.want(loose(6))
	w.cancel()
	_ = w.end()
	say(t, s, id, loose(7))
	w = watch()
	w.want(loose(7))
	// The stream ends with its session.
	do(t, s, wire.Exchange{Verb: wire.End, Session: id})
	if err := w.end(); err != nil {
		t.Errorf("the standalone stream ended with %v", err)
	}
}

// A standalone stream whose server dies says so.
func TestStdioWatchDies(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	w := start(t, s, wire.Exchange{Verb: wire.Watch, Session: id})
	w.want("reply 200 true")
	if err := s.Do(t.Context(), inSession(id, request("1", "die", "")), &taker{}); !errors.Is(err, ErrTransport) {
		t.Error(err)
	}
	if err := w.end(); !errors.Is(err, ErrTransport) {
		t.Errorf("the standalone stream ended with %v", err)
	}
	if sink := do(t, s, inSession(id, request("1", "env", ""))); sink.reply.Status != 404 {
		t.Errorf("%+v", sink.reply)
	}
}

func TestStdioQueueBounds(t *testing.T) {
	for _, row := range []struct {
		name string
		n    int
		pad  int
		kept int
	}{
		{"at the limit", maxQueued, 0, maxQueued},
		{"above", maxQueued + 5, 0, maxQueued},
		{"too many bytes", 5, maxQueuedBytes / 2, 1},
		{"one that is larger than the queue", 1, maxQueuedBytes + 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			id := open(t, s, "a")
			var list []string
			for i := range row.n {
				list = append(list, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"roots/list","params":{"pad":"%s"}}`, i, strings.Repeat("x", row.pad)))
			}
			say(t, s, id, list...)
			if got := s.Stats().Dropped; got != uint64(row.n-row.kept) {
				t.Errorf("%d were dropped, want %d", got, row.n-row.kept)
			}
			// Whose request is dropped need not wait for an answer.
			refused := 0
			for _, line := range lists(t, do(t, s, inSession(id, request("1", "seen", "")))) {
				if strings.Contains(line, "-32603") {
					refused++
				}
			}
			if refused != row.n-row.kept {
				t.Errorf("%d requests were answered, want %d", refused, row.n-row.kept)
			}
		})
	}
}

// An exchange that ends hands on what its client has not seen.
func TestStdioNothingIsLost(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	enough := errors.New("enough")
	took, release, over := make(chan string, 1), make(chan struct{}), make(chan error)
	go func() {
		over <- s.Do(t.Context(), inSession(id, request("1", "hold", "")), sinkFunc(func(ev wire.Event) error {
			took <- string(ev.Data)
			<-release
			return enough
		}))
	}()
	own := inSession(id, request("1", "await", `"text":"hold"`))
	own.Own = true
	do(t, s, own)
	say(t, s, id, loose(1), loose(2), loose(3))
	if got := <-took; got != loose(1) {
		t.Errorf("%s", got)
	}
	close(release)
	if err := <-over; !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	if sink := do(t, s, inSession(id, request("1", "env", ""))); len(sink.events) != 3 || sink.events[0] != loose(2) || sink.events[1] != loose(3) {
		t.Errorf("%q", sink.events)
	}
}

// An error that names no request is for the only one that is open, and for nobody
// where there are several, or several clients.
func TestStdioErrorWithoutID(t *testing.T) {
	const anonymous = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`
	for _, row := range []struct {
		name   string
		shared bool
		both   bool
		fails  bool
	}{
		{"one request", false, false, true},
		{"two", false, true, false},
		{"one, but two clients", true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{Shared: row.shared})
			held := start(t, s, statelessly("a", request("7", "hold", "")))
			seenAfter(t, s, "a", "hold", 1)
			if row.both {
				other := start(t, s, statelessly("a", request("8", "hold", `"other":1`)))
				seenAfter(t, s, "a", `"other"`, 1)
				defer func() { other.cancel(); _ = other.end() }()
			}
			who := "a"
			if row.shared {
				who = "b"
			}
			do(t, s, statelessly(who, notification("notifications/say", lines(anonymous))))
			if !row.fails {
				do(t, s, statelessly(who, request("1", "seen", ""))) // it has been read
				held.cancel()
				if err := held.end(); !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
				return
			}
			held.want("reply 400 false", strings.Replace(anonymous, "null", "7", 1))
			if err := held.end(); err != nil {
				t.Error(err)
			}
		})
	}
}

type sinkFunc func(wire.Event) error

func (sinkFunc) Reply(wire.Reply) error        { return nil }
func (f sinkFunc) Message(ev wire.Event) error { return f(ev) }

func response(id, result string) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + id + `,"result":` + result + `}`)
}

// What the child asks goes to its session; the answer comes back under the id that
// the child gave.
func TestStdioChildAsks(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id, other := open(t, s, "a"), open(t, s, "b")
	const ask = `{"jsonrpc":"2.0","id":1.0,"method":"sampling/createMessage","params":{"_meta":{"progressToken":"theirs"}}}`
	f := start(t, s, inSession(id, request("1", "say", lines(ask))))
	f.want("reply 200 true", ask)
	for _, row := range []struct {
		name    string
		session string
		body    []byte
		reaches string
	}{
		{"another session", other, response("1.0", `"forged"`), ""},
		{"another id", id, response("2", `"other"`), ""},
		{"as a string", id, response(`"1"`, `"other"`), ""},
		{"no id", id, []byte(`{"jsonrpc":"2.0","error":{"code":1,"message":""}}`), ""},
		{"progress on it", id, notification("notifications/progress", `"progressToken":"theirs"`), `"progressToken":"theirs"`},
		{"the answer", id, response("1", `{"model":"m","big":9007199254740993}`), `{"jsonrpc":"2.0","id":1.0,"result":{"model":"m","big":9007199254740993}}`},
		{"a second answer", id, response("1", `"again"`), ""},
	} {
		read := func(session string) int {
			x := inSession(session, request("1", "seen", ""))
			x.Own = true
			return len(lists(t, do(t, s, x)))
		}
		before := read(row.session)
		if sink := do(t, s, inSession(row.session, row.body)); sink.reply.Status != 202 || len(sink.events) != 0 {
			t.Errorf("%s: %+v", row.name, sink.reply)
		}
		x := inSession(row.session, request("1", "seen", ""))
		x.Own = true
		got := lists(t, do(t, s, x))[before:]
		if row.reaches == "" && len(got) != 1 || row.reaches != "" && !strings.Contains(got[0], row.reaches) {
			t.Errorf("%s: the child read %q", row.name, got)
		}
	}
	f.cancel()
	_ = f.end()
}

// Pings without a client that is there are answered for it, and whatever has no
// client at all is refused.
func TestStdioChildAsksNobody(t *testing.T) {
	ask := func(method string) string { return `{"jsonrpc":"2.0","id":"q","method":"` + method + `"}` }
	for _, row := range []struct {
		name, method string
		stateless    bool
		want         string
	}{
		{"ping, session", "ping", false, `{"jsonrpc":"2.0","id":"q","result":{}}`},
		{"ping, stateless", "ping", true, `{"jsonrpc":"2.0","id":"q","result":{}}`},
		{"sampling, stateless", "sampling/createMessage", true, `{"jsonrpc":"2.0","id":"q","error":{"code":-32601,"message":"Method not found"}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			x := statelessly("a", nil)
			if !row.stateless {
				x = inSession(open(t, s, "a"), nil)
			}
			x.Body = notification("notifications/say", lines(ask(row.method)))
			do(t, s, x)
			x.Body = request("1", "await", `"text":"\"q\""`)
			x.Own = true
			do(t, s, x)
			x.Body = request("1", "seen", "")
			if got := lists(t, do(t, s, x)); !slices.Contains(got, row.want) {
				t.Errorf("the child read %q, want %s", got, row.want)
			}
		})
	}
}

// A child cannot make the sidecar remember requests without end, nor use one id
// for two of them.
func TestStdioChildAsksTooMuch(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	w := start(t, s, wire.Exchange{Verb: wire.Watch, Session: id})
	w.want("reply 200 true")
	var list []string
	for i := range maxAsked + 3 {
		list = append(list, fmt.Sprintf(`{"jsonrpc":"2.0","id":"q%d","method":"roots/list"}`, i))
	}
	list = append(list, list[0])
	f := start(t, s, inSession(id, request("1", "say", lines(list...))))
	f.want("reply 200 true")
	f.want(list[:maxAsked]...)
	x := inSession(id, request("1", "await", fmt.Sprintf(`"text":"q%d"`, maxAsked+2)))
	x.Own = true
	do(t, s, x)
	x.Body = request("1", "seen", "")
	refused := 0
	for _, line := range lists(t, do(t, s, x)) {
		if strings.Contains(line, "-32603") {
			refused++
		}
	}
	if refused != 3 || s.Stats().Dropped != 4 {
		t.Errorf("%d were refused and %d dropped, want 3 and 4", refused, s.Stats().Dropped)
	}
	// A request that its sender takes back frees its place.
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q1"}}`
	x.Body = notification("notifications/say", lines(cancel, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q1"}}`, `{"jsonrpc":"2.0","id":"q1","method":"roots/list","params":{"again":1}}`))
	do(t, s, x)
	f.want(cancel, `{"jsonrpc":"2.0","id":"q1","method":"roots/list","params":{"again":1}}`)
	f.cancel()
	_ = f.end()
	w.cancel()
	_ = w.end()
}

// The progress of a task comes when its request has long been answered.
func TestStdioTaskProgress(t *testing.T) {
	s := children(t, "server", StdioOptions{})
	id := open(t, s, "a")
	progress := func(token string) string {
		return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `,"progress":1}}`
	}
	answer := lines(`{"jsonrpc":"2.0","id":$ID,"result":{"task":{"taskId":"x"}}}`)
	for i := range maxTasks + 1 {
		do(t, s, inSession(id, request("1", "say", answer+fmt.Sprintf(`,"task":{"ttl":1},"_meta":{"progressToken":"t%d"}`, i))))
	}
	do(t, s, inSession(id, request("1", "say", answer+`,"_meta":{"progressToken":"no task"}`)))
	var tokens []string
	for _, line := range lists(t, do(t, s, inSession(id, request("1", "seen", "")))) {
		if strings.Contains(line, `"say"`) {
			tokens = append(tokens, numberOf([]string{line}, "say"))
		}
	}
	last := maxTasks
	say(t, s, id, progress(tokens[0]), progress(tokens[last]), progress(tokens[last+1]), progress("4711"))
	want := strings.Replace(progress(`"t*"`), "*", fmt.Sprint(last), 1)
	if sink := do(t, s, inSession(id, request("1", "env", ""))); len(sink.events) != 2 || sink.events[0] != want {
		t.Errorf("%q, want %s", sink.events, want)
	}
	if n := s.Stats().Dropped; n != 3 {
		t.Errorf("%d were dropped, want 3", n)
	}
}

func TestStdioListen(t *testing.T) {
	s := children(t, "server", StdioOptions{IdleTimeout: 200 * time.Millisecond})
	const meta = `"_meta":{"io.modelcontextprotocol/subscriptionId":`
	told := func(id, more string) string {
		return `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{` + meta + id + `}` + more + `}}`
	}
	// Two clients of one owner listen under the same id.
	one, two := start(t, s, statelessly("a", request(`"L"`, "subscriptions/listen", ""))), start(t, s, statelessly("a", request(`"L"`, "subscriptions/listen", `"x":2`)))
	var ids []string
	for _, line := range seenAfter(t, s, "a", "subscriptions/listen", 2) {
		ids = append(ids, numberOf([]string{line}, "subscriptions/listen"))
		if strings.Contains(line, `"x":2`) && len(ids) == 1 {
			one, two = two, one
		}
	}
	do(t, s, statelessly("a", request("1", "say", lines(
		told(ids[0], `,"uri":"first"`), told(ids[1], `,"uri":"second"`), told(`"L"`, ""), told("77", ""), loose(1),
		`{"jsonrpc":"2.0","id":$ID,"result":{}}`))))
	one.want("reply 200 true", told(`"L"`, `,"uri":"first"`))
	two.want("reply 200 true", told(`"L"`, `,"uri":"second"`))
	// What the client sends about a subscription of its own is renamed.
	do(t, s, statelessly("a", notification("notifications/x", meta+`"L"}`)))
	if got := seen(t, s, "a"); !slices.ContainsFunc(got, func(l string) bool {
		return l == string(notification("notifications/x", meta+ids[1]+`}`)) || l == string(notification("notifications/x", meta+ids[0]+`}`))
	}) {
		t.Errorf("the child read %q", got)
	}
	// Silence is not the end, the server's word is: as a notification or as a result.
	if err := s.Do(t.Context(), statelessly("b", request("1", "hold", "")), &taker{}); !errors.Is(err, errSilent) {
		t.Errorf("a request that began later: %v", err)
	}
	cancelled := func(id string) string { return string(notification("notifications/cancelled", `"requestId":`+id)) }
	do(t, s, statelessly("a", request("1", "say", lines(
		cancelled(ids[0]), told(ids[0], ""), `{"jsonrpc":"2.0","id":`+ids[1]+`,"result":{`+meta+ids[1]+`}}}`, `{"jsonrpc":"2.0","id":$ID,"result":{}}`))))
	one.want(cancelled(`"L"`))
	if err := one.end(); err != nil {
		t.Errorf("%v", err)
	}
	two.want(`{"jsonrpc":"2.0","id":"L","result":{` + meta + `"L"}}}`)
	if err := two.end(); err != nil {
		t.Errorf("%v", err)
	}
	// A client that goes away ends its subscription.
	three := start(t, s, statelessly("a", request(`"M"`, "subscriptions/listen", "")))
	line := seenAfter(t, s, "a", `"subscriptions/listen"`, 3)[2]
	three.cancel()
	_ = three.end()
	if got := seen(t, s, "a"); !slices.Contains(got, cancelled(numberOf([]string{line}, "subscriptions/listen"))) {
		t.Errorf("the child was not told: %q", got)
	}
}

// seenAfter are the lines that hold text, once there are n of them.
func seenAfter(t *testing.T, s *Stdio, owner, text string, n int) []string {
	t.Helper()
	for {
		var found []string
		for _, line := range seen(t, s, owner) {
			if strings.Contains(line, text) {
				found = append(found, line)
			}
		}
		if len(found) >= n {
			return found
		}
	}
}

// A client that does not read holds up its own answer, and others not for ever.
func TestStdioSlowClient(t *testing.T) {
	const flood = 3 * maxWaiting
	for _, row := range []struct {
		name   string
		shared bool
	}{{"shared", true}, {"own", false}} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{Shared: row.shared})
			s.bounds.stall = 50 * time.Millisecond
			progress := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN}}`
			took, release := make(chan struct{}, 1), make(chan struct{})
			slow := make(chan error)
			go func() {
				slow <- s.Do(t.Context(), statelessly("a", request("1", "say", `"_meta":{"progressToken":1},`+lines(slices.Repeat([]string{progress}, flood)...))), sinkFunc(func(wire.Event) error {
					took <- struct{}{}
					<-release
					return nil
				}))
			}()
			<-took
			do(t, s, statelessly("b", request("1", "env", "")))
			do(t, s, statelessly("a", request("1", "env", "")))
			go func() {
				for range took { // as many as had been let in
				}
			}()
			close(release)
			if err := <-slow; !errors.Is(err, ErrTransport) || !errors.Is(err, errSlow) {
				t.Errorf("%v", err)
			}
			close(took)
		})
	}
	// A client that reads slowly, but does, gets everything.
	t.Run("reads", func(t *testing.T) {
		s := children(t, "server", StdioOptions{})
		progress := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"pad":"` + strings.Repeat("x", 10_000) + `"}}`
		var n atomic.Int64
		all := append(slices.Repeat([]string{progress}, flood), `{"jsonrpc":"2.0","id":$ID,"result":{}}`)
		err := s.Do(t.Context(), statelessly("a", request("1", "say", `"_meta":{"progressToken":1},`+lines(all...))), sinkFunc(func(wire.Event) error {
			n.Add(1)
			runtime.Gosched()
			return nil
		}))
		if err != nil || n.Load() != flood+1 {
			t.Errorf("%d messages, %v", n.Load(), err)
		}
	})
}
