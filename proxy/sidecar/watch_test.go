package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
	"mcp-sidecar/scenarios/issuer"
)

// streaming is a stateful upstream whose GET streams are fed by the test. A call
// of update_document is answered with an event that can be resumed and no result.
type streaming struct {
	mu    sync.Mutex
	feeds []chan string    // one for each GET, in order
	asked []http.Header    // of each GET
	posts chan string      // bodies of what is neither a call nor an initialize
	call  http.HandlerFunc // answers tools/call
	open  func(feed chan string)
}

func newStreaming() *streaming {
	return &streaming{posts: make(chan string, 16), call: events("id: e1\nretry: 20\ndata:\n\n")}
}

func (s *streaming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case r.Method == http.MethodGet:
		s.watch(w, r)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case bytes.Contains(body, []byte(`"method":"initialize"`)):
		w.Header().Set("Mcp-Session-Id", "upstream-session-"+r.Header.Get("Mcp-Protocol-Version"))
		result(`"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"docs","version":"1"}`)(w, r)
	case bytes.Contains(body, []byte(`"method":"tools/call"`)):
		s.call(w, r)
	default:
		s.posts <- string(body)
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *streaming) watch(w http.ResponseWriter, r *http.Request) {
	feed := make(chan string, 16)
	s.mu.Lock()
	s.feeds = append(s.feeds, feed)
	s.asked = append(s.asked, r.Header.Clone())
	open := s.open
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	if open != nil {
		open(feed)
	}
	for {
		select {
		case text, ok := <-feed:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, text)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// feed returns the upstream's end of stream n, from 0.
func (s *streaming) feed(n int) (chan string, http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds[n], s.asked[n]
}

func data(id, message string) string { return "id: " + id + "\ndata: " + message + "\n\n" }

// listen opens the standalone stream of a session.
func (r *rig) listen(t *testing.T, who, session, last string) (*wire.EventReader, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	resp := r.open(ctx, getOf(r.token(who), session, last))
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET: %d %s", resp.StatusCode, resp.Header)
	}
	return wire.NewEventReader(bufio.NewReader(resp.Body), 1<<20), resp
}

func getOf(token, session, last string) ask {
	a := ask{method: http.MethodGet, header: http.Header{"Authorization": {"Bearer " + token}, "Mcp-Session-Id": {session}, "Mcp-Protocol-Version": {legacy}, "Accept": {"text/event-stream"}}}
	if last != "" {
		a.header.Set("Last-Event-Id", last)
	}
	return a
}

func next(t *testing.T, events *wire.EventReader) wire.Event {
	t.Helper()
	ev, err := events.Next()
	if err != nil {
		t.Fatalf("the stream ended: %v", err)
	}
	return ev
}

// unmarked is the id that the upstream gave ev.
func unmarked(ev wire.Event) string {
	id, _, _ := strings.Cut(ev.ID, ".")
	return id
}

// eventOf is the id of the first event of body.
func eventOf(body []byte) string {
	_, rest, _ := strings.Cut(string(body), "\nid: ")
	id, _, _ := strings.Cut(rest, "\n")
	return id
}

var wrongEvent = refusal{status: 400, code: -32600, reason: "last-event-id", text: "Last-Event-ID is no id that was given out in this session", outcome: "protocol_rejected", stage: "authenticate"}

// A session's stream is relayed: its messages pass the guards, keep the ids with
// which the stream can be resumed, and reach nobody else.
func TestWatch(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initialize("alice")
	events, _ := r.listen(t, "alice", session, "")
	feed, head := up.feed(0)
	if head.Get("Mcp-Session-Id") != "upstream-session-" || head.Get("Authorization") != "Bearer "+service || head.Get("Last-Event-Id") != "" {
		t.Errorf("the upstream was asked with %v", head)
	}
	feed <- data("s1", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"key AKIAIOSFODNN7EXAMPLE"}}`)
	if ev := next(t, events); unmarked(ev) != "s1" || string(ev.Data) != `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"key [REDACTED:aws_access_key]"}}` {
		t.Errorf("%q %s", ev.ID, ev.Data)
	}
	// What belongs to nobody here, or is no message of MCP, does not pass.
	feed <- data("s2", `{"jsonrpc":"2.0","method":"notifications/unheard-of","params":{}}`)
	feed <- data("s3", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"of nobody","progress":1}}`)
	feed <- data("s4", `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"an answer to nothing"}]}}`)
	feed <- data("s5", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	if ev := next(t, events); unmarked(ev) != "s5" {
		t.Errorf("%q %s", ev.ID, ev.Data)
	}
	close(feed)
	if ev, err := events.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%s, %v", ev.Data, err)
	}
	r.eventually(func() bool {
		for _, e := range r.records() {
			if e.Kind == "session-stream" && e.Outcome == "allowed" && e.Events == 2 && e.Dropped == 3 && e.Subject == "alice" {
				return true
			}
		}
		return false
	})
}

