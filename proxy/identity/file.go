package identity

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxTrusted bounds a file that says who is believed, in bytes.
const maxTrusted = 1 << 20

// readTrusted reads a file that says who is believed, of max bytes at most. Others
// must not be able to write it. What is no file is not waited for.
func readTrusted(name string, max int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened: the name may mean something else by now
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", name)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s can be written by others (mode %04o); take that away: chmod go-w", name, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(text)) > max {
		err = fmt.Errorf("%s is larger than %d MiB", name, max>>20)
	}
	return text, err
}

// followed is a file that is read again when its content changes. What cannot be
// used leaves everything as it was, and is said in the log: a file is often
// written in several steps.
type followed[T any] struct {
	name  string
	parse func(text []byte) (T, error)
	now   func() time.Time
	log   *slog.Logger

	current atomic.Pointer[T]

	mu      sync.Mutex // held by whoever looks at the file
	checked time.Time
	seen    [sha256.Size]byte // what the file held last, usable or not
}

// follow reads the file for the first time; then it must be usable.
func follow[T any](name string, parse func([]byte) (T, error), now func() time.Time, log *slog.Logger) (*followed[T], error) {
	f := &followed[T]{name: name, parse: parse, now: now, log: log, checked: now()}
	text, err := readTrusted(name, maxTrusted)
	if err != nil {
		return nil, err
	}
	f.seen = sha256.Sum256(text)
	return f, f.use(text)
}

func (f *followed[T]) use(text []byte) error {
	value, err := f.parse(text)
	if err == nil {
		f.current.Store(&value)
	}
	return err
}

// get returns what the file says, at most a second old.
func (f *followed[T]) get() T {
	if f.mu.TryLock() {
		f.look(f.now())
		f.mu.Unlock()
	}
	return *f.current.Load()
}

func (f *followed[T]) look(now time.Time) {
	if !passed(f.checked, now, fileEvery) {
		return
	}
	f.checked = now
	text, err := readTrusted(f.name, maxTrusted)
	sum := sha256.Sum256(text)
	if err != nil {
		sum = sha256.Sum256([]byte(err.Error()))
	}
	if sum == f.seen {
		return
	}
	f.seen = sum // said once, however often somebody asks
	if err == nil {
		_, err = caught(func() (none struct{}, err error) { return none, f.use(text) })
	}
	if err != nil {
		f.log.Error("a changed file cannot be used; what it said before stays in force", "file", f.name, "error", err)
		return
	}
	f.log.Info("a changed file was read", "file", f.name)
}
