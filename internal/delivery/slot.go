package delivery

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"
)

// Slots is how many slots the apps are spread over. A slot is one node's: it
// alone sends to the apps of the slot, so that order, limits and circuits need
// no coordination.
const Slots = 256

// Slot returns the slot of an app.
func Slot(app string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(app))
	return int(h.Sum32() % Slots)
}

func allSlots() []int {
	all := make([]int, Slots)
	for i := range all {
		all[i] = i
	}
	return all
}

// Extend lets the engine send until a moment of real time, and no longer unless
// it is extended again: then another node may send in its place. What is under
// way at the end is broken off and stays pending.
func (e *Engine) Extend(until time.Time) {
	e.mu.Lock()
	lapsed := e.lapsed()
	if lapsed {
		e.breakOff()
		e.sending, e.breakOff = context.WithCancel(e.ctx)
	}
	e.until.Store(&until)
	if e.fuse == nil {
		e.fuse = time.AfterFunc(time.Until(until), e.lapse)
	} else {
		e.fuse.Reset(time.Until(until))
	}
	e.mu.Unlock()
	if lapsed {
		for _, l := range e.all() {
			l.startOver()
		}
	}
}

// lapsed says whether the engine may not send now.
func (e *Engine) lapsed() bool {
	until := e.until.Load()
	return until != nil && !time.Now().Before(*until)
}

// lapse breaks off what is under way.
func (e *Engine) lapse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.lapsed() || e.stopping() {
		return
	}
	e.breakOff()
	e.log.Warn("no lease: nothing is sent until it is renewed")
}

// life is the context of sends.
func (e *Engine) life() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sending
}

// lead looks after the work that one node does for all, if that is this
// engine's.
func (e *Engine) lead() {
	if e.leads() {
		e.chores()
	}
}

func (e *Engine) leads() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.slots[0]
}

// Assign makes exactly these slots the engine's. What waits in the ledger for
// the apps of new ones is sent from now on; what was lost is dropped at once.
func (e *Engine) Assign(ctx context.Context, slots []int) error {
	var now [Slots]bool
	for _, s := range slots {
		now[s] = true
	}
	e.mu.Lock()
	before := e.slots
	e.mu.Unlock()
	if now == before {
		return nil
	}
	// The ledger comes first: what cannot be read now is not ours yet.
	apps, err := e.store.Waiting(ctx)
	if err != nil {
		return fmt.Errorf("find the apps with pending deliveries: %w", err)
	}
	failing, err := e.store.Failing(ctx)
	if err != nil {
		return fmt.Errorf("find the apps whose endpoints fail: %w", err)
	}
	e.mu.Lock()
	e.slots = now
	var lost []*lane
	for app, l := range e.lanes {
		if before[Slot(app)] && !now[Slot(app)] {
			lost = append(lost, l)
			delete(e.lanes, app)
		}
	}
	e.mu.Unlock()
	for _, l := range lost {
		l.close()
	}
	for _, known := range failing {
		if now[Slot(known.App)] && !before[Slot(known.App)] {
			e.lane(known.App).health.resume(known, e.now())
		}
	}
	for _, app := range apps {
		if now[Slot(app)] && !before[Slot(app)] {
			e.lane(app).wake()
		}
	}
	return nil
}

// Release gives slots up: from now on nothing more of their apps is sent. Wait
// returns when what is under way has ended and is recorded.
func (e *Engine) Release(slots []int) (wait func(context.Context) error) {
	e.mu.Lock()
	for _, s := range slots {
		e.slots[s] = false
	}
	var lost []*lane
	for app, l := range e.lanes {
		if !e.slots[Slot(app)] {
			lost = append(lost, l)
			delete(e.lanes, app)
		}
	}
	e.mu.Unlock()
	for _, l := range lost {
		l.close()
	}
	return func(ctx context.Context) error {
		for _, l := range lost {
			select {
			case <-l.whenIdle():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
}

// Look makes the engine see new deliveries of apps, nil for all, that it was
// not handed.
func (e *Engine) Look(apps []string) {
	if e.ctx == nil || e.stopping() {
		return
	}
	if apps == nil {
		for _, l := range e.all() {
			l.see()
		}
		return
	}
	for _, app := range apps {
		if l := e.ownLane(app); l != nil {
			l.see()
		}
	}
}

// lookUp finds the apps of which the engine was told nothing.
func (e *Engine) lookUp(ctx context.Context) error {
	apps, err := e.store.Waiting(ctx)
	if err != nil {
		return err
	}
	e.Look(apps)
	return nil
}
