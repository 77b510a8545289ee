package sidecar

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/scenarios/issuer"
)

// pipe is a client over stdio, in the place of HTTP.
type pipe struct {
	tokenFile string          // of the whole pipe; empty: tokens stand in messages
	token     identity.Secret // the same from the environment

	r    *rig
	in   io.WriteCloser
	out  io.ReadCloser
	read *bufio.Reader // of out, for clients that are none of the SDK's
}

// recording keeps what is read.
type recording struct {
	io.Reader
	io.Closer
}

func (p *pipe) serve(r *rig) {
	p.r = r
	in, client := io.Pipe()
	server, out := io.Pipe()
	p.in, p.out = client, recording{io.TeeReader(server, r.answers), server}
	p.read = bufio.NewReader(p.out)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		r.done <- r.sidecar.ServePipe(ctx, in, out)
		_ = out.Close()
		_ = in.Close()
	}()
	r.t.Cleanup(r.stop)
}

// say sends a line and, if it is a request, returns the line with its answer.
func (p *pipe) say(line string) string {
	p.r.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.r.t.Fatal(err)
	}
	var request struct{ ID *int }
	_ = json.Unmarshal([]byte(line), &request)
	for request.ID != nil {
		answer, err := p.read.ReadString('\n')
		if err != nil {
			p.r.t.Fatalf("waiting for the answer to %s: %v\n%s", line, err, p.r.stderr)
		}
		var message struct {
			ID     *int
			Method string
		}
		if err := json.Unmarshal([]byte(answer), &message); err != nil {
			p.r.t.Fatalf("%v: %s", err, answer)
		}
		if message.Method == "" && message.ID != nil && *message.ID == *request.ID {
			return strings.TrimSuffix(answer, "\n")
		}
	}
	return ""
}

// piped is a request as a stdio client of rev writes it. A token stands in it
// unless it is empty.
func piped(rev, method, params, token string) string {
	var meta []string
	if rev == modern {
		meta = append(meta, `"io.modelcontextprotocol/protocolVersion":"`+modern+`","io.modelcontextprotocol/clientCapabilities":{}`)
	}
	if token != "" {
		meta = append(meta, `"mcp-sidecar/token":"`+token+`"`)
	}
	members := []string{}
	if params != "" {
		members = append(members, params)
	}
	if len(meta) > 0 {
		members = append(members, `"_meta":{`+strings.Join(meta, ",")+`}`)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, strings.Join(members, ","))
}

const (
	readSeven     = `"name":"read_document","arguments":{"id":7}`
	pipeOpens     = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	pipeIsOpen    = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	discoverFirst = "server/discover"
)

// opened starts a pipe in rev, in front of the official server.
func opened(t *testing.T, rev string, p *pipe, s setup) *rig {
	t.Helper()
	s.pipe = p
	if s.upstream == nil {
		s.upstream = sdkServer(t, rev == modern)
	}
	r := start(t, s)
	p.open(rev)
	return r
}

// open says what a client of rev begins with.
func (p *pipe) open(rev string) {
	p.r.t.Helper()
	hello := pipeOpens
	if rev == modern {
		hello = piped(rev, discoverFirst, "", "")
	}
	if got := p.say(hello); !strings.Contains(got, `"result"`) {
		p.r.t.Fatalf("opening: %s\n%s", got, p.r.stderr)
	}
	if rev == legacy {
		p.say(pipeIsOpen)
	}
}

// TestPipeTokens: who calls stands in each message, or is said once for all of
// them. Refusals of tool calls are results, which a model can read; there is no
// status to say more.
func TestPipeTokens(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			p := &pipe{}
			r := opened(t, rev, p, setup{})
			for _, row := range []struct{ name, token, says string }{
				{"no token", "", "authentication failed: no bearer token was sent"},
				{"forged token", "FORGEDFORGEDFORGEDFORGEDFO", "authentication failed: unknown or invalid token"},
			} {
				call := p.say(piped(rev, "tools/call", readSeven, row.token))
				if !strings.Contains(call, `"isError":true`) || !strings.Contains(call, row.says) {
					t.Errorf("%s: %s", row.name, call)
				}
				list := p.say(piped(rev, "tools/list", "", row.token))
				if !strings.Contains(list, `"code":40100`) || !strings.Contains(list, row.says) {
					t.Errorf("%s: %s", row.name, list)
				}
			}
			if got := p.say(piped(rev, "tools/call", `"name":"delete_document","arguments":{"id":7,"confirm":true}`, r.token("alice documents:read"))); !strings.Contains(got, `"isError":true`) || !strings.Contains(got, `denied: token scope is missing \"documents:delete\"`) {
				t.Errorf("missing scope: %s", got)
			}
			for _, seen := range r.up.seen() {
				if strings.Contains(seen.body, "tools/") {
					t.Errorf("a refused call reached the upstream: %s", seen.body)
				}
			}
			if got := p.say(piped(rev, "tools/call", readSeven, r.token("alice"))); !strings.Contains(got, "read document id=7") {
				t.Errorf("alice: %s", got)
			}
			got := p.say(piped(rev, "tools/call", readSeven, r.token("carol")))
			if rev == modern && !strings.Contains(got, "read document id=7") || rev == legacy && !strings.Contains(got, "denied: this pipe serves another caller") {
				t.Errorf("carol: %s", got)
			}
		})
	}
}

