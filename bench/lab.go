package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // sidecar.yaml and policy.csv
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var (
	//go:embed sidecar.yaml
	sidecarConfig string

	//go:embed policy.csv
	sidecarPolicy []byte
)

// What stands in sidecar.yaml and is replaced by what the run has.
const (
	configIssuer   = "http://127.0.0.1:9000"
	configUpstream = "http://127.0.0.1:9001"
	configAudit    = "audit.jsonl"
)

// Names of the paths.
const (
	directPath  = "direct"
	floorPath   = "floor"
	sidecarPath = "sidecar" // in the stateless revision
	sessionPath = "session" // through the same sidecar, in a session
)

// path is one way from the clients to the upstream.
type path struct {
	name  string
	proxy *process // nil for the direct path
	load  *load
}

// lab is everything that runs beside this process.
type lab struct {
	options   options
	dir       string
	token     string
	issuer    *process
	upstream  *process
	sidecar   *process
	paths     []*path
	processes []*process
}

// newLab starts everything. After an error nothing is left running.
func newLab(ctx context.Context, o options) (*lab, error) {
	dir, err := os.MkdirTemp("", "mcp-sidecar-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, dir: dir}
	if err := l.build(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) build(ctx context.Context) error {
	for _, name := range []string{"introspection.secret", "service.token"} {
		if err := l.write(name, []byte(rand.Text())); err != nil {
			return err
		}
	}
	var err error
	if l.upstream, err = l.role(ctx, "upstream", "--answer", l.options.answer); err != nil {
		return err
	}
	floor, err := l.role(ctx, "floor", "--upstream", l.upstream.url)
	if err != nil {
		return err
	}
	if l.issuer, err = l.role(ctx, "issuer", "--secret-file", l.file("introspection.secret"), "--token-file", l.file("client.token")); err != nil {
		return err
	}
	token, err := os.ReadFile(l.file("client.token"))
	if err != nil {
		return err
	}
	l.token = string(token)
	if l.sidecar, err = l.startSidecar(ctx, "mcp-sidecar", l.upstream); err != nil {
		return err
	}
	l.paths = []*path{
		{name: directPath, load: newLoad(l.upstream.url+mcpPath, l.token, stateless)},
		{name: floorPath, proxy: floor, load: newLoad(floor.url+mcpPath, l.token, stateless)},
		{name: sidecarPath, proxy: l.sidecar, load: newLoad(l.sidecar.url, l.token, stateless)},
		{name: sessionPath, proxy: l.sidecar, load: newLoad(l.sidecar.url, l.token, withSession)},
	}
	return nil
}

// startSidecar starts one in front of upstream, with files of its own.
func (l *lab) startSidecar(ctx context.Context, name string, upstream *process, environment ...string) (*process, error) {
	config := strings.NewReplacer(configIssuer, l.issuer.url, configUpstream, upstream.url, configAudit, auditFile(name)).Replace(sidecarConfig)
	if err := l.write("policy.csv", sidecarPolicy); err != nil {
		return nil, err
	}
	if err := l.write(name+".yaml", []byte(config)); err != nil {
		return nil, err
	}
	return l.start(ctx, name, environment, l.options.sidecar, "serve", "-c", l.file(name+".yaml"))
}

func auditFile(sidecar string) string { return sidecar + ".jsonl" }

// role starts this very program as something else.
func (l *lab) role(ctx context.Context, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(ctx, name, nil, self, append([]string{roleCommand, name}, args...)...)
}

func (l *lab) start(ctx context.Context, name string, environment []string, program string, args ...string) (*process, error) {
	p, err := start(ctx, l.dir, name, environment, program, args...)
	if err != nil {
		return nil, err
	}
	l.processes = append(l.processes, p)
	return p, nil
}

func (l *lab) file(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name string, text []byte) error { return os.WriteFile(l.file(name), text, 0o600) }

// counted asks the upstream what reached it so far.
func (l *lab) counted(ctx context.Context) (counted, error) {
	var c counted
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.upstream.url+countedPath, nil)
	if err != nil {
		return c, err
	}
	resp, err := l.paths[0].load.client.Do(req)
	if err != nil {
		return c, fmt.Errorf("upstream: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

// audited returns how many outcome records of tool calls the sidecar has written.
func (l *lab) audited() (n int, err error) {
	text, err := os.ReadFile(l.file(auditFile(l.sidecar.name)))
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte(`"phase":"outcome"`)) && bytes.Contains(line, []byte(`"mcp_method":"tools/call"`)) {
			n++
		}
	}
	return n, err
}

// stop ends all programs, what talks before what it talks to.
func (l *lab) stop() {
	for _, p := range l.paths {
		p.load.close()
	}
	for _, p := range slices.Backward(l.processes) {
		p.stop()
	}
}

// close stops what still runs and removes the work folder.
func (l *lab) close() {
	l.stop()
	_ = os.RemoveAll(l.dir) //nolint:gosec // the work folder that newLab made
}
