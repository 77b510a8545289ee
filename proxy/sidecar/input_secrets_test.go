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

// The same in whatever else a client sends: arguments of prompts and completions, addresses,
// answers to what a server asked.
func TestInputSecretsElsewhere(t *testing.T) {
	t.Parallel()
	const key = "AKIAQYLPMN5HHHFPZAM2" // made up
	for _, row := range []struct {
		name string
		only string
		ask  func(r *rig, rev, id string) ask
	}{
		{"prompt", "", named("alice", "prompts/get", "greet", `"name":"greet","arguments":{"who":"`+key+`"}`)},
		{"completion", "", as("alice", "completion/complete", `"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":"`+key+`"}`)},
		{"context of a completion", "", as("alice", "completion/complete", `"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":"A"},"context":{"arguments":{"to":"`+key+`"}}`)},
		{"address", "", reads("alice", "memo://keys/"+key)},
		{"answer inside a call", modern, func(r *rig, rev, id string) ask {
			return request(rev, r.token("alice"), id, "tools/call", `"name":"update_document","arguments":{"id":1},"inputResponses":{"a":{"action":"accept","content":{"k":"`+key+`"}}}`).with("Mcp-Name", headerOf(rev, "update_document")...)
		}},
	} {
		for _, mode := range []string{"observe", "enforce"} {
			for _, rev := range bothRevisions {
				if row.only != "" && row.only != rev {
					continue
				}
				t.Run(row.name+"/"+mode+"/"+rev, func(t *testing.T) {
					t.Parallel()
					s := features()
					s.extra += "guards: { input_secrets: " + mode + " }\n"
					s.tools, s.upstream = "\n  docs/secret: { hide: true }\n", result(`"messages":[],"contents":[],"content":[],"completion":{"values":[]}`)
					r := start(t, s)
					g := r.do(row.ask(r, rev, "7"))
					e := r.outcome()
					if mode == "observe" {
						if e.Outcome != "allowed" || r.touched() != 1 || !slices.Contains(e.Would, "input_secrets: aws_access_key") {
							t.Errorf("%s, reached %d times, record %+v", g.body, r.touched(), e)
						}
						return
					}
					if e.Outcome != "blocked" || e.Guard != "input_secrets" || e.Rule != "aws_access_key" || r.touched() != 0 || !strings.Contains(string(g.body), "hold a secret (aws_access_key)") || strings.Contains(string(g.body), key) {
						t.Errorf("%s, reached %d times, record %+v", g.body, r.touched(), e)
					}
				})
			}
		}
	}
}

// An answer with a secret does not reach the server that asked; another one does.
func TestInputSecretsInAnswers(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP, extra: "guards: { input_secrets: enforce }\n"})
	session := r.initializeWith("alice", `"elicitation":{}`)
	events, _ := r.listen(t, "alice", session, "")
	feed, _ := up.feed(0)
	feed <- data("q1", `{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"which key?","requestedSchema":{"type":"object","properties":{}}}}`)
	next(t, events)
	r.records()
	answer := func(key string) ask {
		return post(legacy, r.token("alice"), "", "", `{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"key":"`+key+`"}}}`).in(session)
	}
	g := r.do(answer("AKIAQYLPMN5HHHFPZAM2")) // made up
	if e := r.outcome(); e.Outcome != "blocked" || e.Guard != "input_secrets" || g.status == http.StatusAccepted {
		t.Errorf("%d %s, record %+v", g.status, g.body, e)
	}
	if g := r.do(answer("none")); g.status != http.StatusAccepted {
		t.Errorf("%d %s", g.status, g.body)
	}
	if got := <-up.posts; !strings.Contains(got, `"key":"none"`) {
		t.Errorf("the upstream got %s", got)
	}
	close(feed)
}
