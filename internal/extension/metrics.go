package extension

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/webhook"
)

// How a call ended, besides the reasons of the wire.
const (
	outcomeWrong = "wrong" // an answer that is not as it should be
	outcomeBusy  = "busy"  // too many calls wait for the app already; none was made
)

// called is a call's kind and how it ended.
type called struct {
	kind    event.Type
	outcome string
}

// newCalls returns the counters of calls.
func newCalls(r prometheus.Registerer) map[called]prometheus.Counter {
	calls := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "openkenar_calls_total",
		Help: "Calls that apps had to answer while a user waited, by how they ended. All but ok were shown to the user as a failure; the app's log has why.",
	}, []string{"type", "outcome"})
	m := map[called]prometheus.Counter{}
	for _, kind := range []event.Type{event.SessionInitialization, event.DynamicAction} {
		for _, outcome := range []string{
			string(webhook.OK), string(webhook.HTTPStatus), string(webhook.TimedOut), string(webhook.TooLarge),
			string(webhook.Refused), string(webhook.Transport), string(webhook.Canceled), outcomeWrong, outcomeBusy,
		} {
			m[called{kind, outcome}] = calls.WithLabelValues(strings.ToLower(string(kind)), outcome)
		}
	}
	return m
}

// outcomeOf is the bounded word for how a call ended.
func outcomeOf(r webhook.Result, problem string) string {
	if r.Reason == webhook.OK && problem != "" {
		return outcomeWrong
	}
	return string(r.Reason)
}
