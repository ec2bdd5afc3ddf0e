package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// newHistory is a world in which more has happened: rows in every table, and
// deliveries in every state.
func newHistory(t *testing.T, s *store.Store) world {
	t.Helper()
	w := newWorld(t, s)
	ctx := t.Context()
	id := map[string]int64{}
	write(t, s, func(tx chat.Tx) error {
		all := tx.(*store.Tx)
		var errs []error
		do := func(err error) { errs = append(errs, err) }
		happened := func(name string, verdict event.Verdict) {
			id[name] = tx.NextID()
			do(tx.InsertEvent(event.Event{ID: id[name], Type: event.PostUpdate, At: base, Key: "post p", Payload: []byte(`{"name":"` + name + `"}`)},
				[]event.Verdict{verdict}))
		}
		happened("late", event.Verdict{App: "a", State: delivery.Pending, Metadata: []byte(`{"n":12345678901234567890}`)})
		happened("gone", event.Verdict{App: "a", State: delivery.Pending})
		happened("skipped", event.Verdict{App: "a", State: delivery.Skipped, Reason: "a reason"})
		revoked := access.Grant{ID: tx.NextID(), App: "a", User: "u2", Scopes: access.Scopes{"USER_ID"}, GrantedAt: base}
		do(all.InsertGrant(revoked))
		id["canceled"] = tx.NextID()
		do(tx.InsertEvent(event.Event{ID: id["canceled"], Type: event.PostUpdate, At: base, Key: "post p", Payload: []byte(`{}`)},
			[]event.Verdict{{App: "a", State: delivery.Pending, Grant: revoked.ID}}))
		do(all.RevokeGrant(revoked.ID, base))
		revokedKey := tx.NextID()
		do(all.InsertKey(access.Key{ID: revokedKey, App: "a", Title: `a "title" <سلام> 🙂`, Hash: []byte("key 2"), CreatedAt: base}))
		_, err := all.RevokeKey("a", revokedKey, base)
		do(err)
		do(all.InsertUploadToken(access.UploadToken{Hash: []byte{0, 0xff}, App: "a", Key: w.key, ExpiresAt: base}))
		state := "c3RhdGU="
		do(all.InsertLogin(oauth.Login{Hash: []byte("login"), App: "a", RedirectURI: "https://a.test/", Browser: []byte("b"), ExpiresAt: base}))
		do(all.InsertLogin(oauth.Login{Hash: []byte("login 2"), App: "a", State: &state, Browser: []byte("b"), ExpiresAt: base}))
		do(all.InsertCode(oauth.Code{Hash: []byte("code"), App: "a", User: "u", Grant: w.grant, Family: 1, ExpiresAt: base}))
		m := chat.Stored{
			ID: "m2", Conversation: "c", Type: chat.Image, User: "u", App: "a", SentAt: base, Hash: []byte{7}, Payload: []byte(`{}`),
			Buttons: []byte(`{"rows":[]}`), Media: "upload", Event: tx.NextID(),
		}
		_, err = tx.InsertMessages([]chat.Stored{m})
		do(err)
		do(happen(tx, m.Event, 0))
		tx.Publish(chat.FeedMessage, "a", m.Event)
		n := chat.Notice{ID: tx.NextID(), App: "a", User: "u", Message: "text", Buttons: []byte(`[]`), SentAt: base}
		do(tx.InsertNotification(n))
		tx.Publish(chat.FeedNotification, "a", n.ID)
		do(all.InsertAccount(account.Account{Name: "dev", Role: account.Developer, Password: "kept", CreatedAt: base}))
		do(all.AddApp("dev", "a", base))
		do(all.InsertInvitation(account.Invitation{Hash: []byte{0, 0xff}, App: "a", MadeBy: "ops", CreatedAt: base, ExpiresAt: base.AddDate(100, 0, 0)}))
		do(all.InsertNote(access.Note{ID: tx.NextID(), At: base, Who: "ops", App: "a", Action: access.AppChanged, Detail: "نام"}))
		return errors.Join(errs...)
	})
	ok(t, s.InsertUpload(ctx, chat.Upload{ID: "upload", App: "a", Kind: "image", MIME: "image/png", Name: "نام.png", CreatedAt: base}))
	ok(t, s.NoteHealth(ctx, delivery.Health{App: "a", FailingSince: base, MarkedAt: base}, base))
	_, err := s.AddUse(ctx, map[access.Window]int64{{App: "a", Unit: time.Minute, Start: base.Unix() / 60}: 7}, base)
	ok(t, err)
	_, _, err = s.SweepStep(ctx, delivery.Sweep{}, base)
	ok(t, err)
	ok(t, s.Record(ctx, []delivery.Outcome{
		{
			ID: delivery.ID{Event: id["late"], App: "a"}, State: delivery.Pending, Reason: "answered 500", Retry: 1, NextAt: base, Why: "retry 1",
			Attempt: &delivery.Attempt{N: 1, At: base, Status: 500, Answer: []byte{0, 0xff, '\n'}, Error: "answered 500", NextAt: base},
		},
		{
			ID: delivery.ID{Event: id["gone"], App: "a"}, State: delivery.Exhausted, Reason: "answered 410",
			Attempt: &delivery.Attempt{N: 1, At: base, Status: 410, Answer: []byte{}},
		},
	}))
	if _, more, err := s.PruneStep(ctx, delivery.Pruning{Before: base.Add(-time.Hour)}, base); err != nil || more {
		t.Fatalf("prune: %t, %v", more, err)
	}
	return w
}

