package sidecar

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/proxy/audit"
)

var update = flag.Bool("update", false, "rewrite docs/coverage.md")

const coverageFile = "../../docs/coverage.md"

// carrier is a way in which an upstream's message reaches the sidecar.
type carrier struct {
	name string
	// carry has the upstream send messages, the last of which is f's, and returns
	// everything that the client read.
	carry func(v *coverage, rev string, f fixture, messages []string) string
	// without says why a message of f cannot come this way, or is empty.
	without func(rev string, f fixture) string
	stdio   bool // on both sides
}

// Why a cell has no fixture.
const (
	notInRevision = "a" // the method table
	oneResponse   = "b"
	otherStream   = "c"
)

var carriers = []carrier{
	{name: "JSON", carry: (*coverage).asJSON, without: func(_ string, f fixture) string {
		if !f.isAnswer() {
			return oneResponse
		}
		return ""
	}},
	{name: "SSE", carry: (*coverage).asStream, without: func(_ string, f fixture) string {
		if f.method == "notifications/subscriptions/acknowledged" {
			return otherStream
		}
		return ""
	}},
	{name: "listening", carry: (*coverage).listening, without: func(rev string, f fixture) string {
		if f.method == "notifications/progress" || f.isAnswer() && (rev == modern || f.method == "initialize") {
			return otherStream
		}
		return ""
	}},
	{name: "stdio", carry: (*coverage).overStdio, without: func(string, fixture) string { return "" }, stdio: true},
}

// hosts are the rigs that the carriers need.
func hosts(t *testing.T, preset string) func(c carrier, rev string) *coverage {
	http, pipes := newCoverage(t, preset), map[string]*coverage{}
	for _, rev := range bothRevisions {
		pipes[rev] = newStdioCoverage(t, preset, rev)
	}
	return func(c carrier, rev string) *coverage {
		if c.stdio {
			return pipes[rev]
		}
		return http
	}
}

func (f fixture) isAnswer() bool {
	return f.kind == "result" || f.kind == "error" || f.kind == "question"
}

// coverage is a rig whose upstream sends what a fixture plants.
type coverage struct {
	*rig
	preset  string
	session string // of the old revision
	ids     int    // given out so far

	pipe     *pipe // with stdio on both sides
	child    *scripted
	borrowed []audit.Event // records of another rig that stood in for this one
}

func coverageSetup(preset string) setup {
	return setup{
		preset: preset, policy: "p, role:admin, *, *, allow\ng, user:alice, role:admin\n", inventory: demoInventory,
		extra: "methods: [com.example/count, notifications/com.example/tick]\n",
	}
}

func newCoverage(t *testing.T, preset string) *coverage {
	v := &coverage{preset: preset, rig: start(t, coverageSetup(preset))}
	v.up.answerWith(v.reply(result(`"protocolVersion":"2025-11-25","capabilities":{}`), "initialize", ""))
	g := v.do(v.ask(legacy, "initialize", offeredParams, ""))
	v.session = g.header.Get("Mcp-Session-Id")
	for _, rev := range bothRevisions {
		v.giveTask(rev)
	}
	return v
}

// offered are the capabilities of the client.
const offered = `{"sampling":{},"elicitation":{},"roots":{},"tasks":{}}`

var offeredParams = strings.Replace(initParams, `"capabilities":{}`, `"capabilities":`+offered, 1)

// giveTask has a call become a task of alice's.
func (v *coverage) giveTask(rev string) {
	task := response("$ID", map[string]string{legacy: `{"task":{"taskId":"task-1"}}`, modern: `{"resultType":"task","taskId":"task-1"}`}[rev])
	if v.pipe != nil {
		v.child.answerWith("tools/call", task)
		v.say(v.ask(rev, "tools/call", callParams, "update_document"))
		return
	}
	v.up.answerWith(jsonBody(task))
	v.do(v.ask(rev, "tools/call", callParams, "update_document"))
}

