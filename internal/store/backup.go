package store

import (
	"context"
	"errors"
	"fmt"
)

// errNotEmbedded says that a ledger is not a file of ours.
var errNotEmbedded = errors.New("this ledger is in a PostgreSQL database: copy and check it with the tools of PostgreSQL")

// CopyTo writes the ledger as it is at this moment to a file, which must be
// empty or missing, and is not on disk before it is synced. Writers go on
// meanwhile; what they write is not in the copy.
func (s *Store) CopyTo(ctx context.Context, file string) (err error) {
	if !s.dialect.embedded {
		return errNotEmbedded
	}
	// The readers' connections may not even write to another file.
	db, err := openSQLite(s.path, copierPragmas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, file); err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	return nil
}

// Check proves that the ledger's own structure is whole.
func (s *Store) Check(ctx context.Context) error {
	if !s.dialect.embedded {
		return errNotEmbedded
	}
	found := ""
	if err := s.readers.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil {
		return fmt.Errorf("check %s: %w", s.path, err)
	}
	if found != "ok" {
		return fmt.Errorf("check %s: %s", s.path, found)
	}
	return nil
}
