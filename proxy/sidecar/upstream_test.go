package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/proxy/audit"
)

// update is a call that passes every check; its result is not wrapped. It asks
// for progress under the token 7.
func (r *rig) update(rev, id string) ask {
	a := toolCall(rev, r.token("alice"), id, "update_document", `{"id":1}`)
	if rev == modern {
		a.body = strings.Replace(a.body, `"_meta":{`, `"_meta":{"progressToken":7,`, 1)
	} else {
		a.body = strings.Replace(a.body, `"params":{`, `"params":{"_meta":{"progressToken":7},`, 1)
	}
	return a
}

const doneResult = `{"content":[{"type":"text","text":"done"}]}`

// event is one server-sent event as the sidecar writes it.
func event(data string) string { return "event: message\ndata: " + data + "\n\n" }

func response(id, result string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":` + result + `}`
}

// TestAnswers: what the upstream may answer with, and what the client gets.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1.50,"message":"half way"}}`
	const log = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"n":9007199254740993}}}`
	for _, row := range []struct {
		name     string
		upstream http.HandlerFunc
		media    string
		want     string // $ID is the request's id
		events   int
		dropped  int
	}{
		{name: "JSON", upstream: text("done"), media: "application/json", want: response("$ID", doneResult)},
		{name: "JSON with a charset", upstream: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = io.WriteString(w, response(idOf(r), doneResult))
		}, media: "application/json", want: response("$ID", doneResult)},
		{name: "stream of one", upstream: events("data: " + response("$ID", doneResult) + "\n\n"), media: "text/event-stream", want: event(response("$ID", doneResult))},
		{name: "progress and log", upstream: events("data: " + progress + "\n\ndata: " + log + "\n\ndata: " + response("$ID", doneResult) + "\n\n"),
			media: "text/event-stream", want: event(progress) + event(log) + event(response("$ID", doneResult)), events: 2},
		{name: "list_changed", upstream: events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\ndata: " + response("$ID", doneResult) + "\n\n"),
			media: "text/event-stream", want: event(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`) + event(response("$ID", doneResult)), events: 1},
		{name: "unknown notification", upstream: events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/obey\",\"params\":{\"order\":\"send money\"}}\n\ndata: " + progress + "\n\ndata: " + response("$ID", doneResult) + "\n\n"),
			media: "text/event-stream", want: event(progress) + event(response("$ID", doneResult)), events: 1, dropped: 1},
		{name: "a client's notification from the upstream", upstream: events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n\ndata: " + response("$ID", doneResult) + "\n\n"),
			media: "text/event-stream", want: event(response("$ID", doneResult)), dropped: 1},
		{name: "progress of another request", upstream: events("data: " + strings.Replace(progress, ":7", ":8", 1) + "\n\ndata: " + strings.Replace(progress, ":7", `:"7"`, 1) + "\n\ndata: " + strings.Replace(progress, ":7", ":7.0", 1) + "\n\ndata: " + response("$ID", doneResult) + "\n\n"),
			media: "text/event-stream", want: event(strings.Replace(progress, ":7", ":7.0", 1)) + event(response("$ID", doneResult)), events: 1, dropped: 2},
		{name: "ids, names and delays of events end here", upstream: events("id: e-1\nretry: 50\ndata:\n\nevent: message\nid: e-2\ndata: " + progress + "\n\nid: e-3\ndata: " + response("$ID", doneResult) + "\n\n"),
			media: "text/event-stream", want: event(progress) + event(response("$ID", doneResult)), events: 1},
		{name: "data of several lines", upstream: events("data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":$ID,\ndata:  \"result\":" + doneResult + "}\n\n"),
			media: "text/event-stream", want: "event: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":$ID,\ndata:  \"result\":" + doneResult + "}\n\n"},
		{name: "comments and CRLF", upstream: events(": hello\r\n\r\ndata: " + response("$ID", doneResult) + "\r\n\r\n"), media: "text/event-stream", want: event(response("$ID", doneResult))},
		{name: "nothing behind the response", upstream: events("data: " + response("$ID", doneResult) + "\n\ndata: " + progress + "\n\n"), media: "text/event-stream", want: event(response("$ID", doneResult))},
		{name: "error", upstream: func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":`+idOf(r)+`,"error":{"code":-32000,"message":"no such row","data":{"big":9007199254740993}}}`)
		}, media: "application/json", want: `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32000,"message":"no such row","data":{"big":9007199254740993}}}`},
		{name: "error with a null id", upstream: func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id": null,"error":{"code":-32700,"message":"?"}}`)
		}, media: "application/json", want: `{"jsonrpc":"2.0","id": $ID,"error":{"code":-32700,"message":"?"}}`},
		{name: "error without an id", upstream: func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","error":{"code":-32700,"message":"?"}}`)
		}, media: "application/json", want: `{"jsonrpc":"2.0","error":{"code":-32700,"message":"?"},"id":$ID}`},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				r := start(t, setup{inventory: demoInventory, upstream: row.upstream})
				for _, id := range []string{`9007199254740993`, `"\u0061"`} {
					r.records()
					g := r.do(r.update(rev, id))
					if want := strings.ReplaceAll(row.want, "$ID", id); g.status != http.StatusOK || string(g.body) != want {
						t.Errorf("%d\n%s\nwant\n%s", g.status, g.body, want)
					}
					if got := g.header.Get("Content-Type"); got != row.media {
						t.Errorf("media type %q, want %q", got, row.media)
					}
					if e := r.outcome(); e.Outcome != "allowed" || e.Events != row.events || e.Dropped != row.dropped {
						t.Errorf("record: %q, %d events, %d dropped; want %d and %d", e.Outcome, e.Events, e.Dropped, row.events, row.dropped)
					}
				}
			})
		}
	}
}

