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
			l.wake()
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
	if !e.lapsed() || e.ctx.Err() != nil { // while it stops, sends are still under way
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

// slotsOwned is how many slots the engine sends to now.
func (e *Engine) slotsOwned() (n int) {
	if e.lapsed() {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, own := range e.slots {
		if own {
			n++
		}
	}
	return n
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
	// This comes first: what cannot be read now is not ours yet.
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
	// This comes last: what was told of before the slots were ours was not heard.
	if err := e.lookUp(ctx); err != nil {
		poke(e.search)
		return err
	}
	return nil
}

// Forsake gives up everything at once, and breaks off what is under way: others
// may do it already.
func (e *Engine) Forsake() {
	e.Release(allSlots())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.breakOff()
	e.sending, e.breakOff = context.WithCancel(e.ctx)
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

// Look makes the engine see new deliveries of apps, nil for any, that it was
// not handed. It does not block.
func (e *Engine) Look(apps []string) {
	if e.ctx == nil || e.stopping() {
		return
	}
	if apps == nil {
		for _, l := range e.all() { // now: what is handed to them next comes after it
			l.see()
		}
		poke(e.search)
	}
	for _, app := range apps {
		if l := e.ownLane(app); l != nil {
			l.see()
		}
	}
}

// lookOut is the worker that looks for deliveries which may be of any app.
func (e *Engine) lookOut(ctx context.Context) {
	for {
		select {
		case <-e.search:
		case <-ctx.Done():
			return
		}
		if err := e.lookUp(ctx); err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "new deliveries cannot be looked for; trying again", "err", err)
			time.AfterFunc(spread(fillRetry), func() { poke(e.search) })
		}
	}
}

// lookUp finds the apps that have pending deliveries.
func (e *Engine) lookUp(ctx context.Context) error {
	apps, err := e.store.Waiting(ctx)
	if err != nil {
		return fmt.Errorf("find the apps with pending deliveries: %w", err)
	}
	if len(apps) > 0 {
		e.Look(apps)
	}
	return nil
}
