package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mcp-sidecar/proxy/cli"
)

// TestMain lets the test binary play every program of the benchmark: its own
// roles, the sidecar, and, under their names, sidecars that misbehave.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != roleCommand && os.Args[1] != "serve" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := play(ctx)
	stop()
	os.Exit(code)
}

func play(ctx context.Context) int {
	name := filepath.Base(os.Args[0])
	switch {
	case os.Args[1] == roleCommand:
		return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	case slices.Contains(rogues, name):
		return rogue(ctx, name, os.Args[3])
	}
	return cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// Sidecars that misbehave.
const (
	doubler = "doubler" // sends each request twice
	refuser = "refuser" // answers nothing else than 502
	liar    = "liar"    // puts a letter in front of the text
	stumble = "stumble" // refuses every third call
)

var rogues = []string{doubler, refuser, liar, stumble}

// rogue is a proxy without any check.
func rogue(ctx context.Context, name, config string) int {
	text, err := os.ReadFile(config)
	if err != nil {
		return exitFailure
	}
	upstream := regexp.MustCompile(`url: (\S+/mcp)`).FindSubmatch(text)[1]
	records := regexp.MustCompile(`audit: { file: (\S+) }`).FindSubmatch(text)[1]
	if err := os.WriteFile(string(records), nil, 0o600); err != nil {
		return exitFailure
	}
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		call := bytes.Contains(body, []byte("tools/call"))
		if name == refuser || name == stumble && call && calls.Add(1)%3 == 0 {
			http.Error(w, "out of order", http.StatusBadGateway)
			return
		}
		answer := forward(w, r.Method, string(upstream), body)
		switch name {
		case doubler:
			if !call {
				break
			}
			answer = forward(w, r.Method, string(upstream), body)
		case liar:
			answer = bytes.Replace(answer, []byte(`"type":"text","text":"`), []byte(`"type":"text","text":"!`), 1)
		}
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	fmt.Println("rogue listening on", server.URL)
	<-ctx.Done()
	return exitOK
}

// forward sends a request on and keeps the session that it opens.
func forward(w http.ResponseWriter, method, url string, body []byte) []byte {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	w.Header().Set("Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"))
	answer, _ := io.ReadAll(resp.Body)
	return answer
}

// runBench runs the whole program with the sidecar at path.
func runBench(t *testing.T, path string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	var out, talk bytes.Buffer
	args = append([]string{"--sidecar", path, "--rounds", "2", "--calls", "12", "--sizes", "100,4k", "--concurrency", "1,4", "--endurance", "100", "--sessions", "10"}, args...)
	code = run(t.Context(), args, streams{nil, &out, &talk})
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return code, out.String(), talk.String()
}

func post(url string, body []byte) []byte {
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return answer
}

// self is the test binary.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWholeRun measures a little, with every process real.
func TestWholeRun(t *testing.T) {
	for _, answer := range []string{answerSSE, answerJSON} {
		t.Run(answer, func(t *testing.T) {
			code, stdout, stderr := runBench(t, self(t), "--json", "--answer", answer)
			if code != exitOK {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			var r report
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatal(err)
			}
			checkReport(t, &r)
		})
	}
}

func checkReport(t *testing.T, r *report) {
	t.Helper()
	if len(r.Lines) != 16 || len(r.Paths) != 4 || r.Audited != r.Paths[2].Calls+r.Paths[3].Calls {
		t.Fatalf("report %+v", r)
	}
	for _, l := range r.Lines {
		if l.Path == directPath && l.Workers > 1 {
			continue // not measured
		}
		if l.P50 <= 0 || l.P99 < l.P50 || l.PerSecond <= 0 || l.P50Ratio.Median <= 0 {
			t.Errorf("line %+v", l)
		}
		if l.Path == floorPath && (l.P50Ratio != ratio{1, 1, 1}) {
			t.Errorf("the floor against itself: %+v", l)
		}
		if runtime.GOOS == "linux" && l.Path != directPath && (l.CPU <= 0 || l.CPURatio.Median <= 0) {
			t.Errorf("no processor time: %+v", l)
		}
	}
	checkCalls(t, r)
	if r.Added[floorPath] != 0 || len(r.Added) != 3 {
		t.Errorf("added %v", r.Added)
	}
	if (r.Session != counted{Sessions: 3, Connections: r.Session.Connections}) {
		t.Errorf("one session asks for %+v", r.Session)
	}
	if m := r.Memory; runtime.GOOS == "linux" && (m.Base < 1<<20 || len(m.Floods) != len(floodShapes) || len(r.Hostile) != len(attacks)) {
		t.Errorf("memory %+v, hostile texts %+v", m, r.Hostile)
	}
}

