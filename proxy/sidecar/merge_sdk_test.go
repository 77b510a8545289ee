package sidecar

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sdkMember is a real server for merging, called name. Everything it says names
// it.
func sdkMember(t *testing.T, name string, stateless bool) (*mcp.Server, http.HandlerFunc) {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, &mcp.ServerOptions{
		Instructions:       "Use " + name + ".\nfs:\nSecond line.",
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{name + " completes " + req.Params.Ref.Name + req.Params.Ref.URI}}}, nil
		},
	})
	mcp.AddTool(server, &mcp.Tool{Name: "read", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1, Message: name})
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "from " + name}}}, nil, nil
	})
	if !stateless {
		mcp.AddTool(server, &mcp.Tool{Name: "ask", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			res, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: name + " asks", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"who": map[string]any{"type": "string"}}}})
			if err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(res.Content["who"])}}}, nil, nil
		})
	}
	server.AddResource(&mcp.Resource{URI: name + "://readme", Name: "readme"}, readResource(name))
	server.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: name + "://item/{id}", Name: "item"}, readResource(name))
	server.AddPrompt(&mcp.Prompt{Name: "greet"}, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: name + " " + req.Params.Name}, nil
	})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: stateless})
	return server, handler.ServeHTTP
}

func readResource(name string) mcp.ResourceHandler {
	return func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: name + " has " + req.Params.URI}}}, nil
	}
}

// mergedOf is a rig of docs and fs that are offered together, where everybody may
// use everything.
func mergedOf(docs, fs http.HandlerFunc) setup {
	s := several(docs, fs)
	s.policy = "p, role:reader, *, *, allow\ng, user:alice, role:reader\n"
	s.extra = "merge: true\n"
	return s
}

// The official client uses two official servers as one, in both revisions.
func TestMergedOfficialSDK(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			_, docs := sdkMember(t, "docs", rev == modern)
			_, fs := sdkMember(t, "fs", rev == modern)
			s := mergedOf(docs, fs)
			s.inventory, s.tools = "", "\n  docs/secret: { hide: true }\n"
			s.others["fs"] = setup{upstream: fs}
			r := start(t, s)
			progress := make(chan string, 8)
			_, session, err := r.connect(t, rev, r.token("alice"), &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Message },
				ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"who": "answer to " + req.Params.Message}}, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			init := session.InitializeResult()
			if want := "docs:\n  Use docs.\n  fs:\n  Second line.\n\nfs:\n  Use fs.\n  fs:\n  Second line."; init.ProtocolVersion != rev || init.Instructions != want {
				t.Errorf("initialize: %q, %q", init.ProtocolVersion, init.Instructions)
			}
			if caps := init.Capabilities; caps.Tools == nil || caps.Resources == nil || caps.Prompts == nil || caps.Completions == nil {
				t.Errorf("capabilities %+v", caps)
			}
			checkMergedLists(t, session, rev)
			for _, server := range []string{"docs", "fs"} {
				checkMergedUse(t, session, server, rev, progress)
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if rev == legacy {
				for name, up := range r.ups {
					if last := up.last(); last.method != http.MethodDelete {
						t.Errorf("%s was not told that the session ends: %s %s", name, last.method, last.body)
					}
				}
			}
		})
	}
}

