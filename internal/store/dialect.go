package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// dialect is everything in which the engines differ.
type dialect struct {
	folder string // of its migrations
	goose  goose.Dialect
	// locker keeps others from migrating meanwhile; nil where nobody else can.
	locker func(...lock.SessionLockerOption) (lock.SessionLocker, error)
	// embedded: the ledger belongs to the server alone, which migrates it itself.
	embedded bool
	outdated string // what to do about a schema that is too old
	// begin starts a transaction that will write, when its turn has come.
	begin func(context.Context, *Store) (turn, error)
	// end is the last statement of a transaction before its COMMIT: it leaves a
	// mark by which it is known whether it came to be. Nil where a COMMIT cannot
	// lose its answer.
	end func(*Tx) (mark int64, err error)
	// replan forgets plans, which were made for a smaller ledger; may be empty.
	replan string
	// exclusive: no other process writes to the ledger.
	exclusive bool
	// partitioned: events, deliveries and attempts are, by ranges of event ids.
	partitioned bool
	// parameter is the nth parameter of a statement with very many, of a type
	// where the statement does not tell it.
	parameter func(n int, typ string) string
	// messagesIn joins the messages m of a conversation.
	messagesIn func(conversation string) string
	// claim makes a connection fit for a writer.
	claim func(ctx context.Context, c *sql.Conn) error
	// session names the session of a connection, and evict ends one that may
	// have outlived it; empty where there are none.
	session string
	evict   func(ctx context.Context, c *sql.Conn, session int64) error
	state   func(*sql.Conn) state
	// storage says whether an error is one of the storage (a full disk, say) and
	// not of the statement; readOnly, that this place takes no writes at all;
	// reason, what it is, in a few words without a secret.
	storage, readOnly func(error) bool
	reason            func(error) string
	// empty: an error says that there is no schema at all.
	empty func(error) bool
	// columns of the table $1: name, type, and place in the primary key from 1.
	columns string
	// snapshot starts a transaction that sees one moment; unhurried lets a
	// transaction take as long as it needs.
	snapshot  string
	unhurried []string
	// lockTables keeps all others off tables until the transaction ends.
	lockTables func(names []string) []string
}

// state is what a connection is good for.
type state int

const (
	whole  state = iota
	failed       // its transaction can only be rolled back
	broken       // it is gone
)

// site is where a ledger lies and how it is reached.
type site struct {
	dialect    dialect
	name       string   // for people; it holds no secret
	path       string   // of the file of an embedded one
	lock       *os.File // keeps others off that
	openWriter func(context.Context) (*sql.DB, error)
	openReader func(context.Context) (*sql.DB, error)
	listener   func(context.Context) (*pgx.Conn, error) // where several nodes write
}

// siteOf returns where the options say.
func siteOf(o Options) (site, error) {
	if o.URL != "" {
		return postgresSite(o)
	}
	return sqliteSite(o)
}

func (d dialect) provider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, d.folder)
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.locker != nil {
		locker, err := d.locker()
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(d.goose, db, files, options...)
}

// migrate brings the schema up to date.
func (d dialect) migrate(ctx context.Context, db *sql.DB) error {
	p, err := d.provider(db)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

const lastMigration = `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`

// versions returns the last migration that a ledger has had, and the last one
// that this program has.
func (d dialect) versions(ctx context.Context, db *sql.DB) (have, want int64, err error) {
	p, err := d.provider(db)
	if err != nil {
		return 0, 0, err
	}
	want = p.ListSources()[len(p.ListSources())-1].Version
	err = db.QueryRowContext(ctx, lastMigration).Scan(&have)
	if err != nil && !d.empty(err) {
		return 0, 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return have, want, nil
}

// checkVersion refuses a schema that is older than this program needs. A newer
// one is fine: migrations keep older programs working.
func (d dialect) checkVersion(ctx context.Context, db *sql.DB) error {
	have, want, err := d.versions(ctx, db)
	if err != nil {
		return err
	}
	if have < want {
		return fmt.Errorf("the schema is at migration %d, this program needs %d: %s", have, want, d.outdated)
	}
	return nil
}
