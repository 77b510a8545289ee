package sidecar

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// failure is an answer of the upstream that the client must not get.
type failure struct {
	name     string
	upstream http.HandlerFunc
	modern   int // in 2026-07-28, when it differs
	reason   string
	stream   string // what has been sent before; the refusal follows as an event
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// always answers any request with body, $ID being its id.
func always(code int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "$ID", idOf(r)))
	}
}

func jsonBody(body string) http.HandlerFunc { return always(http.StatusOK, "application/json", body) }

// elsewhere is where redirects lead; it must not be reached.
func elsewhere(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed: %s %v", r.Method, r.Header)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func failures(t *testing.T) []failure {
	trap := elsewhere(t)
	redirect := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", trap)
			w.WriteHeader(code)
		}
	}
	const one = `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}` + "\n\n"
	const oneOut = "event: message\n" + one
	return []failure{
		{name: "401", upstream: status(401), reason: "credential"},
		{name: "401 with a message", upstream: always(401, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":1,"message":"log in again"}}`), reason: "credential"},
		{name: "403", upstream: status(403), reason: "credential"},
		{name: "403 with a result", upstream: always(403, "application/json", response("$ID", doneResult)), reason: "credential"},
		{name: "407", upstream: status(407), reason: "credential"},
		{name: "301", upstream: redirect(301), reason: "redirect"},
		{name: "302", upstream: redirect(302), reason: "redirect"},
		{name: "307", upstream: redirect(307), reason: "redirect"},
		{name: "308 with a result", upstream: always(308, "application/json", response("$ID", doneResult)), reason: "redirect"},
		{name: "500", upstream: status(500), reason: "no-answer"},
		{name: "500 in text", upstream: always(500, "text/plain", "panic: postgres://docs:n4ive@db"), reason: "no-answer"},
		{name: "503", upstream: status(503), reason: "no-answer"},
		{name: "400 without a message", upstream: status(400), reason: "no-answer", modern: 400},
		{name: "404 without a message", upstream: status(404), reason: "no-answer", modern: 404},
		{name: "405 without a message", upstream: status(405), reason: "no-answer", modern: 405},
		{name: "202 for a request", upstream: status(202), reason: "no-answer"},
		{name: "200 without a body", upstream: always(200, "application/json", ""), reason: "no-answer"},
		{name: "200 without a media type", upstream: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, response(idOf(r), doneResult))
		}, reason: "no-answer"},
		{name: "HTML", upstream: always(200, "text/html", "<html>log in</html>"), reason: "no-answer"},
		{name: "hangs up", upstream: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, reason: "transport"},
		{name: "cut answer", upstream: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			answerJSON(w, 200, response(idOf(r), doneResult))
		}, reason: "transport"},
		{name: "compressed", upstream: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			answerJSON(w, 200, response(idOf(r), doneResult))
		}, reason: "transport"},
		{name: "compressed stream", upstream: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			events("data: "+response("$ID", doneResult)+"\n\n")(w, r)
		}, reason: "transport"},
		{name: "no JSON", upstream: jsonBody("done"), reason: "malformed"},
		{name: "cut JSON", upstream: jsonBody(`{"jsonrpc":"2.0","id":$ID,"result":{`), reason: "malformed"},
		{name: "two messages", upstream: jsonBody(response("$ID", doneResult) + response("$ID", doneResult)), reason: "malformed"},
		{name: "batch", upstream: jsonBody("[" + response("$ID", doneResult) + "]"), reason: "malformed"},
		{name: "duplicate member", upstream: jsonBody(`{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"content":[{"type":"text","text":"x"}]}}`), reason: "malformed"},
		{name: "envelope in another case", upstream: jsonBody(`{"jsonrpc":"2.0","id":$ID,"result":{},"Result":{"content":[]}}`), reason: "malformed"},
		{name: "result and error", upstream: jsonBody(`{"jsonrpc":"2.0","id":$ID,"result":{},"error":{"code":1,"message":""}}`), reason: "malformed"},
		{name: "invalid UTF-8", upstream: jsonBody(response("$ID", "{\"content\":[{\"type\":\"text\",\"text\":\"\xff\"}]}")), reason: "malformed"},
		{name: "too deep", upstream: jsonBody(response("$ID", strings.Repeat(`{"a":`, 64)+"1"+strings.Repeat("}", 64))), reason: "malformed"},
		{name: "list as result", upstream: jsonBody(response("$ID", `[]`)), reason: "malformed"},
		{name: "text as error", upstream: jsonBody(`{"jsonrpc":"2.0","id":$ID,"error":"postgres://docs:n4ive@db"}`), reason: "malformed"},
		{name: "another id", upstream: jsonBody(response(`"other"`, doneResult)), reason: "wrong-id"},
		{name: "id as text", upstream: jsonBody(response(`"1"`, doneResult)), reason: "wrong-id"},
		{name: "result with a null id", upstream: jsonBody(response(`null`, doneResult)), reason: "malformed"},
		{name: "error for another id", upstream: jsonBody(`{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"x"}}`), reason: "wrong-id"},
		{name: "unknown result type", upstream: jsonBody(response("$ID", `{"resultType":"later","content":[]}`)), reason: "result-type"},
		{name: "empty stream", upstream: events(""), reason: "no-answer"},
		{name: "stream without a response", upstream: events(one), reason: "no-answer", stream: oneOut},
		{name: "cut event", upstream: events(one + "data: " + response("$ID", doneResult) + "\n"), reason: "no-answer", stream: oneOut},
		{name: "broken event", upstream: events(one + "data: {\"jsonrpc\"\n\n"), reason: "malformed", stream: oneOut},
		{name: "stream breaks off", upstream: func(w http.ResponseWriter, r *http.Request) {
			events(one)(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, reason: "transport", stream: oneOut},
		{name: "wrong id on a stream", upstream: events(one + "data: " + response(`"other"`, doneResult) + "\n\n"), reason: "wrong-id", stream: oneOut},
	}
}

