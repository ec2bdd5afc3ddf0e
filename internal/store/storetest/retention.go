package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/store"
)

var retentionTests = tests{
	"what is old and finished goes, and nothing else":            pruneEvents,
	"what pruning leaves of things is accounted for":             pruneThings,
	"a step is bounded by events, and by rows":                   pruneSteps,
	"what must stay is passed by, once in a pass":                prunePassesBy,
	"what is put back while a step waits stays":                  pruneBesidePutBack,
	"a ledger that is pruned is accounted for at any moment":     pruneLive,
	"dead tokens and subscriptions go once they explain nothing": pruneAccess,
}

// day is counted from base; ids of days are made as they would have been then.
const day = 24 * time.Hour

func onDay(n int) time.Time { return base.Add(time.Duration(n) * day) }

// past writes n events of a day, with the same verdicts.
func (l *ledger) past(n, days int, verdicts ...event.Verdict) (ids []int64) {
	l.t.Helper()
	at := onDay(days)
	l.write(func(tx *store.Tx) error {
		ids = ids[:0]
		for range n {
			l.serial++
			id := at.UnixMicro()<<10 + l.serial
			if err := tx.InsertEvent(happening(id, at), verdicts); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids
}

// prune goes through a whole pass and returns how many events went in how many
// steps.
func (l *ledger) prune(before time.Time) (events int64, steps int) {
	l.t.Helper()
	at := delivery.Pruning{Before: before}
	for more := true; more; steps++ {
		var err error
		at, more, err = l.PruneStep(l.ctx(), at, before.Add(30*day))
		ok(l.t, err)
		if steps > 10_000 {
			l.t.Fatal("pruning has no end")
		}
	}
	return at.Events, steps
}

// has says whether an event is there.
func (l *ledger) has(id int64) bool {
	l.t.Helper()
	_, found, err := l.Event(l.ctx(), id)
	ok(l.t, err)
	return found
}

func pruneEvents(t *testing.T, open opener) {
	l := newLedger(t, open)
	one := func(days int, verdicts ...event.Verdict) int64 { return l.past(1, days, verdicts...)[0] }
	g := access.Grant{App: "a"}
	old := []int64{
		one(0), one(0, skipped("a", "a reason")), one(0, pendingOn(g)), one(0, pending("a"), pending("b")), one(9, pending("a")),
	}
	kept := []int64{one(0, pending("a"), pending("b")), one(1, pending("a")), one(10, pending("a")), one(11), one(12, pending("a"))}
	l.record(
		delivered(old[2], "a", 1), delivered(old[3], "a", 1), failed(old[3], "b", 1, base), exhausted(old[3], "b", 2),
		exhausted(old[4], "a", 1),
		delivered(kept[0], "a", 1), failed(kept[0], "b", 1, base), failed(kept[1], "a", 1, base), delivered(kept[2], "a", 1), exhausted(kept[4], "a", 1),
	)
	before := l.audit()

	events, _ := l.prune(onDay(10))

	same(t, "events that went", events, int64(len(old)))
	for _, id := range old {
		rows := l.all(delivery.Filter{Event: id})
		if _, log, found, err := l.Delivery(t.Context(), delivery.ID{Event: id, App: "a"}); l.has(id) || len(rows) > 0 || len(log) > 0 || found || err != nil {
			t.Errorf("something is left of event %d: %v", id, err)
		}
	}
	for i, id := range kept {
		same(t, fmt.Sprintf("kept %d is there", i), l.has(id), true)
	}
	same(t, "attempts of one that stays", len(l.attempts(kept[0], "a"))+len(l.attempts(kept[0], "b")), 2)
	same(t, "pending", l.row(kept[0], "b").State, delivery.Pending)
	same(t, "due", len(l.due("a", onDay(20))), 1)

	after := l.audit()
	same(t, "pending before and after", after.Pending, before.Pending)
	same(t, "attempts in the log", after.Attempts, before.Attempts-5)
	events, _ = l.prune(onDay(10))
	same(t, "events that went in the next pass", events, 0)

	l.record(delivered(kept[0], "b", 2), delivered(kept[1], "a", 2))
	events, _ = l.prune(onDay(10))
	same(t, "events that went once they were finished", events, 2)
	l.audit()
}

func pruneThings(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	m := message("m", "c", "user")
	m.Event = l.say(m, skipped("a", "a reason"))
	post := l.publish("p", "user")
	l.write(func(tx *store.Tx) error {
		e := event.Event{ID: tx.NextID(), Type: event.PaymentTransaction, At: base, Key: "transaction x", Payload: []byte(`{}`)}
		x := market.Transaction{ID: "x", App: "a", State: market.TransactionPending, Type: market.Reorder}
		if err := tx.PutTransaction(x, e.ID, base); err != nil {
			return err
		}
		return tx.InsertEvent(e, nil)
	})
	events, _ := l.prune(time.Now().Add(time.Hour)) // when the ids were made
	same(t, "events that went", events, 3)
	same(t, "events that are left", l.audit().Events, 0)

	list, err := l.Messages(t.Context(), "c", 0, 10)
	ok(t, err)
	same(t, "messages", len(list), 1)
	l.write(func(tx *store.Tx) error {
		again := m
		again.Event, again.Hash, again.Payload = tx.NextID(), []byte("h"), []byte(`{}`)
		inserted, err := tx.InsertMessages([]chat.Stored{again})
		if err != nil {
			return err
		}
		stored, _, err := tx.Message(again.ID)
		if inserted[0] || stored.Event != m.Event {
			t.Errorf("a message came twice: %+v", stored)
		}
		return err
	})
	event, found := l.eraseMessage("m")
	same(t, "the event of the erased message", event, m.Event)
	same(t, "the message is found", found, true)
	_, found, err = l.Post(t.Context(), "p")
	ok(t, err)
	same(t, "the post is found", found, true)
	if done, _, err := l.PutBack(t.Context(), delivery.ID{Event: post, App: "a"}, "by hand", base); done || err != nil {
		t.Errorf("what is gone was put back: %v", err)
	}
	l.record(delivered(m.Event, "a", 1)) // an outcome that comes late
	l.audit()
}

func pruneSteps(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.past(1200, 0, skipped("a", "a reason"))
	events, steps := l.prune(onDay(1))
	same(t, "events", events, 1200)
	if steps < 4 {
		t.Errorf("1,200 events took %d steps: they are not bounded", steps)
	}
	var outcomes []delivery.Outcome
	for _, id := range l.past(300, 0, pending("a"), pending("b")) {
		for n := range 9 {
			outcomes = append(outcomes, failed(id, "a", n+1, base))
		}
		outcomes = append(outcomes, exhausted(id, "a", 10), delivered(id, "b", 1))
	}
	l.record(outcomes...)
	events, steps = l.prune(onDay(1))
	same(t, "events with many attempts", events, 300)
	if steps < 3 {
		t.Errorf("300 events with 4,500 rows took %d steps: they are not bounded", steps)
	}
	same(t, "attempts left", l.audit().Attempts, 0)
}

func prunePassesBy(t *testing.T, open opener) {
	l := newLedger(t, open)
	const waiting = 2500
	l.past(waiting, 0, pending("a"))
	l.past(1, 1)
	events, steps := l.prune(onDay(2))
	same(t, "events", events, 1)
	if steps < 5 || steps > 10 {
		t.Errorf("a pass over 2,500 events that wait took %d steps", steps)
	}
	same(t, "pending", l.audit().Pending, waiting)
}

func pruneBesidePutBack(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, open)
		l.app("a")
		// Today's events: in a bubble the clock stands at its beginning.
		list := l.happenTimes(3, time.Now(), pending("a"))
		for _, id := range list {
			l.record(exhausted(id, "a", 1))
		}
		before := time.Now().Add(time.Hour)
		release := l.hold()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if done, _, err := l.PutBack(t.Context(), delivery.ID{Event: list[1], App: "a"}, "by hand", base); !done || err != nil {
				t.Errorf("put back %t, %v", done, err)
			}
		})
		synctest.Wait() // it is in the queue
		waiting.Go(func() {
			if at, _, err := l.PruneStep(t.Context(), delivery.Pruning{Before: before}, before); at.Events != 2 || err != nil {
				t.Errorf("%d events went, %v; want the two that are finished", at.Events, err)
			}
		})
		synctest.Wait() // behind it, having seen all three finished
		release()
		waiting.Wait()
		same(t, "the one put back", l.row(list[1], "a").State, delivery.Pending)
		same(t, "its log", len(l.attempts(list[1], "a")), 1)
		l.audit()
	})
}

