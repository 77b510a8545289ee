package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/proxy/wire"
)

// station is a server whose streams a test feeds.
type station struct {
	opened chan *onAir // one for each stream that is opened
	refuse answering   // answers instead, when not nil
}

// onAir is one open stream of a station.
type onAir struct {
	x    wire.Exchange
	send chan wire.Event
	over chan error // ends the stream with that error
}

func newStation() *station { return &station{opened: make(chan *onAir, 8)} }

func (s *station) do(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
	if s.refuse != nil {
		return s.refuse(ctx, x, sink)
	}
	if x.Verb == wire.Send && !x.Call || x.Verb == wire.End {
		return status(202)(ctx, x, sink)
	}
	a := &onAir{x: x, send: make(chan wire.Event), over: make(chan error)}
	s.opened <- a
	if err := sink.Reply(wire.Reply{Status: 200, Stream: true}); err != nil {
		return done(err)
	}
	for {
		select {
		case ev := <-a.send:
			if err := sink.Message(ev); err != nil {
				return done(err)
			}
		case err := <-a.over:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listener is a client of a long stream.
type listener struct {
	reply chan wire.Reply
	read  chan wire.Event
	ended chan error
	stop  context.CancelFunc
}

func (l *listener) Reply(r wire.Reply) error {
	l.reply <- r
	return nil
}

func (l *listener) Message(ev wire.Event) error {
	l.read <- ev
	if m, err := wire.Scan(ev.Data, wire.Limits{}); err == nil && m.Kind == wire.Response {
		return wire.ErrDone
	}
	return nil
}

// follow opens a long stream.
func (g *table) follow(x wire.Exchange) *listener {
	ctx, stop := context.WithCancel(g.t.Context())
	l := &listener{make(chan wire.Reply, 1), make(chan wire.Event, 64), make(chan error, 1), stop}
	go func() { l.ended <- g.Do(ctx, x, l) }()
	g.t.Cleanup(stop)
	return l
}

func note(params string) wire.Event {
	return wire.Event{Data: []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{` + params + `}}`)}
}

func watching(last string) wire.Exchange {
	return wire.Exchange{Verb: wire.Watch, Long: true, Version: "2025-11-25", Session: bothOpen, Owner: "alice", LastEvent: last}
}

// One stream carries those of all servers, whose ids say where each of them
// stands.
func TestMergedWatch(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do)
	l := g.follow(watching(joined(map[string]string{"docs": "d-9", "gone": "x"})))
	d, f := <-docs.opened, <-fs.opened
	if r := <-l.reply; r.Status != 200 || !r.Stream {
		t.Errorf("%+v", r)
	}
	if d.x.LastEvent != "d-9" || d.x.Session != "d-1" || f.x.LastEvent != "" || f.x.Session != "f-1" || !f.x.Long || f.x.Owner != "alice" || f.x.Version != "2025-11-25" {
		t.Errorf("opened with %+v and %+v", d.x, f.x)
	}
	for _, row := range []struct {
		from *onAir
		ev   wire.Event
		data string
		id   map[string]string
	}{
		{d, note(`"data":"a"`), "same", nil},
		{f, wire.Event{Data: note(`"data":"b"`).Data, ID: "f 1", Retry: "50"}, "same", map[string]string{"docs": "d-9", "gone": "x", "fs": "f 1"}},
		{d, wire.Event{ID: "d-10"}, "", map[string]string{"docs": "d-10", "gone": "x", "fs": "f 1"}},
		{f, wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":5,"method":"roots/list"}`)}, `{"jsonrpc":"2.0","id":"fs:5","method":"roots/list"}`, nil},
		{d, wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":3,"result":{"ok":true}}`)}, "same", nil}, // comes again
	} {
		row.from.send <- row.ev
		got := <-l.read
		want := string(row.ev.Data)
		if row.data != "same" {
			want = row.data
		}
		id := ""
		if row.id != nil {
			id = joined(row.id)
		}
		if string(got.Data) != want || got.ID != id || got.Retry != row.ev.Retry {
			t.Errorf("%s: %s, id %q, want %s, %q", row.ev.Data, got.Data, got.ID, want, id)
		}
	}
	l.stop()
	if err := <-l.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// A client that wants nothing more ends the stream, and no server's is opened again.
func TestMergedWatchStopped(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do, func(o *Options) {
		o.Pause = func(context.Context, time.Duration) { t.Error("a stream is opened again") }
	})
	own := errors.New("the sink's")
	ended := make(chan error)
	go func() {
		ended <- g.Do(t.Context(), watching(""), &heard{stop: func(wire.Event) error { return own }})
	}()
	d := <-docs.opened
	<-fs.opened
	d.send <- note(`"n":1`)
	if err := <-ended; !errors.Is(err, own) {
		t.Errorf("%v", err)
	}
}

