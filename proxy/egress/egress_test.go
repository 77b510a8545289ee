package egress_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/proxy/egress"
)

const (
	publicAddr = "93.184.215.14"
	ownAddr    = "8.8.4.4" // a public address that counts as the sidecar's own
)

// names answers as the DNS would. A name with several answers gives them one after the other.
type names struct {
	mu sync.Mutex
	of map[string][]string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answers := n.of[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.of[host] = answers[1:]
	}
	return []netip.Addr{netip.MustParseAddr(answers[0])}, nil
}

// outsideWorld is one loopback listener that plays every public host, and counts who came.
type outsideWorld struct {
	addr    netip.AddrPort
	mu      sync.Mutex
	came    int
	headers []http.Header
}

func (o *outsideWorld) visits() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.came
}

type countingListener struct {
	net.Listener
	o *outsideWorld
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.o.mu.Lock()
		l.o.came++
		l.o.mu.Unlock()
	}
	return c, err
}

func startOutside(t *testing.T) *outsideWorld {
	t.Helper()
	o := &outsideWorld{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.headers = append(o.headers, r.Header.Clone())
		o.mu.Unlock()
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "hello from "+r.Host)
	}))
	s.Listener = countingListener{s.Listener, o}
	s.Start()
	t.Cleanup(s.Close)
	o.addr = netip.MustParseAddrPort(s.Listener.Addr().String())
	return o
}

// rig is a proxy between a client and the outside.
type rig struct {
	*egress.Proxy
	outside *outsideWorld
	grant   *egress.Grant

	mu     sync.Mutex
	events []egress.Event
	deaf   bool // nothing can be recorded
}

func (r *rig) record(e egress.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf {
		return errors.New("disk full")
	}
	r.events = append(r.events, e)
	return nil
}

func (r *rig) recorded() []egress.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func start(t *testing.T, rule egress.Rule, change func(*egress.Options)) *rig {
	t.Helper()
	r := &rig{outside: startOutside(t)}
	judged := map[netip.AddrPort]netip.AddrPort{}
	for _, port := range []uint16{22, 80, 443, 8443} {
		for _, a := range []string{publicAddr, ownAddr, "8.8.8.8", "127.0.0.1", "169.254.169.254", "10.0.0.5", "64:ff9b::7f00:1"} {
			judged[netip.AddrPortFrom(netip.MustParseAddr(a), port)] = r.outside.addr
		}
	}
	o := egress.Options{
		Resolver: &names{of: map[string][]string{
			"example.com": {publicAddr}, "www.example.com": {publicAddr}, "other.example": {publicAddr}, "own.example": {ownAddr},
			"inside.example": {"10.0.0.5"}, "rebind.example": {publicAddr, "127.0.0.1"}, "nat64.example": {"64:ff9b::7f00:1"},
		}},
		Own:    func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort(ownAddr+":443") },
		Dial:   judged,
		Record: r.record,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if r.Proxy, err = egress.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if err := r.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if r.grant, err = r.Grant("docs", rule); err != nil {
		t.Fatal(err)
	}
	return r
}

// credential is the value of Proxy-Authorization for the grant's URL.
func credential(t *testing.T, g *egress.Grant) string {
	t.Helper()
	raw, err := g.URL()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+g.Password()))
}

// ask sends head as it is and reads the answer's head.
func (r *rig) ask(t *testing.T, head string) (*http.Response, net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	method, _, _ := strings.Cut(head, " ")
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return res, c, in
}

