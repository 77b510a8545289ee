package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mcp-sidecar/proxy/wire"
)

// StdioOptions configure an upstream that runs as a child process.
type StdioOptions struct {
	// Command is the program and its arguments, without a shell in between.
	Command []string
	// Env is the whole environment of the child, as NAME=value. Nothing is
	// inherited: the sidecar's own environment may hold its secrets.
	Env []string
	// Credential is one more entry of Env, asked for whenever a child is started: it
	// may change. Nil is none.
	Credential func(context.Context) (entry string, err error)
	// Attend is called before each child is started. It gives more entries of Env, and what
	// is called once the child is gone. Nil is not called.
	Attend func() (env []string, gone func(), err error)
	// Dir is the child's working directory; empty means the sidecar's.
	Dir string
	// Shared has one child serve everybody. Otherwise each session has one of its
	// own, and so has each owner of stateless requests.
	Shared bool
	// MaxResult is the length of one message in bytes; 0 means 16 MiB.
	MaxResult int
	// IdleTimeout is the longest silence within an answer; 0 means 5 minutes.
	IdleTimeout time.Duration
	// MaxChildren bounds the processes that exist at one time; 0 means 64.
	MaxChildren int
	// Stderr receives what children write to their standard error, line by line,
	// cut, rated and escaped, but not redacted. It may block: then lines are
	// dropped. Nil discards.
	Stderr func(line string)
	// Log is for the operator. It may block, too. Nil discards.
	Log *slog.Logger
	// Now is the clock for idle children and restarts. Nil means the system's.
	Now func() time.Time
	// After runs a function later. Nil means the system's timer.
	After func(time.Duration, func())
}

// Stdio is an upstream that runs as child processes, which speak one JSON-RPC
// message a line. It is safe for concurrent use.
//
// The pipe to a child is shared by whoever it serves, so everything that names a
// request is renamed on its way in and back on its way out: request ids, progress
// tokens, subscription ids. What a child says without naming a request goes to the
// one session that it serves; a shared child that has heard more than one is not
// asked whom it means: such messages are dropped, and its requests are refused.
type Stdio struct {
	opts   StdioOptions
	bounds bounds
	talk   *talk

	noise   atomic.Uint64
	dropped atomic.Uint64

	mu        sync.Mutex
	closed    bool
	parties   map[string]*party
	shared    *child
	children  map[*child]struct{} // that exist, also those that are ending
	failures  map[string]*failure
	sweeping  bool
	exitCode  int
	exited    bool
	done      chan struct{} // see Done
	noticed   time.Time     // when noise was logged last
	closeOnce sync.Once
	doneOnce  sync.Once
	running   sync.WaitGroup
}

// bounds are how long children may take.
type bounds struct {
	grace time.Duration // to end, before each further step is taken
	write time.Duration // to read a line
	stall time.Duration // that a client which does not read may hold its child up
}

// NewStdio returns an upstream that runs o.Command. It starts nothing yet.
func NewStdio(o StdioOptions) (*Stdio, error) {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, errors.New("upstream command is empty")
	}
	for _, s := range slices.Concat(o.Command, o.Env) {
		if strings.ContainsRune(s, 0) {
			return nil, errors.New("upstream command or environment holds a NUL byte")
		}
	}
	if o.MaxResult == 0 {
		o.MaxResult = 16 << 20
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	if o.MaxChildren == 0 {
		o.MaxChildren = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	stall := time.Minute
	if o.Shared {
		stall = 5 * time.Second // others wait as well
	}
	return &Stdio{
		opts: o, bounds: bounds{grace: 2 * time.Second, write: time.Minute, stall: stall},
		talk: newTalk(o.Stderr, o.Now), parties: map[string]*party{}, children: map[*child]struct{}{},
		failures: map[string]*failure{}, done: make(chan struct{}),
	}, nil
}

// Do carries x to the child that serves its session or its owner and hands the
// answer to sink. Errors wrap ErrTransport, ErrTooLarge, or are the sink's own or
// the context's; when the command cannot be started they also wrap
// exec.ErrNotFound or fs.ErrPermission, or what Credential or Attend said.
func (s *Stdio) Do(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
	err := s.do(ctx, x, sink)
	switch {
	case errors.Is(err, wire.ErrDone):
		return nil
	case errors.Is(err, errNoSession):
		return ended(sink.Reply(wire.Reply{Status: 404}))
	}
	return err
}

// ended is the end of an exchange that has nothing more to say.
func ended(err error) error {
	if errors.Is(err, wire.ErrDone) {
		return nil
	}
	return err
}

func (s *Stdio) do(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
	if x.Verb != wire.Send && x.Session == "" {
		// Without a session there is neither a standalone stream nor an end.
		return sink.Reply(wire.Reply{Status: 405})
	}
	var m *wire.Message
	if x.Verb == wire.Send {
		var err error
		if m, err = wire.Scan(x.Body, fromClient); err != nil {
			return fmt.Errorf("a message that was let through cannot be read: %w", err)
		}
		if m.Kind == wire.Request && m.Method == "initialize" {
			return s.initialize(ctx, x, m, sink)
		}
	}
	p, err := s.find(ctx, x)
	if err != nil {
		return err
	}
	defer s.release(p)
	switch {
	case x.Verb == wire.End:
		s.drop(p)
		return sink.Reply(wire.Reply{Status: 204})
	case x.Verb == wire.Watch:
		return p.child.watch(ctx, p, sink)
	case m.Kind == wire.Request:
		_, err := p.child.ask(ctx, p, x, m, sink, "")
		return err
	}
	if err := p.child.tell(ctx, p, m); err != nil {
		return err
	}
	return sink.Reply(wire.Reply{Status: 202})
}

// initialize opens a session. Its id is ours: servers have none over stdio.
func (s *Stdio) initialize(ctx context.Context, x wire.Exchange, m *wire.Message, sink wire.Sink) error {
	if x.Session != "" {
		return sink.Reply(wire.Reply{Status: 400}) // a session is opened once
	}
	id := newSession()
	p := s.adopt(x, id)
	if p == nil {
		var err error
		if p, err = s.join(ctx, sessionKey(id), x.Owner, true); err != nil {
			return err
		}
	}
	defer s.release(p)
	opened := false
	defer func() { // also when the sink panics
		if !opened {
			s.drop(p)
		}
	}()
	var err error
	if s.opts.Shared {
		opened, err = s.welcome(ctx, p, x, m, sink, id)
	} else {
		opened, err = p.child.ask(ctx, p, x, m, sink, id)
	}
	if opened {
		s.settle(p)
	}
	return err
}

// welcome opens a session of a shared child.
func (s *Stdio) welcome(ctx context.Context, p *party, x wire.Exchange, m *wire.Message, sink wire.Sink, id string) (opened bool, err error) {
	answer, ok, err := p.child.greet(ctx, p, x, m)
	if err != nil {
		return false, err
	}
	r := wire.Reply{Status: 200}
	if ok {
		r.Session = id
	}
	if err := sink.Reply(r); err != nil {
		return false, err
	}
	err = ended(sink.Message(wire.Event{Data: answer}))
	return ok && err == nil, err
}

// settle notes that p's child has come up.
func (s *Stdio) settle(p *party) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.child.settled = !s.opts.Shared
}

