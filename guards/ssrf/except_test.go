package ssrf_test

import (
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/guards/ssrf"
)

// except lets the rules be, and notes those that were asked to.
func except(used *[]string, rules ...string) func(string) bool {
	return func(rule string) bool {
		if slices.Contains(rules, rule) {
			*used = append(*used, rule)
			return true
		}
		return false
	}
}

// What a rule lets be, the rules behind it judge all the same.
func TestExcept(t *testing.T) {
	for _, row := range []struct {
		name, url string
		rules     string // excepted
		host      string // the answer of the DNS
		want      string // rule of the refusal
		used      string
	}{
		{"port", "https://example.com:8443/", "port", "93.184.215.14", "", "port"},
		{"port not needed", "https://example.com/", "port", "93.184.215.14", "", ""},
		{"port, private answer", "https://example.com:8443/", "port", "10.0.0.1", ssrf.RuleReserved, "port"},
		{"port, literal", "https://10.0.0.1:8443/", "port", "", ssrf.RuleReserved, ""},
		{"port, user information", "https://u:p@example.com:8443/", "port", "93.184.215.14", ssrf.RuleUserinfo, ""},
		{"malformed port", "https://example.com:99999/", "scheme", "93.184.215.14", ssrf.RulePort, ""},
		{"scheme", "http://example.com:443/", "scheme", "93.184.215.14", "", "scheme"},
		{"scheme, whose own port is another", "http://example.com/", "scheme", "93.184.215.14", ssrf.RulePort, "scheme"},
		{"scheme, user information", "http://u:p@example.com:443/", "scheme", "93.184.215.14", ssrf.RuleUserinfo, "scheme"},
		{"scheme and port", "http://example.com/", "scheme port", "93.184.215.14", "", "scheme port"},
		{"scheme, internal name", "http://vault.internal:443/", "scheme", "93.184.215.14", ssrf.RuleInternal, "scheme"},
		{"user information", "https://u:p@example.com/", "userinfo", "93.184.215.14", "", "userinfo"},
		{"internal name", "https://vault.internal/", "internal-name", "93.184.215.14", "", "internal-name"},
		{"internal name with a private answer", "https://vault.internal/", "internal-name", "10.0.0.1", ssrf.RuleReserved, "internal-name"},
		{"internal name and address", "https://vault.internal/", "internal-name reserved-address", "10.0.0.1", "", "internal-name reserved-address"},
		{"reserved literal", "https://10.0.0.1/", "reserved-address", "", "", "reserved-address"},
		{"reserved literal, plain", "http://10.0.0.1/", "reserved-address", "", ssrf.RuleScheme, "reserved-address"},
		{"no answer", "https://nowhere.example/", "unresolvable", "", "", "unresolvable"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var used []string
			dns := answer()
			if row.host != "" {
				dns = answer(row.host)
			}
			b := ssrf.Check(t.Context(), dns, row.url, ssrf.Rule{Except: except(&used, strings.Fields(row.rules)...)})
			got := ""
			if b != nil {
				got = b.Rule
			}
			if got != row.want || strings.Join(used, " ") != row.used {
				t.Errorf("refused by %q, want %q; excepted %q, want %q", got, row.want, used, row.used)
			}
		})
	}
}
