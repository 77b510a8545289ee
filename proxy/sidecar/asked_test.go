package sidecar

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// initializeWith opens a session whose client declares capabilities.
func (r *rig) initializeWith(who, capabilities string) string {
	r.t.Helper()
	params := strings.Replace(initParams, `"capabilities":{}`, `"capabilities":{`+capabilities+`}`, 1)
	g := r.do(request(legacy, r.token(who), "0", "initialize", params).with("Mcp-Protocol-Version"))
	return g.header.Get("Mcp-Session-Id")
}

// What the upstream asks reaches a client that offers it, once recorded; the
// answer reaches the upstream once.
func TestAskedOfTheClient(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initializeWith("alice", `"elicitation":{},"sampling":{}`)
	other := r.initializeWith("alice", `"elicitation":{}`)
	bob := r.initializeWith("bob", `"elicitation":{}`)
	events, _ := r.listen(t, "alice", session, "")
	feed, _ := up.feed(0)
	r.records()
	const question = `{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"use AKIAIOSFODNN7EXAMPLE?","requestedSchema":{"type":"object","properties":{}}}}`
	feed <- data("q1", question)
	ev := next(t, events)
	if want := strings.Replace(question, "AKIAIOSFODNN7EXAMPLE", "[REDACTED:aws_access_key]", 1); string(ev.Data) != want || unmarked(ev) != "q1" {
		t.Errorf("%q %s\nwant %s", ev.ID, ev.Data, want)
	}
	if e := r.outcome(); e.Direction != "upstream" || e.Method != "elicitation/create" || e.Outcome != "allowed" || e.Subject != "alice" {
		t.Errorf("record %+v", e)
	}
	const answer = `{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"n":12345678901234567890}}}`
	reply := func(who, session, body string) ask { return post(legacy, r.token(who), "", "", body).in(session) }
	for name, a := range map[string]ask{
		"another session":   reply("alice", other, answer),
		"another principal": reply("bob", bob, answer),
		"another id":        reply("alice", session, strings.Replace(answer, `"id":1`, `"id":"1"`, 1)),
		"no session":        post(legacy, r.token("alice"), "", "", answer),
	} {
		t.Run(name, func(t *testing.T) {
			r.denied(t, denial{ask: func(*rig, string, string) ask { return a }, refusal: unasked}, legacy, map[bool]string{true: `"1"`, false: "1"}[name == "another id"])
		})
	}
	if g := r.do(reply("alice", session, answer)); g.status != http.StatusAccepted || len(g.body) != 0 {
		t.Errorf("answer: %d %s", g.status, g.body)
	}
	if got := <-up.posts; got != answer {
		t.Errorf("the upstream got %s", got)
	}
	r.denied(t, denial{ask: func(*rig, string, string) ask { return reply("alice", session, answer) }, refusal: unasked}, legacy, "1")
	// What the client does not offer is answered to the upstream.
	feed <- data("q2", `{"jsonrpc":"2.0","id":2,"method":"roots/list"}`)
	if got := <-up.posts; !strings.Contains(got, `"id":2,"error":{"code":-32601`) {
		t.Errorf("the upstream got %s", got)
	}
	close(feed)
}

// An id that waits for its answer cannot be used for another question, and there
// is a bound on what waits.
func TestAskedIsBounded(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initializeWith("alice", `"roots":{}`)
	events, _ := r.listen(t, "alice", session, "")
	feed, _ := up.feed(0)
	for i := range 100 {
		feed <- data(fmt.Sprint(i), fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"roots/list"}`, i))
		next(t, events)
	}
	feed <- data("again", `{"jsonrpc":"2.0","id":5,"method":"roots/list"}`)
	if got := <-up.posts; !strings.Contains(got, `"id":5,"error":{"code":-32600`) {
		t.Errorf("the upstream got %s", got)
	}
	feed <- data("101", `{"jsonrpc":"2.0","id":101,"method":"roots/list"}`)
	if got := <-up.posts; !strings.Contains(got, `"id":101,"error":{"code":42900`) {
		t.Errorf("the upstream got %s", got)
	}
	close(feed)
}