// TestUpstreamFails: nothing of a bad answer reaches the client but a generic
// error, on the stream if one is open; the record says what happened.
func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory})
	for _, f := range failures(t) {
		for _, rev := range bothRevisions {
			t.Run(f.name+"/"+rev, func(t *testing.T) {
				r.up.answerWith(f.upstream)
				r.records()
				before := len(r.up.seen())
				g := r.do(r.update(rev, "1"))
				if n := len(r.up.seen()) - before; n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
				e := r.outcome()
				refusal := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":50200,"message":"upstream failed (audit %s)","data":{"outcome":"upstream_failed","reason":"%s","audit_id":"%s"}}}`, e.ID, f.reason, e.ID)
				want, code := refusal, http.StatusBadGateway
				if f.stream != "" {
					want, code = f.stream+event(refusal), http.StatusOK
				} else if rev == modern && f.modern != 0 {
					code = f.modern
				}
				if g.status != code || string(g.body) != want {
					t.Errorf("%d\n%s\nwant %d\n%s", g.status, g.body, code, want)
				}
				if e.Outcome != "upstream_failed" || e.Stage != "execute" || e.Reason != f.reason || e.Error == "" {
					t.Errorf("record %+v", e)
				}
				if strings.Contains(e.Error+r.stderr.String(), "n4ive") {
					t.Errorf("a secret of the upstream was logged: %s", e.Error)
				}
			})
		}
	}
}

func TestUpstreamUnreachable(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	r.up.server.Close()
	for _, rev := range bothRevisions {
		r.records()
		g := r.do(request(rev, r.token("alice"), "1", "tools/list", ""))
		if e := r.outcome(); g.status != http.StatusBadGateway || e.Outcome != "upstream_failed" || e.Reason != "transport" {
			t.Errorf("%s: %d %s, record %+v", rev, g.status, g.body, e)
		}
		if strings.Contains(string(g.body), "127.0.0.1") || strings.Contains(string(g.body), "refused") {
			t.Errorf("the client reads an internal error: %s", g.body)
		}
	}
}
