package policy

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

//go:embed model.conf
var modelText string

const (
	// casbinDepth is how many links Casbin's default role manager follows: a
	// chain of ten inherits, an eleventh link does not.
	casbinDepth = 10

	maxReach = 256 // roles of one subject, groups of one object: bounds one decision
)

// NewEnforcer returns a Casbin enforcer with the model of this package, without
// adapter and without rows, for [Compile]. Nothing else should decide with it:
// its cost grows with the number of rows.
func NewEnforcer() (*casbin.Enforcer, error) {
	m, err := model.NewModelFromString(modelText)
	if err != nil {
		return nil, fmt.Errorf("reading the casbin model: %w", err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, fmt.Errorf("building the casbin enforcer: %w", err)
	}
	e.AddFunction("named", named)
	return e, nil
}

// named is wellNamed for the model.
func named(args ...any) (any, error) {
	for _, a := range args {
		if s, ok := a.(string); !ok || !wellNamed(s) {
			return false, nil
		}
	}
	return true, nil
}

// Compile turns the rows of an enforcer made by [NewEnforcer] into an Engine,
// which keeps nothing of it. at says where a row stands ("policy.csv:7"), from
// its type and columns; nil leaves rules without a place. Rows outside the
// grammar are refused with [Problems]; an enforcer that disagrees with the
// snapshot on a fixed list of requests is refused as well.
func Compile(e *casbin.Enforcer, revision string, at func(kind string, cols []string) string) (*Engine, error) {
	if at == nil {
		at = func(string, []string) string { return "" }
	}
	if err := sameModel(e.GetModel()); err != nil {
		return nil, err
	}
	rows, err := rowsOf(e.GetModel(), at)
	if err != nil {
		return nil, err
	}
	b, err := build(rows, casbinDepth)
	if err != nil {
		return nil, err
	}
	b.revision = revision
	if err := verify(b, e, rows["p"]); err != nil {
		return nil, err
	}
	return b, nil
}

// sameModel refuses enforcers whose rows mean something else.
func sameModel(got model.Model) error {
	want, err := model.NewModelFromString(modelText)
	if err != nil {
		return fmt.Errorf("reading the casbin model: %w", err)
	}
	for _, section := range []string{"r", "p", "g", "e", "m"} {
		same := maps.EqualFunc(got[section], want[section], func(a, b *model.Assertion) bool { return a.Value == b.Value })
		if !same {
			return fmt.Errorf("enforcer has another casbin model (section %q)", section)
		}
	}
	return nil
}

// placed is a checked row and where it stands.
type placed struct {
	row
	at string
}

func (p placed) String() string {
	if p.at == "" {
		return p.row.String()
	}
	return p.at + ": " + p.row.String()
}

// table holds the rows of a policy by type, in order.
type table map[string][]placed

// rowsOf reads and checks the rows of a model, wherever they came from.
func rowsOf(m model.Model, at func(string, []string) string) (table, error) {
	t := table{}
	var problems Problems
	rows := 0
	for _, kind := range rowTypes {
		for _, cols := range m[kind[:1]][kind].Policy {
			r, texts := parseRow(append([]string{kind}, cols...))
			if len(texts) == 0 && len(r.cols) != len(cols) {
				texts = []string{"row has no effect"}
			}
			where := at(kind, cols)
			for _, text := range texts {
				problems.add(Problem{File: where, Text: text})
			}
			t[kind] = append(t[kind], placed{row: r, at: where})
			rows++
		}
	}
	if rows > MaxRows {
		problems.add(Problem{File: "policy", Text: fmt.Sprintf("more than %d rows", MaxRows)})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return t, nil
}

// build makes the snapshot. depth is a parameter only so that a test can show
// that a wrong one is noticed.
func build(t table, depth int) (*Engine, error) {
	e := &Engine{
		servers: map[string]uint32{},
		actions: map[string]uint32{},
		grants:  make(map[grant]effect, len(t["p"])),
		rules:   make([]string, 0, len(t["p"])),
	}
	subjects, objects := ids{}, ids{}
	for _, r := range t["p"] {
		e.addRule(r, grant{subjects.of(r.cols[0]), objects.of(r.cols[1]), ids(e.actions).of(r.cols[2])})
	}
	e.anything, e.always = objects["*"], e.actions["*"]
	for name, id := range objects {
		if n := len(name) - 1; n > 0 && name[n] == '*' {
			e.servers[name[:n]] = id
		}
	}
	var problems Problems
	roles := closures(t["g"], subjects, depth, "roles", &problems)
	groups := closures(t["g2"], objects, depth, "groups", &problems)
	if len(problems) > 0 {
		return nil, problems
	}
	e.subjects = make(map[string]subject, len(roles))
	for name, c := range roles {
		e.subjects[name] = subject{roles: c.names, ids: c.ids}
	}
	e.objects = make(map[string][]uint32, len(groups))
	for name, c := range groups {
		e.objects[name] = c.ids
	}
	return e, nil
}

// addRule notes the row as the first of its effect for g, unless there is one.
func (e *Engine) addRule(r placed, g grant) {
	e.rules = append(e.rules, r.String())
	number := uint32(len(e.rules))
	f := e.grants[g]
	if r.cols[3] == "deny" {
		f.merge(effect{deny: number})
	} else {
		f.merge(effect{allow: number})
	}
	e.grants[g] = f
}

// ids numbers names from 1.
type ids map[string]uint32

func (m ids) of(name string) uint32 {
	id, ok := m[name]
	if !ok {
		id = uint32(len(m) + 1)
		m[name] = id
	}
	return id
}

// closure is what one name reaches.
type closure struct {
	names []string // without itself, sorted
	ids   []uint32 // with itself, as far as they are numbered
}

// closures computes what every name in links and in numbered reaches.
func closures(links []placed, numbered ids, depth int, what string, problems *Problems) map[string]closure {
	next := map[string][]string{}
	for _, l := range links {
		next[l.cols[0]] = append(next[l.cols[0]], l.cols[1])
	}
	all := map[string]closure{}
	for name, id := range numbered {
		all[name] = closure{ids: []uint32{id}}
	}
	for _, l := range links {
		name := l.cols[0]
		if all[name].names != nil { // an earlier link of the same name
			continue
		}
		names := reach(name, next, depth)
		if len(names) > maxReach {
			problems.add(Problem{File: l.at, Text: fmt.Sprintf("%s has more than %d %s", quoted(name), maxReach, what)})
		}
		all[name] = closure{names: names, ids: numbered.among(name, names)}
	}
	return all
}

// among returns the ids of name and names that have one.
func (m ids) among(name string, names []string) []uint32 {
	var found []uint32
	for _, n := range append([]string{name}, names...) {
		if id := m[n]; id != 0 {
			found = append(found, id)
		}
	}
	return found
}

// reach walks the links breadth first, as Casbin does, and stops behind depth
// links or when it has seen more than maxReach names.
func reach(name string, next map[string][]string, depth int) []string {
	seen := map[string]bool{name: true}
	level := []string{name}
	found := []string{}
	for range depth {
		var below []string
		for _, from := range level {
			for _, to := range next[from] {
				if seen[to] {
					continue
				}
				seen[to] = true
				found, below = append(found, to), append(below, to)
				if len(found) > maxReach {
					return found
				}
			}
		}
		level = below
	}
	slices.Sort(found)
	return found
}

// request is one question for verify.
type request struct{ subject, object, action string }

// verify asks the snapshot and Casbin the same questions: a stranger, whom no
// row can name, must be denied everything, and the subjects of some rows must
// get one answer from both. It notices a snapshot that was compiled wrongly
// and an enforcer that has been switched off.
func verify(e *Engine, oracle *casbin.Enforcer, rows []placed) error {
	stranger := userPrefix + rand.Text()
	for _, r := range questions(stranger, rows) {
		got := e.Decide(r.subject, Permission{Object: r.object, Action: r.action}).Allowed
		want, err := oracle.Enforce(r.subject, r.object, r.action)
		switch {
		case err != nil: // may hold a stack trace, which no reader needs
			return errors.New("casbin could not decide a check request")
		case got && r.subject == stranger:
			return errors.New("check failed: the policy allows a stranger")
		case got != want:
			return fmt.Errorf("check failed: snapshot says %t, casbin says %t for %s", got, want,
				row{kind: "r", cols: []string{r.subject, r.object, r.action}})
		}
	}
	return nil
}

// questions is a fixed number, because each costs Casbin a pass over all rows.
func questions(stranger string, rows []placed) []request {
	all := []request{
		{stranger, "document", "read"},
		{stranger, "*", "*"},
		{"", "", ""},
	}
	samples := min(5, len(rows))
	for i := range samples {
		cols := rows[i*(len(rows)-1)/max(1, samples-1)].cols
		all = append(all, request{cols[0], cols[1], cols[2]}, request{stranger, cols[1], cols[2]})
	}
	return all
}
