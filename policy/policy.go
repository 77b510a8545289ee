// Package policy decides what an authenticated subject may do. Casbin is
// embedded: rows of a policy file become a Casbin enforcer, the enforcer is
// compiled into an immutable snapshot, and every decision is read from the
// snapshot. There is no policy service.
//
// [Load] and [LoadFile] read the rows, [Engine.Decide] answers, [Catalog] says
// which permission a tool needs and [MissingScopes] what a token's scopes lack;
// [Hierarchy] knows scopes that include others.
// Scopes and roles stay two questions: a caller needs a yes to both.
//
// Rows are comma-separated, # starts a comment line:
//
//	p, role:admin, document, delete, allow    permission; the effect may be left out
//	p, role:guest, docs/*, *, deny            deny always wins
//	g, user:alice, role:admin                 a user or role has a role
//	g2, docs/read_document, readers           an object belongs to a group
//
// What no row allows is denied. Subjects carry a prefix, so that a user whose
// name is "admin" is user:admin and never role:admin. Objects are exact names,
// "server/*" or "*"; actions are exact or "*". Anything else is refused when
// the policy is loaded, because a pattern that is understood in two ways opens
// what its author meant to close.
package policy

import (
	"slices"
	"strings"
)

// Permission is what an act needs: an action on an object. Without a catalog
// entry a tool is the object "server/tool" and its action "call".
type Permission struct {
	Object string // "document", "docs/read_document"
	Action string // "read", "call"
}

// Decision is the answer to one question. The zero value denies.
type Decision struct {
	Allowed bool
	// Rule is the row that decided, with its place, for the audit record:
	// "policy.csv:7: p, role:admin, document, read, allow". It is empty when
	// no row matched and the answer is the default, denial.
	Rule string
}

// RoleAny is the role that every subject has under the built-in policy.
const RoleAny = "role:any"

// Engine is an immutable compiled policy, safe for concurrent use. A nil or
// zero Engine denies everything.
type Engine struct {
	revision string
	open     bool // the built-in policy

	subjects map[string]subject  // every subject that a row names
	objects  map[string][]uint32 // ids of an object and of its groups, as far as a p row names them
	servers  map[string]uint32   // "docs/" → id of "docs/*"
	actions  map[string]uint32
	anything uint32 // id of the object "*"
	always   uint32 // id of the action "*"

	grants map[grant]effect
	rules  []string // texts of the p rows, in order
}

// Ids start at 1: 0 means that no row names the thing.

type subject struct {
	roles []string // direct and inherited, sorted
	ids   []uint32 // of itself and its roles, as far as a p row names them
}

type grant struct{ subject, object, action uint32 }

// effect holds the numbers of the first allowing and the first denying row,
// from 1; 0 means that there is none.
type effect struct{ allow, deny uint32 }

var (
	builtin      = Engine{revision: "builtin", open: true}
	builtinRoles = []string{RoleAny}
)

// Builtin is the policy that holds when none is given: every subject has
// [RoleAny], which may use everything. Empty names are denied even here,
// because an empty subject is one that nobody authenticated.
func Builtin() *Engine { return &builtin }

// Revision is a short hash of what the policy was loaded from, for start-up
// and audit lines; "builtin" for [Builtin], empty for a nil or zero Engine.
func (e *Engine) Revision() string {
	if e == nil {
		return ""
	}
	return e.revision
}

// Roles returns the roles of a subject, direct and inherited, sorted; those that
// it was given from elsewhere are among them, and what they inherit. The slice
// is shared by all callers and must not be changed. It is empty when the subject
// is unknown or has no role.
func (e *Engine) Roles(subject string, given ...string) []string {
	switch {
	case e == nil || subject == "":
		return nil
	case e.open:
		return builtinRoles
	}
	own := e.subjects[subject].roles
	if len(given) == 0 {
		return own
	}
	all := slices.Clone(own)
	for _, r := range given {
		if isRole(r) {
			all = append(append(all, r), e.subjects[r].roles...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// isRole keeps what was given as a role from being a user.
func isRole(name string) bool { return strings.HasPrefix(name, rolePrefix) }

// Decide says whether subject ("user:alice") holds p, by itself or by roles that
// it was given from elsewhere ("role:editor"). Denying rows win over allowing
// ones, whichever role they are about. Its cost depends on how many roles the
// subject and how many groups the object has, not on the number of rules, and it
// does not allocate.
func (e *Engine) Decide(subject string, p Permission, given ...string) Decision {
	switch {
	case e == nil || subject == "" || p.Object == "" || p.Action == "":
		return Decision{}
	case e.open:
		return Decision{Allowed: true, Rule: "built-in policy: role any may use everything"}
	case !wellNamed(subject) || !wellNamed(p.Object) || !wellNamed(p.Action):
		return Decision{}
	}
	found := e.match(subject, p)
	for _, r := range given {
		if isRole(r) {
			found.merge(e.match(r, p))
		}
	}
	return e.decision(found)
}

// match collects the first allowing and the first denying row.
func (e *Engine) match(subject string, p Permission) effect {
	var found effect
	server := e.servers[p.Object[:strings.IndexByte(p.Object, '/')+1]]
	action := e.actions[p.Action]
	objects := e.objects[p.Object]
	for _, s := range e.subjects[subject].ids {
		for _, o := range objects {
			e.add(&found, s, o, action)
		}
		e.add(&found, s, server, action)
		e.add(&found, s, e.anything, action)
	}
	return found
}

// add merges the rows for one subject and object into found.
func (e *Engine) add(found *effect, subject, object, action uint32) {
	if object == 0 {
		return
	}
	if action != 0 {
		found.merge(e.grants[grant{subject, object, action}])
	}
	if e.always != 0 {
		found.merge(e.grants[grant{subject, object, e.always}])
	}
}

// merge keeps the earlier rows, as Casbin reports them.
func (f *effect) merge(g effect) {
	f.allow = earlier(f.allow, g.allow)
	f.deny = earlier(f.deny, g.deny)
}

func earlier(a, b uint32) uint32 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (e *Engine) decision(f effect) Decision {
	switch {
	case f.deny != 0:
		return Decision{Rule: e.rules[f.deny-1]}
	case f.allow != 0:
		return Decision{Allowed: true, Rule: e.rules[f.allow-1]}
	}
	return Decision{}
}
