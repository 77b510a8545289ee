package sidecar

import (
	"testing"
	"time"
)

// A principal who asks too often is told when to come back, as a tool's error or as
// an error of the protocol, and the server hears nothing of it.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: demoInventory, upstream: text("done"), extra: "limits: { requests_per_minute_per_principal: 20, request_burst: 2 }\n"})
			for n := range 2 {
				if g := r.do(r.update(rev, "1")); g.status != 200 {
					t.Fatalf("request %d: %d %s", n+1, g.status, g.body)
				}
			}
			limited := refusal{status: 200, text: "rate limited, retry in 3 s", outcome: "limited", stage: "authorize", reason: "rate"}
			r.denied(t, denial{ask: func(r *rig, rev, id string) ask { return r.update(rev, id) }, refusal: limited}, rev, "7")
			listing := refusal{status: 429, code: 42900, text: "rate limited, retry in 3 s", outcome: "limited", stage: "authorize", reason: "rate", retry: "3"}
			r.denied(t, denial{ask: asks("tools/list", ""), refusal: listing}, rev, "8")
			if g := r.do(toolCall(rev, r.token("erin"), "1", "update_document", `{"id":1}`)); g.status != 200 {
				t.Errorf("somebody else: %d %s", g.status, g.body)
			}
			r.clock.advance(3 * time.Second)
			if g := r.do(r.update(rev, "1")); g.status != 200 || r.touched() != 4 {
				t.Errorf("after the wait: %d %s, the upstream was reached %d times", g.status, g.body, r.touched())
			}
		})
	}
}