// exported is the stream of a ledger.
func exported(t *testing.T, at store.Options) []byte {
	t.Helper()
	s, err := store.Open(t.Context(), reading(at))
	ok(t, err)
	defer shut(t, s)
	var b bytes.Buffer
	moved, err := s.Export(t.Context(), &b, func(int64) {})
	ok(t, err)
	if lines := int64(bytes.Count(b.Bytes(), []byte("\n"))); lines != moved.Total()+int64(len(moved.Rows))+2 {
		t.Errorf("the stream has %d lines, for %d rows of %d tables", lines, moved.Total(), len(moved.Rows))
	}
	return b.Bytes()
}

// imported imports a stream; every setting is well.
func imported(t *testing.T, to store.Options, stream io.Reader) (store.Moved, delivery.Audit, error) {
	t.Helper()
	return store.Import(t.Context(), to, store.Incoming{
		Stream: stream, Imported: func(int64) {}, Checked: func(int64) {}, Setting: func(string, string) error { return nil },
	})
}

// engines are where an empty ledger is on each engine.
var engines = map[string]func(t *testing.T) store.Options{
	"sqlite":   func(t *testing.T) store.Options { return store.Options{Dir: t.TempDir()} },
	"postgres": func(t *testing.T) store.Options { return store.Options{URL: storetest.Postgres(t)} },
}

// TestMove: a ledger can go from any engine to any. The copy is equal to it: it
// gives the same stream, readers see the same, and new ids are above the old.
func TestMove(t *testing.T) {
	t.Parallel()
	for from, source := range engines {
		for to, target := range engines {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				there, here := source(t), target(t)
				s := open(t, there)
				w := newHistory(t, s)
				before := seen(t, s, w)
				stream := exported(t, there)

				moved, audit, err := imported(t, here, bytes.NewReader(stream))
				ok(t, err)
				for name, rows := range moved.Rows {
					if rows == 0 {
						t.Errorf("table %s is empty: newHistory must put something into it", name)
					}
				}
				// newWorld's message has no event of its own kind; the audit is that of the source.
				if want := before["audit"].([]any)[0]; fmt.Sprint(audit) != fmt.Sprint(want) {
					t.Errorf("the audit of the copy is %+v, want %+v", audit, want)
				}
				if again := exported(t, here); !bytes.Equal(again, stream) {
					t.Errorf("the copy gives another stream: %s", firstDifference(again, stream))
				}
				// A clock that was set back gives no id twice.
				c := open(t, clocked(here, func() time.Time { return base }))
				delete(before, "due") // by the clock of the engine
				sameWorld(t, seen(t, c, w), before)
				write(t, c, func(tx chat.Tx) error {
					if id := tx.NextID(); bytes.Contains(stream, fmt.Append(nil, id)) || id <= w.transaction {
						t.Errorf("id %d was given out before", id)
					}
					n := chat.Notice{ID: tx.NextID(), App: "a", User: "u", Message: "text", Buttons: []byte(`[]`), SentAt: base}
					tx.Publish(chat.FeedNotification, "a", n.ID)
					return tx.InsertNotification(n)
				})
				old, err := s.Feed(t.Context(), 0, 100)
				ok(t, err)
				feed, err := c.Feed(t.Context(), 0, 100)
				ok(t, err)
				if len(feed) != len(old)+1 || feed[len(old)].Number != old[len(old)-1].Number+1 {
					t.Errorf("the feed had %d entries and has %d", len(old), len(feed))
				}
			})
		}
	}
}

