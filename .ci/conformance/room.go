package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func (b *bench) preload() string { return filepath.Join(b.dir, "preload.mjs") }

// awsKey is a secret in the servers' environment and files.
const awsKey = "AKIAIOSFODNN7EXAMPLE"

// room prepares the folder of one run and its environment. It has the same name
// each time: servers print it.
func (b *bench) room() (dir string, env []string, err error) {
	dir = filepath.Join(b.dir, "room")
	if err := os.RemoveAll(dir); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	dot, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
	if err != nil {
		return "", nil, err
	}
	for name, text := range map[string]string{
		"notes.txt":  "first line\nsecond line – «ünïcode» 🙂\n\nlast line without an end",
		"old.txt":    "old\n",
		"deploy.env": "USER=deploy\nKEY=" + awsKey + "\n",
		"dot.png":    string(dot),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", nil, err
		}
		then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		if err := os.Chtimes(file, then, then); err != nil {
			return "", nil, err
		}
	}
	return dir, []string{"AWS_ACCESS_KEY_ID=" + awsKey, "HOME=" + dir, "MEMORY_FILE_PATH=" + filepath.Join(dir, "memory.json"), "PATH=" + os.Getenv("PATH"), "PORT=" + b.port}, nil
}

// command is the program and arguments of a server.
func (b *bench) command(s npmServer, dir string, more ...string) []string {
	c := []string{b.node, "--import", b.preload(), b.script(s.name)}
	for _, arg := range s.args {
		c = append(c, strings.ReplaceAll(arg, dirMark, dir))
	}
	return append(c, more...)
}

// startHTTP starts a server that listens at the port of its environment, which is
// the same in each run: get-env says it.
func (b *bench) startHTTP(ctx context.Context, s npmServer, dir string, env []string) (*server, error) {
	command := b.command(s, dir, "streamableHttp")
	p, err := b.launch(ctx, s.name, func(c *exec.Cmd) error { c.Env = env; return nil }, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	up := &server{url: "http://127.0.0.1:" + b.port + "/mcp", processes: []*process{p}}
	if err := p.waitFor(ctx, "127.0.0.1:"+b.port); err != nil {
		up.stop()
		return nil, err
	}
	return up, nil
}

// route is how a client reaches a server: at url, or, without one, by starting
// command.
type route struct {
	url     string
	command []string
	env     []string
	stop    func() // ends what runs already
}

// route puts a sidecar in front of s.
func (b *bench) route(ctx context.Context, s npmServer, p pair, preset, dir string, env []string) (r route, err error) {
	up := &server{}
	command := b.command(s, dir)
	upstream := fmt.Sprintf("{ command: [%s], env_allow: [AWS_ACCESS_KEY_ID, HOME, MEMORY_FILE_PATH, PATH, PORT] }", quoted(command))
	if p.upstream == "http" {
		if up, err = b.startHTTP(ctx, s, dir, env); err != nil {
			return r, err
		}
		upstream = fmt.Sprintf("{ url: %q }", up.url)
	}
	r = route{env: b.own(env), stop: func() { up.stop() }}
	switch {
	case p.client == "http":
		if up, err = b.serveSidecar(ctx, up, preset, upstream, env); err != nil {
			return r, err
		}
		r.url = up.url
	case preset == "observe" && p.upstream == "http": // as one would without a file
		r.command = []string{b.sidecar, "wrap", "--preset", preset, "--upstream", up.url}
	case preset == "observe":
		r.command = append([]string{b.sidecar, "wrap", "--preset", preset, "--"}, command...)
	default:
		file, err := b.config(preset, upstream)
		if err != nil {
			up.stop()
			return r, err
		}
		r.command = []string{b.sidecar, "wrap", "-c", file}
	}
	return r, nil
}

// connect brings c to the server.
func (b *bench) connect(ctx context.Context, c *client, r route) error {
	if r.url != "" {
		overHTTP(ctx, c, r.url)
		return nil
	}
	return b.stdio(ctx, c, r.env, r.command[0], r.command[1:]...)
}

// own is env for a sidecar that has no file: its records must not lie in the
// folder that the servers show.
func (b *bench) own(env []string) []string {
	return append(slices.Clone(env), "SIDECAR_STATE_DIR="+filepath.Join(b.dir, "state"))
}

func quoted(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, fmt.Sprintf("%q", w))
	}
	return strings.Join(all, ", ")
}
