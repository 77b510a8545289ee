package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

const meta = `"_meta":{"progressToken":"t"}`

// A request goes to the server that was decided about, under the name that the
// server knows, in body and header. Everything else keeps its bytes.
func TestMergedRoutes(t *testing.T) {
	task := `"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"docs.t-1"}}`
	for _, row := range []struct {
		method, params, name string
		wantParams, wantName string
	}{
		{"tools/call", `"na\u006de":"docs.re\u0061d", "arguments":{"big":9007199254740993}`, "docs.read", `"na\u006de":"read", "arguments":{"big":9007199254740993}`, "read"},
		{"tools/call", `"name":"docs.a.b"`, "docs.a.b", `"name":"a.b"`, "a.b"},
		{"tools/call", `"name":"docs.read",` + task, "docs.read", `"name":"read",` + strings.Replace(task, "docs.t-1", "t-1", 1), "read"},
		{"prompts/get", `"name":"docs.greet"`, "docs.greet", `"name":"greet"`, "greet"},
		{"completion/complete", `"ref":{"type":"ref/prompt","name":"docs.greet"},"argument":{"name":"docs.x","value":"docs.y"}`, "", `"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"docs.x","value":"docs.y"}`, ""},
		{"completion/complete", `"ref":{"type":"ref/resource","uri":"docs.x"}`, "", `"ref":{"type":"ref/resource","uri":"docs.x"}`, ""},
		{"resources/read", `"uri":"docs.x://1"`, "docs.x://1", `"uri":"docs.x://1"`, "docs.x://1"},
		{"resources/subscribe", `"uri":"x://1"`, "", `"uri":"x://1"`, ""},
		{"resources/unsubscribe", `"uri":"x://1"`, "", `"uri":"x://1"`, ""},
	} {
		g := merge(t, results(`"ok":true`), trapped(t))
		x := to("docs", askingModern(`7`, row.method, row.params))
		x.Name, x.Params = row.name, []wire.Header{{Name: "Mcp-Param-X", Value: "1"}}
		if h := g.must(x); h.last != response(`7`, `"ok":true`) {
			t.Errorf("%s: %s", row.method, h.last)
		}
		got := g.docs.asked()[0]
		if want := string(asking(`7`, row.method, row.wantParams).Body); string(got.Body) != want || got.Name != row.wantName {
			t.Errorf("%s %s:\ngot  %s (%q)\nwant %s (%q)", row.method, row.params, got.Body, got.Name, want, row.wantName)
		}
		if got.Server != "" || got.Session != "" || got.Owner != "alice" || got.Version != "2026-07-28" || got.Method != row.method || len(got.Params) != 1 || !got.Call {
			t.Errorf("%s: %+v", row.method, got)
		}
	}
}

