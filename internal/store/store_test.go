package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	ran := statements{}
	t.Run("ledger", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.Store {
			s := open(t, store.Options{Dir: t.TempDir()})
			ran.of(t, s)
			return s
		})
	})
	t.Run("no statement reads through a whole table", ran.checkPlans)
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Postgres(t) // starts the server, outside of bubbles
	ran := statements{}
	t.Run("ledger", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.Store {
			s := open(t, store.Options{URL: storetest.Postgres(t)})
			ran.of(t, s)
			return s
		})
	})
	t.Run("no statement reads through a whole table", ran.checkPostgresPlans)
}

// onBoth runs a test on each engine; at returns where an empty ledger is.
func onBoth(t *testing.T, test func(t *testing.T, at func(t *testing.T) store.Options)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) store.Options { return store.Options{Dir: t.TempDir()} })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) store.Options { return store.Options{URL: storetest.Postgres(t)} })
	})
}

// clocked is where a ledger is, with another clock.
func clocked(o store.Options, now func() time.Time) store.Options {
	o.Now = now
	return o
}

// reading is where a ledger is, to be read only.
func reading(o store.Options) store.Options {
	o.ReadOnly = true
	return o
}

// base is when things happen.
var base = time.Date(2026, 3, 4, 5, 6, 7, 891_234_000, time.UTC)

// open opens a ledger that is closed when the test ends, if not before.
func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// raw opens the database behind the store's back.
func raw(t *testing.T, o store.Options) *sql.DB {
	t.Helper()
	driver, name := "sqlite", "file:"+filepath.Join(o.Dir, "openkenar.db")+"?_pragma=busy_timeout(10000)"
	if o.URL != "" {
		driver, name = "pgx", o.URL
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func write(t *testing.T, s *store.Store, f func(tx chat.Tx) error) {
	t.Helper()
	if err := s.Chat().Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is one of everything in a ledger.
type world struct {
	grant, token, refresh, key, secret, subscription, redelivery int64
	message, post, transaction                                   int64 // events; each has a delivery to the app a
}

func newWorld(t *testing.T, s *store.Store) (w world) {
	t.Helper()
	write(t, s, func(tx chat.Tx) error {
		all := tx.(*store.Tx)
		w = world{
			grant: tx.NextID(), token: tx.NextID(), refresh: tx.NextID(), key: tx.NextID(), secret: tx.NextID(),
			message: tx.NextID(), post: tx.NextID(), transaction: tx.NextID(),
		}
		a := access.NewApp()
		a.Slug, a.SealedKey, a.CreatedAt, a.UpdatedAt = "a", []byte("sealed"), base, base
		m := chat.Stored{ID: "m", Conversation: "c", User: "u", SentAt: base, Hash: []byte{1}, Payload: []byte(`{}`), Event: w.message}
		_, err := tx.InsertMessages([]chat.Stored{m})
		return errors.Join(
			err,
			all.InsertApp(a),
			all.InsertGrant(access.Grant{ID: w.grant, App: "a", User: "u", GrantedAt: base}),
			all.InsertToken(access.Token{ID: w.token, Hash: []byte("token"), App: "a", User: "u", Grant: w.grant, ExpiresAt: base.Add(time.Hour)}),
			all.InsertRefresh(oauth.Refresh{ID: w.refresh, Hash: []byte("refresh"), App: "a", User: "u", Grant: w.grant, ExpiresAt: base.Add(time.Hour)}),
			all.InsertKey(access.Key{ID: w.key, App: "a", Hash: []byte("key"), CreatedAt: base}),
			all.InsertSecret(access.Secret{ID: w.secret, App: "a", Sealed: []byte("sealed"), CreatedAt: base}),
			tx.EnsureUser("u", base),
			tx.InsertConversation(chat.Conversation{ID: "c", Type: chat.WithBot, App: "a", User: "u"}, base),
			tx.PutPost(market.Post{Token: "p", Owner: "u", State: market.Published}, w.post, base),
			tx.PutTransaction(market.Transaction{ID: "x", App: "a", State: market.TransactionPending, Type: market.Reorder}, w.transaction, base),
			happen(tx, w.message, w.grant), happen(tx, w.post, 0), happen(tx, w.transaction, 0),
		)
	})
	_, err := s.Register(t.Context(), event.Subscription{App: "a", User: "u", Type: event.PostUpdate, Token: w.token}, base)
	ok(t, err)
	list, err := s.AppSubscriptions(t.Context(), "a", 0, 1, base)
	ok(t, err)
	w.subscription = list[0].ID
	w.redelivery, err = s.StartPuttingBack(t.Context(), delivery.Selection{State: delivery.Exhausted}, 0, base)
	ok(t, err)
	ok(t, s.SetSetting(t.Context(), "name", "value"))
	ok(t, s.Record(t.Context(), []delivery.Outcome{{
		ID: delivery.ID{Event: w.message, App: "a"}, State: delivery.Delivered,
		Attempt: &delivery.Attempt{N: 1, At: base, Duration: time.Millisecond, Status: 200, Answer: []byte("an answer")},
	}}))
	return w
}

// happen writes an event with a delivery to the app a.
func happen(tx event.Tx, id, grant int64) error {
	return tx.InsertEvent(event.Event{ID: id, Type: event.PostUpdate, At: base, Key: "post p", Payload: []byte(`{}`)},
		[]event.Verdict{{App: "a", State: delivery.Pending, Grant: grant}, {App: "b", State: delivery.Skipped, Reason: "a reason"}})
}

// seen is what readers see of a world.
func seen(t *testing.T, s *store.Store, w world) map[string]any {
	t.Helper()
	ctx := t.Context()
	all := map[string]any{}
	see := func(name string) func(v ...any) {
		return func(v ...any) {
			t.Helper()
			if err, failed := v[len(v)-1].(error); failed {
				t.Fatalf("%s: %v", name, err)
			}
			all[name] = v
		}
	}
	see("apps")(s.Apps(ctx, "", 10))
	see("keys")(s.Keys(ctx, "a", 0, 10))
	see("key")(s.KeyByHash(ctx, []byte("key")))
	see("secrets")(s.Secrets(ctx, "a", base))
	see("token")(s.TokenByHash(ctx, []byte("token")))
	see("grants")(s.Grants(ctx, "u"))
	see("subscriptions")(s.AppSubscriptions(ctx, "a", 0, 10, base))
	see("user")(s.User(ctx, "u"))
	see("post")(s.Post(ctx, "p"))
	see("conversation")(s.Conversation(ctx, "c"))
	see("messages")(s.Messages(ctx, "c", 0, 10))
	see("deliveries")(s.Deliveries(ctx, delivery.Filter{Limit: 10}))
	see("delivery")(s.Delivery(ctx, delivery.ID{Event: w.message, App: "a"}))
	see("event")(s.Event(ctx, w.message))
	see("due")(s.Due(ctx, "a", base, 10))
	see("waiting")(s.Waiting(ctx))
	see("setting")(s.Setting(ctx, "name"))
	see("audit")(s.Audit(ctx, func(int64) {}))
	return all
}

func sameWorld(t *testing.T, got, want map[string]any) {
	t.Helper()
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got[name], want[name])
		}
	}
}

