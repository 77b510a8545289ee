package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mcp-sidecar/policy"
)

const reloadedRules = 10_000

// ruleReload is what it takes to put a changed policy in force, and what those feel who
// decide meanwhile. Times are milliseconds.
type ruleReload struct {
	Took      float64 `json:"took_ms"`         // the median of the rounds
	Wait      float64 `json:"longest_wait_ms"` // of one decision during a reload: the median of the rounds
	Share     float64 `json:"longest_x_took"`  // the same against the reload: 1 when a decision waits for all of it
	Decisions int     `json:"decisions"`       // made during the reloads
	Wrong     int     `json:"wrong"`           // of them: refused, or of neither policy
}

// measureReload changes a policy file again and again while somebody decides by it.
func (b *bench) measureReload(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "bench-policy")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "policy.csv")
	both := [2]string{manyRules(reloadedRules), manyRules(reloadedRules) + "p, user:late, docs/asked, call\n"}
	if err := os.WriteFile(path, []byte(both[0]), 0o600); err != nil {
		return err
	}
	live, err := policy.NewLive(ctx, policy.NewFile(path), policy.LiveOptions{MaxAge: time.Hour})
	if err != nil {
		return err
	}
	var total ruleReload
	var took, wait []float64
	for round := range b.options.rounds {
		late := (round+1)%2 == 1
		if err := os.WriteFile(path, []byte(both[(round+1)%2]), 0o600); err != nil {
			return err
		}
		one, err := reload(ctx, live, late)
		if err != nil {
			return err
		}
		took, wait = append(took, one.Took), append(wait, one.Wait)
		total.Decisions, total.Wrong = total.Decisions+one.Decisions, total.Wrong+one.Wrong
	}
	total.Took, total.Wait, total.Share = median(took), median(wait), compare(wait, took).Median
	b.rules.Reload = &total
	return context.Cause(ctx)
}

// reload has live look at its changed source, under which user:late may what he could not
// before or the other way round, while decisions are made.
func reload(ctx context.Context, live *policy.Live, late bool) (ruleReload, error) {
	before := live.Health().Revision
	call := policy.Permission{Object: "docs/asked", Action: "call"}
	var r ruleReload
	var longest time.Duration
	var deciding sync.WaitGroup
	started, over := make(chan struct{}), make(chan struct{})
	deciding.Go(func() {
		changed := false // seen so far
		for n := 0; ; n++ {
			began := time.Now()
			engine, err := live.Current()
			good := err == nil && engine.Decide("user:asks", call).Allowed && !engine.Decide("user:none", call).Allowed
			now := engine.Decide("user:late", call).Allowed == late
			longest = max(longest, time.Since(began))
			r.Decisions++
			if !good || changed && !now {
				r.Wrong++
			}
			changed = now
			if n == 0 {
				close(started)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	<-started
	began := time.Now()
	live.Look(ctx)
	took := time.Since(began)
	close(over)
	deciding.Wait()
	r.Took, r.Wait = took.Seconds()*1000, longest.Seconds()*1000
	engine, err := live.Current()
	switch {
	case err != nil:
		return r, err
	case engine.Revision() == before, engine.Decide("user:late", call).Allowed != late:
		return r, fmt.Errorf("the changed policy is not in force: %w", errors.Join(live.Health().Problem, context.Cause(ctx)))
	}
	return r, nil
}
