package delivery

import "sync"

const (
	// maxSends is how many sends may be under way at a time, of all apps.
	maxSends = 1024
	// sendShare is the part of what is free that one app may have under way:
	// the less is free, the smaller each share, and something always is.
	sendShare = 8
)

// sends shares the sends under way out among the lanes.
type sends struct {
	mu    sync.Mutex
	total int
	// Lanes that were refused one, in order; those with none under way first.
	idle, busy []*lane
}

// underWay is how many there are.
func (s *sends) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// take asks for one more send of a lane that has some under way. A lane that is
// refused is asked again by passOn.
func (s *sends) take(l *lane, has int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free := maxSends - s.total; free > 0 && has < max(1, free/sendShare) {
		s.total++
		return true
	}
	switch {
	case l.starved:
	case has == 0:
		s.idle = append(s.idle, l)
	default:
		s.busy = append(s.busy, l)
	}
	l.starved = true
	return false
}

// give ends a send and returns how many lanes wait for one.
func (s *sends) give() (waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	return len(s.idle) + len(s.busy)
}

// next returns the lane whose turn it is, or nil.
func (s *sends) next() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := &s.idle
	if len(*from) == 0 {
		from = &s.busy
	}
	if len(*from) == 0 {
		return nil
	}
	l := (*from)[0]
	(*from)[0], *from, l.starved = nil, (*from)[1:], false
	return l
}

// passOn ends a send and gives its place to a lane that waits for one. Some may
// have nothing to send any more; then the next has its turn.
func (s *sends) passOn() {
	for range s.give() {
		l := s.next()
		if l == nil || l.begin() {
			return
		}
	}
}
