package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

const (
	// laneItems is the most deliveries of one app that memory holds.
	laneItems = 4096
	// laneBytes bounds their bodies, in bytes; a single larger one still passes.
	laneBytes = 4 << 20
	// laneSends is how many sends of one app may be under way at a time, at most.
	laneSends = 64
	// fillItems is how many deliveries one read of the ledger adds, at least.
	fillItems = 256
	// fillBelow is how few deliveries a lane holds when it looks for more. A read
	// passes by what is held already, so it is seldom and adds much.
	fillBelow = laneItems / 4
	// fillRetry is how long a lane waits after the ledger could not be read, more
	// or less: lanes that failed together do not come back together.
	fillRetry = time.Second
)

// lane is the queue of one app. Everything it holds is also in the ledger, so
// what does not fit is left there: behind says that the ledger may have due
// deliveries that the lane has not seen, and fill reads them when there is
// room. While a lane is behind, nothing is handed to it directly, so that the
// order of the ledger is the order of sending.
type lane struct {
	engine *Engine
	app    string
	health *health

	mu      sync.Mutex
	ready   []Delivery            // the next of each order key
	waiting map[string][]Delivery // by order key that is ready or being sent: those after it
	held    map[ID]int            // in memory: queued, being sent, or not yet recorded; with the attempts known
	bytes   int
	sending int

	behind  bool
	closed  bool // the app is no longer this engine's to send to
	filling bool
	blind   bool            // the ledger could not be read, and is not for a while; what is held is sent
	again   map[ID]struct{} // held, and put back in the ledger since
	parked  bool            // the app may not be called now
	stuck   bool            // and nothing but a wake will change that
	wakes   int             // calls of wake: what was found out before the last is out of date
	settled map[ID]struct{} // recorded since the fill under way began
	wakeAt  time.Time       // when the ledger's next delivery falls due; zero: unknown or none
	timer   *time.Timer
	idle    []chan struct{} // closed when there is nothing left to do now

	starved bool // waits for a place among all sends; guarded by sends.mu
}

// show is the lane as people see it.
func (l *lane) show() Lane {
	l.mu.Lock()
	now := Lane{
		Held: len(l.held), Sending: l.sending, Behind: l.behind && !l.parked, Parked: l.parked, WakeAt: l.wakeAt,
	}
	l.mu.Unlock()
	now.Most = l.health.most()
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	now.Open, now.RetryAt, now.Health = l.health.open, l.health.retryAt, l.health.now
	return now
}

// offer takes a delivery that was just committed.
func (l *lane) offer(d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, held := l.held[d.ID]; held {
		return // it was read from the ledger between the commit and now
	}
	if l.behind || l.filling || l.parked || l.closed || l.room() == 0 {
		l.behind = true
		l.fill()
		return
	}
	l.push(d)
	l.dispatch()
}

// see takes note that the ledger has new deliveries.
func (l *lane) see() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = true
	l.fill()
}

// close ends the lane: nothing more is sent but what is under way.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.park(hold{})
	if l.timer != nil {
		l.timer.Stop()
	}
	l.tellIdle()
}

// wake looks at the ledger again: a time has come, a delivery was put back, or
// the app may be called again.
func (l *lane) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakes++
	l.parked, l.blind, l.behind, l.wakeAt = l.closed, false, true, time.Time{}
	l.fill()
}

// isClosed says whether the app is no longer this engine's to send to.
func (l *lane) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// room is how many more deliveries fit.
func (l *lane) room() int {
	if l.bytes >= laneBytes || l.engine.held.Load() >= maxHeld && len(l.held) >= fillItems {
		return 0
	}
	return max(0, laneItems-len(l.held))
}

func (l *lane) push(d Delivery) {
	l.held[d.ID] = d.Attempts
	l.engine.held.Add(1)
	l.bytes += len(d.Body)
	if queue, busy := l.waiting[d.Key]; busy {
		l.waiting[d.Key] = append(queue, d)
		return
	}
	l.waiting[d.Key] = nil
	l.ready = append(l.ready, d)
}

// drop forgets a delivery; the ledger still has it.
func (l *lane) drop(d Delivery) {
	delete(l.held, d.ID)
	l.engine.held.Add(-1)
	l.bytes -= len(d.Body)
}

// dispatch starts senders while there is something to send and the app has
// not its share of sends under way.
func (l *lane) dispatch() {
	for l.mayStart() {
		d, wakes := l.pop(), l.wakes
		l.sending++
		l.engine.senders.Go(func() { l.send(d, wakes) })
	}
}

// begin starts senders and says whether there was one to start.
func (l *lane) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.sending
	l.dispatch()
	return l.sending > before
}

// mayStart says whether one more send may begin now; it then counts as begun.
func (l *lane) mayStart() bool {
	return len(l.ready) > 0 && !l.parked && !l.closed && !l.engine.stopping() && l.sending < l.health.most() && l.engine.sends.take(l, l.sending)
}

func (l *lane) pop() Delivery {
	d := l.ready[0]
	l.ready[0] = Delivery{}
	if l.ready = l.ready[1:]; len(l.ready) == 0 {
		l.ready = nil
	}
	return d
}

