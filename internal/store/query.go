package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// statement is a prepared statement that whoever gave it keeps and closes.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// querier gives prepared statements: the readers' pool or the writer's
// transaction.
type querier interface {
	prepared(ctx context.Context, q string) (statement, error)
	// failed is told of an error of a statement, and returns what it comes to.
	failed(err error) error
}

// statements keeps the statements of a pool.
type statements struct {
	db      *sql.DB
	storage func(error) bool // of the dialect
	mu      sync.Mutex
	m       map[string]*sql.Stmt
}

func (s *statements) prepared(ctx context.Context, q string) (statement, error) {
	s.mu.Lock()
	st, ok := s.m[q]
	s.mu.Unlock()
	if ok {
		return st, nil
	}
	// Outside the lock: this may wait for a connection.
	st, err := s.db.PrepareContext(ctx, q)
	if err != nil {
		return nil, s.failed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.m[q]; ok {
		defer func() { _ = st.Close() }()
		return other, nil
	}
	if s.m == nil {
		s.m = map[string]*sql.Stmt{}
	}
	s.m[q] = st
	return st, nil
}

// failed is the error of a statement that the engine has failed.
func (s *statements) failed(err error) error {
	if !s.storage(err) {
		return err
	}
	return unavailable("read", err, "the storage cannot be read now; try again")
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.m {
		_ = st.Close()
	}
}

// written is a statement of the writer's connection.
type written struct {
	*sql.Stmt
	effect
}

// prepared returns a statement on the writer's connection.
func (s *Store) prepared(ctx context.Context, q string) (*written, error) {
	if w, ok := s.written[q]; ok {
		return w, nil
	}
	st, err := s.writing.PrepareContext(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	w := &written{st, effectOf(q)}
	s.written[q] = w
	return w, nil
}

// prepared returns a statement that sees what the transaction has written.
func (tx *Tx) prepared(ctx context.Context, q string) (statement, error) {
	w, err := tx.store.prepared(ctx, q)
	if err != nil {
		return nil, tx.failed(err)
	}
	return w, tx.before(w)
}

// before makes ready for a statement: it sees what the transaction has written,
// and what it changes is known no longer.
func (tx *Tx) before(w *written) error {
	if tx.broken != nil {
		return tx.broken
	}
	for _, table := range w.changes {
		tx.store.known.forget(table)
	}
	return tx.flush(w.sees)
}

// failed notes that the engine has failed a statement. It may have rolled the
// transaction back by itself: what came after that would be committed on its
// own, without what was gathered. So nothing more is done in the transaction.
func (tx *Tx) failed(err error) error {
	if tx.broken == nil {
		tx.broken = err
	}
	return err
}

// exec runs a statement that changes something and returns how many rows did.
func (tx *Tx) exec(q string, args ...any) (int64, error) {
	if err := sound(args); err != nil {
		return 0, err
	}
	st, err := tx.prepared(tx.ctx, q)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(tx.ctx, args...)
	if err != nil {
		tx.writes++
		return 0, tx.failed(err)
	}
	n, err := res.RowsAffected()
	if n > 0 {
		tx.writes++
	}
	return n, err
}

// run is exec for those who do not count.
func (tx *Tx) run(q string, args ...any) error {
	_, err := tx.exec(q, args...)
	return err
}

// sound refuses text that not every engine can store, or look for: a statement
// that failed by it would take others of its group down.
func sound(args []any) error {
	for _, a := range args {
		if text, ok := a.(string); ok && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
			return status.New(status.Invalid, "a text holds a NUL character, or is not UTF-8")
		}
	}
	return nil
}

// legible is a text of somebody else's making as every engine can store it.
// Failure policy: what an app sends back never keeps its outcome from being
// recorded.
func legible(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// row scans the first row; ok is false where there is none.
func row(ctx context.Context, db querier, q string, args []any, dest ...any) (ok bool, err error) {
	if err := sound(args); err != nil {
		return false, err
	}
	st, err := db.prepared(ctx, q)
	if err != nil {
		return false, err
	}
	err = st.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, db.failed(err)
	}
	return true, nil
}

// rows scans all rows through a function.
func rows[T any](ctx context.Context, db querier, scan func(scanner) (T, error), q string, args ...any) ([]T, error) {
	if err := sound(args); err != nil {
		return nil, err
	}
	st, err := db.prepared(ctx, q)
	if err != nil {
		return nil, err
	}
	list, err := scanAll(ctx, st, scan, args)
	if err != nil {
		return list, db.failed(err)
	}
	return list, nil
}

func scanAll[T any](ctx context.Context, st statement, scan func(scanner) (T, error), args []any) ([]T, error) {
	rs, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rs.Close() }()
	var list []T
	for rs.Next() {
		v, err := scan(rs)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rs.Err()
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// object scans free-form JSON; NULL is the nil Object.
type object struct{ to *wire.Object }

// Scan implements sql.Scanner.
func (o object) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*o.to = nil
	case string:
		*o.to = wire.Object(v)
	case []byte:
		*o.to = append(wire.Object(nil), v...)
	default:
		return fmt.Errorf("free-form JSON is a %T", v)
	}
	return nil
}

// placeholder is the nth parameter of a statement.
func placeholder(n int) string { return "$" + strconv.Itoa(n) }

// text stores JSON as text; nil as NULL.
func text[T ~[]byte](b T) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// list stores a list of strings as JSON.
func list[T ~string](l []T) (string, error) {
	if l == nil {
		l = []T{}
	}
	b, err := json.Marshal(l)
	return string(b), err
}
