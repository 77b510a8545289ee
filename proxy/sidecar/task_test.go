package sidecar

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// tasking gives every tool call the same task id, and answers about tasks.
func tasking(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case bytes.Contains(body, []byte(`"method":"tools/call"`)) && bytes.Contains(body, []byte(modern)):
		result(`"resultType":"task","taskId":"t-1","status":"working"`)(w, r)
	case bytes.Contains(body, []byte(`"method":"tools/call"`)):
		result(`"task":{"taskId":"t-1","status":"working"}`)(w, r)
	default:
		result(`"resultType":"complete","taskId":"t-2","status":"working"`)(w, r)
	}
}

// A task can be asked about by the principal who was given its id, and by nobody
// else; what an answer about a task says teaches nothing.
func TestTasksBelongToTheirPrincipal(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: demoInventory, upstream: tasking})
			get := func(who, id string) ask { return request(rev, r.token(who), "1", "tasks/get", `"taskId":"`+id+`"`) }
			if g := r.do(r.update(rev, "7")); g.status != 200 || !strings.Contains(string(g.body), `"taskId":"t-1"`) {
				t.Fatalf("%d %s", g.status, g.body)
			}
			if g := r.do(get("alice", "t-1")); g.status != 200 || !strings.Contains(string(g.body), `"working"`) {
				t.Errorf("%d %s", g.status, g.body)
			}
			for name, a := range map[string]ask{
				"another principal's":   get("bob", "t-1"),
				"named by another task": get("alice", "t-2"),
				"in another spelling":   get("alice", "T-1"),
			} {
				t.Run(name, func(t *testing.T) {
					r.denied(t, denial{ask: func(*rig, string, string) ask { return a }, refusal: noTask}, rev, "1")
				})
			}
		})
	}
}
