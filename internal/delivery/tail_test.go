package delivery_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	ledgerstatus "github.com/openkenar/openkenar/internal/status"
)

// tail returns how apps fetch the events of a world.
func (w *world) tail() *delivery.Tail {
	w.t.Helper()
	tail, err := delivery.NewTail(w.store, w.engine)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store.OnHappen(tail.Happened)
	return tail
}

func may(context.Context) error { return nil }

// fetch reads a page of an app's events.
func fetch(t *testing.T, tail *delivery.Tail, r delivery.Read) (p delivery.Page) {
	t.Helper()
	r.May = may
	if err := tail.Read(t.Context(), r, func(_ context.Context, got delivery.Page) error { p = got; return nil }); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestARevocationWaitsForReads: from its answer on nothing is being given out
// that rests on it; another grant's reads go on.
func TestARevocationWaitsForReads(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		tail := w.tail()
		w.happen("app", "k", 1)
		other := w.happen("app", "k", 2)
		w.settle()
		giving, left := make(chan struct{}), make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			err := tail.Read(t.Context(), delivery.Read{App: "app", May: may}, func(ctx context.Context, p delivery.Page) error {
				if len(p.Events) != 2 {
					t.Errorf("%d events", len(p.Events))
				}
				close(giving)
				<-ctx.Done() // the reader stands still
				<-left
				return ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the read: %v", err)
			}
		})
		<-giving
		revoked := make(chan struct{})
		reading.Go(func() {
			if err := w.engine.Revoke(t.Context(), 1); err != nil {
				t.Error(err)
			}
			close(revoked)
		})
		synctest.Wait()
		select {
		case <-revoked:
			t.Error("answered while what rests on it is given out")
		default:
		}
		close(left)
		<-revoked
		reading.Wait()

		// The ledger of this test knows of no grant: the gate alone holds.
		p := fetch(t, tail, delivery.Read{App: "app"})
		if len(p.Events) != 1 || p.Events[0].ID != other.String() || p.Missed[delivery.MissedRevoked] != 1 || p.Next == "" {
			t.Errorf("after the revocation: %+v", p)
		}
		if err := w.engine.Erase(t.Context(), other.Event); err != nil {
			t.Fatal(err)
		}
		if p := fetch(t, tail, delivery.Read{App: "app"}); len(p.Events) != 0 || p.Count() != 2 || p.Missed[delivery.MissedErased] != 1 {
			t.Errorf("after the erasure: %+v", p)
		}
	})
}

// TestReadsAreToldWhatRetentionTook: once, and not where nothing was lost.
func TestReadsAreToldWhatRetentionTook(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		tail := w.tail()
		w.happen("app", "k", 0)
		w.happen("other", "k", 0)
		begin := fetch(t, tail, delivery.Read{App: "app"}).Next
		others := fetch(t, tail, delivery.Read{App: "other"}).Next
		w.happen("app", "k", 0)
		w.happen("app", "k", 0)
		w.pass(40 * 24 * time.Hour)
		now := w.happen("app", "k", 0)

		p := fetch(t, tail, delivery.Read{App: "app", After: begin})
		if len(p.Events) != 1 || p.Events[0].ID != now.String() || p.Missed[delivery.MissedRetention] != 1 || p.Count() != 1 {
			t.Errorf("after a long time: %+v", p)
		}
		for _, r := range []delivery.Read{{App: "app", After: p.Next}, {App: "app"}, {App: "app", After: delivery.Latest}, {App: "other", After: others}, {App: "other"}} {
			if p := fetch(t, tail, r); p.Count() != 0 {
				t.Errorf("%+v: %+v", r, p)
			}
		}
		if p := fetch(t, tail, delivery.Read{App: "app", After: "0"}); len(p.Events) != 1 {
			t.Errorf("after 0: %+v", p)
		}
	})
}

