package delivery

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/openkenar/openkenar/internal/webhook"
)

// metrics are what the engine tells of itself besides what it is asked for when
// the page is read.
type metrics struct {
	attempts map[webhook.Reason]prometheus.Counter
	seconds  prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, e *Engine) *metrics {
	with := promauto.With(r)
	attempts := with.NewCounterVec(prometheus.CounterOpts{
		Name: "openkenar_attempts_total",
		Help: "Attempts to deliver, by how they ended. Canceled ones were broken off by us: the server was stopping, or access was revoked.",
	}, []string{"reason"})
	m := &metrics{
		attempts: map[webhook.Reason]prometheus.Counter{},
		seconds: with.NewHistogram(prometheus.HistogramOpts{
			Name: "openkenar_send_seconds", Help: "Time that an app took to answer a webhook, or to fail to, in seconds.",
			Buckets: prometheus.DefBuckets,
		}),
	}
	for _, reason := range []webhook.Reason{
		webhook.OK, webhook.HTTPStatus, webhook.TimedOut, webhook.Refused, webhook.Transport, webhook.Canceled,
	} {
		m.attempts[reason] = attempts.WithLabelValues(string(reason))
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "openkenar_sends_in_flight", Help: "Sends under way, of at most 1024. When it stays there, apps are slow: see openkenar_send_seconds.",
	}, func() float64 { return float64(e.sends.underWay()) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "openkenar_lanes_held", Help: "Deliveries in memory: queued, being sent, or not yet recorded. What waits besides is in the ledger.",
	}, func() float64 { return float64(e.held.Load()) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "openkenar_circuits_open", Help: "Apps whose endpoints fail and are only probed; their deliveries wait. The log of attempts says which.",
	}, func() float64 { return float64(e.circuitsOpen()) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "openkenar_slots", Help: "Slots of apps that this node sends to, of 256. All nodes together have each once; without a lease a node has none.",
	}, func() float64 { return float64(e.slotsOwned()) })
	return m
}

// attempted counts an attempt.
func (m *metrics) attempted(r webhook.Result) {
	m.attempts[r.Reason].Inc()
	if r.Reason != webhook.Canceled && r.Reason != webhook.Refused {
		m.seconds.Observe(r.Duration.Seconds())
	}
}

func (e *Engine) circuitsOpen() (n int) {
	for _, l := range e.all() {
		if l.health.isOpen() {
			n++
		}
	}
	return n
}
