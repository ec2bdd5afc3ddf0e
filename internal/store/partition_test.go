package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// texts returns what a query returns, a row a line.
func texts(t *testing.T, db *sql.DB, q string, args ...any) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), q, args...)
	ok(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		ok(t, rows.Scan(&text))
		list = append(list, text)
	}
	ok(t, rows.Err())
	return list
}

// shape is the columns and indexes of a partitioned table, or of one that is not yet.
func shape(t *testing.T, db *sql.DB, table string) []string {
	t.Helper()
	columns := texts(t, db, `SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), l.collname, a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
		FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid = CAST($1 AS regclass) AND a.attnum > 0 ORDER BY a.attnum`, table)
	indexes := texts(t, db, `SELECT concat_ws(' ', replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON '), indisprimary, indisvalid)
		FROM pg_index WHERE indrelid = CAST($1 AS regclass) ORDER BY 1`, table)
	return append(columns, indexes...)
}

var tables = []string{"events", "deliveries", "attempts"}

// TestPostgresTakeover: a ledger of before there were partitions goes on as one
// that has them, under a program that knows nothing of it.
func TestPostgresTakeover(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.NoLedger(t)}
	ok(t, store.MigrateBefore(t.Context(), here.URL, "partitions"))
	db := raw(t, here)
	change := func(q string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), q)
		ok(t, err)
	}
	change(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`) // the program takes it for newer
	change(`CREATE TABLE audit_log (id BIGINT)`)                                        // a later one that it asks for the last id
	s := open(t, here)
	change(`DROP TABLE audit_log`)
	change(`DELETE FROM goose_db_version WHERE version_id = 9999`)
	w := newWorld(t, s)
	before := seen(t, s, w)
	const files = `SELECT concat_ws(' ', replace(relname, '_first', ''), pg_relation_filenode(oid)) FROM pg_class
		WHERE relkind IN ('r', 'i') AND relname ~ '^(events|deliveries|attempts)' AND relname !~ '_default|_2' ORDER BY 1`
	filesBefore := texts(t, db, files)
	shapes := map[string][]string{}
	for _, table := range tables {
		shapes[table] = shape(t, db, table)
	}

	// Somebody reads meanwhile, and takes long.
	foreign, err := db.BeginTx(t.Context(), nil)
	ok(t, err)
	defer func() { _ = foreign.Rollback() }()
	var n int
	ok(t, foreign.QueryRowContext(t.Context(), `SELECT count(*) FROM deliveries`).Scan(&n))
	migrated := make(chan error)
	go func() {
		_, _, err := store.Migrate(t.Context(), here)
		migrated <- err
	}()
	awaitLock(t, db)
	for range 5 {
		write(t, s, func(tx chat.Tx) error { return happen(tx, tx.NextID(), 0) })
	}
	ok(t, foreign.Rollback())
	ok(t, <-migrated)

	events := before["audit"].([]any)[0].(delivery.Audit).Events
	if a := audit(t, s); a.Unaccounted != 0 || a.Events != events+5 {
		t.Fatalf("%d events after the takeover, %d before and 5 meanwhile: %+v", a.Events, events, a)
	}
	after := seen(t, s, w)
	for _, name := range []string{"deliveries", "due", "audit"} { // in which the five are
		delete(before, name)
	}
	sameWorld(t, after, before)
	if filesAfter := texts(t, db, files); !reflect.DeepEqual(filesAfter, filesBefore) {
		t.Errorf("the files were copied:\n got %q\nwant %q", filesAfter, filesBefore)
	}
	for _, table := range tables {
		if got := shape(t, db, table); !reflect.DeepEqual(got, shapes[table]) {
			t.Errorf("%s:\n got %q\nwant %q", table, got, shapes[table])
		}
		for _, part := range texts(t, db, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST($1 AS regclass)`, table) {
			indexes := texts(t, db, `SELECT inhparent::regclass::text FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid
				WHERE indrelid = CAST($1 AS regclass) AND indisvalid`, part)
			if want := texts(t, db, `SELECT indexrelid::text FROM pg_index WHERE indrelid = CAST($1 AS regclass)`, table); len(indexes) != len(want) {
				t.Errorf("%s has the indexes %q", part, indexes)
			}
		}
	}

	// The program goes on, with the statements that it has.
	ok(t, s.Record(t.Context(), []delivery.Outcome{{ID: delivery.ID{Event: w.post, App: "a"}, State: delivery.Delivered, Attempt: &delivery.Attempt{At: base, Status: 200}}}))
	pruned(t, s, time.Now().Add(month+time.Hour))
	if a := audit(t, s); a.Unaccounted != 0 || a.Events != events+5-2 || a.Pending != events+5-2 {
		t.Errorf("after the two finished ones went: %+v", a)
	}
}

