package store

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
)

// Failing implements delivery.Store.
func (s *Store) Failing(ctx context.Context) ([]delivery.Health, error) {
	return rows(ctx, &s.reading, scanHealth, `SELECT app, failing_since, marked_at FROM endpoint_health ORDER BY app`)
}

func scanHealth(r scanner) (h delivery.Health, err error) {
	var since, marked int64
	err = r.Scan(&h.App, &since, &marked)
	h.FailingSince, h.MarkedAt = moment(since), moment(marked)
	return h, err
}

// NoteHealth implements delivery.Store.
func (s *Store) NoteHealth(ctx context.Context, h delivery.Health, now time.Time) error {
	return s.write(ctx, func(tx *Tx) error {
		if h.FailingSince.IsZero() {
			return tx.run(`DELETE FROM endpoint_health WHERE app = $1`, h.App)
		}
		var marked int64
		if _, err := row(tx.ctx, tx, `SELECT marked_at FROM endpoint_health WHERE app = $1`, []any{h.App}, &marked); err != nil {
			return err
		}
		if err := tx.run(`INSERT INTO endpoint_health (app, failing_since, marked_at) VALUES ($1, $2, $3)
			ON CONFLICT (app) DO UPDATE SET failing_since = excluded.failing_since, marked_at = excluded.marked_at`,
			h.App, micros(h.FailingSince), micros(h.MarkedAt)); err != nil {
			return err
		}
		if h.MarkedAt.IsZero() || marked != 0 {
			return nil
		}
		id := tx.NextID()
		tx.Publish(chat.FeedNotice, h.App, id)
		return tx.run(`INSERT INTO notices (id, app, kind, text, at) VALUES ($1, $2, $3, $4, $5)`,
			id, h.App, chat.NoticeFailing, chat.FailingText(h.FailingSince), micros(now))
	})
}

// notice returns a notice.
func (s *Store) notice(ctx context.Context, id int64) (n chat.AppNotice, ok bool, err error) {
	var at int64
	ok, err = row(ctx, &s.reading, `SELECT kind, text, at FROM notices WHERE id = $1`, []any{id}, &n.Kind, &n.Text, &at)
	n.At.Time = moment(at)
	return n, ok, err
}
