//go:build unix

package store

import (
	"os"
	"syscall"
)

// lockFile locks a file that no other process has locked.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
