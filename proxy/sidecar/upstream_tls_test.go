package sidecar

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
)

// peers are the common names that clients of an upstream have shown.
type peers struct {
	mu    sync.Mutex
	names []string
}

func (p *peers) seen(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		p.mu.Lock()
		p.names = append(p.names, name)
		p.mu.Unlock()
		h(w, r)
	}
}

func (p *peers) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) == 0 {
		return ""
	}
	return p.names[len(p.names)-1]
}

// inTests is the time of servers whose certificates were made for tests.
func inTests() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// A server is believed by its certificate alone: of the pinned authority, for the
// host in its URL, in its time. Anybody else is not reached.
func TestUpstreamIdentity(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	leaf := func(a *authority, until time.Time, at ...net.IP) tls.Certificate {
		pair, _, _ := a.issueFor("docs.example", until, at...)
		return pair
	}
	here := net.IPv4(127, 0, 0, 1)
	for _, row := range []struct {
		name    string
		server  tls.Certificate
		version uint16
		members string
		ok      bool
	}{
		{name: "pinned", server: leaf(ours, testEnd, here), members: "tls: { ca_file: ca.pem },", ok: true},
		{name: "another authority", server: leaf(theirs, testEnd, here), members: "tls: { ca_file: ca.pem },"},
		{name: "not pinned", server: leaf(ours, testEnd, here)},
		{name: "another host", server: leaf(ours, testEnd, net.IPv4(127, 0, 0, 2)), members: "tls: { ca_file: ca.pem },"},
		{name: "expired", server: leaf(ours, inTests().Add(-time.Second), here), members: "tls: { ca_file: ca.pem },"},
		{name: "an old protocol", server: leaf(ours, testEnd, here), version: tls.VersionTLS11, members: "tls: { ca_file: ca.pem },"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{
				upstream: text("done"), inventory: demoInventory, members: row.members, files: map[string]string{"ca.pem": ours.pem()},
				secure: &tls.Config{Certificates: []tls.Certificate{row.server}, MaxVersion: row.version, MinVersion: tls.VersionTLS10},
			})
			for i, rev := range bothRevisions {
				if !row.ok {
					d := denial{ask: func(r *rig, rev, id string) ask { return request(rev, r.token("alice"), id, "tools/list", "") },
						refusal: refusal{status: http.StatusBadGateway, code: 50200, text: "upstream failed (audit $AUDIT)", outcome: "upstream_failed", stage: "execute", reason: "transport"}}
					r.denied(t, d, rev, ids[i])
					continue
				}
				if g := r.do(toolCall(rev, r.token("alice"), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK {
					t.Errorf("%d %s\n%s", g.status, g.body, r.stderr)
				}
			}
			if n := r.up.listed(); !row.ok && n != 0 {
				t.Errorf("the server was listed %d times", n)
			}
			if reads := r.up.everything(); !row.ok && strings.Contains(reads, service) {
				t.Error("the credential reached whoever answered")
			}
		})
	}
}

// A server that wants a certificate is shown the configured one, beside the
// credential.
func TestUpstreamClientCertificate(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	server, _, _ := ours.issue("docs.example", testEnd)
	_, cert, key := ours.issue("the-sidecar", testEnd)
	_, foreign, foreignKey := theirs.issue("somebody", testEnd)
	files := map[string]string{"ca.pem": ours.pem(), "own.crt": cert, "own.key": key, "foreign.crt": foreign, "foreign.key": foreignKey}
	for _, row := range []struct{ name, members, peer string }{
		{"shown", "tls: { ca_file: ca.pem, cert_file: own.crt, key_file: own.key },", "the-sidecar"},
		{"of another authority", "tls: { ca_file: ca.pem, cert_file: foreign.crt, key_file: foreign.key },", ""},
		{"none", "tls: { ca_file: ca.pem },", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := &peers{}
			r := start(t, setup{
				upstream: p.seen(toolsResult("", demoInventory)), members: row.members, files: files,
				secure: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool(), Time: inTests},
			})
			for _, rev := range bothRevisions {
				g := r.do(request(rev, r.token("alice"), "1", "tools/list", ""))
				if ok := g.status == http.StatusOK; ok != (row.peer != "") || p.last() != row.peer {
					t.Errorf("%d %s, the server saw %q", g.status, g.body, p.last())
				}
			}
			if row.peer != "" && r.up.last().header.Get("Authorization") != "Bearer "+service {
				t.Error("the credential is missing")
			}
		})
	}
}

