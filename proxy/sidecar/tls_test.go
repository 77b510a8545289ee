package sidecar

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
)

// authority signs certificates for tests.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var (
	testBegin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	testEnd   = time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
)

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: testBegin, NotAfter: testEnd,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) pem() string { return certPEM(a.cert.Raw) }

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// issue returns a certificate for name, its key, and both in PEM. It is good for
// servers on loopback and for clients.
func (a *authority) issue(name string, until time.Time) (pair tls.Certificate, cert, key string) {
	a.t.Helper()
	return a.issueFor(name, until, net.IPv4(127, 0, 0, 1))
}

// issueFor is issue for a server at other addresses.
func (a *authority) issueFor(name string, until time.Time, at ...net.IP) (pair tls.Certificate, cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: at,
		NotBefore: testBegin, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = certPEM(der), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	if pair, err = tls.X509KeyPair([]byte(cert), []byte(key)); err != nil {
		a.t.Fatal(err)
	}
	return pair, cert, key
}

// secured is a rig behind TLS, and its files.
type secured struct {
	*rig
	dir string
	ca  *authority
}

// startTLS runs s behind a certificate of a new authority. HTTP says which
// version clients speak. With clients, they have to show a certificate.
func startTLS(t testing.TB, s setup, version int, clients *authority) *secured {
	t.Helper()
	x := &secured{dir: t.TempDir(), ca: newAuthority(t, "servers")}
	_, cert, key := x.ca.issue("first.example", testEnd)
	x.write("tls.crt", cert)
	x.write("tls.key", key)
	files := fmt.Sprintf("cert_file: %q, key_file: %q", filepath.Join(x.dir, "tls.crt"), filepath.Join(x.dir, "tls.key"))
	if clients != nil {
		x.write("clients.pem", clients.pem())
		files += fmt.Sprintf(", client_ca_file: %q", filepath.Join(x.dir, "clients.pem"))
	}
	s.extra += "tls: { " + files + " }\n"
	change := s.transport
	s.transport = func(tr *http.Transport) {
		tr.TLSClientConfig = &tls.Config{RootCAs: x.ca.pool(), Time: func() time.Time { return testBegin.Add(time.Hour) }}
		if clients != nil {
			pair, _, _ := clients.issue("client", testEnd)
			tr.TLSClientConfig.Certificates = []tls.Certificate{pair}
		}
		tr.ForceAttemptHTTP2 = version == 2
		if change != nil {
			change(tr)
		}
	}
	x.rig = start(t, s)
	return x
}

// write replaces a file as tools do that renew certificates.
func (x *secured) write(name, text string) {
	path := filepath.Join(x.dir, name)
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		panic(err)
	}
}

// shown is the name in the certificate that a new connection gets, and how the
// handshake ended on the client's side. TLS 1.3 tells a client that its
// certificate is refused only when it reads.
func (x *secured) shown(c *tls.Config) (string, error) {
	x.t.Helper()
	c = c.Clone()
	c.Time = func() time.Time { return testBegin.Add(time.Hour) }
	if c.RootCAs == nil {
		c.RootCAs = x.ca.pool()
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(x.base, "https://"), c)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		return "", err
	}
	return conn.ConnectionState().PeerCertificates[0].DNSNames[0], nil
}

// TestTLS: calls, streams and refusals over both versions of HTTP.
func TestTLS(t *testing.T) {
	t.Parallel()
	for version, proto := range map[int]string{1: "HTTP/1.1", 2: "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			r := startTLS(t, setup{inventory: demoInventory}, version, nil)
			if !strings.HasPrefix(r.sidecar.URL(), "https://127.0.0.1:") {
				t.Errorf("address %s", r.sidecar.URL())
			}
			for _, rev := range bothRevisions {
				call := toolCall(rev, r.token("alice"), "1", "update_document", `{"id":1}`)
				r.up.answerWith(text("done"))
				resp := r.open(context.Background(), call)
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.Proto != proto || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "done") {
					t.Errorf("%s: %s %d %s", rev, resp.Proto, resp.StatusCode, body)
				}
				goOn := make(chan struct{})
				r.up.answerWith(func(w http.ResponseWriter, req *http.Request) {
					events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"early\"}}\n\n")(w, req)
					_ = http.NewResponseController(w).Flush()
					<-goOn
					events("data: "+response("$ID", doneResult)+"\n\n")(w, req)
				})
				stream := r.open(context.Background(), call)
				first := make([]byte, 4096)
				n, err := stream.Body.Read(first)
				if err != nil || !strings.Contains(string(first[:n]), "early") {
					t.Errorf("%s: the first event does not come at once: %q, %v", rev, first[:n], err)
				}
				close(goOn)
				rest, err := io.ReadAll(stream.Body)
				_ = stream.Body.Close()
				if err != nil || !strings.Contains(string(rest), `"result"`) {
					t.Errorf("%s: the rest of the stream: %q, %v", rev, rest, err)
				}
			}
			r.up.answerWith(nil)
			for _, rev := range bothRevisions {
				r.denied(t, denial{ask: read(func(a ask) ask { return a.with("Authorization") }), refusal: unauthorized("no bearer token was sent", "")}, rev, "7")
				r.denied(t, denial{ask: read(func(a ask) ask { a.host = "attacker.example"; return a }), refusal: foreign("host")}, rev, "8")
			}
		})
	}
}

