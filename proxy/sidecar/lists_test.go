package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// toolsResult answers tools/list with a list, and tool calls with "done".
func toolsResult(members, list string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte(`"tools/list"`)) {
			result(members+`"tools":`+list)(w, r)
			return
		}
		text("done")(w, r)
	}
}

// listed returns the names that who sees.
func (r *rig) listed(rev, who string) []string {
	r.t.Helper()
	return r.toolNames(request(rev, r.token(who), "1", "tools/list", ""))
}

// toolNames returns the names in the answer to a.
func (r *rig) toolNames(a ask) []string {
	r.t.Helper()
	g := r.do(a)
	var m struct {
		Result struct {
			Tools []struct{ Name string }
		}
	}
	if err := json.Unmarshal(g.body, &m); err != nil || g.status != http.StatusOK {
		r.t.Fatalf("%d %s", g.status, g.body)
	}
	var names []string
	for _, t := range m.Result.Tools {
		names = append(names, t.Name)
	}
	return names
}

// A list shows what a call would be let through for, whatever the token's scopes.
func TestListsAreFilteredByRole(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: toolsResult("", demoInventory)})
	all := []string{"create_document", "read_document", "update_document", "delete_document", "move_document", "render_document", "import_url"}
	for _, rev := range bothRevisions {
		for who, want := range map[string][]string{
			"alice":       all,
			"alice other": all, // a missing scope hides nothing: a step-up must stay possible
			"bob":         {"read_document", "update_document", "move_document", "render_document"},
			"carol":       {"read_document", "render_document"},
			"dave":        nil,
		} {
			if got := r.listed(rev, who); !slices.Equal(got, want) {
				t.Errorf("%s, %s sees %q, want %q", rev, who, got, want)
			}
		}
	}
}

// Tools that nothing names are shown exactly where calls of them pass: without a
// policy.
func TestListsWithoutPolicy(t *testing.T) {
	t.Parallel()
	for preset, want := range map[string]int{"balanced": 8, "observe": 8, "strict": 0} {
		r := start(t, setup{open: true, preset: preset, upstream: toolsResult("", demoInventory)})
		if got := r.listed(modern, "anybody"); len(got) != want {
			t.Errorf("%s: %q, want %d tools", preset, got, want)
		}
	}
}

// What is left of a filtered list is what the upstream sent, to the byte, but for
// the arguments that the sidecar sets or asks for.
func TestListRewriting(t *testing.T) {
	t.Parallel()
	tool := func(name, schema string) string {
		return ` {"name" : "` + name + `","inputSchema":` + schema + `,"x":1.0}`
	}
	for _, row := range []struct {
		name, tool, schema, want string
	}{
		{"untouched", "read_document", `{"type":"object","properties":{ "id" : {"type":"integer","maximum":1e3} }}`, ``},
		{"confirm is added", "delete_document", `{"type":"object","properties":{"id":{}},"required":["id"]}`,
			`{"type":"object","properties":{"id":{},"confirm":$CONFIRM},"required":["id"]}`},
		{"confirm in an empty object", "delete_document", `{"type":"object","properties":{ }}`, `{"type":"object","properties":{ "confirm":$CONFIRM}}`},
		{"confirm without properties", "delete_document", `{"type":"object"}`, `{"type":"object","properties":{"confirm":$CONFIRM}}`},
		{"own confirm is kept", "delete_document", `{"type":"object","properties":{"confirm":{"type":"string"}}}`, ``},
		{"schema that cannot be added to", "delete_document", `{"anyOf":[{"type":"object"}]}`, ``},
		{"properties that are none", "delete_document", `{"type":"object","properties":[]}`, ``},
		{"injected argument first", "create_document", `{"type":"object","properties":{"created_by":{"type":"string"} , "content":{}},"required":["created_by","content"]}`,
			`{"type":"object","properties":{ "content":{}},"required":["content"]}`},
		{"injected argument last", "create_document", `{"type":"object","properties":{"content":{} , "created_by":{"type":"string"}},"required":["content", "created_by"]}`,
			`{"type":"object","properties":{"content":{} },"required":["content"]}`},
		{"injected argument alone", "create_document", `{"type":"object","properties":{"created_by":{}},"required":["created_by"]}`, `{"type":"object","properties":{},"required":[]}`},
		{"injected argument absent", "create_document", `{"type":"object","properties":{"content":{}}}`, ``},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				want := row.want
				if want == "" {
					want = row.schema
				}
				want = strings.ReplaceAll(want, "$CONFIRM", `{"type":"boolean","description":"This call does something that cannot be undone. Set to true only after the user was shown exactly what will happen and has confirmed it."}`)
				hidden := strings.TrimSpace(tool("secret_tool", `{"type":"object"}`))
				r := start(t, setup{upstream: toolsResult(` "ttl":1.50, `, "["+hidden+","+tool(row.tool, row.schema)+" ,"+hidden+"]")})
				g := r.do(request(rev, r.token("alice"), "1", "tools/list", ""))
				result := `{ "ttl":1.50, "tools":[` + tool(row.tool, want) + ` ]`
				if rev == modern {
					result += `,"cacheScope":"private"`
				}
				if want := response("1", result+"}"); string(g.body) != want {
					t.Errorf("got\n%s\nwant\n%s", g.body, want)
				}
			})
		}
	}
}