// firstDifference names the first lines in which two streams differ.
func firstDifference(got, want []byte) string {
	a, b := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// TestMovedTables: a migration that adds a table says whether it moves.
func TestMovedTables(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		shut(t, open(t, here))
		tables := `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`
		if here.URL != "" {
			tables = `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`
		}
		rs, err := raw(t, here).QueryContext(t.Context(), tables)
		ok(t, err)
		defer func() { ok(t, rs.Close()) }()
		var found []string
		for rs.Next() {
			var name string
			ok(t, rs.Scan(&name))
			found = append(found, name)
		}
		ok(t, rs.Err())
		listed := slices.Concat(store.MovedTables, slices.Collect(maps.Keys(store.LeftOut)))
		// Each engine has some that the other does without.
		listed = slices.DeleteFunc(listed, func(name string) bool { return store.LeftOut[name] != "" && !slices.Contains(found, name) })
		slices.Sort(found)
		slices.Sort(listed)
		if !slices.Equal(found, listed) {
			t.Errorf("the ledger has the tables\n%q, but movedTables and leftOut in move.go list\n%q", found, listed)
		}
	})
}

// TestExportIsOfOneMoment: beside writers an export has of a write all or
// nothing, and all that was answered before it began.
func TestExportIsOfOneMoment(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		there, here := at(t), at(t)
		s := open(t, there)
		newHistory(t, s)
		more := func(n int) {
			write(t, s, func(tx chat.Tx) error {
				return errors.Join(tx.EnsureUser(fmt.Sprintf("early %d", n), base), happen(tx, tx.NextID(), 0), tx.EnsureUser(fmt.Sprintf("zlate %d", n), base))
			})
		}
		more(0)
		// The writer writes whenever the export has written something.
		n := 0
		var b bytes.Buffer
		reader := open(t, reading(there))
		_, err := reader.Export(t.Context(), writerFunc(func(p []byte) (int, error) {
			n++
			more(n)
			return b.Write(p)
		}), func(int64) {
			n++
			more(n)
		})
		ok(t, err)
		if n == 0 {
			t.Fatal("nothing was written meanwhile")
		}
		_, a, err := imported(t, here, &b)
		ok(t, err)
		c := open(t, here)
		for n, want := range map[int]bool{0: true, 1: false} {
			for _, name := range []string{"early", "zlate"} {
				if _, known, err := c.User(t.Context(), fmt.Sprintf("%s %d", name, n)); known != want || err != nil {
					t.Errorf("user %q %d: %t, %v", name, n, known, err)
				}
			}
		}
		if b := audit(t, s); b.Events <= a.Events {
			t.Errorf("the copy has %d events, the ledger %d", a.Events, b.Events)
		}
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRefusedImports: what cannot be imported leaves an empty ledger, into
// which the right stream goes afterwards.
func TestRefusedImports(t *testing.T) {
	t.Parallel()
	there := store.Options{Dir: t.TempDir()}
	s := open(t, there)
	newHistory(t, s)
	stream := exported(t, there)
	lines := bytes.SplitAfter(stream, []byte("\n"))
	lines = lines[:len(lines)-1]

	// resealed is a stream with other lines, and a checksum that fits.
	resealed := func(change func(lines []string) []string) []byte {
		body := make([]string, len(lines)-1)
		for i := range body {
			body[i] = string(lines[i])
		}
		text := strings.Join(change(body), "")
		var end struct {
			End store.Moved `json:"end"`
		}
		ok(t, json.Unmarshal(lines[len(lines)-1], &end))
		sum := sha256.Sum256([]byte(text))
		end.End.SHA256 = hex.EncodeToString(sum[:])
		last, err := json.Marshal(end)
		ok(t, err)
		return append([]byte(text), append(last, '\n')...)
	}
	replaced := func(old, by string) []byte {
		return resealed(func(lines []string) []string {
			text := strings.Join(lines, "")
			if !strings.Contains(text, old) {
				t.Fatalf("the stream has no %s", old)
			}
			return []string{strings.Replace(text, old, by, 1)}
		})
	}
	altered := bytes.Clone(stream)
	altered[bytes.Index(altered, []byte("a reason"))] = 'b'

	cases := map[string]struct {
		stream []byte
		words  string
	}{
		"cut in a row":             {stream[:len(stream)/2], "before its end line"},
		"cut between rows":         {bytes.Join(lines[:len(lines)/2], nil), "before its end line"},
		"cut before the end":       {bytes.Join(lines[:len(lines)-1], nil), "before its end line"},
		"cut in the end":           {stream[:len(stream)-1], "before its end line"},
		"empty":                    {nil, "before its end line"},
		"an altered byte":          {altered, "the stream was altered"},
		"a row that is gone":       {bytes.Join(slices.Delete(slices.Clone(lines), 2, 3), nil), "the stream was altered"},
		"twice":                    {slices.Concat(stream, stream), "follows the end"},
		"something else":           {[]byte("PGDMP\n"), "not the header"},
		"another format":           {replaced(`"format":1`, `"format":2`), "same version"},
		"another migration":        {replaced(`"migration":`, `"migration":1`), "same version of openkenar"},
		"another column":           {replaced(`"name text"`, `"nam text"`), "other columns"},
		"a column of another kind": {replaced(`"value text"`, `"value bytes"`), "other columns"},
		"an unknown table":         {replaced(`{"table":"apps"`, `{"table":"pg_class"`), "not the next"},
		"tables in another order":  {replaced(`{"table":"users"`, `{"table":"apps"`), "not the next"},
		"a table that comes again": {replaced(`{"table":"users"`, `{"table":"counters"`), "comes again"},
		"a text with NUL":          {replaced(`a reason`, `a\u0000reason`), "NUL"},
		"text that is not UTF-8":   {replaced(`a reason`, "a\xffreason"), "UTF-8"},
		"too large a number":       {replaced(`["feed",`, `["feed",9223372036854775808`), "column value"},
		"a fraction":               {replaced(`["feed",`, `["feed",0.`), "column value"},
		"other white space":        {replaced(`["feed",`, `["feed", `), "as openkenar export writes it"},
		"another escape":           {replaced(`a reason`, `\u0061 reason`), "as openkenar export writes it"},
		"a row that comes again":   {resealed(func(l []string) []string { return slices.Insert(l, 3, l[2]) }), ""},
		"more than a row":          {replaced(`["feed",`, `["feed",1]["feed",`), "follows the value"},
	}
	for engine, at := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			here := at(t)
			for name, c := range cases {
				_, _, err := imported(t, here, bytes.NewReader(c.stream))
				if err == nil {
					t.Fatalf("%s: it was imported", name)
				}
				if !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "nothing was imported") {
					t.Errorf("%s: %v, want %q", name, err, c.words)
				}
			}
			broken := errors.New("the pipe broke")
			if _, _, err := imported(t, here, io.MultiReader(bytes.NewReader(stream[:2000]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
				t.Errorf("a stream that cannot be read: %v", err)
			}
			no := errors.New("another master key")
			_, _, err := store.Import(t.Context(), here, store.Incoming{
				Stream: bytes.NewReader(stream), Imported: func(int64) {}, Checked: func(int64) {},
				Setting: func(name, value string) error {
					if name == "name" && value == "value" {
						return no
					}
					return nil
				},
			})
			if !errors.Is(err, no) {
				t.Errorf("a setting that is refused: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			_, _, err = store.Import(ctx, here, store.Incoming{
				Stream: bytes.NewReader(stream), Imported: func(int64) {}, Checked: func(int64) {},
				Setting: func(string, string) error { cancel(); return nil },
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("an import that was stopped: %v", err)
			}

			_, _, err = imported(t, here, bytes.NewReader(stream))
			ok(t, err)
			if _, _, err = imported(t, here, bytes.NewReader(stream)); err == nil || !strings.Contains(err.Error(), "is not empty") {
				t.Errorf("imported twice: %v", err)
			}
			if again := exported(t, here); !bytes.Equal(again, stream) {
				t.Errorf("after the refusals the copy gives another stream: %s", firstDifference(again, stream))
			}
		})
	}
}

