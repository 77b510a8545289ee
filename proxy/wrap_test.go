package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestWrapOfficialSDK: the official client starts the sidecar in the place of a
// server, and the official server is behind it, as a command or at a URL.
func TestWrapOfficialSDK(t *testing.T) {
	t.Parallel()
	for _, rev := range []string{"2026-07-28", "2025-11-25", "2025-06-18"} {
		atURL := httptest.NewServer(recorded(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return sdkServer() }, &mcp.StreamableHTTPOptions{Stateless: rev == "2026-07-28"})))
		t.Cleanup(func() { _ = atURL.Config.Close() }) // waits for no call that hangs
		for name, args := range map[string][]string{"command": server(), "URL": {"--upstream", atURL.URL}} {
			t.Run(rev+" "+name, func(t *testing.T) {
				cmd, _ := sidecar(t, "wrap", nil, args...)
				stderr := &buffer{}
				cmd.Stderr = stderr
				client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
				session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: rev})
				if err != nil {
					t.Fatalf("%v\n%s", err, stderr)
				}
				if got := session.InitializeResult(); got.ProtocolVersion != rev || got.ServerInfo.Name != "server" {
					t.Errorf("initialize: %+v", got)
				}
				list, err := session.ListTools(t.Context(), nil)
				hearJSON("stdout", session.InitializeResult(), list) // the client reads the pipe itself
				if err != nil || len(list.Tools) < 8 {
					t.Fatalf("tools: %v %+v", err, list)
				}
				for _, row := range []struct{ tool, text, want string }{
					{"echo", "a\nb\r\nc\u2028d", "a\nb\r\nc\u2028d"},
					{"key", "", "the key is [REDACTED:aws_access_key]"},
				} {
					res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: row.tool, Arguments: text{row.text}})
					hearJSON("stdout", res, fmt.Sprint(err))
					if err != nil || res.IsError || res.Content[0].(*mcp.TextContent).Text != row.want {
						t.Errorf("%s: %v %+v\n%s", row.tool, err, res, stderr)
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				hung := make(chan error, 1)
				go func() {
					_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "hang", Arguments: text{}})
					hung <- err
				}()
				cancel()
				if err := <-hung; err == nil {
					t.Error("a call that was cancelled succeeded")
				}
				if err := session.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if code := cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("exit code %d\n%s", code, stderr)
				}
			})
		}
	}
}

