package secrets

import (
	"strings"
	"testing"

	"mcp-sidecar/guards"
)

func TestInputGuard(t *testing.T) {
	for _, row := range []struct {
		name string
		args []guards.Arg
		rule string
	}{
		{"none", nil, ""},
		{"harmless", []guards.Arg{{Path: "text", Name: "text", Value: "the password must have 12 characters"}, {Path: "n", Name: "n", Kind: guards.Number, Value: "12"}}, ""},
		{"a key", []guards.Arg{{Path: "text", Name: "text", Value: "use " + awsID}}, "aws_access_key"},
		{"deep inside", []guards.Arg{{Path: "a", Name: "a", Kind: guards.Object}, {Path: "a.b[]", Name: "b", Value: awsID}}, "aws_access_key"},
		{"by the name of the argument", []guards.Arg{{Path: "db_password", Name: "db_password", Value: "hunter22xyz"}}, "password_assignment"},
		{"as the name of an argument", []guards.Arg{{Path: awsID, Name: awsID, Value: "x"}}, "aws_access_key"},
		{"encoded", []guards.Arg{{Path: "q", Name: "q", Value: "QUtJQUlPU0ZPRE5ON0VYQU1QTEU="}}, "aws_access_key"},
	} {
		d := InputGuard{}.Inspect(t.Context(), &guards.Call{Tool: "docs/x", Args: row.args})
		if row.rule == "" {
			if d.Block != nil || d.Findings != nil {
				t.Errorf("%s: %+v", row.name, d)
			}
			continue
		}
		if d.Block == nil || d.Block.Rule != row.rule || len(d.Findings) != 1 || d.Findings[0].Guard != InputName || strings.Contains(d.Block.Public, awsID) || strings.Contains(d.Block.Public, "hunter") {
			t.Errorf("%s: %+v", row.name, d)
		}
	}
	c := &guards.Call{Args: []guards.Arg{{Path: "text", Name: "text", Value: strings.Repeat("plain words ", 100)}}}
	if n := testing.AllocsPerRun(10, func() { InputGuard{}.Inspect(t.Context(), c) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
