package docserver_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"mcp-sidecar/upstream/docserver"
)

const mib = 1 << 20

// internet fakes every outside host on loopback. Its certificate is good for
// example.com only.
type internet struct {
	hosts map[string]string
	roots *x509.CertPool
}

func newInternet(t *testing.T) internet {
	t.Helper()
	site := http.NewServeMux()
	site.HandleFunc("/policy.txt", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "be kind") })
	site.HandleFunc("/binary", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a\xffb") })
	site.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	site.HandleFunc("/to-metadata", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
	})
	site.HandleFunc("/to-unknown", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://10.0.0.1/", http.StatusFound)
	})
	for name, size := range map[string]int{"/below": mib - 1, "/limit": mib, "/above": mib + 1} {
		site.HandleFunc(name, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", size)) })
	}
	https := httptest.NewTLSServer(site)
	t.Cleanup(https.Close)
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "role credentials")
	}))
	t.Cleanup(metadata.Close)
	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	return internet{roots: roots, hosts: map[string]string{
		"example.com:443":      https.Listener.Addr().String(),
		"impostor.invalid:443": https.Listener.Addr().String(),
		"169.254.169.254:80":   metadata.Listener.Addr().String(),
	}}
}

func TestImport(t *testing.T) {
	tests := []struct {
		name, url string
		content   string // stored; empty: refused
		mentions  string // in the error
	}{
		{"https", "https://example.com/policy.txt", "be kind", ""},
		{"host in capitals", "https://EXAMPLE.com/policy.txt", "be kind", ""},
		{"hole: cloud metadata", "http://169.254.169.254/latest/meta-data/", "role credentials", ""},
		{"hole: redirect to another host", "https://example.com/to-metadata", "role credentials", ""},
		{"invalid UTF-8", "https://example.com/binary", "a\uFFFDb", ""},
		{"body below the limit", "https://example.com/below", strings.Repeat("x", mib-1), ""},
		{"body at the limit", "https://example.com/limit", strings.Repeat("x", mib), ""},
		{"body above the limit", "https://example.com/above", "", "more than 1048576 bytes"},
		{"unknown host", "http://192.168.1.1/", "", "dial 192.168.1.1:80: not in the hosts map"},
		{"known host, other port", "https://example.com:8443/", "", "not in the hosts map"},
		{"trailing dot", "https://example.com./policy.txt", "", "not in the hosts map"},
		{"loopback is not special", "http://127.0.0.1:1/", "", "not in the hosts map"},
		{"redirect to an unknown host", "https://example.com/to-unknown", "", "dial 10.0.0.1:80: not in the hosts map"},
		{"certificate of another name", "https://impostor.invalid/policy.txt", "", "impostor.invalid"},
		{"error status", "https://example.com/broken", "", "500"},
		{"no scheme", "example.com/policy.txt", "", "unsupported protocol scheme"},
		{"file", "file:///etc/hostname", "", "unsupported protocol scheme"},
		{"not a URL", "http://[::1", "", "missing ']'"},
	}
	world := newInternet(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := connect(t, serve(t, docserver.Options{Exec: docserver.Argv, Hosts: world.hosts, RootCAs: world.roots}), "2026-07-28")
			a := args{"url": tt.url, "created_by": "alice"}
			if tt.content == "" {
				texts, isError := call(t, s, "import_url", a)
				if !isError || !strings.Contains(texts[0], tt.mentions) {
					t.Errorf("got %q (error %v), want %q", texts, isError, tt.mentions)
				}
				want(t, s, "read_document", args{"id": 1}, true, "no document id=1 in "+dsn)
				return
			}
			want(t, s, "import_url", a, false, fmt.Sprintf("imported %s as document id=1", tt.url))
			want(t, s, "read_document", args{"id": 1}, false, "read document id=1 (created_by alice)", tt.content)
		})
	}
}

func TestUnknownRootIsRefused(t *testing.T) {
	world := newInternet(t)
	s := connect(t, serve(t, docserver.Options{Exec: docserver.Argv, Hosts: world.hosts, RootCAs: x509.NewCertPool()}), "2026-07-28")
	texts, isError := call(t, s, "import_url", args{"url": "https://example.com/policy.txt", "created_by": "alice"})
	if !isError || !strings.Contains(texts[0], "certificate") {
		t.Errorf("got %q (error %v)", texts, isError)
	}
}

// Without a map the naive server dials whatever it is told.
func TestHoleAnythingIsDialed(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "internal") }))
	defer inside.Close()
	s := connect(t, serve(t, docserver.Options{Exec: docserver.Argv}), "2026-07-28")
	want(t, s, "import_url", args{"url": inside.URL, "created_by": "alice"}, false, "imported "+inside.URL+" as document id=1")
	want(t, s, "read_document", args{"id": 1}, false, "read document id=1 (created_by alice)", "internal")
}

