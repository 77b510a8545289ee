//go:build unix

package backend

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts the child into a process group of its own, with whatever it
// starts: a wrapper such as npx leaves its server behind otherwise. Signals of
// the terminal do not reach it there; the sidecar decides when it ends.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
}

// terminate asks the group to end. The group may be gone: that is no error.
func (p *process) terminate() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) }

// kill ends the group.
func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// exitCode is the child's code; for a child that a signal ended, what a shell
// says: 128 and the signal.
func exitCode(s *os.ProcessState) int {
	if s == nil {
		return -1
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
