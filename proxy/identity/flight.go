package identity

import (
	"context"
	"fmt"

	"golang.org/x/sync/singleflight"
)

// Flights let all who want the same wait for one question. It is ready to use, and
// safe for concurrent use.
type Flights[T any] struct{ group singleflight.Group }

// Do returns what ask answers about key, to whoever waits for that already as well.
// The question does not die with whoever asked it first; a caller leaves with ctx.
// A panic is an error: ask runs on a goroutine of its own, where it would end the
// process and not one call.
func (f *Flights[T]) Do(ctx context.Context, key string, ask func(context.Context) (T, error)) (T, error) {
	landing := f.group.DoChan(key, func() (any, error) { return caught(func() (T, error) { return ask(context.WithoutCancel(ctx)) }) })
	select {
	case r := <-landing:
		return r.Val.(T), r.Err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// caught is do, with a panic for an error. The value may hold anything, a secret
// included.
func caught[T any](do func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic of type %T", p)
		}
	}()
	return do()
}
