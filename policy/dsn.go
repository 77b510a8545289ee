package policy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-pg/pg/v10"
)

// Times and sizes of the connections to a database.
const (
	dialTime = 5 * time.Second
	askTime  = 10 * time.Second
	poolSize = 4
)

// ErrDSN says that the address of a database cannot be used. Its text holds nothing of
// the address but the names of its parameters.
var ErrDSN = errors.New("database URL")

func dsnError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDSN, fmt.Errorf(format, args...))
}

// connectOptions reads the URL of a database:
//
//	postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE
//	postgres://USER@/DATABASE?host=/run/postgresql
//
// go-pg's own reader is not used: it takes an absent sslmode, and require, for TLS that
// verifies nothing, and cannot be told to verify. Here TLS is verified against the
// host's name or is not there at all, and plaintext stays on this machine, unless the
// operator has said otherwise. https://www.postgresql.org/docs/current/libpq-ssl.html
func connectOptions(o PostgresOptions) (*pg.Options, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, dsnError("is not a URL") // the cause quotes it
	}
	p := &pg.Options{
		Network: "tcp", User: u.User.Username(), Database: strings.TrimPrefix(u.Path, "/"), ApplicationName: "mcp-sidecar",
		DialTimeout: dialTime, ReadTimeout: askTime, WriteTimeout: askTime, PoolTimeout: askTime, PoolSize: poolSize,
		IdleCheckFrequency: -1, // its goroutine outlives Close, and connections here are never idle for long
	}
	p.Password, _ = u.User.Password()
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, dsnError("must begin with postgres://")
	}
	if p.User == "" || p.Database == "" {
		return nil, dsnError("must name a user and a database, as in postgres://USER:PASSWORD@HOST:5432/DATABASE")
	}
	params, err := singleValues(u.RawQuery)
	if err != nil {
		return nil, err
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "5432"
	}
	if socket, ok := params["host"]; ok {
		if host != "" || !filepath.IsAbs(socket) {
			return nil, dsnError("host= is for the folder of a unix socket, in place of the host")
		}
		p.Network, p.Addr = "unix", filepath.Join(socket, ".s.PGSQL."+port)
	} else if host == "" {
		return nil, dsnError("names no host")
	} else {
		p.Addr = net.JoinHostPort(host, port)
	}
	p.TLSConfig, err = transport(params, host, p.Network == "unix", o)
	return p, err
}

// singleValues are the parameters of a database URL, each known and given once.
func singleValues(query string) (map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, dsnError("has parameters that cannot be read")
	}
	single := map[string]string{}
	for name, all := range values {
		switch {
		case name != "sslmode" && name != "sslrootcert" && name != "host":
			return nil, dsnError("parameter %q is not supported (sslmode, sslrootcert, host)", name)
		case len(all) > 1:
			return nil, dsnError("parameter %q is given twice", name)
		}
		single[name] = all[0]
	}
	return single, nil
}

// transport is how the connection is protected: nil is plaintext.
func transport(params map[string]string, host string, socket bool, o PostgresOptions) (*tls.Config, error) {
	mode, given := params["sslmode"]
	root, pinned := params["sslrootcert"]
	local := socket || localHost(host)
	if !given {
		mode = "verify-full"
		if local && !pinned {
			mode = "disable"
		}
	}
	switch mode {
	case "disable":
		if !local && !o.AllowPlaintext {
			return nil, dsnError("sslmode=disable would send the password and the policy in the open to another host; use sslmode=verify-full, or say allow_plaintext: true for a network that nobody else is in")
		}
		if pinned {
			return nil, dsnError("sslrootcert does nothing with sslmode=disable")
		}
		return nil, nil
	case "verify-full":
		if socket {
			return nil, dsnError("sslmode=verify-full does nothing over a unix socket")
		}
		roots, err := rootsFrom(root, pinned)
		return &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12}, err
	case "require":
		if !o.InsecureTLS {
			return nil, dsnError("sslmode=require does not verify who answers; use verify-full, or say insecure_tls: true")
		}
		return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, nil //nolint:gosec // the operator has said so
	}
	return nil, dsnError("sslmode must be verify-full, disable or require: allow and prefer fall back to plaintext, and verify-ca takes any host")
}

// localHost says whether host is this machine by its number. A name may lead anywhere.
func localHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// rootsFrom reads the authorities of a file; without one they are the system's.
func rootsFrom(file string, pinned bool) (*x509.CertPool, error) {
	if !pinned {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, dsnError("sslrootcert: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, dsnError("sslrootcert: %s holds no certificate in PEM", file)
	}
	return roots, nil
}
