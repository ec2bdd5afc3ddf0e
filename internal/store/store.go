// Package store is the ledger: all SQL of the project, hand-written, over
// database/sql. What it has committed is on disk.
//
// There is one writer and many readers. The writer takes every write that
// waits, runs them one after another in one transaction, commits once, and
// then answers all of them (group commit). A write that fails after it has
// written something spoils its transaction; then every write of the group runs
// again in a transaction of its own, so that one cannot take another down.
//
// The texts of statements are shared by both engines; what differs is a named
// value of the dialect. Times are stored as microseconds, UTC, 0 for never.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openkenar/openkenar/internal/delivery"
)

const (
	file       = "openkenar.db"
	lockName   = "lock"
	readers    = 8
	groupLimit = 1024 // writes that share a transaction
	queueLimit = 4096 // writes that wait for the writer
)

// Options of Open.
type Options struct {
	Dir  string // where the SQLite ledger lies; made when missing
	File string // its name there; default openkenar.db
	// ReadOnly opens the ledger beside a running server. Writes fail.
	ReadOnly bool
	Now      func() time.Time      // the platform's clock, for ids; default time.Now
	Log      *slog.Logger          // default: discard
	Metrics  prometheus.Registerer // default: none are shown
}

// Store is an open ledger.
type Store struct {
	dialect dialect
	path    string
	db      *sql.DB // the writer's
	read    *sql.DB
	now     func() time.Time
	log     *slog.Logger
	lock    *os.File
	metrics *metrics

	reading statements
	writing *sql.Conn
	// Used by the writer only:
	written map[string]*written // statements of its connection
	bulks   map[bulkSize]*written
	known   known
	lastID  int64

	queue     chan *write
	stop      chan struct{}
	gone      chan struct{} // closed when the writer has ended
	writer    sync.WaitGroup
	closing   sync.Once
	committed func([]delivery.Delivery)
	fed       func()
}

// Open opens the ledger in a directory and brings its schema up to date.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{
		dialect: sqlite, path: filepath.Join(o.Dir, cmp.Or(o.File, file)), now: o.Now, log: o.Log, metrics: newMetrics(o.Metrics),
		queue: make(chan *write, queueLimit), stop: make(chan struct{}), gone: make(chan struct{}), written: map[string]*written{}, bulks: map[bulkSize]*written{},
		committed: func([]delivery.Delivery) {}, fed: func() {},
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
	if o.ReadOnly {
		if _, err := os.Stat(s.path); err != nil {
			return nil, fmt.Errorf("there is no ledger in %s: %w", o.Dir, err)
		}
		return s, s.openReaders(ctx)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if s.lock, err = lockDir(filepath.Join(o.Dir, lockName)); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open(s.dialect.driver, s.dialect.writeDSN(s.path)); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1)
	if err := s.dialect.migrate(ctx, s.db); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", s.path, err)
	}
	if err := s.openReaders(ctx); err != nil {
		return nil, err
	}
	if s.writing, err = s.db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", s.path, err)
	}
	if err := s.resumeIDs(ctx); err != nil {
		return nil, err
	}
	s.writer.Go(func() { s.run(context.WithoutCancel(ctx)) })
	return s, nil
}

func (s *Store) openReaders(ctx context.Context) (err error) {
	if s.read, err = sql.Open(s.dialect.driver, s.dialect.readDSN(s.path)); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	s.reading.db = s.read
	if err := s.dialect.checkVersion(ctx, s.read); err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	return nil
}

// OnCommit sets what is told of new pending deliveries, in the order of the
// ledger, right after they are on disk. It must not block. Set it before the
// first write.
func (s *Store) OnCommit(f func([]delivery.Delivery)) { s.committed = f }

// Close ends the writer once it has answered the group that it works on, and
// closes the ledger. Writes that still wait fail, with nothing of them done.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.stop)
		s.writer.Wait()
		s.reading.close()
		if s.writing != nil {
			for _, st := range s.written {
				err = errors.Join(err, st.Close())
			}
			err = errors.Join(err, s.writing.Close())
		}
		for _, db := range []*sql.DB{s.read, s.db} {
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
		`SELECT coalesce(max(id), 0) FROM refresh_tokens`,
		`SELECT coalesce(max(CAST(value AS BIGINT)), 0) FROM settings WHERE name = '` + prunedTo + `'`,
	} {
		var id int64
		if err := s.read.QueryRowContext(ctx, q).Scan(&id); err != nil {
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
