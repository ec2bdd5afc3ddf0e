package account

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// A name may be tried nameBurst times, then once every nameRefill; an address
	// may try addressBurst times, then once every addressRefill. A sign-in that
	// succeeds does not count.
	nameBurst     = 10
	nameRefill    = 30 * time.Second
	addressBurst  = 30
	addressRefill = 5 * time.Second
	// buckets bounds the memory. Two names that share one by chance slow each
	// other down, and cannot be chosen from outside.
	buckets = 4096
)

// throttle lets each key through so many times, and then once in a while.
type throttle struct {
	burst  float64
	refill time.Duration
	seed   maphash.Seed
	mu     *sync.Mutex
	all    *[buckets]bucket
}

type bucket struct {
	spent float64
	at    time.Time
}

func newThrottle(burst float64, refill time.Duration) throttle {
	return throttle{burst: burst, refill: refill, seed: maphash.MakeSeed(), mu: &sync.Mutex{}, all: &[buckets]bucket{}}
}

// of returns the bucket of a key, as it stands now.
func (t throttle) of(key string, now time.Time) *bucket {
	b := &t.all[maphash.String(t.seed, key)%buckets]
	if passed := now.Sub(b.at); passed > 0 {
		b.spent = max(0, b.spent-float64(passed)/float64(t.refill))
	}
	b.at = now
	return b
}

// take counts a try. Where there have been too many it says when to try again.
func (t throttle) take(key string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.of(key, now)
	if over := b.spent + 1 - t.burst; over > 0 {
		return time.Duration(over * float64(t.refill))
	}
	b.spent++
	return 0
}

// give takes a try back.
func (t throttle) give(key string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.of(key, now)
	b.spent = max(0, b.spent-1)
}
