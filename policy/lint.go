package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Smell is something in a policy, or in how tools need it, that does nothing or not what
// it looks like. It is no error: the policy is in force.
type Smell struct {
	Rule string // stable id: "role-without-members"
	File string // or the configuration key
	Line int    // 0 where there is none
	Text string
	Cure string
}

// Place is where the smell is.
func (s Smell) Place() string { return place(s.File, s.Line) }

// Ids of smells.
const (
	SmellRoleWithoutMembers = "role-without-members" // a row about a role that nobody has
	SmellRoleWithoutRows    = "role-without-rows"    // a role that allows nothing
	SmellDeniedAnyway       = "denied-anyway"        // an allowing row that a denying one always outweighs
	SmellCovered            = "covered"              // a row that another one says already
	SmellUnusedObject       = "unused-object"        // a row about what no tool is
	SmellUnusedAction       = "unused-action"        // a row about what nobody does to the object
	SmellEmptyGroup         = "empty-group"          // a group that has no members, or that no row is about
	SmellUnknownServer      = "unknown-server"       // a row about a server that is not configured
	SmellUngrantedScope     = "ungranted-scope"      // a scope that a tool needs and no token has
	SmellUnknownTool        = "unknown-tool"         // a tool that its server does not list
	SmellUnknownArgument    = "unknown-argument"     // an argument that its tool does not take
)

// LintInput is what a policy is read against.
type LintInput struct {
	Rows    Rows
	Given   map[string][]string // roles from the configuration, as in Load
	Roles   []string            // that users may have besides, from claims or a directory
	Anyones bool                // any role may come from elsewhere: nobody can say that one has no members
	Servers []string
	Tools   []LintTool
	Granted []string // scopes that tokens have; nil where nobody can say
	Scopes  Hierarchy
	// Listed are the arguments of each tool that its server lists ("docs/read_document"),
	// nil where a tool takes any. A server without entry was not asked.
	Listed map[string]map[string][]string
}

// LintTool is a tool as the configuration has it.
type LintTool struct {
	Name  string // with its server's
	Entry Entry
	Args  []string
	Owned bool // it depends on whose the thing is
}

// Lint reads a policy against what it is for. Rows must be those of a policy that
// compiles.
func Lint(in LintInput) []Smell {
	l := &linter{in: in, about: map[string][]Row{}, named: map[string]bool{}, objects: map[string][]string{}, parents: map[string][]string{}, members: map[string]bool{}, groups: map[string][]string{}}
	l.learn()
	for _, r := range in.Rows.Rows {
		switch r.Fields[0] {
		case "p":
			l.permission(r)
		case "g":
			l.membership(r)
		case "g2":
			l.group(r)
		}
	}
	l.tools()
	return l.smells
}

type linter struct {
	in      LintInput
	about   map[string][]Row    // p rows by subject
	denying []Row               // p rows
	objects map[string][]string // actions of the tools that an object is about, as far as somebody has asked
	parents map[string][]string // roles of a subject, direct
	named   map[string]bool     // objects of p rows
	members map[string]bool     // subjects that somebody is or has
	groups  map[string][]string // groups of an object, direct
	smells  []Smell
}

func (l *linter) add(rule string, r Row, cure, format string, args ...any) {
	l.smells = append(l.smells, Smell{Rule: rule, File: l.in.Rows.Name, Line: r.Line, Text: fmt.Sprintf(format, args...), Cure: cure})
}

