package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A notification has no answer: behind authentication its refusal is 202 and
// stands in the audit only.
func TestRefusedNotifications(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory})
	forms := map[string]func(rev string) ask{
		"unknown":            func(rev string) ask { return notify(rev, r.token("alice"), "notifications/unheard-of", "") },
		"roots, undeclared":  func(rev string) ask { return notify(rev, r.token("alice"), "notifications/roots/list_changed", "") },
		"of a server":        func(rev string) ask { return notify(rev, r.token("alice"), "notifications/message", `"data":"x"`) },
		"request without id": func(rev string) ask { return notify(rev, r.token("alice"), "tools/call", `"name":"read_document"`) },
		"carries its own key": func(rev string) ask {
			return notify(rev, r.token("alice"), "notifications/cancelled", `"reason":"`+r.token("alice")+`"`)
		},
	}
	for name, form := range forms {
		for _, rev := range bothRevisions {
			t.Run(name+"/"+rev, func(t *testing.T) {
				r.records()
				g := r.do(form(rev))
				if g.status != http.StatusAccepted || len(g.body) != 0 {
					t.Errorf("%d %q, want an empty 202", g.status, g.body)
				}
				if e := r.outcome(); e.Outcome == "allowed" || e.Kind != "notification" || e.Subject != "alice" {
					t.Errorf("record %+v", e)
				}
				if n := len(r.up.seen()); n != 0 {
					t.Errorf("the upstream was reached %d times", n)
				}
			})
		}
	}
}

var auditIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// Hidden tools, tools that nothing names and tools that the upstream lacks answer
// alike to the byte.
func TestHiddenToolIsByteIdentical(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: `[{"name":"secret_tool","inputSchema":{"type":"object"}},{"name":"new_tool","inputSchema":{"type":"object"}}]`, extra: "quarantine: true\n", policy: "p, role:any, *, *, allow\ng, user:alice, role:any\n"})
	for _, rev := range bothRevisions {
		seen := map[string]string{}
		for _, tool := range []string{"secret_tool", "no_such_tool", "read_document", "new_tool"} {
			g := r.do(toolCall(rev, r.token("alice"), "1", tool, `{}`))
			g.header.Del("Date")
			var b bytes.Buffer
			_ = g.header.Write(&b)
			seen[auditIDs.ReplaceAllString(fmt.Sprint(g.status, b.String(), string(g.body)), "AUDIT")] = tool
		}
		if len(seen) != 1 {
			t.Errorf("%s: the answers differ: %q", rev, seen)
		}
	}
}

// With quarantine a tool that the configuration does not name is nobody's, whatever the policy
// says: not listed, not called, at one server and at all of them together. The operator is told
// once. An empty entry lets it out.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	const everything = "p, role:any, *, *, allow\ng, user:alice, role:any\n"
	inventory := `[{"name":"known","inputSchema":{"type":"object"}},{"name":"new_tool","inputSchema":{"type":"object"}}]`
	for _, row := range []struct {
		name, preset, extra, tools string
		held                       bool
	}{
		{"strict", "strict", "", "\n  docs/known: {}\n", true},
		{"strict, named", "strict", "", "\n  docs/known: {}\n  docs/new_tool: {}\n", false},
		{"strict without", "strict", "quarantine: false\n", "\n  docs/known: {}\n", false},
		{"balanced", "balanced", "", "\n  docs/known: {}\n", false},
		{"balanced with", "balanced", "quarantine: true\n", "\n  docs/known: {}\n", true},
		{"an exception is no entry", "strict", "allow: [{ guard: ssrf, rule: port, tool: docs/new_tool, reason: test, until: 2027-01-01 }]\n", "\n  docs/known: {}\n", true},
		{"merged", "strict", "merge: true\n", "\n  docs/known: {}\n", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{preset: row.preset, extra: row.extra, tools: row.tools, policy: everything, inventory: inventory, upstream: toolsResult("", inventory)})
			prefix := ""
			if row.name == "merged" {
				prefix = "docs."
			}
			for _, rev := range bothRevisions {
				want := []string{prefix + "known", prefix + "new_tool"}
				if row.held {
					want = want[:1]
				}
				if got := r.listed(rev, "alice"); !slices.Equal(got, want) {
					t.Errorf("%s: listed %q, want %q", rev, got, want)
				}
				touched := r.touched()
				g := r.do(toolCall(rev, r.token("alice"), "1", prefix+"new_tool", `{"confirm":true}`))
				if passed := strings.Contains(string(g.body), "done"); passed == row.held || passed != (r.touched() > touched) {
					t.Errorf("%s: %d %s, the upstream was reached %d times", rev, g.status, g.body, r.touched()-touched)
				}
			}
			if said := strings.Count(r.stderr.String(), "a tool is held back"); row.held != (said == 1) {
				t.Errorf("the operator was told %d times", said)
			}
		})
	}
}