// awaitLock waits until somebody waits for a lock of a table.
func awaitLock(t *testing.T, db *sql.DB) {
	t.Helper()
	for t.Context().Err() == nil {
		if len(texts(t, db, `SELECT mode FROM pg_locks WHERE NOT granted AND locktype = 'relation'
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)) > 0 {
			return
		}
	}
	t.Fatal("nobody waits for a lock")
}

// pruned makes a whole pass, with a retention of a month.
func pruned(t *testing.T, s *store.Store, now time.Time) delivery.Pruning {
	t.Helper()
	at, more := delivery.Pruning{Before: now.Add(-month)}, true
	for more {
		var err error
		at, more, err = s.PruneStep(t.Context(), at, now)
		ok(t, err)
	}
	return at
}

// ranges are the endings of the partitions of the events, besides the default.
func ranges(t *testing.T, db *sql.DB) []string {
	t.Helper()
	list := texts(t, db, `SELECT substr(inhrelid::regclass::text, 8) FROM pg_inherits
		WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_default'::regclass ORDER BY 1`)
	for _, table := range tables[1:] {
		same := texts(t, db, `SELECT substr(inhrelid::regclass::text, length($1) + 2) FROM pg_inherits
			WHERE inhparent = CAST($1 AS regclass) AND inhrelid::regclass::text !~ 'default' ORDER BY 1`, table)
		if !slices.Equal(same, list) {
			t.Fatalf("events have the partitions %q, %s %q", list, table, same)
		}
	}
	return list
}

// lies returns the partition that an event lies in.
func lies(t *testing.T, db *sql.DB, id int64) string {
	t.Helper()
	var in string
	ok(t, db.QueryRowContext(t.Context(), `SELECT substr(tableoid::regclass::text, 8) FROM events WHERE id = $1`, id).Scan(&in))
	return in
}

// timed is a ledger whose clock is moved.
type timed struct {
	*store.Store
	t   *testing.T
	now time.Time
}

func newTimed(t *testing.T, o store.Options, start time.Time) *timed {
	l := &timed{t: t, now: start}
	l.Store = open(t, clocked(o, func() time.Time { return l.now }))
	return l
}

func (l *timed) makePartitions(retention time.Duration) {
	l.t.Helper()
	again, err := l.Partition(l.t.Context(), retention, l.now)
	ok(l.t, err)
	if again < 0 || again > 7*day {
		l.t.Errorf("to be called again after %v", again)
	}
}

// happen writes an event with a delivery, in a message of its own.
func (l *timed) happen(name string) (id int64) {
	l.t.Helper()
	write(l.t, l.Store, func(tx chat.Tx) error {
		id = tx.NextID()
		m := chat.Stored{ID: name, Conversation: "c", User: "u", SentAt: l.now, Hash: []byte{1}, Event: id}
		if _, err := tx.InsertMessages([]chat.Stored{m}); err != nil {
			return err
		}
		return tx.InsertEvent(event.Event{
			ID: id, Type: event.NewMessageOnPost, At: l.now, Key: "conversation c", Payload: fmt.Appendf(nil, `{"id":%q}`, name),
		}, []event.Verdict{{App: "a", State: delivery.Pending}, {App: "b", State: delivery.Skipped, Reason: "a reason"}})
	})
	return id
}

func (l *timed) deliver(id int64) {
	l.t.Helper()
	ok(l.t, l.Record(l.t.Context(), []delivery.Outcome{{
		ID: delivery.ID{Event: id, App: "a"}, State: delivery.Delivered, Attempt: &delivery.Attempt{At: l.now, Status: 200},
	}}))
}

// TestPostgresPartitionsAhead: there is a partition of now and of what follows,
// wherever the clock goes, and a place for what comes before they are made.
func TestPostgresPartitionsAhead(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	db := raw(t, here)
	fresh := ranges(t, db)
	if len(fresh) != 2 || fresh[1] != "first" {
		t.Fatalf("a new ledger has the partitions %q, want that of now and the next", fresh)
	}
	start := time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC) // six days begin on the 31st, 6th, 12th, …
	l := newTimed(t, here, start)
	l.makePartitions(month)
	l.makePartitions(month) // nothing is lacking
	made := func() []string {
		t.Helper()
		return slices.DeleteFunc(ranges(t, db), func(r string) bool { return slices.Contains(fresh, r) })
	}
	first := made()
	if len(first) != 2 {
		t.Fatalf("made %q, want that of now and the next", first)
	}
	if in := lies(t, db, l.happen("now")); in != first[0] {
		t.Errorf("now lies in %s, want %s", in, first[0])
	}
	l.now = l.now.Add(6 * day)
	if in := lies(t, db, l.happen("next")); in != first[1] {
		t.Errorf("what follows lies in %s, want %s", in, first[1])
	}
	l.makePartitions(month)
	if got := made(); len(got) != 3 {
		t.Errorf("six days later there are %q", got)
	}

	// The clock jumps, and something happens before anybody looks.
	l.now = l.now.Add(365 * day)
	for i := range 3 {
		if in := lies(t, db, l.happen(fmt.Sprint("jumped ", i))); in != "default" {
			t.Errorf("what has no partition lies in %s", in)
		}
	}
	l.makePartitions(month)
	if in := lies(t, db, l.happen("soon after")); in != "default" {
		t.Errorf("right after, it lies in %s", in)
	}
	l.now = l.now.Add(2 * time.Minute)
	if in, list := lies(t, db, l.happen("after")), made(); in == "default" || len(list) != 5 {
		t.Errorf("a moment later it lies in %s of %q", in, list)
	}

	// Back again, with ids that only grow, and with another retention.
	l.now = start
	l.makePartitions(4 * day)
	if in := lies(t, db, l.happen("back")); in == "default" {
		t.Errorf("what happens when the clock was set back lies in %s of %q", in, made())
	}
	l.now = start.Add(374 * day)
	l.makePartitions(4 * day)
	if in := lies(t, db, l.happen("with another retention")); in == "default" {
		t.Errorf("with another retention it lies in %s of %q", in, made())
	}
	if a := audit(t, l.Store); a.Unaccounted != 0 {
		t.Errorf("%q", a.Findings)
	}
}

// TestPostgresStatisticsOfNothing: somebody has had statistics made while the
// next partition was empty. Plans do not rest on that once it is in use.
func TestPostgresStatisticsOfNothing(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	l := newTimed(t, here, time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC))
	l.makePartitions(month)
	db := raw(t, here)
	_, err := db.ExecContext(t.Context(), "ANALYZE")
	ok(t, err)
	again, err := l.Partition(t.Context(), month, l.now)
	ok(t, err)
	l.now = l.now.Add(again)
	l.deliver(l.happen("first"))
	const believed = `SELECT relname FROM pg_class WHERE relname ~ '^(events|deliveries|attempts)_20400106_000000$' AND reltuples > 0`
	if got := texts(t, db, believed); len(got) != 0 {
		t.Fatalf("statistics are made by themselves, of %q", got)
	}
	l.makePartitions(month)
	if got := texts(t, db, believed); len(got) != 3 {
		t.Errorf("what is in use has statistics in %q only; there are %q", got, ranges(t, db))
	}
}

// TestRetentionByPartitions: months of messages, of which some are never
// delivered, on both engines. PostgreSQL keeps all that SQLite keeps, and what
// else it keeps is no older than a partition is long.
func TestRetentionByPartitions(t *testing.T) {
	t.Parallel()
	storetest.Postgres(t)
	start := time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)
	months := func(t *testing.T, here store.Options) (l *timed, left map[int]bool) {
		l = newTimed(t, here, start)
		ids := make([]int64, 75)
		for i := range ids {
			l.now = start.Add(time.Duration(i) * day)
			l.makePartitions(month)
			ids[i] = l.happen(fmt.Sprint(i))
			if i%10 != 3 {
				l.deliver(ids[i])
			}
			if i == 40 { // one that was late
				l.deliver(ids[3])
			}
			at := pruned(t, l.Store, l.now)
			if a := audit(t, l.Store); a.Unaccounted != 0 || at.Waits != 0 {
				t.Fatalf("day %d: %q, waits %d", i, a.Findings, at.Waits)
			}
		}
		left = map[int]bool{}
		for i, id := range ids {
			_, found, err := l.Event(t.Context(), id)
			ok(t, err)
			if found {
				left[i] = true
			}
		}
		messages, err := l.Messages(t.Context(), "c", 0, 100)
		ok(t, err)
		for i, m := range messages {
			if string(m.Payload) != fmt.Sprintf(`{"id":"%d"}`, i) {
				t.Errorf("message %d has the content %q", i, m.Payload)
			}
		}
		if len(messages) != len(ids) {
			t.Errorf("%d messages are left", len(messages))
		}
		return l, left
	}
	_, want := months(t, store.Options{Dir: t.TempDir()})
	here := store.Options{URL: storetest.Postgres(t)}
	l, got := months(t, here)
	for i := range 75 {
		switch pending := i%10 == 3 && i != 3; {
		case want[i] && !got[i]:
			t.Errorf("the event of day %d went", i)
		case got[i] && !want[i] && i < 74-30-6:
			t.Errorf("the event of day %d is there", i)
		case pending && !got[i]:
			t.Errorf("the pending one of day %d went", i)
		}
	}
	db := raw(t, here)
	if list := ranges(t, db); len(list) > 8 {
		t.Errorf("there are the partitions %q", list)
	}
	// They went as a whole: nothing was deleted.
	if deleted := texts(t, db, `SELECT relname FROM pg_stat_user_tables WHERE relname ~ '^(events|deliveries|attempts)_2' AND n_tup_del > 0`); len(deleted) > 0 {
		t.Errorf("rows were deleted from %q", deleted)
	}
	// What was kept goes once it is finished.
	for _, d := range must(l.Due(t.Context(), "a", l.now.Add(-40*day), 100)) {
		l.deliver(d.ID.Event)
	}
	if at := pruned(t, l.Store, l.now); at.Events != 3 {
		t.Errorf("%d of those kept went, want 3 of the default partition", at.Events)
	}
	if a := audit(t, l.Store); a.Unaccounted != 0 {
		t.Errorf("%q", a.Findings)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPostgresCrowdedPartition: one in which too much waits stays, and what is
// finished goes from it.
func TestPostgresCrowdedPartition(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	start := time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)
	l := newTimed(t, here, start)
	l.makePartitions(month)
	done, waits := l.happen("done"), l.happen("waits")
	l.deliver(done)
	db := raw(t, here)
	in := lies(t, db, done)
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(`
		INSERT INTO events SELECT %[1]d + n, 'POST_UPDATE', 'post ' || n, '{}', 0, 1, 0, 0 FROM generate_series(1, 6000) n;
		INSERT INTO deliveries (event_id, app, slot, grant_id, state, next_at) SELECT %[1]d + n, 'a', 0, 0, 'pending', 1 FROM generate_series(1, 6000) n`, waits))
	ok(t, err)
	l.now = start.Add(60 * day)
	if at := pruned(t, l.Store, l.now); at.Events != 1 || at.Waits != 0 || !slices.Contains(ranges(t, db), in) {
		t.Errorf("%d events went, and %q are left: %+v", at.Events, ranges(t, db), at)
	}
	_, err = db.ExecContext(t.Context(), `UPDATE deliveries SET state = 'canceled', reason = 'a reason' WHERE event_id <> $1 AND state = 'pending'`, waits)
	ok(t, err)
	pruned(t, l.Store, l.now)
	if slices.Contains(ranges(t, db), in) || lies(t, db, waits) != "default" {
		t.Errorf("the partition is there, though little waits in it: %q", ranges(t, db))
	}
	if a := audit(t, l.Store); a.Unaccounted != 0 || a.Pending != 1 || a.Events != 1 {
		t.Errorf("%+v", a)
	}
}