func (r *rig) connect(t *testing.T, target string) (*http.Response, net.Conn, *bufio.Reader) {
	t.Helper()
	return r.ask(t, fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: %s\r\n\r\n", target, credential(t, r.grant)))
}

func TestRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		head string // {as} is the header with the credential
		rule egress.Rule
		want int
		why  string // the rule in the record
		kind string // of Proxy-Status
	}{
		{name: "no credential", head: "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n", want: 407, why: egress.RuleCredential},
		{name: "wrong password", head: "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic cHJvY2Vzczpub3BlCg==\r\n", want: 407, why: egress.RuleCredential},
		{name: "two credentials", head: "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n{as}{as}", want: 407, why: egress.RuleCredential},
		{name: "credential of the host", head: "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n{host}", rule: egress.Rule{PlainPorts: []int{80}}, want: 407, why: egress.RuleCredential},
		{name: "loopback", head: "CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "metadata service", head: "CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "NAT64 of loopback", head: "CONNECT [64:ff9b::7f00:1]:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "decimal loopback", head: "CONNECT 2130706433:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "name with a private answer", head: "CONNECT inside.example:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "name with a NAT64 answer", head: "CONNECT nat64.example:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "own listener by a public name", head: "CONNECT own.example:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleOwn, kind: "destination_ip_prohibited"},
		{name: "localhost", head: "CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RuleInternal, kind: "http_request_denied"},
		{name: "no answer", head: "CONNECT nowhere.example:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 502, why: ssrf.RuleUnresolved, kind: "dns_error"},
		{name: "other port", head: "CONNECT example.com:22 HTTP/1.1\r\nHost: x\r\n{as}", want: 403, why: ssrf.RulePort, kind: "http_request_denied"},
		{name: "443 where others are listed", head: "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n{as}", rule: egress.Rule{Ports: []int{8443}}, want: 403, why: ssrf.RulePort, kind: "http_request_denied"},
		{name: "no port", head: "CONNECT example.com HTTP/1.1\r\nHost: x\r\n{as}", want: 400, why: egress.RuleForm, kind: "http_request_error"},
		{name: "user information", head: "CONNECT a@example.com:443 HTTP/1.1\r\nHost: x\r\n{as}", want: 400, why: egress.RuleForm, kind: "http_request_error"},
		{name: "path behind the port", head: "CONNECT example.com:443/x HTTP/1.1\r\nHost: x\r\n{as}", want: 400, why: egress.RuleForm, kind: "http_request_error"},
		{name: "host that is not listed", head: "CONNECT other.example:443 HTTP/1.1\r\nHost: example.com\r\n{as}", rule: egress.Rule{Hosts: []string{"example.com", "*.example.com"}}, want: 403, why: ssrf.RuleNotAllowed, kind: "http_request_denied"},
		{name: "request in origin form", head: "GET / HTTP/1.1\r\nHost: example.com\r\n{as}", rule: egress.Rule{PlainPorts: []int{80}}, want: 400, why: egress.RuleForm, kind: "http_request_error"},
		{name: "absolute https", head: "GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n{as}", rule: egress.Rule{PlainPorts: []int{80}}, want: 400, why: egress.RuleForm, kind: "http_request_error"},
		{name: "plain http unless allowed", head: "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n{as}", want: 403, why: ssrf.RuleScheme, kind: "http_request_denied"},
		{name: "plain http to the metadata service", head: "GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: example.com\r\n{as}", rule: egress.Rule{PlainPorts: []int{80}}, want: 403, why: ssrf.RuleReserved, kind: "destination_ip_prohibited"},
		{name: "plain http to another port", head: "GET http://example.com:8443/ HTTP/1.1\r\nHost: example.com\r\n{as}", rule: egress.Rule{PlainPorts: []int{80}}, want: 403, why: ssrf.RulePort, kind: "http_request_denied"},
		{name: "plain http to a host that is not listed", head: "GET http://other.example/ HTTP/1.1\r\nHost: example.com\r\n{as}", rule: egress.Rule{Hosts: []string{"example.com"}, PlainPorts: []int{80}}, want: 403, why: ssrf.RuleNotAllowed, kind: "http_request_denied"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, row.rule, nil)
			as := credential(t, r.grant)
			head := strings.NewReplacer("{as}", "Proxy-Authorization: "+as+"\r\n", "{host}", "Authorization: "+as+"\r\n").Replace(row.head)
			res, _, _ := r.ask(t, head+"\r\n")
			if res.StatusCode != row.want {
				t.Errorf("status %d, want %d", res.StatusCode, row.want)
			}
			if got := res.Header.Get("Proxy-Status"); row.kind != "" && got != "mcp-sidecar; error="+row.kind {
				t.Errorf("Proxy-Status %q, want %s", got, row.kind)
			}
			if (res.Header.Get("Proxy-Authenticate") != "") != (row.want == 407) {
				t.Errorf("Proxy-Authenticate %q", res.Header.Get("Proxy-Authenticate"))
			}
			events := r.recorded()
			if len(events) != 1 || events[0].Rule != row.why || events[0].End {
				t.Errorf("recorded %+v, want one refusal by %s", events, row.why)
			}
			if n := r.outside.visits(); n != 0 {
				t.Errorf("%d connections to the outside", n)
			}
		})
	}
}

