package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite" // also the driver "sqlite"
	lib "modernc.org/sqlite/lib"
)

//go:embed migrations
var migrations embed.FS

// dialect is everything in which the engines differ.
type dialect struct {
	driver string
	folder string // of its migrations
	goose  goose.Dialect
	begin  string // starts a transaction that will write
	// exclusive: no other process writes to the ledger.
	exclusive bool
	// placeholder is the nth parameter of a statement with very many. SQLite
	// takes "$1" for a name, and looks names up one after another.
	placeholder func(n int) string
	// storage says whether an error is one of the storage (a full disk, say) and
	// not of the statement.
	storage func(err error) bool
	read    []string
	write   []string
	copy    []string // of a connection that copies the ledger
}

var sqlite = dialect{
	driver:      "sqlite",
	folder:      "migrations/sqlite",
	goose:       goose.DialectSQLite3,
	begin:       "BEGIN IMMEDIATE",
	exclusive:   true, // by the lock on the data directory
	placeholder: func(int) string { return "?" },
	storage: func(err error) bool {
		e, ok := errors.AsType[*sqlite3.Error](err)
		return ok && slices.Contains([]int{
			lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_NOMEM, lib.SQLITE_BUSY, lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN,
		}, e.Code()&0xff)
	},
	write: []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-65536)", "journal_size_limit(67108864)", "wal_autocheckpoint(16000)",
	},
	read: []string{"busy_timeout(10000)", "query_only(1)", "cache_size(-4096)"},
	copy: []string{"busy_timeout(10000)"},
}

func dsn(path string, pragmas []string) string {
	q := url.Values{"_pragma": pragmas}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func (d dialect) writeDSN(path string) string { return dsn(path, d.write) }
func (d dialect) readDSN(path string) string  { return dsn(path, d.read) }

func (d dialect) provider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, d.folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(d.goose, db, files, goose.WithDisableGlobalRegistry(true))
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

// checkVersion refuses a schema that is older than this program needs. A newer
// one is fine: migrations keep older programs working.
func (d dialect) checkVersion(ctx context.Context, db *sql.DB) error {
	p, err := d.provider(db)
	if err != nil {
		return err
	}
	want := p.ListSources()[len(p.ListSources())-1].Version
	have := int64(0)
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if have < want {
		return fmt.Errorf("the schema is at migration %d, this program needs %d: start the server of this version once", have, want)
	}
	return nil
}
