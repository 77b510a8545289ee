package ssrf_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/ssrf"
)

const (
	tool    = "docs/import_url"
	unknown = "foreign/fetch"
	private = "http://192.168.1.1/"
	good    = "https://example.com/policy.txt"
)

var bindings = map[string]map[string]ssrf.Rule{
	tool:                 {"url": {}, "mirrors": {Ports: []int{8443}}, "task": {}},
	"docs/read_document": {},
}

func arg(name, value string) guards.Arg {
	return guards.Arg{Path: name, Name: name, Value: value}
}

func at(path, name, value string) guards.Arg {
	return guards.Arg{Path: path, Name: name, Value: value}
}

func list(name string, elements ...guards.Arg) []guards.Arg {
	return append([]guards.Arg{{Path: name, Name: name, Kind: guards.Array}}, elements...)
}

func ExampleGuard_Inspect() {
	g := ssrf.New(nil, map[string]map[string]ssrf.Rule{"docs/import_url": {"url": {}}})
	d := g.Inspect(context.Background(), &guards.Call{
		Tool: "docs/import_url",
		Args: []guards.Arg{{Path: "url", Name: "url", Value: "http://192.168.1.1/"}},
	})
	fmt.Println(d.Block.Rule)
	fmt.Println(d.Block.Public)
	// Output:
	// reserved-address
	// blocked by SSRF guard: blocked internal/reserved address 192.168.1.1
}

func TestInspectBound(t *testing.T) {
	tests := []struct {
		name string
		args []guards.Arg
		rule string
	}{
		{"no arguments", nil, ""},
		{"absent", []guards.Arg{arg("title", private)}, ""},
		{"public", []guards.Arg{arg("url", good)}, ""},
		{"other argument with a URL name", []guards.Arg{arg("endpoint", private)}, ""},
		{"nested namesake", []guards.Arg{{Path: "o", Name: "o", Kind: guards.Object}, at("o.url", "url", private)}, ""},
		{"private", []guards.Arg{arg("url", private)}, ssrf.RuleReserved},
		{"no URL", []guards.Arg{arg("url", "policy.txt")}, ssrf.RuleNotURL},
		{"number", []guards.Arg{{Path: "url", Name: "url", Kind: guards.Number, Value: "1"}}, ssrf.RuleWrongType},
		{"null", []guards.Arg{{Path: "url", Name: "url", Kind: guards.Null, Value: "null"}}, ssrf.RuleWrongType},
		{"bool", []guards.Arg{{Path: "url", Name: "url", Kind: guards.Bool, Value: "true"}}, ssrf.RuleWrongType},
		{"object", []guards.Arg{{Path: "url", Name: "url", Kind: guards.Object}, at("url.href", "href", good)}, ssrf.RuleWrongType},
		{"empty list", list("mirrors"), ""},
		{"list", list("mirrors", at("mirrors[0]", "mirrors", "https://example.com:8443/")), ""},
		{"second of a list", list("url", at("url[0]", "url", good), at("url[1]", "url", private)), ssrf.RuleReserved},
		{"list keeps its own rule", list("mirrors", at("mirrors[0]", "mirrors", good)), ssrf.RulePort},
		{"number in a list", list("url", guards.Arg{Path: "url[0]", Name: "url", Kind: guards.Number, Value: "1"}), ssrf.RuleWrongType},
		{"object in a list", list("url", guards.Arg{Path: "url[0]", Name: "url", Kind: guards.Object}), ssrf.RuleWrongType},
		{"list in a list", list("url", guards.Arg{Path: "url[0]", Name: "url", Kind: guards.Array}, at("url[0][0]", "url", good)), ssrf.RuleWrongType},
		{"capital beside", []guards.Arg{arg("url", good), arg("URL", private)}, ssrf.RuleAmbiguous},
		{"capital alone", []guards.Arg{arg("Url", good)}, ssrf.RuleAmbiguous},
		{"capital object", []guards.Arg{{Path: "URL", Name: "URL", Kind: guards.Object}}, ssrf.RuleAmbiguous},
		{"long s", []guards.Arg{arg("ta\u017fk", good)}, ssrf.RuleAmbiguous},
		{"text after NUL", []guards.Arg{arg("url\x00x", good)}, ssrf.RuleAmbiguous},
		{"trailing space", []guards.Arg{arg("url ", good)}, ssrf.RuleAmbiguous},
		{"byte order mark", []guards.Arg{arg("\ufeffurl", good)}, ssrf.RuleAmbiguous},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.args)
			d := ssrf.New(public, bindings).Inspect(t.Context(), &guards.Call{Tool: tool, Args: tt.args})
			assertRule(t, d, tt.rule)
			if !slices.Equal(before, tt.args) {
				t.Error("the call was changed")
			}
		})
	}
}