// A list made for one caller must not come out of a shared cache for another.
func TestListsArePrivate(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, members, want string }{
		{"absent", ``, `"cacheScope":"private"`},
		{"public", `"cacheScope":"public",`, `"cacheScope":"private"`},
		{"private", `"cacheScope":"private",`, `"cacheScope":"private"`},
	} {
		r := start(t, setup{upstream: toolsResult(row.members, demoInventory)})
		g := r.do(request(modern, r.token("alice"), "1", "tools/list", ""))
		if !strings.Contains(string(g.body), row.want) || strings.Contains(string(g.body), "public") || strings.Count(string(g.body), "cacheScope") != 1 {
			t.Errorf("%s: %s", row.name, g.body)
		}
		if g := r.do(request(legacy, r.token("alice"), "1", "tools/list", "")); row.members == "" && strings.Contains(string(g.body), "cacheScope") {
			t.Errorf("%s: a member that 2025-11-25 does not know: %s", row.name, g.body)
		}
	}
}

func TestListThatIsNone(t *testing.T) {
	t.Parallel()
	r := start(t, setup{open: true, upstream: jsonBody(response("$ID", `{"tools":{"t":1}}`))})
	if g := r.do(request(modern, "", "1", "tools/list", "")); g.status != http.StatusBadGateway {
		t.Errorf("a list that is none: %d %s", g.status, g.body)
	}
}

