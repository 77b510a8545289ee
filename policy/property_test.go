package policy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/casbin/casbin/v2"
)

// The property of this file: the snapshot and Casbin give the same answer, for
// the same row, to every request under every policy that loads.

// draw returns a number in [0, n); it is the only source of choice, so that a
// seed or a fuzzer's bytes give one policy and its requests.
type draw func(n int) int

func (d draw) of(names ...string) string { return names[d(len(names))] }

func (d draw) subject() string {
	return d.of("user:u0", "user:u1", "user:u2", "user:admin", "role:admin", "role:r0", "role:r1", "role:r2", "role:r3")
}

func (d draw) role() string { return d.of("role:admin", "role:r0", "role:r1", "role:r2", "role:r3") }

func (d draw) object() string {
	return d.of("document", "docs/a", "docs/b", "srv/a", "srv/a/b", "readers", "g0", "g1")
}

func (d draw) group() string { return d.of("readers", "g0", "g1", "document") }

func (d draw) action() string { return d.of("read", "delete", "call") }

// policy writes a random policy: permissions, denials, patterns, cycles, and
// chains that are as long as inheritance reaches and a little longer.
func (d draw) policy() string {
	var b strings.Builder
	for range d(10) {
		object, action := d.object(), d.action()
		switch d(6) {
		case 0:
			object = d.of("docs/*", "srv/*", "document/*")
		case 1:
			object = "*"
		}
		if d(4) == 0 {
			action = "*"
		}
		fmt.Fprintf(&b, "p, %s, %s, %s, %s\n", d.subject(), object, action, d.of("allow", "allow", "deny"))
	}
	for range d(8) {
		fmt.Fprintf(&b, "g, %s, %s\n", d.subject(), d.role())
	}
	for range d(6) {
		fmt.Fprintf(&b, "g2, %s, %s\n", d.object(), d.group())
	}
	if d(4) == 0 {
		d.chain(&b, "g", "user:deep", "role:deep")
	}
	if d(4) == 0 {
		d.chain(&b, "g2", "docs/deep", "deep")
	}
	return b.String()
}

// chain links member over 8 to 13 steps to a name that a permission mentions.
func (d draw) chain(b *strings.Builder, kind, member, stem string) {
	links := 8 + d(6)
	for i := 1; i <= links; i++ {
		next := fmt.Sprint(stem, i)
		fmt.Fprintf(b, "%s, %s, %s\n", kind, member, next)
		member = next
	}
	if kind == "g" {
		fmt.Fprintf(b, "p, %s, *, *, %s\n", member, d.of("allow", "deny"))
		fmt.Fprintf(b, "p, user:deep, document, read, allow\n")
	} else {
		fmt.Fprintf(b, "p, %s, %s, %s, allow\n", d.subject(), member, d.action())
	}
}

func (d draw) request() request {
	r := request{d.subject(), d.object(), d.action()}
	if d(3) == 0 {
		r.subject = d.of("user:deep", "user:deep", "user:deep", "role:deep1", "role:deep2", "user:ghost", "role:ghost", "admin", "user:", "", "user:é")
	}
	if d(3) == 0 {
		r.object = d.of("docs/deep", "docs/deep", "docs/deep", "deep1", "deep2", "docs/new", "docs/", "docs", "docs/*", "*", "", "/", "srv/é", "srv/a b", "documents")
	}
	if d(6) == 0 {
		r.action = d.of("*", "", "create", "re*d")
	}
	return r
}

// mutant spoils a snapshot; nil builds the sound one with Compile.
type mutant func(t table) (*Engine, error)

// disagreement builds one policy, asks n requests and describes the first that
// is answered in two ways; it is empty if there is none.
func disagreement(t testing.TB, d draw, n int, spoil mutant) string {
	t.Helper()
	text := d.policy()
	oracle, snapshot := both(t, text, spoil)
	for range n {
		r := d.request()
		got := snapshot.Decide(r.subject, Permission{r.object, r.action})
		want, row, err := oracle.EnforceEx(r.subject, r.object, r.action)
		if err != nil {
			t.Fatalf("casbin failed on %q under\n%s: %v", r, text, err)
		}
		if _, rule, _ := strings.Cut(got.Rule, ": p, "); got.Allowed != want || rule != strings.Join(row, ", ") {
			return fmt.Sprintf("%q: snapshot %+v, casbin %t by %q, under\n%s", r, got, want, row, text)
		}
	}
	if spoil != nil { // a mutant has to be caught by its decisions
		return ""
	}
	return differentRoles(oracle, snapshot, text)
}

