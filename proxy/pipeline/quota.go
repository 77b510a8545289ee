package pipeline

import (
	"sync"
	"time"
)

// quota counts calls in flight per principal.
type quota struct {
	mu    sync.Mutex
	calls map[string]int
}

func (q *quota) take(c *Call, limit int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := c.Principal.Key()
	if q.calls[key] >= limit {
		return false
	}
	if q.calls == nil {
		q.calls = map[string]int{}
	}
	q.calls[key]++
	c.holdsQuota = true
	return true
}

func (q *quota) release(c *Call) {
	if !c.holdsQuota {
		return
	}
	c.holdsQuota = false
	q.mu.Lock()
	defer q.mu.Unlock()
	key := c.Principal.Key()
	if q.calls[key]--; q.calls[key] == 0 {
		delete(q.calls, key)
	}
}

// inFlight counts calls, so that what they need is not taken away below them.
type inFlight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n reaches 0 while somebody waits
}

func (f *inFlight) enter() {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
}

func (f *inFlight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// wait returns when no call is in flight, or after limit.
func (f *inFlight) wait(limit time.Duration) {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(limit):
	}
}
