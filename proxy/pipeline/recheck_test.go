package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// watching is a world with one open stream of alice's.
type watching struct {
	*world
	mu     sync.Mutex
	verify func() (identity.Principal, error)
	asked  int
	ended  chan *Answer
}

var watcher = identity.Principal{Issuer: "idp", Subject: "alice", ClientID: "cli"}

func newWatching(t *testing.T) *watching {
	w := &watching{ended: make(chan *Answer, 1), verify: func() (identity.Principal, error) { return watcher, nil }}
	w.world = newWorld(t, func(o *Options) {
		o.Authenticator = authenticatorFunc(func(identity.Secret) (identity.Principal, error) {
			w.mu.Lock()
			w.asked++
			verify := w.verify
			w.mu.Unlock()
			return verify()
		})
		o.Upstream = upstreamFunc(func(ctx context.Context, _ wire.Exchange, s wire.Sink) error {
			if err := s.Reply(wire.Reply{Status: 200, Stream: true}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
	})
	session := w.pipe.sessions.open(&Session{owner: watcher.Key(), server: "docs", forget: func(*Session) {}})
	c := &Call{Verb: wire.Watch, Transport: HTTP, Head: Head{Session: session.ID, Authorization: identity.NewSecrets("Bearer token-of-alice")}}
	go func() { w.ended <- w.handle(c).answer }()
	synctest.Wait()
	return w
}

func (w *watching) says(verify func() (identity.Principal, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.verify = verify
}

// recheck lets the token be verified again and returns why the stream has ended, if
// it has.
func (w *watching) recheck() string {
	w.pipe.Recheck()
	synctest.Wait()
	select {
	case <-w.ended:
		records := w.outcomes()
		return records[len(records)-1].Reason
	default:
		return "open"
	}
}

func TestRecheck(t *testing.T) {
	unavailable := fmt.Errorf("%w: the issuer is down", identity.ErrUnavailable)
	for _, row := range []struct {
		name   string
		verify func() (identity.Principal, error)
		want   string
	}{
		{"good", func() (identity.Principal, error) { return watcher, nil }, "open"},
		{"revoked", func() (identity.Principal, error) { return identity.Principal{}, identity.ErrInvalid }, "token-revoked"},
		{"expired", func() (identity.Principal, error) { return identity.Principal{}, identity.ErrExpired }, "token-expired"},
		{"somebody else's now", func() (identity.Principal, error) { return identity.Principal{Issuer: "idp", Subject: "bob"}, nil }, "token-revoked"},
		{"issuer down", func() (identity.Principal, error) { return identity.Principal{}, unavailable }, "open"},
		{"fault", func() (identity.Principal, error) { return identity.Principal{}, errors.New("fault") }, "open"},
		{"panic", func() (identity.Principal, error) { panic("token-of-alice") }, "open"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatching(t)
				defer w.pipe.Close()
				w.says(row.verify)
				if got := w.recheck(); got != row.want {
					t.Errorf("the stream: %s, want %s", got, row.want)
				}
			})
		})
	}
}

// Whether a token still holds may stay unknown for a minute, counted from when it
// was last known.
func TestRecheckPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t)
		defer w.pipe.Close()
		down := func() (identity.Principal, error) { return identity.Principal{}, identity.ErrUnavailable }
		good := func() (identity.Principal, error) { return watcher, nil }
		for _, row := range []struct {
			after  time.Duration
			verify func() (identity.Principal, error)
			want   string
		}{
			{time.Minute - 1, down, "open"},
			{0, good, "open"},
			{time.Minute - 1, down, "open"},
			{1, down, "token-unverified"},
		} {
			time.Sleep(row.after)
			w.says(row.verify)
			if got := w.recheck(); got != row.want {
				t.Fatalf("after %v: %s, want %s", row.after, got, row.want)
			}
		}
	})
}

// A verifier that hangs is asked once about a stream, and holds up nothing.
func TestRecheckHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t)
		defer w.pipe.Close()
		release := make(chan struct{})
		w.says(func() (identity.Principal, error) { <-release; return identity.Principal{}, identity.ErrInvalid })
		for range 3 {
			if got := w.recheck(); got != "open" {
				t.Errorf("the stream: %s", got)
			}
		}
		if w.asked != 2 { // once to open it
			t.Errorf("asked %d times", w.asked)
		}
		close(release)
		synctest.Wait()
		if records := w.outcomes(); len(records) != 1 || records[0].Reason != "token-revoked" {
			t.Errorf("%+v", records)
		}
		if n := len(w.pipe.streams.all); n != 0 {
			t.Errorf("%d streams are still guarded", n)
		}
		w.recheck()
		if w.asked != 2 {
			t.Errorf("asked %d times, although nothing is open", w.asked)
		}
	})
}

// Where nobody is authenticated there is nothing to verify again.
func TestRecheckOfAnyone(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Authenticator = nil })
	if stop := w.pipe.guardStream(&Call{}, nil); !stop() || len(w.pipe.streams.all) != 0 {
		t.Errorf("%d streams are guarded", len(w.pipe.streams.all))
	}
}
