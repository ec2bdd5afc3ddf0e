package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/delivery"
)

// movedTables are the tables that an export holds, in an order that foreign
// keys allow. Settings come first: one of them tells whose master key is needed.
// A migration that adds a table adds it here, or says in leftOut why not.
var movedTables = []string{
	"settings", "counters", "users", "apps", "api_keys", "signing_secrets", "upload_tokens",
	"grants", "access_tokens", "refresh_tokens", "subscriptions", "oauth_logins", "oauth_codes",
	"posts", "conversations", "participants", "messages", "transactions",
	"events", "deliveries", "attempts", "redeliveries",
	"notifications", "notices", "feed", "media", "endpoint_health", "quota_use",
	"accounts", "account_apps", "invitations", "audit_log",
}

// leftOut are the tables that an export does not hold, and why.
var leftOut = map[string]string{
	"goose_db_version": "each ledger has had its own migrations; the stream names the last",
	"sessions":         "people sign in again where the ledger goes",
	"nodes":            "of those that live now",
	"slots":            "of those that live now",
	"changes":          "for those that live now",
	"commits":          "what became of transactions of those that live now",
	"listed_messages":  "made anew from the messages",
	"listed_to":        "says what of that is done",
}

// seeded is the table in which migrations put rows: of those an empty ledger
// has the value 0.
const seeded = "counters"

// settingsTable is the one whose rows an import shows to its caller.
const settingsTable = "settings"

// copyStep is after how many rows an import writes what it has gathered, or
// after how many bytes of the stream.
const (
	copyRows  = 512
	copyBytes = 4 << 20
)

// progressStep is how many rows pass between two words of progress.
const progressStep = 5000

// table is a table as the database itself describes it.
type table struct {
	name    string
	columns []column // by name
	key     []string // the columns of its primary key, in order
}

// columnKinds are the kinds of the types that migrations use.
var columnKinds = map[string]columnKind{
	"integer": integerKind, "bigint": integerKind, "smallint": integerKind,
	"text": textKind, "bytea": bytesKind, "blob": bytesKind,
}

// describe asks the database for a table.
func (d dialect) describe(ctx context.Context, conn *sql.Conn, name string) (t table, err error) {
	t.name = name
	rs, err := conn.QueryContext(ctx, d.columns, name)
	if err != nil {
		return t, fmt.Errorf("describe table %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rs.Close()) }()
	keys := map[string]int{}
	for rs.Next() {
		var c column
		var typ string
		var key int
		if err := rs.Scan(&c.name, &typ, &key); err != nil {
			return t, err
		}
		c.kind = columnKinds[strings.ToLower(typ)]
		if c.kind == "" {
			return t, fmt.Errorf("column %s.%s is of type %s, which no stream knows", name, c.name, typ)
		}
		t.columns = append(t.columns, c)
		if key > 0 {
			keys[c.name] = key
		}
	}
	slices.SortFunc(t.columns, func(a, b column) int { return cmp.Compare(a.name, b.name) })
	t.key = slices.SortedFunc(maps.Keys(keys), func(a, b string) int { return keys[a] - keys[b] })
	if len(t.key) == 0 {
		return t, errors.Join(rs.Err(), fmt.Errorf("table %s is missing, or has no primary key", name))
	}
	return t, rs.Err()
}

func (t table) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

// tally tells somebody now and then how many rows there were.
type tally struct {
	rows int64
	tell func(rows int64)
}

func (t *tally) add() {
	if t.rows++; t.rows%progressStep == 0 {
		t.tell(t.rows)
	}
}

// write writes all tables, as a transaction of the connection sees them.
func (d dialect) write(ctx context.Context, conn *sql.Conn, w *streamWriter, progress func(rows int64)) error {
	tally := tally{tell: progress}
	for _, name := range movedTables {
		t, err := d.describe(ctx, conn, name)
		if err == nil {
			err = w.table(t)
		}
		if err == nil {
			err = t.write(ctx, conn, w, &tally)
		}
		if err != nil {
			return fmt.Errorf("read table %s: %w", name, err)
		}
	}
	progress(tally.rows)
	return nil
}

// query reads the table in the order of its key, which an index gives.
func (t table) query() string {
	return "SELECT " + strings.Join(t.names(), ", ") + " FROM " + t.name + " ORDER BY " + strings.Join(t.key, ", ")
}

func (t table) write(ctx context.Context, conn *sql.Conn, w *streamWriter, tally *tally) (err error) {
	rs, err := conn.QueryContext(ctx, t.query())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rs.Close()) }()
	values, to := make([]any, len(t.columns)), make([]any, len(t.columns))
	for i := range values {
		to[i] = &values[i]
	}
	for rs.Next() {
		if err := rs.Scan(to...); err != nil {
			return err
		}
		if err := w.row(t, values); err != nil {
			return err
		}
		tally.add()
	}
	return rs.Err()
}