// ask is alice's request; it asks for progress under the token 7.
func (v *coverage) ask(rev, method, params, name string) ask {
	v.ids++
	a := request(rev, v.token("alice"), fmt.Sprint(v.ids), method, params)
	if rev == modern {
		a.body = strings.Replace(a.body, `"_meta":{`, `"_meta":{"progressToken":7,"io.modelcontextprotocol/logLevel":"debug",`, 1)
		a.body = strings.Replace(a.body, `/clientCapabilities":{}`, `/clientCapabilities":`+offered, 1)
		return a.with("Mcp-Name", headerOf(rev, name)...)
	}
	if method == "initialize" {
		return a.with("Mcp-Protocol-Version")
	}
	a.body = strings.Replace(a.body, `"params":{`, `"params":{"_meta":{"progressToken":7},`, 1)
	a.body = strings.Replace(a.body, `,}`, `}`, 1)
	return a.in(v.session)
}

// reply is an upstream that answers requests of method with answer, GET with
// stream, and takes anything else.
func (v *coverage) reply(answer http.HandlerFunc, method, stream string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case r.Method == http.MethodGet:
			events(stream)(w, r)
		case bytes.Contains(body, []byte(`"method":"`+method+`"`)):
			if method == "initialize" {
				w.Header().Set("Mcp-Session-Id", "upstream-session")
			}
			answer(w, r)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}
}

// asked is the client's request to which f belongs.
func (f fixture) asked() (method, params, name string) {
	switch {
	case f.kind == "question":
		return f.in, f.params, f.name
	case f.isAnswer():
		return f.method, f.params, f.name
	}
	return "tools/call", callParams, "update_document"
}

func (v *coverage) asJSON(rev string, f fixture, messages []string) string {
	method, params, name := f.asked()
	v.up.answerWith(v.reply(jsonBody(messages[len(messages)-1]), method, ""))
	return string(v.do(v.ask(rev, method, params, name)).body)
}

func (v *coverage) asStream(rev string, f fixture, messages []string) string {
	method, params, name := f.asked()
	if !f.isAnswer() {
		messages = append(messages, response("$ID", doneResult))
	}
	v.up.answerWith(v.reply(events(dataOf(messages)), method, ""))
	return string(v.do(v.ask(rev, method, params, name)).body)
}

func dataOf(messages []string) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString("data: " + m + "\n\n")
	}
	return b.String()
}

// listening has the messages come on a stream that waits for them: that of the
// session, where an answer comes again, or that of a subscription.
func (v *coverage) listening(rev string, f fixture, messages []string) string {
	if rev == modern {
		v.up.answerWith(v.reply(events(dataOf(append(messages, response("$ID", `{"resultType":"complete"}`)))), "subscriptions/listen", ""))
		return string(v.do(v.ask(rev, "subscriptions/listen", `"notifications":{}`, "")).body)
	}
	last := ""
	if f.isAnswer() {
		method, params, name := f.asked()
		a := v.ask(rev, method, params, name)
		v.up.answerWith(v.reply(events("id: e1\ndata:\n\n"), method, ""))
		last = eventOf(v.do(a).body)
		messages = []string{strings.ReplaceAll(messages[0], "$ID", fmt.Sprint(v.ids))}
	}
	v.up.answerWith(v.reply(nil, "none", dataOf(messages)))
	return string(v.do(getOf(v.token("alice"), v.session, last)).body)
}