// One listing for all that need it, however many ask at once; one request to the
// upstream for each call.
func TestInventoryIsFetchedOnce(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		r := start(t, setup{inventory: demoInventory, upstream: text("done")})
		const n = 20
		var wg sync.WaitGroup
		for i := range n {
			who := []string{"alice", "bob"}[i%2]
			a := toolCall(rev, r.token(who), fmt.Sprint(i), "update_document", `{"id":1}`)
			wg.Go(func() {
				resp, err := r.send(context.Background(), a)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%v %v", resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			})
		}
		wg.Wait()
		if r.up.listed() != 1 || len(r.up.seen()) != n {
			t.Errorf("%s: %d listings and %d calls, want 1 and %d", rev, r.up.listed(), len(r.up.seen()), n)
		}
	}
}

// The sidecar's own listing says who asks, in the client's session and revision.
func TestInventoryRequest(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	r.up.listTools(demoInventory)
	session := r.initialize("alice")
	r.do(r.update(legacy, "1").in(session))
	asked := r.up.listings()
	if len(asked) != 1 || asked[0].header.Get("Mcp-Session-Id") != "upstream-session-1" || asked[0].header.Get("Mcp-Protocol-Version") != legacy ||
		asked[0].body != `{"jsonrpc":"2.0","id":"mcp-sidecar/inventory","method":"tools/list","params":{}}` {
		t.Errorf("%+v", asked)
	}
}

func TestInventoryRequestModern(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	r.do(r.update(modern, "1"))
	asked := r.up.listings()[0]
	if asked.header.Get("Mcp-Method") != "tools/list" || asked.header.Get("Mcp-Protocol-Version") != modern || asked.header.Get("Authorization") != "Bearer "+service ||
		!strings.Contains(asked.body, `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`) {
		t.Errorf("%+v", asked)
	}
}

// A change that the upstream announces makes the next call list again.
func TestInventoryAfterListChanged(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	r.do(r.update(modern, "1"))
	r.do(r.update(modern, "2"))
	if r.up.listed() != 1 {
		t.Fatalf("%d listings before the change", r.up.listed())
	}
	r.up.answerWith(events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\ndata: " + response("$ID", doneResult) + "\n\n"))
	r.do(r.update(modern, "3"))
	r.up.answerWith(text("done"))
	r.do(r.update(modern, "4"))
	r.do(r.update(modern, "5"))
	if r.up.listed() != 2 {
		t.Errorf("%d listings, want one before and one after the change", r.up.listed())
	}
}

// A client's own complete listing saves the sidecar's.
func TestInventoryLearnsFromClients(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: toolsResult("", demoInventory)}) // the sidecar's own listing is a trap
	r.do(request(modern, r.token("dave"), "1", "tools/list", ""))
	if g := r.do(r.update(modern, "1")); !bytes.Contains(g.body, []byte("done")) {
		t.Errorf("%s", g.body)
	}
}

// Without a listing every tool counts as destructive, and the calls still pass;
// a failed listing is not repeated before each call.
func TestInventoryFails(t *testing.T) {
	t.Parallel()
	r := start(t, setup{open: true, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		if isInventory(body) {
			answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":"mcp-sidecar/inventory","error":{"code":-32601,"message":"no tools/list"}}`)
			return
		}
		text("done")(w, req)
	}})
	call := func(args string) string {
		return string(r.do(toolCall(modern, "", "1", "wipe", args)).body)
	}
	if got := call(`{}`); !strings.Contains(got, `"blocked: wipe requires explicit confirmation (confirm=true)"`) {
		t.Errorf("an unknown tool is not destructive: %s", got)
	}
	r.records()
	if got := call(`{"confirm":true}`); !strings.Contains(got, "done") {
		t.Errorf("confirmed: %s", got)
	}
	if records := r.records(); len(records) != 2 || records[0].Phase != "intent" {
		t.Errorf("no intent record: %+v", records)
	}
	if r.up.listed() != 1 {
		t.Errorf("%d listings", r.up.listed())
	}
	r.clock.advance(31 * time.Second)
	call(`{"confirm":true}`)
	if r.up.listed() != 2 {
		t.Errorf("%d listings after half a minute", r.up.listed())
	}
}

