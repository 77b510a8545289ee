package identity

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Times of a key set.
const (
	refreshEvery   = 15 * time.Minute // so long a key may still be used that the issuer has taken back
	refreshGrace   = time.Minute      // beyond it, callers wait for the refresh
	retryEvery     = 2 * time.Second  // after a failure
	unknownEvery   = 30 * time.Second // how often a token with an unknown key may have the set fetched
	fileEvery      = time.Second      // how often a file is looked at
	keysTimeout    = 4 * time.Second  // an attempt that hangs and the next one fit into five seconds
	defaultStale   = 24 * time.Hour   // so long keys may be used that cannot be fetched again
	defaultLongest = 24 * time.Hour   // life of a token
)

// pace says how often a key set is fetched.
type pace struct {
	refresh, grace, unknown time.Duration

	local bool // reading is cheap: everybody waits for it
}

var (
	remotePace = pace{refresh: refreshEvery, grace: refreshGrace, unknown: unknownEvery}
	filePace   = pace{refresh: fileEvery, unknown: fileEvery, local: true}
)

// keyring holds the keys of one issuer and keeps them fresh. There is no loop
// behind it: whoever needs keys starts what is due, at most one attempt at a time,
// and waits only where there is nothing that may be used meanwhile.
type keyring struct {
	issuer string
	load   func(context.Context) ([]byte, error)
	pace   pace
	stale  time.Duration
	now    func() time.Time
	log    *slog.Logger

	life context.Context // until Close
	end  context.CancelFunc
	busy sync.WaitGroup

	mu      sync.Mutex
	set     *keySet       // nil until the first fetch succeeds
	loaded  time.Time     // when the last successful attempt began
	tried   time.Time     // when the last attempt began
	failing bool          // the last attempt failed
	flight  chan struct{} // closed when the attempt that is under way has ended; nil without one
}

func newKeyring(issuer string, load func(context.Context) ([]byte, error), p pace, stale time.Duration, now func() time.Time, log *slog.Logger) *keyring {
	r := &keyring{issuer: issuer, load: load, pace: p, stale: stale, now: now, log: log}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// warm begins the first attempt before anybody needs its result.
func (r *keyring) warm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.due(now) {
		r.start(now)
	}
}

// current returns the keys that may be used now. Errors wrap ErrUnavailable.
func (r *keyring) current(ctx context.Context) (*keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.due(now) {
		r.start(now)
	}
	old := (r.pace.local || !r.failing) && now.Sub(r.loaded) >= r.pace.refresh+r.pace.grace
	if flight := r.flight; flight != nil && (old || !r.usable(now)) {
		if err := r.wait(ctx, flight); err != nil {
			return nil, err
		}
	}
	return r.held(r.now())
}

// renew returns keys newer than than, for a token whose key is not among those.
// Where the issuer may not be asked again so soon, it returns than.
func (r *keyring) renew(ctx context.Context, than *keySet) (*keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.set == than && !r.failing && r.flight == nil && passed(r.tried, now, r.pace.unknown) {
		r.start(now)
	}
	if flight := r.flight; flight != nil && r.set == than && !r.failing {
		if err := r.wait(ctx, flight); err != nil {
			return nil, err
		}
	}
	if r.set == than && r.failing {
		// The key may be one that could not be fetched. That is no reason to call the
		// token invalid.
		return nil, fmt.Errorf("%w: the keys of the issuer could not be fetched", ErrUnavailable)
	}
	return r.held(r.now())
}

// passed says whether d has passed between since and now, on a clock that may
// have been set back.
func passed(since, now time.Time, d time.Duration) bool {
	gone := now.Sub(since)
	return gone >= d || gone < 0
}

func (r *keyring) due(now time.Time) bool {
	switch {
	case r.flight != nil:
		return false
	case r.failing:
		return passed(r.tried, now, retryEvery)
	}
	return r.set == nil || passed(r.loaded, now, r.pace.refresh)
}

func (r *keyring) usable(now time.Time) bool {
	return r.set != nil && now.Sub(r.loaded) < r.stale
}

func (r *keyring) held(now time.Time) (*keySet, error) {
	if !r.usable(now) {
		return nil, fmt.Errorf("%w: there are no keys of the issuer that may still be used", ErrUnavailable)
	}
	return r.set, nil
}

// wait gives the lock away until flight has ended.
func (r *keyring) wait(ctx context.Context, flight chan struct{}) error {
	r.mu.Unlock()
	defer r.mu.Lock()
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// start begins an attempt. It does not belong to whoever started it.
func (r *keyring) start(now time.Time) {
	if r.life.Err() != nil {
		return // closed
	}
	flight := make(chan struct{})
	r.flight, r.tried = flight, now
	r.busy.Go(func() {
		ctx, cancel := context.WithTimeout(r.life, keysTimeout)
		defer cancel()
		set, err := caught(func() (*keySet, error) { return r.fetch(ctx) })
		r.mu.Lock()
		turned, fresh := r.take(now, set, err)
		r.flight = nil
		close(flight)
		r.mu.Unlock()
		r.report(turned, fresh, set, err) // without the lock, since a log can block
	})
}

func (r *keyring) fetch(ctx context.Context) (*keySet, error) {
	text, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	return parseKeySet(text)
}

// take notes the end of the attempt that began at when. Turned says that attempts
// have begun to fail, or to succeed again; fresh that there is another set.
func (r *keyring) take(when time.Time, set *keySet, err error) (turned, fresh bool) {
	turned = r.failing != (err != nil)
	r.failing = err != nil
	if err != nil {
		return turned, false
	}
	r.loaded = when
	if r.set != nil && r.set.sum == set.sum {
		return turned, false // the same generation
	}
	r.set = set
	return turned, true
}

// report logs changes only: an issuer that is down for an hour is one line, not a
// thousand.
func (r *keyring) report(turned, fresh bool, set *keySet, err error) {
	switch {
	case turned && err != nil && r.life.Err() == nil:
		r.log.Warn("the keys of an issuer could not be fetched; those before are used until they are too old", "issuer", r.issuer, "error", err)
	case turned && err == nil:
		r.log.Info("the keys of an issuer can be fetched again", "issuer", r.issuer)
	}
	if !fresh {
		return
	}
	r.log.Info("keys of an issuer loaded", "issuer", r.issuer, "keys", len(set.keys))
	if len(set.leftOut) > 0 || len(set.keys) == 0 {
		r.log.Warn("an issuer has keys that cannot be used, or none", "issuer", r.issuer, "left_out", set.leftOut)
	}
}

// close ends what is under way.
func (r *keyring) close() {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.busy.Wait()
}

// key returns the key for a token with algorithm and key id, and the generation
// that it belongs to. Errors are ErrInvalid, or wrap ErrUnavailable.
func (r *keyring) key(ctx context.Context, algorithm, id string) (crypto.PublicKey, *keySet, error) {
	set, err := r.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, unknown := set.find(algorithm, id)
	if unknown {
		if set, err = r.renew(ctx, set); err != nil {
			return nil, nil, err
		}
		key, _ = set.find(algorithm, id)
	}
	if key == nil {
		return nil, nil, ErrInvalid
	}
	return key, set, nil
}
