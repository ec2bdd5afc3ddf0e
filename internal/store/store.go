// Package store is the ledger: all SQL of the project, hand-written, over
// database/sql, on SQLite or PostgreSQL. What it has committed is on disk.
//
// There is one writer and many readers. Where several nodes share a ledger each
// has a writer, and these take turns (node.go): what a transaction has read does
// not change under it. The writer takes every write that
// waits, runs them one after another in one transaction, commits once, and
// then answers all of them (group commit). A write that fails after it has
// written something spoils its transaction; then every write of the group runs
// again in a transaction of its own, so that one cannot take another down.
//
// The texts of statements are shared by both engines; what differs is a named
// value of the dialect. Times are stored as microseconds, UTC, 0 for never.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openkenar/openkenar/internal/delivery"
)

const (
	readers    = 8
	groupLimit = 1024 // writes that share a transaction
	queueLimit = 4096 // writes that wait for the writer
)

// Options of Open.
type Options struct {
	Dir  string // where the SQLite ledger lies; made when missing
	File string // its name there; default openkenar.db
	URL  string // of the PostgreSQL database that holds the ledger instead
	// ReadOnly opens the ledger beside a running server. Writes fail.
	ReadOnly bool
	Now      func() time.Time      // the platform's clock, for ids; default time.Now
	Log      *slog.Logger          // default: discard
	Metrics  prometheus.Registerer // default: none are shown
}

// Store is an open ledger.
type Store struct {
	site
	readOnly bool
	db       *sql.DB // the writer's
	readers  *sql.DB
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics

	reading statements
	floors  floors
	moved   sync.Map // partitions whose messages have their content themselves
	// Used by the writer only:
	writing  *sql.Conn           // nil while there is none
	written  map[string]*written // statements of its connection
	bulks    map[bulkSize]*written
	gathered map[*bulkKind][]any // by the last transaction; empty, but for its memory
	commits  uint64              // on its connection
	unlisted int                 // messages, about; where they are listed
	session  int64               // of its connection, and of the one before while there is none
	unmarked int64               // marks below this are gone
	known    known
	lastID   int64
	marked   int64 // the last id that a transaction of any node has marked, at its turn
	alone    bool  // no other node lived at the last turn

	// Of this process among those that share the ledger; 0: none.
	node, presence atomic.Int64

	last readiness

	queue     chan *write
	stop      chan struct{}
	gone      chan struct{} // closed when the writer has ended
	writer    sync.WaitGroup
	closing   sync.Once
	committed func([]delivery.Delivery)
	happened  func(fresh []delivery.Delivery, unsent []string)
	appeared  func(apps []string)
	fed       func()
}

// Open opens the ledger: the SQLite one in a directory, whose schema it brings
// up to date, or the PostgreSQL one at a URL, which Migrate has made.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{
		readOnly: o.ReadOnly, now: o.Now, log: o.Log, metrics: newMetrics(o.Metrics),
		queue: make(chan *write, queueLimit), stop: make(chan struct{}), gone: make(chan struct{}),
		gathered:  map[*bulkKind][]any{},
		committed: func([]delivery.Delivery) {}, appeared: func([]string) {}, fed: func() {},
		happened: func([]delivery.Delivery, []string) {},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.site, err = siteOf(o); err != nil {
		return nil, err
	}
	s.alone = s.dialect.exclusive
	if o.ReadOnly {
		return s, s.openReaders(ctx)
	}
	if s.db, err = s.openWriter(ctx); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1)
	if s.dialect.embedded {
		if err := s.dialect.migrate(ctx, s.db); err != nil {
			return nil, fmt.Errorf("migrate %s: %w", s.name, err)
		}
	}
	if err := s.openReaders(ctx); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", s.name, err)
	}
	s.writer.Go(func() { s.run(context.WithoutCancel(ctx)) })
	return s, s.resumeListing(ctx)
}

func (s *Store) openReaders(ctx context.Context) (err error) {
	if s.readers, err = s.openReader(ctx); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(readers)
	s.readers.SetMaxIdleConns(readers)
	s.reading.db, s.reading.storage = s.readers, s.dialect.storage
	if err := s.dialect.checkVersion(ctx, s.readers); err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	return nil
}

