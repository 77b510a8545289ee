package sidecar

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Clients that are slower than they may be. The time is real, since it is the
// kernel's; each test waits for what happens at its end, and never for the time.
const shortTime = 700 * time.Millisecond

// edges are the ways to reach a sidecar. A connection is ready for HTTP/1.1.
var edges = []struct {
	name  string
	start func(*testing.T, setup) *rig
	dial  func(*testing.T, *rig) net.Conn
}{
	{"plain", func(t *testing.T, s setup) *rig { return start(t, s) }, func(t *testing.T, r *rig) net.Conn { return r.dial(t) }},
	{"TLS", func(t *testing.T, s setup) *rig { return startTLS(t, s, 1, nil).rig }, func(t *testing.T, r *rig) net.Conn {
		trust := r.http.Transport.(*http.Transport).TLSClientConfig.Clone()
		trust.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", strings.TrimPrefix(r.base, "https://"), trust)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}},
}

// TestSlowRequests: a request that does not come is cut off. Its server never
// hears of it.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	head := func(r *rig, length int) string {
		return fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
			r.base[strings.LastIndexByte(r.base, '/')+1:], r.token("alice"), length)
	}
	const begin = `{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"update_document","arguments":{"pad":"`
	for _, row := range []struct {
		name   string
		sent   func(*rig) string
		answer bool
	}{
		{"nothing", func(*rig) string { return "" }, false},
		{"half a request line", func(*rig) string { return "POST /m" }, false},
		{"half a head", func(r *rig) string { return head(r, 100)[:90] }, false},
		{"half a short body", func(r *rig) string { return head(r, 500) + begin }, true},
		{"half a body without length", func(r *rig) string {
			return strings.Replace(head(r, 1), "Content-Length: 1", "Transfer-Encoding: chunked", 1) + fmt.Sprintf("%x\r\n%s", len(begin)+100, begin)
		}, true},
		{"half a long body", func(r *rig) string { return head(r, 1<<20) + begin + strings.Repeat("x", 128<<10) }, true},
	} {
		for _, edge := range edges {
			t.Run(row.name+"/"+edge.name, func(t *testing.T) {
				t.Parallel()
				r := edge.start(t, setup{clientTime: shortTime})
				sent := row.sent(r) // before the time begins
				conn := edge.dial(t, r)
				_, _ = io.WriteString(conn, sent)
				answer, err := io.ReadAll(conn) // until the sidecar hangs up
				if err != nil && !row.answer {
					t.Logf("hung up with %v", err)
				}
				if !row.answer {
					if len(answer) != 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 4") || len(r.records()) != 0 {
						t.Errorf("answered %q", answer)
					}
					return
				}
				if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), `{"jsonrpc":"2.0","id":"slow","error":{"code":-32700,`) {
					t.Errorf("answered %q", answer)
				}
				if e := r.outcome(); e.Outcome != "protocol_rejected" || e.Reason != "body-cut" {
					t.Errorf("record %+v", e)
				}
			})
		}
	}
}

// TestNoHandshake: a connection that never says what it wants ends.
func TestNoHandshake(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{clientTime: shortTime}, 1, nil)
	for _, sent := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, sent)
		if answer, _ := io.ReadAll(conn); len(answer) > 7 { // an alert at most
			t.Errorf("answered %q", answer)
		}
		_ = conn.Close()
	}
}

// TestSlowBodyOverHTTP2: a body that does not come ends its own request, and no
// other one on the connection.
func TestSlowBodyOverHTTP2(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{inventory: demoInventory, upstream: text("done"), clientTime: shortTime}, 2, nil)
	conn := func(a ask, body io.Reader) (string, int, string) {
		req, err := http.NewRequest(http.MethodPost, r.url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header, req.ContentLength = a.header, int64(len(a.body))
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		return resp.TLS.PeerCertificates[0].SerialNumber.String() + resp.Proto, resp.StatusCode, string(answer)
	}
	whole := toolCall(modern, r.token("alice"), "1", "update_document", `{"id":1}`)
	if proto, status, answer := conn(whole, strings.NewReader(whole.body)); status != http.StatusOK || !strings.HasSuffix(proto, "HTTP/2.0") {
		t.Fatalf("%s %d %s", proto, status, answer)
	}
	before := len(r.up.seen())
	body, rest := io.Pipe()
	defer rest.Close()
	go func() { _, _ = io.WriteString(rest, whole.body[:len(whole.body)/2]) }()
	r.records()
	if _, status, answer := conn(whole, body); status != http.StatusBadRequest || !strings.Contains(answer, `"code":-32700`) {
		t.Errorf("%d %s", status, answer)
	}
	if e := r.outcome(); e.Reason != "body-cut" || len(r.up.seen()) != before {
		t.Errorf("record %+v; the upstream was reached %d times", e, len(r.up.seen())-before)
	}
	if _, status, answer := conn(whole, strings.NewReader(whole.body)); status != http.StatusOK {
		t.Errorf("the next request: %d %s", status, answer)
	}
}

