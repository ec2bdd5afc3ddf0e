package store_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
)

// counted is every metric of a store that is not 0, by its name and label.
func counted(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	ok(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if n := m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum(); n != 0 && name != "openkenar_commit_seconds" {
				got[name] = n
			}
		}
	}
	return got
}

// TestMetricsCountWhatIsOnDisk: also what ends without a send; not what was
// rolled back, nor calls, which nobody accepted.
func TestMetricsCountWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := open(t, store.Options{Dir: t.TempDir(), Now: func() time.Time { return base }, Metrics: registry})
	var events []int64
	var grant int64
	err := s.Access().Write(t.Context(), func(tx access.Tx) error {
		app := access.NewApp()
		app.Slug, app.SealedKey = "a", []byte("sealed")
		if err := tx.InsertApp(app); err != nil {
			return err
		}
		grant = tx.NextID()
		return tx.InsertGrant(access.Grant{ID: grant, App: "a", User: "u", GrantedAt: base})
	})
	ok(t, err)
	write(t, s, func(tx chat.Tx) error {
		for range 5 {
			e := event.Event{ID: tx.NextID(), Type: event.PostUpdate, At: base, Key: "post p", Payload: []byte(`{}`)}
			events = append(events, e.ID)
			if err := tx.InsertEvent(e, []event.Verdict{
				{App: "a", State: delivery.Pending, Grant: grant}, {App: "b", State: delivery.Skipped, Reason: "a reason"},
			}); err != nil {
				return err
			}
		}
		return nil
	})
	write(t, s, func(tx chat.Tx) error {
		tx.Publish(chat.FeedMessage, "a", 1)
		return nil
	})
	err = s.Chat().Write(t.Context(), func(tx chat.Tx) error {
		e := event.Event{ID: tx.NextID(), Type: event.PostUpdate, At: base}
		if err := tx.InsertEvent(e, []event.Verdict{{App: "a", State: delivery.Pending}}); err != nil {
			return err
		}
		panic("halfway")
	})
	if err == nil {
		t.Fatal("a write that panics is carried out")
	}
	outcome := func(event int64, state delivery.State) delivery.Outcome {
		return delivery.Outcome{ID: delivery.ID{Event: event, App: "a"}, State: state, NextAt: base, Attempt: &delivery.Attempt{At: base, Status: 200}}
	}
	ok(t, s.Record(t.Context(), []delivery.Outcome{
		outcome(events[0], delivery.Delivered), outcome(events[1], delivery.Exhausted), outcome(events[2], delivery.Pending),
		outcome(events[0], delivery.Delivered), // again: it has ended already
	}))
	ok(t, s.Access().Write(t.Context(), func(tx access.Tx) error { return tx.RevokeGrant(grant, base) }))
	for at, more := (delivery.Sweep{}), true; more; {
		at, more, err = s.SweepStep(t.Context(), at, base)
		ok(t, err)
	}
	call := outcome(0, delivery.Delivered)
	_, err = s.RecordCall(t.Context(), event.Event{Type: event.DynamicAction, At: base, User: "u", Payload: []byte(`{}`)}, call)
	ok(t, err)

	want := map[string]float64{
		"openkenar_events_total": 6, "openkenar_deliveries_accepted_total": 5, "openkenar_feed_items_total": 1, "openkenar_commit_writes": 7,
		"openkenar_deliveries_total delivered": 1, "openkenar_deliveries_total exhausted": 1, "openkenar_deliveries_total canceled": 3,
	}
	got := counted(t, registry)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: %v, want %v", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("metrics: %v", got)
	}
}
