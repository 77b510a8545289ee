package ssrf_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"mcp-sidecar/guards/ssrf"
)

// lookupFunc is a resolver made of a function.
type lookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (f lookupFunc) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return f(ctx, network, host)
}

// public answers every name with one public address.
var public = lookupFunc(func(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
})

// noDNS fails the test when asked: a row that it serves must be decided before.
func noDNS(t *testing.T) ssrf.Resolver {
	return lookupFunc(func(_ context.Context, _, host string) ([]netip.Addr, error) {
		t.Errorf("the DNS was asked for %q", host)
		return nil, errors.New("not to be asked")
	})
}

func ExampleCheck() {
	dns := ssrf.NewStatic(map[string][]netip.Addr{
		"example.com":         {netip.MustParseAddr("93.184.215.14")},
		"rebind.attacker.net": {netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("127.0.0.1")},
	}, nil)
	for _, u := range []string{
		"https://example.com/policy.txt",
		"http://169.254.169.254/latest/meta-data/",
		"https://0x7f.1/",
		"https://rebind.attacker.net/",
	} {
		if b := ssrf.Check(context.Background(), dns, u, ssrf.Rule{}); b != nil {
			fmt.Println(b.Public)
			continue
		}
		fmt.Println("allowed")
	}
	// Output:
	// allowed
	// blocked by SSRF guard: blocked internal/reserved address 169.254.169.254
	// blocked by SSRF guard: blocked internal/reserved address 127.0.0.1
	// blocked by SSRF guard: blocked internal/reserved address 127.0.0.1 (resolved from "rebind.attacker.net")
}

