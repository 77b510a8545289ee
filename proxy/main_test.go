package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"mcp-sidecar/proxy/wire"
)

// TestMain makes this binary three programs: the tests, the sidecar itself, and
// the servers that the tests put behind it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "wrap", "serve", "check", "explain", "policy", "init", "validate":
			main()
		case "a-server":
			os.Exit(aServer(os.Args[2:]))
		}
	}
	if err := os.MkdirAll(heardDir(), 0o700); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(heardDir())
	os.Exit(code)
}

// aServer is an MCP server made with the official SDK, after it has done what the
// words ask for.
func aServer(words []string) int {
	in, err := listen(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	known := ""
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "noise": // on stdout
			fmt.Println("Server running on stdio\n{\"jsonrpc\":\"2.0\"\n\x00")
		case "stderr":
			fmt.Fprintln(os.Stderr, value)
		case "flood": // on stderr
			for range 4096 {
				fmt.Fprintln(os.Stderr, strings.Repeat("x", 255))
			}
		case "knows":
			known = backwards(value)
		case "exit":
			var code int
			_, _ = fmt.Sscan(value, &code)
			return code
		}
	}
	server := sdkServer()
	addTool(server, "recite", func(string) string { return "I know " + known })
	addTool(server, "mutter", func(string) string { fmt.Fprintln(os.Stderr, "a server knows "+known); return "muttered" })
	if err := server.Run(context.Background(), &mcp.IOTransport{Reader: io.NopCloser(in), Writer: os.Stdout}); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "server:", err)
	}
	return 0
}

type text struct {
	Text string `json:"text"`
}

// key is a secret that the server gives away.
const key = "AKIAIOSFODNN7EXAMPLE"

func backwards(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

func addTool(server *mcp.Server, name string, do func(arg string) string) {
	mcp.AddTool(server, &mcp.Tool{Name: name, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, func(_ context.Context, _ *mcp.CallToolRequest, in text) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: do(in.Text)}}}, nil, nil
	})
}

func sdkServer() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "server", Version: "1"}, nil)
	tool := func(name string, do func(arg string) string) { addTool(server, name, do) }
	tool("echo", func(s string) string { return s })
	tool("key", func(string) string { return "the key is " + key })
	// Backwards, since no answer shows the sidecar's own credential as it is.
	tool("environment", func(string) string { return backwards(strings.Join(os.Environ(), "\n")) })
	tool("say", func(s string) string { fmt.Fprintln(os.Stderr, s); return "said" })
	tool("print", func(s string) string { fmt.Println(s); return "printed" })
	tool("exit", func(s string) string {
		var code int
		_, _ = fmt.Sscan(s, &code)
		os.Exit(code)
		return ""
	})
	tool("die", func(string) string {
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	})
	tool("hang", func(string) string { select {} })
	return server
}

// program is the sidecar as a process.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *buffer
	audit  string

	stop     func() int // ends it, and returns the exit code
	muttered bool       // the server has said what it knows
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// server is this binary behind wrap, as a server that does what words ask for.
func server(words ...string) []string {
	return append([]string{"--", os.Args[0], "a-server"}, words...)
}

// sidecar prepares a command of the sidecar's with env in its environment, and
// returns its audit file too. Its caller has a credential, for which all that it leaves
// is searched at the end of t.
func sidecar(t *testing.T, command string, env []string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	state := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{command}, args...)...)
	cmd.Env = append(cmd.Env, "SIDECAR_STATE_DIR="+state, "PATH="+os.Getenv("PATH"), "HOME="+state, "GOCOVERDIR="+os.Getenv("GOCOVERDIR"))
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = 10 * time.Second
	present(t, cmd)
	t.Cleanup(func() { checkCanaries(t, cmd, state) })
	return cmd, filepath.Join(state, "audit.jsonl")
}

// start runs a command of the sidecar's. The test ends it.
func start(t *testing.T, command string, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, stderr: &buffer{}}
	p.cmd, p.audit = sidecar(t, command, env, args...)
	p.cmd.Stderr = p.stderr
	return p.start()
}

func wrap(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	return start(t, "wrap", env, args...)
}

func (p *program) start() *program {
	p.t.Helper()
	in, err := p.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(io.TeeReader(out, heardWriter("stdout")))
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *program) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// hear returns the next line, which must be a message; io.EOF ends them.
func (p *program) hear() (*wire.Message, error) {
	p.t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		if len(line) > 0 {
			p.t.Errorf("half a line on stdout: %q", line)
		}
		return nil, err
	}
	m, err := wire.Scan(bytes.TrimSuffix(line, []byte("\n")), wire.Limits{})
	if err != nil {
		p.t.Errorf("no message on stdout: %v: %q", err, line)
	}
	return m, err
}

// answer waits for the answer to the request id and returns its text.
func (p *program) answer(id string) string {
	p.t.Helper()
	for {
		m, err := p.hear()
		if err != nil {
			p.t.Fatalf("waiting for the answer to %s: %v; stderr:\n%s", id, err, p.stderr)
		}
		if m.Kind == wire.Response && string(m.Value(m.ID)) == id {
			return string(m.Raw)
		}
	}
}

// hangUp closes the client's side and returns the exit code.
func (p *program) hangUp() int {
	p.t.Helper()
	_ = p.in.Close()
	return p.end()
}

// end reads the rest of stdout and returns the exit code.
func (p *program) end() int {
	p.t.Helper()
	for {
		if _, err := p.hear(); err != nil {
			break
		}
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Error(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

const (
	sayInitialize  = `{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`
	sayInitialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

// open starts a session.
func (p *program) open() *program {
	p.t.Helper()
	p.say(sayInitialize)
	if got := p.answer(`"init"`); !strings.Contains(got, `"result"`) {
		p.t.Fatalf("initialize: %s", got)
	}
	p.say(sayInitialized)
	return p
}

// call calls a tool and returns the answer.
func (p *program) call(tool, text string) string {
	p.t.Helper()
	p.say(toolCall("1", tool, text))
	return p.answer("1")
}

func toolCall(id, tool, text string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":{"text":%s}}}`, id, tool, wire.Quote(nil, text))
}
