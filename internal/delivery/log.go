package delivery

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

// page is how many deliveries a list holds.
const page = 100

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
}

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
func (l *Log) List(ctx context.Context, f Filter) ([]Row, string, error) {
	if err := CheckState(f.State); err != nil {
		return nil, "", err
	}
	f.Limit = page + 1
	rows, err := l.ledger.Deliveries(ctx, f)
	if err != nil || len(rows) <= page {
		return rows, "", err
	}
	return rows[:page], rows[page-1].ID.String(), nil
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
