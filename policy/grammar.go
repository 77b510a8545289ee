package policy

import (
	"fmt"
	"slices"
	"strings"
)

const (
	userPrefix = "user:"
	rolePrefix = "role:"

	maxName = 512 // bytes of one column; rows end up in audit records
)

// rowTypes are Casbin's names for permissions, roles of subjects and groups of
// objects.
var rowTypes = []string{"p", "g", "g2"}

// row is one checked line of a policy.
type row struct {
	kind string   // "p", "g" or "g2"
	cols []string // p: subject, object, action, effect; g and g2: member, group
}

func (r row) String() string { return r.kind + ", " + strings.Join(r.cols, ", ") }

// parseRow checks fields, of which the first is the row type, against the
// grammar. It returns every problem, at most one for each column.
func parseRow(fields []string) (row, []string) {
	r := row{kind: fields[0], cols: slices.Clone(fields[1:])}
	switch r.kind {
	case "p":
		return r.permission()
	case "g":
		return r.columns("member, role", checkSubject, checkRole)
	case "g2":
		return r.columns("object, group", checkMember, checkGroup)
	}
	return r, []string{fmt.Sprintf("unknown row type %s (p, g or g2)", quoted(r.kind))}
}

func (r row) permission() (row, []string) {
	if len(r.cols) == 3 {
		r.cols = append(r.cols, "allow")
	}
	return r.columns("subject, object, action and optionally the effect",
		checkSubject, checkObject, checkAction, checkEffect)
}

// columns applies one check to each column.
func (r row) columns(names string, checks ...func(string) string) (row, []string) {
	if len(r.cols) != len(checks) {
		return r, []string{fmt.Sprintf("row type %s takes %s; this row has %d columns behind the type", r.kind, names, len(r.cols))}
	}
	var problems []string
	for i, check := range checks {
		if text := checkColumn(r.cols[i], check); text != "" {
			problems = append(problems, text)
		}
	}
	return r, problems
}

func checkColumn(s string, check func(string) string) string {
	if s == "" {
		return "empty column"
	}
	if len(s) > maxName {
		return fmt.Sprintf("name %s is longer than %d bytes", quoted(s), maxName)
	}
	if i := badChar(s); i >= 0 {
		return fmt.Sprintf("character %q in %s (allowed: letters, digits and _.:/@*-)", []rune(s[i:])[0], quoted(s))
	}
	return check(s)
}

// checkSubject wants a prefix: without one a user named like a role would have
// that role, because Casbin keeps both in one name space.
func checkSubject(s string) string {
	name, ok := strings.CutPrefix(s, userPrefix)
	if !ok {
		name, ok = strings.CutPrefix(s, rolePrefix)
	}
	if !ok || name == "" {
		return fmt.Sprintf("subject %s must be user:NAME or role:NAME", quoted(s))
	}
	return noPattern("subject", s)
}

// checkRole keeps users from being handed out like roles.
func checkRole(s string) string {
	if name, ok := strings.CutPrefix(s, rolePrefix); !ok || name == "" {
		return fmt.Sprintf("role %s must be role:NAME", quoted(s))
	}
	return noPattern("role", s)
}

// checkObject admits the two patterns that have one meaning. Casbin's keyMatch
// ignores what follows the first *, so "srv/*_read" would match "srv/delete_all".
func checkObject(s string) string {
	server, ok := strings.CutSuffix(s, "/*")
	if s == "*" || ok && server != "" && !strings.ContainsAny(server, "/*") {
		return ""
	}
	if strings.Contains(s, "*") {
		return fmt.Sprintf("object pattern %s is not supported (only server/* and *)", quoted(s))
	}
	return ""
}

func checkMember(s string) string { return noPattern("object", s) }

// checkGroup keeps slashes out of group names: an upstream that offers a tool
// with a group's name would otherwise get what the group may.
func checkGroup(s string) string {
	if strings.Contains(s, "/") {
		return fmt.Sprintf("object group %s must not contain a slash, a tool could take its name", quoted(s))
	}
	return noPattern("object group", s)
}

func checkAction(s string) string {
	if s == "*" {
		return ""
	}
	return noPattern("action", s)
}

// checkEffect compares exactly: Casbin ignores a row with the effect "Deny",
// and what it was to deny is allowed.
func checkEffect(s string) string {
	if s == "allow" || s == "deny" {
		return ""
	}
	return fmt.Sprintf("effect %s must be allow or deny", quoted(s))
}

// noPattern refuses stars where Casbin would take them for ordinary letters and
// the row would silently match nothing.
func noPattern(what, s string) string {
	if strings.Contains(s, "*") {
		return fmt.Sprintf("%s %s must not contain *", what, quoted(s))
	}
	return ""
}

// badChar returns the index of the first byte that rows may not contain, or -1.
// Commas and blanks would let two different rows read the same.
func badChar(s string) int {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_.:/@*-", c) >= 0:
		default:
			return i
		}
	}
	return -1
}

// wellNamed says whether a name of a request may be decided about at all: it
// is not empty and has visible ASCII characters only. Rows cannot name anything
// else, so under "docs/*" a name with a blank or a look-alike letter would pass
// by the row that denies its plain twin. Wider than the characters of rows,
// because URIs are objects too.
func wellNamed(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