// A body is read in two steps, the second for senders who are known. Both end
// where they should.
func TestBodiesAroundTheHead(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	for _, size := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1} {
		for _, announced := range []int64{0, -1} {
			if g := r.do(padded(size, announced)(r, legacy, "1")); g.status != http.StatusOK || !bytes.Contains(g.body, []byte("done")) {
				t.Errorf("%d bytes, announced %v: %d %.200s", size, announced == 0, g.status, g.body)
			}
		}
	}
}

// A stranger's body beyond 64 KiB is not read: the refusal comes while the rest
// has not even been sent.
func TestStrangersCannotMakeUsBuffer(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	conn := r.dial(t)
	fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n", conn.RemoteAddr())
	_, _ = io.WriteString(conn, `{"jsonrpc":"2.0","id":"early","method":"tools/call","params":{"name":"x","arguments":{"pad":"`+strings.Repeat("x", 64<<10))
	status, answer := readRaw(t, conn)
	if status != http.StatusUnauthorized || !strings.Contains(answer, `"id":"early"`) || !strings.Contains(answer, `"code":40100`) {
		t.Errorf("%d %s", status, answer)
	}
	if e := r.outcome(); e.Outcome != "auth_failed" || e.Stage != "authenticate" {
		t.Errorf("record %+v", e)
	}
}

// A body that ends before its announced length is no message.
func TestBodyCutShort(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for _, length := range []int{200, 100_000} {
		r.records()
		conn := r.dial(t)
		fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"+
			`{"jsonrpc":"2.0","id":"cut","method":"ping"}`, conn.RemoteAddr(), r.token("alice"), length)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		status, answer := readRaw(t, conn)
		if status != http.StatusBadRequest || !strings.Contains(answer, `"id":"cut"`) || !strings.Contains(answer, `"code":-32700`) {
			t.Errorf("%d %s", status, answer)
		}
		if e := r.outcome(); e.Outcome != "protocol_rejected" || e.Reason != "body-cut" {
			t.Errorf("record %+v", e)
		}
	}
}

func (r *rig) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/mcp"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func readRaw(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// One principal's calls in flight are bounded; others are not affected, and a
// place is free again as soon as a call has ended.
func TestConcurrencyQuota(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			arrived, release := make(chan struct{}, 8), make(chan struct{})
			r := start(t, setup{inventory: demoInventory, extra: "limits: { concurrent_calls_per_principal: 2 }\n", upstream: func(w http.ResponseWriter, req *http.Request) {
				arrived <- struct{}{}
				<-release
				text("done")(w, req)
			}})
			done := make(chan int, 3)
			for range 2 {
				go func() {
					resp := r.open(context.Background(), toolCall(rev, r.token("alice"), "1", "read_document", `{"id":1}`))
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					done <- resp.StatusCode
				}()
				<-arrived
			}
			r.denied(t, denial{ask: calls("alice", "read_document", `{"id":1}`),
				refusal: refusal{status: 200, text: "rate limited, retry in 1 s", outcome: "limited", stage: "authorize", reason: "concurrency"}}, rev, "3")
			r.denied(t, denial{ask: asks("tools/list", ""),
				refusal: refusal{status: 429, code: 42900, text: "rate limited, retry in 1 s", outcome: "limited", stage: "authorize", reason: "concurrency", retry: "1"}}, rev, "4")
			go func() {
				resp := r.open(context.Background(), toolCall(rev, r.token("bob"), "1", "read_document", `{"id":1}`))
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				done <- resp.StatusCode
			}()
			<-arrived
			close(release)
			for range 3 {
				if got := <-done; got != http.StatusOK {
					t.Errorf("a call within the quota: %d", got)
				}
			}
			for range 3 {
				if g := r.do(toolCall(rev, r.token("alice"), "5", "read_document", `{"id":1}`)); !bytes.Contains(g.body, []byte("done")) {
					t.Errorf("no place is free again: %s", g.body)
				}
			}
		})
	}
}

