package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Names that reach the policy, the audit record or a header. Each has a narrow
// alphabet, so that no later reader has to escape one.
var (
	upstreamName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	ruleName     = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	toolName     = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`) // MCP 2025-11-25, tool names
	methodName   = regexp.MustCompile(`^[A-Za-z0-9_.$/-]{1,128}$`)
	policyName   = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)      // resource, action
	scopeToken   = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)   // RFC 6749 section 3.3
	headerToken  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110 section 5.6.2
	clientID     = regexp.MustCompile(`^[\x20-\x7E]+$`)                // RFC 6749 appendix A.1
	hostLabel    = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	claimPath    = regexp.MustCompile(`^(\\.|[^\\.])+(\.(\\.|[^\\.])+)*$`)
	urlText      = regexp.MustCompile(`^[\x21-\x7E]+$`)
	originScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
)

func isNameRune(r rune) bool {
	return r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// isHost reports whether s is an address or a lower-case host name. A last label
// of digits is refused, because some resolvers read 127.1 or 0x7f.1 as an address.
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !hostLabel.MatchString(l) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// isHostPort reports whether s is a host, with or without a port; an IPv6
// address stands in brackets, as in a Host header.
func isHostPort(s string) bool {
	if host, port, err := net.SplitHostPort(s); err == nil {
		return isHost(host) && isPort(port)
	}
	return isURLHost(s)
}

// isURLHost reports whether s is a host as it stands in a URL.
func isURLHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && strings.Contains(inner, ":") && isHost(inner)
	}
	return isHost(s) && !strings.Contains(s, ":")
}

// isHostPattern accepts a URL's host, or "*." before a name of two or more
// labels: *.com would be the world.
func isHostPattern(s string) bool {
	parent, wild := strings.CutPrefix(s, "*.")
	if !wild {
		return isURLHost(s)
	}
	_, err := netip.ParseAddr(parent)
	return err != nil && isHost(parent) && strings.Contains(parent, ".")
}

// isPort accepts 1 to 65535.
func isPort(s string) bool {
	n, err := wholeNumber(s)
	return err == nil && n >= 1 && n <= 65535
}

// isLoopback reports whether host can only be this machine. Names other than
// localhost are not asked for: an answer could change later.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

func isAuthorization(header string) bool { return strings.EqualFold(header, "Authorization") }

// ownHeaders are set by the connection or by MCP itself. A credential in one of
// them would break the framing or the protocol's own checks.
var ownHeaders = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-authenticate": true, "proxy-authorization": true,
	"proxy-connection": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
	"host": true, "expect": true, "accept": true, "accept-encoding": true, "last-event-id": true, "origin": true,
}

func isOwnHeader(name string) bool {
	name = strings.ToLower(name)
	return ownHeaders[name] || strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "mcp-")
}

// parseURL reads an http or https URL and says what is wrong with one that
// cannot serve. It never repeats the URL, which may hold a password.
func parseURL(raw string) (*url.URL, string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || !urlText.MatchString(raw):
		return nil, "is not a URL"
	case u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "":
		return nil, "must start with https:// or http://"
	case u.User != nil:
		return nil, "must not hold a user name or password; name a credential file"
	case strings.Contains(raw, "#"):
		return nil, "must not have a fragment"
	case !isHost(strings.ToLower(u.Hostname())) || strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()):
		return nil, "needs a valid host"
	}
	return u, ""
}

// secretParameters are query keys under which services take a secret.
var secretParameters = []string{
	"access_token", "api_key", "api-key", "apikey", "auth", "key", "password", "secret", "sig", "signature", "token",
}

// secretParameter is the first query key of u that usually holds a secret.
func secretParameter(u *url.URL) string {
	query := u.Query()
	for _, name := range secretParameters {
		for given := range query {
			if strings.EqualFold(given, name) {
				return name
			}
		}
	}
	return ""
}

// originDefect says why a browser would never send s as Origin (RFC 6454
// section 6.2), so that allowing it would allow nothing, or too much.
func originDefect(s string) string {
	scheme, host, ok := strings.Cut(s, "://")
	switch {
	case s == "*" || strings.Contains(host, "*"):
		return "must not be a wildcard: every web page could call"
	case !ok || s == "null":
		return "must be an origin such as https://app.example"
	case s != strings.ToLower(s):
		return "must be lower case, as browsers send it"
	case !originScheme.MatchString(scheme) || !isHostPort(host):
		return "must be an origin such as https://app.example, without path"
	case scheme == "https" && strings.HasSuffix(host, ":443"), scheme == "http" && strings.HasSuffix(host, ":80"):
		return "must leave out the default port, as browsers do"
	}
	return ""
}

// listenDefect says what is wrong with an address to listen on. An empty host
// means every interface.
func listenDefect(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "must be host:port, such as 127.0.0.1:8811"
	}
	if host != "" && !isHost(strings.ToLower(host)) {
		return "needs a host name or an address before the port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "needs a port from 0 to 65535"
	}
	return ""
}

func listenHost(s string) string {
	host, _, _ := net.SplitHostPort(s)
	return host
}

// takesFreePort says whether whoever listens on s gets a port that nobody has.
func takesFreePort(s string) bool {
	_, port, _ := net.SplitHostPort(s)
	return port == "0"
}
