package backend

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

func initialize(id, params string) wire.Exchange {
	return wire.Exchange{Body: request(id, "initialize", params), Version: legacy, Owner: "o"}
}

// A shared child sees one initialize; every session gets its answer.
func TestStdioSharedInitialize(t *testing.T) {
	s := children(t, "server", StdioOptions{Shared: true})
	var mu sync.Mutex
	var answers, ids []string
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			sink := do(t, s, initialize(fmt.Sprintf(`"i%d"`, i), ""))
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(sink.events[0], fmt.Sprintf(`"id":"i%d"`, i)) {
				t.Errorf("not the own id: %s", sink.events)
			}
			answers = append(answers, strings.Replace(sink.events[0], fmt.Sprintf("i%d", i), "i", 1))
			ids = append(ids, sink.reply.Session)
			do(t, s, inSession(sink.reply.Session, notification("notifications/initialized", "")))
		})
	}
	wg.Wait()
	slices.Sort(ids)
	slices.Sort(answers)
	if n := len(slices.Compact(ids)); n != 8 || ids[0] == "" {
		t.Errorf("%d session ids", n)
	}
	if n := len(slices.Compact(answers)); n != 1 {
		t.Errorf("%d different answers", n)
	}
	got := lists(t, do(t, s, inSession(ids[0], request("1", "seen", ""))))
	if len(got) != 3 || !strings.Contains(got[0], `"initialize"`) || !strings.Contains(got[1], "notifications/initialized") {
		t.Errorf("the child has seen %q", got)
	}
	if n := s.Stats().Children; n != 1 {
		t.Errorf("%d children", n)
	}
	// A session ends without the child's notice.
	do(t, s, wire.Exchange{Verb: wire.End, Session: ids[0]})
	if sink := do(t, s, inSession(ids[0], request("1", "env", ""))); sink.reply.Status != 404 {
		t.Errorf("%+v", sink.reply)
	}
	do(t, s, inSession(ids[1], request("1", "env", "")))
}

// What one session asked for and was refused, another may still ask for.
func TestStdioSharedRefusal(t *testing.T) {
	s := children(t, "scripted", StdioOptions{Shared: true})
	refused := do(t, s, initialize("1", `"answer":"error"`))
	if refused.reply.Session != "" || refused.reply.Status != 200 || !strings.Contains(refused.events[0], `"error"`) {
		t.Errorf("%+v %s", refused.reply, refused.events)
	}
	if _, err := doErr(t, s, initialize("1", `"answer":"broken"`)); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	// Whoever gives up leaves the answer to the others.
	impatient := start(t, s, initialize("1", `"answer":"late"`))
	for s.Stats().Noise == 0 { // until the child has it
		runtime.Gosched()
	}
	patient := start(t, s, initialize("2", `"answer":"never asked"`))
	impatient.cancel()
	if err := impatient.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	do(t, s, statelessly("b", notification("notifications/answer", "")))
	patient.want("reply 200 false", `{"jsonrpc":"2.0","id":2,"result":{"late":true}}`)
	if err := patient.end(); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.parties); n != 2 { // the patient session, and owner b
		t.Errorf("%d parties are left", n)
	}
}

// Who waits for another's initialize does not get its refusal.
func TestStdioSharedRefusalIsItsOwn(t *testing.T) {
	s := children(t, "scripted", StdioOptions{Shared: true})
	first := start(t, s, initialize("1", `"answer":"late error"`))
	for s.Stats().Noise == 0 { // until the child has it
		runtime.Gosched()
	}
	second := start(t, s, initialize("2", `"answer":"result"`))
	for n := 0; n < 2; { // until it waits, or is about to
		s.mu.Lock()
		n = len(s.parties)
		s.mu.Unlock()
	}
	do(t, s, statelessly("b", notification("notifications/answer", "")))
	first.want("reply 200 false", `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unsupported"}}`)
	second.want("reply 200 false", `{"jsonrpc":"2.0","id":2,"result":{}}`)
	if err := errors.Join(first.end(), second.end()); err != nil {
		t.Error(err)
	}
}