// messagesOf are what the upstream sends to plant text in f.
func (v *coverage) messagesOf(rev string, f fixture, text string) (messages []string, id string) {
	encode := f.encode
	if encode == nil {
		encode = func(s string) string { q, _ := json.Marshal(s); return string(q[1 : len(q)-1]) }
	}
	half := strings.LastIndexByte(text, ' ') + 1
	if half == 0 {
		half = len(text) / 2
	}
	v.ids++
	id = fmt.Sprintf("asked-%d", v.ids)
	body := f.message
	if rev == legacy && f.old != "" {
		body = f.old
	}
	if strings.Contains(body, "@1") {
		body = strings.NewReplacer("@1", encode(text[:half]), "@2", encode(text[half:])).Replace(body)
	}
	body = strings.NewReplacer("@", encode(text), "$ASKED", id).Replace(body)
	for _, m := range strings.Split(body, "\n") {
		switch f.kind {
		case "result", "question":
			m = response("$ID", m)
		case "error":
			m = `{"jsonrpc":"2.0","id":$ID,"error":` + m + `}`
		case "request":
			m = `{"jsonrpc":"2.0","id":"` + id + `","method":"` + f.method + `","params":` + m + `}`
		case "notification":
			m = `{"jsonrpc":"2.0","method":"` + f.method + `","params":` + m + `}`
		}
		messages = append(messages, m)
	}
	if f.method == "notifications/cancelled" { // only of what was asked
		messages = append([]string{`{"jsonrpc":"2.0","id":"` + id + `","method":"roots/list"}`}, messages...)
	}
	return messages, id
}

// read sends text to the client and returns what arrived, and what is on record:
// labels of findings, and what would have been done.
func (v *coverage) read(c carrier, rev string, f fixture, text string) (got string, sent, labels []string) {
	v.records()
	messages, id := v.messagesOf(rev, f, text)
	got = c.carry(v, rev, f, messages)
	for _, m := range messages {
		sent = append(sent, strings.ReplaceAll(m, "$ID", fmt.Sprint(v.ids)))
	}
	for _, e := range append(v.records(), v.borrowed...) {
		labels = append(append(labels, e.Findings...), e.Would...)
	}
	v.borrowed = nil
	if f.kind == "request" && strings.Contains(got, id) { // what is asked waits for an answer
		v.respond(rev, `{"jsonrpc":"2.0","id":"`+id+`","result":{}}`)
	}
	return got, sent, labels
}

// respond answers a request of the upstream's.
func (v *coverage) respond(rev, response string) {
	if v.pipe != nil {
		_, _ = io.WriteString(v.pipe.in, response+"\n")
		return
	}
	v.up.answerWith(v.reply(nil, "none", ""))
	v.do(post(rev, v.token("alice"), "", "", response).in(v.session))
}

// judge returns what the sidecar does with f's content, in the words of the matrix.
func (v *coverage) judge(t *testing.T, c carrier, rev string, f fixture) string {
	t.Helper()
	const benign = "benign words"
	got, sent, labels := v.read(c, rev, f, benign)
	for _, m := range sent {
		if !strings.Contains(got, m) || len(labels) > 0 {
			t.Errorf("%s, %s: benign text is changed, findings %q: the client read\n%s\nthe upstream sent\n%s", rev, c.name, labels, got, m)
			return ""
		}
	}
	verdict := v.secret(t, c, rev, f)
	if f.bytes || verdict == "" {
		return verdict
	}
	got, _, labels = v.read(c, rev, f, order)
	switch {
	case !slices.Contains(labels, ordLabel):
		t.Errorf("%s, %s: the order is not seen, findings %q: %s", rev, c.name, labels, got)
		return ""
	case strings.Contains(got, "untrusted_content"):
		verdict += "W"
	default:
		verdict += "F"
	}
	return verdict + v.hidden(t, c, rev, f)
}

// hidden says what becomes of a character that nobody sees.
func (v *coverage) hidden(t *testing.T, c carrier, rev string, f fixture) string {
	t.Helper()
	got, _, labels := v.read(c, rev, f, "left \u202eright")
	if !slices.Contains(labels, "hidden:bidi-control") || strings.Contains(got, "\u202e") || strings.Contains(got, `\u202e`) || !strings.Contains(got, "U+202E") {
		t.Errorf("%s, %s: nobody sees what is hidden, findings %q: %s", rev, c.name, labels, got)
	}
	return "V"
}

