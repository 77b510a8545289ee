package policy

import (
	"slices"
	"strings"
	"testing"
)

// load compiles a policy of one row per argument.
func load(t testing.TB, rows ...string) *Engine {
	t.Helper()
	e, err := Load(strings.NewReader(strings.Join(rows, "\n")), "policy.csv", nil)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return e
}

func TestDemoPolicyMatrix(t *testing.T) {
	e, err := LoadFile("testdata/demo.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	actions := []string{"create", "read", "update", "delete"}
	for _, row := range []struct {
		subject string
		allowed string // one letter for each action, - for a refusal
		roles   []string
	}{
		{"user:alice", "crud", []string{"role:admin"}},
		{"user:bob", "-ru-", []string{"role:editor"}},
		{"user:carol", "-r--", []string{"role:viewer"}},
		{"user:dave", "----", nil},
	} {
		for i, action := range actions {
			t.Run(row.subject+" "+action, func(t *testing.T) {
				got := e.Decide(row.subject, Permission{Object: "document", Action: action})
				if want := row.allowed[i] != '-'; got.Allowed != want {
					t.Errorf("Decide = %+v, want allowed %t", got, want)
				}
				if got.Allowed != (got.Rule != "") {
					t.Errorf("Rule = %q does not fit allowed %t", got.Rule, got.Allowed)
				}
			})
		}
		if got := e.Roles(row.subject); !slices.Equal(got, row.roles) {
			t.Errorf("Roles(%q) = %q, want %q", row.subject, got, row.roles)
		}
	}
}

func TestDecide(t *testing.T) {
	e := load(t,
		"p, role:admin, *, *",
		"p, role:admin, docs/purge, *, deny",
		"p, role:caller, docs/*, call",
		"p, role:reader, readers, read, allow",
		"p, user:erin, docs/one, call, allow",
		"p, user:erin, docs/one, call, deny",
		"g, user:root, role:admin",
		"g, user:tom, role:caller",
		"g, user:tom, role:nobody",
		"g, user:rita, role:sub",
		"g, role:sub, role:reader",
		"g2, document, readers",
	)
	for _, row := range []struct {
		name                    string
		subject, object, action string
		allowed                 bool
		rule                    string
	}{
		{"object and action wildcards", "user:root", "any/thing", "burn", true, "policy.csv:1: p, role:admin, *, *, allow"},
		{"deny wins over a wildcard", "user:root", "docs/purge", "call", false, "policy.csv:2: p, role:admin, docs/purge, *, deny"},
		{"deny wins over the same row", "user:erin", "docs/one", "call", false, "policy.csv:6: p, user:erin, docs/one, call, deny"},
		{"server wildcard", "user:tom", "docs/new", "call", true, "policy.csv:3: p, role:caller, docs/*, call, allow"},
		{"server wildcard reaches below a slash", "user:tom", "docs/a/b", "call", true, "policy.csv:3: p, role:caller, docs/*, call, allow"},
		{"server wildcard is no prefix of names", "user:tom", "docs2/new", "call", false, ""},
		{"server wildcard needs the slash", "user:tom", "docs", "call", false, ""},
		{"server wildcard and another action", "user:tom", "docs/new", "read", false, ""},
		{"inherited role and object group", "user:rita", "document", "read", true, "policy.csv:4: p, role:reader, readers, read, allow"},
		{"a role is a subject too", "role:caller", "docs/new", "call", true, "policy.csv:3: p, role:caller, docs/*, call, allow"},
		{"unknown user", "user:eve", "docs/new", "call", false, ""},
		{"user named like a role", "user:admin", "docs/new", "call", false, ""},
		{"user named like a prefixed role", "user:role:admin", "docs/new", "call", false, ""},
		{"role without its prefix", "admin", "docs/new", "call", false, ""},
		{"upper case", "user:Root", "docs/new", "call", false, ""},
		{"empty subject", "", "docs/new", "call", false, ""},
		{"empty object", "user:root", "", "call", false, ""},
		{"empty action", "user:root", "docs/new", "", false, ""},
		{"bare prefix", "user:", "docs/new", "call", false, ""},
		{"blank slips past a deny row", "user:root", "docs/purge ", "call", false, ""},
		{"line break slips past a deny row", "user:root", "docs/purge\n", "call", false, ""},
		{"NUL slips past a deny row", "user:root", "docs/purge\x00", "call", false, ""},
		{"look-alike slips past a deny row", "user:root", "docs/рurge", "call", false, ""},
		{"zero-width character in the action", "user:root", "docs/new", "ca\u200bll", false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := e.Decide(row.subject, Permission{Object: row.object, Action: row.action})
			if want := (Decision{Allowed: row.allowed, Rule: row.rule}); got != want {
				t.Errorf("Decide(%q, %q, %q) = %+v, want %+v", row.subject, row.object, row.action, got, want)
			}
		})
	}
}

