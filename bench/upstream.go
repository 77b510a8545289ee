package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Revisions that are spoken. In the first each request says everything about
// itself; in the other it belongs to a session.
const (
	stateless   = "2026-07-28"
	withSession = "2025-11-25"
)

// Paths of the upstream.
const (
	mcpPath     = "/mcp"
	countedPath = "/counted"
)

// counted is what the upstream was asked for so far.
type counted struct {
	Calls    int64 `json:"calls"`    // tools/call
	Lists    int64 `json:"lists"`    // tools/list
	Sessions int64 `json:"sessions"` // requests that open and end sessions
	Streams  int64 `json:"streams"`  // GET
	Others   int64 `json:"others"`   // anything else

	// Connections were opened. A proxy that does not keep them pays for a
	// handshake per call; how many there are is a matter of chance, so they are
	// reported and not judged.
	Connections int64 `json:"connections"`
}

func (c counted) minus(d counted) counted {
	return counted{c.Calls - d.Calls, c.Lists - d.Lists, c.Sessions - d.Sessions, c.Streams - d.Streams, c.Others - d.Others, c.Connections - d.Connections}
}

func (c counted) plus(d counted) counted {
	return counted{c.Calls + d.Calls, c.Lists + d.Lists, c.Sessions + d.Sessions, c.Streams + d.Streams, c.Others + d.Others, c.Connections + d.Connections}
}

// upstream is an MCP server with few tools, as small as can be so that it takes
// little of the machine from what is measured.
type upstream struct {
	stream bool
	tools  string // what tools/list answers
	seen   struct{ calls, lists, sessions, streams, others, connections atomic.Int64 }

	contents sync.Map // textKey → content of the answer
}

type textKey struct{ size, variant int }

// newUpstream lists so many tools, at least those that are called.
func newUpstream(answer string, tools int) *upstream {
	all := []string{echoTool, floodTool}
	for n := len(all); n < tools; n++ {
		all = append(all, fmt.Sprintf(idleTool, n))
	}
	return &upstream{stream: answer == answerSSE, tools: strings.Join(all, ",")}
}

// connected is a hook of [http.Server].
func (u *upstream) connected(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		u.seen.connections.Add(1)
	}
}

func (u *upstream) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+mcpPath, u.serve)
	mux.HandleFunc("GET "+mcpPath, u.listen)
	mux.HandleFunc("DELETE "+mcpPath, func(w http.ResponseWriter, _ *http.Request) {
		u.seen.sessions.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET "+countedPath, u.counted)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.seen.others.Add(1)
		http.NotFound(w, r)
	})
	return mux
}

func (u *upstream) counted(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	n := &u.seen
	_ = json.NewEncoder(w).Encode(counted{n.calls.Load(), n.lists.Load(), n.sessions.Load(), n.streams.Load(), n.others.Load(), n.connections.Load()})
}

// listen serves a session's own stream, on which nothing ever comes.
func (u *upstream) listen(w http.ResponseWriter, r *http.Request) {
	u.seen.streams.Add(1)
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// message is what the upstream reads of a request.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string    `json:"name"`
		Arguments arguments `json:"arguments"`
	} `json:"params"`
}

