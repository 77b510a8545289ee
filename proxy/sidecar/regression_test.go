package sidecar

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/wire"
)

// Holes that a review found and that no other test would notice opening again.
// Each test says what could be done through its hole. Those that measure memory
// do not run beside others: the runtime counts for the whole process.

const mib = 1 << 20

// allocated returns how many bytes the process allocates while f runs.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// retained returns by how many bytes the heap is larger after f than before.
func retained(f func()) int64 {
	before := heap()
	f()
	return heap() - before
}

// heap is what survives a collection; the first ones empty pools.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// discard sends a and throws the answer away; do would keep it.
func (r *rig) discard(a ask) int {
	r.t.Helper()
	resp := r.open(r.t.Context(), a)
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode
}

// Every value below a long argument name carried a copy of the whole path: a
// request of 110 KB took 2 GiB, one of the largest size hundreds.
func TestLongArgumentNames(t *testing.T) {
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	r.do(r.update(modern, "0"))
	name := strings.Repeat("n", 50_000)
	members := make([]string, 5_000)
	for i := range members {
		members[i] = fmt.Sprintf(`"m%d":""`, i)
	}
	for _, row := range []struct{ name, args string }{
		{"elements", `{"` + name + `":["",` + strings.Repeat(`"",`, 20_000) + `""]}`},
		{"lists in a list", `{"` + name + `":[[""]` + strings.Repeat(`,[""]`, 5_000) + `]}`},
		{"members", `{"` + name + `":{` + strings.Join(members, ",") + `}}`},
		{"members of elements", `{"` + name + `":[{` + strings.Join(members, ",") + `}]}`},
		{"long names one below the other", `{"` + strings.Repeat(name[:2_000]+`":{"`, 20) + strings.Join(members, `,`)[1:] + strings.Repeat("}", 21)},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				a := toolCall(rev, r.token("alice"), "1", "update_document", row.args)
				n := allocated(func() {
					if status := r.discard(a); status != http.StatusOK {
						t.Errorf("HTTP status %d", status)
					}
				})
				if n > 48*mib {
					t.Errorf("a request of %d KiB allocates %d MiB", len(a.body)>>10, n/mib)
				}
				if got := r.up.last().body; got != a.body {
					t.Error("the arguments do not reach the upstream as they were sent")
				}
			})
		}
	}
}

// The same in the schema of a tool, where the paths were kept: a list of 55 KB
// held 40 MiB for as long as the sidecar ran.
func TestLongPropertyNames(t *testing.T) {
	for _, member := range []string{`"format":"uri"`, `"x-mcp-header":"H"`} {
		t.Run(member, func(t *testing.T) {
			properties := make([]string, 600)
			for i := range properties {
				properties[i] = fmt.Sprintf(`"p%d":{%s}`, i, member)
			}
			list := `[{"name":"t","inputSchema":{"type":"object","properties":{"` + strings.Repeat("n", 30_000) + `":{"properties":{` + strings.Join(properties, ",") + `}}}}}]`
			r := start(t, setup{open: true, upstream: toolsResult("", list)})
			var kept int64
			n := allocated(func() {
				kept = retained(func() {
					if status := r.discard(request(modern, "", "1", "tools/list", "")); status != http.StatusOK {
						t.Errorf("HTTP status %d", status)
					}
				})
			})
			if n > 12*mib || kept > 2*mib {
				t.Errorf("a list of %d KiB allocates %d MiB and keeps %d KiB", len(list)>>10, n/mib, kept>>10)
			}
		})
	}
}

