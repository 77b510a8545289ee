package backend

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps the console's Ctrl-C from the child: the sidecar decides when it
// ends.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate does nothing: there is no signal that asks, and the end of its input
// has asked already.
func (p *process) terminate() {}

// kill ends the child. What it has started is not its, on this system, and sees
// its input end.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

func exitCode(s *os.ProcessState) int {
	if s == nil {
		return -1
	}
	return s.ExitCode()
}
