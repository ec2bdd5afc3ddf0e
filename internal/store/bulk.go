package store

import (
	"context"
	"fmt"
	"strings"
)

// bulkKind is a table whose new rows a transaction gathers, and writes many at
// a time: right before something looks at the table, and at the end.
type bulkKind struct {
	table   string
	columns []string
}

// bulkSizes are how many rows a statement has: few texts, each prepared once.
var bulkSizes = []int{64, 8, 1}

// bulkSize is a statement of one of these sizes.
type bulkSize struct {
	kind *bulkKind
	rows int
}

var (
	eventRows    = newBulk("events", "id", "type", "order_key", "payload", "at", "deliveries", "skips")
	deliveryRows = newBulk("deliveries",
		"event_id", "app", "slot", "grant_id", "metadata", "state", "reason", "next_at", "why", "finished_at")
	attemptRows = newBulk("attempts",
		"event_id", "app", "n", "at", "duration_us", "request", "status", "answer", "error", "why", "next_at")
	bulkKinds = []*bulkKind{eventRows, deliveryRows, attemptRows}
)

func newBulk(table string, columns ...string) *bulkKind {
	return &bulkKind{table: table, columns: columns}
}

// insert is the statement for n rows.
func (k *bulkKind) insert(n int, placeholder func(n int) string) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + k.table + " (" + strings.Join(k.columns, ", ") + ") VALUES ")
	for i := range n {
		for j := range k.columns {
			before := ", "
			switch {
			case j == 0 && i == 0:
				before = "("
			case j == 0:
				before = "), ("
			}
			b.WriteString(before + placeholder(i*len(k.columns)+j+1))
		}
	}
	return b.String() + ")"
}

// bulkInsert returns the statement that inserts so many rows.
func (s *Store) bulkInsert(ctx context.Context, kind *bulkKind, size int) (*written, error) {
	of := bulkSize{kind, size}
	if w, ok := s.bulks[of]; ok {
		return w, nil
	}
	w, err := s.prepared(ctx, kind.insert(size, s.dialect.placeholder))
	if err == nil {
		s.bulks[of] = w
	}
	return w, err
}

// add gathers a row.
func (tx *Tx) add(kind *bulkKind, row ...any) {
	tx.writes++
	tx.gathered[kind] = append(tx.gathered[kind], row...)
}

// flush writes the rows that were gathered of some kinds.
func (tx *Tx) flush(kinds []*bulkKind) error {
	for _, kind := range kinds {
		args := tx.gathered[kind]
		for _, size := range bulkSizes {
			for width := size * len(kind.columns); len(args) >= width; args = args[width:] {
				st, err := tx.store.bulkInsert(tx.ctx, kind, size)
				if err == nil {
					_, err = st.ExecContext(tx.ctx, args[:width]...)
				}
				if err != nil {
					return fmt.Errorf("insert %d rows into %s: %w", size, kind.table, err)
				}
			}
		}
		clear(tx.gathered[kind])
		tx.gathered[kind] = tx.gathered[kind][:0]
	}
	return nil
}
