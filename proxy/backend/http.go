// Package backend is the upstream side of the sidecar: it carries exchanges to
// an MCP server and streams the answers back.
//
// A request to the upstream is built from nothing: the exchange's few fields, an
// allow-list of headers, and the sidecar's own credential. Nothing of the
// client's request is at hand here, its credential least of all.
package backend

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// ErrTransport says that the upstream could not be reached, or did not answer as
// an MCP server does. Its text is for the operator, not for a client.
var ErrTransport = errors.New("upstream transport")

// ErrTooLarge says that an answer exceeds the limit. What came before it is void.
var ErrTooLarge = errors.New("upstream answer exceeds the size limit")

// Credential is the sidecar's own credential for an upstream: one header.
type Credential struct {
	Header string // empty: none is sent
	Prefix string // before what Source yields
	Source Source
	// PerCaller says that Source yields one for each caller, and nothing without.
	PerCaller bool
}

// Source yields what the upstream is shown on behalf of a caller, who may be nil.
type Source interface {
	// Current returns what to show now. Errors wrap identity.ErrNoCredential, or are
	// the context's.
	Current(ctx context.Context, caller *identity.Delegation) (identity.Credential, error)
	// Renew returns what to show instead of refused, which the upstream did not
	// take; false when there is nothing else.
	Renew(ctx context.Context, caller *identity.Delegation, refused identity.Credential) (identity.Credential, bool)
}

// Options configure an HTTP upstream.
type Options struct {
	URL         string
	Credential  Credential
	TLS         func() *tls.Config // as it is now, for https; nil: the system's authorities, and no certificate is shown
	MaxResult   int                // bytes of one message; 0 means 16 MiB
	IdleTimeout time.Duration      // longest silence within an answer; 0 means 5 minutes
}

// HTTP is an upstream that speaks streamable HTTP. It is safe for concurrent use.
type HTTP struct {
	opts      Options
	url       *url.URL
	transport *http.Transport
	streams   *http.Transport            // for what stays open: its connections do little, and are many
	secured   atomic.Pointer[tls.Config] // what idle connections were opened with
}

// NewHTTP returns an upstream at o.URL. It opens no connection yet.
func NewHTTP(o Options) (*HTTP, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("upstream URL %q is not an absolute http or https URL", o.URL)
	}
	if o.MaxResult == 0 {
		o.MaxResult = 16 << 20
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	streams := newTransport(o.TLS)
	streams.ReadBufferSize, streams.WriteBufferSize = streamBuffer, streamBuffer
	return &HTTP{opts: o, url: u, transport: newTransport(o.TLS), streams: streams}, nil
}

// streamBuffer is the size of a stream's buffers, in bytes. Go's own take four
// times as much.
const streamBuffer = 1 << 10

// handshakeTime bounds a TLS handshake.
const handshakeTime = 5 * time.Second

func newTransport(secure func() *tls.Config) *http.Transport {
	t := &http.Transport{
		Proxy:                  nil, // HTTP_PROXY would show the service credential to a third party
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTime,
		DisableCompression:     true, // what is inspected is what was sent
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}
	if secure != nil {
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := t.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return handshake(ctx, conn, address, secure())
		}
	}
	return t
}

// handshake secures conn with c as it is at this moment: a transport would keep
// the one that it was made with.
func handshake(ctx context.Context, conn net.Conn, address string, c *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c = c.Clone()
	c.ServerName = host
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	secured := tls.Client(conn, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("the upstream's identity: %w", err)
	}
	return secured, nil
}

// followTLS closes connections that nobody uses once they are not how new ones are
// opened: an authority or a certificate was replaced.
func (h *HTTP) followTLS() {
	if h.opts.TLS == nil {
		return
	}
	now := h.opts.TLS()
	if was := h.secured.Swap(now); was != nil && was != now {
		_ = h.Close()
	}
}

// Close drops idle connections.
func (h *HTTP) Close() error {
	h.transport.CloseIdleConnections()
	h.streams.CloseIdleConnections()
	return nil
}

