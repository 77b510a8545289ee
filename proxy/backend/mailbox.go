package backend

import (
	"errors"
	"sync"
	"time"
)

// Bounds of what waits for one exchange to take it. A single message may be
// larger, and the one that ends the answer always finds room.
const (
	maxWaiting      = 256
	maxWaitingBytes = 1 << 20
)

// errSlow ends an exchange whose client does not take what the child sends.
var errSlow = errors.New("the answer is not taken")

// errGone says that nobody takes messages here any more.
var errGone = errors.New("the exchange is over")

// item is one message on its way to a client.
type item struct {
	data    []byte
	loose   bool // belongs to the session, not to the exchange it is handed to
	final   bool // ends the answer
	refused bool // is an error response
	status  int  // HTTP status, when it is the first of the answer
}

// mailbox holds what one exchange has yet to take. The child's reader puts, the
// exchange takes.
type mailbox struct {
	ready chan struct{} // there may be something to take
	space chan struct{} // there may be room again

	mu     sync.Mutex
	items  []item
	bytes  int
	closed error
}

func newMailbox() *mailbox {
	return &mailbox{ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// put adds it. While the box is full it waits, so that the child is slowed down
// to what the client takes, but not longer than stall: the child's other clients
// wait as well.
func (b *mailbox) put(it item, stall time.Duration) error {
	var late *time.Timer
	for {
		if done, err := b.tryPut(it); done {
			return err
		}
		if late == nil {
			late = time.NewTimer(stall)
			defer late.Stop()
		}
		select {
		case <-b.space:
		case <-late.C:
			return errSlow
		}
	}
}

func (b *mailbox) tryPut(it item) (done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return true, errGone
	}
	full := len(b.items) >= maxWaiting || b.bytes+len(it.data) > maxWaitingBytes
	if full && len(b.items) > 0 && !it.final {
		return false, nil
	}
	b.items = append(b.items, it)
	b.bytes += len(it.data)
	notify(b.ready)
	return true, nil
}

// take returns the next message, or why there will be none. Neither: wait for
// ready.
func (b *mailbox) take() (it item, ok bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		return item{}, false, b.closed
	}
	it = b.items[0]
	b.items[0] = item{} // its bytes are not held any longer than needed
	b.items = b.items[1:]
	b.bytes -= len(it.data)
	notify(b.space)
	return it, true, nil
}

// close lets nothing more in; what is there can still be taken.
func (b *mailbox) close(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed == nil {
		b.closed = why
	}
	notify(b.ready)
	notify(b.space)
}

// abandon closes the box and returns what nobody will take from it.
func (b *mailbox) abandon() []item {
	b.close(errGone)
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := b.items
	b.items, b.bytes = nil, 0
	return rest
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
