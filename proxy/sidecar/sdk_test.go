package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type documentID struct {
	ID int `json:"id"`
}

// sdkServer is a real MCP server made with the official SDK, behind the service
// credential.
func sdkServer(t *testing.T, stateless bool) http.HandlerFunc {
	t.Helper()
	handler := sdkServerForAll(t, stateless)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+service {
			t.Errorf("the upstream sees Authorization %q", r.Header.Get("Authorization"))
		}
		handler.ServeHTTP(w, r)
	}
}

// sdkServerForAll is sdkServer whatever it is shown.
func sdkServerForAll(t *testing.T, stateless bool) http.Handler {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "docs", Version: "1"}, &mcp.ServerOptions{Instructions: "Documents."})
	mcp.AddTool(server, &mcp.Tool{Name: "read_document"}, func(ctx context.Context, req *mcp.CallToolRequest, in documentID) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1, Message: "reading " + key})
		}
		return &mcp.CallToolResult{Content: []mcp.Content{
			&mcp.TextContent{Text: fmt.Sprintf("read document id=%d", in.ID)}, &mcp.TextContent{Text: "the key is " + key},
		}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "delete_document", Annotations: &mcp.ToolAnnotations{}}, func(_ context.Context, req *mcp.CallToolRequest, _ documentID) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "arguments " + string(req.Params.Arguments)}}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "secret_tool"}, func(context.Context, *mcp.CallToolRequest, documentID) (*mcp.CallToolResult, any, error) {
		t.Error("the hidden tool was called")
		return &mcp.CallToolResult{}, nil, nil
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: stateless})
}

// bearer sets the Authorization header of each request.
type bearer struct {
	token string
	next  *http.Transport
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// connect opens a connection of the official client in rev.
func (r *rig) connect(t *testing.T, rev, token string, o *mcp.ClientOptions) (*mcp.Client, *mcp.ClientSession, error) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: r.url, HTTPClient: &http.Client{Transport: &bearer{token, transport}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: rev})
	return client, session, err
}

func textsOf(res *mcp.CallToolResult) []string {
	var texts []string
	for _, c := range res.Content {
		texts = append(texts, c.(*mcp.TextContent).Text)
	}
	return texts
}

// The official client and the official server work through the sidecar, in both
// revisions, and read what the rest of these tests promise.
func TestOfficialSDK(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			r := start(t, setup{upstream: sdkServer(t, rev == modern)})
			progress := make(chan string, 8)
			client, session, err := r.connect(t, rev, r.token("alice"), &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Message },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := session.InitializeResult(); got.ProtocolVersion != rev || got.Instructions != "Documents." {
				t.Errorf("initialize: %+v", got)
			}
			list, err := session.ListTools(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tool := range list.Tools {
				names = append(names, tool.Name)
				schema := fmt.Sprint(tool.InputSchema)
				if strings.Contains(schema, "confirm") != (tool.Name == "delete_document") {
					t.Errorf("schema of %s: %s", tool.Name, schema)
				}
			}
			if want := []string{"delete_document", "read_document"}; !slices.Equal(names, want) {
				t.Errorf("tools %q, want %q", names, want)
			}
			params := &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 7}}
			params.SetProgressToken("p-1")
			res, err := session.CallTool(t.Context(), params)
			want := []string{"read document id=7", "<untrusted_content source=\"document:7\">\nthe key is [REDACTED:aws_access_key]\n</untrusted_content>", "[guard] 1 finding(s) [secret:redacted aws_access_key]"}
			if err != nil || res.IsError || !slices.Equal(textsOf(res), want) {
				t.Errorf("read: %v, %+v", err, res)
			}
			if got := <-progress; got != "reading "+redacted {
				t.Errorf("progress %q", got)
			}
			res, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete_document", Arguments: map[string]any{"id": 7}})
			if err != nil || !res.IsError || textsOf(res)[0] != "blocked: delete requires explicit confirmation (confirm=true)" {
				t.Errorf("delete: %v, %+v", err, res)
			}
			res, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete_document", Arguments: map[string]any{"id": 7, "confirm": true}})
			if err != nil || res.IsError || textsOf(res)[0] != `arguments {"id":7}` {
				t.Errorf("delete with confirm: %v, %+v", err, res)
			}
			_, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "secret_tool", Arguments: map[string]any{"id": 7}})
			var refusal *jsonrpc.Error
			if !errors.As(err, &refusal) || refusal.Code != jsonrpc.CodeInvalidParams || refusal.Message != "unknown tool" {
				t.Errorf("hidden tool: %v", err)
			}
			// A notification that the sidecar does not know must not end the session.
			client.AddRoots(&mcp.Root{URI: "file:///tmp", Name: "tmp"}) //nolint:staticcheck // clients of today send what it sends
			if _, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 8}}); err != nil {
				t.Errorf("after a refused notification: %v", err)
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if rev == legacy {
				if last := r.up.last(); last.method != http.MethodDelete {
					t.Errorf("the session's end was not forwarded: %s %s", last.method, last.body)
				}
			}
		})
	}
}

// The official client understands the sidecar's refusals.
func TestOfficialClientIsRefused(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		r := start(t, setup{upstream: sdkServer(t, rev == modern)})
		if _, _, err := r.connect(t, rev, "FORGEDFORGEDFORGEDFORGEDFO", nil); err == nil || !strings.Contains(err.Error(), "nauthorized") && !strings.Contains(err.Error(), "unknown or invalid token") {
			t.Errorf("%s, forged token: %v", rev, err)
		}
		_, session, err := r.connect(t, rev, r.token("carol documents:read"), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 7}})
		if err != nil || res.IsError {
			t.Errorf("%s: %v %+v", rev, err, res)
		}
		_, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete_document", Arguments: map[string]any{"id": 7, "confirm": true}})
		if err == nil || !strings.Contains(err.Error(), `token scope is missing "documents:delete"`) {
			t.Errorf("%s, missing scope: %v", rev, err)
		}
		_ = session.Close()
	}
}
