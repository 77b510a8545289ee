package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/scenarios/pgtest"
)

// Nothing may be left running when a sidecar has been closed.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && strings.HasPrefix(os.Args[1], childFlag) {
		os.Exit(relayChild(strings.TrimPrefix(os.Args[1], childFlag)))
	}
	if len(os.Args) == 2 && strings.HasPrefix(os.Args[1], fetchFlag) {
		os.Exit(fetchingChild(strings.TrimPrefix(os.Args[1], fetchFlag)))
	}
	goleak.VerifyTestMain(pgtest.M{M: m})
}

// faulty is a resolver that fails in the worst way.
type faulty struct{}

func (faulty) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	panic("fault of a guard, with AKIA" + "IOSFODNN7EXAMPLE in it")
}

// A panic fails its message only.
func TestPanicInGuard(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), resolver: faulty{}})
	for _, rev := range bothRevisions {
		r.do(r.update(rev, "1"))
		r.records()
		touched := len(r.up.seen())
		g := r.do(toolCall(rev, r.token("alice"), "2", "import_url", `{"url":"https://anywhere.example.com/"}`))
		e := r.outcome()
		want := fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"error":{"code":50000,"message":"internal error (audit %s)","data":{"outcome":"failed","reason":"internal","audit_id":"%s"}}}`, e.ID, e.ID)
		if g.status != http.StatusInternalServerError || string(g.body) != want {
			t.Errorf("%d %s, want %s", g.status, g.body, want)
		}
		if e.Outcome != "failed" || e.Stage != "inspect-input" || len(r.up.seen()) != touched {
			t.Errorf("record %+v, upstream reached %d times", e, len(r.up.seen())-touched)
		}
		if g := r.do(r.update(rev, "3")); !bytes.Contains(g.body, []byte("done")) {
			t.Errorf("the next call fails: %d %s", g.status, g.body)
		}
	}
	if strings.Contains(r.stderr.String(), "fault of a guard") || strings.Contains(r.stderr.String(), key) {
		t.Error("the panic's value was logged; it may hold anything")
	}
	if !strings.Contains(r.stderr.String(), "panic while handling a message") {
		t.Error("the panic was not logged")
	}
}

// A result that could not be recorded is withheld.
func TestResultWithoutRecordIsWithheld(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		r := start(t, setup{inventory: demoInventory, upstream: text("the result")})
		r.do(r.update(rev, "1"))
		if err := r.sidecar.audit.Close(); err != nil {
			t.Fatal(err)
		}
		for name, a := range map[string]ask{
			"call":    r.update(rev, "2"),
			"list":    request(rev, r.token("alice"), "2", "tools/list", ""),
			"refusal": toolCall(rev, r.token("dave"), "2", "update_document", `{}`),
		} {
			g := r.do(a)
			if g.status != http.StatusServiceUnavailable || !bytes.HasPrefix(g.body, []byte(`{"jsonrpc":"2.0","id":2,"error":{"code":50300,"message":"temporarily unavailable (audit `)) || bytes.Contains(g.body, []byte("the result")) {
				t.Errorf("%s, %s: %d %s", name, rev, g.status, g.body)
			}
		}
		g := r.do(notify(rev, r.token("alice"), "notifications/cancelled", `"requestId":1`))
		if g.status != http.StatusServiceUnavailable {
			t.Errorf("notification, %s: %d %s", rev, g.status, g.body)
		}
	}
}

