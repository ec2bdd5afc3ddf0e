//go:build unix

package filelock

import (
	"os"
	"syscall"
)

// lock locks a file that no other process has locked.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