// arguments of echo: the answer is another text than the one that was sent, so
// that what is inspected on the way back has not been seen before.
type arguments struct {
	Text    string `json:"text"`
	Size    int    `json:"size"`    // bytes of the answer's text
	Variant int    `json:"variant"` // which text
	Format  string `json:"format"`
	Link    string `json:"link"`
	Shape   string `json:"shape,omitempty"` // of a flood
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4*maxSize)).Decode(&m); err != nil {
		u.seen.others.Add(1)
		http.Error(w, "not a JSON-RPC message", http.StatusBadRequest)
		return
	}
	a := m.Params.Arguments
	switch {
	case m.Method == "tools/list":
		u.seen.lists.Add(1)
		u.answer(w, m.ID, `"result":{"resultType":"complete","tools":[`+u.tools+`]}`)
	case m.Method == "tools/call" && m.Params.Name == "echo" && a.Size > 0 && a.Size <= maxSize:
		u.seen.calls.Add(1)
		u.answer(w, m.ID, `"result":{"resultType":"complete",`+u.content(a.Size, a.Variant)+`}`)
	case m.Method == "tools/call" && m.Params.Name == "flood":
		u.seen.calls.Add(1)
		flood(w, m.ID, a)
	case m.Method == "initialize":
		u.seen.sessions.Add(1)
		w.Header().Set("Mcp-Session-Id", rand.Text())
		u.answer(w, m.ID, `"result":{"protocolVersion":"`+withSession+`","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}`)
	case m.Method == "notifications/initialized":
		u.seen.sessions.Add(1)
		w.WriteHeader(http.StatusAccepted)
	default:
		u.seen.others.Add(1)
		u.answer(w, m.ID, `"error":{"code":-32601,"message":"not served here"}`)
	}
}

const (
	echoTool = `{"name":"echo","description":"Returns a text of the given size.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{` +
		`"text":{"type":"string"},"size":{"type":"integer"},"variant":{"type":"integer"},"format":{"type":"string"},"link":{"type":"string","format":"uri"}},"required":["size"]}}`
	floodTool = `{"name":"flood","description":"Returns more than anybody wants.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}`
	idleTool  = `{"name":"idle_%d","description":"Stands in the list, as the many tools of large servers do, and is never called.","annotations":{"readOnlyHint":true},` +
		`"inputSchema":{"type":"object","properties":{"path":{"type":"string","description":"Where to look."},"depth":{"type":"integer"},"filter":{"type":"array","items":{"type":"string"}}},"required":["path"]}}`
)

// Shapes of a flood.
const (
	floodJSON    = "json"    // one document of announced length
	floodChunked = "chunked" // one document whose length nobody knows in advance
	floodSSE     = "sse"     // one event
)

var floodShapes = []string{floodJSON, floodChunked, floodSSE}

// flood answers with a text of a.Size bytes, which is in memory nowhere as a
// whole.
func flood(w http.ResponseWriter, id json.RawMessage, a arguments) {
	head := `{"jsonrpc":"2.0","id":` + string(id) + `,"result":{"content":[{"type":"text","text":"`
	tail := `"}]}}`
	w.Header().Set("Content-Type", "application/json")
	switch a.Shape {
	case floodJSON:
		w.Header().Set("Content-Length", strconv.Itoa(len(head)+a.Size+len(tail)))
	case floodSSE:
		w.Header().Set("Content-Type", "text/event-stream")
		head, tail = "data: "+head, tail+"\n\n"
	}
	piece := []byte(strings.Repeat("All work and no play. ", 1<<10))
	_, err := io.WriteString(w, head)
	for left := a.Size; left > 0 && err == nil; left -= len(piece) {
		piece = piece[:min(left, len(piece))]
		_, err = w.Write(piece)
	}
	_, _ = io.WriteString(w, tail)
}

// content returns the member "content" of an answer, encoded once per text.
func (u *upstream) content(size, variant int) string {
	key := textKey{size, variant}
	if c, ok := u.contents.Load(key); ok {
		return c.(string)
	}
	c := answerContent(size, variant)
	u.contents.Store(key, c)
	return c
}

// answerContent is also what a client expects to find in the answer.
func answerContent(size, variant int) string {
	text, err := json.Marshal(textOf(size, variant))
	if err != nil {
		panic(err) // a string always encodes
	}
	return `"content":[{"type":"text","text":` + string(text) + `}]`
}

func (u *upstream) answer(w http.ResponseWriter, id json.RawMessage, rest string) {
	body := `{"jsonrpc":"2.0","id":` + string(id) + `,` + rest + `}`
	if !u.stream {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintf(w, "event: message\ndata: %s\n\n", body)
	// A server that streams does not know that this was the last event.
	_ = http.NewResponseController(w).Flush()
}
