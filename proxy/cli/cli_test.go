package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mcp-sidecar/scenarios/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.M{M: m}) }

// ran is what came of a command line.
type ran struct {
	code        int
	out, stderr string
}

func run(t *testing.T, args ...string) ran {
	t.Helper()
	t.Setenv("SIDECAR_STATE_DIR", t.TempDir())
	var out, stderr bytes.Buffer
	code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &stderr})
	return ran{code, out.String(), stderr.String()}
}

// files are written into one folder, which is returned.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const goodConfig = `version: 1
listen: 127.0.0.1:0
auth:
  audience: [doc-server]
  introspection: [{ issuer: "https://idp.example", url: "https://idp.example/introspect" }]
upstreams:
  docs: { url: "http://127.0.0.1:9001/mcp", credential: { kind: header, file: service.token } }
policy: { file: policy.csv }
tools:
  docs/read_document: { resource: document, action: read, scopes: ["documents:read"] }
`

const goodPolicy = "p, role:admin, document, read, allow\n"

// TestExitCodes: every way to be wrong has its number, and says what to do.
func TestExitCodes(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	good := files(t, map[string]string{"sidecar.yaml": goodConfig, "policy.csv": goodPolicy, "service.token": "s\n"})
	noPolicy := files(t, map[string]string{"sidecar.yaml": goodConfig, "service.token": "s\n"})
	badPolicy := files(t, map[string]string{"sidecar.yaml": goodConfig, "service.token": "s\n", "policy.csv": "p, admin, document, read, maybe\n"})
	noSecret := files(t, map[string]string{"sidecar.yaml": goodConfig, "policy.csv": goodPolicy})
	emptySecret := files(t, map[string]string{"sidecar.yaml": goodConfig, "policy.csv": goodPolicy, "service.token": " \n"})
	twoSecrets := files(t, map[string]string{"sidecar.yaml": goodConfig, "policy.csv": goodPolicy, "service.token": "a\nb\n"})
	withList := strings.Replace(goodConfig, "auth:\n", "auth:\n  revoked_file: revoked\n", 1)
	noList := files(t, map[string]string{"sidecar.yaml": withList, "policy.csv": goodPolicy, "service.token": "s\n"})
	badList := files(t, map[string]string{"sidecar.yaml": withList, "policy.csv": goodPolicy, "service.token": "s\n", "revoked": "# gone\nalice\n"})
	public := files(t, map[string]string{"sidecar.yaml": strings.Replace(goodConfig, "127.0.0.1:0", "0.0.0.0:0", 1), "policy.csv": goodPolicy, "service.token": "s\n"})
	noCert := files(t, map[string]string{"sidecar.yaml": goodConfig + "tls: { cert_file: tls.crt, key_file: tls.key }\n", "policy.csv": goodPolicy, "service.token": "s\n"})
	probes := files(t, map[string]string{"sidecar.yaml": goodConfig + "diagnostics: { listen: \"" + busy.Addr().String() + "\" }\n", "policy.csv": goodPolicy, "service.token": "s\n"})
	bad := files(t, map[string]string{"sidecar.yaml": "version: 1\nlisten: 127.0.0.1:0\nupstraems: {}\n", "audit": ""})
	const two = "version: 1\nupstreams: { docs: { url: http://127.0.0.1:9001/mcp }, fs: { url: http://127.0.0.1:9002/mcp } }\n"
	several := files(t, map[string]string{"sidecar.yaml": two, "merged.yaml": two + "merge: true\n"})
	upstream := "http://127.0.0.1:9001/mcp"
	for _, row := range []struct {
		name string
		args []string
		code int
		says string // part of what is said on stderr
	}{
		{"unknown command", []string{"sevre"}, ExitUsage, `unknown command "sevre"`},
		{"unknown flag", []string{"serve", "--upstrem", upstream}, ExitUsage, "unknown flag: --upstrem"},
		{"unknown flag of the program", []string{"--verbose"}, ExitUsage, "unknown flag: --verbose"},
		{"serve what", []string{"serve"}, ExitUsage, "serve takes either -c FILE or --upstream URL"},
		{"serve both", []string{"serve", "-c", "x", "--upstream", upstream}, ExitUsage, "serve takes either -c FILE or --upstream URL"},
		{"serve an argument", []string{"serve", "x"}, ExitUsage, "x"},
		{"unknown preset", []string{"serve", "--upstream", upstream, "--preset", "relaxed", "--insecure-no-auth"}, ExitUsage, "--preset"},
		{"validate nothing", []string{"validate"}, ExitUsage, "accepts 1 arg(s)"},
		{"validate two files", []string{"validate", "a", "b"}, ExitUsage, "accepts 1 arg(s)"},
		{"schema of what", []string{"schema", "x"}, ExitUsage, "x"},
		{"version of what", []string{"version", "x"}, ExitUsage, "x"},

		{"no such file", []string{"serve", "-c", filepath.Join(good, "missing.yaml")}, ExitConfig, "missing.yaml"},
		{"file with a mistake", []string{"serve", "-c", filepath.Join(bad, "sidecar.yaml")}, ExitConfig, "sidecar.yaml:3:1"},
		{"nobody is authenticated", []string{"serve", "--upstream", upstream}, ExitConfig, "--insecure-no-auth"},
		{"everybody from everywhere", []string{"serve", "--upstream", upstream, "--listen", "0.0.0.0:0", "--insecure-no-auth"}, ExitConfig, "--listen"},
		{"insecure beside auth", []string{"serve", "-c", filepath.Join(good, "sidecar.yaml"), "--insecure-no-auth"}, ExitConfig, "excludes --insecure-no-auth"},
		{"no URL", []string{"serve", "--upstream", "localhost:9001", "--insecure-no-auth"}, ExitConfig, "--upstream"},
		{"policy is missing", []string{"serve", "-c", filepath.Join(noPolicy, "sidecar.yaml")}, ExitConfig, "policy.csv"},
		{"policy with a mistake", []string{"serve", "-c", filepath.Join(badPolicy, "sidecar.yaml")}, ExitConfig, "policy.csv:1"},
		{"list of revoked tokens is missing", []string{"serve", "-c", filepath.Join(noList, "sidecar.yaml")}, ExitConfig, "auth.revoked_file"},
		{"list of revoked tokens with a mistake", []string{"serve", "-c", filepath.Join(badList, "sidecar.yaml")}, ExitConfig, "auth.revoked_file: line 2"},
		{"secret is missing", []string{"serve", "-c", filepath.Join(noSecret, "sidecar.yaml")}, ExitConfig, "service.token"},
		{"secret is empty", []string{"serve", "-c", filepath.Join(emptySecret, "sidecar.yaml")}, ExitConfig, "must hold one line"},
		{"secret has two lines", []string{"serve", "-c", filepath.Join(twoSecrets, "sidecar.yaml")}, ExitConfig, "must hold one line"},
		{"wrap several", []string{"wrap", "-c", filepath.Join(several, "sidecar.yaml")}, ExitConfig, "wrap needs exactly one upstream, or merge: true without a command, and there are 2"},
		{"wrap a command among several", []string{"wrap", "-c", filepath.Join(several, "merged.yaml"), "--", "true"}, ExitConfig, "wrap needs exactly one upstream, or merge: true without a command, and there are 2"},
		{"validate no such file", []string{"validate", filepath.Join(good, "missing.yaml")}, ExitConfig, "missing.yaml"},
		{"validate a mistake", []string{"validate", filepath.Join(bad, "sidecar.yaml")}, ExitConfig, "sidecar.yaml:3:1"},

		{"public without TLS", []string{"serve", "-c", filepath.Join(public, "sidecar.yaml")}, ExitConfig, "configure tls, or set behind_tls_proxy"},
		{"certificate is missing", []string{"serve", "-c", filepath.Join(noCert, "sidecar.yaml")}, ExitConfig, "tls.crt"},
		{"address of the probes in use", []string{"serve", "-c", filepath.Join(probes, "sidecar.yaml")}, ExitInUse, "diagnostics.listen"},
		{"address in use", []string{"serve", "--upstream", upstream, "--listen", busy.Addr().String(), "--insecure-no-auth"}, ExitInUse, "--listen"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := run(t, row.args...)
			if r.code != row.code || !strings.Contains(r.stderr, row.says) || !strings.HasPrefix(r.stderr, "mcp-sidecar: ") {
				t.Errorf("exit code %d, want %d; stderr, which lacks %q:\n%s", r.code, row.code, row.says, r.stderr)
			}
			if r.out != "" {
				t.Errorf("talk on stdout: %s", r.out)
			}
			if strings.Contains(r.stderr, "goroutine") || strings.Contains(r.stderr, "Usage:") {
				t.Errorf("more than needs to be said:\n%s", r.stderr)
			}
		})
	}
}

// The audit file cannot be opened: nothing is served without it.
func TestServeWithoutAudit(t *testing.T) {
	dir := files(t, map[string]string{"not-a-folder": ""})
	t.Setenv("SIDECAR_STATE_DIR", filepath.Join(dir, "not-a-folder"))
	var out, stderr bytes.Buffer
	code := Run(t.Context(), []string{"serve", "--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0", "--insecure-no-auth"}, Streams{Out: &out, Err: &stderr})
	if code != ExitFailure && code != ExitConfig || out.Len() != 0 || !strings.Contains(stderr.String(), "audit") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), stderr.String())
	}
}

func TestHelp(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^  (serve|validate|schema|version|healthcheck) `)
	for _, args := range [][]string{nil, {"--help"}, {"-h"}, {"help"}} {
		r := run(t, args...)
		if r.code != ExitOK || r.stderr != "" || len(commands.FindAllString(r.out, -1)) != 5 || !strings.Contains(r.out, "Exit codes: 0 ok") {
			t.Errorf("%q: exit code %d, stderr %q, stdout\n%s", args, r.code, r.stderr, r.out)
		}
	}
	for command, flags := range map[string][]string{
		"serve": {"-c, --config FILE", "--upstream URL", "--listen HOST:PORT", "--preset", "--insecure-no-auth", "SIDECAR_LISTEN"}, "validate": {"--json"}, "schema": nil, "version": {"--json"}, "healthcheck": {"--url URL", "-c, --config FILE", "--live", "--json", "SIDECAR_CONFIG"},
	} {
		r := run(t, command, "--help")
		if r.code != ExitOK || r.stderr != "" || !strings.Contains(r.out, "mcp-sidecar "+command) {
			t.Errorf("%s --help: exit code %d, stderr %q, stdout\n%s", command, r.code, r.stderr, r.out)
		}
		for _, f := range flags {
			if !strings.Contains(r.out, f) {
				t.Errorf("%s --help lacks %q:\n%s", command, f, r.out)
			}
		}
		if regexp.MustCompile(`--(token|secret|password|credential)`).MatchString(r.out) {
			t.Errorf("%s takes a secret as a flag:\n%s", command, r.out)
		}
	}
}

