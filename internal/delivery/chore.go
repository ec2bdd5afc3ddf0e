package delivery

import (
	"context"
	"time"
)

const (
	// choreRetry is how long the chores wait after the ledger failed.
	choreRetry = 5 * time.Second
	// pruneEvery is how often the ledger is searched for what is older than
	// the retention.
	pruneEvery = time.Hour
	// pruneRetry is how soon after it could not be kept to the retention.
	pruneRetry = time.Minute
)

// Chores is the work on many deliveries that goes on behind the answers, in
// steps that each are one short transaction. What is left to do is in the
// ledger, so that a crash only interrupts it.
type Chores interface {
	// SweepStep marks a bounded part of the deliveries that rest on revoked
	// grants as canceled. at is where to go on.
	SweepStep(ctx context.Context, at Sweep, now time.Time) (next Sweep, more bool, err error)
	// RedeliverStep puts back a bounded part of a bulk redelivery and returns
	// the apps that have something to be sent.
	RedeliverStep(ctx context.Context, why string, now time.Time) (apps []string, more bool, err error)
	// PruneStep deletes a bounded part of what is older than the retention:
	// events whose deliveries are all finished, with these and their attempts,
	// and dead tokens and subscriptions. Where the ledger has partitions by time,
	// those go as a whole, with what is finished in them. at is where to go on.
	PruneStep(ctx context.Context, at Pruning, now time.Time) (next Pruning, more bool, err error)
	// Partition makes the partitions of now and of what comes next, where the
	// ledger has any, for a retention (0: for ever), and keeps them in order. It
	// wants to be called again after a while; 0: any time will do.
	Partition(ctx context.Context, retention time.Duration, now time.Time) (again time.Duration, err error)
}

// Sweep is a place in a pass over one app's pending deliveries, for all its
// grants that were revoked when the pass began; zero: the next app.
type Sweep struct {
	App    string
	Grants map[int64]bool
	NextAt time.Time
	Event  int64
}

// Pruning is a place in a pass over what happened before a moment.
type Pruning struct {
	Before time.Time
	Event  int64 // the last that was looked at
	Events int64 // how many were deleted, one by one

	// Where the ledger has partitions:
	Partition  int64 // those below this id were looked at
	Message    int64 // messages below this event have their content themselves
	Waits      int64 // first id of what could not go now; 0: nothing
	Partitions int   // how many were dropped
}

// chores makes the worker look for work.
func (e *Engine) chores() {
	select {
	case e.work <- struct{}{}:
	default: // it is about to look anyway
	}
}

// chore is the worker.
func (e *Engine) chore(ctx context.Context) {
	for {
		if err := e.doChores(ctx); err != nil && ctx.Err() == nil {
			e.log.ErrorContext(ctx, "work on the ledger broke off; trying again", "err", err)
			time.AfterFunc(choreRetry, e.chores)
		}
		select {
		case <-e.work:
		case <-ctx.Done():
			return
		}
	}
}

func (e *Engine) doChores(ctx context.Context) error {
	var at Sweep
	for more := true; more; {
		var err error
		if at, more, err = e.store.SweepStep(ctx, at, e.now()); err != nil {
			return err
		}
	}
	for more := true; more; {
		apps, again, err := e.store.RedeliverStep(ctx, whyRedelivered, e.now())
		if err != nil {
			return err
		}
		for _, app := range apps {
			if l := e.ownLane(app); l != nil {
				l.wake()
			}
		}
		more = again
	}
	return nil
}

// retain is the worker that keeps the ledger in shape and to its retention,
// apart from the chores that somebody waits for. Failure policy: what cannot be
// done now is done later; until then the ledger is only larger.
func (e *Engine) retain(ctx context.Context) {
	next := time.NewTimer(pruneEvery)
	defer next.Stop()
	for {
		wait := pruneRetry
		if e.leads() {
			wait = e.tidy(ctx)
		}
		next.Reset(wait)
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
	}
}

// tidy keeps the partitions in order and prunes, and returns when it is wanted
// again.
func (e *Engine) tidy(ctx context.Context) (wait time.Duration) {
	wait = pruneEvery
	if again, err := e.store.Partition(ctx, e.retention, e.now()); err != nil && ctx.Err() == nil {
		e.log.ErrorContext(ctx, "the ledger could not be partitioned; trying again later", "err", err)
		wait = pruneRetry
	} else if again > 0 {
		wait = min(wait, again)
	}
	if done, err := e.prune(ctx); err != nil && ctx.Err() == nil {
		e.log.ErrorContext(ctx, "the ledger could not be pruned; trying again later", "err", err)
	} else if !done {
		wait = pruneRetry
	}
	return wait
}

// prune makes a pass and says whether all could go that was to.
func (e *Engine) prune(ctx context.Context) (done bool, err error) {
	if e.retention <= 0 {
		return true, nil
	}
	at := Pruning{Before: e.now().Add(-e.retention)}
	for more := true; more; {
		if at, more, err = e.store.PruneStep(ctx, at, e.now()); err != nil {
			return false, err
		}
	}
	if at.Events > 0 || at.Partitions > 0 {
		e.log.InfoContext(ctx, "ledger pruned", "events", at.Events, "partitions", at.Partitions, "before", at.Before)
	}
	return at.Waits == 0, nil
}