// A message above the limit is refused whole, at the limit it passes.
func TestResultLimit(t *testing.T) {
	t.Parallel()
	const limit = 2048
	sized := func(size int) string {
		frame := len(response("1", `{"content":[{"type":"text","text":""}]}`))
		return `{"content":[{"type":"text","text":"` + strings.Repeat("x", size-frame) + `"}]}`
	}
	chunked := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, body)
		}
	}
	r := start(t, setup{inventory: `[{"name":"update_document","inputSchema":{"type":"object"}}]`, extra: "limits: { result: 2KiB }\n"})
	for _, rev := range bothRevisions {
		for _, size := range []int{limit - 1, limit, limit + 1} {
			for form, upstream := range map[string]http.HandlerFunc{
				"announced": jsonBody(response("1", sized(size))),
				"chunked":   chunked(response("1", sized(size))),
				"stream":    events("data: " + response("1", sized(size)) + "\n\n"),
				"lines":     events("data: " + strings.Replace(response("1", sized(size-1)), `,"result"`, ",\ndata: \"result\"", 1) + "\n\n"),
			} {
				t.Run(fmt.Sprintf("%s/%d/%s", form, size, rev), func(t *testing.T) {
					r.up.answerWith(upstream)
					r.records()
					g := r.do(r.update(rev, "1"))
					e := r.outcome()
					if passed := e.Outcome == "allowed" && g.status == 200; passed != (size <= limit) {
						t.Errorf("%d bytes of %d: %d, %q (%s)", size, limit, g.status, e.Outcome, e.Error)
					}
				})
			}
		}
	}
}

// A request that the upstream starts is refused to the upstream, in the same
// session; the client sees nothing of it, the audit everything.
func TestUpstreamStartedRequest(t *testing.T) {
	t.Parallel()
	told := make(chan string, 1)
	answering := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case bytes.Contains(body, []byte(`"method":"initialize"`)):
			stateful()(w, r)
		case bytes.Contains(body, []byte(`"error"`)):
			told <- string(body) + " in " + r.Header.Get("Mcp-Session-Id")
			w.WriteHeader(http.StatusAccepted)
		default:
			events("data: {\"jsonrpc\":\"2.0\",\"id\":\"s-1\",\"method\":\"sampling/createMessage\",\"params\":{\"secret\":\"spend\"}}\n\ndata: "+response("$ID", doneResult)+"\n\n")(w, r)
		}
	}
	r := start(t, setup{inventory: demoInventory, upstream: answering})
	session := r.initialize("alice")
	r.records()
	g := r.do(r.update(legacy, "5").in(session))
	if want := event(response("5", doneResult)); string(g.body) != want {
		t.Errorf("the client got\n%s\nwant\n%s", g.body, want)
	}
	got := <-told
	records := r.records()
	if len(records) != 2 {
		t.Fatalf("%d records, want one for the call and one for what the upstream asked: %+v", len(records), records)
	}
	asked, call := records[0], records[1]
	if asked.Direction != "upstream" || asked.Parent != call.ID || asked.Method != "sampling/createMessage" || asked.Outcome != "protocol_rejected" || asked.Subject != "alice" {
		t.Errorf("record of the upstream's request: %+v", asked)
	}
	if call.Outcome != "allowed" || call.Dropped != 1 || call.Events != 0 {
		t.Errorf("record of the call: %+v", call)
	}
	if want := `{"jsonrpc":"2.0","id":"s-1","error":{"code":-32601,"message":"the client does not offer this","data":{"outcome":"protocol_rejected","reason":"capability","audit_id":"` + asked.ID + `"}}} in upstream-session-1`; got != want {
		t.Errorf("the upstream is told\n%s\nwant\n%s", got, want)
	}
	// 2026-07-28 has no such requests and no place to answer them.
	touched := len(r.up.seen())
	g = r.do(r.update(modern, "6"))
	if want := event(response("6", doneResult)); string(g.body) != want || len(r.up.seen()) != touched+1 {
		t.Errorf("the client got\n%s\nafter %d requests", g.body, len(r.up.seen())-touched)
	}
}

