package merge

import (
	"fmt"
	"testing"
)

// Where a server is shown a credential of each caller, what it lists to one says
// nothing of another; who is remembered is bounded.
func TestIndexes(t *testing.T) {
	shared, each := &indexes{}, &indexes{perCaller: true}
	for _, v := range []*indexes{shared, each} {
		v.at("alice").setURIs("docs", []string{"docs://a"})
	}
	if shared.at("bob").owner("docs://a") != "docs" || each.at("alice").owner("docs://a") != "docs" || each.at("bob").owner("docs://a") != "" {
		t.Error("an index is another's")
	}
	for n := range maxIndexes + 100 {
		each.at(fmt.Sprint("caller ", n))
	}
	if len(each.of) != maxIndexes || len(shared.of) != 1 {
		t.Errorf("%d indexes, %d shared", len(each.of), len(shared.of))
	}
}
