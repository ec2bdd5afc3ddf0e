package panel

import (
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/webhook"
)

// TestWireSince: a reader that falls behind gets the newest rows, those that it
// has seen in their last state, and the number of what was left out.
func TestWireSince(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	l := newWire(webhook.NewTap(true), stop)
	l.open()
	take := func(number int64, m webhook.Moment) { l.take(&webhook.Exchange{Number: number, Moment: m}, 0) }
	take(1, webhook.Began)
	take(2, webhook.Began)
	rows, seen, left := l.since(0)
	if len(rows) != 2 || rows[0].Number != 1 || left != 0 {
		t.Fatalf("at first: %d rows, %d left", len(rows), left)
	}
	grown := l.growing()
	take(1, webhook.Ended)
	<-grown
	take(1, webhook.Judged)
	rows, now, _ := l.since(seen)
	if len(rows) != 1 || rows[0].Number != 1 || rows[0].Moment != webhook.Judged || rows[0].came > seen {
		t.Errorf("what has got further: %+v", rows)
	}
	if rows, _, _ := l.since(now); len(rows) != 0 {
		t.Errorf("nothing new: %d rows", len(rows))
	}
	for i := range int64(2 * wireKept) {
		take(3+i, webhook.Began)
	}
	rows, _, left = l.since(now)
	if last := rows[len(rows)-1].Number; len(rows) != wireShown || left != wireKept-wireShown || last != 2+2*wireKept {
		t.Errorf("behind: %d rows up to %d, %d left", len(rows), last, left)
	}
	if _, ok := l.row(1); ok {
		t.Error("an exchange is remembered for ever")
	}
	if x, ok := l.row(2 + 2*wireKept); !ok || x.Number != 2+2*wireKept {
		t.Error("the newest exchange is not remembered")
	}
	close(stop)
	l.wait()
	l.open() // too late: nothing begins
	l.wait()
}

func TestEventData(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": ": nothing new", "a\nb\rc": "data: a\ndata: b&#13;c"} {
		if got := eventData(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzDomID: whatever a marketplace names its messages, ids of the page stay
// apart and fit into a selector.
func FuzzDomID(f *testing.F) {
	f.Add("e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12", "a.b:c")
	f.Add("_2e_", ".")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, other := domID("x-", a), domID("x-", b)
		if strings.ContainsFunc(one, func(r rune) bool {
			return !strings.ContainsRune("_-", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			t.Errorf("%q becomes %q", a, one)
		}
		if strings.ToValidUTF8(a, "\ufffd") != strings.ToValidUTF8(b, "\ufffd") && one == other {
			t.Errorf("%q and %q become %q", a, b, one)
		}
	})
}