// A user whose name equals a role's gains nothing, whichever way round the
// names are written.
func TestUserNamedLikeRole(t *testing.T) {
	e := load(t, "p, role:admin, *, *, allow", "p, role:user:admin, *, *, allow", "g, user:alice, role:admin")
	for _, subject := range []string{"user:admin", "user:role:admin", "admin", "USER:alice", " user:alice", "role:"} {
		if got := e.Decide(subject, Permission{"document", "read"}); got.Allowed {
			t.Errorf("Decide(%q) = %+v, want a refusal", subject, got)
		}
		if got := e.Roles(subject); len(got) != 0 {
			t.Errorf("Roles(%q) = %q, want none", subject, got)
		}
	}
}

func TestEnginesWithoutPolicy(t *testing.T) {
	empty := load(t)
	for _, row := range []struct {
		name    string
		engine  *Engine
		subject string
		p       Permission
		allowed bool
	}{
		{"nil engine", nil, "user:alice", Permission{"document", "read"}, false},
		{"zero engine", &Engine{}, "user:alice", Permission{"document", "read"}, false},
		{"zero engine, empty names", &Engine{}, "", Permission{}, false},
		{"empty policy", empty, "user:alice", Permission{"document", "read"}, false},
		// Casbin alone says yes here: it evaluates its matcher against empty columns.
		{"empty policy, empty names", empty, "", Permission{}, false},
		{"built-in", Builtin(), "user:alice", Permission{"docs/any", "call"}, true},
		{"built-in, exotic tool name", Builtin(), "user:alice", Permission{"docs/liste complète", "call"}, true},
		{"built-in, nobody", Builtin(), "", Permission{"document", "read"}, false},
		{"built-in, no object", Builtin(), "user:alice", Permission{"", "read"}, false},
		{"built-in, no action", Builtin(), "user:alice", Permission{"document", ""}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.engine.Decide(row.subject, row.p); got.Allowed != row.allowed {
				t.Errorf("Decide = %+v, want allowed %t", got, row.allowed)
			}
		})
	}
}

func TestRoles(t *testing.T) {
	e := load(t,
		"g, user:ann, role:z",
		"g, user:ann, role:a",
		"g, role:z, role:m",
		"g, role:m, role:z",
		"g, role:self, role:self",
		"p, user:direct, document, read",
	)
	for _, row := range []struct {
		name    string
		engine  *Engine
		subject string
		want    []string
	}{
		{"direct and inherited, sorted", e, "user:ann", []string{"role:a", "role:m", "role:z"}},
		{"cycle", e, "role:z", []string{"role:m"}},
		{"a role is not its own", e, "role:self", nil},
		{"permission without a role", e, "user:direct", nil},
		{"unknown", e, "user:eve", nil},
		{"empty", e, "", nil},
		{"nil engine", nil, "user:ann", nil},
		{"zero engine", &Engine{}, "user:ann", nil},
		{"built-in", Builtin(), "user:eve", []string{"role:any"}},
		{"built-in, nobody", Builtin(), "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.engine.Roles(row.subject); !slices.Equal(got, row.want) {
				t.Errorf("Roles(%q) = %q, want %q", row.subject, got, row.want)
			}
		})
	}
}