// What names no server, or another one than was decided about, reaches none.
func TestMergedRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		x    wire.Exchange
		code int // 0: an error of the way
	}{
		{"nobody's tool", asking(`1`, "tools/call", `"name":"read"`), -32602},
		{"an unknown server's tool", to("nobody", asking(`1`, "tools/call", `"name":"nobody.read"`)), -32602},
		{"another server's tool", to("docs", asking(`1`, "tools/call", `"name":"fs.read"`)), 0},
		{"a server's name alone", to("docs", asking(`1`, "tools/call", `"name":"docs."`)), 0},
		{"a longer name", to("docs", asking(`1`, "tools/call", `"name":"docs2.read"`)), 0},
		{"another case", to("docs", asking(`1`, "tools/call", `"name":"Docs.read"`)), 0},
		{"another server's prompt", to("docs", asking(`1`, "prompts/get", `"name":"fs.greet"`)), 0},
		{"completion of another server's prompt", to("docs", asking(`1`, "completion/complete", `"ref":{"type":"ref/prompt","name":"fs.greet"}`)), 0},
		{"nobody's resource", asking(`1`, "resources/read", `"uri":"x://1"`), -32602},
		{"nobody's task", asking(`1`, "tasks/get", `"taskId":"t"`), -32602},
		{"an unknown server's task", asking(`1`, "tasks/get", `"taskId":"nobody.t"`), -32602},
		{"an admitted method", asking(`1`, "com.example/query", ``), -32601},
		{"a server that is not in the session", in(joined(map[string]string{"fs": "f-1"}), to("docs", asking(`1`, "tools/call", `"name":"docs.read"`))), 0},
		{"a listed server that is not in the session", in(joined(map[string]string{"fs": "f-1"}), to("docs", asking(`1`, "tools/list", ``))), 0},
		{"an empty session", in("none", asking(`1`, "tools/list", ``)), 0},
	} {
		g := merge(t, trapped(t), trapped(t))
		h, err := g.send(row.x)
		if row.code == 0 {
			if err == nil || h.reply != nil {
				t.Errorf("%s: %v %s", row.name, err, h.last)
			}
			continue
		}
		if err != nil || !strings.Contains(h.last, fmt.Sprintf(`"id":1,"error":{"code":%d,`, row.code)) {
			t.Errorf("%s: %v %s", row.name, err, h.last)
		}
	}
	g := merge(t, trapped(t), trapped(t))
	if h := g.must(askingModern(`1`, "com.example/query", ``)); h.reply.Status != 404 {
		t.Errorf("2026-07-28: %d", h.reply.Status)
	}
}

// Ids of tasks are made theirs on the way to the client and taken apart again.
func TestMergedTasks(t *testing.T) {
	const related = `"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t-1"}}`
	for _, row := range []struct{ result, want string }{
		{`"taskId":"t-1","status":"working"`, `"taskId":"docs.t-1","status":"working"`},
		{`"task":{"taskId":"t-1"}`, `"task":{"taskId":"docs.t-1"}`},
		{`"content":[],` + related, `"content":[],` + strings.Replace(related, "t-1", "docs.t-1", 1)},
		{`"content":[{"taskId":"t-1"}]`, `"content":[{"taskId":"t-1"}]`},
	} {
		g := merge(t, results(row.result), trapped(t))
		if h := g.must(to("docs", asking(`1`, "tools/call", `"name":"docs.read"`))); h.last != response(`1`, row.want) {
			t.Errorf("%s becomes %s", row.result, h.last)
		}
	}
	for _, method := range []string{"tasks/get", "tasks/result", "tasks/update", "tasks/cancel"} {
		g := merge(t, trapped(t), results(`"ok":true`))
		x := asking(`1`, method, `"taskId":"fs.docs.t 1"`)
		x.Name = "fs.docs.t 1"
		g.must(x)
		if got := g.fs.asked()[0]; string(got.Body) != string(asking(`1`, method, `"taskId":"docs.t 1"`).Body) || got.Name != "docs.t 1" {
			t.Errorf("%s: %s %q", method, got.Body, got.Name)
		}
	}
}

// asks sends requests of the server's own on the stream of a call.
func asks(events ...string) answering {
	return func(_ context.Context, x wire.Exchange, sink wire.Sink) error {
		if !x.Call {
			return done(sink.Reply(wire.Reply{Status: 202}))
		}
		if err := sink.Reply(wire.Reply{Status: 200, Stream: true}); err != nil {
			return done(err)
		}
		for _, ev := range append(events, response(idIn(x.Body), `"ok":true`)) {
			if err := sink.Message(wire.Event{Data: []byte(ev)}); err != nil {
				return done(err)
			}
		}
		return nil
	}
}

