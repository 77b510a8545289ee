package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Two servers behind one sidecar. They offer tools of the same name, which mean
// different things.
const severalPolicy = `
p, role:reader, docs/*,   *,    allow
p, role:files,  fs/*,     *,    allow
p, role:files,  document, read, allow
g, user:alice, role:reader
g, user:alice, role:files
g, user:bob,   role:reader
g, user:carol, role:files
`

const severalTools = `
  docs/read:   { scopes: ["documents:read"] }
  docs/secret: { hide: true }
  fs/read:     { scopes: ["files:read"], inject_args: { path: $subject } }
  fs/delete:   { consent: confirm }
`

const (
	docsInventory = `[{"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},{"name":"secret","inputSchema":{"type":"object"}},{"name":"delete","annotations":{"destructiveHint":false},"inputSchema":{"type":"object"}}]`
	fsInventory   = `[{"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"path":{"type":"string"}}}},{"name":"secret","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},{"name":"delete","annotations":{"destructiveHint":true},"inputSchema":{"type":"object","properties":{}}}]`
)

// several is a rig of docs and fs; what answers there is up to the caller.
func several(docs, fs http.HandlerFunc) setup {
	return setup{
		policy: severalPolicy, tools: severalTools,
		upstream: docs, inventory: docsInventory,
		others: map[string]setup{"fs": {upstream: fs, inventory: fsInventory}},
	}
}

// at is a, sent to the endpoint of server.
func (a ask) at(server string) ask {
	a.path = "/" + server + "/mcp"
	return a
}

func (r *rig) allScopes(who string) string { return r.token(who + " documents:read files:read") }

// Each path leads to its own server, whose rules alone count there.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	r := start(t, several(text("from docs"), text("from fs")))
	for _, rev := range bothRevisions {
		for _, server := range []string{"docs", "fs"} {
			other := map[string]string{"docs": "fs", "fs": "docs"}[server]
			r.records()
			before := len(r.ups[other].seen())
			g := r.do(toolCall(rev, r.allScopes("alice"), "1", "read", `{}`).at(server))
			if g.status != http.StatusOK || !strings.Contains(string(g.body), `"from `+server+`"`) {
				t.Errorf("%s: %d %s", server, g.status, g.body)
			}
			if len(r.ups[other].seen()) != before {
				t.Errorf("a call of %s reached %s", server, other)
			}
			if e := r.outcome(); e.Upstream != server || !strings.Contains(e.Rule, "role:") {
				t.Errorf("record %+v", e)
			}
			injected := strings.Contains(r.ups[server].last().body, `"path":"alice"`)
			if injected != (server == "fs") {
				t.Errorf("%s receives %s", server, r.ups[server].last().body)
			}
		}
	}
}

// Lists show what that server's rules allow the caller.
func TestSeveralServersList(t *testing.T) {
	t.Parallel()
	list := func(tools string) http.HandlerFunc { return result(`"tools":` + tools) }
	r := start(t, several(list(docsInventory), list(fsInventory)))
	for _, row := range []struct{ who, server, want string }{
		{"alice", "docs", "read delete"},
		{"alice", "fs", "read secret delete"},
		{"bob", "docs", "read delete"},
		{"bob", "fs", ""},
		{"carol", "docs", ""},
		{"carol", "fs", "read secret delete"},
	} {
		for _, rev := range bothRevisions {
			a := request(rev, r.allScopes(row.who), "1", "tools/list", "").at(row.server)
			if got := strings.Join(r.toolNames(a), " "); got != row.want {
				t.Errorf("%s sees %q at %s, want %q", row.who, got, row.server, row.want)
			}
			g := r.do(a)
			if advertised := bytes.Contains(g.body, []byte(`"confirm"`)); advertised != (row.server == "fs" && row.want != "") {
				t.Errorf("confirm in the list of %s: %s", row.server, g.body)
			}
		}
	}
}

func TestSeveralServersDenied(t *testing.T) {
	t.Parallel()
	r := start(t, several(nil, nil))
	call := func(server, who, tool, args string) func(*rig, string, string) ask {
		return func(r *rig, rev, id string) ask { return toolCall(rev, r.token(who), id, tool, args).at(server) }
	}
	for i, d := range []denial{
		{name: "no role at the other server", ask: call("fs", "bob documents:read files:read", "read", `{}`), refusal: role(`role "reader" may not read fs/read`)},
		{name: "no role at this server", ask: call("docs", "carol documents:read files:read", "read", `{}`), refusal: role(`role "files" may not read docs/read`)},
		{name: "the other server's scope", ask: call("fs", "alice documents:read", "read", `{}`), refusal: scopes(`"files:read"`, "files:read")},
		{name: "hidden here only", ask: call("docs", "alice", "secret", `{}`), refusal: noTool},
		{name: "another server's name in front", ask: call("docs", "alice", "fs/read", `{}`), refusal: noTool.at("inspect-input")},
		{name: "a merged name", ask: call("docs", "alice", "fs.read", `{}`), refusal: noTool.at("inspect-input")},
		{name: "unconfirmed here only", ask: call("fs", "alice", "delete", `{}`), refusal: blockedBy("consent", "confirmation-required", "blocked: delete requires explicit confirmation (confirm=true)")},
		{name: "no token", ask: func(_ *rig, rev, id string) ask { return toolCall(rev, "", id, "read", `{}`).at("fs") }, refusal: unauthorized("no bearer token was sent", "")},
	} {
		for _, rev := range bothRevisions {
			t.Run(d.name+"/"+rev, func(t *testing.T) { r.denied(t, d, rev, ids[i%len(ids)]) })
		}
	}
}

