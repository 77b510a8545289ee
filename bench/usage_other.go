//go:build !linux

package main

import (
	"errors"
	"time"
)

// cpuTime is not available: other systems tell what a running child has used
// only to programs with special rights. What each proxy used in its whole life
// is known at its end and reported instead.
func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// peakMemory is not available, for the same reason.
func peakMemory(int) int64 { return 0 }
