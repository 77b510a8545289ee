package sidecar

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const shopTools = `
  docs/open_basket: { handles: [basket_id] }
  docs/add_item:    { args: { basket_id: { handle: true } } }
`

const shopPolicy = `
p, role:buyer, docs/*, *, allow
g, user:alice, role:buyer
g, user:bob, role:buyer
`

const shopInventory = `[{"name":"open_basket","annotations":{"destructiveHint":false}},{"name":"add_item","annotations":{"destructiveHint":false}}]`

// A handle that a result gave to one principal is of no use to another: it is
// refused like one that does not exist, without asking the server.
func TestHandlesBelongToTheirPrincipal(t *testing.T) {
	t.Parallel()
	unknown := blockedBy("identity", "unknown-handle", "blocked: basket_id is no handle that was given to you")
	for name, shape := range map[string]string{
		"structured": `"structuredContent":{"baskets":[{"basket_id":"b-7","owner_id":"b-9"}]},"content":[]`,
		"text":       `"content":[{"type":"text","text":"{\"basket_id\":\"b-7\",\"owner_id\":\"b-9\"}"}]`,
		"number":     `"structuredContent":{"basket_id":7},"content":[]`,
	} {
		for _, rev := range bothRevisions {
			t.Run(name+"/"+rev, func(t *testing.T) {
				t.Parallel()
				r := start(t, setup{policy: shopPolicy, tools: shopTools, inventory: shopInventory, upstream: func(w http.ResponseWriter, req *http.Request) {
					body, _ := io.ReadAll(req.Body)
					req.Body = io.NopCloser(strings.NewReader(string(body)))
					if strings.Contains(string(body), "open_basket") {
						result(shape)(w, req)
						return
					}
					text("added")(w, req)
				}})
				handle := `"b-7"`
				if name == "number" {
					handle = "7"
				}
				add := func(who, id string) ask { return toolCall(rev, r.token(who), "1", "add_item", `{"basket_id":`+id+`}`) }
				refused := func(what string, a ask) {
					t.Run(what, func(t *testing.T) {
						r.denied(t, denial{ask: func(*rig, string, string) ask { return a }, refusal: unknown}, rev, "1")
					})
				}
				refused("before it was given", add("alice", handle))
				if g := r.do(toolCall(rev, r.token("alice"), "1", "open_basket", "{}")); g.status != 200 {
					t.Fatalf("%d %s", g.status, g.body)
				}
				if g := r.do(add("alice", handle)); !strings.Contains(string(g.body), `"added"`) {
					t.Errorf("%d %s", g.status, g.body)
				}
				refused("to somebody else", add("bob", handle))
				refused("another member's value", add("alice", `"b-9"`))
				refused("in a list", add("alice", "["+handle+"]"))
				refused("null", add("alice", "null"))
				r.denied(t, denial{ask: func(*rig, string, string) ask {
					return toolCall(rev, r.token("bob"), "1", "add_item", `{"Basket_ID":`+handle+`}`)
				}, refusal: blockedBy("identity", "ambiguous-argument", "blocked: the argument basket_id is spelled with the wrong case")}, rev, "1")
			})
		}
	}
}