// endless sends events until nobody takes them, and counts their bytes.
type endless struct {
	sent atomic.Int64
	gone chan struct{}
}

func (e *endless) serve(w http.ResponseWriter, r *http.Request) {
	defer close(e.gone)
	w.Header().Set("Content-Type", "text/event-stream")
	event := fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":%q}}\n\n", strings.Repeat("x ", 16<<10))
	for r.Context().Err() == nil {
		n, err := io.WriteString(w, event)
		e.sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// TestClientThatDoesNotRead: what a client leaves unread is left with its server;
// the sidecar keeps nothing of it, and ends the call. A stream that is only
// silent for as long goes on.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		start func(setup) *rig
	}{
		{"HTTP/1.1", func(s setup) *rig { return start(t, s) }},
		{"HTTP/1.1 over TLS", func(s setup) *rig { return startTLS(t, s, 1, nil).rig }},
		{"HTTP/2", func(s setup) *rig { return startTLS(t, s, 2, nil).rig }},
	} {
		t.Run(row.name, func(t *testing.T) {
			flood := &endless{gone: make(chan struct{})}
			release := make(chan struct{})
			r := row.start(setup{inventory: demoInventory, clientTime: shortTime, upstream: func(w http.ResponseWriter, req *http.Request) {
				if idOf(req) == `"flood"` {
					flood.serve(w, req)
					return
				}
				events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"early\"}}\n\n")(w, req)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-release:
				case <-req.Context().Done():
					t.Error("a silent stream was cut")
				}
				events("data: "+response("$ID", doneResult)+"\n\n")(w, req)
			}})
			silent := r.open(context.Background(), toolCall(modern, r.token("alice"), `"silent"`, "update_document", `{"id":1}`))
			defer silent.Body.Close()
			if n, err := silent.Body.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(err)
			}
			unread := r.open(context.Background(), toolCall(modern, r.token("alice"), `"flood"`, "update_document", `{"id":1}`))
			<-flood.gone
			_ = unread.Body.Close() // TLS would wait for a while to say goodbye
			if sent := flood.sent.Load(); sent > 48<<20 {
				t.Errorf("%d bytes were taken from the server for a client that reads none", sent)
			}
			close(release)
			if rest, err := io.ReadAll(silent.Body); err != nil || !strings.Contains(string(rest), `"result"`) {
				t.Errorf("the silent stream: %q, %v", rest, err)
			}
			r.stop()
			outcomes := map[string]string{}
			for _, e := range r.records() {
				if e.Phase == "outcome" {
					outcomes[e.Reason] = e.Outcome
				}
			}
			if outcomes["client-gone"] != "upstream_failed" && outcomes["cancelled"] != "upstream_failed" || outcomes[""] != "allowed" {
				t.Errorf("records: %v", outcomes)
			}
		})
	}
}

// TestSilentStream: a stream to which a client only listens has no body to read,
// so no time in which to read one.
func TestSilentStream(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		up := newStreaming()
		r := startTLS(t, setup{upstream: up.ServeHTTP, clientTime: shortTime}, version, nil)
		events, resp := r.listen(t, "alice", r.initialize("alice"), "")
		feed, _ := up.feed(0)
		// Another connection that says nothing tells when the time is over.
		conn := edges[1].dial(t, r.rig)
		_, _ = io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost: "+strings.TrimPrefix(r.base, "https://")+"\r\nContent-Length: 10\r\n\r\n")
		_, _ = io.ReadAll(conn)
		feed <- data("s1", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"late"}}`)
		if ev := next(t, events); !strings.Contains(string(ev.Data), "late") || resp.ProtoMajor != version {
			t.Errorf("HTTP/%d: %q", resp.ProtoMajor, ev.Data)
		}
		close(feed)
	}
}
