package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

func TestAuditFindsWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	// In the statements and the findings MESSAGE, POST and TRANSACTION stand
	// for the ids of the events of a world.
	for name, c := range map[string]struct{ change, finding string }{
		"a delivery is deleted":        {`DELETE FROM deliveries WHERE event_id = POST AND app = 'a'`, "event POST: "},
		"a skip is deleted":            {`DELETE FROM deliveries WHERE event_id = POST AND app = 'b'`, "event POST: "},
		"a delivery is made up":        {`UPDATE deliveries SET app = 'c', event_id = MESSAGE WHERE event_id = POST AND app = 'a'`, "event MESSAGE: "},
		"a skip becomes a delivery":    {`UPDATE deliveries SET state = 'canceled' WHERE event_id = POST AND app = 'b'`, "event POST: "},
		"an event is deleted":          {`DELETE FROM events WHERE id = POST`, "delivery POST-a: "},
		"a message's event is deleted": {`DELETE FROM events WHERE id = MESSAGE`, `message "m": `},
		"a post's event is deleted":    {`DELETE FROM events WHERE id = POST`, `post "p": `},
		"a transaction's is deleted":   {`DELETE FROM events WHERE id = TRANSACTION`, `transaction "x": `},
		"a state is made up":           {`UPDATE deliveries SET state = 'lost' WHERE event_id = POST AND app = 'a'`, "delivery POST-a: "},
		"a state is unexplained":       {`UPDATE deliveries SET state = 'canceled' WHERE event_id = POST AND app = 'a'`, "delivery POST-a: "},
		"a skip is unexplained":        {`UPDATE deliveries SET reason = '' WHERE event_id = POST AND app = 'b'`, "delivery POST-b: "},
		"a delivery is never due":      {`UPDATE deliveries SET next_at = 0 WHERE event_id = POST AND app = 'a'`, "delivery POST-a: "},
		"a success is made up":         {`UPDATE deliveries SET state = 'delivered' WHERE event_id = POST AND app = 'a'`, "delivery POST-a: "},
		"a success is taken away":      {`UPDATE attempts SET status = 500`, "delivery MESSAGE-a: "},
		"an attempt is deleted":        {`DELETE FROM attempts`, "delivery MESSAGE-a: "},
		"an attempt is made up": {
			`INSERT INTO attempts (event_id, app, n, at, duration_us, request, status) VALUES (POST, 'a', 1, 0, 0, '', 500)`,
			"delivery POST-a: ",
		},
		"attempts are counted wrongly": {`UPDATE deliveries SET attempts = 2 WHERE event_id = MESSAGE AND app = 'a'`, "delivery MESSAGE-a: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
				here := at(t)
				s := open(t, here)
				w := newWorld(t, s)
				if clean := audit(t, s); clean.Unaccounted != 0 {
					t.Fatalf("before: %q", clean.Findings)
				}
				ids := strings.NewReplacer("MESSAGE", fmt.Sprint(w.message), "POST", fmt.Sprint(w.post), "TRANSACTION", fmt.Sprint(w.transaction))
				res, err := raw(t, here).ExecContext(t.Context(), ids.Replace(c.change))
				ok(t, err)
				if n, err := res.RowsAffected(); n != 1 || err != nil {
					t.Fatalf("%d rows were changed, %v", n, err)
				}
				found := audit(t, s)
				named := slices.ContainsFunc(found.Findings, func(f string) bool { return strings.HasPrefix(f, ids.Replace(c.finding)) })
				if found.Unaccounted == 0 || !named {
					t.Errorf("%d unaccounted for: %q, want one that begins with %q", found.Unaccounted, found.Findings, ids.Replace(c.finding))
				}
			})
		})
	}
}

func audit(t *testing.T, s *store.Store) delivery.Audit {
	t.Helper()
	a, err := s.Audit(t.Context(), func(int64) {})
	ok(t, err)
	return a
}

func TestAuditCountsAllAndNamesTheFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir})
	const events = 150
	write(t, s, func(tx chat.Tx) error {
		for range events {
			if err := happen(tx, tx.NextID(), 0); err != nil {
				return err
			}
		}
		return nil
	})
	_, err := raw(t, store.Options{Dir: dir}).ExecContext(t.Context(), `DELETE FROM deliveries WHERE app = 'a'`)
	ok(t, err)
	got := audit(t, s)
	if got.Unaccounted != events || len(got.Findings) != 100 {
		t.Errorf("%d unaccounted for and %d named, want %d and 100", got.Unaccounted, len(got.Findings), events)
	}
}

// TestAuditAfterPruning: what went by its age is accounted for; what is gone
// above it is not.
func TestAuditAfterPruning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir, Now: func() time.Time { return base }})
	w := newWorld(t, s)
	db := raw(t, store.Options{Dir: dir})
	change := func(q string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), q)
		ok(t, err)
	}
	_, more, err := s.PruneStep(t.Context(), delivery.Pruning{Before: base.Add(time.Hour)}, base)
	ok(t, err)
	if _, found, err := s.Event(t.Context(), w.message); !more || found || err != nil {
		t.Fatalf("the message's event, which is finished, is there: %v", err)
	}
	if a := audit(t, s); a.Unaccounted != 0 || a.Events != 2 || a.Pending != 2 {
		t.Fatalf("after pruning: %+v", a)
	}
	change(fmt.Sprintf(`DELETE FROM deliveries WHERE event_id = %d`, w.post))
	change(fmt.Sprintf(`DELETE FROM events WHERE id = %d`, w.post))
	if a := audit(t, s); a.Unaccounted != 1 || !strings.HasPrefix(a.Findings[0], `post "p": `) {
		t.Errorf("after tampering: %q", a.Findings)
	}
}
