// Package egress is the forward proxy through which guarded servers reach the outside.
//
// A check of an argument cannot bind the connection that a server makes later: the DNS may
// answer differently by then, and what it fetches may redirect it (CWE-918). Here the name is
// resolved and judged once more, and only an address that was judged is dialed.
//
// Each server, and each process of one that the sidecar starts, has a [Grant]: a credential of
// its own and the hosts and ports that it may reach. Without one nobody is served (407). Names
// in a tunnel are those that the server asked for; what is said in it is TLS between the two
// ends and not looked at.
//
// The proxy speaks CONNECT and requests in absolute form (RFC 9110 sections 9.3.6 and 7.1, RFC
// 9112 section 3.2.2). Refusals carry Proxy-Status (RFC 9209).
package egress

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"mcp-sidecar/guards/ssrf"
)

// Bounds where [Options] say nothing.
const (
	defaultIdle       = 5 * time.Minute
	defaultConcurrent = 64
	headerTime        = 10 * time.Second // for the head of a request
	maxHeaders        = 32 << 10         // bytes of it
)

// Options configure a Proxy.
type Options struct {
	// Resolver answers names. Nil means that no name resolves.
	Resolver ssrf.Resolver
	// Own says which addresses are the sidecar's own listeners. Nil means none.
	Own func(netip.AddrPort) bool
	// Dial maps addresses that were judged to loopback ones that are dialed in their
	// place, and nothing else is dialed then. It is for demos and tests. Nil dials what
	// was judged.
	Dial map[netip.AddrPort]netip.AddrPort
	// Record writes down what was decided before any byte flows, and how a tunnel ended.
	// What it cannot write down is not done. Nil is refused.
	Record func(Event) error
	// Concurrent bounds the connections of one grant; 0 means 64.
	Concurrent int
	// Idle is the longest silence on a connection; 0 means 5 minutes.
	Idle time.Duration
}

// Event is one thing that was decided, or the end of a tunnel.
type Event struct {
	Upstream string // whose grant it was; empty where nobody proved to have one
	Method   string // "CONNECT", or that of the request
	Target   string // host and port as asked for, chosen by the server
	Rule     string // what refused it, one of those of package ssrf or of this one; empty if it was let through
	Reason   string // the refusal in words
	Err      error  // why it failed though it was let through
	End      bool   // the tunnel has ended; Out and In are what it carried
	Out, In  int64  // bytes of the server, and to it
}

// Rules of an [Event] beside those of package ssrf.
const (
	RuleCredential = "credential"       // no credential, or one that is not valid (any more)
	RuleForm       = "request-form"     // neither CONNECT host:port nor an absolute http URL
	RuleLimit      = "too-many-at-once" // more connections than one grant may have
)

// Proxy serves grants. It is safe for concurrent use.
type Proxy struct {
	opts   Options
	server *http.Server
	mark   string // every random password begins so

	mu       sync.Mutex
	listener net.Listener
	closed   bool
	grants   map[string]*Grant // by user name
	serving  sync.WaitGroup
}

// New returns a proxy that does not listen yet.
func New(o Options) (*Proxy, error) {
	if o.Record == nil {
		return nil, errors.New("egress proxy without a record of what it does")
	}
	if o.Concurrent == 0 {
		o.Concurrent = defaultConcurrent
	}
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	p := &Proxy{opts: o, mark: rand.Text(), grants: map[string]*Grant{}}
	p.server = &http.Server{
		Handler: p, ReadHeaderTimeout: headerTime, IdleTimeout: o.Idle, MaxHeaderBytes: maxHeaders,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0), // it would repeat what a server chose
	}
	return p, nil
}

// Listen opens address, a host and a port of which 0 takes a free one, and serves there until
// Close.
func (p *Proxy) Listen(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err // names the address already
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener != nil {
		_ = l.Close()
		return errors.New("the egress proxy listens already, or has been closed")
	}
	p.listener = l
	p.serving.Go(func() { _ = p.server.Serve(l) })
	return nil
}

// Addr is where it listens; nil before Listen.
func (p *Proxy) Addr() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return nil
	}
	return p.listener.Addr()
}

// begin counts a request as being served. It fails once the proxy has been closed.
func (p *Proxy) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.serving.Add(1)
	return true
}

// Close ends every connection, takes all grants back, and returns when nothing is left to be
// recorded.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	grants := make([]*Grant, 0, len(p.grants))
	for _, g := range p.grants {
		grants = append(grants, g)
	}
	p.mu.Unlock()
	_ = p.server.Close()
	for _, g := range grants {
		g.Revoke()
	}
	p.serving.Wait()
}

// Rule says what a grant may reach. The zero Rule is every public host at port 443, by CONNECT.
type Rule struct {
	// Hosts are the host names allowed; "*.example.com" allows every name below
	// example.com. Empty allows every public one.
	Hosts []string
	// Ports are those that CONNECT may name. Empty allows 443.
	Ports []int
	// PlainPorts are those of requests that are not encrypted. Empty allows none.
	PlainPorts []int
}

