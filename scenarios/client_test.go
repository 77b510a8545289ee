package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// bearers collects the Authorization headers of the requests that call a tool or
// list tools, in order.
type bearers struct {
	mu   sync.Mutex
	seen []string
}

func (b *bearers) add(value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, value)
}

func (b *bearers) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := b.seen
	b.seen = nil
	return seen
}

// newServer serves a tool "say" in both eras. A request with the token "bad" is
// refused as the sidecar refuses it: HTTP 401 with a JSON-RPC body.
func newServer(t *testing.T) (string, *bearers) {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	type in struct {
		Text string `json:"text"`
		Fail bool   `json:"fail"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "say"}, func(_ context.Context, _ *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		if a.Fail {
			return nil, nil, errors.New("no " + a.Text)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{
			&mcp.TextContent{Text: "said"}, &mcp.TextContent{Text: a.Text}, &mcp.ImageContent{MIMEType: "image/png"},
		}}, nil, nil
	})
	get := func(*http.Request) *mcp.Server { return s }
	stateless := mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: true})
	stateful := mcp.NewStreamableHTTPHandler(get, nil)
	b := &bearers{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.add(r.Header.Get("Authorization"))
		switch {
		case r.Header.Get("Authorization") == "Bearer bad":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			// The id does not matter: the SDK takes the error of any answer that is not 2xx.
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":40100,"message":"authentication failed: unknown or invalid token"}}`)
		case r.Header.Get("Mcp-Protocol-Version") >= "2026-07-28":
			stateless.ServeHTTP(w, r)
		default:
			stateful.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, b
}

func TestClientCalls(t *testing.T) {
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			url, _ := newServer(t)
			c, err := connect(t.Context(), url, revision, "good")
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			for _, row := range []struct {
				name, token, tool string
				args              args
				want              answer
			}{
				{"allowed", "", "say", args{"text": "a", "fail": false}, answer{allowed, "said\na\n(*mcp.ImageContent)"}},
				{"tool error", "", "say", args{"text": "b", "fail": true}, answer{rejected, "no b"}},
				{"JSON-RPC error", "", "shout", args{}, answer{rejected, `unknown tool "shout"`}},
				{"HTTP 401 with a JSON-RPC body", "bad", "say", args{"text": "c", "fail": false},
					answer{rejected, "authentication failed: unknown or invalid token"}},
				{"the session survives a refusal", "", "say", args{"text": "d", "fail": true}, answer{rejected, "no d"}},
			} {
				if got := c.call(t.Context(), row.token, row.tool, row.args); got != row.want {
					t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
				}
			}
		})
	}
}

func TestClientListsTools(t *testing.T) {
	url, _ := newServer(t)
	c, err := connect(t.Context(), url, revisions[0], "good")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if names, err := c.tools(t.Context()); err != nil || len(names) != 1 || names[0] != "say" {
		t.Errorf("tools %q, %v", names, err)
	}
}

func TestTokenOfOneCall(t *testing.T) {
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			url, seen := newServer(t)
			c, err := connect(t.Context(), url, revision, "own")
			if err != nil {
				t.Fatal(err)
			}
			for _, bearer := range seen.take() {
				if bearer != "Bearer own" {
					t.Errorf("connected with %q", bearer)
				}
			}
			for _, row := range []struct{ token, want string }{
				{"stolen", "Bearer stolen"}, {"", "Bearer own"}, {"bad", "Bearer bad"},
			} {
				c.call(t.Context(), row.token, "say", args{"text": "x", "fail": false})
				if got := seen.take(); len(got) != 1 || got[0] != row.want {
					t.Errorf("token %q: requests carried %q, want one with %q", row.token, got, row.want)
				}
			}
			c.close()
			for _, bearer := range seen.take() {
				if bearer != "Bearer own" {
					t.Errorf("disconnected with %q", bearer)
				}
			}
		})
	}
}

func TestConnectInsistsOnTheRevision(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "old", Version: "1"}, nil)
	server := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{}))
	t.Cleanup(server.Close)
	c, err := connect(t.Context(), server.URL, "2025-06-18", "own")
	if err != nil {
		t.Fatal(err)
	}
	c.close()
	// A server that only knows sessions answers the newest revision with an older one.
	if c, err := connect(t.Context(), server.URL, "2026-07-28", "own"); err == nil {
		c.close()
		t.Error("connected in another revision than asked for")
	} else if !strings.Contains(err.Error(), "not 2026-07-28") {
		t.Error(err)
	}
}

func TestCallWithoutServer(t *testing.T) {
	url, _ := newServer(t)
	c, err := connect(t.Context(), url, revisions[0], "own")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := c.call(ctx, "", "say", args{"text": "x"}); got.Outcome != failed {
		t.Errorf("got %+v, want %s", got, failed)
	}
}

// TestPassenger: one call carries its own headers, spelled as they are, and the
// next one does not.
func TestPassenger(t *testing.T) {
	heads := make(chan []string, 1)
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			heads <- answerOnce(conn)
		}
	}()
	transport := &authorizing{token: "own", next: &http.Transport{DisableKeepAlives: true}}
	for _, row := range []struct {
		name string
		p    *passenger
		want []string // lines of the request
		not  string
	}{
		{"none", nil, []string{"Authorization: Bearer own"}, "X_Forwarded"},
		{"headers", &passenger{headers: map[string]string{"X_Forwarded_User": "bob", "Connection": "x-obo"}},
			[]string{"Authorization: Bearer own", "X_Forwarded_User: bob", "Connection: x-obo"}, "X-Forwarded-User"},
		{"no token", &passenger{token: noToken}, nil, "Authorization"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx := t.Context()
			if row.p != nil {
				ctx = context.WithValue(ctx, passengerKey{}, row.p)
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ln.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			headers := <-heads
			for _, line := range row.want {
				if !slices.Contains(headers, line) {
					t.Errorf("%q lacks %q", headers, line)
				}
			}
			if strings.Contains(strings.Join(headers, "\n"), row.not) {
				t.Errorf("%q holds %q", headers, row.not)
			}
			if row.p != nil && (row.p.status != http.StatusForbidden || row.p.challenge != "Bearer error=x") {
				t.Errorf("passenger %+v", row.p)
			}
		})
	}
}

// answerOnce reads the lines of a request's head and refuses it.
func answerOnce(conn net.Conn) (head []string) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != ""; {
		head = append(head, lines.Text())
	}
	fmt.Fprint(conn, "HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer error=x\r\nContent-Length: 0\r\n\r\n")
	return head
}
