package sidecar

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mcp-sidecar/scenarios/canary"
)

// canaryRows send a token everywhere it can be put beside its own header.
func canaryRows(r *rig, rev, token string) map[string]ask {
	call := func(args string) ask { return toolCall(rev, token, "1", "read_document", args) }
	body := func(old, new string) ask {
		a := call(`{"id":1}`)
		a.body = strings.Replace(a.body, old, new, 1)
		return a
	}
	get := func(path string) ask {
		a := call(`{"id":1}`)
		a.path = path
		return a
	}
	rows := map[string]ask{
		"allowed":                  call(`{"id":1}`),
		"list":                     request(rev, token, "1", "tools/list", ""),
		"denied by role":           toolCall(rev, token, "1", "delete_document", `{"id":1,"confirm":true}`),
		"denied by a guard":        toolCall(rev, token, "1", "render_document", `{"format":"a;b"}`),
		"argument":                 call(`{"id":"` + token + `"}`),
		"argument's name":          call(`{"` + token + `":1}`),
		"argument, Base64":         call(`{"id":"` + base64.StdEncoding.EncodeToString([]byte("Bearer "+token)) + `"}`),
		"argument, JSON in text":   call(`{"id":"{\"t\":\"` + token + `\"}"}`),
		"argument that is denied":  toolCall(rev, token, "1", "no_such_tool", `{"t":"`+token+`"}`),
		"id":                       toolCall(rev, token, `"`+token+`"`, "read_document", `{"id":1}`),
		"id of a refused message":  toolCall(rev, token, `"`+token+`"`, "no_such_tool", `{}`),
		"id of an unknown method":  request(rev, token, `"`+token+`"`, "no/such/method", ""),
		"id of broken JSON":        body(`"id":1,`, `"id":"`+token+`",,`),
		"id under a media type":    toolCall(rev, token, `"`+token+`"`, "read_document", `{"id":1}`).with("Content-Type", "text/plain"),
		"method":                   request(rev, token, "1", token, ""),
		"tool":                     toolCall(rev, token, "1", token, `{}`),
		"version of JSON-RPC":      body(`"2.0"`, `"`+token+`"`),
		"member of the message":    body(`"method"`, `"x":"`+token+`","method"`),
		"member name":              body(`"method"`, `"`+token+`":1,"method"`),
		"duplicate member name":    body(`"method"`, `"`+token+`":1,"`+token+`":2,"method"`),
		"behind the message":       body(`{`, token+`{`),
		"revision":                 call(`{"id":1}`).with("Mcp-Protocol-Version", token),
		"Mcp-Method":               call(`{"id":1}`).with("Mcp-Method", token),
		"Mcp-Name":                 call(`{"id":1}`).with("Mcp-Name", token),
		"Mcp-Param":                call(`{"id":1}`).with("Mcp-Param-Token", token),
		"session":                  call(`{"id":1}`).with("Mcp-Session-Id", token),
		"Origin":                   call(`{"id":1}`).with("Origin", "https://"+token),
		"Content-Type":             call(`{"id":1}`).with("Content-Type", "application/json; x="+token),
		"Content-Encoding":         call(`{"id":1}`).with("Content-Encoding", token),
		"second Authorization":     call(`{"id":1}`).with("Authorization", "Bearer "+token, "Bearer "+token),
		"other scheme":             call(`{"id":1}`).with("Authorization", "Token "+token),
		"Cookie":                   call(`{"id":1}`).with("Cookie", "t="+token),
		"User-Agent":               call(`{"id":1}`).with("User-Agent", token),
		"X-Forwarded-Access-Token": call(`{"id":1}`).with("X-Forwarded-Access-Token", token),
		"query":                    get("/mcp?access_token=" + token),
		"other query":              get("/mcp?t=" + token),
		"path":                     get("/" + token),
		"cancelled":                notify(rev, token, "notifications/cancelled", `"requestId":"`+token+`"`),
		"unknown notification":     notify(rev, token, token, ""),
		"client's name":            request(rev, token, "1", "tools/list", `"_client":{"name":"`+token+`"}`),
		"progress token":           body(`"name":`, `"x":{"progressToken":"`+token+`"},"name":`),
	}
	host := call(`{"id":1}`)
	host.host = token + ".example"
	rows["Host"] = host
	method := call(`{"id":1}`)
	method.method = token
	rows["HTTP method"] = method
	if rev == legacy {
		rows["initialize"] = request(rev, token, "1", "initialize", `"protocolVersion":"`+token+`"`)
		rows["initialize in an old revision"] = request(rev, token, "1", "initialize", `"protocolVersion":"1`+token+`"`)
		rows["end of a session"] = endOf(token, token)
		rows["revision at the end of a session"] = endOf(token, r.initialize("alice")).with("Mcp-Protocol-Version", token)
		rows["initialize names itself"] = request(rev, token, "1", "initialize", `"protocolVersion":"2025-11-25","clientInfo":{"name":"`+token+`"}`)
	}
	return rows
}

