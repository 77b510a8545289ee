package main

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// stepUp starts with a token that may only read. What is missing is named in the
// refusal, so that the SDK's client gets it by itself: the user is asked for more only
// when more is needed. What a role does not allow, no token can.
func stepUp() scenario {
	update := func(label, user string) trial {
		return trial{
			label: label, document: "first version", overHTTP: true,
			user: user, tool: "update_document", args: args{"id": idArgument, "content": "second version"},
			direct: answer{allowed, "updated 1 row(s) for document id={id}"},
		}
	}
	const asked = "documents:read, then documents:read documents:update"

	refused := update("alice, read-only token       ->", "alice")
	refused.harmful = true
	refused.token = "read-only"
	refused.proxied = answer{rejected, `denied: token scope is missing "documents:update"`}
	refused.effects = []effect{
		storedText("changed", "unchanged"),
		challenged("none", `403 insufficient_scope, scope "documents:update"`),
	}

	alice := update("alice logs in, and once more ->", "alice")
	alice.own, alice.logsIn, alice.send = true, true, callLoggedIn
	alice.proxied = alice.direct
	alice.effects = []effect{storedText("changed", "changed"), loggedInFor("none", asked)}

	carol := update("carol logs in, and once more ->", "carol")
	carol.harmful = true
	carol.own, carol.logsIn, carol.send = true, true, callLoggedIn
	carol.proxied = answer{rejected, `denied: role "viewer" may not update document`}
	carol.effects = []effect{storedText("changed", "unchanged"), loggedInFor("none", asked)}

	return scenario{
		name:   "stepup",
		title:  "Scope step-up (ask for more when more is needed)",
		trials: []trial{refused, alice, carol},
	}
}

// callLoggedIn calls the trial's tool with a client that knows the server's address
// and nothing else.
func callLoggedIn(ctx context.Context, c *column, e *event) answer {
	l, err := logIn(ctx, c.login, e.trial.user, c)
	if err != nil {
		return answer{failed, err.Error()}
	}
	defer l.client.close()
	a := l.client.call(ctx, "", e.trial.tool, withID(e.trial.args, e.id))
	e.logins = l.logins()
	if err := l.keep(ctx); err != nil {
		return answer{failed, err.Error()}
	}
	return a
}

// challenged reads the refusal as a client does that wants to do better.
func challenged(direct, proxied string) effect {
	return effect{"challenge", direct, proxied, func(_ context.Context, _ *column, e event) string {
		if e.sent.challenge == "" {
			return "none"
		}
		challenges, err := oauthex.ParseWWWAuthenticate([]string{e.sent.challenge})
		if err != nil || len(challenges) != 1 {
			return "cannot be read"
		}
		p := challenges[0].Params
		return fmt.Sprintf("%d %s, scope %q", e.sent.status, p["error"], p["scope"])
	}}
}

// loggedInFor is what the user was asked for at each login.
func loggedInFor(direct, proxied string) effect {
	return effect{"logins for", direct, proxied, func(_ context.Context, _ *column, e event) string { return e.logins }}
}
