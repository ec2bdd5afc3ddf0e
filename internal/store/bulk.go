package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/openkenar/openkenar/internal/delivery"
)

// bulkKind is a statement with many rows of parameters.
type bulkKind struct {
	table   string
	columns []string
	types   []string // of the columns, where the statement does not tell them
	before  string   // the rows
	same    string   // what every row ends with
	after   string
}

// bulkSizes are how many rows a statement has: few texts, each prepared once,
// and few statements for any number of rows.
var bulkSizes = []int{64, 32, 16, 8, 4, 2, 1}

// bulkSize is a statement of one of these sizes.
type bulkSize struct {
	kind *bulkKind
	rows int
}

// What is the same in nearly all rows of a table is not bound for each: those
// that are as usual have a kind of their own.
var (
	eventRows    = newBulk("events", "id", "type", "order_key", "payload", "at", "deliveries", "skips")
	deliveryRows = newBulk("deliveries",
		"event_id", "app", "slot", "grant_id", "metadata", "state", "reason", "next_at", "why", "finished_at")
	pendingRows = newBulk("deliveries", "event_id", "app", "slot", "grant_id", "metadata", "next_at").
			with("state", string(delivery.Pending)).with("why", delivery.WhyFirst)
	attemptRows = newBulk("attempts",
		"event_id", "app", "n", "at", "duration_us", "request", "status", "answer", "error", "why", "next_at")
	smoothAttemptRows = newBulk("attempts", "event_id", "app", "n", "at", "duration_us", "request", "status", "why")
	participantRows   = newBulk("participants", "user_id", "conversation").ending(" ON CONFLICT DO NOTHING")
	messageRows       = newBulk("messages",
		"event_id", "id", "conversation", "type", "user_id", "app", "sent_at", "hash", "buttons", "media").ending(newIDs)
	plainMessageRows = newBulk("messages", "event_id", "id", "conversation", "type", "user_id", "sent_at", "hash").ending(newIDs)
	// deliveredRows are deliveries that an attempt has finished.
	deliveredRows = &bulkKind{
		columns: []string{"event_id", "app", "finished_at"},
		types:   []string{"BIGINT", "TEXT", "BIGINT"},
		before:  `WITH outcomes (event, of_app, finished) AS (VALUES `,
		after: `) UPDATE deliveries SET state = 'delivered', reason = '', attempts = attempts + 1, next_at = 0, why = '', finished_at = outcomes.finished
			FROM outcomes WHERE event_id = outcomes.event AND app = outcomes.of_app AND state IN ('pending', 'canceled', 'exhausted') RETURNING event_id, app, attempts`,
	}
)

// newIDs keeps messages as they are that are stored already.
const newIDs = " ON CONFLICT (id) DO NOTHING"

// gathered are the tables whose new rows a transaction gathers: they are
// written right before something looks at the table, and at the end.
var gathered = []*bulkKind{eventRows, deliveryRows, pendingRows, attemptRows, smoothAttemptRows, participantRows}

func newBulk(table string, columns ...string) *bulkKind {
	return &bulkKind{table: table, columns: columns, before: "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES "}
}

// with gives every row the same word in one more column.
func (k *bulkKind) with(column, value string) *bulkKind {
	k.before = strings.Replace(k.before, ") VALUES ", ", "+column+") VALUES ", 1)
	k.same += ", '" + value + "'"
	return k
}

func (k *bulkKind) ending(after string) *bulkKind {
	k.after = after
	return k
}

// text is the statement for n rows.
func (k *bulkKind) text(n int, parameter func(n int, typ string) string) string {
	var b strings.Builder
	b.WriteString(k.before)
	for i := range n {
		for j := range k.columns {
			before := ", "
			switch {
			case j == 0 && i == 0:
				before = "("
			case j == 0:
				before = k.same + "), ("
			}
			typ := ""
			if k.types != nil {
				typ = k.types[j]
			}
			b.WriteString(before + parameter(i*len(k.columns)+j+1, typ))
		}
	}
	return b.String() + k.same + ")" + k.after
}

// bulk returns the statement for so many rows.
func (s *Store) bulk(ctx context.Context, kind *bulkKind, rows int) (*written, error) {
	of := bulkSize{kind, rows}
	if w, ok := s.bulks[of]; ok {
		return w, nil
	}
	w, err := s.prepared(ctx, kind.text(rows, s.dialect.parameter))
	if err == nil {
		s.bulks[of] = w
	}
	return w, err
}

// inBulk runs a statement over rows of parameters, one value after another: do
// runs it for some of them and returns how many rows it has changed.
func (tx *Tx) inBulk(kind *bulkKind, args []any, do func(w *written, args []any) (int64, error)) error {
	if err := sound(args); err != nil {
		return err
	}
	for _, size := range bulkSizes {
		for width := size * len(kind.columns); len(args) >= width; args = args[width:] {
			w, err := tx.store.bulk(tx.ctx, kind, size)
			if err != nil {
				return tx.failed(err)
			}
			if err := tx.before(w); err != nil {
				return err
			}
			n, err := do(w, args[:width])
			if err != nil {
				return tx.failed(err)
			}
			tx.writes += int(n)
		}
	}
	return nil
}

// execBulk runs a statement over rows of parameters and returns how many rows
// it has changed.
func (tx *Tx) execBulk(kind *bulkKind, args []any) (changed int64, err error) {
	err = tx.inBulk(kind, args, func(w *written, args []any) (int64, error) {
		result, err := w.ExecContext(tx.ctx, args...)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		changed += n
		return n, err
	})
	return changed, err
}

// queryBulk runs a statement over rows of parameters and scans what it returns.
func queryBulk[T any](tx *Tx, kind *bulkKind, args []any, scan func(scanner) (T, error)) (list []T, err error) {
	err = tx.inBulk(kind, args, func(w *written, args []any) (int64, error) {
		part, err := scanAll(tx.ctx, w, scan, args)
		list = append(list, part...)
		return int64(len(part)), err
	})
	return list, err
}

// gathering is where a transaction gathers rows, in the memory of the last one.
func (s *Store) gathering() map[*bulkKind][]any {
	for kind, args := range s.gathered {
		clear(args)
		s.gathered[kind] = args[:0]
	}
	return s.gathered
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
				w, err := tx.store.bulk(tx.ctx, kind, size)
				if err == nil {
					_, err = w.ExecContext(tx.ctx, args[:width]...)
				}
				if err != nil {
					return tx.failed(fmt.Errorf("insert %d rows into %s: %w", size, kind.table, err))
				}
			}
		}
		clear(tx.gathered[kind])
		tx.gathered[kind] = tx.gathered[kind][:0]
	}
	return nil
}
