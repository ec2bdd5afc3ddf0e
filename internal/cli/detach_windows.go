package cli

import "syscall"

// detached keeps what a console sends to the program, as Ctrl-C does, from a
// process that it starts.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