// credentials are all that any client of any test of this package shows. None may
// reach what any other test records either.
var credentials canary.Watch

// TestCanary: wherever a client puts its token, no 12 bytes of it arrive at the
// upstream, in the audit file, in the log, at a probe or in an answer.
func TestCanary(t *testing.T) {
	t.Parallel()
	world := setup{inventory: demoInventory, upstream: stateful(), extra: "diagnostics: { listen: 127.0.0.1:0 }\n", change: tokensInArguments}
	arguments := 0
	for _, rev := range bothRevisions {
		for name, row := range canaryRows(start(t, world), rev, "nobody's") {
			ways := []string{"header", "signed"}
			if _, shown := inArgument(row, "nobody's"); shown {
				ways = append(ways, "argument")
				arguments++
			}
			for _, way := range ways {
				t.Run(name+"/"+way+"/"+rev, func(t *testing.T) {
					s := world
					if way == "signed" {
						s.change = signedOnly
					}
					r := start(t, s) // what it has recorded is looked through at its end
					if way == "signed" {
						r.tokens["alice"], r.tokens["carol"] = r.signed(nil, nil), r.signed(nil, members{"sub": "carol"})
					}
					token := r.token("carol")
					a := canaryRows(r, rev, token)[name]
					if way == "argument" {
						a, _ = inArgument(a, token)
					}
					r.do(a)
					r.probeAll()
				})
			}
		}
	}
	if arguments < 68 {
		t.Errorf("%d rows show their token in an argument", arguments)
	}
}

// inArgument is a with its token in the argument that may carry one, and false where
// a makes no call that could be read.
func inArgument(a ask, token string) (ask, bool) {
	a = a.with("Authorization")
	a.body = strings.Replace(a.body, `"arguments":{`, `"arguments":{"x":1,"token":"`+token+`",`, 1)
	a.body = strings.Replace(a.body, `",}`, `"}`, 1)
	return a, json.Valid([]byte(a.body)) && strings.Contains(a.body, `"token":"`) && strings.HasPrefix(a.header.Get("Content-Type"), "application/json")
}

// A token that does not hold is kept out as well: it may hold elsewhere.
func TestCanaryOfRefusedTokens(t *testing.T) {
	t.Parallel()
	for name, introspect := range map[string]http.HandlerFunc{
		"unknown":  jsonBody(`{"active":false}`),
		"foreign":  jsonBody(`{"active":true,"sub":"alice","aud":"other"}`),
		"down":     status(500),
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		r := start(t, setup{introspect: introspect})
		const token = "FOREIGN3TOKEN5FOREIGN7TOKEN9"
		for _, rev := range bothRevisions {
			for _, a := range []ask{
				toolCall(rev, token, "1", "read_document", `{"t":"`+token+`"}`),
				toolCall(rev, token, `"`+token+`"`, token, `{}`),
				request(rev, token, `"`+token+`"`, token, ""),
			} {
				if g := r.do(a); bytes.Contains(g.body, []byte(`"result"`)) {
					t.Errorf("%s: %d %s", name, g.status, g.body)
				}
			}
		}
		for _, leak := range r.leaks() {
			t.Errorf("%s: %s", name, leak)
		}
	}
}

// leaks says where pieces of any credential can be found.
func (r *rig) leaks() []string { return r.leaksOf(&credentials) }

func (r *rig) leaksOf(w *canary.Watch) (found []string) {
	file, err := os.ReadFile(r.auditLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	for where, text := range map[string]string{
		"the audit file": string(file), "the log": r.stderr.String(), "an answer": r.answers.String(), "the listener": r.served.rest(),
	} {
		found = append(found, w.In(where, text)...)
	}
	found = append(found, r.served.heard()...)
	for name, u := range r.ups {
		found = append(found, w.In("upstream "+name, u.everything())...)
	}
	return found
}

// ear listens to what may be far too much to keep. It is looked through in pieces that
// overlap by more than any form of a slice is long.
type ear struct {
	mu    sync.Mutex
	text  []byte
	leaks []string
}

const (
	earful  = 64 << 10
	overlap = 128
)

func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.text = append(e.text, p...); len(e.text) > earful {
		e.leaks = append(e.leaks, credentials.In("the listener", string(e.text))...)
		e.text = append([]byte(nil), e.text[len(e.text)-overlap:]...)
	}
	return len(p), nil
}

// rest is what has not been looked through.
func (e *ear) rest() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.text)
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.leaks)
}

