package pgserver

import "syscall"

// endWithParent ends the server when the program dies without a chance to do it.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
