package delivery

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

const (
	// page is how many deliveries a list holds.
	page = 100
	// window is how many deliveries a page looks through, where a filter chooses
	// by what no index has. Its cost does not grow with the log.
	window = 1000
	// intervals is how many spans of time a picture of an endpoint has, and samples
	// how many deliveries of each are looked at.
	intervals = 48
	samples   = 50
)

// Row is a delivery as the log shows it.
type Row struct {
	ID       ID
	Type     string
	State    State
	Reason   string // why it is not delivered (yet)
	Attempts int
	NextAt   time.Time // of a pending one
	At       time.Time // when the event happened
	Body     []byte    // what is sent; only of a single one, nil once erased
	// Aside: a list that looks through a window has passed it by.
	Aside bool
}

// Happened is an event with one verdict for each app that it concerned.
type Happened struct {
	ID       int64
	Type     string
	At       time.Time
	Verdicts []Row
}

// Filter chooses deliveries of the log; zero fields choose all.
type Filter struct {
	App   string
	State State
	Event int64
	After ID // older than this one; zero: from the newest
	Limit int

	From, To time.Time // when the event happened; zero: open
	// What no index has: each page looks through a bounded number of deliveries.
	Type string // of the event
	User string // the marketplace's id of a user whom the event concerns
	Post string // the token of a post that it concerns
}

// Narrow says whether a filter chooses by what no index has.
func (f Filter) Narrow() bool { return f.Type != "" || f.User != "" || f.Post != "" }

// Selection chooses deliveries to be put back.
type Selection struct {
	App      string // "" for all
	State    State
	From, To time.Time // when the event happened; zero: open
}

// Ledger is what the log reads and puts back.
type Ledger interface {
	Deliveries(ctx context.Context, f Filter) ([]Row, error)
	Delivery(ctx context.Context, id ID) (r Row, log []Attempt, ok bool, err error)
	Event(ctx context.Context, id int64) (h Happened, ok bool, err error)
	// PutBack makes a delivery pending again, due now. done is false, and
	// refusal says why, when its grant is gone or its content erased.
	PutBack(ctx context.Context, id ID, why string, now time.Time) (done bool, refusal string, err error)
	CountBack(ctx context.Context, s Selection) (int64, error)
	// Samples returns attempts at the first deliveries of an app whose events
	// happened in a span of time, of at most limit of them.
	Samples(ctx context.Context, app string, from, to time.Time, limit int) ([]Sample, error)
	// Backlog counts what waits for an app, up to a limit, and says when the first
	// of it falls or fell due.
	Backlog(ctx context.Context, app string, limit int) (n int, oldest time.Time, err error)
	// StartPuttingBack notes a bulk redelivery, for RedeliverStep.
	StartPuttingBack(ctx context.Context, s Selection, count int64, now time.Time) (id int64, err error)
}

// Log is what people see of deliveries, and how they put them back.
type Log struct {
	ledger Ledger
	engine *Engine
}

// NewLog returns the log over a ledger; what is put back, the engine sends.
func NewLog(ledger Ledger, engine *Engine) (*Log, error) {
	if ledger == nil || engine == nil {
		return nil, errors.New("delivery: ledger and engine are needed")
	}
	return &Log{ledger: ledger, engine: engine}, nil
}

// whyRedelivered is why an attempt by hand is made.
const whyRedelivered = "redelivered by hand"

// CheckState refuses what is not the state of a delivery; "" is all of them.
func CheckState(s State) error {
	switch s {
	case "", Pending, Delivered, Exhausted, Canceled:
		return nil
	case Skipped:
	}
	return status.New(status.Invalid, "state: %q is not one of pending, delivered, exhausted, canceled", string(s))
}

// List returns a page of deliveries, newest first, and the cursor of the next.
// Of a narrow filter a page may hold fewer than others, and none, though there is
// a next one.
func (l *Log) List(ctx context.Context, f Filter) ([]Row, string, error) {
	if err := CheckState(f.State); err != nil {
		return nil, "", err
	}
	looks := page
	if f.Narrow() {
		looks = window
	}
	f.Limit = looks + 1
	rows, err := l.ledger.Deliveries(ctx, f)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(rows) > looks {
		next = rows[looks-1].ID.String()
		rows = rows[:looks]
	}
	found := make([]Row, 0, min(len(rows), page))
	for i, r := range rows {
		if r.Aside {
			continue
		}
		if found = append(found, r); len(found) == page && (i < len(rows)-1 || next != "") {
			return found, r.ID.String(), nil
		}
	}
	return found, next, nil
}

// Sample is an attempt as a picture of an endpoint needs it.
type Sample struct {
	At     time.Time
	Took   time.Duration
	Failed bool
}