// Export writes the whole ledger as it is at this moment to a stream, from
// which Import makes another. Writers go on meanwhile; on SQLite the log grows
// until the export has ended. It holds one row in memory at a time. A ledger that
// this program does not know to the last table is refused.
func (s *Store) Export(ctx context.Context, to io.Writer, progress func(rows int64)) (_ Moved, err error) {
	_, want, err := s.dialect.versions(ctx, s.readers)
	if err != nil {
		return Moved{}, err
	}
	conn, err := s.readers.Conn(ctx)
	if err != nil {
		return Moved{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, q := range append([]string{s.dialect.snapshot}, s.dialect.unhurried...) {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return Moved{}, fmt.Errorf("open a snapshot: %w", err)
		}
	}
	defer func() {
		_, end := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		if err == nil {
			err = end
		}
	}()
	var have int64
	if err := conn.QueryRowContext(ctx, lastMigration).Scan(&have); err != nil {
		return Moved{}, fmt.Errorf("read the schema's version: %w", err)
	}
	if have != want {
		return Moved{}, otherMigration(s.name, have, want)
	}
	w := newStreamWriter(to)
	if err := w.header(have); err != nil {
		return Moved{}, err
	}
	if err := s.dialect.write(ctx, conn, w, progress); err != nil {
		return Moved{}, err
	}
	return w.end()
}

// otherMigration refuses a ledger that is newer than the program.
func otherMigration(ledger string, have, want int64) error {
	return fmt.Errorf("%s is at migration %d, this program knows %d: use the version of openkenar that it was migrated with", ledger, have, want)
}

// Incoming is a stream to import.
type Incoming struct {
	Stream io.Reader
	// Setting is shown each setting before it is written, and may refuse the
	// whole.
	Setting func(name, value string) error
	// Told the number of rows that were written, and that were read back.
	Imported, Checked func(rows int64)
}

// Import fills an empty ledger of this program's migration with an exported
// one. It does so whole or not at all, in one transaction, which also reads
// everything back and holds it against the checksum of the stream; then the
// ledger is audited. The counts of an audit with findings are right: they were in
// the exported ledger too. It holds a few thousand rows in memory.
func Import(ctx context.Context, o Options, in Incoming) (_ Moved, _ delivery.Audit, err error) {
	s, err := Open(ctx, o)
	if err != nil {
		return Moved{}, delivery.Audit{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	have, want, err := s.dialect.versions(ctx, s.readers)
	if err != nil {
		return Moved{}, delivery.Audit{}, err
	}
	if have != want {
		return Moved{}, delivery.Audit{}, otherMigration(s.name, have, want)
	}
	var moved Moved
	if err := s.submit(ctx, &write{run: func(tx *Tx) (err error) { // it takes its time
		moved, err = tx.fill(ctx, in, have)
		return err
	}}); err != nil {
		return Moved{}, delivery.Audit{}, fmt.Errorf("nothing was imported: %w", err)
	}
	audit, err := s.Audit(ctx, in.Checked)
	if err != nil {
		return moved, audit, fmt.Errorf(`the ledger is imported whole, but not verified; run "openkenar verify": %w`, err)
	}
	return moved, audit, nil
}

// fill writes what a stream brings.
func (tx *Tx) fill(ctx context.Context, in Incoming, migration int64) (Moved, error) {
	tables, err := tx.beAlone(ctx)
	if err != nil {
		return Moved{}, err
	}
	r, err := openStream(in.Stream)
	if err != nil {
		return Moved{}, err
	}
	if r.header.Migration != migration {
		return Moved{}, r.fault("the exported ledger is at migration %d, this one at %d: bring both to the same version of openkenar, and export again", r.header.Migration, migration)
	}
	if err := tx.run(`DELETE FROM ` + seeded); err != nil {
		return Moved{}, err
	}
	if err := tx.copy(ctx, r, tables, in); err != nil {
		return Moved{}, err
	}
	// What the engine has kept must give the same stream again.
	w := newStreamWriter(io.Discard)
	if err := w.header(migration); err != nil {
		return Moved{}, err
	}
	if err := tx.store.dialect.write(ctx, tx.store.writing, w, in.Checked); err != nil {
		return Moved{}, err
	}
	back := w.moved()
	for _, name := range movedTables {
		if back.Rows[name] != r.end.Rows[name] {
			return Moved{}, fmt.Errorf("table %s has %d rows, of the %d that came", name, back.Rows[name], r.end.Rows[name])
		}
	}
	if back.SHA256 != r.end.SHA256 {
		return Moved{}, errors.New("what was read back is not what came: the stream is not as openkenar export writes it; export again")
	}
	return back, tx.store.resumeIDs(ctx)
}

// beAlone keeps all others off the tables, which must be empty, and returns
// them.
func (tx *Tx) beAlone(ctx context.Context) ([]table, error) {
	s := tx.store
	if tx.others > 0 {
		return nil, fmt.Errorf("%d servers run on %s: stop them; an import needs an empty ledger to itself", tx.others, s.name)
	}
	for _, q := range slices.Concat(s.dialect.unhurried, s.dialect.lockTables(movedTables)) {
		if err := s.control(ctx, q); err != nil {
			return nil, tx.failed(fmt.Errorf("have %s for this import alone: %w; stop whatever uses it", s.name, err))
		}
	}
	tables := make([]table, len(movedTables))
	for i, name := range movedTables {
		var err error
		if tables[i], err = s.dialect.describe(ctx, s.writing, name); err != nil {
			return nil, err
		}
		q := `SELECT count(*) FROM (SELECT 1 FROM ` + name + ` LIMIT 1) AS first`
		if name == seeded {
			q = `SELECT count(*) FROM ` + name + ` WHERE value <> 0`
		}
		var rows int64
		if _, err := row(ctx, tx, q, nil, &rows); err != nil {
			return nil, err
		}
		if rows > 0 {
			return nil, fmt.Errorf("%s is not empty: there is something in table %s; use a new data directory, or a new database after openkenar migrate", s.name, name)
		}
	}
	return tables, nil
}

// copy writes rows as they come. A stream has all tables, in their order.
func (tx *Tx) copy(ctx context.Context, r *streamReader, tables []table, in Incoming) error {
	var of tableLine
	var kind *bulkKind
	var at, size int
	tally := tally{tell: in.Imported}
	flush := func() error {
		size = 0
		if kind == nil {
			return nil
		}
		return tx.flush([]*bulkKind{kind})
	}
	for {
		values, err := r.read(&of)
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if values == nil {
			if err := flush(); err != nil {
				return err
			}
			if r.end != nil {
				break
			}
			if at == len(tables) || of.Table != tables[at].name || !slices.Equal(of.Columns, tables[at].columns) {
				return r.fault("table %q is not the next of this ledger, or has other columns", of.Table)
			}
			kind = newBulk(of.Table, tables[at].names()...)
			at++
			continue
		}
		if of.Table == settingsTable {
			name, _ := values[0].(string)
			value, _ := values[1].(string)
			if err := in.Setting(name, value); err != nil {
				return err
			}
		}
		tx.add(kind, values...)
		tally.add()
		if size += len(r.line); size >= copyBytes || len(tx.gathered[kind]) >= copyRows*len(values) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if at != len(tables) {
		return r.fault("table %q is missing", tables[at].name)
	}
	in.Imported(tally.rows)
	return nil
}
