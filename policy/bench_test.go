package policy

import (
	"fmt"
	"strings"
	"testing"
)

// generated returns a policy of n permissions: ten for each of n/10 roles, one
// user for each role, and one user and one object group for the questions.
func generated(n int) string {
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, "p, role:%d, docs/tool_%d, call\n", i/10, i)
		if i%10 == 0 {
			fmt.Fprintf(&b, "g, user:%d, role:%d\n", i/10, i/10)
		}
	}
	b.WriteString("p, role:last, readers, call\n")
	b.WriteString("g, user:asks, role:last\ng, role:last, role:0\ng2, docs/asked, readers\n")
	return b.String()
}

type question struct {
	name    string
	subject string
	p       Permission
	allowed bool
}

var questionList = []question{
	{"allowed through role and group", "user:asks", Permission{"docs/asked", "call"}, true},
	{"allowed through an inherited role", "user:asks", Permission{"docs/tool_3", "call"}, true},
	{"denied", "user:asks", Permission{"docs/tool_3", "read"}, false},
	{"unknown object", "user:asks", Permission{"docs/none", "call"}, false},
	{"unknown user", "user:none", Permission{"docs/asked", "call"}, false},
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	e, c := load(t, generated(1000)), demoCatalog()
	have, need := []string{"documents:*", "folders:read"}, []string{"folders:read", "documents:delete"}
	type path struct {
		name string
		run  func() bool // false means that it did not do what it should
	}
	paths := []path{
		{"roles", func() bool { return len(e.Roles("user:asks")) == 2 }},
		{"roles, built-in", func() bool { return len(Builtin().Roles("user:x")) == 1 }},
		{"decide, built-in", func() bool { return Builtin().Decide("user:x", Permission{"docs/a", "call"}).Allowed }},
		{"catalog", func() bool { _, ok := c.Lookup("docs", "delete_document"); return ok }},
		{"catalog, unknown", func() bool { _, ok := c.Lookup("docs", "none"); return !ok }},
		{"scopes", func() bool { return MissingScopes(have, need) == nil }},
	}
	for _, q := range questionList {
		paths = append(paths, path{"decide, " + q.name, func() bool { return e.Decide(q.subject, q.p).Allowed == q.allowed }})
	}
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			ok := true
			if n := testing.AllocsPerRun(100, func() { ok = p.run() && ok }); n != 0 || !ok {
				t.Errorf("%v allocations, right answer %t", n, ok)
			}
		})
	}
}

// The cost of a decision must not grow with the number of rules.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000, 100_000} {
		e := load(b, generated(n))
		for _, q := range questionList {
			b.Run(fmt.Sprintf("rules=%d/%s", n, q.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if e.Decide(q.subject, q.p).Allowed != q.allowed {
						b.Fatal("wrong answer")
					}
				}
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000, 100_000} {
		text := generated(n)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Load(strings.NewReader(text), "f", nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCatalogLookup(b *testing.B) {
	c := demoCatalog()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Lookup("docs", "delete_document"); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkMissingScopes(b *testing.B) {
	have, need := []string{"documents:*"}, []string{"documents:delete"}
	b.ReportAllocs()
	for b.Loop() {
		if MissingScopes(have, need) != nil {
			b.Fatal("missing")
		}
	}
}
