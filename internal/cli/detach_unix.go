//go:build unix

package cli

import "syscall"

// detached keeps what a terminal sends to the program, as Ctrl-C does, from a
// process that it starts.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
