package ssrf

import (
	"context"
	"testing"

	"mcp-sidecar/guards"
)

// A tool whose schema could not be read, or does not say which argument is a URL,
// may fetch any of its arguments.
func TestAnyArgumentMayBeAURL(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		anyURL      bool
		blocked     bool
	}{
		{"whole URL, any argument", "http://169.254.169.254/", true, true},
		{"whole URL with blanks around", "  http://169.254.169.254/ ", true, true},
		{"whole URL, named arguments", "http://169.254.169.254/", false, false},
		{"prose with a URL in it", "see http://169.254.169.254/ for more", true, false},
		{"plain text", "hello", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &guards.Call{Tool: "any/fetch", AnyURL: tt.anyURL, Args: []guards.Arg{{Path: "target", Name: "target", Value: tt.value}}}
			if d := New(nil, nil).Inspect(context.Background(), c); (d.Block != nil) != tt.blocked {
				t.Errorf("block %+v, want blocked %v", d.Block, tt.blocked)
			}
		})
	}
}