// eventually waits for what another goroutine is about to do.
func (r *rig) eventually(done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if done() {
			return
		}
	}
	r.t.Error("it did not happen")
}

func TestWatchDenied(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initialize("alice")
	g := r.do(r.update(legacy, "1").in(session))
	last := eventOf(g.body)
	if !strings.HasPrefix(last, "e1.") {
		t.Fatalf("%q", g.body)
	}
	r.records()
	get := func(who, session, last string) func(*rig, string, string) ask {
		return func(r *rig, _, _ string) ask { return getOf(r.token(who), session, last) }
	}
	for _, d := range []denial{
		{name: "foreign", ask: get("bob", session, ""), refusal: lostSession},
		{name: "unknown", ask: get("alice", "NOSUCHSESSIONNOSUCHSESSION", ""), refusal: lostSession},
		{name: "no token", ask: func(*rig, string, string) ask { return getOf("", session, "").with("Authorization") }, refusal: unauthorized("no bearer token was sent", "")},
		{name: "no session", ask: func(r *rig, _, _ string) ask { return getOf(r.token("alice"), session, "").with("Mcp-Session-Id") }, refusal: noStream},
		{name: "2026-07-28", ask: func(r *rig, _, _ string) ask {
			return getOf(r.token("alice"), session, "").with("Mcp-Protocol-Version", modern)
		}, refusal: noStream},
		{name: "an event id that is none", ask: get("alice", session, "e1"), refusal: wrongEvent},
		{name: "an event id of another session", ask: get("alice", r.initialize("alice"), last), refusal: wrongEvent},
		{name: "an event id of another's session", ask: get("bob", r.initialize("bob"), last), refusal: wrongEvent},
		{name: "an event id that was lengthened", ask: get("alice", session, "1"+last), refusal: wrongEvent},
		{name: "an event id and a foreign session", ask: get("bob", session, last), refusal: lostSession},
		{name: "an event id and a lost session", ask: get("alice", "NOSUCHSESSIONNOSUCHSESSION", last), refusal: lostSession},
		{name: "revision unknown", ask: func(r *rig, _, _ string) ask {
			return getOf(r.token("alice"), session, "").with("Mcp-Protocol-Version", "2024-11-05")
		}, refusal: unsupportedVersion("2024-11-05")},
	} {
		t.Run(d.name, func(t *testing.T) { r.denied(t, d, legacy, "null") })
	}
	// Without a stream at the upstream there is none here, which clients take for an answer.
	r.up.answerWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) })
	if g := r.do(getOf(r.token("alice"), session, "")); g.status != http.StatusMethodNotAllowed || !strings.Contains(string(g.body), `"code":40500`) {
		t.Errorf("%d %s", g.status, g.body)
	}
}

