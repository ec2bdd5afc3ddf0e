package kenar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

const (
	// maxWait is the longest that a call waits before it is made again: the
	// longest that a quota by the minute asks for.
	maxWait = time.Minute
	// firstWait doubles with each repeat, up to lastWait.
	firstWait = 250 * time.Millisecond
	lastWait  = 10 * time.Second
	// moreRetries is how often a call is repeated unless the options say.
	moreRetries = 3
)

// mayRepeat says whether a call that failed may be made again. One that does
// something each time that it is made may be only where it surely was not
// served: no connection was made, or a quota stood in the way.
//
// A 503 is no such proof, with Retry-After or without: proxies make one, too,
// when what stands behind them has taken the call and then fallen silent.
func mayRepeat(err error, harmless bool) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.HTTPStatus {
		case http.StatusTooManyRequests:
			return true
		case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return harmless
		default:
			return false
		}
	}
	return errors.Is(err, ErrUnanswered) && (harmless || notSent(err))
}

// notSent says whether no connection was made.
func notSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// backOff returns how long to wait before the repeat n, counted from 0; false
// when the answer asks for more than maxWait.
func backOff(err error, n int) (time.Duration, bool) {
	if e, ok := errors.AsType[*Error](err); ok && e.RetryAfter > 0 {
		// Many are told the same moment; up to a tenth more keeps them apart.
		return e.RetryAfter + rand.N(e.RetryAfter/10+1), e.RetryAfter <= maxWait //nolint:gosec // spreads load, keeps no secret
	}
	wait := min(firstWait<<min(n, 10), lastWait)
	return wait/2 + rand.N(wait/2+1), true //nolint:gosec // spreads load, keeps no secret
}

// pause waits after err; what it returns says both why it waited and why it
// stopped.
func pause(ctx context.Context, wait time.Duration, err error) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w; and then %w", err, context.Cause(ctx))
	}
}
