package sidecar

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
)

// brittle is a server that can fail in every way a network has. It is repaired
// until somebody breaks it.
type brittle struct {
	t       *testing.T
	address string
	healthy chan net.Conn
	server  *http.Server

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	fault    func(net.Conn)
	accepted int
	open     sync.WaitGroup // connections of a fault
}

func newBrittle(t *testing.T) *brittle {
	t.Helper()
	b := &brittle{t: t, address: "127.0.0.1:0", healthy: make(chan net.Conn), server: &http.Server{}}
	b.listen()
	t.Cleanup(func() {
		b.refuse()
		close(b.healthy)
		_ = b.server.Close()
		b.open.Wait()
	})
	return b
}

// Accept, Close and Addr make the repaired server listen on what comes in.
func (b *brittle) Accept() (net.Conn, error) {
	if conn, ok := <-b.healthy; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (b *brittle) Close() error   { return nil }
func (b *brittle) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (b *brittle) listen() {
	l, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.listener, b.address = l, l.Addr().String()
	b.mu.Unlock()
	b.open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.take(conn)
		}
	})
}

func (b *brittle) take(conn net.Conn) {
	b.mu.Lock()
	fault := b.fault
	b.accepted++
	b.mu.Unlock()
	if fault == nil {
		b.healthy <- conn
		return
	}
	b.open.Go(func() {
		defer conn.Close()
		fault(conn)
	})
}

func (b *brittle) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener != nil {
		_ = b.listener.Close()
		b.listener = nil
	}
}

// become breaks the server or, with nil, repairs it.
func (b *brittle) become(fault func(net.Conn)) {
	b.mu.Lock()
	b.fault, b.accepted = fault, 0
	refusing := b.listener == nil
	b.mu.Unlock()
	if refusing {
		b.listen()
	}
}

func (b *brittle) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// answers reads a request and answers it with text, $ID being its id, then does
// what comes after.
func answers(text string, after func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		var m struct{ ID json.RawMessage }
		_ = json.Unmarshal(body, &m)
		_, _ = io.WriteString(conn, strings.ReplaceAll(text, "$ID", string(m.ID)))
		after(conn)
	}
}

// hold waits until the sidecar hangs up: a failure must not leave it connected.
func hold(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func hangUp(net.Conn) {}

// reset closes a connection the hard way.
func reset(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }

// drip sends text again and again until the sidecar hangs up.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

const (
	jsonHead   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	half       = `{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"te`
	note1      = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"one\"}}\n\n"
)

// TestUpstreamDown: however a server fails, its caller reads which record says
// why, within the idle time-out; nothing is tried twice, the connection is given
// up, and the first call after the repair succeeds.
func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	for i, row := range []struct {
		name   string
		fault  func(net.Conn) // nil: connections are refused
		reason string         // transport unless said otherwise
		stream bool           // an event came before
	}{
		{name: "refuses connections"},
		{name: "accepts and says nothing", fault: hold},
		{name: "accepts and hangs up", fault: hangUp},
		{name: "resets at once", fault: reset},
		{name: "says nothing after the request", fault: answers("", hold)},
		{name: "hangs up after the request", fault: answers("", hangUp)},
		{name: "resets after the request", fault: answers("", reset)},
		{name: "half a head", fault: answers("HTTP/1.1 200 OK\r\nContent-Ty", hold)},
		{name: "a head that never ends", fault: answers("HTTP/1.1 200 OK\r\nX-Slow: ", drip("x"))},
		{name: "too long a head", fault: answers("HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("x", 64<<10)+"\r\n\r\n", hold)},
		{name: "interim answers without end", fault: answers("", drip("HTTP/1.1 103 Early Hints\r\n\r\n"))},
		{name: "another protocol", fault: answers("SSH-2.0-OpenSSH_9.9\r\n", hold)},
		{name: "half a body, then silence", fault: answers(jsonHead+"Content-Length: 500\r\n\r\n"+half, hold)},
		{name: "half a body, then the end", fault: answers(jsonHead+"Content-Length: 500\r\n\r\n"+half, hangUp)},
		{name: "half a body, then a reset", fault: answers(jsonHead+"Content-Length: 500\r\n\r\n"+half, reset)},
		{name: "half a body without length", fault: answers(jsonHead+"\r\n"+half, hangUp), reason: "malformed"},
		{name: "half a chunk", fault: answers(jsonHead+"Transfer-Encoding: chunked\r\n\r\nff\r\n"+half, hangUp)},
		{name: "a body that never ends", fault: answers(jsonHead+"\r\n"+half, drip(" "))},
		{name: "500 with a page", fault: answers("HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\r\n<html>n4ive@db:5432</html", hold), reason: "no-answer"},
		{name: "a stream that falls silent", fault: answers(streamHead+note1, hold), stream: true},
		{name: "a stream of comments", fault: answers(streamHead+note1, drip(": still here\n\n")), stream: true},
		{name: "a stream that resets", fault: answers(streamHead+note1, reset), stream: true},
		{name: "half an event, then silence", fault: answers(streamHead+note1+"data: "+half, hold), stream: true},
		{name: "an event that never ends", fault: answers(streamHead+note1+"data: "+half, drip("x")), stream: true},
	} {
		for _, rev := range bothRevisions {
			if !row.stream && i%2 == slices.Index(bothRevisions, rev) {
				continue // how a connection fails is the same in both
			}
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				t.Parallel()
				b := newBrittle(t)
				r := start(t, setup{inventory: demoInventory, upstream: text("done"), extra: "limits: { call_idle_timeout: 1s }\n", change: func(c *config.Config) {
					u := c.Upstreams["docs"]
					u.URL = "http://" + b.address + "/mcp"
					c.Upstreams["docs"] = u
				}})
				b.server.Handler = http.HandlerFunc(r.up.serve)
				b.open.Go(func() { _ = b.server.Serve(b) })
				call := toolCall(rev, r.token("alice"), "1", "update_document", `{"id":1}`)
				if g := r.do(call); g.status != http.StatusOK || !strings.Contains(string(g.body), "done") {
					t.Fatalf("before the failure: %d %s", g.status, g.body)
				}
				_ = r.sidecar.endpoints[0].upstream.Close() // drops the connection that is still good
				r.records()
				r.up.answerWith(nil)
				if row.fault == nil {
					b.refuse()
				} else {
					b.become(row.fault)
				}
				r.checkDown(t, r.do(call), row.reason, row.stream)
				if n := b.connections(); row.fault != nil && n != 1 {
					t.Errorf("%d connections, want 1: a call must not be tried twice", n)
				}
				r.up.answerWith(text("done"))
				b.become(nil)
				if g := r.do(call); g.status != http.StatusOK || !strings.Contains(string(g.body), "done") {
					t.Errorf("after the repair: %d %s", g.status, g.body)
				}
			})
		}
	}
}

