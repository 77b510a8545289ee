package pipeline

import (
	"fmt"
	"reflect"
	"testing"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// The callers whose tools are remembered are bounded; one that says that its tools
// changed is believed for all of them.
func TestInventoriesOfCallers(t *testing.T) {
	v := &inventories{make: func() *inventory { return newInventory(nil, nil) }}
	if v.ofCaller("docs", "alice") == v.ofCaller("docs", "bob") || v.ofCaller("docs", "alice") == v.ofCaller("fs", "alice") || v.ofCaller("docs", "alice") == v.at("docs") {
		t.Error("an inventory is another's")
	}
	if again := v.ofCaller("docs", "alice"); again != v.callers[callersInventory{"docs", "alice"}] {
		t.Error("nothing is remembered")
	}
	v.ofCaller("docs", "alice").tools = map[string]toolInfo{"x": {}}
	v.stale()
	if v.ofCaller("docs", "alice").tools != nil {
		t.Error("what a server has changed is remembered")
	}
	for n := range maxCallers + 100 {
		v.ofCaller("docs", fmt.Sprint("caller ", n))
	}
	if len(v.callers) != maxCallers {
		t.Errorf("%d inventories", len(v.callers))
	}
}

// Without a server that is shown a credential of each caller, nothing is made of a
// token; with one, what travels is no token.
func TestDelegate(t *testing.T) {
	for _, delegated := range []map[string]bool{nil, {"docs": true}} {
		var seen []wire.Delegated
		w := newWorld(t, func(o *Options) { o.Delegated = delegated })
		k := w.handle(callOf("read"))
		for _, x := range w.calls {
			seen = append(seen, x.Delegated)
		}
		if k.answer.Outcome != Allowed || len(seen) == 0 {
			t.Fatalf("%+v, %d exchanges", k.answer, len(seen))
		}
		for _, d := range seen {
			if (d != nil) != (delegated != nil) {
				t.Errorf("%v travels", d)
			}
			if d != nil && reflect.TypeOf(d) != reflect.TypeFor[*identity.Delegation]() {
				t.Errorf("a %T travels", d)
			}
		}
	}
}
