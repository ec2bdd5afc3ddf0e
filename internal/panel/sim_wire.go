package panel

import (
	"slices"
	"sync"

	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// wireKept is how many exchanges the simulator remembers.
	wireKept = 200
	// wireShown is how many new ones a reader gets at a time; more is sampled.
	wireShown = 40
)

// wire is the exchanges that the simulator shows, the newest of them. It looks
// on from when the simulator is first opened.
type wire struct {
	tap   *webhook.Tap
	begin sync.Once
	stop  <-chan struct{} // closed when nobody shall wait any more
	reads sync.WaitGroup

	mu      sync.Mutex
	rows    []wireRow // by number
	version int64     // of the last change
	missed  int64
	grown   chan struct{} // closed at the next change
}

// wireRow is an exchange, with when it came and when it last changed.
type wireRow struct {
	*webhook.Exchange
	came, changed int64 // versions
}

func newWire(tap *webhook.Tap, stop <-chan struct{}) *wire {
	return &wire{tap: tap, stop: stop, grown: make(chan struct{})}
}

// open begins to look on, once.
func (l *wire) open() {
	l.begin.Do(func() {
		w := l.tap.Watch(webhook.WatchOptions{})
		l.reads.Go(func() {
			defer w.Stop()
			for {
				select {
				case x := <-w.Moments():
					l.take(x, w.Missed())
				case <-l.stop:
					return
				}
			}
		})
	})
}

// wait returns once what open began has ended; nothing begins after it.
func (l *wire) wait() {
	l.begin.Do(func() {})
	l.reads.Wait()
}

// take notes a moment of an exchange.
func (l *wire) take(x *webhook.Exchange, missed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = missed
	l.version++
	row := wireRow{Exchange: x, came: l.version, changed: l.version}
	if i := slices.IndexFunc(l.rows, func(r wireRow) bool { return r.Number == x.Number }); i >= 0 {
		row.came = l.rows[i].came
		l.rows[i] = row
	} else if l.rows = append(l.rows, row); len(l.rows) > wireKept {
		l.rows = slices.Delete(l.rows, 0, len(l.rows)-wireKept)
	}
	l.tell()
}

// touch wakes those who wait: something else has changed.
func (l *wire) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell()
}

func (l *wire) tell() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// growing is closed at the next change.
func (l *wire) growing() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown
}

// since returns what changed after a version, oldest first: rows that are new
// since then, at most wireShown of them, and rows that have got further. left is
// how many were left out before the rows.
func (l *wire) since(version int64) (rows []wireRow, now, left int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := 0
	for _, r := range slices.Backward(l.rows) {
		if r.changed <= version {
			continue
		}
		if r.came > version {
			if fresh++; fresh > wireShown {
				left++
				continue
			}
		}
		rows = append(rows, r)
	}
	slices.Reverse(rows)
	return rows, l.version, left
}

// lost returns how many exchanges never came here: there was no room for them.
func (l *wire) lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missed
}

// row returns an exchange by its number.
func (l *wire) row(number int64) (x *webhook.Exchange, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.rows, func(r wireRow) bool { return r.Number == number })
	if i < 0 {
		return nil, false
	}
	return l.rows[i].Exchange, true
}
