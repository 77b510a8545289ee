package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Times of following a source.
const (
	DefaultPoll = 2 * time.Second

	lookTime = 10 * time.Second      // for one look at the source
	settling = time.Second           // from seeing a change to looking whether it stands still
	breath   = 20 * time.Millisecond // between two looks: anybody may be able to notify
)

// ErrStale says that the source has not confirmed the policy for longer than
// [LiveOptions.MaxAge]: what was taken away since then is not known.
var ErrStale = errors.New("the policy in force is older than policy.max_age")

// LiveOptions say how a source is followed.
type LiveOptions struct {
	Extra  map[string][]string // roles from the configuration, as in Load
	MaxAge time.Duration       // how long an unconfirmed policy stays in force; 0 is for ever
	Poll   time.Duration       // how often the source is looked at without being told; 0 means DefaultPoll
	// Settle takes a change over when two looks have seen it: a file that is written in
	// several steps is short for a moment, and what is missing may be what denies.
	Settle bool
	Now    func() time.Time // nil: time.Now
	Notify func(Event)      // nil: nobody is told
	Read   func(Rows)       // is told the rows of each policy that comes into force; may be nil
}

// EventKind says what has happened to a policy that is followed.
type EventKind int

// Kinds of events. Each is told once, however long it lasts.
const (
	Changed     EventKind = iota + 1 // another policy is in force
	Refused                          // the new policy cannot be used; the one before stays
	Unreachable                      // the source cannot be read; the policy stays
	Deaf                             // the source cannot tell of changes; it is polled
	Stale                            // nothing is decided any more
	Confirmed                        // after Refused, Unreachable or Stale: the policy in force is the source's
)

// Event tells what has happened.
type Event struct {
	Kind     EventKind
	Source   string // as Store.Name
	Revision string // of the policy in force
	Before   string // Changed: the revision before
	Err      error  // why
	Until    time.Time
}

// Health is how a policy that is followed is.
type Health struct {
	Revision string        // of the policy in force
	Age      time.Duration // since the source confirmed it
	Problem  error         // why the source does not confirm it now; nil when it does
	Stale    bool          // nothing is decided
}

// Live is the policy in force: the last usable one of a source, which Run follows.
// It is safe for concurrent use.
type Live struct {
	store Store
	opts  LiveOptions
	state atomic.Pointer[state]

	looking sync.Mutex // held during a look

	// Guarded by looking.
	bad    *badPolicy // nil while the source can be used
	seen   string     // revision that the last look saw for the first time
	deaf   bool
	stale  bool
	reason string // of the problem that was told last

	mu      sync.Mutex
	problem error
}

// state is replaced whole, so that whoever decides sees one policy.
type state struct {
	engine    *Engine
	source    string    // revision at the source
	confirmed time.Time // when the source was asked that last said so
}

// Fixed is a policy that never changes and never gets too old.
func Fixed(e *Engine) *Live {
	l := &Live{opts: LiveOptions{Now: time.Now}}
	l.state.Store(&state{engine: e})
	return l
}

// NewLive reads the policy of store, which must be usable. Run follows it.
func NewLive(ctx context.Context, store Store, o LiveOptions) (*Live, error) {
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	l := &Live{store: store, opts: o}
	asked := o.Now()
	rows, err := store.Rows(ctx)
	if err != nil {
		return nil, err
	}
	engine, err := CompileRows(rows, o.Extra)
	if err != nil {
		return nil, err
	}
	l.state.Store(&state{engine: engine, source: rows.Revision, confirmed: asked})
	l.read(rows)
	return l, nil
}

// Current returns the policy in force, or with ErrStale the one that was. It does not
// allocate. Whoever decides several things that belong together asks once.
func (l *Live) Current() (*Engine, error) {
	s := l.state.Load()
	if l.tooOld(s) {
		return s.engine, ErrStale
	}
	return s.engine, nil
}

func (l *Live) tooOld(s *state) bool {
	if l.opts.MaxAge == 0 {
		return false
	}
	age := l.opts.Now().Sub(s.confirmed)
	return age < 0 || age >= l.opts.MaxAge // a clock that was set back tells no age
}