// Ids of events that could not stand in a header are no ids, whoever made them.
func TestMergedForeignEventIDs(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do)
	l := g.follow(watching(joined(map[string]string{"docs": "a\r\nX: y", "fs": "caf\u00e9"})))
	d, f := <-docs.opened, <-fs.opened
	if d.x.LastEvent != "" || f.x.LastEvent != "" {
		t.Errorf("%q and %q reach the servers", d.x.LastEvent, f.x.LastEvent)
	}
	<-l.reply
	d.send <- wire.Event{Data: note(`"n":1`).Data, ID: "a\x00"}
	if got := <-l.read; got.ID != "" {
		t.Errorf("id %q", got.ID)
	}
}

// An id that would be too long says where one server stands.
func TestMergedLongEventIDs(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do)
	l := g.follow(watching(""))
	d, f := <-docs.opened, <-fs.opened
	<-l.reply
	long := strings.Repeat("x", 700)
	d.send <- wire.Event{Data: note(`"n":1`).Data, ID: long}
	if got := (<-l.read).ID; got != joined(map[string]string{"docs": long}) {
		t.Errorf("%q", got)
	}
	f.send <- wire.Event{Data: note(`"n":2`).Data, ID: long}
	if got := (<-l.read).ID; got != joined(map[string]string{"fs": long}) {
		t.Errorf("%q", got)
	}
}

// Progress is believed of whoever works on the request, and of nobody else.
func TestMergedWatchProgress(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do)
	l := g.follow(watching(""))
	d, f := <-docs.opened, <-fs.opened
	<-l.reply
	call := g.follow(in(bothOpen, to("docs", asking(`1`, "tools/call", `"name":"docs.read",`+meta))))
	working := <-docs.opened
	const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`
	f.send <- wire.Event{Data: []byte(progress)}
	f.send <- note(`"data":"behind"`)
	if got := <-l.read; !strings.Contains(string(got.Data), "behind") {
		t.Errorf("another server's progress passes: %s", got.Data)
	}
	d.send <- wire.Event{Data: []byte(progress)}
	if got := <-l.read; string(got.Data) != progress {
		t.Errorf("%s", got.Data)
	}
	working.send <- wire.Event{Data: []byte(response(`1`, ``))}
	if err := <-call.ended; err != nil {
		t.Error(err)
	}
	d.send <- wire.Event{Data: []byte(progress)}
	d.send <- note(`"data":"behind"`)
	if got := <-l.read; !strings.Contains(string(got.Data), "behind") {
		t.Errorf("progress of a request that has ended passes: %s", got.Data)
	}
}

// Without a session two requests of one principal may give out the same token.
func TestMergedEqualTokens(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do)
	const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`
	first := g.follow(to("docs", askingModern(`1`, "tools/call", `"name":"docs.read",`+meta)))
	d := <-docs.opened
	second := g.follow(to("fs", askingModern(`1`, "tools/call", `"name":"fs.read",`+meta)))
	f := <-fs.opened
	for _, end := range []func(){func() {}, func() { // a later request that has ended takes nothing along
		f.send <- wire.Event{Data: []byte(response(`1`, ``))}
		<-second.ended
	}} {
		end()
		d.send <- wire.Event{Data: []byte(progress)}
		d.send <- note(`"data":"behind"`)
		if got := <-first.read; string(got.Data) != progress {
			t.Fatalf("progress is lost: %s", got.Data)
		}
		<-first.read
	}
	d.send <- wire.Event{Data: []byte(response(`1`, ``))}
	<-first.ended
}

