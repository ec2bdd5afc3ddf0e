package store

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
)

const (
	// pruneWindow is how many events, or dead tokens, a step looks at.
	pruneWindow = 500
	// pruneRows is how many rows a step deletes, an event's all at once.
	pruneRows = 2000
)

// prunedTo is the setting that holds the highest id that was ever pruned. A
// thing whose event is not above it may lack its event; and no id up to it is
// given out again.
const prunedTo = "pruned_to"

// prunedOf is the setting that holds the highest id of an app's events that was
// pruned.
func prunedOf(app string) string { return prunedTo + " " + app }

// deadAccess deletes what expired before $1, at most $2 of each kind; what was
// revoked goes when it would have expired. Subscriptions go before the tokens
// that they were made with. A token that must wait for one is passed by in each
// step: there are few, since only a refresh makes a token die before its
// subscription, by an hour at most.
var deadAccess = []string{
	`DELETE FROM subscriptions WHERE id IN (SELECT id FROM subscriptions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING id`,
	`DELETE FROM access_tokens WHERE id IN (SELECT t.id FROM access_tokens t WHERE t.expires_at < $1
		AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.token_id = t.id) ORDER BY t.expires_at LIMIT $2) RETURNING id`,
	`DELETE FROM refresh_tokens WHERE id IN (SELECT id FROM refresh_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING id`,
}

// aged is an event that a pass comes by.
type aged struct {
	id, at  int64
	rows    int // with its deliveries and attempts
	pending int
}

func scanAged(r scanner) (a aged, err error) {
	err = r.Scan(&a.id, &a.at, &a.rows, &a.pending)
	return a, err
}

// PruneStep implements delivery.Chores. It looks at the events on a reader, so
// that those which must stay cost the writer nothing, however many they are.
func (s *Store) PruneStep(ctx context.Context, at delivery.Pruning, now time.Time) (next delivery.Pruning, more bool, err error) {
	end := idAt(at.Before)
	if s.dialect.partitioned {
		if at, end, more, err = s.dropStep(ctx, at, now.Sub(at.Before)); err != nil || more {
			return at, more, err
		}
	}
	window, err := rows(ctx, &s.reading, scanAged,
		`SELECT e.id, e.at, 1 + count(d.app) + CAST(coalesce(sum(d.attempts), 0) AS BIGINT), count(CASE WHEN d.state = 'pending' THEN 1 END)
		FROM events e LEFT JOIN deliveries d ON d.event_id = e.id
		WHERE e.id > $1 AND e.id < $2 GROUP BY e.id ORDER BY e.id LIMIT $3`, at.Event, end, pruneWindow)
	if err != nil {
		return at, false, err
	}
	if len(window) == 0 {
		more, err = s.pruneAccess(ctx, at.Before, now)
		return at, more, err
	}
	next = at
	var finished []int64
	gone := map[string]int64{} // the last event of each app that goes
	size := 0
	for _, e := range window {
		if e.pending == 0 && e.at < micros(at.Before) {
			if size += e.rows; size > pruneRows && len(finished) > 0 {
				break
			}
			finished = append(finished, e.id)
		}
		next.Event = e.id
	}
	if len(finished) == 0 {
		return next, true, nil
	}
	err = s.write(ctx, func(tx *Tx) error {
		next.Events = at.Events
		clear(gone)
		for _, id := range finished {
			apps, went, err := tx.pruneEvent(id)
			if err != nil {
				return err
			}
			for _, app := range apps {
				gone[app] = id
			}
			if went {
				next.Events++
			}
		}
		for _, app := range slices.Sorted(maps.Keys(gone)) {
			if err := tx.pruned(prunedOf(app), gone[app]); err != nil {
				return err
			}
		}
		return tx.pruned(prunedTo, finished[len(finished)-1])
	})
	return next, true, err
}

// pruneEvent deletes an event with all that is kept of it, unless one of its
// deliveries was put back meanwhile, and returns the apps that it concerned.
func (tx *Tx) pruneEvent(id int64) (apps []string, gone bool, err error) {
	if err := tx.run(`UPDATE messages SET payload = (SELECT payload FROM events WHERE id = $1)
		WHERE event_id = $1 AND payload IS NULL AND erased_at = 0`, id); err != nil {
		return nil, false, err
	}
	n, err := tx.exec(`DELETE FROM events WHERE id = $1
		AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = $1 AND state = 'pending')`, id)
	if err != nil || n == 0 {
		return nil, false, err
	}
	if apps, err = rows(tx.ctx, tx, scanText, `DELETE FROM deliveries WHERE event_id = $1 RETURNING app`, id); err != nil {
		return nil, false, err
	}
	return apps, true, tx.run(`DELETE FROM attempts WHERE event_id = $1`, id)
}

// pruneAccess deletes a bounded part of the tokens and subscriptions that died
// before a moment, and long enough ago that they explain no verdict any more.
func (s *Store) pruneAccess(ctx context.Context, before, now time.Time) (more bool, err error) {
	if told := now.Add(-event.JustEnded); told.Before(before) {
		before = told
	}
	err = s.write(ctx, func(tx *Tx) error {
		more = false
		for _, q := range deadAccess {
			gone, err := rows(tx.ctx, tx, scanID, q, micros(before), pruneWindow)
			if err != nil {
				return err
			}
			if len(gone) == 0 {
				continue
			}
			tx.writes++
			more = more || len(gone) == pruneWindow
			if err := tx.pruned(prunedTo, slices.Max(gone)); err != nil {
				return err
			}
		}
		return nil
	})
	return more, err
}

// pruned notes in a setting that ids up to this one may be missing.
func (tx *Tx) pruned(setting string, id int64) error {
	return tx.run(`INSERT INTO settings (name, value) VALUES ($1, $2)`+higher, setting, strconv.FormatInt(id, 10))
}

// higher keeps the higher value of a setting.
const higher = ` ON CONFLICT (name) DO UPDATE SET value = excluded.value
	WHERE CAST(settings.value AS BIGINT) < CAST(excluded.value AS BIGINT)`
