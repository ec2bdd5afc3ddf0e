package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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
	for set, want := range map[string]string{"off": "on", "remote_apply": "remote_apply"} {
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
	direct := storetest.Postgres(t)
	u, err := url.Parse(direct)
	ok(t, err)
	p := newProxy(t, u.Query().Get("host"))
	u.RawQuery = url.Values{"host": {p.dir}}.Encode()
	s := open(t, store.Options{URL: u.String()})
	beat(t, s)
	told := 0
	s.OnCommit(func(list []delivery.Delivery) { told += len(list) })
	write(t, s, func(tx chat.Tx) error { return happen(tx, tx.NextID(), 0) }) // prepares all statements

	var id int64
	write(t, s, func(tx chat.Tx) error {
		id = tx.NextID()
		err := happen(tx, id, 0)
		// What comes: an event, its two verdicts, the transaction's name, COMMIT.
		p.answers.Store(5)
		return err
	})
	if p.lost.Load() != 1 {
		t.Fatalf("%d answers were lost", p.lost.Load())
	}
	if _, found, err := s.Event(t.Context(), id); !found || err != nil {
		t.Errorf("the event is not there: %v", err)
	}
	if told != 2 {
		t.Errorf("the engine was told of %d deliveries, want 2", told)
	}
	newWorld(t, s)
}

// proxy stands before a server of PostgreSQL, on a unix socket of its own.
type proxy struct {
	dir     string
	answers atomic.Int64 // that still come through; then one is lost with its connection. 0: all do
	lost    atomic.Int64
}

func newProxy(t *testing.T, behind string) *proxy {
	t.Helper()
	const socket = ".s.PGSQL.5432"
	p := &proxy{dir: t.TempDir()}
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "unix", filepath.Join(p.dir, socket))
	ok(t, err)
	var running sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			var dialer net.Dialer
			server, err := dialer.DialContext(ctx, "unix", filepath.Join(behind, socket))
			if err != nil {
				t.Errorf("proxy: %v", err)
				_ = client.Close()
				return
			}
			running.Go(func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			})
			running.Go(func() {
				p.pass(client, server)
				_ = client.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return p
}

// pass passes answers on, until one is to be lost.
func (p *proxy) pass(client io.Writer, server io.Reader) {
	buffer := make([]byte, 1<<16) // an answer of the statements in question comes in one piece
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if p.answers.Load() > 0 && p.answers.Add(-1) == 0 {
			p.lost.Add(1)
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
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
