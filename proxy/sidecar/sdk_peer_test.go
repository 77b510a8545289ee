package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Names of what the server below offers.
const (
	watched  = "docs://watched"
	someURL  = "https://login.example.com/connect"
	asked    = "ask"
	patience = 20 * time.Second // of a test that waits for a message
)

// sdkFeatures is a server that uses everything the protocol has.
type sdkFeatures struct {
	server       *mcp.Server
	opts         mcp.StreamableHTTPOptions
	subscribed   chan string
	unsubscribed chan string
	roots        chan int
	cancelled    chan struct{}
	running      chan struct{}
}

//nolint:staticcheck // servers of today use what the newest revision deprecates
func newFeatures(o mcp.StreamableHTTPOptions) *sdkFeatures {
	f := &sdkFeatures{
		opts:         o,
		subscribed:   make(chan string, 8),
		unsubscribed: make(chan string, 8), roots: make(chan int, 8),
		cancelled: make(chan struct{}, 8), running: make(chan struct{}, 8),
	}
	f.server = mcp.NewServer(&mcp.Implementation{Name: "features", Version: "1"}, &mcp.ServerOptions{
		PageSize: 3,
		CompletionHandler: func(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			value := req.Params.Ref.Name + req.Params.Ref.URI + " " + req.Params.Argument.Value
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{value, "key " + key}}}, nil
		},
		SubscribeHandler: func(_ context.Context, req *mcp.SubscribeRequest) error {
			f.subscribed <- req.Params.URI
			return nil
		},
		UnsubscribeHandler: func(_ context.Context, req *mcp.UnsubscribeRequest) error {
			f.unsubscribed <- req.Params.URI
			return nil
		},
		RootsListChangedHandler: func(ctx context.Context, req *mcp.RootsListChangedRequest) {
			res, err := req.Session.ListRoots(context.WithoutCancel(ctx), nil)
			if err != nil {
				f.roots <- -1
				return
			}
			f.roots <- len(res.Roots)
		},
	})
	f.addTools()
	read := func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: "text of " + req.Params.URI + ", key " + key}}}, nil
	}
	f.server.AddResource(&mcp.Resource{Name: "watched", URI: watched}, read)
	f.server.AddResourceTemplate(&mcp.ResourceTemplate{Name: "pages", URITemplate: "docs://page/{n}"}, read)
	f.server.AddPrompt(&mcp.Prompt{Name: "greet", Arguments: []*mcp.PromptArgument{{Name: "who", Required: true}}}, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "Greet " + req.Params.Arguments["who"] + ", key " + key}}}}, nil
	})
	return f
}

func says(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

func (f *sdkFeatures) tool(name string, run func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error)) {
	f.server.AddTool(&mcp.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, run)
}

//nolint:staticcheck // servers of today use what the newest revision deprecates
func (f *sdkFeatures) addTools() {
	// In the newest revision the questions are part of the result; the SDK asks
	// older clients them with requests.
	f.tool(asked, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		given := req.Params.InputResponses
		name, _ := given["name"].(*mcp.ElicitResult)
		capital, _ := given["capital"].(*mcp.CreateMessageWithToolsResult)
		roots, _ := given["roots"].(*mcp.ListRootsResult)
		if name != nil && capital != nil && roots != nil {
			return says("state %s, name %v, %s, %s", req.Params.RequestState, name.Content["name"], capital.Content[0].(*mcp.TextContent).Text, roots.Roots[0].URI), nil
		}
		return &mcp.CallToolResult{RequestState: "round-1", InputRequests: mcp.InputRequestMap{
			"name": &mcp.ElicitParams{Message: "Your name?", RequestedSchema: &jsonschema.Schema{
				Type: "object", Properties: map[string]*jsonschema.Schema{"name": {Type: "string"}}, Required: []string{"name"},
			}},
			"capital": &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "The capital of France?"}}}},
			"roots":   &mcp.ListRootsParams{},
		}}, nil
	})
	f.tool("open-url", func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		res, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Mode: "url", Message: "Connect", URL: someURL, ElicitationID: "e-1"})
		if err != nil {
			return nil, err
		}
		if err := req.Session.NotifyElicitationComplete(ctx, &mcp.ElicitationCompleteParams{ElicitationID: "e-1"}); err != nil {
			return nil, err
		}
		return says("%s", res.Action), nil
	})
	f.tool("ping-client", func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if err := req.Session.Ping(ctx, nil); err != nil {
			return nil, err
		}
		return says("the client is there"), nil
	})
	f.tool("tell", func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: 1, Total: 2, Message: "half, key " + key}); err != nil {
			return nil, err
		}
		return says("told"), req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "warning", Logger: "features", Data: "log, key " + key})
	})
	f.tool("wait", func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		f.running <- struct{}{}
		<-ctx.Done()
		f.cancelled <- struct{}{}
		return nil, ctx.Err()
	})
}

