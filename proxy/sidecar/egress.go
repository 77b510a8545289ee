package sidecar

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/egress"
	"mcp-sidecar/proxy/pipeline"

	"github.com/google/uuid"
)

// buildEgress makes the forward proxy for servers, which does not listen yet.
func (s *Sidecar) buildEgress() error {
	e := s.cfg.Egress
	if e == nil {
		return nil
	}
	o := egress.Options{Resolver: s.resolver(), Own: s.isOwn, Record: s.recordEgress, Concurrent: e.Connections}
	if e.Dial != nil {
		o.Dial = map[netip.AddrPort]netip.AddrPort{}
		for judged, to := range e.Dial {
			o.Dial[netip.MustParseAddrPort(judged)] = to // validated
		}
	}
	var err error
	if s.egress, err = egress.New(o); err != nil {
		return err
	}
	s.own.learn("the egress proxy's passwords", s.egress.Mark())
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Upstreams)) {
		rule := s.cfg.Upstreams[name].Egress
		if rule == nil || rule.PasswordFile == "" {
			continue
		}
		password, err := s.keyFrom("upstreams."+name+".egress.password_file", rule.PasswordFile)
		if err != nil {
			return err
		}
		s.own.learn(rule.PasswordFile, string(password.Reveal()))
		if _, err := s.egress.GrantAs(name, string(password.Reveal()), egressRule(rule)); err != nil {
			return fmt.Errorf("%w: upstreams.%s.egress: %w", ErrConfig, name, err)
		}
	}
	return nil
}

func egressRule(r *config.EgressRule) egress.Rule {
	if r == nil {
		return egress.Rule{}
	}
	return egress.Rule{Hosts: r.Hosts, Ports: r.Ports, PlainPorts: r.HTTPPorts}
}

// listenForEgress comes before anything that could start a process, which needs the address.
func (s *Sidecar) listenForEgress() error {
	if s.egress == nil || s.egress.Addr() != nil {
		return nil
	}
	return s.egress.Listen(context.Background(), s.cfg.Egress.Address())
}

// grantEgress gives a process of the server called name its way to the outside, and takes it
// back when the process is gone.
func (s *Sidecar) grantEgress(name string) func() ([]string, func(), error) {
	if s.egress == nil {
		return nil
	}
	rule := egressRule(s.cfg.Upstreams[name].Egress)
	return func() ([]string, func(), error) {
		g, err := s.egress.Grant(name, rule)
		if err != nil {
			return nil, nil, err
		}
		at, err := g.URL()
		if err != nil {
			g.Revoke()
			return nil, nil, err
		}
		return proxyVariables(at), g.Revoke, nil
	}
}

// proxyVariables are those by which programs find a proxy, in both spellings. NO_PROXY is
// emptied: an entry of the sidecar's own environment would lead around the proxy. Node.js looks
// at them only when told to.
func proxyVariables(at string) []string {
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		env = append(env, name+"="+at, strings.ToLower(name)+"="+at)
	}
	return append(env, "NO_PROXY=", "no_proxy=", "NODE_USE_ENV_PROXY=1")
}

// recordEgress writes down what a server was let reach, or was not.
func (s *Sidecar) recordEgress(e egress.Event) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	r := audit.Event{
		Time: s.opts.Now(), ID: id.String(), Phase: audit.PhaseOutcome, Direction: "upstream", Transport: "http",
		Upstream: e.Upstream, Kind: "egress", Method: e.Method, Name: e.Target, Stage: "egress",
		BytesIn: int(e.Out), BytesOut: int(e.In),
	}
	switch {
	case e.End:
		r.Kind, r.Outcome = "egress-end", pipeline.Allowed.String()
	case e.Rule == egress.RuleCredential:
		r.Outcome, r.Reason = pipeline.AuthFailed.String(), e.Rule
	case e.Rule == egress.RuleLimit:
		r.Outcome, r.Reason = pipeline.Limited.String(), e.Rule
	case e.Rule != "":
		r.Outcome, r.Guard, r.Rule = pipeline.Blocked.String(), ssrf.Name, e.Rule
	case e.Err != nil:
		r.Outcome, r.Error = pipeline.Unavailable.String(), e.Err.Error()
	default:
		r.Outcome = pipeline.Allowed.String()
	}
	return s.audit.Record(r)
}

// isOwn says whether a is one of the sidecar's listeners, as it is reached from this machine or
// by the address that clients are told.
func (s *Sidecar) isOwn(a netip.AddrPort) bool {
	for _, l := range s.listeners() {
		if sameListener(l.Addr(), a) {
			return true
		}
	}
	return sameListener(s.egress.Addr(), a) || s.isPublic(a)
}

// sameListener says whether a leads to l. One that listens everywhere has every address of this
// machine.
func sameListener(l net.Addr, a netip.AddrPort) bool {
	if l == nil {
		return false
	}
	at, err := netip.ParseAddrPort(l.String())
	if err != nil || at.Port() != a.Port() {
		return false
	}
	if !at.Addr().IsUnspecified() {
		return at.Addr().Unmap().WithZone("") == a.Addr().Unmap()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // nobody can say that it is not
	}
	return slices.ContainsFunc(addrs, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr().Unmap() == a.Addr().Unmap()
	})
}

// isPublic says whether a is public_url, given as an address.
func (s *Sidecar) isPublic(a netip.AddrPort) bool {
	u, err := url.Parse(s.cfg.Public())
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return err == nil && addr.Unmap() == a.Addr().Unmap() && port == fmt.Sprint(a.Port())
}

// egressLines are what the summary says about the way to the outside.
func (s *Sidecar) egressLines() []string {
	if s.egress == nil {
		return nil
	}
	at := s.cfg.Egress.Address()
	if a := s.egress.Addr(); a != nil {
		at = a.String()
	}
	lines := []string{"  egress proxy   http://" + at + ": servers reach public addresses only, by a credential each"}
	if s.cfg.Egress.Dial != nil {
		lines = append(lines, "  warning        egress.dial: loopback is dialed in place of public addresses; this is for demos")
	}
	return lines
}
