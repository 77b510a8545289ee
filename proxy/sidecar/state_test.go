package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
)

// asking is an upstream of 2026-07-28 that answers a request without state by
// asking for input, and one with state by a result that shows the state.
func asking(requests string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m struct {
			ID     json.RawMessage
			Params struct{ RequestState *string }
		}
		_ = json.Unmarshal(body, &m)
		if m.Params.RequestState == nil {
			answerJSON(w, 200, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"resultType":"input_required","inputRequests":{`+requests+`},"requestState":"the state\u0020of the server"}}`)
			return
		}
		quoted, _ := json.Marshal("with " + *m.Params.RequestState)
		answerJSON(w, 200, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"resultType":"complete","content":[{"type":"text","text":`+string(quoted)+`}]}}`)
	}
}

const elicitation = `"confirm":{"method":"elicitation/create","params":{"message":"Sure?","requestedSchema":{"type":"object","properties":{}}}}`

// capable makes a request of 2026-07-28 declare what its client offers.
func capable(a ask, capabilities string) ask {
	a.body = strings.Replace(a.body, `"io.modelcontextprotocol/clientCapabilities":{}`, `"io.modelcontextprotocol/clientCapabilities":{`+capabilities+`}`, 1)
	return a
}

// stated is a retry that brings a state back.
func stated(a ask, state string) ask {
	a.body = strings.Replace(a.body, `"params":{`, `"params":{"inputResponses":{"confirm":{"action":"accept","content":{}}},"requestState":"`+state+`",`, 1)
	return a
}

// stateOf asks and returns the state that the client is handed.
func stateOf(t *testing.T, r *rig, a ask) string {
	t.Helper()
	g := r.do(a)
	var m struct {
		Result struct{ ResultType, RequestState string }
	}
	if err := json.Unmarshal(g.body, &m); err != nil || m.Result.ResultType != "input_required" || m.Result.RequestState == "" {
		t.Fatalf("%d %s", g.status, g.body)
	}
	return m.Result.RequestState
}

// The state that an upstream hands out is sealed for the principal and the
// request that it was handed to, and for a time.
func TestRequestState(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: asking(elicitation)})
	update := func(who, tool, args string) ask {
		return capable(toolCall(modern, r.token(who), "1", tool, args), `"elicitation":{}`)
	}
	sealed := stateOf(t, r, update("alice", "update_document", `{"id":1,"x":"é"}`))
	if strings.Contains(sealed, "state") {
		t.Errorf("the client can read %q", sealed)
	}
	if again := stateOf(t, r, update("alice", "update_document", `{"id":1,"x":"é"}`)); again == sealed {
		t.Error("the same state is sealed alike twice")
	}
	// The retry may write its arguments in another way.
	g := r.do(stated(update("alice", "update_document", `{ "x":"\u00e9", "id":1.0}`), sealed))
	if g.status != 200 || !strings.Contains(string(g.body), `"text":"with the state of the server"`) {
		t.Errorf("the upstream did not get its state back: %d %s", g.status, g.body)
	}
	flipped := "A" + sealed[1:]
	if sealed[0] == 'A' {
		flipped = "B" + sealed[1:]
	}
	// Integers that a float64 takes for one another are others all the same.
	large := stateOf(t, r, update("alice", "update_document", `{"id":9007199254740993,"x":[1e3]}`))
	for name, a := range map[string]ask{
		"for the next integer": stated(update("alice", "update_document", `{"id":9007199254740992,"x":[1e3]}`), large),
		"of another principal": stated(update("erin", "update_document", `{"id":1,"x":"é"}`), sealed),
		"for other arguments":  stated(update("alice", "update_document", `{"id":2,"x":"é"}`), sealed),
		"for another tool":     stated(update("alice", "create_document", `{"id":1,"x":"é"}`), sealed),
		"changed":              stated(update("alice", "update_document", `{"id":1,"x":"é"}`), flipped),
		"cut":                  stated(update("alice", "update_document", `{"id":1,"x":"é"}`), sealed[:len(sealed)-4]),
		"the server's own":     stated(update("alice", "update_document", `{"id":1,"x":"é"}`), "the state of the server"),
	} {
		t.Run(name, func(t *testing.T) {
			r.denied(t, denial{ask: func(*rig, string, string) ask { return a }, refusal: badState}, modern, "1")
		})
	}
	r.clock.advance(31 * time.Minute)
	late := stated(update("alice", "update_document", `{"id":1,"x":"é"}`), sealed)
	r.denied(t, denial{ask: func(*rig, string, string) ask { return late }, refusal: badState}, modern, "1")
}

