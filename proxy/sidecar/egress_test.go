package sidecar

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
)

// fetchFlag makes the test's program a server that fetches what it is told to, by the proxy of
// its environment, and says on the connection what came of it.
const fetchFlag = "-test.fetching-child="

func fetchingChild(address string) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer conn.Close()
	if u, err := url.Parse(os.Getenv("HTTP_PROXY")); err == nil {
		password, _ := u.User.Password()
		fmt.Fprintln(os.Stderr, "my proxy is", u.Redacted(), "and I was told", password)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		res, err := http.Get(lines.Text()) // by the environment's proxy
		if err != nil {
			fmt.Fprintf(conn, "error %v\n", err)
			continue
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		fmt.Fprintf(conn, "%d %s\n", res.StatusCode, strings.TrimSpace(string(body)))
	}
	return 0
}

// fetcherAt is one child that fetches.
type fetcherAt struct {
	conn net.Conn
	in   *bufio.Reader
}

func (f *fetcherAt) fetch(t *testing.T, url string) string {
	t.Helper()
	if _, err := fmt.Fprintln(f.conn, url); err != nil {
		t.Fatal(err)
	}
	line, err := f.in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// startFetcher has the sidecar start a child of fs, by a request that nobody answers.
func startFetcher(t *testing.T, r *rig, l net.Listener) *fetcherAt {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/fs/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", "Bearer "+r.token("alice"))
		if res, err := r.http.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); cancel(); <-asked })
	return &fetcherAt{conn, bufio.NewReader(conn)}
}

// A server that the sidecar starts reaches public addresses, and nothing else, whatever the
// names say by then; each process with a credential of its own, which ends with it and shows
// nowhere.
func TestEgressOfChild(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var visited []string
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		visited = append(visited, q.Host)
		_, _ = io.WriteString(w, "welcome to "+q.Host)
	}))
	defer outside.Close()
	at := netip.MustParseAddrPort(outside.Listener.Addr().String())
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), change: func(c *config.Config) {
		c.Upstreams["fs"] = config.Upstream{Command: []string{os.Args[0], fetchFlag + l.Addr().String()}, Egress: &config.EgressRule{HTTPPorts: []int{80}}}
		c.Egress = &config.Egress{Dial: map[string]netip.AddrPort{"93.184.215.14:80": at, "127.0.0.1:80": at, "192.168.7.7:80": at, "169.254.169.254:80": at}}
	}})
	child := startFetcher(t, r, l)
	for _, row := range []struct{ url, want, rule string }{
		{"http://example.com/", "200 welcome to example.com", ""},
		{"http://inside.example.com/", "403 egress proxy: blocked by SSRF guard: blocked internal/reserved address 192.168.7.7 (resolved from \"inside.example.com\")", "reserved-address"},
		{"http://rebind.example.com/", "403 egress proxy: blocked by SSRF guard: blocked internal/reserved address 10.0.0.1 (resolved from \"rebind.example.com\")", "reserved-address"},
		{"http://169.254.169.254/latest/", "403 egress proxy: blocked by SSRF guard: blocked internal/reserved address 169.254.169.254", "reserved-address"},
	} {
		if got := child.fetch(t, row.url); got != row.want {
			t.Errorf("%s: %s, want %s", row.url, got, row.want)
		}
		e := r.egressRecord()
		if e.Upstream != "fs" || e.Rule != row.rule || (e.Outcome == "allowed") != (row.rule == "") {
			t.Errorf("%s: record %+v", row.url, e)
		}
	}
	if !slices.Equal(visited, []string{"example.com"}) {
		t.Errorf("visited %v", visited)
	}
	mark := r.sidecar.egress.Mark()
	r.eventually(func() bool { return strings.Contains(r.stderr.String(), "my proxy is") })
	if strings.Contains(r.stderr.String(), mark) {
		t.Error("the credential is in the log")
	}
}

// egressRecord is the newest record of the egress proxy.
func (r *rig) egressRecord() audit.Event {
	all := slices.DeleteFunc(r.records(), func(e audit.Event) bool { return e.Stage != "egress" })
	if len(all) == 0 {
		r.t.Fatal("nothing was recorded of the egress proxy")
	}
	return all[len(all)-1]
}

// A server with a URL has the password that its operator chose; nobody else's opens the proxy,
// and the sidecar's own listeners are out of reach by any name.
func TestEgressOfServer(t *testing.T) {
	t.Parallel()
	const password = "egress-password-of-the-document-server"
	r := start(t, setup{
		inventory: demoInventory, upstream: text("done"),
		files: map[string]string{"egress.password": password}, members: "egress: { password_file: egress.password, hosts: [example.com] },",
		extra: "egress: {}\n",
	})
	r.own = append(r.own, password)
	for _, row := range []struct {
		name, user, password, target string
		want                         int
		outcome                      string
	}{
		{"wrong password", "docs", "guess", "example.com:443", 407, "auth_failed"},
		{"another user", "fs", password, "example.com:443", 407, "auth_failed"},
		{"host that is not listed", "docs", password, "good.example.com:443", 403, "blocked"},
		{"the sidecar itself", "docs", password, strings.TrimPrefix(r.base, "http://"), 403, "blocked"},
	} {
		t.Run(row.name, func(t *testing.T) {
			proxy := &url.URL{Scheme: "http", Host: r.sidecar.egress.Addr().String(), User: url.UserPassword(row.user, row.password)}
			if got := connectStatus(t, proxy, row.target); got != row.want {
				t.Errorf("status %d, want %d", got, row.want)
			}
			if e := r.egressRecord(); e.Outcome != row.outcome {
				t.Errorf("record %+v", e)
			}
		})
	}
}

// connectStatus asks proxy for a tunnel to target.
func connectStatus(t *testing.T, proxy *url.URL, target string) int {
	t.Helper()
	status := 0
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		Proxy:             http.ProxyURL(proxy),
		DisableKeepAlives: true,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			status = res.StatusCode
			return nil
		},
	}}
	if res, err := client.Get("https://" + target + "/"); err == nil {
		_ = res.Body.Close()
	}
	return status
}

// The sidecar's own listeners are known by every address that leads to them.
func TestIsOwn(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), extra: "egress: {}\ndiagnostics: { listen: 127.0.0.1:0 }\n", change: func(c *config.Config) {
		c.PublicURL = "https://8.8.4.4"
	}})
	port := func(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }
	everywhere := &net.TCPAddr{IP: net.IPv6unspecified, Port: 443}
	for _, row := range []struct {
		name string
		a    string
		port uint16
		want bool
	}{
		{"endpoint", "127.0.0.1", port(r.sidecar.listener.Addr()), true},
		{"endpoint, mapped", "::ffff:127.0.0.1", port(r.sidecar.listener.Addr()), true},
		{"probes", "127.0.0.1", port(r.sidecar.probes.Addr()), true},
		{"the proxy itself", "127.0.0.1", port(r.sidecar.egress.Addr()), true},
		{"public_url", "8.8.4.4", 443, true},
		{"public_url, another port", "8.8.4.4", 8443, false},
		{"another address", "8.8.8.8", port(r.sidecar.listener.Addr()), false},
	} {
		if got := r.sidecar.isOwn(netip.AddrPortFrom(netip.MustParseAddr(row.a), row.port)); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
	if !sameListener(everywhere, netip.MustParseAddrPort("127.0.0.1:443")) || sameListener(everywhere, netip.MustParseAddrPort("8.8.8.8:443")) {
		t.Error("a listener on every address is not known by those of this machine")
	}
}
