package main

// command appends a second command to an argument that a naive server hands to a
// shell. What it deletes is a scratch folder made for that, with a canary in it.
func command() scenario {
	render := func(label, format string) trial {
		return trial{
			label: label, document: "one two three four five",
			user: "alice", tool: "render_document", args: args{"id": idArgument, "format": format},
			direct: answer{allowed, "rendered document id={id} (" + format + "): 5"},
		}
	}
	words := render(`format="words"           ->`, "words")
	words.proxied = words.direct
	words.effects = []effect{canary("intact", "intact"), reached("yes", "yes")}

	attack := render(`format="words; rm -rf ~" ->`, "words; rm -rf ~")
	attack.harmful = true
	attack.proxied = answer{rejected, "blocked by command-injection guard: format contains forbidden shell metacharacter ';'"}
	attack.effects = []effect{canary("gone", "intact"), reached("yes", "no")}

	return scenario{
		name:   "command",
		title:  "OS command injection (safe argv)",
		trials: []trial{words, attack},
	}
}