// connect gives the writer a connection, and with it
// ids above every one in the ledger.
func (s *Store) connect(ctx context.Context) error {
	if err := s.disconnect(); err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	if err := s.claim(ctx, conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	s.writing, s.written, s.bulks, s.commits = conn, map[string]*written{}, map[bulkSize]*written{}, 0
	s.known.forgetAll()
	if err := s.resumeIDs(ctx); err != nil {
		return errors.Join(err, s.disconnect())
	}
	return nil
}

// claim makes a connection the writer's, and no session of an earlier one stands
// in its way: a server hears late of a connection that was cut.
func (s *Store) claim(ctx context.Context, conn *sql.Conn) error {
	if s.session != 0 {
		if err := s.dialect.evict(ctx, conn, s.session); err != nil {
			return fmt.Errorf("end the session before: %w", err)
		}
	}
	if err := s.dialect.claim(ctx, conn); err != nil || s.dialect.session == "" {
		return err
	}
	return conn.QueryRowContext(ctx, s.dialect.session).Scan(&s.session)
}

// disconnect gives the writer's connection back.
func (s *Store) disconnect() (err error) {
	if s.writing == nil {
		return nil
	}
	gone := s.connection() == broken
	for _, st := range s.written {
		err = errors.Join(err, st.Close())
	}
	err = errors.Join(err, s.writing.Close())
	s.writing = nil
	if gone {
		return nil
	}
	return err
}

// discard ends the writer's connection, so that the next is another one.
func (s *Store) discard() {
	if s.writing != nil {
		_ = s.writing.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = s.disconnect() // of a connection that is gone
}

// OnCommit sets what is told of new pending deliveries, in the order of the
// ledger, right after they are on disk. It must not block. Set it before the
// first write.
func (s *Store) OnCommit(f func([]delivery.Delivery)) { s.committed = f }

// OnHappen sets what is told, whatever other nodes do, of the new deliveries of
// this one and of the apps that have others which are not sent, right after they
// are on disk. It must not block. Set it before the first write.
func (s *Store) OnHappen(f func(fresh []delivery.Delivery, unsent []string)) { s.happened = f }

// OnAppear sets what is told instead where other nodes write too: only which
// apps have new ones, nil for any, because what others wrote before may have to
// be sent before. It must not block. Set it before the first write.
func (s *Store) OnAppear(f func(apps []string)) { s.appeared = f }

// closeWait is how long Close waits for the group that the writer works on.
const closeWait = time.Second

// Close ends the writer once it has answered the group that it works on, and
// closes the ledger. Writes that still wait fail, with nothing of them done. A
// database that takes longer than a second over that group is cut off, and what
// became of it is not known.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.stop)
		if s.db != nil {
			cut := time.AfterFunc(closeWait, func() { _ = s.db.Close() })
			s.writer.Wait()
			cut.Stop()
		}
		s.reading.close()
		err = s.disconnect()
		for _, db := range []*sql.DB{s.readers, s.db} {
			if db != nil {
				err = errors.Join(err, db.Close())
			}
		}
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
	})
	return err
}

// idShift leaves room for several ids in a microsecond.
const idShift = 10

// idAt is the smallest id of a moment; moments beyond the last id have the last.
func idAt(t time.Time) int64 { return min(t.UnixMicro(), math.MaxInt64>>idShift) << idShift }

// resumeIDs makes sure that ids go on above every one in the ledger, also when
// the machine's clock was set back.
func (s *Store) resumeIDs(ctx context.Context) error {
	for _, q := range []string{
		`SELECT coalesce(max(id), 0) FROM events`, `SELECT coalesce(max(event_id), 0) FROM messages`,
		`SELECT coalesce(max(id), 0) FROM grants`, `SELECT coalesce(max(id), 0) FROM access_tokens`,
		`SELECT coalesce(max(id), 0) FROM subscriptions`, `SELECT coalesce(max(id), 0) FROM api_keys`,
		`SELECT coalesce(max(id), 0) FROM signing_secrets`, `SELECT coalesce(max(id), 0) FROM redeliveries`,
		`SELECT coalesce(max(id), 0) FROM notifications`, `SELECT coalesce(max(id), 0) FROM notices`,
		`SELECT coalesce(max(id), 0) FROM refresh_tokens`, `SELECT coalesce(max(id), 0) FROM audit_log`,
		`SELECT coalesce(max(CAST(value AS BIGINT)), 0) FROM settings WHERE name = '` + prunedTo + `'`,
	} {
		var id int64
		err := s.writing.QueryRowContext(ctx, q).Scan(&id)
		if hasCode(err, lockNotAvailable) {
			return fmt.Errorf("%s is locked, as an import does: wait until it has ended: %w", s.name, err)
		}
		if err != nil {
			return fmt.Errorf("find the last id: %w", err)
		}
		s.lastID = max(s.lastID, id)
	}
	return nil
}

// micros is how a time is stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment is the time behind micros.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
