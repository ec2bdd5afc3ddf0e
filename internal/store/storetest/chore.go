package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
)

var choreTests = tests{
	"a sweep cancels what rests on the revoked grants, and nothing else": sweep,
	"a sweep that broke off is taken up":                                 sweepAgain,
	"a redelivery puts back what may be sent, and nothing else":          redeliver,
	"a redelivery of all apps puts back those of each":                   redeliverAll,
	"a selection holds both its ends":                                    selectionEnds,
	"a selection may reach further than any event":                       selectionForever,
}

// crowd is 2,500 pending deliveries of the app a: on the grants g and h, and
// on none. Those of the app b rest on a grant of the same user.
type crowd struct {
	g, h, other access.Grant
	events      []int64
}

func (l *ledger) crowd() crowd {
	l.t.Helper()
	l.app("a")
	l.app("b")
	c := crowd{g: l.grant("a", "user"), h: l.grant("a", "another user"), other: l.grant("b", "user")}
	c.events = make([]int64, 2500)
	l.write(func(tx *store.Tx) error {
		for i := range c.events {
			c.events[i] = tx.NextID()
			at := base.Add(time.Duration(i%7) * time.Second)
			verdicts := []event.Verdict{c.verdict(i)}
			if i%5 == 0 {
				verdicts = append(verdicts, pendingOn(c.other))
			}
			if err := tx.InsertEvent(happening(c.events[i], at), verdicts); err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

func (c crowd) verdict(i int) event.Verdict {
	switch i % 3 {
	case 0:
		return pendingOn(c.g)
	case 1:
		return pendingOn(c.h)
	default:
		return pending("a")
	}
}

// on returns the deliveries that rest on a grant, newest first.
func (c crowd) on(grant int64) (list []delivery.ID) {
	for i, e := range c.events {
		if c.verdict(i).Grant == grant {
			list = append(list, delivery.ID{Event: e, App: "a"})
		}
	}
	slices.Reverse(list)
	return list
}

func sweep(t *testing.T, open opener) {
	l := newLedger(t, open)
	c := l.crowd()
	on := c.on(c.g.ID)
	done, retried := on[len(on)-1], on[:5] // retried while the sweep is on its way
	l.record(delivered(done.Event, "a", 1))
	steps, err := l.sweep(delivery.Sweep{})
	ok(t, err)
	same(t, "steps while nothing is revoked", steps, 1)

	l.revoke(c.g, base)
	at, more, err := l.SweepStep(t.Context(), delivery.Sweep{}, base)
	ok(t, err)
	same(t, "one step is all", more, true)
	for _, id := range retried {
		l.record(failed(id.Event, "a", 1, base.Add(time.Hour)))
	}
	steps, err = l.sweep(at)
	ok(t, err)
	if steps < 2 {
		t.Errorf("2,500 deliveries took %d steps: they are not bounded", steps+1)
	}

	canceled := l.all(delivery.Filter{State: delivery.Canceled})
	same(t, "canceled", canceled, on[:len(on)-1])
	same(t, "delivered", l.row(done.Event, "a").State, delivery.Delivered)
	row := l.row(canceled[0].Event, "a")
	same(t, "the reason", row.Reason, "the user took the app's access away")
	same(t, "next", row.NextAt, time.Time{})
	same(t, "still pending of a", len(l.due("a", base.Add(2*time.Hour))), 2500-len(on))
	same(t, "still pending of b", len(l.due("b", base.Add(2*time.Hour))), 500)

	steps, err = l.sweep(delivery.Sweep{})
	ok(t, err)
	same(t, "steps once it is swept", steps, 1)
}

func sweepAgain(t *testing.T, open opener) {
	l := newLedger(t, open)
	c := l.crowd()
	l.revoke(c.g, base)
	l.revoke(c.h, base)
	if _, _, err := l.SweepStep(t.Context(), delivery.Sweep{}, base); err != nil {
		t.Fatal(err)
	}
	_, err := l.sweep(delivery.Sweep{}) // the place is lost in a crash
	ok(t, err)
	want := append(c.on(c.g.ID), c.on(c.h.ID)...)
	same(t, "canceled", sorted(l.all(delivery.Filter{State: delivery.Canceled})), sorted(want))
}

// redeliver runs a redelivery to its end and returns the apps it told of.
func (l *ledger) redeliver(s delivery.Selection) (apps []string, steps int) {
	l.t.Helper()
	count, err := l.CountBack(l.ctx(), s)
	ok(l.t, err)
	before := len(l.all(delivery.Filter{State: delivery.Pending}))
	_, err = l.StartPuttingBack(l.ctx(), s, count, base)
	ok(l.t, err)
	l.record(exhausted(l.happen(base, pending("a")), "a", 1)) // after the start: not meant
	for more := true; more; steps++ {
		var some []string
		some, more, err = l.RedeliverStep(l.ctx(), "by hand", base)
		ok(l.t, err)
		apps = append(apps, some...)
	}
	slices.Sort(apps)
	same(l.t, "put back, as counted", len(l.all(delivery.Filter{State: delivery.Pending}))-before, int(count))
	return slices.Compact(apps), steps
}

func redeliver(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	alive, dead := l.grant("a", "user"), l.grant("a", "another user")
	good := l.happenTimes(1200, base, pendingOn(alive), pending("b"))
	revoked := l.happen(base, pendingOn(dead))
	erased := l.say(message("m", "c", "user"), pending("a"))
	skip, sent, waits := l.happen(base, skipped("a", "a reason")), l.happen(base, pending("a")), l.happen(base, pending("a"))
	outcomes := []delivery.Outcome{exhausted(revoked, "a", 1), exhausted(erased, "a", 1), delivered(sent, "a", 1)}
	for _, e := range good {
		outcomes = append(outcomes, exhausted(e, "a", 1), exhausted(e, "b", 1))
	}
	l.record(outcomes...)
	l.revoke(dead, base)
	l.write(func(tx *store.Tx) error {
		_, _, err := tx.EraseMessage("m", base)
		return err
	})

	apps, steps := l.redeliver(delivery.Selection{App: "a", State: delivery.Exhausted})

	same(t, "apps", apps, []string{"a"})
	if steps < 3 {
		t.Errorf("1,200 deliveries took %d steps: they are not bounded", steps)
	}
	slices.Reverse(good)
	same(t, "pending", l.all(delivery.Filter{State: delivery.Pending}), append(ids("a", waits), ids("a", good...)...))
	same(t, "of the other app", len(l.all(delivery.Filter{App: "b", State: delivery.Exhausted})), len(good))
	same(t, "revoked", l.row(revoked, "a").State, delivery.Exhausted)
	same(t, "erased", l.row(erased, "a").State, delivery.Exhausted)
	same(t, "delivered", l.row(sent, "a").State, delivery.Delivered)
	if _, _, found, _ := l.Delivery(t.Context(), delivery.ID{Event: skip, App: "a"}); found {
		t.Error("a skip became a delivery")
	}
	first := l.due("a", base)[0]
	same(t, "retry", first.Retry, 0)
	same(t, "why", first.Why, "by hand")
	if _, more, err := l.RedeliverStep(t.Context(), "by hand", base); more || err != nil {
		t.Errorf("something is left to do: %v", err)
	}
}

func redeliverAll(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("dead")
	dead := l.grant("dead", "user")
	id := l.happen(base, pending("a"), pending("b"), pending("c"), pendingOn(dead))
	l.record(exhausted(id, "a", 1), exhausted(id, "b", 1), delivered(id, "c", 1), exhausted(id, "dead", 1))
	l.revoke(dead, base)
	apps, _ := l.redeliver(delivery.Selection{State: delivery.Exhausted})
	same(t, "apps that have something to be sent", apps, []string{"a", "b"})
	count, err := l.CountBack(t.Context(), delivery.Selection{State: delivery.Skipped})
	ok(t, err)
	same(t, "skips that may be sent", count, 0)
}

// happenNow writes an event as the domain does: the clock is read, then the
// id is made, a moment later.
func (l *ledger) happenNow(verdicts ...event.Verdict) (id int64, at time.Time) {
	l.t.Helper()
	l.write(func(tx *store.Tx) error {
		at = time.Now().UTC().Truncate(time.Microsecond)
		for !time.Now().After(at.Add(time.Microsecond)) {
			continue
		}
		id = tx.NextID()
		return tx.InsertEvent(happening(id, at), verdicts)
	})
	return id, at
}

func selectionEnds(t *testing.T, open opener) {
	l := newLedger(t, open)
	var events []int64
	var at []time.Time
	for range 3 {
		id, happened := l.happenNow(pending("a"))
		l.record(exhausted(id, "a", 1))
		events, at = append(events, id), append(at, happened)
	}
	for name, c := range map[string]struct {
		from, to time.Time
		want     []int64
	}{
		"open":               {time.Time{}, time.Time{}, events},
		"from the second":    {at[1], time.Time{}, events[1:]},
		"to the second":      {time.Time{}, at[1], events[:2]},
		"the second alone":   {at[1], at[1], events[1:2]},
		"behind the last":    {at[2].Add(time.Hour), time.Time{}, nil},
		"before the first":   {time.Time{}, at[0].Add(-time.Microsecond), nil},
		"all, by their ends": {at[0], at[2], events},
	} {
		count, err := l.CountBack(t.Context(), delivery.Selection{State: delivery.Exhausted, From: c.from, To: c.to})
		ok(t, err)
		same(t, name, int(count), len(c.want))
	}
	l.redeliver(delivery.Selection{App: "a", State: delivery.Exhausted, From: at[1], To: at[1]})
	same(t, "put back", l.all(delivery.Filter{State: delivery.Pending}), ids("a", events[1]))
}

func selectionForever(t *testing.T, open opener) {
	l := newLedger(t, open)
	id := l.happen(base, pending("a"))
	l.record(exhausted(id, "a", 1))
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for name, c := range map[string]struct {
		from, to time.Time
		want     int64
	}{
		"to the end of time":       {time.Time{}, end, 1},
		"from the end of time":     {end, time.Time{}, 0},
		"from the first to it all": {time.Unix(0, 0), end, 1},
	} {
		count, err := l.CountBack(t.Context(), delivery.Selection{State: delivery.Exhausted, From: c.from, To: c.to})
		ok(t, err)
		same(t, name, count, c.want)
	}
}