func TestValidate(t *testing.T) {
	dir := files(t, map[string]string{
		"good.yaml":    goodConfig,
		"expired.yaml": goodConfig + "allow: [{ guard: ssrf, rule: port, tool: docs/get, reason: moving, until: 2020-01-31 }, { guard: ssrf, rule: scheme, tool: docs/get, reason: moving, until: 2999-12-31 }]\n",
		"bad.yaml":     "version: 1\nlisten: 0.0.0.0:1\nupstraems: {}\nlimits: { depth: 1 }\n",
	})
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	// The files that the configuration names are not opened.
	if r := run(t, "validate", good); r.code != ExitOK || r.out != good+": ok\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	expired := filepath.Join(dir, "expired.yaml")
	if r := run(t, "validate", expired); r.code != ExitOK || !strings.HasPrefix(r.out, expired+": ok\n1 notice(s)\n") || !strings.Contains(r.out, "has passed") || !strings.Contains(r.out, "(allow[0].until)") {
		t.Errorf("%+v", r)
	}
	r := run(t, "validate", bad)
	for _, want := range []string{":2:9:", ":3:1:", ":4:18:", "upstraems", "limits.depth"} {
		if r.code != ExitConfig || !strings.Contains(r.stderr, want) {
			t.Errorf("exit code %d, without %q:\n%s", r.code, want, r.stderr)
		}
	}
	type problem struct {
		File          string
		Line, Column  int
		Path, Message string
	}
	type report struct {
		Version  int
		Valid    bool
		Problems []problem
		Notices  []problem
	}
	read := func(r ran) report {
		var got report
		d := json.NewDecoder(strings.NewReader(r.out))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil || d.More() {
			t.Errorf("%v: %s", err, r.out)
		}
		return got
	}
	r = run(t, "validate", "--json", good)
	if got := read(r); r.code != ExitOK || got.Version != 1 || !got.Valid || got.Problems == nil || len(got.Problems) != 0 {
		t.Errorf("%+v", r)
	}
	r = run(t, "validate", "--json", expired)
	if got := read(r); r.code != ExitOK || !got.Valid || len(got.Notices) != 1 || got.Notices[0].Line == 0 {
		t.Errorf("%+v", r)
	}
	r = run(t, "validate", bad, "--json")
	got := read(r)
	if r.code != ExitConfig || got.Valid || len(got.Problems) < 3 {
		t.Fatalf("%+v", r)
	}
	for _, p := range got.Problems {
		if p.File != bad || p.Line == 0 || p.Column == 0 || p.Message == "" {
			t.Errorf("%+v", p)
		}
	}
	// A variable that cannot be read is a problem as well, with its own name.
	t.Setenv("SIDECAR_PRESET", "relaxed")
	if r = run(t, "validate", good); r.code != ExitConfig || !strings.Contains(r.stderr, "SIDECAR_PRESET") {
		t.Errorf("%+v", r)
	}
}

