package bench

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestBenchNote sends a recorder the very messages that a run makes.
func TestBenchNote(t *testing.T) {
	r := run{mark: "e7a08a2c-8ee4-11ef-0007-", apps: []app{{conversations: []string{"c"}}}, events: 3, lines: 1}
	other := r
	other.mark = "e7a08a2c-8ee4-11ef-0008-"
	c := &recorder{mark: []byte(`"id":"` + r.mark), first: make([]atomic.Int64, r.events)}
	at := time.Now()
	for i, m := range []struct {
		run    run
		number int
	}{{r, 2}, {r, 0}, {r, 2}, {r, 3}, {other, 1}} {
		_, _, body := m.run.request(nil, m.number, m.number+1)
		c.note(body, at.Add(time.Duration(i)))
	}
	c.note([]byte(`{"id":"e7a08a2c-8ee4-11ef-0007-00000000000`), at)
	if c.arrived.Load() != 2 || c.repeated.Load() != 1 {
		t.Errorf("arrived %d, repeated %d; want 2 and 1", c.arrived.Load(), c.repeated.Load())
	}
	for i, want := range []int64{at.UnixNano() + 1, 0, at.UnixNano()} {
		if got := c.first[i].Load(); got != want {
			t.Errorf("event %d came at %d, want %d", i, got, want)
		}
	}
}

// TestBenchCompare has five events fed in two seconds; the last never comes,
// the fourth comes four seconds after the first request.
func TestBenchCompare(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(s float64) int64 { return begin.Add(time.Duration(s * float64(time.Second))).UnixNano() }
	f := &fed{starts: []int64{at(0), at(0), at(1), at(1), at(1.5)}, begin: begin, end: begin.Add(2 * time.Second)}
	f.accepted.Store(5)
	came := arrivals{First: []int64{at(0.1), at(0.3), at(1.2), at(4), 0}, Repeated: 1}
	want := Result{Events: 5, Accepted: 2.5, Delivered: 1, P50: 200, P99: 300, Max: 3000, Lost: 1, Repeated: 1}
	if got := compare(f, came); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := firstAfter(begin.Add(time.Second), came.First); got != 200*time.Millisecond {
		t.Errorf("the first after a second came %s later", got)
	}
}

// TestBenchPace has nobody take the orders: they come in time all the same.
func TestBenchPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run{events: 10, lines: 2, rate: 4}
		orders := make(chan order, r.events)
		begin := time.Now()
		r.pace(t.Context(), begin, orders)
		close(orders)
		for i := 0; i < r.events; i += r.lines {
			o, due := <-orders, begin.Add(time.Duration(i)*time.Second/4)
			if o.first != i || !o.at.Equal(due) {
				t.Errorf("order %d at %s, want %d at %s", o.first, o.at.Sub(begin), i, due.Sub(begin))
			}
		}
	})
}

func TestBenchUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	busy := time.Now()
	for time.Since(busy) < 50*time.Millisecond {
		runtime.Gosched()
	}
	u := usageOf(os.Getpid())
	if u.cpu < 20*time.Millisecond || u.cpu > time.Minute || u.peak < 1<<20 || u.peak > 10<<30 {
		t.Errorf("this process used %s and %d bytes", u.cpu, u.peak)
	}
}
