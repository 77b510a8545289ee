package front

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestParamHeaders: of what a page asks for, only well-formed names of mirrored
// arguments are named back.
func TestParamHeaders(t *testing.T) {
	for _, row := range []struct {
		name string
		asks []string
		want []string
	}{
		{"nothing", nil, nil},
		{"others", []string{"authorization,x-own,mcp-name"}, nil},
		{"one", []string{"authorization, mcp-param-region"}, []string{"mcp-param-region"}},
		{"several, in several lines", []string{"Mcp-Param-A,mcp-param-b.c", "mcp-param-d"}, []string{"mcp-param-a", "mcp-param-b.c", "mcp-param-d"}},
		{"no name behind the prefix", []string{"mcp-param-,mcp-param- "}, nil},
		{"not a name", []string{"mcp-param-a b,mcp-param-a:b,mcp-param-é,mcp-param-a\x00,mcp-param-*,mcp-param-a;q"}, []string{"mcp-param-*"}},
		{"line break", []string{"mcp-param-a\r\nset-cookie: x"}, nil},
	} {
		r := httptest.NewRequest(http.MethodOptions, "/mcp", nil)
		r.Header["Access-Control-Request-Headers"] = row.asks
		if got := paramHeaders(r); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func TestIsPreflight(t *testing.T) {
	for _, row := range []struct {
		name, method, origin, asks string
		want                       bool
	}{
		{"preflight", http.MethodOptions, "https://app.example", "POST", true},
		{"of another method", http.MethodOptions, "https://app.example", "PUT", true},
		{"plain OPTIONS", http.MethodOptions, "", "", false},
		{"OPTIONS of a page", http.MethodOptions, "https://app.example", "", false},
		{"OPTIONS of no page", http.MethodOptions, "", "POST", false},
		{"POST that claims to be one", http.MethodPost, "https://app.example", "POST", false},
	} {
		r := httptest.NewRequest(row.method, "/mcp", strings.NewReader(""))
		if row.origin != "" {
			r.Header.Set("Origin", row.origin)
		}
		if row.asks != "" {
			r.Header.Set("Access-Control-Request-Method", row.asks)
		}
		if got := isPreflight(r); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
