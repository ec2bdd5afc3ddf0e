package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// The transactions are READ COMMITTED: one begins by waiting for its turn, and
// what it reads then is what those before it have committed. A snapshot of the
// whole transaction would be from before the wait. Whether they may write is left
// to the database: one that was set to read only is so for a reason (its disk is
// nearly full, it is no longer the primary).
var postgres = dialect{
	folder:      "migrations/postgres",
	goose:       goose.DialectPostgres,
	locker:      lock.NewPostgresSessionLocker,
	outdated:    `run "openkenar migrate"`,
	begin:       takeTurn,
	end:         endTurn,
	replan:      "DISCARD PLANS",
	partitioned: true,
	parameter: func(n int, typ string) string {
		if typ != "" {
			typ = "::" + typ
		}
		return "$" + strconv.Itoa(n) + typ
	},
	claim:    claimPostgres,
	session:  `SELECT pg_backend_pid()`,
	evict:    evictPostgres,
	state:    statePostgres,
	storage:  storagePostgres,
	readOnly: func(err error) bool { return hasCode(err, readOnlyTransaction) },
	reason:   reasonPostgres,
	empty:    func(err error) bool { return hasCode(err, undefinedTable) },
	columns: `SELECT a.attname, format_type(a.atttypid, NULL), coalesce(array_position(CAST(i.indkey AS int2[]), a.attnum) + 1, 0)
		FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`,
	messagesIn: func(conversation string) string { return "messages m ON m.conversation = " + conversation },
	snapshot:   "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
	unhurried:  []string{"SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0"},
	lockTables: func(names []string) []string {
		return []string{"LOCK TABLE " + strings.Join(names, ", ")}
	},
}

// What the connections are set to. The tables of a ledger grow faster than
// statistics follow, so plans must not hang on them. All statements are written
// for one kind of plan, nested loops over indexes, the only one that SQLite has.
var (
	connectionSettings = map[string]string{
		"application_name": "openkenar",
		"enable_seqscan":   "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_sort": "off",
		// Most of all not by reading an index from end to end, which is cheaper than
		// looking things up in it only as long as it is small.
		"seq_page_cost": "0.001", "random_page_cost": "0.001",
		"jit": "off", "max_parallel_workers_per_gather": "0",
		// A machine that vanishes holds its locks this long at most.
		"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
		// A node that stands still in the middle of its turn has had it.
		"idle_in_transaction_session_timeout": "5s",
	}
	// A statement of the writer is short. One that waits for a lock that somebody
	// has taken by hand fails, and with it nothing but its group.
	writerSettings = map[string]string{"statement_timeout": "20s", "lock_timeout": "5s"}
	readerSettings = map[string]string{"statement_timeout": "60s"}
)

const (
	connectTimeout = 3 * time.Second // of each host, unless the URL says otherwise
	// How long an answer may take, somewhat more than a statement may. A COMMIT
	// takes longer where it waits for a standby that is gone.
	longestWrite = 30 * time.Second
	longestRead  = 70 * time.Second
	// silence is how long the machine of the database may not answer at all
	// before a connection counts as broken: else a writer could hang for the
	// quarter of an hour that the system goes on trying.
	silence = 30 * time.Second
)

// postgresSite is a database.
func postgresSite(o Options) (site, error) {
	config, err := parsePostgres(o.URL)
	if err != nil {
		return site{}, err
	}
	name := fmt.Sprintf("database %s at %s", config.Database, strings.Join(hosts(config), ", "))
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return site{
		dialect: postgres,
		name:    name,
		openWriter: func(ctx context.Context) (*sql.DB, error) {
			writer := config.Copy()
			writer.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
			return openPostgres(writer, writerSettings, newLink(ctx, name, longestWrite, log)), nil
		},
		openReader: func(ctx context.Context) (*sql.DB, error) {
			reader := config.Copy()
			if !o.ReadOnly && len(hosts(config)) > 1 {
				// Not from a standby, nor from a primary of yesterday.
				reader.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
			}
			// Behind that check, which would take it for a server that only reads.
			reader.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
				return c.Exec(ctx, "SET default_transaction_read_only = on").Close()
			}
			return openPostgres(reader, readerSettings, newLink(ctx, name, longestRead, log)), nil
		},
		listener: func(ctx context.Context) (*pgx.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout*time.Duration(len(hosts(config)))) // one may be gone
			defer cancel()
			hearer := config.Copy()
			maps.Copy(hearer.RuntimeParams, connectionSettings)
			hearer.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
			return pgx.ConnectConfig(ctx, hearer)
		},
	}, nil
}

