package sidecar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeUpstream records everything that reaches it. Without a handler it is a
// booby trap: being touched fails the test.
type fakeUpstream struct {
	t      testing.TB
	server *httptest.Server

	mu          sync.Mutex
	inventory   string
	resources   string // does not change
	locates     bool   // handle answers what the sidecar asks about resources
	handle      http.HandlerFunc
	calls       []received
	inventories []received
	raw         bytes.Buffer
}

// received is one request as the upstream saw it.
type received struct {
	method, path string
	header       http.Header
	body         string
}

func newFakeUpstream(t testing.TB, s setup) *fakeUpstream {
	u := &fakeUpstream{t: t, handle: s.upstream, inventory: s.inventory, resources: s.resources, locates: s.locates}
	u.server = httptest.NewUnstartedServer(http.HandlerFunc(u.serve))
	u.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail on purpose
	if s.secure != nil {
		u.server.TLS = s.secure
		u.server.StartTLS()
	} else {
		u.server.Start()
	}
	t.Cleanup(u.server.Close)
	return u
}

func (u *fakeUpstream) url() string { return u.server.URL + "/mcp" }

func (u *fakeUpstream) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	own, locating := isInventory(body), isLocating(body)
	handle, inventory := u.record(r, string(body), own || locating)
	switch {
	case own && inventory != "":
		writeInventory(w, inventory)
	case locating && u.locates:
		handle(w, r)
	case locating && u.resources != "":
		result(u.resources)(w, r)
	case locating:
		answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":`+idOf(r)+`,"error":{"code":-32601,"message":"no resources"}}`)
	case handle != nil:
		handle(w, r)
	default:
		u.t.Errorf("the upstream was touched: %s %s", r.Method, body)
		w.WriteHeader(http.StatusTeapot)
	}
}

func (u *fakeUpstream) record(r *http.Request, body string, own bool) (handle http.HandlerFunc, inventory string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	fmt.Fprintf(&u.raw, "%s %s %s\n", r.Method, r.URL, r.Host)
	_ = r.Header.Write(&u.raw)
	u.raw.WriteString(body)
	got := received{r.Method, r.URL.String(), r.Header.Clone(), body}
	if own {
		u.inventories = append(u.inventories, got)
	} else {
		u.calls = append(u.calls, got)
	}
	return u.handle, u.inventory
}

// answerWith changes what answers from now on.
func (u *fakeUpstream) answerWith(h http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handle = h
}

// listTools makes the upstream list tools from now on.
func (u *fakeUpstream) listTools(inventory string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inventory = inventory
}

// seen returns the requests so far, without those for the inventory.
func (u *fakeUpstream) seen() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]received(nil), u.calls...)
}

// touched counts the requests that reached any server, without those for the
// inventory.
func (r *rig) touched() (n int) {
	for _, u := range r.ups {
		n += len(u.seen())
	}
	return n
}

// listings returns the requests for the inventory.
func (u *fakeUpstream) listings() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]received(nil), u.inventories...)
}

func (u *fakeUpstream) listed() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.inventories)
}

// last returns the newest request that was not for the inventory.
func (u *fakeUpstream) last() received {
	u.t.Helper()
	all := u.seen()
	if len(all) == 0 {
		u.t.Fatal("the upstream was not reached")
	}
	return all[len(all)-1]
}

func (u *fakeUpstream) everything() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.raw.String()
}

// isInventory recognises the sidecar's own tools/list.
func isInventory(body []byte) bool {
	return bytes.Contains(body, []byte(`"id":"mcp-sidecar/inventory"`))
}

// isLocating recognises the sidecar's own lists of resources, where servers are
// merged, and further pages of lists.
func isLocating(body []byte) bool { return bytes.Contains(body, []byte(`"id":"mcp-sidecar/merged-`)) }

func writeInventory(w http.ResponseWriter, tools string) {
	answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":"mcp-sidecar/inventory","result":{"tools":`+tools+`}}`)
}

func answerJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// idOf returns the id of a request as it was sent.
func idOf(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct {
		ID json.RawMessage `json:"id"`
	}
	_ = json.Unmarshal(body, &m)
	return string(m.ID)
}

// result answers each request with a result; members without braces.
func result(members string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := idOf(r)
		if id == "" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		answerJSON(w, http.StatusOK, `{"jsonrpc":"2.0","id":`+id+`,"result":{`+members+`}}`)
	}
}

// text answers each request with a text block.
func text(s string) http.HandlerFunc {
	quoted, _ := json.Marshal(s)
	return result(`"content":[{"type":"text","text":` + string(quoted) + `}]`)
}

// events answers with a stream; $ID stands for the request's id. What follows an
// event's data is up to the caller.
func events(stream string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, strings.ReplaceAll(stream, "$ID", idOf(r)))
	}
}