// A response ends the call although the upstream keeps its stream open.
func TestStreamThatStaysOpen(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, r *http.Request) {
		defer close(closed)
		events("data: "+response("$ID", doneResult)+"\n\n")(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}})
	g := r.do(r.update(modern, "1"))
	if string(g.body) != event(response("1", doneResult)) {
		t.Errorf("%d %s", g.status, g.body)
	}
	<-closed // the sidecar gives up on the rest by itself
}

// The upstream sees what is on the allow-list, and not one header more.
func TestUpstreamHeaders(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: `[{"name":"update_document","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]`, upstream: text("done")})
	noise := func(a ask) ask {
		for _, h := range []string{"Cookie", "X-Forwarded-For", "X-Forwarded-User", "Forwarded", "X-Real-Ip", "Traceparent", "Mcp-Param-Other", "X-Api-Key", "Proxy-Authorization", "Accept-Language", "Last-Event-Id", "Via", "Te"} {
			a = a.with(h, "from-the-client")
		}
		return a.with("User-Agent", "client/1").with("Accept-Encoding", "gzip")
	}
	common := map[string]string{
		"Accept": "application/json, text/event-stream", "User-Agent": "mcp-sidecar", "Content-Type": "application/json",
		"Authorization": "Bearer " + service,
	}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(common)
		maps.Copy(all, more)
		return all
	}
	for _, row := range []struct {
		name string
		ask  ask
		want map[string]string
	}{
		{"2026-07-28", toolCall(modern, r.token("alice"), "1", "update_document", `{"region":"eu"}`).with("Mcp-Param-Region", "eu"),
			with(map[string]string{"Mcp-Protocol-Version": modern, "Mcp-Method": "tools/call", "Mcp-Name": "update_document", "Mcp-Param-Region": "eu"})},
		{"2026-07-28, Base64", toolCall(modern, r.token("alice"), "1", "update_document", `{"region":"ü"}`).with("Mcp-Param-Region", sentinel("ü")).with("Mcp-Name", sentinel("update_document")),
			with(map[string]string{"Mcp-Protocol-Version": modern, "Mcp-Method": "tools/call", "Mcp-Name": "update_document", "Mcp-Param-Region": sentinel("ü")})},
		{"2025-11-25", toolCall(legacy, r.token("alice"), "1", "update_document", `{"region":"eu"}`).with("Mcp-Param-Region", "eu").with("Mcp-Method", "tools/list").with("Mcp-Name", "x"),
			with(map[string]string{"Mcp-Protocol-Version": legacy})},
		{"no revision", toolCall(legacy, r.token("alice"), "1", "update_document", `{"region":"eu"}`).with("Mcp-Protocol-Version"), with(nil)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if g := r.do(noise(row.ask)); g.status != http.StatusOK {
				t.Fatalf("%d %s", g.status, g.body)
			}
			got := map[string]string{}
			for name, values := range r.up.last().header {
				got[name] = strings.Join(values, " | ")
			}
			delete(got, "Content-Length") // of the body, by net/http
			if !maps.Equal(got, row.want) {
				t.Errorf("headers\n%v\nwant\n%v", got, row.want)
			}
		})
	}
}