// A server whose stream breaks off has it opened again where it was left; the
// others' go on, and so does the client's.
func TestMergedWatchAgain(t *testing.T) {
	docs, fs := newStation(), newStation()
	pauses := make(chan time.Duration)
	var longest atomic.Int32 // both servers' streams pause
	g := merge(t, docs.do, fs.do, func(o *Options) {
		o.Pause = func(_ context.Context, d time.Duration) {
			pauses <- d
			if n := longest.Add(int32(d / maxPause)); d == maxPause && n == 2 {
				docs.refuse = status(405) // it says that it has no such stream any more
			}
		}
	})
	l := g.follow(watching(""))
	d, f := <-docs.opened, <-fs.opened
	<-l.reply
	d.send <- wire.Event{Data: note(`"n":1`).Data, ID: "d-1"}
	<-l.read
	for i, end := range []error{nil, errDown, errors.New("cut off")} {
		d.over <- end
		if p := <-pauses; p != firstPause {
			t.Errorf("pause %v after a stream that was open", p)
		}
		if d = <-docs.opened; d.x.LastEvent != "d-1" {
			t.Errorf("%d: opened again from %q", i, d.x.LastEvent)
		}
		f.send <- note(`"n":2`)
		<-l.read
		d.send <- note(`"n":3`)
		<-l.read
	}
	// It can no longer be opened: the pauses grow, and end.
	docs.refuse = down
	d.over <- errDown
	<-pauses
	for _, w := range []time.Duration{2, 4, 8, 16, 30, 30} {
		if p := <-pauses; p != w*time.Second {
			t.Errorf("pause %v, want %v", p, w*time.Second)
		}
	}
	f.send <- note(`"n":4`)
	<-l.read
	// The session that a server forgets meanwhile ends the stream: the next message
	// begins anew.
	fs.refuse = status(404)
	f.over <- nil
	<-pauses
	if err := <-l.ended; err != nil {
		t.Errorf("%v", err)
	}
}

// Where no server has a stream there is none.
func TestMergedWatchRefused(t *testing.T) {
	for _, row := range []struct {
		name     string
		docs, fs answering
		status   int // 0: an error
	}{
		{"none has one", status(405), status(405), 405},
		{"one has none, one is down", status(405), down, 0},
		{"all are down", down, down, 0},
		{"no streams", status(200), status(200), 405},
	} {
		g := merge(t, row.docs, row.fs, func(o *Options) { o.Pause = func(ctx context.Context, _ time.Duration) { <-ctx.Done() } })
		h, err := g.send(watching(""))
		if row.status == 0 && err == nil || row.status != 0 && (err != nil || h.reply.Status != row.status) {
			t.Errorf("%s: %v %+v", row.name, err, h.reply)
		}
	}
	fs := newStation()
	g := merge(t, status(405), fs.do)
	l := g.follow(watching(""))
	f := <-fs.opened
	<-l.reply
	f.send <- note(`"n":1`)
	<-l.read
}

const subscribe = `"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["docs://a","fs://b","docs://c"],"taskIds":["docs.t-1","fs.t-2"]}`

func listening(id, params string) wire.Exchange {
	x := askingModern(id, "subscriptions/listen", params)
	x.Long = true
	x.Owners = map[string]string{"docs://a": "docs", "docs://c": "docs", "fs://b": "fs"}
	return x
}

func acknowledges(id, filter string) wire.Event {
	return wire.Event{Data: []byte(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `},"notifications":{` + filter + `}}}`)}
}

func changed(id string) wire.Event {
	return wire.Event{Data: []byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}}}`)}
}

// Each server is subscribed to its own part; the client reads one acknowledgement,
// before anything else.
func TestMergedListen(t *testing.T) {
	docs, fs := newStation(), newStation()
	g := merge(t, docs.do, fs.do)
	l := g.follow(listening(`"s"`, subscribe))
	d, f := <-docs.opened, <-fs.opened
	for x, want := range map[*onAir]string{
		d: `"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["docs://a","docs://c"],"taskIds":["t-1"]}`,
		f: `"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["fs://b"],"taskIds":["t-2"]}`,
	} {
		if string(x.x.Body) != string(listening(`"s"`, want).Body) || x.x.Owners != nil || !x.x.Long {
			t.Errorf("got %s, want %s", x.x.Body, want)
		}
	}
	d.send <- acknowledges(`"s"`, `"toolsListChanged":true,"resourceSubscriptions":["docs://a"],"taskIds":["t-1"]`)
	early := make(chan struct{})
	go func() { // before the other has acknowledged
		d.send <- changed(`"s"`)
		close(early)
	}()
	f.send <- acknowledges(`"s"`, `"toolsListChanged":true,"resourceSubscriptions":["fs://b"],"promptsListChanged":false`)
	if r := <-l.reply; r.Status != 200 || !r.Stream {
		t.Errorf("%+v", r)
	}
	want := string(acknowledges(`"s"`, `"toolsListChanged":true,"resourceSubscriptions":["docs://a","fs://b"],"taskIds":["docs.t-1"]`).Data)
	if got := string((<-l.read).Data); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string((<-l.read).Data); got != string(changed(`"s"`).Data) {
		t.Errorf("%s", got)
	}
	<-early
	// Another subscription's news, or a second acknowledgement, would confuse.
	f.send <- changed(`"other"`)
	f.send <- acknowledges(`"s"`, `"promptsListChanged":true`)
	f.send <- changed(`"\u0073"`)
	if got := string((<-l.read).Data); got != string(changed(`"\u0073"`).Data) {
		t.Errorf("%s", got)
	}
	// One server ends it, the other goes on; the result comes when both have.
	d.send <- wire.Event{Data: []byte(response(`"s"`, `"resultType":"complete"`))}
	f.send <- changed(`"s"`)
	<-l.read
	f.send <- wire.Event{Data: []byte(response(`"s"`, `"resultType":"complete"`))}
	if got := string((<-l.read).Data); got != response(`"s"`, `"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}`) {
		t.Errorf("%s", got)
	}
	if err := <-l.ended; err != nil {
		t.Error(err)
	}
}

