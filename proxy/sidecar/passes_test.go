package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

// odd is legal JSON that a decoder would change.
const odd = `"x": [1.0, 1e3, 12345678901234567890 , -0, {"b":1,"a":"\u0041\/"}],  "com.example/y":null`

// allRevisions are those that pass, newest first.
var allRevisions = []string{modern, legacy, "2025-06-18", "2025-03-26"}

// TestMethodsPass: every request of a client that is allowed reaches the upstream
// with the bytes that were sent, and its answer comes back with the upstream's, in
// every revision that has it, all guards enforcing.
func TestMethodsPass(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, name, params string
		result               string
		only                 string
	}{
		{method: "logging/setLevel", params: `"level":"debug"`, only: legacy, result: `{ }`},
		{method: "ping", only: legacy, result: `{}`},
		{method: "server/discover", only: modern, result: `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"x":{}},` + odd + `}`},
		{method: "tools/list", result: `{"tools":[{"name":"t","description":"Counts.","inputSchema":{"type":"object"},"execution":{"taskSupport":"optional"}}],"nextCursor":"c",` + odd + `,"cacheScope":"private"}`},
		{method: "tools/call", name: "t", params: `"name":"t","arguments":{` + odd + `}`, result: `{"content":[{"type":"text","text":"done"},{"type":"hologram","depth":1.50}],"isError":false,` + odd + `}`},
		{method: "resources/list", params: `"cursor":"c1"`, result: `{"resources":[{"uri":"memo://a","name":"a","size":1e2}],` + odd + `,"cacheScope":"private"}`},
		{method: "resources/templates/list", result: `{"resourceTemplates":[{"uriTemplate":"memo://{x}","name":"a"}],` + odd + `,"cacheScope":"private"}`},
		{method: "resources/read", name: "memo://a", params: `"uri":"memo://a"`, result: `{"contents":[{"uri":"memo://a","text":"Bread, milk.","mimeType":"text/plain"},{"uri":"memo://b","blob":"iVBORw0KGgo="}],` + odd + `,"cacheScope":"private"}`},
		{method: "resources/subscribe", params: `"uri":"memo://a"`, only: legacy, result: `{}`},
		{method: "resources/unsubscribe", params: `"uri":"memo://a"`, only: legacy, result: `{}`},
		{method: "prompts/list", result: `{"prompts":[{"name":"p","arguments":[]}],` + odd + `,"cacheScope":"private"}`},
		{method: "prompts/get", name: "p", params: `"name":"p","arguments":{"a":"b"}`, result: `{"messages":[{"role":"user","content":{"type":"text","text":"Say hello."}}],` + odd + `}`},
		{method: "completion/complete", params: `"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"x"}`, result: `{"completion":{"values":["xa","xb"],"total":0,"hasMore":false},` + odd + `}`},
		{method: "completion/complete", params: `"ref":{"type":"ref/resource","uri":"memo://{x}"},"argument":{"name":"x","value":""}`, result: `{"completion":{"values":[]}}`},
		{method: "tasks/list", only: legacy, result: `{"tasks":[{"taskId":"t-1","status":"working","pollInterval":1e3}],` + odd + `}`},
		{method: "tasks/get", name: "t-1", params: `"taskId":"t-1",` + odd, result: `{"taskId":"t-1","status":"working","ttl":6.0e4,` + odd + `}`},
		{method: "tasks/result", params: `"taskId":"t-1"`, only: legacy, result: `{"content":[{"type":"text","text":"done"}],` + odd + `}`},
		{method: "tasks/update", name: "t-1", params: `"taskId":"t-1","inputResponses":{"q":{"action":"accept","content":{` + odd + `}}}`, only: modern, result: `{` + odd + `}`},
		{method: "tasks/cancel", name: "t-1", params: `"taskId":"t-1"`, result: `{"taskId":"t-1","status":"cancelled",` + odd + `}`},
		{method: "com.example/count", params: odd, result: `{` + odd + `}`},
		{method: "com.example/count", params: `"requestState":"s"`, result: `{"resultType":"input_required","requestState":"s"}`}, // of a form of its own
	} {
		for _, rev := range allRevisions {
			if row.only != "" && (row.only == modern) != (rev == modern) {
				continue
			}
			t.Run(row.method+"/"+rev, func(t *testing.T) {
				t.Parallel()
				answer := ""
				r := start(t, setup{policy: featurePolicy, inventory: `[{"name":"t","annotations":{"readOnlyHint":true}}]`, extra: "methods: [com.example/count]\n", upstream: tasking})
				if strings.HasPrefix(row.method, "tasks/") { // a task of alice's
					r.do(toolCall(rev, r.token("alice"), "0", "t", `{}`))
				}
				r.up.answerWith(func(w http.ResponseWriter, req *http.Request) {
					answer = `{"jsonrpc": "2.0", "id":` + idOf(req) + `,"result":` + row.result + `}`
					answerJSON(w, 200, answer)
				})
				a := request(rev, r.token("alice"), `"\u0031"`, row.method, row.params)
				if row.name != "" {
					a = a.with("Mcp-Name", headerOf(rev, row.name)...)
				}
				g := r.do(a)
				if got := r.up.last().body; got != a.body {
					t.Errorf("forwarded %s\nsent      %s", got, a.body)
				}
				if string(g.body) != answer || g.status != 200 {
					t.Errorf("%d %s\nanswered %s", g.status, g.body, answer)
				}
			})
		}
	}
}

