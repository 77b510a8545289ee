package sidecar

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const ownedTools = `
  docs/update_document: { resource: document, action: update, args: { user: { owner: true } } }
  docs/render_document: { resource: basket, action: clear, handles: [basket], args: { basket: { handle: true, owner: true } } }
  docs/read_document:   { resource: basket, action: open, handles: [basket] }
`

const ownedPolicy = `
p, role:editor, document, update:own
p, role:admin, document, update:any
p, role:blocked, document, update:any, deny
p, role:frozen, document, update:own, deny
p, role:plain, document, update
p, role:editor, basket, *
p, role:viewer, basket, open
p, role:viewer, basket, clear:own
g, user:alice, role:admin
g, user:bob, role:editor
g, user:carol, role:viewer
g, user:erin, role:editor
g, user:erin, role:blocked
g, user:frank, role:admin
g, user:frank, role:frozen
g, user:greta, role:plain
g, user:henry, role:editor
g, user:henry, role:admin
`

// What a role may do to one's own things it may not do to others'; whose a thing is, the
// argument says, and who does not say asks about everybody's.
func TestOwnerRelation(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: toolsResult("", demoInventory), tools: ownedTools, policy: ownedPolicy})
	for _, row := range []struct {
		name, who, args string
		allowed         bool
		asked           string
	}{
		{"his own", "bob", `{"user":"bob"}`, true, "update:own"},
		{"another's", "bob", `{"user":"alice"}`, false, "update:any"},
		{"nobody is named", "bob", `{}`, false, "update:any"},
		{"no arguments", "bob", ``, false, "update:any"},
		{"in other letters", "bob", `{"user":"Bob"}`, false, "update:any"},
		{"with a blank", "bob", `{"user":"bob "}`, false, "update:any"},
		{"with a prefix", "bob", `{"user":"user:bob"}`, false, "update:any"},
		{"escaped in JSON", "bob", `{"user":"\u0062ob"}`, true, "update:own"},
		{"in a list", "bob", `{"user":["bob"]}`, false, "update:any"},
		{"null", "bob", `{"user":null}`, false, "update:any"},
		{"everybody's includes his own", "alice", `{"user":"alice"}`, true, "update:any"},
		{"everybody's", "alice", `{"user":"bob"}`, true, "update:any"},
		{"both are allowed", "henry", `{"user":"henry"}`, true, "update:own"},
		{"everybody's is denied", "erin", `{"user":"erin"}`, false, "update:any"},
		{"his own is denied", "frank", `{"user":"frank"}`, false, "update:own"},
		{"another's is not", "frank", `{"user":"bob"}`, true, "update:any"},
		{"a row without relation", "greta", `{"user":"greta"}`, false, "update:own"},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+" "+rev, func(t *testing.T) {
				r.records()
				touched := r.touched()
				g := r.do(toolCall(rev, r.token(row.who+" documents:read"), "7", "update_document", row.args))
				e := r.outcome()
				if allowed := e.Outcome == "allowed"; allowed != row.allowed || allowed != (r.touched() != touched) || g.status != http.StatusOK {
					t.Errorf("%d %s %+v", g.status, g.body, e)
				}
				if e.Action != row.asked || e.Object != "document" {
					t.Errorf("asked about %s %s, want %s", e.Action, e.Object, row.asked)
				}
				if !row.allowed && !strings.Contains(string(g.body), " may not "+row.asked+" document") {
					t.Errorf("%s", g.body)
				}
			})
		}
	}
	t.Run("another spelling of the argument", func(t *testing.T) {
		r.records()
		touched := r.touched()
		r.do(toolCall(modern, r.token("bob documents:read"), "7", "update_document", `{"user":"bob","USER":"alice"}`))
		if e := r.outcome(); e.Outcome != "blocked" || e.Guard != "identity" || e.Rule != "ambiguous-argument" || r.touched() != touched {
			t.Errorf("%+v", e)
		}
	})
	for who, want := range map[string]bool{"alice": true, "bob": true, "carol": false, "erin": false, "greta": false} {
		if got := slices.Contains(r.listed(modern, who+" documents:read"), "update_document"); got != want {
			t.Errorf("%s: listed %v", who, got)
		}
	}
}

