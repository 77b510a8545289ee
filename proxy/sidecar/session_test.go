package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// stateful is an upstream of older revisions: it gives each initialize a session
// id of its own and forgets a session on DELETE.
func stateful() http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case bytes.Contains(body, []byte(`"method":"initialize"`)):
			w.Header().Set("Mcp-Session-Id", fmt.Sprintf("upstream-session-%d", n.Add(1)))
			result(`"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"docs","version":"1"}`)(w, r)
		default:
			text("done")(w, r)
		}
	}
}

const initParams = `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}`

// initialize opens a session for who and returns its id.
func (r *rig) initialize(who string) string {
	r.t.Helper()
	g := r.do(request(legacy, r.token(who), "0", "initialize", initParams).with("Mcp-Protocol-Version"))
	id := g.header.Get("Mcp-Session-Id")
	if g.status != http.StatusOK || id == "" {
		r.t.Fatalf("initialize: %d %s", g.status, g.body)
	}
	return id
}

func (a ask) in(session string) ask { return a.with("Mcp-Session-Id", session) }

func endOf(token, session string) ask {
	return ask{method: http.MethodDelete, header: http.Header{"Authorization": {"Bearer " + token}, "Mcp-Session-Id": {session}, "Mcp-Protocol-Version": {legacy}}}
}

var lostSession = refusal{status: 404, empty: true, outcome: "protocol_rejected", stage: "authenticate", reason: "session"}

func TestSessionsDenied(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: stateful()})
	alice := r.initialize("alice")
	r.mint("alice elsewhere", issuer.Claims{Subject: "alice", ClientID: "another-program", Scopes: allScopes})
	ended := r.initialize("alice")
	if g := r.do(endOf(r.token("alice"), ended)); g.status != http.StatusNoContent {
		t.Fatalf("DELETE: %d %s", g.status, g.body)
	}
	call := func(who, session string) func(*rig, string, string) ask {
		return func(r *rig, rev, id string) ask {
			return toolCall(rev, r.token(who), id, "read_document", `{"id":1}`).in(session)
		}
	}
	end := func(who, session string) func(*rig, string, string) ask {
		return func(r *rig, _, _ string) ask { return endOf(r.token(who), session) }
	}
	fixation := rejected(400, -32600, "session", "initialize starts a session and cannot name one")
	for i, d := range []denial{
		{name: "unknown", ask: call("alice", "NOSUCHSESSIONNOSUCHSESSION"), refusal: lostSession},
		{name: "of somebody else", ask: call("bob", alice), refusal: lostSession},
		{name: "of the same user in another program", ask: call("alice elsewhere", alice), refusal: lostSession},
		{name: "in another case", ask: call("alice", strings.ToLower(alice)), refusal: lostSession},
		{name: "the upstream's own", ask: call("alice", "upstream-session-1"), refusal: lostSession},
		{name: "ended", ask: call("alice", ended), refusal: lostSession},
		{name: "notification in somebody else's", ask: func(r *rig, rev, _ string) ask {
			return notify(rev, r.token("bob"), "notifications/cancelled", `"requestId":1`).in(alice)
		}, refusal: lostSession},
		{name: "initialize that chooses one", ask: func(r *rig, _, id string) ask {
			return request(legacy, r.token("alice"), id, "initialize", initParams).in("chosen-by-me")
		}, refusal: fixation},
		{name: "initialize in a known one", ask: func(r *rig, _, id string) ask {
			return request(legacy, r.token("alice"), id, "initialize", initParams).in(alice)
		}, refusal: fixation},
		{name: "ending somebody else's", ask: end("bob", alice), refusal: lostSession},
		{name: "ending an unknown one", ask: end("alice", "NOSUCHSESSIONNOSUCHSESSION"), refusal: lostSession},
		{name: "ending an ended one", ask: end("alice", ended), refusal: lostSession},
		{name: "ending none", ask: func(r *rig, _, _ string) ask { return endOf(r.token("alice"), "").with("Mcp-Session-Id") },
			refusal: rejected(400, -32600, "session", "no session is named").withID("null")},
		{name: "ending with a foreign revision", ask: func(r *rig, _, _ string) ask {
			return endOf(r.token("alice"), alice).with("Mcp-Protocol-Version", "1999-01-01")
		}, refusal: unsupportedVersion("1999-01-01").withID("null")},
		{name: "ending with two revisions", ask: func(r *rig, _, _ string) ask {
			return endOf(r.token("alice"), alice).with("Mcp-Protocol-Version", legacy, "2025-03-26")
		}, refusal: mismatches("MCP-Protocol-Version is sent more than once").withID("null")},
	} {
		t.Run(d.name, func(t *testing.T) { r.denied(t, d, legacy, ids[i%len(ids)]) })
	}
	if g := r.do(toolCall(legacy, r.token("alice"), "9", "read_document", `{"id":1}`).in(alice)); g.status != http.StatusOK {
		t.Errorf("the session does not survive what others tried: %d %s", g.status, g.body)
	}
}

