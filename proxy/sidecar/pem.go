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

// certificateCheck is how long a connection may rely on files that an earlier one
// has read.
const certificateCheck = 5 * time.Second

// maxPEM bounds one file of certificates, in bytes.
const maxPEM = 1 << 20

// followedTLS is a TLS configuration that follows its files: whoever renews a
// certificate does not know this process.
type followedTLS struct {
	names   []string // an empty one is not read
	make    func(files [][]byte) (*tls.Config, error)
	now     func() time.Time
	log     *slog.Logger
	current atomic.Pointer[tls.Config]

	mu      sync.Mutex // held by whoever looks at the files
	checked time.Time
	seen    [sha256.Size]byte // what the files held last, usable or not
}

// followTLS reads the files for the first time; then all of them must be usable.
func (s *Sidecar) followTLS(names []string, make func(files [][]byte) (*tls.Config, error)) (*followedTLS, error) {
	f := &followedTLS{names: names, make: make, now: s.opts.Now, log: s.log}
	files, err := f.read()
	if err == nil {
		err = f.use(files)
	}
	f.checked, f.seen = f.now(), sumOf(files)
	return f, err
}

// get returns the configuration as the files say.
func (f *followedTLS) get() *tls.Config {
	f.refresh()
	return f.current.Load()
}

// refresh looks whether the files have changed since somebody looked last. What
// cannot be used leaves everything as it was: a certificate is often written in
// several steps, and an old one is better than none.
func (f *followedTLS) refresh() {
	if !f.mu.TryLock() {
		return // another connection is looking
	}
	defer f.mu.Unlock()
	now := f.now()
	if since := now.Sub(f.checked); since >= 0 && since < certificateCheck {
		return
	}
	f.checked = now
	files, err := f.read()
	sum := sumOf(files)
	if sum == f.seen {
		return
	}
	f.seen = sum // said once, however often somebody connects
	if err == nil {
		err = f.use(files)
	}
	if err != nil {
		f.log.Error("the changed tls files cannot be used; the certificate stays as it was", "error", err)
	}
}

func (f *followedTLS) use(files [][]byte) error {
	next, err := f.make(files)
	if err == nil {
		f.current.Store(next)
	}
	return err
}

// read returns as much as could be read, so that a file that stays away is not
// reported again and again.
func (f *followedTLS) read() ([][]byte, error) {
	files := make([][]byte, len(f.names))
	errs := make([]error, len(f.names))
	for i, name := range f.names {
		if name != "" {
			files[i], errs[i] = readPEM(name)
		}
	}
	return files, errors.Join(errs...)
}

func sumOf(files [][]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, b := range files {
		_ = binary.Write(h, binary.BigEndian, int64(len(b)))
		_, _ = h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
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
