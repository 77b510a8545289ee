package sidecar

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A secret in arguments is on record by default, and reaches no server where the operator
// wants that; neither the answer nor the record repeats it.
func TestInputSecrets(t *testing.T) {
	t.Parallel()
	const key = "AKIAQYLPMN5HHHFPZAM2" // made up
	for _, row := range []struct {
		name, extra, tools string
		blocked, observed  bool
	}{
		{"by default", "", demoTools, false, true},
		{"enforced", "guards: { input_secrets: enforce }\n", demoTools, true, false},
		{"enforced for the tool", "", strings.Replace(demoTools, `docs/update_document: { `, `docs/update_document: { guards: { input_secrets: enforce }, `, 1), true, false},
		{"off for the tool", "guards: { input_secrets: enforce }\n", strings.Replace(demoTools, `docs/update_document: { `, `docs/update_document: { guards: { input_secrets: off }, `, 1), false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: demoInventory, upstream: text("done"), extra: row.extra, tools: row.tools})
			for _, rev := range bothRevisions {
				r.do(toolCall(rev, r.token("alice"), "1", "update_document", `{"content":"harmless"}`))
				r.records()
				touched := r.touched()
				g := r.do(toolCall(rev, r.token("alice"), "7", "update_document", `{"content":{"deep":["use `+key+`"]}}`))
				e := r.outcome()
				if strings.Contains(string(g.body), key) || slices.ContainsFunc(append(e.Findings, e.Would...), func(s string) bool { return strings.Contains(s, key) }) {
					t.Errorf("%s %+v", g.body, e)
				}
				if row.blocked != (r.touched() == touched) || row.observed != slices.Contains(e.Would, "input_secrets: aws_access_key") {
					t.Errorf("%s %+v", g.body, e)
				}
				if row.blocked && (g.status != http.StatusOK || !strings.Contains(string(g.body), "blocked: the arguments hold a secret (aws_access_key)") || e.Outcome != "blocked" || e.Guard != "input_secrets" || e.Rule != "aws_access_key") {
					t.Errorf("%s %+v", g.body, e)
				}
			}
		})
	}
}
