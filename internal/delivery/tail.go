package delivery

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// MaxTailWait is the longest that a read of an app's events waits.
	MaxTailWait = 60 * time.Second
	// tailPage is how many entries of the log a look reads, and so how many events
	// a read gives at most.
	tailPage = 100
	// tailLooks is how many looks in a row may find nothing but what was not meant
	// for the app; then it is told where to go on.
	tailLooks = 20
	// tailBytes is how many bytes of bodies a look reads, but for the last body.
	tailBytes = 256 << 10
	// A read that waits looks by itself so often: whether it still may, and what
	// other nodes have written, of which it is not told.
	tailLook       = 5 * time.Second
	tailLookShared = time.Second
	// So many reads may be under way, of all apps and of one.
	tailReads    = 512
	tailAppReads = 32
	// tailBusy is when one may come again that was not let in.
	tailBusy = 5 * time.Second
)

// Latest is the cursor of what has happened last.
const Latest = "latest"

// Missed says why an app is not given events that were meant for it.
type Missed string

// The reasons.
const (
	MissedRevoked   Missed = "revoked"   // the user took the app's access away
	MissedErased    Missed = "erased"    // the content was deleted
	MissedRetention Missed = "retention" // they are older than what is kept
)

// Entry is a line of the log as the app reads it that it is about.
type Entry struct {
	Delivery // with its body, unless it is gone or aside
	// Gone is why the app is not given the event; "" where it is.
	Gone Missed
	// Aside: the event was not meant for the app, or is no webhook.
	Aside bool
}

// TailLedger is the ledger as Tail needs it.
type TailLedger interface {
	// Entries returns the app's entries of events with ids above after, ascending:
	// at most limit, and no more once their bodies are size bytes or more.
	Entries(ctx context.Context, app string, after int64, limit, size int) ([]Entry, error)
	// Pruned returns the last of the app's events that is no longer kept, or 0.
	Pruned(ctx context.Context, app string) (int64, error)
	// Last returns the id of the last event that has happened, also where that is
	// no longer kept; 0 where none has.
	Last(ctx context.Context) (int64, error)
}

// Tail is how an app fetches its own events: the same that are pushed to it, with
// the same bodies, in the order of commits. Event ids follow that order on all
// nodes, so none appears below a cursor that was given out. What is read is not
// delivered by that: the push goes on by itself. Access is checked at each read,
// and a revocation is answered only after a read under way has ended that gives
// out what rests on it.
type Tail struct {
	ledger TailLedger
	engine *Engine
	look   time.Duration

	reads  atomic.Int64
	close  sync.Once
	closed chan struct{} // nobody shall wait any more

	mu   sync.Mutex
	apps map[string]*readers
}

// readers are the reads of an app that are under way.
type readers struct {
	n     int
	grown chan struct{} // closed when there may be more
}

// NewTail returns the events of apps over a ledger; the engine knows how apps
// are called, and what must stay silent.
func NewTail(ledger TailLedger, engine *Engine) (*Tail, error) {
	if ledger == nil || engine == nil {
		return nil, errors.New("delivery: ledger and engine are needed")
	}
	t := &Tail{ledger: ledger, engine: engine, look: tailLook, closed: make(chan struct{}), apps: map[string]*readers{}}
	if engine.shared {
		t.look = tailLookShared
	}
	return t, nil
}

// Happened wakes the reads of apps that wait: these deliveries are new, and these
// apps have others that are not sent.
func (t *Tail) Happened(fresh []Delivery, unsent []string) {
	if t.reads.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range fresh {
		t.apps[d.ID.App].wake()
	}
	for _, app := range unsent {
		t.apps[app].wake()
	}
}

func (r *readers) wake() {
	if r == nil {
		return
	}
	select {
	case <-r.grown: // already, and nobody has looked since
	default:
		close(r.grown)
	}
}

// Close answers the reads that wait, and lets none wait again.
func (t *Tail) Close() { t.close.Do(func() { close(t.closed) }) }

// Closed is closed when none shall wait any more.
func (t *Tail) Closed() <-chan struct{} { return t.closed }

// enter gives a read its place.
func (t *Tail) enter(app string) (*readers, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.apps[app]
	if r == nil {
		r = &readers{grown: make(chan struct{})}
	}
	switch {
	case t.reads.Load() >= tailReads:
		return nil, status.Later(tailBusy, "too many apps read their events now; try again in a while")
	case r.n >= tailAppReads:
		return nil, status.Later(tailBusy, "the app reads its events %d times at once already; end one of these calls", r.n)
	}
	t.reads.Add(1)
	r.n++
	t.apps[app] = r
	return r, nil
}

func (t *Tail) leave(app string, r *readers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads.Add(-1)
	if r.n--; r.n == 0 {
		delete(t.apps, app)
	}
}

// growing returns what is closed when there may be more from now on.
func (t *Tail) growing(r *readers) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-r.grown:
		r.grown = make(chan struct{})
	default:
	}
	return r.grown
}

// Told is an event as an app is given it.
type Told struct {
	Cursor  string
	ID      string // the webhook-id
	Headers map[string]string
	Body    []byte
}

// Page is a part of an app's events.
type Page struct {
	Events []Told
	Next   string         // the cursor to go on from; "" at the very beginning
	Missed map[Missed]int // between the cursor and Next; how many retention took is not known any more, and counts as one
}

