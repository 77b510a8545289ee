package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// faulty is a source that does what a test tells it.
type faulty struct {
	mu       sync.Mutex
	rows     [][]string
	revision string
	down     error
	panics   bool
	reads    int
	told     chan struct{} // Wait returns
	deaf     error
}

func newFaulty(rows ...[]string) *faulty {
	return &faulty{rows: rows, revision: "1", told: make(chan struct{}, 1)}
}

func (f *faulty) set(revision string, rows ...[]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revision, f.rows = revision, rows
}

func (f *faulty) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *faulty) Name() string { return "source" }

func (f *faulty) Revision(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("a source that fails")
	}
	return f.revision, errors.Join(f.down, ctx.Err())
}

func (f *faulty) Rows(ctx context.Context) (Rows, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	rows := Rows{Name: "source", Revision: f.revision}
	for _, r := range f.rows {
		rows.Rows = append(rows.Rows, Row{Fields: r})
	}
	return rows, errors.Join(f.down, ctx.Err())
}

func (f *faulty) Replace(context.Context, [][]string, string) (string, error) {
	return "", errors.ErrUnsupported
}

func (f *faulty) Wait(ctx context.Context, atMost time.Duration) error {
	f.mu.Lock()
	deaf := f.deaf
	f.mu.Unlock()
	if deaf != nil {
		return deaf
	}
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-f.told:
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (f *faulty) Close() error { return nil }

// followed is a policy that a test follows step by step.
type followed struct {
	*Live
	source *faulty
	now    time.Time
	events []string
}

func follow(t *testing.T, maxAge time.Duration, rows ...[]string) *followed {
	t.Helper()
	f := &followed{source: newFaulty(rows...), now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
	var err error
	f.Live, err = NewLive(t.Context(), f.source, LiveOptions{MaxAge: maxAge, Now: func() time.Time { return f.now }, Notify: func(e Event) {
		f.events = append(f.events, e.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// String is the event as a test writes it.
func (e Event) String() string {
	kind := []string{"", "changed", "refused", "unreachable", "deaf", "stale", "confirmed"}[e.Kind]
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", kind, e.Before, e.Revision))
}

func (f *followed) take() []string {
	all := f.events
	f.events = nil
	return all
}

var (
	aliceReads = []string{"p", "user:alice", "document", "read"}
	bobReads   = []string{"p", "user:bob", "document", "read"}
	nonsense   = []string{"p", "alice", "srv/*_read", "read"}
	read       = Permission{Object: "document", Action: "read"}
)

// may says who of alice and bob may read, or that nobody can tell.
func (f *followed) may() string {
	e, err := f.Current()
	if err != nil {
		return err.Error()
	}
	var who []string
	for _, name := range []string{"alice", "bob"} {
		if e.Decide("user:"+name, read).Allowed {
			who = append(who, name)
		}
	}
	return strings.Join(who, " ")
}

// What can happen to a source, in the order of a long day.
func TestLive(t *testing.T) {
	f := follow(t, 5*time.Minute, aliceReads)
	down := fmt.Errorf("%w: gone", ErrUnavailable)
	for _, step := range []struct {
		name   string
		change func()
		after  time.Duration
		may    string
		events []string
		reads  int
	}{
		{"nothing", func() {}, time.Minute, "alice", nil, 0},
		{"another policy", func() { f.source.set("2", bobReads) }, time.Minute, "bob", []string{"changed 1 2"}, 1},
		{"a bad one", func() { f.source.set("3", nonsense) }, time.Minute, "bob", []string{"refused  2"}, 1},
		{"still bad", func() {}, time.Minute, "bob", nil, 0},
		{"down, and bad", func() { f.source.fail(down) }, time.Minute, "bob", []string{"unreachable  2"}, 0},
		{"bad again", func() { f.source.fail(nil) }, time.Minute, "bob", []string{"refused  2"}, 0},
		{"bad for too long", func() {}, time.Minute, ErrStale.Error(), []string{"stale  2"}, 0},
		{"longer", func() {}, time.Hour, ErrStale.Error(), nil, 0},
		{"good again", func() { f.source.set("4", aliceReads) }, time.Minute, "alice", []string{"changed 2 4"}, 1},
		{"down", func() { f.source.fail(down) }, time.Minute, "alice", []string{"unreachable  4"}, 0},
		{"down in other words", func() { f.source.fail(fmt.Errorf("%w: gone, from another port", ErrUnavailable)) }, time.Minute, "alice", nil, 0},
		{"and up", func() { f.source.fail(nil) }, time.Minute, "alice", []string{"confirmed  4"}, 0},
		{"a panic", func() { f.source.panics = true }, time.Minute, "alice", []string{"unreachable  4"}, 0},
		{"for too long", func() {}, 4 * time.Minute, ErrStale.Error(), []string{"stale  4"}, 0},
		{"none any more", func() { f.source.panics = false }, time.Minute, "alice", []string{"confirmed  4"}, 0},
		{"taken back before it was seen", func() { f.source.set("5", bobReads); f.source.set("4", aliceReads) }, time.Minute, "alice", nil, 0},
		{"bad, and taken back", func() { f.source.set("6", nonsense) }, time.Minute, "alice", []string{"refused  4"}, 1},
		{"to the same as before", func() { f.source.set("4", aliceReads) }, time.Minute, "alice", []string{"confirmed  4"}, 0},
		{"the clock is set back", func() {}, -time.Hour, "alice", nil, 0},
	} {
		step.change()
		f.now = f.now.Add(step.after)
		reads := f.source.reads
		f.Look(t.Context())
		if got := f.may(); got != step.may {
			t.Errorf("%s: %q may read, want %q", step.name, got, step.may)
		}
		if got := f.take(); !slices.Equal(got, step.events) {
			t.Errorf("%s: events %q, want %q", step.name, got, step.events)
		}
		if got := f.source.reads - reads; got != step.reads {
			t.Errorf("%s: read %d times, want %d", step.name, got, step.reads)
		}
	}
}

// What is written in several steps is taken over when it has stood still from one look
// to the next, be it good or bad.
func TestLiveSettles(t *testing.T) {
	f := follow(t, time.Hour, aliceReads)
	f.opts.Settle = true
	for _, step := range []struct {
		revision string
		rows     [][]string
		may      string
		events   []string
	}{
		{"1", [][]string{aliceReads}, "alice", nil},
		{"2", nil, "alice", nil}, // cut short
		{"3", [][]string{bobReads}, "alice", nil},
		{"3", [][]string{bobReads}, "bob", []string{"changed 1 3"}},
		{"4", [][]string{nonsense}, "bob", nil},
		{"4", [][]string{nonsense}, "bob", []string{"refused  3"}},
		{"5", [][]string{aliceReads}, "bob", nil},
		{"3", [][]string{bobReads}, "bob", []string{"confirmed  3"}},
		{"5", [][]string{aliceReads}, "bob", nil},
		{"5", [][]string{aliceReads}, "alice", []string{"changed 3 5"}},
	} {
		f.source.set(step.revision, step.rows...)
		f.Look(t.Context())
		if got := f.may(); got != step.may {
			t.Errorf("%s: %q may read, want %q", step.revision, got, step.may)
		}
		if got := f.take(); !slices.Equal(got, step.events) {
			t.Errorf("%s: events %q, want %q", step.revision, got, step.events)
		}
	}
}

// Without looks a policy grows old as well, to the moment.
func TestLiveGrowsOld(t *testing.T) {
	f := follow(t, time.Minute, aliceReads)
	for _, row := range []struct {
		after time.Duration
		stale bool
	}{{time.Minute - 1, false}, {1, true}, {-time.Hour, true}} {
		f.now = f.now.Add(row.after)
		e, err := f.Current()
		if errors.Is(err, ErrStale) != row.stale || f.Health().Stale != row.stale || e == nil {
			t.Errorf("after %v more: %v, %+v", row.after, err, f.Health())
		}
	}
	f = follow(t, 0, aliceReads)
	f.now = f.now.Add(1000 * time.Hour)
	if _, err := f.Current(); err != nil {
		t.Errorf("without a bound: %v", err)
	}
	if _, err := Fixed(Builtin()).Current(); err != nil {
		t.Errorf("one that never changes: %v", err)
	}
}

func TestLiveHealth(t *testing.T) {
	f := follow(t, time.Hour, aliceReads)
	f.now = f.now.Add(time.Minute)
	if h := f.Health(); h.Revision != "1" || h.Age != time.Minute || h.Problem != nil {
		t.Errorf("%+v", h)
	}
	f.source.set("2", nonsense)
	f.Look(t.Context())
	var problems Problems
	h := f.Health()
	if h.Revision != "1" || !errors.As(h.Problem, &problems) || !strings.Contains(h.Problem.Error(), "source: ") {
		t.Errorf("%+v", h)
	}
	f.source.set("3", aliceReads)
	f.Look(t.Context())
	if !strings.Contains(h.Problem.Error(), "source: ") {
		t.Error("what was said has changed")
	}
}

// The first policy must be usable: there is none to keep.
func TestLiveStarts(t *testing.T) {
	down := newFaulty(aliceReads)
	down.fail(ErrUnavailable)
	var problems Problems
	if _, err := NewLive(t.Context(), down, LiveOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if _, err := NewLive(t.Context(), newFaulty(nonsense), LiveOptions{}); !errors.As(err, &problems) {
		t.Error(err)
	}
}

// Roles from the configuration hold under every policy.
func TestLiveExtraRoles(t *testing.T) {
	source := newFaulty([]string{"p", "role:viewer", "document", "read"})
	l, err := NewLive(t.Context(), source, LiveOptions{Extra: map[string][]string{"user:alice": {"role:viewer"}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e, err := l.Current()
		if err != nil || !e.Decide("user:alice", read).Allowed || e.Revision() == "1" {
			t.Errorf("%v %s", err, e.Revision())
		}
		source.set("2", []string{"p", "role:viewer", "document", "read"}, bobReads)
		l.Look(t.Context())
	}
}

// running follows a source in earnest and counts its events; whoever is told does hear.
func running(t *testing.T, source *faulty, poll time.Duration, hear func()) (l *Live, events <-chan Event) {
	t.Helper()
	told := make(chan Event, 1000)
	l, err := NewLive(t.Context(), source, LiveOptions{Poll: poll, Notify: func(e Event) { told <- e; hear() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { cancel(); over.Wait() })
	return l, told
}

// A change is in force when the source tells of it, long before the next poll; when
// nothing tells, the poll finds it; and when the way of being told is broken, too.
func TestLiveIsTold(t *testing.T) {
	for _, row := range []struct {
		name string
		poll time.Duration
		deaf error
		tell bool
	}{
		{"told", time.Hour, nil, true},
		{"not told", time.Millisecond, nil, false},
		{"cannot be told", time.Millisecond, errors.New("broken"), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			source := newFaulty(aliceReads)
			source.deaf = row.deaf
			l, events := running(t, source, row.poll, func() {})
			if row.deaf != nil {
				if e := <-events; e.Kind != Deaf {
					t.Errorf("%v", e)
				}
			}
			source.set("2", bobReads)
			if row.tell {
				source.told <- struct{}{}
			}
			if e := <-events; e.Kind != Changed || e.Revision != "2" {
				t.Errorf("%v", e)
			}
			if e, _ := l.Current(); e.Revision() != "2" {
				t.Error(e.Revision())
			}
		})
	}
}

// Whoever is told may fail; the policy is followed all the same.
func TestLiveNotifyPanics(t *testing.T) {
	source := newFaulty(aliceReads)
	source.deaf = errors.New("broken")
	_, told := running(t, source, time.Millisecond, func() { panic("whoever is told") })
	for _, step := range []struct {
		kind   EventKind
		change func()
	}{
		{Deaf, func() {}},
		{Changed, func() { source.set("2", bobReads) }},
		{Refused, func() { source.set("3", nonsense) }},
		{Changed, func() { source.set("4", aliceReads) }},
	} {
		step.change()
		if e := <-told; e.Kind != step.kind {
			t.Errorf("%v, want %v", e, Event{Kind: step.kind})
		}
	}
}

// While the policy is replaced again and again, each decision is one or the other
// policy's, and none fails.
func TestLiveUnderTraffic(t *testing.T) {
	source := newFaulty(aliceReads)
	l, events := running(t, source, time.Millisecond, func() {})
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				e, err := l.Current()
				if err != nil {
					t.Error(err)
					return
				}
				if e.Decide("user:alice", read).Allowed == e.Decide("user:bob", read).Allowed {
					t.Error("a decision between two policies")
					return
				}
			}
		})
	}
	for i := range 100 {
		rows := [][]string{aliceReads, bobReads}[i%2]
		source.set(fmt.Sprint(i+2), rows)
		if e := <-events; e.Kind != Changed {
			t.Errorf("%v", e)
		}
	}
	stop.Store(true)
	readers.Wait()
}

// The way of a decision does not allocate.
func TestLiveAllocatesNothing(t *testing.T) {
	l, err := NewLive(t.Context(), newFaulty(aliceReads), LiveOptions{MaxAge: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if e, err := l.Current(); err != nil || !e.Decide("user:alice", read).Allowed {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