// A session belongs to who opened it: to the subject as its issuer means it, in the
// program that the token was issued to. Nothing less may use it, listen to it, answer
// in it or end it, and each can have one of his own beside it.
func TestSessionsOfSignedTokens(t *testing.T) {
	t.Parallel()
	const second = "https://second.example"
	r := start(t, setup{inventory: demoInventory, upstream: stateful(), change: func(cfg *config.Config) {
		introspection := cfg.Auth.Introspection
		ownKeys().change(cfg) // one issuer with keys in a file
		file := cfg.Auth.JWT[0].JWKSFile
		cfg.Auth.Introspection = introspection
		signedOnly(cfg)
		cfg.Auth.JWT = append(cfg.Auth.JWT, config.JWT{Issuer: second, JWKSFile: file})
		cfg.Auth.SharedSubjects = true
	}})
	first := func(claims members) string { return r.signed(nil, claims) }
	other := func(claims members) string {
		return r.remembered(byHand(`{"alg":"ES256","kid":"own","typ":"at+jwt"}`, r.asJSON(changed(r.claims(members{"iss": second}), claims)), nil))
	}
	r.tokens["alice"] = first(nil)
	r.tokens["another token of hers"] = first(nil)
	whose := map[string]string{
		"the same name at another issuer":                other(nil),
		"the same name in another program":               first(members{"client_id": "another-program"}),
		"the same name in a program that only azp names": first(members{"client_id": nil, "azp": "another-program"}),
		"the same name in no program":                    first(members{"client_id": nil}),
		"another name in the same program":               first(members{"sub": "bob"}),
		"the program's name as a user's":                 first(members{"sub": "cli", "client_id": "alice"}),
		"another name at another issuer":                 other(members{"sub": "bob"}),
	}
	hers := r.initialize("alice")
	for who, token := range whose {
		r.tokens[who] = token
		own := r.initialize(who)
		if own == hers {
			t.Fatalf("%s is given the same session", who)
		}
		for name, message := range map[string]ask{
			"call":         toolCall(legacy, token, "7", "read_document", `{"id":1}`).in(hers),
			"list":         request(legacy, token, "7", "tools/list", "").in(hers),
			"ping":         request(legacy, token, "7", "ping", "").in(hers),
			"notification": notify(legacy, token, "notifications/cancelled", `"requestId":1`).in(hers),
			"response":     post(legacy, token, "", "", `{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}`).in(hers),
			"stream":       getOf(token, hers, ""),
			"end":          endOf(token, hers),
		} {
			t.Run(who+"/"+name, func(t *testing.T) {
				r.denied(t, denial{ask: func(*rig, string, string) ask { return message }, refusal: lostSession}, legacy, "7")
			})
		}
		t.Run(who+"/fixation", func(t *testing.T) {
			r.denied(t, denial{ask: func(*rig, string, string) ask {
				return request(legacy, token, "7", "initialize", initParams).in(hers)
			}, refusal: rejected(400, -32600, "session", "initialize starts a session and cannot name one")}, legacy, "7")
		})
		t.Run(who+"/hers in mine", func(t *testing.T) {
			r.denied(t, denial{ask: func(r *rig, rev, id string) ask {
				return toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`).in(own)
			}, refusal: lostSession}, legacy, "7")
		})
	}
	for _, token := range []string{"alice", "another token of hers"} {
		if g := r.do(toolCall(legacy, r.token(token), "9", "read_document", `{"id":1}`).in(hers)); !bytes.Contains(g.body, []byte("done")) {
			t.Errorf("%s, in her own session: %d %s", token, g.status, g.body)
		}
	}
}

// A foreign session must not be told from one that never was.
func TestForeignSessionIsByteIdentical(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	alice := r.initialize("alice")
	dump := func(session string) string {
		g := r.do(request(legacy, r.token("bob"), "1", "ping", "").in(session))
		g.header.Del("Date")
		var b bytes.Buffer
		_ = g.header.Write(&b)
		return fmt.Sprintf("%d\n%s\n%s", g.status, b.String(), g.body)
	}
	if foreign, unknown := dump(alice), dump("NOSUCHSESSIONNOSUCHSESSION"); foreign != unknown {
		t.Errorf("a foreign session answers\n%s\nan unknown one\n%s", foreign, unknown)
	}
}

func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	r.mint("alice", issuer.Claims{Subject: "alice", Expiry: r.clock.Now().Add(48 * time.Hour)})
	use := func(session string) int {
		return r.do(request(legacy, r.token("alice"), "1", "ping", "").in(session)).status
	}
	idle := r.initialize("alice")
	r.clock.advance(time.Hour)
	if got := use(idle); got != http.StatusOK {
		t.Errorf("after an hour of silence: %d", got)
	}
	r.clock.advance(time.Hour + time.Nanosecond)
	if got := use(idle); got != http.StatusNotFound {
		t.Errorf("after more than an hour of silence: %d", got)
	}
	busy := r.initialize("alice")
	for range 24 { // a day
		r.clock.advance(time.Hour)
		if got := use(busy); got != http.StatusOK {
			t.Fatalf("a busy session ended early: %d", got)
		}
	}
	r.clock.advance(time.Nanosecond)
	if got := use(busy); got != http.StatusNotFound {
		t.Errorf("after more than a day: %d", got)
	}
}

func TestSessionsAreCapped(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	r.mint("alice", issuer.Claims{Subject: "alice", Expiry: r.clock.Now().Add(48 * time.Hour)})
	var open []string
	for range 32 {
		open = append(open, r.initialize("alice"))
	}
	full := denial{ask: func(r *rig, _, id string) ask { return request(legacy, r.token("alice"), id, "initialize", initParams) },
		refusal: refusal{status: 429, code: 42900, text: "too many open sessions; end one with DELETE", outcome: "limited", stage: "authorize", reason: "sessions", retry: "60"}}
	r.denied(t, full, legacy, "33")
	r.initialize("bob")
	if g := r.do(endOf(r.token("alice"), open[0])); g.status != http.StatusNoContent {
		t.Fatalf("DELETE: %d", g.status)
	}
	r.initialize("alice")
	r.denied(t, full, legacy, "34")
	r.clock.advance(61 * time.Minute) // all have expired
	r.initialize("alice")
}

// Clients that never end their sessions do not lock their principal out.
func TestSilentSessionsMakeRoom(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	first := r.initialize("alice")
	for range 31 {
		r.clock.advance(time.Second)
		r.initialize("alice")
	}
	r.clock.advance(time.Minute)
	r.initialize("alice")
	if g := r.do(request(legacy, r.token("alice"), "1", "ping", "").in(first)); g.status != http.StatusNotFound {
		t.Errorf("the longest silent session answers %d", g.status)
	}
}

// A place that no session came to fill is given back.
func TestFailedInitializeCostsNoSession(t *testing.T) {
	t.Parallel()
	r := start(t, setup{extra: "limits: { sessions_per_principal: 1 }\n", upstream: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }})
	for range 3 {
		if g := r.do(request(legacy, r.token("alice"), "1", "initialize", initParams)); g.status != http.StatusBadGateway || g.header.Get("Mcp-Session-Id") != "" {
			t.Fatalf("initialize: %d %v %s", g.status, g.header, g.body)
		}
	}
	// The upstream opened a session, but answers in a revision that is not served.
	r.up.answerWith(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Mcp-Session-Id", "upstream-session")
		result(`"protocolVersion":"2024-11-05","capabilities":{}`)(w, req)
	})
	for range 3 {
		if g := r.do(request(legacy, r.token("alice"), "1", "initialize", initParams)); g.status != http.StatusBadGateway || g.header.Get("Mcp-Session-Id") != "" {
			t.Fatalf("initialize in a foreign revision: %d %v %s", g.status, g.header, g.body)
		}
	}
	r.up.answerWith(stateful())
	r.initialize("alice")
}

// A session id is no credential, and the upstream's id stays on its side.
func TestSessionLife(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: stateful()})
	session := r.initialize("alice")
	if len(session) < 26 || strings.Contains(session, "upstream") {
		t.Errorf("session id %q", session)
	}
	if g := r.do(toolCall(legacy, "", "1", "read_document", `{"id":1}`).in(session)); g.status != http.StatusUnauthorized {
		t.Errorf("a session id without a token: %d", g.status)
	}
	r.do(notify(legacy, r.token("alice"), "notifications/initialized", "").in(session))
	if got := r.up.last().header.Get("Mcp-Session-Id"); got != "upstream-session-1" {
		t.Errorf("the upstream sees session %q", got)
	}
	g := r.do(toolCall(legacy, r.token("alice"), "2", "read_document", `{"id":1}`).in(session))
	if g.status != http.StatusOK || g.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("call: %d %v", g.status, g.header)
	}
	// The header of 2026-07-28 has no sessions: it is ignored, not passed on.
	g = r.do(toolCall(modern, r.token("bob"), "3", "read_document", `{"id":1}`).in(session))
	if got := r.up.last().header.Get("Mcp-Session-Id"); g.status != http.StatusOK || got != "" {
		t.Errorf("2026-07-28 in a session: %d, the upstream sees %q", g.status, got)
	}
	g = r.do(endOf(r.token("alice"), session))
	last := r.up.last()
	if g.status != http.StatusNoContent || len(g.body) != 0 || last.method != http.MethodDelete || last.header.Get("Mcp-Session-Id") != "upstream-session-1" {
		t.Errorf("DELETE: %d, upstream got %s %v", g.status, last.method, last.header)
	}
	if strings.Contains(r.answers.String(), "upstream-session") {
		t.Error("a client saw the upstream's session id")
	}
	if n := strings.Count(r.up.everything(), session); n != 0 {
		t.Errorf("the upstream saw the client's session id %d times", n)
	}
}

// An upstream that forgets the session makes the client start anew, whatever the
// body of its 404 says.
func TestUpstreamLosesSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, contentType, body string }{
		{"empty", "", ""},
		{"text", "text/plain", "no such session"},
		{"JSON-RPC", "application/json", `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, setup{upstream: stateful()})
			session := r.initialize("alice")
			r.up.answerWith(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", row.contentType)
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, row.body)
			})
			r.records()
			g := r.do(request(legacy, r.token("alice"), "1", "tools/list", "").in(session))
			if g.status != http.StatusNotFound || len(g.body) != 0 {
				t.Errorf("%d %q, want an empty 404", g.status, g.body)
			}
			if e := r.outcome(); e.Outcome != "protocol_rejected" || e.Reason != "session" || e.Stage != "execute" {
				t.Errorf("record %+v", e)
			}
			touched := len(r.up.seen())
			if g := r.do(request(legacy, r.token("alice"), "2", "tools/list", "").in(session)); g.status != http.StatusNotFound || len(r.up.seen()) != touched {
				t.Errorf("the session lives on: %d", g.status)
			}
		})
	}
}

