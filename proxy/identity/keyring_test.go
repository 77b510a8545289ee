package identity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pass asks v about a token of k and says what came of it.
func pass(t *testing.T, v *Verifiers, k testKey, now time.Time) error {
	t.Helper()
	_, err := v.Authenticate(t.Context(), NewSecret(k.mint(nil, change{"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})))
	return err
}

// A new key is found at its first token, and its predecessor stops being accepted
// within one refresh after it was taken back, cached verdicts included.
func TestRotation(t *testing.T) {
	c := &stopped{now: begin}
	before, after := newECKey("before"), newECKey("after")
	p := newIDP(before)
	v := only(signedBy(t, p, c.Now, nil))
	old := NewSecret(before.mint(nil, change{"exp": begin.Add(10 * time.Hour).Unix()}))
	check := func(step string, oldErr, newErr error, fetched int64) {
		t.Helper()
		_, err := v.Authenticate(t.Context(), old)
		if again := pass(t, v, after, c.Now()); !errors.Is(err, oldErr) || !errors.Is(again, newErr) || p.fetched.Load() != fetched {
			t.Errorf("%s: old %v, new %v, fetched %d times; want %v, %v, %d", step, err, again, p.fetched.Load(), oldErr, newErr, fetched)
		}
	}
	check("before", nil, ErrInvalid, 1)
	p.publish(before, after)
	check("published, but asked a moment ago", nil, ErrInvalid, 1)
	c.advance(unknownEvery)
	check("asked again for an unknown key", nil, nil, 2)
	p.publish(after)
	c.advance(refreshEvery - 1)
	check("taken back, not yet refreshed", nil, nil, 2)
	c.advance(refreshGrace + 1)
	check("refreshed", ErrInvalid, nil, 3)
	p.publish()
	c.advance(refreshEvery + refreshGrace)
	check("all taken back", ErrInvalid, ErrInvalid, 4)
	p.publish(before, after)
	c.advance(unknownEvery)
	check("given again", nil, nil, 5)
}

// A flood of tokens with made-up keys reaches the issuer once in 30 seconds, and
// costs those with good tokens nothing.
func TestUnknownKeysAreLimited(t *testing.T) {
	c := &stopped{now: begin}
	p := newIDP(ecKey())
	v := only(signedBy(t, p, c.Now, nil))
	for i := range 300 {
		if err := pass(t, v, testKey{"made up", "ES256", otherKey().private}, c.Now()); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		if err := pass(t, v, ecKey(), c.Now()); err != nil {
			t.Fatal(err)
		}
		if want := int64(1 + i/30); p.fetched.Load() != want {
			t.Fatalf("after %d s: fetched %d times, want %d", i, p.fetched.Load(), want)
		}
		c.advance(time.Second)
	}
}

// Keys that cannot be fetched again are used for a day and no longer; a retry
// every two seconds finds them again at once when the issuer is back.
func TestStaleKeys(t *testing.T) {
	for name, broken := range map[string]func(*http.Request) (string, error){
		"down":    func(*http.Request) (string, error) { return "", errors.New("refused") },
		"garbage": func(*http.Request) (string, error) { return "<html>", nil },
		"no set":  func(*http.Request) (string, error) { return "{}", nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newIDP(ecKey())
				v := only(signedBy(t, p, time.Now, nil))
				cached := NewSecret(ecKey().mint(nil, change{"iat": time.Now().Unix(), "exp": time.Now().Add(24 * time.Hour).Unix()}))
				both := func() (error, error) {
					_, err := v.Authenticate(t.Context(), cached)
					cold := pass(t, v, ecKey(), time.Now())
					synctest.Wait()
					return err, cold
				}
				if a, b := both(); a != nil || b != nil {
					t.Fatal(a, b)
				}
				p.breakWith(broken)
				time.Sleep(refreshEvery + refreshGrace)
				if a, b := both(); a != nil || b != nil || p.fetched.Load() != 2 {
					t.Errorf("stale: %v, %v, fetched %d times", a, b, p.fetched.Load())
				}
				if err := pass(t, v, testKey{"new", "ES256", otherKey().private}, time.Now()); !errors.Is(err, ErrUnavailable) {
					t.Errorf("a key that may be new: %v", err)
				}
				for i := range 10 { // five seconds
					time.Sleep(retryEvery / 4)
					if a, b := both(); a != nil || b != nil || p.fetched.Load() != int64(2+(i+1)/4) {
						t.Errorf("step %d: %v, %v, fetched %d times", i, a, b, p.fetched.Load())
					}
				}
				time.Sleep(defaultStale - refreshEvery - refreshGrace - 5*time.Second - 1)
				if a, b := both(); a != nil || b != nil {
					t.Errorf("a day: %v, %v", a, b)
				}
				time.Sleep(time.Nanosecond)
				if a, b := both(); !errors.Is(a, ErrUnavailable) || !errors.Is(b, ErrUnavailable) {
					t.Errorf("more than a day: %v, %v", a, b)
				}
				p.breakWith(nil)
				time.Sleep(retryEvery)
				if _, b := both(); b != nil {
					t.Errorf("two seconds after the repair: %v", b)
				}
			})
		})
	}
}

// Before there are any keys nothing passes, nobody waits longer than for one
// attempt, and the first call after the repair succeeds.
func TestNoKeysYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(ecKey())
		hang := func(r *http.Request) (string, error) { <-r.Context().Done(); return "", r.Context().Err() }
		p.breakWith(hang)
		v := only(signedBy(t, p, time.Now, nil))
		begun := time.Now()
		if err := pass(t, v, ecKey(), begun); !errors.Is(err, ErrUnavailable) || time.Since(begun) != keysTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		// A second attempt, from before the repair, hangs too.
		go func() { _ = pass(t, v, ecKey(), time.Now()) }()
		synctest.Wait()
		p.breakWith(nil)
		repaired := time.Now()
		for pass(t, v, ecKey(), time.Now()) != nil {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(repaired); took >= 5*time.Second {
			t.Errorf("back after %v", took)
		}
	})
}