func pruneLive(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.write(func(tx *store.Tx) error {
		for i := range 3000 {
			m := message(userName(i), "c", "user")
			verdict := skipped("a", "a reason")
			if i%3 == 0 {
				verdict = pending("a")
			}
			if _, err := say(tx, m, verdict); err != nil {
				return err
			}
		}
		return nil
	})
	before := time.Now().Add(time.Hour)
	at, more := delivery.Pruning{Before: before}, true
	for more {
		var err error
		at, more, err = l.PruneStep(t.Context(), at, before)
		ok(t, err)
		l.audit()
	}
	same(t, "events that went", at.Events, 2000)
	same(t, "pending", l.audit().Pending, 1000)
}

func pruneAccess(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	g := l.grant("a", "user")
	dead := make([]access.Token, 0, 1200)
	for range cap(dead) {
		dead = append(dead, l.token(g, onDay(0)))
	}
	subscribed, revived, living := l.token(g, onDay(0)), l.token(g, onDay(0)), l.token(g, onDay(100))
	asleep := l.token(g, onDay(50)) // dead, and still explaining
	at := base.Add(-time.Hour)
	ok(t, first(l.Register(t.Context(), full(subscribed, subscription{resource: "1"}, at), at)))
	for _, token := range []access.Token{revived, living} { // the second time with another token
		ok(t, first(l.Register(t.Context(), full(token, subscription{resource: "2"}, at), at)))
	}
	ok(t, first(l.Register(t.Context(), full(asleep, subscription{resource: "3"}, at), at)))
	refresh := func(name string, expires time.Time) {
		l.write(func(tx *store.Tx) error {
			return tx.InsertRefresh(oauth.Refresh{
				ID: tx.NextID(), Hash: []byte(name), Family: 1, App: "a", User: "user", Grant: g.ID, ExpiresAt: expires,
			})
		})
	}
	refresh("dead", onDay(0))
	refresh("living", onDay(100))

	now := onDay(70)
	_, steps := l.prune(now.Add(-30 * day))
	if steps < 3 {
		t.Errorf("1,200 tokens took %d steps: they are not bounded", steps)
	}
	for _, token := range slices.Concat(dead, []access.Token{subscribed, revived}) {
		if _, found, err := l.TokenByHash(t.Context(), token.Hash); found || err != nil {
			t.Fatalf("a dead token is there: %v", err)
		}
	}
	for name, token := range map[string]access.Token{"living": living, "asleep": asleep} {
		_, found, err := l.TokenByHash(t.Context(), token.Hash)
		ok(t, err)
		same(t, "the token "+name+" is there", found, true)
	}
	l.write(func(tx *store.Tx) error {
		for name, want := range map[string]bool{"dead": false, "living": true} {
			if _, found, err := tx.Refresh([]byte(name)); found != want || err != nil {
				t.Errorf("the %s refresh token is there: %t, %v", name, found, err)
			}
		}
		return nil
	})
	same(t, "living subscriptions", len(l.live("a", now)), 1)
	for resource, want := range map[string]int{"1": 0, "2": 1, "3": 1} {
		same(t, "subscriptions to "+resource, len(l.concerned("user", resource, now, now.Add(-event.JustEnded))), want)
	}

	// What explains a verdict stays, however short the retention is.
	at70 := delivery.Pruning{Before: onDay(66)}
	if _, _, err := l.PruneStep(t.Context(), at70, now); err != nil {
		t.Fatal(err)
	}
	same(t, "the one that explains", len(l.concerned("user", "3", now, now.Add(-event.JustEnded))), 1)
}

func first(_ bool, err error) error { return err }
