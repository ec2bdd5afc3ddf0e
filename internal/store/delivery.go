package store

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

var (
	_ delivery.Store  = (*Store)(nil)
	_ delivery.Ledger = (*Store)(nil)
)

const (
	// sweepWindow is how many deliveries a step of a sweep looks at.
	sweepWindow = 1000
	// redeliverWindow is how many deliveries a step of a redelivery looks at.
	redeliverWindow = 500
)

func scanDue(r scanner) (delivery.Delivery, error) {
	var d delivery.Delivery
	var typ event.Type
	var metadata wire.Object
	var payload []byte
	var next, revoked int64
	err := r.Scan(&d.ID.Event, &d.ID.App, &d.Grant, object{&metadata}, &d.Attempts, &d.Retry, &d.Why, &next,
		&typ, &d.Key, &payload, &revoked)
	if err != nil {
		return d, err
	}
	d.Type = string(typ)
	d.NextAt, d.Revoked = moment(next), revoked != 0 || payload == nil
	if !d.Revoked {
		d.Body = event.Envelope(typ, metadata, payload)
	}
	return d, nil
}

// Due implements delivery.Store.
func (s *Store) Due(ctx context.Context, app string, now time.Time, limit int) ([]delivery.Delivery, error) {
	if s.dialect.exclusive {
		return rows(ctx, &s.reading, scanDue, dueDeliveries, app, micros(now), limit, 0)
	}
	var before int64
	if _, err := row(ctx, &s.reading, `SELECT coalesce(max(id), 0) FROM commits`, nil, &before); err != nil {
		return nil, err
	}
	look := s.floors.look(app)
	list, err := rows(ctx, &s.reading, scanDue, dueDeliveries, app, micros(now), limit, look.from)
	look.end(list, before, now, err)
	return list, err
}

// dueDeliveries reads the deliveries of $1 that are due at $2, above a floor.
const dueDeliveries = `SELECT d.event_id, d.app, d.grant_id, d.metadata, d.attempts, d.retry, d.why, d.next_at,
			e.type, e.order_key, e.payload, coalesce(g.revoked_at, 0)
		FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN grants g ON g.id = d.grant_id
		WHERE d.app = $1 AND d.state = 'pending' AND d.next_at <= $2 AND d.next_at >= $4
		ORDER BY d.next_at, d.event_id LIMIT $3`

// NextDue implements delivery.Store.
func (s *Store) NextDue(ctx context.Context, app string, now time.Time) (time.Time, error) {
	var next int64
	_, err := row(ctx, &s.reading, `SELECT coalesce(min(next_at), 0) FROM deliveries
		WHERE app = $1 AND state = 'pending' AND next_at > $2`, []any{app, micros(now)}, &next)
	return moment(next), err
}

// OldestDue returns when the first of all pending deliveries falls or fell due,
// or zero. Of each app it reads one entry of an index.
func (s *Store) OldestDue(ctx context.Context) (time.Time, error) {
	var oldest int64
	_, err := row(ctx, &s.reading, `SELECT coalesce(min((SELECT min(next_at) FROM deliveries WHERE app = slug AND state = 'pending')), 0)
		FROM apps`, nil, &oldest)
	return moment(oldest), err
}

// Waiting implements delivery.Store.
func (s *Store) Waiting(ctx context.Context) ([]string, error) {
	return rows(ctx, &s.reading, scanText, `SELECT slug FROM apps
		WHERE EXISTS (SELECT 1 FROM deliveries WHERE app = slug AND state = 'pending') ORDER BY slug`)
}

// Record implements delivery.Store. It waits until the outcomes are on disk or
// known not to be: recorded twice, an attempt would be on the log twice.
func (s *Store) Record(ctx context.Context, outcomes []delivery.Outcome) error {
	return s.submit(ctx, &write{run: func(tx *Tx) error {
		usual := tx.deliverTogether
		if s.dialect.exclusive {
			usual = tx.deliverEach
		}
		rest, err := usual(outcomes)
		if err != nil {
			return err
		}
		tx.ended[delivery.Delivered] += len(outcomes) - len(rest)
		for _, o := range rest {
			ended, err := tx.record(o)
			if err != nil {
				return err
			}
			if ended {
				tx.ended[o.State]++
			}
		}
		return nil
	}})
}