// Nobody waits for a refresh as long as there are keys that may be used, except
// after a long silence, when the keys may have been taken back long ago.
func TestWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(*http.Request) (string, error) { time.Sleep(3 * time.Second); return "", nil }
		p := newIDP(ecKey())
		v := only(signedBy(t, p, time.Now, nil))
		wait := func() time.Duration {
			begun := time.Now()
			if err := pass(t, v, ecKey(), begun); err != nil {
				t.Error(err)
			}
			return time.Since(begun)
		}
		wait()
		p.breakWith(slow)
		time.Sleep(refreshEvery)
		if d := wait(); d != 0 {
			t.Errorf("for a refresh in time: %v", d)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := p.fetched.Load(); n != 2 {
			t.Errorf("fetched %d times", n)
		}
		time.Sleep(refreshEvery + refreshGrace)
		if d := wait(); d != 3*time.Second {
			t.Errorf("after a long silence: %v", d)
		}
		p.breakWith(func(r *http.Request) (string, error) { <-r.Context().Done(); return "", r.Context().Err() })
		time.Sleep(refreshEvery + refreshGrace)
		if d := wait(); d != keysTimeout {
			t.Errorf("for an issuer that has begun to hang: %v", d)
		}
		time.Sleep(retryEvery)
		if d := wait(); d != 0 {
			t.Errorf("for an issuer that hangs: %v", d)
		}
		time.Sleep(keysTimeout)
	})
}

// A thousand callers are one fetch, and who leaves ends it for nobody.
func TestKeysAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(ecKey())
		p.breakWith(func(*http.Request) (string, error) { time.Sleep(time.Second); return "", nil })
		v := only(signedBy(t, p, time.Now, nil))
		token := NewSecret(ecKey().mint(nil, change{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}))
		first, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := v.Authenticate(first, token); left <- err }()
		synctest.Wait()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if _, err := v.Authenticate(t.Context(), token); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		all.Wait()
		if n := p.fetched.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
}