// Strings of a message share its memory, so that a name of ten bytes that
// outlives the call kept megabytes.
func TestMessagesAreNotKept(t *testing.T) {
	const messages, pad = 4, mib / 2
	padding := `"pad":"` + strings.Repeat("x", pad) + `"`
	for _, row := range []struct {
		name, tool string // %d is the number of the message
		own        bool   // listed by the sidecar, page after page
	}{
		{"pages, names", `{"name":"t%d","inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}}`, true},
		{"pages, URLs", `{"name":"t%d","inputSchema":{"type":"object","items":{"properties":{"a":{"format":"uri"}}}}}`, true},
		{"pages, output schema", `{"name":"t%d","outputSchema":{"type":"object"}}`, true},
		{"pages, mirrored argument", `{"name":"t%d","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}}`, true},
		{"lists, tools that keep their schema", `{"name":"t%d","inputSchema":{"type":"object","properties":{"confirm":{}}},"annotations":{"destructiveHint":true}}`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var n atomic.Int64
			r := start(t, setup{open: true, upstream: func(w http.ResponseWriter, req *http.Request) {
				page := n.Add(1)
				members := padding + `,"tools":[` + fmt.Sprintf(row.tool, page) + `]`
				if row.own && page < messages {
					members += fmt.Sprintf(`,"nextCursor":"%d"`, page)
				}
				if row.own && page > messages {
					members = `"content":[]`
				}
				result(members)(w, req)
			}})
			kept := retained(func() {
				if row.own {
					r.discard(toolCall(modern, "", "1", "t1", `{"confirm":true}`))
					return
				}
				for range messages {
					r.discard(request(modern, "", "1", "tools/list", ""))
				}
			})
			if kept > pad || n.Load() < messages {
				t.Errorf("%d messages of 512 KiB keep %d KiB", n.Load(), kept>>10)
			}
		})
	}
	t.Run("sessions", func(t *testing.T) {
		r := start(t, setup{open: true, upstream: func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Mcp-Session-Id", "s")
			result(`"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1",`+padding+`}`)(w, req)
		}})
		kept := retained(func() {
			for range messages {
				r.discard(request(legacy, "", "1", "initialize", initParams))
			}
		})
		if kept > pad {
			t.Errorf("%d sessions keep %d KiB", messages, kept>>10)
		}
	})
}

// For each text block the whole structured content was read again: an answer of
// 16 MiB occupied a core for hours. Time would be no reliable measure of it, what
// is allocated on the way is.
func TestManyBlocksBesideStructuredContent(t *testing.T) {
	r := start(t, setup{inventory: demoInventory, upstream: text("done")})
	r.do(r.update(modern, "0"))
	const blocks = 1_000
	answer := `{"content":[` + strings.TrimSuffix(strings.Repeat(`{"type":"text","text":"1"},`, blocks), ",") +
		`],"structuredContent":{"k":"KEY","l":[` + strings.TrimSuffix(strings.Repeat(`{"a":"bbbbbbbbbbbbbbbbbbbb"},`, 4_000), ",") + `]}}`
	r.up.answerWith(jsonBody(enclose(answer)))
	var g got
	n := allocated(func() { g = r.do(r.update(modern, "1")) })
	if !strings.Contains(string(g.body), `"k":"`+redacted+`"`) {
		t.Fatalf("%d %.200s", g.status, g.body)
	}
	if n > 32*mib {
		t.Errorf("an answer of %d KiB allocates %d MiB", len(answer)>>10, n/mib)
	}
}

// Each finding on a stream was remembered until the call ended, and an upstream
// need not ever end it.
func TestLongStreamsAreNotRemembered(t *testing.T) {
	const messages, findings = 60, 500
	note := `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat(key+" ", findings) + `"}}` + "\n\n"
	for _, preset := range []string{"balanced", "observe"} {
		t.Run(preset, func(t *testing.T) {
			held := make(chan struct{})
			release := sync.OnceFunc(func() { close(held) })
			defer release()
			r := start(t, setup{preset: preset, inventory: demoInventory, upstream: text("done")})
			r.do(r.update(modern, "0"))
			r.up.answerWith(func(w http.ResponseWriter, req *http.Request) {
				events(strings.Repeat(note, messages))(w, req)
				_ = http.NewResponseController(w).Flush()
				<-held
				events("data: "+response("$ID", doneResult)+"\n\n")(w, req)
			})
			var resp *http.Response
			kept := retained(func() {
				resp = r.open(t.Context(), r.update(modern, "1"))
				lines := bufio.NewReader(resp.Body)
				for range messages * 3 { // name, data, empty line
					if _, err := lines.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
				}
			})
			release()
			rest, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !bytes.Contains(rest, []byte("done")) {
				t.Errorf("%v, %.200s", err, rest)
			}
			if kept > mib/2 {
				t.Errorf("%d findings of an open call keep %d KiB", messages*findings, kept>>10)
			}
		})
	}
}

