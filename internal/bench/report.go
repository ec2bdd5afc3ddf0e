package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Result is what a scenario showed. Rates are events a second: accepted from
// the first request to the last answer, delivered from the first request to the
// last arrival. Times are from the start of the accepting request to the
// arrival.
type Result struct {
	Scenario  string  `json:"scenario"`
	Events    int64   `json:"events"`
	Bare      float64 `json:"bare_per_s"`
	Accepted  float64 `json:"accepted_per_s"`
	Delivered float64 `json:"delivered_per_s"`
	Ratio     float64 `json:"ratio"` // delivered / bare
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	ServerCPU float64 `json:"server_cpu_us_per_event"` // of delivered ones; 0 where the system does not tell
	PeakRSS   float64 `json:"peak_rss_mb"`             // 0 where the system does not tell

	Lost        int64 `json:"lost"`        // accepted, and never arrived
	Repeated    int64 `json:"repeated"`    // arrivals after an event's first
	Unaccounted int64 `json:"unaccounted"` // by the audit of the ledger

	HealthyRatio  float64 `json:"healthy_ratio,omitempty"`     // delivered a second / without what is dead
	P99Ratio      float64 `json:"p99_ratio,omitempty"`         // p99 / without what is dead
	FirstDelivery float64 `json:"first_delivery_ms,omitempty"` // from the start of the process after a kill
	Waiting       int64   `json:"waiting,omitempty"`           // deliveries, for the dead app

	TailRatio    float64 `json:"tail_ratio,omitempty"`     // delivered a second in batches while the live tail is followed / without; a median
	TailCPURatio float64 `json:"tail_cpu_ratio,omitempty"` // the server's CPU of an event then / without; a median
}

// compare says what a run showed, from when its events were sent and came.
func compare(f *fed, came arrivals) Result {
	waits := make([]time.Duration, 0, len(came.First))
	last := f.begin.UnixNano()
	for i, at := range came.First {
		if at > 0 {
			waits = append(waits, time.Duration(at-f.starts[i]))
			last = max(last, at)
		}
	}
	accepted := f.accepted.Load()
	r := Result{
		Events: accepted, Accepted: float64(accepted) / f.end.Sub(f.begin).Seconds(),
		Lost: accepted - int64(len(waits)), Repeated: came.Repeated,
	}
	if len(waits) == 0 {
		return r
	}
	r.Delivered = float64(len(waits)) / time.Duration(last-f.begin.UnixNano()).Seconds()
	slices.Sort(waits)
	quantile := func(q float64) float64 { return milliseconds(waits[int(q*float64(len(waits)-1))]) }
	r.P50, r.P99, r.Max = quantile(0.5), quantile(0.99), quantile(1)
	return r
}

// firstAfter is how long after a moment the first event came; 0: none did.
func firstAfter(moment time.Time, came []int64) (wait time.Duration) {
	for _, at := range came {
		if d := time.Duration(at - moment.UnixNano()); d > 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	return wait
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Failed says whether the platform broke its promise.
func (r Result) Failed() bool { return r.Lost > 0 || r.Unaccounted > 0 }

// MarshalJSON implements json.Marshaler: no more digits than mean something.
func (r Result) MarshalJSON() ([]byte, error) {
	for _, f := range []*float64{
		&r.Bare, &r.Accepted, &r.Delivered, &r.Ratio, &r.P50, &r.P99, &r.Max, &r.ServerCPU, &r.PeakRSS,
		&r.HealthyRatio, &r.P99Ratio, &r.FirstDelivery, &r.TailRatio, &r.TailCPURatio,
	} {
		*f = math.Round(*f*1000) / 1000
	}
	type plain Result
	return json.Marshal(plain(r))
}

// Header is the head of the table whose rows are results.
const Header = "scenario    bare/s  accepted/s  delivered/s  ratio    p50 ms    p99 ms    max ms  CPU µs/event  peak MB  lost  repeated  unaccounted"

// String is the result's row of the table, and what else there is to say.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %9.0f %11.0f %12.0f %6.2f %9.1f %9.1f %9.1f %13.1f %8.0f %5d %9d %12d", r.Scenario,
		r.Bare, r.Accepted, r.Delivered, r.Ratio, r.P50, r.P99, r.Max, r.ServerCPU, r.PeakRSS, r.Lost, r.Repeated, r.Unaccounted)
	if r.Waiting > 0 {
		fmt.Fprintf(&b, "\n         %d deliveries wait for a dead app", r.Waiting)
	}
	if r.HealthyRatio > 0 {
		fmt.Fprintf(&b, "\n         healthy apps beside dead ones: %.2f x the deliveries", r.HealthyRatio)
	}
	if r.TailRatio > 0 {
		fmt.Fprintf(&b, "\n         with the live tail followed in batches: %.2f x the deliveries, %.2f x the CPU", r.TailRatio, r.TailCPURatio)
	}
	if r.P99Ratio > 0 {
		fmt.Fprintf(&b, ", %.2f x the p99 of the same run without", r.P99Ratio)
	}
	if r.FirstDelivery > 0 {
		fmt.Fprintf(&b, "\n         first delivery %.0f ms after the start that follows a kill -9", r.FirstDelivery)
	}
	return b.String()
}
