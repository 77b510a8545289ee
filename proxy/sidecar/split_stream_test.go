package sidecar

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A secret that is split over the messages of a stream ends it: neither its last part nor
// anything behind it is passed on, the server is told to stop, and the call is blocked.
func TestSplitSecretEndsTheStream(t *testing.T) {
	t.Parallel()
	progress := func(n int, message string) string {
		return event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":%d,"message":%q}}`, n, message))
	}
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			stopped := make(chan struct{})
			r := start(t, setup{inventory: demoInventory, upstream: func(w http.ResponseWriter, q *http.Request) {
				defer close(stopped)
				events(progress(1, "the key is "+key[:9])+progress(2, key[9:])+progress(3, "behind it")+event(response("$ID", doneResult)))(w, q)
				_ = http.NewResponseController(w).Flush()
				<-q.Context().Done()
			}})
			g := r.do(r.update(rev, "1"))
			<-stopped
			e := r.outcome()
			body := string(g.body)
			if !strings.Contains(body, key[:9]) || !strings.Contains(body, "its beginning has been sent") {
				t.Errorf("the client got\n%s", body)
			}
			for _, withheld := range []string{key[9:], "behind it", "done"} {
				if strings.Contains(body, withheld) {
					t.Errorf("the client got %q", withheld)
				}
			}
			if e.Outcome != "blocked" || e.Guard != "secrets" || e.Rule != "aws_access_key" || e.Events != 1 || e.Stage != "execute" {
				t.Errorf("record %+v", e)
			}
		})
	}
}
