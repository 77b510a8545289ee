package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// callTime bounds one call. Nothing in the demo takes longer than a fraction of
// a second.
const callTime = 20 * time.Second

// outcome is how a call ended, as the demo prints it.
type outcome string

const (
	allowed  outcome = "ALLOWED"
	rejected outcome = "REJECTED" // a JSON-RPC error, or a result with isError
	failed   outcome = "FAILED"   // no answer at all: never what a case expects
	notRun   outcome = "NOT RUN"  // it needs what a server that was started elsewhere does not have
)

// answer is what a client got for a call.
type answer struct {
	Outcome outcome `json:"outcome"`
	Text    string  `json:"text"` // the blocks of the result or the error's message
}

// client is one user's connection, made with the official SDK.
type client struct {
	session *mcp.ClientSession
	piped   string // the user's own token, where several share one pipe; empty over HTTP
}

// connect opens a connection to the MCP endpoint url in the given revision. Its
// requests carry the user's own token unless a call names another.
func connect(ctx context.Context, url, revision, token string) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	// The environment's proxy settings have no say over loopback connections.
	session, err := connectTo(ctx, &mcp.StreamableClientTransport{
		Endpoint:   url,
		HTTPClient: &http.Client{Transport: &authorizing{token: token, next: &http.Transport{}}},
	}, revision)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", url, err)
	}
	return &client{session: session}, nil
}

// connectTo fails when the other side does not speak revision.
func connectTo(ctx context.Context, transport mcp.Transport, revision string) (*mcp.ClientSession, error) {
	c := mcp.NewClient(&mcp.Implementation{Name: "scenarios", Version: "1.0.0"}, nil)
	session, err := c.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		return nil, err
	}
	if got := session.InitializeResult().ProtocolVersion; got != revision {
		_ = session.Close()
		return nil, fmt.Errorf("it speaks revision %s, not %s", got, revision)
	}
	return session, nil
}

// metaToken is the member of params._meta that carries a token over stdio.
const metaToken = "mcp-sidecar/token"

// meta carries the token of a call that has no header to carry it: token, or the
// user's own.
func (c *client) meta(token string) mcp.Meta {
	switch {
	case c.piped == "", token == noToken:
		return nil
	case token == "":
		token = c.piped
	}
	return mcp.Meta{metaToken: token}
}

// tools returns the names that the server lists, sorted.
func (c *client) tools(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var names []string
	for t, err := range c.session.Tools(ctx, &mcp.ListToolsParams{Meta: c.meta("")}) {
		if err != nil {
			return nil, fmt.Errorf("listing tools: %w", err)
		}
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names, nil
}

// call calls a tool; token replaces the connection's own for this call, if given.
func (c *client) call(ctx context.Context, token, tool string, args map[string]any) answer {
	return c.callWith(ctx, &passenger{token: token}, tool, args)
}

// callWith calls a tool with whatever p adds to the request.
func (c *client) callWith(ctx context.Context, p *passenger, tool string, args map[string]any) answer {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	ctx = context.WithValue(ctx, passengerKey{}, p)
	result, err := c.session.CallTool(ctx, &mcp.CallToolParams{Meta: c.meta(p.token), Name: tool, Arguments: args})
	var refusal *jsonrpc.Error
	switch {
	case errors.As(err, &refusal):
		return answer{rejected, refusal.Message}
	case err != nil:
		return answer{failed, err.Error()}
	case result.IsError:
		return answer{rejected, blocks(result.Content)}
	default:
		return answer{allowed, blocks(result.Content)}
	}
}

func (c *client) close() { _ = c.session.Close() }

// blocks joins the text of a result. A block of another kind does not occur in
// the demo and must not vanish silently.
func blocks(content []mcp.Content) string {
	texts := make([]string, len(content))
	for i, block := range content {
		if t, ok := block.(*mcp.TextContent); ok {
			texts[i] = t.Text
		} else {
			texts[i] = fmt.Sprintf("(%T)", block)
		}
	}
	return strings.Join(texts, "\n")
}

// noToken stands for the token of a call that carries none.
const noToken = "none"

// passenger travels with one call of a connection that stays otherwise sound.
type passenger struct {
	token   string            // replaces the connection's own, if given: a stolen or forged one
	headers map[string]string // more headers, their names spelled as they are

	status    int    // of the answer
	challenge string // its WWW-Authenticate
}

// passengerKey is the context key of a call's passenger.
type passengerKey struct{}

// authorizing sets the headers of each request.
type authorizing struct {
	token string // the connection's own
	next  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (a *authorizing) RoundTrip(r *http.Request) (*http.Response, error) {
	p, ok := r.Context().Value(passengerKey{}).(*passenger)
	if !ok {
		p = &passenger{}
	}
	r = r.Clone(r.Context())
	switch p.token {
	case noToken:
	case "":
		r.Header.Set("Authorization", "Bearer "+a.token)
	default:
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	for name, value := range p.headers {
		r.Header[name] = []string{value} // Set would spell the name another way
	}
	resp, err := a.next.RoundTrip(r)
	if err == nil {
		p.status, p.challenge = resp.StatusCode, resp.Header.Get("WWW-Authenticate")
	}
	return resp, err
}
