package ssrf_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/guards/ssrf"
)

func ExampleStatic() {
	dns := ssrf.NewStatic(map[string][]netip.Addr{
		"Example.com": {netip.MustParseAddr("93.184.215.14")},
	}, nil)
	addrs, err := dns.LookupNetIP(context.Background(), "ip", "example.com.")
	fmt.Println(addrs, err)
	_, err = dns.LookupNetIP(context.Background(), "ip", "example.org")
	fmt.Println(err)
	// Output:
	// [93.184.215.14] <nil>
	// lookup example.org: no such host
}

func answer(addrs ...string) ssrf.Resolver {
	return lookupFunc(func(context.Context, string, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	})
}

func TestCheckResolves(t *testing.T) {
	const reserved = "blocked by SSRF guard: blocked internal/reserved address "
	const unresolved = "blocked by SSRF guard: host does not resolve"
	failing := lookupFunc(func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, errors.New("server failure at ns1.corp")
	})
	tests := []struct {
		name   string
		dns    ssrf.Resolver
		rule   string
		public string
	}{
		{"public", answer("93.184.215.14"), "", ""},
		{"public IPv6", answer("2606:4700:4700::1111"), "", ""},
		{"several public", answer("93.184.215.14", "8.8.8.8", "2606:4700:4700::1111"), "", ""},
		{"mapped public", answer("::ffff:93.184.215.14"), "", ""},
		{"loopback", answer("127.0.0.1"), ssrf.RuleReserved, reserved + `127.0.0.1 (resolved from "a.example.com")`},
		{"mapped loopback", answer("::ffff:127.0.0.1"), ssrf.RuleReserved, reserved + `127.0.0.1 (resolved from "a.example.com")`},
		{"IPv6 loopback", answer("::1"), ssrf.RuleReserved, reserved + `::1 (resolved from "a.example.com")`},
		{"metadata", answer("169.254.169.254"), ssrf.RuleReserved, reserved + `169.254.169.254 (resolved from "a.example.com")`},
		{"NAT64", answer("64:ff9b::7f00:1"), ssrf.RuleReserved, reserved + `64:ff9b::7f00:1 (resolved from "a.example.com")`},
		{"zone", answer("fe80::1%eth0"), ssrf.RuleReserved, reserved + `fe80::1%eth0 (resolved from "a.example.com")`},
		{"last of several", answer("93.184.215.14", "2606:4700:4700::1111", "10.0.0.1"), ssrf.RuleReserved, reserved + `10.0.0.1 (resolved from "a.example.com")`},
		{"documentation", answer("192.0.2.1"), ssrf.RuleReserved, reserved + `192.0.2.1 (resolved from "a.example.com")`},
		{"no answer", answer(), ssrf.RuleUnresolved, unresolved},
		{"error beside an answer", failing, ssrf.RuleUnresolved, unresolved},
		{"no resolver", nil, ssrf.RuleUnresolved, unresolved},
		{"unknown static name", ssrf.NewStatic(nil, nil), ssrf.RuleUnresolved, unresolved},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := ssrf.Check(t.Context(), tt.dns, "https://a.example.com/", ssrf.Rule{})
			switch {
			case b == nil && tt.rule != "":
				t.Fatalf("passed, want %s", tt.rule)
			case b != nil && (b.Rule != tt.rule || b.Public != tt.public):
				t.Errorf("got  %s: %s\nwant %s: %s", b.Rule, b.Public, tt.rule, tt.public)
			}
		})
	}
}

func TestRefusalCutsTheHost(t *testing.T) {
	host := strings.Repeat("a", 60) + ".example.com"
	b := ssrf.Check(t.Context(), answer("10.0.0.1"), "https://"+host+"/", ssrf.Rule{})
	want := `(resolved from "` + strings.Repeat("a", 60) + `.exa")`
	if b == nil || !strings.HasSuffix(b.Public, want) {
		t.Errorf("got %+v, want it to end in %s", b, want)
	}
}

func TestZeroAddressInAnAnswer(t *testing.T) {
	dns := lookupFunc(func(context.Context, string, string) ([]netip.Addr, error) {
		return make([]netip.Addr, 1), nil
	})
	if b := ssrf.Check(t.Context(), dns, "https://example.com/", ssrf.Rule{}); b == nil || b.Rule != ssrf.RuleReserved {
		t.Errorf("got %+v", b)
	}
}

func TestHangingResolverIsLeft(t *testing.T) {
	hanging := lookupFunc(func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := ssrf.Check(t.Context(), hanging, "https://example.com/", ssrf.Rule{})
		if b == nil || b.Rule != ssrf.RuleUnresolved {
			t.Errorf("got %+v", b)
		}
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if b := ssrf.Check(ctx, hanging, "https://example.com/", ssrf.Rule{}); b == nil || b.Rule != ssrf.RuleUnresolved {
			t.Errorf("got %+v", b)
		}
	})
}

func TestStatic(t *testing.T) {
	v4, v6 := netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("2606:4700:4700::1111")
	next := answer("8.8.8.8")
	s := ssrf.NewStatic(map[string][]netip.Addr{"Example.COM.": {v4, v6}, "empty.example.com": nil}, next)
	tests := []struct {
		name, network, host string
		want                []netip.Addr
	}{
		{"as given", "ip", "Example.COM.", []netip.Addr{v4, v6}},
		{"other case, no dot", "ip", "example.com", []netip.Addr{v4, v6}},
		{"trailing dot", "ip", "example.com.", []netip.Addr{v4, v6}},
		{"IPv4 only", "ip4", "example.com", []netip.Addr{v4}},
		{"IPv6 only", "ip6", "example.com", []netip.Addr{v6}},
		{"empty answer is an answer", "ip", "empty.example.com", nil},
		{"below a static name", "ip", "a.example.com", []netip.Addr{netip.MustParseAddr("8.8.8.8")}},
		{"other name", "ip", "example.org", []netip.Addr{netip.MustParseAddr("8.8.8.8")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.LookupNetIP(t.Context(), tt.network, tt.host)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestStaticKeepsItsOwnCopy(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("93.184.215.14")}
	s := ssrf.NewStatic(map[string][]netip.Addr{"example.com": addrs}, nil)
	addrs[0] = netip.MustParseAddr("127.0.0.1")
	got, _ := s.LookupNetIP(t.Context(), "ip", "example.com")
	if b := ssrf.Check(t.Context(), s, "https://example.com/", ssrf.Rule{}); b != nil {
		t.Errorf("got %v: %s", got, b.Public)
	}
	got[0] = netip.MustParseAddr("127.0.0.1")
	if b := ssrf.Check(t.Context(), s, "https://example.com/", ssrf.Rule{}); b != nil {
		t.Errorf("an answer shares memory with the table: %s", b.Public)
	}
}

func TestStaticWithoutNext(t *testing.T) {
	_, err := ssrf.NewStatic(nil, nil).LookupNetIP(t.Context(), "ip", "example.com")
	var dnsErr *net.DNSError
	if !errors.As(err, &dnsErr) || !dnsErr.IsNotFound {
		t.Errorf("got %v", err)
	}
}