func (v *coverage) secret(t *testing.T, c carrier, rev string, f fixture) string {
	t.Helper()
	got, sent, labels := v.read(c, rev, f, key)
	last := sent[len(sent)-1]
	switch {
	case !slices.Contains(labels, keyLabel) || strings.Contains(got, last) || strings.Contains(got, key):
		t.Errorf("%s, %s: the key leaves, findings %q: %s", rev, c.name, labels, got)
		return ""
	case strings.Contains(got, "REDACTED") || f.encode != nil && !strings.Contains(got, `"isError":true`):
		return "R"
	}
	return "B"
}

// revisionsOf reads from docs/methods.md, which a test holds to the method table,
// in which revisions a message exists.
func revisionsOf(t *testing.T) func(f fixture) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/methods.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## From clients")
	clients, servers, _ := strings.Cut(rest, "## From servers")
	find := func(part, method string) []string {
		return regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(method) + "` \\| (yes)? ?\\| (yes|in results)? ?\\|").FindStringSubmatch(part)
	}
	return func(f fixture) map[string]bool {
		part := servers
		if f.kind == "result" || f.kind == "error" {
			part = clients
		}
		m := find(part, f.method)
		switch {
		case strings.Contains(f.method, "com.example/"):
			return map[string]bool{legacy: true, modern: true} // admitted by the configuration
		case m == nil:
			t.Errorf("%s %s is not documented", f.kind, f.method)
			return nil
		case f.kind == "question":
			return map[string]bool{modern: m[2] == "in results"}
		}
		return map[string]bool{legacy: m[1] == "yes", modern: m[2] == "yes"}
	}
}

// absent checks that what a revision does not have is not passed in it.
func (v *coverage) absent(t *testing.T, c carrier, rev string, f fixture) {
	t.Helper()
	const unheard = "words that do not arrive"
	if got, _, _ := v.read(c, rev, f, unheard); strings.Contains(got, unheard) {
		t.Errorf("%s, %s: the revision does not have it, and it passes: %s", rev, c.name, got)
	}
}

// cells are the verdicts about one fixture, by revision and carrier.
type cells map[string]string

