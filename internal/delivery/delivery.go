// Package delivery sends each event to each app that must hear of it, at least
// once, and writes down how every attempt went.
//
// The ledger (Store) is the only truth: a delivery that was committed as
// pending is attempted until it is delivered, exhausted or canceled. Memory
// holds bounded copies, one lane per app, so that a slow or dead app delays
// nobody else. Deliveries with the same order key (conversation, post or
// transaction) of one app are sent one at a time in the order in which things
// happened; one that fails steps aside until its retry.
//
// The files follow the path: engine.go takes what was committed, lane.go
// queues it, send.go makes the attempt, retry.go judges it, record.go writes
// the outcome; sends.go shares the sends out, health.go knows whether an
// endpoint can bear them, gate.go keeps silent what was revoked. Where several
// nodes share a ledger, slot.go is what this one sends, and node.go keeps its
// lease of that.
package delivery

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

// State is where a delivery stands.
type State string

// The states. Skipped is a verdict without a delivery: the app was concerned
// and there was a reason not to tell it.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Exhausted State = "exhausted"
	Canceled  State = "canceled"
	Skipped   State = "skipped"
)

// ID names a delivery: one event gives one app at most one. Its text form is
// also the webhook-id header, the same in every attempt.
type ID struct {
	Event int64
	App   string
}

// String returns EVENT-APP.
func (id ID) String() string { return strconv.FormatInt(id.Event, 10) + "-" + id.App }

// ParseID reads EVENT-APP; what it cannot read is a status.NotFound, since no
// delivery has such an id.
func ParseID(s string) (ID, error) {
	number, app, ok := strings.Cut(s, "-")
	event, err := strconv.ParseInt(number, 10, 64)
	id := ID{Event: event, App: app}
	if !ok || err != nil || app == "" || id.String() != s {
		return ID{}, status.New(status.NotFound, "delivery %q: no such delivery; ids read EVENT-APP", s)
	}
	return id, nil
}

// Delivery is a pending delivery as the engine holds it.
type Delivery struct {
	ID       ID
	Type     string // of the event
	Key      string // order key
	Grant    int64  // the grant it rests on; 0 for none
	Revoked  bool   // that grant was revoked, or the content erased, when it was read
	Attempts int    // made so far
	Retry    int    // steps of the retry schedule used so far
	Why      string // why the next attempt is made
	NextAt   time.Time
	Body     []byte // the envelope
}

// Outcome is what became of one delivery at one moment: an attempt and its
// result, or the decision not to make one (Attempt is nil).
type Outcome struct {
	ID       ID
	State    State
	Reason   string
	Attempts int // made before, as far as the sender knew
	Retry    int
	NextAt   time.Time // when State is Pending
	Why      string    // why the next attempt will be made
	Attempt  *Attempt
}

// Attempt is one entry of the log.
type Attempt struct {
	N        int
	At       time.Time
	Duration time.Duration
	Request  string // the head, its key masked
	Status   int    // 0 without an answer
	Answer   []byte // the first KiB
	Error    string
	Why      string    // why it was made
	NextAt   time.Time // when the next follows; zero when none does
}

// Endpoint is where and how an app is called.
type Endpoint struct {
	URL               string
	IdentificationKey string
	Secrets           [][]byte
	// Hold says why nothing may be sent now (paused, suspended, no event URL);
	// deliveries wait in the ledger, untouched and uncounted. Empty: send.
	Hold string
}

// Store is the ledger as the engine needs it.
type Store interface {
	Chores
	// Due returns the app's pending deliveries whose time has come, ordered by
	// that time and then by event, at most limit.
	Due(ctx context.Context, app string, now time.Time, limit int) ([]Delivery, error)
	// NextDue returns when the app's next delivery after now falls due, or zero.
	NextDue(ctx context.Context, app string, now time.Time) (time.Time, error)
	// Waiting returns the apps that have pending deliveries.
	Waiting(ctx context.Context) ([]string, error)
	// Record writes outcomes in one transaction. A delivery that was canceled
	// meanwhile stays canceled unless it was in fact delivered.
	Record(ctx context.Context, outcomes []Outcome) error
	// Failing returns the apps whose endpoints have been failing.
	Failing(ctx context.Context) ([]Health, error)
	// NoteHealth writes down how an endpoint does; the first time that it is
	// marked, its owner is told, on the feed.
	NoteHealth(ctx context.Context, h Health, now time.Time) error
}

// Endpoints tells where an app is called. It is asked before every attempt and
// must answer from memory in the usual case.
type Endpoints interface {
	Endpoint(ctx context.Context, app string) (Endpoint, error)
}
