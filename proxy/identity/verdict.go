package identity

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Bounds of a cache of verdicts.
const (
	maxCached  = 10_000
	sweepEvery = time.Second
)

// digest is the SHA-256 of a whole token. Caches know tokens by nothing else.
type digest [sha256.Size]byte

func digestOf(token Secret) digest { return sha256.Sum256([]byte(token.Reveal())) }

// verdict is what was found out about a token.
type verdict struct {
	principal Principal
	until     time.Time
	keys      *keySet // that it was reached with; nil if with none
}

// verdicts remembers what was found out. When it is full, what is over goes; if
// that frees no place, what is new is not taken in: nobody can make it forget
// others. Its zero value is empty and ready.
type verdicts struct {
	mu    sync.RWMutex
	known map[digest]verdict
	keys  *keySet // that all of known were reached with
	swept time.Time
}

// find returns the verdict about d. Seen says that there once was one; only what
// is fresh still holds.
func (c *verdicts) find(d digest, now time.Time) (v verdict, fresh, seen bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, seen = c.known[d]
	return v, seen && now.Before(v.until), seen
}

func (c *verdicts) put(d digest, v verdict, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || c.keys != v.keys {
		c.known, c.keys = map[digest]verdict{}, v.keys // a new generation
	}
	if _, again := c.known[d]; !again && len(c.known) >= maxCached {
		c.sweep(now)
		if len(c.known) >= maxCached {
			return
		}
	}
	c.known[d] = v
}

// sweep drops what is over. It looks at everything, so a full cache does it once
// a second only, not for each token that finds no place.
func (c *verdicts) sweep(now time.Time) {
	if !passed(c.swept, now, sweepEvery) {
		return
	}
	c.swept = now
	for d, v := range c.known {
		if !now.Before(v.until) {
			delete(c.known, d)
		}
	}
}

func (c *verdicts) drop(d digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, d)
}

func (c *verdicts) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.known)
}
