package pipeline

import (
	"strings"
	"testing"
)

// Ids of any length are told apart, and none is kept that is long.
func TestLongIDsAreGiven(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	g := given{}
	g.give("alice", taskID+long+"1", origin{tool: "read"})
	if o, ok := g.from("alice", taskID+long+"1"); !ok || o.tool != "read" || !g.known(taskID+long+"1") {
		t.Error("the id is not known to whom it was given")
	}
	if g.holds("alice", taskID+long+"2") || g.holds("bob", taskID+long+"1") || g.holds("alice", handleID+long+"1") {
		t.Error("another id, another owner or another kind is taken for it")
	}
	for _, id := range g.owners["alice"].order {
		if len(id) > maxID {
			t.Errorf("an id of %d bytes is kept", len(id))
		}
	}
}