// On an open stream a 50300 error takes the place of a result that could not be
// recorded.
func TestStreamWithoutRecord(t *testing.T) {
	t.Parallel()
	const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}`
	for _, rev := range bothRevisions {
		release := make(chan struct{})
		r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
			events("data: "+progress+"\n\n")(w, req)
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = io.WriteString(w, "data: "+response(idOf(req), doneResult)+"\n\n")
		}})
		resp := r.open(context.Background(), r.update(rev, "1"))
		in := bufio.NewReader(resp.Body)
		first := readEvent(t, in)
		if first != event(progress) || resp.StatusCode != http.StatusOK {
			t.Errorf("%d %q", resp.StatusCode, first)
		}
		if err := r.sidecar.audit.Close(); err != nil {
			t.Fatal(err)
		}
		close(release)
		rest, err := io.ReadAll(in)
		_ = resp.Body.Close()
		if err != nil || !bytes.HasPrefix(rest, []byte("event: message\ndata: "+`{"jsonrpc":"2.0","id":1,"error":{"code":50300,`)) || bytes.Contains(rest, []byte("done")) || bytes.Count(rest, []byte("data:")) != 1 {
			t.Errorf("%s: %v %s", rev, err, rest)
		}
	}
}

func readEvent(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\n\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(line)
	}
	return b.String()
}

// An intent record is durable before a destructive call leaves; when it cannot be
// written the upstream is not touched. Calls that destroy nothing have none.
func TestIntentPrecedesDestruction(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		var r *rig
		var atUpstream string
		r = start(t, setup{lenient: true, inventory: demoInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
			b, _ := os.ReadFile(r.auditLog)
			atUpstream = string(b)
			text("gone")(w, req)
		}})
		for tool, destructive := range map[string]bool{
			"delete_document": true, "create_document": true, // no hint at all: it may destroy
			"update_document": false, "read_document": false,
		} {
			r.records()
			if g := r.do(toolCall(rev, r.token("alice"), "1", tool, `{"id":1,"confirm":true}`)); g.status != http.StatusOK {
				t.Fatalf("%s: %d %s", tool, g.status, g.body)
			}
			events := r.records()
			if !destructive {
				if len(events) != 1 || events[0].Phase != audit.PhaseOutcome {
					t.Errorf("%s: %+v", tool, events)
				}
				continue
			}
			if len(events) != 2 || events[0].Phase != audit.PhaseIntent || events[1].Phase != audit.PhaseOutcome || events[0].ID != events[1].ID || events[0].Outcome != "" {
				t.Fatalf("%s: %+v", tool, events)
			}
			if !strings.Contains(atUpstream, `"audit_id":"`+events[0].ID+`","phase":"intent"`) || strings.Contains(atUpstream, `"audit_id":"`+events[0].ID+`","phase":"outcome"`) {
				t.Errorf("%s: at the time of the call the file held\n%s", tool, atUpstream)
			}
		}
		if err := r.sidecar.audit.Close(); err != nil {
			t.Fatal(err)
		}
		touched := len(r.up.seen())
		g := r.do(toolCall(rev, r.token("alice"), "2", "delete_document", `{"id":1,"confirm":true}`))
		if g.status != http.StatusServiceUnavailable || len(r.up.seen()) != touched {
			t.Errorf("without an audit file: %d, the upstream was reached %d times", g.status, len(r.up.seen())-touched)
		}
	}
}

// Exactly one outcome record for each of many calls of all kinds at once; no call
// gets another's answer.
func TestOneRecordForEachCall(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, extra: "limits: { concurrent_calls_per_principal: 1000 }\n", upstream: func(w http.ResponseWriter, req *http.Request) {
		id := idOf(req)
		if strings.HasSuffix(id, `5"`) {
			events("data: "+response(id, `{"content":[{"type":"text","text":"for `+strings.Trim(id, `"`)+`"}]}`)+"\n\n")(w, req)
			return
		}
		text("for "+strings.Trim(id, `"`))(w, req)
	}})
	who := []string{"alice", "bob", "carol", "dave documents:*", "alice other"}
	kinds := []func(token, id, rev string) ask{
		func(token, id, rev string) ask { return toolCall(rev, token, id, "read_document", `{"id":1}`) },
		func(token, id, rev string) ask { return toolCall(rev, token, id, "update_document", `{"id":1}`) },
		func(token, id, rev string) ask {
			return toolCall(rev, token, id, "delete_document", `{"id":1,"confirm":true}`)
		},
		func(token, id, rev string) ask { return toolCall(rev, token, id, "delete_document", `{"id":1}`) },
		func(token, id, rev string) ask {
			return toolCall(rev, token, id, "render_document", `{"format":"a|b"}`)
		},
		func(token, id, rev string) ask { return request(rev, token, id, "resources/list", "") },
		func(token, id, rev string) ask {
			return request(rev, "FORGEDFORGEDFORGEDFORGEDFO", id, "tools/list", "")
		},
		func(token, id, rev string) ask {
			return notify(rev, token, "notifications/cancelled", `"requestId":`+id)
		},
		func(token, id, rev string) ask { return post(rev, token, "tools/call", "", `{"jsonrpc":`) },
		func(token, id, rev string) ask { return ask{method: http.MethodGet, header: http.Header{}} },
	}
	const n = 200
	var asks []ask
	for i := range n {
		asks = append(asks, kinds[i%len(kinds)](r.token(who[i%7%len(who)]), fmt.Sprintf(`"call-%d"`, i), bothRevisions[i/len(kinds)%2]))
	}
	var wg sync.WaitGroup
	for i, a := range asks {
		wg.Go(func() {
			resp, err := r.send(context.Background(), a)
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Error(err)
			}
			if at := bytes.Index(body, []byte("for call-")); at >= 0 && !bytes.HasPrefix(body[at:], fmt.Appendf(nil, "for call-%d\"", i)) && !bytes.HasPrefix(body[at:], fmt.Appendf(nil, "for call-%d\\n", i)) {
				t.Errorf("call %d got %s", i, body)
			}
		})
	}
	wg.Wait()
	outcomes, intents := map[string]int{}, map[string]int{}
	for _, e := range r.records() {
		if e.Phase == audit.PhaseIntent {
			intents[e.ID]++
			continue
		}
		outcomes[e.ID]++
	}
	if len(outcomes) != n {
		t.Errorf("%d outcome records for %d calls", len(outcomes), n)
	}
	for id, count := range outcomes {
		if count != 1 {
			t.Errorf("%d outcome records for %s", count, id)
		}
	}
	for id := range intents {
		if outcomes[id] != 1 {
			t.Errorf("intent %s has no outcome", id)
		}
	}
}

// What is in flight when the sidecar closes is recorded before the audit file is
// closed.
func TestCloseRecordsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		arrived := make(chan struct{})
		r := start(t, setup{inventory: demoInventory, upstream: func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			close(arrived)
			<-req.Context().Done()
		}})
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if resp, err := r.send(context.Background(), r.update(rev, "1")); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}()
		<-arrived
		if err := r.sidecar.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		// A client's own end, or the sidecar's, whichever comes first.
		if e := r.outcome(); e.Reason != "cancelled" && e.Reason != "shutdown" {
			t.Errorf("%s: record %+v", rev, e)
		}
		<-gone
		r.stop()
	}
}

// Close is safe at any time, also before Listen and twice.
func TestCloseTwice(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	r.stop()
	if err := r.sidecar.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	fresh := &rig{t: t, clock: r.clock, stderr: &buffer{}, answers: &buffer{}, tokens: map[string]string{}}
	fresh.startUpstreams(setup{})
	s, err := New(fresh.config(setup{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close before Listen: %v", err)
	}
}