func TestTunnel(t *testing.T) {
	r := start(t, egress.Rule{Hosts: []string{"*.example.com"}}, nil)
	res, c, in := r.connect(t, "www.example.com:443")
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if string(body) != "hello from www.example.com" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	_ = c.Close()
	r.Close()
	events := r.recorded()
	if len(events) != 2 {
		t.Fatalf("recorded %+v, want the beginning and the end", events)
	}
	if e := events[0]; e.Rule != "" || e.Err != nil || e.End || e.Upstream != "docs" || e.Method != "CONNECT" || e.Target != "www.example.com:443" {
		t.Errorf("%+v", e)
	}
	if e := events[1]; !e.End || e.Out == 0 || e.In < int64(len(body)) {
		t.Errorf("%+v", e)
	}
}

// waitFor polls without a bound of its own: the test's does.
func (r *rig) waitFor(t *testing.T, ok func([]egress.Event) bool) {
	t.Helper()
	for !ok(r.recorded()) {
		select {
		case <-t.Context().Done():
			t.Fatal("never recorded")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestSentAhead: a client may send the first bytes together with CONNECT.
func TestSentAhead(t *testing.T) {
	r := start(t, egress.Rule{}, nil)
	res, _, in := r.ask(t, "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: "+credential(t, r.grant)+"\r\n\r\nGET / HTTP/1.1\r\nHost: ahead\r\n\r\n")
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(answer.Body); string(body) != "hello from ahead" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

// TestRebinding: the name was public when it was asked for first.
func TestRebinding(t *testing.T) {
	r := start(t, egress.Rule{}, nil)
	first, c, _ := r.connect(t, "rebind.example:443")
	_ = c.Close()
	second, _, _ := r.connect(t, "rebind.example:443")
	if first.StatusCode != 200 || second.StatusCode != 403 {
		t.Errorf("%s, then %s", first.Status, second.Status)
	}
	if n := r.outside.visits(); n != 1 {
		t.Errorf("%d connections to the outside, want the first alone", n)
	}
}

func TestPlain(t *testing.T) {
	for _, row := range []struct {
		name, path string
		want       int
		rule       string
	}{
		{"page", "/", 200, ""},
		{"redirect to another public host", "/?to=https://other.example/", 302, ""},
		{"redirect on the same host", "/?to=/elsewhere", 302, ""},
		{"redirect to the metadata service", "/?to=http://169.254.169.254/latest/", 403, ssrf.RuleRedirect},
		{"redirect to loopback in one number", "/?to=http://2130706433/", 403, ssrf.RuleRedirect},
		{"redirect without a scheme", "/?to=//127.0.0.1/", 403, ssrf.RuleRedirect},
		{"redirect with backslashes", `/?to=http:%5C%5C127.0.0.1/`, 403, ssrf.RuleRedirect},
		{"redirect to NAT64", "/?to=http://[64:ff9b::a9fe:a9fe]/", 403, ssrf.RuleRedirect},
		{"redirect to localhost", "/?to=http://localhost:8811/", 403, ssrf.RuleRedirect},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, egress.Rule{PlainPorts: []int{80}}, nil)
			as := credential(t, r.grant)
			res, _, _ := r.ask(t, "GET http://example.com"+row.path+" HTTP/1.1\r\nHost: inside.example\r\nAuthorization: Bearer theirs\r\nProxy-Authorization: "+as+"\r\nConnection: close\r\n\r\n")
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != row.want {
				t.Fatalf("%s %q %v, want %d", res.Status, body, err, row.want)
			}
			if row.want == 200 && string(body) != "hello from example.com" {
				t.Errorf("body %q: the Host header is another than the address", body)
			}
			if row.want == 403 && (res.Header.Get("Location") != "" || strings.Contains(string(body), "Location")) {
				t.Error("the redirect is told all the same")
			}
			for _, h := range r.outside.headers {
				if h.Get("Proxy-Authorization") != "" || h.Get("X-Forwarded-For") != "" || h.Get("Authorization") != "Bearer theirs" {
					t.Errorf("the host was sent %v", h)
				}
			}
			events := r.recorded()
			if last := events[len(events)-1]; last.Rule != row.rule {
				t.Errorf("recorded %+v", events)
			}
		})
	}
}

// TestNotRecorded: what cannot be written down does not happen.
func TestNotRecorded(t *testing.T) {
	for _, head := range []string{"CONNECT example.com:443", "GET http://example.com/"} {
		t.Run(head, func(t *testing.T) {
			r := start(t, egress.Rule{PlainPorts: []int{80}}, nil)
			r.deaf = true
			res, _, _ := r.ask(t, head+" HTTP/1.1\r\nHost: x\r\nProxy-Authorization: "+credential(t, r.grant)+"\r\n\r\n")
			if res.StatusCode != 503 {
				t.Error(res.Status)
			}
			if len(r.outside.headers) != 0 {
				t.Error("a request was made")
			}
		})
	}
}

// TestRevoked: with its process, a grant and what it has opened are gone.
func TestRevoked(t *testing.T) {
	r := start(t, egress.Rule{}, nil)
	res, _, in := r.connect(t, "example.com:443")
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	r.grant.Revoke()
	if _, err := in.ReadByte(); err == nil {
		t.Error("the tunnel goes on")
	}
	if res, _, _ = r.connect(t, "example.com:443"); res.StatusCode != 407 {
		t.Error(res.Status)
	}
	r.grant.Revoke() // once more does no harm
}

func TestLimits(t *testing.T) {
	r := start(t, egress.Rule{}, func(o *egress.Options) { o.Concurrent = 2 })
	var open []net.Conn
	for range 2 {
		res, c, _ := r.connect(t, "example.com:443")
		if res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		open = append(open, c)
	}
	if res, _, _ := r.connect(t, "example.com:443"); res.StatusCode != 429 {
		t.Errorf("%s, want 429", res.Status)
	}
	if n := r.outside.visits(); n != 2 {
		t.Errorf("%d connections to the outside", n)
	}
	_ = open[0].Close()
	r.waitFor(t, func(events []egress.Event) bool {
		return slices.ContainsFunc(events, func(e egress.Event) bool { return e.End })
	})
	for {
		res, c, _ := r.connect(t, "example.com:443")
		_ = c.Close()
		if res.StatusCode == 200 {
			break // its place is free from a moment after the record on
		}
	}
}

func TestSilence(t *testing.T) {
	r := start(t, egress.Rule{}, func(o *egress.Options) { o.Idle = 50 * time.Millisecond })
	res, _, in := r.connect(t, "example.com:443")
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the host has said something")
	}
	r.waitFor(t, func(events []egress.Event) bool { return len(events) == 2 && events[1].End })
}

