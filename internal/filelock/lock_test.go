package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/openkenar/openkenar/internal/filelock"
)

func TestTake(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 {
		held, err := filelock.Take(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := filelock.Take(path); !errors.Is(err, filelock.ErrHeld) {
			t.Errorf("taken twice: %v", err)
		}
		if err := held.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := filelock.Take(filepath.Join(path, "lock")); errors.Is(err, filelock.ErrHeld) || err == nil {
		t.Errorf("where no file can be: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file: %v", err)
	}
}
