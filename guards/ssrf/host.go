package ssrf

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// host is a URL's host after it was read.
type host struct {
	name      string     // lower-case ASCII, without brackets
	addr      netip.Addr // what it means if any parser would take it for an address
	canonical bool       // written in the one form that every parser reads alike
}

// matches reports whether pattern, an entry of [Rule.Hosts], covers h.
func (h host) matches(pattern string) bool {
	if parent, ok := strings.CutPrefix(pattern, "*."); ok {
		return !h.addr.IsValid() && strings.HasSuffix(h.name, "."+readHost(parent).name)
	}
	return h.name == readHost(pattern).name
}

// readHost reads s as the most lenient client would, and notes whether a strict
// one would read the same.
func readHost(s string) host {
	switch {
	case strings.HasPrefix(s, "["):
		return readBracketed(s)
	case strings.Contains(s, "%"):
		return readEscaped(s)
	}
	name, canonical := toASCII(s)
	if strings.HasSuffix(name, ".") { // the DNS root: "10.0.0.5." is still 10.0.0.5 to libc
		name, canonical = name[:len(name)-1], false
	}
	if endsInNumber(name) {
		addr, ok := readIPv4(name)
		return host{name, addr, canonical && ok && addr.String() == s}
	}
	return host{name, netip.Addr{}, canonical && isHostName(name)}
}

// readBracketed reads "[…]". A zone names an interface of this machine and is
// never part of a public URL.
func readBracketed(s string) host {
	inner, closed := strings.CutSuffix(s[1:], "]")
	text, _, zoned := strings.Cut(inner, "%")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return host{name: inner}
	}
	return host{addr.String(), addr, closed && !zoned && addr.Is6()}
}

// readEscaped reads a percent-encoded host, which some clients decode and
// others look up as it is.
func readEscaped(s string) host {
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return host{name: s}
	}
	h := readHost(decoded) // each round is shorter, so this ends
	h.canonical = false
	return h
}

// lookup2008 maps a name as browsers do (UTS 46, non-transitional). Which ASCII
// characters a name may hold is left to isHostName, since the profile's strict
// rules would refuse the underscore.
var lookup2008 = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
	idna.BidiRule(),
)

// toASCII returns the ASCII form of a host. canonical is false if the mapping
// changed more than the case: full-width and circled letters and ideographic
// dots are read differently by clients with and without it.
func toASCII(s string) (ascii string, canonical bool) {
	lower := strings.ToLower(s)
	if isASCII(s) && !strings.Contains(lower, "xn--") {
		return lower, true
	}
	ascii, err := lookup2008.ToASCII(s)
	if err != nil {
		return strings.ToLower(norm.NFKC.String(s)), false
	}
	if isASCII(s) {
		return ascii, ascii == lower
	}
	shown, err := lookup2008.ToUnicode(ascii)
	return ascii, err == nil && shown == norm.NFC.String(lower)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 })
}

// isHostName checks the length and letters of an ASCII name (RFC 1123, section
// 2.1, and the underscore, which real names have). Every top-level domain starts
// with a letter; what does not is a number to somebody (0b1, 0o177).
func isHostName(name string) bool {
	top := name[strings.LastIndexByte(name, '.')+1:]
	if len(name) > 253 || top == "" || top[0] < 'a' || top[0] > 'z' {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, notHostRune) {
			return false
		}
	}
	return true
}

func notHostRune(c rune) bool {
	return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_')
}

// localNames are names of this machine and of its cloud's metadata service.
var localNames = []string{"localhost", "metadata.google.internal"}

// internalSuffixes are never public: special-use names (RFC 6761, 6762, 8375,
// 9476), ICANN's "internal", and suffixes that private networks use because no
// registry sells them.
var internalSuffixes = []string{
	"localhost", "local", "internal", "home.arpa", "localdomain", "lan",
	"home", "corp", "intranet", "private", "svc", "alt", "test", "invalid",
}

func isLocal(name string) bool {
	for _, n := range localNames {
		if name == n || strings.HasSuffix(name, "."+n) {
			return true
		}
	}
	return false
}

// isInternal reports names that only a private resolver answers. A single label
// (metadata, kubernetes, foo) is completed by the upstream's search list.
func isInternal(name string) bool {
	if !strings.Contains(name, ".") {
		return true
	}
	for _, s := range internalSuffixes {
		if name == s || strings.HasSuffix(name, "."+s) {
			return true
		}
	}
	return false
}
