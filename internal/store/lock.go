package store

import (
	"fmt"
	"os"
)

// lockDir keeps a second server off the same ledger. The lock ends with the
// process, however it ends.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another openkenar runs on this data (lock %s): stop it, or choose another --data", path)
	}
	return f, nil
}
