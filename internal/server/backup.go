package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

// Backup is a copy of a ledger, and what an audit of the copy found.
type Backup struct {
	File  string // not the one that was asked for when something is unaccounted for
	Bytes int64
	Audit delivery.Audit
}

// BackUp copies the ledger of a data directory to a file, beside a running
// server. The file has its name only once the copy is on disk and proven: one
// in which something is unaccounted for stays under the name FILE.partial.
func BackUp(ctx context.Context, data, file string, progress func(rows int64)) (_ Backup, err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return Backup{}, errors.Join(err, fmt.Errorf("%s is there already; a backup overwrites nothing: give another name", file))
	}
	ledger, err := store.Open(ctx, store.Options{Dir: data, ReadOnly: true})
	if err != nil {
		return Backup{}, err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	b := Backup{File: file + ".partial"}
	// Claimed and private before anything is in it.
	f, err := os.OpenFile(b.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, privateMode)
	if errors.Is(err, fs.ErrExist) {
		return b, fmt.Errorf("%s is there: another backup is at it, or has broken off; then remove it", b.File)
	} else if err != nil {
		return b, err
	}
	// Closed no earlier than the copy: closing a file ends SQLite's locks on it.
	err = errors.Join(ledger.CopyTo(ctx, b.File), f.Sync(), f.Close())
	if err == nil {
		err = b.prove(ctx, progress)
	}
	if err == nil && b.Audit.Unaccounted == 0 {
		err = os.Rename(b.File, file)
	}
	if err != nil {
		return b, errors.Join(err, os.Remove(b.File))
	}
	if b.Audit.Unaccounted == 0 {
		b.File = file
	}
	return b, syncDir(filepath.Dir(file))
}

// prove reads the copy as verify reads a ledger.
func (b *Backup) prove(ctx context.Context, progress func(rows int64)) (err error) {
	info, err := os.Stat(b.File)
	if err != nil {
		return err
	}
	b.Bytes = info.Size()
	backup, err := store.Open(ctx, store.Options{Dir: filepath.Dir(b.File), File: filepath.Base(b.File), ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backup.Close()) }()
	if err := backup.Check(ctx); err != nil {
		return err
	}
	b.Audit, err = backup.Audit(ctx, progress)
	return err
}
