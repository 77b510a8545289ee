package main

import (
	"runtime"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for _, row := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing yet", 0, 1600},
		{"as at rest", 4 << 20, 400},
		{"some large messages", 8 << 20, 200},
		{"as much as the headroom", 16 << 20, 100},
		{"twice the headroom", 32 << 20, 50},
		{"many sessions", 1 << 30, 50},
	} {
		if got := gcPercent(row.live); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

func TestAtCollection(t *testing.T) {
	called := make(chan struct{}, 1)
	atCollection(func() {
		select {
		case called <- struct{}{}:
		default: // it goes on after the test
		}
	})
	for range 3 {
		runtime.GC()
		<-called
	}
	if live := liveHeap(); live == 0 || live > 1<<30 {
		t.Errorf("%d bytes are live", live)
	}
}
