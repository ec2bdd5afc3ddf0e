package storetest

import (
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

var deliveryTests = tests{
	"due deliveries come by their time, then by event, up to a limit":            dueOrder,
	"what falls due before what was seen is due too":                             dueEarlier,
	"the next one due is the first after now":                                    nextDue,
	"apps wait that have pending deliveries":                                     waiting,
	"the most overdue delivery of all apps is found":                             oldestDue,
	"an outcome changes the delivery and adds to its log":                        outcomes,
	"what an app answers never keeps its outcome from being recorded":            illegible,
	"what was canceled while it was sent stays canceled unless it was delivered": canceledWhileSent,
	"what is due and rests on a revoked grant says so":                           dueRevoked,
	"500 outcomes at once, from 20 recorders, are all in the log":                manyOutcomes,
}

func dueOrder(t *testing.T, open opener) {
	l := newLedger(t, open)
	third := l.happen(base.Add(2*time.Minute), pending("a"))
	first := l.happen(base, pending("a"), pending("b"))
	second := l.happen(base, pending("a"))
	l.happen(base.Add(time.Hour), pending("a")) // not due yet
	done := l.happen(base, pending("a"))
	l.record(delivered(done, "a", 1))
	l.happen(base, skipped("a", "a reason"))

	now := base.Add(2 * time.Minute)
	due := func(limit int) (events []int64) {
		t.Helper()
		list, err := l.Due(t.Context(), "a", now, limit)
		ok(t, err)
		for _, d := range list {
			events = append(events, d.ID.Event)
		}
		return events
	}
	same(t, "all", due(10), []int64{first, second, third})
	same(t, "the first two", due(2), []int64{first, second})
	now = now.Add(-time.Microsecond)
	same(t, "a moment before", due(10), []int64{first, second})
	same(t, "of an unknown app", len(l.due("nobody", now)), 0)
}

func dueEarlier(t *testing.T, open opener) {
	l := newLedger(t, open)
	now := base.Add(time.Hour)
	due := func(want ...int64) {
		t.Helper()
		got := []delivery.ID{}
		for _, d := range l.due("a", now) {
			got = append(got, d.ID)
		}
		same(t, "due", got, ids("a", want...))
	}
	last := l.happen(now, pending("a"))
	due(last)
	first := l.happen(base, pending("a"))
	due(first, last)
	l.record(delivered(first, "a", 1), delivered(last, "a", 1))
	due()

	if done, _, err := l.PutBack(t.Context(), delivery.ID{Event: last, App: "a"}, "by hand", base.Add(time.Second)); !done || err != nil {
		t.Fatalf("put back %t, %v", done, err)
	}
	due(last)
	l.record(failed(last, "a", 2, base.Add(2*time.Second)))
	due(last)
	now = base.Add(time.Second) // the clock was set back
	due()
	again := l.happen(base, pending("a"))
	due(again)
	l.record(delivered(again, "a", 1))
	due()
	now = base.Add(time.Hour)
	due(last)
	l.record(delivered(last, "a", 3))

	_, err := l.StartPuttingBack(t.Context(), delivery.Selection{State: delivery.Delivered}, 3, base)
	ok(t, err)
	for more := true; more; {
		var err error
		_, more, err = l.RedeliverStep(t.Context(), "in bulk", base)
		ok(t, err)
	}
	due(last, first, again) // by event, as it is one moment
}

func nextDue(t *testing.T, open opener) {
	l := newLedger(t, open)
	next := func(app string, now time.Time) time.Time {
		t.Helper()
		at, err := l.NextDue(t.Context(), app, now)
		ok(t, err)
		return at
	}
	later := base.Add(time.Hour + time.Microsecond)
	l.happen(later, pending("a"))
	l.happen(base, pending("a"))
	l.happen(base.Add(time.Minute), pending("b"))
	l.record(delivered(l.happen(base.Add(time.Minute), pending("a")), "a", 1))

	same(t, "before all", next("a", base.Add(-time.Microsecond)), base)
	same(t, "after the first", next("a", base), later)
	same(t, "after the last", next("a", later), time.Time{})
	same(t, "of an unknown app", next("nobody", base), time.Time{})
}

func waiting(t *testing.T, open opener) {
	l := newLedger(t, open)
	for _, app := range []string{"d", "c", "b", "a"} {
		l.app(app)
	}
	l.happen(base, pending("d"), skipped("c", "a reason"), pending("b"))
	l.happen(base.Add(time.Hour), pending("a"))
	l.record(delivered(l.happen(base, pending("c")), "c", 1))
	got, err := l.Waiting(t.Context())
	ok(t, err)
	same(t, "waiting", got, []string{"a", "b", "d"})
}

func oldestDue(t *testing.T, open opener) {
	l := newLedger(t, open)
	oldest := func() time.Time {
		t.Helper()
		at, err := l.OldestDue(t.Context())
		ok(t, err)
		return at
	}
	same(t, "without apps", oldest(), time.Time{})
	l.app("a")
	l.app("b")
	l.app("idle")
	same(t, "without deliveries", oldest(), time.Time{})
	l.happen(base.Add(time.Hour), pending("a"))
	first := l.happen(base, pending("b"))
	l.happen(base, skipped("a", "a reason"))
	same(t, "the first", oldest(), base)
	l.record(delivered(first, "b", 1))
	same(t, "the next, of another app", oldest(), base.Add(time.Hour))
}

func outcomes(t *testing.T, open opener) {
	next := base.Add(5*time.Second + time.Microsecond)
	decided := func(event int64) delivery.Outcome { // without a send
		return delivery.Outcome{ID: delivery.ID{Event: event, App: "a"}, State: delivery.Canceled, Reason: "revoked"}
	}
	broken := func(event int64) delivery.Outcome { // off in a send
		o := decided(event)
		o.Attempt = attempt(1, 0)
		o.Attempt.Answer, o.Attempt.Error = nil, "canceled"
		return o
	}
	for name, outcome := range map[string]func(event int64) delivery.Outcome{
		"delivered":              func(e int64) delivery.Outcome { return delivered(e, "a", 1) },
		"to be retried":          func(e int64) delivery.Outcome { return failed(e, "a", 1, next) },
		"exhausted":              func(e int64) delivery.Outcome { return exhausted(e, "a", 1) },
		"canceled without send":  decided,
		"canceled within a send": broken,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t, open)
			id, other := l.happen(base, pending("a"), pending("b")), l.happen(base, pending("a"))
			o := outcome(id)
			l.record(o)

			want := delivery.Row{ID: o.ID, Type: "POST_UPDATE", State: o.State, Reason: o.Reason, NextAt: o.NextAt, At: base}
			var log []delivery.Attempt
			if o.Attempt != nil {
				want.Attempts, log = 1, []delivery.Attempt{*o.Attempt}
			}
			same(t, "delivery", l.row(id, "a"), want)
			same(t, "log", l.attempts(id, "a"), log)
			same(t, "that of the other app", l.row(id, "b").State, delivery.Pending)
			same(t, "that of the other event", l.row(other, "a").State, delivery.Pending)

			due := l.due("a", next)
			if o.State != delivery.Pending {
				same(t, "due", len(due), 1)
				return
			}
			retry := due[1]
			same(t, "due again", retry, delivery.Delivery{
				ID: o.ID, Type: "POST_UPDATE", Key: "post p", Attempts: 1, Retry: o.Retry, Why: o.Why, NextAt: next, Body: due[0].Body,
			})
			l.record(delivered(id, "a", 2))
			same(t, "at last", l.row(id, "a").State, delivery.Delivered)
			same(t, "attempts", l.row(id, "a").Attempts, 2)
			same(t, "in the log", len(l.attempts(id, "a")), 2)
		})
	}
}