// An answer that may be for any request ends an initialize that still waits to be
// sent, and whose client then goes away.
func TestStdioSharedEndedTwice(t *testing.T) {
	s := children(t, "server", StdioOptions{Shared: true})
	c := &child{s: s, out: make(chan outgoing), dead: make(chan struct{}), open: map[int64]*exchange{}}
	x := initialize("1", "")
	m, err := wire.Scan(x.Body, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.hail(ctx, &party{}, x, m)
		ended <- err
	}()
	for n := 0; n == 0; runtime.Gosched() {
		c.mu.Lock()
		n = len(c.open)
		c.mu.Unlock()
	}
	c.tooLarge(0, false)
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func doErr(t *testing.T, s *Stdio, x wire.Exchange) (*taker, error) {
	t.Helper()
	sink := &taker{}
	return sink, s.Do(t.Context(), x, sink)
}

// A shared child that does not answer initialize is of no use to anybody.
func TestStdioSharedSilent(t *testing.T) {
	s := children(t, "scripted", StdioOptions{Shared: true, IdleTimeout: 50 * time.Millisecond})
	if _, err := doErr(t, s, initialize("1", `"answer":"late"`)); !errors.Is(err, errSilent) {
		t.Errorf("%v", err)
	}
	if _, err := doErr(t, s, initialize("1", `"answer":"late"`)); !errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
}

// As long as one client alone has spoken, what the child says is for it. After
// that nobody can tell.
func TestStdioSharedAttribution(t *testing.T) {
	s := children(t, "server", StdioOptions{Shared: true})
	id := open(t, s, "a")
	ask := `{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}`
	f := start(t, s, inSession(id, request("1", "say", lines(loose(1), ask))))
	f.want("reply 200 true", loose(1), ask)
	other := open(t, s, "b") // answered from memory: the child does not know of it
	say(t, s, id, loose(2))
	f.want(loose(2))

	do(t, s, inSession(other, request("1", "env", "")))
	say(t, s, id, loose(3), `{"jsonrpc":"2.0","id":"r","method":"sampling/createMessage"}`, `{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	x := inSession(id, request("1", "seen", ""))
	got := lists(t, do(t, s, x))
	if !slices.Contains(got, `{"jsonrpc":"2.0","id":"r","error":{"code":-32601,"message":"Method not found"}}`) || !slices.Contains(got, `{"jsonrpc":"2.0","id":"p","result":{}}`) {
		t.Errorf("the child read %q", got)
	}
	// What one session was asked another cannot answer, nor take part in.
	do(t, s, inSession(other, response(`"q"`, `"forged"`)))
	do(t, s, inSession(other, notification("notifications/progress", `"progressToken":"q"`)))
	if n := len(lists(t, do(t, s, x))); n != len(got)+1 {
		t.Error("another session's answer reached the child")
	}
	// When the session that was asked is gone, its question is answered for it.
	do(t, s, wire.Exchange{Verb: wire.End, Session: id})
	if got := lists(t, do(t, s, inSession(other, request("1", "seen", "")))); got[len(got)-2] != `{"jsonrpc":"2.0","id":"q","error":{"code":-32603,"message":"no client took the request"}}` {
		t.Errorf("the child read %q", got)
	}
	f.cancel()
	_ = f.end()
}

// When a shared child dies, everybody's session is gone and everybody's exchange
// fails; the next one is started again, later each time.
func TestStdioRestart(t *testing.T) {
	for _, row := range []struct {
		name   string
		shared bool
	}{{"shared", true}, {"one for each owner", false}} {
		t.Run(row.name, func(t *testing.T) {
			c := newClock()
			s := children(t, "server", StdioOptions{Shared: row.shared, Now: c.Now, After: c.After})
			var session string
			if row.shared {
				session = open(t, s, "x")
			}
			env, die := statelessly("a", request("1", "env", "")), statelessly("a", request("1", "die", `"code":3`))
			held := start(t, s, statelessly("a", request("1", "hold", "")))
			seenAfter(t, s, "a", "hold", 1)
			wait := firstBackoff
			for range 9 {
				if _, err := doErr(t, s, die); !errors.Is(err, ErrTransport) {
					t.Fatal(err)
				}
				gone(t, s, 0)
				if code, ok := s.Exit(); code != 3 || !ok {
					t.Errorf("exit code %d %v", code, ok)
				}
				c.advance(wait - 1)
				if _, err := doErr(t, s, env); !errors.Is(err, errBackoff) || !errors.Is(err, ErrTransport) {
					t.Errorf("before %v were over: %v", wait, err)
				}
				c.advance(1)
				do(t, s, env)
				wait = min(2*wait, lastBackoff)
			}
			if err := held.end(); !errors.Is(err, ErrTransport) {
				t.Errorf("the exchange in flight ended with %v", err)
			}
			if row.shared {
				if sink := do(t, s, inSession(session, request("1", "env", ""))); sink.reply.Status != 404 {
					t.Errorf("%+v", sink.reply)
				}
			}
			// A child that has lived for a while is not failing.
			c.advance(healthyLife)
			do(t, s, env)
			_, _ = doErr(t, s, die)
			gone(t, s, 0)
			c.advance(firstBackoff)
			do(t, s, env)
		})
	}
}

// Sessions whose children die before they are open are not opened in a circle.
func TestStdioSessionBackoff(t *testing.T) {
	c := newClock()
	s := children(t, "dies", StdioOptions{Now: c.Now, After: c.After})
	if _, err := doErr(t, s, initialize("1", "")); !errors.Is(err, ErrTransport) || errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
	gone(t, s, 0)
	if _, err := doErr(t, s, initialize("1", "")); !errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
	// Others are not held back by one owner's bad luck.
	x := initialize("1", "")
	x.Owner = "another"
	if _, err := doErr(t, s, x); errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
	gone(t, s, 0)
	c.advance(firstBackoff)
	if _, err := doErr(t, s, initialize("1", "")); errors.Is(err, errBackoff) {
		t.Errorf("%v", err)
	}
}

// 50 principals use the same ids and tokens at the same time, on one child.
func TestStdioNothingCrosses(t *testing.T) {
	const owners, calls = 50, 40
	s := children(t, "server", StdioOptions{Shared: true})
	sessions := map[int]string{}
	for i := 0; i < owners; i += 2 { // every other one speaks an older revision
		sessions[i] = open(t, s, fmt.Sprint(i))
	}
	// As long as one alone has spoken, what the child says about no request is for him.
	do(t, s, inSession(sessions[0], request("1", "env", "")))
	do(t, s, inSession(sessions[2], request("1", "env", "")))
	var wg sync.WaitGroup
	for i := range owners {
		wg.Go(func() {
			for n := range calls {
				mark := fmt.Sprintf("%d/%d", i, n)
				say := lines(
					`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"message":"`+mark+`"}}`,
					`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"`+mark+`"}}`,
					`{"jsonrpc":"2.0","id":$ID,"result":{"mark":"`+mark+`"}}`)
				body := request(fmt.Sprint(n%3), "say", say+`,"_meta":{"progressToken":"t","io.modelcontextprotocol/logLevel":"info"}`)
				x := statelessly(fmt.Sprint(i), body)
				if id, ok := sessions[i]; ok {
					x = inSession(id, body)
				}
				sink := &taker{}
				if err := s.Do(t.Context(), x, sink); err != nil {
					t.Error(err)
					return
				}
				want := []string{
					`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","message":"` + mark + `"}}`,
					fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"mark":"%s"}}`, n%3, mark),
				}
				if !slices.Equal(sink.events, want) {
					t.Errorf("%s read %q", mark, sink.events)
				}
			}
		})
	}
	wg.Wait()
	if s.shared.mixed != true || len(s.shared.open) != 0 {
		t.Errorf("%d requests are still known", len(s.shared.open))
	}
}
