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

// memory is what a system tells of a running process, in bytes.
type memory struct{ resident, anonymous, peak int64 }

// memoryOf is not available, for the same reason.
func memoryOf(int) memory { return memory{} }