func TestReopenedLedgerKeepsEverything(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		s := open(t, here)
		w := newWorld(t, s)
		before := seen(t, s, w)
		shut(t, s)
		shut(t, s) // once more does nothing
		again := open(t, here)
		sameWorld(t, seen(t, again, w), before)
		if _, more, err := again.RedeliverStep(t.Context(), "by hand", base); !more || err != nil {
			t.Errorf("the redelivery under way is forgotten: %v", err)
		}
	})
}

func TestKilledLedgerKeepsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	dir, rest := t.TempDir(), t.TempDir()
	s := open(t, store.Options{Dir: dir})
	w := newWorld(t, s)
	ok(t, os.CopyFS(rest, os.DirFS(dir))) // what a killed process leaves on disk
	sameWorld(t, seen(t, open(t, store.Options{Dir: rest}), w), seen(t, s, w))
}

func TestCommittedMeansOnDisk(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{Dir: t.TempDir()})
	for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		got := ""
		ok(t, s.Probe(t.Context(), "PRAGMA "+name, &got))
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	here := store.Options{Dir: t.TempDir()}
	s := open(t, here)
	_, err := store.Open(t.Context(), here)
	if err == nil {
		t.Fatal("two servers run on one ledger")
	}
	for _, word := range []string{"another openkenar", "stop it", "choose another --data"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the refusal %q does not say %q", err, word)
		}
	}
	newWorld(t, s) // the first goes on
	shut(t, s)
	open(t, here)
}

