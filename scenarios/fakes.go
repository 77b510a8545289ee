package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// The outside hosts that the demo's servers believe to reach.
const (
	metadataHost = "169.254.169.254" // the metadata service of a cloud machine
	routerHost   = "192.168.1.1"     // a router in a private network
	policyHost   = "example.com"     // a harmless public site
	desktopHost  = "desktop.example" // of a program of alice's
	attackerHost = "attacker.example"
)

// fakes plays every outside host of the demo on one loopback address, so that no
// packet leaves the machine. A connection that starts with a TLS record is
// served as https; the Host header tells the hosts apart.
type fakes struct {
	addr   string
	server *http.Server

	mu    sync.Mutex
	hits  map[string]int
	codes map[string]string // that OAuth clients were sent, by host
}

// startFakes serves on l with certificates from ca.
func startFakes(l net.Listener, ca *authority) (*fakes, error) {
	f := &fakes{addr: l.Addr().String(), hits: make(map[string]int), codes: make(map[string]string)}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, host := range []string{policyHost, desktopHost, attackerHost, rebindHost} {
		cert, err := ca.issue(host)
		if err != nil {
			return nil, err
		}
		config.Certificates = append(config.Certificates, cert)
	}
	f.server = &http.Server{
		Handler:           f,
		ReadHeaderTimeout: 10 * time.Second,
		// A client that refuses the certificate is not worth a line.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = f.server.Serve(&eitherListener{Listener: l, config: config}) }()
	return f, nil
}

// ServeHTTP counts the hit and answers as the host that the request names.
func (f *fakes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	f.mu.Lock()
	f.hits[host]++
	f.mu.Unlock()

	switch host {
	case metadataHost, nat64Host:
		w.Header().Set("Content-Type", "application/json")
		// Made up in each run: nothing that a secret scanner could find in a file.
		_ = json.NewEncoder(w).Encode(map[string]string{
			"Code":            "Success",
			"AccessKeyId":     "ASIA" + rand.Text()[:16],
			"SecretAccessKey": rand.Text() + rand.Text(),
		})
	case routerHost:
		fmt.Fprintln(w, "<h1>Router administration</h1>")
	case rebindHost:
		fmt.Fprintln(w, insideText)
	case policyHost:
		if to, moved := map[string]string{movedPath: "http://" + metadataHost + "/latest/meta-data/", nat64Path: "http://" + nat64Host + "/latest/meta-data/"}[r.URL.Path]; moved {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		fmt.Fprintln(w, "Be kind. Keep documents short.")
	case desktopHost, attackerHost:
		f.mu.Lock()
		f.codes[host] = r.URL.Query().Get("code")
		f.mu.Unlock()
		fmt.Fprintln(w, "Thank you. You may close this window.")
	default:
		http.Error(w, "no such host in the demo", http.StatusMisdirectedRequest)
	}
}

// count returns how often each host was asked so far.
func (f *fakes) count() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.hits)
}

// code returns the code that the client at host was sent, once.
func (f *fakes) code(host string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	code := f.codes[host]
	delete(f.codes, host)
	return code
}

// hostsMap is the file with which a document server finds fakes at addr:
// "host:port address" on each line.
func hostsMap(addr string) []byte {
	var b bytes.Buffer
	for _, from := range []string{metadataHost + ":80", nat64Host + ":80", routerHost + ":80", policyHost + ":443", rebindHost + ":443"} {
		fmt.Fprintf(&b, "%s %s\n", from, addr)
	}
	return b.Bytes()
}

func (f *fakes) close() { _ = f.server.Close() }

// eitherListener accepts connections that may or may not speak TLS.
type eitherListener struct {
	net.Listener
	config *tls.Config
}

func (l *eitherListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &eitherConn{Conn: c, config: l.config}, nil
}

// eitherConn decides at its first read whether its client speaks TLS. Waiting
// for that byte in Accept would let one silent client hold up the others.
type eitherConn struct {
	net.Conn
	config *tls.Config

	once  sync.Once
	inner net.Conn
}

// tlsHandshake is the type of the first TLS record; no HTTP method starts so.
const tlsHandshake = 0x16

func (c *eitherConn) decide() {
	first := make([]byte, 1)
	n, _ := io.ReadFull(c.Conn, first) // a failed read shows again at the next one
	c.inner = &prefixedConn{Conn: c.Conn, rest: io.MultiReader(bytes.NewReader(first[:n]), c.Conn)}
	if n == 1 && first[0] == tlsHandshake {
		c.inner = tls.Server(c.inner, c.config)
	}
}

func (c *eitherConn) Read(p []byte) (int, error) {
	c.once.Do(c.decide)
	return c.inner.Read(p)
}

func (c *eitherConn) Write(p []byte) (int, error) {
	c.once.Do(c.decide)
	return c.inner.Write(p)
}

// prefixedConn gives back the byte that was read to decide.
type prefixedConn struct {
	net.Conn
	rest io.Reader
}

func (c *prefixedConn) Read(p []byte) (int, error) { return c.rest.Read(p) }