// Ready says whether the upstream can be used: the command can be executed, and,
// when it is shared, the child runs.
func (s *Stdio) Ready(ctx context.Context) error {
	if !s.opts.Shared {
		return s.opts.executable()
	}
	s.mu.Lock()
	var c *child
	err := errShut
	if !s.closed {
		c, err = s.launch("")
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return c.wait(ctx)
}

// Exit returns the exit code of the last child that ended by itself; 128 and the
// signal if one ended it.
func (s *Stdio) Exit() (code int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exitCode, s.exited
}

// Done is closed when a child has ended by itself, or had to be killed, and none
// is left: for programs that live as long as the one server that they wrap, as if
// it ran without them. Others have no use for it: the next exchange starts a new
// child.
func (s *Stdio) Done() <-chan struct{} { return s.done }

// StdioStats count what an operator may want to know.
type StdioStats struct {
	Children int    // processes that exist
	Noise    uint64 // lines of output that were no message
	Dropped  uint64 // messages that were for nobody, or found no room
}

// Stats returns the counters.
func (s *Stdio) Stats() StdioStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return StdioStats{Children: len(s.children), Noise: s.noise.Load(), Dropped: s.dropped.Load()}
}

// Close ends all children and waits for them. Exchanges in flight fail.
func (s *Stdio) Close() (err error) {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		for c := range s.children {
			s.retireLocked(c, errShut, true)
		}
		s.mu.Unlock()
		over := make(chan struct{})
		go func() { s.running.Wait(); close(over) }()
		late := time.NewTimer(5 * s.bounds.grace) // every step of every ladder has been taken by then
		defer late.Stop()
		select {
		case <-over:
			s.talk.close(s.bounds.grace)
		case <-late.C:
			err = fmt.Errorf("%w: a child cannot be ended", ErrTransport)
		}
	})
	return err
}

// buried is the end of c: its process and everything around it is gone.
func (s *Stdio) buried(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.children, c)
	close(c.over)
	if c.ours || c.failed != nil {
		return
	}
	s.exitCode, s.exited = c.proc.code, true
	lived, reason := s.opts.Now().Sub(c.begun), c.death()
	s.talk.say(func() {
		s.opts.Log.Warn("an upstream process has ended", "code", c.proc.code, "lived", lived.String(), "reason", reason.Error())
	})
	if len(s.children) == 0 && !s.closed {
		s.doneOnce.Do(func() { close(s.done) })
	}
}

// noisy counts a line that was no message. It is not shown: it may hold anything.
func (s *Stdio) noisy() {
	n := s.noise.Add(1)
	now := s.opts.Now()
	s.mu.Lock()
	quiet := !s.noticed.IsZero() && now.Sub(s.noticed) < time.Minute
	if !quiet {
		s.noticed = now
	}
	s.mu.Unlock()
	if !quiet {
		s.talk.say(func() { s.opts.Log.Warn("an upstream process writes lines that are no messages", "lines", n) })
	}
}
