package store

import (
	"context"
	"errors"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

var _ delivery.TailLedger = (*Store)(nil)

// errEnough ends the reading of rows.
var errEnough = errors.New("enough was read")

// Entries implements delivery.TailLedger.
func (s *Store) Entries(ctx context.Context, app string, after int64, limit, size int) ([]delivery.Entry, error) {
	list := make([]delivery.Entry, 0, limit)
	_, err := rows(ctx, &s.reading, func(r scanner) (struct{}, error) {
		if size <= 0 {
			return struct{}{}, errEnough
		}
		e, err := scanEntry(r)
		size -= len(e.Body)
		list = append(list, e)
		return struct{}{}, err
	}, `SELECT d.event_id, d.app, d.state, d.reason, d.grant_id, d.metadata, e.type, e.payload, coalesce(g.revoked_at, 0)
		FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN grants g ON g.id = d.grant_id
		WHERE d.app = $1 AND d.event_id > $2 ORDER BY d.event_id LIMIT $3`, app, after, limit)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}

func scanEntry(r scanner) (e delivery.Entry, err error) {
	var state delivery.State
	var reason string
	var typ event.Type
	var metadata wire.Object
	var payload []byte
	var revoked int64
	if err := r.Scan(&e.ID.Event, &e.ID.App, &state, &reason, &e.Grant, object{&metadata}, &typ, &payload, &revoked); err != nil {
		return e, err
	}
	e.Type = string(typ)
	switch {
	case typ.IsCall(), state == delivery.Skipped && !event.MayFetch(typ, reason, e.Grant):
		e.Aside = true
	case payload == nil:
		e.Gone = delivery.MissedErased
	case revoked != 0:
		e.Gone = delivery.MissedRevoked
	default:
		e.Body = event.Envelope(typ, metadata, payload)
	}
	return e, nil
}

// Pruned implements delivery.TailLedger.
func (s *Store) Pruned(ctx context.Context, app string) (id int64, err error) {
	_, err = row(ctx, &s.reading, `SELECT CAST(value AS BIGINT) FROM settings WHERE name = $1`, []any{prunedOf(app)}, &id)
	return id, err
}

// Last implements delivery.TailLedger.
func (s *Store) Last(ctx context.Context) (id int64, err error) {
	var pruned int64
	if _, err := row(ctx, &s.reading, `SELECT coalesce(max(id), 0) FROM events`, nil, &id); err != nil {
		return 0, err
	}
	_, err = row(ctx, &s.reading, `SELECT CAST(value AS BIGINT) FROM settings WHERE name = $1`, []any{prunedTo}, &pruned)
	return max(id, pruned), err
}
