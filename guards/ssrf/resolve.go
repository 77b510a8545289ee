package ssrf

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"mcp-sidecar/guards"
)

// lookupTimeout bounds one name. A resolver that hangs must not hold the call.
const lookupTimeout = 5 * time.Second

// maxShownHost bounds how much of a host name a refusal repeats, in bytes.
const maxShownHost = 64

// Resolver returns the addresses of a host. *net.Resolver is one. An error and
// an empty answer both refuse the URL.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

var (
	_ Resolver = (*net.Resolver)(nil)
	_ Resolver = (*Static)(nil)
)

// Static answers for some hosts itself and passes the others on. It is
// immutable and safe for concurrent use if the next resolver is.
type Static struct {
	hosts map[string][]netip.Addr
	next  Resolver
}

// NewStatic returns a resolver that answers for the keys of hosts, whatever
// their case and with or without a trailing dot. Other names go to next; if next
// is nil they do not exist. Static answers are judged like any other.
func NewStatic(hosts map[string][]netip.Addr, next Resolver) *Static {
	s := &Static{hosts: make(map[string][]netip.Addr, len(hosts)), next: next}
	for name, addrs := range hosts {
		s.hosts[dnsKey(name)] = slices.Clone(addrs)
	}
	return s
}

// LookupNetIP implements [Resolver]. network is "ip", "ip4" or "ip6".
func (s *Static) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if addrs, ok := s.hosts[dnsKey(host)]; ok {
		return ofNetwork(addrs, network), nil
	}
	if s.next == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return s.next.LookupNetIP(ctx, network, host)
}

func dnsKey(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func ofNetwork(addrs []netip.Addr, network string) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		return network == "ip4" && !a.Is4() || network == "ip6" && a.Is4()
	})
}

// resolve asks r for host and refuses it unless every answer is public.
func resolve(ctx context.Context, r Resolver, host string, except guards.Except) *guards.Block {
	_, b := publicAddrs(ctx, r, host)
	return Rule{Except: except}.unless(b)
}

// publicAddrs returns the answers of r for host if every one is public. One
// public answer among private ones is what a rebinding name looks like, and
// which of them the upstream will dial nobody knows.
func publicAddrs(ctx context.Context, r Resolver, host string) ([]netip.Addr, *guards.Block) {
	if r == nil {
		return nil, refuse(RuleUnresolved, "host does not resolve")
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		return nil, refuse(RuleUnresolved, "host does not resolve")
	}
	public := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		a = a.Unmap() // net.Resolver may return an A record in its mapped form
		if Reserved(a) {
			return nil, refuse(RuleReserved, reservedText(a)+" (resolved from "+showHost(host)+")")
		}
		public = append(public, a)
	}
	return public, nil
}

// showHost quotes host, which is plain ASCII by now, and cuts it.
func showHost(host string) string {
	return strconv.Quote(host[:min(len(host), maxShownHost)])
}
