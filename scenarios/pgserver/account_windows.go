package pgserver

import (
	"errors"
	"syscall"
)

func unprivileged() (*account, error) {
	return nil, errors.New("private servers are not supported on Windows; set DATABASE_URL")
}

func asUser(*account) *syscall.SysProcAttr { return nil }
