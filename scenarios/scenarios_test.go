package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/scenarios/pgtest"
)

// These tests build the three programs and run the whole demo as a user does.

var update = flag.Bool("update", false, "rewrite the golden files")

// bin is the folder with the built programs; buildErrors says which do not build.
var (
	bin         string
	buildErrors = make(map[string]error)
)

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if bin, err = os.MkdirTemp("", "scenarios-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for program, source := range map[string]string{
		"docserver": "mcp-sidecar/upstream", "mcp-sidecar": "mcp-sidecar/proxy", "scenarios": "mcp-sidecar/scenarios",
	} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(bin, program), source).CombinedOutput()
		if err != nil {
			buildErrors[program] = fmt.Errorf("building %s: %w\n%s", program, err, out)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(bin)
	os.Exit(code)
}

// ran is what came of a run of the driver.
type ran struct {
	code           int
	stdout, stderr string
}

// drive runs the built driver and checks that nothing is left in the temporary
// folder.
func drive(t *testing.T, args ...string) ran {
	t.Helper()
	needs(t, "scenarios", "docserver")
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "scenarios"), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code says more
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if err := buildErrors[p]; err != nil {
			t.Fatal(err)
		}
	}
}

// golden compares got with a file of testdata. The example JWT is kept out of the
// files, so that secret scanners leave them alone.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, jwt, "<example JWT>")
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", name, difference(string(want), got))
	}
}

// difference shows the lines that only one of two texts has.
func difference(want, got string) string {
	var b strings.Builder
	wantLines, gotLines := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range wantLines {
		if !slices.Contains(gotLines, line) {
			fmt.Fprintln(&b, "-", line)
		}
	}
	for _, line := range gotLines {
		if !slices.Contains(wantLines, line) {
			fmt.Fprintln(&b, "+", line)
		}
	}
	return b.String()
}

// TestDemo: both revisions print the same over both transports, to the byte.
func TestDemo(t *testing.T) {
	needs(t, "mcp-sidecar")
	for _, transport := range []string{overHTTP, overStdio} {
		for _, revision := range revisions {
			t.Run(transport+" "+revision, func(t *testing.T) {
				r := drive(t, "--transport", transport, "--revision", revision)
				if r.code != exitOK {
					t.Errorf("exit code %d, stderr:\n%s", r.code, r.stderr)
				}
				golden(t, "demo.golden", r.stdout)
			})
		}
	}
}

var ownDatabase = regexp.MustCompile(`postgres://documents:n4ive[A-Z2-7]+@127\.0\.0\.1:[0-9]+/docserver_direct\?sslmode=disable`)

// TestDemoOnPostgres: with documents and policy in a database everything is the same,
// but for what the naive server tells of its own.
func TestDemoOnPostgres(t *testing.T) {
	needs(t, "mcp-sidecar")
	pgtest.NeedsBinaries(t)
	r := drive(t, "--postgres")
	if r.code != exitOK || !strings.Contains(r.stderr, "postgres    127.0.0.1:") {
		t.Errorf("exit code %d, stderr:\n%s", r.code, r.stderr)
	}
	if n := len(ownDatabase.FindAllString(r.stdout, -1)); n == 0 {
		t.Error("the naive server does not tell of a database")
	}
	golden(t, "demo.golden", ownDatabase.ReplaceAllString(r.stdout, memoryName))
}

// With servers that run already there is no database to start.
func TestDemoOnPostgresStartsItsServers(t *testing.T) {
	needs(t, "mcp-sidecar")
	for _, args := range [][]string{{"--transport", "stdio"}, {"--direct", "http://127.0.0.1:1/mcp"}, {"--proxied", "http://127.0.0.1:1/mcp"}} {
		if r := drive(t, append(args, "--postgres")...); r.code != exitUsage || !strings.Contains(r.stderr, "--postgres starts its servers itself") {
			t.Errorf("%q: %d %s", args, r.code, r.stderr)
		}
	}
}

var idInText = regexp.MustCompile(`(\bid=|"document:)[0-9]+`)

