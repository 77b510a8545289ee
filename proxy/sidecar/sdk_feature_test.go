package sidecar

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Everything the official client and server can say to each other passes, with
// every guard enforcing: what has a secret in it is changed, nothing else.
func TestOfficialSDKFeatures(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		revs []string
		run  func(*testing.T, *pairing)
	}{
		{"questions of the server", allRevisions, testQuestions},
		{"elicitation by URL", []string{legacy}, testURL},
		{"ping of the server", allRevisions[1:], testPing},
		{"roots that change", allRevisions[1:], testRoots},
		{"progress and logs", allRevisions, testTold},
		{"lists that change", allRevisions, testListChanges},
		{"subscriptions to resources", allRevisions, testSubscriptions},
		{"completion", allRevisions, testCompletion},
		{"prompts", allRevisions, testPrompts},
		{"resources", allRevisions, testResources},
		{"pages of a list", allRevisions, testPages},
		{"cancelling", allRevisions, testCancel},
	} {
		for _, rev := range row.revs {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				t.Parallel()
				row.run(t, pairUp(t, rev))
			})
		}
	}
}

func testQuestions(t *testing.T, p *pairing) {
	want := "state round-1, name Ada, The capital of France? Paris, file:///srv/one"
	if got := p.call(&mcp.CallToolParams{Name: asked}); got != want {
		t.Errorf("result %q, want %q", got, want)
	}
}

func testURL(t *testing.T, p *pairing) {
	if got := p.call(&mcp.CallToolParams{Name: "open-url"}); got != "accept" {
		t.Errorf("result %q", got)
	}
	if got := await(t, "notice of the end", p.told.completed); got != "e-1" {
		t.Errorf("completed %q", got)
	}
}

func testPing(t *testing.T, p *pairing) {
	if err := p.session.Ping(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if got := p.call(&mcp.CallToolParams{Name: "ping-client"}); got != "the client is there" {
		t.Errorf("result %q", got)
	}
}

// The server hears of the change on the client's POST and asks on the stream on
// which it speaks first.
func testRoots(t *testing.T, p *pairing) {
	if got := await(t, "request for the roots", p.server.roots); got != 1 {
		t.Errorf("%d roots", got)
	}
	p.client.AddRoots(&mcp.Root{URI: "file:///srv/two"}) //nolint:staticcheck // clients of today use what the newest revision deprecates
	if got := await(t, "request for the roots", p.server.roots); got != 2 {
		t.Errorf("%d roots", got)
	}
}

func testTold(t *testing.T, p *pairing) {
	params := &mcp.CallToolParams{Name: "tell"}
	params.SetProgressToken("p-7")
	if p.rev != modern {
		if err := p.session.SetLoggingLevel(t.Context(), &mcp.SetLoggingLevelParams{Level: "info"}); err != nil { //nolint:staticcheck // clients of today use what the newest revision deprecates
			t.Fatal(err)
		}
	} else {
		params.Meta["io.modelcontextprotocol/logLevel"] = "info"
	}
	if got := p.call(params); got != "told" {
		t.Errorf("result %q", got)
	}
	if got, want := await(t, "progress", p.told.progress), "p-7 1/2 half, key "+redacted; got != want {
		t.Errorf("progress %q, want %q", got, want)
	}
	if got, want := await(t, "log", p.told.logs), "warning log, key "+redacted; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

func testListChanges(t *testing.T, p *pairing) {
	p.server.tool("new", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return says("new"), nil })
	await(t, "change of the tools", p.told.tools)
	if got := p.call(&mcp.CallToolParams{Name: "new"}); got != "new" {
		t.Errorf("the new tool says %q", got)
	}
	p.server.server.AddPrompt(&mcp.Prompt{Name: "new"}, nil)
	await(t, "change of the prompts", p.told.prompts)
	p.server.server.AddResource(&mcp.Resource{Name: "new", URI: "docs://new"}, nil)
	await(t, "change of the resources", p.told.resources)
}

func testSubscriptions(t *testing.T, p *pairing) {
	if err := p.session.Subscribe(t.Context(), &mcp.SubscribeParams{URI: watched}); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "subscription", p.server.subscribed); got != watched {
		t.Errorf("subscribed to %q", got)
	}
	if p.rev == modern {
		// The server says so before it takes the subscription down.
		p.untilUpdated()
	} else if err := p.server.server.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: watched}); err != nil {
		t.Fatal(err)
	} else if got := await(t, "update", p.told.updated); got != watched {
		t.Errorf("updated %q", got)
	}
	if err := p.session.Unsubscribe(t.Context(), &mcp.UnsubscribeParams{URI: watched}); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "end of the subscription", p.server.unsubscribed); got != watched {
		t.Errorf("unsubscribed from %q", got)
	}
}

