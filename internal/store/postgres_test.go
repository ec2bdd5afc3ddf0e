package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.NoLedger(t)}
	_, err := store.Open(t.Context(), here)
	if err == nil || !strings.Contains(err.Error(), "migration 0") || !strings.Contains(err.Error(), "openkenar migrate") {
		t.Fatalf("got %v, want the schema's version and what to do", err)
	}
	var together sync.WaitGroup
	for range 3 {
		together.Go(func() {
			if _, to, err := store.Migrate(t.Context(), here); err != nil || to == 0 {
				t.Errorf("migrate to %d: %v", to, err)
			}
		})
	}
	together.Wait()
	shut(t, open(t, here))

	_, err = raw(t, here).ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	ok(t, err) // a newer program was here
	shut(t, open(t, here))
	if from, to, err := store.Migrate(t.Context(), here); from != 9999 || to != 9999 || err != nil {
		t.Errorf("a newer schema went from %d to %d: %v", from, to, err)
	}
}

// TestPostgresOrder: pages are in the order of bytes, whatever the database's
// own is.
func TestPostgresOrder(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{URL: storetest.Postgres(t)})
	slugs := []string{"A", "B", "_", "a", "a-b", "aa", "é"}
	write(t, s, func(tx chat.Tx) error {
		for _, slug := range slugs {
			a := access.NewApp()
			a.Slug, a.SealedKey = slug, []byte("sealed")
			if err := tx.(*store.Tx).InsertApp(a); err != nil {
				return err
			}
		}
		return nil
	})
	last := ""
	for _, want := range slugs {
		page, err := s.Apps(t.Context(), last, 1)
		ok(t, err)
		if len(page) != 1 || page[0].Slug != want {
			t.Fatalf("after %q comes %v, want %q", last, page, want)
		}
		last = want
	}
	collation := ""
	ok(t, s.Probe(t.Context(), `SELECT collation_name FROM information_schema.columns WHERE table_name = 'apps' AND column_name = 'slug'`, &collation))
	if collation != "C" {
		t.Errorf("slugs are ordered by %q", collation)
	}
}

// TestPostgresCommittedMeansOnDisk: also where the database is set to less.
func TestPostgresCommittedMeansOnDisk(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	for set, want := range map[string]string{"off": "on", "local": "on", "remote_write": "on", "remote_apply": "remote_apply"} {
		u, err := url.Parse(here.URL)
		ok(t, err)
		q := u.Query()
		q.Set("synchronous_commit", set)
		u.RawQuery = q.Encode()
		s := open(t, store.Options{URL: u.String()})
		got := ""
		ok(t, s.Probe(t.Context(), "SHOW synchronous_commit", &got))
		if got != want {
			t.Errorf("synchronous_commit is %s where the database says %s, want %s", got, set, want)
		}
		shut(t, s)
	}
}

