package argument

import (
	"context"
	"math/big"
	"path"
	"regexp"
	"strings"
	"testing"

	"mcp-sidecar/guards"
)

func must(t testing.TB, expression string) *regexp.Regexp {
	t.Helper()
	p, err := Pattern(expression)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheck(t *testing.T) {
	reports := Rule{Prefixes: []string{"/reports/", "s3://bucket/"}}
	hosts := Rule{Hosts: []string{"db.example", "*.internal.example", "xn--bcher-kva.example"}}
	number := Rule{Min: big.NewRat(1, 1), Max: big.NewRat(1000, 10)}
	third := Rule{Max: big.NewRat(1, 10)}
	words := Rule{Pattern: must(t, "[a-z]+|ab c")}
	for _, row := range []struct {
		name  string
		rule  Rule
		kind  guards.ArgKind
		value string
		want  string
	}{
		{"matches", words, guards.String, "abc", ""},
		{"matches the other half", words, guards.String, "ab c", ""},
		{"matches at the beginning only", words, guards.String, "abc1", RulePattern},
		{"matches at the end only", words, guards.String, "1abc", RulePattern},
		{"a line of it matches", words, guards.String, "abc\nrm", RulePattern},
		{"ends with a line break", words, guards.String, "abc\n", RulePattern},
		{"empty", words, guards.String, "", RulePattern},
		{"a number for a string", words, guards.Number, "1", RuleWrongType},
		{"null", words, guards.Null, "null", RuleWrongType},
		{"a list", words, guards.Array, "", RuleWrongType},
		{"an object", words, guards.Object, "", RuleWrongType},
		{"true", words, guards.Bool, "true", RuleWrongType},

		{"below", reports, guards.String, "/reports/2026/q1.csv", ""},
		{"the folder itself", reports, guards.String, "/reports/", ""},
		{"below the other", reports, guards.String, "s3://bucket/a", ""},
		{"dots in names", reports, guards.String, "/reports/a..b/.hidden/...", ""},
		{"an escape in a name", reports, guards.String, "/reports/a%20b", ""},
		{"letters of others", reports, guards.String, "/reports/größe/日本", ""},
		{"elsewhere", reports, guards.String, "/etc/passwd", RulePrefix},
		{"a sibling", reports, guards.String, "/reports-old/a", RulePrefix},
		{"a blank before", reports, guards.String, " /reports/a", RulePrefix},
		{"upwards", reports, guards.String, "/reports/../etc/passwd", RulePrefix},
		{"upwards at the end", reports, guards.String, "/reports/a/..", RulePrefix},
		{"a dot", reports, guards.String, "/reports/./a", RulePrefix},
		{"upwards, escaped", reports, guards.String, "/reports/%2e%2E/etc", RulePrefix},
		{"upwards, half escaped", reports, guards.String, "/reports/.%2e/etc", RulePrefix},
		{"a slash, escaped", reports, guards.String, "/reports/..%2fetc", RulePrefix},
		{"escaped twice", reports, guards.String, "/reports/%252e%252e/etc", RulePrefix},
		{"an escape cut short", reports, guards.String, "/reports/%2", RulePrefix},
		{"upwards with a backslash", reports, guards.String, `/reports/..\..\etc`, RulePrefix},
		{"a backslash, escaped", reports, guards.String, "/reports/..%5cetc", RulePrefix},
		{"full width dots", reports, guards.String, "/reports/．．/etc", RulePrefix},
		{"a full width slash", reports, guards.String, "/reports/..／etc", RulePrefix},
		{"a one dot leader", reports, guards.String, "/reports/\u2024\u2024/etc", RulePrefix},
		{"two dots in one", reports, guards.String, "/reports/\u2025/etc", RulePrefix},
		{"a parameter", reports, guards.String, "/reports/..;x=1/etc", RulePrefix},
		{"a query", reports, guards.String, "/reports/..?x", RulePrefix},
		{"a fragment", reports, guards.String, "/reports/..#x", RulePrefix},
		{"a blank in a name", reports, guards.String, "/reports/first quarter .csv", ""},
		{"a blank behind", reports, guards.String, "/reports/.. /etc", RulePrefix},
		{"a blank between", reports, guards.String, "/reports/.. ./etc", RulePrefix},
		{"a blank behind, escaped", reports, guards.String, "/reports/..%20/etc", RulePrefix},
		{"another root", reports, guards.String, "/reports//etc", RulePrefix},
		{"full width dots, escaped", reports, guards.String, "/reports/%ef%bc%8e%ef%bc%8e/etc", RulePrefix},
		{"overlong dots, escaped", reports, guards.String, "/reports/%c0%ae%c0%ae/etc", RulePrefix},
		{"an escape of another kind", reports, guards.String, "/reports/%u002e%u002e/etc", RulePrefix},
		{"a tab between, escaped", reports, guards.String, "/reports/.%09./etc", RulePrefix},
		{"a fraction slash", reports, guards.String, "/reports/..\u2044etc", RulePrefix},
		{"a division slash, escaped", reports, guards.String, "/reports/..%E2%88%95etc", RulePrefix},
		{"NUL", reports, guards.String, "/reports/a\x00.csv", RulePrefix},
		{"NUL, escaped", reports, guards.String, "/reports/a%00.csv", RulePrefix},
		{"a line break", reports, guards.String, "/reports/a\n/etc", RulePrefix},
		{"an invisible character", reports, guards.String, "/reports/.\u200b./etc", RulePrefix},
		{"the prefix is begun", Rule{Prefixes: []string{"/a/."}}, guards.String, "/a/../etc", RulePrefix},
		{"the prefix is a step", Rule{Prefixes: []string{"/a/.."}}, guards.String, "/a/../etc", RulePrefix},
		{"the prefix begins a name", Rule{Prefixes: []string{"/a/.."}}, guards.String, "/a/..b", ""},

		{"a host", hosts, guards.String, "db.example", ""},
		{"in capitals", hosts, guards.String, "DB.Example", ""},
		{"below a domain", hosts, guards.String, "a.b.internal.example", ""},
		{"in Punycode", hosts, guards.String, "xn--bcher-kva.example", ""},
		{"the domain itself", hosts, guards.String, "internal.example", RuleHost},
		{"another that ends so", hosts, guards.String, "evilinternal.example", RuleHost},
		{"a longer one", hosts, guards.String, "db.example.evil.example", RuleHost},
		{"a dot at the end", hosts, guards.String, "db.example.", RuleHost},
		{"a port", hosts, guards.String, "db.example:5432", RuleHost},
		{"a user", hosts, guards.String, "db.example@evil.example", RuleHost},
		{"a URL", hosts, guards.String, "https://db.example/", RuleHost},
		{"full width letters", hosts, guards.String, "ｄb.example", RuleHost},
		{"an ideographic dot", hosts, guards.String, "db。example", RuleHost},
		{"no label", hosts, guards.String, ".internal.example", RuleHost},
		{"an address", hosts, guards.String, "127.0.0.1", RuleHost},
		{"a blank", hosts, guards.String, "db.example ", RuleHost},
		{"empty host", hosts, guards.String, "", RuleHost},

		{"smallest", number, guards.Number, "1", ""},
		{"largest", number, guards.Number, "100", ""},
		{"largest, written otherwise", number, guards.Number, "1e2", ""},
		{"with zeros", number, guards.Number, "100.000", ""},
		{"too small", number, guards.Number, "0", RuleRange},
		{"negative", number, guards.Number, "-1", RuleRange},
		{"a hair too large", number, guards.Number, "100.00000000000000000000000000000001", RuleRange},
		{"a hair too small", number, guards.Number, "0.99999999999999999999999999999999", RuleRange},
		{"huge", number, guards.Number, "1e400", RuleRange},
		{"so huge that it takes memory", number, guards.Number, "1e999999999", RuleRange},
		{"so small that it takes memory", number, guards.Number, "1e-999999999", RuleRange},
		{"large", Rule{Min: big.NewRat(1, 1)}, guards.Number, "1e64", ""},
		{"too large to be compared", Rule{Min: big.NewRat(1, 1)}, guards.Number, "1e65", RuleRange},
		{"many digits", number, guards.Number, strings.Repeat("9", 100), RuleRange},
		{"a string that is a number", number, guards.String, "5", RuleWrongType},
		{"null for a number", number, guards.Null, "null", RuleWrongType},
		{"a tenth is a tenth", third, guards.Number, "0.1", ""},
		{"and not more", third, guards.Number, "0.1000000000000000055511151231257827", RuleRange},

		{"short enough", Rule{Length: 3}, guards.String, "äöü", ""},
		{"one character too many", Rule{Length: 3}, guards.String, "äöüß", RuleLength},
		{"everything holds", Rule{Length: 9, Prefixes: []string{"a"}, Pattern: must(t, ".*b")}, guards.String, "a--b", ""},
		{"one thing does not", Rule{Length: 9, Prefixes: []string{"a"}, Pattern: must(t, ".*b")}, guards.String, "a--c", RulePattern},
	} {
		got, why := row.rule.Check(row.kind, row.value)
		if got != row.want || (got == "") != (why == "") {
			t.Errorf("%s: %q %q, want %q", row.name, got, why, row.want)
		}
		if len(row.value) > 3 && row.rule.Hosts == nil && strings.Contains(why, row.value) {
			t.Errorf("%s: the value is quoted: %s", row.name, why)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, bad := range []string{"a)(b", "(", `\`, "a{2,1}", `(?<=a)b`} {
		if _, err := Pattern(bad); err == nil {
			t.Errorf("%s is an expression", bad)
		}
	}
	if must(t, "a|b").MatchString("ax") || !must(t, "(?i)A").MatchString("a") {
		t.Error("the whole value is not what is matched")
	}
}

func TestInspect(t *testing.T) {
	g := New(map[string]map[string]Rule{"docs/read": {"path": {Prefixes: []string{"/a/"}, Required: true}, "limit": {Max: big.NewRat(10, 1)}}, "docs/list": {"id": {Required: true}}})
	arg := func(path, name string, kind guards.ArgKind, value string) guards.Arg {
		return guards.Arg{Path: path, Name: name, Kind: kind, Value: value}
	}
	good := arg("path", "path", guards.String, "/a/x")
	for _, row := range []struct {
		name string
		tool string
		args []guards.Arg
		want string
	}{
		{"all that must be there", "docs/read", []guards.Arg{good}, ""},
		{"and what may", "docs/read", []guards.Arg{good, arg("limit", "limit", guards.Number, "10")}, ""},
		{"others are free", "docs/read", []guards.Arg{good, arg("note", "note", guards.String, "../../etc")}, ""},
		{"absent", "docs/read", nil, "required path must be given"},
		{"below another name", "docs/read", []guards.Arg{arg("options", "options", guards.Object, ""), arg("options.path", "path", guards.String, "/a/x")}, "required path must be given"},
		{"in a list", "docs/read", []guards.Arg{arg("path", "path", guards.Array, ""), arg("path[]", "path", guards.String, "/a/x")}, "wrong-type path must be a string"},
		{"broken", "docs/read", []guards.Arg{good, arg("limit", "limit", guards.Number, "11")}, "range limit must be at most 10"},
		{"another spelling", "docs/read", []guards.Arg{good, arg("Path", "Path", guards.String, "/etc")}, "ambiguous-argument an argument name differs from path only in case or invisible characters"},
		{"another tool", "docs/write", nil, ""},
		{"null is not there", "docs/list", []guards.Arg{arg("id", "id", guards.Null, "null")}, "required id must be given"},
		{"whatever is", "docs/list", []guards.Arg{arg("id", "id", guards.Object, "")}, ""},
	} {
		d := g.Inspect(context.Background(), &guards.Call{Tool: row.tool, Args: row.args})
		got := ""
		if d.Block != nil {
			got = d.Block.Rule + " " + strings.TrimPrefix(d.Block.Public, "blocked by argument rule: ")
		}
		if got != row.want || len(d.Edits)+len(d.Findings) != 0 {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// Whatever passes a prefix stays below it, however often it is decoded and whichever
// slash it is written with.
func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"", "a", "../x", "%2e%2e/x", "%252e/x", `..\x`, "．．/x", "..;/x", "a/%2", "\u2025/x", ".%2e", "a//b", "./.", "%25%32%65", "..?x", "..#/x", ".. /x", "%u002e%u002e/x", "%c0%ae%c0%ae/x", "%ef%bc%8e%ef%bc%8e/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		value := "/base/dir/" + rest
		if rule, _ := (Rule{Prefixes: []string{"/base/dir/"}}).Check(guards.String, value); rule != "" {
			return
		}
		for range 4 {
			clean := path.Clean(strings.NewReplacer(`\`, "/", "?", "/", "#", "/", "/.. ", "/..", "\xc0\xae", ".", "．", ".", "／", "/", "\u2024", ".", "\u2025", "..").Replace(value))
			if clean != "/base/dir" && !strings.HasPrefix(clean, "/base/dir/") {
				t.Fatalf("%q is %q", value, clean)
			}
			value = decoded(value)
		}
	})
}

// decoded takes every escape that is one, as lenient servers do.
func decoded(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := strings.IndexByte("0123456789abcdef", s[i+1]|0x20), strings.IndexByte("0123456789abcdef", s[i+2]|0x20)
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A number passes exactly when it is in the range, computed another way.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-1", "1e2", "0.1", "1E-3", "99.9999999999999999999", "1e65"} {
		f.Add(s)
	}
	r := Rule{Min: big.NewRat(-3, 2), Max: big.NewRat(100, 1)}
	f.Fuzz(func(t *testing.T, literal string) {
		if !regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`).MatchString(literal) {
			return // no JSON number
		}
		rule, _ := r.Check(guards.Number, literal)
		if rule == "" {
			if x, _, err := big.ParseFloat(literal, 10, 2000, big.ToNearestEven); err != nil || x.Cmp(big.NewFloat(-1.5)) < 0 || x.Cmp(big.NewFloat(100)) > 0 {
				t.Errorf("%s passes", literal)
			}
		}
	})
}
