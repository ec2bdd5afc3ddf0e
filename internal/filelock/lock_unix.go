//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// lock locks a file that no other process has locked.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}