// Do carries x to the upstream and hands the answer to sink. Errors wrap
// ErrTransport, ErrTooLarge, identity.ErrNoCredential, or are the sink's own or the
// context's.
func (h *HTTP) Do(caller context.Context, x wire.Exchange, sink wire.Sink) error {
	shown, err := h.credential(caller, x)
	if err != nil {
		return err
	}
	return h.carry(caller, x, sink, shown)
}

// carry is Do with what the upstream is shown.
func (h *HTTP) carry(caller context.Context, x wire.Exchange, sink wire.Sink, shown identity.Credential) error {
	// The caller's end stops the exchange, but not the reading of a stream's last
	// bytes once the answer is complete: that would throw the connection away.
	ctx, cancel := context.WithCancel(context.WithoutCancel(caller))
	detach := context.AfterFunc(caller, cancel)
	defer detach()
	// Silence ends an exchange, not length: each message starts the clock anew. A
	// stream that stays open may be silent once it has begun.
	idle := time.AfterFunc(h.opts.IdleTimeout, cancel)
	defer idle.Stop()
	h.followTLS()
	resp, err := h.roundTrip(ctx, x, shown)
	if err != nil {
		cancel()
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	draining := false
	defer func() { // also when the sink panics: nothing else would end the exchange
		if !draining {
			cancel()
			_ = resp.Body.Close()
		}
	}()
	alive := func() { idle.Reset(h.opts.IdleTimeout) }
	if x.Long && resp.StatusCode == http.StatusOK {
		idle.Stop()
		alive = func() {}
	}
	err = h.answer(resp, sink, alive)
	if errors.Is(err, wire.ErrDone) {
		draining = true
		go drain(resp.Body, cancel)
		return nil
	}
	return err
}

// credential is what the upstream is shown for x.
func (h *HTTP) credential(ctx context.Context, x wire.Exchange) (identity.Credential, error) {
	if h.opts.Credential.Source == nil {
		return identity.Credential{}, nil
	}
	c, err := h.opts.Credential.Source.Current(ctx, callerOf(x))
	if err == nil && c.Empty() {
		return c, identity.ErrNoCredential // as nobody, the upstream may let more pass
	}
	return c, err
}

// callerOf is nil where x is made for nobody.
func callerOf(x wire.Exchange) *identity.Delegation {
	caller, _ := x.Delegated.(*identity.Delegation)
	return caller
}

// roundTrip sends x, once more with another credential where there is one and the
// first is refused: it may have been replaced or withdrawn a moment ago. What was
// refused for its credential has not been done.
func (h *HTTP) roundTrip(ctx context.Context, x wire.Exchange, shown identity.Credential) (*http.Response, error) {
	// RoundTrip instead of a Client: a redirect would carry the service
	// credential to wherever the upstream points.
	transport := h.transport
	if x.Long {
		transport = h.streams
	}
	resp, err := transport.RoundTrip(h.request(ctx, x, shown))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || h.opts.Credential.Source == nil {
		return resp, err
	}
	next, ok := h.opts.Credential.Source.Renew(ctx, callerOf(x), shown)
	if !ok {
		return resp, nil
	}
	_ = resp.Body.Close()
	return transport.RoundTrip(h.request(ctx, x, next))
}

// drain reads the end of a stream whose answer is complete, so that its
// connection can be used again, but not for long: an upstream may keep it open.
func drain(body io.ReadCloser, cancel context.CancelFunc) {
	defer cancel()
	defer func() { _ = body.Close() }()
	late := time.AfterFunc(drainTime, cancel)
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, drainBytes)
}

// Bounds of drain.
const (
	drainTime  = time.Second
	drainBytes = 16 << 10
)

