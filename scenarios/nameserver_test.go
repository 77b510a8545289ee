package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

// A name that is rebound has its first address once. Names that nobody gave do not exist.
func TestNameserver(t *testing.T) {
	n, err := startNameserver(t.Context(), map[string][]netip.Addr{"a.example.": {netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, n.addr)
	}}
	for i, want := range []string{"93.184.215.14", "127.0.0.1", "127.0.0.1"} {
		got, err := r.LookupNetIP(t.Context(), "ip", "a.example.")
		if err != nil || len(got) != 1 || got[0].Unmap().String() != want {
			t.Errorf("answer %d: %v, %v, want %s", i+1, got, err, want)
		}
	}
	if got, err := r.LookupNetIP(t.Context(), "ip", "b.example."); err == nil {
		t.Errorf("a name that does not exist: %v", got)
	}
}
