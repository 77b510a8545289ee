package front

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Hosts are the names under which something is served, beside the address of its
// listener: host, or host:port, in lower case.
type Hosts map[string]bool

// NewHosts returns the set of names.
func NewHosts(names ...string) Hosts { return set(names) }

// Allow guards against DNS rebinding: a web page whose name has been re-pointed
// at this machine reaches us with that name in Host (MCP 2026-07-28,
// basic/transports/streamable-http, "Security & Endpoint"). Forwarding headers
// are never looked at.
func (h Hosts) Allow(r *http.Request) bool {
	host := strings.ToLower(r.Host)
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	if h[host] || h[name] {
		return true
	}
	return isOwnAddress(r, host)
}

// isOwnAddress accepts the address that the connection came in on, written as an
// address: a name is what rebinding needs. On loopback "localhost" is the same.
func isOwnAddress(r *http.Request, host string) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return false
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "80"
		if r.TLS != nil {
			port = "443"
		}
	}
	if port != portOf(own) {
		return false
	}
	if name == "localhost" {
		return own.Addr().IsLoopback()
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.Unmap() == own.Addr().Unmap()
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// originAllowed refuses browsers on other sites. Programs that are no browser
// send no Origin, or that of the address which they call.
func (h *Handler) originAllowed(r *http.Request) bool {
	values, present := r.Header["Origin"]
	if !present {
		return true
	}
	if len(values) != 1 {
		return false
	}
	origin := strings.ToLower(values[0])
	return h.origins[origin] || isOwnOrigin(r, origin)
}

// isOwnOrigin accepts the address that the request was sent to. No page but one
// of the sidecar's own has it, and the sidecar serves none; a rebound name is not
// an address.
func isOwnOrigin(r *http.Request, origin string) bool {
	scheme, host, _ := strings.Cut(origin, "://")
	own := "http"
	if r.TLS != nil {
		own = "https"
	}
	return scheme == own && host == strings.ToLower(r.Host) && isOwnAddress(r, host)
}
