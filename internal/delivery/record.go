package delivery

import (
	"context"
	"time"
)

const (
	recordBatch = 4096                   // outcomes that share a transaction
	recordRetry = 100 * time.Millisecond // wait after a failed write, growing to recordMax
	recordMax   = time.Second
	// recordEvery keeps transactions apart while there is traffic: what comes
	// within it shares one. It is also how much more a crash may repeat.
	recordEvery = 5 * time.Millisecond
)

// result is an outcome on its way to the ledger.
type result struct {
	lane     *lane
	delivery Delivery
	outcome  Outcome
}

// record writes outcomes in batches until the channel is closed: everything
// that waits goes into one transaction.
func (e *Engine) record(ctx context.Context) {
	batch := make([]result, 0, recordBatch)
	var last time.Time
	for first := range e.outcomes {
		if wait := recordEvery - time.Since(last); wait > 0 && len(e.outcomes) < recordBatch {
			<-time.After(wait)
		}
		last = time.Now()
		batch = append(batch[:0], first)
	drain:
		for len(batch) < recordBatch {
			select {
			case r, ok := <-e.outcomes:
				if !ok {
					break drain
				}
				batch = append(batch, r)
			default:
				break drain
			}
		}
		e.write(ctx, batch)
	}
}

// write records a batch. Failure policy: keep the batch and try again for as
// long as the engine runs. Lanes are bounded, so memory is too; what a crash
// loses here is sent again.
func (e *Engine) write(ctx context.Context, batch []result) {
	outcomes := make([]Outcome, len(batch))
	for i, r := range batch {
		outcomes[i] = r.outcome
	}
	for wait := recordRetry; ; wait = min(2*wait, recordMax) {
		err := e.store.Record(ctx, outcomes)
		if err == nil {
			break
		}
		e.log.ErrorContext(ctx, "outcomes cannot be recorded; trying again", "count", len(outcomes), "err", err)
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	for _, r := range batch {
		r.lane.recorded(r.delivery, r.outcome)
	}
}
