package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite" // also the driver "sqlite"
	lib "modernc.org/sqlite/lib"
)

const (
	file     = "openkenar.db"
	lockName = "lock"
)

var sqlite = dialect{
	folder:   "migrations/sqlite",
	goose:    goose.DialectSQLite3,
	embedded: true,
	outdated: "start the server of this version once",
	begin: func(ctx context.Context, s *Store) (turn, error) {
		return turn{member: true}, s.control(ctx, "BEGIN IMMEDIATE")
	},
	exclusive: true, // by the lock on the data directory
	// SQLite takes "$1" for a name, and looks names up one after another.
	parameter: func(int, string) string { return "?" },
	claim:     func(context.Context, *sql.Conn) error { return nil },
	state:     func(*sql.Conn) state { return whole },
	storage: func(err error) bool {
		e, ok := errors.AsType[*sqlite3.Error](err)
		return ok && slices.Contains([]int{
			lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_NOMEM, lib.SQLITE_BUSY, lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN,
		}, e.Code()&0xff)
	},
	readOnly: func(error) bool { return false }, // there is no other place to go to
	reason: func(err error) string {
		if e, ok := errors.AsType[*sqlite3.Error](err); ok && e.Code()&0xff == lib.SQLITE_FULL {
			return "the disk is full"
		}
		return "the ledger cannot be written"
	},
	empty:   func(error) bool { return false },
	columns: `SELECT name, type, pk FROM pragma_table_info($1)`,
	messagesIn: func(conversation string) string {
		return "listed_messages l ON l.conversation = " + conversation + " JOIN messages m ON m.event_id = l.event_id"
	},
	snapshot: "BEGIN",
	// The lock on the data directory does.
	lockTables: func([]string) []string { return nil },
}

// What each kind of connection is set to. temp_store keeps in memory what a
// statement of many rows would be undone with, if it failed; it would go to a
// temporary file from 64 KiB on.
var (
	writerPragmas = []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-8192)", "temp_store(MEMORY)", "journal_size_limit(67108864)", "wal_autocheckpoint(16000)",
	}
	readerPragmas = []string{"busy_timeout(10000)", "query_only(1)", "cache_size(-4096)"}
	copierPragmas = []string{"busy_timeout(10000)"}
)

// sqliteSite is a directory: one that has a ledger, to read it, or one that no
// other server uses, which is made when it is missing.
func sqliteSite(o Options) (site, error) {
	path := filepath.Join(o.Dir, cmp.Or(o.File, file))
	s := site{
		dialect: sqlite, name: path, path: path,
		openWriter: func(context.Context) (*sql.DB, error) { return openSQLite(path, writerPragmas) },
		openReader: func(context.Context) (*sql.DB, error) { return openSQLite(path, readerPragmas) },
	}
	if o.ReadOnly {
		if _, err := os.Stat(path); err != nil {
			return s, fmt.Errorf("there is no ledger in %s: %w", o.Dir, err)
		}
		return s, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return s, fmt.Errorf("make the data directory: %w", err)
	}
	var err error
	s.lock, err = lockDir(filepath.Join(o.Dir, lockName))
	return s, err
}

func openSQLite(path string, pragmas []string) (*sql.DB, error) {
	q := url.Values{"_pragma": pragmas}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	return sql.Open("sqlite", dsn.String())
}