// A server may spell the id of the sidecar's own request another way: many escape
// each slash.
func TestInventorySpelledAnotherWay(t *testing.T) {
	t.Parallel()
	r := start(t, setup{open: true, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		if isInventory(body) {
			answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":"mcp-sidecar\/inventory","result":{"tools":[{"name":"look","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}]}}`)
			return
		}
		text("done")(w, req)
	}})
	if g := r.do(toolCall(modern, "", "1", "look", `{}`)); !bytes.Contains(g.body, []byte("done")) {
		t.Errorf("%s", g.body)
	}
}

// All pages of a listing are read.
func TestInventoryPages(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case bytes.Contains(body, []byte(`"cursor":"p\"2"`)):
			result(`"tools":[{"name":"update_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object"}}]`)(w, req)
		case isInventory(body):
			result(`"tools":[{"name":"other","inputSchema":{"type":"object"}}],"nextCursor":"p\"2"`)(w, req)
		default:
			text("done")(w, req)
		}
	}})
	if g := r.do(r.update(modern, "1")); !bytes.Contains(g.body, []byte("done")) {
		t.Errorf("%s", g.body)
	}
	if r.up.listed() != 2 {
		t.Errorf("%d requests for two pages", r.up.listed())
	}
}

// forwarded is what the upstream gets for a call.
func TestForwardedArguments(t *testing.T) {
	t.Parallel()
	r := start(t, setup{lenient: true, inventory: demoInventory, upstream: text("done")})
	for _, row := range []struct {
		name, who, tool, args, want string
		finding                     string
	}{
		{"as they are", "alice", "update_document", `{ "id" : 9007199254740993 , "x":1.0,"y":1e3,"z":"\u0061"}`, `{ "id" : 9007199254740993 , "x":1.0,"y":1e3,"z":"\u0061"}`, ""},
		{"confirm is stripped in front", "alice", "delete_document", `{"confirm":true, "id":1}`, `{ "id":1}`, ""},
		{"confirm is stripped behind", "alice", "delete_document", `{"id":1 ,"confirm" : true}`, `{"id":1 }`, ""},
		{"confirm is stripped in between", "alice", "delete_document", `{"id":1, "confirm":true, "x":2}`, `{"id":1, "x":2}`, ""},
		{"confirm alone", "alice", "delete_document", `{ "confirm":true }`, `{  }`, ""},
		{"escaped confirm", "alice", "delete_document", `{"c\u006fnfirm":true,"id":1}`, `{"id":1}`, ""},
		{"confirm of another tool is its own", "alice", "update_document", `{"confirm":true}`, `{"confirm":true}`, ""},
		{"nested confirm stays", "alice", "delete_document", `{"a":{"confirm":true},"confirm":true}`, `{"a":{"confirm":true}}`, ""},
		{"created_by is added", "alice", "create_document", `{"content":"x"}`, `{"content":"x","created_by":"alice"}`, ""},
		{"created_by is replaced", "alice", "create_document", `{"created_by" : "mallory","content":"x"}`, `{"created_by" : "alice","content":"x"}`, "identity:overridden created_by"},
		{"created_by of another type", "alice", "create_document", `{"created_by":{"name":"mallory"},"content":"x"}`, `{"created_by":"alice","content":"x"}`, "identity:overridden created_by"},
		{"true created_by", "alice", "create_document", `{"created_by":"alice"}`, `{"created_by":"alice"}`, ""},
		{"created_by without arguments", "alice", "create_document", ``, `{"created_by":"alice"}`, ""},
		{"nested created_by is not ours", "alice", "create_document", `{"a":{"created_by":"mallory"}}`, `{"a":{"created_by":"mallory"},"created_by":"alice"}`, ""},
		{"constant of the list", "alice", "render_document", `{"format":"short"}`, `{"format":"words"}`, ""},
		{"URL that passes", "alice", "import_url", `{"url":"https://example.com/a"}`, `{"url":"https://example.com/a","created_by":"alice"}`, ""},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				r.records()
				a := toolCall(rev, r.token(row.who), "1", row.tool, row.args)
				if g := r.do(a); g.status != http.StatusOK || !bytes.Contains(g.body, []byte("done")) {
					t.Fatalf("%d %s", g.status, g.body)
				}
				want := strings.Replace(a.body, `"arguments":`+row.args, `"arguments":`+row.want, 1)
				if row.args == "" {
					want = strings.TrimSuffix(a.body, "}}") + `,"arguments":` + row.want + "}}"
				}
				if got := r.up.last().body; got != want {
					t.Errorf("the upstream got\n%s\nwant\n%s", got, want)
				}
				if e := r.outcome(); (row.finding != "" && !slices.Contains(e.Findings, row.finding)) || (row.finding == "" && len(e.Findings) != 0) {
					t.Errorf("findings %q, want %q", e.Findings, row.finding)
				}
			})
		}
	}
}

// A tool that has a confirm of its own keeps it.
func TestOwnConfirmIsForwarded(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: text("done"), inventory: `[{"name":"delete_document","inputSchema":{"type":"object","properties":{"confirm":{"type":"boolean"}}}}]`})
	a := toolCall(modern, r.token("alice"), "1", "delete_document", `{"confirm":true,"id":1}`)
	if r.do(a); r.up.last().body != a.body {
		t.Errorf("the upstream got %s", r.up.last().body)
	}
}
