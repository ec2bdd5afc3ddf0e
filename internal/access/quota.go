package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

const (
	// shareEvery is how often a node tells the others what its apps used, and
	// learns what they used elsewhere. Nodes agree to what the others let
	// through in that time: of n nodes, an app may get what n-1 of them serve
	// it in a second beyond its limit. One node alone is exact.
	shareEvery = time.Second
	// noticeAt is the part of the daily quota at which the operator is told.
	noticeAt = 0.8
)

// Window is a span of time in which an app's calls are counted.
type Window struct {
	App   string
	Unit  time.Duration // a minute or a day
	Start int64         // its number since the epoch
}

// QuotaStore is where nodes share their counts.
type QuotaStore interface {
	// AddUse adds to the counts of windows and returns what all nodes have used.
	// Windows long past are forgotten.
	AddUse(ctx context.Context, used map[Window]int64, now time.Time) (map[Window]int64, error)
	// Use returns what was used in a window.
	Use(ctx context.Context, w Window) (int64, error)
}

// Quotas counts the calls of apps against their limits: so many a minute, so
// many a UTC day. A check costs no I/O but for an app's first call in a window.
type Quotas struct {
	store QuotaStore
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex
	count map[Window]*use

	stop    chan struct{}
	sharing sync.WaitGroup
}

// use is what was used of a window: by all, when last shared, and here since.
type use struct {
	shared, since int64
	noticed       bool
}

// QuotaOptions of Quotas.
type QuotaOptions struct {
	Store QuotaStore
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // default: discard
}

// NewQuotas returns counters; Start makes them share.
func NewQuotas(o QuotaOptions) (*Quotas, error) {
	if o.Store == nil {
		return nil, errors.New("access: Store is needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Quotas{store: o.Store, now: o.Now, log: o.Log, count: map[Window]*use{}, stop: make(chan struct{})}, nil
}

// Start shares counts until Stop.
func (q *Quotas) Start(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	q.sharing.Go(func() {
		tick := time.NewTicker(shareEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				q.share(ctx)
			case <-q.stop:
				q.share(ctx)
				return
			}
		}
	})
}

// Stop shares what is left and ends.
func (q *Quotas) Stop() {
	close(q.stop)
	q.sharing.Wait()
}

// share tells and learns. Failure policy: go on counting here, and tell later.
func (q *Quotas) share(ctx context.Context) {
	now := q.now()
	told, idle := map[Window]int64{}, []Window(nil)
	q.mu.Lock()
	for w, u := range q.count {
		switch {
		case u.since > 0:
			told[w] = u.since
		case w.Start < windowAt(w.App, w.Unit, now).Start:
			delete(q.count, w)
		default:
			idle = append(idle, w)
		}
	}
	q.mu.Unlock()
	all, err := q.exchange(ctx, told, idle, now)
	if err != nil {
		q.log.WarnContext(ctx, "quota counts cannot be shared; trying again", "err", err)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for w, total := range all {
		if u := q.count[w]; u != nil {
			u.shared, u.since = total, u.since-told[w]
		}
	}
}

// exchange tells what was used here and learns what was used everywhere, also
// of windows in which nothing was used here since.
func (q *Quotas) exchange(ctx context.Context, told map[Window]int64, idle []Window, now time.Time) (all map[Window]int64, err error) {
	all = map[Window]int64{}
	if len(told) > 0 {
		if all, err = q.store.AddUse(ctx, told, now); err != nil {
			return nil, err
		}
	}
	for _, w := range idle {
		if all[w], err = q.store.Use(ctx, w); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func windowAt(app string, unit time.Duration, now time.Time) Window {
	return Window{App: app, Unit: unit, Start: now.UnixNano() / int64(unit)}
}

// Spend counts a call against the app's limits, or refuses it with
// ResourceExhausted: which limit, when it resets. A refused call counts for
// nothing. A limit of 0 is none.
func (q *Quotas) Spend(ctx context.Context, k Key) error {
	now := q.now()
	minute, day := windowAt(k.App, time.Minute, now), windowAt(k.App, 24*time.Hour, now)
	for _, w := range [...]Window{minute, day} {
		if err := q.know(ctx, w); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	m, d := q.used(minute), q.used(day)
	if k.PerMinute > 0 && m.shared+m.since >= k.PerMinute {
		return exhausted("the limit of %d calls a minute is reached", k.PerMinute, minute, now)
	}
	if k.PerDay > 0 && d.shared+d.since >= k.PerDay {
		return exhausted("the daily quota of %d calls is used up", k.PerDay, day, now)
	}
	m.since++
	d.since++
	if used := d.shared + d.since; k.PerDay > 0 && !d.noticed && float64(used) >= noticeAt*float64(k.PerDay) {
		d.noticed = true
		q.log.WarnContext(ctx, "an app has used 80 % of its daily quota", "app", k.App, "used", used, "quota", k.PerDay)
	}
	return nil
}

// know learns what was used of a window that this node has not seen yet.
func (q *Quotas) know(ctx context.Context, w Window) error {
	q.mu.Lock()
	_, known := q.count[w]
	q.mu.Unlock()
	if known {
		return nil
	}
	used, err := q.store.Use(ctx, w)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, known := q.count[w]; !known {
		q.count[w] = &use{shared: used}
	}
	return nil
}

// Used returns how many calls an app has made in this minute and on this day, as
// far as this node knows.
func (q *Quotas) Used(ctx context.Context, app string) (minute, day int64, err error) {
	now := q.now()
	windows := [...]Window{windowAt(app, time.Minute, now), windowAt(app, 24*time.Hour, now)}
	var used [len(windows)]int64
	for i, w := range windows {
		q.mu.Lock()
		u, known := q.count[w]
		if known {
			used[i] = u.shared + u.since
		}
		q.mu.Unlock()
		if !known {
			if used[i], err = q.store.Use(ctx, w); err != nil {
				return 0, 0, err
			}
		}
	}
	return used[0], used[1], nil
}

func (q *Quotas) used(w Window) *use {
	u, ok := q.count[w]
	if !ok { // forgotten between know and here
		u = &use{}
		q.count[w] = u
	}
	return u
}

func exhausted(what string, limit int64, w Window, now time.Time) error {
	reset := time.Unix(0, (w.Start+1)*int64(w.Unit)).UTC()
	return status.Later(reset.Sub(now), what+"; it resets at "+reset.Format(time.RFC3339), limit)
}