// The challenge names a document that is there, at both well-known places, and
// says nothing that came with a request.
func TestMetadata(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	base := strings.TrimSuffix(r.url, "/mcp")
	var first string
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		g := r.do(ask{method: http.MethodGet, path: path, host: "attacker.example", header: http.Header{"X-Forwarded-Host": {"attacker.example"}}})
		want := fmt.Sprintf(`"resource":"%s/mcp"`, base)
		if g.status != http.StatusOK || !strings.Contains(string(g.body), want) || !strings.Contains(string(g.body), r.issuerURL) || strings.Contains(string(g.body), "attacker") {
			t.Errorf("%s: %d %s", path, g.status, g.body)
		}
		// Only what it takes to read, and nothing of hidden tools: the rest is asked for
		// when it is needed.
		if !strings.Contains(string(g.body), `"scopes_supported":["documents:read"]`) {
			t.Errorf("%s: %s", path, g.body)
		}
		if first == "" {
			first = string(g.body)
		} else if first != string(g.body) {
			t.Errorf("the two places differ: %s and %s", first, g.body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		g := r.do(ask{method: method, path: "/.well-known/oauth-protected-resource/mcp", header: http.Header{}})
		if g.status != http.StatusMethodNotAllowed || g.header.Get("Allow") != "GET, OPTIONS" || !bytes.HasPrefix(g.body, []byte(`{"jsonrpc":"2.0","id":null,"error":{`)) {
			t.Errorf("%s: %d %v %s", method, g.status, g.header, g.body)
		}
	}
	for _, path := range []string{"/", "/mcp/", "/MCP", "/healthz", "/.well-known/oauth-protected-resource/x"} {
		g := r.do(ask{path: path, header: http.Header{}})
		if g.status != http.StatusNotFound || !bytes.HasPrefix(g.body, []byte(`{"jsonrpc":"2.0","id":null,"error":{`)) {
			t.Errorf("%s: %d %s", path, g.status, g.body)
		}
	}
}

// Names that the configuration allows pass.
func TestAllowedHostsAndOrigins(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"),
		extra: "allowed_hosts: [sidecar.example, \"other.example:8443\"]\nallowed_origins: [\"https://app.example\"]\n"})
	own := strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/mcp")
	port := own[strings.LastIndexByte(own, ':'):]
	for _, row := range []struct {
		host, origin string
		want         int
	}{
		{own, "", 200},
		{"localhost" + port, "", 200},
		{"LOCALHOST" + port, "", 200},
		{"localhost", "", 403},
		{"sidecar.example", "", 200},
		{"SIDECAR.example", "", 200},
		{"sidecar.example:1234", "", 200},
		{"other.example:8443", "", 200},
		{"other.example", "", 403},
		{"other.example:80", "", 403},
		{own, "https://app.example", 200},
		{own, "HTTPS://APP.example", 200},
		{own, "https://app.example:8443", 403},
		{own, "https://app.example.attacker.example", 403},
		{"[::1]" + port, "", 403},
		{"2130706433" + port, "", 403},
		{"127.1" + port, "", 403},
		{"0.0.0.0" + port, "", 403},
	} {
		a := toolCall(modern, r.token("alice"), "1", "read_document", `{"id":1}`)
		a.host = row.host
		if row.origin != "" {
			a = a.with("Origin", row.origin)
		}
		if g := r.do(a); g.status != row.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", row.host, row.origin, g.status, row.want)
		}
	}
}

// The record of a refusal names no argument.
func TestRecordHoldsNoArgument(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("result text that stays out")})
	for _, rev := range bothRevisions {
		r.do(toolCall(rev, r.token("alice"), "1", "render_document", `{"id":"argument-value-1","format":"argument-value-2;"}`))
		r.do(toolCall(rev, r.token("alice"), "1", "read_document", `{"id":"argument-value-3"}`))
		r.do(toolCall(rev, r.token("alice"), "1", "import_url", `{"url":"https://argument-value-4.example/"}`))
	}
	events := r.records()
	if text := fmt.Sprintf("%+v", events); len(events) != 6 || strings.Contains(text, "argument-value") || strings.Contains(text, "result text") {
		t.Errorf("%d records: %s", len(events), text)
	}
}
