package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openkenar/openkenar/internal/delivery"
)

// auditedLedger takes a second for each of two steps of an audit.
type auditedLedger struct {
	Ledger
	start time.Time

	mu       sync.Mutex
	began    []time.Duration // since start
	findings []string
}

// finds sets what the next audits find.
func (l *auditedLedger) finds(findings ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.findings = findings
}

// Audit implements Ledger.
func (l *auditedLedger) Audit(ctx context.Context, progress func(int64)) (a delivery.Audit, err error) {
	l.mu.Lock()
	l.began = append(l.began, time.Since(l.start))
	l.mu.Unlock()
	for range 2 {
		if err := rest(ctx, time.Second); err != nil {
			return a, err
		}
		progress(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.findings {
		a.Find(f)
	}
	return a, ctx.Err()
}

// shown is the value of a metric; ok is false where there is none.
func shown(t *testing.T, r *prometheus.Registry, name string) (value float64, ok bool) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue(), true
		}
	}
	return 0, false
}

// TestAudits: the first after a minute, then one every hour, at a tenth of the
// time; what one finds is shown and named.
func TestAudits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		ledger := &auditedLedger{start: time.Now()}
		a := newAudits(ledger, registry, slog.New(slog.NewTextHandler(&log, nil)))
		a.start(t.Context())
		wait := func(d time.Duration) {
			t.Helper()
			if err := rest(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		const took = 2 * (1 + auditRest) * time.Second
		wait(firstAudit + took - time.Nanosecond)
		if n, ok := shown(t, registry, "openkenar_unaccounted"); ok {
			t.Errorf("before the first audit has ended, %v is shown", n)
		}
		wait(time.Nanosecond)
		if n, ok := shown(t, registry, "openkenar_unaccounted"); n != 0 || !ok {
			t.Errorf("after the first audit: %v, %v", n, ok)
		}
		if at, _ := shown(t, registry, "openkenar_audited_timestamp_seconds"); at != float64(time.Now().UnixNano())/1e9 {
			t.Errorf("audited at %v, want now", at)
		}
		ledger.finds("delivery 7-a: unknown state", "event 8: gone")
		wait(auditEvery + took)
		if n, _ := shown(t, registry, "openkenar_unaccounted"); n != 2 {
			t.Errorf("unaccounted: %v, want 2", n)
		}
		wait(auditEvery + time.Second/2)
		a.stop() // in the middle of an audit
		if n, _ := shown(t, registry, "openkenar_unaccounted"); n != 2 || len(ledger.began) != 3 || ledger.began[0] != firstAudit || ledger.began[1] != firstAudit+took+auditEvery {
			t.Errorf("unaccounted %v, audits at %v", n, ledger.began)
		}
		if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "delivery 7-a: unknown state event 8: gone") {
			t.Errorf("the log does not name what was found: %s", text)
		}
	})
}
