// Package shelf keeps values in memory for a while, under names that nobody can
// guess: sessions, tickets, states of OAuth. A restart forgets them.
package shelf

import (
	"crypto/rand"
	"maps"
	"sync"
	"time"
)

// most is how many values a shelf keeps: who fills it loses the oldest, and we
// have not run out of memory.
const most = 100_000

// Shelf keeps values for Life each. It is safe for concurrent use.
type Shelf[T any] struct {
	Life time.Duration

	mu    sync.Mutex
	kept  map[string]T
	order []term // of what was put here, also of what was taken since
}

type term struct {
	name  string
	until time.Time
}

// Put keeps a value and returns its name: at least 128 random bits, in letters and
// digits.
func (s *Shelf[T]) Put(value T) (name string) {
	name = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clean()
	if s.kept == nil {
		s.kept = map[string]T{}
	}
	if len(s.order) >= most {
		delete(s.kept, s.order[0].name)
		s.order = s.order[1:]
	}
	s.kept[name] = value
	s.order = append(s.order, term{name, time.Now().Add(s.Life)})
	return name
}

// Get returns the value of a name.
func (s *Shelf[T]) Get(name string) (value T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clean()
	value, ok = s.kept[name]
	return value, ok
}

// Take returns the value of a name, once.
func (s *Shelf[T]) Take(name string) (value T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clean()
	value, ok = s.kept[name]
	delete(s.kept, name)
	return value, ok
}

// DeleteFunc forgets the values of which gone is true.
func (s *Shelf[T]) DeleteFunc(gone func(T) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.kept, func(_ string, value T) bool { return gone(value) })
}

func (s *Shelf[T]) clean() {
	now := time.Now()
	for len(s.order) > 0 && !now.Before(s.order[0].until) {
		delete(s.kept, s.order[0].name)
		s.order = s.order[1:]
	}
}
