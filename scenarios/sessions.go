package main

import (
	"context"
	"net/http"
	"net/url"
	"sync"
)

// adopter is a server that takes whatever session id its client names, as those do
// that look sessions up in a table and make the missing entry: behind it, such a
// session is one that the adopter has opened itself.
//
// INTENDED HOLE: whoever chose the id knows it (CWE-384, session fixation).
type adopter struct {
	target *url.URL
	next   http.Handler

	mu     sync.Mutex
	opened map[string]string // id of the client's choice → the server's
}

func newAdopter(target *url.URL) http.Handler {
	return &adopter{target: target, next: forward(target), opened: map[string]string{}}
}

// ServeHTTP implements [http.Handler].
func (a *adopter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if chosen := r.Header.Get("Mcp-Session-Id"); chosen != "" {
		session, err := a.session(r.Context(), chosen)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		r.Header.Set("Mcp-Session-Id", session)
	}
	a.next.ServeHTTP(w, r)
}

func (a *adopter) session(ctx context.Context, chosen string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if session := a.opened[chosen]; session != "" {
		return session, nil
	}
	session, err := rawClient{url: a.target.String()}.open(ctx, "")
	if err == nil {
		a.opened[chosen] = session
	}
	return session, err
}

// throughAdopter is the way through it.
const throughAdopter = "to a server that adopts session ids"

// sessions uses what belongs to somebody else's session. An id is no credential:
// whoever shows it must be who it was given to.
func sessions() scenario {
	const secret = "for those who are asked who they are"
	read := func(label string, send func(context.Context, *column, *event) answer) trial {
		return trial{
			label: label, harmful: true, document: secret, overHTTP: true,
			user: "bob", tool: "read_document", args: args{"id": idArgument}, send: send,
			direct:  answer{allowed, readHeader + secret},
			proxied: answer{rejected, "HTTP 404"},
			effects: []effect{returned("yes", "no"), reached("yes", "no")},
		}
	}
	hijack := read("bob calls with alice's session id    ->", func(ctx context.Context, c *column, e *event) answer {
		session, err := c.raw("alice").open(ctx, "")
		if err != nil {
			return answer{failed, err.Error()}
		}
		return c.raw("bob").call(ctx, session, e.trial.tool, withID(e.trial.args, e.id))
	})
	end := read("bob ends alice's session             ->", func(ctx context.Context, c *column, e *event) answer {
		session, err := c.raw("alice").open(ctx, "")
		if err != nil {
			return answer{failed, err.Error()}
		}
		e.session = session
		a, err := c.raw("bob").do(ctx, http.MethodDelete, session, "")
		if err != nil {
			return answer{failed, err.Error()}
		}
		return a.answer()
	})
	end.tool, end.args = "", nil
	end.direct = answer{allowed, "HTTP 204"}
	end.effects = []effect{sessionAlive("gone", "alive")}

	fixed := read("bob uses the id that he gave alice   ->", func(ctx context.Context, c *column, e *event) answer {
		const chosen = "chosen-by-bob"
		alice := c.rawThrough(e.trial.way, "alice")
		// Refused or not, she does what the page says that gave her the id.
		_, _ = alice.open(ctx, chosen)
		_ = alice.call(ctx, chosen, e.trial.tool, withID(e.trial.args, e.id))
		return c.rawThrough(e.trial.way, "bob").call(ctx, chosen, e.trial.tool, withID(e.trial.args, e.id))
	})
	fixed.way = throughAdopter

	return scenario{
		name:   "session",
		title:  "Session hijack and fixation (2025-11-25)",
		trials: []trial{hijack, end, fixed},
	}
}

// raw is a raw client with the user's own token.
func (c *column) raw(user string) rawClient { return c.rawThrough("", user) }

// rawThrough is raw by a way of its own, where the column has one.
func (c *column) rawThrough(way, user string) rawClient {
	url := c.url
	if d, ok := c.detours[way]; ok {
		url = d.url
	}
	return rawClient{url: url, token: c.tokens[user]}
}

// sessionAlive asks whether alice can still use the session of the trial.
func sessionAlive(direct, proxied string) effect {
	return effect{"alice's session", direct, proxied, func(ctx context.Context, c *column, e event) string {
		a := c.raw("alice").call(ctx, e.session, "read_document", args{"id": e.id})
		switch a.Outcome {
		case allowed:
			return "alive"
		case rejected:
			return "gone"
		}
		return a.Text
	}}
}
