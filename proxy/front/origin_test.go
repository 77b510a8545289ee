package front

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func addr(s string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// TestHosts: which Host reaches a handler, by the address that the
// connection came in on.
func TestHosts(t *testing.T) {
	h := NewHosts("sidecar.example", "Other.example:8443", "[2001:db8::1]:443")
	for _, row := range []struct {
		host, local string
		want        bool
	}{
		{"127.0.0.1:8811", "127.0.0.1:8811", true},
		{"localhost:8811", "127.0.0.1:8811", true},
		{"LOCALHOST:8811", "127.0.0.1:8811", true},
		{"localhost:8811", "[::1]:8811", true},
		{"[::1]:8811", "[::1]:8811", true},
		{"[0:0:0:0:0:0:0:1]:8811", "[::1]:8811", true},
		{"[::ffff:127.0.0.1]:8811", "127.0.0.1:8811", true},
		{"10.0.0.5:8811", "10.0.0.5:8811", true},
		{"10.0.0.5", "10.0.0.5:80", true},
		{"sidecar.example", "10.0.0.5:8811", true},
		{"SIDECAR.EXAMPLE:9", "10.0.0.5:8811", true},
		{"other.example:8443", "10.0.0.5:8811", true},
		{"[2001:db8::1]:443", "10.0.0.5:8811", true},

		{"", "127.0.0.1:8811", false},
		{"attacker.example", "127.0.0.1:8811", false},
		{"attacker.example:8811", "127.0.0.1:8811", false},
		{"127.0.0.1", "127.0.0.1:8811", false},
		{"127.0.0.1:8812", "127.0.0.1:8811", false},
		{"127.0.0.2:8811", "127.0.0.1:8811", false},
		{"127.1:8811", "127.0.0.1:8811", false},
		{"0.0.0.0:8811", "127.0.0.1:8811", false},
		{"2130706433:8811", "127.0.0.1:8811", false},
		{"0x7f.0.0.1:8811", "127.0.0.1:8811", false},
		{"localhost.:8811", "127.0.0.1:8811", false},
		{"localhost:8811", "10.0.0.5:8811", false},
		{"localhost.attacker.example:8811", "127.0.0.1:8811", false},
		{"127.0.0.1.attacker.example:8811", "127.0.0.1:8811", false},
		{"127.0.0.1:8811@attacker.example", "127.0.0.1:8811", false},
		{"127.0.0.1:8811:8811", "127.0.0.1:8811", false},
		{"[::1", "[::1]:8811", false},
		{"other.example", "10.0.0.5:8811", false},
		{"other.example:8444", "10.0.0.5:8811", false},
		{"xsidecar.example", "10.0.0.5:8811", false},
		{"sidecar.example.", "10.0.0.5:8811", false},
		{"sub.sidecar.example", "10.0.0.5:8811", false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		r.Host = row.host
		r.Header.Set("X-Forwarded-Host", "sidecar.example")
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr(row.local)))
		if got := h.Allow(r); got != row.want {
			t.Errorf("Host %q at %s: %v, want %v", row.host, row.local, got, row.want)
		}
	}
	for host, want := range map[string]bool{"10.0.0.5": true, "10.0.0.5:443": true, "10.0.0.5:80": false} {
		r := httptest.NewRequest(http.MethodPost, "https://"+host+"/mcp", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr("10.0.0.5:443")))
		if got := h.Allow(r); got != want {
			t.Errorf("Host %q over TLS: %v, want %v", host, got, want)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
	if r.Host = "127.0.0.1:8811"; h.Allow(r) {
		t.Error("a connection without an address has a Host of its own")
	}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/x", Net: "unix"})))
	if h.Allow(r) {
		t.Error("a connection without an IP address has a Host of its own")
	}
}

func TestOriginAllowed(t *testing.T) {
	h := NewHandler(Options{Origins: []string{"https://App.example", "http://localhost:3000"}})
	for _, row := range []struct {
		origin []string
		want   bool
	}{
		{nil, true},
		{[]string{"https://app.example"}, true},
		{[]string{"HTTPS://APP.EXAMPLE"}, true},
		{[]string{"http://localhost:3000"}, true},
		{[]string{""}, false},
		{[]string{"null"}, false},
		{[]string{"https://app.example:443"}, false},
		{[]string{"http://app.example"}, false},
		{[]string{"https://app.example/"}, false},
		{[]string{"https://app.example.attacker.example"}, false},
		{[]string{"https://attacker.example"}, false},
		{[]string{"http://localhost"}, false},
		{[]string{"http://127.0.0.1:3000"}, false},
		{[]string{"https://app.example", "https://app.example"}, false},
		{[]string{"https://app.example https://attacker.example"}, false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		if row.origin != nil {
			r.Header["Origin"] = row.origin
		}
		if got := h.originAllowed(r); got != row.want {
			t.Errorf("Origin %q: %v, want %v", row.origin, got, row.want)
		}
	}
}

// TestOwnOrigin: the address that a request was sent to is no other site. A name
// is one, whatever it points to.
func TestOwnOrigin(t *testing.T) {
	h := NewHandler(Options{})
	for _, row := range []struct {
		origin, host, local string
		want                bool
	}{
		{"http://127.0.0.1:8811", "127.0.0.1:8811", "127.0.0.1:8811", true},
		{"http://localhost:8811", "LOCALHOST:8811", "127.0.0.1:8811", true},
		{"http://[::1]:8811", "[::1]:8811", "[::1]:8811", true},
		{"http://10.0.0.5", "10.0.0.5", "10.0.0.5:80", true},

		{"https://127.0.0.1:8811", "127.0.0.1:8811", "127.0.0.1:8811", false},
		{"http://127.0.0.1:3000", "127.0.0.1:8811", "127.0.0.1:8811", false},
		{"http://127.0.0.1:3000", "127.0.0.1:3000", "127.0.0.1:8811", false},
		{"http://localhost:8811", "127.0.0.1:8811", "127.0.0.1:8811", false},
		{"http://attacker.example:8811", "attacker.example:8811", "127.0.0.1:8811", false},
		{"http://attacker.example:8811", "127.0.0.1:8811", "127.0.0.1:8811", false},
		{"http://localhost:8811", "localhost:8811", "10.0.0.5:8811", false},
		{"127.0.0.1:8811", "127.0.0.1:8811", "127.0.0.1:8811", false},
		{"http://127.0.0.1:8811/", "127.0.0.1:8811", "127.0.0.1:8811", false},
		{"null", "127.0.0.1:8811", "127.0.0.1:8811", false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		r.Host = row.host
		r.Header.Set("Origin", row.origin)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr(row.local)))
		if got := h.originAllowed(r); got != row.want {
			t.Errorf("Origin %q, Host %q at %s: %v, want %v", row.origin, row.host, row.local, got, row.want)
		}
	}
}
