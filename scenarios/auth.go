package main

// auth sends tokens that nobody should accept. A naive server asks for none, and
// it gets to see whatever credential its callers hold.
func auth() scenario {
	const secret = "nothing secret here"
	attack := func(label, token, refusal string) trial {
		return trial{
			label: label, harmful: true, document: secret,
			user: "alice", token: token, tool: "read_document", args: args{"id": idArgument},
			direct:  answer{allowed, readHeader + secret},
			proxied: answer{rejected, "authentication failed: " + refusal},
			effects: []effect{returned("yes", "no"), credentialUpstream("yes", "no"), reached("yes", "no")},
		}
	}
	return scenario{
		name:  "auth",
		title: "Token authentication (token theft / passthrough)",
		trials: []trial{
			attack("forged token    ->", "forged", "unknown or invalid token"),
			attack("wrong audience  ->", "wrong audience", `token audience "other-service" is not accepted (expected "doc-server")`),
			attack("expired token   ->", "expired", "token expired"),
			{
				label: "alice (valid)   ->", document: secret,
				user: "alice", tool: "read_document", args: args{"id": idArgument},
				direct:  answer{allowed, readHeader + secret},
				proxied: answer{allowed, readHeader + wrapped(secret, nothingFound)},
				effects: []effect{returned("yes", "yes"), credentialUpstream("yes", "no"), reached("yes", "yes")},
			},
		},
	}
}