func TestEmptyMapDialsNothing(t *testing.T) {
	s := connect(t, serve(t, docserver.Options{Exec: docserver.Argv, Hosts: map[string]string{}}), "2026-07-28")
	texts, isError := call(t, s, "import_url", args{"url": "http://127.0.0.1:1/", "created_by": "alice"})
	if !isError || !strings.Contains(texts[0], "not in the hosts map") {
		t.Errorf("got %q (error %v)", texts, isError)
	}
}

func TestEgressProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "proxied %s with %q", r.URL, r.Header.Get("Proxy-Authorization"))
	}))
	defer proxy.Close()
	base, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	withUser := *base
	withUser.User = url.UserPassword("child", "example")
	tests := []struct {
		name  string
		proxy *url.URL
		hosts map[string]string
		want  string
	}{
		{"without a map", base, nil, `proxied http://example.com/ with ""`},
		{"with credentials", &withUser, nil, `proxied http://example.com/ with "Basic Y2hpbGQ6ZXhhbXBsZQ=="`},
		{"with a map that lacks it", base, map[string]string{}, `proxied http://example.com/ with ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := connect(t, serve(t, docserver.Options{Exec: docserver.Argv, EgressProxy: tt.proxy, Hosts: tt.hosts}), "2026-07-28")
			call(t, s, "import_url", args{"url": "http://example.com/", "created_by": "alice"})
			want(t, s, "read_document", args{"id": 1}, false, "read document id=1 (created_by alice)", tt.want)
		})
	}
}

func TestEgressProxyMustBeHTTP(t *testing.T) {
	for _, text := range []string{"socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://", "127.0.0.1:1"} {
		u, err := url.Parse(text)
		if err != nil {
			u = &url.URL{Opaque: text}
		}
		if srv, err := docserver.New(docserver.Options{Exec: docserver.Argv, EgressProxy: u}); err == nil {
			srv.Close()
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestParseHosts(t *testing.T) {
	tests := []struct {
		name, text string
		want       map[string]string
		mentions   string // in the error
	}{
		{"empty file", "", map[string]string{}, ""},
		{"comments and blanks", "# fakes\n\n  \t\n", map[string]string{}, ""},
		{"entries", "example.com:443 127.0.0.1:8443\n169.254.169.254:80\t127.0.0.2:80 # metadata\r\n",
			map[string]string{"example.com:443": "127.0.0.1:8443", "169.254.169.254:80": "127.0.0.2:80"}, ""},
		{"IPv6", "[fd00::1]:80 [::1]:8080", map[string]string{"[fd00::1]:80": "[::1]:8080"}, ""},
		{"capitals", "Example.COM:443 127.0.0.1:1", map[string]string{"example.com:443": "127.0.0.1:1"}, ""},
		{"one field", "example.com:443", nil, "line 1"},
		{"three fields", "a:1 127.0.0.1:1 x", nil, "line 1"},
		{"host without port", "# x\nexample.com 127.0.0.1:1", nil, "line 2"},
		{"port without host", ":443 127.0.0.1:1", nil, "line 1"},
		{"public target", "example.com:443 192.0.2.1:443", nil, "not a loopback address"},
		{"every address", "example.com:443 0.0.0.0:443", nil, "not a loopback address"},
		{"target by name", "example.com:443 localhost:443", nil, "not a loopback address"},
		{"target without port", "example.com:443 127.0.0.1", nil, "not a loopback address"},
		{"target port 0", "example.com:443 127.0.0.1:0", nil, "not a loopback address"},
		{"twice", "a:1 127.0.0.1:1\nA:1 127.0.0.1:2", nil, "twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := docserver.ParseHosts(strings.NewReader(tt.text))
			if !maps.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if (tt.mentions == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.mentions) {
				t.Errorf("error %v, want %q", err, tt.mentions)
			}
		})
	}
}

// Property: whatever a file says, an accepted map leads to loopback only, and a
// server accepts it.
func FuzzParseHosts(f *testing.F) {
	for _, seed := range []string{"", "a:1 127.0.0.1:1 # x", "[::1]:1 [::ffff:127.0.0.1]:2", "a:1 10.0.0.1:1", "a:1 127.0.0.1:99999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := docserver.ParseHosts(strings.NewReader(text))
		if err != nil {
			return
		}
		for host, target := range hosts {
			if _, _, err := net.SplitHostPort(host); err != nil {
				t.Errorf("accepted %q as host:port", host)
			}
			if a, err := netip.ParseAddrPort(target); err != nil || !a.Addr().Unmap().IsLoopback() {
				t.Errorf("accepted %q as loopback", target)
			}
		}
		srv, err := docserver.New(docserver.Options{Exec: docserver.Argv, Hosts: hosts})
		if err != nil {
			t.Fatalf("the map was accepted, the server is not: %v", err)
		}
		srv.Close()
	})
}
