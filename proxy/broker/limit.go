package broker

import (
	"time"

	"golang.org/x/time/rate"
)

// limits bound how often each kind of request is answered, from all callers
// together: behind a proxy all of them have one address.
type limits struct {
	pages         *limit
	tokens        *limit
	registrations *limit
	documents     *limit
}

func newLimits(now func() time.Time) limits {
	return limits{
		pages:         newLimit(10, 200, now),
		tokens:        newLimit(20, 200, now),
		registrations: newLimit(0.1, 10, now),
		documents:     newLimit(50, 200, now),
	}
}

type limit struct {
	bucket *rate.Limiter
	now    func() time.Time
}

func newLimit(perSecond float64, burst int, now func() time.Time) *limit {
	return &limit{rate.NewLimiter(rate.Limit(perSecond), burst), now}
}

func (l *limit) allow() bool { return l.bucket.AllowN(l.now(), 1) }
