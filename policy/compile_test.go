package policy

import (
	"strings"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

// enforcer returns an enforcer that was filled past every check of Load, as a
// database might fill it.
func enforcer(t *testing.T, rows ...[]string) *casbin.Enforcer {
	t.Helper()
	e, err := NewEnforcer()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		add := e.AddNamedGroupingPolicies
		if r[0] == "p" {
			add = e.AddNamedPolicies
		}
		if ok, err := add(r[0], [][]string{r[1:]}); !ok || err != nil {
			t.Fatalf("casbin refused %q: %v", r, err)
		}
	}
	return e
}

func TestCompileRefusesRows(t *testing.T) {
	for _, row := range []struct {
		name string
		row  []string
		want string
	}{
		{"effect in capitals", []string{"p", "role:a", "x", "y", "Deny"}, `row of p: effect "Deny" must be allow or deny`},
		{"no effect", []string{"p", "role:a", "x", "y"}, "row of p: row has no effect"},
		{"pattern", []string{"p", "role:a", "srv/*_read", "y", "allow"}, `row of p: object pattern "srv/*_read" is not supported (only server/* and *)`},
		{"comma in a name", []string{"p", "role:a", "x,y", "z", "allow"}, `row of p: character ',' in "x,y" (allowed: letters, digits and _.:/@*-)`},
		{"subject without a prefix", []string{"g", "alice", "role:a"}, `row of g: subject "alice" must be user:NAME or role:NAME`},
		{"group named like a tool", []string{"g2", "docs/a", "docs/b"}, `row of g2: object group "docs/b" must not contain a slash, a tool could take its name`},
	} {
		t.Run(row.name, func(t *testing.T) {
			at := func(kind string, _ []string) string { return "row of " + kind }
			got, err := Compile(enforcer(t, row.row), "1", at)
			if got != nil || err == nil || err.Error() != row.want {
				t.Errorf("Compile = %v, %v, want %q", got, err, row.want)
			}
		})
	}
}

func TestCompile(t *testing.T) {
	e, err := Compile(enforcer(t, []string{"p", "role:a", "document", "read", "allow"}, []string{"g", "user:x", "role:a"}), "rev 7", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := e.Decide("user:x", Permission{"document", "read"})
	if want := (Decision{true, "p, role:a, document, read, allow"}); got != want || e.Revision() != "rev 7" {
		t.Errorf("Decide = %+v, revision %q, want %+v", got, e.Revision(), want)
	}
}

// An enforcer that answers differently from its rows is refused.
func TestCompileRefusesEnforcers(t *testing.T) {
	rows := [][]string{{"p", "role:a", "document", "read", "allow"}, {"g", "user:x", "role:a"}}
	foreign := func(t *testing.T, old, new string) *casbin.Enforcer {
		text := strings.Replace(modelText, old, new, 1)
		m, err := model.NewModelFromString(text)
		if err != nil || text == modelText {
			t.Fatalf("no other model: %v", err)
		}
		e, err := casbin.NewEnforcer(m)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, row := range []struct {
		name string
		make func(t *testing.T) *casbin.Enforcer
		want string
	}{
		{"switched off, so that it allows everything", func(t *testing.T) *casbin.Enforcer {
			e := enforcer(t, rows...)
			e.EnableEnforce(false)
			return e
		}, "check failed: snapshot says false, casbin says true"},
		{"fails to decide", func(t *testing.T) *casbin.Enforcer {
			m, err := model.NewModelFromString(modelText)
			if err != nil {
				t.Fatal(err)
			}
			e, err := casbin.NewEnforcer(m)
			if err != nil {
				t.Fatal(err)
			}
			e.AddFunction("named", func(...any) (any, error) { panic("boom") })
			return e
		}, "casbin could not decide a check request"},
		{"regular expressions", func(t *testing.T) *casbin.Enforcer {
			return foreign(t, "keyMatch(", "regexMatch(")
		}, `enforcer has another casbin model (section "m")`},
		{"allow overrides", func(t *testing.T) *casbin.Enforcer {
			return foreign(t, " && !some(where (p.eft == deny))", "")
		}, `enforcer has another casbin model (section "e")`},
		{"no object groups", func(t *testing.T) *casbin.Enforcer {
			return foreign(t, "g2 = _, _", "")
		}, `enforcer has another casbin model (section "g")`},
		{"another order of columns", func(t *testing.T) *casbin.Enforcer {
			return foreign(t, "p = sub, obj, act, eft", "p = sub, act, obj, eft")
		}, `enforcer has another casbin model (section "p")`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Compile(row.make(t), "1", nil)
			if got != nil || err == nil || !strings.HasPrefix(err.Error(), row.want) {
				t.Errorf("Compile = %v, %v, want %q", got, err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "goroutine") {
				t.Error("the error holds a stack trace")
			}
		})
	}
}

// The checks at load notice a snapshot that was compiled wrongly.
func TestVerifyNoticesBrokenSnapshot(t *testing.T) {
	rows := [][]string{{"p", "role:a", "docs/*", "*", "allow"}, {"p", "user:x", "docs/secret", "call", "deny"}, {"g", "user:x", "role:a"}}
	for _, row := range []struct {
		name  string
		spoil func(*Engine)
		want  string
	}{
		{"sound", func(*Engine) {}, ""},
		{"allows everybody", func(e *Engine) { e.open = true }, "check failed: the policy allows a stranger"},
		{"denies everybody", func(e *Engine) { clear(e.subjects) }, "check failed: snapshot says false, casbin says true for r, role:a, docs/*, *"},
		{"has no rows", func(e *Engine) { clear(e.grants) }, "check failed: snapshot says false, casbin says true for r, role:a, docs/*, *"},
		{"takes deny for allow", func(e *Engine) {
			for g, f := range e.grants {
				e.grants[g] = effect{allow: f.allow + f.deny}
			}
		}, "check failed: snapshot says true, casbin says false for r, user:x, docs/secret, call"},
	} {
		t.Run(row.name, func(t *testing.T) {
			oracle := enforcer(t, rows...)
			e, err := Compile(oracle, "1", nil)
			if err != nil {
				t.Fatal(err)
			}
			row.spoil(e)
			table, err := rowsOf(oracle.GetModel(), func(string, []string) string { return "" })
			if err != nil {
				t.Fatal(err)
			}
			err = verify(e, oracle, table["p"])
			if row.want == "" && err != nil || row.want != "" && (err == nil || err.Error() != row.want) {
				t.Errorf("verify: %v, want %q", err, row.want)
			}
		})
	}
}