// checkCanaries looks for every credential that was ever shown.
func (r *rig) checkCanaries() {
	r.t.Helper()
	for _, leak := range r.leaks() {
		r.t.Error(leak)
	}
	var own canary.Watch
	for i, secret := range r.own {
		own.Add(fmt.Sprint("the sidecar itself, ", i), secret)
	}
	for _, leak := range r.leaksOf(&own) {
		if !strings.HasPrefix(leak, "upstream ") {
			r.t.Error(leak)
		}
	}
}

// words are tokens of tests that say what they stand for. Logs say the same.
var words = regexp.MustCompile(`^[a-z-]*$`)

// witness keeps what l sends, and notes every credential that it is sent.
func (r *rig) witness(l *listener) {
	if l == nil {
		return
	}
	next := l.server.Handler
	l.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for _, value := range slices.Concat(req.Header["Authorization"], req.URL.Query()["access_token"]) {
			if scheme, token, ok := strings.Cut(value, " "); ok && scheme != "" {
				value = strings.TrimSpace(token)
			}
			if value != service && !words.MatchString(value) { // the upstream may see the service's, whoever shows it
				credentials.Add("a client", value)
			}
		}
		out := r.served
		if req.URL.Path == "/token" {
			out = &ear{} // where clients are given their tokens
		}
		next.ServeHTTP(&witnessed{ResponseWriter: w, out: out}, req)
	})
}

// witnessed writes what a handler writes into a second place.
type witnessed struct {
	http.ResponseWriter
	out    *ear
	headed bool
}

func (w *witnessed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *witnessed) WriteHeader(code int) {
	if !w.headed {
		w.headed = true
		_ = w.Header().Write(w.out)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *witnessed) Write(p []byte) (int, error) {
	if !w.headed {
		w.WriteHeader(http.StatusOK)
	}
	_, _ = w.out.Write(p)
	return w.ResponseWriter.Write(p)
}

// probeAll reads all that the probes tell.
func (r *rig) probeAll() {
	r.t.Helper()
	for _, path := range []string{LivePath, ReadyPath, "/metrics"} {
		resp, err := r.http.Get(r.sidecar.ProbeURL() + path)
		if err != nil {
			r.t.Fatal(err)
		}
		_ = resp.Body.Close() // the listener has been listened to
	}
}

// overheard keeps what a child reads from the sidecar, and looks through it at the
// end of the test.
func overheard(t *testing.T, conn net.Conn) net.Conn {
	heard := &buffer{}
	t.Cleanup(func() {
		for _, leak := range credentials.In("a child", heard.String()) {
			t.Error(leak)
		}
	})
	return heardConn{conn, io.TeeReader(conn, heard)}
}

type heardConn struct {
	net.Conn
	r io.Reader
}

func (c heardConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// What is heard in pieces is heard where they meet, too.
func TestEar(t *testing.T) {
	t.Parallel()
	const token = "HEARD2WHERE3TWO4PIECES5MEET6"
	credentials.Add("heard", token)
	for shift := range len(token) {
		var e ear
		_, _ = e.Write([]byte(strings.Repeat(".", earful-shift) + token[:shift]))
		_, _ = e.Write([]byte(token[shift:] + strings.Repeat(".", earful+1)))
		if found := slices.Concat(e.heard(), credentials.In("the rest", e.rest())); len(found) == 0 {
			t.Errorf("shifted by %d: not heard", shift)
		}
	}
}

// The search turns red wherever a credential is put on purpose: it would say nothing
// otherwise.
func TestCanaryTurnsRed(t *testing.T) {
	t.Parallel()
	token, pieces := canary.Sample()
	for name, piece := range pieces {
		sinks := map[string]func(r *rig){
			"the log":       func(r *rig) { r.sidecar.log.Info("leak", "what", piece) },
			"an answer":     func(r *rig) { _, _ = r.answers.Write([]byte(piece)) },
			"the listener":  func(r *rig) { _, _ = r.served.Write([]byte(piece)) },
			"upstream docs": func(r *rig) { u := r.up; u.mu.Lock(); defer u.mu.Unlock(); u.raw.WriteString(piece) },
			"the audit file": func(r *rig) {
				if err := os.WriteFile(r.auditLog, []byte(piece), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}
		for where, leak := range sinks {
			t.Run(name+"/"+where, func(t *testing.T) {
				var w canary.Watch // of its own: the others' stays clean
				w.Add("leaked", token)
				r := start(t, setup{})
				leak(r)
				if found := r.leaksOf(&w); len(found) != 1 || !strings.HasPrefix(found[0], where+" holds") {
					t.Errorf("found %q", found)
				}
			})
		}
	}
}