// TestNotificationsPass: what a client says without being answered reaches the
// server with the bytes that were sent.
func TestNotificationsPass(t *testing.T) {
	t.Parallel()
	for _, rev := range allRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			up := newStreaming()
			s := features()
			s.upstream = up.ServeHTTP
			r := start(t, s)
			passes := func(a ask) {
				t.Helper()
				if g := r.do(a); g.status != http.StatusAccepted || len(g.body) != 0 {
					t.Errorf("%d %s", g.status, g.body)
				}
				if e := r.outcome(); e.Outcome != "allowed" {
					t.Errorf("%s: record %+v", a.body, e)
				}
				if got := <-up.posts; got != a.body {
					t.Errorf("forwarded %s\nsent      %s", got, a.body)
				}
			}
			if rev == modern {
				passes(notify(rev, r.token("alice"), "notifications/com.example/tick", odd))
				return
			}
			session := r.initializeWith("alice", `"roots":{}`)
			events, _ := r.listen(t, "alice", session, "")
			feed, _ := up.feed(0)
			feed <- data("q", `{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{"_meta":{"progressToken":"theirs"}}}`)
			next(t, events)
			r.records()
			for _, n := range []struct{ method, params string }{
				{"notifications/initialized", odd},
				{"notifications/roots/list_changed", odd},
				{"notifications/progress", `"progressToken":"theirs","progress":1.50,` + odd},
				{"notifications/com.example/tick", odd},
			} {
				passes(notify(rev, r.token("alice"), n.method, n.params).in(session))
			}
			r.do(notify(rev, r.token("alice"), "notifications/progress", `"progressToken":"nobody's","progress":1`).in(session))
			if e := r.outcome(); e.Outcome != "protocol_rejected" || e.Reason != "not-asked" || len(up.posts) != 0 {
				t.Errorf("progress that nobody asked for: record %+v", e)
			}
			close(feed)
		})
	}
}

// TestServersExtension: a request of a server's own, which the configuration
// admits, reaches the client, and its answer the server.
func TestServersExtension(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	s := features()
	s.upstream = up.ServeHTTP
	r := start(t, s)
	session := r.initialize("alice")
	events, _ := r.listen(t, "alice", session, "")
	feed, _ := up.feed(0)
	for i, method := range []string{"com.example/other", "com.example/count"} {
		question := fmt.Sprintf(`{"jsonrpc": "2.0","id":%d,"method":%q,"params":{%s}}`, i, method, odd)
		feed <- data("q", question)
		if method == "com.example/other" {
			if got := <-up.posts; !strings.Contains(got, `"id":0,"error":{"code":-32601`) {
				t.Errorf("nobody admits it, and the server reads %s", got)
			}
			continue
		}
		if ev := next(t, events); string(ev.Data) != question {
			t.Errorf("the client reads %s\nthe server said %s", ev.Data, question)
		}
	}
	answer := post(legacy, r.token("alice"), "", "", `{"jsonrpc": "2.0","id":1,"result":{`+odd+`}}`).in(session)
	if g := r.do(answer); g.status != http.StatusAccepted {
		t.Errorf("%d %s", g.status, g.body)
	}
	if got := <-up.posts; got != answer.body {
		t.Errorf("the server reads %s\nthe client said %s", got, answer.body)
	}
	close(feed)
}

// listeningTo is an upstream that acknowledges a subscription and then sends what
// it is fed.
func listeningTo(feed chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := idOf(r)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":"+id+"},\"notifications\":{}}}\n\n")
		w.(http.Flusher).Flush()
		for {
			select {
			case text := <-feed:
				_, _ = io.WriteString(w, text)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

const updated = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{\"uri\":\"memo://public/a\"}}\n\n"

// TestUpdates: a subscriber reads of what he may read, on both kinds of stream, and
// the stream ends in an orderly way when the sidecar stops.
func TestUpdates(t *testing.T) {
	t.Parallel()
	sealed := strings.Replace(updated, "public/a", "sealed/plan", 1)
	climbs := strings.Replace(updated, "public/a", "public/../sealed/plan", 1)
	t.Run(modern, func(t *testing.T) {
		feed := make(chan string, 8)
		r := start(t, setup{policy: featurePolicy, upstream: listeningTo(feed)})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		resp := r.open(ctx, request(modern, r.token("alice"), `"l-1"`, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["memo://public/a"]}`))
		defer resp.Body.Close()
		events := wire.NewEventReader(resp.Body, 1<<20)
		if ev := next(t, events); !strings.Contains(string(ev.Data), `"io.modelcontextprotocol/subscriptionId":"l-1"`) {
			t.Errorf("%s", ev.Data)
		}
		feed <- sealed + climbs + updated
		if ev := next(t, events); string(ev.Data)+"\n\n" != strings.TrimPrefix(updated, "data: ") {
			t.Errorf("%s", ev.Data)
		}
		r.sidecar.endpoints[0].pipeline.Drain()
		if ev := next(t, events); string(ev.Data) != `{"jsonrpc":"2.0","id":"l-1","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"l-1"}}}` {
			t.Errorf("%s", ev.Data)
		}
		if _, err := events.Next(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	t.Run(legacy, func(t *testing.T) {
		up := newStreaming()
		r := start(t, setup{policy: featurePolicy, upstream: up.ServeHTTP})
		events, _ := r.listen(t, "alice", r.initialize("alice"), "")
		feed, _ := up.feed(0)
		feed <- sealed + climbs + updated
		if ev := next(t, events); string(ev.Data)+"\n\n" != strings.TrimPrefix(updated, "data: ") {
			t.Errorf("%s", ev.Data)
		}
		r.sidecar.endpoints[0].pipeline.Drain()
		if ev, err := events.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s, %v", ev.Data, err)
		}
	})
}
