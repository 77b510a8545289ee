package main

import "slices"

// The roles of the demo. Scopes of a user's own token derive from the role.
var (
	actions = []string{"create", "read", "update", "delete"}

	// rows are the users in the order of the matrix.
	rows = []struct {
		user, title string
		may         []string
	}{
		{"alice", "alice (admin)  ", actions},
		{"bob", "bob   (editor) ", []string{"read", "update"}},
		{"carol", "carol (viewer) ", []string{"read"}},
		{"dave", "dave  (no role)", nil},
	}
)

// matrixName is the name of the first section, which is printed as a table.
const matrixName = "matrix"

// matrix tries every action as every user. Deletes carry confirm=true, so that
// the cells show authorization and nothing else.
func matrix() scenario {
	s := scenario{name: matrixName, title: "Permission matrix (resource: document)"}
	for _, row := range rows {
		for _, action := range actions {
			s.trials = append(s.trials, cell(row.user, action, slices.Contains(row.may, action)))
		}
	}
	// A wildcard scope must not lift the role: both are asked, each on its own.
	wildcard := cell("carol", "delete", false)
	wildcard.cell = ""
	wildcard.label = "carol, token documents:*, delete ->"
	wildcard.token = "documents:*"
	wildcard.proxied = answer{rejected, `denied: role "viewer" may not delete document`}
	wildcard.effects = []effect{row("gone", "there")}
	s.trials = append(s.trials, wildcard)
	return s
}

// cell is one action of one user on a fresh document.
func cell(user, action string, may bool) trial {
	t := trial{
		cell:     action,
		harmful:  !may,
		document: "a document",
		user:     user,
		tool:     action + "_document",
	}
	done := "yes"
	if !may {
		done = "no"
	}
	switch action {
	case "create":
		t.args = args{"content": "made by " + user, "created_by": user}
		t.direct = answer{allowed, "created document id={new} (created_by " + user + ")"}
		t.effects = []effect{carriedOut(created, done)}
	case "read":
		t.args = args{"id": idArgument}
		t.direct = answer{allowed, readHeader + t.document}
		t.effects = []effect{carriedOut(read, done)}
	case "update":
		t.args = args{"id": idArgument, "content": "changed by " + user}
		t.direct = answer{allowed, "updated 1 row(s) for document id={id}"}
		t.effects = []effect{carriedOut(updated, done)}
	case "delete":
		t.args = args{"id": idArgument, "confirm": true}
		t.direct = answer{allowed, "deleted 1 row(s) for document id={id}"}
		t.effects = []effect{carriedOut(deleted, done)}
	}
	switch {
	case !may:
		t.proxied = answer{rejected, `denied: token scope is missing "documents:` + action + `"`}
	case action == "read":
		t.proxied = answer{allowed, readHeader + wrapped(t.document, nothingFound)}
	default:
		t.proxied = t.direct
	}
	return t
}
