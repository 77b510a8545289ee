package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// headroom is how much is allocated between two garbage collections at least, in
// bytes. The live heap of a proxy is a few megabytes, and at Go's default the
// collector would run after every hundred calls.
const headroom = 16 << 20

// leastPercent is how much the heap may grow at least, in per cent of what is live.
// Below Go's default: what makes the heap of a proxy large is a few large messages,
// and those cost the collector nothing.
const leastPercent = 50

// collectSeldom trades memory for time where there is little to collect, and time
// for memory where there is much. GOGC in the environment is stronger.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent(headroom / 4)) // what a start leaves
		atCollection(func() { debug.SetGCPercent(gcPercent(liveHeap())) })
	}
}

// gcPercent is the setting of the collector with so much live heap.
func gcPercent(live uint64) int {
	return int(max(leastPercent, 100*headroom/max(live, 1<<20)))
}

// liveHeap is what the last collection has left, in bytes.
func liveHeap() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}

// atCollection calls f after every collection, which finds the tracer unused.
func atCollection(f func()) {
	runtime.SetFinalizer(&tracer{}, func(*tracer) {
		f()
		atCollection(f)
	})
}

// tracer holds a pointer, so that it has memory of its own.
type tracer struct{ _ *tracer }
