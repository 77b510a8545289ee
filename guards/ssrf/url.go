package ssrf

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/text"
)

// maxURL bounds a URL in bytes; longer ones are cut or refused by common
// clients, so two readers could see different ones.
const maxURL = 2048

// Target is what a URL that passed would connect to.
type Target struct {
	Host string     // name in lower-case ASCII, or the literal address without brackets
	Addr netip.Addr // the literal address; the zero Addr for a name
	Port uint16
}

// Check judges rawURL completely and returns nil if it may be fetched. A name
// is resolved with r; see [Resolver] for what counts as an answer.
func Check(ctx context.Context, r Resolver, rawURL string, rule Rule) *guards.Block {
	t, b := Examine(rawURL, rule)
	if b != nil || t.Addr.IsValid() {
		return b
	}
	return resolve(ctx, r, t.Host, rule.Except)
}

// Examine judges everything about rawURL that needs no DNS.
func Examine(rawURL string, rule Rule) (Target, *guards.Block) {
	if b := rule.unless(checkText(rawURL)); b != nil {
		return Target{}, b
	}
	p := split(rawURL)
	h := readHost(p.host)
	if h.addr.IsValid() && Reserved(h.addr) && !rule.Except.Has(RuleReserved) {
		return Target{}, refuseAddr(h.addr)
	}
	if b := p.check(rule.Except); b != nil {
		return Target{}, b
	}
	port, b := rule.port(p)
	if b != nil {
		return Target{}, b
	}
	if b := rule.checkHost(h); b != nil {
		return Target{}, b
	}
	return Target{Host: h.name, Addr: h.addr, Port: port}, nil
}

// examineLoose judges a value that nobody bound, so that it may be anything. A
// relative reference or a plain word ("docs/intro", "users") names nothing that
// could be fetched and passes. What has a scheme or starts with two slashes is
// a URL, also after what lenient parsers strip. Without either, a reserved
// address or a name of this machine in front is refused all the same: curl and
// its kin take "169.254.169.254/latest" for a URL.
func examineLoose(value string, rule Rule) (Target, *guards.Block) {
	stripped := stripLoose(value)
	p := split(stripped)
	if p.scheme != "" || startsWithSlashes(stripped) {
		return Examine(value, rule)
	}
	h := readHost(p.host)
	if h.addr.IsValid() && h.canonical && Reserved(h.addr) && !rule.Except.Has(RuleReserved) {
		return Target{}, refuseAddr(h.addr)
	}
	if isLocal(h.name) && !rule.Except.Has(RuleInternal) {
		return Target{}, refuse(RuleInternal, "internal host name")
	}
	return Target{}, nil
}

