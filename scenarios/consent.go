package main

// consent deletes without and with confirm=true. The argument keeps a call from
// being destructive by accident; a model that was told to can set it too, so it
// is no consent of a human.
func consent() scenario {
	remove := func(label string, a args) trial {
		return trial{
			label: label, document: "to be deleted",
			user: "alice", tool: "delete_document", args: a,
			direct: answer{allowed, "deleted 1 row(s) for document id={id}"},
		}
	}
	without := remove("delete without confirm ->", args{"id": idArgument})
	without.harmful = true
	without.proxied = answer{rejected, "blocked: delete requires explicit confirmation (confirm=true)"}
	without.effects = []effect{row("gone", "there")}

	with := remove("delete with confirm    ->", args{"id": idArgument, "confirm": true})
	with.proxied = with.direct
	with.effects = []effect{row("gone", "gone")}

	return scenario{
		name:   "consent",
		title:  "Human-in-the-loop consent (destructive delete)",
		trials: []trial{without, with},
	}
}
