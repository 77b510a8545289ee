package sidecar

import (
	"net/http"
	"strings"
	"testing"
)

// Free text that reaches a command line: what would do more than be an argument is refused,
// reaches no server, and is on record; prose with the same marks arrives as it was written.
func TestFreeArguments(t *testing.T) {
	t.Parallel()
	r := start(t, setup{lenient: true, inventory: demoInventory, upstream: text("done"), tools: "\n  docs/read_document: { resource: document, action: read, args: { pattern: { command: true } } }\n"})
	for _, row := range []struct{ name, value, rule string }{
		{"prose", `"Tom & Jerry; salt | pepper, 100%"`, ""},
		{"a path", `"reports/2026/q1.pdf"`, ""},
		{"chain", `"x; rm -rf ~"`, "command-chain"},
		{"chain, escaped in JSON", `"x\u003b whoami"`, "command-chain"},
		{"chain, full-width", `"x；whoami"`, "command-chain"},
		{"chain, percent", `"x%3Bwhoami"`, "command-chain"},
		{"new line", `"x\nls -la"`, "command-chain"},
		{"substitution", `"$(id)"`, "substitution"},
		{"redirection", `"x > /etc/passwd"`, "redirection"},
		{"expansion", `"cat${IFS}x"`, "expansion"},
		{"option that runs", `"--upload-pack=id"`, "option-injection"},
		{"any option", `"-n"`, "leading-dash"},
		{"a list", `["x"]`, "wrong-type"},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+" "+rev, func(t *testing.T) {
				r.records()
				touched := r.touched()
				g := r.do(toolCall(rev, r.token("carol"), "7", "read_document", `{"pattern":`+row.value+`}`))
				e := r.outcome()
				if row.rule == "" {
					if g.status != http.StatusOK || e.Outcome != "allowed" || r.touched() == touched || !strings.Contains(r.up.last().body, row.value) {
						t.Errorf("%d %s %+v", g.status, g.body, e)
					}
					return
				}
				if g.status != http.StatusOK || !strings.Contains(string(g.body), "blocked by command-injection guard: pattern ") || e.Outcome != "blocked" || e.Guard != "command" || e.Rule != row.rule || r.touched() != touched {
					t.Errorf("%d %s %+v", g.status, g.body, e)
				}
			})
		}
	}
}