func TestExamineRefuses(t *testing.T) {
	const (
		reserved = "blocked internal/reserved address "
		scheme   = "only https URLs are allowed"
		form     = "host is not in canonical form"
		internal = "internal host name"
		notURL   = "not an absolute URL"
		odd      = "URL contains a space, backslash or control character"
		userinfo = "URL must not contain user information"
		badPort  = "malformed port"
	)
	tests := []struct {
		name   string
		url    string
		rule   string
		reason string
	}{
		// Literal addresses come before everything else.
		{"cloud metadata", "http://169.254.169.254/latest/meta-data/", ssrf.RuleReserved, reserved + "169.254.169.254"},
		{"private network", "http://192.168.1.1/", ssrf.RuleReserved, reserved + "192.168.1.1"},
		{"loopback with port", "https://127.0.0.1:8443/admin", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"any address", "https://0.0.0.0/", ssrf.RuleReserved, reserved + "0.0.0.0"},
		{"shared address space", "https://100.100.100.200/", ssrf.RuleReserved, reserved + "100.100.100.200"},
		{"documentation", "https://203.0.113.7/", ssrf.RuleReserved, reserved + "203.0.113.7"},
		{"multicast", "https://224.0.0.1/", ssrf.RuleReserved, reserved + "224.0.0.1"},
		{"broadcast", "https://255.255.255.255/", ssrf.RuleReserved, reserved + "255.255.255.255"},
		{"Azure wire server", "https://168.63.129.16/", ssrf.RuleReserved, reserved + "168.63.129.16"},
		{"other scheme", "gopher://10.0.0.1:6379/_INFO", ssrf.RuleReserved, reserved + "10.0.0.1"},
		{"behind user information", "https://example.com@10.0.0.1/", ssrf.RuleReserved, reserved + "10.0.0.1"},
		{"behind encoded user information", "https://example.com%20@10.0.0.1/", ssrf.RuleReserved, reserved + "10.0.0.1"},
		{"two at signs", "https://a@example.com@10.0.0.1/", ssrf.RuleReserved, reserved + "10.0.0.1"},
		{"protocol-relative", "//169.254.169.254/latest", ssrf.RuleReserved, reserved + "169.254.169.254"},
		{"one slash", "https:/10.0.0.1/", ssrf.RuleReserved, reserved + "10.0.0.1"},
		{"no slash", "http:127.0.0.1/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"three slashes", "https:///127.0.0.1/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"query right behind", "https://10.0.0.1?x", ssrf.RuleReserved, reserved + "10.0.0.1"},
		{"fragment right behind", "https://10.0.0.1#x", ssrf.RuleReserved, reserved + "10.0.0.1"},

		// The same address in other spellings.
		{"decimal", "https://2130706433/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"hexadecimal", "https://0x7f000001/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"capital hexadecimal", "https://0X7F000001/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"octal", "https://017700000001/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"dotted hexadecimal", "https://0xa9.0xfe.0xa9.0xfe/", ssrf.RuleReserved, reserved + "169.254.169.254"},
		{"dotted octal", "https://0251.0376.0251.0376/", ssrf.RuleReserved, reserved + "169.254.169.254"},
		{"padded octal", "https://0000000177.0.0.01/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"mixed bases", "https://0xa.0.00.5/", ssrf.RuleReserved, reserved + "10.0.0.5"},
		{"two parts", "https://127.1/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"three parts", "https://169.254.43518/", ssrf.RuleReserved, reserved + "169.254.169.254"},
		{"zero", "https://0/", ssrf.RuleReserved, reserved + "0.0.0.0"},
		{"bare hexadecimal prefix", "https://0x/", ssrf.RuleReserved, reserved + "0.0.0.0"},
		{"trailing dot", "https://10.0.0.5./", ssrf.RuleReserved, reserved + "10.0.0.5"},
		{"full-width", "https://１２７。０。０。１/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"circled", "https://①②⑦.⓪.⓪.①/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"zero-width space", "https://127.0.0\u200b.1/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"percent-encoded", "https://%31%32%37%2e0.0.1/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"encoded twice", "https://%2531%2532%2537.0.0.1/", ssrf.RuleReserved, reserved + "127.0.0.1"},

		// IPv6, and IPv4 inside it.
		{"IPv6 loopback", "https://[::1]/", ssrf.RuleReserved, reserved + "::1"},
		{"IPv6 unspecified", "https://[::]:443/", ssrf.RuleReserved, reserved + "::"},
		{"IPv6 long form", "https://[0:0:0:0:0:0:0:1]/", ssrf.RuleReserved, reserved + "::1"},
		{"unique local", "https://[fd00:ec2::254]/", ssrf.RuleReserved, reserved + "fd00:ec2::254"},
		{"link local", "https://[fe80::1]/", ssrf.RuleReserved, reserved + "fe80::1"},
		{"zone", "https://[fe80::1%25eth0]/", ssrf.RuleReserved, reserved + "fe80::1"},
		{"zone on a public address", "https://[2606:4700:4700::1111%25eth0]/", ssrf.RuleHostForm, form},
		{"IPv6 multicast", "https://[ff02::1]/", ssrf.RuleReserved, reserved + "ff02::1"},
		{"IPv6 documentation", "https://[2001:db8::1]/", ssrf.RuleReserved, reserved + "2001:db8::1"},
		{"IPv4-mapped", "https://[::ffff:10.0.0.5]/", ssrf.RuleReserved, reserved + "::ffff:10.0.0.5"},
		{"IPv4-mapped in hexadecimal", "https://[::ffff:a9fe:a9fe]/", ssrf.RuleReserved, reserved + "::ffff:169.254.169.254"},
		{"IPv4-compatible", "https://[::127.0.0.1]/", ssrf.RuleReserved, reserved + "::7f00:1"},
		{"NAT64", "https://[64:ff9b::a00:5]/", ssrf.RuleReserved, reserved + "64:ff9b::a00:5"},
		{"local NAT64", "https://[64:ff9b:1::a00:5]/", ssrf.RuleReserved, reserved + "64:ff9b:1::a00:5"},
		{"6to4", "https://[2002:7f00:1::]/", ssrf.RuleReserved, reserved + "2002:7f00:1::"},
		{"Teredo", "https://[2001:0:7f00:1::80ff:fffe]/", ssrf.RuleReserved, reserved + "2001:0:7f00:1::80ff:fffe"},
		{"IPv4 in brackets", "https://[127.0.0.1]/", ssrf.RuleReserved, reserved + "127.0.0.1"},
		{"public IPv4 in brackets", "https://[8.8.8.8]/", ssrf.RuleHostForm, form},
		{"empty brackets", "https://[]/", ssrf.RuleHostForm, form},
		{"open bracket", "https://[2606:4700:4700::1111/", ssrf.RuleHostForm, form},
		{"text behind the bracket", "https://[2606:4700:4700::1111]x/", ssrf.RuleHostForm, form},
		{"future address", "https://[v1.x]/", ssrf.RuleHostForm, form},
		{"no brackets", "https://2606:4700:4700::1111/", ssrf.RulePort, "port 1111 is not allowed"},

		// Numeric hosts that are no address, or a public one in another spelling.
		{"public decimal", "https://134744072/", ssrf.RuleHostForm, form},
		{"public octal", "https://010.8.8.8/", ssrf.RuleHostForm, form},
		{"public with trailing dot", "https://8.8.8.8./", ssrf.RuleHostForm, form},
		{"public full-width", "https://８.8.8.8/", ssrf.RuleHostForm, form},
		{"out of range", "https://256.0.0.1/", ssrf.RuleHostForm, form},
		{"wraps around", "https://425.510.425.510/", ssrf.RuleHostForm, form},
		{"too large", "https://0x41414141a9fea9fe/", ssrf.RuleHostForm, form},
		{"five parts", "https://127.0.0.0.1/", ssrf.RuleHostForm, form},
		{"letter in front", "https://o177.0.0.1/", ssrf.RuleHostForm, form},
		{"bad octal", "https://08.8.8.8/", ssrf.RuleHostForm, form},
		{"binary", "https://0.0B0/", ssrf.RuleHostForm, form},
		{"empty part", "https://127..1/", ssrf.RuleHostForm, form},
		{"two trailing dots", "https://127.0.0.1../", ssrf.RuleHostForm, form},

		// Scheme, shape, user information, port.
		{"http", "http://example.com/a", ssrf.RuleScheme, scheme},
		{"ftp", "ftp://example.com/f", ssrf.RuleScheme, scheme},
		{"file", "file:///etc/passwd", ssrf.RuleScheme, scheme},
		{"javascript", "javascript:alert(1)", ssrf.RuleScheme, scheme},
		{"data", "data:text/html,hi", ssrf.RuleScheme, scheme},
		{"nested scheme", "jar:https://127.0.0.1!/", ssrf.RuleScheme, scheme},
		{"host and port", "localhost:8080/x", ssrf.RuleScheme, scheme},
		{"empty", "", ssrf.RuleNotURL, notURL},
		{"word", "policy", ssrf.RuleNotURL, notURL},
		{"path", "/etc/passwd", ssrf.RuleNotURL, notURL},
		{"no scheme", "example.com/x", ssrf.RuleNotURL, notURL},
		{"colon in front", "://example.com/", ssrf.RuleNotURL, notURL},
		{"protocol-relative name", "//example.com/", ssrf.RuleNotURL, notURL},
		{"https without slashes", "https:example.com", ssrf.RuleNotURL, notURL},
		{"https with three slashes", "https:///example.com/", ssrf.RuleNotURL, notURL},
		{"nothing behind the slashes", "https://", ssrf.RuleHostForm, form},
		{"only a port", "https://:443/", ssrf.RuleHostForm, form},
		{"user", "https://user@example.com/", ssrf.RuleUserinfo, userinfo},
		{"empty user", "https://@example.com/", ssrf.RuleUserinfo, userinfo},
		{"user and password", "https://user:pw@example.com/", ssrf.RuleUserinfo, userinfo},
		{"port 22", "https://example.com:22/", ssrf.RulePort, "port 22 is not allowed"},
		{"port 80", "https://example.com:80/", ssrf.RulePort, "port 80 is not allowed"},
		{"port 0", "https://example.com:0/", ssrf.RulePort, badPort},
		{"port too large", "https://example.com:65979/", ssrf.RulePort, badPort}, // 65979 - 65536 = 443
		{"padded port", "https://example.com:0443/", ssrf.RulePort, badPort},
		{"signed port", "https://example.com:+443/", ssrf.RulePort, badPort},
		{"empty port", "https://example.com:/", ssrf.RulePort, badPort},
		{"full-width port", "https://example.com:４４３/", ssrf.RulePort, badPort},
		{"two ports", "https://example.com:443:443/", ssrf.RuleHostForm, form},
		{"tab inside", "https://exa\tmple.com/", ssrf.RuleNotURL, odd},
		{"newline at the end", "https://example.com/\n", ssrf.RuleNotURL, odd},
		{"space in front", " https://example.com/", ssrf.RuleNotURL, odd},
		{"NUL", "https://example.com\x00.attacker.net/", ssrf.RuleNotURL, odd},
		{"header injection", "https://example.com/\r\nHost: x", ssrf.RuleNotURL, odd},
		{"backslash", `https://example.com\@10.0.0.1/`, ssrf.RuleNotURL, odd},
		{"backslash in the fragment", `https://10.0.0.1#\@example.com/`, ssrf.RuleNotURL, odd},
		{"no-break space", "https://example.com/\u00a0", ssrf.RuleNotURL, odd},
		{"invalid UTF-8", "https://example.com/\xff", ssrf.RuleNotURL, odd},
		{"too long", "https://example.com/" + strings.Repeat("a", 2048-19), ssrf.RuleNotURL, "URL is longer than 2048 bytes"},

		// Names.
		{"localhost", "https://localhost/", ssrf.RuleInternal, internal},
		{"localhost in capitals", "https://LOCALHOST/", ssrf.RuleInternal, internal},
		{"below localhost", "https://a.localhost/", ssrf.RuleInternal, internal},
		{"localhost with dot", "https://localhost./", ssrf.RuleHostForm, form},
		{"multicast DNS", "https://printer.local/", ssrf.RuleInternal, internal},
		{"Google metadata", "https://metadata.google.internal/computeMetadata/v1/", ssrf.RuleInternal, internal},
		{"home network", "https://router.home.arpa/", ssrf.RuleInternal, internal},
		{"single label", "https://instance-data/", ssrf.RuleInternal, internal},
		{"cluster service", "https://kubernetes.default.svc/", ssrf.RuleInternal, internal},
		{"cluster service in full", "https://db.default.svc.cluster.local/", ssrf.RuleInternal, internal},
		{"fully qualified", "https://example.com./", ssrf.RuleHostForm, form},
		{"encoded name", "https://ex%61mple.com/", ssrf.RuleHostForm, form},
		{"broken encoding", "https://ex%zzmple.com/", ssrf.RuleHostForm, form},
		{"circled name", "https://ⓔⓧⓐⓜⓟⓛⓔ.ⓒⓞⓜ/", ssrf.RuleHostForm, form},
		{"full-width name", "https://ｅｘample.com/", ssrf.RuleHostForm, form},
		{"ideographic dot", "https://example。com/", ssrf.RuleHostForm, form},
		{"soft hyphen", "https://exa\u00admple.com/", ssrf.RuleHostForm, form},
		{"slash by normalisation", "https://example.com℀.attacker.net/", ssrf.RuleHostForm, form},
		{"template", "https://${HOST}/", ssrf.RuleHostForm, form},
		{"empty label", "https://example..com/", ssrf.RuleHostForm, form},
		{"leading dot", "https://.example.com/", ssrf.RuleHostForm, form},
		{"leading hyphen", "https://-x.example.com/", ssrf.RuleHostForm, form},
		{"long label", "https://" + strings.Repeat("a", 64) + ".com/", ssrf.RuleHostForm, form},
		{"long name", "https://" + strings.Repeat("a.", 126) + "com/", ssrf.RuleHostForm, form},
		{"broken punycode", "https://xn--a-ecp.ru/", ssrf.RuleHostForm, form},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := ssrf.Check(t.Context(), noDNS(t), tt.url, ssrf.Rule{})
			if b == nil {
				t.Fatal("passed")
			}
			if want := "blocked by SSRF guard: " + tt.reason; b.Rule != tt.rule || b.Public != want {
				t.Errorf("got  %s: %s\nwant %s: %s", b.Rule, b.Public, tt.rule, want)
			}
		})
	}
}

func TestExamineAllows(t *testing.T) {
	tests := []struct {
		name string
		url  string
		rule ssrf.Rule
		want ssrf.Target
	}{
		{"plain", "https://example.com/policy.txt", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"no path", "https://example.com", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"capitals", "HTTPS://Example.COM/", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"port 443", "https://example.com:443/", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"query only", "https://example.com?x=1", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"address in the fragment", "https://example.com/#@169.254.169.254", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"address in the query", "https://example.com/?u=http://10.0.0.1/", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"at sign in the path", "https://example.com/@user", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"escapes in the path", "https://example.com/a%20b%2Fc", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"letters in the path", "https://example.com/überblick", ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"numeric label", "https://10.example.com/", ssrf.Rule{}, ssrf.Target{Host: "10.example.com", Port: 443}},
		{"underscore", "https://my_bucket.example.com/", ssrf.Rule{}, ssrf.Target{Host: "my_bucket.example.com", Port: 443}},
		{"hyphens", "https://r3---sn-x.example.com/", ssrf.Rule{}, ssrf.Target{Host: "r3---sn-x.example.com", Port: 443}},
		{"local inside a name", "https://local.example.com/", ssrf.Rule{}, ssrf.Target{Host: "local.example.com", Port: 443}},
		{"international", "https://münchen.de/", ssrf.Rule{}, ssrf.Target{Host: "xn--mnchen-3ya.de", Port: 443}},
		{"international in capitals", "https://MÜNCHEN.de/", ssrf.Rule{}, ssrf.Target{Host: "xn--mnchen-3ya.de", Port: 443}},
		{"decomposed letters", "https://mu\u0308nchen.de/", ssrf.Rule{}, ssrf.Target{Host: "xn--mnchen-3ya.de", Port: 443}},
		{"sharp s", "https://straße.de/", ssrf.Rule{}, ssrf.Target{Host: "xn--strae-oqa.de", Port: 443}},
		{"Japanese", "https://例え.jp/", ssrf.Rule{}, ssrf.Target{Host: "xn--r8jz45g.jp", Port: 443}},
		{"punycode", "https://xn--bcher-kva.example.com/", ssrf.Rule{}, ssrf.Target{Host: "xn--bcher-kva.example.com", Port: 443}},
		{"public IPv4", "https://8.8.8.8/", ssrf.Rule{}, ssrf.Target{Host: "8.8.8.8", Addr: netip.MustParseAddr("8.8.8.8"), Port: 443}},
		{"beside shared space", "https://100.63.0.1/", ssrf.Rule{}, ssrf.Target{Host: "100.63.0.1", Addr: netip.MustParseAddr("100.63.0.1"), Port: 443}},
		{"public IPv6", "https://[2606:4700:4700::1111]/", ssrf.Rule{}, ssrf.Target{Host: "2606:4700:4700::1111", Addr: netip.MustParseAddr("2606:4700:4700::1111"), Port: 443}},
		{"longest", "https://example.com/" + strings.Repeat("a", 2048-20), ssrf.Rule{}, ssrf.Target{Host: "example.com", Port: 443}},
		{"allowed port", "https://example.com:8443/", ssrf.Rule{Ports: []int{443, 8443}}, ssrf.Target{Host: "example.com", Port: 8443}},
		{"allowed host", "https://Example.com/", ssrf.Rule{Hosts: []string{"other.org", "EXAMPLE.com"}}, ssrf.Target{Host: "example.com", Port: 443}},
		{"allowed below", "https://a.b.example.com/", ssrf.Rule{Hosts: []string{"*.example.com"}}, ssrf.Target{Host: "a.b.example.com", Port: 443}},
		{"allowed international host", "https://münchen.de/", ssrf.Rule{Hosts: []string{"MÜNCHEN.de"}}, ssrf.Target{Host: "xn--mnchen-3ya.de", Port: 443}},
		{"allowed address", "https://8.8.8.8/", ssrf.Rule{Hosts: []string{"8.8.8.8"}}, ssrf.Target{Host: "8.8.8.8", Addr: netip.MustParseAddr("8.8.8.8"), Port: 443}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, b := ssrf.Examine(tt.url, tt.rule)
			if b != nil {
				t.Fatal(b.Public)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if b := ssrf.Check(t.Context(), public, tt.url, tt.rule); b != nil {
				t.Errorf("with DNS: %s", b.Public)
			}
		})
	}
}

func TestRule(t *testing.T) {
	tests := []struct {
		name string
		url  string
		rule ssrf.Rule
		want string
	}{
		{"host not listed", "https://example.org/", ssrf.Rule{Hosts: []string{"example.com"}}, ssrf.RuleNotAllowed},
		{"parent of a wildcard", "https://example.com/", ssrf.Rule{Hosts: []string{"*.example.com"}}, ssrf.RuleNotAllowed},
		{"suffix without a dot", "https://notexample.com/", ssrf.Rule{Hosts: []string{"*.example.com"}}, ssrf.RuleNotAllowed},
		{"name in front", "https://example.com.attacker.net/", ssrf.Rule{Hosts: []string{"example.com"}}, ssrf.RuleNotAllowed},
		{"name below", "https://a.example.com/", ssrf.Rule{Hosts: []string{"example.com"}}, ssrf.RuleNotAllowed},
		{"address not listed", "https://8.8.8.8/", ssrf.Rule{Hosts: []string{"example.com"}}, ssrf.RuleNotAllowed},
		{"empty entry", "https://example.com/", ssrf.Rule{Hosts: []string{""}}, ssrf.RuleNotAllowed},
		{"default port not listed", "https://example.com/", ssrf.Rule{Ports: []int{8443}}, ssrf.RulePort},
		{"port not listed", "https://example.com:8080/", ssrf.Rule{Ports: []int{443, 8443}}, ssrf.RulePort},
		{"listed address stays reserved", "https://10.0.0.1/", ssrf.Rule{Hosts: []string{"10.0.0.1"}}, ssrf.RuleReserved},
		{"listed name stays internal", "https://wiki.corp/", ssrf.Rule{Hosts: []string{"wiki.corp"}}, ssrf.RuleInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := ssrf.Check(t.Context(), noDNS(t), tt.url, tt.rule)
			if b == nil || b.Rule != tt.want {
				t.Errorf("got %+v, want %s", b, tt.want)
			}
		})
	}
}
