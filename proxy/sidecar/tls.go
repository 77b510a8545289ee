package sidecar

import (
	"crypto/tls"
	"fmt"
)

// protocols are what a client can choose from (ALPN). A configuration that is
// handed out per connection has to name them itself.
var protocols = []string{"h2", "http/1.1"}

// certificates are the listener's certificate and the authorities of its clients.
// A connection keeps what it began with.
type certificates struct{ *followedTLS }

// loadCertificates returns nil where the configuration has no tls.
func (s *Sidecar) loadCertificates() error {
	t := s.cfg.TLS
	if t == nil {
		return nil
	}
	names := []string{s.cfg.Resolve(t.CertFile), s.cfg.Resolve(t.KeyFile), s.resolved(t.ClientCAFile)}
	f, err := s.followTLS(names, func(files [][]byte) (*tls.Config, error) { return s.forListener(names, files) })
	if err != nil {
		return fmt.Errorf("%w: tls: %w", ErrConfig, err)
	}
	s.certificates = &certificates{f}
	return nil
}

// resolved is where a file is that may not be configured.
func (s *Sidecar) resolved(name string) string {
	if name == "" {
		return ""
	}
	return s.cfg.Resolve(name)
}

// forCalls is the TLS configuration of the MCP endpoints' listener; nil without
// certificates.
func (c *certificates) forCalls() *tls.Config {
	if c == nil {
		return nil
	}
	return perConnection(c.get)
}

// forProbes is the same for probes. Whoever sends them is not asked for a
// certificate: an orchestrator has none.
func (c *certificates) forProbes() *tls.Config {
	if c == nil {
		return nil
	}
	return perConnection(func() *tls.Config {
		open := c.get().Clone()
		open.ClientAuth, open.ClientCAs = tls.NoClientCert, nil
		return open
	})
}

func perConnection(current func() *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil },
	}
}

// forListener makes the configuration of files, if all of them can be used.
func (s *Sidecar) forListener(names []string, files [][]byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return nil, err
	}
	next := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Certificates: []tls.Certificate{pair}, Time: s.opts.Now}
	if names[2] != "" {
		if next.ClientCAs, err = authorities(files[2]); err != nil {
			return nil, fmt.Errorf("%s: %w", names[2], err)
		}
		next.ClientAuth = tls.RequireAndVerifyClientCert
		// A resumed session would outlive the authority that it was verified by.
		next.SessionTicketsDisabled = true
	}
	s.log.Info("certificate loaded", "names", pair.Leaf.DNSNames, "addresses", pair.Leaf.IPAddresses, "not_after", pair.Leaf.NotAfter)
	if s.opts.Now().After(pair.Leaf.NotAfter) {
		s.log.Warn("the certificate has expired; clients will refuse it", "not_after", pair.Leaf.NotAfter)
	}
	return next, nil
}