// Grant is the right to use the proxy, until it is revoked.
type Grant struct {
	proxy          *Proxy
	upstream       string
	user, password string
	sum            [sha256.Size]byte // of the password: compared in constant time, whatever its length
	rule           Rule

	mu      sync.Mutex
	revoked bool
	open    map[io.Closer]struct{} // connections to the outside
	active  int
}

// Mark is what every random password of this proxy begins with, random itself: to take it out
// of a text makes what is left useless, however many passwords there are.
func (p *Proxy) Mark() string { return p.mark }

// Grant gives a process of upstream a random credential.
func (p *Proxy) Grant(upstream string, r Rule) (*Grant, error) {
	return p.grant(upstream, "process-"+rand.Text(), p.mark+rand.Text(), r)
}

// GrantAs gives upstream a credential that its operator has chosen: its own name and password.
func (p *Proxy) GrantAs(upstream, password string, r Rule) (*Grant, error) {
	if password == "" {
		return nil, errors.New("the password for the egress proxy is empty")
	}
	return p.grant(upstream, upstream, password, r)
}

func (p *Proxy) grant(upstream, user, password string, r Rule) (*Grant, error) {
	g := &Grant{
		proxy: p, upstream: upstream, user: user, password: password, rule: r,
		sum: sha256.Sum256([]byte(password)), open: map[io.Closer]struct{}{},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.grants[user]; taken || p.closed {
		return nil, errors.New("the egress proxy has been closed, or knows this user already")
	}
	p.grants[user] = g
	return g, nil
}

// URL is what a client of the proxy needs, its credential included. It fails before the proxy
// listens.
func (g *Grant) URL() (string, error) {
	at := g.proxy.Addr()
	if at == nil {
		return "", errors.New("the egress proxy does not listen")
	}
	return (&url.URL{Scheme: "http", User: url.UserPassword(g.user, g.password), Host: at.String()}).String(), nil
}

// Password is the secret of the credential.
func (g *Grant) Password() string { return g.password }

// Revoke takes the grant back and cuts its connections off.
func (g *Grant) Revoke() {
	g.proxy.mu.Lock()
	delete(g.proxy.grants, g.user)
	g.proxy.mu.Unlock()
	g.mu.Lock()
	g.revoked = true
	open := g.open
	g.open = nil
	g.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
}

// enter counts a connection. It fails when the grant has as many as it may, or is gone.
func (g *Grant) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.revoked || g.active >= g.proxy.opts.Concurrent {
		return false
	}
	g.active++
	return true
}

func (g *Grant) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active--
}

// authenticate finds the grant of a request (RFC 7617).
func (p *Proxy) authenticate(r *http.Request) *Grant {
	// BasicAuth reads Authorization, which here belongs to the host that is asked for.
	user, password, ok := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
	if !ok || len(r.Header["Proxy-Authorization"]) != 1 {
		return nil
	}
	p.mu.Lock()
	g := p.grants[user]
	p.mu.Unlock()
	if g == nil {
		return nil
	}
	given := sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(given[:], g.sum[:]) != 1 {
		return nil
	}
	return g
}

// dial connects to address for the grant, whatever the DNS says by now.
func (g *Grant) dial(ctx context.Context, address string, ports []int) (net.Conn, error) {
	o := &g.proxy.opts
	d := ssrf.Dialer{Resolver: o.Resolver, Rule: ssrf.Rule{Hosts: g.rule.Hosts, Ports: ports}, Own: o.Own}
	if o.Dial != nil {
		d.Connect = o.dialMapped
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := &outside{silent: silent{c, o.Idle}, grant: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.revoked {
		_ = c.Close()
		return nil, errRevoked
	}
	g.open[conn] = struct{}{}
	return conn, nil
}

var errRevoked = errors.New("the grant has been taken back")

// dialMapped connects to what Dial has in place of address.
func (o *Options) dialMapped(ctx context.Context, network, address string) (net.Conn, error) {
	judged, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	target, ok := o.Dial[judged]
	if !ok {
		return nil, errors.New("not in the dial map")
	}
	return new(net.Dialer).DialContext(ctx, network, target.String())
}

// silent is a connection that ends after a silence in both directions.
type silent struct {
	net.Conn
	idle time.Duration
}

func (c *silent) Read(p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(c.idle))
	return c.Conn.Read(p)
}

func (c *silent) Write(p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(c.idle))
	return c.Conn.Write(p)
}

// CloseWrite says that nothing more comes.
func (c *silent) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// outside is a connection to the outside, which ends with its grant.
type outside struct {
	silent
	grant *Grant
}

func (c *outside) Close() error {
	c.grant.mu.Lock()
	delete(c.grant.open, c) // of a nil map, too
	c.grant.mu.Unlock()
	return c.silent.Close()
}
