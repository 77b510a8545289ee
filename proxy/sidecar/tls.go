package sidecar

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificateCheck is how long a handshake may rely on files that an earlier one
// has read.
const certificateCheck = 5 * time.Second

// maxPEM bounds one file of certificates, in bytes.
const maxPEM = 1 << 20

// protocols are what a client can choose from (ALPN). A configuration that is
// handed out per connection has to name them itself.
var protocols = []string{"h2", "http/1.1"}

// certificates are the listener's certificate and the authorities of its clients.
// They follow their files: whoever renews a certificate does not know this
// process. A connection keeps what it began with.
type certificates struct {
	cert, key, clientCA string // file names; clientCA may be empty
	now                 func() time.Time
	log                 *slog.Logger
	current             atomic.Pointer[tls.Config]

	mu      sync.Mutex // held by whoever looks at the files
	checked time.Time
	seen    [sha256.Size]byte // what the files held last, usable or not
}

// loadCertificates returns nil where the configuration has no tls.
func (s *Sidecar) loadCertificates() error {
	t := s.cfg.TLS
	if t == nil {
		return nil
	}
	c := &certificates{cert: s.cfg.Resolve(t.CertFile), key: s.cfg.Resolve(t.KeyFile), now: s.opts.Now, log: s.log}
	if t.ClientCAFile != "" {
		c.clientCA = s.cfg.Resolve(t.ClientCAFile)
	}
	files, err := c.read()
	if err == nil {
		err = c.use(files)
	}
	if err != nil {
		return fmt.Errorf("%w: tls: %w", ErrConfig, err)
	}
	c.checked, c.seen = c.now(), files.sum()
	s.certificates = c
	return nil
}

// forCalls is the TLS configuration of the MCP endpoints' listener; nil without
// certificates.
func (c *certificates) forCalls() *tls.Config {
	if c == nil {
		return nil
	}
	return perConnection(func() *tls.Config {
		c.refresh()
		return c.current.Load()
	})
}

// forProbes is the same for probes. Whoever sends them is not asked for a
// certificate: an orchestrator has none.
func (c *certificates) forProbes() *tls.Config {
	if c == nil {
		return nil
	}
	return perConnection(func() *tls.Config {
		c.refresh()
		open := c.current.Load().Clone()
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

// refresh looks whether the files have changed since somebody looked last. What
// cannot be used leaves everything as it was: a certificate is often written in
// several steps, and an old one is better than none.
func (c *certificates) refresh() {
	if !c.mu.TryLock() {
		return // another handshake is looking
	}
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.checked); since >= 0 && since < certificateCheck {
		return
	}
	c.checked = now
	files, err := c.read()
	sum := files.sum()
	if sum == c.seen {
		return
	}
	c.seen = sum // said once, however often somebody connects
	if err == nil {
		err = c.use(files)
	}
	if err != nil {
		c.log.Error("the changed tls files cannot be used; the certificate stays as it was", "error", err)
	}
}

// pemFiles are the contents of the files; clientCA is nil without one.
type pemFiles struct{ cert, key, clientCA []byte }

func (f pemFiles) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, b := range [][]byte{f.cert, f.key, f.clientCA} {
		_ = binary.Write(h, binary.BigEndian, int64(len(b)))
		_, _ = h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// read returns as much as could be read, so that a file that stays away is not
// reported again and again.
func (c *certificates) read() (pemFiles, error) {
	var f pemFiles
	var errs [3]error
	f.cert, errs[0] = readPEM(c.cert)
	f.key, errs[1] = readPEM(c.key)
	if c.clientCA != "" {
		f.clientCA, errs[2] = readPEM(c.clientCA)
	}
	return f, errors.Join(errs[:]...)
}

func readPEM(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		return nil, fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return b, err
}

// use makes f what the next connections get, if all of it can be used.
func (c *certificates) use(f pemFiles) error {
	pair, err := tls.X509KeyPair(f.cert, f.key)
	if err != nil {
		return err
	}
	next := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Certificates: []tls.Certificate{pair}, Time: c.now}
	if c.clientCA != "" {
		if next.ClientCAs, err = authorities(f.clientCA); err != nil {
			return fmt.Errorf("%s: %w", c.clientCA, err)
		}
		next.ClientAuth = tls.RequireAndVerifyClientCert
		// A resumed session would outlive the authority that it was verified by.
		next.SessionTicketsDisabled = true
	}
	c.current.Store(next)
	c.log.Info("certificate loaded", "names", pair.Leaf.DNSNames, "addresses", pair.Leaf.IPAddresses, "not_after", pair.Leaf.NotAfter)
	if c.now().After(pair.Leaf.NotAfter) {
		c.log.Warn("the certificate has expired; clients will refuse it", "not_after", pair.Leaf.NotAfter)
	}
	return nil
}

// authorities reads a file of certificates to its end. A half-written one must
// not pass for a shorter list.
func authorities(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	want := bytes.Count(text, []byte("-----BEGIN "))
	for n := range want {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("block %d of %d is not PEM", n+1, want)
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %q, want certificates only", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(cert)
		text = rest
	}
	if want == 0 {
		return nil, errors.New("holds no certificate")
	}
	return pool, nil
}
