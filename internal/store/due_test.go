package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// TestPostgresDueBesideOldSnapshot: while somebody keeps a transaction open,
// nothing that has gone out leaves the index of what is pending. What is due is
// found without passing by all of it.
func TestPostgresDueBesideOldSnapshot(t *testing.T) {
	t.Parallel()
	const sent, left, step = 10_000, 10, 1000
	here := store.Options{URL: storetest.Postgres(t)}
	s := open(t, here)
	db := raw(t, here)
	now := time.Now()
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(`
		INSERT INTO events SELECT n, 'POST_UPDATE', 'post ' || n, '{}', n, 1, 0, 0 FROM generate_series(1, %[1]d) n;
		INSERT INTO deliveries (event_id, app, slot, grant_id, state, next_at) SELECT n, 'a', 0, 0, 'pending', %[2]d + n FROM generate_series(1, %[1]d) n`,
		sent+left, now.Add(-time.Hour).UnixMicro()))
	ok(t, err)
	snapshot, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	ok(t, err)
	defer func() { _ = snapshot.Rollback() }()
	var all int
	ok(t, snapshot.QueryRowContext(t.Context(), `SELECT count(*) FROM deliveries`).Scan(&all))

	due := func(limit int) []delivery.Delivery {
		t.Helper()
		list, err := s.Due(t.Context(), "a", now, limit)
		ok(t, err)
		return list
	}
	for range sent / step {
		list := due(step)
		outcomes := make([]delivery.Outcome, len(list))
		for i, d := range list {
			outcomes[i] = delivery.Outcome{ID: d.ID, State: delivery.Delivered, Attempt: &delivery.Attempt{At: now, Status: 200}}
		}
		ok(t, s.Record(t.Context(), outcomes))
	}
	if got := len(due(step)); got != left {
		t.Fatalf("%d are due, want %d", got, left)
	}
	writer, err := store.WriterDB(t.Context(), here.URL)
	ok(t, err)
	defer func() { _ = writer.Close() }()
	whole, bounded := buffers(t, writer, now, 0), buffers(t, writer, now, s.Floor("a"))
	const most = 10 * left // of indexes and tables, for each delivery
	if whole < 2*most {
		t.Fatalf("a look from the beginning takes %d pages: nothing holds what has gone out", whole)
	}
	if bounded > most {
		t.Errorf("a look takes %d pages for %d deliveries; from the beginning it takes %d", bounded, left, whole)
	}
}

// buffers is how many pages a look at what is due of the app a takes.
func buffers(t *testing.T, db *sql.DB, now time.Time, from int64) int {
	t.Helper()
	var text string
	ok(t, db.QueryRowContext(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+store.DueDeliveries, "a", now.UnixMicro(), 1000, from).Scan(&text))
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	ok(t, json.Unmarshal([]byte(text), &plans))
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// TestPostgresDueFromOthers: what another process makes pending below what was
// seen is found: at once, or after a moment where it took very long to commit.
func TestPostgresDueFromOthers(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{URL: url})
		db := raw(t, store.Options{URL: url})
		due := func() int {
			t.Helper()
			list, err := s.Due(t.Context(), "a", time.Now(), 10)
			ok(t, err)
			return len(list)
		}
		other := func(id int, age time.Duration) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), fmt.Sprintf(`
				INSERT INTO events VALUES (%[1]d, 'POST_UPDATE', 'post p', '{}', 0, 1, 0, 0);
				INSERT INTO deliveries (event_id, app, slot, grant_id, state, next_at) VALUES (%[1]d, 'a', 0, 0, 'pending', %[2]d)`,
				id, time.Now().Add(-age).UnixMicro()))
			ok(t, err)
		}
		if n := due(); n != 0 {
			t.Fatalf("%d are due", n)
		}
		other(1, 4*time.Second)
		if n := due(); n != 1 {
			t.Errorf("%d are due, want the one of four seconds ago", n)
		}
		other(2, time.Hour)
		for waited := time.Duration(0); due() != 2; waited += time.Second {
			if waited > 10*time.Second {
				t.Fatal("the one of an hour ago is not found")
			}
			<-time.After(time.Second)
		}
	})
}
