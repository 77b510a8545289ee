package backend

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"mcp-sidecar/proxy/wire"
)

// Bounds of what children may say on their standard error.
const (
	stderrLine  = 4 << 10 // bytes of one line; the rest of it is cut off
	stderrBurst = 200     // lines at once
	stderrRate  = 50      // lines per second, after that
	maxUnsaid   = 256     // lines and log entries that wait to be taken
)

// talk is what goes to the operator: the children's standard error, and log
// entries about them. Whoever takes it may block, as a terminal that nobody reads
// does. No child and no exchange waits for that: what does not fit is dropped.
type talk struct {
	stderr func(string) // nil: not wanted
	now    func() time.Time
	queue  chan func()
	done   chan struct{} // closed when everything has been said

	mu      sync.Mutex
	started bool
	tokens  float64
	filled  time.Time
	dropped int
}

func newTalk(stderr func(string), now func() time.Time) *talk {
	return &talk{stderr: stderr, now: now, queue: make(chan func(), maxUnsaid), done: make(chan struct{}), tokens: stderrBurst}
}

// read takes one child's standard error until it ends. It reads whether or not
// somebody listens, so that no child has to wait.
func (k *talk) read(r io.Reader) {
	if k.stderr == nil {
		_, _ = io.Copy(io.Discard, r)
		return
	}
	lines := wire.NewLineReader(r, stderrLine)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, wire.ErrLineTooLarge):
			k.line(visible(line[:min(len(line), stderrLine)]) + " […]")
		case err != nil:
			return
		default:
			k.line(visible(line))
		}
	}
}

// line passes on one line of a child's, unless there were too many.
func (k *talk) line(text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if !k.filled.IsZero() {
		k.tokens = min(stderrBurst, k.tokens+now.Sub(k.filled).Seconds()*stderrRate)
	}
	k.filled = now
	if k.tokens < 1 {
		k.dropped++
		return
	}
	if n := k.dropped; n > 0 && k.add(func() { k.stderr(fmt.Sprintf("[%d lines dropped]", n)) }) {
		k.dropped = 0
	}
	if !k.add(func() { k.stderr(text) }) {
		k.dropped++
		return
	}
	k.tokens--
}

// say runs f, which writes a log entry, after what was said before.
func (k *talk) say(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add(f)
}

// add queues f if there is room. k.mu is held.
func (k *talk) add(f func()) bool {
	if !k.started {
		k.started = true
		go k.run()
	}
	select {
	case k.queue <- f:
		return true
	default:
		return false
	}
}

func (k *talk) run() {
	defer close(k.done)
	for f := range k.queue {
		guarded(f)
	}
}

// guarded survives a listener that panics: what a child says must end nothing.
func guarded(f func()) {
	defer func() { _ = recover() }()
	f()
}

// close lets the listener finish, for a moment. Nothing is said any more.
func (k *talk) close(wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.queue)
	if !k.started {
		return
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case <-k.done:
	case <-late.C: // it blocks; that is its own affair
	}
}

// visible escapes whatever a terminal or a log could act on: control characters,
// invisible and bidirectional ones, bytes that are no UTF-8.
func visible(line []byte) string {
	out := make([]byte, 0, len(line))
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, line[0])
		case unicode.IsPrint(r):
			out = append(out, line[:n]...)
		default:
			quoted := strconv.AppendQuoteRuneToASCII(nil, r)
			out = append(out, quoted[1:len(quoted)-1]...)
		}
		line = line[n:]
	}
	return string(out)
}