// Requests that two servers start have equal ids and equal progress tokens; to the
// client they differ, and each answer goes back under the very bytes.
func TestMergedServersRequests(t *testing.T) {
	for _, id := range []string{`1`, `"1"`, `0`, `-1`, `9007199254740993`, `1.5`, `"a:b"`, `"\u00e9\"\\"`, `"fs:1"`} {
		request := `{"jsonrpc":"2.0","id":` + id + `,"method":"elicitation/create","params":{"_meta":{"progressToken":` + id + `},"message":"m"}}`
		g := merge(t, asks(request), asks(request))
		seen := map[string]string{}
		for _, server := range []string{"docs", "fs"} {
			h := g.must(in(bothOpen, to(server, asking(`9`, "tools/call", `"name":"`+server+`.read"`))))
			m, err := wire.Scan(h.messages[0].Data, wire.Limits{})
			if err != nil || m.Kind != wire.Request || h.last != response(`9`, `"ok":true`) {
				t.Fatalf("%v %s, %s", err, h.messages[0].Data, h.last)
			}
			asked := string(m.Value(m.ID))
			if other, taken := seen[asked]; taken {
				t.Errorf("%s and %s ask under one id %s", other, server, asked)
			}
			if token := string(m.Value(m.At(m.Params, "_meta", "progressToken"))); token != asked {
				t.Errorf("token %s, id %s", token, asked)
			}
			seen[asked] = server
		}
		for asked, server := range seen {
			answer := `{"jsonrpc":"2.0","id":` + asked + `,"result":{"action":"decline","big":9007199254740993}}`
			progress := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + asked + `,"progress":1}}`
			own, other := g.docs, g.fs
			if server == "fs" {
				own, other = g.fs, g.docs
			}
			before, untouched := len(own.asked()), len(other.asked())
			for body, want := range map[string]string{
				answer:   `{"jsonrpc":"2.0","id":` + id + `,"result":{"action":"decline","big":9007199254740993}}`,
				progress: `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + id + `,"progress":1}}`,
			} {
				if h := g.must(in(bothOpen, wire.Exchange{Body: []byte(body), Owner: "alice"})); h.reply.Status != 202 {
					t.Errorf("%+v", h.reply)
				}
				all := own.asked()
				got := all[len(all)-1]
				if string(got.Body) != want || got.Session != string(server[0])+"-1" || got.Call {
					t.Errorf("%s: %s gets %s in %q, want %s", id, server, got.Body, got.Session, want)
				}
			}
			if len(own.asked()) != before+2 || len(other.asked()) != untouched {
				t.Errorf("an answer to %s reached the other server", server)
			}
		}
	}
}

// Answers under ids that no server gave out reach none.
func TestMergedForeignAnswers(t *testing.T) {
	g := merge(t, trapped(t), trapped(t))
	for _, id := range []string{`1`, `"1"`, `"docs"`, `"docs:"`, `"docs:{}"`, `"docs:null"`, `"docs:1,\"method\":\"x\""`, `"docs:[1]"`, `"docs:true"`, `"nobody:1"`, `"Docs:1"`, `"docs: 1"`, `":1"`} {
		for _, body := range []string{
			`{"jsonrpc":"2.0","id":` + id + `,"result":{}}`,
			`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + id + `}}`,
		} {
			if h, err := g.send(in(bothOpen, wire.Exchange{Body: []byte(body), Owner: "alice"})); err == nil {
				t.Errorf("%s: %+v", body, h.reply)
			}
		}
	}
}

// A server asks about a task of the client's: no server was told of any.
func TestMergedClientsTasks(t *testing.T) {
	g := merge(t, asks(`{"jsonrpc":"2.0","id":5,"method":"tasks/result","params":{"taskId":"t"}}`), trapped(t))
	h := g.must(to("docs", asking(`1`, "tools/call", `"name":"docs.read"`)))
	if len(h.messages) != 1 {
		t.Errorf("the client reads %s", h.messages[0].Data)
	}
	if all := g.docs.bodies(); len(all) != 2 || !strings.Contains(all[1], `"id":5,"error":{"code":-32601,`) {
		t.Errorf("the server reads %q", all)
	}
}

