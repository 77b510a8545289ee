package pipeline

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// cancelGrace is how long an upstream may still answer a request that its client
// has cancelled. Many servers answer nothing and leave the stream open.
const cancelGrace = 2 * time.Second

// flightKey names a request in flight: ids are unique within a session, or, where
// there is none, only for one principal.
type flightKey struct {
	session *Session
	owner   string // principal, without a session
	id      string
}

// flights are the requests that wait for the upstream, so that a cancellation can
// reach only requests of whoever sends it.
type flights struct {
	mu   sync.Mutex
	open map[flightKey]*flight
}

type flight struct{ cancel context.CancelFunc }

func (c *Call) flightKey(node int) flightKey {
	k := flightKey{session: c.Session, id: string(c.Msg.Value(node))}
	if c.Msg.Nodes[node].Kind == '"' {
		k.id = strconv.Quote(c.Msg.Text(node)) // however it is escaped
	}
	if k.session == nil {
		k.owner = c.Principal.Key()
	}
	return k
}

// add notes a request; the returned function forgets it.
func (f *flights) add(k flightKey, cancel context.CancelFunc) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[flightKey]*flight{}
	}
	own := &flight{cancel}
	f.open[k] = own
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.open[k] == own { // not a later request that took the same id
			delete(f.open, k)
		}
	}
}

func (f *flights) get(k flightKey) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open[k]
}

// end stops request k if it is still the same one when the grace is over.
func (f *flights) end(k flightKey, after func(time.Duration, func())) {
	meant := f.get(k)
	after(cancelGrace, func() {
		if meant != nil && f.get(k) == meant {
			meant.cancel()
		}
	})
}
