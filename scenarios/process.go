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
	stopTime  = 5 * time.Second  // for a program to end after SIGTERM
	tailBytes = 4 << 10          // of a program's stderr, shown when it fails
)

// process is a program that the demo started.
type process struct {
	name string
	url  string // where it said that it listens
	log  string // file with its stderr
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why; set before done is closed
}

// start runs a program in dir, with its stderr in dir/NAME.log, and waits until
// it prints "… listening on URL". more is added to its environment. The error of a program that does not holds the
// end of its stderr.
func start(ctx context.Context, dir, name, path string, more []string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                                                       // the child has its own copy
	p := &process{name: name, log: log.Name(), cmd: exec.Command(path, args...), done: make(chan struct{})} //nolint:noctx // stop ends it with SIGTERM first, which a context cannot
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Env = dir, log, append(childEnvironment(), more...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w (make build puts it into bin/)", name, err)
	}
	listening := make(chan string, 1)
	go p.follow(stdout, listening)

	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	select {
	case p.url = <-listening:
		return p, nil
	case <-p.done:
		err = fmt.Errorf("%s ended at once: %w", name, p.err)
	case <-ctx.Done():
		err = fmt.Errorf("%s did not say where it listens: %w", name, ctx.Err())
	}
	p.stop()
	return nil, fmt.Errorf("%w\n%s", err, p.tail())
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
	p.err = p.cmd.Wait()
	if p.err == nil {
		p.err = fmt.Errorf("exit status 0")
	}
	close(p.done)
}

// stop asks the program to end and kills it when it takes too long.
func (p *process) stop() {
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

// ended reports whether the program has ended by itself.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail returns the end of the program's stderr, indented.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Sprintf("  the end of %s's stderr:\n  | %s", p.name, strings.Join(lines, "\n  | "))
}

// childEnvironment leaves out what could change the demo: SIDECAR_ settings, a
// DATABASE_URL, proxy settings.
func childEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SYSTEMROOT", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