// With a handle, one's own is what the server gave one.
func TestOwnerByHandle(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{lenient: true, inventory: demoInventory, tools: ownedTools, policy: ownedPolicy, upstream: func(w http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				req.Body = io.NopCloser(strings.NewReader(string(body)))
				if strings.Contains(string(body), "read_document") {
					result(`"structuredContent":{"basket":"b-7"},"content":[]`)(w, req)
					return
				}
				text("cleared")(w, req)
			}})
			clear := func(who string) string {
				r.records()
				touched := r.touched()
				r.do(toolCall(rev, r.token(who+" documents:read"), "1", "render_document", `{"basket":"b-7"}`))
				e := r.outcome()
				if (e.Outcome == "allowed") != (r.touched() != touched) {
					t.Errorf("%+v", e)
				}
				return e.Outcome + " " + e.Action
			}
			if got := clear("carol"); got != "not_authorized clear:any" {
				t.Errorf("before it was given: %s", got)
			}
			if g := r.do(toolCall(rev, r.token("carol documents:read"), "1", "read_document", "{}")); g.status != http.StatusOK {
				t.Fatalf("%d %s", g.status, g.body)
			}
			if got := clear("carol"); got != "allowed clear:own" {
				t.Errorf("her own: %s", got)
			}
			if got := clear("bob"); got != "allowed clear:any" {
				t.Errorf("who may everybody's: %s", got)
			}
		})
	}
}

// A tool is listed for whoever some call of it could be allowed to, and for nobody else:
// lists and calls ask the same.
func TestListsAreWhatCallsAllow(t *testing.T) {
	t.Parallel()
	const tools = `
  docs/create_document: { resource: document, action: create, scopes: ["documents:create"] }
  docs/read_document:   { resource: document, action: read }
  docs/update_document: { resource: document, action: update, args: { user: { owner: true } } }
  docs/delete_document: { resource: archive, action: delete, args: { user: { owner: true } }, consent: off }
  docs/secret_tool:     { resource: document, action: read, hide: true }
`
	r := start(t, setup{lenient: true, inventory: demoInventory, upstream: toolsResult("", demoInventory), tools: tools, poll: often})
	names := []string{"create_document", "read_document", "update_document", "delete_document", "move_document", "secret_tool"}
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	listed := 0
	for round := range 25 {
		text := fmt.Sprintf("# %d\n", round)
		for range 1 + random.IntN(8) {
			text += fmt.Sprintf("p, %s, %s, %s, %s\n", pick("user:alice", "role:a", "role:b"), pick("document", "archive", "docs/*", "*", "docs/move_document", "all"),
				pick("read", "create", "update:own", "update:any", "delete:own", "delete:any", "update", "call", "*"), pick("allow", "allow", "allow", "deny"))
		}
		for range 1 + random.IntN(4) {
			text += fmt.Sprintf("g, %s, %s\n", pick("user:alice", "user:bob", "role:a"), pick("role:a", "role:b"))
		}
		if random.IntN(3) == 0 {
			text += "g2, document, all\n"
		}
		r.changePolicy(text)
		for _, who := range []string{"alice", "bob"} {
			shown := r.listed(modern, who)
			for _, tool := range names {
				possible := false
				for _, args := range []string{`{}`, `{"user":"` + who + `"}`, `{"user":"other"}`} {
					r.records()
					r.do(toolCall(modern, r.token(who), "1", tool, args))
					possible = possible || r.outcome().Outcome == "allowed"
				}
				if got := slices.Contains(shown, tool); got != possible {
					t.Errorf("%s, %s: listed %v, some call is allowed %v, under\n%s", who, tool, got, possible, text)
				} else if got {
					listed++
				}
			}
		}
	}
	if listed < 20 {
		t.Errorf("only %d tools were listed: nothing is compared", listed)
	}
}
