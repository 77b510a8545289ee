package pipeline

import (
	"math"
	"sync"
	"time"
)

// Rate bounds how often one principal may ask, over all servers: PerMinute in the
// long run, Burst at once. The zero value bounds nothing.
type Rate struct {
	PerMinute int
	Burst     int // at least 1 where PerMinute is not 0
}

// rates are the token buckets of principals. Only those that are not full are
// kept: a full one is like one that was never used.
type rates struct {
	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time // when it held so many
}

// maxBuckets is how many buckets are kept before full ones are looked for.
const maxBuckets = 4096

// take takes a token of owner's, or says how many seconds the next one is away.
func (r *rates) take(owner string, limit Rate, now time.Time) (wait int) {
	if limit.PerMinute == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[owner]
	if !ok {
		r.makeRoom(limit, now)
		b = bucket{float64(limit.Burst), now}
	}
	b = b.refilled(limit, now)
	if b.tokens < 1 {
		r.buckets[owner] = b
		return max(1, int(math.Ceil((1-b.tokens)*60/float64(limit.PerMinute)-1e-6))) // fractions do not add up exactly
	}
	b.tokens--
	r.buckets[owner] = b
	return 0
}

func (b bucket) refilled(limit Rate, now time.Time) bucket {
	gained := now.Sub(b.at).Minutes() * float64(limit.PerMinute)
	return bucket{min(float64(limit.Burst), b.tokens+max(0, gained)), now}
}

// makeRoom forgets the buckets that are full by now.
func (r *rates) makeRoom(limit Rate, now time.Time) {
	if r.buckets == nil {
		r.buckets = map[string]bucket{}
	}
	if len(r.buckets) < maxBuckets {
		return
	}
	for owner, b := range r.buckets {
		if b.refilled(limit, now).tokens >= float64(limit.Burst) {
			delete(r.buckets, owner)
		}
	}
}