// TestProxiedLines: without the indented lines and the summary, the demo prints
// exactly the lines that were promised, with N for IDs.
func TestProxiedLines(t *testing.T) {
	needs(t, "mcp-sidecar")
	r := drive(t)
	var lines []string
	for line := range strings.Lines(r.stdout) {
		if !strings.HasPrefix(line, below) {
			lines = append(lines, idInText.ReplaceAllString(line, "${1}N"))
		}
	}
	text, _, _ := strings.Cut(strings.Join(lines, ""), "\n\n")
	golden(t, "proxied.golden", text+"\n")
}

func TestOnly(t *testing.T) {
	needs(t, "mcp-sidecar")
	r := drive(t, "--only", "consent,scope")
	if r.code != exitOK {
		t.Errorf("exit code %d, stderr:\n%s", r.code, r.stderr)
	}
	for _, row := range []struct {
		text string
		want bool
	}{
		{"=== Scope minimization", true}, {"=== Human-in-the-loop consent", true},
		{"Permission matrix", false}, {"=== SSRF", false},
		{"\n2 sections, 2 attacks: 2 succeed directly, 0 through the sidecar; 2 legitimate calls pass both ways\n", true},
	} {
		if strings.Contains(r.stdout, row.text) != row.want {
			t.Errorf("%q printed: %v, want %v", row.text, !row.want, row.want)
		}
	}
}

// opaque matches what could be one of the run's tokens and secrets.
var opaque = regexp.MustCompile(`[A-Z2-7]{26}`)

func TestJSON(t *testing.T) {
	needs(t, "mcp-sidecar")
	r := drive(t, "--json", "--revision", "2025-11-25")
	if r.code != exitOK {
		t.Fatalf("exit code %d, stderr:\n%s", r.code, r.stderr)
	}
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	decoder.DisallowUnknownFields()
	var rep report
	if err := decoder.Decode(&rep); err != nil {
		t.Fatal(err)
	}
	if decoder.More() {
		t.Error("more than one document")
	}
	if rep.Version != 1 || !rep.OK || rep.Revision != "2025-11-25" || rep.Transport != "http" || len(rep.Sections) != len(scenarios()) {
		t.Errorf("report %+v", rep)
	}
	for _, s := range rep.Sections {
		for _, c := range s.Cases {
			if !c.OK || c.Direct.Answer.Text == "" || c.Proxied.Answer.Text == "" || len(c.Effects) == 0 {
				t.Errorf("%s/%s: %+v", s.Name, c.Case, c)
			}
		}
	}
	if found := opaque.FindString(r.stdout + r.stderr); found != "" {
		t.Errorf("a token or secret is printed: %q", found)
	}
}

