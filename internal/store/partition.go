package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
)

// On PostgreSQL these tables lie in partitions by ranges of event ids, which
// are made ahead and go as a whole. The three have the same ranges. What falls
// into none lies in the default partition of its table.
var partitioned = []struct{ table, id string }{{"deliveries", "event_id"}, {"events", "id"}, {"attempts", "event_id"}}

const (
	// partitionsOfRetention is how many partitions the retention is cut into:
	// few, since what is looked up without an event id is looked up in each.
	partitionsOfRetention = 5
	// endlessSpan is how long a partition is where nothing ever goes.
	endlessSpan = 365 * 24 * time.Hour
	// usualRetention is what a ledger is made for before a server has told its own.
	usualRetention = 30 * 24 * time.Hour
	// partitionMargin is how far above the ids of now a partition begins whose
	// range is in use already: what comes until it is there has another place.
	partitionMargin = time.Minute
	// partitionWarm is how soon after a partition came into use it is looked at.
	partitionWarm = 5 * time.Second
	// keptRows is how many rows a partition may take to the default one when it
	// goes: meanwhile everything waits. With more that are unfinished it stays,
	// and the rest is deleted row by row.
	keptRows = 10_000
)

// A change of partitions waits for all who use a table, and all who come after
// it wait for the change. So it waits a while for the first table that it needs,
// in the order of most statements. Of the others somebody may hold one who waits
// for the first: there it soon gives up, lets all pass, and tries again.
const (
	alterPatience = 500 * time.Millisecond // below PostgreSQL's deadlock_timeout
	alterHaste    = 50 * time.Millisecond
	alterLimit    = 5 * time.Second // of a statement
	alterTries    = 10
	// alterWait is how long all tries together may make others wait, about.
	alterWait  = time.Second
	alterPause = 200 * time.Millisecond
	// partitionLock is the advisory lock of those who change partitions.
	partitionLock = 0x6f6b7074 // "okpt"
)

// partition is a range of ids: from (math.MinInt64: all below) up to, but
// without, to. Its tables have the same ending.
type partition struct {
	ending   string
	from, to int64
}

// partitionSpan returns how long a partition is.
func partitionSpan(retention time.Duration) time.Duration {
	const day = 24 * time.Hour
	if retention <= 0 {
		return endlessSpan
	}
	return max(day, (retention/partitionsOfRetention + day - 1).Truncate(day))
}

// idsIn is how many ids a time has.
func idsIn(d time.Duration) int64 { return d.Microseconds() << idShift }

// within says whether a partition is about as long as it would be made for a
// retention, and not one of those that are longer: its finished rows may stay
// until it goes.
func (p partition) within(retention time.Duration) bool {
	return p.from != math.MinInt64 && p.to-p.from <= 2*idsIn(partitionSpan(retention))
}

// bounds is how PostgreSQL writes a range down. The default partition has none.
var bounds = regexp.MustCompile(`^FOR VALUES FROM \((?:MINVALUE|'(\d+)')\) TO \('(\d+)'\)$`)

func scanPartition(r scanner) (p partition, err error) {
	var name, bound string
	if err := r.Scan(&name, &bound); err != nil {
		return p, err
	}
	m := bounds.FindStringSubmatch(bound)
	if m == nil {
		return p, fmt.Errorf("partition %s is not of our making: %s", name, bound)
	}
	p.ending, p.from = strings.TrimPrefix(name, "events"), math.MinInt64
	if m[1] != "" {
		p.from, err = strconv.ParseInt(m[1], 10, 64)
	}
	to, toErr := strconv.ParseInt(m[2], 10, 64)
	p.to = to
	return p, errors.Join(err, toErr)
}

const listPartitions = `SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = CAST('events' AS regclass) AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'`

