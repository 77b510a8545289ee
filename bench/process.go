package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startTime = 15 * time.Second // for a program to say that it listens
	stopTime  = 10 * time.Second // for a program to end
	tailBytes = 2 << 10          // of a program's stderr, shown when it fails
)

// process is a program that the benchmark started.
type process struct {
	name  string
	url   string // where it said that it listens
	log   string // file with its stderr
	cmd   *exec.Cmd
	stdin io.Closer     // its end ends a role
	done  chan struct{} // closed when it has ended
}

// start runs a program in dir, with its stderr in dir/NAME.log, and waits until
// it prints "… listening on URL". environment comes on top of childEnvironment. The error of a program that does not holds the
// end of its stderr.
func start(ctx context.Context, dir, name string, environment []string, path string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	p := &process{name: name, log: log.Name(), done: make(chan struct{})}
	p.cmd = exec.Command(path, args...) //nolint:noctx // stop ends it gently
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Env = dir, log, append(childEnvironment(), environment...)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	listening := make(chan string, 1)
	go p.follow(stdout, listening)
	return p, p.await(ctx, listening)
}

// await returns when p listens; otherwise it stops p.
func (p *process) await(ctx context.Context, listening <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var err error
	select {
	case p.url = <-listening:
		return nil
	case <-p.done:
		err = fmt.Errorf("%s ended at once: %s", p.name, p.cmd.ProcessState)
	case <-ctx.Done():
		err = fmt.Errorf("%s did not say where it listens: %w", p.name, ctx.Err())
	}
	p.stop()
	return fmt.Errorf("%w\n%s", err, p.tail())
}

// follow reports the URL in the program's first "listening on" line, keeps the
// pipe empty afterwards, and waits for the end.
func (p *process) follow(stdout io.Reader, listening chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), " listening on "); ok {
			listening <- strings.TrimSpace(url)
			break
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	_ = p.cmd.Wait()
	close(p.done)
}

// stop asks the program to end and kills it when it takes too long. It may be
// called again.
func (p *process) stop() {
	_ = p.stdin.Close()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		_ = p.cmd.Process.Kill() // no SIGTERM on Windows; harmless for a process that has ended
	}
	select {
	case <-p.done:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// lifetime is the processor time that p used from start to end; 0 before that.
func (p *process) lifetime() time.Duration {
	select {
	case <-p.done:
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	default:
		return 0
	}
}

// tail returns the end of the program's stderr, indented.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	text = text[max(0, len(text)-tailBytes):]
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Sprintf("  the end of %s's stderr:\n  | %s", p.name, strings.Join(lines, "\n  | "))
}

// childEnvironment leaves out what would change the sidecar only: SIDECAR_
// settings and proxies. Go's own settings reach every process alike.
func childEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SYSTEMROOT", "GOCOVERDIR", "GOGC", "GOMAXPROCS", "GODEBUG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
