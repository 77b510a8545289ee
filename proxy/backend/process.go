package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// process is a child and its pipes. It knows bytes, not messages.
type process struct {
	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File
	gone                  func()        // see StdioOptions.Attend
	exited                chan struct{} // closed when the child has ended
	code                  int           // how it ended, once exited is closed
}

// command is the child that o describes. Its environment is o.Env and nothing
// else: the sidecar's own holds credentials.
func (o *StdioOptions) command() *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), o.Command[0], o.Command[1:]...)
	cmd.Env = append([]string{}, o.Env...) // nil would inherit
	cmd.Dir = o.Dir
	ownGroup(cmd)
	return cmd
}

// startProcess starts a child. Where the system ends a child with its parent, it
// looks at the thread that started it: the caller must be locked to its thread
// until the child has ended.
func startProcess(o *StdioOptions) (*process, error) {
	if err := o.checkDir(); err != nil {
		return nil, err
	}
	p := &process{cmd: o.command(), gone: func() {}, exited: make(chan struct{})}
	if o.Credential != nil {
		entry, err := o.Credential(context.Background())
		if err != nil {
			return nil, fmt.Errorf("%w: the child was not started: %w", ErrTransport, err)
		}
		p.cmd.Env = append(p.cmd.Env, entry)
	}
	if o.Attend != nil {
		env, gone, err := o.Attend()
		if err != nil {
			return nil, fmt.Errorf("%w: the child was not started: %w", ErrTransport, err)
		}
		p.cmd.Env, p.gone = append(p.cmd.Env, env...), gone
	}
	stdin, stdout, stderr, err := p.pipes()
	// Files of the system's own, so that no goroutine copies between us and them.
	if err == nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, stdout, stderr
		err = p.cmd.Start()
	}
	for _, theirs := range []*os.File{stdin, stdout, stderr} {
		_ = theirs.Close() // nil where there is none
	}
	if err != nil {
		p.close()
		p.gone()
		return nil, notStarted(err)
	}
	return p, nil
}

// pipes opens the three pipes and returns the child's ends.
func (p *process) pipes() (stdin, stdout, stderr *os.File, err error) {
	if stdin, p.stdin, err = os.Pipe(); err != nil {
		return
	}
	if p.stdout, stdout, err = os.Pipe(); err != nil {
		return
	}
	p.stderr, stderr, err = os.Pipe()
	return
}

// wait blocks until the child has ended.
func (p *process) wait() {
	_ = p.cmd.Wait() // says how it ended, which its state says as well
	p.code = exitCode(p.cmd.ProcessState)
	close(p.exited)
}

func (p *process) close() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		_ = f.Close()
	}
}

// notStarted gives an error the meaning that a shell would: not found (127) or
// not executable (126).
func notStarted(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: %w: %w", ErrTransport, exec.ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: %w: %w", ErrTransport, fs.ErrPermission, err)
	}
	return fmt.Errorf("%w: the child was not started: %w", ErrTransport, err)
}

// executable says whether the command could be started, without starting it.
func (o *StdioOptions) executable() error {
	cmd := o.command()
	if cmd.Err != nil {
		return notStarted(cmd.Err)
	}
	path := cmd.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return notStarted(err)
	case info.IsDir() || runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return notStarted(&fs.PathError{Op: "exec", Path: path, Err: fs.ErrPermission})
	}
	return o.checkDir()
}

// checkDir looks at the working directory: a missing one would read as a missing
// command.
func (o *StdioOptions) checkDir() error {
	if o.Dir == "" {
		return nil
	}
	info, err := os.Stat(o.Dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("%w: working directory of the child: %w", ErrTransport, err)
	}
	return nil
}