// knowing is an upstream of older revisions that refuses the sidecar's listing in
// its second session, as the servers of the SDKs do before a client has said
// "initialized".
func knowing(tools string) http.HandlerFunc {
	rest := stateful()
	return func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case !isInventory(body):
			rest(w, req)
		case req.Header.Get("Mcp-Session-Id") == "upstream-session-2":
			noListing(w, req)
		default:
			writeInventory(w, tools)
		}
	}
}

func noListing(w http.ResponseWriter, req *http.Request) {
	answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":`+idOf(req)+`,"error":{"code":0,"message":"tools/list is invalid during initialization"}}`)
}

var reservedAddress = ssrfBlocked("reserved-address", "blocked internal/reserved address 169.254.169.254")

// One call of an unknown tool, made too early, made the sidecar forget every
// schema in that session for half a minute: which argument is a URL, and which
// confirm is the tool's own.
func TestFailedListingForgetsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, setup{open: true, upstream: knowing(`[
		{"name":"fetch","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"target":{"type":"string","format":"uri"}}}},
		{"name":"wipe","inputSchema":{"type":"object","properties":{"confirm":{"type":"boolean"}}}}]`)})
	first := r.initialize("anybody")
	r.do(toolCall(legacy, "", "1", "fetch", `{}`).in(first))
	r.clock.advance(2 * time.Second)
	second := r.initialize("anybody")
	r.do(toolCall(legacy, "", "2", "no_such_tool", `{}`).in(second))
	if n := r.up.listed(); n != 2 {
		t.Fatalf("%d listings, want one that succeeds and one that fails", n)
	}
	t.Run("URL", func(t *testing.T) {
		// Not a whole URL, so that only the schema can tell that it is one.
		attack := toolCall(legacy, "", "3", "fetch", `{"target":"//169.254.169.254/","confirm":true}`).in(second)
		normal := r.do(toolCall(legacy, "", "3", "fetch", `{"target":"//169.254.169.254/","confirm":true}`).in(first))
		again := r.do(attack)
		if !bytes.Contains(normal.body, []byte("blocked by SSRF guard")) || !bytes.Contains(again.body, []byte("blocked by SSRF guard")) {
			t.Errorf("before: %s\nafter the failed listing: %s", normal.body, again.body)
		}
	})
	t.Run("own confirm", func(t *testing.T) {
		a := toolCall(legacy, "", "4", "wipe", `{"confirm":true}`).in(second)
		if r.do(a); r.up.last().body != a.body {
			t.Errorf("the upstream got %s", r.up.last().body)
		}
	})
}

// A client that cancels the sidecar's own listing makes it fail at will.
func TestReservedIDCannotBeCancelled(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for _, id := range []string{`"mcp-sidecar/inventory"`, `"mcp-sidecar\/inventor\u0079"`} {
		for _, rev := range bothRevisions {
			t.Run(id+"/"+rev, func(t *testing.T) {
				r.denied(t, denial{
					ask: func(r *rig, rev, _ string) ask {
						return notify(rev, r.token("alice"), "notifications/cancelled", `"requestId":`+id)
					},
					refusal: refusal{status: http.StatusAccepted, empty: true, outcome: "protocol_rejected", stage: "receive", reason: "reserved-id"},
				}, rev, "1")
			})
		}
	}
}

// Where no schema can be had, every argument may be one that is fetched.
func TestUnknownToolsMayFetchAnything(t *testing.T) {
	t.Parallel()
	r := start(t, setup{open: true, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		if isInventory(body) {
			noListing(w, req)
			return
		}
		text("done")(w, req)
	}})
	for _, args := range []string{
		`{"target":"http://169.254.169.254/","confirm":true}`,
		`{"a":{"b":[{"c":"http://169.254.169.254/"}]},"confirm":true}`,
		`{"confirm":true,"list":["x","http://169.254.169.254/"]}`,
	} {
		for _, rev := range bothRevisions {
			t.Run(args+"/"+rev, func(t *testing.T) {
				r.denied(t, denial{ask: calls("anybody", "fetch", args), refusal: reservedAddress}, rev, "1")
			})
		}
	}
	if g := r.do(toolCall(modern, "", "1", "fetch", `{"target":"see http://169.254.169.254/ for more","confirm":true}`)); !bytes.Contains(g.body, []byte("done")) {
		t.Errorf("prose: %s", g.body)
	}
}

