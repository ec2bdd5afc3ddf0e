package server

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// lookTime is how long reading the metrics page may wait for the ledger.
const lookTime = 2 * time.Second

// newRegistry returns the metrics of one server, beginning with those of its
// process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metrics shows the page. What only the ledger knows is read for each showing.
func (s *Server) metrics() func(http.ResponseWriter, *http.Request) error {
	oldest := promauto.With(s.registry).NewGauge(prometheus.GaugeOpts{
		Name: "openkenar_oldest_due_seconds",
		Help: "How late the pending delivery is that is most overdue, in seconds; 0 for none. Those of paused apps and of open circuits count too.",
	})
	page := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
	})
	return func(w http.ResponseWriter, r *http.Request) error {
		oldest.Set(s.oldestDue(r.Context()))
		page.ServeHTTP(w, r)
		return nil
	}
}

// oldestDue is how late the most overdue delivery is, in seconds. Failure
// policy: without an answer of the ledger it is not a number; the rest of the
// page is shown.
func (s *Server) oldestDue(ctx context.Context) float64 {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	at, err := s.store.OldestDue(ctx)
	switch {
	case err != nil:
		s.log.ErrorContext(ctx, "the oldest delivery that is due cannot be read", "err", err)
		return math.NaN()
	case at.IsZero():
		return 0
	}
	return max(0, s.clock.Now().Sub(at).Seconds())
}
