package sidecar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

// odd is legal JSON that a decoder would change.
const odd = `"x": [1.0, 1e3, 12345678901234567890 , -0, {"b":1,"a":"\u0041\/"}],  "com.example/y":null`

// TestMethodsPass: every request of a client that is allowed reaches the upstream
// with the bytes that were sent, and its answer comes back with the upstream's, all
// guards enforcing.
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
		{method: "com.example/count", params: odd, result: `{` + odd + `}`},
	} {
		for _, rev := range bothRevisions {
			if row.only != "" && row.only != rev {
				continue
			}
			t.Run(row.method+"/"+rev, func(t *testing.T) {
				t.Parallel()
				answer := ""
				r := start(t, setup{policy: featurePolicy, inventory: `[{"name":"t","annotations":{"readOnlyHint":true}}]`, extra: "methods: [com.example/count]\n",
					upstream: func(w http.ResponseWriter, req *http.Request) {
						answer = `{"jsonrpc": "2.0", "id":` + idOf(req) + `,"result":` + row.result + `}`
						answerJSON(w, 200, answer)
					}})
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
