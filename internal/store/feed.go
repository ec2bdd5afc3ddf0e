package store

import (
	"context"

	"github.com/openkenar/openkenar/internal/chat"
)

// published is what a group of writes puts on the feed. It is numbered last,
// right before the commit, so that numbers follow the order of commits.
type published struct {
	typ chat.FeedType
	app string
	ref int64
}

// OnFeed sets what is told when the feed has grown and that is on disk. It must
// not block. Set it before the first write.
func (s *Store) OnFeed(f func()) { s.fed = f }

// Publish implements chat.Tx.
func (tx *Tx) Publish(t chat.FeedType, app string, ref int64) {
	tx.writes++
	tx.published = append(tx.published, published{t, app, ref})
}

// number writes what the group published. The row of the counter is locked from
// here to the commit: no other transaction takes a number meanwhile.
func (tx *Tx) number() error {
	if len(tx.published) == 0 {
		return nil
	}
	var last int64
	if _, err := row(tx.ctx, tx, `UPDATE counters SET value = value + $1 WHERE name = 'feed' RETURNING value`,
		[]any{len(tx.published)}, &last); err != nil {
		return err
	}
	first := last - int64(len(tx.published)) + 1
	for i, p := range tx.published {
		if err := tx.run(`INSERT INTO feed (number, type, app, ref) VALUES ($1, $2, $3, $4)`,
			first+int64(i), string(p.typ), p.app, p.ref); err != nil {
			return err
		}
	}
	return nil
}

// Feed implements chat.Store.
func (s *Store) Feed(ctx context.Context, after int64, limit int) ([]chat.FeedEntry, error) {
	entries, err := rows(ctx, &s.reading, scanFeed, `SELECT number, type, app, ref FROM feed WHERE number > $1 ORDER BY number LIMIT $2`,
		after, limit)
	if err != nil {
		return nil, err
	}
	list := make([]chat.FeedEntry, len(entries))
	for i, e := range entries {
		list[i] = e.FeedEntry
		switch e.Type {
		case chat.FeedMessage:
			m, ok, err := one(rows(ctx, &s.reading, scanMessage,
				`SELECT `+messageColumns+messageTables+`WHERE m.event_id = $1 AND m.erased_at = 0`, e.ref))
			if err != nil {
				return nil, err
			}
			if ok {
				list[i].Message = &m
			}
		case chat.FeedNotification:
			n, ok, err := s.Notification(ctx, e.ref)
			if err != nil {
				return nil, err
			}
			if ok {
				list[i].Notification = &n
			}
		case chat.FeedNotice:
			n, ok, err := s.notice(ctx, e.ref)
			if err != nil {
				return nil, err
			}
			if ok {
				list[i].Notice = &n
			}
		}
	}
	return list, nil
}

type feedRow struct {
	chat.FeedEntry
	ref int64
}

func scanFeed(r scanner) (f feedRow, err error) {
	err = r.Scan(&f.Number, &f.Type, &f.App, &f.ref)
	return f, err
}