// breakOff ends the connections of a store.
func breakOff(t *testing.T, db *sql.DB) {
	t.Helper()
	ended := 0
	ok(t, db.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
		WHERE application_name = 'openkenar' AND datname = current_database()`).Scan(&ended))
	if ended == 0 {
		t.Fatal("there was no connection")
	}
}

func TestPostgresComesBack(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	s := open(t, here)
	db := raw(t, here)
	put := func(user string, then func()) error {
		return s.Chat().Write(t.Context(), func(tx chat.Tx) error {
			defer then()
			return tx.EnsureUser(user, base)
		})
	}
	ok(t, put("before", func() {}))
	breakOff(t, db)
	ok(t, put("after", func() {})) // on a new connection
	if err := put("lost", func() { breakOff(t, db) }); status.KindOf(err) != status.Unavailable {
		t.Errorf("a write whose connection broke: %v, want Unavailable", err)
	}
	ok(t, put("again", func() {}))
	for user, want := range map[string]bool{"before": true, "after": true, "lost": false, "again": true} {
		if _, known, err := s.User(t.Context(), user); known != want || err != nil {
			t.Errorf("%s is known: %t, %v", user, known, err)
		}
	}
}

// TestPostgresSilentFailure: PostgreSQL answers the COMMIT of a transaction in
// which a statement failed without an error, and rolls it back.
func TestPostgresSilentFailure(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{URL: storetest.Postgres(t)})
	err := s.Chat().Write(t.Context(), func(tx chat.Tx) error {
		err := tx.EnsureUser("user", base)
		_ = tx.(*store.Tx).InsertToken(access.Token{ID: tx.NextID(), Hash: []byte{1}, App: "nobody"})
		return err
	})
	if err == nil {
		t.Error("a write was answered that is rolled back")
	}
	newWorld(t, s)
}

// TestPostgresLostAnswer: a COMMIT was carried out, and its answer was lost.
// The caller is told the truth, and the engine of the new delivery.
func TestPostgresLostAnswer(t *testing.T) {
	t.Parallel()
	p, through := storetest.NewProxy(t, storetest.Postgres(t))
	s := open(t, store.Options{URL: through})
	beat(t, s)
	told := 0
	s.OnCommit(func(list []delivery.Delivery) { told += len(list) })
	write(t, s, func(tx chat.Tx) error { return happen(tx, tx.NextID(), 0) }) // prepares all statements

	var id int64
	settled, looked := make(chan struct{}), make(chan struct{})
	go func() { // a lane looks at what is due while nobody knows of the commit
		defer close(looked)
		for running := true; running; {
			select {
			case <-settled:
				running = false
			default:
			}
			if p.Lost() == 1 {
				if _, err := s.Due(t.Context(), "a", time.Now(), 10); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	write(t, s, func(tx chat.Tx) error {
		id = tx.NextID()
		err := happen(tx, id, 0)
		p.LoseAnswer(4) // what comes: an event, its two verdicts, the mark, COMMIT
		return err
	})
	close(settled)
	<-looked
	due, err := s.Due(t.Context(), "a", time.Now(), 10)
	if ok(t, err); len(due) != 2 {
		t.Errorf("%d deliveries are due, want 2", len(due))
	}
	if p.Lost() != 1 {
		t.Fatalf("%d answers were lost", p.Lost())
	}
	if _, found, err := s.Event(t.Context(), id); !found || err != nil {
		t.Errorf("the event is not there: %v", err)
	}
	if told != 2 {
		t.Errorf("the engine was told of %d deliveries, want 2", told)
	}
	newWorld(t, s)
}

// TestPostgresCrashInCommit: the server crashes before the COMMIT, has nothing
// of the transaction on disk, and gives its number to another. The caller is
// told the truth all the same.
func TestPostgresCrashInCommit(t *testing.T) {
	t.Parallel()
	server := storetest.NewServer(t, "wal_writer_delay=10s")
	s := open(t, store.Options{URL: server.URL()})
	told := 0
	s.OnCommit(func(list []delivery.Delivery) { told += len(list) })
	write(t, s, func(tx chat.Tx) error { return happen(tx, tx.NextID(), 0) }) // prepares all statements
	told = 0

	number, again := "", ""
	var id int64
	err := s.Chat().Write(t.Context(), func(tx chat.Tx) error {
		id = tx.NextID()
		if err := errors.Join(tx.EnsureUser("u", base), s.Probe(t.Context(), "SELECT pg_current_xact_id()::text", &number)); err != nil {
			return err
		}
		server.Before(3, func() { // an event, its two verdicts, the mark; COMMIT is next
			server.Crash()
			server.Start()
			conn := server.Session()
			for again != number && len(again) <= len(number) {
				if err := conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text").Scan(&again); err != nil || again > number {
					t.Errorf("transaction %s, want %s: %v", again, number, err)
					break
				}
			}
			ok(t, conn.Close(t.Context()))
		})
		return happen(tx, id, 0)
	})
	if again != number {
		t.Fatalf("no other transaction has got the number %s", number)
	}
	if status.KindOf(err) != status.Unavailable || !strings.Contains(err.Error(), "nothing was accepted") {
		t.Errorf("the caller was told %v", err)
	}
	if _, found, err := s.Event(t.Context(), id); found || err != nil || told != 0 {
		t.Errorf("the event is there: %t, %v; the engine was told of %d deliveries", found, err, told)
	}
	newWorld(t, s)
}

func TestPostgresPasswordIsNotTold(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://root:hidden@127.0.0.1:1/x", "postgres://root@127.0.0.1:1/x?password=hidden", "postgres://root:hidden@127.0.0.1:1/x?sslmode=no",
		"postgres://root:hid/den@127.0.0.1/x", "postgres://root:hidden@127.0.0.1:port/x", "postgres://root:hidden%zz@127.0.0.1/x", "mysql://root:hidden@127.0.0.1",
	} {
		for _, readOnly := range []bool{false, true} {
			_, err := store.Open(t.Context(), store.Options{URL: text, ReadOnly: readOnly})
			if err == nil {
				t.Fatalf("%s was opened", text)
			}
			if said := fmt.Sprintf("%v %+v", err, errors.Unwrap(err)); strings.Contains(said, "hid") {
				t.Errorf("%s: %s", text, said)
			}
		}
	}
}
