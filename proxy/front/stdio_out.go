package front

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// lineWriter writes messages, each as one line.
type lineWriter struct {
	gone   func(error) // told when the client no longer reads
	closed atomic.Bool

	mu sync.Mutex
	w  io.Writer
}

var errClosed = errors.New("the pipe has been closed")

// write writes a message. Line breaks in it can only be white space between
// tokens, and become spaces: on this transport they would end it (MCP 2025-11-25,
// basic/transports, "stdio").
func (w *lineWriter) write(message []byte) error {
	b := append(bytes.Clone(message), '\n')
	for i, c := range b[:len(message)] {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return errClosed
	}
	if _, err := w.w.Write(b); err != nil {
		w.close() // half a line may have been written: what follows would be read as its rest
		err = fmt.Errorf("%w: %w", ErrClientGone, err)
		w.gone(err)
		return err
	}
	return nil
}

// close lets no further write begin. It does not wait for one that hangs because
// nobody reads.
func (w *lineWriter) close() { w.closed.Store(true) }

// lineSink writes what a message is answered with. There are no statuses here: a
// request gets its one answer, everything else none.
type lineSink struct {
	p       *pipe
	c       *pipeline.Call
	kind    wire.Kind // None: what was sent is not known
	id      []byte    // of a request
	session string    // that the call opened
	opens   []byte    // initialize, which may open one
	renews  bool      // a lost session is not answered yet
	lost    *pipeline.Answer
}

func (p *pipe) sink(c *pipeline.Call, o wire.Outline) *lineSink {
	return &lineSink{p: p, c: c, kind: o.Kind, id: o.ID}
}

// Session implements [pipeline.Sink].
func (s *lineSink) Session(id string) { s.session = id }

// Open implements [pipeline.Sink]: a line has no beginning of its own.
func (s *lineSink) Open(bool) {}

// Event implements [pipeline.Sink].
func (s *lineSink) Event(ev wire.Event) error {
	if len(ev.Data) == 0 {
		return nil
	}
	return s.p.out.write(ev.Data)
}

// Answer implements [pipeline.Sink].
func (s *lineSink) Answer(a *pipeline.Answer) {
	if s.renews && isLost(a) {
		s.lost = a
		return
	}
	if s.session != "" && a.Outcome == pipeline.Allowed {
		// Before the client reads the answer: its next message needs the session.
		s.p.greeting.agreed(s.opens, a.Body)
		s.p.adopt(s.session)
	}
	if body := s.body(a); body != nil {
		_ = s.p.out.write(body) // a client that is gone cannot be told
	}
	if s.kind == wire.Request && a.Outcome == pipeline.Allowed {
		s.p.watch(s.c.Credentials())
	}
}

// body is the line that the message is answered with, or nil.
func (s *lineSink) body(a *pipeline.Answer) []byte {
	switch {
	case s.kind == wire.Notification || s.kind == wire.Response:
		return nil // also when it is refused: nobody would know what an error answers
	case a.Body != nil || s.kind == wire.None:
		return a.Body
	case a.Status == http.StatusAccepted:
		return nil // cancelled by the client, which expects no answer any more
	}
	return s.silence(a)
}

// silence stands for an answer that HTTP gives with its status alone, such as
// that of an unknown session: without a line the client would wait for ever.
func (s *lineSink) silence(a *pipeline.Answer) []byte {
	text := "no answer"
	if isLost(a) {
		text = "the session has ended; start the server again"
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), s.id...)
	b = strconv.AppendInt(append(b, `,"error":{"code":`...), int64(a.Code), 10)
	b = wire.Quote(append(b, `,"message":`...), text)
	b = wire.Quote(append(b, `,"data":{"outcome":`...), a.Outcome.String())
	b = wire.Quote(append(b, `,"audit_id":`...), s.c.ID)
	return append(b, `}}}`...)
}
