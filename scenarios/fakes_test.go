package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// newFakes starts fakes and returns a client that believes to reach any host.
func newFakes(t *testing.T) (*fakes, *http.Client) {
	t.Helper()
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	f, err := startFakes(ln, ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, f.addr)
		},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		f.close()
	})
	return f, &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func TestFakes(t *testing.T) {
	for _, row := range []struct {
		name, url, host string
		status          int
		contains        string
	}{
		{"metadata service", "http://169.254.169.254/latest/meta-data/", metadataHost, 200, `"AccessKeyId":"ASIA`},
		{"router", "http://192.168.1.1/", routerHost, 200, "Router administration"},
		{"router with a port", "http://192.168.1.1:80/", routerHost, 200, "Router administration"},
		{"public site", "https://example.com/policy.txt", policyHost, 200, "Be kind"},
		{"unknown host", "http://10.0.0.1/", "10.0.0.1", 421, "no such host"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, client := newFakes(t)
			resp, err := client.Get(row.url)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != row.status || !strings.Contains(string(body), row.contains) {
				t.Errorf("status %d, body %q, %v", resp.StatusCode, body, err)
			}
			hits := f.count()
			if len(hits) != 1 || hits[row.host] != 1 {
				t.Errorf("hits %v, want one of %s", hits, row.host)
			}
		})
	}
}

func TestFakesVerifyNames(t *testing.T) {
	f, client := newFakes(t)
	if resp, err := client.Get("https://elsewhere.example/"); err == nil {
		resp.Body.Close()
		t.Error("a certificate for another name was accepted")
	}
	if hits := f.count(); len(hits) != 0 {
		t.Errorf("hits %v after a failed handshake", hits)
	}
}

func TestSilentConnectionHoldsUpNobody(t *testing.T) {
	f, client := newFakes(t)
	silent, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	resp, err := client.Get("http://192.168.1.1/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestHostsMap(t *testing.T) {
	want := "169.254.169.254:80 127.0.0.1:7\n[64:ff9b::a9fe:a9fe]:80 127.0.0.1:7\n192.168.1.1:80 127.0.0.1:7\nexample.com:443 127.0.0.1:7\nrebind.example:443 127.0.0.1:7\n"
	if got := string(hostsMap("127.0.0.1:7")); got != want {
		t.Errorf("hosts map %q, want %q", got, want)
	}
}