// TestWrapExitCodes: as if the server ran without the sidecar around it.
func TestWrapExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 2\nupstreams: { a: { url: \"http://127.0.0.1:9/mcp\" } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := func(text string) string {
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return file
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		env  []string
		args []string
		talk func(p *program)
		code int
		says string

		hangUp bool
	}{
		{"the client is done", nil, server(), func(p *program) { p.open() }, 0, "", true},
		{"the client says nothing", nil, server(), nil, 0, "preset balanced", true},
		{"the server ends at once", nil, server("exit=7"), func(p *program) { p.say(sayInitialize) }, 7, "code 7", false},
		{"the server ends well", nil, server("exit=0"), func(p *program) { p.say(sayInitialize) }, 0, "code 0", false},
		{"the server ends later", nil, server(), func(p *program) { p.open().say(toolCall("1", "exit", "9")) }, 9, "code 9", false},
		{"the server is killed", nil, server(), func(p *program) { p.open().say(toolCall("1", "die", "")) }, 128 + int(syscall.SIGKILL), "code 137", false},
		{"SIGTERM", nil, server(), func(p *program) { p.open(); _ = p.cmd.Process.Signal(syscall.SIGTERM) }, 0, "", false},
		{"SIGINT", nil, server(), func(p *program) { p.open(); _ = p.cmd.Process.Signal(os.Interrupt) }, 0, "", false},
		{"SIGTERM while a call hangs", nil, server(), func(p *program) {
			p.open().say(toolCall("1", "hang", ""))
			p.call("echo", "")
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		}, 0, "", false},
		{"no such command", nil, []string{"--", "no-such-command-anywhere"}, nil, 127, "no-such-command-anywhere", true},
		{"no such file", nil, []string{"--", filepath.Join(dir, "none")}, nil, 127, "none", true},
		{"no program", nil, []string{"--", plain}, nil, 126, "plain", true},
		{"a program of no format", nil, []string{"--", script("no format\n")}, func(p *program) { p.say(sayInitialize) }, 126, "format", false},
		{"a script whose interpreter is missing", nil, []string{"--", script("#!" + filepath.Join(dir, "none") + "\n")}, func(p *program) { p.say(sayInitialize) }, 127, "script", false},
		{"a folder", nil, []string{"--", dir}, nil, 126, dir, false},
		{"nothing to wrap", nil, nil, nil, 2, "wrap takes a command behind --", true},
		{"nothing behind --", nil, []string{"--"}, nil, 2, "no command behind --", true},
		{"no --", nil, []string{"npx", "server"}, nil, 2, "put -- in front of the command", true},
		{"both", nil, append([]string{"--upstream", "http://127.0.0.1:9/mcp"}, server()...), nil, 2, "--upstream takes the place", true},
		{"URL and file", nil, []string{"--upstream", "http://127.0.0.1:9/mcp", "-c", bad}, nil, 2, "--upstream takes the place", true},
		{"unknown preset", nil, append([]string{"--preset", "relaxed"}, server()...), nil, 2, "--preset", true},
		{"bad file", nil, []string{"-c", bad}, nil, 3, "bad.yaml:1:10", true},
		{"bad file from the environment", []string{"SIDECAR_CONFIG=" + bad}, server(), nil, 3, "bad.yaml:1:10", true},
		{"bad URL", nil, []string{"--upstream", "127.0.0.1:9"}, nil, 3, "--upstream", true},
		{"two tokens", []string{"SIDECAR_TOKEN=t", "SIDECAR_TOKEN_FILE=" + token}, server(), nil, 3, "both set", true},
		{"no token file", []string{"SIDECAR_TOKEN_FILE=" + token + "x"}, server(), nil, 3, "tokenx", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := wrap(t, row.env, row.args...)
			if row.talk != nil {
				row.talk(p)
			}
			if row.hangUp {
				_ = p.in.Close()
			}
			code := p.end()
			if code != row.code || !strings.Contains(p.stderr.String(), row.says) {
				t.Errorf("exit code %d, want %d; stderr, which should say %q:\n%s", code, row.code, row.says, p.stderr)
			}
		})
	}
}

// TestWrapPrintsOnlyMessages: whatever comes in from either side, each line on
// stdout is a message, and each request has its answer.
func TestWrapPrintsOnlyMessages(t *testing.T) {
	t.Parallel()
	p := wrap(t, nil, server("noise", "stderr=on stderr")...).open()
	requests := []string{
		`{"jsonrpc":"2.0","id":10,"method":"no/such/method"}`,
		`{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"name":"no-such-tool"}}`,
		`{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":7}}`,
		`{"jsonrpc":"2.0","id":13,"method":"ping","params":[]}`,
		`{"jsonrpc":"2.0","id":14,"method":"tools/call","params":{"name":"echo","NAME":"exit"}}`,
		toolCall("15", "print", "stray words on stdout"),
		toolCall("16", "print", `{"jsonrpc":"2.0","id":16,"result":{"content":[]`),
		toolCall("17", "print", "\x00\x1b[2J"),
		toolCall("18", "say", "words on stderr"),
		toolCall("19", "key", ""),
	}
	for _, line := range []string{
		"", "   ", "hello", "{", "}", `{"jsonrpc":"2.0"}`, `[{"jsonrpc":"2.0","id":99,"method":"ping"}]`, "\xff\xfe", "\x00", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`,
		`{"jsonrpc":"2.0","method":"no/such/notification"}`, `{"jsonrpc":"2.0","id":98,"result":{}}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":97}}`,
		`{"jsonrpc":"2.0","id":"long","method":"ping","params":{"x":"` + strings.Repeat("x", 5<<20) + `"}}`,
	} {
		p.say(line)
	}
	if got := p.answer(`"long"`); !strings.Contains(got, "41300") {
		t.Errorf("over-long: %s", got)
	}
	for i, line := range requests {
		p.say(line)
		p.answer(fmt.Sprint(10 + i))
	}
	p.say(toolCall("20", "exit", "0"))
	p.answer("20")
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	if strings.Contains(p.stderr.String(), key) {
		t.Error("a secret on stderr")
	}
}

