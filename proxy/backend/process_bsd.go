//go:build unix && !linux

package backend

import "syscall"

// endWithParent does nothing: these systems have no such notice. A child whose
// sidecar dies sees its input end.
func endWithParent(*syscall.SysProcAttr) {}
