package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// maxHeld is how many deliveries all lanes together hold before each is
	// kept to its smallest share.
	maxHeld = 32 << 10
	// outcomesWaiting is how many outcomes may wait to be recorded.
	outcomesWaiting = 4096
)

// Reasons why a delivery is canceled.
const (
	ReasonRevoked = "the user took the app's access away"
	ReasonErased  = "the content was deleted"
)

// ReasonNoURL is why an app is not told that would be if it had an event URL. It
// may fetch such an event itself.
const ReasonNoURL = "the app has no event URL"

// Engine owns the lanes. Make it with New, Start it once, Stop it once.
type Engine struct {
	store     Store
	endpoints Endpoints
	client    *webhook.Client
	now       func() time.Time
	retention time.Duration
	log       *slog.Logger
	tracer    trace.Tracer // nil: nobody traces
	metrics   *metrics

	ctx     context.Context // the engine's life, for the goroutines that it owns; ends in Stop
	cancel  context.CancelFunc
	stopped atomic.Bool

	mu    sync.Mutex
	lanes map[string]*lane
	slots [Slots]bool // whose apps it sends to
	held  atomic.Int64
	// Of an engine that shares its ledger: it sends until then, and sending is
	// the context of that.
	shared   bool
	until    atomic.Pointer[time.Time] // nil: for ever
	fuse     *time.Timer
	sending  context.Context
	breakOff context.CancelFunc

	sends sends
	gate  *gate

	senders, fillers, recorder, worker sync.WaitGroup

	outcomes chan result
	work     chan struct{}
	search   chan struct{} // for the apps that have deliveries
}

// Options of an Engine.
type Options struct {
	Store     Store
	Endpoints Endpoints
	Client    *webhook.Client
	Now       func() time.Time      // the platform's clock; default time.Now
	Retention time.Duration         // how long what is finished is kept; 0: for ever
	Shared    bool                  // the ledger is others' too: nothing is sent before a Node says what
	Log       *slog.Logger          // default: discard
	Tracer    trace.Tracer          // of attempts; default: none
	Metrics   prometheus.Registerer // default: none are shown
}

// New returns an engine that does nothing until Start.
func New(o Options) (*Engine, error) {
	if o.Store == nil || o.Endpoints == nil || o.Client == nil {
		return nil, errors.New("delivery: Store, Endpoints and Client are needed")
	}
	e := &Engine{
		store: o.Store, endpoints: o.Endpoints, client: o.Client, now: o.Now, retention: o.Retention, shared: o.Shared, log: o.Log, tracer: o.Tracer,
		lanes: map[string]*lane{}, gate: newGate(), outcomes: make(chan result, outcomesWaiting), work: make(chan struct{}, 1), search: make(chan struct{}, 1),
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.metrics = newMetrics(o.Metrics, e)
	return e, nil
}

// Start begins to send, what an earlier process left pending included. The
// engine lives until Stop, also when ctx ends before that.
func (e *Engine) Start(ctx context.Context) error {
	e.ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	e.sending, e.breakOff = context.WithCancel(e.ctx)
	if e.shared {
		e.until.Store(&time.Time{})
	} else if err := e.Assign(ctx, allSlots()); err != nil {
		return err
	}
	e.worker.Go(func() { e.chore(e.ctx) })
	e.worker.Go(func() { e.retain(e.ctx) })
	e.worker.Go(func() { e.lookOut(e.ctx) })
	e.recorder.Go(func() { e.record(context.WithoutCancel(ctx)) })
	return nil
}

// Stop starts no more sends, waits for those under way until ctx ends, then
// breaks them off; what was broken off stays pending.
func (e *Engine) Stop(ctx context.Context) error {
	if e.stopped.Swap(true) {
		return nil
	}
	e.mu.Lock()
	for _, l := range e.lanes {
		l.mu.Lock()
		if l.timer != nil {
			l.timer.Stop()
		}
		l.mu.Unlock()
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.senders.Wait()
		close(e.outcomes)
		e.recorder.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("sends under way were broken off; they stay pending: %w", ctx.Err())
	}
	e.cancel()
	<-done
	e.fillers.Wait()
	e.worker.Wait()
	return err
}

func (e *Engine) stopping() bool { return e.stopped.Load() }

// lane returns the app's lane, made when first asked for.
func (e *Engine) lane(app string) *lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.laneOf(app)
}