// TestWrapEnvironment: the server gets what its client's configuration gives it,
// and nothing that is the sidecar's.
func TestWrapEnvironment(t *testing.T) {
	t.Parallel()
	const service, caller, seal = "service-credential-canary", "caller-token-canary", "seal-key-canary-of-thirty-two-characters"
	dir := t.TempDir()
	files := map[string]string{"service.token": service, "caller.token": caller, "seal.key": seal}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := func(name, upstream string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("version: 1\nupstreams:\n  server: "+upstream+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	withHeader := config("header.yaml", `{ url: "http://127.0.0.1:9/mcp", credential: { kind: header, file: service.token } }`)
	withEnv := config("env.yaml", fmt.Sprintf(`{ command: [%q, a-server], credential: { kind: env, variable: SERVICE, file: service.token } }`, os.Args[0]))
	sealed := config("sealed.yaml", fmt.Sprintf("{ command: [%q, a-server] }\nseal_key_file: seal.key", os.Args[0]))
	allowed := config("allowed.yaml", fmt.Sprintf(`{ command: [%q, a-server], env_allow: [API_KEY, NOT_SET] }`, os.Args[0]))
	env := []string{"API_KEY=users-own-key", "EMPTY=", "SIDECAR_PRESET=observe", "sidecar_x=x", "SIDECAR_SECRET=" + service, "COPY=" + service, "INSIDE=Bearer " + service}
	user := []string{"API_KEY=users-own-key", "EMPTY="}
	for _, row := range []struct {
		name  string
		env   []string
		args  []string
		has   []string
		never []string
	}{
		{"as it is", env, server(), append(user, "COPY="+service), []string{"SIDECAR", "sidecar"}},
		{"a credential of the file", env, append([]string{"-c", withHeader}, server()...), user, []string{"SIDECAR", "sidecar", service}},
		{"the server's own credential", env, []string{"-c", withEnv}, append(user, "SERVICE="+service), []string{"SIDECAR", "COPY", "INSIDE"}},
		{"the caller's token", append(env, "SIDECAR_TOKEN="+caller, "MINE="+caller), server(), user, []string{caller}},
		{"the caller's token in a file", append(env, "SIDECAR_TOKEN_FILE="+filepath.Join(dir, "caller.token"), "MINE="+caller), server(), user, []string{caller}},
		{"the key that seals state", append(env, "MINE="+seal), []string{"-c", sealed}, user, []string{seal}},
		{"allowed names only", env, []string{"-c", allowed}, user[:1], []string{"EMPTY", "PATH", "COPY", "NOT_SET"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := wrap(t, row.env, append([]string{"--preset", "observe"}, row.args...)...).open()
			got := backwards(p.call("environment", ""))
			for _, want := range row.has {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q", want)
				}
			}
			for _, never := range row.never {
				if strings.Contains(got, never) {
					t.Errorf("holds %q", never)
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", got, p.stderr)
			}
			p.hangUp()
			if all := p.stderr.String(); strings.Contains(all, service) || strings.Contains(all, caller) {
				t.Errorf("a credential on stderr:\n%s", all)
			}
		})
	}
	t.Run("a credential that is allowed by name", func(t *testing.T) {
		file := config("leak.yaml", fmt.Sprintf(`{ command: [%q, a-server], env_allow: [COPY], credential: { kind: env, variable: SERVICE, file: service.token } }`, os.Args[0]))
		p := wrap(t, env, "-c", file)
		if code := p.hangUp(); code != 3 || !strings.Contains(p.stderr.String(), "COPY holds a credential of the sidecar's own") {
			t.Errorf("exit code %d\n%s", code, p.stderr)
		}
	})
}

// TestServeEnvironment: a server that serve starts gets the names that the file
// lists, and nothing else at all.
func TestServeEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"service.token": "service-credential-canary\n",
		"sidecar.yaml":  fmt.Sprintf("version: 1\nlisten: 127.0.0.1:0\nupstreams: { server: { command: [%q, a-server], env_allow: [API_KEY, NOT_SET], credential: { kind: env, variable: SERVICE, file: service.token } } }\n", os.Args[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, "serve", []string{"API_KEY=users-own-key", "OTHER=x", "SIDECAR_X=x"}, "-c", filepath.Join(dir, "sidecar.yaml"), "--insecure-no-auth", "--preset", "observe")
	url := p.url()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: withToken(newToken())}}, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr)
	}
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "environment", Arguments: text{}})
	if err != nil || res.IsError {
		t.Fatalf("%v %+v", err, res)
	}
	got := strings.Split(backwards(res.Content[0].(*mcp.TextContent).Text), "\n")
	slices.Sort(got)
	if want := []string{"API_KEY=users-own-key", "SERVICE=service-credential-canary"}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
}

