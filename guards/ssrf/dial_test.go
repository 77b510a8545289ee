package ssrf_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/guards/ssrf"
)

// wires notes what would have been dialed and connects to nothing.
type wires struct {
	dialed []string
	fail   int // how many attempts fail first
}

func (w *wires) connect(_ context.Context, network, address string) (net.Conn, error) {
	w.dialed = append(w.dialed, network+" "+address)
	if len(w.dialed) <= w.fail {
		return nil, errors.New("refused")
	}
	near, far := net.Pipe()
	_ = far.Close()
	return near, nil
}

func TestDialer(t *testing.T) {
	rebinding := answer("93.184.215.14", "10.0.0.5")
	for _, row := range []struct {
		name, network, address string
		dns                    ssrf.Resolver
		rule                   ssrf.Rule
		fail                   int
		want                   string // what was dialed, or the rule that refused
	}{
		{name: "name", address: "example.com:443", dns: answer("93.184.215.14"), want: "tcp 93.184.215.14:443"},
		{name: "name in capitals", address: "Example.COM:443", dns: answer("93.184.215.14"), want: "tcp 93.184.215.14:443"},
		{name: "mapped answer", address: "example.com:443", dns: answer("::ffff:93.184.215.14"), want: "tcp 93.184.215.14:443"},
		{name: "second address", address: "example.com:443", dns: answer("93.184.215.14", "8.8.8.8"), fail: 1, want: "tcp 93.184.215.14:443,tcp 8.8.8.8:443"},
		{name: "first address is enough", address: "example.com:443", dns: answer("93.184.215.14", "8.8.8.8"), want: "tcp 93.184.215.14:443"},
		{name: "IPv4 only", network: "tcp4", address: "example.com:443", dns: answer("2606:4700:4700::1111", "8.8.8.8"), want: "tcp4 8.8.8.8:443"},
		{name: "IPv6 only", network: "tcp6", address: "example.com:443", dns: answer("8.8.8.8", "2606:4700:4700::1111"), want: "tcp6 [2606:4700:4700::1111]:443"},
		{name: "literal", address: "8.8.8.8:443", want: "tcp 8.8.8.8:443"},
		{name: "literal IPv6", address: "[2606:4700:4700::1111]:443", want: "tcp [2606:4700:4700::1111]:443"},
		{name: "other port that is allowed", address: "example.com:8443", dns: answer("8.8.8.8"), rule: ssrf.Rule{Ports: []int{8443}}, want: "tcp 8.8.8.8:8443"},
		{name: "host that is allowed", address: "example.com:443", dns: answer("8.8.8.8"), rule: ssrf.Rule{Hosts: []string{"example.com"}}, want: "tcp 8.8.8.8:443"},

		{name: "one private answer", address: "example.com:443", dns: rebinding, want: ssrf.RuleReserved},
		{name: "private answer", address: "example.com:443", dns: answer("127.0.0.1"), want: ssrf.RuleReserved},
		{name: "no answer", address: "example.com:443", dns: answer(), want: ssrf.RuleUnresolved},
		{name: "no resolver", address: "example.com:443", want: ssrf.RuleUnresolved},
		{name: "literal loopback", address: "127.0.0.1:443", want: ssrf.RuleReserved},
		{name: "literal metadata service", address: "169.254.169.254:443", want: ssrf.RuleReserved},
		{name: "mapped loopback", address: "[::ffff:127.0.0.1]:443", want: ssrf.RuleReserved},
		{name: "zone", address: "[fe80::1%eth0]:443", want: ssrf.RuleReserved},
		{name: "decimal address", address: "2130706433:443", want: ssrf.RuleReserved},
		{name: "internal name", address: "metadata:443", dns: answer("8.8.8.8"), want: ssrf.RuleInternal},
		{name: "port for plain HTTP", address: "example.com:80", dns: answer("8.8.8.8"), want: ssrf.RulePort},
		{name: "port 0", address: "example.com:0", dns: answer("8.8.8.8"), want: ssrf.RulePort},
		{name: "named port", address: "example.com:https", dns: answer("8.8.8.8"), want: ssrf.RulePort},
		{name: "host outside the list", address: "example.org:443", dns: answer("8.8.8.8"), rule: ssrf.Rule{Hosts: []string{"example.com"}}, want: ssrf.RuleNotAllowed},
		{name: "user information", address: "a@example.com:443", dns: answer("8.8.8.8"), want: ssrf.RuleUserinfo},
		{name: "backslash", address: `example.com\@10.0.0.1:443`, dns: answer("8.8.8.8"), want: ssrf.RuleNotURL},
		{name: "nothing", address: "", want: ssrf.RuleHostForm},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &wires{fail: row.fail}
			d := ssrf.Dialer{Resolver: row.dns, Rule: row.rule, Connect: w.connect}
			network := row.network
			if network == "" {
				network = "tcp"
			}
			conn, err := d.DialContext(t.Context(), network, row.address)
			got := strings.Join(w.dialed, ",")
			var refused *ssrf.Refused
			if errors.As(err, &refused) {
				got += refused.Rule
			}
			if got != row.want || (conn == nil) != (err != nil) {
				t.Errorf("%q (%v), want %q", got, err, row.want)
			}
		})
	}
}

// Addresses that cannot be used, and networks that are none.
func TestDialerFails(t *testing.T) {
	w := &wires{fail: 9}
	for _, row := range []struct{ name, network, address, want string }{
		{"no address answers", "tcp", "example.com:443", "refused"},
		{"no address of the kind", "tcp6", "example.com:443", "the host has no address of the wanted kind"},
		{"datagrams", "udp", "example.com:443", "unknown network udp"},
		{"local socket", "unix", "example.com:443", "unknown network unix"},
	} {
		d := ssrf.Dialer{Resolver: answer("93.184.215.14", "8.8.8.8"), Connect: w.connect}
		if conn, err := d.DialContext(t.Context(), row.network, row.address); conn != nil || err == nil || err.Error() != row.want {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if want := []string{"tcp 93.184.215.14:443", "tcp 8.8.8.8:443"}; !slices.Equal(w.dialed, want) {
		t.Errorf("dialed %v", w.dialed)
	}
}

// A name that answers differently the second time gets no second time.
func TestDialerAsksOnce(t *testing.T) {
	asked := 0
	dns := lookupFunc(func(context.Context, string, string) ([]netip.Addr, error) {
		if asked++; asked > 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
	})
	w := &wires{}
	d := ssrf.Dialer{Resolver: dns, Connect: w.connect}
	if _, err := d.DialContext(t.Context(), "tcp", "example.com:443"); err != nil || asked != 1 || !slices.Equal(w.dialed, []string{"tcp 8.8.8.8:443"}) {
		t.Errorf("%v, asked %d times, dialed %v", err, asked, w.dialed)
	}
}

// Hosts that hang share the time; nobody waits longer than for one.
func TestDialerShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
			begun := time.Now()
			<-ctx.Done()
			waits = append(waits, time.Since(begun))
			return nil, ctx.Err()
		}
		d := ssrf.Dialer{Resolver: answer("8.8.8.8", "1.1.1.1"), Connect: hangs}
		if _, err := d.DialContext(t.Context(), "tcp", "example.com:443"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if want := []time.Duration{2500 * time.Millisecond, 2500 * time.Millisecond}; !slices.Equal(waits, want) {
			t.Errorf("waited %v", waits)
		}
	})
}
