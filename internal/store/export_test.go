package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Statements returns the texts of all statements that ran so far.
func (s *Store) Statements(ctx context.Context) ([]string, error) {
	var texts []string
	err := s.write(ctx, func(*Tx) error {
		texts = slices.Collect(maps.Keys(s.written))
		return nil
	})
	s.reading.mu.Lock()
	defer s.reading.mu.Unlock()
	return slices.AppendSeq(texts, maps.Keys(s.reading.m)), err
}

// Probe asks the writer's connection for a value.
func (s *Store) Probe(ctx context.Context, q string, value *string) error {
	return s.writing.QueryRowContext(ctx, q).Scan(value)
}

// FillDisk leaves room for so many pages more.
func (s *Store) FillDisk(ctx context.Context, room int) error {
	var pages int
	if err := s.writing.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	_, err := s.writing.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages+room))
	return err
}

// WriterDB opens a PostgreSQL ledger as the writer does, without its lock.
func WriterDB(ctx context.Context, url string) (*sql.DB, error) {
	s, err := postgresSite(Options{URL: url})
	if err != nil {
		return nil, err
	}
	return s.openWriter(ctx)
}

// MovedTables and LeftOut are what an export knows of tables.
var (
	MovedTables = movedTables
	LeftOut     = leftOut
)

// Restream reads a stream as an import does, and writes what it read.
func Restream(from io.Reader, to io.Writer) error {
	r, err := openStream(from)
	if err != nil {
		return err
	}
	w := newStreamWriter(to)
	if err := w.header(r.header.Migration); err != nil {
		return err
	}
	var of tableLine
	for {
		values, err := r.read(&of)
		if err != nil {
			return err
		}
		t := table{name: of.Table, columns: of.Columns}
		switch {
		case values != nil:
			err = w.row(t, values)
		case r.end != nil:
			_, err = w.end()
			return err
		default:
			err = w.table(t)
		}
		if err != nil {
			return fmt.Errorf("what was read cannot be written: %w", err)
		}
	}
}

// MigrateBefore brings a PostgreSQL ledger to the migration before a named one.
func MigrateBefore(ctx context.Context, url, name string) (err error) {
	s, err := postgresSite(Options{URL: url})
	if err != nil {
		return err
	}
	db, err := s.openWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := s.dialect.provider(db)
	if err != nil {
		return err
	}
	for _, source := range p.ListSources() {
		if strings.HasSuffix(source.Path, "_"+name+".sql") {
			_, err = p.UpTo(ctx, source.Version-1)
			return err
		}
	}
	return fmt.Errorf("no migration %s", name)
}

// DueDeliveries is the statement of Due.
const DueDeliveries = dueDeliveries

// Floor is from where on Due looks, in microseconds.
func (s *Store) Floor(app string) int64 {
	look := s.floors.look(app)
	look.end(nil, 0, time.Time{}, context.Canceled)
	return look.from
}

// MakePartitions is Partition of a process of its own.
func MakePartitions(ctx context.Context, url string, retention time.Duration, now time.Time) (err error) {
	db, err := WriterDB(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return makePartitions(ctx, db, partitionSpan(retention), now)
}

// ErrBusy says that partitions cannot be changed now.
var ErrHeld = errHeld
