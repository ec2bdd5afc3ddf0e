package delivery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
)

// TestChaos lets everything happen at once, in an order that a seed decides:
// events, an app that changes its mind about how it answers, pauses, wakes,
// redeliveries, a ledger that fails. When quiet returns, every delivery must
// arrive, and each key's in the order in which things happened.
func TestChaos(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			in(t, func(t *testing.T, w *world) { chaos(t, w, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func chaos(t *testing.T, w *world, rng *rand.Rand) {
	answers := []func(context.Context, int, *http.Request) (int, http.Header){
		status(200), status(200), status(500), status(503), hang,
		func(ctx context.Context, _ int, _ *http.Request) (int, http.Header) { // slow
			select {
			case <-time.After(300 * time.Millisecond):
				return 200, nil
			case <-ctx.Done():
				return 0, nil
			}
		},
	}
	set := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	}
	var ids []delivery.ID
	for range 300 {
		switch rng.IntN(12) {
		case 0:
			set(func() { w.hold = "the app is paused" })
		case 1:
			set(func() { w.hold = "" })
			w.engine.Wake("app")
		case 2:
			w.respond(answers[rng.IntN(len(answers))])
		case 3:
			set(func() { w.broken = rng.IntN(2) == 0 })
		case 4:
			if len(ids) > 0 {
				if _, err := w.log.Redeliver(t.Context(), ids[rng.IntN(len(ids))]); err != nil {
					t.Fatal(err)
				}
			}
		case 5:
			<-time.After(time.Duration(rng.Int64N(int64(20 * time.Second))))
		case 6:
			synctest.Wait()
		default:
			ids = append(ids, w.happen("app", fmt.Sprintf("t%d", rng.IntN(4)), 0))
		}
	}
	set(func() { w.hold, w.broken = "", false })
	w.respond(status(200))
	w.engine.Wake("app")
	<-time.After(5 * 24 * time.Hour)
	w.settle()
	for _, id := range ids {
		w.state(id, delivery.Delivered)
	}
	if w.most > 1 {
		t.Errorf("up to %d sends of one key at a time", w.most)
	}
	w.audited()

	before := len(w.seen())
	for range 100 {
		w.happen("app", "quiet", 0)
	}
	w.settle()
	sends := w.seen()[before:]
	if len(sends) != 100 {
		t.Fatalf("%d sends of 100 once it is quiet", len(sends))
	}
	for i := 1; i < len(sends); i++ {
		if sends[i].id <= sends[i-1].id {
			t.Fatalf("send %d is out of order", i)
		}
	}
}
