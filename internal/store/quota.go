package store

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/access"
)

var _ access.QuotaStore = (*Store)(nil)

// keepUse is how long counts are kept after their window.
const keepUse = 40 * 24 * time.Hour

// AddUse implements access.QuotaStore.
func (s *Store) AddUse(ctx context.Context, used map[access.Window]int64, now time.Time) (map[access.Window]int64, error) {
	all := map[access.Window]int64{}
	err := s.write(ctx, func(tx *Tx) error {
		for w, n := range used {
			var total int64
			if _, err := row(tx.ctx, tx, `INSERT INTO quota_use (app, unit_us, start_us, used) VALUES ($1, $2, $3, $4)
				ON CONFLICT (app, unit_us, start_us) DO UPDATE SET used = quota_use.used + excluded.used RETURNING used`,
				[]any{w.App, w.Unit.Microseconds(), w.Start * w.Unit.Microseconds(), n}, &total); err != nil {
				return err
			}
			tx.writes++
			all[w] = total
		}
		// Minutes go after an hour: they are many.
		if err := tx.run(`DELETE FROM quota_use WHERE unit_us = $1 AND start_us < $2`,
			time.Minute.Microseconds(), micros(now.Add(-time.Hour))); err != nil {
			return err
		}
		return tx.run(`DELETE FROM quota_use WHERE unit_us = $1 AND start_us < $2`,
			(24 * time.Hour).Microseconds(), micros(now.Add(-keepUse)))
	})
	return all, err
}

// Use implements access.QuotaStore.
func (s *Store) Use(ctx context.Context, w access.Window) (used int64, err error) {
	_, err = row(ctx, &s.reading, `SELECT used FROM quota_use WHERE app = $1 AND unit_us = $2 AND start_us = $3`,
		[]any{w.App, w.Unit.Microseconds(), w.Start * w.Unit.Microseconds()}, &used)
	return used, err
}
