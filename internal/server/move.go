package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

// Moved is what went from one ledger to another.
type Moved = store.Moved

// Export writes a ledger to a stream, beside a running server.
func Export(ctx context.Context, p Place, to io.Writer, progress func(rows int64)) (_ Moved, err error) {
	o := p.options()
	o.ReadOnly = true
	s, err := store.Open(ctx, o)
	if err != nil {
		return Moved{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Export(ctx, to, progress)
}

// ImportOptions of Import.
type ImportOptions struct {
	Place
	MasterKey string // default: the one in the data directory
	Stream    io.Reader
	Imported  func(rows int64) // told how many rows were written
	Checked   func(rows int64) // told how many rows were read back, or audited
}

// Import fills an empty ledger from a stream, whole or not at all, and audits
// it. The master key must be that of the exported ledger.
func Import(ctx context.Context, o ImportOptions) (Moved, delivery.Audit, error) {
	return store.Import(ctx, o.options(), store.Incoming{
		Stream: o.Stream, Imported: o.Imported, Checked: o.Checked,
		Setting: func(name, value string) error {
			if name != masterCheck {
				return nil
			}
			keyring, err := o.keyring()
			if err != nil {
				return err
			}
			return fits(keyring, value)
		},
	})
}

// keyring returns the keyring that the server on this ledger will have.
func (o ImportOptions) keyring() (*access.Keyring, error) {
	if o.MasterKey != "" {
		return access.NewKeyring(o.MasterKey)
	}
	file := filepath.Join(o.Data, masterKeyFile)
	text, err := os.ReadFile(file) //nolint:gosec // a file of the data directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("master key: the secrets of this ledger are sealed with one; bring it here as %s, or set OPENKENAR_MASTER_KEY, and import again", file)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return access.NewKeyring(string(text))
}
