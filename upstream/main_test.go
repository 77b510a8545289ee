package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"mcp-sidecar/scenarios/pgtest"
)

// asMain makes the test binary behave as the program, for the tests that need a
// process of its own.
const asMain = "DOCSERVER_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	pgtest.Main(m)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var listening = regexp.MustCompile(`^docserver listening on (http://127\.0\.0\.1:[1-9][0-9]*/mcp)\n$`)

// started runs the program inside the test until stop is called, which returns
// the exit code and what else was printed to stdout.
func started(t *testing.T, args ...string) (endpoint string, stop func() (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		code <- run(ctx, append([]string{"--listen", "127.0.0.1:0"}, args...), w, &stderr)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	found := listening.FindStringSubmatch(line)
	if found == nil {
		cancel()
		<-code
		t.Fatalf("first line %q, %v; stderr:\n%s", line, err, stderr.String())
	}
	return found[1], func() (int, string) {
		cancel()
		rest, _ := io.ReadAll(lines)
		c := <-code
		checkLog(t, stderr.String())
		return c, string(rest)
	}
}

// checkLog wants the life of the server as JSON lines and nothing else.
func checkLog(t *testing.T, log string) {
	t.Helper()
	var messages []string
	for line := range strings.Lines(log) {
		var entry struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("stderr holds %q", line)
		}
		messages = append(messages, entry.Msg)
	}
	if got := strings.Join(messages, ", "); got != "listening, stopping, stopped" {
		t.Errorf("log: %s", got)
	}
}

func connect(t *testing.T, endpoint, revision string, client *http.Client) (*mcp.ClientSession, error) {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client, MaxRetries: -1},
		&mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func callText(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatal(err)
	}
	return res.Content[0].(*mcp.TextContent).Text
}

func TestServeAndStop(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		t.Run(revision, func(t *testing.T) {
			endpoint, stop := started(t, "--exec=argv", "--reset")
			// In the older revision the client keeps a GET stream open, which must
			// not hold the shutdown up.
			s, err := connect(t, endpoint, revision, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := callText(t, s, "create_document", map[string]any{"content": "x", "created_by": "alice"})
			if got != "created document id=1 (created_by alice)" {
				t.Errorf("got %q", got)
			}
			if code, rest := stop(); code != exitOK || rest != "" {
				t.Errorf("exit %d, further output %q", code, rest)
			}
		})
	}
}

// addHeader is a client transport.
type addHeader struct{ value string }

func (a addHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", a.value)
	return http.DefaultTransport.RoundTrip(r)
}

