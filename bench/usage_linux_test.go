package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leastVariable turns TestBurn into a process that uses processor time.
const leastVariable = "BENCH_TEST_LEAST"

// TestBurn is the other process of TestCPUTime. It uses processor time on two
// threads until the system says that it has had enough, reports how much, and
// waits for the end of standard input.
func TestBurn(t *testing.T) {
	least, err := time.ParseDuration(os.Getenv(leastVariable))
	if err != nil {
		return // this is the process that runs the tests
	}
	go func() {
		for {
			own()
		}
	}()
	for own() < least {
	}
	fmt.Println(int64(own()))
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Fatal(err)
	}
}

// own is what getrusage(2) says about this process.
func own() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCPUTime reads another process's clock and holds it against what that
// process knew of itself before, and what the system says of it at its end.
func TestCPUTime(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^TestBurn$")
	child.Env = append(os.Environ(), leastVariable+"=30ms")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var before int64
	_, scanned := fmt.Fscan(stdout, &before)
	got, read := cpuTime(child.Process.Pid)
	later, reread := cpuTime(child.Process.Pid)
	mem := memoryOf(child.Process.Pid)
	_ = stdin.Close()
	if err := child.Wait(); err != nil || scanned != nil || read != nil || reread != nil {
		t.Fatal(err, scanned, read, reread)
	}
	after := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	// getrusage counts microseconds.
	if got < time.Duration(before)-time.Microsecond || later < got || later > after+time.Microsecond {
		t.Errorf("before %v, read %v and %v, at the end %v", time.Duration(before), got, later, after)
	}
	most := child.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if mem.peak <= 0 || mem.peak > most+most/4 || mem.resident > mem.peak || mem.anonymous <= 0 || mem.anonymous >= mem.resident {
		t.Errorf("memory %+v, the most at the end %d", mem, most)
	}
}

func TestCPUTimeOfNobody(t *testing.T) {
	// Above the largest pid that Linux gives (4194304).
	if got, err := cpuTime(math.MaxInt32 >> 4); err == nil || !strings.Contains(err.Error(), "CPU clock of process") {
		t.Errorf("cpuTime = %v, %v", got, err)
	}
	if got := memoryOf(math.MaxInt32 >> 4); got != (memory{}) {
		t.Errorf("memoryOf = %+v", got)
	}
}
