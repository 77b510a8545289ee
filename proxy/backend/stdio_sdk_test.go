package backend

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"mcp-sidecar/proxy/wire"
)

// sdkServer is a server made with the SDK, over its stdio transport.
func sdkServer() int {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	type in struct {
		Text string `json:"text"`
	}
	text := func(t string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: t}}}
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(ctx context.Context, req *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		for i := range 2 {
			p := &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Message: a.Text}
			if err := req.Session.NotifyProgress(ctx, p); err != nil {
				return nil, nil, err
			}
		}
		return text(a.Text), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: a.Text})
		if err != nil {
			return nil, nil, err
		}
		return text("user says " + r.Action), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "grow"}, func(_ context.Context, _ *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		mcp.AddTool(s, &mcp.Tool{Name: a.Text}, func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
			return text("new"), nil, nil
		})
		return text("grown"), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		<-ctx.Done() // until it is cancelled
		return nil, nil, ctx.Err()
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		return 1
	}
	return 0
}

// bridge is an SDK client's connection to an upstream, as the sidecar uses it: each
// message is an exchange of its own.
type bridge struct {
	up    *Stdio
	owner string

	ctx    context.Context
	cancel context.CancelFunc
	in     chan []byte
	wg     sync.WaitGroup

	mu      sync.Mutex
	session string
}

// Connect implements [mcp.Transport].
func (b *bridge) Connect(context.Context) (mcp.Connection, error) {
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.in = make(chan []byte, 1000)
	return b, nil
}

func (b *bridge) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case raw := <-b.in:
		return jsonrpc.DecodeMessage(raw)
	case <-b.ctx.Done():
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *bridge) Write(_ context.Context, msg jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(msg)
	if err != nil {
		return err
	}
	m, err := wire.Scan(raw, wire.Limits{})
	if err != nil {
		return err
	}
	b.mu.Lock()
	x := wire.Exchange{Body: raw, Call: m.Kind == wire.Request, Session: b.session, Owner: b.owner, Version: legacy}
	b.mu.Unlock()
	if v := m.Text(m.At(m.Params, "_meta", "io.modelcontextprotocol/protocolVersion")); v != "" {
		x.Version, x.Method, x.Session = v, m.Method, ""
	}
	if m.Kind != wire.Request {
		return b.up.Do(b.ctx, x, b)
	}
	b.wg.Go(func() {
		if err := b.up.Do(b.ctx, x, b); err != nil && b.ctx.Err() == nil {
			b.in <- fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":50200,"message":%q}}`, m.Value(m.ID), err)
		}
	})
	return nil
}

func (b *bridge) Close() error {
	b.cancel()
	b.mu.Lock()
	session := b.session
	b.session = ""
	b.mu.Unlock()
	if session != "" {
		_ = b.up.Do(context.Background(), wire.Exchange{Verb: wire.End, Session: session}, &taker{})
	}
	return nil
}

func (b *bridge) SessionID() string { return "" }

// Reply implements [wire.Sink].
func (b *bridge) Reply(r wire.Reply) error {
	if r.Session == "" {
		return nil
	}
	b.mu.Lock()
	b.session = r.Session
	b.mu.Unlock()
	b.wg.Go(func() { _ = b.up.Do(b.ctx, wire.Exchange{Verb: wire.Watch, Session: r.Session}, watcher{b}) })
	return nil
}

// Message implements [wire.Sink].
func (b *bridge) Message(ev wire.Event) error {
	b.in <- ev.Data
	return nil
}

// watcher takes a standalone stream.
type watcher struct{ *bridge }

func (watcher) Reply(wire.Reply) error { return nil }

// Both eras work with the SDK's client and server, at the same time, without and
// with a shared child.
func TestStdioSDK(t *testing.T) {
	for _, row := range []struct {
		name, version string
		shared        bool
	}{
		{"2026-07-28", modern, false}, {"2026-07-28, shared", modern, true},
		{"2025-11-25", legacy, false}, {"2025-11-25, shared", legacy, true},
		{"2025-06-18", "2025-06-18", false}, {"2025-03-26", "2025-03-26", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "sdk", StdioOptions{Shared: row.shared})
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() { converse(t, s, fmt.Sprintf("owner %d", i), row.version, row.shared) })
			}
			wg.Wait()
		})
	}
}

func converse(t *testing.T, s *Stdio, owner, version string, shared bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	progress, changed := make(chan string, 10), make(chan struct{}, 10)
	client := mcp.NewClient(&mcp.Implementation{Name: owner, Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			if r.Params.Message != owner {
				t.Errorf("%s was asked %q", owner, r.Params.Message)
			}
			return &mcp.ElicitResult{Action: "accept"}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Message },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	})
	b := &bridge{up: s, owner: owner}
	session, err := client.Connect(ctx, b, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Errorf("%s: %v", owner, err)
		return
	}
	defer func() {
		_ = session.Close()
		b.wg.Wait()
	}()
	if got := session.InitializeResult().ProtocolVersion; got != version {
		t.Errorf("%s speaks %s", owner, got)
	}
	call := func(ctx context.Context, tool, text, token string) (string, error) {
		p := &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"text": text}}
		if token != "" {
			p.SetProgressToken(token)
		}
		r, err := session.CallTool(ctx, p)
		if err != nil || len(r.Content) == 0 {
			return "", err
		}
		return r.Content[0].(*mcp.TextContent).Text, nil
	}
	for n := range 5 {
		mark := fmt.Sprintf("%s %d", owner, n)
		if got, err := call(ctx, "echo", mark, "t"); err != nil || got != mark {
			t.Errorf("%s: %q, %v", mark, got, err)
		}
		for range 2 {
			if got := <-progress; got != mark {
				t.Errorf("%s was told of %q", mark, got)
			}
		}
	}
	stop, abandon := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, abandon)
	if _, err := call(stop, "wait", "", ""); err == nil {
		t.Errorf("%s: a cancelled call succeeded", owner)
	}
	if shared {
		return // what names no request is for nobody there, and one client's new tool is everybody's
	}
	if version != modern {
		if got, err := call(ctx, "ask", owner, ""); err != nil || got != "user says accept" {
			t.Errorf("%s: %q, %v", owner, got, err)
		}
	}
	if _, err := call(ctx, "grow", "extra", ""); err != nil {
		t.Errorf("%s: %v", owner, err)
	}
	select {
	case <-changed:
	case <-ctx.Done():
		t.Errorf("%s was not told that the tools have changed", owner)
	}
	tools, err := session.ListTools(ctx, nil)
	if err != nil || !slices.ContainsFunc(tools.Tools, func(tool *mcp.Tool) bool { return strings.HasPrefix(tool.Name, "extra") }) {
		t.Errorf("%s: %v", owner, err)
	}
}