func TestFilesTakeEffect(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "policy") }))
	defer site.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})
	scratch := filepath.Dir(write(t, "canary.txt", ""))
	endpoint, stop := started(t,
		"--service-token-file", write(t, "token", " sesame\n"),
		"--hosts", write(t, "hosts", "example.com:443 "+site.Listener.Addr().String()+"\n"),
		"--ca-file", write(t, "ca.pem", string(ca)),
		"--scratch", scratch)
	if _, err := connect(t, endpoint, "2026-07-28", nil); err == nil {
		t.Error("connected without the token")
	}
	s, err := connect(t, endpoint, "2026-07-28", &http.Client{Transport: addHeader{"Bearer sesame"}})
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, tool string
		args       map[string]any
		want       string
	}{
		{"hosts and root", "import_url", map[string]any{"url": "https://example.com/policy.txt", "created_by": "a"},
			"imported https://example.com/policy.txt as document id=1"},
		{"scratch", "render_document", map[string]any{"id": 1, "format": "words; rm -rf ~"},
			"rendered document id=1 (words; rm -rf ~): 1"},
	}
	for _, row := range rows {
		if got := callText(t, s, row.tool, row.args); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	if _, err := os.Stat(scratch); !os.IsNotExist(err) {
		t.Errorf("the scratch folder is still there: %v", err)
	}
	if code, _ := stop(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func TestExitCodes(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	scratch := filepath.Dir(write(t, "canary.txt", ""))
	missing := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		name  string
		args  []string
		code  int
		talks string // in stderr
	}{
		{"unknown flag", []string{"--bogus"}, 2, "--help"},
		{"argument", []string{"--exec=argv", "serve"}, 2, `"serve"`},
		{"listen without port", []string{"--exec=argv", "--listen", "127.0.0.1"}, 2, "HOST:PORT"},
		{"unknown exec", []string{"--exec=bash"}, 2, "shell or argv"},
		{"proxy that is none", []string{"--exec=argv", "--egress-proxy", "socks5://u:hunter2@127.0.0.1:1"}, 2, "--egress-proxy"},
		{"no proxy in the environment", []string{"--exec=argv", "--egress-proxy", "env"}, 2, "HTTPS_PROXY is not set"},
		{"open shell for the network", []string{"--listen", "0.0.0.0:0", "--scratch", scratch}, 2, "--service-token-file"},
		{"open shell for every interface", []string{"--listen", ":0", "--scratch", scratch}, 2, "--service-token-file"},
		{"no scratch", nil, 3, "mkdir DIR && touch DIR/canary.txt"},
		{"scratch without canary", []string{"--scratch", t.TempDir()}, 3, "canary.txt"},
		{"missing token file", []string{"--exec=argv", "--service-token-file", missing}, 3, "--service-token-file"},
		{"empty token file", []string{"--exec=argv", "--service-token-file", write(t, "t", " \n")}, 3, "one token"},
		{"two tokens", []string{"--exec=argv", "--service-token-file", write(t, "t", "a\nb\n")}, 3, "one token"},
		{"missing hosts", []string{"--exec=argv", "--hosts", missing}, 3, "--hosts"},
		{"hosts outside loopback", []string{"--exec=argv", "--hosts", write(t, "h", "a:1 192.0.2.1:1")}, 3, "line 1"},
		{"missing roots", []string{"--exec=argv", "--ca-file", missing}, 3, "--ca-file"},
		{"roots that are none", []string{"--exec=argv", "--ca-file", write(t, "c", "x")}, 3, "no PEM certificate"},
		{"address in use", []string{"--exec=argv", "--listen", taken.Addr().String()}, 7, "in use"},
		{"address of another machine", []string{"--exec=argv", "--listen", "192.0.2.1:1"}, 1, "192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a server that starts in spite of all stops at once
			var stdout, stderr bytes.Buffer
			code := run(ctx, tt.args, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.talks) {
				t.Errorf("exit %d, want %d, with %q in:\n%s", code, tt.code, tt.talks, stderr.String())
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout: %s", stdout.String())
			}
			if strings.Contains(stderr.String(), "hunter2") {
				t.Error("the proxy's password was printed")
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{arg}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
			t.Errorf("%s: exit %d, stderr %q", arg, code, stderr.String())
		}
		for _, name := range []string{"--listen HOST:PORT", "--stdio", "--service-token-file FILE", "--exec HOW", "--hosts FILE",
			"--ca-file FILE", "--egress-proxy URL", "--reset", "--scratch DIR", "--help"} {
			if !strings.Contains(stdout.String(), "  "+name+" ") && !strings.Contains(stdout.String(), ", "+name+" ") {
				t.Errorf("%s: no %q in\n%s", arg, name, stdout.String())
			}
		}
	}
}

// TestDatabase: documents outlive the program, until it is told to begin anew; and a
// database that is down is an error.
func TestDatabase(t *testing.T) {
	d := pgtest.DB(t)
	t.Setenv("DATABASE_URL", d.URL)
	for _, row := range []struct {
		name, tool string
		args       map[string]any
		flags      []string
		want       string
	}{
		{"made", "create_document", map[string]any{"content": "x", "created_by": "alice"}, nil, "created document id=1 (created_by alice)"},
		{"still there", "read_document", map[string]any{"id": 1}, nil, "read document id=1 (created_by alice)"},
		{"the error leaks the address", "read_document", map[string]any{"id": 99}, nil, "no document id=99 in " + d.URL},
		{"begun anew", "create_document", map[string]any{"content": "y", "created_by": "bob"}, []string{"--reset"}, "created document id=1 (created_by bob)"},
	} {
		endpoint, stop := started(t, append([]string{"--exec=argv"}, row.flags...)...)
		s, err := connect(t, endpoint, "2026-07-28", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := callText(t, s, row.tool, row.args); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		if code, _ := stop(); code != exitOK {
			t.Errorf("%s: exit %d", row.name, code)
		}
	}
	t.Setenv("DATABASE_URL", "postgres://docs:n4ive@127.0.0.1:1/documents?sslmode=disable")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--exec=argv", "--listen", "127.0.0.1:0"}, &stdout, &stderr); code != exitDown || stdout.Len() != 0 || strings.Contains(stderr.String(), "n4ive") {
		t.Errorf("exit %d, %s%s", code, stdout.String(), stderr.String())
	}
}

// TestStdio: the same tools for whoever started the program, and for nobody else.
func TestStdio(t *testing.T) {
	token := write(t, "token", "sesame\n")
	rows := []struct {
		name string
		args []string
		env  string
		code int
	}{
		{"open", nil, "", 0},
		{"with the token", []string{"--service-token-file", token}, "sesame", 0},
		{"without the token", []string{"--service-token-file", token}, "", 3},
		{"with another", []string{"--service-token-file", token}, "sesamX", 3},
	}
	for _, row := range rows {
		for _, revision := range []string{"2026-07-28", "2025-11-25"} {
			t.Run(row.name+" "+revision, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"--exec=argv", "--stdio"}, row.args...)...)
				cmd.Env = append(os.Environ(), asMain+"=1", "DATABASE_URL=", serviceToken+"="+row.env)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
				s, err := c.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
				if row.code != 0 {
					if err == nil || cmd.ProcessState.ExitCode() != row.code || !strings.Contains(stderr.String(), serviceToken) {
						t.Errorf("%v, %v, stderr %q", err, cmd.ProcessState, stderr.String())
					}
					return
				}
				if err != nil {
					t.Fatalf("%v, stderr %q", err, stderr.String())
				}
				if got := callText(t, s, "create_document", map[string]any{"content": "x", "created_by": "alice"}); got != "created document id=1 (created_by alice)" {
					t.Errorf("got %q", got)
				}
				if err := s.Close(); err != nil || cmd.ProcessState.ExitCode() != 0 {
					t.Errorf("%v, %v, stderr %q", err, cmd.ProcessState, stderr.String())
				}
			})
		}
	}
}

func TestSignalsStopTheProcess(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "--exec=argv", "--listen", "127.0.0.1:0")
			cmd.Env = append(os.Environ(), asMain+"=1", "DATABASE_URL=")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if !listening.MatchString(line) {
				t.Errorf("first line %q, %v", line, err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("exit: %v", err)
			}
		})
	}
}
