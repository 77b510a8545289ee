package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/wire"
	"mcp-sidecar/scenarios/issuer"
)

// TestIsolationUnderLoad: many principals, each in both revisions, count their
// requests from 1, name the same progress tokens and call the same tool, all at
// once. Some hang up, some cancel, some are asked by the upstream. Every answer,
// event and question carries the mark of whoever called: none is lost, and none
// reaches anybody else.
func TestIsolationUnderLoad(t *testing.T) {
	principals, calls := 50, 100_000
	if testing.Short() {
		principals, calls = 20, 4_000
	}
	up := newMarking(t)
	r := start(t, setup{
		tools:  "\n  docs/echo: { resource: document, action: read, scopes: [\"documents:read\"] }\n",
		policy: "p, role:viewer, document, read, allow\n" + rows(principals, "g, user:u%02d, role:viewer\n"),
		change: func(c *config.Config) {
			u := c.Upstreams["docs"]
			u.URL = up.server.URL + "/mcp"
			c.Upstreams["docs"] = u
		},
		transport: func(tr *http.Transport) {
			tr.MaxIdleConnsPerHost = 4 * principals
			tr.IdleConnTimeout = atMost // before the listener's own time is over, or a request could meet its end
		},
	})
	load := &crowd{t: t, r: r, up: up, near: &http.Client{Transport: &inProcess{r.sidecar.listener.server.Handler, r.sidecar.listener.Addr()}}}
	var wg sync.WaitGroup
	for n := range principals {
		c := load.newcomer(n)
		wg.Go(func() { c.callAll(modern, "", calls/principals/2) })
		wg.Go(func() { c.callAll(legacy, c.session, calls/principals/2) })
	}
	wg.Wait()
	load.leave()
	if got := load.answered.Load(); got != int64(calls) {
		t.Errorf("%d of %d calls ended as they should", got, calls)
	}
	up.check()
	r.tokens = map[string]string{} // what they leave in the file would take longer to search than all of this
	checkCount(t, r.auditLog, calls)
}

func rows(n int, form string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, form, i)
	}
	return b.String()
}

// checkCount: one outcome record for each call.
func checkCount(t *testing.T, file string, calls int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if l := lines.Bytes(); bytes.Contains(l, []byte(`"phase":"outcome"`)) && bytes.Contains(l, []byte(`"mcp_method":"tools/call"`)) {
			n++
		}
	}
	if n != calls {
		t.Errorf("%d records for %d calls", n, calls)
	}
}

// crowd is everybody who calls.
type crowd struct {
	t        *testing.T
	r        *rig
	up       *marking
	near     *http.Client // through the same handler, without the sockets
	answered atomic.Int64
	streams  sync.WaitGroup
	stops    []context.CancelFunc
}

// caller is one principal.
type caller struct {
	*crowd
	who, token, session string
	pushed              chan string // what came on the session's own stream
}