// Places where text of the upstream's left without a look at it: what should be
// bytes, what should be a word of the protocol, and what frames an event.
func TestTextInUnlikelyPlaces(t *testing.T) {
	t.Parallel()
	log := `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`
	progress := func(token string) string {
		return `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `,"progress":1}}` + "\n\n"
	}
	stream := func(before string) http.HandlerFunc {
		return events(short.Replace(before) + "data: " + response("$ID", doneResult) + "\n\n")
	}
	answer := func(result string) http.HandlerFunc { return jsonBody(response("$ID", short.Replace(result))) }
	done := event(response("1", doneResult))
	for _, row := range []struct {
		name     string
		upstream http.HandlerFunc
		want     string // "" means that the answer is withheld
		outcome  string // "allowed" unless said otherwise
	}{
		{name: "image that is an object", upstream: answer(`{"content":[{"type":"image","data":{"a":["KEY"]}}]}`),
			want: response("1", `{"content":[{"type":"image","data":{"a":["RED"]}}],`+findingsMeta(keyLabel)+`}`)},
		{name: "image that is prose", upstream: answer(`{"content":[{"type":"image","data":"the key is KEY"}]}`),
			want: response("1", `{"content":[{"type":"image","data":"the key is RED"}],`+findingsMeta(keyLabel)+`}`)},
		{name: "sound that is a list", upstream: answer(`{"content":[{"type":"audio","data":["KEY"]}]}`),
			want: response("1", `{"content":[{"type":"audio","data":["RED"]}],`+findingsMeta(keyLabel)+`}`)},
		{name: "image with a key for a name", upstream: answer(`{"content":[{"type":"image","data":{"KEY":1}}]}`), outcome: "blocked"},
		{name: "blob that is an object", upstream: answer(`{"content":[{"type":"resource","resource":{"uri":"a:b","blob":{"a":"KEY"}}}]}`),
			want: response("1", `{"content":[{"type":"resource","resource":{"uri":"a:b","blob":{"a":"RED"}}}],`+findingsMeta(keyLabel)+`}`)},
		{name: "blob with a key for a name", upstream: answer(`{"content":[{"type":"resource","resource":{"blob":[{"KEY":1}]}}]}`), outcome: "blocked"},
		{name: "result type that is an object", upstream: answer(`{"content":[],"resultType":{"a":"KEY"}}`), outcome: "upstream_failed"},
		{name: "result type that is a list", upstream: answer(`{"content":[],"resultType":["KEY"]}`), outcome: "upstream_failed"},
		{name: "progress token that is a key", upstream: stream(progress(`"KEY"`)), want: done},
		{name: "progress token that is an object", upstream: stream(progress(`{"a":"KEY"}`)), want: done},
		{name: "progress token that is a list", upstream: stream(progress(`[7,"KEY"]`)), want: done},
		{name: "name of an event", upstream: stream("event: KEY\ndata: " + log + "\n\n"), want: event(log) + done},
		{name: "id of an event", upstream: stream("id: KEY\ndata: " + log + "\n\n"), want: event(log) + done},
		{name: "id without data", upstream: stream("id: KEY\ndata:\n\n"), want: done},
		{name: "delay without data", upstream: stream("retry: KEY\n\n"), want: done},
	} {
		for _, rev := range bothRevisions {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				r := start(t, setup{inventory: demoInventory, upstream: row.upstream})
				g := r.do(r.update(rev, "1"))
				if strings.Contains(string(g.body), key) {
					t.Errorf("the key leaves: %s", g.body)
				}
				if want := short.Replace(row.want); want != "" && string(g.body) != want {
					t.Errorf("got\n%s\nwant\n%s", g.body, want)
				}
				if row.outcome == "" {
					row.outcome = "allowed"
				}
				if e := r.outcome(); e.Outcome != row.outcome {
					t.Errorf("record %q, want %q", e.Outcome, row.outcome)
				}
			})
		}
	}
	t.Run("cursor that is an object", func(t *testing.T) {
		r := start(t, setup{upstream: answer(`{"tools":[],"nextCursor":{"a":["KEY"]}}`)})
		g := r.do(request(legacy, r.token("alice"), "1", "tools/list", ""))
		if want := response("1", short.Replace(`{"tools":[],"nextCursor":{"a":["RED"]},`+findingsMeta(keyLabel)+`}`)); string(g.body) != want {
			t.Errorf("got\n%s\nwant\n%s", g.body, want)
		}
	})
}

// A backslash, escaped, and then "u0000" is no NUL: schemas spell regular
// expressions that way, and one of them made a whole list fail.
func TestEscapedBackslashIsNoNUL(t *testing.T) {
	t.Parallel()
	list := `[{"name":"update_document","inputSchema":{"type":"object","patternProperties":{"^[^\\u0000]+$":{"type":"string"},"\\\\\\u0000":{}}}}]`
	for _, preset := range []string{"observe", "balanced"} {
		r := start(t, setup{preset: preset, upstream: toolsResult("", list)})
		for _, rev := range bothRevisions {
			t.Run(preset+"/"+rev, func(t *testing.T) {
				g := r.do(request(rev, r.token("alice"), "1", "tools/list", ""))
				if g.status != http.StatusOK || !strings.Contains(string(g.body), `"tools":`+list) {
					t.Errorf("%d %s", g.status, g.body)
				}
				a := toolCall(rev, r.token("alice"), "1", "update_document", `{"a\\u0000b":1,"\\\\u0000":2}`)
				if g := r.do(a); !bytes.Contains(g.body, []byte("done")) || r.up.last().body != a.body {
					t.Errorf("%d %s, the upstream got %s", g.status, g.body, r.up.last().body)
				}
				// Behind an escaped backslash a NUL is still one.
				r.denied(t, denial{ask: raw(strings.Replace(good, `{"id":1}`, `{"a\\\u0000b":1}`, 1)), refusal: nul}, rev, "1")
			})
		}
	}
}

// Elements that are no strings were not shown to guards: 2852039166 is
// 169.254.169.254 for many that fetch.
func TestNumbersInAListOfURLs(t *testing.T) {
	t.Parallel()
	r := start(t, setup{lenient: true, inventory: demoInventory, upstream: text("done")})
	for _, list := range []string{`[2852039166]`, `[null]`, `[true,"https://example.com/"]`, `["https://example.com/",false]`} {
		for _, rev := range bothRevisions {
			t.Run(list+"/"+rev, func(t *testing.T) {
				r.denied(t, denial{
					ask:     calls("alice", "import_url", `{"url":`+list+`}`),
					refusal: ssrfBlocked("wrong-type", "url must be a URL or a list of URLs"),
				}, rev, "1")
			})
		}
	}
	for _, args := range []string{`{"url":["https://example.com/"]}`, `{"url":[]}`, `{"n":[1,null],"url":"https://example.com/"}`} {
		if g := r.do(toolCall(modern, r.token("alice"), "1", "import_url", args)); !bytes.Contains(g.body, []byte("done")) {
			t.Errorf("%s: %s", args, g.body)
		}
	}
}

// Two changes at one place, such as metadata forged in the sidecar's name within
// what is cut out anyway, turned whole lists and results into internal errors for
// everybody.
func TestChangesAtOnePlace(t *testing.T) {
	t.Parallel()
	const forged = `"_meta":{"mcp-sidecar/x":1}`
	tool := func(more string) string {
		return `{"name":"read_document",` + more + `"inputSchema":{"type":"object"}}`
	}
	for _, row := range []struct {
		name, who, method, answer, want string
	}{
		{"hidden tool", "alice", "tools/list", `{"tools":[{"name":"secret_tool",` + forged + `},` + tool("") + `]}`, `{"tools":[` + tool("") + `]}`},
		{"tool that the caller may not call", "carol", "tools/list", `{"tools":[` + tool("") + `,{"name":"delete_document",` + forged + `,"inputSchema":{"type":"object",` + forged + `}}]}`, `{"tools":[` + tool("") + `]}`},
		{"the only tool, hidden", "alice", "tools/list", `{"tools":[{"name":"secret_tool",` + forged + `}]}`, `{"tools":[]}`},
		{"visible tool", "alice", "tools/list", `{"tools":[` + tool(forged+",") + `]}`, `{"tools":[` + tool(`"_meta":{},`) + `]}`},
		{"key in a visible tool's", "alice", "tools/list", `{"tools":[` + tool(`"_meta":{"mcp-sidecar/x":"KEY","y":1},`) + `]}`,
			`{"tools":[` + tool(`"_meta":{"y":1},`) + `],` + findingsMeta(keyLabel) + `}`},
		{"injected property", "alice", "tools/list", `{"tools":[{"name":"create_document","inputSchema":{"type":"object","properties":{"created_by":{` + forged + `},"content":{}}}}]}`,
			`{"tools":[{"name":"create_document","inputSchema":{"type":"object","properties":{"content":{}}}}]}`},
		{"property called _meta", "alice", "tools/list", `{"tools":[{"name":"create_document","inputSchema":{"type":"object","properties":{"created_by":{},"_meta":{"mcp-sidecar/x":{` + forged + `}}}}}]}`,
			`{"tools":[{"name":"create_document","inputSchema":{"type":"object","properties":{"_meta":{}}}}]}`},
		{"key for a cache scope", "alice", "tools/list", `{"tools":[],"cacheScope":"KEY"}`, `{"tools":[],"cacheScope":"private"}`},
		{"order for a cache scope", "alice", "tools/list", `{"tools":[],"cacheScope":"[guard] ORDER"}`, `{"tools":[],"cacheScope":"private"}`},
		{"nested in a result's", "alice", "tools/call", `{"content":[],"_meta":{"mcp-sidecar/x":{` + forged + `},"y":{` + forged + `}}}`, `{"content":[],"_meta":{"y":{"_meta":{}}}}`},
		{"nested in a block's", "alice", "tools/call", `{"content":[{"type":"text","text":"x","_meta":{"mcp-sidecar/x":[{` + forged + `}]}}]}`, `{"content":[{"type":"text","text":"x","_meta":{}}]}`},
		{"nested, with a key", "alice", "tools/call", `{"content":[],"_meta":{"mcp-sidecar/x":{"_meta":{"mcp-sidecar/x":"KEY"}}}}`, `{"content":[],` + findingsMeta(keyLabel) + `}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, setup{inventory: demoInventory, upstream: jsonBody(enclose(row.answer))})
			a := request(modern, r.token(row.who), "1", row.method, "")
			if row.method == "tools/call" {
				a = toolCall(modern, r.token(row.who), "1", "update_document", `{"id":1}`)
			} else if !strings.Contains(row.want, "cacheScope") {
				row.want = strings.TrimSuffix(row.want, "}") + `,"cacheScope":"private"}`
			}
			g := r.do(a)
			if want := response("1", short.Replace(row.want)); g.status != http.StatusOK || string(g.body) != want {
				t.Errorf("%d\n%s\nwant\n%s", g.status, g.body, want)
			}
		})
	}
}

