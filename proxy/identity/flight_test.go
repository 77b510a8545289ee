package identity

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Flights[string]
		asked, gone := 0, make(chan struct{})
		ask := func(ctx context.Context) (string, error) {
			asked++
			<-gone
			return "answer", ctx.Err()
		}
		first, leave := context.WithCancel(t.Context())
		left, waits := make(chan error, 1), make(chan string, 1)
		go func() {
			_, err := f.Do(first, "k", ask)
			left <- err
		}()
		synctest.Wait()
		go func() {
			v, err := f.Do(t.Context(), "k", ask)
			if err != nil {
				t.Error(err)
			}
			waits <- v
		}()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("whoever leaves reads %v", err)
		}
		close(gone)
		if v := <-waits; v != "answer" || asked != 1 {
			t.Errorf("the other reads %q after %d questions", v, asked)
		}
	})
}

// What panics on a goroutine of its own must not end the process, nor show what it
// panicked with.
func TestFlightsPanic(t *testing.T) {
	var f Flights[string]
	v, err := f.Do(t.Context(), "k", func(context.Context) (string, error) { panic("a secret") })
	if v != "" || err == nil || strings.Contains(err.Error(), "secret") || err.Error() != "panic of type string" {
		t.Errorf("%q, %v", v, err)
	}
}

// Keys that make their reader panic are keys that cannot be had.
func TestKeysPanic(t *testing.T) {
	c := &stopped{now: begin}
	v := only(signedBy(t, roundTrip(nil), c.Now, nil))
	v.JWT[0].keys.load = func(context.Context) ([]byte, error) { panic("keys") }
	if _, err := v.Authenticate(t.Context(), NewSecret(ecKey().mint(nil, nil))); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
