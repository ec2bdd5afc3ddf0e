package storetest

import (
	"sync"
	"testing"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/store"
)

var auditTests = tests{
	"an empty ledger is accounted for":                 auditEmpty,
	"a ledger with one of everything is accounted for": auditEverything,
	"an audit goes through more than it reads at once": auditMany,
	"a ledger that is being written is accounted for":  auditLive,
}

func (l *ledger) audit() delivery.Audit {
	l.t.Helper()
	seen := int64(0)
	a, err := l.Audit(l.ctx(), func(rows int64) {
		if rows < seen {
			l.t.Errorf("progress went from %d back to %d", seen, rows)
		}
		seen = rows
	})
	ok(l.t, err)
	if a.Unaccounted != 0 || len(a.Findings) != 0 || a.Findings == nil {
		l.t.Errorf("%d unaccounted for: %q", a.Unaccounted, a.Findings)
	}
	if looked := a.Events + a.Accepted; seen < looked {
		l.t.Errorf("told of %d rows, there are at least %d", seen, looked)
	}
	return a
}

func auditEmpty(t *testing.T, open opener) {
	l := newLedger(t, open)
	same(t, "audit", l.audit(), delivery.Audit{Findings: []string{}})
}

func auditEverything(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	g := l.grant("a", "user")
	revoked := l.happen(base, pendingOn(g))
	ok(t, l.sweepAll(g))
	l.say(message("m", "c", "user"), pending("a"), skipped("b", "a reason"))
	l.eraseMessage("m")
	again := l.publish("p", "user", pending("a"), pending("b"), pending("c"))
	l.write(func(tx *store.Tx) error {
		x := market.Transaction{ID: "x", App: "a", State: market.TransactionPending, Type: market.Reorder}
		e := event.Event{ID: tx.NextID(), Type: event.PaymentTransaction, At: base, Key: "transaction x", Payload: []byte(`{}`)}
		if err := tx.PutTransaction(x, e.ID, base); err != nil {
			return err
		}
		x.CostRials = 7 // without an event
		if err := tx.PutTransaction(x, 0, base); err != nil {
			return err
		}
		return tx.InsertEvent(e, nil)
	})
	l.record(
		delivered(again, "a", 1), failed(again, "b", 1, base), exhausted(again, "b", 2), failed(again, "c", 1, base),
		failed(revoked, "a", 1, base),
	)
	if done, _, err := l.PutBack(t.Context(), delivery.ID{Event: again, App: "a"}, "by hand", base); !done || err != nil {
		t.Fatalf("put back %t, %v", done, err)
	}
	l.record(delivered(again, "a", 2))

	got := l.audit()
	same(t, "events", got.Events, 4)
	same(t, "accepted", got.Accepted, 6)
	same(t, "delivered", got.Delivered, 1)
	same(t, "pending", got.Pending, 1)
	same(t, "exhausted", got.Exhausted, 1)
	same(t, "canceled", got.Canceled, 2)
	same(t, "skipped", got.Skipped, 1)
	same(t, "attempts", got.Attempts, 6)
}

func auditMany(t *testing.T, open opener) {
	l := newLedger(t, open)
	const events = 5200
	l.happenTimes(events, base, pending("a"), skipped("b", "a reason"))
	got := l.audit()
	same(t, "events", got.Events, events)
	same(t, "pending", got.Pending, events)
	same(t, "skipped", got.Skipped, events)
}

func auditLive(t *testing.T, open opener) {
	l := newLedger(t, open)
	var writing sync.WaitGroup
	for i := range 4 {
		writing.Go(func() {
			for range 50 {
				if err := l.try(t.Context(), join(userName(i))); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		writing.Wait()
	}()
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		l.audit()
	}
	same(t, "events", l.audit().Events, 200)
}