// TestCoverage plants a secret, an order and a benign text in every kind of
// content of every kind of message, on every way that the message can take, and
// writes down what becomes of them. With -update it writes docs/coverage.md.
func TestCoverage(t *testing.T) {
	t.Parallel()
	at, exists := hosts(t, "balanced"), revisionsOf(t)
	all := make([]cells, len(coverageRows))
	for i, f := range coverageRows {
		all[i] = cells{}
		in := exists(f)
		for _, rev := range bothRevisions {
			for _, c := range carriers {
				t.Run(strings.Join([]string{f.kind, f.method, f.content, rev, c.name}, "/"), func(t *testing.T) {
					v, cell := at(c, rev), c.without(rev, f)
					switch {
					case !in[rev]:
						if cell == "" {
							v.absent(t, c, rev, f)
						}
						cell = notInRevision
					case cell == "":
						cell = v.judge(t, c, rev, f)
					}
					if cell == "" {
						t.Error("the cell is empty")
					}
					all[i][rev+c.name] = cell
				})
			}
		}
	}
	if t.Failed() {
		return
	}
	want := coverageDocument(all)
	if *update {
		if err := os.WriteFile(coverageFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(coverageFile); err != nil || string(have) != want {
		t.Errorf("docs/coverage.md is not what the tests find (%v); run go test ./proxy/sidecar -run TestCoverage -update", err)
	}
}

// With the observe preset every message is the upstream's to the byte, and the
// record says what would have been done.
func TestCoverageObserved(t *testing.T) {
	t.Parallel()
	at, exists := hosts(t, "observe"), revisionsOf(t)
	for _, f := range coverageRows {
		in := exists(f)
		for _, rev := range bothRevisions {
			for _, c := range carriers {
				if !in[rev] || c.without(rev, f) != "" {
					continue
				}
				for text, want := range map[string]string{key: "secrets: aws_access_key", order: "injection: ignore-previous-instructions"} {
					if f.bytes && text == order {
						continue
					}
					got, sent, would := at(c, rev).read(c, rev, f, text)
					for _, m := range sent {
						if !strings.Contains(got, m) || !slices.Contains(would, want) || slices.Contains(would, keyLabel) {
							t.Errorf("%s of %s, %s, %s, %s: record %q, the client read\n%s\nthe upstream sent\n%s", f.kind, f.method, f.content, rev, c.name, would, got, m)
						}
					}
				}
			}
		}
	}
}

// Every message of an upstream that docs/methods.md knows is in the matrix.
func TestCoverageIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/methods.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## From clients")
	clients, servers, _ := strings.Cut(rest, "## From servers")
	covered := map[string]bool{}
	for _, f := range coverageRows {
		covered[f.kind+" "+f.method] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:yes)? ?\\| ?(yes|in results)? ?\\|").FindAllStringSubmatch(clients, -1) {
		if !strings.HasPrefix(m[1], "notifications/") && !covered["result "+m[1]] {
			t.Errorf("no row plants anything in the result of %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:yes)? ?\\| ?(yes|in results)? ?\\|").FindAllStringSubmatch(servers, -1) {
		kind := "request "
		if strings.HasPrefix(m[1], "notifications/") {
			kind = "notification "
		}
		if !covered[kind+m[1]] || m[2] == "in results" && !covered["question "+m[1]] {
			t.Errorf("no row plants anything in %s", m[1])
		}
	}
}

// coverageDocument renders the matrix.
func coverageDocument(all []cells) string {
	var b strings.Builder
	b.WriteString(`# What is inspected

Written by a test: ` + "`go test ./proxy/sidecar -run TestCoverage -update`" + `. For each cell it has a server send the message four times, through the running sidecar: with a benign text, which must arrive byte for byte; with a secret; with an instruction to the model; and with a character that turns the direction of writing. The test fails when a cell is empty, and when this page is not what it finds.

| Mark | Meaning |
|-|-|
| R | the secret is redacted, and the finding is on record |
| B | the message that completes the secret is withheld: its beginning has been sent |
| W | the instruction is flagged and its text wrapped |
| F | the instruction is flagged; where it stands nothing can be wrapped |
| V | the hidden character is made visible, and the finding is on record |
| R alone | bytes: instructions and hidden characters are not looked for |
| a | the revision does not have it ([methods](methods.md)); the test sees that it does not pass |
| b | one JSON body carries one response |
| c | it comes on the stream of its own call, or only on one that listens |

**JSON** and **SSE** are the forms of an answer over HTTP. **Listening** is a stream that waits: GET with a session, where an answer comes again when a client resumes, and ` + "`subscriptions/listen`" + `.

`)
	title := "| Message | Content |"
	line := "|-|-|"
	for _, rev := range bothRevisions {
		for _, c := range carriers {
			title += " " + rev + " " + c.name + " |"
			line += "-|"
		}
	}
	b.WriteString(title + "\n" + line + "\n")
	for i, f := range coverageRows {
		fmt.Fprintf(&b, "| %s | %s |", f.describe(), f.content)
		for _, rev := range bothRevisions {
			for _, c := range carriers {
				fmt.Fprintf(&b, " %s |", strings.Join(strings.Split(all[i][rev+c.name], ""), " "))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (f fixture) describe() string {
	switch f.kind {
	case "question":
		return "`" + f.method + "` in the result of `" + f.in + "`"
	case "request":
		return "request `" + f.method + "`"
	case "notification":
		return "`" + f.method + "`"
	}
	return f.kind + " of `" + f.method + "`"
}