// Read is a look of an app at its events.
type Read struct {
	App   string
	After string // a cursor, "" for the first event that is kept, or Latest
	Wait  time.Duration
	// May is asked before anything is given out, and now and then meanwhile; its
	// error ends the read.
	May func(context.Context) error
}

// Read gives out the events after a cursor, or nothing when none has come in
// time. The context of give ends when what it gives must not be known any more:
// then it shall break off.
func (t *Tail) Read(ctx context.Context, r Read, give func(context.Context, Page) error) error {
	place, err := t.enter(r.App)
	if err != nil {
		return err
	}
	defer t.leave(r.App, place)
	after, err := t.cursor(ctx, r.After)
	if err != nil {
		return err
	}
	enough := time.NewTimer(min(r.Wait, MaxTailWait))
	defer enough.Stop()
	look := time.NewTicker(t.look)
	defer look.Stop()
	for {
		grown := t.growing(place) // before the ledger is read, so that nothing is missed in between
		found, err := t.find(ctx, r.App, after)
		if err != nil {
			return err
		}
		if err := r.May(ctx); err != nil {
			return err
		}
		after = found.next
		if len(found.entries) > 0 || len(found.missed) > 0 || found.more {
			return t.give(ctx, r.App, found, give)
		}
		select {
		case <-grown:
		case <-look.C:
		case <-enough.C:
			return give(ctx, found.page())
		case <-t.closed:
			return give(ctx, found.page())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cursor reads a cursor, which must be one of this ledger.
func (t *Tail) cursor(ctx context.Context, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	last, err := t.ledger.Last(ctx)
	if err != nil || text == Latest {
		return last, err
	}
	after, err := strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 || strconv.FormatInt(after, 10) != text {
		return 0, status.New(status.Invalid, "after: not a cursor; use the value of next, %q, or nothing for the beginning", Latest)
	}
	if after > last {
		return 0, status.New(status.Invalid, "after: lies beyond everything that has happened here; it is a cursor of another server, or of before this one was made anew")
	}
	return after, nil
}

// found is what a look has found.
type found struct {
	entries []Entry
	next    int64
	more    bool // there may be more behind next
	missed  map[Missed]int
}

func (f *found) miss(why Missed) {
	if f.missed == nil {
		f.missed = map[Missed]int{}
	}
	f.missed[why]++
}

func (f *found) page() Page {
	p := Page{Missed: f.missed}
	if f.next != 0 {
		p.Next = strconv.FormatInt(f.next, 10)
	}
	return p
}

// find looks for what an app is given after a cursor.
func (t *Tail) find(ctx context.Context, app string, after int64) (found, error) {
	f, err := t.scan(ctx, app, after)
	if err != nil || after == 0 { // who begins has missed nothing
		return f, err
	}
	// Asked for when the entries have been read: else what goes in between would be
	// missed without a word.
	pruned, err := t.ledger.Pruned(ctx, app)
	if err != nil || pruned <= after {
		return f, err
	}
	if f, err = t.scan(ctx, app, after); err != nil { // it may have found what is gone by now
		return f, err
	}
	f.miss(MissedRetention)
	if !f.more {
		f.next = max(f.next, pruned)
	}
	return f, nil
}

// scan reads entries after a cursor, as far as there is something to say. What
// was not meant for the app is passed by, in bounded steps.
func (t *Tail) scan(ctx context.Context, app string, after int64) (found, error) {
	f := found{next: after, more: true}
	for range tailLooks {
		list, err := t.ledger.Entries(ctx, app, f.next, tailPage, tailBytes)
		if err != nil {
			return f, err
		}
		for _, e := range list {
			f.next = e.ID.Event
			switch {
			case e.Gone != "":
				f.miss(e.Gone)
			case !e.Aside:
				f.entries = append(f.entries, e)
			}
		}
		if f.more = len(list) > 0; !f.more || len(f.entries) > 0 || len(f.missed) > 0 {
			break
		}
	}
	return f, nil
}

// give passes the gate with what was found, and makes webhooks of it.
func (t *Tail) give(ctx context.Context, app string, f found, give func(context.Context, Page) error) error {
	if len(f.entries) == 0 {
		return give(ctx, f.page())
	}
	endpoint, err := t.engine.endpoints.Endpoint(ctx, app)
	if err != nil {
		return err
	}
	ctx, passed, refused, leave := t.engine.gate.enterAll(ctx, f.entries)
	defer leave()
	for _, why := range refused {
		f.miss(missedBy[why])
	}
	p := f.page()
	p.Events = make([]Told, len(passed))
	now := time.Now() // real time is signed
	for i, e := range passed {
		id := e.ID.String()
		headers, err := t.engine.client.Headers(endpoint.request(webhook.Request{ID: id, Attempt: 1, Body: e.Body}), now)
		if err != nil {
			return err
		}
		p.Events[i] = Told{Cursor: strconv.FormatInt(e.ID.Event, 10), ID: id, Headers: headers, Body: e.Body}
	}
	return give(ctx, p)
}

// missedBy is how the gate says it.
var missedBy = map[string]Missed{ReasonRevoked: MissedRevoked, ReasonErased: MissedErased}

// Count is how many events a page lacks.
func (p Page) Count() (n int) {
	for _, of := range p.Missed {
		n += of
	}
	return n
}