// What a server says of its own ids is marked; the ids of events too.
func TestMergedNotifications(t *testing.T) {
	for _, row := range []struct{ said, want string }{
		{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1.50}}`, `same`},
		{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"other","progress":1}}`, ``},
		{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}`, ``},
		{`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`, `same`},
		{`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, `same`},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"docs:5"}}`},
		{`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t-1"}}`, `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"docs.t-1"}}`},
		{`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t-1"}}`, `{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"docs.t-1"}}`},
		{`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"docs://a"}}`, `same`},
		{`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"other://a"}}`, `same`},
		{`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"fs://a"}}`, ``},
	} {
		g := merge(t, asks(row.said), trapped(t))
		g.indexes.at("").setURIs("docs", []string{"docs://a"})
		g.indexes.at("").setURIs("fs", []string{"fs://a"})
		h := g.must(to("docs", asking(`1`, "tools/call", `"name":"docs.read",`+meta)))
		got := string(h.messages[0].Data)
		switch {
		case row.want == "" && len(h.messages) == 1:
		case row.want == "same" && got == row.said:
		case row.want == got:
		default:
			t.Errorf("%s becomes %s, want %q", row.said, got, row.want)
		}
	}
}

// A cancellation reaches whoever works on the request, and nobody else.
func TestMergedCancellation(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
		if x.Call {
			arrived <- struct{}{}
			<-finish
		}
		return results(`"tools":[]`)(ctx, x, sink)
	}
	cancel := func(id, session, owner string) wire.Exchange {
		return wire.Exchange{Body: []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`), Session: session, Owner: owner}
	}
	for _, row := range []struct {
		name     string
		running  wire.Exchange
		cancel   wire.Exchange
		docs, fs int // cancellations that arrive
		calls    int
	}{
		{"its own", to("docs", asking(`7`, "tools/call", `"name":"docs.read"`)), cancel(`7`, bothOpen, "alice"), 1, 0, 1},
		{"spelled another way", to("docs", asking(`"a"`, "tools/call", `"name":"docs.read"`)), cancel(`"\u0061"`, bothOpen, "alice"), 1, 0, 1},
		{"a list", asking(`7`, "tools/list", ``), cancel(`7`, bothOpen, "alice"), 1, 1, 2},
		{"another id", to("docs", asking(`7`, "tools/call", `"name":"docs.read"`)), cancel(`8`, bothOpen, "alice"), 0, 0, 1},
		{"text for a number", to("docs", asking(`7`, "tools/call", `"name":"docs.read"`)), cancel(`"7"`, bothOpen, "alice"), 0, 0, 1},
		{"another session", to("docs", asking(`7`, "tools/call", `"name":"docs.read"`)), cancel(`7`, joined(map[string]string{"docs": "d-2"}), "alice"), 0, 0, 1},
		{"another principal", to("docs", asking(`7`, "tools/call", `"name":"docs.read"`)), cancel(`7`, bothOpen, "bob"), 0, 0, 1},
	} {
		g := merge(t, slow, slow)
		ended := make(chan error, 1)
		go func() {
			_, err := g.send(in(bothOpen, row.running))
			ended <- err
		}()
		for range row.calls {
			<-arrived
		}
		docs, fs := len(g.docs.asked()), len(g.fs.asked())
		if h := g.must(row.cancel); h.reply.Status != 202 {
			t.Errorf("%s: %+v", row.name, h.reply)
		}
		if n, k := len(g.docs.asked())-docs, len(g.fs.asked())-fs; n != row.docs || k != row.fs {
			t.Errorf("%s: %d reached docs and %d fs", row.name, n, k)
		}
		close(finish)
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		finish = make(chan struct{})
		before := len(g.docs.asked())
		g.must(row.cancel)
		if len(g.docs.asked()) != before {
			t.Errorf("%s: a request that has ended was cancelled", row.name)
		}
	}
}

// What concerns the whole session goes to every server that takes part.
func TestMergedToAll(t *testing.T) {
	for _, method := range []string{"notifications/initialized", "notifications/roots/list_changed"} {
		g := merge(t, status(202), down)
		x := in(bothOpen, wire.Exchange{Body: []byte(`{"jsonrpc":"2.0","method":"` + method + `"}`), Version: "2025-11-25"})
		if h := g.must(x); h.reply.Status != 202 || len(g.docs.asked()) != 1 || len(g.fs.asked()) != 1 {
			t.Errorf("%s: %+v", method, h.reply)
		}
		if got := g.fs.asked()[0]; got.Session != "f-1" || string(got.Body) != string(x.Body) {
			t.Errorf("%s: %+v", method, got)
		}
		g = merge(t, down, down)
		if _, err := g.send(x); err == nil {
			t.Errorf("%s reached nobody, and that is no error", method)
		}
		g = merge(t, status(400), status(400))
		if h := g.must(x); h.reply.Status != 400 {
			t.Errorf("%s, refused by all: %+v", method, h.reply)
		}
	}
	for _, method := range []string{"ping", "logging/setLevel"} {
		g := merge(t, refuses(200, -32601), results(`"x":1`))
		if h := g.must(asking(`"p"`, method, ``)); h.last != response(`"p"`, `"x":1`) || len(g.docs.asked()) != 1 {
			t.Errorf("%s: %s", method, h.last)
		}
		g = merge(t, refuses(200, -32601), down)
		if h := g.must(asking(`"p"`, method, ``)); !strings.Contains(h.last, `-32601`) {
			t.Errorf("%s: %s", method, h.last)
		}
		g = merge(t, down, down)
		if _, err := g.send(asking(`"p"`, method, ``)); err == nil {
			t.Errorf("%s reached nobody, and that is no error", method)
		}
	}
}

// A server that has forgotten the session ends it at all of them: the client must
// begin anew.
func TestMergedLostSession(t *testing.T) {
	for name, x := range map[string]wire.Exchange{
		"call":         to("docs", asking(`1`, "tools/call", `"name":"docs.read"`)),
		"list":         asking(`1`, "tools/list", ``),
		"ping":         asking(`1`, "ping", ``),
		"notification": {Body: []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)},
		"stream":       {Verb: wire.Watch},
	} {
		g := merge(t, status(404), results(`"tools":[]`))
		h := g.must(in(bothOpen, x))
		if h.reply.Status != 404 || h.last != "" {
			t.Errorf("%s: %+v %s", name, h.reply, h.last)
		}
		if got := ends(g.fs); len(got) != 1 || got[0] != "f-1" || len(ends(g.docs)) != 0 {
			t.Errorf("%s: ended %q at fs and %q at docs", name, got, ends(g.docs))
		}
	}
	// Without a session a 404 is an answer like any other.
	g := merge(t, refuses(404, -32601), trapped(t))
	if h := g.must(to("docs", askingModern(`1`, "tools/call", `"name":"docs.read"`))); h.reply.Status != 404 || !strings.Contains(h.last, "-32601") {
		t.Errorf("2026-07-28: %+v %s", h.reply, h.last)
	}
}

// The end of a session ends it everywhere.
func TestMergedEnd(t *testing.T) {
	g := merge(t, status(204), down)
	if h := g.must(in(bothOpen, wire.Exchange{Verb: wire.End, Version: "2025-11-25", Owner: "alice"})); h.reply.Status != 204 {
		t.Errorf("%+v", h.reply)
	}
	if len(ends(g.docs)) != 1 || len(ends(g.fs)) != 1 || g.fs.asked()[0].Owner != "alice" || g.fs.asked()[0].Version != "2025-11-25" {
		t.Errorf("%+v %+v", g.docs.asked(), g.fs.asked())
	}
}

// An error of the way names the server; the sink's own error passes.
func TestMergedErrors(t *testing.T) {
	g := merge(t, down, results(`"ok":true`))
	_, err := g.send(to("docs", asking(`1`, "tools/call", `"name":"docs.read"`)))
	if !errors.Is(err, backend.ErrTransport) || !strings.HasPrefix(err.Error(), "docs: ") {
		t.Errorf("%v", err)
	}
	own := errors.New("the sink's")
	// What forbids the rest may stand in one server's message, and the rest come from
	// another.
	spoken := merge(t, asks(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`), tools("read"))
	for _, x := range []wire.Exchange{asking(`1`, "tools/list", ``), asking(`1`, "ping", ``)} {
		h := &heard{stop: func(wire.Event) error { return own }}
		if err := spoken.Do(t.Context(), x, h); !errors.Is(err, own) || len(h.messages) != 1 {
			t.Errorf("%s: %v, %d messages", x.Body, err, len(h.messages))
		}
	}
	if said := spoken.log.String(); said != "" {
		t.Errorf("a server is blamed: %s", said)
	}
	for name, x := range map[string]wire.Exchange{
		"call": to("fs", asking(`1`, "tools/call", `"name":"fs.read"`)),
		"ping": asking(`1`, "ping", ``),
	} {
		h := &heard{stop: func(wire.Event) error { return own }}
		if err := g.Do(t.Context(), x, h); !errors.Is(err, own) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A panic of the sink's, or of a server's, ends that exchange and leaves nothing
// behind.
func TestMergedPanics(t *testing.T) {
	events := asks(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
	for name, run := range map[string]func(){
		"the sink's": func() {
			g := merge(t, events, events)
			_ = g.Do(t.Context(), asking(`1`, "tools/list", ``), &heard{stop: func(wire.Event) error { panic("sink") }})
		},
		"a server's": func() {
			g := merge(t, func(context.Context, wire.Exchange, wire.Sink) error { panic("server") }, hangs)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = g.Do(ctx, asking(`1`, "tools/list", ``), &heard{})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s panic is lost", name)
				}
			}()
			run()
		}()
	}
}

