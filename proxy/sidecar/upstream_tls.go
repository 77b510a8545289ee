package sidecar

import (
	"crypto/tls"
	"fmt"

	"mcp-sidecar/proxy/config"
)

// upstreamTLS is by what a server is known, and what the sidecar shows to it; nil
// where the system's authorities decide and nothing is shown.
func (s *Sidecar) upstreamTLS(name string, t *config.UpstreamTLS) (func() *tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	names := []string{s.resolved(t.CAFile), s.resolved(t.CertFile), s.resolved(t.KeyFile)}
	f, err := s.followTLS(names, func(files [][]byte) (*tls.Config, error) { return s.forUpstream(name, names, files) })
	if err != nil {
		return nil, fmt.Errorf("%w: upstreams.%s.tls: %w", ErrConfig, name, err)
	}
	return f.get, nil
}

// forUpstream makes the configuration of files, if all of them can be used.
func (s *Sidecar) forUpstream(name string, names []string, files [][]byte) (*tls.Config, error) {
	next := &tls.Config{MinVersion: tls.VersionTLS12, Time: s.opts.Now}
	var err error
	if names[0] != "" {
		// These alone: with the system's beside them, every public authority could
		// make somebody else the server.
		if next.RootCAs, err = authorities(files[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", names[0], err)
		}
	}
	if names[1] == "" {
		return next, nil
	}
	pair, err := tls.X509KeyPair(files[1], files[2])
	if err != nil {
		return nil, err
	}
	next.Certificates = []tls.Certificate{pair}
	s.log.Info("certificate loaded", "upstream", name, "not_after", pair.Leaf.NotAfter)
	if s.opts.Now().After(pair.Leaf.NotAfter) {
		s.log.Warn("the certificate for an upstream has expired; it will be refused", "upstream", name, "not_after", pair.Leaf.NotAfter)
	}
	return next, nil
}
