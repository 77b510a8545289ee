package sidecar

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// ask is one HTTP request.
type ask struct {
	method string // POST unless said otherwise
	path   string // of the first endpoint unless said otherwise
	host   string
	header http.Header
	body   string
	length int64 // announced when not 0; -1 for chunked
}

// post returns a request of rev with body and the headers that go with it.
func post(rev, token, method, name, body string) ask {
	a := ask{header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {rev}}, body: body}
	if token != "" {
		a.header.Set("Authorization", "Bearer "+token)
	}
	if rev == modern {
		a.header.Set("Mcp-Method", method)
		if name != "" {
			a.header.Set("Mcp-Name", name)
		}
	}
	return a
}

// meta is params._meta of a request in 2026-07-28.
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// request returns a request; params are members without braces.
func request(rev, token, id, method, params string) ask {
	if rev == modern {
		if params != "" {
			params += ","
		}
		params += meta
	}
	return post(rev, token, method, "", `{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`","params":{`+params+`}}`)
}

// toolCall returns a call; args is a JSON object, or empty for none.
func toolCall(rev, token, id, tool, args string) ask {
	params := `"name":"` + tool + `"`
	if args != "" {
		params += `,"arguments":` + args
	}
	a := request(rev, token, id, "tools/call", params)
	if rev == modern {
		a.header.Set("Mcp-Name", tool)
	}
	return a
}

// notify returns a notification.
func notify(rev, token, method, params string) ask {
	return post(rev, token, method, "", `{"jsonrpc":"2.0","method":"`+method+`","params":{`+params+`}}`)
}

func (a ask) with(name string, values ...string) ask {
	a.header = a.header.Clone()
	delete(a.header, http.CanonicalHeaderKey(name))
	if len(values) > 0 {
		a.header[http.CanonicalHeaderKey(name)] = values
	}
	return a
}

// got is an answer.
type got struct {
	status int
	header http.Header
	body   []byte
}

func (r *rig) do(a ask) got {
	r.t.Helper()
	resp := r.open(context.Background(), a)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("reading the answer: %v", err)
	}
	_, _ = r.answers.Write(body)
	return got{resp.StatusCode, resp.Header, body}
}

// open sends a and returns as soon as the answer's head is there.
func (r *rig) open(ctx context.Context, a ask) *http.Response {
	r.t.Helper()
	resp, err := r.send(ctx, a)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func (r *rig) send(ctx context.Context, a ask) (*http.Response, error) {
	if a.method == "" {
		a.method = http.MethodPost
	}
	target := r.url
	if a.path != "" {
		target = r.base + a.path
	}
	req, err := http.NewRequestWithContext(ctx, a.method, target, strings.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	if a.length != 0 {
		req.ContentLength = a.length
	}
	req.Header = a.header
	if a.host != "" {
		req.Host = a.host
	}
	resp, err := r.http.Do(req)
	if err == nil {
		_ = resp.Header.Write(r.answers)
	}
	return resp, err
}