// Lists that many wait for are fetched for nobody's exchange; a panic there ends
// the fetching alone.
func TestMergedLocatePanics(t *testing.T) {
	g := merge(t, func(context.Context, wire.Exchange, wire.Sink) error { panic("server") }, results(`"resources":[],"resourceTemplates":[]`))
	if err := g.Locate(t.Context(), asking(`1`, "resources/read", `"uri":"docs://a"`), "docs://a"); err == nil || strings.Contains(err.Error(), "server") {
		t.Errorf("%v", err)
	}
}

// Names that a reader could take for one another make no merged server.
func TestMergedMembers(t *testing.T) {
	for _, names := range [][]string{{"docs", "Docs"}, {"a1", "al"}, {"move", "rnove"}, {""}, {"a.b"}, {"a:b"}, {"a b"}, {"a=b"}, {"a;b"}, {"docs", "docs"}} {
		var members []Member
		for _, n := range names {
			members = append(members, Member{Name: n, Upstream: &fakeServer{}})
		}
		if _, err := New(Options{Members: members, LookAlike: alike}); err == nil {
			t.Errorf("%q are accepted", names)
		}
	}
}

// A session id is what the servers gave, whatever that is.
func TestJoined(t *testing.T) {
	for _, texts := range []map[string]string{{"docs": "a;b=c", "fs": ""}, {"fs": "\x00é\" \n"}, {"a-b_C": "x"}} {
		text := joined(texts)
		if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=;") != "" {
			t.Errorf("%q", text)
		}
		got := parted(text)
		if len(got) != len(texts) {
			t.Errorf("%v becomes %v", texts, got)
		}
		for name, want := range texts {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
	}
	for _, text := range []string{"", "docs", "docs=!", "=;=", "docs=A"} {
		if got := parted(text); got["docs"] != "" {
			t.Errorf("%q: %v", text, got)
		}
	}
}
