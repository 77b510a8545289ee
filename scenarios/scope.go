package main

// scope uses a token of alice's that was only granted reading. Her role may
// update; this credential may not.
func scope() scenario {
	update := func(label, token string) trial {
		return trial{
			label: label, document: "first version",
			user: "alice", token: token, tool: "update_document", args: args{"id": idArgument, "content": "second version"},
			direct: answer{allowed, "updated 1 row(s) for document id={id}"},
		}
	}
	full := update("update, full token      ->", "")
	full.proxied = full.direct
	full.effects = []effect{storedText("changed", "changed")}

	readOnly := update("update, read-only token ->", "read-only")
	readOnly.harmful = true
	readOnly.proxied = answer{rejected, `denied: token scope is missing "documents:update"`}
	readOnly.effects = []effect{storedText("changed", "unchanged")}

	return scenario{
		name:   "scope",
		title:  "Scope minimization (least privilege)",
		trials: []trial{full, readOnly},
	}
}