// A server that is asked for nothing of its own is not asked at all.
func TestMergedListenToOne(t *testing.T) {
	docs := newStation()
	g := merge(t, docs.do, trapped(t))
	l := g.follow(listening(`1`, `"notifications":{"toolsListChanged":false,"resourceSubscriptions":["docs://a"]}`))
	d := <-docs.opened
	d.send <- acknowledges(`1`, `"resourceSubscriptions":["docs://a"]`)
	if got := string((<-l.read).Data); got != string(acknowledges(`1`, `"resourceSubscriptions":["docs://a"]`).Data) {
		t.Errorf("%s", got)
	}
	g = merge(t, trapped(t), trapped(t))
	for _, filter := range []string{``, `"toolsListChanged":false`, `"resourceSubscriptions":[]`, `"resourceSubscriptions":["other://a"]`, `"taskIds":["t-1"]`} {
		if h := g.must(listening(`1`, `"notifications":{`+filter+`}`)); h.reply.Status != 400 || !strings.Contains(h.last, `"code":-32602`) {
			t.Errorf("%s: %+v %s", filter, h.reply, h.last)
		}
	}
}

// Whoever cannot is left out; where nobody can the client reads the refusal.
func TestMergedListenRefused(t *testing.T) {
	docs := newStation()
	for name, fs := range map[string]answering{
		"no such method": refuses(404, -32601), "down": down, "no session": status(404), "ended at once": results(`"resultType":"complete"`),
	} {
		g := merge(t, docs.do, fs, func(o *Options) { o.Pause = func(ctx context.Context, _ time.Duration) { <-ctx.Done() } })
		l := g.follow(listening(`1`, `"notifications":{"toolsListChanged":true}`))
		d := <-docs.opened
		d.send <- acknowledges(`1`, `"toolsListChanged":true`)
		if got := string((<-l.read).Data); got != string(acknowledges(`1`, `"toolsListChanged":true`).Data) {
			t.Errorf("%s: %s", name, got)
		}
		l.stop()
		<-l.ended
	}
	pause := func(o *Options) { o.Pause = func(ctx context.Context, _ time.Duration) { <-ctx.Done() } }
	g := merge(t, refuses(404, -32601), down, pause)
	if h := g.must(listening(`1`, `"notifications":{"toolsListChanged":true}`)); h.reply.Status != 404 || !strings.Contains(h.last, "-32601") {
		t.Errorf("%+v %s", h.reply, h.last)
	}
	g = merge(t, down, down, pause)
	if _, err := g.send(listening(`1`, `"notifications":{"toolsListChanged":true}`)); err == nil {
		t.Error("subscribed to nobody")
	}
}

// Whoever takes too long to acknowledge is not waited for, and not lost.
func TestMergedListenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs, fs := newStation(), newStation()
		g := merge(t, docs.do, fs.do)
		l := g.follow(listening(`1`, `"notifications":{"toolsListChanged":true}`))
		d, f := <-docs.opened, <-fs.opened
		d.send <- acknowledges(`1`, `"toolsListChanged":true`)
		begun := time.Now()
		if got := string((<-l.read).Data); got != string(acknowledges(`1`, `"toolsListChanged":true`).Data) || time.Since(begun) != listTime {
			t.Errorf("after %v: %s", time.Since(begun), got)
		}
		f.send <- acknowledges(`1`, `"toolsListChanged":true`)
		f.send <- changed(`1`)
		if got := string((<-l.read).Data); got != string(changed(`1`).Data) {
			t.Errorf("%s", got)
		}
		// Nobody in time: the first to come is what the client reads.
		l.stop()
		<-l.ended
		l = g.follow(listening(`1`, `"notifications":{"toolsListChanged":true}`))
		d, f = <-docs.opened, <-fs.opened
		time.Sleep(2 * listTime)
		f.send <- acknowledges(`1`, `"toolsListChanged":true`)
		<-l.read
		d.send <- acknowledges(`1`, `"toolsListChanged":true`)
		d.send <- changed(`1`)
		if got := string((<-l.read).Data); got != string(changed(`1`).Data) {
			t.Errorf("%s", got)
		}
		l.stop()
		<-l.ended
	})
}