func (h *HTTP) request(ctx context.Context, x wire.Exchange, shown identity.Credential) *http.Request {
	head := make(http.Header, 8)
	set := func(name, value string) {
		if value != "" {
			head[name] = []string{value}
		}
	}
	set("Accept", "application/json, text/event-stream")
	set("Last-Event-Id", x.LastEvent)
	set("User-Agent", "mcp-sidecar")
	set("Mcp-Protocol-Version", x.Version)
	set("Mcp-Method", x.Method)
	set("Mcp-Name", EncodeHeader(x.Name))
	set("Mcp-Session-Id", x.Session)
	for _, p := range x.Params {
		set(http.CanonicalHeaderKey(p.Name), cmp.Or(EncodeHeader(p.Value), emptyHeader))
	}
	if !shown.Empty() {
		set(http.CanonicalHeaderKey(h.opts.Credential.Header), h.opts.Credential.Prefix+shown.Reveal())
	}
	req := &http.Request{Method: http.MethodPost, URL: h.url, Host: h.url.Host, Header: head, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	switch x.Verb {
	case wire.End:
		req.Method = http.MethodDelete
		return req.WithContext(ctx)
	case wire.Watch:
		req.Method = http.MethodGet
		set("Accept", "text/event-stream")
		return req.WithContext(ctx)
	}
	set("Content-Type", "application/json")
	// The body is whole in memory: a streamed one can abort a call when the
	// upstream answers early over HTTP/1.1 (golang/go#40747).
	req.ContentLength = int64(len(x.Body))
	req.Body = io.NopCloser(bytes.NewReader(x.Body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.Body)), nil }
	return req.WithContext(ctx)
}

func (h *HTTP) answer(resp *http.Response, sink wire.Sink, alive func()) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	reply := wire.Reply{Status: resp.StatusCode, Stream: media == "text/event-stream", Session: resp.Header.Get("Mcp-Session-Id")}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		// Compressed bytes would pass the guards unread.
		return fmt.Errorf("%w: answer is encoded as %q although identity was asked for", ErrTransport, enc)
	}
	if err := sink.Reply(reply); err != nil {
		return err
	}
	switch {
	case reply.Stream && resp.StatusCode == http.StatusOK:
		return h.stream(resp.Body, sink, alive)
	case media == "application/json":
		return h.single(resp, sink)
	}
	return nil // a status without a message: the caller judges it
}

func (h *HTTP) single(resp *http.Response, sink wire.Sink) error {
	if resp.ContentLength > int64(h.opts.MaxResult) {
		return ErrTooLarge
	}
	body, err := readAll(resp, h.opts.MaxResult)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return nil
	}
	return sink.Message(wire.Event{Data: body})
}

func readAll(resp *http.Response, limit int) ([]byte, error) {
	if n := resp.ContentLength; n >= 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(resp.Body, body); err != nil {
			return nil, fmt.Errorf("%w: answer cut short: %w", ErrTransport, err)
		}
		return body, nil
	}
	body, err := wire.ReadAll(resp.Body, limit)
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return nil, ErrTooLarge
	case err != nil:
		return nil, fmt.Errorf("%w: answer cut short: %w", ErrTransport, err)
	}
	return body, nil
}

func (h *HTTP) stream(body io.Reader, sink wire.Sink, alive func()) error {
	events := wire.NewEventReader(body, h.opts.MaxResult)
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, wire.ErrTooLarge):
			return ErrTooLarge
		case err != nil:
			return fmt.Errorf("%w: stream broke off: %w", ErrTransport, err)
		}
		alive()
		if err := sink.Message(ev); err != nil {
			return err
		}
	}
}

// emptyHeader says that an argument is the empty string, where no header would
// say that there is none.
const emptyHeader = "=?base64??="

// EncodeHeader returns value as it may stand in an Mcp-Name or Mcp-Param-*
// header: as it is when it is plain visible ASCII, else in the Base64 sentinel
// form (MCP 2026-07-28, basic/transports/streamable-http, "Value Encoding").
func EncodeHeader(value string) string {
	plain := !strings.HasPrefix(value, "=?base64?") || !strings.HasSuffix(value, "?=")
	for i := 0; i < len(value) && plain; i++ {
		edge := i == 0 || i == len(value)-1
		plain = value[i] > ' ' && value[i] < 0x7f || (value[i] == ' ' && !edge)
	}
	if plain {
		return value
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(value)) + "?="
}