// TestPlainHTTPAtTLS: no message passes without TLS, and the server is not
// touched.
func TestPlainHTTPAtTLS(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{}, 1, nil)
	plain := strings.Replace(r.url, "https://", "http://", 1)
	req, err := http.NewRequest(http.MethodPost, plain, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token("alice"))
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || strings.Contains(string(body), "jsonrpc") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if n := len(r.records()); n != 0 {
		t.Errorf("%d records of what was no message", n)
	}
}

// TestTLSVersions: nothing older than TLS 1.2.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{}, 1, nil)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		if _, err := r.shown(&tls.Config{MinVersion: version, MaxVersion: version}); (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

// TestCertificateReload: new files count for new connections, as soon as a few
// seconds have passed; what cannot be used changes nothing and is said once.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	r := startTLS(t, setup{}, 1, nil)
	shows := func(want string) {
		t.Helper()
		if got, err := r.shown(&tls.Config{}); err != nil || got != want {
			t.Fatalf("shown %q, %v; want %q", got, err, want)
		}
	}
	complaints := func() int { return strings.Count(r.stderr.String(), "cannot be used") }
	shows("first.example")
	_, cert, key := r.ca.issue("second.example", testEnd)
	r.write("tls.crt", cert)
	r.write("tls.key", key)
	shows("first.example") // looked at a moment ago
	r.clock.advance(certificateCheck)
	shows("second.example")

	_, third, thirdKey := r.ca.issue("third.example", testEnd)
	for i, bad := range []struct{ name, cert, key string }{
		{"one file of two", third, key},
		{"cut short", third[:len(third)/2], thirdKey},
		{"empty", "", thirdKey},
		{"no key", third, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"},
		{"too large", third + strings.Repeat("\n", maxPEM), thirdKey},
	} {
		r.write("tls.crt", bad.cert)
		r.write("tls.key", bad.key)
		for range 3 {
			r.clock.advance(certificateCheck)
			shows("second.example")
		}
		if n := complaints(); n != i+1 {
			t.Errorf("%s: %d complaints, want %d:\n%s", bad.name, n, i+1, r.stderr)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, "tls.crt")); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(certificateCheck)
	shows("second.example")
	r.write("tls.crt", third)
	r.write("tls.key", thirdKey)
	r.clock.advance(certificateCheck)
	shows("third.example")
	// The same size at the same time: what counts is the content.
	again := filepath.Join(r.dir, "tls.crt")
	info, err := os.Stat(again)
	if err != nil {
		t.Fatal(err)
	}
	_, other, otherKey := r.ca.issue("other.example", testEnd)
	r.write("tls.crt", other)
	r.write("tls.key", otherKey)
	if err := os.Chtimes(again, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(certificateCheck)
	shows("other.example")
	if strings.Contains(r.stderr.String(), "PRIVATE KEY") {
		t.Errorf("a key was logged:\n%s", r.stderr)
	}
}

// TestReloadKeepsConnections: a connection goes on with what it began with.
func TestReloadKeepsConnections(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		r := startTLS(t, setup{inventory: demoInventory, upstream: text("done")}, version, nil)
		name := func() string {
			resp := r.open(context.Background(), toolCall(modern, r.token("alice"), "1", "update_document", `{"id":1}`))
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%d, %v", resp.StatusCode, err)
			}
			return resp.TLS.PeerCertificates[0].DNSNames[0]
		}
		if got := name(); got != "first.example" {
			t.Errorf("HTTP/%d: %q", version, got)
		}
		_, cert, key := r.ca.issue("second.example", testEnd)
		r.write("tls.crt", cert)
		r.write("tls.key", key)
		r.clock.advance(certificateCheck)
		if got := name(); got != "first.example" {
			t.Errorf("HTTP/%d: the connection changed to %q", version, got)
		}
		r.http.CloseIdleConnections()
		if got := name(); got != "second.example" {
			t.Errorf("HTTP/%d: a new connection gets %q", version, got)
		}
	}
}