// both compiles text for Casbin and as a snapshot.
func both(t testing.TB, text string, spoil mutant) (*casbin.Enforcer, *Engine) {
	t.Helper()
	l := newLoader()
	l.file("f", []byte(text))
	oracle, err := NewEnforcer()
	if err != nil || len(l.problems) > 0 {
		t.Fatalf("%v %v in\n%s", err, l.problems, text)
	}
	if err := l.feed(oracle); err != nil {
		t.Fatal(err)
	}
	if spoil == nil {
		spoil = func(table) (*Engine, error) { return Compile(oracle, "", l.at) }
	}
	rows, err := rowsOf(oracle.GetModel(), l.at)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := spoil(rows)
	if err != nil {
		t.Fatalf("%v for\n%s", err, text)
	}
	return oracle, snapshot
}

// differentRoles compares the roles of every subject with Casbin's role manager.
func differentRoles(oracle *casbin.Enforcer, snapshot *Engine, text string) string {
	for member := range snapshot.subjects {
		var want []string
		for role := range snapshot.allRoles() {
			if has, err := oracle.GetRoleManager().HasLink(member, role); err == nil && has && role != member {
				want = append(want, role)
			}
		}
		slices.Sort(want)
		if got := snapshot.Roles(member); !slices.Equal(got, want) {
			return fmt.Sprintf("%s has roles %q, casbin says %q, under\n%s", member, got, want, text)
		}
	}
	return ""
}

func (e *Engine) allRoles() map[string]bool {
	all := map[string]bool{}
	for member, s := range e.subjects {
		all[member] = strings.HasPrefix(member, rolePrefix)
		for _, r := range s.roles {
			all[r] = true
		}
	}
	maps.DeleteFunc(all, func(_ string, isRole bool) bool { return !isRole })
	return all
}

func seeded(seed uint64) draw { return rand.New(rand.NewPCG(seed, 2)).IntN }

const (
	propertyPolicies = 1000
	propertyRequests = 100
)

func TestSnapshotEqualsCasbin(t *testing.T) {
	for seed := range uint64(propertyPolicies) {
		if text := disagreement(t, seeded(seed), propertyRequests, nil); text != "" {
			t.Fatalf("seed %d: %s", seed, text)
		}
	}
}

// The property can fail: each of these snapshots is wrong in one way and is
// caught by the policies and requests of TestSnapshotEqualsCasbin.
func TestPropertyCatchesMutants(t *testing.T) {
	after := func(spoil func(*Engine)) mutant {
		return func(t table) (*Engine, error) {
			e, err := build(t, casbinDepth)
			if err == nil {
				spoil(e)
			}
			return e, err
		}
	}
	depth := func(roles, groups int) mutant {
		return func(t table) (*Engine, error) {
			e, err := build(t, roles)
			if err != nil {
				return nil, err
			}
			other, err := build(t, groups)
			if err == nil {
				e.objects = other.objects
			}
			return e, err
		}
	}
	for _, row := range []struct {
		name  string
		spoil mutant
	}{
		{"deny is ignored", after(func(e *Engine) {
			for g, f := range e.grants {
				e.grants[g] = effect{allow: f.allow}
			}
		})},
		{"depth 12", depth(12, 12)},
		{"depth 11 of roles", depth(11, casbinDepth)},
		{"depth 11 of groups", depth(casbinDepth, 11)},
		{"depth 9 of roles", depth(9, casbinDepth)},
		{"depth 9 of groups", depth(casbinDepth, 9)},
		{"server wildcard is lost", after(func(e *Engine) { clear(e.servers) })},
		{"object wildcard is lost", after(func(e *Engine) { e.anything = 0 })},
		{"action wildcard is lost", after(func(e *Engine) { e.always = 0 })},
		{"object groups are lost", after(func(e *Engine) {
			for o, list := range e.objects {
				e.objects[o] = list[:min(1, len(list))]
			}
		})},
		{"a user named like a role has it", after(func(e *Engine) { e.subjects["user:admin"] = e.subjects["role:admin"] })},
		{"wildcards match names without a slash", after(func(e *Engine) { e.objects["docs"] = append(e.objects["docs"], e.servers["docs/"]) })},
		{"an unknown user is everybody's peer", after(func(e *Engine) { e.subjects["user:ghost"] = e.subjects["user:u0"] })},
		{"the wrong row is reported", after(func(e *Engine) { slices.Reverse(e.rules) })},
	} {
		t.Run(row.name, func(t *testing.T) {
			for seed := range uint64(propertyPolicies) {
				if disagreement(t, seeded(seed), propertyRequests, row.spoil) != "" {
					return
				}
			}
			t.Error("the property holds for a broken snapshot")
		})
	}
}

// FuzzSnapshotEqualsCasbin lets the fuzzer choose the policy and the requests.
func FuzzSnapshotEqualsCasbin(f *testing.F) {
	for seed := range uint64(8) {
		choices := make([]byte, 400)
		for i := range choices {
			choices[i] = byte(seeded(seed + uint64(i)<<8)(256))
		}
		f.Add(choices)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		d := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		}
		if text := disagreement(t, d, 30, nil); text != "" {
			t.Error(text)
		}
	})
}
