package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

// clockOffset is the setting that keeps the clock over a restart.
const clockOffset = "clock_offset_ns"

// clock is the platform's clock: real time and an offset that only dev mode
// moves. Now is the one place where it is applied.
type clock struct {
	moving sync.Mutex
	offset atomic.Int64
}

// Now is the platform's time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) set(t time.Time) { c.offset.Store(int64(time.Until(t))) }

// resume takes up the offset that an earlier process left.
func (c *clock) resume(ctx context.Context, s *store.Store) error {
	text, err := s.Setting(ctx, clockOffset)
	if err != nil || text == "" {
		return err
	}
	ns, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("setting %s: %w", clockOffset, err)
	}
	c.offset.Store(ns)
	return nil
}

// devClock moves the clock and lets happen what falls due on the way.
type devClock struct {
	clock  *clock
	engine *delivery.Engine
	store  *store.Store
}

// Advance implements hostapi.Clock. The clock goes from one due delivery to
// the next, so that each is attempted at its own time and its retries follow
// from there.
func (d devClock) Advance(ctx context.Context, by time.Duration) (now time.Time, err error) {
	c := d.clock
	c.moving.Lock()
	defer c.moving.Unlock()
	target := c.Now().Add(by)
	// Also when it breaks off on the way: time does not go back at a restart.
	defer func() {
		err = errors.Join(err, d.store.SetSetting(context.WithoutCancel(ctx), clockOffset, strconv.FormatInt(c.offset.Load(), 10)))
	}()
	if err := d.engine.Settle(ctx); err != nil {
		return c.Now(), err
	}
	for {
		next := d.engine.NextDue()
		if next.IsZero() || next.After(target) {
			break
		}
		if next.After(c.Now()) {
			c.set(next)
		}
		if err := d.settle(ctx); err != nil {
			return c.Now(), err
		}
	}
	if target.After(c.Now()) {
		c.set(target)
	}
	if err := d.settle(ctx); err != nil {
		return c.Now(), err
	}
	return c.Now(), nil
}

func (d devClock) settle(ctx context.Context) error {
	d.engine.WakeAll()
	return d.engine.Settle(ctx)
}