// newcomer opens principal n's session and its stream.
func (l *crowd) newcomer(n int) *caller {
	who := fmt.Sprintf("u%02d", n)
	c := &caller{crowd: l, who: who, token: l.r.mint(who, issuer.Claims{Subject: who, Scopes: []string{"documents:read"}}), pushed: make(chan string, 16)}
	params := strings.NewReplacer(`"name":"test"`, `"name":"`+who+`"`, `"capabilities":{}`, `"capabilities":{"roots":{}}`).Replace(initParams)
	g := l.r.do(request(legacy, c.token, "0", "initialize", params).with("Mcp-Protocol-Version"))
	if c.session = g.header.Get("Mcp-Session-Id"); c.session == "" {
		l.t.Fatalf("initialize: %d %s", g.status, g.body)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stops = append(l.stops, stop)
	resp := l.r.open(ctx, getOf(c.token, c.session, ""))
	if resp.StatusCode != http.StatusOK {
		l.t.Fatalf("GET: %d", resp.StatusCode)
	}
	l.streams.Go(func() { c.follow(resp.Body) })
	return c
}

// follow reads the session's own stream to its end.
func (c *caller) follow(body io.ReadCloser) {
	defer body.Close()
	for events := wire.NewEventReader(body, 1<<16); ; {
		ev, err := events.Next()
		if err != nil {
			return
		}
		if !bytes.Contains(ev.Data, []byte(`"data":"`+c.who+` `)) {
			c.t.Errorf("%s's stream carries %s", c.who, ev.Data)
		}
		c.pushed <- string(ev.Data)
	}
}

func (l *crowd) leave() {
	for _, stop := range l.stops {
		stop()
	}
	l.streams.Wait()
}

// Ways in which a call goes.
const (
	asJSON   = "json"   // one document
	asEvents = "events" // progress, then the result
	goesAway = "hangup" // the caller goes away before the answer
	cancels  = "cancel" // the caller cancels
	pushes   = "push"   // something comes on the session's own stream
	inquires = "ask"    // the upstream inquires for the roots first
)

// way is how call n goes: mostly it is answered.
func way(rev string, n int) string {
	switch {
	case n%97 == 13:
		return goesAway
	case n%89 == 7:
		return cancels
	case rev == legacy && n%41 == 5:
		return pushes
	case rev == legacy && n%43 == 3:
		return inquires
	case n%3 == 0:
		return asEvents
	}
	return asJSON
}

func (c *caller) callAll(rev, session string, calls int) {
	for n := 1; n <= calls && !c.t.Failed(); n++ {
		mark := fmt.Sprintf("%s %s call %d", c.who, rev, n)
		how := way(rev, n)
		a := toolCall(rev, c.token, fmt.Sprint(n), "echo", fmt.Sprintf(`{"mark":%q,"how":%q,"who":%q}`, mark, how, c.who))
		// The progress token is the same for all, and so in _meta of both revisions.
		if rev == modern {
			a.body = strings.Replace(a.body, `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)
		} else {
			a.body = strings.Replace(a.body, `"params":{`, `"params":{"_meta":{"progressToken":"p"},`, 1)
			a = a.in(session)
		}
		c.call(a, rev, session, mark, how, n)
	}
}

func (c *caller) call(a ask, rev, session, mark, how string, n int) {
	switch how {
	case goesAway, cancels:
		if c.abandoned(a, rev, session, mark, how, n) {
			c.answered.Add(1)
		}
		return
	}
	client := c.near
	if how == inquires || n%farther == 0 {
		client = c.r.http
	}
	resp, err := c.send(context.Background(), client, a)
	if err != nil {
		c.t.Errorf("%s: %v", mark, err)
		return
	}
	defer resp.Body.Close()
	body, err := c.read(resp.Body, session, how)
	// What a model reads is the mark, as it was sent; JSON escapes nothing in it.
	want := fmt.Sprintf(`"id":%d,"result":{"content":[{"type":"text","text":"%s"}]`, n, mark)
	events := map[string]int{asEvents: 2}[how]
	switch {
	case err != nil || resp.StatusCode != http.StatusOK || strings.Count(body, want) != 1:
		c.t.Errorf("%s (%s): %d %s (%v)", mark, how, resp.StatusCode, body, err)
	case strings.Count(body, mark) != 1+events || len(marks.FindAllString(body, -1)) != 1+events:
		c.t.Errorf("%s (%s): somebody else's mark, or one too few: %s", mark, how, body)
	case how == pushes && <-c.pushed == "":
	default:
		c.answered.Add(1)
	}
}

// farther is which of the calls that could do without go through the listener. With
// the race detector a call takes twice as long over sockets.
const farther = 5

func (l *crowd) send(ctx context.Context, client *http.Client, a ask) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.r.url, strings.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	req.Header = a.header
	return client.Do(req)
}

// inProcess hands requests to a handler as a listener at addr would.
type inProcess struct {
	handler http.Handler
	addr    net.Addr
}

// RoundTrip implements [http.RoundTripper].
func (p *inProcess) RoundTrip(out *http.Request) (*http.Response, error) {
	in := out.Clone(context.WithValue(out.Context(), http.LocalAddrContextKey, p.addr))
	in.RequestURI = in.URL.RequestURI()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	return w.Result(), nil
}

// marks are those of anybody.
var marks = regexp.MustCompile(`u\d\d 20\d\d-\d\d-\d\d call \d+`)

// read reads an answer. The upstream's question on the way is answered with the
// name of whoever it reached.
func (c *caller) read(body io.Reader, session, how string) (string, error) {
	if how != inquires {
		b, err := io.ReadAll(body)
		return string(b), err
	}
	var all strings.Builder
	for events := wire.NewEventReader(body, 1<<16); ; {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all.String(), nil
		case err != nil:
			return all.String(), err
		case !bytes.Contains(ev.Data, []byte(`"method":"roots/list"`)):
			all.Write(ev.Data)
			continue
		}
		answer := post(legacy, c.token, "", "", `{"jsonrpc":"2.0","id":1,"result":{"roots":[{"uri":"file:///`+c.who+`"}]}}`).in(session)
		resp, err := c.send(context.Background(), c.r.http, answer)
		if err != nil {
			return "", err
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
			return "", fmt.Errorf("the answer to the upstream's question: %d", resp.StatusCode)
		}
	}
}

// abandoned makes a call that the upstream never answers by itself: the caller
// goes away, or cancels. It must end at the upstream, and nobody else's with it.
func (c *caller) abandoned(a ask, rev, session, mark, how string, n int) bool {
	arrived, ended := c.up.expect(mark)
	ctx, goAway := context.WithCancel(context.Background())
	defer goAway()
	answered := make(chan error, 1)
	go func() {
		resp, err := c.send(ctx, c.r.http, a)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	if !c.soon(arrived, mark+" does not arrive") {
		return false
	}
	if how == goesAway {
		goAway()
	}
	if how == cancels || rev == legacy { // there only a notification cancels
		resp, err := c.send(context.Background(), c.near, c.cancellation(rev, session, n))
		if err != nil {
			c.t.Errorf("%s: %v", mark, err)
			return false
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
			c.t.Errorf("%s: the cancellation answers %d", mark, resp.StatusCode)
			return false
		}
	}
	if !c.soon(ended, mark+" does not end") {
		return false
	}
	if err := <-answered; err != nil && how == cancels {
		c.t.Errorf("%s: %v", mark, err)
		return false
	}
	return true
}

func (c *caller) cancellation(rev, session string, n int) ask {
	a := notify(rev, c.token, "notifications/cancelled", fmt.Sprintf(`"requestId":%d`, n))
	if session != "" {
		a = a.in(session)
	}
	return a
}

// atMost is how long something that must happen may take on a busy machine.
const atMost = 30 * time.Second

func (c *caller) soon(event <-chan struct{}, otherwise string) bool {
	select {
	case <-event:
		return true
	case <-time.After(atMost):
		c.t.Error(otherwise)
		return false
	}
}

// marking is the upstream: it answers each call with the mark in its arguments. It
// knows whose a session is, and what it was asked in it.
type marking struct {
	t      *testing.T
	server *httptest.Server
	opened atomic.Int64

	mu       sync.Mutex
	sessions map[string]*markedSession
	expected map[string][2]chan struct{} // by mark: arrived, ended
}

// markedSession is one of the upstream's sessions.
type markedSession struct {
	who   string
	push  chan string
	roots chan string // what came back for the question
}

func newMarking(t *testing.T) *marking {
	m := &marking{t: t, sessions: map[string]*markedSession{}, expected: map[string][2]chan struct{}{}}
	m.server = httptest.NewServer(m)
	t.Cleanup(m.server.Close)
	return m
}

// expect returns what is closed when the call with mark has arrived and ended.
func (m *marking) expect(mark string) (arrived, ended <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	both := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	m.expected[mark] = both
	return both[0], both[1]
}

func (m *marking) session(id string) *markedSession {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[id]
}

// field is the text behind name in a message of this test, up to the next quote or
// comma. Decoding would take as long as half of what is tested.
func field(body []byte, name string) string {
	_, rest, ok := bytes.Cut(body, []byte(`"`+name+`":`))
	if !ok {
		return ""
	}
	if rest[0] == '"' {
		rest = rest[1:]
	}
	return string(rest[:bytes.IndexAny(rest, `",}`)])
}

func (m *marking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := m.session(r.Header.Get("Mcp-Session-Id"))
	if r.Method == http.MethodGet {
		m.listen(w, r, s)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		m.t.Errorf("the upstream got no message: %v", err)
	}
	switch method, id := field(body, "method"), field(body, "id"); {
	case isInventory(body):
		writeInventory(w, `[{"name":"echo","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}]`)
	case method == "initialize":
		m.open(w, id, field(body, "name"))
	case method == "tools/call":
		if who := field(body, "who"); s != nil && s.who != who {
			m.t.Errorf("a call of %s came in the session of %s", who, s.who)
		}
		m.call(w, r, body, s)
	case method == "" && s != nil:
		s.roots <- field(body, "uri")
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func (m *marking) open(w http.ResponseWriter, id, who string) {
	own := fmt.Sprintf("upstream-%d", m.opened.Add(1))
	m.mu.Lock()
	m.sessions[own] = &markedSession{who: who, push: make(chan string), roots: make(chan string, 1)}
	m.mu.Unlock()
	w.Header().Set("Mcp-Session-Id", own)
	answerJSON(w, http.StatusOK, response(id, `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"docs","version":"1"}}`))
}

// listen serves a session's own stream.
func (m *marking) listen(w http.ResponseWriter, r *http.Request, s *markedSession) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	for {
		select {
		case text := <-s.push:
			_, _ = io.WriteString(w, data("", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"`+text+`"}}`))
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (m *marking) call(w http.ResponseWriter, r *http.Request, body []byte, s *markedSession) {
	mark := field(body, "mark")
	end := response(field(body, "id"), `{"content":[{"type":"text","text":"`+mark+`"}]}`)
	send := func(message string) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: "+message+"\n\n")
		w.(http.Flusher).Flush()
	}
	switch field(body, "how") {
	case asEvents:
		for n := range 2 {
			send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"%s","progress":%d,"message":"%s"}}`, field(body, "progressToken"), n, mark))
		}
		send(end)
		return
	case goesAway, cancels:
		m.hang(w, r, mark)
		return
	case pushes:
		s.push <- mark
	case inquires:
		send(`{"jsonrpc":"2.0","id":1,"method":"roots/list"}`)
		select {
		case roots := <-s.roots:
			if roots != "file:///"+s.who {
				m.t.Errorf("%s was asked, and the answer is %s", s.who, roots)
			}
		case <-time.After(atMost):
			m.t.Errorf("%s was asked, and does not answer", s.who)
		}
		send(end)
		return
	}
	answerJSON(w, http.StatusOK, end)
}

// hang answers nothing until the request ends.
func (m *marking) hang(w http.ResponseWriter, r *http.Request, mark string) {
	m.mu.Lock()
	both := m.expected[mark]
	delete(m.expected, mark)
	m.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	close(both[0])
	<-r.Context().Done()
	close(both[1])
}

// check: nothing is left that was waited for.
func (m *marking) check() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.expected) > 0 {
		m.t.Errorf("%d calls never arrived", len(m.expected))
	}
	for _, s := range m.sessions {
		if len(s.roots) > 0 {
			m.t.Errorf("an answer of %s was sent twice", s.who)
		}
	}
}