func TestSchemaAndVersion(t *testing.T) {
	r := run(t, "schema")
	var schema map[string]any
	if err := json.Unmarshal([]byte(r.out), &schema); err != nil || r.code != ExitOK || schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" || schema["properties"] == nil {
		t.Errorf("%v, exit code %d: %.200s", err, r.code, r.out)
	}
	if r = run(t, "version"); r.code != ExitOK || !regexp.MustCompile(`^mcp-sidecar \S+ \(go1\.\d+.*, \w+/\w+\)\n$`).MatchString(r.out) {
		t.Errorf("%+v", r)
	}
	r = run(t, "version", "--json")
	var build map[string]any
	if err := json.Unmarshal([]byte(r.out), &build); err != nil || r.code != ExitOK || build["version"] == "" || build["go"] == "" || build["platform"] == "" {
		t.Errorf("%v: %+v", err, r)
	}
}

// serving is a serve command that runs.
type serving struct {
	url    string
	stop   context.CancelFunc
	code   chan int
	stderr *bytes.Buffer
}

var listening = regexp.MustCompile(`^mcp-sidecar listening on (http://127\.0\.0\.1:\d+/mcp)\n$`)

func startServe(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{stop: cancel, code: make(chan int, 1), stderr: &bytes.Buffer{}}
	r, w := io.Pipe()
	go func() {
		s.code <- Run(ctx, append([]string{"serve"}, args...), Streams{Out: w, Err: s.stderr})
		_ = w.Close()
	}()
	line := make([]byte, 256)
	n, err := r.Read(line)
	if err != nil {
		t.Fatalf("exit code %d: %s", <-s.code, s.stderr)
	}
	go func() {
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			t.Errorf("more on stdout: %s", rest)
		}
	}()
	match := listening.FindStringSubmatch(string(line[:n]))
	if match == nil {
		t.Fatalf("stdout %q", line[:n])
	}
	s.url = match[1]
	return s
}

