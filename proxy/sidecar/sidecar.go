// Package sidecar puts the parts together: it builds everything a configuration
// asks for, listens, and takes it down again. Nothing here decides about a
// message; the order of the checks is in package pipeline.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
)

// ErrConfig says that the configuration names something that is not usable: a
// file that cannot be read, a policy that does not parse.
var ErrConfig = errors.New("configuration")

// Options are what a configuration file cannot say.
type Options struct {
	// Stderr receives logs and, where configured, audit records. Nil discards.
	Stderr io.Writer
	// Resolver answers names for the SSRF guard. Nil means the system's.
	Resolver ssrf.Resolver
	// Now is the clock. Nil means the system's.
	Now func() time.Time
	// After runs a function later. Nil means the system's timer.
	After func(time.Duration, func())
}

// Sidecar is one running instance. Build it with New, then Listen, then Serve.
type Sidecar struct {
	cfg       *config.Config
	opts      Options
	log       *slog.Logger
	audit     *audit.Writer
	endpoints []*endpoint // by name
	listener  net.Listener
	server    *http.Server
	parts     parts
}

// New builds a sidecar from cfg, which must be valid. It reads the files that
// cfg names and opens the audit file; it does not listen yet. Errors wrap
// ErrConfig when cfg is to blame.
func New(cfg *config.Config, o Options) (*Sidecar, error) {
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Sidecar{cfg: cfg, opts: o, log: slog.New(slog.NewJSONHandler(o.Stderr, nil))}
	if err := s.build(); err != nil {
		_ = s.closeParts()
		return nil, err
	}
	return s, nil
}

// Listen opens the listener of the MCP endpoints.
func (s *Sidecar) Listen() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.cfg.Listen)
	if err != nil {
		return err // names the address already
	}
	s.listener = l
	s.server = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		// The limit itself is front's, whose refusal has a JSON-RPC body; this one
		// only keeps the rest bounded.
		MaxHeaderBytes: 4 * int(s.cfg.Limits.Headers),
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// No WriteTimeout: it would cut streams. Each write has a deadline instead.
	}
	return nil
}

// URL is the address of the first MCP endpoint, once Listen has returned.
func (s *Sidecar) URL() string { return s.URLs()[0] }

// URLs are the addresses of all MCP endpoints, in the order of their servers'
// names, once Listen has returned.
func (s *Sidecar) URLs() []string {
	var urls []string
	for _, e := range s.endpoints {
		urls = append(urls, "http://"+s.listener.Addr().String()+e.path)
	}
	return urls
}

// Serve answers until ctx ends, then lets calls in flight finish for a while.
func (s *Sidecar) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(s.listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := s.server.Shutdown(drain); err != nil {
		s.log.Warn("calls were cut off by the shutdown", "error", err)
		_ = s.server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// drainTime is how long calls in flight may take to finish at the end.
const drainTime = 10 * time.Second

// Close releases everything. The audit file is closed last, so that whatever
// still ends is recorded.
func (s *Sidecar) Close() error {
	if s.server != nil {
		_ = s.server.Close()
	}
	return s.closeParts()
}

func (s *Sidecar) closeParts() error {
	err := s.closeEndpoints()
	if s.audit != nil {
		err = errors.Join(err, s.audit.Close())
	}
	return err
}

// readSecret reads a credential from a file. White space around it is dropped:
// editors add a line break that no server expects.
func (s *Sidecar) readSecret(name string) (string, error) {
	b, err := os.ReadFile(s.cfg.Resolve(name))
	if err != nil {
		return "", fmt.Errorf("%w: secret file: %w", ErrConfig, err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("%w: secret file %s must hold one line", ErrConfig, name)
	}
	return secret, nil
}