// learn collects who has which role.
func (l *linter) learn() {
	for _, r := range l.in.Rows.Rows {
		switch r.Fields[0] {
		case "p":
			l.about[r.Fields[1]] = append(l.about[r.Fields[1]], r)
			l.named[r.Fields[2]] = true
			if r.Fields[4] == "deny" {
				l.denying = append(l.denying, r)
			}
		case "g":
			l.parents[r.Fields[1]] = append(l.parents[r.Fields[1]], r.Fields[2])
		case "g2":
			l.groups[r.Fields[1]] = append(l.groups[r.Fields[1]], r.Fields[2])
		}
	}
	for _, member := range slices.Sorted(maps.Keys(l.in.Given)) {
		l.parents[member] = append(l.parents[member], l.in.Given[member]...)
	}
	var reach func(string)
	reach = func(subject string) {
		if l.members[subject] {
			return
		}
		l.members[subject] = true
		for _, role := range l.parents[subject] {
			reach(role)
		}
	}
	for member := range l.parents {
		if strings.HasPrefix(member, userPrefix) {
			reach(member)
		}
	}
	for _, role := range l.in.Roles {
		reach(role)
	}
}

func (l *linter) permission(r Row) {
	subject, object, action := r.Fields[1], r.Fields[2], r.Fields[3]
	if strings.HasPrefix(subject, rolePrefix) && !l.members[subject] && !l.in.Anyones {
		l.add(SmellRoleWithoutMembers, r, "give it to somebody (g, user:NAME, "+subject+"), or remove the row", "nobody has %s", subject)
	}
	l.object(r, object, action)
	for _, other := range slices.Concat(l.denying, l.about[subject]) {
		if slices.Equal(other.Fields, r.Fields) || !covered(r, other) {
			continue
		}
		denies, allows := other.Fields[4] == "deny", r.Fields[4] == "allow"
		switch {
		case denies && allows && l.always(subject, other.Fields[1]):
			l.add(SmellDeniedAnyway, r, "remove one of the two", "%s denies the same, and denials win", place(l.in.Rows.Name, other.Line))
		case denies == !allows && other.Fields[1] == subject:
			l.add(SmellCovered, r, "remove the row", "%s says it already", place(l.in.Rows.Name, other.Line))
		default:
			continue
		}
		return
	}
}

// covered says whether other is about everything that r is about.
func covered(r, other Row) bool {
	object, action := other.Fields[2], other.Fields[3]
	server, all := strings.CutSuffix(object, "*")
	inObject := object == r.Fields[2] || object == "*" || all && strings.HasPrefix(r.Fields[2], server)
	return inObject && (action == "*" || action == r.Fields[3])
}

// always says whether everybody who has subject has other too.
func (l *linter) always(subject, other string) bool {
	seen := map[string]bool{}
	var is func(string) bool
	is = func(s string) bool {
		if s == other {
			return true
		}
		if seen[s] {
			return false
		}
		seen[s] = true
		return slices.ContainsFunc(l.parents[s], is)
	}
	return is(subject)
}

// object looks for what a row is about.
func (l *linter) object(r Row, object, action string) {
	if object == "*" {
		return
	}
	server, rest, ofServer := strings.Cut(object, "/")
	switch {
	case ofServer && !slices.Contains(l.in.Servers, server):
		l.add(SmellUnknownServer, r, "correct it; there are "+strings.Join(l.in.Servers, ", "), "no server is called %s", server)
		return
	case ofServer && (rest == "*" || strings.Contains(rest, ":")):
		return // a resource, a prompt or a method, which no configuration lists
	}
	actions := l.actions(object)
	if ofServer && len(actions) == 0 { // a tool without an entry
		actions = []string{"call"}
	}
	switch {
	case len(actions) == 0:
		l.add(SmellUnusedObject, r, "correct it, or give a tool this resource (tools: NAME: { resource: "+object+" })", "no tool acts on %s", object)
	case action != "*" && !slices.Contains(actions, action) && !slices.Contains(actions, "*"):
		l.add(SmellUnusedAction, r, "correct it; there are "+strings.Join(actions, ", "), "no tool does %s to %s", action, object)
	}
}