func TestInspectUnbound(t *testing.T) {
	called := func(url bool, value string) guards.Arg {
		return guards.Arg{Path: "source", Name: "source", Value: value, URL: url}
	}
	tests := []struct {
		name string
		tool string
		arg  guards.Arg
		rule string
	}{
		{"url", unknown, arg("url", private), ssrf.RuleReserved},
		{"uri", unknown, arg("uri", private), ssrf.RuleReserved},
		{"href", unknown, arg("href", private), ssrf.RuleReserved},
		{"endpoint", unknown, arg("endpoint", private), ssrf.RuleReserved},
		{"any case", unknown, arg("URL", private), ssrf.RuleReserved},
		{"any depth", unknown, at("a.b[0].Href", "Href", private), ssrf.RuleReserved},
		{"list element", unknown, at("url[0]", "url", private), ssrf.RuleReserved},
		{"trailing space in the name", unknown, arg("url ", private), ssrf.RuleReserved},
		{"called a URL", unknown, called(true, private), ssrf.RuleReserved},
		{"not called a URL", unknown, called(false, private), ""},
		{"other name", unknown, arg("text", private), ""},
		{"longer name", unknown, arg("curl", private), ""},
		{"tool with an entry that binds nothing", "docs/read_document", arg("url", private), ""},
		{"no string", unknown, guards.Arg{Path: "url", Name: "url", Kind: guards.Number, Value: "127"}, ""},

		{"public", unknown, arg("url", good), ""},
		{"http", unknown, arg("url", "http://example.com/"), ssrf.RuleScheme},
		{"file", unknown, arg("uri", "file:///etc/passwd"), ssrf.RuleScheme},
		{"private scheme", unknown, arg("uri", "memo://insights"), ssrf.RuleScheme},
		{"protocol-relative", unknown, arg("url", "//example.com/"), ssrf.RuleNotURL},
		{"two backslashes", unknown, arg("url", `\\example.com\share`), ssrf.RuleNotURL},
		{"slash and backslash", unknown, arg("url", `/\example.com/`), ssrf.RuleNotURL},
		{"space in front of a URL", unknown, arg("url", " "+private), ssrf.RuleNotURL},
		{"byte order mark in front of a URL", unknown, arg("url", "\ufeff"+private), ssrf.RuleNotURL},
		{"newline inside the scheme", unknown, arg("url", "ht\ntp://192.168.1.1/"), ssrf.RuleNotURL},
		{"newline between the slashes", unknown, arg("url", "/\n/192.168.1.1/"), ssrf.RuleNotURL},

		{"empty", unknown, arg("url", ""), ""},
		{"word", unknown, arg("url", "users"), ""},
		{"number", unknown, arg("url", "42"), ""},
		{"short decimal", unknown, arg("url", "10.5"), ""},
		{"path", unknown, arg("url", "/docs/intro"), ""},
		{"relative path", unknown, arg("url", "../a/b?c=d#e"), ""},
		{"sentence", unknown, arg("endpoint", "see https://example.com for details"), ""},
		{"name without scheme", unknown, arg("url", "example.com/x"), ""},
		{"reserved address without scheme", unknown, arg("url", "169.254.169.254/latest/meta-data/"), ssrf.RuleReserved},
		{"reserved address and port", unknown, arg("endpoint", "10.0.0.5:9200"), ssrf.RuleReserved},
		{"bracketed loopback", unknown, arg("endpoint", "[::1]:8080/x"), ssrf.RuleReserved},
		{"public address without scheme", unknown, arg("endpoint", "8.8.8.8"), ""},
		{"localhost without scheme", unknown, arg("url", "localhost/x"), ssrf.RuleInternal},
		{"metadata without scheme", unknown, arg("url", "metadata.google.internal/computeMetadata/v1/"), ssrf.RuleInternal},
		{"file with an internal-looking name", unknown, arg("url", "settings.local"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			call := guards.Call{Tool: tt.tool, Args: []guards.Arg{tt.arg}}
			assertRule(t, ssrf.New(public, bindings).Inspect(t.Context(), &call), tt.rule)
		})
	}
}