// What is renewed is used without a restart, and what cannot be used changes
// nothing. Connections of before are not used any more.
func TestUpstreamTLSReload(t *testing.T) {
	t.Parallel()
	ours, next := newAuthority(t, "ours"), newAuthority(t, "next")
	first, _, _ := ours.issue("docs.example", testEnd)
	second, _, _ := next.issue("docs.example", testEnd)
	_, cert, key := ours.issue("before", testEnd)
	_, renewed, renewedKey := ours.issue("after", testEnd)
	p := &peers{}
	var mu sync.Mutex
	shown := first
	r := start(t, setup{
		upstream: p.seen(result("")), members: "tls: { ca_file: ca.pem, cert_file: own.crt, key_file: own.key },",
		files: map[string]string{"ca.pem": ours.pem(), "own.crt": cert, "own.key": key},
		secure: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			return &tls.Config{Certificates: []tls.Certificate{shown}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool(), Time: inTests}, nil
		}},
	})
	call := func(status int, peer string) {
		t.Helper()
		g := r.do(request(legacy, r.token("alice"), "1", "ping", ""))
		if g.status != status || p.last() != peer {
			t.Errorf("%d %s, the server saw %q; want %d and %q", g.status, g.body, p.last(), status, peer)
		}
	}
	call(http.StatusOK, "before")
	r.write("own.crt", renewed)
	r.clock.advance(certificateCheck)
	call(http.StatusOK, "before") // the key does not fit yet
	r.write("own.key", renewedKey)
	call(http.StatusOK, "before") // looked at a moment ago
	r.clock.advance(certificateCheck)
	call(http.StatusOK, "after")
	r.write("ca.pem", next.pem())
	r.clock.advance(certificateCheck)
	call(http.StatusBadGateway, "after") // the server still has its old certificate
	mu.Lock()
	shown = second
	mu.Unlock()
	call(http.StatusOK, "after")
	r.write("ca.pem", "-----BEGIN CERTIFICATE-----\nbroken")
	r.clock.advance(certificateCheck)
	call(http.StatusOK, "after")
	if n := strings.Count(r.stderr.String(), "the changed tls files cannot be used"); n != 2 {
		t.Errorf("said %d times, want once for each of two defects\n%s", n, r.stderr)
	}
}

func TestUpstreamTLSRefusedAtStart(t *testing.T) {
	t.Parallel()
	r := start(t, setup{files: map[string]string{"ca.pem": newAuthority(t, "ours").pem(), "broken.pem": "broken"}})
	for name, tls := range map[string]config.UpstreamTLS{
		"no such authority": {CAFile: "none.pem"}, "no authority": {CAFile: "broken.pem"},
		"no such certificate": {CertFile: "none.crt", KeyFile: "none.key"}, "no certificate": {CertFile: "ca.pem", KeyFile: "broken.pem"},
	} {
		cfg, err := config.Load(r.dir + "/sidecar.yaml")
		if err != nil {
			t.Fatal(err)
		}
		u := cfg.Upstreams["docs"]
		u.URL, u.TLS = "https://127.0.0.1:1/mcp", &tls
		cfg.Upstreams["docs"] = u
		if s, err := New(cfg, Options{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "upstreams.docs.tls") {
			t.Errorf("%s: %v", name, err)
			_ = s.Close()
		}
	}
}
