package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/openkenar/openkenar/internal/delivery"
)

const (
	firstAudit = time.Minute // after the start
	auditEvery = time.Hour   // after the end of the last
	// auditRest is how much longer an audit rests after each of its steps than
	// the step took: it has a tenth of a reader's time.
	auditRest = 9
)

// audits proves again and again, beside the work, that everything accepted is
// accounted for, and shows the outcome of the last proof as a metric. Before
// the first there is none to show.
type audits struct {
	audit    func(ctx context.Context, progress func(rows int64)) (delivery.Audit, error)
	registry prometheus.Registerer
	log      *slog.Logger

	mu          sync.Mutex
	unaccounted prometheus.Gauge // nil before the first proof, and so is at
	at          prometheus.Gauge

	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newAudits(ledger Ledger, registry prometheus.Registerer, log *slog.Logger) *audits {
	return &audits{audit: ledger.Audit, registry: registry, log: log, cancel: func() {}}
}

// start audits from now on, until stop.
func (a *audits) start(ctx context.Context) {
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.running.Go(func() {
		for wait := firstAudit; rest(ctx, wait) == nil; wait = auditEvery {
			if err := a.run(ctx); err != nil && ctx.Err() == nil {
				a.log.ErrorContext(ctx, "the ledger cannot be audited; trying again in an hour", "err", err)
			}
		}
	})
}

func (a *audits) stop() {
	a.cancel()
	a.running.Wait()
}

// Audit proves now that everything accepted is accounted for, at leisure, and
// puts the outcome on the metrics page, as the server does every hour.
func (s *Server) Audit(ctx context.Context) error { return s.audits.run(ctx) }

func (a *audits) run(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	began := time.Now()
	step := began
	audit, err := a.audit(ctx, func(int64) {
		_ = rest(ctx, auditRest*time.Since(step)) // when it is cut short, the next read fails
		step = time.Now()
	})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.show(audit)
	if audit.Unaccounted > 0 {
		a.log.ErrorContext(ctx, "the ledger does not account for everything; keep a copy of it (openkenar backup), and report this",
			"unaccounted", audit.Unaccounted, "findings", audit.Findings, "took", time.Since(began))
		return nil
	}
	a.log.InfoContext(ctx, "everything accepted is accounted for", "accepted", audit.Accepted, "took", time.Since(began))
	return nil
}

func (a *audits) show(audit delivery.Audit) {
	if a.unaccounted == nil {
		with := promauto.With(a.registry)
		a.unaccounted = with.NewGauge(prometheus.GaugeOpts{
			Name: "openkenar_unaccounted",
			Help: "What the last audit found not to be accounted for. It must be 0; if it is not, keep a copy of the ledger, and see the log and openkenar verify.",
		})
		a.at = with.NewGauge(prometheus.GaugeOpts{
			Name: "openkenar_audited_timestamp_seconds", Help: "When the last audit ended, in seconds since 1970. There is one every hour.",
		})
	}
	a.unaccounted.Set(float64(audit.Unaccounted))
	a.at.SetToCurrentTime()
}

// rest waits, unless ctx ends before that.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
