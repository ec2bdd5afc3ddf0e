package store

import (
	"context"
	"fmt"

	"github.com/openkenar/openkenar/internal/delivery"
)

// auditWindow is how many rows one statement of an audit looks at: short, so
// that it does not hold the log of a live ledger back.
const auditWindow = 5000

// audited is one row that an audit looked at: where it stands, what it counts
// for, and what is wrong with it ("" for nothing).
type audited struct {
	at      int64
	app     string
	state   delivery.State
	verdict int64
	logged  int64 // attempts
	finding string
}

// auditPart is one table's share of the proof: a statement over a window of
// its rows behind a place.
type auditPart struct {
	name, query string
	scan        func(scanner) (audited, error)
}

var auditParts = []auditPart{
	{"events", `SELECT e.id, e.deliveries, e.skips,
			(SELECT count(*) FROM deliveries d WHERE d.event_id = e.id AND d.state <> 'skipped'),
			(SELECT count(*) FROM deliveries d WHERE d.event_id = e.id AND d.state = 'skipped')
		FROM events e WHERE e.id > $1 AND e.id <= $4 AND CAST($2 AS TEXT) = $2 ORDER BY e.id LIMIT $3`, scanAuditedEvent},
	{"deliveries", `SELECT d.event_id, d.app, d.state, d.reason, d.attempts, d.next_at,
			(SELECT count(*) FROM events e WHERE e.id = d.event_id),
			(SELECT count(*) FROM attempts a WHERE a.event_id = d.event_id AND a.app = d.app),
			(SELECT count(*) FROM attempts a WHERE a.event_id = d.event_id AND a.app = d.app AND a.status BETWEEN 200 AND 299)
		FROM deliveries d WHERE (d.event_id, d.app) > ($1, $2) AND d.event_id <= $4 ORDER BY d.event_id, d.app LIMIT $3`, scanAuditedDelivery},
	{"messages", `SELECT m.event_id, m.id, ` + eventOf(`m.event_id`) + `
		FROM messages m WHERE m.event_id > $1 AND CAST($4 AS BIGINT) = $4 AND CAST($2 AS TEXT) = $2 ORDER BY m.event_id LIMIT $3`, scanAuditedThing("message")},
	{"posts", `SELECT p.event_id, p.token, ` + eventOf(`p.event_id`) + `
		FROM posts p WHERE p.token > $2 AND CAST($4 AS BIGINT) = $4 AND CAST($1 AS BIGINT) = $1 ORDER BY p.token LIMIT $3`, scanAuditedThing("post")},
	{"transactions", `SELECT t.event_id, t.id, ` + eventOf(`t.event_id`) + `
		FROM transactions t WHERE t.id > $2 AND CAST($4 AS BIGINT) = $4 AND CAST($1 AS BIGINT) = $1 ORDER BY t.id LIMIT $3`, scanAuditedThing("transaction")},
}

// eventOf counts the event of a thing, and once where it may have been pruned.
func eventOf(id string) string {
	return `(SELECT count(*) FROM events e WHERE e.id = ` + id + `)
		+ (SELECT count(*) FROM settings WHERE name = '` + prunedTo + `' AND ` + id + ` <= CAST(value AS BIGINT))`
}

func scanAuditedEvent(r scanner) (audited, error) {
	var a audited
	var deliveries, skips, foundDeliveries, foundSkips int64
	err := r.Scan(&a.at, &deliveries, &skips, &foundDeliveries, &foundSkips)
	a.verdict = deliveries + skips
	if deliveries != foundDeliveries || skips != foundSkips {
		a.finding = fmt.Sprintf("event %d: its fan-out made %d deliveries and %d skips, the ledger has %d and %d",
			a.at, deliveries, skips, foundDeliveries, foundSkips)
	}
	return a, err
}

func scanAuditedDelivery(r scanner) (audited, error) {
	var a audited
	var reason string
	var attempts, next, events, successes int64
	err := r.Scan(&a.at, &a.app, &a.state, &reason, &attempts, &next, &events, &a.logged, &successes)
	if err != nil {
		return a, err
	}
	id := delivery.ID{Event: a.at, App: a.app}
	find := func(format string, args ...any) {
		if a.finding == "" {
			a.finding = fmt.Sprintf("delivery %s: %s", id, fmt.Sprintf(format, args...))
		}
	}
	switch a.state {
	case delivery.Pending:
		if next == 0 {
			find("pending, but it will never fall due")
		}
	case delivery.Delivered:
		if successes == 0 {
			find("delivered, but no attempt was answered with 2xx")
		}
	case delivery.Exhausted, delivery.Canceled, delivery.Skipped:
		if reason == "" {
			find("%s without a reason", a.state)
		}
	default:
		find("unknown state %q", a.state)
	}
	if events == 0 {
		find("its event is missing")
	}
	if attempts != a.logged {
		find("%d attempts were made, the log has %d", attempts, a.logged)
	}
	return a, nil
}

func scanAuditedThing(name string) func(scanner) (audited, error) {
	return func(r scanner) (audited, error) {
		var a audited
		var events int64
		err := r.Scan(&a.at, &a.app, &events)
		if events == 0 {
			a.finding = fmt.Sprintf("%s %q: its event %d is missing", name, a.app, a.at)
		}
		return a, err
	}
}

// Audit proves from storage alone that everything accepted is accounted for.
// It reads in short steps beside a live server; progress is told the number
// of rows looked at.
func (s *Store) Audit(ctx context.Context, progress func(rows int64)) (delivery.Audit, error) {
	audit := delivery.Audit{Findings: []string{}}
	count := map[delivery.State]*int64{
		delivery.Pending: &audit.Pending, delivery.Delivered: &audit.Delivered, delivery.Exhausted: &audit.Exhausted,
		delivery.Canceled: &audit.Canceled, delivery.Skipped: &audit.Skipped,
	}
	var last, seen int64 // what happens after last is not counted
	if _, err := row(ctx, &s.reading, `SELECT coalesce(max(last), 0) FROM
		(SELECT max(id) AS last FROM events UNION ALL SELECT max(event_id) FROM deliveries) AS ids`, nil, &last); err != nil {
		return audit, fmt.Errorf("audit events: %w", err)
	}
	for _, part := range auditParts {
		at := audited{at: -1}
		for {
			window, err := rows(ctx, &s.reading, part.scan, part.query, at.at, at.app, auditWindow, last)
			if err != nil {
				return audit, fmt.Errorf("audit %s: %w", part.name, err)
			}
			for _, a := range window {
				if part.name == "events" {
					audit.Events++
					audit.Accepted += a.verdict
				}
				audit.Attempts += a.logged
				if n := count[a.state]; n != nil {
					*n++
				}
				if a.finding != "" {
					audit.Find(a.finding)
				}
				at = a
			}
			seen += int64(len(window))
			progress(seen)
			if len(window) < auditWindow {
				break
			}
		}
	}
	return audit, nil
}