// TestPostgresNotTheOwner: a server that may not change tables writes and prunes
// all the same.
func TestPostgresNotTheOwner(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	db := raw(t, here)
	role := "guest_" + texts(t, db, `SELECT current_database()`)[0]
	for _, q := range []string{
		`CREATE ROLE %s LOGIN`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %s`,
		`GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO %s`,
	} {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(q, role))
		ok(t, err)
	}
	t.Cleanup(func() {
		for _, q := range []string{`DROP OWNED BY %s`, `DROP ROLE %s`} {
			if _, err := db.ExecContext(context.WithoutCancel(t.Context()), fmt.Sprintf(q, role)); err != nil {
				t.Error(err)
			}
		}
	})
	u, err := url.Parse(here.URL)
	ok(t, err)
	u.User = url.User(role)
	l := newTimed(t, store.Options{URL: u.String()}, time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC))
	if _, err := l.Partition(t.Context(), month, l.now); err == nil || !strings.Contains(err.Error(), "own the tables") {
		t.Errorf("partitions: %v, want what to do", err)
	}
	l.deliver(l.happen("message"))
	l.now = l.now.Add(60 * day)
	if at := pruned(t, l.Store, l.now); at.Events != 1 || at.Waits != 0 {
		t.Errorf("%+v, want the event to go", at)
	}
	shut(t, l.Store)
}

// TestPostgresForeignTransaction: a transaction that somebody left open keeps
// partitions from coming and going, and nobody from writing.
func TestPostgresForeignTransaction(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	start := time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)
	l := newTimed(t, here, start)
	l.makePartitions(month)
	l.deliver(l.happen("old"))
	waits := l.happen("waits")
	db := raw(t, here)
	old := lies(t, db, waits)
	_, err := db.ExecContext(t.Context(), `INSERT INTO apps SELECT 'a', '{}', '', NULL, 0, 0`)
	ok(t, err)
	foreign, err := db.BeginTx(t.Context(), nil)
	ok(t, err)
	defer func() { _ = foreign.Rollback() }()
	var n int
	ok(t, foreign.QueryRowContext(t.Context(), `SELECT count(*) FROM deliveries`).Scan(&n))

	l.now = start.Add(60 * day)
	now := l.now
	var trying sync.WaitGroup
	gaveUp := make(chan struct{})
	trying.Go(func() {
		defer close(gaveUp)
		if _, err := l.Partition(t.Context(), month, now); !errors.Is(err, store.ErrHeld) {
			t.Errorf("partitions were made beside it: %v", err)
		}
		at, more := delivery.Pruning{Before: now.Add(-month)}, true
		for more {
			var err error
			if at, more, err = l.PruneStep(t.Context(), at, now); err != nil {
				t.Errorf("prune: %v", err)
				return
			}
		}
		if at.Waits == 0 || at.Events != 0 {
			t.Errorf("the old partition did not wait: %+v", at)
		}
	})
	writes := 0
	for trying := true; trying; writes++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		l.deliver(l.happen(fmt.Sprint("meanwhile ", writes)))
		_, err := l.Due(ctx, "a", now, 10)
		cancel()
		ok(t, err)
		select {
		case <-gaveUp:
			trying = false
		default:
		}
	}
	trying.Wait()
	if writes < 10 {
		t.Errorf("%d writes got through meanwhile", writes)
	}
	if a := audit(t, l.Store); a.Unaccounted != 0 || !slices.Contains(ranges(t, db), old) {
		t.Errorf("%+v", a)
	}

	ok(t, foreign.Rollback())
	l.makePartitions(month)
	if at := pruned(t, l.Store, now); at.Waits != 0 || at.Partitions == 0 {
		t.Errorf("afterwards: %+v", at)
	}
	if gone, err := l.Pruned(t.Context(), "a"); err != nil || gone == 0 {
		t.Errorf("what retention took of an app is not remembered: %d, %v", gone, err)
	}
	if lies(t, db, waits) != "default" {
		t.Errorf("the unfinished one lies in %s", lies(t, db, waits))
	}
	if a := audit(t, l.Store); a.Unaccounted != 0 || a.Pending != 1 {
		t.Errorf("%+v", a)
	}
}

// TestPostgresPartitionsTogether: many make partitions at once, and drop them,
// beside writes.
func TestPostgresPartitionsTogether(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	start := time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)
	l := newTimed(t, here, start)
	l.makePartitions(month)
	kept := l.happen("kept")
	for i := range 4 {
		l.now = l.now.Add(20 * day)
		now := l.now
		var together sync.WaitGroup
		for range 4 {
			together.Go(func() {
				if err := store.MakePartitions(t.Context(), here.URL, month, now); err != nil && !errors.Is(err, store.ErrHeld) {
					t.Errorf("make partitions: %v", err)
				}
			})
			together.Go(func() {
				at, more := delivery.Pruning{Before: now.Add(-month)}, true
				for more {
					var err error
					if at, more, err = l.PruneStep(t.Context(), at, now); err != nil {
						t.Errorf("prune: %v", err)
						return
					}
				}
			})
		}
		for n := range 50 {
			l.deliver(l.happen(fmt.Sprint(i, " ", n)))
		}
		together.Wait()
		l.makePartitions(month)
		pruned(t, l.Store, now)
		if a := audit(t, l.Store); a.Unaccounted != 0 || a.Pending != 1 {
			t.Fatalf("%+v", a)
		}
	}
	db := raw(t, here)
	list := ranges(t, db)
	if in := lies(t, db, kept); in != "default" || len(list) > 6 || slices.ContainsFunc(list, func(r string) bool { return strings.HasPrefix(r, "2040010") }) {
		t.Errorf("the first lies in %s; there are %q", in, list)
	}
}
