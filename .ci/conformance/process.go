package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that runs until stop.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

// startUp is how long a program may take until it answers, and grace how long
// to end after it was asked.
const (
	startUp = 30 * time.Second
	grace   = 5 * time.Second
)

// launch starts a program whose stderr is kept. The caller may set up stdin and
// stdout in change.
func (b *bench) launch(ctx context.Context, name string, change func(*exec.Cmd) error, program string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.CommandContext(ctx, program, args...), log: &tail{loud: b.verbose, name: name}, done: make(chan struct{})}
	p.cmd.Stderr = p.log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = grace
	if change != nil {
		if err := change(p.cmd); err != nil {
			return nil, err
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // an early end is found by whoever waits for an answer
		close(p.done)
	}()
	return p, nil
}

// stop ends the program and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// failure describes err with what the program said last.
func (p *process) failure(err error) error {
	return fmt.Errorf("%s: %w\n%s", p.name, err, p.log)
}

// tail keeps the end of what a program writes to stderr.
type tail struct {
	name string
	loud bool
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loud {
		fmt.Fprintf(os.Stderr, "[%s] %s", t.name, b)
	}
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// server is an MCP endpoint with the programs behind it.
type server struct {
	url       string
	processes []*process // in the order of their start
}

func (s *server) stop() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].stop()
	}
}

// serveHTTP starts a program that listens where listen tells it to.
func (b *bench) serveHTTP(ctx context.Context, name string, listen func(addr string, c *exec.Cmd), program string, args ...string) (*server, error) {
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := b.launch(ctx, name, func(c *exec.Cmd) error { listen(addr, c); return nil }, program, args...)
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://" + addr + "/mcp", processes: []*process{p}}
	if err := p.waitFor(ctx, addr); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// freeAddress is a loopback address that was free a moment ago: the programs
// that need one cannot be told to choose.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := l.Addr().String()
	return addr, l.Close()
}

// waitFor returns once somebody answers at addr.
func (p *process) waitFor(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startUp)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return p.failure(errors.New("ended at its start"))
		case <-ctx.Done():
			return p.failure(ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// serveSidecar puts a sidecar in front of upstream, which is the value of its
// entry in the configuration. s may be what runs behind it.
func (b *bench) serveSidecar(ctx context.Context, s *server, preset, upstream string, env []string) (*server, error) {
	if s == nil {
		s = &server{}
	}
	file, err := b.config(preset, upstream)
	if err != nil {
		s.stop()
		return nil, err
	}
	var stdout io.ReadCloser
	p, err := b.launch(ctx, "mcp-sidecar", func(c *exec.Cmd) (err error) { c.Env = env; stdout, err = c.StdoutPipe(); return err },
		b.sidecar, "serve", "-c", file, "--insecure-no-auth")
	if err != nil {
		s.stop()
		return nil, err
	}
	s.processes = append(s.processes, p)
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	_, url, found := strings.Cut(strings.TrimSpace(line), "listening on ")
	if !found {
		s.stop()
		return nil, p.failure(fmt.Errorf("no address but %q", line))
	}
	s.url = url
	return s, nil
}

// config writes a configuration in a folder of its own. Every guard is named, so
// that none is left to what a preset happens to mean.
func (b *bench) config(preset, upstream string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "sidecar-")
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("version: 1\npreset: %s\nlisten: 127.0.0.1:0\nstate_dir: %q\nupstreams:\n  server: %s\n", preset, dir, upstream)
	text += "dns: { hosts: { example.com: [93.184.215.14] } }\n" // nothing dials it, and a machine without DNS must not matter
	if preset != "observe" {
		text += "guards: { secrets: enforce, injection: enforce, schema: enforce, marker_writeback: enforce }\n"
	}
	file := filepath.Join(dir, "sidecar.yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}