// TestWrapStderr: what the server says is shown, without secrets and without what
// a terminal would obey.
func TestWrapStderr(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const service = "service-credential-canary"
	if err := os.WriteFile(filepath.Join(dir, "service.token"), []byte(service), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sidecar.yaml")
	text := fmt.Sprintf("version: 1\nupstreams: { fs: { command: [%q, a-server], credential: { kind: env, variable: SERVICE, file: service.token } } }\n", os.Args[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := wrap(t, nil, "-c", file).open()
	if got := p.call("say", "key "+key+", mine "+service+", clear \x1b[2J, back \u202e, next\r\n{\"level\":\"INFO\"}\nloaded -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEowIBAAKCAQEAx+/=\n\tMIIEowIBAAKCAQEAy\n-----END RSA PRIVATE KEY-----\nMIIEbehind"); !strings.Contains(got, "said") {
		t.Errorf("say: %s", got)
	}
	if code := p.hangUp(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	all := p.stderr.String()
	for _, want := range []string{
		"[fs] key [REDACTED:aws_access_key], mine [REDACTED:credential], clear \\x1b[2J, back \\u202e, next\n",
		"[fs] {\"level\":\"INFO\"}\n",
		"[fs] loaded [REDACTED:private_key]\n[fs] MIIEbehind\n",
		"mcp-sidecar: preset balanced, in front of fs ",
		"as \"local:", "confirm mode is not consent",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("stderr lacks %q", want)
		}
	}
	for _, never := range []string{key, service, "\x1b", "\u202e", "MIIEow", "Proc-Type", "END RSA"} {
		if strings.Contains(all, never) {
			t.Errorf("stderr holds %q", never)
		}
	}
	if t.Failed() {
		t.Log(all)
	}
}

// TestWrapUnreadStderr: a client that does not read stderr, or has closed it,
// harms nothing, however much there is to say.
func TestWrapUnreadStderr(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sidecar.yaml")
	text := fmt.Sprintf("version: 1\nupstreams: { server: { command: [%q, a-server, flood] } }\naudit: { stderr: true }\n", os.Args[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprint("closed ", closed), func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if closed {
				_ = r.Close()
			} else {
				defer r.Close()
			}
			p := &program{t: t, stderr: &buffer{}}
			p.cmd, p.audit = sidecar(t, "wrap", nil, "-c", file)
			p.cmd.Stderr = w
			p.start().open()
			for range 500 { // each is a record of several hundred bytes, and the pipe holds 64 KiB
				p.say(`{"jsonrpc":"2.0","id":7,"method":"no/such"}`)
				p.answer("7")
			}
			if got := p.call("say", strings.Repeat("x", 10_000)); !strings.Contains(got, "said") {
				t.Errorf("%s", got)
			}
			if code := p.hangUp(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// A client that no longer reads stdout has gone.
func TestWrapClosedStdout(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := &buffer{}
	cmd, _ := sidecar(t, "wrap", nil, server()...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Close(), r.Close()
	_, _ = io.WriteString(in, sayInitialize+"\n")
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "closed its end") {
		t.Errorf("%v\n%s", cmd.ProcessState, stderr)
	}
}

// TestWrapOpensNoPort looks at the descriptors of the process.
func TestWrapOpensNoPort(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are looked up in /proc")
	}
	p := wrap(t, nil, server()...).open()
	p.call("echo", "")
	folder := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) < 3 {
		t.Fatal(len(entries), err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink(filepath.Join(folder, e.Name())); strings.HasPrefix(to, "socket:") {
			t.Errorf("descriptor %s is %s", e.Name(), to)
		}
	}
	p.hangUp()
}
