package ssrf_test

import (
	"testing"

	"mcp-sidecar/guards/ssrf"
)

// A redirect may lead to another public host, or stay where it is; the inside it does not
// name, in whatever way clients read it.
func TestRedirect(t *testing.T) {
	for _, row := range []struct {
		name, location string
		refused        bool
	}{
		{"same host", "/elsewhere", false},
		{"relative", "../up?u=http://127.0.0.1/", false},
		{"query alone", "?page=2", false},
		{"empty", "", false},
		{"another host", "https://example.com/", false},
		{"another host, plain", "http://example.com:8080/", false},
		{"another scheme", "mailto:a@example.com", false},
		{"loopback", "http://127.0.0.1/", true},
		{"loopback by another scheme", "gopher://127.0.0.1:6379/_", true},
		{"mapped", "https://[::ffff:10.0.0.1]/", true},
		{"NAT64", "https://[64:ff9b::a00:1]/", true},
		{"one number", "http://2130706433/", true},
		{"octal", "http://0177.0.0.1/", true},
		{"full-width", "http://１２７.０.０.１/", true},
		{"no scheme", "//169.254.169.254/latest", true},
		{"backslashes", `http:\\127.0.0.1\`, true},
		{"no slashes", "http:127.0.0.1", true},
		{"space before", " \thttp://127.0.0.1/", true},
		{"tab inside", "ht\ttp://127.0.0.1/", true},
		{"user information", "http://example.com@127.0.0.1/", true},
		{"internal name", "https://vault.internal/", true},
		{"localhost", "http://localhost:8811/mcp", true},
	} {
		if b := ssrf.Redirect(row.location); (b != nil) != row.refused || b != nil && b.Rule != ssrf.RuleRedirect {
			t.Errorf("%s: %+v, want refused: %t", row.name, b, row.refused)
		}
	}
}
