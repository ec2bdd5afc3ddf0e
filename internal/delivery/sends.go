package delivery

import (
	"slices"
	"sync"
)

const (
	// maxSends is how many sends may be under way at a time, of all apps.
	maxSends = 1024
	// sendShare is the part of what is free that one app may have under way:
	// the less is free, the smaller each share, and something always is.
	sendShare = 8
)

// sends shares the sends under way out among the lanes.
type sends struct {
	mu      sync.Mutex
	total   int
	waiting []*lane // that were refused one, in order
}

// underWay is how many there are.
func (s *sends) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// take asks for one more send of a lane that has some under way. A lane that is
// refused is told by give when to ask again.
func (s *sends) take(l *lane, has int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free := maxSends - s.total; free > 0 && has < max(1, free/sendShare) {
		s.total++
		return true
	}
	if !slices.Contains(s.waiting, l) {
		s.waiting = append(s.waiting, l)
	}
	return false
}

// give ends a send and returns a lane that waits for one, or nil.
func (s *sends) give() (next *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if len(s.waiting) > 0 {
		next, s.waiting = s.waiting[0], s.waiting[1:]
	}
	return next
}
