package delivery

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// The circuit opens when circuitFails of the last circuitSends sends failed:
	// few enough for an app that has hardly a place among all sends, and whose
	// sends all time out.
	circuitFails = 10
	circuitSends = 20
	// It stays open for circuitDelay, twice as long after each probe that fails,
	// at most circuitMax.
	circuitDelay = 5 * time.Second
	circuitMax   = 5 * time.Minute
	// probeGap is how often somebody who wants to know may have an open circuit
	// probed at once.
	probeGap = time.Second
	// sendsFirst is how many sends of an app may be under way before it is known
	// what it can bear, also when it comes back; sendsLeast the fewest ever.
	sendsFirst = 32
	sendsLeast = 4
	// sickAfter is how long an endpoint is down, without an answer in between,
	// before it is marked; then it is probed every probeEvery, which costs no
	// delivery a step of its schedule.
	sickAfter  = 120 * time.Hour
	probeEvery = time.Hour
	// quiet is how long nothing is known of an endpoint that was down before that
	// is forgotten: longer than the longest step of the schedule.
	quiet = 30 * time.Hour
	// noteAfter is how long it is down before the ledger notes since when.
	noteAfter = 10 * time.Minute
)

// Health is how long an app's endpoint has been down.
type Health struct {
	App          string
	FailingSince time.Time // zero: it is well
	MarkedAt     time.Time // when it was marked as down for days; zero: it is not
}

// health watches an app's endpoint: how many sends it can bear, when it may be
// called at all, and how long it has been down.
type health struct {
	engine  *Engine
	limiter adaptivelimiter.AdaptiveLimiter[any]

	mu      sync.Mutex
	breaker circuitbreaker.CircuitBreaker[any] // only says when the circuit opens
	open    bool
	retryAt time.Time // of an open circuit: the next probe
	probing bool
	probed  time.Time // when the last probe began
	opens   int       // probes that failed, and the opening before them
	era     int       // what was sent in an earlier one says nothing any more

	now      Health
	lastDown time.Time
	noted    Health // what the ledger has
	noting   bool
}

func newHealth(e *Engine, app string) *health {
	return &health{
		engine: e, now: Health{App: app}, noted: Health{App: app},
		breaker: circuitbreaker.NewBuilder[any]().WithFailureThresholdRatio(circuitFails, circuitSends).Build(),
		limiter: adaptivelimiter.NewBuilder[any]().
			WithLimits(sendsLeast, laneSends, sendsFirst).WithMaxLimitFunc(func(int) float64 { return laneSends }).
			Build(),
	}
}

// resume takes up what an earlier process has noted.
func (h *health) resume(noted Health, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now, h.noted, h.lastDown = noted, noted, now
	if !noted.MarkedAt.IsZero() {
		h.open, h.retryAt = true, now
	}
}

// most is how many sends may be under way now.
func (h *health) most() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open {
		return 1 // a probe
	}
	return min(laneSends, h.limiter.Limit())
}

// isOpen says whether the circuit is open.
func (h *health) isOpen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// changed lets an open circuit be probed at once: the address is another one, or
// somebody wants to know. What is under way says nothing any more.
func (h *health) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.era++
	if h.open {
		h.retryAt, h.probing = h.probed.Add(probeGap), false
	}
}

// reset closes the circuit: the clock was moved, and it counts in real time.
func (h *health) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.close()
}

func (h *health) close() {
	h.open, h.probing, h.opens, h.retryAt = false, false, 0, time.Time{}
	h.breaker.Close()
	h.era++
}

// leave is what enter gives, to be given back.
type leave struct {
	era     int
	probe   bool
	permit  adaptivelimiter.Permit
	limited bool
}

// enter asks whether the endpoint may be called; if not, it says until when not.
func (h *health) enter(now time.Time) (l leave, until time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open {
		if h.probing {
			return l, now.Add(webhook.Timeout), false // it tells the lane when it is back
		}
		if now.Before(h.retryAt) {
			return l, h.retryAt, false
		}
		h.probing, h.probed, l.probe = true, now, true
	}
	l.era = h.era
	l.permit, l.limited = h.limiter.TryAcquirePermit()
	return l, time.Time{}, true
}

// left learns from a send that was let in and ended now. back says that the
// endpoint is, which it was not before.
func (h *health) left(ctx context.Context, l leave, r webhook.Result, now time.Time) (back bool) {
	if l.limited && (r.Reason == webhook.OK || r.Reason == webhook.TimedOut) {
		l.permit.Record()
	} else if l.limited {
		l.permit.Drop()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case l.era != h.era:
		return false
	case r.Reason == webhook.Canceled: // by ourselves
		h.probing = h.probing && !l.probe
		return false
	}
	down := isDown(r)
	switch {
	case h.open && !l.probe: // sent before it opened
	case h.open && down:
		h.probing = false
		h.opens++
		h.retryAt = now.Add(h.delay())
	case h.open:
		h.close()
		h.limiter.Reset() // do not overwhelm it
		back = true
	case down:
		h.breaker.RecordFailure()
	default:
		h.breaker.RecordSuccess()
	}
	h.watch(down, now)
	if !h.open && (h.breaker.IsOpen() || !h.now.MarkedAt.IsZero()) {
		h.open, h.opens = true, 1
		h.retryAt = now.Add(h.delay())
	}
	h.note(ctx, now)
	return back
}

// watch keeps how long the endpoint has been down.
func (h *health) watch(down bool, now time.Time) {
	switch {
	case !down:
		h.now = Health{App: h.now.App}
		return
	case h.now.FailingSince.IsZero() || now.Sub(h.lastDown) > quiet && h.now.MarkedAt.IsZero():
		h.now.FailingSince = now
	case h.now.MarkedAt.IsZero() && now.Sub(h.now.FailingSince) >= sickAfter:
		h.now.MarkedAt = now
	}
	h.lastDown = now
}

// note brings the ledger up to date, one at a time; it gives the lock up
// meanwhile. Failure policy: go on, and try again after the next send.
func (h *health) note(ctx context.Context, now time.Time) {
	for !h.noting && h.worthNoting(now) {
		h.noting = true
		state := h.now
		h.mu.Unlock()
		err := h.engine.store.NoteHealth(context.WithoutCancel(ctx), state, now)
		h.mu.Lock()
		if h.noting = false; err != nil {
			h.engine.log.ErrorContext(ctx, "the endpoint's health was not noted", "app", state.App, "err", err)
			return
		}
		h.noted = state
	}
}

func (h *health) worthNoting(now time.Time) bool {
	if h.now.FailingSince.IsZero() {
		return !h.noted.FailingSince.IsZero()
	}
	return h.now != h.noted && now.Sub(h.now.FailingSince) >= noteAfter
}

// delay is how long the circuit stays open.
func (h *health) delay() time.Duration {
	if !h.now.MarkedAt.IsZero() {
		return probeEvery
	}
	return spread(min(circuitDelay<<min(h.opens-1, 16), circuitMax))
}

// sick says whether the endpoint is marked.
func (h *health) sick() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.now.MarkedAt.IsZero()
}

// isDown says whether a result tells of an endpoint that is down (contract
// section 6); what an app answers on purpose does not.
func isDown(r webhook.Result) bool {
	return r.Reason == webhook.Transport || r.Reason == webhook.TimedOut || r.Status >= 500 || r.Status == http.StatusTooManyRequests
}
