package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/scenarios/canary"
)

// credentials are all that any client of any test of this package shows. None may be
// found in what any process prints, records, or hands to a server.
var credentials canary.Watch

// heard is what clients and servers over HTTP got.
var heard canary.Record

type heardWriter string

func (where heardWriter) Write(p []byte) (int, error) {
	heard.Hear(string(where), string(p))
	return len(p), nil
}

// heardDir is where every server that a sidecar starts writes down what it was given:
// beside this binary, since its environment and its working directory are not the
// tests' to set.
func heardDir() string { return os.Args[0] + ".heard" }

// listen writes down what in brings, and what else the server was given.
func listen(in io.Reader) (io.Reader, error) {
	file, err := os.CreateTemp(heardDir(), "server-")
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(file, "%q\n%q\n", os.Args, os.Environ())
	return io.TeeReader(in, file), err
}

// newToken is the credential of a caller.
func newToken() string {
	token, _ := canary.Sample()
	credentials.Add("a caller", token)
	return token
}

// present makes sure that cmd is started with a credential, and that it is watched for.
func present(t *testing.T, cmd *exec.Cmd) {
	for _, entry := range cmd.Env {
		switch name, value, _ := strings.Cut(entry, "="); name {
		case "SIDECAR_TOKEN":
			credentials.Add("the environment", value)
			return
		case "SIDECAR_TOKEN_FILE":
			token, err := os.ReadFile(value)
			if err != nil {
				t.Log(err) // what the test is about
			}
			credentials.Add("the token file", strings.TrimSpace(string(token)))
			return
		}
	}
	cmd.Env = append(cmd.Env, "SIDECAR_TOKEN="+newToken())
}

// checkCanaries looks for every credential in what cmd has printed and recorded, and in
// what any server or client got. Not searched is the stderr that TestWrapUnreadStderr
// gives to cmd: that nobody reads it is what the test is about.
func checkCanaries(t *testing.T, cmd *exec.Cmd, state string) {
	t.Helper()
	for _, leak := range leaks(&credentials, cmd, state) {
		t.Error(leak)
	}
}

func leaks(w *canary.Watch, cmd *exec.Cmd, state string) (found []string) {
	for where, out := range map[string]io.Writer{"stdout": cmd.Stdout, "stderr": cmd.Stderr} {
		if b, ok := out.(fmt.Stringer); ok {
			found = append(found, w.In(where, b.String())...)
		}
	}
	places := []string{filepath.Join(state, "audit*"), filepath.Join(heardDir(), "*")}
	if i := slices.Index(cmd.Args, "-c"); i >= 0 {
		places = append(places, filepath.Join(filepath.Dir(cmd.Args[i+1]), "audit*"))
	}
	for _, place := range places {
		names, _ := filepath.Glob(place) // no bad pattern
		for _, name := range names {
			text, _ := os.ReadFile(name) // one that has gone holds nothing
			found = append(found, w.In(filepath.Base(name), string(text))...)
		}
	}
	return append(found, heard.Leaks(w)...)
}

// hearJSON hears what a client made of what it read.
func hearJSON(where string, what ...any) {
	text, err := json.Marshal(what)
	heard.Hear(where, string(text), err)
}

// recorded is h, with all that it gets heard.
func recorded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		heard.Hear("a server", r.Method, r.URL, r.Host, r.Header, string(body))
		h.ServeHTTP(w, r)
	})
}

// withToken sends a credential with every request.
type withToken string

func (token withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(token))
	return http.DefaultTransport.RoundTrip(r)
}

// guarded writes the configuration of a server that knows token, and where it is alice's.
func guarded(t *testing.T, token string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "policy.csv", "p, role:any, *, *, allow\ng, user:alice, role:any\n")
	write(t, dir, "tokens.yaml", fmt.Sprintf("tokens:\n- { sha256: %x, subject: alice, audience: [box], expires: 2099-01-01T00:00:00Z, scopes: [\"*\"] }\n", sha256.Sum256([]byte(token))))
	return write(t, dir, "sidecar.yaml", fmt.Sprintf("version: 1\nlisten: 127.0.0.1:0\nupstreams: { box: { command: [%q, a-server, %q] } }\n"+
		"auth: { audience: [box], static_tokens_file: tokens.yaml }\npolicy: { file: policy.csv }\naudit: { file: audit.jsonl, stderr: true }\n", os.Args[0], "knows="+backwards(token)))
}

// sayCall is a call of a tool in rev, whose _meta may hold a token.
func sayCall(rev, tool, token string) string {
	var meta []string
	if rev == modern {
		meta = append(meta, `"io.modelcontextprotocol/protocolVersion":"`+modern+`","io.modelcontextprotocol/clientCapabilities":{}`)
	}
	if token != "" {
		meta = append(meta, `"mcp-sidecar/token":"`+token+`"`)
	}
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"text":"hello"},"_meta":{` + strings.Join(meta, ",") + `}}}`
}

const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// TestCanary: a token that real processes are shown, in each way there is, stands in
// nothing that they print, record or hand on, even where the server knows it.
func TestCanary(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"environment", "file", "_meta", "header"} {
		for _, rev := range []string{modern, legacy} {
			t.Run(way+"/"+rev, func(t *testing.T) {
				t.Parallel()
				token, wrong := newToken(), newToken()
				file := guarded(t, token)
				var all []*program
				var call func(tool, token string) string
				if way == "header" {
					call = overHTTP(t, rev, file, &all)
				} else {
					call = overPipe(t, way, rev, file, &all)
				}
				for _, row := range []struct{ tool, token, want string }{
					{"echo", token, `"text":"hello"`},
					{"recite", token, "I know [REDACTED:"},
					{"mutter", token, `"text":"muttered"`},
					{"no-such-tool", token, "no-such-tool"},
					{"echo", wrong, "authentication failed"},
				} {
					if got := call(row.tool, row.token); !strings.Contains(got, row.want) && (row.want != row.tool || !strings.Contains(got, `rror"`)) {
						t.Errorf("%s: %s", row.tool, got)
					}
				}
				for _, p := range all {
					if code := p.stop(); code != 0 || p.muttered && !strings.Contains(p.stderr.String(), "a server knows [REDACTED:") {
						t.Errorf("exit code %d\n%s", code, p.stderr)
					}
				}
			})
		}
	}
}