// server starts a program until the test ends.
func server(t *testing.T, dir, name, program string, args ...string) *process {
	t.Helper()
	needs(t, program)
	p, err := start(t.Context(), dir, name, filepath.Join(bin, program), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// freeAddress returns a loopback address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// prepared is a work folder for servers that the test starts by hand.
type prepared struct {
	folder        folder
	issuer, fakes string
}

func newPrepared(t *testing.T) prepared {
	t.Helper()
	p := prepared{folder: folder(t.TempDir()), issuer: freeAddress(t), fakes: freeAddress(t)}
	r := drive(t, "--prepare", "--work", string(p.folder), "--issuer", p.issuer, "--fakes", p.fakes,
		"--direct", "http://127.0.0.1:9002/mcp", "--proxied", "http://127.0.0.1:8811/mcp")
	if r.code != exitOK {
		t.Fatalf("exit code %d, stderr:\n%s", r.code, r.stderr)
	}
	return p
}

// docserver starts a document server that cannot leave loopback.
func (p prepared) docserver(t *testing.T, name string, args ...string) *process {
	t.Helper()
	args = append(args, "--listen", anyPort, "--hosts", p.folder.path(hostsFile), "--ca-file", p.folder.path(caFile),
		"--scratch", p.folder.path(name+"-home"))
	return server(t, string(p.folder), name, "docserver", args...)
}

func (p prepared) drive(t *testing.T, args ...string) ran {
	t.Helper()
	return drive(t, append(args, "--work", string(p.folder), "--issuer", p.issuer, "--fakes", p.fakes)...)
}

// TestServersRunningAlready: the same lines, and "not measured" for what cannot
// be seen from outside.
func TestServersRunningAlready(t *testing.T) {
	needs(t, "mcp-sidecar")
	p := newPrepared(t)
	direct := p.docserver(t, "docserver-direct")
	behind := p.docserver(t, "docserver-behind", "--service-token-file", p.folder.path(serviceFile))
	if err := p.folder.config(configFile, anyPort, "http://"+p.issuer, atURL(behind.url)); err != nil {
		t.Fatal(err)
	}
	sidecar := server(t, string(p.folder), "mcp-sidecar", "mcp-sidecar", "serve", "-c", p.folder.path(configFile))

	// The issuer is the driver's own and starts with it.
	r := p.drive(t, "--direct", direct.url, "--proxied", sidecar.url)
	if r.code != exitOK {
		t.Errorf("exit code %d, stderr:\n%s\nstdout:\n%s\n%s", r.code, r.stderr, r.stdout, sidecar.tail())
	}
	for _, want := range []string{
		"effect: client credential seen upstream: direct=not measured, proxied=not measured\n",
		"effect: canary: direct=not measured, proxied=not measured\n",
		"effect: metadata service hit: direct=yes, proxied=no\n",
		"effect: row: direct=gone, proxied=there\n",
		"  carol logs in, and once more -> NOT RUN  | it needs servers that the demo starts\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("stdout lacks %q", want)
		}
	}
}

// TestWithoutProtection puts the naive server where the sidecar should be.
func TestWithoutProtection(t *testing.T) {
	p := newPrepared(t)
	naive := p.docserver(t, "docserver-behind")
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			r := p.drive(t, "--proxied", naive.url, "--revision", revision, "--only", "matrix,auth,secrets,injection,scope,consent,ssrf,passthrough,identity,stepup,session")
			if r.code != exitUnexpected {
				t.Errorf("exit code %d, want %d, stderr:\n%s", r.code, exitUnexpected, r.stderr)
			}
			// Nothing here believes headers or adopts session ids: four attacks do nothing.
			if want := "\n11 sections, 32 attacks: 32 succeed directly, 28 through the sidecar; 11 legitimate calls pass both ways\n"; !strings.Contains(r.stdout, want) {
				t.Errorf("summary is not %q:\n%s", want, r.stdout)
			}
		})
	}
}

// TestStaleDemo: an attack that no longer works on the naive server proves
// nothing, so the demo fails.
func TestStaleDemo(t *testing.T) {
	p := newPrepared(t)
	safer := p.docserver(t, "docserver-direct", "--exec", "argv")
	naive := p.docserver(t, "docserver-behind")
	r := p.drive(t, "--direct", safer.url, "--proxied", naive.url, "--only", "command")
	if r.code != exitUnexpected {
		t.Errorf("exit code %d, want %d, stderr:\n%s", r.code, exitUnexpected, r.stderr)
	}
	if want := "\n1 sections, 1 attacks: 0 succeed directly, 1 through the sidecar;"; !strings.Contains(r.stdout, want) {
		t.Errorf("summary is not %q:\n%s", want, r.stdout)
	}
}

func TestPrepare(t *testing.T) {
	p := newPrepared(t)
	for _, name := range []string{caFile, caKeyFile, hostsFile, serviceFile, introspectFile, policyFile, revokedFile, configFile} {
		if _, err := os.Stat(p.folder.path(name)); err != nil {
			t.Error(err)
		}
	}
	hosts, err := os.ReadFile(p.folder.path(hostsFile))
	if err != nil || !strings.Contains(string(hosts), p.fakes) {
		t.Errorf("hosts map %q, %v", hosts, err)
	}
	for _, dir := range []string{"docserver-direct-home", "docserver-behind-home"} {
		if !hasCanary(p.folder.path(dir)) {
			t.Errorf("%s holds no canary", dir)
		}
	}
	if u, err := url.Parse("http://" + p.issuer); err != nil || u.Port() == "0" {
		t.Errorf("issuer %q", p.issuer)
	}
}
