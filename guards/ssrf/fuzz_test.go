package ssrf_test

import (
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/ssrf"
)

// reservedNets is written down apart from the guard's table.
var reservedNets = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "2002::/16",
	"fc00::/7", "fe80::/10", "ff00::/8",
}

func isReserved(a netip.Addr) bool {
	a = a.WithZone("")
	for _, n := range reservedNets {
		if p := netip.MustParsePrefix(n); p.Contains(a) || p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// atonBytes is an independent reading of the address forms that the C library
// accepts: it fills four bytes from the right with the last number.
func atonBytes(host string) (netip.Addr, bool) {
	fields := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(fields) > 4 {
		return netip.Addr{}, false
	}
	var out [4]byte
	for i, f := range fields {
		if strings.ContainsAny(f, "_+-") { // ParseInt knows more than C does
			return netip.Addr{}, false
		}
		if len(f) > 1 && f[0] == '0' && strings.Trim(f, "01234567") == "" {
			f = "0o" + f[1:]
		}
		n, err := strconv.ParseInt(f, 0, 64)
		if err != nil {
			return netip.Addr{}, false
		}
		if i < len(fields)-1 {
			if n > 255 {
				return netip.Addr{}, false
			}
			out[i] = byte(n)
			continue
		}
		for at := 3; at >= i; at-- {
			out[at] = byte(n)
			n >>= 8
		}
		if n != 0 {
			return netip.Addr{}, false
		}
	}
	return netip.AddrFrom4(out), true
}

func TestReserved(t *testing.T) {
	for _, n := range reservedNets {
		p := netip.MustParsePrefix(n)
		if !ssrf.Reserved(p.Addr()) {
			t.Errorf("%s: first address is not reserved", n)
		}
		if p.Addr().Is4() && !ssrf.Reserved(netip.AddrFrom16(p.Addr().As16())) {
			t.Errorf("%s: mapped first address is not reserved", n)
		}
	}
	for _, a := range []string{"1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "223.255.255.255", "2606:4700:4700::1111", "2a00::1"} {
		if ssrf.Reserved(netip.MustParseAddr(a)) {
			t.Errorf("%s is reserved", a)
		}
	}
	if !ssrf.Reserved(netip.Addr{}) {
		t.Error("the zero address is not reserved")
	}
	if !ssrf.Reserved(netip.MustParseAddr("2606:4700:4700::1111%eth0")) {
		t.Error("a zoned address is not reserved")
	}
}

// FuzzCheck: whatever passes while every name resolves to a public address has
// no host that another reader would take for a reserved address, and connects
// to what net/url sees.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"https://example.com/", "https://8.8.8.8/", "https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/",
		"https://0177.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]:443/", "https://１２７.1/", "https://127.0.0.1./",
		"https://a@10.0.0.1/", `https://example.com\@10.0.0.1`, "https:10.0.0.1", "https://%31%32%37.0.0.1", "https://xn--127-.1",
		"https://münchen.de/", "https://[2606:4700:4700::1111%25eth0]/", "//10.0.0.1", "https://1.2.3.4:443@10.1", "https://localhost",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if b := ssrf.Check(context.Background(), public, raw, ssrf.Rule{}); b != nil {
			if b.Rule == "" || !strings.HasPrefix(b.Public, "blocked by SSRF guard: ") {
				t.Fatalf("%q: %+v", raw, b)
			}
			return
		}
		target, _ := ssrf.Examine(raw, ssrf.Rule{})
		// A browser drops tab and newline and reads a backslash as a slash.
		lenient := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimSpace(raw))
		for _, reading := range []string{raw, lenient} {
			u, err := url.Parse(reading)
			if err != nil {
				continue // a path that net/url dislikes; its host is never used
			}
			if u.User != nil || u.Port() != "" && u.Port() != "443" || u.Scheme != "https" {
				t.Fatalf("%q passed as %v", raw, u)
			}
			host := strings.ToLower(u.Hostname())
			if a, err := netip.ParseAddr(host); err == nil && isReserved(a) {
				t.Fatalf("%q passed with host %q", raw, host)
			}
			if a, ok := atonBytes(host); ok && (isReserved(a) || a.String() != host) {
				t.Fatalf("%q passed with host %q, which is %s", raw, host, a)
			}
			if !strings.Contains(host, ".") && !strings.Contains(host, ":") {
				t.Fatalf("%q passed with the single label %q", raw, host)
			}
			if isPlain(host) && host != target.Host {
				t.Fatalf("%q: net/url sees %q, the guard %q", raw, host, target.Host)
			}
		}
	})
}

func isPlain(host string) bool {
	return strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

// FuzzInspectUnbound: a value that nobody bound and that passes is not a URL in a
// lenient reader's eyes, or one that the strict check lets pass.
func FuzzInspectUnbound(f *testing.F) {
	for _, s := range []string{
		"users", "/docs/intro", "//10.0.0.1", `\\10.0.0.1`, " http://10.0.0.1", "ht\ttp://10.0.0.1", "10.0.0.1:80", "[::1]", "https://example.com/",
	} {
		f.Add(s)
	}
	g := ssrf.New(public, nil)
	f.Fuzz(func(t *testing.T, value string) {
		call := guards.Call{Tool: unknown, Args: []guards.Arg{arg("url", value)}}
		if g.Inspect(context.Background(), &call).Block != nil {
			return
		}
		lenient := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimSpace(value))
		u, err := url.Parse(lenient)
		if err != nil || u.Host == "" {
			return
		}
		if b := ssrf.Check(context.Background(), public, value, ssrf.Rule{}); b != nil {
			t.Fatalf("%q passed unbound, although it is a URL: %s", value, b.Public)
		}
	})
}
