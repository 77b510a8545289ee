package front

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// Times of a stream that is silent.
const (
	// openAfter is how long a stream may wait for its first message before its
	// headers are sent without one: a client would take silence for a dead server.
	openAfter = time.Second
	// keepAlive is the time between comments on a silent stream, which keep what
	// stands in between from closing it (HTML Living Standard, "Server-sent
	// events", "Authoring notes").
	keepAlive = 15 * time.Second
)

// sink writes a call's answers. The first message decides between one JSON
// document and a stream of events.
type sink struct {
	w          http.ResponseWriter
	rc         *http.ResponseController
	in         *body
	clientTime time.Duration // for the client to accept what is written
	metadata   string

	mu        sync.Mutex // the timer writes too
	streaming bool
	answered  bool
	quiet     *time.Timer // runs while the stream is silent; nil unless the answer is a stream
}

// Session implements [pipeline.Sink].
func (s *sink) Session(id string) { s.w.Header().Set("Mcp-Session-Id", id) }

// Open implements [pipeline.Sink].
func (s *sink) Open(atOnce bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if atOnce {
		s.startStream()
		_ = s.flush()
	}
	if s.quiet == nil && !s.answered {
		s.quiet = time.AfterFunc(s.patience(), s.comment)
	}
}

func (s *sink) patience() time.Duration {
	if s.streaming {
		return keepAlive
	}
	return openAfter
}

// comment ends a silence.
func (s *sink) comment() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered {
		return
	}
	s.startStream()
	s.hurry()
	if _, err := s.w.Write([]byte(":\n\n")); err != nil || s.flush() != nil {
		return // a client that is gone ends the request itself
	}
	s.quiet.Reset(keepAlive)
}

// Event implements [pipeline.Sink].
func (s *sink) Event(ev wire.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startStream()
	if s.quiet != nil {
		s.quiet.Reset(keepAlive)
	}
	if err := s.writeEvent(ev); err != nil {
		return err
	}
	return s.flush()
}

// hurry begins the time in which a client has to accept what is written next.
func (s *sink) hurry() { _ = s.rc.SetWriteDeadline(time.Now().Add(s.clientTime)) }

// flush sends what has been written. Over HTTP/2 a deadline that is left in place
// would end the stream although nothing waits to be written.
func (s *sink) flush() error {
	err := s.rc.Flush()
	if err == nil {
		_ = s.rc.SetWriteDeadline(time.Time{})
	}
	return err
}

func (s *sink) startStream() {
	if s.streaming {
		return
	}
	s.streaming = true
	s.hurry()
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back (MCP 2026-07-28, "Receiving Messages")
	s.w.WriteHeader(http.StatusOK)
}

func (s *sink) writeEvent(ev wire.Event) error {
	s.hurry()
	if err := wire.WriteEvent(s.w, ev); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}

// Answer implements [pipeline.Sink]. On an open stream a refusal takes the place
// of the result.
func (s *sink) Answer(a *pipeline.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	if s.quiet != nil {
		s.quiet.Stop()
	}
	if s.streaming || (a.Stream && a.Outcome == pipeline.Allowed) {
		s.startStream()
		if a.Body != nil {
			// The end of the request flushes it. A client that is gone cannot be told.
			_ = s.writeEvent(wire.Event{Data: a.Body})
		}
		return
	}
	s.hurry()
	h := s.w.Header()
	if a.Outcome != pipeline.Allowed {
		h.Del("Mcp-Session-Id") // the session that the call opened has ended with it
	}
	if !s.in.read {
		// Without this the refusal would wait until the rest of the body has come.
		h.Set("Connection", "close")
	}
	if a.Challenge != nil {
		h.Set("WWW-Authenticate", challenge(a.Challenge, s.metadata))
	}
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	if a.Allow != "" {
		h.Set("Allow", a.Allow)
	}
	if a.Body == nil {
		s.w.WriteHeader(a.Status)
		return
	}
	writeJSON(s.w, a.Status, a.Body)
}