func (e *Engine) laneOf(app string) *lane {
	l, ok := e.lanes[app]
	if !ok {
		l = &lane{
			engine: e, app: app, health: newHealth(e, app), waiting: map[string][]Delivery{}, held: map[ID]int{}, again: map[ID]struct{}{},
			behind: e.shared, // others may have written some before
		}
		e.lanes[app] = l
	}
	return l
}

// ownLane returns the lane of an app that is this engine's to send to, or nil. In
// between its slot may not be lost: a lane that came after that would go on.
func (e *Engine) ownLane(app string) *lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.slots[Slot(app)] {
		return nil
	}
	return e.laneOf(app)
}

// Accept takes deliveries that were just committed, in the order of the
// ledger. It never blocks: what a lane cannot hold is read back later.
func (e *Engine) Accept(deliveries []Delivery) {
	if e.ctx == nil || e.stopping() {
		return
	}
	for _, d := range deliveries {
		if l := e.ownLane(d.ID.App); l != nil {
			l.offer(d)
		}
	}
}

// Wake makes the engine look at an app's deliveries again: it was resumed, its
// address changed, or deliveries were put back.
func (e *Engine) Wake(app string) {
	if e.ctx == nil || e.stopping() {
		return
	}
	if l := e.ownLane(app); l != nil {
		l.health.changed()
		l.wake()
	}
}

// Revoke silences everything that rests on a grant. When it returns, nothing
// of it is being sent, and nothing will be. What is queued is marked as
// canceled behind the answer.
func (e *Engine) Revoke(ctx context.Context, grant int64) error {
	defer e.chores()
	return e.Silence(ctx, grant)
}

// Silence is Revoke where somebody else sees to what is queued.
func (e *Engine) Silence(ctx context.Context, grant int64) error {
	return e.gate.close(ctx, grant, ReasonRevoked, time.Now())
}

// Erase silences the deliveries of an event whose content was deleted.
func (e *Engine) Erase(ctx context.Context, event int64) error {
	return e.gate.close(ctx, event, ReasonErased, time.Now())
}

// Settle waits until nothing that is due now is left to do.
func (e *Engine) Settle(ctx context.Context) error {
	for _, l := range e.all() {
		select {
		case <-l.whenIdle():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// NextDue returns when the next delivery falls due that may be sent, or zero.
// It is exact once the engine has settled.
func (e *Engine) NextDue() time.Time {
	var next time.Time
	for _, l := range e.all() {
		l.mu.Lock()
		if (!l.parked || !l.stuck) && !l.wakeAt.IsZero() && (next.IsZero() || l.wakeAt.Before(next)) {
			next = l.wakeAt
		}
		l.mu.Unlock()
	}
	return next
}

// WakeAll makes every lane look at the ledger again: the clock was moved.
func (e *Engine) WakeAll() {
	for _, l := range e.all() {
		l.health.reset()
		l.wake()
	}
}

// Lane is what the engine holds of an app, for people to see.
type Lane struct {
	Health
	Held    int  // deliveries in memory: queued, being sent, or not yet recorded
	Sending int  // under way
	Most    int  // that may be under way at a time now
	Behind  bool // more waits in the ledger than memory holds
	Parked  bool // the app may not be called now
	Open    bool // its circuit is open: it is only probed
	RetryAt time.Time
	WakeAt  time.Time // when the next delivery falls due; zero: unknown or none
}

// Lanes returns the lanes of this process that have something to do, or whose
// endpoints do badly, by app.
func (e *Engine) Lanes() []Lane {
	lanes := []Lane{}
	for _, l := range e.all() {
		if now := l.show(); now.Held > 0 || now.Behind || now.Open || !now.WakeAt.IsZero() || !now.FailingSince.IsZero() {
			lanes = append(lanes, now)
		}
	}
	slices.SortFunc(lanes, func(a, b Lane) int { return cmp.Compare(a.App, b.App) })
	return lanes
}

// Lane returns what the engine holds of an app; ok is false where that is nothing,
// or another node sends to the app.
func (e *Engine) Lane(app string) (now Lane, ok bool) {
	e.mu.Lock()
	l, ok := e.lanes[app]
	e.mu.Unlock()
	if !ok {
		return Lane{Health: Health{App: app}}, false
	}
	return l.show(), true
}

// Load is what all lanes of this process hold and send.
func (e *Engine) Load() (held, sending int) { return int(e.held.Load()), e.sends.underWay() }

func (e *Engine) all() []*lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	lanes := make([]*lane, 0, len(e.lanes))
	for _, l := range e.lanes {
		lanes = append(lanes, l)
	}
	return lanes
}