// Health says how the policy is.
func (l *Live) Health() Health {
	s := l.state.Load()
	h := Health{Revision: s.engine.Revision(), Stale: l.tooOld(s)}
	if l.store != nil {
		h.Age = l.opts.Now().Sub(s.confirmed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Problem = l.problem
	return h
}

// Run follows the source until ctx ends. A change is in force when it has been told or
// after [LiveOptions.Poll], and the time that it takes to read and compile it. No
// decision waits for that.
func (l *Live) Run(ctx context.Context) {
	if l.store == nil {
		return
	}
	for ctx.Err() == nil {
		l.wait(ctx)
		if ctx.Err() == nil {
			l.Look(ctx)
		}
	}
}

// wait returns when it is time for a look.
func (l *Live) wait(ctx context.Context) {
	pause, poll := breath, l.opts.Poll
	l.looking.Lock()
	if l.seen != "" {
		poll = min(poll, settling)
	}
	l.looking.Unlock()
	err := guarded(func() error { return l.store.Wait(ctx, poll) })
	if ctx.Err() != nil {
		return
	}
	l.looking.Lock()
	if err != nil {
		pause = l.opts.Poll
		if !l.deaf {
			l.tell(Event{Kind: Deaf, Err: err})
		}
	}
	l.deaf = err != nil
	l.looking.Unlock()
	t := time.NewTimer(min(pause, l.opts.Poll))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Look asks the source once. Run calls it.
func (l *Live) Look(ctx context.Context) {
	l.looking.Lock()
	defer l.looking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	err := guarded(func() error { return l.look(ctx) })
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		l.fail(err)
	}
	if s := l.state.Load(); l.tooOld(s) != l.stale {
		if l.stale = !l.stale; l.stale {
			l.tell(Event{Kind: Stale, Err: err})
		}
	}
}

// guarded is do, with a panic for an error: there is nobody else who looks.
func guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of type %T", v)
		}
	}()
	return do()
}

// badPolicy is why a revision of the source cannot be used. It is not read again until
// it changes. It is not changed: whoever asked for the health of a policy has it.
type badPolicy struct {
	revision string
	err      error
}

// Error implements error.
func (b *badPolicy) Error() string { return b.err.Error() }

// Unwrap returns the cause.
func (b *badPolicy) Unwrap() error { return b.err }

func (l *Live) look(ctx context.Context) error {
	s, asked := l.state.Load(), l.opts.Now()
	now, err := l.store.Revision(ctx)
	switch {
	case err != nil:
		return err
	case now == s.source:
		l.confirm(&state{engine: s.engine, source: s.source, confirmed: asked})
		return nil
	case l.bad != nil && now == l.bad.revision:
		return l.bad
	case l.opts.Settle && now != l.seen:
		l.seen = now
		return nil
	}
	rows, err := l.store.Rows(ctx)
	if err != nil && !errors.As(err, new(Problems)) {
		return err
	}
	if l.opts.Settle && rows.Revision != now {
		l.seen = rows.Revision
		return nil
	}
	var engine *Engine
	if err == nil {
		engine, err = CompileRows(rows, l.opts.Extra)
	}
	if err != nil {
		l.bad = &badPolicy{rows.Revision, err}
		return l.bad
	}
	l.confirm(&state{engine: engine, source: rows.Revision, confirmed: asked})
	l.read(rows)
	return nil
}

func (l *Live) read(rows Rows) {
	if l.opts.Read != nil {
		l.opts.Read(rows)
	}
}

// confirm puts next in force.
func (l *Live) confirm(next *state) {
	before := l.state.Swap(next)
	l.bad, l.seen = nil, ""
	l.mu.Lock()
	healed := l.problem != nil
	l.problem = nil
	l.mu.Unlock()
	l.reason = ""
	if before.engine != next.engine {
		l.tell(Event{Kind: Changed, Before: before.engine.Revision()})
	} else if healed {
		l.tell(Event{Kind: Confirmed})
	}
}

func (l *Live) fail(err error) {
	l.mu.Lock()
	l.problem = err
	l.mu.Unlock()
	e := Event{Kind: Unreachable, Err: err}
	text := "unreachable" // said once: an error may have a port in it, another one each time
	if errors.As(err, new(*badPolicy)) {
		e.Kind, text = Refused, err.Error()
	}
	if text == l.reason {
		return
	}
	l.reason = text
	if l.opts.MaxAge > 0 {
		e.Until = l.state.Load().confirmed.Add(l.opts.MaxAge)
	}
	l.tell(e)
}

func (l *Live) tell(e Event) {
	e.Source, e.Revision = l.store.Name(), l.state.Load().engine.Revision()
	// Whoever cannot bear the news must not keep the policy from being followed.
	_ = guarded(func() error { l.opts.Notify(e); return nil })
}