// Whose a resource is, is asked for once by many, and again when it may have
// changed.
func TestMergedLocate(t *testing.T) {
	var mu sync.Mutex
	lists := map[string]int{}
	listed := `{"uri":"docs://a"}`
	server := func(name string) answering {
		return func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
			mu.Lock()
			lists[name+" "+x.Session+" "+methodIn(x.Body)]++
			l := ""
			if name == "docs" {
				l = listed
			}
			mu.Unlock()
			if x.Owner != "alice" || x.Server != "" || strings.Contains(string(x.Body), "progressToken") {
				t.Errorf("%+v", x)
			}
			return results(`"resources":[`+l+`],"resourceTemplates":[]`)(ctx, x, sink)
		}
	}
	g := merge(t, server("docs"), server("fs"))
	x := in(bothOpen, to("fs", asking(`1`, "resources/read", `"uri":"docs://a","_meta":{"progressToken":1}`)))
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if err := g.Locate(t.Context(), x, "docs://a"); err != nil {
				t.Error(err)
			}
			if server, _ := g.Split("", "docs://a"); server != "docs" {
				t.Errorf("docs://a is %q's", server)
			}
		})
	}
	wait.Wait()
	count := func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(lists)
	}
	const once = "map[docs d-1 resources/list:1 docs d-1 resources/templates/list:1 fs f-1 resources/list:1 fs f-1 resources/templates/list:1]"
	if got := count(); got != once {
		t.Errorf("asked %s", got)
	}
	locate := func(uri string) {
		t.Helper()
		if err := g.Locate(t.Context(), x, uri); err != nil {
			t.Error(err)
		}
	}
	locate("other://a") // not there, as was seen just now
	if got := count(); got != once {
		t.Errorf("asked %s", got)
	}
	g.now = g.now.Add(lookPause)
	mu.Lock()
	listed = `{"uri":"other://a"}`
	mu.Unlock()
	locate("other://a")
	if server, _ := g.Split("", "other://a"); server != "docs" {
		t.Errorf("other://a is %q's", server)
	}
	if server, _ := g.Split("", "docs://a"); server != "" {
		t.Errorf("docs://a is still %q's", server)
	}
	g.indexes.at("").changes("docs")
	before := count()
	locate("other://a")
	if got := count(); got == before {
		t.Error("what a server said to have changed is not asked for again")
	}
	g.docs.do, g.fs.do = down, down
	g.now = g.now.Add(lookPause)
	if err := g.Locate(t.Context(), x, "x://"); err == nil {
		t.Error("nobody could be asked, and that is no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hanging := make(chan struct{}, 1)
	g.docs.do = func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
		hanging <- struct{}{}
		return hangs(ctx, x, sink)
	}
	if err := g.Locate(ctx, x, "x://"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-hanging
	_ = g.Close() // what hangs there ends, or is found to be leaked
}

// Another server's template gets nothing that its owner has not listed yet, or
// lists anew.
func TestMergedLocateAll(t *testing.T) {
	lists := func(uris, templates string) answering {
		return byMethod(map[string]answering{"resources/list": results(`"resources":[` + uris + `]`), "resources/templates/list": results(`"resourceTemplates":[` + templates + `]`)})
	}
	g := merge(t, lists(`{"uri":"docs://a"}`, ``), lists(``, `{"uriTemplate":"{+any}"}`))
	x := in(bothOpen, asking(`1`, "resources/read", `"uri":"docs://a"`))
	nobodys := func(when string) {
		t.Helper()
		if err := g.Locate(t.Context(), x, "docs://a"); err != nil {
			t.Error(err)
		}
		if server, _ := g.Split("", "docs://a"); server != "" {
			t.Errorf("%s: docs://a is %q's", when, server)
		}
	}
	g.must(in(bothOpen, asking(`1`, "resources/templates/list", ``)))
	nobodys("before resources are listed")
	g.indexes.at("").changes("docs")
	g.docs.do = down
	nobodys("while its server cannot list")
}
