package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// cpuTime returns the processor time that process pid has used so far, user and
// system, over all its threads, those that have ended included. It reads the
// process's own CPU clock, which counts nanoseconds: /proc/PID/stat counts
// hundredths of a second, more than many a round takes.
func cpuTime(pid int) (time.Duration, error) {
	// The id of another process's clock (clock_getcpuclockid(3)): the inverted
	// pid above three bits, of which 2 means CPUCLOCK_SCHED of a whole process.
	clock := uintptr(^pid)<<3 | 2
	var ts syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0) //nolint:gosec // the call fills ts; syscall has no wrapper for it
	if errno != 0 {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is what /proc/PID/status says, in bytes.
type memory struct {
	resident  int64 // all that is in memory, the program's own text included
	anonymous int64 // of that, what the process has allocated
	peak      int64 // the most that was resident
}

// memoryOf reads the memory of process pid; zeros when the system does not tell.
func memoryOf(pid int) (m memory) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) //nolint:gosec // a number leads nowhere else
	if err != nil {
		return m
	}
	for l := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(l, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		switch name {
		case "VmRSS":
			m.resident = kilobytes << 10
		case "RssAnon":
			m.anonymous = kilobytes << 10
		case "VmHWM":
			m.peak = kilobytes << 10
		}
	}
	return m
}