// TestClientCertificates: a client without a certificate of the configured
// authority is turned away before it can say anything.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	clients, others := newAuthority(t, "clients"), newAuthority(t, "others")
	good, _, _ := clients.issue("client", testEnd)
	foreign, _, _ := others.issue("client", testEnd)
	expired, _, _ := clients.issue("client", testBegin.Add(time.Minute))
	r := startTLS(t, setup{inventory: demoInventory, upstream: text("done")}, 2, clients)
	for _, row := range []struct {
		name string
		cert []tls.Certificate
		want bool
	}{
		{"none", nil, false},
		{"of the authority", []tls.Certificate{good}, true},
		{"of another authority", []tls.Certificate{foreign}, false},
		{"expired", []tls.Certificate{expired}, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c := &tls.Config{Certificates: row.cert, MaxVersion: version}
			if _, err := r.shown(c); (err == nil) != row.want {
				t.Errorf("%s, %s: %v", row.name, tls.VersionName(version), err)
			}
		}
	}
	if n := len(r.up.seen()); n != 0 {
		t.Errorf("the upstream was reached %d times", n)
	}
	// A certificate says which program may speak, and no token less is needed.
	r.denied(t, denial{ask: read(func(a ask) ask { return a.with("Authorization") }), refusal: unauthorized("no bearer token was sent", "")}, modern, "1")
	if g := r.do(toolCall(modern, r.token("alice"), "1", "update_document", `{"id":1}`)); g.status != http.StatusOK {
		t.Errorf("%d %s", g.status, g.body)
	}
}

// TestClientAuthorityReload: an authority that is taken away counts no longer for
// new connections, resumed ones included.
func TestClientAuthorityReload(t *testing.T) {
	t.Parallel()
	clients, others := newAuthority(t, "clients"), newAuthority(t, "others")
	before, _, _ := clients.issue("client", testEnd)
	after, _, _ := others.issue("client", testEnd)
	r := startTLS(t, setup{}, 1, clients)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r.write("clients.pem", clients.pem())
		r.clock.advance(certificateCheck)
		c := &tls.Config{Certificates: []tls.Certificate{before}, ClientSessionCache: tls.NewLRUClientSessionCache(8), MaxVersion: version, ServerName: "first.example"}
		for range 2 {
			if _, err := r.shown(c); err != nil {
				t.Fatalf("%s: %v", tls.VersionName(version), err)
			}
		}
		r.write("clients.pem", "# "+others.pem()+"cut short: -----BEGIN CERTIFICATE-----\nMIIB")
		r.clock.advance(certificateCheck)
		if _, err := r.shown(c); err != nil {
			t.Errorf("a broken list of authorities counts: %v", err)
		}
		r.write("clients.pem", "# others\n"+others.pem())
		r.clock.advance(certificateCheck)
		if _, err := r.shown(c); err == nil {
			t.Errorf("%s: a client of the old authority comes in", tls.VersionName(version))
		}
		if _, err := r.shown(&tls.Config{Certificates: []tls.Certificate{after}, MaxVersion: version}); err != nil {
			t.Errorf("%s: a client of the new authority: %v", tls.VersionName(version), err)
		}
	}
}

func TestAuthorities(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	_, _, key := a.issue("x", testEnd)
	cut := a.pem()[:len(a.pem())/2]
	for _, row := range []struct {
		name, text string
		want       int // 0: refused
	}{
		{"one", a.pem(), 1},
		{"two with words around", "a:\n" + a.pem() + "b:\n" + b.pem() + "end\n", 2},
		{"none", "", 0},
		{"words", "no certificate", 0},
		{"cut short", cut, 0},
		{"cut short behind a good one", b.pem() + cut, 0},
		{"cut short before a good one", cut + "\n" + b.pem(), 0},
		{"a key", a.pem() + key, 0},
		{"not a certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), 0},
	} {
		want := x509.NewCertPool()
		for _, c := range []*authority{a, b}[:row.want] {
			want.AddCert(c.cert)
		}
		pool, err := authorities([]byte(row.text))
		if (err == nil) != (row.want > 0) || err == nil && !pool.Equal(want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestTLSAtStart: what cannot be used at the start is a mistake in the
// configuration, not a server without a certificate.
func TestTLSAtStart(t *testing.T) {
	a := newAuthority(t, "a")
	_, cert, key := a.issue("x", testEnd)
	_, _, otherKey := a.issue("y", testEnd)
	for _, row := range []struct {
		name  string
		files map[string]string
		says  string
	}{
		{"no certificate", map[string]string{"k": key}, "c: no such file"},
		{"no key", map[string]string{"c": cert}, "k: no such file"},
		{"no authorities", map[string]string{"c": cert, "k": key}, "ca: no such file"},
		{"key of another", map[string]string{"c": cert, "k": otherKey, "ca": a.pem()}, "private key does not match"},
		{"no authority in the file", map[string]string{"c": cert, "k": key, "ca": "x"}, "holds no certificate"},
	} {
		dir := t.TempDir()
		for name, text := range row.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cfg := config.Default()
		cfg.StateDir = t.TempDir()
		cfg.InsecureNoAuth, cfg.Listen = true, "127.0.0.1:0"
		cfg.Upstreams = map[string]config.Upstream{"docs": {URL: "http://127.0.0.1:9/mcp"}}
		cfg.TLS = &config.TLS{CertFile: filepath.Join(dir, "c"), KeyFile: filepath.Join(dir, "k"), ClientCAFile: filepath.Join(dir, "ca")}
		s, err := New(cfg, Options{})
		if s != nil || !errors.Is(err, ErrConfig) || !strings.Contains(fmt.Sprint(err), row.says) || strings.Contains(fmt.Sprint(err), "PRIVATE") {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