func canceledWhileSent(t *testing.T, open opener) {
	l := newLedger(t, open)
	var events []int64
	for i := range 4 {
		events = append(events, l.say(message(userName(i), "c", "user"), pending("a")))
	}
	l.write(func(tx *store.Tx) error {
		for i := range events {
			if _, _, err := tx.EraseMessage(userName(i), base); err != nil {
				return err
			}
		}
		return nil
	})
	canceled := l.row(events[0], "a")
	same(t, "canceled", canceled.State, delivery.Canceled)

	l.record(
		delivered(events[0], "a", 1), failed(events[1], "a", 1, base.Add(time.Minute)), exhausted(events[2], "a", 1),
		delivery.Outcome{ID: delivery.ID{Event: events[3], App: "a"}, State: delivery.Canceled, Reason: "another reason"},
	)

	for i, want := range []struct {
		state    delivery.State
		reason   string
		attempts int
	}{
		{delivery.Delivered, "", 1},
		{delivery.Canceled, canceled.Reason, 1},
		{delivery.Canceled, canceled.Reason, 1},
		{delivery.Canceled, canceled.Reason, 0},
	} {
		row := l.row(events[i], "a")
		same(t, "state", row.State, want.state)
		same(t, "reason", row.Reason, want.reason)
		same(t, "attempts", row.Attempts, want.attempts)
		same(t, "in the log", len(l.attempts(events[i], "a")), want.attempts)
		same(t, "next", row.NextAt, time.Time{})
	}
	same(t, "due", len(l.due("a", base.Add(time.Hour))), 0)
}

