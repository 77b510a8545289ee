package backend

import "syscall"

// endWithParent has the system kill the child when the sidecar dies without a
// chance to do it. What the child has started sees its input end.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
