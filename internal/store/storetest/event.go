package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
)

var eventTests = tests{
	"an event comes back with one verdict for each app":                         verdicts,
	"what is handed over is what the ledger would give":                         handOver,
	"new deliveries are told in the order of the ledger, once they can be read": tellingOrder,
	"fan-out knows what an app wants to hear":                                   listener,
}

func verdicts(t *testing.T, open opener) {
	l := newLedger(t, open)
	id := l.happen(base, skipped("c", "the app is suspended"), pending("b"), pending("a"))
	got, found, err := l.Event(t.Context(), id)
	ok(t, err)
	row := func(app string, state delivery.State, reason string, next time.Time) delivery.Row {
		return delivery.Row{
			ID: delivery.ID{Event: id, App: app}, Type: string(event.PostUpdate), State: state, Reason: reason, NextAt: next, At: base,
		}
	}
	a, b := row("a", delivery.Pending, "", base), row("b", delivery.Pending, "", base)
	same(t, "found", found, true)
	same(t, "event", got, delivery.Happened{
		ID: id, Type: string(event.PostUpdate), At: base,
		Verdicts: []delivery.Row{a, b, row("c", delivery.Skipped, "the app is suspended", time.Time{})},
	})
	same(t, "delivery", l.row(id, "a"), a)
	same(t, "log", l.all(delivery.Filter{}), []delivery.ID{b.ID, a.ID})
	if _, _, found, err := l.Delivery(t.Context(), delivery.ID{Event: id, App: "c"}); found || err != nil {
		t.Errorf("a skip is a delivery: found %t, %v", found, err)
	}
	if _, found, err := l.Event(t.Context(), id+1); found || err != nil {
		t.Errorf("an unknown event: found %t, %v", found, err)
	}
	unheard := l.happen(base)
	got, found, err = l.Event(t.Context(), unheard)
	ok(t, err)
	same(t, "an event that concerns nobody", got.Verdicts, nil)
	same(t, "is found", found, true)
}

func handOver(t *testing.T, open opener) {
	l := newLedger(t, open)
	var told []delivery.Delivery
	l.OnCommit(func(d []delivery.Delivery) { told = append(told, d...) })
	l.app("a")
	g := l.grant("a", "user")
	full, empty, none := pendingOn(g), pending("a"), pending("a")
	full.Metadata, empty.Metadata = object(`{"text":"سلام <&>"}`), object(`{}`)
	for _, v := range []event.Verdict{full, empty, none, skipped("a", "a reason")} {
		l.happen(base, v)
	}
	same(t, "handed over and due", told, l.due("a", base))
	bodies := []string{}
	for _, d := range told {
		bodies = append(bodies, string(d.Body))
	}
	same(t, "bodies", bodies, []string{
		`{"type":"POST_UPDATE","metadata":{"text":"سلام <&>"},"post_update":{"type":"PUBLISH"}}`,
		`{"type":"POST_UPDATE","metadata":{},"post_update":{"type":"PUBLISH"}}`,
		`{"type":"POST_UPDATE","post_update":{"type":"PUBLISH"}}`,
	})
	same(t, "the grant it rests on", told[0].Grant, g.ID)
}

func tellingOrder(t *testing.T, open opener) {
	l := newLedger(t, open)
	var mu sync.Mutex
	var told []delivery.ID
	l.OnCommit(func(list []delivery.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range list {
			told = append(told, d.ID)
		}
		last := list[len(list)-1].ID
		if _, _, found, err := l.Delivery(t.Context(), last); !found || err != nil {
			t.Errorf("delivery %s was told of before it can be read: %v", last, err)
		}
	})
	const writers, each = 100, 3
	errs := together(writers, func(i int) error {
		return l.try(t.Context(), func(tx *store.Tx) error {
			for range each {
				err := tx.InsertEvent(happening(tx.NextID(), base), []event.Verdict{pending("b"), skipped("c", "a reason"), pending("a")})
				if err != nil {
					return err
				}
			}
			if i%10 == 0 {
				return errBad
			}
			return nil
		})
	})
	same(t, "writes that were kept", countNil(errs), writers*9/10)
	mu.Lock()
	defer mu.Unlock()
	same(t, "deliveries told of", len(told), 2*each*writers*9/10)
	if !slices.IsSortedFunc(told, func(x, y delivery.ID) int { return int(x.Event - y.Event) }) {
		t.Error("not told in the order of the ledger")
	}
	for i := 0; i+1 < len(told); i += 2 {
		if told[i].App != "b" || told[i+1].App != "a" || told[i].Event != told[i+1].Event {
			t.Fatalf("%s and %s: not in the order of the verdicts", told[i], told[i+1])
		}
	}
	slices.Reverse(told)
	same(t, "in the ledger", sorted(l.all(delivery.Filter{})), sorted(told))
}

func sorted(ids []delivery.ID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	slices.Sort(list)
	return list
}

func listener(t *testing.T, open opener) {
	l := newLedger(t, open)
	a := newApp("a")
	l.write(func(tx *store.Tx) error { return tx.InsertApp(a) })
	for _, c := range []struct {
		change func()
		want   event.Listener
	}{
		{func() {}, event.Listener{EventURL: true, HearOwn: true}},
		{func() { a.EventURL = "" }, event.Listener{HearOwn: true}},
		{func() { a.Status = access.Suspended }, event.Listener{Suspended: true, HearOwn: true}},
		{func() { a.HearOwnMessages = false }, event.Listener{Suspended: true}},
	} {
		c.change()
		var got event.Listener
		l.write(func(tx *store.Tx) error {
			if _, err := tx.Listener("a"); err != nil { // as it was
				return err
			}
			err := tx.UpdateApp(a)
			if err != nil {
				return err
			}
			got, err = tx.Listener("a")
			return err
		})
		same(t, "just changed", got, c.want)
		l.write(func(tx *store.Tx) (err error) {
			got, err = tx.Listener("a")
			return err
		})
		same(t, "changed before", got, c.want)
	}
}

// message is a message that a user wrote.
func message(id, conversation, user string) chat.Stored {
	return chat.Stored{ID: id, Conversation: conversation, User: user}
}
