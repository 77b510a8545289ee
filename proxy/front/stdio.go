package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// Times of a pipe.
const (
	// orderTime is how long what follows waits for a notification or a response.
	orderTime = 5 * time.Second
	// drainTime is how long requests in flight may take once the client has closed
	// its side. A client that no longer waits sends a signal after a few seconds.
	drainTime = 30 * time.Second
	// hurryTime is the same after a signal, whose sender kills soon.
	hurryTime = time.Second
	// endTime is how long telling the upstream of the session's end may take.
	endTime = time.Second
)

// ErrClientGone says that the client no longer reads.
var ErrClientGone = errors.New("the client has closed its end of the pipe")

// StdioOptions configure a Stdio.
type StdioOptions struct {
	// Handle decides a call; it is [pipeline.Pipeline.Handle].
	Handle func(context.Context, *pipeline.Call, pipeline.Sink)
	// MaxMessage bounds a message of the client, in bytes. Zero means 4 MiB.
	MaxMessage int
	// Concurrent bounds the requests in flight. Zero means 256.
	Concurrent int
	// Authenticated says that callers have to show a credential.
	Authenticated bool
	// Token returns the credential that the client was started with; it is asked
	// for each message. Nil, and an empty one, mean that there is none.
	Token func() string
}

// Stdio is the stdio half of a server: a line is a message (MCP 2025-11-25,
// basic/transports, "stdio").
type Stdio struct{ opts StdioOptions }

// NewStdio returns a server half for o.
func NewStdio(o StdioOptions) *Stdio {
	if o.MaxMessage == 0 {
		o.MaxMessage = 4 << 20
	}
	if o.Concurrent == 0 {
		o.Concurrent = 256
	}
	return &Stdio{o}
}

// Serve answers the messages of in on out, on which nothing else is written and
// nothing at all once it has returned. It ends when in does, after what is in
// flight has been answered or a while has passed; sooner when ctx ends. Only a
// stream that breaks is an error.
//
// A read that blocks cannot be ended: it is left behind unless in is closed.
func (s *Stdio) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	p := &pipe{
		opts: s.opts, work: work, cut: cut,
		out:     &lineWriter{w: out, gone: leave},
		slots:   make(chan struct{}, s.opts.Concurrent),
		flights: map[string]*flight{},
	}
	context.AfterFunc(ctx, func() { p.cutAfter(hurryTime) })
	err := p.serve(ctx, in)
	p.end()
	if cause := context.Cause(ctx); errors.Is(cause, ErrClientGone) {
		return cause
	}
	return err
}

// pipe is one run of Serve.
type pipe struct {
	opts  StdioOptions
	work  context.Context // of everything that is in flight
	cut   func()          // ends work
	out   *lineWriter
	slots chan struct{}
	calls sync.WaitGroup // requests, and cancellations that wait for one

	greeting greeting

	mu      sync.Mutex
	flights map[string]*flight // requests by id
	session *session           // what initialize opened; nil before, and where there are none
	shown   identity.Secrets   // the credential of the last request that was answered
}

// flight is a request that has no answer yet.
type flight struct {
	once      sync.Once
	forwarded chan struct{} // closed when the upstream has it, or never will
	cancelled bool          // a cancellation waits for it
}

func (f *flight) open() { f.once.Do(func() { close(f.forwarded) }) }

// line is a message as it came.
type line struct {
	raw   []byte
	large bool // raw is only its beginning
}

// serve handles lines until there are no more, or ctx ends.
func (p *pipe) serve(ctx context.Context, in io.Reader) error {
	lines := make(chan line)
	var failure error
	go func() {
		defer close(lines)
		failure = p.read(ctx, in, lines)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case l, more := <-lines:
			if !more {
				return failure
			}
			p.dispatch(ctx, l)
		}
	}
}