// A key that could be guessed is no key.
func TestSealKeyMustBeLong(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory})
	for length, want := range map[int]bool{31: false, 32: true} {
		file := filepath.Join(t.TempDir(), "seal.key")
		if err := os.WriteFile(file, []byte(strings.Repeat("k", length)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := r.config(setup{extra: "seal_key_file: " + file + "\n"})
		s, err := New(cfg, Options{})
		if (err == nil) != want || err != nil && !errors.Is(err, ErrConfig) {
			t.Errorf("%d characters: %v", length, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}

// The caller's token does not become the sidecar's credential by a file that holds
// it.
func TestCredentialIsNotTheCallers(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(service+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{"in the environment": {Token: identity.NewSecret(service)}, "in a file": {TokenFile: file}, "another": {Token: identity.NewSecret("x" + service)}} {
		cfg, err := config.Load(filepath.Join(r.dir, "sidecar.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Audit.File = filepath.Join(t.TempDir(), "audit.jsonl")
		s, err := New(cfg, o)
		if refused := errors.Is(err, ErrConfig); refused != (name != "another") || strings.Contains(fmt.Sprint(err), service) {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}

// A server may ask only for what the client offers with this very request, and
// only for what MCP defines.
func TestInputRequests(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, requests, capabilities string
		passes                       bool
	}{
		{"declared", elicitation, `"elicitation":{}`, true},
		{"not declared", elicitation, ``, false},
		{"declared as no object", elicitation, `"elicitation":true`, false},
		{"another one declared", elicitation, `"sampling":{}`, false},
		{"sampling", `"s":{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}`, `"sampling":{}`, true},
		{"roots", `"r":{"method":"roots/list"}`, `"roots":{}`, true},
		{"one of two not declared", elicitation + `,"r":{"method":"roots/list"}`, `"elicitation":{}`, false},
		{"something else", `"x":{"method":"tools/call","params":{"name":"x"}}`, `"elicitation":{}`, false},
		{"nothing", `"x":{}`, `"elicitation":{}`, false},
		{"something else, of a client that offers the nameless", `"x":{"method":"tools/call","params":{"name":"x"}}`, `"":{}`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: demoInventory, upstream: asking(row.requests)})
			g := r.do(capable(r.update(modern, "1"), row.capabilities))
			if passed := strings.Contains(string(g.body), `"input_required"`); passed != row.passes {
				t.Errorf("%d %s", g.status, g.body)
			}
			if e := r.outcome(); !row.passes && (e.Outcome != "upstream_failed" || e.Reason != "input-request" || g.status != 502) {
				t.Errorf("%d, record %+v", g.status, e)
			}
			// A task asks in the same way.
			r.up.answerWith(tasking)
			r.do(r.update(modern, "2"))
			r.up.answerWith(result(`"resultType":"complete","taskId":"t-1","status":"input_required","inputRequests":{` + row.requests + `}`))
			g = r.do(capable(request(modern, r.token("alice"), "3", "tasks/get", `"taskId":"t-1"`), row.capabilities))
			if passed := strings.Contains(string(g.body), `"inputRequests"`); passed != row.passes {
				t.Errorf("from a task: %d %s", g.status, g.body)
			}
		})
	}
}
