package store_test

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/openkenar/openkenar/internal/store"
)

// statements gathers the texts of what ran in many stores.
type statements struct {
	mu   sync.Mutex
	list []string
}

// of gathers what runs in a store before its test ends.
func (st *statements) of(t *testing.T, s *store.Store) {
	t.Cleanup(func() {
		list, err := s.Statements(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Errorf("gather statements: %v", err)
		}
		st.mu.Lock()
		defer st.mu.Unlock()
		st.list = append(st.list, list...)
	})
}

// scans that are meant: of tables that stay small, or of an index that holds
// no more than the work to be done.
var meantScans = []string{
	"SCAN apps USING COVERING INDEX",
	"SCAN grants USING INDEX grants_unswept",
	"SCAN redeliveries USING INDEX redeliveries_open",
	"SCAN media USING COVERING INDEX media_gone",
	"SCAN CONSTANT ROW",
	"SCAN listed_to", // one row
	"SCAN outcomes",  // the parameters themselves
	"SCAN part",      // so many as were asked for
	"SCAN d USING INDEX deliveries_pending",
}

// wholeLog is the one list that is a table from its end, up to a limit.
const wholeLog = `ORDER BY d.event_id DESC, d.app DESC LIMIT $1`

var parameter = regexp.MustCompile(`\$(\d+)`)

func (st *statements) checkPlans(t *testing.T) {
	here := store.Options{Dir: t.TempDir()}
	open(t, here)
	db := raw(t, here)
	slices.Sort(st.list)
	for _, q := range slices.Compact(st.list) {
		log := strings.HasSuffix(q, wholeLog) && !strings.Contains(q, "d.state = '") && !strings.Contains(q, "d.state IN (")
		if log || !strings.Contains(q, "FROM") && !strings.Contains(q, "UPDATE") {
			continue
		}
		for _, step := range plan(t, db, q) {
			meant := slices.ContainsFunc(meantScans, func(m string) bool { return strings.HasPrefix(step, m) })
			if strings.Contains(q, "FROM listed_messages") && strings.HasSuffix(step, "ORDER BY") {
				t.Errorf("%s in\n%s", step, q) // all of a conversation would be read for a page of it
			}
			if strings.HasPrefix(step, "SCAN ") && !strings.HasSuffix(step, " CONSTANT ROWS") && !meant {
				t.Errorf("%s in\n%s", step, q)
			}
		}
	}
}

// plan returns the steps of a statement.
func plan(t *testing.T, db *sql.DB, q string) (steps []string) {
	t.Helper()
	args := strings.Count(q, "?")
	for _, p := range parameter.FindAllStringSubmatch(q, -1) {
		n, err := strconv.Atoi(p[1])
		ok(t, err)
		args = max(args, n)
	}
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q, make([]any, args)...)
	ok(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var step string
		ok(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	ok(t, rows.Err())
	return steps
}
