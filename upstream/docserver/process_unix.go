//go:build unix

package docserver

import (
	"os/exec"
	"syscall"
)

// ownGroup lets a time-out end everything that the shell started, not only the
// shell: "words; sleep 1000" would otherwise leave the sleep behind.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
