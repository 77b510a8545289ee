package broker

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURI bounds redirect URIs and client ids, in bytes.
const maxURI = 1024

// RedirectDefect says what is wrong with uri as a redirect URI of a client, or
// nothing. Allowed are https, and http to the user's own machine (MCP 2026-07-28,
// basic/authorization, "Open Redirection").
func RedirectDefect(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || len(uri) > maxURI || !plainASCII(uri):
		return "is not a URL of plain ASCII"
	case strings.Contains(uri, "#"):
		return "must not have a fragment (RFC 6749 section 3.1.2)"
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return "must be absolute, with a host"
	case u.User != nil:
		return "must not name a user"
	case isOddAddress(u.Hostname()):
		return "must write an IP address in its usual form"
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return ""
	}
	return "must be https, or http on loopback"
}

// plainASCII keeps out what browsers repair or drop: they would go elsewhere than
// where we compared.
func plainASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`\"<>^{|}`+"`", r) })
}

// isLoopback says whether host is this machine in one of its usual spellings.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Zone() == "" && a.IsLoopback()
}

// isOddAddress says whether browsers take host for an IPv4 address although it is not
// written as one, as in 127.1 (WHATWG URL, "ends in a number").
func isOddAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	last := strings.ToLower(host)
	last = strings.TrimSuffix(last, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	digits := "0123456789"
	if isHex {
		last, digits = hex, "0123456789abcdef"
	}
	return err != nil && (isHex || last != "") && strings.Trim(last, digits) == ""
}

// staysHere says whether the browser that goes to raw may stay on its own machine.
func staysHere(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return true
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || // RFC 6761 section 6.3
		err == nil && (a.Unmap().IsLoopback() || a.Unmap().IsUnspecified())
}

// allows says whether the client may be answered at uri. It is one of the
// registered ones, character by character. The one exception is the port of a
// loopback URI that was registered without one: native programs take whichever
// port is free (RFC 8252 section 7.3).
func (c *Client) allows(uri string) bool {
	return slices.ContainsFunc(c.Redirects, func(registered string) bool {
		return uri == registered || uri == withPortOf(registered, uri)
	})
}

// withPortOf is registered with the port of uri, if registered is a loopback URI
// without a port.
func withPortOf(registered, uri string) string {
	want, err := url.Parse(registered)
	if err != nil || want.Scheme != "http" || want.Port() != "" || !isLoopback(want.Hostname()) {
		return registered
	}
	got, err := url.Parse(uri)
	if err != nil {
		return registered
	}
	port, err := strconv.ParseUint(got.Port(), 10, 16)
	if err != nil || port == 0 || strconv.FormatUint(port, 10) != got.Port() {
		return registered
	}
	rest := strings.TrimPrefix(registered, "http://"+want.Host)
	return "http://" + net.JoinHostPort(want.Hostname(), got.Port()) + rest
}

// answerURL adds what is to be told to a redirect URI (RFC 6749 section 4.1.2),
// together with who tells it (RFC 9207).
func (b *Broker) answerURL(q request, told url.Values) string {
	told.Set("iss", b.opts.Issuer)
	if !q.state.Empty() {
		told.Set("state", q.state.Reveal())
	}
	separator := "?"
	if strings.Contains(q.redirect, "?") {
		separator = "&"
	}
	return q.redirect + separator + told.Encode()
}
