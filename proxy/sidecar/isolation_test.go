package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// Ids collide between principals, since every client counts from 1. A
// cancellation reaches requests of its sender only; others look like none.
func TestCancellationOfOthers(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"tools/call"`)) {
			stateful()(w, req)
			return
		}
		arrived <- struct{}{}
		<-finish
		answerJSON(w, http.StatusOK, response("7", doneResult))
	}})
	r.mint("alice elsewhere", issuer.Claims{Subject: "alice", ClientID: "another-program", Scopes: allScopes})
	done := make(chan int, 2)
	session := r.initialize("alice")
	for _, a := range []ask{r.update(legacy, "7").in(session), r.update(modern, "7")} {
		go func() {
			resp, err := r.send(context.Background(), a)
			if err != nil {
				t.Error(err)
				done <- 0
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			done <- resp.StatusCode
		}()
		<-arrived
	}
	reached := len(r.up.seen())
	const params = `"requestId":7`
	for name, a := range map[string]ask{
		"somebody else":          notify(legacy, r.token("bob"), "notifications/cancelled", params),
		"somebody else, modern":  notify(modern, r.token("bob"), "notifications/cancelled", params),
		"another program":        notify(modern, r.token("alice elsewhere"), "notifications/cancelled", params),
		"another id":             notify(modern, r.token("alice"), "notifications/cancelled", `"requestId":8`),
		"the id as text":         notify(modern, r.token("alice"), "notifications/cancelled", `"requestId":"7"`),
		"no id":                  notify(modern, r.token("alice"), "notifications/cancelled", ``),
		"another session":        notify(legacy, r.token("alice"), "notifications/cancelled", params).in(r.initialize("alice")),
		"somebody's own session": notify(legacy, r.token("bob"), "notifications/cancelled", params).in(r.initialize("bob")),
	} {
		r.records()
		before := len(r.up.seen())
		g := r.do(a)
		if e := r.outcome(); g.status != http.StatusAccepted || len(g.body) != 0 || e.Outcome != "protocol_rejected" || e.Reason != "not-in-flight" {
			t.Errorf("%s: %d %s, record %+v", name, g.status, g.body, e)
		}
		if n := len(r.up.seen()) - before; n != 0 {
			t.Errorf("%s: the upstream was told", name)
		}
	}
	if n := len(r.up.seen()) - reached; n != 2 { // the two sessions above
		t.Errorf("the upstream was reached %d times", n)
	}
	close(finish)
	for range 2 {
		if got := <-done; got != http.StatusOK {
			t.Errorf("alice's call ended with %d", got)
		}
	}
}

// A principal at its cap makes room with its own sessions, never with others'.
func TestOthersSessionsMakeNoRoom(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful(), extra: "limits: { sessions_per_principal: 2 }\n"})
	bob := r.initialize("bob")
	r.clock.advance(2 * time.Minute)
	for range 2 {
		r.initialize("alice")
	}
	if g := r.do(request(legacy, r.token("alice"), "1", "initialize", initParams)); g.status != http.StatusTooManyRequests {
		t.Errorf("a third session: %d", g.status)
	}
	if g := r.do(request(legacy, r.token("bob"), "1", "ping", "").in(bob)); g.status != http.StatusOK {
		t.Errorf("bob's session answers %d", g.status)
	}
}

// Texts of an upstream get into causes; log and audit file hold them redacted.
func TestCausesAreRedacted(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Encoding", key)
		answerJSON(w, http.StatusOK, response(idOf(req), doneResult))
	}})
	for _, rev := range bothRevisions {
		r.records()
		g := r.do(r.update(rev, "1"))
		e := r.outcome()
		if !strings.Contains(e.Error, redacted) || !strings.Contains(r.stderr.String(), redacted) {
			t.Errorf("the cause is lost: %q, log %s", e.Error, r.stderr)
		}
		if text := fmt.Sprint(e) + r.stderr.String() + string(g.body); strings.Contains(text, key) {
			t.Errorf("a secret of the upstream is kept: %s", text)
		}
	}
}