// untilUpdated reports updates until one arrives: the server calls its handler a
// moment before it knows the subscription.
func (p *pairing) untilUpdated() {
	p.t.Helper()
	limit := time.After(patience)
	for {
		if err := p.server.server.ResourceUpdated(p.t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: watched}); err != nil {
			p.t.Fatal(err)
		}
		select {
		case got := <-p.told.updated:
			if got != watched {
				p.t.Errorf("updated %q", got)
			}
			return
		case <-limit:
			p.t.Fatal("no update")
		case <-time.After(time.Millisecond):
		}
	}
}

func testCompletion(t *testing.T, p *pairing) {
	for _, ref := range []*mcp.CompleteReference{{Type: "ref/prompt", Name: "greet"}, {Type: "ref/resource", URI: "docs://page/{n}"}} {
		res, err := p.session.Complete(t.Context(), &mcp.CompleteParams{Ref: ref, Argument: mcp.CompleteParamsArgument{Name: "who", Value: "A"}})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{ref.Name + ref.URI + " A", "key " + redacted}; !slices.Equal(res.Completion.Values, want) {
			t.Errorf("values %q, want %q", res.Completion.Values, want)
		}
	}
}

func testPrompts(t *testing.T, p *pairing) {
	list, err := p.session.ListPrompts(t.Context(), nil)
	if err != nil || len(list.Prompts) != 1 || list.Prompts[0].Name != "greet" {
		t.Fatalf("prompts %+v, %v", list, err)
	}
	res, err := p.session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "greet", Arguments: map[string]string{"who": "Ada"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := res.Messages[0].Content.(*mcp.TextContent).Text, "Greet Ada, key "+redacted; got != want {
		t.Errorf("prompt %q, want %q", got, want)
	}
}

func testResources(t *testing.T, p *pairing) {
	list, err := p.session.ListResources(t.Context(), nil)
	if err != nil || len(list.Resources) != 1 || list.Resources[0].URI != watched {
		t.Fatalf("resources %+v, %v", list, err)
	}
	templates, err := p.session.ListResourceTemplates(t.Context(), nil)
	if err != nil || len(templates.ResourceTemplates) != 1 {
		t.Fatalf("templates %+v, %v", templates, err)
	}
	for _, uri := range []string{watched, "docs://page/7"} {
		res, err := p.session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := res.Contents[0].Text, "text of "+uri+", key "+redacted; got != want {
			t.Errorf("resource %q, want %q", got, want)
		}
	}
}

func testPages(t *testing.T, p *pairing) {
	var names []string
	for tool, err := range p.session.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	if want := []string{asked, "open-url", "ping-client", "tell", "wait"}; !slices.Equal(names, want) {
		t.Errorf("tools %q, want %q", names, want)
	}
}

func testCancel(t *testing.T, p *pairing) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.session.CallTool(ctx, &mcp.CallToolParams{Name: "wait"})
		done <- err
	}()
	await(t, "start of the call", p.server.running)
	cancel()
	await(t, "end of the call at the server", p.server.cancelled)
	if err := await(t, "end of the call", done); err == nil {
		t.Error("a cancelled call succeeded")
	}
	if got := p.call(&mcp.CallToolParams{Name: asked}); got == "" {
		t.Error("the session is lost")
	}
}

// The sidecar mirrors the era of the server: a client of today finds its own
// way, as it does without the sidecar.
func TestOfficialClientFindsTheEra(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		server  mcp.StreamableHTTPOptions
		asks    string // empty: the newest
		want    string
		session bool
	}{
		{"newest client, modern server", mcp.StreamableHTTPOptions{Stateless: true}, "", modern, false},
		{"newest client, server with sessions", mcp.StreamableHTTPOptions{}, "", legacy, true},
		{"older client, server with sessions", mcp.StreamableHTTPOptions{}, "2025-06-18", "2025-06-18", true},
		{"oldest client, server with sessions", mcp.StreamableHTTPOptions{}, "2025-03-26", "2025-03-26", true},
		{"older client, server without sessions", mcp.StreamableHTTPOptions{Stateless: true}, legacy, legacy, false},
		{"older client, server that answers JSON", mcp.StreamableHTTPOptions{JSONResponse: true}, legacy, legacy, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{open: true, upstream: newFeatures(row.server).handler()})
			_, session, err := r.connect(t, row.asks, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			if got := session.InitializeResult().ProtocolVersion; got != row.want {
				t.Errorf("revision %q, want %q", got, row.want)
			}
			if got := session.ID(); (got != "") != row.session {
				t.Errorf("session %q", got)
			}
			list, err := session.ListTools(t.Context(), nil)
			if err != nil || len(list.Tools) != 3 {
				t.Errorf("tools %+v, %v", list, err)
			}
			res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "tell"})
			if err != nil || textsOf(res)[0] != "told" {
				t.Errorf("call: %+v, %v", res, err)
			}
			if row.session && session.ID() == r.up.last().header.Get("Mcp-Session-Id") {
				t.Error("the client has the server's own session")
			}
		})
	}
}
