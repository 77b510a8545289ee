package sidecar

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"mcp-sidecar/proxy/config"
)

// sdkChild is the command of a child that is one of the official servers, and runs
// in this process: each child is a connection. end ends those that run.
func sdkChild(t *testing.T, server *mcp.Server) (command []string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	conns := make(chan net.Conn, 64)
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn = overheard(t, conn)
			conns <- conn
			served.Go(func() { _ = server.Run(ctx, &mcp.IOTransport{Reader: conn, Writer: conn}) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		served.Wait()
	})
	return []string{os.Args[0], childFlag + l.Addr().String()}, func() {
		for len(conns) > 0 {
			_ = (<-conns).Close()
		}
	}
}

// withChild is docs over HTTP and fs as a child, offered together.
func withChild(t *testing.T, rev string) (s setup, end func()) {
	_, docs := sdkMember(t, "docs", rev == modern)
	server, _ := sdkMember(t, "fs", rev == modern)
	command, end := sdkChild(t, server)
	s = mergedOf(docs, nil)
	s.inventory, s.tools = "", "\n  docs/secret: { hide: true }\n"
	s.change = func(c *config.Config) { c.Upstreams["fs"] = config.Upstream{Command: command} }
	return s, end
}

// A server that speaks HTTP and one that is a child are used as one.
func TestMergedWithChild(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			s, _ := withChild(t, rev)
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
			if got := session.InitializeResult(); got.ProtocolVersion != rev || !strings.Contains(got.Instructions, "fs:\n  Use fs.") {
				t.Errorf("initialize: %+v", got)
			}
			checkMergedLists(t, session, rev)
			for _, server := range []string{"docs", "fs"} {
				checkMergedUse(t, session, server, rev, progress)
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// A child that ends takes along nothing of the other server's, until it is called:
// then the client learns that it has to begin anew, and all is as before.
func TestMergedChildEnds(t *testing.T) {
	t.Parallel()
	s, end := withChild(t, legacy)
	r := start(t, s)
	session := r.initialize("alice")
	call := func(tool string) got { return r.do(toolCall(legacy, r.token("alice"), "1", tool, `{}`).in(session)) }
	for _, tool := range []string{"docs.read", "fs.read"} {
		if g := call(tool); !strings.Contains(string(g.body), "from "+tool[:2]) {
			t.Errorf("%s: %d %s", tool, g.status, g.body)
		}
	}
	end()
	if g := call("docs.read"); !strings.Contains(string(g.body), "from docs") {
		t.Errorf("docs.read: %d %s", g.status, g.body)
	}
	g := call("fs.read")
	for g.status == http.StatusBadGateway { // as long as it is still ending
		g = call("fs.read")
	}
	if g.status != http.StatusNotFound || len(g.body) != 0 {
		t.Errorf("fs.read: %d %s", g.status, g.body)
	}
	if last := r.ups["docs"].last(); last.method != http.MethodDelete {
		t.Errorf("docs keeps its part of the session: %s %s", last.method, last.body)
	}
	if g := call("docs.read"); g.status != http.StatusNotFound {
		t.Errorf("docs.read in a session that is over: %d", g.status)
	}
	session = r.initialize("alice")
	if g := call("fs.read"); !strings.Contains(string(g.body), "from fs") {
		t.Errorf("fs.read: %d %s", g.status, g.body)
	}
	r.do(endOf(r.token("alice"), session))
}

// A client over stdio, which takes one server, has all of them.
func TestMergedPipe(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			p := &pipe{}
			s, _ := withChild(t, rev)
			r := opened(t, rev, p, s)
			got := p.say(piped(rev, "tools/list", "", r.token("alice")))
			for _, name := range []string{`"docs.read"`, `"fs.read"`} {
				if !strings.Contains(got, name) {
					t.Errorf("%s lacks %s", got, name)
				}
			}
			for _, server := range []string{"docs", "fs"} {
				got := p.say(piped(rev, "tools/call", `"name":"`+server+`.read","arguments":{}`, r.token("alice")))
				if !strings.Contains(got, "from "+server) {
					t.Errorf("%s.read: %s", server, got)
				}
			}
			if got := p.say(piped(rev, "tools/call", `"name":"fs.read","arguments":{}`, "")); !strings.Contains(got, "authentication failed") {
				t.Errorf("nobody: %s", got)
			}
		})
	}
}