// An upstream may close a stream and answer on the one with which the client
// resumes. The answer passes the guards of the call that it answers.
func TestResume(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initialize("alice")
	r.records()
	g := r.do(r.update(legacy, `"c-1"`).in(session))
	last := eventOf(g.body)
	if g.status != http.StatusOK || string(g.body) != "event: message\nid: "+last+"\nretry: 20\ndata: \n\n" || !strings.HasPrefix(last, "e1.") {
		t.Fatalf("%d %q", g.status, g.body)
	}
	if e := r.outcome(); e.Outcome != "allowed" || e.Reason != "detached" {
		t.Errorf("record %+v", e)
	}
	events, _ := r.listen(t, "alice", session, last)
	feed, head := up.feed(0)
	if head.Get("Last-Event-Id") != "e1" {
		t.Errorf("the upstream was asked with %v", head)
	}
	feed <- data("e2", `{"jsonrpc":"2.0","id":"c-1","result":{"content":[{"type":"text","text":"key AKIAIOSFODNN7EXAMPLE"}]}}`)
	ev := next(t, events)
	if unmarked(ev) != "e2" || !strings.Contains(string(ev.Data), `"text":"key [REDACTED:aws_access_key]"`) || strings.Contains(string(ev.Data), "AKIA") {
		t.Errorf("%q %s", ev.ID, ev.Data)
	}
	var replay bool
	for _, e := range r.records() {
		if e.Direction == "upstream" && e.Kind == "response" && e.Method == "tools/call" && e.Name == "update_document" && e.Outcome == "allowed" && len(e.Findings) == 1 && e.Parent != "" {
			replay = true
		}
	}
	if !replay {
		t.Error("the answer that came again has no record of its own")
	}
	close(feed)
}

// A long stream ends with the token that opened it.
func TestWatchEndsWithItsToken(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initialize("alice")
	r.mint("alice for a moment", issuer.Claims{Subject: "alice", Scopes: allScopes, Expiry: r.clock.Now().Add(time.Second)})
	events, _ := r.listen(t, "alice for a moment", session, "")
	if ev, err := events.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%s, %v; want the end of the stream", ev.Data, err)
	}
	r.eventually(func() bool {
		for _, e := range r.records() {
			if e.Kind == "session-stream" && e.Reason == "token-expired" && e.Outcome == "allowed" {
				return true
			}
		}
		return false
	})
}

// So does a subscription, with a result that says so.
func TestListeningEndsWithItsToken(t *testing.T) {
	t.Parallel()
	r := start(t, setup{policy: featurePolicy, upstream: listeningTo(nil)})
	token := r.mint("alice for a moment", issuer.Claims{Subject: "alice", Expiry: r.clock.Now().Add(time.Second)})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp := r.open(ctx, request(modern, token, `"l-1"`, "subscriptions/listen", `"notifications":{}`))
	defer resp.Body.Close()
	events := wire.NewEventReader(resp.Body, 1<<20)
	next(t, events) // the acknowledgement
	if ev := next(t, events); !strings.Contains(string(ev.Data), `"id":"l-1","result":{"resultType":"complete"`) {
		t.Errorf("%s", ev.Data)
	}
	if ev, err := events.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%s, %v; want the end of the stream", ev.Data, err)
	}
	if e := r.outcome(); e.Method != "subscriptions/listen" || e.Reason != "token-expired" || e.Outcome != "allowed" {
		t.Errorf("record %+v", e)
	}
}

// A session has a bounded number of streams, each given back when it ends.
func TestWatchIsBounded(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP})
	session := r.initialize("alice")
	for range 8 {
		r.listen(t, "alice", session, "")
	}
	g := r.do(getOf(r.token("alice"), session, ""))
	if g.status != http.StatusTooManyRequests || !strings.Contains(string(g.body), "too many open streams") {
		t.Errorf("stream 9: %d %s", g.status, g.body)
	}
	feed, _ := up.feed(0)
	close(feed)
	r.eventually(func() bool {
		resp := r.open(context.Background(), getOf(r.token("alice"), session, ""))
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
