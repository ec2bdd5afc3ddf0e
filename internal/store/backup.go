package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// CopyTo writes the ledger as it is at this moment to a file, which must be
// empty or missing, and is not on disk before it is synced. Writers go on
// meanwhile; what they write is not in the copy.
func (s *Store) CopyTo(ctx context.Context, file string) (err error) {
	// The readers' connections may not even write to another file.
	db, err := sql.Open(s.dialect.driver, dsn(s.path, s.dialect.copy))
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
	found := ""
	if err := s.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil {
		return fmt.Errorf("check %s: %w", s.path, err)
	}
	if found != "ok" {
		return fmt.Errorf("check %s: %s", s.path, found)
	}
	return nil
}
