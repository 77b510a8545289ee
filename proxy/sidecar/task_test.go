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

// A task may say how it is before the answer that gives out its id has arrived:
// then it belongs to the call that asks for a task. What was given to somebody
// else, or comes without such a call, is dropped.
func TestTaskSpeaksBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, task, said string
		passes           bool
	}{
		{"its own", `,"task":{"ttl":60000}`, "t-1", true},
		{"another principal's", `,"task":{"ttl":60000}`, "t-bob", false},
		{"of a call that asks for none", ``, "t-1", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: demoInventory, upstream: result(`"task":{"taskId":"t-bob","status":"working"}`)})
			if g := r.do(toolCall(legacy, r.token("bob"), "1", "update_document", `{"id":1}`)); g.status != 200 {
				t.Fatalf("%d %s", g.status, g.body)
			}
			said := `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"` + row.said + `","status":"working"}}`
			r.up.answerWith(events("data: " + said + "\n\ndata: " + response("$ID", `{"task":{"taskId":"t-1","status":"working"}}`) + "\n\n"))
			a := toolCall(legacy, r.token("alice"), "2", "update_document", `{"id":1}`)
			a.body = strings.Replace(a.body, `"arguments":{"id":1}`, `"arguments":{"id":1}`+row.task, 1)
			if g := r.do(a); strings.Contains(string(g.body), said) != row.passes || !strings.Contains(string(g.body), `"taskId":"t-1","status":"working"}}`) {
				t.Errorf("%d %s", g.status, g.body)
			}
		})
	}
}

const taskTools = `
  docs/keep: { wrap: always, handles: [basket_id], guards: { secrets: enforce } }
  docs/add:  { args: { basket_id: { handle: true } } }
`

const taskInventory = `[{"name":"keep","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}},
 {"name":"add","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}]`

// What a task comes to is held to what the configuration says of the tool that it
// runs: a client could otherwise choose whether it is.
func TestTaskKeepsTheRulesOfItsTool(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, result, want string
		outcome            string
	}{
		{"wrap", `"content":[{"type":"text","text":"plain"}]`, `<untrusted_content source=`, "allowed"},
		{"own mode of a guard", `"content":[{"type":"text","text":"` + key + `"}]`, `[REDACTED:aws_access_key]`, "allowed"},
		{"schema", `"content":[],"structuredContent":{"n":"seven"}`, `does not match the tool's output schema`, "blocked"},
		{"schema of a result that failed", `"content":[],"structuredContent":{"n":"seven"},"isError":true`, `"seven"`, "allowed"},
		{"handle", `"content":[],"structuredContent":{"n":7,"basket_id":"b-7"}`, `"b-7"`, "allowed"},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				t.Parallel()
				r := start(t, setup{policy: shopPolicy, tools: taskTools, inventory: taskInventory, upstream: tasking, extra: "guards: { secrets: observe }\n"})
				if g := r.do(toolCall(rev, r.token("alice"), "1", "keep", "{}")); g.status != 200 {
					t.Fatalf("%d %s", g.status, g.body)
				}
				method, answer := "tasks/get", `"resultType":"complete","taskId":"t-1","status":"completed","result":{`+row.result+`}`
				if rev == legacy {
					method, answer = "tasks/result", row.result
				}
				r.up.answerWith(result(answer))
				r.records()
				g := r.do(request(rev, r.token("alice"), "2", method, `"taskId":"t-1"`))
				if e := r.outcome(); e.Outcome != row.outcome || !strings.Contains(string(g.body), row.want) {
					t.Errorf("%s, %d %s; want %s with %s", e.Outcome, g.status, g.body, row.outcome, row.want)
				}
				r.up.answerWith(text("added"))
				g = r.do(toolCall(rev, r.token("alice"), "3", "add", `{"basket_id":"b-7"}`))
				if got := strings.Contains(string(g.body), "added"); got != (row.name == "handle") {
					t.Errorf("%d %s", g.status, g.body)
				}
			})
		}
	}
}