// Redirect judges where the Location of an answer leads, in every reading that a client could
// have of it, without DNS: into reserved space or to an internal name, by whatever scheme. What
// leads to another host is judged in full when the client goes there.
func Redirect(location string) *guards.Block {
	s := strings.ReplaceAll(stripLoose(location), `\`, "/")
	p := split(s)
	if p.scheme == "" && !startsWithSlashes(s) || p.host == "" {
		return nil // stays on the same host
	}
	h := readHost(p.host)
	if h.addr.IsValid() && Reserved(h.addr) {
		return refuse(RuleRedirect, "the answer redirects to an "+strings.TrimPrefix(reservedText(h.addr), "blocked "))
	}
	if b := (Rule{}).checkHost(h); b != nil {
		return refuse(RuleRedirect, "the answer redirects to a host that is none of the public ones")
	}
	return nil
}

// stripLoose removes what the WHATWG URL parser and the usual trim functions
// remove: white space and control characters around, tab and newline anywhere.
func stripLoose(s string) string {
	return dropInside.Replace(strings.TrimFunc(s, text.Invisible))
}

var dropInside = strings.NewReplacer("\t", "", "\n", "", "\r", "")

// startsWithSlashes reports a protocol-relative reference; browsers read a
// backslash as a slash.
func startsWithSlashes(s string) bool {
	return len(s) >= 2 && (s[0] == '/' || s[0] == '\\') && (s[1] == '/' || s[1] == '\\')
}

// checkText refuses what no URL may hold. Parsers disagree about what it means:
// a backslash is a slash to a browser, a tab is dropped, a space ends the URL.
func checkText(s string) *guards.Block {
	odd := func(c rune) bool {
		return c == '\\' || c == utf8.RuneError || unicode.IsSpace(c) || unicode.IsControl(c)
	}
	switch {
	case s == "":
		return refuse(RuleNotURL, "not an absolute URL")
	case len(s) > maxURL:
		return refuse(RuleNotURL, "URL is longer than "+strconv.Itoa(maxURL)+" bytes")
	case strings.ContainsFunc(s, odd):
		return refuse(RuleNotURL, "URL contains a space, backslash or control character")
	}
	return nil
}

// parts are the pieces of a URL before they are judged.
type parts struct {
	scheme   string // lower case, without colon; empty if there is none
	slashes  int    // how many slashes stand before the authority
	userinfo bool
	host     string // with brackets, as written
	port     string // without colon
	hasPort  bool
}

// split cuts s into parts. It takes any number of slashes, since WHATWG parsers
// do (http:127.0.0.1, https:///127.0.0.1): the host has to be found before it
// can be judged.
func split(s string) parts {
	var p parts
	if i := schemeEnd(s); i > 0 {
		p.scheme, s = strings.ToLower(s[:i]), s[i+1:]
	}
	authority := strings.TrimLeft(s, "/")
	p.slashes = len(s) - len(authority)
	if p.opaque() {
		return p
	}
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority = authority[:i]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		p.userinfo, authority = true, authority[i+1:]
	}
	p.host, p.port, p.hasPort = cutPort(authority)
	return p
}

// opaque reports a URL that has no host in any reading: javascript:alert(1),
// tel:5551234. The schemes that WHATWG parsers know have one without slashes
// too.
func (p parts) opaque() bool {
	switch p.scheme {
	case "", "http", "https", "ws", "wss", "ftp":
		return false
	}
	return p.slashes < 2
}

// schemeEnd returns the index of the colon behind the scheme (RFC 3986, section
// 3.1), or -1.
func schemeEnd(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return i
		default:
			return -1
		}
	}
	return -1
}

func cutPort(authority string) (host, port string, hasPort bool) {
	literal := 0 // where a colon cannot belong to [::1] any more
	if strings.HasPrefix(authority, "[") {
		literal = strings.LastIndexByte(authority, ']')
	}
	i := strings.LastIndexByte(authority, ':')
	if literal < 0 || i < literal {
		return authority, "", false
	}
	return authority[:i], authority[i+1:], true
}

// check judges what stands around the host.
func (p parts) check(except guards.Except) *guards.Block {
	switch {
	case p.scheme == "" && !except.Has(RuleNotURL):
		return refuse(RuleNotURL, "not an absolute URL")
	case p.scheme != "https" && p.scheme != "" && !except.Has(RuleScheme):
		return refuse(RuleScheme, "only https URLs are allowed")
	case p.slashes != 2 && !except.Has(RuleNotURL):
		return refuse(RuleNotURL, "not an absolute URL")
	case p.userinfo && !except.Has(RuleUserinfo):
		return refuse(RuleUserinfo, "URL must not contain user information")
	}
	return nil
}

// port returns the port that p asks for if r allows it.
func (r Rule) port(p parts) (uint16, *guards.Block) {
	n := 443
	switch {
	case p.hasPort:
		n = parsePort(p.port)
	case p.scheme == "http": // let be by an exception
		n = 80
	}
	switch {
	case len(r.Ports) == 0 && n == 443, slices.Contains(r.Ports, n), r.Except.Has(RulePort):
		return uint16(n), nil
	case n == 0:
		return 0, refuse(RulePort, "malformed port")
	}
	return 0, refuse(RulePort, "port "+strconv.Itoa(n)+" is not allowed")
}

// parsePort returns 0 for anything but a port written in its shortest form.
func parsePort(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0
	}
	return int(n)
}

// checkHost judges a host that is no reserved address.
func (r Rule) checkHost(h host) *guards.Block {
	switch {
	case !h.canonical && !r.Except.Has(RuleHostForm):
		return refuse(RuleHostForm, "host is not in canonical form")
	case !h.addr.IsValid() && isInternal(h.name) && !r.Except.Has(RuleInternal):
		return refuse(RuleInternal, "internal host name")
	case len(r.Hosts) > 0 && !slices.ContainsFunc(r.Hosts, h.matches) && !r.Except.Has(RuleNotAllowed):
		return refuse(RuleNotAllowed, "host is not on the allow-list")
	}
	return nil
}