func checkMergedLists(t *testing.T, session *mcp.ClientSession, rev string) {
	t.Helper()
	ctx := t.Context()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools.Tools {
		names = append(names, tool.Name)
	}
	want := []string{"docs.ask", "docs.read", "fs.ask", "fs.read"}
	if rev == modern {
		want = []string{"docs.read", "fs.read"}
	}
	if !slices.Equal(names, want) {
		t.Errorf("tools %q, want %q", names, want)
	}
	names = nil
	prompts, err := session.ListPrompts(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prompts.Prompts {
		names = append(names, p.Name)
	}
	resources, err := session.ListResources(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resources.Resources {
		names = append(names, r.URI)
	}
	templates, err := session.ListResourceTemplates(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range templates.ResourceTemplates {
		names = append(names, r.URITemplate)
	}
	if want := []string{"docs.greet", "fs.greet", "docs://readme", "fs://readme", "docs://item/{id}", "fs://item/{id}"}; !slices.Equal(names, want) {
		t.Errorf("prompts and resources %q, want %q", names, want)
	}
}

func checkMergedUse(t *testing.T, session *mcp.ClientSession, server, rev string, progress <-chan string) {
	t.Helper()
	ctx := t.Context()
	params := &mcp.CallToolParams{Name: server + ".read"}
	params.SetProgressToken("p-" + server)
	res, err := session.CallTool(ctx, params)
	if err != nil || res.IsError || !strings.Contains(strings.Join(textsOf(res), " "), "from "+server) {
		t.Errorf("%s.read: %v %+v", server, err, res)
	}
	if got := <-progress; got != server {
		t.Errorf("progress of %s: %q", server, got)
	}
	if rev == legacy {
		res, err = session.CallTool(ctx, &mcp.CallToolParams{Name: server + ".ask"})
		if err != nil || res.IsError || !strings.Contains(textsOf(res)[0], "answer to "+server+" asks") {
			t.Errorf("%s.ask: %v %+v %q", server, err, res, textsOf(res))
		}
	}
	prompt, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: server + ".greet"})
	if err != nil || prompt.Description != server+" greet" {
		t.Errorf("%s.greet: %v %+v", server, err, prompt)
	}
	for _, uri := range []string{server + "://readme", server + "://item/7"} {
		read, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
		if err != nil || read.Contents[0].Text != server+" has "+uri {
			t.Errorf("%s: %v %+v", uri, err, read)
		}
	}
	for ref, want := range map[*mcp.CompleteReference]string{
		{Type: "ref/prompt", Name: server + ".greet"}:        server + " completes greet",
		{Type: "ref/resource", URI: server + "://item/{id}"}: server + " completes " + server + "://item/{id}",
	} {
		done, err := session.Complete(ctx, &mcp.CompleteParams{Ref: ref, Argument: mcp.CompleteParamsArgument{Name: "id", Value: "x"}})
		if err != nil || !slices.Equal(done.Completion.Values, []string{want}) {
			t.Errorf("completion of %+v: %v %+v", ref, err, done)
		}
	}
}

// Requests that two servers start at the same time, under equal ids, are answered
// each by its own answer.
func TestMergedServersAskAtOnce(t *testing.T) {
	t.Parallel()
	_, docs := sdkMember(t, "docs", false)
	_, fs := sdkMember(t, "fs", false)
	s := mergedOf(docs, fs)
	s.inventory, s.tools = "", "\n  docs/secret: { hide: true }\n"
	s.others["fs"] = setup{upstream: fs}
	r := start(t, s)
	both := make(chan struct{}, 2)
	arrived := make(chan struct{}, 2)
	_, session, err := r.connect(t, legacy, r.token("alice"), &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			arrived <- struct{}{}
			<-both
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"who": "answer to " + req.Params.Message}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for _, server := range []string{"docs", "fs"} {
		calls.Go(func() {
			res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: server + ".ask"})
			if err != nil || res.IsError || !strings.Contains(textsOf(res)[0], "answer to "+server+" asks") {
				t.Errorf("%s.ask: %v %+v", server, err, res)
			}
		})
	}
	<-arrived
	<-arrived
	both <- struct{}{}
	both <- struct{}{}
	calls.Wait()
	asked := map[string]int{}
	for _, e := range r.records() {
		if e.Direction == "upstream" {
			asked[e.Upstream+" "+e.Method+" "+e.Outcome]++
		}
	}
	if len(asked) != 2 || asked["docs elicitation/create allowed"] != 1 || asked["fs elicitation/create allowed"] != 1 {
		t.Errorf("records of the servers' requests: %v", asked)
	}
	ids := map[string]bool{}
	for _, up := range r.ups {
		for _, got := range up.seen() {
			if strings.Contains(got.body, "answer to") {
				ids[idOf(&http.Request{Body: io.NopCloser(strings.NewReader(got.body))})] = true
			}
		}
	}
	if len(ids) != 1 {
		t.Errorf("the servers' ids differ, so this tests nothing: %v", ids)
	}
	_ = session.Close()
}

// Both servers' news reach the client, by the stream of its revision.
func TestMergedNews(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			docsServer, docs := sdkMember(t, "docs", rev == modern)
			fsServer, fs := sdkMember(t, "fs", rev == modern)
			s := mergedOf(docs, fs)
			s.inventory, s.tools = "", "\n  docs/secret: { hide: true }\n"
			s.others["fs"] = setup{upstream: fs}
			r := start(t, s)
			news := make(chan struct{}, 8)
			_, session, err := r.connect(t, rev, r.token("alice"), &mcp.ClientOptions{
				ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { news <- struct{}{} },
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, server := range []*mcp.Server{docsServer, fsServer} {
				name := fmt.Sprintf("new%c", 'a'+i)
				mcp.AddTool(server, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
					return &mcp.CallToolResult{}, nil, nil
				})
				<-news
				tools, err := session.ListTools(t.Context(), nil)
				if err != nil || !slices.ContainsFunc(tools.Tools, func(tool *mcp.Tool) bool { return strings.HasSuffix(tool.Name, "."+name) }) {
					t.Errorf("%s: %v %+v", name, err, tools)
				}
			}
			_ = session.Close()
		})
	}
}

// A client that speaks both eras falls back to the one in which all servers take
// part.
func TestMergedErasDiffer(t *testing.T) {
	t.Parallel()
	_, docs := sdkMember(t, "docs", true) // knows both
	_, fs := sdkMember(t, "fs", false)    // knows sessions only
	s := mergedOf(docs, fs)
	s.inventory, s.tools = "", "\n  docs/secret: { hide: true }\n"
	s.others["fs"] = setup{upstream: fs}
	r := start(t, s)
	_, session, err := r.connect(t, modern, r.token("alice"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := session.InitializeResult().ProtocolVersion; got != legacy {
		t.Errorf("revision %s, want %s", got, legacy)
	}
	tools, err := session.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != 3 {
		t.Errorf("%v %+v", err, tools)
	}
	for _, tool := range []string{"docs.read", "fs.read"} {
		if res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool}); err != nil || res.IsError {
			t.Errorf("%s: %v %+v", tool, err, res)
		}
	}
	_ = session.Close()
}
