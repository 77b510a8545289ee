package cli

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxTalk bounds what waits to be read on stderr, in bytes: a pipe of the
// system's holds as much again.
const maxTalk = 64 << 10

// talkTime is how long the last words may take.
const talkTime = time.Second

// talk is a stderr that holds nobody up. A client that starts the sidecar may
// never read what it says, or close its end; what does not fit is dropped, and the
// reader is told how much.
type talk struct {
	w    io.Writer
	done chan struct{} // closed when everything has been written, or can never be

	mu      sync.Mutex
	some    *sync.Cond // something to write, or the end
	queue   [][]byte
	size    int // bytes in queue
	dropped int // writes since the queue was full
	ending  bool
}

func newTalk(w io.Writer) *talk {
	t := &talk{w: w, done: make(chan struct{})}
	t.some = sync.NewCond(&t.mu)
	go t.run()
	return t
}

// Write never blocks and never fails.
func (t *talk) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ending || t.size > 0 && t.size+len(p) > maxTalk {
		t.dropped++
		return len(p), nil
	}
	t.queue, t.size = append(t.queue, bytes.Clone(p)), t.size+len(p)
	t.some.Signal()
	return len(p), nil
}

// run writes what is queued. The queue counts as full until a write has ended.
func (t *talk) run() {
	defer close(t.done)
	for {
		next := t.next()
		if next == nil {
			return
		}
		if _, err := t.w.Write(next); err != nil {
			return // nobody will ever read it
		}
		t.mu.Lock()
		t.size -= len(next)
		t.mu.Unlock()
	}
}

// next waits for something to write; nil means that there will be nothing more.
func (t *talk) next() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) == 0 && t.dropped == 0 && !t.ending {
		t.some.Wait()
	}
	switch {
	case len(t.queue) > 0:
		next := t.queue[0]
		t.queue = t.queue[1:]
		return next
	case t.dropped > 0:
		note := fmt.Appendf(nil, "mcp-sidecar: %d message(s) were dropped here because stderr was not read\n", t.dropped)
		t.dropped, t.size = 0, t.size+len(note)
		return note
	}
	return nil
}

// close waits for the last words, but not for ever: a writer that hangs is left
// behind.
func (t *talk) close() {
	t.mu.Lock()
	t.ending = true
	t.some.Signal()
	t.mu.Unlock()
	select {
	case <-t.done:
	case <-time.After(talkTime):
	}
}
