package sidecar

import (
	"slices"
	"strings"
	"testing"
)

// Every guard can be off, observe or enforce for one tool, whatever counts for the others.
func TestEveryModePerTool(t *testing.T) {
	t.Parallel()
	const inventory = `[{"name":"update_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}},"outputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}},
		{"name":"delete_document","annotations":{"destructiveHint":true},"inputSchema":{"type":"object"}}]`
	done := `"content":[{"type":"text","text":"done"}]`
	said := func(s string) string { return `"content":[{"type":"text","text":"` + s + `"}]` }
	for _, row := range []struct {
		guard, tool, bound string // bound is the tool's entry beside its guards
		args, answer       string
		label              string // of a finding that changes the answer; empty where the call is blocked
		rule               string
	}{
		{guard: "secrets", args: `{}`, answer: said(key), label: "secret:redacted aws_access_key", rule: "aws_access_key"},
		{guard: "injection", args: `{}`, answer: said(order), label: ordLabel, rule: strings.TrimPrefix(ordLabel, "prompt_injection:")},
		{guard: "terminal", args: `{}`, answer: said(`a\u202eb`), label: "hidden:bidi-control", rule: "bidi-control"},
		{guard: "schema", args: `{}`, answer: done + `,"structuredContent":{"n":"x"}`, rule: "mismatch"},
		{guard: "input_schema", args: `{"id":"x"}`, answer: done, rule: "mismatch"},
		{guard: "marker_writeback", args: `{"t":"[REDACTED:jwt]"}`, answer: done, rule: "redaction"},
		{guard: "input_secrets", args: `{"t":"` + key + `"}`, answer: done, rule: "aws_access_key"},
		{guard: "argument", bound: `args: { t: { max_length: 2 } }, `, args: `{"t":"abc"}`, answer: done, rule: "length"},
		{guard: "command", bound: `args: { t: { enum: { a: a } } }, `, args: `{"t":"a;b"}`, answer: done, rule: "metacharacter"},
		{guard: "ssrf", bound: `args: { t: { ssrf: {} } }, `, args: `{"t":"https://127.0.0.1/"}`, answer: done, rule: "reserved-address"},
		{guard: "consent", tool: "delete_document", args: `{}`, answer: done, rule: "confirmation-required"},
	} {
		for _, mode := range []string{"off", "observe", "enforce"} {
			t.Run(row.guard+"/"+mode, func(t *testing.T) {
				t.Parallel()
				tool := row.tool
				if tool == "" {
					tool = "update_document"
				}
				r := start(t, setup{inventory: inventory, upstream: result(row.answer), tools: "\n  docs/" + tool + ": { resource: document, action: update, " + row.bound + "guards: { " + row.guard + ": " + mode + " } }\n"})
				for _, rev := range bothRevisions {
					touched := r.touched()
					g := r.do(toolCall(rev, r.token("alice"), "1", tool, row.args))
					e := r.outcome()
					blocked := mode == "enforce" && row.label == ""
					if (e.Outcome == "blocked") != blocked || blocked && (e.Guard != row.guard || e.Rule != row.rule) {
						t.Errorf("%s: %s\nrecord %+v", rev, g.body, e)
					}
					if row.guard != "schema" && blocked == (r.touched() > touched) {
						t.Errorf("%s: the upstream was reached %d times", rev, r.touched()-touched)
					}
					if found := row.label != "" && slices.Contains(e.Findings, row.label); found != (mode == "enforce" && row.label != "") {
						t.Errorf("%s: findings %q", rev, e.Findings)
					}
					if would := slices.Contains(e.Would, row.guard+": "+row.rule); would != (mode == "observe") {
						t.Errorf("%s: would %q", rev, e.Would)
					}
				}
			})
		}
	}
}