// TestReadsAreBounded: one app's do not take the place of another's.
func TestReadsAreBounded(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		tail := w.tail()
		var reading sync.WaitGroup
		const most = 32
		answered := make(chan delivery.Page, most)
		for range most {
			reading.Go(func() { answered <- fetch(t, tail, delivery.Read{App: "app", Wait: time.Hour}) })
		}
		synctest.Wait()
		err := tail.Read(t.Context(), delivery.Read{App: "app", May: may}, func(context.Context, delivery.Page) error { return nil })
		if ledgerstatus.KindOf(err) != ledgerstatus.ResourceExhausted || ledgerstatus.RetryAfter(err) == 0 {
			t.Errorf("one too many: %v", err)
		}
		fetch(t, tail, delivery.Read{App: "other"})
		w.happen("other", "k", 0)
		synctest.Wait()
		if len(answered) != 0 {
			t.Error("another app's event answers")
		}
		begin := time.Now()
		w.happen("app", "k", 0)
		reading.Wait()
		if took := time.Since(begin); took != 0 {
			t.Errorf("answered after %s", took)
		}
		for range most {
			if p := <-answered; len(p.Events) != 1 {
				t.Errorf("answered with %+v", p)
			}
		}

		// A read ends by its time, when it may no longer, and when nobody shall wait.
		after := fetch(t, tail, delivery.Read{App: "app"}).Next
		if p := fetch(t, tail, delivery.Read{App: "app", After: after, Wait: time.Hour}); len(p.Events) != 0 || p.Next != after || time.Since(begin) != delivery.MaxTailWait {
			t.Errorf("after %s: %+v", time.Since(begin), p)
		}
		refused := errors.New("no longer")
		asked := 0
		err = tail.Read(t.Context(), delivery.Read{App: "app", After: after, Wait: time.Hour, May: func(context.Context) error {
			if asked++; asked > 2 {
				return refused
			}
			return nil
		}}, func(context.Context, delivery.Page) error { t.Error("given"); return nil })
		if !errors.Is(err, refused) {
			t.Errorf("who may no longer: %v", err)
		}
		reading.Go(func() { fetch(t, tail, delivery.Read{App: "app", After: after, Wait: time.Hour}) })
		synctest.Wait()
		tail.Close()
		reading.Wait()
	})
}

// meanwhile is a ledger in which something happens before or after entries are
// read.
type meanwhile struct {
	delivery.TailLedger
	before, after func()
}

func (m *meanwhile) Entries(ctx context.Context, app string, after int64, limit, size int) ([]delivery.Entry, error) {
	if f := m.before; f != nil {
		m.before = nil
		f()
	}
	list, err := m.TailLedger.Entries(ctx, app, after, limit, size)
	if f := m.after; f != nil {
		m.after = nil
		f()
	}
	return list, err
}

// TestReadsNoticeWhatGoesMeanwhile: what retention takes while an app reads is
// given out or said to be missed.
func TestReadsNoticeWhatGoesMeanwhile(t *testing.T) {
	for name, at := range map[string]func(m *meanwhile, f func()){
		"before the entries are read": func(m *meanwhile, f func()) { m.before = f },
		"after the entries were read": func(m *meanwhile, f func()) { m.after = f },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				begin, old := w.happen("app", "k", 0), w.happen("app", "k", 0)
				m := &meanwhile{TailLedger: w.store}
				at(m, func() {
					w.pass(40 * 24 * time.Hour)
					w.happen("app", "k", 0)
				})
				tail, err := delivery.NewTail(m, w.engine)
				if err != nil {
					t.Fatal(err)
				}
				after := strconv.FormatInt(begin.Event, 10)
				p := fetch(t, tail, delivery.Read{App: "app", After: after})
				if len(p.Events) != 1 || p.Events[0].ID != old.String() && p.Missed[delivery.MissedRetention] != 1 {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

// TestReadsPassByInSteps: where very much was not meant for an app, it is told in
// between where to go on.
func TestReadsPassByInSteps(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		const aside = 2500 // more than one read looks through
		if err := w.store.Access().Write(t.Context(), func(tx access.Tx) error {
			for range aside {
				e := event.Event{ID: tx.NextID(), Type: event.PaymentTransaction, At: time.Now(), Key: "k", Payload: []byte(`"k"`), App: "app"}
				if err := tx.InsertEvent(e, []event.Verdict{{App: "app", State: delivery.Skipped, Reason: "a reason"}}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		last := w.happen("app", "k", 0)
		tail := w.tail()
		begin := time.Now()
		first := fetch(t, tail, delivery.Read{App: "app", Wait: time.Minute})
		if len(first.Events) != 0 || first.Count() != 0 || first.Next == "" || time.Since(begin) != 0 {
			t.Errorf("at first, after %s: %+v", time.Since(begin), first)
		}
		if p := fetch(t, tail, delivery.Read{App: "app", After: first.Next}); len(p.Events) != 1 || p.Events[0].ID != last.String() {
			t.Errorf("then: %+v", p)
		}
	})
}
