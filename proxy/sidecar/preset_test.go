package sidecar

import (
	"net/http"
	"strings"
	"testing"
)

// Which tools want a confirmation depends on the preset and on what the tool says
// of itself; an entry that says so itself overrides both.
func TestPresetsAskForConfirmation(t *testing.T) {
	t.Parallel()
	const inventory = `[
		{"name":"reads","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},
		{"name":"writes","inputSchema":{"type":"object"},"annotations":{"destructiveHint":false}},
		{"name":"destroys","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}},
		{"name":"says_nothing","inputSchema":{"type":"object"}}]`
	for _, row := range []struct {
		preset string
		asks   map[string]bool
	}{
		{"balanced", map[string]bool{"reads": false, "writes": false, "destroys": true, "says_nothing": false}},
		{"strict", map[string]bool{"reads": false, "writes": true, "destroys": true, "says_nothing": true}},
		{"observe", map[string]bool{"reads": false, "writes": false, "destroys": false, "says_nothing": false}},
	} {
		t.Run(row.preset, func(t *testing.T) {
			r := start(t, setup{preset: row.preset, inventory: inventory, upstream: text("done"), policy: "p, role:admin, docs/*, call, allow\ng, user:alice, role:admin\n"})
			for tool, asks := range row.asks {
				g := r.do(toolCall(modern, r.token("alice"), "1", tool, `{}`))
				if asked := strings.Contains(string(g.body), "requires explicit confirmation"); g.status != http.StatusOK || asked != asks {
					t.Errorf("%s: asked %v, want %v: %d %s", tool, asked, asks, g.status, g.body)
				}
			}
		})
	}
}
