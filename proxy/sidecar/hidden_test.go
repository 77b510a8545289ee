package sidecar

import (
	"fmt"
	"strings"
	"testing"
)

// What a log or a record shows is what stands there: nothing acts on a terminal, or hides.
func TestLogsHideNothing(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	for name, show := range map[string]func(string) string{"records": r.sidecar.redact, "children": r.sidecar.redactChild} {
		if got := show("ok \x1b[2J\u202etxt AKIAQYLPMN5HHHFPZAM2"); got != "ok [U+001B][2J[U+202E]txt [REDACTED:aws_access_key]" {
			t.Errorf("%s: %q", name, got)
		}
	}
	r.do(toolCall(modern, r.token("alice"), "1", "read\u202edocument", "{}"))
	records := r.records()
	if len(records) == 0 || strings.Contains(fmt.Sprintf("%+v", records), "\u202e") || !strings.Contains(fmt.Sprintf("%+v", records), "[U+202E]") {
		t.Errorf("%+v", records)
	}
}
