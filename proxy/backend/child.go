package backend

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"mcp-sidecar/proxy/wire"
)

// Why a child no longer answers.
var (
	errEnded  = fmt.Errorf("%w: the child has been ended", ErrTransport)
	errDied   = fmt.Errorf("%w: the child has ended", ErrTransport)
	errClosed = fmt.Errorf("%w: the child has closed its input", ErrTransport)
	errStuck  = fmt.Errorf("%w: the child does not read its input", ErrTransport)
)

// child is one process and everything that is under way between it and the
// parties that it serves.
type child struct {
	s     *Stdio
	owner string // who caused it; empty for a shared one
	begun time.Time

	started chan struct{} // closed when proc or startErr is set
	proc    *process
	failed  error

	out  chan outgoing
	dead chan struct{} // closed when no answer will come any more
	over chan struct{} // closed when the process and all of its goroutines are gone

	lastID atomic.Int64

	mu          sync.Mutex
	err         error // why it is dead
	open        map[int64]*exchange
	watching    map[*exchange]bool
	asked       map[string]asked // by the id that the child gave
	tasks       []task           // oldest first
	first       *party           // who spoke to it first
	mixed       bool             // somebody else has, too
	hello       *hello           // shared only: the one initialize
	initialized bool             // somebody has sent notifications/initialized
	useful      bool             // has given a result, so it is no server of another era
	heard       time.Time        // when its last line came

	// Guarded by Stdio.mu.
	retired bool // serves nobody any more
	ours    bool // ended because the sidecar wanted it
	settled bool // a session has been opened: what ends it now is no failure to start
}

func (s *Stdio) newChild(owner string) *child {
	c := &child{
		s: s, owner: owner, begun: s.opts.Now(),
		started: make(chan struct{}), out: make(chan outgoing, 64), dead: make(chan struct{}), over: make(chan struct{}),
		open: map[int64]*exchange{}, watching: map[*exchange]bool{}, asked: map[string]asked{},
	}
	s.children[c] = struct{}{}
	s.running.Go(c.run)
	return c
}

// run is the child's life. Its goroutine keeps its thread: Linux tells a child
// that its parent has died when the thread that started it ends.
func (c *child) run() {
	defer c.s.buried(c)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.proc, c.failed = startProcess(&c.s.opts)
	close(c.started)
	if c.failed != nil {
		c.s.retire(c, c.failed, false)
		return
	}
	defer c.proc.gone()
	var streams, writer sync.WaitGroup
	streams.Go(c.read)
	streams.Go(func() { c.s.talk.read(c.proc.stderr) })
	writer.Go(c.write)
	c.proc.wait()
	c.clear(&streams)
	c.s.retire(c, errDied, false)
	_ = c.proc.stdin.Close()
	writer.Wait()
}

// clear takes down what the child has left behind in its process group, and ends
// the reading. Its last words are read first.
func (c *child) clear(streams *sync.WaitGroup) {
	read := make(chan struct{})
	go func() { streams.Wait(); close(read) }()
	c.proc.terminate()
	late := time.NewTimer(c.s.bounds.grace)
	defer late.Stop()
	select {
	case <-read:
	case <-late.C: // somebody still holds its output
	}
	c.proc.kill()
	_ = c.proc.stdout.Close()
	_ = c.proc.stderr.Close()
	<-read
}

// read takes the child's output until it ends. Without an output no answer can
// come.
func (c *child) read() {
	lines := wire.NewLineReader(c.proc.stdout, c.s.opts.MaxResult)
	for {
		raw, err := lines.Next()
		switch {
		case errors.Is(err, wire.ErrLineTooLarge):
			id, known := idFrom(raw, nil)
			if !known {
				var tail []byte
				if tail, err = lines.Rest(); err == nil {
					id, known = idFrom(nil, tail)
				}
			}
			c.tooLarge(id, known)
		case err != nil:
			c.s.retire(c, errDied, false)
			return
		default:
			c.receive(raw)
		}
	}
}

// wait returns when the child runs.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.started:
		return c.failed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// death is why no answer will come any more.
func (c *child) death() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// die ends everything that is under way. It is called once.
func (c *child) die(why error) {
	c.mu.Lock()
	c.err = why
	for _, e := range c.open {
		e.box.close(why)
	}
	for e := range c.watching {
		e.box.close(why)
	}
	c.mu.Unlock()
	close(c.dead)
}

// end ends the process: first its input, which asks it to finish (MCP 2025-11-25,
// basic/lifecycle, "Shutdown"), then with signals to its group.
func (c *child) end(now bool) {
	<-c.started
	if c.proc == nil {
		return
	}
	steps := []func(){func() { _ = c.proc.stdin.Close() }, c.proc.terminate, c.proc.kill}
	if now {
		steps = steps[2:]
	}
	for _, step := range steps {
		step()
		late := time.NewTimer(c.s.bounds.grace)
		select {
		case <-c.proc.exited:
			late.Stop()
			return
		case <-late.C:
		}
	}
}
