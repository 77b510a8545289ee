package sidecar

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestConnectionCap: whoever comes first keeps what he has, the rest is turned
// away at once, and a place is free again when a connection ends.
func TestConnectionCap(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = limitConnections(2)
	s.Start()
	defer s.Close()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	served := func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		n, _ := conn.Read(make([]byte, 4096))
		return n > 0
	}
	first, second := dial(), dial()
	defer second.Close()
	if !served(first) || !served(second) {
		t.Fatal("connections below the cap are not served")
	}
	for range 3 {
		third := dial()
		if served(third) {
			t.Error("a connection above the cap is served")
		}
		_ = third.Close()
	}
	if !served(first) || !served(second) {
		t.Error("the cap ends connections that were there before")
	}
	_ = first.Close()
	for { // the server notices in its own time
		again := dial()
		ok := served(again)
		_ = again.Close()
		if ok {
			break
		}
	}
}

// TestAsteriskOptions: no path, no answer that nobody wrote.
func TestAsteriskOptions(t *testing.T) {
	t.Parallel()
	r := start(t, setup{extra: withProbes})
	for address, want := range map[string]int{r.sidecar.listener.Addr().String(): http.StatusNotFound, r.sidecar.probes.Addr().String(): http.StatusNotFound} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: "+address+"\r\nOrigin: https://attacker.example\r\n\r\n")
		if status, body := readRaw(t, conn); status != want {
			t.Errorf("%d %s", status, body)
		}
		_ = conn.Close()
	}
}

// flooder is a client that speaks HTTP/2 frame by frame.
type flooder struct {
	t      *testing.T
	conn   net.Conn
	frames *http2.Framer
	heads  *hpack.Encoder
	head   bytes.Buffer
	next   uint32
}

func newFlooder(t *testing.T, r *rig) *flooder {
	t.Helper()
	trust := r.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(r.base, "https://"), trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f := &flooder{t: t, conn: conn, frames: http2.NewFramer(conn, conn), next: 1}
	f.heads = hpack.NewEncoder(&f.head)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	if err := f.frames.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// open begins a request whose body does not come.
func (f *flooder) open(r *rig) (uint32, error) {
	f.head.Reset()
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":authority", strings.TrimPrefix(r.base, "https://")}, {":path", "/mcp"},
		{"content-type", "application/json"}, {"content-length", "1000"}, {"authorization", "Bearer " + r.token("alice")},
	} {
		if err := f.heads.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return 0, err
		}
	}
	id := f.next
	f.next += 2
	return id, f.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head.Bytes(), EndHeaders: true})
}

// until reads frames until want accepts one.
func (f *flooder) until(want func(http2.Frame) bool) {
	f.t.Helper()
	for {
		frame, err := f.frames.ReadFrame()
		if err != nil {
			f.t.Fatalf("the connection ended before that: %v", err)
		}
		if want(frame) {
			return
		}
	}
}

// TestStreamCap: one connection has only so many requests in flight, and another
// one does not suffer.
func TestStreamCap(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{inventory: demoInventory, upstream: text("done")}, 2, nil)
	f := newFlooder(t, r.rig)
	f.until(func(frame http2.Frame) bool {
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok || settings.IsAck() {
			return false
		}
		if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != maxStreams {
			t.Errorf("%d streams are announced, want %d", n, maxStreams)
		}
		return true
	})
	if err := f.frames.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	var last uint32
	for range maxStreams + 1 {
		var err error
		if last, err = f.open(r.rig); err != nil {
			t.Fatal(err)
		}
	}
	f.until(func(frame http2.Frame) bool {
		reset, ok := frame.(*http2.RSTStreamFrame)
		if ok && (reset.StreamID != last || reset.ErrCode != http2.ErrCodeRefusedStream && reset.ErrCode != http2.ErrCodeProtocol) {
			t.Errorf("stream %d: %v, want stream %d to be refused", reset.StreamID, reset.ErrCode, last)
		}
		return ok
	})
	if g := r.do(toolCall(modern, r.token("alice"), "1", "update_document", `{"id":1}`)); g.status != http.StatusOK {
		t.Errorf("another connection: %d %s", g.status, g.body)
	}
	_ = f.conn.Close()
}

// TestRapidReset: requests that are taken back at once pile up nowhere
// (CVE-2023-44487); whoever goes on with it is hung up on.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{inventory: demoInventory, upstream: text("done")}, 2, nil)
	f := newFlooder(t, r.rig)
	if err := f.frames.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for {
			id, err := f.open(r.rig)
			if err != nil || f.frames.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	_, _ = io.Copy(io.Discard, f.conn) // what the server says does not matter; it must end
	_ = f.conn.Close()
	<-writing
	if g := r.do(toolCall(modern, r.token("alice"), "1", "update_document", `{"id":1}`)); g.status != http.StatusOK {
		t.Errorf("another connection: %d %s", g.status, g.body)
	}
}