// Mcp-Param-* headers must say what the arguments say.
func TestParamHeaders(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: text("done"), inventory: `[{"name":"update_document","inputSchema":{"type":"object","properties":{
		"region":{"type":"string","x-mcp-header":"Region"},"size":{"type":"integer","x-mcp-header":"Size"},
		"options":{"type":"object","properties":{"deep":{"type":"boolean","x-mcp-header":"Deep"}}}}}}]`})
	for _, row := range []struct {
		name, args string
		headers    map[string][]string
		refused    string
	}{
		{"agree", `{"region":"eu","size":42,"options":{"deep":true}}`, map[string][]string{"Region": {"eu"}, "Size": {"42"}, "Deep": {"true"}}, ""},
		{"number spelled otherwise", `{"size":42.0}`, map[string][]string{"Size": {"42"}}, ""},
		{"none needed", `{"id":1}`, nil, ""},
		{"missing", `{"region":"eu"}`, nil, "Mcp-Param-Region is missing or sent more than once"},
		{"other value", `{"region":"eu"}`, map[string][]string{"Region": {"us"}}, "Mcp-Param-Region does not match the argument"},
		{"twice", `{"region":"eu"}`, map[string][]string{"Region": {"eu", "eu"}}, "Mcp-Param-Region is missing or sent more than once"},
		{"without argument", `{"id":1}`, map[string][]string{"Region": {"eu"}}, "Mcp-Param-Region is sent for an argument that is absent, null or no primitive"},
		{"null argument", `{"region":null}`, map[string][]string{"Region": {"eu"}}, "Mcp-Param-Region is sent for an argument that is absent, null or no primitive"},
		{"nested, other value", `{"options":{"deep":false}}`, map[string][]string{"Deep": {"true"}}, "Mcp-Param-Deep does not match the argument"},
		{"broken Base64", `{"region":"eu"}`, map[string][]string{"Region": {"=?base64?ZX!?="}}, "Mcp-Param-Region does not match the argument"},
		{"text for a number", `{"size":42}`, map[string][]string{"Size": {"042x"}}, "Mcp-Param-Size does not match the argument"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := toolCall(modern, r.token("alice"), "1", "update_document", row.args)
			for name, values := range row.headers {
				a = a.with("Mcp-Param-"+name, values...)
			}
			if row.refused == "" {
				if g := r.do(a); g.status != http.StatusOK {
					t.Errorf("%d %s", g.status, g.body)
				}
				return
			}
			r.denied(t, denial{ask: func(*rig, string, string) ask { return a }, refusal: mismatches(row.refused).at("inspect-input")}, modern, "1")
		})
	}
}

func (f refusal) at(stage string) refusal { f.stage = stage; return f }

// What is mirrored is what is forwarded: after a guard has put its constant in
// the place of the client's value, the header says the constant too.
func TestParamHeadersAreRebuilt(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: text("done"), inventory: `[
		{"name":"render_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"format":{"type":"string","x-mcp-header":"Format"},"n":{"type":"integer","x-mcp-header":"N"}}}},
		{"name":"create_document","inputSchema":{"type":"object","properties":{"created_by":{"type":"string","x-mcp-header":"Creator"}}}}]`})
	a := toolCall(modern, r.token("alice"), "1", "render_document", `{"format":"short","n":7.0}`).with("Mcp-Param-Format", "short").with("Mcp-Param-N", "7")
	if g := r.do(a); g.status != http.StatusOK {
		t.Fatalf("%d %s", g.status, g.body)
	}
	if h := r.up.last().header; h.Get("Mcp-Param-Format") != "words" || h.Get("Mcp-Param-N") != "7" {
		t.Errorf("the upstream sees %v", h)
	}
	a = toolCall(modern, r.token("alice"), "1", "create_document", `{"created_by":"mallory"}`).with("Mcp-Param-Creator", "mallory")
	if g := r.do(a); g.status != http.StatusOK || r.up.last().header.Get("Mcp-Param-Creator") != "alice" {
		t.Errorf("%d %s, the upstream sees %v", g.status, g.body, r.up.last().header)
	}
}

