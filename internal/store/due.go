package store

import (
	"math"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
)

// What is pending leaves its index only when PostgreSQL has cleaned up behind
// it, and that waits for the oldest transaction of the whole database: while
// somebody keeps one open, each look at what is due would pass by all that has
// gone out since. So the store remembers for each app how far down there was
// nothing left, and looks from there on.
const (
	// floorAge is how long a floor serves. Then the whole of what is pending is
	// looked through again: a retry that a node recorded late, after another had
	// taken its place, waits this long.
	floorAge = 10 * time.Second
	// floorShare is how much longer than that look it serves at least.
	floorShare = 20
)

// floors are how far down there is nothing left that is due, by app. What this
// store makes pending lowers them right after its commit, before anybody is told.
type floors struct {
	mu  sync.Mutex
	all map[string]*floor
}

type floor struct {
	at    int64 // micros
	until time.Time
	// A look that is under way may not see what was made pending since it began.
	looks int
	since int64 // when the first of that falls due
}

// floorLook is one look at what is due.
type floorLook struct {
	floors *floors
	app    string
	from   int64
	begun  time.Time
}

// look begins a look; end must follow.
func (f *floors) look(app string) floorLook {
	l := floorLook{floors: f, app: app, begun: time.Now()}
	f.mu.Lock()
	defer f.mu.Unlock()
	of, ok := f.all[app]
	if !ok {
		if f.all == nil {
			f.all = map[string]*floor{}
		}
		of = &floor{}
		f.all[app] = of
	}
	if of.looks++; of.looks == 1 {
		of.since = math.MaxInt64
	}
	if l.begun.Before(of.until) {
		l.from = of.at
	}
	return l
}

// end notes what a look at a moment of the platform's clock has found. before is
// an id of a transaction that it saw: what others have committed since is due
// later (Tx.notBefore).
func (l floorLook) end(found []delivery.Delivery, before int64, now time.Time, err error) {
	at := min(before>>idShift, micros(now))
	if len(found) > 0 {
		at = min(at, micros(found[0].NextAt))
	}
	l.floors.mu.Lock()
	defer l.floors.mu.Unlock()
	of := l.floors.all[l.app]
	of.looks--
	if err != nil {
		return
	}
	at = min(at, of.since)
	if l.from == 0 {
		end := time.Now()
		of.at, of.until = at, end.Add(max(floorAge, floorShare*end.Sub(l.begun)))
	} else {
		of.at = max(of.at, at)
	}
}

// lower notes what has become pending, by app, the first of each.
func (f *floors) lower(pending map[string]int64) {
	if len(pending) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for app, at := range pending {
		if of, ok := f.all[app]; ok {
			of.at, of.since = min(of.at, at), min(of.since, at)
		}
	}
}

// waits notes that a delivery will be pending.
func (tx *Tx) waits(app string, next int64) {
	if tx.store.dialect.exclusive {
		return
	}
	if tx.pending == nil {
		tx.pending = map[string]int64{}
	}
	first, ok := tx.pending[app]
	if !ok {
		first = math.MaxInt64
	}
	tx.pending[app] = min(first, next)
}
