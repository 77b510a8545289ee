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

// Addresses in sidecar.yaml that are replaced by those of the run.
const (
	configIssuer   = "http://127.0.0.1:9000"
	configUpstream = "http://127.0.0.1:9001"
)

// Names of the paths.
const (
	directPath  = "direct"
	floorPath   = "floor"
	sidecarPath = "sidecar"
)

// path is one way from the clients to the upstream.
type path struct {
	name  string
	url   string
	proxy *process // nil for the direct path
	load  *load
}

// lab is everything that runs beside this process.
type lab struct {
	options   options
	dir       string
	upstream  *process
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
	issuer, err := l.role(ctx, "issuer", "--secret-file", l.file("introspection.secret"), "--token-file", l.file("client.token"))
	if err != nil {
		return err
	}
	sidecar, err := l.startSidecar(ctx, issuer.url)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(l.file("client.token"))
	if err != nil {
		return err
	}
	l.paths = []*path{
		{name: directPath, url: l.upstream.url + mcpPath},
		{name: floorPath, url: floor.url + mcpPath, proxy: floor},
		{name: sidecarPath, url: sidecar.url, proxy: sidecar},
	}
	for _, p := range l.paths {
		p.load = newLoad(p.url, string(token))
	}
	return nil
}

func (l *lab) startSidecar(ctx context.Context, issuerURL string) (*process, error) {
	config := strings.NewReplacer(configIssuer, issuerURL, configUpstream, l.upstream.url).Replace(sidecarConfig)
	if err := l.write("policy.csv", sidecarPolicy); err != nil {
		return nil, err
	}
	if err := l.write("sidecar.yaml", []byte(config)); err != nil {
		return nil, err
	}
	return l.start(ctx, "mcp-sidecar", l.options.sidecar, "serve", "-c", l.file("sidecar.yaml"))
}

// role starts this very program as something else.
func (l *lab) role(ctx context.Context, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(ctx, name, self, append([]string{roleCommand, name}, args...)...)
}

func (l *lab) start(ctx context.Context, name, program string, args ...string) (*process, error) {
	p, err := start(ctx, l.dir, name, program, args...)
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

// audited returns how many outcome records the sidecar has written.
func (l *lab) audited() (int, error) {
	text, err := os.ReadFile(l.file("audit.jsonl")) //nolint:gosec // in the work folder that newLab made
	return bytes.Count(text, []byte(`"phase":"outcome"`)), err
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