func TestReaderBesideWriter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		s := open(t, here)
		reader := open(t, reading(here))
		w := newWorld(t, s)
		before := seen(t, s, w)
		sameWorld(t, seen(t, reader, w), before)

		ctx := t.Context()
		id := delivery.ID{Event: w.message, App: "a"}
		for name, err := range map[string]error{
			"access":    reader.Access().Write(ctx, func(access.Tx) error { return nil }),
			"market":    reader.Market().Write(ctx, func(market.Tx) error { return nil }),
			"chat":      reader.Chat().Write(ctx, func(chat.Tx) error { return nil }),
			"setting":   reader.SetSetting(ctx, "name", "other"),
			"outcome":   reader.Record(ctx, []delivery.Outcome{{ID: id, State: delivery.Exhausted}}),
			"put back":  second(reader.PutBack(ctx, id, "by hand", base)),
			"bulk":      first(reader.StartPuttingBack(ctx, delivery.Selection{State: delivery.Delivered}, 1, base)),
			"prune":     second(reader.PruneStep(ctx, delivery.Pruning{Before: base.Add(time.Hour)}, base)),
			"step":      second(reader.RedeliverStep(ctx, "by hand", base)),
			"subscribe": first(reader.Register(ctx, event.Subscription{App: "a", User: "u", Token: w.token}, base)),
			"end":       first(reader.EndSubscription(ctx, "a", w.subscription, base)),
		} {
			if err == nil || !strings.Contains(err.Error(), "reading only") {
				t.Errorf("%s: %v, want a refusal", name, err)
			}
		}
		sameWorld(t, seen(t, s, w), before)

		shut(t, s)
		sameWorld(t, seen(t, reader, w), before)
	})
}

func first[A any](_ A, err error) error          { return err }
func second[A, B any](_ A, _ B, err error) error { return err }

func TestReaderOfNoLedger(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "missing")
	if _, err := store.Open(t.Context(), store.Options{Dir: dir, ReadOnly: true}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want an error that names %s", err, dir)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made the directory: %v", err)
	}
}

func TestLedgerInOddDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `a b?c#d%41&é"'`)
	w := newWorld(t, open(t, store.Options{Dir: dir}))
	seen(t, open(t, store.Options{Dir: dir, ReadOnly: true}), w)
	if _, err := os.Stat(filepath.Join(dir, "openkenar.db")); err != nil {
		t.Errorf("the ledger lies elsewhere: %v", err)
	}
}