// deliverEach records the usual outcomes, an attempt that was a delivery, and
// returns those that are left. Where a statement is no round trip, one for each
// is cheaper than one for many, which gathers its rows twice.
func (tx *Tx) deliverEach(outcomes []delivery.Outcome) (rest []delivery.Outcome, err error) {
	for _, o := range outcomes {
		if o.State != delivery.Delivered || o.Attempt == nil {
			rest = append(rest, o)
			continue
		}
		n, err := tx.exec(`UPDATE deliveries SET state = 'delivered', reason = '', attempts = attempts + 1, next_at = 0, why = '', finished_at = $3
			WHERE event_id = $1 AND app = $2 AND state = 'pending' AND attempts = $4`,
			o.ID.Event, o.ID.App, micros(o.Attempt.At.Add(o.Attempt.Duration)), o.Attempts)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			rest = append(rest, o)
			continue
		}
		if err := tx.insertAttempt(o, o.Attempts+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// deliverTogether does so in bulk.
func (tx *Tx) deliverTogether(outcomes []delivery.Outcome) (rest []delivery.Outcome, err error) {
	usual := make(map[delivery.ID]delivery.Outcome, len(outcomes))
	args := make([]any, 0, len(outcomes)*len(deliveredRows.columns))
	for _, o := range outcomes {
		if _, twice := usual[o.ID]; twice || o.State != delivery.Delivered || o.Attempt == nil {
			rest = append(rest, o)
			continue
		}
		usual[o.ID] = o
		args = append(args, o.ID.Event, o.ID.App, micros(o.Attempt.At.Add(o.Attempt.Duration)))
	}
	found, err := queryBulk(tx, deliveredRows, args, scanDelivered)
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		if err := tx.insertAttempt(usual[d.ID], d.Attempts); err != nil {
			return nil, err
		}
		delete(usual, d.ID)
	}
	for _, o := range usual {
		rest = append(rest, o)
	}
	return rest, nil
}

func scanDelivered(r scanner) (d delivery.Row, err error) {
	err = r.Scan(&d.ID.Event, &d.ID.App, &d.Attempts)
	return d, err
}

// record writes an outcome and says whether it ended the delivery.
func (tx *Tx) record(o delivery.Outcome) (ended bool, err error) {
	now := tx.store.now()
	made := 0
	if o.Attempt != nil {
		made = 1
		now = o.Attempt.At.Add(o.Attempt.Duration)
	}
	finished := micros(now)
	if o.State == delivery.Pending {
		finished = 0
	}
	// What has ended while it was being sent stays ended, unless it was in fact
	// delivered; and where somebody else has attempted it meanwhile, because this
	// node was taken for dead, it is they who go on with it. Attempts are numbered by the ledger itself, so that no
	// outcome can stand in the way of those that share its transaction.
	n := 0
	ok, err := row(tx.ctx, tx, `UPDATE deliveries SET state = $3, reason = $4, attempts = attempts + $5, retry = $6, next_at = $7,
			why = $8, finished_at = $9
		WHERE event_id = $1 AND app = $2 AND (state = 'pending' AND attempts = $10
			OR state IN ('pending', 'canceled', 'exhausted') AND $3 = 'delivered') RETURNING attempts`,
		[]any{o.ID.Event, o.ID.App, string(o.State), legible(o.Reason), made, o.Retry, micros(o.NextAt), o.Why, finished, o.Attempts}, &n)
	ended = ok && o.State != delivery.Pending
	if ok && !ended {
		tx.waits(o.ID.App, micros(o.NextAt))
	}
	if err != nil || made == 0 {
		return ended, err
	}
	if !ok {
		if ok, err = row(tx.ctx, tx, `UPDATE deliveries SET attempts = attempts + 1 WHERE event_id = $1 AND app = $2 RETURNING attempts`,
			[]any{o.ID.Event, o.ID.App}, &n); err != nil || !ok {
			return false, err
		}
	}
	tx.writes++
	return ended, tx.insertAttempt(o, n)
}

// insertAttempt puts an attempt on the log; what was answered to an event that
// has been erased since is not kept.
func (tx *Tx) insertAttempt(o delivery.Outcome, n int) error {
	a, answer := o.Attempt, o.Attempt.Answer
	if len(answer) > 0 {
		var erased int64
		if _, err := row(tx.ctx, tx, `SELECT erased_at FROM events WHERE id = $1`, []any{o.ID.Event}, &erased); err != nil {
			return err
		}
		if erased != 0 {
			answer = nil
		}
	}
	if len(answer) == 0 && a.Error == "" && a.NextAt.IsZero() {
		tx.add(smoothAttemptRows, o.ID.Event, o.ID.App, n, micros(a.At), a.Duration.Microseconds(), legible(a.Request), a.Status, a.Why)
		return nil
	}
	tx.add(attemptRows, o.ID.Event, o.ID.App, n, micros(a.At), a.Duration.Microseconds(), legible(a.Request), a.Status, answer, legible(a.Error),
		a.Why, micros(a.NextAt))
	return nil
}

// SweepStep implements delivery.Chores. It walks the app's pending deliveries
// once, in the order of their index, so that a sweep of a million costs a
// thousand short transactions and no scan of the rest.
func (s *Store) SweepStep(ctx context.Context, at delivery.Sweep, now time.Time) (next delivery.Sweep, more bool, err error) {
	if at.App == "" {
		if at, err = s.nextSweep(ctx); err != nil || at.App == "" {
			return delivery.Sweep{}, false, err
		}
	}
	err = s.write(ctx, func(tx *Tx) error {
		next = at
		window, err := rows(tx.ctx, tx, scanSwept,
			`SELECT event_id, next_at, grant_id FROM deliveries WHERE app = $1 AND state = 'pending' AND (next_at, event_id) > ($2, $3)
			ORDER BY next_at, event_id LIMIT $4`, at.App, micros(at.NextAt), at.Event, sweepWindow)
		if err != nil {
			return err
		}
		for _, w := range window {
			next.NextAt, next.Event = w.NextAt, w.Event
			if !at.Grants[w.grant] {
				continue
			}
			n, err := tx.exec(`UPDATE deliveries SET state = 'canceled', reason = $3, next_at = 0, why = '', finished_at = $4
				WHERE event_id = $1 AND app = $2 AND state = 'pending'`, w.Event, at.App, delivery.ReasonRevoked, micros(now))
			if err != nil {
				return err
			}
			tx.ended[delivery.Canceled] += int(n)
		}
		if len(window) == sweepWindow {
			return nil
		}
		next = delivery.Sweep{}
		for grant := range at.Grants {
			if err := tx.run(`UPDATE grants SET swept_at = $2 WHERE id = $1`, grant, micros(now)); err != nil {
				return err
			}
		}
		return nil
	})
	return next, true, err
}

// nextSweep returns the start of a pass; its App is "" when nothing is left to
// sweep.
func (s *Store) nextSweep(ctx context.Context) (at delivery.Sweep, err error) {
	grants, err := rows(ctx, &s.reading, scanUnswept,
		`SELECT id, app FROM grants WHERE revoked_at <> 0 AND swept_at = 0 ORDER BY id LIMIT $1`, sweepWindow)
	if err != nil || len(grants) == 0 {
		return at, err
	}
	at = delivery.Sweep{App: grants[0].App, Grants: map[int64]bool{}}
	for _, g := range grants {
		if g.App == at.App {
			at.Grants[g.ID] = true
		}
	}
	return at, nil
}

func scanUnswept(r scanner) (g access.Grant, err error) {
	err = r.Scan(&g.ID, &g.App)
	return g, err
}

// swept is a delivery that a sweep passes.
type swept struct {
	delivery.Sweep
	grant int64
}

func scanSwept(r scanner) (w swept, err error) {
	var next int64
	err = r.Scan(&w.Event, &next, &w.grant)
	w.NextAt = moment(next)
	return w, err
}

const rowColumns = `d.event_id, d.app, e.type, d.state, d.reason, d.attempts, d.next_at, e.at`

func scanRow(r scanner) (delivery.Row, error) {
	var d delivery.Row
	var next, at int64
	err := r.Scan(&d.ID.Event, &d.ID.App, &d.Type, &d.State, &d.Reason, &d.Attempts, &next, &at)
	d.NextAt, d.At = moment(next), moment(at)
	return d, err
}

// Deliveries implements delivery.Ledger. The text of the query follows the
// filter, so that each kind of list has the index that suits it.
func (s *Store) Deliveries(ctx context.Context, f delivery.Filter) ([]delivery.Row, error) {
	where := []string{`d.state <> 'skipped'`}
	args := []any{f.Limit}
	arg := func(condition string, value any) {
		args = append(args, value)
		where = append(where, strings.ReplaceAll(condition, "?", placeholder(len(args))))
	}
	if f.App != "" {
		arg(`d.app = ?`, f.App)
	}
	// The state stands in the text, so that partial indexes serve it.
	newest := `d.event_id`
	switch f.State {
	case "":
	case delivery.Pending:
		where = append(where, `d.state = 'pending'`)
		newest = `+d.event_id` // by the index of what waits, not through all that ever was
	case delivery.Exhausted, delivery.Canceled:
		arg(`d.state = ? AND d.state IN ('exhausted', 'canceled')`, string(f.State)) // as deliveries_failed says it
	case delivery.Delivered, delivery.Skipped:
		arg(`d.state = ?`, string(f.State))
	}
	if f.Event != 0 {
		arg(`d.event_id = ?`, f.Event)
	}
	if !f.From.IsZero() {
		arg(`d.event_id >= ?`, idAt(f.From))
		arg(`e.at >= ?`, micros(f.From))
	}
	if !f.To.IsZero() {
		arg(`d.event_id <= ?`, idAt(f.To.Add(idSlack)))
		arg(`e.at <= ?`, micros(f.To))
	}
	columns, scan := rowColumns, scanRow
	if f.Narrow() { // what is passed by counts for the limit, and is told
		var meant []string
		narrow := func(condition, value string) {
			if value != "" {
				args = append(args, value)
				meant = append(meant, strings.ReplaceAll(condition, "?", placeholder(len(args))))
			}
		}
		narrow(`e.type = ?`, f.Type)
		narrow(concernsPost, f.Post)
		narrow(concernsUser, f.User)
		columns, scan = rowColumns+`, CASE WHEN `+strings.Join(meant, " AND ")+` THEN 0 ELSE 1 END`, scanAside
	}
	if f.After != (delivery.ID{}) {
		args = append(args, f.After.Event, f.After.App)
		where = append(where, `(d.event_id, d.app) < (`+placeholder(len(args)-1)+`, `+placeholder(len(args))+`)`)
	}
	return rows(ctx, &s.reading, scan, `SELECT `+columns+` FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE `+strings.Join(where, " AND ")+` ORDER BY `+newest+` DESC, d.app DESC LIMIT $1`, args...)
}

// concernsPost and concernsUser are conditions of an event e by its order key,
// and by the grant of a delivery d. Each is a few looks at primary keys.
const (
	concernsPost = `(e.order_key = 'post ' || ? OR e.type = 'NEW_MESSAGE_ON_POST'
		AND EXISTS (SELECT 1 FROM conversations c WHERE c.id = substr(e.order_key, 14) AND c.post_token = ?))`
	concernsUser = `(e.order_key = 'call ' || ?
		OR e.type = 'POST_UPDATE' AND EXISTS (SELECT 1 FROM posts p WHERE p.token = substr(e.order_key, 6) AND p.owner = ?)
		OR e.type IN ('NEW_MESSAGE_ON_POST', 'NEW_CHATBOT_MESSAGE') AND EXISTS (SELECT 1 FROM conversations c
			WHERE c.id = substr(e.order_key, 14) AND (c.buyer = ? OR c.user_id = ?
				OR EXISTS (SELECT 1 FROM posts p WHERE p.token = c.post_token AND p.owner = ?)))
		OR EXISTS (SELECT 1 FROM grants g WHERE g.id = d.grant_id AND g.user_id = ?)
		OR e.type = 'USER_ACCESS_REVOCATION' AND EXISTS (SELECT 1 FROM grants g
			WHERE g.id = CASE e.type WHEN 'USER_ACCESS_REVOCATION' THEN CAST(substr(e.order_key, 7) AS BIGINT) END AND g.user_id = ?))`
)

func scanAside(r scanner) (delivery.Row, error) {
	var d delivery.Row
	var next, at, aside int64
	err := r.Scan(&d.ID.Event, &d.ID.App, &d.Type, &d.State, &d.Reason, &d.Attempts, &next, &at, &aside)
	d.NextAt, d.At, d.Aside = moment(next), moment(at), aside != 0
	return d, err
}

// Samples implements delivery.Ledger.
func (s *Store) Samples(ctx context.Context, app string, from, to time.Time, limit int) ([]delivery.Sample, error) {
	return rows(ctx, &s.reading, scanSample, `SELECT a.at, a.duration_us, a.status, a.error
		FROM (SELECT event_id, app FROM deliveries WHERE app = $1 AND event_id >= $2 AND event_id < $3 AND state <> 'skipped'
			ORDER BY event_id LIMIT $4) AS part
		JOIN attempts a ON a.event_id = part.event_id AND a.app = part.app`, app, idAt(from), idAt(to), limit)
}

func scanSample(r scanner) (a delivery.Sample, err error) {
	var at, took int64
	var status int
	var problem string
	err = r.Scan(&at, &took, &status, &problem)
	a.At, a.Took, a.Failed = moment(at), time.Duration(took)*time.Microsecond, problem != "" || status < 200 || status > 299
	return a, err
}

// Backlog implements delivery.Ledger.
func (s *Store) Backlog(ctx context.Context, app string, limit int) (n int, oldest time.Time, err error) {
	var first int64
	_, err = row(ctx, &s.reading, `SELECT count(*), coalesce(min(next_at), 0)
		FROM (SELECT next_at FROM deliveries WHERE app = $1 AND state = 'pending' ORDER BY next_at, event_id LIMIT $2) AS part`,
		[]any{app, limit}, &n, &first)
	return n, moment(first), err
}

func scanAttempt(r scanner) (delivery.Attempt, error) {
	var a delivery.Attempt
	var at, took, next int64
	err := r.Scan(&a.N, &at, &took, &a.Request, &a.Status, &a.Answer, &a.Error, &a.Why, &next)
	a.At, a.Duration, a.NextAt = moment(at), time.Duration(took)*time.Microsecond, moment(next)
	return a, err
}

// Delivery implements delivery.Ledger.
func (s *Store) Delivery(ctx context.Context, id delivery.ID) (delivery.Row, []delivery.Attempt, bool, error) {
	d, ok, err := one(rows(ctx, &s.reading, scanRow, `SELECT `+rowColumns+` FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.event_id = $1 AND d.app = $2 AND d.state <> 'skipped'`, id.Event, id.App))
	if err != nil || !ok {
		return d, nil, false, err
	}
	var metadata wire.Object
	var payload []byte
	if _, err := row(ctx, &s.reading, `SELECT d.metadata, e.payload FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.event_id = $1 AND d.app = $2`, []any{id.Event, id.App}, object{&metadata}, &payload); err != nil {
		return d, nil, false, err
	}
	if payload != nil {
		d.Body = event.Envelope(event.Type(d.Type), metadata, payload)
	}
	attempts, err := rows(ctx, &s.reading, scanAttempt,
		`SELECT n, at, duration_us, request, status, answer, error, why, next_at FROM attempts
		WHERE event_id = $1 AND app = $2 ORDER BY n`, id.Event, id.App)
	return d, attempts, err == nil, err
}

// Event implements delivery.Ledger.
func (s *Store) Event(ctx context.Context, id int64) (delivery.Happened, bool, error) {
	h := delivery.Happened{ID: id}
	var at int64
	ok, err := row(ctx, &s.reading, `SELECT type, at FROM events WHERE id = $1`, []any{id}, &h.Type, &at)
	if err != nil || !ok {
		return h, false, err
	}
	h.At = moment(at)
	h.Verdicts, err = rows(ctx, &s.reading, scanRow, `SELECT `+rowColumns+` FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.event_id = $1 ORDER BY d.app`, id)
	return h, err == nil, err
}

// sendable is the condition of a delivery d that may be sent again.
const sendable = ` d.state <> 'skipped'
	AND EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id AND e.payload IS NOT NULL
		AND e.type NOT IN ('SESSION_INITIALIZATION', 'DYNAMIC_ACTION'))
	AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = d.grant_id AND g.revoked_at <> 0) `

// putBack makes a delivery pending if it may be sent again.
func (tx *Tx) putBack(id delivery.ID, why string, now time.Time) (bool, error) {
	at := tx.notBefore(now)
	n, err := tx.exec(`UPDATE deliveries AS d SET state = 'pending', reason = '', retry = 0, next_at = $3, why = $4, finished_at = 0
		WHERE d.event_id = $1 AND d.app = $2 AND`+sendable, id.Event, id.App, at, why)
	if n > 0 {
		tx.wake(id.App)
		tx.waits(id.App, at)
	}
	return n > 0, err
}

// PutBack implements delivery.Ledger.
func (s *Store) PutBack(ctx context.Context, id delivery.ID, why string, now time.Time) (done bool, refusal string, err error) {
	err = s.write(ctx, func(tx *Tx) (err error) {
		done, err = tx.putBack(id, why, now)
		if err != nil || done {
			return err
		}
		var erased int64
		if _, err := row(tx.ctx, tx, `SELECT erased_at FROM events WHERE id = $1`, []any{id.Event}, &erased); err != nil {
			return err
		}
		if refusal = delivery.ReasonRevoked; erased != 0 {
			refusal = delivery.ReasonErased
		}
		return nil
	})
	return done, refusal, err
}

// An event's id is made after its moment, and later still when the machine's
// clock was set back: ids only narrow a search down, by this much beyond it.
const idSlack = 24 * time.Hour

// span is a selection as the ledger has it: the moments of its events, and ids
// that hold them all.
type span struct{ fromAt, toAt, fromID, toID int64 }

func spanOf(sel delivery.Selection) span {
	s := span{toAt: math.MaxInt64, toID: math.MaxInt64}
	if !sel.From.IsZero() {
		s.fromAt, s.fromID = micros(sel.From), idAt(sel.From)
	}
	if !sel.To.IsZero() {
		s.toAt, s.toID = micros(sel.To), idAt(sel.To.Add(idSlack))
	}
	return s
}

// CountBack implements delivery.Ledger.
func (s *Store) CountBack(ctx context.Context, sel delivery.Selection) (n int64, err error) {
	meant := spanOf(sel)
	q := `SELECT count(*) FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.event_id BETWEEN $1 AND $2 AND e.at BETWEEN $3 AND $4 AND d.state = $5 AND` + sendable
	args := []any{meant.fromID, meant.toID, meant.fromAt, meant.toAt, string(sel.State)}
	if sel.App != "" {
		q += ` AND d.app = $6`
		args = append(args, sel.App)
	}
	_, err = row(ctx, &s.reading, q, args, &n)
	return n, err
}

// StartPuttingBack implements delivery.Ledger.
func (s *Store) StartPuttingBack(ctx context.Context, sel delivery.Selection, count int64, now time.Time) (id int64, err error) {
	meant := spanOf(sel)
	err = s.write(ctx, func(tx *Tx) error {
		id = tx.NextID()
		// Events that happen from now on are not meant.
		return tx.run(`INSERT INTO redeliveries (id, app, state, from_at, to_at, to_id, done_id, done_app, count, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9)`,
			id, sel.App, string(sel.State), meant.fromAt, meant.toAt, min(meant.toID, id), meant.fromID, count, micros(now))
	})
	return id, err
}

// RedeliverStep implements delivery.Chores.
func (s *Store) RedeliverStep(ctx context.Context, why string, now time.Time) (apps []string, more bool, err error) {
	var job struct {
		id, fromAt, toAt, to, done int64
		app, state, doneApp        string
	}
	ok, err := row(ctx, &s.reading, `SELECT id, app, state, from_at, to_at, to_id, done_id, done_app FROM redeliveries
		WHERE ended_at = 0 ORDER BY id LIMIT 1`, nil,
		&job.id, &job.app, &job.state, &job.fromAt, &job.toAt, &job.to, &job.done, &job.doneApp)
	if err != nil || !ok {
		return nil, false, err
	}
	q := `SELECT d.event_id, d.app, d.state, e.at FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE (d.event_id, d.app) > ($1, $2) AND d.event_id <= $3`
	args := []any{job.done, job.doneApp, job.to, redeliverWindow}
	if job.app != "" {
		q += ` AND d.app = $5`
		args = append(args, job.app)
	}
	q += ` ORDER BY d.event_id, d.app LIMIT $4`
	touched := map[string]bool{}
	err = s.write(ctx, func(tx *Tx) error {
		clear(touched)
		// Another node may have made a step since.
		if ok, err := row(tx.ctx, tx, `SELECT done_id, done_app FROM redeliveries WHERE id = $1 AND ended_at = 0`, []any{job.id},
			&job.done, &job.doneApp); err != nil || !ok {
			return err
		}
		args[0], args[1] = job.done, job.doneApp
		window, err := rows(tx.ctx, tx, scanState, q, args...)
		if err != nil {
			return err
		}
		for _, w := range window {
			job.done, job.doneApp = w.ID.Event, w.ID.App
			if at := micros(w.At); string(w.State) != job.state || at < job.fromAt || at > job.toAt {
				continue
			}
			put, err := tx.putBack(w.ID, why, now)
			if err != nil {
				return err
			}
			if put {
				touched[w.ID.App] = true
			}
		}
		ended := int64(0)
		if len(window) < redeliverWindow {
			ended = micros(now)
		}
		return tx.run(`UPDATE redeliveries SET done_id = $2, done_app = $3, ended_at = $4 WHERE id = $1`, job.id, job.done, job.doneApp, ended)
	})
	for app := range touched {
		apps = append(apps, app)
	}
	return apps, true, err
}

func scanState(r scanner) (d delivery.Row, err error) {
	var at int64
	err = r.Scan(&d.ID.Event, &d.ID.App, &d.State, &at)
	d.At = moment(at)
	return d, err
}
