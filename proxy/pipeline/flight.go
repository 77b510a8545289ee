package pipeline

import (
	"context"
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

type flight struct {
	cancel context.CancelFunc
	token  string // its progress token, as scalarKey writes it; empty without one
	task   bool   // it asks for a task, whose id is not known yet
}

func (c *Call) flightKey(node int) flightKey {
	k := flightKey{session: c.Session, id: scalarKey(c.Msg, node)}
	if k.session == nil {
		k.owner = c.Principal.Key()
	}
	return k
}

// gaveOut says whether a request of session in flight gave out the progress token.
func (f *flights) gaveOut(session *Session, token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, own := range f.open {
		if k.session == session && token != "" && own.token == token {
			return true
		}
	}
	return false
}

// makesTask says whether a request in flight of the same sender as c asks for a
// task.
func (f *flights) makesTask(c *Call) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, own := range f.open {
		if own.task && k.session == c.Session && (k.session != nil || k.owner == c.Principal.Key()) {
			return true
		}
	}
	return false
}

// add notes a request; the returned function forgets it.
func (f *flights) add(k flightKey, own *flight) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[flightKey]*flight{}
	}
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
