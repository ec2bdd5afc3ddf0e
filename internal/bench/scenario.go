package bench

import (
	"context"
	"errors"
	"sync"
)

// scenario is one way to use the platform, and how much of it by default:
// events, or so many a second for so long.
type scenario struct {
	name          string
	run           func(*stage, context.Context) (Result, error)
	apps          int // that are well
	events        int
	rate, seconds int
}

var scenarios = []scenario{
	{name: "single", run: (*stage).single, apps: 1, events: 150_000},
	{name: "batch", run: (*stage).batch, apps: 1, events: 200_000},
	{name: "steady", run: (*stage).steady, apps: 1, rate: 500, seconds: 10},
	{name: "fair", run: (*stage).fair, apps: 90, rate: 1000, seconds: 15},
	{name: "backlog", run: (*stage).backlog, apps: 1, events: 50_000},
	{name: "tail", run: (*stage).tail, apps: 1, rate: 2000, seconds: 10},
	{name: "restart", run: (*stage).restart, apps: 1, events: 50_000},
}

// Names returns the names of the scenarios.
func Names() []string {
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = s.name
	}
	return names
}

const (
	batchFeeds = 4   // batches under way
	batchLines = 500 // events of a batch, at most
	batches    = 64  // that a scenario has at least
	deadApps   = 10  // of fair
	backlog    = 20  // deliveries that wait for the dead app, for each event of backlog
)

// single feeds one event a call.
func (s *stage) single(ctx context.Context) (Result, error) {
	return s.measure(ctx, run{apps: s.apps, events: s.Events, lines: 1, connections: s.Connections})
}

// inBatches is a run in NDJSON batches.
func (s *stage) inBatches(apps []app, events int) run {
	return run{apps: apps, events: events, lines: min(batchLines, max(1, events/batches)), connections: batchFeeds}
}

// batch feeds NDJSON.
func (s *stage) batch(ctx context.Context) (Result, error) {
	return s.measure(ctx, s.inBatches(s.apps, s.Events))
}

// steady feeds one event a call, at a rate that does not depend on the answers.
func (s *stage) steady(ctx context.Context) (Result, error) {
	return s.measure(ctx, run{apps: s.apps, events: s.Events, lines: 1, connections: s.Connections, rate: s.Rate})
}

// restart kills the server in the middle of a run and starts it again.
func (s *stage) restart(ctx context.Context) (Result, error) {
	r := s.inBatches(s.apps, s.Events)
	r.killAfter = max(1, s.Events/2)
	return s.measure(ctx, r)
}

// fair feeds ninety healthy apps, each about a post of its own, at a rate that
// does not depend on the answers: first alone, then in just the same way beside
// ten dead apps, which are fed as much each.
func (s *stage) fair(ctx context.Context) (Result, error) {
	share := len(s.apps) + deadApps
	healthy := run{
		apps: s.apps, events: max(1, s.Events*len(s.apps)/share), lines: 1, connections: s.Connections,
		rate: max(1, s.Rate*len(s.apps)/share),
	}
	alone, err := s.measure(ctx, healthy)
	if err != nil {
		return Result{}, err
	}
	dead := make([]app, deadApps)
	for i := range dead {
		if dead[i], err = s.join(ctx, s.receiver.Dead[i%len(s.receiver.Dead)]); err != nil {
			return Result{}, err
		}
	}
	beside := run{
		apps: dead, events: max(1, s.Events*deadApps/share), lines: 1, connections: s.Connections,
		rate: max(1, s.Rate*deadApps/share),
	}
	var (
		feeding sync.WaitGroup
		fedErr  error
	)
	feeding.Go(func() { _, fedErr = s.feed(ctx, beside) })
	result, err := s.measure(ctx, healthy)
	feeding.Wait()
	if err := errors.Join(err, fedErr); err != nil {
		return Result{}, err
	}
	result.Lost, result.Repeated = result.Lost+alone.Lost, result.Repeated+alone.Repeated
	result.HealthyRatio = result.Delivered / alone.Delivered
	result.P99Ratio = result.P99 / alone.P99
	return result, nil
}

// backlog feeds a healthy app on an empty ledger, then in just the same way
// while very many deliveries wait for an app that never answers. Then it kills
// the server and looks how soon the healthy app hears again.
func (s *stage) backlog(ctx context.Context) (Result, error) {
	healthy := s.inBatches(s.apps, s.Events)
	empty, err := s.measure(ctx, healthy)
	if err != nil {
		return Result{}, err
	}
	dead, err := s.join(ctx, s.receiver.Dead[hanging])
	if err != nil {
		return Result{}, err
	}
	waiting, err := s.feed(ctx, s.inBatches([]app{dead}, backlog*s.Events))
	if err != nil {
		return Result{}, err
	}
	result, err := s.measure(ctx, healthy)
	if err != nil {
		return Result{}, err
	}
	again := s.inBatches(s.apps, max(1, s.Events/10))
	again.killAfter = max(1, again.events/2)
	after, err := s.measure(ctx, again)
	if err != nil {
		return Result{}, err
	}
	for _, r := range []Result{empty, after} {
		result.Lost, result.Repeated = result.Lost+r.Lost, result.Repeated+r.Repeated
	}
	result.Waiting = waiting.accepted.Load()
	result.HealthyRatio = result.Delivered / empty.Delivered
	result.FirstDelivery = after.FirstDelivery
	return result, nil
}