// send attempts d and then whatever else is ready. wakes is the lane's count
// when d was taken.
func (l *lane) send(d Delivery, wakes int) {
	for more := true; more; {
		out, hold := l.engine.attempt(l, d)
		if out != nil {
			l.engine.outcomes <- result{lane: l, delivery: d, outcome: *out}
		}
		l.engine.sends.passOn()
		l.mu.Lock()
		l.sending--
		if queue := l.waiting[d.Key]; len(queue) > 0 {
			l.ready, l.waiting[d.Key] = append(l.ready, queue[0]), queue[1:]
		} else {
			delete(l.waiting, d.Key)
		}
		switch {
		case out == nil:
			l.drop(d)
			l.park(hold)
			if l.wakes != wakes && !l.closed { // woken since the app was found to be on hold
				l.parked = false
				l.fill()
			}
		case hold.back && l.parked && !l.closed: // those that were not let in beside the probe
			l.parked = false
			l.fill()
		}
		if more = l.mayStart(); more {
			d, wakes = l.pop(), l.wakes
			l.sending++
		}
		l.dispatch()
		l.tellIdle()
		l.mu.Unlock()
	}
}

// park gives everything that is not being sent back to the ledger until wake.
func (l *lane) park(h hold) {
	for _, d := range l.ready {
		l.drop(d)
	}
	for key, queue := range l.waiting {
		for _, d := range queue {
			l.drop(d)
		}
		l.waiting[key] = nil
	}
	for _, d := range l.ready {
		delete(l.waiting, d.Key)
	}
	l.ready = nil
	l.parked, l.behind, l.stuck = true, true, h.until.IsZero()
	if !h.until.IsZero() {
		l.alarm(h.until)
	}
}

// recorded is told once an outcome is on disk.
func (l *lane) recorded(d Delivery, out Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(d)
	if l.filling {
		l.settled[d.ID] = struct{}{}
	}
	if out.State == Pending {
		l.alarm(out.NextAt)
	}
	if _, ok := l.again[d.ID]; ok {
		delete(l.again, d.ID)
		l.behind = true
	}
	l.fill()
	l.tellIdle()
}

// alarm makes sure that the lane wakes at a moment.
func (l *lane) alarm(at time.Time) {
	if l.closed || !l.wakeAt.IsZero() && !at.Before(l.wakeAt) {
		return
	}
	l.wakeAt = at
	wait := max(0, at.Sub(l.engine.now()))
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.wake)
	} else {
		l.timer.Reset(wait)
	}
}

// fill starts reading the ledger if that is due.
func (l *lane) fill() {
	if l.filling || !l.wantsFill() {
		return
	}
	l.filling, l.settled = true, map[ID]struct{}{}
	l.engine.fillers.Go(l.read)
}

func (l *lane) wantsFill() bool {
	return l.behind && !l.parked && !l.closed && !l.blind && !l.engine.stopping() && !l.engine.lapsed() &&
		len(l.held) <= fillBelow && l.room() > 0
}

// read takes due deliveries from the ledger until the lane is full or up to
// date.
func (l *lane) read() {
	ctx := l.engine.ctx
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.wantsFill() {
		l.behind = false
		clear(l.settled) // what was recorded before the look is not seen by it
		limit := len(l.held) + max(fillItems, min(l.room(), laneItems-fillBelow))
		l.mu.Unlock()
		due, next, err := l.look(ctx, limit)
		l.mu.Lock()
		if err != nil {
			l.behind = true
			if ctx.Err() == nil {
				l.goBlind(ctx, err)
			}
			break
		}
		if l.parked || l.closed { // meanwhile: what was read may be out of date when it wakes
			l.behind = true
			break
		}
		if len(due) == limit {
			l.behind = true
		}
		l.take(due)
		if !next.IsZero() {
			l.alarm(next)
		}
		l.dispatch()
	}
	l.filling = false
	l.settled = nil
	l.tellIdle()
}

// goBlind waits before the ledger is read again. Failure policy: what is held is
// sent meanwhile. Where all of the ledger is out of reach, it says so itself.
func (l *lane) goBlind(ctx context.Context, err error) {
	if status.KindOf(err) != status.Unavailable {
		l.engine.log.ErrorContext(ctx, "the ledger cannot be read; trying again", "app", l.app, "err", err)
	}
	l.blind = true
	l.alarm(l.engine.now().Add(spread(fillRetry)))
	l.dispatch()
}

// take queues what was read and is not held already.
func (l *lane) take(due []Delivery) {
	for _, d := range due {
		attempts, held := l.held[d.ID]
		_, settled := l.settled[d.ID]
		switch {
		case held && d.Attempts != attempts:
			// Its outcome is on disk, and it was put back since: look again
			// once this copy is gone.
			l.again[d.ID] = struct{}{}
		case held || settled:
		case l.room() == 0:
			l.behind = true
			return
		default:
			l.push(d)
		}
	}
}

// look reads what is due, and when nothing more is, what comes next.
func (l *lane) look(ctx context.Context, limit int) (due []Delivery, next time.Time, err error) {
	now := l.engine.now()
	due, err = l.engine.store.Due(ctx, l.app, now, limit)
	if err != nil || len(due) == limit {
		return due, time.Time{}, err
	}
	next, err = l.engine.store.NextDue(ctx, l.app, now)
	return due, next, err
}

// tellIdle answers those who wait for the lane to have nothing to do now.
func (l *lane) tellIdle() {
	if len(l.held) > 0 || l.filling || l.sending > 0 || l.behind && !l.parked && !l.closed {
		return
	}
	for _, c := range l.idle {
		close(c)
	}
	l.idle = nil
}

// whenIdle returns a channel that is closed when the lane has nothing to do.
func (l *lane) whenIdle() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	l.idle = append(l.idle, c)
	l.tellIdle()
	return c
}
