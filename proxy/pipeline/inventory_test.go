package pipeline

import (
	"fmt"
	"testing"

	"mcp-sidecar/proxy/identity"
)

// Where every caller has a credential of his own, what is known of tools is his; and
// many callers do not make that grow for ever.
func TestInventoryOfACaller(t *testing.T) {
	made := 0
	p := &Pipeline{inventories: inventories{make: func() *inventory { made++; return &inventory{} }}}
	call := func(user string) *Call { return &Call{Principal: identity.Principal{Issuer: "i", Subject: user}} }
	if p.inventoryOf(call("alice"), "docs") != p.inventoryOf(call("bob"), "docs") {
		t.Error("with one credential for all there are several inventories")
	}
	p.opts.Delegated = map[string]bool{"docs": true, "mail": true}
	alice := p.inventoryOf(call("alice"), "docs")
	if alice == p.inventoryOf(call("bob"), "docs") || alice != p.inventoryOf(call("alice"), "docs") || alice == p.inventoryOf(call("alice"), "mail") {
		t.Error("callers with credentials of their own share an inventory")
	}
	for i := range 2 * maxCallers {
		p.inventoryOf(call(fmt.Sprint(i)), "docs")
	}
	if n := len(p.inventories.callers); n > maxCallers {
		t.Errorf("%d inventories", n)
	}
}
