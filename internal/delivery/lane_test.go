package delivery

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestLaneTakesNoMoreThanItHolds: what does not fit in bytes stays in the
// ledger, and the lane knows that it is behind.
func TestLaneTakesNoMoreThanItHolds(t *testing.T) {
	t.Parallel()
	l := (&Engine{lanes: map[string]*lane{}}).lane("app")
	var due []Delivery
	for i := range int64(20) {
		due = append(due, Delivery{ID: ID{Event: i, App: "app"}, Key: "k", Body: make([]byte, 1<<20)})
	}
	l.take(due)
	if l.bytes != laneBytes || len(l.held) != 4 || !l.behind {
		t.Errorf("holds %d deliveries of %d bytes, behind %t; want 4 of %d, and behind", len(l.held), l.bytes, l.behind, laneBytes)
	}
}

// TestGateRemembersLongEnough: a copy that a lane held when the gate closed may
// be taken up as late as the lane's whole queue times out.
func TestGateRemembersLongEnough(t *testing.T) {
	t.Parallel()
	g := newGate()
	start := time.Unix(1_729_429_926, 0)
	longest := laneItems * 10 * time.Second
	closeAt := func(id int64, after time.Duration) {
		if err := g.close(t.Context(), id, "a reason", start.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	closeAt(1, 0)
	for after := time.Duration(0); after <= longest; after += time.Minute {
		closeAt(2, after) // others are closed meanwhile
		if _, _, refusal := g.enter(context.WithoutCancel(t.Context()), Delivery{ID: ID{Event: 1}}); refusal == "" {
			t.Fatalf("forgotten after %s", after)
		}
	}
	for after := longest; after <= 4*longest; after += longest {
		closeAt(2, after)
	}
	if n := len(g.newer) + len(g.older); n > 2 {
		t.Errorf("%d closings are remembered for ever", n)
	}
}

// TestNoLaneOfALostSlot: who asks for a lane while its slot is lost does not
// bring one to life that nobody closes.
func TestNoLaneOfALostSlot(t *testing.T) {
	t.Parallel()
	e := &Engine{lanes: map[string]*lane{}}
	slot := Slot("app")
	for range 100 {
		e.mu.Lock()
		e.slots[slot] = true
		e.mu.Unlock()
		var begun, asking sync.WaitGroup
		for range 4 {
			begun.Add(1)
			asking.Go(func() {
				for begun.Done(); e.ownLane("app") != nil; {
				}
			})
		}
		begun.Wait()
		e.Release([]int{slot})
		asking.Wait()
		if len(e.all()) > 0 {
			t.Fatal("a lane lives whose slot is lost")
		}
	}
}