func TestGrants(t *testing.T) {
	r := start(t, egress.Rule{}, nil)
	second, err := r.Grant("docs", egress.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	if second.Password() == r.grant.Password() || len(second.Password()) < 52 || !strings.HasPrefix(second.Password(), r.Mark()) {
		t.Error("two processes share a password, or it can be guessed")
	}
	if _, err := r.GrantAs("docs", "chosen", egress.Rule{}); err != nil {
		t.Error(err)
	}
	if _, err := r.GrantAs("docs", "again", egress.Rule{}); err == nil {
		t.Error("a user was taken over")
	}
	if _, err := r.GrantAs("mail", "", egress.Rule{}); err == nil {
		t.Error("an empty password was accepted")
	}
	if _, err := egress.New(egress.Options{}); err == nil {
		t.Error("a proxy without a record was made")
	}
	silent, err := egress.New(egress.Options{Record: func(egress.Event) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	g, err := silent.Grant("docs", egress.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.URL(); err == nil {
		t.Error("an address was given that does not exist")
	}
	silent.Close()
	if _, err := silent.Grant("docs", egress.Rule{}); err == nil {
		t.Error("a grant was given by a proxy that has been closed")
	}
	if err := silent.Listen(t.Context(), "127.0.0.1:0"); err == nil {
		t.Error("it listens after its end")
	}
}