// partitions returns the partitions in the order of their ranges.
func partitions(ctx context.Context, db querier) ([]partition, error) {
	list, err := rows(ctx, db, scanPartition, listPartitions)
	if err != nil {
		return nil, fmt.Errorf("list the partitions: %w", err)
	}
	slices.SortFunc(list, func(a, b partition) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	return list, nil
}

// lacking returns what is to be made so that there is a place for ids from head
// on, for a whole span. Ranges begin and end at multiples of the span, unless
// others stand there.
func lacking(list []partition, head, span int64) (lack []partition) {
	for at, end := head, head+min(span, math.MaxInt64-head); at <= end; {
		from := at - at%span
		to := from + min(span, math.MaxInt64-from)
		for _, p := range list {
			switch {
			case p.from <= at && at < p.to:
				from, to = 0, p.to
			case p.to <= at:
				from = max(from, p.to)
			default:
				to = min(to, p.from)
			}
		}
		if from != 0 {
			lack = append(lack, partition{from: from, to: to})
		}
		if to == math.MaxInt64 {
			break
		}
		at = to
	}
	return lack
}

// Partition implements delivery.Chores.
func (s *Store) Partition(ctx context.Context, retention time.Duration, now time.Time) (again time.Duration, err error) {
	if !s.dialect.partitioned || s.readOnly {
		return 0, nil
	}
	span := partitionSpan(retention)
	lack, err := lackingNow(ctx, &s.reading, span, now)
	if err != nil {
		return 0, err
	}
	mistaken, err := rows(ctx, &s.reading, scanText, mistakenTables)
	if err != nil {
		return 0, fmt.Errorf("look at the statistics of partitions: %w", err)
	}
	if len(lack)+len(mistaken) > 0 {
		db, err := s.openWriter(ctx)
		if err != nil {
			return 0, err
		}
		defer func() { _ = db.Close() }()
		for _, table := range mistaken {
			if _, err := db.ExecContext(ctx, "ANALYZE "+table); err != nil {
				return 0, fmt.Errorf("analyze %s: %w", table, err)
			}
		}
		if err := makePartitions(ctx, db, span, now); hasCode(err, notAllowed) {
			return 0, fmt.Errorf("make partitions: let the role of --database own the tables, as when it runs migrate: %w", err)
		} else if err != nil {
			return 0, fmt.Errorf("make partitions: %w", err)
		}
	}
	return span - time.Duration(now.UnixMicro()%span.Microseconds())*time.Microsecond + partitionWarm, nil
}

// mistakenTables are the partitions of which the statistics say that they are
// empty, and which are not. For an empty table it is as good to read through
// all of it as to look something up, and such a plan would outlive its being
// empty until the database makes statistics by itself.
const mistakenTables = `SELECT quote_ident(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent IN (CAST('events' AS regclass), CAST('deliveries' AS regclass), CAST('attempts' AS regclass))
	AND c.reltuples = 0 AND pg_relation_size(c.oid) > 0`

func lackingNow(ctx context.Context, db querier, span time.Duration, now time.Time) ([]partition, error) {
	list, err := partitions(ctx, db)
	if err != nil {
		return nil, err
	}
	var last int64
	if _, err := row(ctx, db, `SELECT coalesce(max(id), 0) FROM events`, nil, &last); err != nil {
		return nil, fmt.Errorf("find the last event: %w", err)
	}
	return lacking(list, max(idAt(now), last), idsIn(span)), nil
}

// makePartitions makes the partitions that now and what follows lack.
func makePartitions(ctx context.Context, db *sql.DB, span time.Duration, now time.Time) error {
	return alter(ctx, db, func(tx *sql.Tx) error {
		lack, err := lackingNow(ctx, passing{tx}, span, now)
		if err != nil {
			return err
		}
		for _, p := range lack {
			if err := p.create(ctx, tx, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// create makes a partition. Where the default one holds rows of its range it
// begins above them, since these would have to be moved while all wait; they go
// by their age from where they are.
func (p partition) create(ctx context.Context, tx *sql.Tx, now time.Time) error {
	for _, t := range partitioned {
		var top int64
		if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT coalesce(max(%s), 0) FROM %s_default WHERE %[1]s >= $1 AND %[1]s < $2`, t.id, t.table),
			p.from, p.to).Scan(&top); err != nil {
			return fmt.Errorf("look at the default partition: %w", err)
		}
		if top != 0 {
			p.from = max(p.from, max(top, idAt(now))+idsIn(partitionMargin))
		}
	}
	if p.from >= p.to {
		return nil
	}
	p.ending = moment(p.from >> idShift).Format("_20060102_150405")
	for _, t := range partitioned {
		if err := execAll(ctx, tx,
			fmt.Sprintf(`CREATE TABLE %[1]s%[2]s (LIKE %[1]s INCLUDING DEFAULTS INCLUDING INDEXES)`, t.table, p.ending)); err != nil {
			return err
		}
	}
	// Of all forms the one that locks nothing but the default partitions.
	for _, t := range partitioned {
		if err := execAll(ctx, tx,
			fmt.Sprintf(`ALTER TABLE %[1]s ATTACH PARTITION %[1]s%s FOR VALUES FROM (%d) TO (%d)`, t.table, p.ending, p.from, p.to), hasten); err != nil {
			return err
		}
	}
	return nil
}

// Why a partition does not go.
var (
	errCrowded = errors.New("more is unfinished than can be moved at once")
	errHeld    = errors.New("change the partitions: others use the tables and do not let go; a transaction that was left open, say")
)

// drop takes a partition away, with what is in it and finished; what is not
// goes to the default one. Nobody ever sees it half done.
func (p partition) drop(ctx context.Context, db *sql.DB) error {
	return alter(ctx, db, func(tx *sql.Tx) error {
		list, err := partitions(ctx, passing{tx})
		if err != nil || !slices.Contains(list, p) {
			return err // another node was first
		}
		if err := p.checkKept(ctx, tx); err != nil {
			return err
		}
		// What is that old gets no new rows.
		if err := execAll(ctx, tx, fmt.Sprintf(`INSERT INTO settings (name, value)
			SELECT '%s' || a.slug, CAST(d.event_id AS TEXT) FROM apps a
			CROSS JOIN LATERAL (SELECT event_id FROM deliveries%s WHERE app = a.slug ORDER BY event_id DESC LIMIT 1) d`+higher,
			prunedOf(""), p.ending)); err != nil {
			return err
		}
		if err := execAll(ctx, tx, `LOCK TABLE ONLY deliveries IN ACCESS EXCLUSIVE MODE`, hasten,
			`LOCK TABLE ONLY events, ONLY attempts IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := p.checkKept(ctx, tx); err != nil {
			return err
		}
		for _, t := range partitioned {
			if err := execAll(ctx, tx, fmt.Sprintf(`ALTER TABLE %[1]s DETACH PARTITION %[1]s%s`, t.table, p.ending)); err != nil {
				return err
			}
		}
		for _, t := range partitioned {
			// All columns, also those that a newer schema has.
			if err := execAll(ctx, tx, fmt.Sprintf(`INSERT INTO %[1]s_default SELECT * FROM %[1]s%[2]s WHERE %[3]s IN
				(SELECT event_id FROM deliveries%[2]s WHERE state = 'pending')`, t.table, p.ending, t.id)); err != nil {
				return err
			}
		}
		return execAll(ctx, tx,
			fmt.Sprintf(`DROP TABLE events%[1]s, deliveries%[1]s, attempts%[1]s`, p.ending),
			fmt.Sprintf(`INSERT INTO settings (name, value) VALUES ('%s', '%d')`+higher, prunedTo, p.to-1))
	})
}

// checkKept returns errCrowded where too many rows would have to be moved.
func (p partition) checkKept(ctx context.Context, tx *sql.Tx) error {
	var events, kept int64
	if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM deliveries%s WHERE state = 'pending' LIMIT $1) AS waiting`, p.ending),
		keptRows+1).Scan(&events); err != nil {
		return fmt.Errorf("count what is unfinished: %w", err)
	}
	if events <= keptRows {
		if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT CAST(coalesce(sum(1 + d.attempts), 0) AS BIGINT) FROM deliveries%[1]s d
			WHERE d.event_id IN (SELECT event_id FROM deliveries%[1]s WHERE state = 'pending')`, p.ending)).Scan(&kept); err != nil {
			return fmt.Errorf("count what is unfinished: %w", err)
		}
	}
	if events+kept > keptRows {
		return errCrowded
	}
	return nil
}

// alter changes partitions in a transaction of its own. It returns errHeld where
// the locks cannot be had, or another node is at it.
func alter(ctx context.Context, db *sql.DB, change func(*sql.Tx) error) error {
	var waited time.Duration
	for try := 1; ; try++ {
		begun := time.Now()
		err := alterOnce(ctx, db, change)
		waited += time.Since(begun)
		switch {
		case !passes(err):
			return err
		case try == alterTries, waited >= alterWait:
			return fmt.Errorf("%w: %w", errHeld, err)
		}
		select {
		case <-time.After(alterPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passes says whether a change may be carried out a moment later.
func passes(err error) bool {
	const (
		deadlock       = "40P01"
		checkViolation = "23514" // the default partition got a row of the range meanwhile
	)
	return hasCode(err, lockNotAvailable) || hasCode(err, deadlock) || hasCode(err, checkViolation)
}

func alterOnce(ctx context.Context, db *sql.DB, change func(*sql.Tx) error) (err error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := execAll(ctx, tx,
		fmt.Sprintf(`SET LOCAL lock_timeout = %d`, alterPatience.Milliseconds()),
		fmt.Sprintf(`SET LOCAL statement_timeout = %d`, alterLimit.Milliseconds())); err != nil {
		return err
	}
	alone := false
	if err := tx.QueryRowContext(ctx, `SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))`, partitionLock).Scan(&alone); err != nil {
		return err
	}
	if !alone {
		return errHeld
	}
	if err := change(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// hasten makes a change give up soon.
var hasten = fmt.Sprintf(`SET LOCAL lock_timeout = %d`, alterHaste.Milliseconds())

func execAll(ctx context.Context, tx *sql.Tx, list ...string) error {
	for _, q := range list {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("change the partitions: %w", err)
		}
	}
	return nil
}

// passing gives statements of a transaction that is soon over.
type passing struct{ tx *sql.Tx }

func (p passing) prepared(ctx context.Context, q string) (statement, error) {
	return p.tx.PrepareContext(ctx, q)
}

func (p passing) failed(err error) error { return err }

// dropStep is the part of a pass that goes by partitions: those of which
// nothing is young go as a whole. It returns where the rows end that go one by
// one: those that have a partition which goes soon wait for that.
func (s *Store) dropStep(ctx context.Context, at delivery.Pruning, retention time.Duration) (next delivery.Pruning, end int64, more bool, err error) {
	end = idAt(at.Before)
	list, err := partitions(ctx, &s.reading)
	if err != nil {
		return at, end, false, err
	}
	for _, p := range list {
		switch {
		case p.to > end:
			if p.within(retention) {
				end = min(end, p.from)
			}
		case p.to > at.Partition && at.Waits == 0:
			if at, more, err = s.moveContent(ctx, at, p); err != nil || more {
				return at, end, more, err
			}
			if at, err = s.drop(ctx, at, p); err != nil {
				return at, end, false, err
			}
		}
	}
	if at.Waits != 0 {
		end = min(end, at.Waits)
	}
	return at, end, false, nil
}

// moveContent gives messages their content before the events that have it go
// with their partition. What is done is remembered: a partition may have to wait.
func (s *Store) moveContent(ctx context.Context, at delivery.Pruning, p partition) (next delivery.Pruning, more bool, err error) {
	if _, done := s.moved.Load(p); done {
		return at, false, nil
	}
	next = at
	next.Message = max(at.Message, p.from)
	window, err := rows(ctx, &s.reading, scanBare, `SELECT event_id, CASE WHEN payload IS NULL AND erased_at = 0 THEN 1 ELSE 0 END
		FROM messages WHERE event_id >= $1 AND event_id < $2 ORDER BY event_id LIMIT $3`, next.Message, p.to, pruneRows)
	if err != nil {
		return at, false, err
	}
	if len(window) == 0 {
		s.moved.Store(p, true)
		return next, false, nil
	}
	last := window[len(window)-1].event
	if slices.ContainsFunc(window, func(m bare) bool { return m.empty }) {
		if err := s.write(ctx, func(tx *Tx) error {
			return tx.run(`UPDATE messages SET payload = (SELECT payload FROM events WHERE id = event_id)
				WHERE event_id BETWEEN $1 AND $2 AND payload IS NULL AND erased_at = 0`, next.Message, last)
		}); err != nil {
			return at, false, err
		}
	}
	next.Message = last + 1
	return next, true, nil
}

// bare is a message, which is empty where its event has its content.
type bare struct {
	event int64
	empty bool
}

func scanBare(r scanner) (m bare, err error) {
	empty := 0
	err = r.Scan(&m.event, &empty)
	m.empty = empty == 1
	return m, err
}

// drop drops a partition if that can be done now.
func (s *Store) drop(ctx context.Context, at delivery.Pruning, p partition) (next delivery.Pruning, err error) {
	db, err := s.openWriter(ctx)
	if err != nil {
		return at, err
	}
	defer func() { _ = db.Close() }()
	next = at
	next.Partition = p.to
	switch err := p.drop(ctx, db); {
	case errors.Is(err, errHeld):
		next.Waits = p.from // and with it those that follow
		s.log.WarnContext(ctx, "a partition whose time has come stays until the next try", "partition", "events"+p.ending, "err", err)
	case hasCode(err, notAllowed):
		s.log.WarnContext(ctx, "a partition whose time has come stays, and its events go one by one: let the role of --database own the tables",
			"partition", "events"+p.ending, "err", err)
	case errors.Is(err, errCrowded):
		s.log.InfoContext(ctx, "a partition whose time has come stays: its finished events go one by one", "partition", "events"+p.ending, "why", err)
	case err != nil:
		return at, fmt.Errorf("drop partition events%s: %w", p.ending, err)
	default:
		next.Partitions++
		s.moved.Delete(p)
	}
	return next, nil
}