func TestSchemaVersions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shut(t, open(t, store.Options{Dir: dir}))
	db := raw(t, store.Options{Dir: dir})
	change := func(q string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), q)
		ok(t, err)
	}

	change(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`) // a newer program was here
	shut(t, open(t, store.Options{Dir: dir}))
	shut(t, open(t, store.Options{Dir: dir, ReadOnly: true}))

	change(`DELETE FROM goose_db_version WHERE version_id > 0`)
	_, err := store.Open(t.Context(), store.Options{Dir: dir, ReadOnly: true})
	if err == nil || !strings.Contains(err.Error(), "migration 0") || !strings.Contains(err.Error(), "start the server") {
		t.Errorf("got %v, want the schema's version and what to do", err)
	}
}

func TestIDsRiseThoughTheClockWentBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		next := func(t *testing.T, s *store.Store) (id int64) {
			t.Helper()
			write(t, s, func(tx chat.Tx) error {
				id = tx.NextID()
				return nil
			})
			return id
		}
		late := func() time.Time { return base.Add(24 * time.Hour) }
		early := func() time.Time { return base }

		t.Run("while it is open", func(t *testing.T) {
			t.Parallel()
			clock := late
			s := open(t, clocked(at(t), func() time.Time { return clock() }))
			before := next(t, s)
			clock = early
			if after := next(t, s); after <= before {
				t.Errorf("after %d came %d", before, after)
			}
		})

		t.Run("the newest was pruned", func(t *testing.T) {
			t.Parallel()
			here := at(t)
			s := open(t, clocked(here, late))
			newest := next(t, s)
			write(t, s, func(tx chat.Tx) error {
				return tx.InsertEvent(event.Event{ID: newest, Type: event.PostUpdate, At: base, Key: "post p", Payload: []byte(`{}`)}, nil)
			})
			at, _, err := s.PruneStep(t.Context(), delivery.Pruning{Before: late().Add(time.Hour)}, late())
			ok(t, err)
			if at.Events != 1 {
				t.Fatalf("%d events were pruned", at.Events)
			}
			shut(t, s)
			if after := next(t, open(t, clocked(here, early))); after <= newest {
				t.Errorf("after %d came %d", newest, after)
			}
		})

		// The newest id may be that of any kind of thing.
		kinds := reflect.TypeFor[world]()
		for i := range kinds.NumField() {
			kind := kinds.Field(i).Name
			t.Run("the newest is a "+kind, func(t *testing.T) {
				t.Parallel()
				here := at(t)
				s := open(t, clocked(here, early))
				w := newWorld(t, s)
				shut(t, s)
				newest := next(t, open(t, clocked(at(t), late))) // as another clock would make it
				move(t, here, kind, reflect.ValueOf(w).Field(i).Int(), newest)
				if after := next(t, open(t, clocked(here, early))); after <= newest {
					t.Errorf("after %d came %d", newest, after)
				}
			})
		}
	})
}

// move gives a thing another id.
func move(t *testing.T, here store.Options, kind string, from, to int64) {
	t.Helper()
	column := map[string]string{
		"grant": "grants.id", "token": "access_tokens.id", "refresh": "refresh_tokens.id", "key": "api_keys.id", "secret": "signing_secrets.id",
		"subscription": "subscriptions.id", "redelivery": "redeliveries.id",
		"message": "messages.event_id", "post": "events.id", "transaction": "events.id",
	}[kind]
	table, id, _ := strings.Cut(column, ".")
	db := raw(t, here)
	if here.URL != "" { // let go of foreign keys, as SQLite does here
		db.SetMaxOpenConns(1)
		_, err := db.ExecContext(t.Context(), "SET session_replication_role = replica")
		ok(t, err)
	}
	res, err := db.ExecContext(t.Context(), fmt.Sprintf("UPDATE %s SET %s = $1 WHERE %s = $2", table, id, id), to, from)
	ok(t, err)
	if n, err := res.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%d rows were moved, %v", n, err)
	}
}

func TestCloseAnswersEveryWrite(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		s := open(t, here)
		errs := make([]error, 300)
		user := func(i int) string { return fmt.Sprintf("user-%d", i) }
		started := make(chan struct{}, len(errs))
		var writing sync.WaitGroup
		for i := range errs {
			writing.Go(func() {
				started <- struct{}{}
				errs[i] = s.Market().Write(context.WithoutCancel(t.Context()), func(tx market.Tx) error { return tx.EnsureUser(user(i), base) })
			})
		}
		for range len(errs) / 2 {
			<-started
		}
		shut(t, s)
		writing.Wait()

		again := open(t, here)
		for i, err := range errs {
			if err != nil && status.KindOf(err) != status.Unavailable {
				t.Errorf("%s was answered %v, want Unavailable", user(i), err)
			}
			_, known, readErr := again.User(t.Context(), user(i))
			ok(t, readErr)
			if known != (err == nil) {
				t.Errorf("%s was told %v, and that it is there is %t", user(i), err, known)
			}
		}
		if _, _, err := s.User(t.Context(), "u"); err == nil {
			t.Error("a closed ledger can be read")
		}
	})
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{Dir: t.TempDir()})
	const users = 60
	phone := strings.Repeat("1", 20_000) // five pages
	put := func(i int) error {
		return s.Market().Write(t.Context(), func(tx market.Tx) error {
			return tx.PutUser(market.User{ID: fmt.Sprintf("user-%d", i), Phone: phone}, base)
		})
	}
	ok(t, s.FillDisk(t.Context(), 100))
	errs := make([]error, users)
	var writing sync.WaitGroup
	for i := range users {
		writing.Go(func() { errs[i] = put(i) })
	}
	writing.Wait()

	refused := 0
	for i, err := range errs {
		_, known, readErr := s.User(t.Context(), fmt.Sprintf("user-%d", i))
		ok(t, readErr)
		if known != (err == nil) {
			t.Errorf("user-%d was told %v, and that it is there is %t", i, err, known)
		}
		if err != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("60 times five pages were written into 100")
	}
	ok(t, s.FillDisk(t.Context(), 1000))
	ok(t, put(users))
}

func TestMigrationsComeInPairs(t *testing.T) {
	t.Parallel()
	names := func(engine string) (list []string) {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join("migrations", engine))
		ok(t, err)
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	sqlite, postgres := names("sqlite"), names("postgres")
	if !reflect.DeepEqual(sqlite, postgres) {
		t.Errorf("sqlite has %q, postgres has %q", sqlite, postgres)
	}
	for i, name := range sqlite {
		if !strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)) || !strings.HasSuffix(name, ".sql") {
			t.Errorf("migration %d is called %s, want %04d_NAME.sql", i+1, name, i+1)
		}
	}
}