// TestMoveNeedsTheOneMigration: a ledger that was migrated further than this
// program knows is neither exported nor imported into: it may have what this
// program would leave out. Older ones are not opened at all.
func TestMoveNeedsTheOneMigration(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		shut(t, open(t, here))
		stream := exported(t, here)
		_, err := raw(t, here).ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
		ok(t, err)
		_, err = open(t, reading(here)).Export(t.Context(), io.Discard, func(int64) {})
		if err == nil || !strings.Contains(err.Error(), "is at migration 9999") {
			t.Errorf("export: %v", err)
		}
		if _, _, err := imported(t, here, bytes.NewReader(stream)); err == nil || !strings.Contains(err.Error(), "is at migration 9999") {
			t.Errorf("import: %v", err)
		}
	})
}

// TestImportIsAlone: servers keep an import off, and the other way round.
func TestImportIsAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		s := open(t, here)
		stream := exported(t, here)
		if s.Shared() {
			_, err := s.Beat(t.Context(), delivery.Beat{Name: "a node", Lease: time.Minute})
			ok(t, err)
		}
		if _, _, err := imported(t, here, bytes.NewReader(stream)); err == nil || !strings.Contains(err.Error(), "stop") {
			t.Errorf("an import beside a server: %v", err)
		}
		if s.Shared() {
			ok(t, s.Leave(t.Context()))
		}
		shut(t, s)
		asked := false
		_, _, err := imported(t, here, io.MultiReader(bytes.NewReader(stream[:60]), readerFunc(func([]byte) (int, error) {
			if asked {
				return 0, io.EOF
			}
			asked = true
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if other, err := store.Open(ctx, here); err == nil {
				shut(t, other)
				t.Error("a server starts beside an import")
			}
			return 0, io.EOF
		}), bytes.NewReader(stream[60:])))
		ok(t, err)
		if !asked {
			t.Error("the stream was not read")
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestUnsoundExport: a ledger that holds what the other engine cannot keep is
// not exported as if it did not.
func TestUnsoundExport(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"a NUL": `'a' || char(0)`, "not UTF-8": `CAST(x'61ff' AS TEXT)`, "bytes": `x'61'`} {
		here := store.Options{Dir: t.TempDir()}
		shut(t, open(t, here))
		_, err := raw(t, here).ExecContext(t.Context(), `INSERT INTO users (id, phone, created_at) VALUES ('u', `+value+`, 1)`)
		ok(t, err)
		if _, err = open(t, reading(here)).Export(t.Context(), io.Discard, func(int64) {}); err == nil || !strings.Contains(err.Error(), "column phone") {
			t.Errorf("%s in a column of text: %v", name, err)
		}
	}
}

