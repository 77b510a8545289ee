package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sessionRevision is the last one with sessions over HTTP.
const sessionRevision = "2025-11-25"

// rawClient sends single requests of sessionRevision: an attacker is not bound to
// what an SDK's client does.
type rawClient struct {
	url   string
	token string // empty shows none
}

// rawAnswer is an HTTP answer and the JSON-RPC message in it, if any.
type rawAnswer struct {
	status  int
	session string // Mcp-Session-Id
	message []byte
}

var rawHTTP = &http.Client{Transport: &http.Transport{}, Timeout: callTime}

func (c rawClient) do(ctx context.Context, method, session, body string) (rawAnswer, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url, strings.NewReader(body))
	if err != nil {
		return rawAnswer{}, err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Mcp-Protocol-Version", sessionRevision)
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := rawHTTP.Do(r)
	if err != nil {
		return rawAnswer{}, err
	}
	defer resp.Body.Close()
	message, err := readMessage(resp)
	return rawAnswer{resp.StatusCode, resp.Header.Get("Mcp-Session-Id"), message}, err
}

// maxMessage bounds what is read of an answer.
const maxMessage = 1 << 20

// readMessage returns the body, or the last message of an event stream.
func readMessage(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return body, err
	}
	var last []byte
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && data != "" {
			last = []byte(data)
		}
	}
	return last, nil
}

// open begins a session; chosen is the id that the client names for it.
func (c rawClient) open(ctx context.Context, chosen string) (session string, err error) {
	a, err := c.do(ctx, http.MethodPost, chosen, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+
		sessionRevision+`","capabilities":{},"clientInfo":{"name":"scenarios","version":"1.0.0"}}}`)
	if err != nil || a.status != http.StatusOK {
		return "", fmt.Errorf("initialize: status %d, %w", a.status, err)
	}
	_, err = c.do(ctx, http.MethodPost, a.session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return a.session, err
}

// call calls a tool in session.
func (c rawClient) call(ctx context.Context, session, tool string, a args) answer {
	params, err := json.Marshal(map[string]any{"name": tool, "arguments": a})
	if err != nil {
		return answer{failed, err.Error()}
	}
	got, err := c.do(ctx, http.MethodPost, session, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":`+string(params)+`}`)
	if err != nil {
		return answer{failed, err.Error()}
	}
	return got.answer()
}

// answer reads the answer as the SDK's client would, except that an HTTP refusal
// without a message is told by its status.
func (a rawAnswer) answer() answer {
	var m struct {
		Result *mcp.CallToolResult `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(a.message, &m); {
	case len(a.message) == 0 && a.status >= http.StatusBadRequest:
		return answer{rejected, fmt.Sprintf("HTTP %d", a.status)}
	case len(a.message) == 0:
		return answer{allowed, fmt.Sprintf("HTTP %d", a.status)}
	case err == nil && m.Error != nil:
		return answer{rejected, m.Error.Message}
	case err == nil && m.Result != nil && m.Result.IsError:
		return answer{rejected, blocks(m.Result.Content)}
	case err == nil && m.Result != nil:
		return answer{allowed, blocks(m.Result.Content)}
	case a.status >= http.StatusBadRequest:
		return answer{rejected, fmt.Sprintf("HTTP %d", a.status)}
	}
	return answer{failed, fmt.Sprintf("HTTP %d and no message", a.status)}
}