// checkCalls holds the calls of each path against what was asked for.
func checkCalls(t *testing.T, r *report) {
	t.Helper()
	// 2 rounds of 12 calls in 4 cells, in one of them more, and a warm-up in each.
	cells, one := 2*12*(3+tailCalls)+3+3+8+15, 2*12*(1+tailCalls)
	turns, hostile, endurance := 2*12, 2*3*(1+len(attacks)), 3
	for i, want := range []int{cells - one, cells + turns, cells + turns + hostile + endurance, cells + turns + endurance} {
		p := r.Paths[i]
		if p.Calls != want || p.Failed != 0 {
			t.Errorf("path %+v, want %d calls", p, want)
		}
		if p.Path != directPath && p.LifetimeCPU <= 0 {
			t.Errorf("path %+v: no processor time at the end", p)
		}
	}
}

// TestRogueSidecar checks that the program does not publish figures of a proxy
// that does something else than asked.
func TestRogueSidecar(t *testing.T) {
	for _, row := range []struct {
		name string
		code int
		want string
	}{
		{doubler, exitUnexpected, `the path "sidecar" sent 580 tools/call`},
		{refuser, exitFailure, "out of order"},
		{liar, exitFailure, "unexpected answer"},
		{stumble, exitFailure, ` of 278 calls over the path "sidecar" failed; the first: HTTP 502`},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), row.name)
			if err := os.Symlink(self(t), path); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := runBench(t, path)
			if code != row.code || !strings.Contains(stderr, row.want) {
				t.Errorf("exit %d: %s\nwant %d: %s", code, stderr, row.code, row.want)
			}
		})
	}
}

// TestProgramThatDoesNotStart checks that its own words reach the user.
func TestProgramThatDoesNotStart(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"sidecar without its file", []string{"serve", "-c", "absent.yaml"}, "| mcp-sidecar: read config: open absent.yaml"},
		{"no such role", []string{roleCommand, "ceiling"}, `| bench: role "ceiling": want`},
		{"no role", []string{roleCommand}, "| bench: role: no role is named"},
		{"issuer without a secret", []string{roleCommand, "issuer", "--secret-file", "absent"}, "| bench: open absent"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := start(t.Context(), t.TempDir(), "child", nil, self(t), row.args...)
			if err == nil || !strings.Contains(err.Error(), "child ended at once: exit status") || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

// TestRoleEndsWithItsInput checks that no role outlives whoever started it.
func TestRoleEndsWithItsInput(t *testing.T) {
	in, parent := io.Pipe()
	out, said := io.Pipe()
	ended := make(chan int)
	go func() { ended <- run(t.Context(), []string{roleCommand, "upstream"}, streams{in, said, said}) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), " listening on ")
	if err != nil || !ok {
		t.Fatalf("said %q, %v", line, err)
	}
	if body := post(url+mcpPath, []byte(`{"jsonrpc":"2.0","id":"x","method":"tools/list"}`)); !bytes.Contains(body, []byte(`"id":"x","result":`)) {
		t.Errorf("answer %q", body)
	}
	if body := post(url+mcpPath, []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)); !bytes.Contains(body, []byte(`-32601`)) {
		t.Errorf("answer %q", body)
	}
	if err := parent.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != exitOK {
		t.Errorf("exit %d", code)
	}
}

// TestInterrupt checks that an interrupted run ends at once and leaves nothing.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	code := run(ctx, []string{"--sidecar", self(t), "--calls", "1000000", "--sizes", "100", "--concurrency", "1"}, streams{nil, &out, writerFunc(cancel)})
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if code != exitFailure || out.Len() > 0 || err != nil || len(left) > 0 {
		t.Errorf("exit %d, output %q, left behind %v, %v", code, out.String(), left, err)
	}
}

// writerFunc calls itself when something is written.
type writerFunc func()

func (w writerFunc) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