// actions are what tools do to object, or to members of the group of that name. A
// member that is no configured tool may be anything.
func (l *linter) actions(object string) []string {
	if known, ok := l.objects[object]; ok {
		return known
	}
	var actions []string
	for _, t := range l.in.Tools {
		switch action := t.Entry.Permission.Action; {
		case !l.isAbout(t.Entry.Permission.Object, object):
		case t.Owned:
			actions = append(actions, action+Own, action+Any)
		default:
			actions = append(actions, action)
		}
	}
	for member := range l.groups {
		if l.isAbout(member, object) {
			actions = append(actions, "*")
		}
	}
	slices.Sort(actions)
	l.objects[object] = slices.Compact(actions)
	return l.objects[object]
}

// isAbout says whether member is object, or in a group of that name.
func (l *linter) isAbout(member, object string) bool {
	seen := map[string]bool{}
	var is func(string) bool
	is = func(s string) bool {
		if s == object {
			return true
		}
		if seen[s] {
			return false
		}
		seen[s] = true
		return slices.ContainsFunc(l.groups[s], is)
	}
	return is(member)
}

func (l *linter) membership(r Row) {
	role := r.Fields[2]
	var allows func(string, map[string]bool) bool
	allows = func(role string, seen map[string]bool) bool {
		if seen[role] {
			return false
		}
		seen[role] = true
		if len(l.about[role]) > 0 {
			return true
		}
		return slices.ContainsFunc(l.parents[role], func(r string) bool { return allows(r, seen) })
	}
	if !allows(role, map[string]bool{}) {
		l.add(SmellRoleWithoutRows, r, "add rows about it, or correct its name", "no row is about %s", role)
	}
}

func (l *linter) group(r Row) {
	name := r.Fields[2]
	if !l.named[name] && len(l.groups[name]) == 0 {
		l.add(SmellEmptyGroup, r, "add rows about it, or remove this one", "no row is about the group %s", name)
	}
}

// tools looks at the tools of the configuration.
func (l *linter) tools() {
	for _, t := range l.in.Tools {
		if l.in.Granted != nil {
			if missing := l.in.Scopes.Missing(l.in.Granted, t.Entry.Scopes); missing != nil {
				l.smells = append(l.smells, t.smell(SmellUngrantedScope, ".scopes", "correct it, or have a token granted it", "no token is granted %s", strings.Join(missing, ", ")))
			}
		}
		l.smells = append(l.smells, t.against(l.in.Listed)...)
	}
}

// LintListed is the part of Lint that compares tools with what their servers list.
func LintListed(tools []LintTool, listed map[string]map[string][]string) (smells []Smell) {
	for _, t := range tools {
		smells = append(smells, t.against(listed)...)
	}
	return smells
}

func (t LintTool) against(listed map[string]map[string][]string) (smells []Smell) {
	server, name, _ := strings.Cut(t.Name, "/")
	tools, asked := listed[server]
	if !asked {
		return nil
	}
	args, there := tools[name]
	if !there {
		return []Smell{t.smell(SmellUnknownTool, "", "correct its name; the server lists "+some(slices.Sorted(maps.Keys(tools))), "%s lists no tool %s", server, name)}
	}
	for _, a := range t.Args {
		if args != nil && !slices.Contains(args, a) {
			smells = append(smells, t.smell(SmellUnknownArgument, ".args."+a, "correct it; the tool takes "+some(args), "the tool takes no argument %s", a))
		}
	}
	return smells
}

func (t LintTool) smell(rule, key, cure, format string, args ...any) Smell {
	return Smell{Rule: rule, File: "tools." + t.Name + key, Text: fmt.Sprintf(format, args...), Cure: cure}
}

// Bounds of what is repeated of a server's names.
const (
	maxSome     = 20
	maxSomeName = 128 // bytes
)

// some are names that a server chose, as many as a person reads.
func some(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, name := range names[:min(len(names), maxSome)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.ToValidUTF8(name[:min(len(name), maxSomeName)], ""))
	}
	if more := len(names) - maxSome; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}
