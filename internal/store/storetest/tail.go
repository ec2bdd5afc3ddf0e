package storetest

import (
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
)

var tailTests = tests{
	"an app's entries come in the order of events, and say what is gone": tailEntries,
	"a page of entries is bounded by its bytes":                          tailBytes,
	"none appears below one that was seen":                               tailOrder,
	"what retention took is remembered for each app":                     tailPruned,
}

// entries returns the entries of the app "a" after an event, without their bodies where
// these are as they should be.
func (l *ledger) entries(after int64) []delivery.Entry {
	l.t.Helper()
	list, err := l.Entries(l.ctx(), "a", after, 1_000_000, 1<<30)
	ok(l.t, err)
	for i, e := range list {
		given := e.Gone == "" && !e.Aside
		if given != (len(e.Body) > 0) || given && !strings.HasPrefix(string(e.Body), `{"type":"POST_UPDATE",`) {
			l.t.Errorf("entry %d has the body %s", i, e.Body)
		}
		list[i].Body = nil
	}
	return list
}

func tailEntries(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	l.app("b")
	g := l.grant("a", "user")
	unsent := event.Verdict{App: "a", State: delivery.Skipped, Reason: delivery.ReasonNoURL}
	unsentOn := unsent
	unsentOn.Grant = g.ID
	entry := func(id, grant int64, gone delivery.Missed, aside bool) delivery.Entry {
		return delivery.Entry{
			Delivery: delivery.Delivery{ID: delivery.ID{Event: id, App: "a"}, Type: string(event.PostUpdate), Grant: grant}, Gone: gone, Aside: aside,
		}
	}
	sent := l.happen(base, pending("a"), pending("b"))
	l.happen(base, pending("b"))
	rests := l.happen(base, pendingOn(g))
	fetched := l.happen(base, unsentOn)
	old := l.happen(base, unsent) // of a program that kept no grant with it
	other := l.happen(base, skipped("a", "another reason"))
	erased := l.publish("q", "owner", pending("a"))
	l.record(delivered(sent, "a", 1), delivered(rests, "a", 1))
	same(t, "entries", l.entries(0), []delivery.Entry{
		entry(sent, 0, "", false), entry(rests, g.ID, "", false), entry(fetched, g.ID, "", false), entry(old, 0, "", true), entry(other, 0, "", true),
		entry(erased, 0, "", false),
	})
	l.revoke(g, base)
	l.write(func(tx *store.Tx) error {
		_, _, err := tx.EraseStep("owner", base)
		return err
	})
	same(t, "entries of which some are gone", l.entries(sent), []delivery.Entry{
		entry(rests, g.ID, delivery.MissedRevoked, false), entry(fetched, g.ID, delivery.MissedRevoked, false), entry(old, 0, "", true),
		entry(other, 0, "", true), entry(erased, 0, delivery.MissedErased, false),
	})
	last, err := l.Last(t.Context())
	ok(t, err)
	same(t, "the last event", last, erased)
	list, err := l.Entries(t.Context(), "a", 0, 2, 1<<30)
	ok(t, err)
	same(t, "a part", len(list), 2)
}

func tailBytes(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	ids := l.happenTimes(10, base, pending("a"))
	one := len(l.bodyOf(ids[0]))
	for size, want := range map[int]int{1: 1, one: 1, one + 1: 2, 3 * one: 3, 100 * one: 10} {
		list, err := l.Entries(t.Context(), "a", 0, 100, size)
		ok(t, err)
		same(t, "entries", len(list), want)
	}
}

// bodyOf returns the body of the webhook to the app "a".
func (l *ledger) bodyOf(id int64) []byte {
	l.t.Helper()
	d, _, _, err := l.Delivery(l.ctx(), delivery.ID{Event: id, App: "a"})
	ok(l.t, err)
	return d.Body
}

// tailOrder reads while many write: whoever goes on from what was seen last has
// seen all in the end.
func tailOrder(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	const writers, each = 20, 20
	done := make(chan []error)
	go func() {
		done <- together(writers, func(int) error {
			for range each {
				if err := l.try(l.ctx(), func(tx *store.Tx) error {
					return tx.InsertEvent(happening(tx.NextID(), base), []event.Verdict{pending("a")})
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	seen, after := 0, int64(0)
	look := func() {
		for _, e := range l.entries(after) {
			if e.ID.Event <= after {
				t.Fatalf("%d appeared below %d", e.ID.Event, after)
			}
			seen, after = seen+1, e.ID.Event
		}
	}
	for writing := true; writing; {
		select {
		case errs := <-done:
			ok(t, errs...)
			writing = false
		default:
		}
		look()
	}
	same(t, "seen", seen, writers*each)
}

func tailPruned(t *testing.T, open opener) {
	l := newLedger(t, open)
	pruned := func(app string) int64 {
		t.Helper()
		id, err := l.Pruned(t.Context(), app)
		ok(t, err)
		return id
	}
	for _, app := range []string{"a", "b", "c"} {
		l.app(app)
		same(t, "pruned at the beginning", pruned(app), int64(0))
	}
	first := l.past(3, 0, pending("a"))
	second := l.past(1, 1, pending("b"), skipped("a", "a reason"))
	waiting := l.past(1, 2, pending("a"))
	for _, id := range first {
		l.record(delivered(id, "a", 1))
	}
	l.record(delivered(second[0], "b", 1))
	l.prune(onDay(10))
	same(t, "of a", pruned("a"), second[0])
	same(t, "of b", pruned("b"), second[0])
	same(t, "of an app without events", pruned("c"), int64(0))
	same(t, "entries of a", len(l.entries(0)), 1)
	l.record(delivered(waiting[0], "a", 1))
	l.prune(onDay(10))
	same(t, "of a, later", pruned("a"), waiting[0])
	same(t, "of b, later", pruned("b"), second[0])
	last, err := l.Last(t.Context())
	ok(t, err)
	if last < waiting[0] {
		t.Errorf("the last event is %d, and %d has happened", last, waiting[0])
	}
}