func (f *sdkFeatures) handler() http.HandlerFunc {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return f.server }, &f.opts).ServeHTTP
}

// told is what the client was told, each kind in a channel of its own.
type told struct {
	progress, logs, updated, completed chan string
	tools, prompts, resources          chan struct{}
}

//nolint:staticcheck // clients of today use what the newest revision deprecates
func (w *told) options() *mcp.ClientOptions {
	*w = told{make(chan string, 8), make(chan string, 8), make(chan string, 8), make(chan string, 8), make(chan struct{}, 8), make(chan struct{}, 8), make(chan struct{}, 8)}
	return &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{
			RootsV2:     &mcp.RootCapabilities{ListChanged: true},
			Elicitation: &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}, URL: &mcp.URLElicitationCapabilities{}},
		},
		CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			question := req.Params.Messages[0].Content.(*mcp.TextContent).Text
			return &mcp.CreateMessageResult{Role: "assistant", Model: "m", Content: &mcp.TextContent{Text: question + " Paris"}}, nil
		},
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			if req.Params.Mode == "url" {
				if req.Params.URL != someURL || req.Params.ElicitationID != "e-1" {
					return nil, fmt.Errorf("asked to open %q for %q", req.Params.URL, req.Params.ElicitationID)
				}
				return &mcp.ElicitResult{Action: "accept"}, nil
			}
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
		},
		ElicitationCompleteHandler: func(_ context.Context, req *mcp.ElicitationCompleteNotificationRequest) {
			w.completed <- req.Params.ElicitationID
		},
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			w.progress <- fmt.Sprintf("%v %v/%v %s", req.Params.ProgressToken, req.Params.Progress, req.Params.Total, req.Params.Message)
		},
		LoggingMessageHandler: func(_ context.Context, req *mcp.LoggingMessageRequest) {
			w.logs <- fmt.Sprintf("%s %v", req.Params.Level, req.Params.Data)
		},
		ResourceUpdatedHandler: func(_ context.Context, req *mcp.ResourceUpdatedNotificationRequest) { w.updated <- req.Params.URI },
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { w.tools <- struct{}{} },
		PromptListChangedHandler: func(context.Context, *mcp.PromptListChangedRequest) {
			w.prompts <- struct{}{}
		},
		ResourceListChangedHandler: func(context.Context, *mcp.ResourceListChangedRequest) { w.resources <- struct{}{} },
	}
}

// await is the next value of c.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// pairing is an SDK client connected to an SDK server through the sidecar.
type pairing struct {
	t       *testing.T
	rig     *rig
	server  *sdkFeatures
	client  *mcp.Client
	session *mcp.ClientSession
	told    told
	rev     string
}

func pairUp(t *testing.T, rev string) *pairing {
	t.Helper()
	p := &pairing{t: t, rev: rev, server: newFeatures(mcp.StreamableHTTPOptions{Stateless: rev == modern, PropagateRequestCancellation: true})}
	p.rig = start(t, setup{open: true, upstream: p.server.handler()})
	o := p.told.options()
	var err error
	p.client, p.session, err = p.rig.connect(t, rev, "", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.session.Close() })
	p.client.AddRoots(&mcp.Root{URI: "file:///srv/one"}) //nolint:staticcheck // clients of today use what the newest revision deprecates
	return p
}

// call returns the one text of a tool's result.
func (p *pairing) call(params *mcp.CallToolParams) string {
	p.t.Helper()
	res, err := p.session.CallTool(p.t.Context(), params)
	if err != nil {
		p.t.Fatalf("%s: %v", params.Name, err)
	}
	return strings.Join(textsOf(res), "|")
}
