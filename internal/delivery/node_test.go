package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
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
