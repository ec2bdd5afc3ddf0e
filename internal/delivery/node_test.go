package delivery_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// allSlots are the slots of all apps.
func allSlots() (all []int) {
	for s := range delivery.Slots {
		all = append(all, s)
	}
	return all
}

// inShared is in, with an engine that shares its ledger and has no slots yet.
func inShared(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, inFlight: map[string]int{}}
		w.openAt(store.Options{Dir: dir}, true)
		defer w.close()
		w.makeApps()
		f(t, w)
	})
}

// TestToldWhileSlotsAreTaken: of what was told meanwhile nothing waits for
// somebody to look.
func TestToldWhileSlotsAreTaken(t *testing.T) {
	inShared(t, func(t *testing.T, w *world) {
		w.engine.Extend(time.Now().Add(time.Hour))
		var id delivery.ID
		w.waited = once(func() { id = w.happen("app", "k", 0) })
		if err := w.engine.Assign(t.Context(), allSlots()); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.state(id, delivery.Delivered)
	})
}

// TestNewsOfAnyApp: an app of which nothing was heard yet is found too.
func TestNewsOfAnyApp(t *testing.T) {
	inShared(t, func(t *testing.T, w *world) {
		id := w.happen("app", "k", 0)
		w.engine.Extend(time.Now().Add(time.Hour))
		w.mu.Lock()
		w.broken = true
		w.mu.Unlock()
		if err := w.engine.Assign(t.Context(), allSlots()); err == nil {
			t.Fatal("the slots were taken while the ledger could not be read")
		}
		w.mu.Lock()
		w.broken = false
		w.mu.Unlock()
		w.pass(2 * time.Second)
		w.state(id, delivery.Delivered)
	})
}

// TestLeaseEndsWhileItStops: what is under way then is broken off, because others
// take over.
func TestLeaseEndsWhileItStops(t *testing.T) {
	inShared(t, func(t *testing.T, w *world) {
		w.respond(hang)
		w.engine.Extend(time.Now().Add(5 * time.Second))
		if err := w.engine.Assign(t.Context(), allSlots()); err != nil {
			t.Fatal(err)
		}
		id := w.happen("app", "k", 0)
		synctest.Wait()
		begun := time.Now()
		if err := w.engine.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it stopped after %v, want the 5 s that the lease had left", took)
		}
		if _, attempts := w.get(id); len(attempts) > 0 {
			t.Errorf("%d attempts are recorded", len(attempts))
		}
	})
}

// asNode runs an engine as a node of a new ledger, and opens that for another.
func asNode(t *testing.T) (w *world, other *store.Store) {
	t.Helper()
	place := store.Options{URL: storetest.Postgres(t)}
	w = &world{t: t, inFlight: map[string]int{}}
	w.openAt(place, true)
	t.Cleanup(w.close)
	w.makeApps()
	node, err := delivery.NewNode(delivery.NodeOptions{
		Members: w.store, Engine: w.engine, Name: "node", AppChanged: func(string) {}, FeedGrown: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if other, err = store.Open(t.Context(), place); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, other
}

// TestSlowAppHoldsItsSlotAlone: the others change hands without it.
func TestSlowAppHoldsItsSlotAlone(t *testing.T) {
	t.Parallel()
	w, other := asNode(t)
	if s := delivery.Slot("other"); s < delivery.Slots/2 {
		t.Fatalf("slot %d stays when a second node comes", s)
	}
	begun, answer := make(chan struct{}), make(chan struct{})
	w.respond(func(ctx context.Context, _ int, _ *http.Request) (int, http.Header) {
		close(begun)
		select {
		case <-answer:
		case <-ctx.Done():
		}
		return 200, http.Header{}
	})
	w.happen("other", "k", 0)
	<-begun
	answered := false
	for has := 0; has < delivery.Slots/2; {
		if has == delivery.Slots/2-1 && !answered {
			answered = true
			close(answer)
		}
		st, err := other.Beat(t.Context(), delivery.Beat{Name: "other", Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		has = len(st.Slots)
	}
	if !answered {
		t.Error("the slots did not change hands before the app had answered")
	}
}

// TestNodeComesBackWithNothing: what a node that was taken for dead still holds
// in memory is of before; others have sent and changed since.
func TestNodeComesBackWithNothing(t *testing.T) {
	t.Parallel()
	w, other := asNode(t)
	var grant int64
	err := w.store.Access().Write(t.Context(), func(tx access.Tx) error {
		grant = tx.NextID()
		return tx.InsertGrant(access.Grant{ID: grant, App: "app", User: "user", GrantedAt: time.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	begun, answer := make(chan string, 10), make(chan struct{})
	w.respond(func(ctx context.Context, _ int, r *http.Request) (int, http.Header) {
		begun <- header(r, "webhook-id")
		select {
		case <-answer:
		case <-ctx.Done():
		}
		return 200, http.Header{}
	})
	first := w.happen("app", "k", 0)
	behind := w.happen("app", "k", grant)
	if id := <-begun; id != first.String() {
		t.Fatalf("%s is sent first, want %s", id, first)
	}

	if _, err := other.Beat(t.Context(), delivery.Beat{Name: "other", Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	was, err := w.store.Beat(t.Context(), delivery.Beat{Lease: -time.Minute}) // and so it is taken out
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Access().Write(t.Context(), func(tx access.Tx) error { return tx.RevokeGrant(grant, time.Now()) }); err != nil {
		t.Fatal(err)
	}
	if err := other.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for back := false; !back; {
		peers, err := w.store.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		back = len(peers) == 1 && peers[0].Node != was.Node && peers[0].Slots == delivery.Slots
	}
	if id := <-begun; id != first.String() { // read from the ledger, in a lane that is new
		t.Fatalf("%s is sent after it came back, want %s", id, first)
	}
	close(answer)
	for _, id := range []delivery.ID{first, behind} {
		for r, _ := w.get(id); r.State == delivery.Pending; {
			r, _ = w.get(id)
		}
	}
	w.state(first, delivery.Delivered)
	w.state(behind, delivery.Canceled)
}