func (s *serving) status(t *testing.T) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodPost, s.url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"no/such"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestServe: one line on stdout, the rest on stderr, and exit code 0 when it is
// told to stop.
func TestServe(t *testing.T) {
	dir := files(t, map[string]string{"sidecar.yaml": goodConfig + "audit: { file: audit.jsonl }\n", "policy.csv": goodPolicy, "service.token": "the-service-secret\n"})
	for _, row := range []struct {
		name string
		args []string
		says []string
	}{
		{"flags", []string{"--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0", "--insecure-no-auth"}, []string{"preset balanced", "NOT AUTHENTICATED", "built in", "confirm mode is not consent"}},
		{"observe", []string{"--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0", "--insecure-no-auth", "--preset", "observe"}, []string{"preset observe", "only recorded"}},
		{"strict", []string{"--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0", "--insecure-no-auth", "--preset", "strict"}, []string{"preset strict", "strict denies every tool"}},
		{"file", []string{"-c", filepath.Join(dir, "sidecar.yaml")}, []string{"preset balanced", "https://idp.example", "default deny", "audit.jsonl", "off", "terminal"}},
		{"file, stronger flags", []string{"-c", filepath.Join(dir, "sidecar.yaml"), "--preset", "observe"}, []string{"preset observe"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("SIDECAR_STATE_DIR", t.TempDir())
			s := startServe(t, row.args...)
			if got := s.status(t); got != http.StatusOK {
				t.Errorf("status %d", got)
			}
			s.stop()
			if code := <-s.code; code != ExitOK {
				t.Errorf("exit code %d", code)
			}
			for _, want := range row.says {
				if !strings.Contains(s.stderr.String(), want) {
					t.Errorf("stderr lacks %q:\n%s", want, s.stderr)
				}
			}
			if strings.Contains(s.stderr.String(), "the-service-secret") {
				t.Errorf("a secret on stderr:\n%s", s.stderr)
			}
		})
	}
}

// The file's name can come from the environment, which is weaker than a flag.
func TestServeEnvironment(t *testing.T) {
	dir := files(t, map[string]string{"sidecar.yaml": goodConfig, "policy.csv": goodPolicy, "service.token": "s\n"})
	t.Setenv("SIDECAR_STATE_DIR", t.TempDir())
	t.Setenv("SIDECAR_CONFIG", filepath.Join(dir, "sidecar.yaml"))
	t.Setenv("SIDECAR_PRESET", "observe")
	for preset, args := range map[string][]string{"observe": nil, "strict": {"--preset", "strict"}} {
		s := startServe(t, args...)
		s.stop()
		if code := <-s.code; code != ExitOK || !strings.Contains(s.stderr.String(), "preset "+preset) {
			t.Errorf("exit code %d, want preset %s:\n%s", code, preset, s.stderr)
		}
	}
}
