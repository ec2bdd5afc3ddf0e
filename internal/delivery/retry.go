package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/webhook"
)

// schedule is when a failed delivery is tried again, counted from the end of
// the attempt that failed. Contract: section 6, Retries.
var schedule = [...]time.Duration{
	5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	jitter        = 0.2 // of a step, either way
	maxRetryAfter = 24 * time.Hour
	minRetryAfter = time.Second // so that "Retry-After: 0" is no busy loop
)

// WhyFirst is why a delivery's first attempt is made.
const WhyFirst = "the event happened"

// judge turns the result of an attempt that ended at the moment end into the
// delivery's next state.
func judge(d Delivery, r webhook.Result, end time.Time) Outcome {
	a := &Attempt{
		N:        d.Attempts + 1,
		At:       end.Add(-r.Duration),
		Duration: r.Duration,
		Request:  r.Request,
		Status:   r.Status,
		Answer:   r.Answer,
		Error:    r.Error,
		Why:      d.Why,
	}
	out := Outcome{ID: d.ID, Attempts: d.Attempts, Retry: d.Retry, Attempt: a}
	switch {
	case r.Reason == webhook.OK:
		out.State = Delivered
	case r.Status == http.StatusGone:
		out.State, out.Reason = Exhausted, "the app answered 410: it does not want this delivery"
	case d.Retry >= len(schedule):
		out.State, out.Reason = Exhausted, fmt.Sprintf("%d attempts failed; the last: %s", a.N, r.Error)
	default:
		out.State, out.Reason = Pending, r.Error
		out.Retry = d.Retry + 1
		out.Why = fmt.Sprintf("retry %d of %d: %s", out.Retry, len(schedule), r.Error)
		wait := spread(schedule[d.Retry])
		if r.Status == http.StatusTooManyRequests || r.Status == http.StatusServiceUnavailable {
			if after, ok := retryAfter(r.RetryAfter, end); ok {
				wait = after
				out.Why += ", asked to wait until then"
			}
		}
		out.NextAt = end.Add(wait).Truncate(time.Microsecond)
		a.NextAt = out.NextAt
	}
	return out
}

// postpone lets a delivery wait for an endpoint that has been failing for days,
// without a step of its schedule.
func (o *Outcome) postpone(d Delivery, end time.Time) {
	o.State, o.Retry, o.Reason = Pending, d.Retry, o.Attempt.Error
	o.Why = "the endpoint has been failing for days; it is probed every " + probeEvery.String()
	if next := end.Add(spread(probeEvery)).Truncate(time.Microsecond); next.After(o.NextAt) { // unless it asked for more
		o.NextAt = next
	}
	o.Attempt.NextAt = o.NextAt
}

// spread moves a step by up to jitter either way, so that what failed together
// does not come back together.
func spread(step time.Duration) time.Duration {
	return time.Duration(float64(step) * (1 - jitter + 2*jitter*rand.Float64())) //nolint:gosec // jitter is no secret
}

// retryAfter reads the header in both its forms (RFC 9110, 10.2.3): seconds or
// a date.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		// Bound before multiplying: a huge number must not overflow. Out of
		// range, ParseUint returns the largest there is.
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	} else {
		return 0, false
	}
	return min(max(wait, minRetryAfter), maxRetryAfter), true
}
