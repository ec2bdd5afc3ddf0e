package kenar

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// Turn is what Repeats says of a delivery that has come.
type Turn int

// The turns.
const (
	TurnFirst Turn = iota // nobody has it, and it is not done: the callback runs
	TurnBusy              // another attempt of it is at work: it is answered with 503
	TurnDone              // it is done: it is answered with 200, and nothing happens
)

// Repeats remembers which deliveries are done, so that each is done once: a
// platform sends one again when it has not heard the answer, and when somebody
// there asks for that by hand. Methods may be called at the same time. The ids
// are those of Delivery.RepeatKey, at most 128 bytes.
//
// A MemoryRepeats is enough for an app that is one process and may do a thing
// twice when that process ends between the callback and the answer, or begins
// anew.
// An app that is several keeps this in its database: a table of ids with the
// time at which a delivery was begun, and whether it is done. There Begin
// inserts the id or takes over one that is not done and was begun longer ago
// than any callback lasts (its process has died); Done and Release update and
// delete it. A callback that writes to the same database may insert the id as
// done in its own transaction: then a thing is done exactly once, whatever dies.
type Repeats interface {
	// Begin takes a delivery in hand when it says TurnFirst. On an error the
	// delivery is answered with 503, and nothing happens.
	Begin(ctx context.Context, id string) (Turn, error)
	// Done says that the callback has returned nil.
	Done(ctx context.Context, id string) error
	// Release says that it has not: the next attempt is again the first.
	Release(ctx context.Context, id string) error
}

const (
	defaultMemoryCount = 65_536
	// defaultMemoryAge is longer than the longest step between two attempts, a
	// day and its fifth.
	defaultMemoryAge = 48 * time.Hour
)

// MemoryRepeatsOptions bound a MemoryRepeats.
type MemoryRepeatsOptions struct {
	Count int           // how many deliveries that are done are remembered; default 65,536, some 10 MB
	Age   time.Duration // for how long; default 48 h
}

// MemoryRepeats is Repeats in memory. The oldest is forgotten first.
type MemoryRepeats struct {
	count int
	age   time.Duration

	mu    sync.Mutex
	busy  map[string]struct{}
	done  map[string]struct{}
	order []finished // of done, the oldest first
}

type finished struct {
	id string
	at time.Time
}

// NewMemoryRepeats returns an empty MemoryRepeats.
func NewMemoryRepeats(o MemoryRepeatsOptions) (*MemoryRepeats, error) {
	if o.Count < 0 || o.Age < 0 {
		return nil, errors.New("kenar: MemoryRepeatsOptions: Count and Age must not be negative; 0 is the default")
	}
	return &MemoryRepeats{
		count: cmp.Or(o.Count, defaultMemoryCount), age: cmp.Or(o.Age, defaultMemoryAge),
		busy: map[string]struct{}{}, done: map[string]struct{}{},
	}, nil
}

// Begin implements Repeats.
func (m *MemoryRepeats) Begin(_ context.Context, id string) (Turn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(0)
	if _, ok := m.done[id]; ok {
		return TurnDone, nil
	}
	if _, ok := m.busy[id]; ok {
		return TurnBusy, nil
	}
	m.busy[id] = struct{}{}
	return TurnFirst, nil
}

// Done implements Repeats.
func (m *MemoryRepeats) Done(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.busy, id)
	if _, ok := m.done[id]; ok {
		return nil
	}
	m.forget(1)
	m.done[id] = struct{}{}
	m.order = append(m.order, finished{id, time.Now()})
	return nil
}

// Release implements Repeats.
func (m *MemoryRepeats) Release(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.busy, id)
	return nil
}

// forget drops what is too old, and makes room for n more.
func (m *MemoryRepeats) forget(n int) {
	since := time.Now().Add(-m.age)
	for len(m.order) > 0 && (m.order[0].at.Before(since) || len(m.order)+n > m.count) {
		delete(m.done, m.order[0].id)
		m.order[0] = finished{}
		m.order = m.order[1:]
	}
}