// The token of the whole pipe comes from a file, which is read again for each
// message.
func TestPipeTokenFile(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			write := func(token string) {
				if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("FORGEDFORGEDFORGEDFORGEDFO")
			p := &pipe{tokenFile: file}
			r := start(t, setup{pipe: p, upstream: sdkServer(t, rev == modern)})
			write(r.token("alice"))
			if rev == legacy {
				p.say(pipeOpens)
				p.say(pipeIsOpen)
			}
			read := piped(rev, "tools/call", readSeven, "")
			if got := p.say(read); !strings.Contains(got, "read document id=7") {
				t.Errorf("%s", got)
			}
			write(r.mint("alice, renewed", issuer.Claims{Subject: "alice", Scopes: allScopes}))
			if got := p.say(read); !strings.Contains(got, "read document id=7") {
				t.Errorf("renewed: %s", got)
			}
			write("FORGEDFORGEDFORGEDFORGEDFO")
			if got := p.say(read); !strings.Contains(got, "unknown or invalid token") {
				t.Errorf("forged: %s", got)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if got := p.say(read); !strings.Contains(got, "no bearer token was sent") {
				t.Errorf("removed: %s", got)
			}
			if !strings.Contains(r.stderr.String(), "the caller's token cannot be read") {
				t.Errorf("stderr does not say so:\n%s", r.stderr)
			}
			for _, e := range r.records() {
				if e.Phase == audit.PhaseOutcome && e.Transport != "stdio" {
					t.Errorf("recorded as %q: %+v", e.Transport, e)
				}
			}
		})
	}
}

// A session lasts as long as its pipe, however long nothing is said: the client
// could not open another one.
func TestPipeSessionLasts(t *testing.T) {
	t.Parallel()
	p := &pipe{}
	r := opened(t, legacy, p, setup{open: true})
	for range 3 {
		r.clock.advance(25 * time.Hour)
		if got := p.say(piped(legacy, "tools/call", readSeven, "")); !strings.Contains(got, "read document id=7") {
			t.Fatalf("%s", got)
		}
	}
}

// A server that has forgotten its sessions, because it was started again or nothing
// was said for long, does not end a pipe: the client goes on as if nothing had
// happened.
func TestPipeServerForgets(t *testing.T) {
	t.Parallel()
	server := mcp.NewServer(&mcp.Implementation{Name: "docs", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "read_document"}, func(_ context.Context, _ *mcp.CallToolRequest, in documentID) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint("document ", in.ID)}}}, nil, nil
	})
	p := &pipe{}
	r := start(t, setup{open: true, pipe: p, upstream: withSessions(server)})
	session := connectPipe(t, p, nil)
	for i := range 3 {
		for s := range server.Sessions() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: documentID{i}})
		if err != nil || res.IsError || textsOf(res)[0] != fmt.Sprint("document ", i) {
			t.Errorf("%v %+v\n%s", err, res, r.stderr)
		}
	}
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// An upstream that has forgotten the session leaves nobody waiting.
func TestPipeLostSession(t *testing.T) {
	t.Parallel()
	p := &pipe{}
	opened(t, legacy, p, setup{open: true, upstream: func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), `"initialize"`) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Mcp-Session-Id", "forgotten at once")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`)
	}})
	for range 2 {
		if got := p.say(piped(legacy, "tools/call", readSeven, "")); !strings.Contains(got, "the session has ended; start the server again") {
			t.Errorf("%s", got)
		}
	}
}

// connectPipe opens the pipe with the official client.
func connectPipe(t *testing.T, p *pipe, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o)
	session, err := client.Connect(t.Context(), &mcp.IOTransport{Reader: p.out, Writer: p.in}, &mcp.ClientSessionOptions{ProtocolVersion: legacy})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.r.stderr)
	}
	return session
}

// withSessions serves s over HTTP. What it says before a session's stream is there
// is kept for it.
func withSessions(s *mcp.Server) http.HandlerFunc {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}).ServeHTTP
}

// TestPipeStream: what the server says by itself, and what the client takes back,
// have no place of their own over stdio.
func TestPipeStream(t *testing.T) {
	t.Parallel()
	server := mcp.NewServer(&mcp.Implementation{Name: "docs", Version: "1"}, nil)
	started, cancelled := make(chan struct{}), make(chan struct{})
	mcp.AddTool(server, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return nil, nil, ctx.Err()
	})
	p := &pipe{}
	start(t, setup{open: true, pipe: p, upstream: withSessions(server)})
	changed := make(chan struct{}, 1)
	session := connectPipe(t, p, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wait", Arguments: struct{}{}})
		ended <- err
	}()
	<-started
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	<-cancelled // the server knows, too
	mcp.AddTool(server, &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})
	<-changed
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestPipeAsks: the server asks the client during a call, and the answer comes on
// the same pipe as everything else.
func TestPipeAsks(t *testing.T) {
	t.Parallel()
	server := mcp.NewServer(&mcp.Implementation{Name: "docs", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		res, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "the key " + key, RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`)})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "asked: " + res.Action}}}, nil, nil
	})
	p := &pipe{}
	r := start(t, setup{open: true, pipe: p, upstream: withSessions(server)})
	asked := make(chan string, 1)
	session := connectPipe(t, p, &mcp.ClientOptions{ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		asked <- req.Params.Message
		return &mcp.ElicitResult{Action: "decline"}, nil
	}})
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "ask", Arguments: struct{}{}})
	if err != nil || res.IsError || textsOf(res)[0] != "asked: decline" {
		t.Fatalf("%v %+v\n%s", err, res, r.stderr)
	}
	if got := <-asked; !strings.Contains(got, redacted) || strings.Contains(got, key) {
		t.Errorf("asked %q", got)
	}
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
