package store

import "context"

// Setting returns a value that the platform keeps of itself; "" when unset.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	_, err = row(ctx, &s.reading, `SELECT value FROM settings WHERE name = $1`, []any{name}, &value)
	return value, err
}

// SetSetting keeps a value.
func (s *Store) SetSetting(ctx context.Context, name, value string) error {
	return s.write(ctx, func(tx *Tx) error {
		return tx.run(`INSERT INTO settings (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	})
}

// KeepSetting keeps a value unless there is one, and returns the one that stays.
func (s *Store) KeepSetting(ctx context.Context, name, value string) (kept string, err error) {
	err = s.write(ctx, func(tx *Tx) error {
		if err := tx.run(`INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, value); err != nil {
			return err
		}
		_, err := row(tx.ctx, tx, `SELECT value FROM settings WHERE name = $1`, []any{name}, &kept)
		return err
	})
	return kept, err
}