// One session's listing proved for every other that a tool does not exist: a
// client that listed once a second took away the tools that the upstream offers
// to others only.
func TestSessionsHaveTheirOwnTools(t *testing.T) {
	t.Parallel()
	const echo, roots = `{"name":"echo","inputSchema":{"type":"object"}}`, `{"name":"roots","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}`
	rest := stateful()
	r := start(t, setup{open: true, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case !bytes.Contains(body, []byte(`"tools/list"`)):
			rest(w, req)
		case req.Header.Get("Mcp-Session-Id") == "upstream-session-1":
			result(`"tools":[`+echo+`,`+roots+`]`)(w, req)
		default:
			result(`"tools":[`+echo+`]`)(w, req)
		}
	}})
	rich, poor := r.initialize("anybody"), r.initialize("anybody")
	call := func() {
		t.Helper()
		if g := r.do(toolCall(legacy, "", "1", "roots", `{}`).in(rich)); !bytes.Contains(g.body, []byte("done")) {
			t.Errorf("%d %s", g.status, g.body)
		}
	}
	list := func() { r.do(request(legacy, "", "2", "tools/list", "").in(poor)) }
	call()
	r.clock.advance(time.Minute)
	listings := r.up.listed()
	list()
	call()
	if n := r.up.listed() - listings; n != 0 {
		t.Errorf("another session's listing cost %d of the sidecar's own", n)
	}
	list()
	call()
}

