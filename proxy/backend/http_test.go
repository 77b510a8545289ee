package backend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// TestMain runs the tests or, in a process that a test has started, a server.
func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(childMain(mode))
	}
	goleak.VerifyTestMain(m)
}

// taker is a sink that keeps what it gets.
type taker struct {
	reply    wire.Reply
	replies  int
	events   []string
	stopAt   int // message after which the answer is complete; 0: never
	onReply  error
	onEvent  error
	received chan struct{} // told of each message
}

func (s *taker) Reply(r wire.Reply) error {
	s.reply, s.replies = r, s.replies+1
	return s.onReply
}

func (s *taker) Message(ev wire.Event) error {
	s.events = append(s.events, string(ev.Data))
	if s.received != nil {
		s.received <- struct{}{}
	}
	if s.onEvent != nil {
		return s.onEvent
	}
	if len(s.events) == s.stopAt {
		return wire.ErrDone
	}
	return nil
}

func upstream(t *testing.T, o Options, h http.HandlerFunc) *HTTP {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	o.URL = server.URL + "/mcp?x=1"
	u, err := NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	return u
}

// kept is a credential of the operator's.
func kept(t *testing.T, value string) *identity.Stored {
	t.Helper()
	s, err := identity.NewStored(identity.StoredOptions{Value: identity.NewSecret(value)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewHTTP(t *testing.T) {
	for _, bad := range []string{"", "localhost:80", "/mcp", "ftp://example.com", "http://", "http:///mcp", "http://[::1", "unix:///x"} {
		if _, err := NewHTTP(Options{URL: bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	u, err := NewHTTP(Options{URL: "https://example.com/mcp"})
	if err != nil {
		t.Fatal(err)
	}
	if u.transport.Proxy != nil {
		t.Error("the environment can name a proxy, which would see the service credential")
	}
	if !u.transport.DisableCompression {
		t.Error("the transport asks for compressed answers")
	}
	if u.opts.MaxResult != 16<<20 || u.opts.IdleTimeout != 5*time.Minute {
		t.Errorf("defaults %d, %v", u.opts.MaxResult, u.opts.IdleTimeout)
	}
}

// A request is what the exchange says, the credential, and nothing else.
func TestRequest(t *testing.T) {
	secret := Credential{Header: "x-api-key", Source: kept(t, "service")}
	for _, row := range []struct {
		name   string
		cred   Credential
		x      wire.Exchange
		method string
		want   map[string]string
	}{
		{"nothing", Credential{}, wire.Exchange{Body: []byte("{}")}, "POST", nil},
		{"everything", secret, wire.Exchange{Body: []byte("{}"), Version: "v", Method: "tools/call", Name: "n", Session: "s", Params: []wire.Header{{Name: "Mcp-Param-Region", Value: "eu"}}}, "POST",
			map[string]string{"Mcp-Protocol-Version": "v", "Mcp-Method": "tools/call", "Mcp-Name": "n", "Mcp-Session-Id": "s", "Mcp-Param-Region": "eu", "X-Api-Key": "service"}},
		{"a name that is no header value", secret, wire.Exchange{Body: []byte("{}"), Name: "a\r\nX-Evil: 1"}, "POST",
			map[string]string{"Mcp-Name": "=?base64?" + base64.StdEncoding.EncodeToString([]byte("a\r\nX-Evil: 1")) + "?=", "X-Api-Key": "service"}},
		{"the end of a session", secret, wire.Exchange{Verb: wire.End, Session: "s", Version: "v"}, "DELETE",
			map[string]string{"Mcp-Session-Id": "s", "Mcp-Protocol-Version": "v", "X-Api-Key": "service"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got *http.Request
			var body []byte
			u := upstream(t, Options{Credential: row.cred}, func(w http.ResponseWriter, r *http.Request) {
				got = r
				body, _ = io.ReadAll(r.Body)
				w.WriteHeader(http.StatusAccepted)
			})
			if err := u.Do(t.Context(), row.x, &taker{}); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"Accept": "application/json, text/event-stream", "User-Agent": "mcp-sidecar"}
			if row.method == "POST" {
				want["Content-Type"], want["Content-Length"] = "application/json", "2"
			}
			for k, v := range row.want {
				want[k] = v
			}
			for k, v := range got.Header {
				if want[k] != strings.Join(v, "|") {
					t.Errorf("%s: %q, want %q", k, v, want[k])
				}
				delete(want, k)
			}
			if len(want) != 0 {
				t.Errorf("missing %v", want)
			}
			if got.Method != row.method || got.URL.String() != "/mcp?x=1" || !bytes.Equal(body, row.x.Body) {
				t.Errorf("%s %s %q", got.Method, got.URL, body)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	stop := errors.New("enough")
	answer := func(status int, header http.Header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	media := func(m string) http.Header { return http.Header{"Content-Type": {m}} }
	for _, row := range []struct {
		name   string
		serve  http.HandlerFunc
		sink   taker
		events []string
		err    error
		reply  wire.Reply
	}{
		{name: "JSON", serve: answer(200, media("application/json"), "{}"), events: []string{"{}"}, reply: wire.Reply{Status: 200}},
		{name: "JSON of an error", serve: answer(404, media("application/json"), "{}"), events: []string{"{}"}, reply: wire.Reply{Status: 404}},
		{name: "session", serve: answer(200, http.Header{"Content-Type": {"application/json"}, "Mcp-Session-Id": {"s"}}, "{}"), events: []string{"{}"}, reply: wire.Reply{Status: 200, Session: "s"}},
		{name: "no body", serve: answer(202, nil, ""), reply: wire.Reply{Status: 202}},
		{name: "text", serve: answer(200, media("text/plain"), "hello"), reply: wire.Reply{Status: 200}},
		{name: "stream", serve: answer(200, media("text/event-stream"), "data: 1\n\ndata: 2\n\n"), events: []string{"1", "2"}, reply: wire.Reply{Status: 200, Stream: true}},
		{name: "stream with an error's status", serve: answer(500, media("text/event-stream"), "data: 1\n\n"), reply: wire.Reply{Status: 500, Stream: true}},
		{name: "stream, complete", serve: answer(200, media("text/event-stream"), "data: 1\n\ndata: 2\n\n"), sink: taker{stopAt: 1}, events: []string{"1"}, reply: wire.Reply{Status: 200, Stream: true}},
		{name: "stream, stopped", serve: answer(200, media("text/event-stream"), "data: 1\n\ndata: 2\n\n"), sink: taker{onEvent: stop}, events: []string{"1"}, err: stop, reply: wire.Reply{Status: 200, Stream: true}},
		{name: "refused by its head", serve: answer(401, media("application/json"), "{}"), sink: taker{onReply: stop}, err: stop, reply: wire.Reply{Status: 401}},
		{name: "compressed", serve: answer(200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, "{}"), err: ErrTransport},
		{name: "encoded as it is", serve: answer(200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}}, "{}"), events: []string{"{}"}, reply: wire.Reply{Status: 200}},
		{name: "too large, announced", serve: answer(200, media("application/json"), strings.Repeat(" ", 65)), err: ErrTooLarge, reply: wire.Reply{Status: 200}},
		{name: "as large as it may be", serve: answer(200, media("application/json"), strings.Repeat(" ", 64)), events: []string{strings.Repeat(" ", 64)}, reply: wire.Reply{Status: 200}},
		{name: "too large, on a stream", serve: answer(200, media("text/event-stream"), "data: "+strings.Repeat("x", 65)+"\n\n"), err: ErrTooLarge, reply: wire.Reply{Status: 200, Stream: true}},
		{name: "large head", serve: answer(200, http.Header{"X-Pad": {strings.Repeat("x", 20<<10)}}, "{}"), err: ErrTransport},
		{name: "hangs up", serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, err: ErrTransport},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := upstream(t, Options{MaxResult: 64}, row.serve)
			sink := row.sink
			err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}"), Call: true}, &sink)
			if !errors.Is(err, row.err) || (err == nil) != (row.err == nil) {
				t.Errorf("error %v, want %v", err, row.err)
			}
			if !slices.Equal(sink.events, row.events) || sink.reply != row.reply || sink.replies > 1 {
				t.Errorf("%q, %+v (%d); want %q, %+v", sink.events, sink.reply, sink.replies, row.events, row.reply)
			}
		})
	}
}

// Redirects are handed over, not followed: the credential would travel along.
func TestRedirect(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer trap.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		u := upstream(t, Options{}, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, trap.URL, status) })
		var sink taker
		if err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}")}, &sink); err != nil || sink.reply.Status != status {
			t.Errorf("%d: %v, %+v", status, err, sink.reply)
		}
	}
}

