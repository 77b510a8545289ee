package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// revision is the MCP revision that is spoken: stateless, so each request says
// everything about itself.
const revision = "2026-07-28"

// Paths of the upstream.
const (
	mcpPath     = "/mcp"
	countedPath = "/counted"
)

// counted is what the upstream was asked for so far.
type counted struct {
	Calls  int64 `json:"calls"`  // tools/call
	Lists  int64 `json:"lists"`  // tools/list
	Others int64 `json:"others"` // anything else, other HTTP methods included

	// Connections were opened. A proxy that does not keep them pays for a
	// handshake per call; how many there are is a matter of chance, so they are
	// reported and not judged.
	Connections int64 `json:"connections"`
}

func (c counted) minus(d counted) counted {
	return counted{c.Calls - d.Calls, c.Lists - d.Lists, c.Others - d.Others, c.Connections - d.Connections}
}

func (c counted) plus(d counted) counted {
	return counted{c.Calls + d.Calls, c.Lists + d.Lists, c.Others + d.Others, c.Connections + d.Connections}
}

// upstream is an MCP server with one tool, as small as can be so that it takes
// little of the machine from what is measured.
type upstream struct {
	stream               bool
	calls, lists, others atomic.Int64
	connections          atomic.Int64
	contents             sync.Map // textKey → content of the answer
}

type textKey struct{ size, variant int }

func newUpstream(answer string) *upstream {
	return &upstream{stream: answer == answerSSE}
}

// connected is a hook of [http.Server].
func (u *upstream) connected(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		u.connections.Add(1)
	}
}

func (u *upstream) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+mcpPath, u.serve)
	mux.HandleFunc("GET "+countedPath, u.counted)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.others.Add(1)
		http.NotFound(w, r)
	})
	return mux
}

func (u *upstream) counted(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counted{u.calls.Load(), u.lists.Load(), u.others.Load(), u.connections.Load()})
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
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4*maxSize)).Decode(&m); err != nil {
		u.others.Add(1)
		http.Error(w, "not a JSON-RPC message", http.StatusBadRequest)
		return
	}
	a := m.Params.Arguments
	switch {
	case m.Method == "tools/list":
		u.lists.Add(1)
		u.answer(w, m.ID, `"result":{"resultType":"complete","tools":[`+echoTool+`]}`)
	case m.Method == "tools/call" && m.Params.Name == "echo" && a.Size > 0 && a.Size <= maxSize:
		u.calls.Add(1)
		u.answer(w, m.ID, `"result":{"resultType":"complete",`+u.content(a.Size, a.Variant)+`}`)
	default:
		u.others.Add(1)
		u.answer(w, m.ID, `"error":{"code":-32601,"message":"not served here"}`)
	}
}

const echoTool = `{"name":"echo","description":"Returns a text of the given size.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{` +
	`"text":{"type":"string"},"size":{"type":"integer"},"variant":{"type":"integer"},"format":{"type":"string"},"link":{"type":"string","format":"uri"}},"required":["size"]}}`

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
	text, err := json.Marshal(prose(size, variant))
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