// An argument that is the empty string lost its header, and one whose name has a
// dot was looked for in vain, so that no call of such a tool passed.
func TestUnusualMirroredArguments(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: text("done"), inventory: `[{"name":"update_document","inputSchema":{"type":"object","properties":{
		"region":{"type":"string","x-mcp-header":"Region"},"a.b":{"type":"object","properties":{"":{"type":"string","x-mcp-header":"Dot"}}}}}}]`})
	for _, row := range []struct{ name, args, header, sent, want string }{
		{"empty, in Base64", `{"region":""}`, "Mcp-Param-Region", "=?base64??=", "=?base64??="},
		{"empty, as it is", `{"region":""}`, "Mcp-Param-Region", "", "=?base64??="},
		{"dot in the name", `{"a.b":{"":"x"}}`, "Mcp-Param-Dot", "x", "x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := r.do(toolCall(modern, r.token("alice"), "1", "update_document", row.args).with(row.header, row.sent))
			if !bytes.Contains(g.body, []byte("done")) {
				t.Fatalf("%d %s", g.status, g.body)
			}
			if got := r.up.last().header[row.header]; len(got) != 1 || got[0] != row.want {
				t.Errorf("the upstream got %q, want %q", got, row.want)
			}
		})
	}
}

// faultySink panics like a guard that has a fault.
type faultySink struct{}

