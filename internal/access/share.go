package access

import "sync"

// Share bounds what one app may have under way of a kind, so that it leaves room
// for the others.
type Share struct {
	limit int
	mu    sync.Mutex
	busy  map[string]int // by app; none that has nothing under way
}

// NewShare returns a share of so many at once for each app.
func NewShare(limit int) *Share { return &Share{limit: limit, busy: map[string]int{}} }

// Enter lets an app begin something if it has not its share already. Call leave
// once when it has ended.
func (s *Share) Enter(app string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[app] >= s.limit {
		return nil, false
	}
	s.busy[app]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy[app]--; s.busy[app] == 0 {
			delete(s.busy, app)
		}
	}, true
}
