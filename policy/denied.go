package policy

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	shownChars = 64 // of a name in a text for the client
	shownRoles = 10
)

// DeniedText is what a client reads when its roles do not allow an act:
//
//	denied: role "viewer" may not delete document
//	denied: roles "editor", "viewer" may not delete document
//	denied: user "dave" has no role
//
// Names lose their prefix, are quoted and cut at 64 characters. Actions and
// resources may come from an upstream's tool list, so what is not a plain name
// is quoted as well: a line break in a tool's name must not start a line of its
// own in front of a model.
func DeniedText(subject string, roles []string, action, resource string) string {
	if len(roles) == 0 {
		return "denied: user " + quoted(strings.TrimPrefix(subject, userPrefix)) + " has no role"
	}
	return "denied: " + roleList(roles) + " may not " + plain(action) + " " + plain(resource)
}

func roleList(roles []string) string {
	names := make([]string, 0, shownRoles)
	for _, r := range roles[:min(len(roles), shownRoles)] {
		names = append(names, quoted(strings.TrimPrefix(r, rolePrefix)))
	}
	list := "role " + names[0]
	if len(names) > 1 {
		list = "roles " + strings.Join(names, ", ")
	}
	if more := len(roles) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// plain leaves ordinary names bare.
func plain(s string) string {
	if s == "" || badChar(s) >= 0 {
		return quoted(s)
	}
	return cut(s)
}

func quoted(s string) string { return strconv.Quote(cut(s)) }

// cut shortens s to 64 characters, the last of which then is an ellipsis.
func cut(s string) string {
	n := 0
	end := 0 // where the 64th character starts
	for i := range s {
		if n++; n == shownChars {
			end = i
		}
		if n > shownChars {
			return s[:end] + "…"
		}
	}
	return s
}
