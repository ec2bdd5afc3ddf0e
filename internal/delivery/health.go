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
	// The circuit opens when half of at least circuitSends sends within
	// circuitPeriod fail.
	circuitSends  = 20
	circuitPeriod = 30 * time.Second
	// It stays open for circuitDelay, twice as long after each probe that fails,
	// at most circuitMax.
	circuitDelay = 5 * time.Second
	circuitMax   = 5 * time.Minute
	// sendsFirst is how many sends of an app may be under way before it is known
	// what it can bear, also when it comes back; sendsLeast the fewest ever.
	sendsFirst = 32
	sendsLeast = 4
	// sickAfter is how long an endpoint fails, without one delivery in between,
	// before it is marked; then it is probed every probeEvery, which costs no
	// delivery a step of its schedule.
	sickAfter  = 120 * time.Hour
	probeEvery = time.Hour
	// noteAfter is how long it fails before the ledger notes since when.
	noteAfter = 10 * time.Minute
)

// Health is how long an app's endpoint has been failing.
type Health struct {
	App          string
	FailingSince time.Time // zero: it is well
	MarkedAt     time.Time // when it was marked as failing for days; zero: it is not
}

// health watches an app's endpoint: how many sends it can bear, whether to call
// it at all, and how long it has been failing.
type health struct {
	engine  *Engine
	breaker circuitbreaker.CircuitBreaker[any]
	limiter adaptivelimiter.AdaptiveLimiter[any]

	mu    sync.Mutex
	known Health
	noted bool // known is in the ledger
	opens int  // of the circuit, without a success in between
}

func newHealth(e *Engine, app string) *health {
	h := &health{engine: e, known: Health{App: app}}
	h.breaker = circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(0.5, circuitSends, circuitPeriod).WithSuccessThreshold(1).WithDelay(circuitDelay).
		Build()
	h.limiter = adaptivelimiter.NewBuilder[any]().
		WithLimits(sendsLeast, laneSends, sendsFirst).WithMaxLimitFunc(func(int) float64 { return laneSends }).
		Build()
	return h
}

// resume takes up what an earlier process has noted.
func (h *health) resume(known Health) {
	h.known, h.noted = known, true
	if !known.MarkedAt.IsZero() {
		h.breaker.Open()
	}
}

// most is how many sends may be under way now.
func (h *health) most() int {
	if !h.breaker.IsClosed() {
		return 1 // a probe
	}
	return min(laneSends, h.limiter.Limit())
}

// closed makes the next send a probe, whatever the circuit says: somebody wants
// to know.
func (h *health) probe() {
	if h.breaker.IsOpen() {
		h.breaker.HalfOpen()
	}
}

// enter asks whether the endpoint may be called; if not, it says for how long.
func (h *health) enter() (wait time.Duration, ok bool) {
	if h.breaker.TryAcquirePermit() {
		return 0, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.breaker.IsHalfOpen() {
		return circuitDelay, false // another send is the probe
	}
	return h.delay(), false
}

// delay is how long the circuit stays open.
func (h *health) delay() time.Duration {
	if !h.known.MarkedAt.IsZero() {
		return probeEvery
	}
	return spread(min(circuitDelay<<min(max(h.opens, 1)-1, 16), circuitMax))
}

// sick says whether the endpoint is marked.
func (h *health) sick() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.known.MarkedAt.IsZero()
}

// leave learns from a send that was let in. now is when it ended.
func (h *health) leave(ctx context.Context, r webhook.Result, now time.Time) {
	wasClosed := h.breaker.IsClosed()
	switch {
	case r.Reason == webhook.Canceled && wasClosed: // ourselves: it says nothing of the app
		return
	case r.Reason == webhook.Canceled, opensCircuit(r):
		h.breaker.RecordFailure()
	default:
		h.breaker.RecordSuccess()
	}
	isClosed := h.breaker.IsClosed()
	h.mu.Lock()
	switch {
	case !isClosed && (wasClosed || h.breaker.IsOpen()):
		h.opens++
	case isClosed && !wasClosed:
		h.limiter.Reset() // it comes back: do not overwhelm it
	}
	known := h.known
	switch {
	case r.Reason == webhook.OK:
		known.FailingSince, known.MarkedAt, h.opens = time.Time{}, time.Time{}, 0
	case r.Reason == webhook.Canceled:
	case known.FailingSince.IsZero():
		known.FailingSince = now
	case known.MarkedAt.IsZero() && now.Sub(known.FailingSince) >= sickAfter:
		known.MarkedAt = now
		h.breaker.Open()
	}
	failing := !known.FailingSince.IsZero()
	note := known.MarkedAt != h.known.MarkedAt || h.noted != failing && (!failing || now.Sub(known.FailingSince) >= noteAfter)
	h.known = known
	if note {
		h.noted = failing
	}
	h.mu.Unlock()
	if !note {
		return
	}
	// Failure policy: go on without the note. It only says since when.
	if err := h.engine.store.NoteHealth(context.WithoutCancel(ctx), known, now); err != nil {
		h.engine.log.ErrorContext(ctx, "the endpoint's health was not noted", "app", known.App, "err", err)
	}
}

// opensCircuit says whether a result tells of an endpoint that is down
// (contract section 6): what the app answers on purpose does not.
func opensCircuit(r webhook.Result) bool {
	return r.Reason == webhook.Transport || r.Reason == webhook.TimedOut || r.Status >= 500 || r.Status == http.StatusTooManyRequests
}
