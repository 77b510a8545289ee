package pipeline

import (
	"fmt"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	limit := Rate{PerMinute: 20, Burst: 3} // a token every three seconds
	r := &rates{}
	for _, row := range []struct {
		name  string
		owner string
		after time.Duration
		wait  int
	}{
		{"the first of a burst", "alice", 0, 0},
		{"the second", "alice", 0, 0},
		{"the third", "alice", 0, 0},
		{"one more than the burst", "alice", 0, 3},
		{"somebody else", "bob", 0, 0},
		{"a second later", "alice", time.Second, 2},
		{"refused ones cost nothing", "alice", 2 * time.Second, 0},
		{"at once after it", "alice", 0, 3},
		{"after a long silence there is one burst and no more", "alice", time.Hour, 0},
		{"its second", "alice", 0, 0},
		{"its third", "alice", 0, 0},
		{"its end", "alice", 0, 3},
		{"a clock that goes back gives nothing", "alice", -time.Hour, 3},
	} {
		now = now.Add(row.after)
		if got := r.take(row.owner, limit, now); got != row.wait {
			t.Errorf("%s: wait %d s, want %d", row.name, got, row.wait)
		}
	}
	if (&rates{}).take("anybody", Rate{}, now) != 0 {
		t.Error("no rate is a rate")
	}
}

// Whoever was here once is forgotten when his bucket is full again; whoever waits is not.
func TestRatesAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	limit := Rate{PerMinute: 60, Burst: 1}
	r := &rates{}
	for n := range maxBuckets - 1 {
		r.take(fmt.Sprint(n), limit, now)
	}
	now = now.Add(time.Minute)
	r.take("waiting", limit, now)
	r.take("one more", limit, now)
	if len(r.buckets) != 2 || r.take("waiting", limit, now) == 0 {
		t.Errorf("%d buckets are kept", len(r.buckets))
	}
}