func dueRevoked(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	g := l.grant("a", "user")
	l.happen(base, pendingOn(g))
	free := l.happen(base, pending("a"))
	l.revoke(g, base)
	due := l.due("a", base)
	same(t, "due", len(due), 2)
	same(t, "on the revoked grant", due[0].Revoked, true)
	same(t, "its body", due[0].Body, nil)
	same(t, "on none", due[1].Revoked, false)
	same(t, "on none", due[1].ID.Event, free)
}

func manyOutcomes(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	g := l.grant("a", "user")
	const recorders, each = 20, 25
	events := l.happenTimes(recorders*each, base, pendingOn(g))
	ok(t, together(recorders+1, func(i int) error {
		if i == recorders { // in the midst of it
			return l.sweepAll(access.Grant{ID: g.ID})
		}
		batch := make([]delivery.Outcome, each)
		for j := range batch {
			batch[j] = failed(events[i*each+j], "a", 1, base.Add(time.Minute))
		}
		return l.Record(t.Context(), batch)
	})...)
	same(t, "pending", len(l.all(delivery.Filter{State: delivery.Pending})), 0)
	for _, e := range events {
		if row, log := l.row(e, "a"), l.attempts(e, "a"); row.Attempts != 1 || len(log) != 1 {
			t.Fatalf("delivery %s counts %d attempts, its log has %d", row.ID, row.Attempts, len(log))
		}
	}
}

// sweepAll revokes a grant and sweeps its deliveries.
func (l *ledger) sweepAll(g access.Grant) error {
	if err := l.try(l.ctx(), func(tx *store.Tx) error { return tx.RevokeGrant(g.ID, base) }); err != nil {
		return err
	}
	_, err := l.sweep(delivery.Sweep{})
	return err
}

// sweep goes on until nothing is left to do, and returns how many steps it took.
func (l *ledger) sweep(at delivery.Sweep) (steps int, err error) {
	for more := true; more; steps++ {
		if at, more, err = l.SweepStep(l.ctx(), at, base); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

func illegible(t *testing.T, open opener) {
	l := newLedger(t, open)
	const odd, legible = "odd \x00\xff text", "odd \uFFFD\uFFFD text"
	id := l.happen(base, pending("a"))
	o := failed(id, "a", 1, base.Add(time.Hour))
	o.Reason, o.Attempt.Request, o.Attempt.Error, o.Attempt.Answer = odd, odd, odd, []byte(odd)
	l.record(o)
	same(t, "the reason", l.row(id, "a").Reason, legible)
	a := l.attempts(id, "a")[0]
	same(t, "the attempt", []string{a.Request, a.Error, string(a.Answer)}, []string{legible, legible, odd})
}