// overPipe calls tools over a pipe whose caller shows tokens in this way, and adds what
// it starts to all.
func overPipe(t *testing.T, way, rev, file string, all *[]*program) func(tool, token string) string {
	start := func(env string) *program {
		p := wrap(t, []string{env}, "-c", file)
		*all = append(*all, p)
		return p
	}
	switch way {
	case "_meta":
		p := start("SIDECAR_TOKEN=")
		return p.calls(rev, func(token string) string { return token })
	case "file":
		name := write(t, t.TempDir(), "token", "none yet\n")
		p := start("SIDECAR_TOKEN_FILE=" + name)
		return p.calls(rev, func(token string) string { write(t, filepath.Dir(name), "token", token+"\n"); return "" })
	}
	// A process for each token: it cannot be given another one.
	pipes := map[string]func(tool, token string) string{}
	return func(tool, token string) string {
		if pipes[token] == nil {
			p := start("SIDECAR_TOKEN=" + token)
			pipes[token] = p.calls(rev, func(string) string { return "" })
		}
		return pipes[token](tool, token)
	}
}

// calls makes calls over p. In the older revisions a pipe is opened first, with a token
// if the whole pipe has one.
func (p *program) calls(rev string, show func(token string) (inMeta string)) func(tool, token string) string {
	opened := rev == modern
	p.stop = p.hangUp
	return func(tool, token string) string {
		meta := show(token)
		if !opened {
			p.say(sayInitialize)
			p.answer(`"init"`)
			opened = true
		}
		p.say(sayCall(rev, tool, meta))
		return p.noted(p.answer("1"))
	}
}

// overHTTP calls tools of a sidecar that serves, and adds it to all.
func overHTTP(t *testing.T, rev, file string, all *[]*program) func(tool, token string) string {
	p := start(t, "serve", nil, "-c", file)
	url := p.url()
	p.stop = func() int { _ = p.cmd.Process.Signal(os.Interrupt); return p.end() }
	*all = append(*all, p)
	session := ""
	post := func(tool, token, body string) (http.Header, string) {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": rev, "Mcp-Method": "tools/call", "Mcp-Name": tool, "Mcp-Session-Id": session} {
			req.Header.Set(name, value)
		}
		resp, err := withToken(token).RoundTrip(req)
		if err != nil {
			t.Fatalf("%v\n%s", err, p.stderr)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		heard.Hear("an answer", resp.Header, string(text))
		return resp.Header, string(text)
	}
	return func(tool, token string) string {
		if rev == legacy && session == "" {
			header, _ := post("", token, sayInitialize)
			session = header.Get("Mcp-Session-Id")
			post("", token, sayInitialized)
		}
		_, text := post(tool, token, sayCall(rev, tool, ""))
		return p.noted(text)
	}
}

// noted remembers that the server has written to its log.
func (p *program) noted(answer string) string {
	p.muttered = p.muttered || strings.Contains(answer, "muttered")
	return answer
}

// url is where p, which serves, listens.
func (p *program) url() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "mcp-sidecar listening on ")
	if err != nil || !ok {
		p.t.Fatalf("%q, %v\n%s", line, err, p.stderr)
	}
	return url
}

// The search turns red wherever a process leaves a piece of a credential.
func TestCanaryTurnsRed(t *testing.T) {
	token, pieces := canary.Sample()
	var own canary.Watch // the others' stays clean
	own.Add("leaked", token)
	for name, piece := range pieces {
		state := t.TempDir()
		file := write(t, t.TempDir(), "sidecar.yaml", "")
		leave := func(dir, base string) func(*exec.Cmd) {
			return func(*exec.Cmd) {
				name := write(t, dir, base, piece)
				t.Cleanup(func() { _ = os.Remove(name) })
			}
		}
		for where, leak := range map[string]func(*exec.Cmd){
			"stderr":       func(cmd *exec.Cmd) { cmd.Stderr = &buffer{}; _, _ = io.WriteString(cmd.Stderr, piece) },
			"stdout":       func(*exec.Cmd) { _, _ = io.WriteString(heardWriter("stdout"), piece) },
			"audit.jsonl":  leave(state, "audit.jsonl"),
			"audit2.jsonl": leave(filepath.Dir(file), "audit2.jsonl"),
			"server-red":   leave(heardDir(), "server-red"),
			"a server": func(*exec.Cmd) {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", strings.NewReader(piece))
				recorded(http.NotFoundHandler()).ServeHTTP(&nobody{}, r)
			},
		} {
			cmd := &exec.Cmd{Args: []string{"serve", "-c", file}}
			leak(cmd)
			found := leaks(&own, cmd, state)
			if len(found) == 0 || !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, where+" holds") }) {
				t.Errorf("%s, %s: found %q", name, where, found)
			}
		}
	}
}

// nobody reads an answer.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header {
	if n.header == nil {
		n.header = http.Header{}
	}
	return n.header
}
func (*nobody) Write(p []byte) (int, error) { return len(p), nil }
func (*nobody) WriteHeader(int)             {}
