//go:build unix && !linux

package pgserver

import "syscall"

// endWithParent has no counterpart here: a program that is killed leaves its server.
func endWithParent(*syscall.SysProcAttr) {}
