package sidecar

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Bounds of connections. What a request may hold is bounded by the limits of the
// configuration.
const (
	headerTime     = 10 * time.Second // for the head of a request, and for a TLS handshake
	connectionIdle = 2 * time.Minute  // between two requests of a connection
	// maxConnections keeps descriptors for the way to the servers and for the
	// audit file, whatever clients do.
	maxConnections = 4096
	// maxStreams is how many requests one HTTP/2 connection may have in flight.
	// Without a bound a single connection could hold as many as it likes.
	maxStreams = 128
	// pingAfter is how long an HTTP/2 connection may be silent before its client is
	// asked for a sign of life: a stream that nobody reads any more ends.
	pingAfter = 30 * time.Second
)

// clientTime is how long a client may take to send a request's body, or to accept
// a piece of an answer.
const clientTime = 30 * time.Second

// listener is one open address and what answers there.
type listener struct {
	net.Listener
	server  *http.Server
	overTLS bool
}

// open listens on address. There is no WriteTimeout, which would cut streams:
// each write has a deadline of its own.
func (s *Sidecar) open(address string, connections int64, overTLS *tls.Config) (*listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err // names the address already
	}
	return &listener{Listener: l, overTLS: overTLS != nil, server: &http.Server{
		TLSConfig:         overTLS,
		ReadHeaderTimeout: min(headerTime, s.opts.ClientTime),
		IdleTimeout:       connectionIdle,
		// The limit itself is front's, whose refusal has a JSON-RPC body; this one
		// only keeps the rest bounded.
		MaxHeaderBytes: 4 * int(s.cfg.Limits.Headers),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          headerTime,
			WriteByteTimeout:     s.opts.ClientTime,
		},
		ConnState: limitConnections(connections),
		// "OPTIONS *" is answered like anything else that is not here.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}}, nil
}

// limitConnections closes connections beyond limit as soon as they are accepted:
// whoever comes first keeps what he has.
func limitConnections(limit int64) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > limit {
				_ = c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}

// url is scheme and address.
func (l *listener) url() string {
	if l.overTLS {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// serve answers until the server is shut down.
func (l *listener) serve() error {
	if l.overTLS {
		return l.server.ServeTLS(l.Listener, "", "")
	}
	return l.server.Serve(l.Listener)
}

// close ends everything at once. A server that never served does not know its
// listener.
func (l *listener) close() {
	if l == nil {
		return
	}
	_ = l.server.Close()
	_ = l.Close()
}