// A call is sent once, also when the connection it was to be sent on has died.
func TestNothingIsSentTwice(t *testing.T) {
	var n atomic.Int64
	u := upstream(t, Options{}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n.Add(1)
		panic(http.ErrAbortHandler) // the request has arrived; its answer never leaves
	})
	for range 3 {
		if err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}"), Call: true}, &taker{}); !errors.Is(err, ErrTransport) {
			t.Error(err)
		}
	}
	if n.Load() != 3 {
		t.Errorf("3 calls arrived as %d", n.Load())
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	u, err := NewHTTP(Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := u.Do(t.Context(), wire.Exchange{Body: []byte("{}")}, &taker{}); !errors.Is(err, ErrTransport) {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	arrived := make(chan struct{})
	u := upstream(t, Options{}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if err := u.Do(ctx, wire.Exchange{Body: []byte("{}")}, &taker{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Silence ends an exchange, length does not: each event starts the clock anew.
func TestIdleTimeout(t *testing.T) {
	const limit = 5 * time.Minute
	for name, row := range map[string]struct {
		head       bool
		gap        time.Duration // between events
		sent, seen int
	}{
		"silent from the start":             {false, 0, 0, 0},
		"silent after its head":             {true, 0, 0, 0},
		"silent after three events":         {true, 4 * time.Minute, 3, 3},
		"each event at the last moment":     {true, limit - 1, 3, 3},
		"the first event a moment too late": {true, limit + 1, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u, err := NewHTTP(Options{URL: "http://upstream.example/mcp"})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = u.Close() }()
				var served sync.WaitGroup
				defer served.Wait()
				u.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					served.Go(func() { silentServer(theirs, row.head, row.gap, row.sent) })
					return ours, nil
				}
				sink := &taker{}
				begun := time.Now()
				err = u.Do(t.Context(), wire.Exchange{Body: []byte("{}"), Call: true}, sink)
				want := time.Duration(row.seen)*row.gap + limit
				if took := time.Since(begun); err == nil || errors.Is(err, ErrTooLarge) || took != want || len(sink.events) != row.seen {
					t.Errorf("%v after %v and %d events, want %v", err, took, len(sink.events), want)
				}
			})
		})
	}
}

// silentServer sends a head, then events with a gap before each, and then nothing
// more.
func silentServer(c net.Conn, head bool, gap time.Duration, events int) {
	defer c.Close()
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	if head {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
	}
	for i := range events {
		time.Sleep(gap)
		if _, err := fmt.Fprintf(c, "data: %d\n\n", i); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, c) // until the other side hangs up
}

func TestEncodeHeader(t *testing.T) {
	for _, row := range []struct{ value, want string }{
		{"", ""},
		{"read_document", "read_document"},
		{"with space inside", "with space inside"},
		{" in front", "=?base64?IGluIGZyb250?="},
		{"behind ", "=?base64?YmVoaW5kIA==?="},
		{"ü", "=?base64?w7w=?="},
		{"a\tb", "=?base64?YQli?="},
		{"a\r\nb", "=?base64?YQ0KYg==?="},
		{"\x7f", "=?base64?fw==?="},
		{"=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="},
		{"=?base64?x", "=?base64?x"},
	} {
		if got := EncodeHeader(row.value); got != row.want {
			t.Errorf("%q: %q, want %q", row.value, got, row.want)
		}
	}
}

// FuzzEncodeHeader: what stands in a header is visible ASCII and can be read back.
func FuzzEncodeHeader(f *testing.F) {
	for _, s := range []string{"", "a", " a", "ü", "=?base64?YQ==?=", "a\r\nb", "=?base64?", "?="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) {
			return // JSON strings are UTF-8
		}
		got := EncodeHeader(value)
		for i := range len(got) {
			if got[i] < ' ' || got[i] > '~' {
				t.Fatalf("%q gave %q", value, got)
			}
		}
		inner, ok := strings.CutPrefix(got, "=?base64?")
		inner, also := strings.CutSuffix(inner, "?=")
		if !ok || !also {
			if got != value {
				t.Fatalf("%q gave %q", value, got)
			}
			return
		}
		if back, err := base64.StdEncoding.DecodeString(inner); err != nil || string(back) != value {
			t.Fatalf("%q gave %q, which reads as %q (%v)", value, got, back, err)
		}
	})
}