// The same when it comes out with the sidecar's own question about the tool: "blocked"
// would tell the client nothing of its session.
func TestUpstreamLosesSessionBeforeToolCall(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	session := r.initialize("alice")
	r.up.answerWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	r.records()
	g := r.do(toolCall(legacy, r.token("alice"), "1", "delete_document", `{"id":1}`).in(session))
	if g.status != http.StatusNotFound || len(g.body) != 0 {
		t.Errorf("%d %q, want an empty 404", g.status, g.body)
	}
	if e := r.outcome(); e.Outcome != "protocol_rejected" || e.Reason != "session" || e.Stage != "inspect-input" {
		t.Errorf("record %+v", e)
	}
	for _, seen := range r.up.seen() {
		if strings.Contains(seen.body, "delete_document") {
			t.Errorf("the call reached the upstream: %s", seen.body)
		}
	}
}

// An upstream without sessions works in the older revisions too.
func TestUpstreamWithoutSessions(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: result(`"protocolVersion":"2025-11-25","capabilities":{},"content":[]`), extra: "limits: { sessions_per_principal: 1 }\n"})
	for range 3 {
		g := r.do(request(legacy, r.token("alice"), "1", "initialize", initParams))
		if g.status != http.StatusOK || g.header.Get("Mcp-Session-Id") != "" {
			t.Fatalf("initialize: %d %v", g.status, g.header)
		}
	}
	if g := r.do(toolCall(legacy, r.token("alice"), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK {
		t.Errorf("call: %d %s", g.status, g.body)
	}
}

// A session whose answer could not be recorded is gone.
func TestSessionOfUnrecordedInitialize(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: stateful()})
	r.initialize("alice") // creates the audit file
	if err := r.sidecar.audit.Close(); err != nil {
		t.Fatal(err)
	}
	g := r.do(request(legacy, r.token("alice"), "1", "initialize", initParams))
	if g.status != http.StatusServiceUnavailable || g.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("initialize: %d %v", g.status, g.header)
	}
}