// Errors of the upstream's protocol keep their status, so that clients can fall
// back; its own faults become ours.
func TestStatusOfUpstreamErrors(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory})
	for upstream, want := range map[int]int{200: 200, 400: 400, 404: 404, 409: 409, 429: 429, 500: 502, 503: 502} {
		for _, rev := range bothRevisions {
			r.up.answerWith(always(upstream, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"no such method"}}`))
			if g := r.do(r.update(rev, "1")); g.status != want || string(g.body) != `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}` {
				t.Errorf("%s, %d: %d %s, want %d", rev, upstream, g.status, g.body, want)
			}
		}
	}
}

// A modern client that closes its request cancels it; before 2026-07-28 that
// takes a notification, and the call goes on.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			arrived, gone := make(chan struct{}), make(chan struct{})
			finish, cancelled := make(chan struct{}), make(chan bool, 1)
			r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body) // net/http notices a lost client only then
				close(arrived)
				if rev == modern {
					<-req.Context().Done()
					cancelled <- true
					return
				}
				<-finish
				cancelled <- req.Context().Err() != nil
				answerJSON(w, http.StatusOK, response("1", doneResult))
			}})
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				defer close(gone)
				if resp, err := r.send(ctx, r.update(rev, "1")); err == nil {
					_ = resp.Body.Close()
				}
			}()
			<-arrived
			cancel()
			<-gone
			close(finish)
			if got := <-cancelled; got != (rev == modern) {
				t.Errorf("cancelled: %v", got)
			}
			r.stop() // waits for the call
			want := map[string]string{modern: "upstream_failed", legacy: "allowed"}[rev]
			if e := r.outcome(); e.Outcome != want {
				t.Errorf("record %+v, want %q", e, want)
			}
		})
	}
}

// A cancellation reaches the upstream in the session of the request it names, and
// an upstream that then says nothing is not waited for.
func TestCancelledIsForwarded(t *testing.T) {
	t.Parallel()
	arrived, told := make(chan struct{}), make(chan *http.Request, 1)
	silent := stateful()
	r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		switch {
		case bytes.Contains(body, []byte(`"notifications/cancelled"`)):
			told <- req
			w.WriteHeader(http.StatusAccepted)
		case bytes.Contains(body, []byte(`"tools/call"`)):
			close(arrived)
			<-req.Context().Done()
		default:
			req.Body = io.NopCloser(bytes.NewReader(body))
			silent(w, req)
		}
	}})
	session := r.initialize("alice")
	done := make(chan got, 1)
	go func() { done <- r.do(r.update(legacy, "7").in(session)) }()
	<-arrived
	a := notify(legacy, r.token("alice"), "notifications/cancelled", `"requestId":7,"reason":"never mind"`).in(session)
	if g := r.do(a); g.status != http.StatusAccepted || len(g.body) != 0 {
		t.Errorf("%d %s", g.status, g.body)
	}
	if req := <-told; req.Header.Get("Mcp-Session-Id") != "upstream-session-1" {
		t.Errorf("told in session %q", req.Header.Get("Mcp-Session-Id"))
	}
	if g := <-done; g.status != http.StatusAccepted || len(g.body) != 0 {
		t.Errorf("the cancelled call: %d %s", g.status, g.body)
	}
}

// The service credential is all that the upstream learns; what a client sends
// cannot replace it.
func TestServiceCredential(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	for _, rev := range bothRevisions {
		r.do(r.update(rev, "1"))
		if got := r.up.last().header["Authorization"]; !slices.Equal(got, []string{"Bearer " + service}) {
			t.Errorf("%s: %q", rev, got)
		}
	}
	if !strings.Contains(r.up.everything(), service) || strings.Contains(r.stderr.String()+r.answers.String(), service) {
		t.Error("the service credential is not where it belongs")
	}
}

// Exactly one outcome, whatever a notification meets at the upstream.
func TestNotificationsAtTheUpstream(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		upstream http.HandlerFunc
		outcome  string
	}{
		{"202", status(202), "allowed"},
		{"200 without a body", status(200), "allowed"},
		{"204", status(204), "allowed"},
		{"400", status(400), "upstream_failed"},
		{"500", status(500), "upstream_failed"},
		{"401", status(401), "upstream_failed"},
		{"a result", jsonBody(response("1", doneResult)), "upstream_failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, setup{upstream: row.upstream})
			g := r.do(notify(legacy, r.token("alice"), "notifications/initialized", ""))
			var e audit.Event
			if e = r.outcome(); g.status != http.StatusAccepted || len(g.body) != 0 || e.Outcome != row.outcome {
				t.Errorf("%d %s, record %+v", g.status, g.body, e)
			}
		})
	}
}

// Each request of the upstream's is refused and recorded, so their number is
// bounded.
func TestUpstreamThatKeepsAsking(t *testing.T) {
	t.Parallel()
	ask := `data: {"jsonrpc":"2.0","id":1,"method":"roots/list"}` + "\n\n"
	r := start(t, setup{inventory: demoInventory, upstream: events(strings.Repeat(ask, 500))})
	if g := r.do(r.update(modern, "1")); g.status != http.StatusBadGateway {
		t.Errorf("%d %s", g.status, g.body)
	}
	records := r.records()
	if last := records[len(records)-1]; last.Reason != "flood" || len(records) > 110 {
		t.Errorf("%d records, the last %+v", len(records), last)
	}
}