func TestRevision(t *testing.T) {
	const text = "p, role:a, document, read\n"
	revisionOf := func(text string, extra map[string][]string) string {
		t.Helper()
		e, err := Load(strings.NewReader(text), "policy.csv", extra)
		if err != nil {
			t.Fatal(err)
		}
		return e.Revision()
	}
	base := revisionOf(text, nil)
	if len(base) != 12 {
		t.Errorf("revision %q, want 12 characters", base)
	}
	if again := revisionOf(text, map[string][]string{}); again != base {
		t.Errorf("the same source gave %q and %q", base, again)
	}
	one := map[string][]string{"user:x": {"role:a"}, "user:y": {"role:a", "role:b"}}
	two := map[string][]string{"user:x": {"role:a", "role:b"}, "user:y": {"role:a"}}
	all := []string{base, revisionOf(text+"# note\n", nil), revisionOf(text, one), revisionOf(text, two), Builtin().Revision()}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("different sources share a revision: %q", all)
	}
	if got := (*Engine)(nil).Revision(); got != "" {
		t.Errorf("nil engine has revision %q", got)
	}
}

// Roles that a subject was given from elsewhere count like its own: with what they
// inherit, and with what they deny. Only roles can be given.
func TestGivenRoles(t *testing.T) {
	e := load(t,
		"p, role:reader, document, read, allow", "p, role:writer, document, update, allow", "p, role:suspended, *, *, deny",
		"p, user:boss, document, delete, allow", "g, role:editor, role:reader", "g, role:editor, role:writer", "g, user:carol, role:reader",
	)
	for _, row := range []struct {
		name, subject, action string
		given                 []string
		want                  bool
		rule                  string
	}{
		{"nobody", "user:dave", "read", nil, false, ""},
		{"given", "user:dave", "read", []string{"role:reader"}, true, "role:reader, document, read, allow"},
		{"inherited by what is given", "user:dave", "update", []string{"role:editor"}, true, "role:writer, document, update, allow"},
		{"beside its own", "user:carol", "update", []string{"role:writer"}, true, "role:writer"},
		{"its own still count", "user:carol", "read", []string{"role:writer"}, true, "role:reader"},
		{"what a given role denies", "user:carol", "read", []string{"role:suspended"}, false, "role:suspended, *, *, deny"},
		{"what one of several denies", "user:dave", "read", []string{"role:reader", "role:suspended"}, false, "role:suspended"},
		{"not enough", "user:dave", "delete", []string{"role:editor"}, false, ""},
		{"unknown to the policy", "user:dave", "read", []string{"role:unknown"}, false, ""},
		{"a user", "user:dave", "delete", []string{"user:boss"}, false, ""},
		{"no prefix", "user:dave", "read", []string{"reader"}, false, ""},
		{"nobody with a role", "", "read", []string{"role:reader"}, false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := e.Decide(row.subject, Permission{"document", row.action}, row.given...)
			if got.Allowed != row.want || !strings.Contains(got.Rule, row.rule) || row.rule == "" && got.Rule != "" {
				t.Errorf("%+v, want %t by %q", got, row.want, row.rule)
			}
		})
	}
	for _, row := range []struct {
		subject     string
		given, want []string
	}{
		{"user:dave", []string{"role:editor"}, []string{"role:editor", "role:reader", "role:writer"}},
		{"user:carol", []string{"role:editor", "role:unknown"}, []string{"role:editor", "role:reader", "role:unknown", "role:writer"}},
		{"user:carol", []string{"user:boss", "writer"}, []string{"role:reader"}},
		{"", []string{"role:editor"}, nil},
	} {
		if got := e.Roles(row.subject, row.given...); !slices.Equal(got, row.want) {
			t.Errorf("Roles(%q, %q) = %q, want %q", row.subject, row.given, got, row.want)
		}
	}
	if got := e.Roles("user:carol"); !slices.Equal(got, []string{"role:reader"}) {
		t.Errorf("roles of all were changed: %q", got)
	}
	if got := Builtin().Roles("user:x", "role:admin"); !slices.Equal(got, []string{RoleAny}) {
		t.Errorf("built-in: %q", got)
	}
}
