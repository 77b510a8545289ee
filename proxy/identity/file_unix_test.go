//go:build unix

package identity

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe to which nobody writes is refused, rather than waited for.
func TestTrustedPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readTrusted(pipe, maxTrusted); !fails(err, "no regular file") {
		t.Error(err)
	}
}
