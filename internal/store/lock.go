package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/openkenar/openkenar/internal/filelock"
)

// lockDir keeps a second server off the same ledger.
func lockDir(path string) (*os.File, error) {
	f, err := filelock.Take(path)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("another openkenar runs on this data (lock %s): stop it, or choose another --data", path)
	}
	return f, err
}
