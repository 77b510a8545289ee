package ssrf

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"mcp-sidecar/guards"
)

// Dialer connects to public hosts only. It closes what a check of a URL leaves
// open: the name is resolved here, every answer is judged, and only an address
// that was judged is dialed, so that the DNS cannot answer differently later
// (rebinding). It is safe for concurrent use if its fields are.
type Dialer struct {
	Resolver Resolver // nil: no name resolves
	Rule     Rule     // hosts and ports that may be dialed; zero: every public host at port 443

	// Own says which addresses are the caller's own listeners, which a public name may
	// lead to. None of them is dialed. Nil means that there are none.
	Own func(netip.AddrPort) bool

	// Connect opens a connection to an address that was judged. Nil is the
	// system's, which looks at the address once more as the socket gets it.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// Refused is the error of a [Dialer] for what it does not dial.
type Refused struct{ *guards.Block }

func (r *Refused) Error() string { return r.Public }

// DialContext connects to address, a host and a port. It has the form that
// http.Transport wants. The error is *[Refused], or that of the last attempt.
//
// A host is judged as that of an https URL. That TLS is spoken, and to the host
// that was asked for, is up to the caller.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	family, isTCP := strings.CutPrefix(network, "tcp")
	if !isTCP {
		return nil, net.UnknownNetworkError(network)
	}
	t, b := Examine("https://"+address, d.Rule)
	if b != nil {
		return nil, &Refused{b}
	}
	addrs := []netip.Addr{t.Addr}
	if !t.Addr.IsValid() {
		if addrs, b = publicAddrs(ctx, d.Resolver, t.Host); b != nil {
			return nil, &Refused{b}
		}
	}
	for _, a := range addrs {
		if d.Own != nil && d.Own(netip.AddrPortFrom(a, t.Port)) {
			return nil, &Refused{refuse(RuleOwn, "an address of the sidecar itself")}
		}
	}
	return d.first(ctx, network, ofNetwork(addrs, "ip"+family), t.Port)
}

// first tries addresses in their order. Each gets its part of the time that is
// left, so that one that hangs does not take it all.
func (d *Dialer) first(ctx context.Context, network string, addrs []netip.Addr, port uint16) (net.Conn, error) {
	end := time.Now().Add(dialTimeout)
	if limit, ok := ctx.Deadline(); ok && limit.Before(end) {
		end = limit
	}
	err := errors.New("the host has no address of the wanted kind")
	for i, a := range addrs {
		var conn net.Conn
		try, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(len(addrs)-i))
		conn, err = d.connect(try, network, netip.AddrPortFrom(a, port).String())
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (d *Dialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Connect != nil {
		return d.Connect(ctx, network, address)
	}
	system := net.Dialer{Control: vetPeer, KeepAlive: 30 * time.Second}
	return system.DialContext(ctx, network, address)
}

// dialTimeout bounds all attempts for one host together.
const dialTimeout = 5 * time.Second

// vetPeer is the last look, at what the socket is about to be connected to.
func vetPeer(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || Reserved(peer.Addr().Unmap()) {
		return &Refused{refuse(RuleReserved, "blocked internal/reserved address")}
	}
	return nil
}