// hosts returns the addresses of a database.
func hosts(config *pgx.ConnConfig) []string {
	all := []string{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	for _, f := range config.Fallbacks {
		if address := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// CheckURL says what is wrong with the URL of a database, and nothing of its
// password.
func CheckURL(text string) error {
	_, err := parsePostgres(text)
	return err
}

func parsePostgres(text string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("not the URL of a PostgreSQL database; write postgres://USER:PASSWORD@HOST:PORT/NAME, with what is special escaped")
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("the URL of the database: %w", err) // pgx masks passwords
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.DialFunc = (&net.Dialer{
		Control:         limitSilence,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 6, Count: 3},
	}).DialContext
	return config, nil
}

func openPostgres(config *pgx.ConnConfig, more map[string]string, l *link) *sql.DB {
	for _, settings := range []map[string]string{connectionSettings, more} {
		maps.Copy(config.RuntimeParams, settings)
	}
	config.DialFunc = l.dial(config.DialFunc)
	l.connector = stdlib.GetConnector(*config)
	return sql.OpenDB(l)
}

// evictPostgres ends a session of ours that a server may not know yet to be
// gone, if it still has its turn.
func evictPostgres(ctx context.Context, c *sql.Conn, session int64) error {
	_, err := c.ExecContext(ctx, fmt.Sprintf(`SELECT pg_terminate_backend(pid) FROM pg_locks
		WHERE pid = $1 AND locktype = 'advisory' AND granted AND classid = %d AND objid = CAST(hashtext(current_schema()) AS OID)
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, turnLock), session)
	return err
}

// claimPostgres makes sure that what is answered is on disk, and on that of a
// synchronous standby, whatever the database is set to; a setting that asks for
// more stays.
func claimPostgres(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') <> 'remote_apply'`)
	return err
}

// migrateTries is how often a migration that others stand in the way of is
// tried; each makes writers wait for half a second.
const migrateTries = 20

// statePostgres knows what COMMIT does not tell: of a transaction in which a
// statement failed it makes a rollback, without an error.
func statePostgres(c *sql.Conn) state {
	s := broken
	_ = c.Raw(func(driver any) error {
		switch pg := driver.(*stdlib.Conn).Conn().PgConn(); {
		case pg.IsClosed():
		case pg.TxStatus() == 'E':
			s = failed
		default:
			s = whole
		}
		return nil
	})
	return s
}

// Codes of errors.
const (
	undefinedTable      = "42P01"
	lockNotAvailable    = "55P03"
	notAllowed          = "42501"
	readOnlyTransaction = "25006"
	diskFull            = "53100"
	tooManyConnections  = "53300"
)

// storagePostgres knows errors of the connection, of resources, the operator and
// the system (classes 08, 53, 57, 58), of a database that only reads, and of a
// lock that somebody holds for long. What the database itself has not said is of
// the way to it.
func storagePostgres(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{"08", "53", "57", "58"}, e.Code[:2]) || e.Code == readOnlyTransaction || e.Code == lockNotAvailable
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	return connecting || network || errors.Is(err, errDown) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// reasonPostgres says in a few words what an error of the storage is.
func reasonPostgres(err error) string {
	switch {
	case hasCode(err, diskFull):
		return "the disk of the database is full"
	case hasCode(err, tooManyConnections):
		return "the database has no connection left"
	case hasCode(err, readOnlyTransaction), errors.Is(err, pgconn.ErrReadOnlyConnection):
		return "the database only reads"
	case errors.Is(err, errBusy):
		return errBusy.Error()
	default:
		return errDown.Error()
	}
}

// hasCode says whether the database itself has refused, for this reason.
func hasCode(err error, code string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == code
}

// Migrate brings the schema of a PostgreSQL ledger up to date, and says from
// which migration to which.
func Migrate(ctx context.Context, o Options) (from, to int64, err error) {
	s, err := postgresSite(o)
	if err != nil {
		return 0, 0, err
	}
	config, err := parsePostgres(o.URL)
	if err != nil {
		return 0, 0, err
	}
	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	db := stdlib.OpenDB(*config) // planned as PostgreSQL sees fit
	defer func() { err = errors.Join(err, db.Close()) }()
	if from, to, err = s.dialect.versions(ctx, db); err != nil {
		return 0, 0, fmt.Errorf("migrate %s: %w", s.name, err)
	}
	for try := 1; ; try++ {
		if err = s.dialect.migrate(ctx, db); err == nil || !passes(err) || try == migrateTries {
			break
		}
		select {
		case <-time.After(alterPause):
		case <-ctx.Done():
			return from, to, ctx.Err()
		}
	}
	if passes(err) {
		err = fmt.Errorf("%w; others use its tables and do not let go: end what they left open, and run it again", err)
	}
	if err == nil {
		err = makePartitions(ctx, db, partitionSpan(usualRetention), time.Now())
	}
	if err != nil && !errors.Is(err, errHeld) { // then others make partitions, or will
		return from, to, fmt.Errorf("migrate %s: %w", s.name, err)
	}
	return from, max(from, to), nil
}
