package sidecar

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// bound is a limit, and how to be exactly n large.
type bound struct {
	name    string
	reason  string // in the record of what is larger
	value   int    // the documented default
	small   int    // another value, which the configuration gives
	ask     func(r *rig, n int) ask
	answer  func(n int) http.HandlerFunc // what the server says; nil says "done"
	request bool                         // what is too large is the client's: the server must not hear of it
}

// small is the configuration of bound.small.
const small = "limits: { headers: 2KiB, request_body: 4KiB, result: 3KiB, depth: 8, keys: 64, tools: 8, tool_definition: 1KiB, sessions_per_principal: 2, concurrent_calls_per_principal: 3 }\n"

func bounds() []bound {
	update := func(r *rig, _ int) ask { return r.update(legacy, "1") }
	list := func(r *rig, _ int) ask { return request(legacy, r.token("alice"), "1", "tools/list", "") }
	result := func(send func(body string) http.HandlerFunc) func(int) http.HandlerFunc {
		frame := len(response("1", `{"content":[{"type":"text","text":""}]}`))
		return func(n int) http.HandlerFunc {
			return send(response("1", `{"content":[{"type":"text","text":"`+strings.Repeat("x", n-frame)+`"}]}`))
		}
	}
	return []bound{
		{name: "headers", reason: "header-size", value: 16 << 10, small: 2 << 10, request: true, ask: headed},
		{name: "body", reason: "body-size", value: 4 << 20, small: 4 << 10, request: true, ask: func(r *rig, n int) ask { return padded(n, 0)(r, legacy, "1") }},
		{name: "body without length", reason: "body-size", value: 4 << 20, small: 4 << 10, request: true, ask: func(r *rig, n int) ask { return padded(n, -1)(r, legacy, "1") }},
		{name: "depth", reason: "malformed", value: 64, small: 8, request: true, ask: func(r *rig, n int) ask {
			return toolCall(legacy, r.token("alice"), "1", "read_document", strings.Repeat(`{"a":`, n-3)+"{}"+strings.Repeat("}", n-3))
		}},
		{name: "depth of arrays", reason: "malformed", value: 64, small: 8, request: true, ask: func(r *rig, n int) ask {
			return toolCall(legacy, r.token("alice"), "1", "read_document", `{"a":`+strings.Repeat("[", n-3)+strings.Repeat("]", n-3)+`}`)
		}},
		{name: "keys", reason: "malformed", value: 10_000, small: 64, request: true, ask: func(r *rig, n int) ask { return keyed(r, legacy, "1", n) }},
		{name: "result", reason: "transport", value: 16 << 20, small: 3 << 10, ask: update, answer: result(jsonBody)},
		{name: "result on a stream", reason: "transport", value: 16 << 20, small: 3 << 10, ask: update, answer: result(func(body string) http.HandlerFunc { return events("data: " + body + "\n\n") })},
		{name: "depth of an answer", reason: "malformed", value: 64, small: 8, ask: update, answer: func(n int) http.HandlerFunc {
			return jsonBody(response("$ID", `{"content":[],"a":`+strings.Repeat("[", n-2)+strings.Repeat("]", n-2)+`}`))
		}},
		{name: "tools", reason: "tools", value: 1024, small: 8, ask: list, answer: func(n int) http.HandlerFunc { return toolsResult("", toolList(n, 100)) }},
		{name: "tool definition", reason: "tool-definition", value: 64 << 10, small: 1 << 10, ask: list, answer: func(n int) http.HandlerFunc { return toolsResult("", toolList(1, n)) }},
	}
}

