package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/openkenar/openkenar/internal/delivery"
)

// metrics are what the ledger tells of itself. What a transaction has done is
// counted once it is on disk.
type metrics struct {
	events, accepted, fed prometheus.Counter
	ended                 map[delivery.State]prometheus.Counter
	commit, writes        prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	with := promauto.With(r)
	ended := with.NewCounterVec(prometheus.CounterOpts{
		Name: "openkenar_deliveries_total",
		Help: "Deliveries that ended, by how. One that was sent again by hand ends again. Exhausted ones reached nobody: see openkenar deliveries list --state exhausted.",
	}, []string{"state"})
	m := &metrics{
		events: with.NewCounter(prometheus.CounterOpts{
			Name: "openkenar_events_total", Help: "Events on disk: things that happened, and calls that an app answered while somebody waited.",
		}),
		accepted: with.NewCounter(prometheus.CounterOpts{
			Name: "openkenar_deliveries_accepted_total",
			Help: "Deliveries that were accepted: pending when their event came to disk. Each must end as one of openkenar_deliveries_total.",
		}),
		fed: with.NewCounter(prometheus.CounterOpts{
			Name: "openkenar_feed_items_total", Help: "Items that the feed has got for the marketplace to show.",
		}),
		ended: map[delivery.State]prometheus.Counter{},
		commit: with.NewHistogram(prometheus.HistogramOpts{
			Name:    "openkenar_commit_seconds",
			Help:    "Time that a COMMIT took, in seconds; every call that writes waits for one. When it grows, the disk is slow.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
		writes: with.NewHistogram(prometheus.HistogramOpts{
			Name: "openkenar_commit_writes", Help: "Writes that shared a COMMIT. When most come near 1024, the writer cannot keep up.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
	}
	for _, state := range []delivery.State{delivery.Delivered, delivery.Exhausted, delivery.Canceled} {
		m.ended[state] = ended.WithLabelValues(string(state))
	}
	return m
}

// committed counts what is on disk now.
func (m *metrics) committed(tx *Tx) {
	m.events.Add(float64(tx.events))
	m.accepted.Add(float64(len(tx.fresh)))
	m.fed.Add(float64(len(tx.published)))
	for state, n := range tx.ended {
		m.ended[state].Add(float64(n))
	}
}
