package main

// arguments gives a command what is no second command: an option and a file of the caller's
// choice, and a file outside the folder that the server works in.
func arguments() scenario {
	attack := func(label, format, counted, refused string) trial {
		return trial{
			label: label, document: "one two three four five", harmful: true, own: true,
			user: "alice", tool: "render_document", args: args{"id": idArgument, "format": format},
			direct:  answer{allowed, "rendered document id={id} (" + format + "): " + counted},
			proxied: answer{rejected, "blocked by command-injection guard: " + refused},
			effects: []effect{leaked("file of the server's read", "1", "0", counted), reached("yes", "no")},
		}
	}
	return scenario{
		name:  "arguments",
		title: "Options and paths in arguments (allow-list)",
		trials: []trial{
			attack(`option   format="-c canary.txt"         ->`, "-c "+canaryFile, "6 "+canaryFile, "format must not start with a dash"),
			attack(`path     format="words ../outside.txt"  ->`, "words ../"+outsideFile, "3 ../"+outsideFile, "format is not one of chars, lines, words"),
		},
	}
}
