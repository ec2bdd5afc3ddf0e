//go:build !linux

package webhook

import "syscall"

// bindLate is for Linux.
func bindLate(syscall.RawConn) {}
