package sidecar

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"
)

// drainTime is how long calls in flight may take to finish at the end.
const drainTime = 10 * time.Second

// Listen opens the listener of the MCP endpoints, and the one for probes where
// the configuration has one.
func (s *Sidecar) Listen() error {
	var err error
	if s.listener, err = s.open(s.cfg.Listen, maxConnections, s.certificates.forCalls()); err != nil {
		return err
	}
	s.listener.server.Handler = s.handler()
	if s.cfg.Diagnostics != nil {
		if err := s.listenForProbes(); err != nil {
			return err
		}
	}
	return s.listenForEgress()
}

// Serve answers until ctx ends, then winds down: probes read that the sidecar is
// not ready, nothing new is accepted, streams on which clients only wait end,
// and calls in flight have a while to finish.
func (s *Sidecar) Serve(ctx context.Context) error {
	listeners := s.listeners()
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- l.serve() }()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.windDown(context.WithoutCancel(ctx))
	var errs []error
	for range listeners {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// listeners are those of clients and probes that are open.
func (s *Sidecar) listeners() []*listener {
	return slices.DeleteFunc([]*listener{s.listener, s.probes}, func(l *listener) bool { return l == nil })
}

func (s *Sidecar) windDown(ctx context.Context) {
	s.draining.Store(true)
	for _, e := range s.endpoints {
		e.pipeline.Drain()
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Drain)
	defer cancel()
	if err := s.listener.server.Shutdown(ctx); err != nil {
		s.log.Warn("calls were cut off by the shutdown", "error", err)
		s.listener.close()
	}
	s.probes.close() // last, so that somebody can see what is going on
}

// Close releases everything. The audit file is closed last, so that whatever
// still ends is recorded.
func (s *Sidecar) Close() error {
	s.listener.close()
	s.probes.close()
	return s.closeParts()
}

// listenerLines are what the summary says about listeners.
func (s *Sidecar) listenerLines() []string {
	var lines []string
	if t := s.cfg.TLS; t != nil {
		line := "  TLS            " + t.CertFile
		if t.ClientCAFile != "" {
			line += ", clients need a certificate of " + t.ClientCAFile
		}
		lines = append(lines, line)
	}
	if s.probes != nil {
		lines = append(lines, "  probes         "+s.ProbeURL()+LivePath+" and "+ReadyPath)
	}
	return lines
}

// ReopenAudit goes on with the audit file that is now at the configured place:
// after a rotation, a new one. A failure is logged; records then go on to the
// file before.
func (s *Sidecar) ReopenAudit() {
	if err := s.audit.Reopen(); err != nil {
		s.log.Error("the audit file could not be opened again", "file", s.parts.auditFile, "error", err)
		return
	}
	s.log.Info("audit file opened again", "file", s.parts.auditFile)
}