// Interval is how an endpoint did in a span of time.
type Interval struct {
	From          time.Time
	Sent, Failed  int           // attempts that were looked at
	Median, Worst time.Duration // of the time that they took; Worst is exceeded by one of twenty
	Sampled       bool          // there were more
}

// Pulse returns how the endpoint of an app did over a time until now, in spans of
// equal length. Its cost does not grow with how much was sent.
func (l *Log) Pulse(ctx context.Context, app string, over time.Duration) ([]Interval, error) {
	now := l.engine.now()
	step := over / intervals
	pulse := make([]Interval, intervals)
	took := make([][]time.Duration, intervals)
	begin := now.Add(-over)
	for i := range pulse {
		pulse[i].From = begin.Add(time.Duration(i) * step)
		list, err := l.ledger.Samples(ctx, app, pulse[i].From, pulse[i].From.Add(step), samples)
		if err != nil {
			return nil, err
		}
		pulse[i].Sampled = len(list) >= samples
		for _, s := range list { // a retry falls into a later span than its event
			at := int(s.At.Sub(begin) / step)
			if at < 0 || at >= intervals {
				continue
			}
			pulse[at].Sent++
			if s.Failed {
				pulse[at].Failed++
			}
			took[at] = append(took[at], s.Took)
		}
	}
	for i, all := range took {
		if len(all) > 0 {
			slices.Sort(all)
			pulse[i].Median, pulse[i].Worst = all[len(all)/2], all[len(all)*19/20]
		}
	}
	return pulse, nil
}

// Apps returns the apps for which something waits.
func (l *Log) Apps(ctx context.Context) ([]string, error) { return l.engine.store.Waiting(ctx) }

// backlogLimit is how far Waiting counts.
const backlogLimit = 10_000

// Waiting says how many deliveries wait for an app, how long the first has been
// due, and whether there are more than were counted.
func (l *Log) Waiting(ctx context.Context, app string) (n int, oldest time.Time, more bool, err error) {
	n, oldest, err = l.ledger.Backlog(ctx, app, backlogLimit+1)
	return min(n, backlogLimit), oldest, n > backlogLimit, err
}

// Get returns a delivery with every attempt, first to last.
func (l *Log) Get(ctx context.Context, id ID) (Row, []Attempt, error) {
	r, attempts, ok, err := l.ledger.Delivery(ctx, id)
	if err == nil && !ok {
		err = noDelivery(id)
	}
	return r, attempts, err
}

func noDelivery(id ID) error {
	return status.New(status.NotFound, "delivery %q: no such delivery", id)
}

// Event returns an event with its verdicts.
func (l *Log) Event(ctx context.Context, text string) (Happened, error) {
	unknown := status.New(status.NotFound, "event %q: no such event", text)
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Happened{}, unknown
	}
	h, ok, err := l.ledger.Event(ctx, id)
	if err == nil && !ok {
		err = unknown
	}
	return h, err
}

// Redeliver makes a delivery pending again, with a fresh retry schedule, and
// sends it now.
func (l *Log) Redeliver(ctx context.Context, id ID) (Row, error) {
	if _, _, err := l.Get(ctx, id); err != nil {
		return Row{}, err
	}
	done, refusal, err := l.ledger.PutBack(ctx, id, whyRedelivered, l.engine.now())
	if err != nil {
		return Row{}, err
	}
	if !done {
		return Row{}, status.New(status.FailedPrecondition, "delivery %q cannot be sent again: %s", id, refusal)
	}
	l.engine.Wake(id.App)
	r, _, err := l.Get(ctx, id)
	return r, err
}

// RedeliverAll puts back every delivery of a selection that may be sent again,
// in bounded steps behind the answer, and returns how many they are and the
// id of the work.
func (l *Log) RedeliverAll(ctx context.Context, s Selection) (count, id int64, err error) {
	if count, err = l.Count(ctx, s); err != nil {
		return 0, 0, err
	}
	if id, err = l.ledger.StartPuttingBack(ctx, s, count, l.engine.now()); err != nil {
		return 0, 0, err
	}
	l.engine.chores()
	return count, id, nil
}

// Count is RedeliverAll without doing it.
func (l *Log) Count(ctx context.Context, s Selection) (int64, error) {
	if err := CheckState(s.State); err != nil {
		return 0, err
	}
	if s.State == "" {
		return 0, status.New(status.Invalid, "state: missing; one of pending, delivered, exhausted, canceled")
	}
	if !s.To.IsZero() && s.To.Before(s.From) {
		return 0, status.New(status.Invalid, "to: lies before from")
	}
	return l.ledger.CountBack(ctx, s)
}
