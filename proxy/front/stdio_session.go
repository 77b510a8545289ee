package front

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// Delays before a session's stream is opened again. They double as long as it
// carries nothing; the upstream may ask for another first one.
const (
	leastDelay = 100 * time.Millisecond
	firstDelay = time.Second
	lastDelay  = time.Minute
)

// session is what initialize opened, in revisions that have sessions.
type session struct {
	id     string
	stop   func() // ends the stream
	ctx    context.Context
	stream streamState
}

// streamState is that of a session's standalone stream.
type streamState uint8

const (
	closed  streamState = iota // is opened when a request has been answered
	open                       // or about to be opened again
	refused                    // the upstream has none
)

func (p *pipe) current() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

func (p *pipe) newSession(id string) *session {
	s := &session{id: id}
	s.ctx, s.stop = context.WithCancel(p.work)
	return s
}

// use makes s the session of all further messages and returns the earlier one.
func (p *pipe) use(s *session) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.session
	p.session = s
	return old
}

// adopt makes id the session of all further messages, and ends an earlier one.
func (p *pipe) adopt(id string) {
	if old := p.use(p.newSession(id)); old != nil {
		old.stop()
		p.calls.Go(func() { p.endSession(old) })
	}
}

// endSession tells the upstream that s is over. It has time even when everything
// else is being cut.
func (p *pipe) endSession(s *session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.work), endTime)
	defer cancel()
	c := p.call(line{})
	c.Verb, c.Head.Session, c.Head.Authorization = wire.End, s.id, identity.Secrets{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.opts.Handle(ctx, c, silent{})
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// silent takes an answer that nobody reads.
type silent struct{}

func (silent) Session(string)          {}
func (silent) Open(bool)               {}
func (silent) Event(wire.Event) error  { return nil }
func (silent) Answer(*pipeline.Answer) {}

// watch opens the session's standalone stream unless it is open: messages of the
// upstream that belong to no request come on it. shown is the credential of a
// request that has been answered; the stream is opened with the last one.
func (p *pipe) watch(shown identity.Secrets) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shown.Len() > 0 {
		p.shown = shown
	}
	s := p.session
	if s == nil || s.stream != closed || s.ctx.Err() != nil || p.opts.Authenticated && p.shown.Len() == 0 {
		return
	}
	s.stream = open
	go func() {
		state := p.follow(s)
		p.mu.Lock()
		defer p.mu.Unlock()
		s.stream = state
	}()
}

// follow keeps the stream of s open until the session ends or the stream is
// refused. An upstream may close it at any time and go on where it ended (MCP
// 2025-11-25, basic/transports, "Listening for Messages from the Server").
func (p *pipe) follow(s *session) streamState {
	w := &watcher{p: p, first: firstDelay, delay: firstDelay}
	for {
		c := p.call(line{})
		c.Verb, c.Head.Session, c.Head.LastEvent = wire.Watch, s.id, w.last
		if c.Head.Authorization.Len() == 0 {
			c.Head.Authorization = p.credential()
		}
		p.opts.Handle(s.ctx, c, w)
		if w.status == http.StatusNotFound || w.status == http.StatusMethodNotAllowed {
			return refused
		}
		if !w.again() {
			return closed // such as an expired token: the next request shows whether it still is
		}
		select {
		case <-s.ctx.Done():
			return refused
		case <-time.After(w.delay):
		}
		w.delay = min(2*w.delay, lastDelay)
	}
}

func (p *pipe) credential() identity.Secrets {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

// watcher takes what comes on a session's stream.
type watcher struct {
	p            *pipe
	last         string // id of the last event
	first, delay time.Duration

	outcome pipeline.Outcome
	status  int
}

// Session implements [pipeline.Sink].
func (w *watcher) Session(string) {}

// Open implements [pipeline.Sink].
func (w *watcher) Open(bool) {}

// Event implements [pipeline.Sink].
func (w *watcher) Event(ev wire.Event) error {
	if ev.ID != "" {
		w.last = ev.ID
	}
	if ms, err := strconv.ParseUint(ev.Retry, 10, 31); err == nil {
		w.first = max(leastDelay, min(time.Duration(ms)*time.Millisecond, lastDelay))
	}
	w.delay = w.first
	if len(ev.Data) == 0 {
		return nil
	}
	return w.p.out.write(ev.Data)
}

// Answer implements [pipeline.Sink]. Its body answers no message of the client's.
func (w *watcher) Answer(a *pipeline.Answer) { w.outcome, w.status = a.Outcome, a.Status }

// again says whether it makes sense to open the stream once more.
func (w *watcher) again() bool {
	switch w.outcome {
	case pipeline.Allowed, pipeline.UpstreamFailed, pipeline.Unavailable:
		return true
	}
	return false
}