// Paths are compared as they are sent: a proxy in front that decides by the path
// must not read another one.
func TestSeveralPaths(t *testing.T) {
	t.Parallel()
	r := start(t, several(nil, nil))
	for _, path := range []string{
		"/", "/mcp", "/docs", "/docs/", "/docs/mcp/", "/docs/mcp/x", "/Docs/mcp", "/DOCS/MCP", "//docs/mcp", "/docs//mcp", "/docs%2Fmcp", "/%64ocs/mcp", "/docs/%6dcp",
		"/docs/../fs/mcp", "/docs/./mcp", "/nobody/mcp", "/docs/mcp;x", "/docs/mcp%00", "/docs/mcp%20",
		"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource/docs", "/.well-known/oauth-protected-resource/nobody/mcp",
	} {
		a := toolCall(modern, r.token("alice"), "1", "read", `{}`)
		a.path = path
		g := r.do(a)
		const want = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"nothing here; the MCP endpoints are /docs/mcp, /fs/mcp"}}`
		if g.status != http.StatusNotFound || string(g.body) != want {
			t.Errorf("%s: %d %s", path, g.status, g.body)
		}
	}
	if n := len(r.records()); n != 0 {
		t.Errorf("%d records of calls at paths where there is nothing", n)
	}
}

// Each endpoint is a protected resource of its own (RFC 9728 section 3.1).
func TestSeveralMetadata(t *testing.T) {
	t.Parallel()
	s := several(nil, nil)
	s.extra = "public_url: https://sidecar.example\n"
	r := start(t, s)
	for server, scope := range map[string]string{"docs": "documents:read", "fs": "files:read"} {
		g := r.do(ask{method: http.MethodGet, path: "/.well-known/oauth-protected-resource/" + server + "/mcp", header: http.Header{}})
		want := []string{`"resource":"https://sidecar.example/` + server + `/mcp"`, `"scopes_supported":["` + scope + `"]`}
		for _, w := range want {
			if g.status != http.StatusOK || !strings.Contains(string(g.body), w) {
				t.Errorf("%s: %d %s lacks %s", server, g.status, g.body, w)
			}
		}
		g = r.do(toolCall(modern, "", "1", "read", `{}`).at(server))
		if got, want := g.header.Get("WWW-Authenticate"), `Bearer resource_metadata="https://sidecar.example/.well-known/oauth-protected-resource/`+server+`/mcp"`; got != want {
			t.Errorf("%s: challenge %s, want %s", server, got, want)
		}
	}
}

// A session belongs to the server it was opened with; elsewhere it is unknown.
func TestSessionsOfOtherServers(t *testing.T) {
	t.Parallel()
	r := start(t, several(stateful(), stateful()))
	session := map[string]string{}
	for _, server := range []string{"docs", "fs"} {
		session[server] = r.initializeAt(server, "alice")
	}
	foreign := func(server, other string) denial {
		return denial{name: other + "'s session at " + server, refusal: lostSession, ask: func(r *rig, rev, id string) ask {
			return request(rev, r.token("alice"), id, "ping", "").in(session[other]).at(server)
		}}
	}
	for _, d := range []denial{foreign("docs", "fs"), foreign("fs", "docs"),
		{name: "ending it", refusal: lostSession, ask: func(r *rig, _, _ string) ask { return endOf(r.token("alice"), session["docs"]).at("fs") }}} {
		t.Run(d.name, func(t *testing.T) { r.denied(t, d, legacy, "1") })
	}
	for server, id := range session {
		if g := r.do(request(legacy, r.token("alice"), "1", "ping", "").in(id).at(server)); g.status != http.StatusOK {
			t.Errorf("the session of %s answers %d there", server, g.status)
		}
	}
}

func (r *rig) initializeAt(server, who string) string {
	r.t.Helper()
	g := r.do(request(legacy, r.token(who), "0", "initialize", initParams).with("Mcp-Protocol-Version").at(server))
	if g.status != http.StatusOK {
		r.t.Fatalf("initialize at %s: %d %s", server, g.status, g.body)
	}
	return g.header.Get("Mcp-Session-Id")
}

// What a principal may hold is counted over all servers.
func TestCapsHoldOverServers(t *testing.T) {
	t.Parallel()
	t.Run("sessions", func(t *testing.T) {
		s := several(stateful(), stateful())
		s.extra = "limits: { sessions_per_principal: 2 }\n"
		r := start(t, s)
		first := r.initializeAt("docs", "alice")
		r.clock.advance(time.Second)
		r.initializeAt("fs", "alice")
		tooMany := refusal{status: 429, code: 42900, text: "too many open sessions; end one with DELETE", outcome: "limited", stage: "authorize", reason: "sessions", retry: "60"}
		for _, server := range []string{"docs", "fs"} {
			d := denial{refusal: tooMany, ask: func(r *rig, rev, id string) ask {
				return request(rev, r.token("alice"), id, "initialize", initParams).with("Mcp-Protocol-Version").at(server)
			}}
			t.Run(server, func(t *testing.T) { r.denied(t, d, legacy, "1") })
		}
		r.initializeAt("fs", "bob") // others have places of their own
		// A session that has been silent makes room, whichever server it is with.
		r.clock.advance(2 * time.Minute)
		r.initializeAt("fs", "alice")
		if g := r.do(request(legacy, r.token("alice"), "1", "ping", "").in(first).at("docs")); g.status != http.StatusNotFound {
			t.Errorf("the longest silent session answers %d", g.status)
		}
	})
	t.Run("calls", func(t *testing.T) {
		arrived, finish := make(chan struct{}), make(chan struct{})
		slow := func(w http.ResponseWriter, req *http.Request) {
			arrived <- struct{}{}
			<-finish
			text("done")(w, req)
		}
		s := several(slow, slow)
		s.extra = "limits: { concurrent_calls_per_principal: 2 }\n"
		r := start(t, s)
		token, tokenOfBob := r.allScopes("alice"), r.allScopes("bob")
		var calls sync.WaitGroup
		for _, server := range []string{"docs", "fs"} {
			calls.Go(func() { r.do(toolCall(modern, token, "1", "read", `{}`).at(server)) })
			<-arrived
		}
		d := denial{refusal: refusal{status: 200, text: "rate limited, retry in 1 s", outcome: "limited", stage: "authorize", reason: "concurrency"},
			ask: func(_ *rig, rev, id string) ask { return toolCall(rev, token, id, "read", `{}`).at("fs") }}
		r.denied(t, d, modern, "2")
		calls.Go(func() { r.do(toolCall(modern, tokenOfBob, "1", "read", `{}`).at("docs")) })
		<-arrived
		close(finish)
		calls.Wait()
	})
}

// Ids that collide between servers and principals never cross answers.
func TestSeveralServersAtOnce(t *testing.T) {
	t.Parallel()
	echo := func(server string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			req.Body = io.NopCloser(bytes.NewReader(body))
			who := "alice"
			if bytes.Contains(body, []byte(`"who":"carol"`)) {
				who = "carol"
			}
			text(server+" for "+who)(w, req)
		}
	}
	r := start(t, several(echo("docs"), echo("fs")))
	tokens := map[string]string{"alice": r.allScopes("alice"), "carol": r.allScopes("carol")}
	var calls sync.WaitGroup
	for who, server := range map[string]string{"alice": "docs", "carol": "fs"} {
		for i := range 50 {
			calls.Go(func() {
				g := r.do(toolCall(bothRevisions[i%2], tokens[who], fmt.Sprint(i), "read", `{"who":"`+who+`"}`).at(server))
				if !bytes.HasPrefix(g.body, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,`, i)) || !bytes.Contains(g.body, []byte(server+" for "+who)) {
					t.Errorf("%s at %s, id %d: %s", who, server, i, g.body)
				}
			})
		}
	}
	calls.Wait()
}

// The summary and the addresses name every server.
func TestSeveralInTheSummary(t *testing.T) {
	t.Parallel()
	r := start(t, several(nil, nil))
	if got := r.sidecar.URLs(); !slices.Equal(got, []string{r.base + "/docs/mcp", r.base + "/fs/mcp"}) || r.sidecar.URL() != got[0] {
		t.Errorf("addresses %v, first %s", got, r.sidecar.URL())
	}
	var out bytes.Buffer
	r.sidecar.Summary(&out)
	for _, want := range []string{
		"preset balanced, in front of 2 servers\n",
		"  upstream       docs at /docs/mcp (" + r.ups["docs"].url() + "): the sidecar's own credential in Authorization; the caller's never travels on\n",
		"  upstream       fs at /fs/mcp (" + r.ups["fs"].url() + "): the sidecar's own credential in Authorization; the caller's never travels on\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, out.String())
		}
	}
}
