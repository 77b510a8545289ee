//go:build unix

package identity

import (
	"os/exec"
	"syscall"
)

// endGroup puts the command into a process group of its own, which ends with it:
// what a script has started would outlive it otherwise.
func endGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
