package store

import (
	"context"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

const (
	// fresh is how long what the writer last found out is good enough.
	fresh = time.Second
	// readyTime is how long a ledger that is ready may take for a write.
	readyTime = 2 * time.Second
	// probed is the setting that is written to find out.
	probed = "probed"
)

// readiness is what the writer last found out.
type readiness struct {
	mu  sync.Mutex
	at  time.Time
	err error // why no write is taken; nil: one was
}

func (r *readiness) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.err = time.Now(), err
}

func (r *readiness) get() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at, r.err
}

// Ready returns Unavailable with a reason while the ledger takes no writes. It
// tries one, unless another was tried less than a second ago.
func (s *Store) Ready(ctx context.Context) error {
	at, err := s.last.get()
	if time.Since(at) >= fresh {
		err = s.submit(ctx, &write{patience: readyTime, run: func(tx *Tx) error {
			return tx.run(`INSERT INTO settings (name, value) VALUES ($1, '') ON CONFLICT (name) DO UPDATE SET value = excluded.value`, probed)
		}})
	}
	if err == nil {
		return nil
	}
	return status.New(status.Unavailable, "not ready: %s; writes are refused, and taken again by themselves", s.dialect.reason(err))
}