// toolList lists n tools, each of which takes size bytes.
func toolList(n, size int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"name":"t%d","description":""}`, i)
		list[i] = strings.Replace(list[i], `:""`, `:"`+strings.Repeat("x", size-len(list[i]))+`"`, 1)
	}
	return "[" + strings.Join(list, ",") + "]"
}

// headed is a call whose head takes n bytes, as HTTP/1.1 writes it.
func headed(r *rig, n int) ask {
	a := r.update(legacy, "1").with("User-Agent", "")
	head := "POST /mcp HTTP/1.1\r\nHost: " + r.base[strings.LastIndexByte(r.base, '/')+1:] + fmt.Sprintf("\r\nContent-Length: %d\r\nX-Pad: \r\n\r\n", len(a.body))
	for name, values := range a.header {
		if name != "User-Agent" { // an empty one is not sent
			head += name + ": " + values[0] + "\r\n"
		}
	}
	return a.with("X-Pad", strings.Repeat("x", n-len(head)))
}

// TestLimits: each limit at n-1, n and n+1, with its documented default and with
// a configured value, over every kind of connection. Above it a message is
// refused whole, and what a client sent has not reached the server.
func TestLimits(t *testing.T) {
	t.Parallel()
	for _, edge := range []struct {
		name  string
		start func(*testing.T, setup) *rig
	}{
		{"plain", func(t *testing.T, s setup) *rig { return start(t, s) }},
		{"TLS", func(t *testing.T, s setup) *rig { return startTLS(t, s, 1, nil).rig }},
		{"HTTP2", func(t *testing.T, s setup) *rig { return startTLS(t, s, 2, nil).rig }},
	} {
		for _, extra := range []string{"", small} {
			name := edge.name + "/default"
			if extra != "" {
				name = edge.name + "/configured"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := edge.start(t, setup{lenient: true, inventory: demoInventory, upstream: text("done"), extra: extra})
				for _, b := range bounds() {
					value := b.value
					if extra != "" {
						value = b.small
					}
					if b.value == 16<<20 && extra == "" && edge.name != map[string]string{"result": "plain", "result on a stream": "HTTP2"}[b.name] {
						continue // it takes a while, and does not depend on the client's connection
					}
					for _, n := range []int{value - 1, value, value + 1} {
						r.bounded(t, b, n, value)
					}
				}
				r.boundedSessions(t, map[bool]int{true: 32, false: 2}[extra == ""])
				r.boundedCalls(t, map[bool]int{true: 64, false: 3}[extra == ""])
			})
		}
	}
}

// bounded sends what is n large and expects it to pass up to value.
func (r *rig) bounded(t *testing.T, b bound, n, value int) {
	t.Helper()
	r.up.answerWith(text("done"))
	if b.answer != nil {
		r.up.answerWith(b.answer(n))
	}
	a, before := b.ask(r, n), 0
	r.records()
	before = len(r.up.seen())
	status := r.discard(a)
	e := r.outcome()
	if passed := e.Outcome == "allowed" && status == http.StatusOK; passed != (n <= value) || !passed && e.Reason != b.reason {
		t.Errorf("%s: %d of %d: %d, %q, reason %q (%s)", b.name, n, value, status, e.Outcome, e.Reason, e.Error)
	}
	if reached := len(r.up.seen()) - before; b.request && reached != 0 && n > value {
		t.Errorf("%s: %d of %d: the upstream was reached", b.name, n, value)
	}
}

// boundedSessions opens more sessions than one principal may have.
func (r *rig) boundedSessions(t *testing.T, value int) {
	t.Helper()
	r.up.answerWith(stateful())
	for n := 1; n <= value+1; n++ {
		status := r.discard(request(legacy, r.token("carol"), "1", "initialize", initParams))
		if (status == http.StatusOK) != (n <= value) {
			t.Errorf("session %d of %d: %d", n, value, status)
		}
	}
}

// boundedCalls has more calls in flight than one principal may have.
func (r *rig) boundedCalls(t *testing.T, value int) {
	t.Helper()
	arrived, release := make(chan struct{}), make(chan struct{})
	r.up.answerWith(func(w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		<-release
		text("done")(w, req)
	})
	ping := func(n int) ask { return request(legacy, r.token("bob"), fmt.Sprint(n), "ping", "") }
	var calls []chan pending
	for n := range value {
		calls = append(calls, r.begin(ping(n)))
		<-arrived
	}
	if p := <-r.begin(ping(value)); p.status != http.StatusTooManyRequests {
		t.Errorf("call %d of %d: %+v", value+1, value, p)
	}
	close(release)
	for n, call := range calls {
		if p := <-call; p.status != http.StatusOK {
			t.Errorf("call %d of %d: %+v", n+1, value, p)
		}
	}
	go func() { <-arrived }()
	if p := <-r.begin(ping(value)); p.status != http.StatusOK {
		t.Errorf("no place is free again: %+v", p)
	}
}

// TestBeyondEveryLimit: what is far above a limit costs no more than what is just
// above it.
func TestBeyondEveryLimit(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, extra: small})
	conn := r.dial(t)
	fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: %s\r\nX-Pad: ", conn.RemoteAddr())
	for range 64 { // more than the server itself reads of a head
		if _, err := io.WriteString(conn, strings.Repeat("x", 1<<10)); err != nil {
			break
		}
	}
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") || len(r.records()) != 0 {
		t.Errorf("%q", answer)
	}
	if n := len(r.up.seen()); n != 0 {
		t.Errorf("the upstream was reached %d times", n)
	}
}