// assertRule checks that d blocks with rule and names it in one finding, or
// passes if rule is empty.
func assertRule(t *testing.T, d guards.Decision, rule string) {
	t.Helper()
	switch {
	case d.Edits != nil:
		t.Errorf("edits %v", d.Edits)
	case rule == "" && (d.Block != nil || d.Findings != nil):
		t.Errorf("got %+v, %v; want no objection", d.Block, d.Findings)
	case rule == "":
	case d.Block == nil:
		t.Errorf("passed, want %s", rule)
	case d.Block.Rule != rule || len(d.Findings) != 1 || d.Findings[0].Rule != rule:
		t.Errorf("got %+v, %+v; want %s", d.Block, d.Findings, rule)
	case !strings.HasPrefix(d.Block.Public, "blocked by SSRF guard: "):
		t.Errorf("got %q", d.Block.Public)
	}
}

// TestDNSIsLast: a call with one bad URL asks for no name at all, wherever the
// bad one stands.
func TestDNSIsLast(t *testing.T) {
	args := list("url", at("url[0]", "url", good), at("url[1]", "url", private))
	d := ssrf.New(noDNS(t), bindings).Inspect(t.Context(), &guards.Call{Tool: tool, Args: args})
	assertRule(t, d, ssrf.RuleReserved)
}

func TestEachNameIsAskedOnce(t *testing.T) {
	var asked []string
	dns := lookupFunc(func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		asked = append(asked, network+" "+host)
		return public(ctx, network, host)
	})
	args := list("url",
		at("url[0]", "url", "https://a.example.com/1"), at("url[1]", "url", "https://A.example.com/2"),
		at("url[2]", "url", "https://8.8.8.8/"), at("url[3]", "url", "https://b.example.com/"))
	d := ssrf.New(dns, bindings).Inspect(t.Context(), &guards.Call{Tool: tool, Args: args})
	assertRule(t, d, "")
	if want := []string{"ip a.example.com", "ip b.example.com"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestLookupBudget(t *testing.T) {
	for _, tt := range []struct {
		hosts int
		rule  string
	}{{31, ""}, {32, ""}, {33, ssrf.RuleBudget}, {1000, ssrf.RuleBudget}} {
		t.Run(fmt.Sprint(tt.hosts), func(t *testing.T) {
			args := list("url")
			for i := range tt.hosts {
				args = append(args, at(fmt.Sprintf("url[%d]", i), "url", fmt.Sprintf("https://h%d.example.com/", i)))
			}
			var dns ssrf.Resolver = public
			if tt.rule != "" {
				dns = noDNS(t)
			}
			d := ssrf.New(dns, bindings).Inspect(t.Context(), &guards.Call{Tool: tool, Args: args})
			assertRule(t, d, tt.rule)
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	dns := ssrf.NewStatic(map[string][]netip.Addr{"example.com": {netip.MustParseAddr("93.184.215.14")}}, nil)
	g := ssrf.New(dns, bindings)
	for name, call := range map[string]*guards.Call{
		"public":        {Tool: tool, Args: []guards.Arg{arg("url", good)}},
		"literal":       {Tool: tool, Args: []guards.Arg{arg("url", private)}},
		"international": {Tool: tool, Args: []guards.Arg{arg("url", "https://１２７。０。０。１/")}},
		"unbound":       {Tool: unknown, Args: []guards.Arg{arg("id", "7"), arg("text", "some text"), arg("url", "docs/intro")}},
		"no URL":        {Tool: unknown, Args: []guards.Arg{arg("id", "7"), arg("text", "some text")}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Inspect(context.Background(), call)
			}
		})
	}
}