func (faultySink) Reply(wire.Reply) error   { return nil }
func (faultySink) Message(wire.Event) error { panic("fault of a guard") }

// A panic is caught far above the exchange that it breaks off; nothing else would
// have ended that exchange, neither the caller nor silence.
func TestPanicEndsTheExchange(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer close(ended)
		events("data: {}\n\n")(w, req)
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	}))
	defer server.Close()
	defer server.CloseClientConnections() // or Close would wait for the leaked one
	up, err := backend.NewHTTP(backend.Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the sink's panic was swallowed")
			}
		}()
		_ = up.Do(t.Context(), wire.Exchange{Body: []byte("{}")}, faultySink{})
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the upstream still works for a call that is over")
	}
}

// Sidecars of one user share the audit file unless told otherwise. One that could
// not write cut the file back to where it thought the end was, and with that what
// others had written. The limit that stands for a full disk holds for a whole
// process, so a child runs into it.
func TestSharedAuditFileIsNotCut(t *testing.T) {
	const variable = "SIDECAR_TEST_AUDIT_FILE"
	if path := os.Getenv(variable); path != "" {
		failToRecord(t, path)
		return
	}
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this system has no limit on the size of files")
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	w := openAudit(t, path)
	record := func(n int) {
		for range n {
			if err := w.Record(audit.Event{ID: "mine", Phase: audit.PhaseOutcome}); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(1)
	child := exec.Command("/bin/sh", "-c", `ulimit -f 0; exec "$0" -test.run='^TestSharedAuditFileIsNotCut$'`, os.Args[0])
	child.Env = append(os.Environ(), variable+"="+path)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); line != "open\n" {
		t.Errorf("the child says %q, %v", line, err)
	}
	record(50) // behind the child's back
	_ = in.Close()
	rest, _ := io.ReadAll(said)
	if err := child.Wait(); err != nil || string(rest) != "refused\n" {
		t.Fatalf("%v, the child says %q", err, rest)
	}
	record(1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != 52 || bytes.Count(text, []byte(`"audit_id":"mine"`)) != 52 || bytes.IndexByte(text, 0) >= 0 {
		t.Errorf("%d of 52 records are left:\n%s", n, text)
	}
}

func openAudit(t *testing.T, path string) *audit.Writer {
	t.Helper()
	w, err := audit.Open(path, audit.Options{Redact: strings.ToLower})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// failToRecord opens the file, waits for others to write to it, and tries to.
func failToRecord(t *testing.T, path string) {
	signal.Ignore(syscall.Signal(25)) // SIGXFSZ, which Windows does not know
	w := openAudit(t, path)
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := w.Record(audit.Event{ID: "theirs", Phase: audit.PhaseOutcome}); err == nil {
		fmt.Println("written beyond the limit")
	} else {
		fmt.Println("refused")
	}
	syscall.Exit(0) // at once: under -cover an ordinary end would write a file, too
}