// Close ends an attempt that hangs, and there is no further one.
func TestClosedKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(ecKey())
		p.breakWith(func(r *http.Request) (string, error) { <-r.Context().Done(); return "", r.Context().Err() })
		v := only(signedBy(t, p, time.Now, nil))
		v.Warm()
		synctest.Wait()
		begun := time.Now()
		v.Close()
		time.Sleep(time.Hour)
		if err := pass(t, v, ecKey(), time.Now()); !errors.Is(err, ErrUnavailable) || p.fetched.Load() != 1 || time.Since(begun) != time.Hour {
			t.Errorf("%v, fetched %d times", err, p.fetched.Load())
		}
	})
}

// A clock that is set back does not keep keys fresh for ever.
func TestClockSetBack(t *testing.T) {
	c := &stopped{now: begin}
	p := newIDP(ecKey())
	v := only(signedBy(t, p, c.Now, nil))
	for i, d := range []time.Duration{0, -time.Hour, -time.Hour} {
		c.advance(d)
		if err := pass(t, v, ecKey(), c.Now()); err != nil {
			t.Error(err)
		}
		v.JWT[0].keys.busy.Wait()
		if p.fetched.Load() != int64(i+1) {
			t.Errorf("fetched %d times", p.fetched.Load())
		}
	}
}

// Each change is one line of the log, without a key and without a URL of the
// issuer's choice.
func TestKeyringLog(t *testing.T) {
	c := &stopped{now: begin}
	p := newIDP(ecKey())
	var log bytes.Buffer
	v := only(signedBy(t, p, c.Now, func(o *JWTOptions) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }))
	lines := func() string {
		v.JWT[0].keys.busy.Wait()
		text := log.String()
		log.Reset()
		return text
	}
	ask := func() { _ = pass(t, v, ecKey(), c.Now()) }
	ask()
	if got := lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "keys=1") {
		t.Errorf("first: %s", got)
	}
	p.breakWith(func(*http.Request) (string, error) { return "", errors.New("refused") })
	for range 5 {
		c.advance(refreshEvery + refreshGrace)
		ask()
	}
	if got := lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "WARN") || !strings.Contains(got, "issuer=https://idp.example") || !strings.Contains(got, "refused") {
		t.Errorf("failing: %s", got)
	}
	p.breakWith(nil)
	for range 5 {
		c.advance(refreshEvery + refreshGrace)
		ask()
	}
	if got := lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "again") {
		t.Errorf("repaired: %s", got)
	}
	p.mu.Lock()
	p.keys = append(p.keys, change{"kty": "oct", "kid": "shared", "k": "canary"})
	p.mu.Unlock()
	c.advance(refreshEvery + refreshGrace)
	ask()
	if got := lines(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "shared") || !strings.Contains(got, "symmetric") || strings.Contains(got, "canary") {
		t.Errorf("another set: %s", got)
	}
}

// A file of keys is read again when it changes; one that cannot be used changes
// nothing.
func TestKeysFile(t *testing.T) {
	c := &stopped{now: begin}
	name := filepath.Join(t.TempDir(), "keys.json")
	write := func(body string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	setOf := func(k testKey) string { return text(change{"keys": []any{k.jwk(nil)}}) }
	a, b := newECKey("a"), newECKey("b")
	v := only(signedBy(t, nil, c.Now, func(o *JWTOptions) { o.KeysFile, o.KeysURL, o.Fetcher = name, "", nil }))
	check := func(step string, wantA, wantB error) {
		t.Helper()
		c.advance(retryEvery)
		if gotA, gotB := pass(t, v, a, c.Now()), pass(t, v, b, c.Now()); !errors.Is(gotA, wantA) || !errors.Is(gotB, wantB) {
			t.Errorf("%s: a %v, b %v; want %v, %v", step, gotA, gotB, wantA, wantB)
		}
	}
	check("no file", ErrUnavailable, ErrUnavailable)
	write(setOf(a), 0o600)
	check("a", nil, ErrInvalid)
	write(setOf(b), 0o644)
	check("b", ErrInvalid, nil)
	write("garbage", 0o600)
	check("garbage", ErrUnavailable, nil) // a may be in what could not be read
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	check("removed", ErrUnavailable, nil)
	write(setOf(a), 0o622)
	check("others can write it", ErrUnavailable, nil)
	write(setOf(a), 0o600)
	check("a again", nil, ErrInvalid)
}
