package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"

	"mcp-sidecar/guards/ssrf"
)

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		return
	}
	defer p.serving.Done()
	e := Event{Method: r.Method, Target: r.Host}
	g := p.authenticate(r)
	if g == nil {
		w.Header().Set("Proxy-Authenticate", `Basic realm="mcp-sidecar egress"`)
		p.refuse(w, e, http.StatusProxyAuthRequired, "", RuleCredential, "no valid credential for this proxy; the sidecar gives one to each server")
		return
	}
	e.Upstream = g.upstream
	if !g.enter() {
		p.refuse(w, e, http.StatusTooManyRequests, "connection_limit_reached", RuleLimit, "too many connections at once")
		return
	}
	defer g.leave()
	switch {
	case r.Method == http.MethodConnect:
		g.tunnel(w, r, e)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		g.forward(w, r, e)
	default:
		p.refuse(w, e, http.StatusBadRequest, "http_request_error", RuleForm, "this is a forward proxy: CONNECT host:port, or an absolute http URL")
	}
}

// refuse writes the refusal down and answers. kind is an error type of RFC 9209.
func (p *Proxy) refuse(w http.ResponseWriter, e Event, status int, kind, rule, reason string) {
	e.Rule, e.Reason = rule, reason
	_ = p.opts.Record(e) // it is refused in either case
	if kind != "" {
		w.Header().Set("Proxy-Status", "mcp-sidecar; error="+kind)
	}
	http.Error(w, "egress proxy: "+reason, status)
}

// fail answers a connection that could not be made. Of an error of the system's, nothing is
// told but that it happened: it may hold addresses of the inside.
func (p *Proxy) fail(w http.ResponseWriter, e Event, err error) {
	var refused *ssrf.Refused
	switch {
	case errors.As(err, &refused):
		status, kind := http.StatusForbidden, "http_request_denied"
		switch refused.Rule {
		case ssrf.RuleReserved, ssrf.RuleOwn:
			kind = "destination_ip_prohibited"
		case ssrf.RuleUnresolved:
			status, kind = http.StatusBadGateway, "dns_error"
		}
		p.refuse(w, e, status, kind, refused.Rule, refused.Public)
		return
	case errors.Is(err, errNotRecorded):
		http.Error(w, "egress proxy: the audit record cannot be written", http.StatusServiceUnavailable)
		return
	}
	e.Err = err
	_ = p.opts.Record(e)
	status, kind := http.StatusBadGateway, "destination_unavailable"
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		status, kind = http.StatusGatewayTimeout, "connection_timeout"
	}
	w.Header().Set("Proxy-Status", "mcp-sidecar; error="+kind)
	http.Error(w, "egress proxy: the host cannot be reached", status)
}

var errNotRecorded = errors.New("not recorded")

// let writes down that e is let through.
func (p *Proxy) let(e Event) error {
	if err := p.opts.Record(e); err != nil {
		return fmt.Errorf("%w: %w", errNotRecorded, err)
	}
	return nil
}

// tunnel carries bytes between the server and a host (RFC 9110 section 9.3.6).
func (g *Grant) tunnel(w http.ResponseWriter, r *http.Request, e Event) {
	p := g.proxy
	e.Target = r.RequestURI
	if _, _, err := net.SplitHostPort(r.RequestURI); err != nil || r.URL.Host != r.RequestURI {
		p.refuse(w, e, http.StatusBadRequest, "http_request_error", RuleForm, "CONNECT needs host:port")
		return
	}
	far, err := g.dial(r.Context(), r.RequestURI, g.rule.Ports)
	if err == nil {
		if err = p.let(e); err != nil {
			_ = far.Close()
		}
	}
	if err != nil {
		p.fail(w, e, err)
		return
	}
	defer func() { _ = far.Close() }()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.fail(w, e, err) // no connection to take over, as in HTTP/2, which is not offered
		return
	}
	near := &silent{conn, p.opts.Idle}
	defer func() { _ = near.Close() }()
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	e.End = true
	e.Out, e.In = splice(near, buffered.Reader, far.(*outside))
	_ = p.opts.Record(e) // nothing is left to be stopped
}

// splice copies in both directions until both have ended, or one has failed. early gives what
// near has sent ahead, and then the rest.
func splice(near *silent, early *bufio.Reader, far *outside) (out, in int64) {
	var both sync.WaitGroup
	fail := func() {
		_ = near.Close()
		_ = far.Close()
	}
	both.Go(func() {
		// What the server has sent ahead is in the buffer, which reads on from the
		// connection itself: its silence would not be noticed there.
		ahead := io.LimitReader(early, int64(early.Buffered()))
		n, err := io.Copy(far, io.MultiReader(ahead, near))
		if out = n; err != nil {
			fail()
			return
		}
		_ = far.CloseWrite()
	})
	both.Go(func() {
		n, err := io.Copy(near, far)
		if in = n; err != nil {
			fail()
			return
		}
		_ = near.CloseWrite()
	})
	both.Wait()
	return out, in
}

// forward carries one request that is not encrypted. Redirects are the server's to follow; one
// into reserved space does not reach it.
func (g *Grant) forward(w http.ResponseWriter, r *http.Request, e Event) {
	p := g.proxy
	e.Target = r.URL.Host
	if len(g.rule.PlainPorts) == 0 {
		p.refuse(w, e, http.StatusForbidden, "http_request_denied", ssrf.RuleScheme, "blocked by SSRF guard: plain http; use https")
		return
	}
	proxy := httputil.ReverseProxy{
		Transport:     g.once(e),
		Rewrite:       func(*httputil.ProxyRequest) {}, // hop-by-hop fields are gone by now, our credential too
		FlushInterval: -1,
		ErrorLog:      p.server.ErrorLog,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, err error) { p.fail(w, e, err) },
		ModifyResponse: func(res *http.Response) error {
			for _, location := range res.Header.Values("Location") {
				if b := ssrf.Redirect(location); b != nil {
					return &ssrf.Refused{Block: b}
				}
			}
			return nil
		},
	}
	proxy.ServeHTTP(w, r)
}

// once is the way of one request, which is let through when its connection stands.
func (g *Grant) once(e Event) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			c, err := g.dial(ctx, address, g.rule.PlainPorts)
			if err != nil {
				return nil, err
			}
			if err := g.proxy.let(e); err != nil {
				_ = c.Close()
				return nil, err
			}
			return c, nil
		},
		DisableKeepAlives:     true, // each request is judged
		DisableCompression:    true,
		ResponseHeaderTimeout: g.proxy.opts.Idle,
	}
}