// FuzzImport: what the reader of a stream takes can be written, and is then
// taken for the same. What it does not take, it refuses in words.
func FuzzImport(f *testing.F) {
	sealed := func(lines string) []byte {
		sum := sha256.Sum256([]byte(lines))
		return fmt.Appendf([]byte(lines), `{"end":{"rows":{"t":%d},"sha256":"%x"}}`+"\n", strings.Count("\n"+lines, "\n["), sum)
	}
	const head = `{"openkenar":"ledger","format":1,"migration":7}` + "\n" + `{"table":"t","columns":["a integer","b text","c bytes"]}` + "\n"
	f.Add([]byte{})
	f.Add([]byte(head))
	f.Add(sealed(head + `[1,"b","Yw=="]` + "\n" + `[null,null,null]` + "\n"))
	f.Add(sealed(head + `[-9223372036854775808,"\u2028سلام\\\"\ud83d\ude42","/+8="]` + "\n" + `[ 0 , "" , "" ]` + "\n"))
	f.Add(sealed(head + `[1e0,"\ud800","Yw"]` + "\n" + `[[[[[[` + "\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		// The checksum would keep almost everything out.
		_ = store.Restream(bytes.NewReader(stream), io.Discard)
		body, _, _ := bytes.Cut(stream, []byte(`{"end":`))
		stream = sealed(string(body))
		var once, twice bytes.Buffer
		if err := store.Restream(bytes.NewReader(stream), &once); err != nil {
			if strings.Contains(err.Error(), "cannot be written") {
				t.Fatal(err)
			}
			return
		}
		if err := store.Restream(bytes.NewReader(once.Bytes()), &twice); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("%v\n%s\nwas written as\n%s\nand then as\n%s", err, stream, &once, &twice)
		}
	})
}