// checkDown checks what a caller reads of a server that failed, and its record.
func (r *rig) checkDown(t *testing.T, g got, reason string, stream bool) {
	t.Helper()
	if reason == "" {
		reason = "transport"
	}
	e := r.outcome()
	want := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":50200,"message":"upstream failed (audit %s)","data":{"outcome":"upstream_failed","reason":"%s","audit_id":"%s"}}}`, e.ID, reason, e.ID)
	status := http.StatusBadGateway
	if stream {
		status = http.StatusOK
		if !strings.Contains(string(g.body), `"data":"one"`) || !strings.HasSuffix(string(g.body), "data: "+want+"\n\n") {
			t.Errorf("the stream\n%s\ndoes not end with\n%s", g.body, want)
		}
	} else if string(g.body) != want {
		t.Errorf("body\n%s\nwant\n%s", g.body, want)
	}
	if g.status != status || e.Outcome != "upstream_failed" || e.Reason != reason || e.Error == "" {
		t.Errorf("%d, record %+v", g.status, e)
	}
	for _, secret := range []string{"n4ive", service, "127.0.0.1"} {
		if strings.Contains(string(g.body), secret) {
			t.Errorf("the client reads %q: %s", secret, g.body)
		}
	}
}

// TestUpstreamDownForMany: many callers of a silent server at once all read their
// own answer, and the server is not asked more often than there were calls.
func TestUpstreamDownForMany(t *testing.T) {
	t.Parallel()
	b := newBrittle(t)
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), extra: "limits: { call_idle_timeout: 1s }\n", change: func(c *config.Config) {
		u := c.Upstreams["docs"]
		u.URL = "http://" + b.address + "/mcp"
		c.Upstreams["docs"] = u
	}})
	b.become(answers("", hold))
	const many = 40
	var wait sync.WaitGroup
	seen := make(chan string, many)
	token := r.token("alice")
	for i := range many {
		wait.Go(func() {
			id := fmt.Sprint(i)
			resp, err := r.send(context.Background(), request(modern, token, id, "tools/list", ""))
			if err != nil {
				seen <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusBadGateway || !strings.HasPrefix(string(body), `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":50200,`) {
				seen <- fmt.Sprint(resp.StatusCode, " ", string(body), " ", err)
			}
		})
	}
	wait.Wait()
	close(seen)
	for wrong := range seen {
		t.Error(wrong)
	}
	if n := b.connections(); n > many {
		t.Errorf("%d connections for %d calls", n, many)
	}
}
