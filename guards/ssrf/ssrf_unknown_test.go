package ssrf

import (
	"context"
	"testing"

	"mcp-sidecar/guards"
)

// A tool whose schema could not be read may fetch any of its arguments.
func TestUnknownToolsHaveEveryURLChecked(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		unknown     bool
		blocked     bool
	}{
		{"whole URL, unknown tool", "http://169.254.169.254/", true, true},
		{"whole URL with blanks around", "  http://169.254.169.254/ ", true, true},
		{"whole URL, known tool", "http://169.254.169.254/", false, false},
		{"prose with a URL in it", "see http://169.254.169.254/ for more", true, false},
		{"plain text", "hello", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &guards.Call{Tool: "any/fetch", Unknown: tt.unknown, Args: []guards.Arg{{Path: "target", Name: "target", Value: tt.value}}}
			if d := New(nil, nil).Inspect(context.Background(), c); (d.Block != nil) != tt.blocked {
				t.Errorf("block %+v, want blocked %v", d.Block, tt.blocked)
			}
		})
	}
}