// read sends the lines of in until it ends or breaks.
func (p *pipe) read(ctx context.Context, in io.Reader, lines chan<- line) error {
	r := wire.NewLineReader(in, p.opts.MaxMessage)
	for {
		raw, err := r.Next()
		large := errors.Is(err, wire.ErrLineTooLarge)
		if err != nil && !large {
			p.cutAfter(drainTime) // also ends a message that is being handled alone
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read from the client: %w", err)
		}
		select {
		case lines <- line{raw, large}:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *pipe) cutAfter(d time.Duration) {
	t := time.AfterFunc(d, p.cut)
	context.AfterFunc(p.work, func() { t.Stop() })
}

// dispatch starts what l asks for. Requests run side by side. Everything else is
// handled before the next line is read, so that a notification is not overtaken
// by what came after it; so is initialize, because what follows needs its session.
func (p *pipe) dispatch(ctx context.Context, l line) {
	o := wire.Outlined(l.raw)
	p.greeting.hears(o, l.raw)
	switch {
	case l.large:
		p.alone(ctx, p.refuse(l, tooLarge), o)
	case o.Kind == wire.Request && o.Method == "initialize":
		c := p.call(l)
		c.Head.Session = "" // it opens one
		s := p.sink(c, o)
		s.opens = l.raw
		p.wait(ctx, c, s, nil)
	case o.Kind == wire.Request:
		p.request(ctx, l, o)
	case o.Cancels != nil && p.cancelLater(l, o):
	default:
		p.alone(ctx, p.call(l), o)
	}
}

// call is l on its way to the pipeline.
func (p *pipe) call(l line) *pipeline.Call {
	c := &pipeline.Call{Transport: pipeline.Stdio, Body: pipeline.Body{Reader: bytes.NewReader(l.raw), Size: int64(len(l.raw))}}
	if p.opts.Token != nil {
		if token := p.opts.Token(); token != "" {
			c.Head.Authorization = identity.NewSecrets("Bearer " + token)
		}
	}
	if s := p.current(); s != nil {
		c.Head.Session = s.id
	}
	return c
}

// Refusals of the pipe's own. They become calls, so that they are audited.
var (
	tooLarge = pipeline.Rejection{Outcome: pipeline.Limited, Code: pipeline.CodeSize, Reason: "body-size",
		Public: "the message exceeds the size limit", Status: http.StatusRequestEntityTooLarge}
	tooMany = pipeline.Rejection{Outcome: pipeline.Limited, Code: pipeline.CodeLimited, Reason: "flood",
		Public: "too many requests in flight, retry in 1 s", Status: http.StatusTooManyRequests, RetryAfter: 1}
)

func (p *pipe) refuse(l line, why pipeline.Rejection) *pipeline.Call {
	c := p.call(l)
	c.Body.Size, c.Refused = -1, &why
	return c
}

// alone handles c and waits for its end, but not for ever: an upstream that hangs
// must not keep the client from saying so.
func (p *pipe) alone(ctx context.Context, c *pipeline.Call, o wire.Outline) {
	late := time.NewTimer(orderTime)
	defer late.Stop()
	p.wait(ctx, c, p.sink(c, o), late.C)
}

// wait handles c, which is answered to s, and waits for its end, or until late.
func (p *pipe) wait(ctx context.Context, c *pipeline.Call, s *lineSink, late <-chan time.Time) {
	done := make(chan struct{})
	p.calls.Go(func() {
		defer close(done)
		p.opts.Handle(p.work, c, s)
	})
	select {
	case <-done:
	case <-late:
	case <-ctx.Done():
	case <-p.work.Done():
	}
}

// request handles l beside others. What exceeds the bound is refused rather than
// kept waiting: the answers that those in flight wait for come on the same pipe.
func (p *pipe) request(ctx context.Context, l line, o wire.Outline) {
	select {
	case p.slots <- struct{}{}:
	default:
		p.alone(ctx, p.refuse(l, tooMany), o)
		return
	}
	c := p.call(l)
	f, landed := p.takeOff(o.ID)
	c.Forwarded = f.open
	p.calls.Go(func() {
		defer func() { <-p.slots }()
		defer landed()
		p.ask(c, l, o)
	})
}

// takeOff notes the request id; the returned function says that it has ended.
func (p *pipe) takeOff(id []byte) (*flight, func()) {
	f, key := &flight{forwarded: make(chan struct{})}, wire.IDKey(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flights[key] = f
	return f, func() {
		f.open()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.flights[key] == f { // not a later request that took the same id
			delete(p.flights, key)
		}
	}
}

// cancelLater handles a cancellation once the upstream knows of the request: one
// that overtook it would cancel nothing. It says no when there is nothing to wait
// for. Waiting does not hold up the pipe: the request may itself be waiting for
// what the client sends next.
func (p *pipe) cancelLater(l line, o wire.Outline) bool {
	p.mu.Lock()
	f := p.flights[wire.IDKey(o.Cancels)]
	wait := f != nil && !f.cancelled
	if wait {
		f.cancelled = true
	}
	p.mu.Unlock()
	if !wait {
		return false
	}
	select {
	case <-f.forwarded:
		return false
	default:
	}
	c := p.call(l)
	p.calls.Go(func() {
		select {
		case <-f.forwarded:
		case <-p.work.Done():
		}
		p.opts.Handle(p.work, c, p.sink(c, o))
	})
	return true
}

// end lets what is in flight finish, ends the session, and closes out.
func (p *pipe) end() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.calls.Wait()
	}()
	select {
	case <-ended:
	case <-p.work.Done():
	}
	if s := p.current(); s != nil {
		s.stop()
		p.endSession(s)
	}
	p.cut()
	p.out.close()
}
