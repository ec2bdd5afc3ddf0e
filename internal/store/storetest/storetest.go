// Package storetest says what every ledger does, whatever engine it runs on.
// Run holds a store to it, with real contention; an engine joins by an opener,
// and the suite knows nothing else of it. Every test has a ledger of its own.
//
// Most tests run on the real clock. Those that must know that a write waits in
// the queue run in a synctest bubble, where the opener must work too.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/wire"
)

type (
	opener func(t *testing.T) *store.Store
	// tests are promises of the ledger, in words.
	tests map[string]func(t *testing.T, open opener)
)

// Run tests a store. open returns an empty one, with time.Now for its clock,
// and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for area, promises := range map[string]tests{
		"writes":        writeTests,
		"access":        accessTests,
		"subscriptions": subscriptionTests,
		"events":        eventTests,
		"deliveries":    deliveryTests,
		"log":           logTests,
		"chores":        choreTests,
		"retention":     retentionTests,
		"chat":          chatTests,
		"feed":          feedTests,
		"tail":          tailTests,
		"media":         mediaTests,
		"calls":         callTests,
		"market":        marketTests,
		"erasure":       erasureTests,
		"audit":         auditTests,
		"settings":      settingTests,
		"accounts":      accountTests,
	} {
		t.Run(area, func(t *testing.T) {
			t.Parallel()
			for promise, test := range promises {
				t.Run(promise, func(t *testing.T) {
					t.Parallel()
					test(t, open)
				})
			}
		})
	}
}

// base is when things happen unless a test says otherwise: to the microsecond,
// which is what a ledger keeps.
var base = time.Date(2026, 3, 4, 5, 6, 7, 891_234_000, time.UTC)

// errBad is the error of writes that fail on purpose.
var errBad = errors.New("bad on purpose")

// ledger is a store under test, with what most tests begin with.
type ledger struct {
	*store.Store
	t      *testing.T
	serial int64 // of events of the past
}

func newLedger(t *testing.T, open opener) *ledger {
	t.Helper()
	l := &ledger{Store: open(t), t: t}
	if l.Shared() { // as every server does
		_, err := l.Beat(t.Context(), delivery.Beat{Name: "test", Lease: time.Hour})
		ok(t, err)
	}
	return l
}

func (l *ledger) ctx() context.Context { return l.t.Context() }

// try makes a write. f runs on the writer's goroutine: it must return its
// errors and not end the test.
func (l *ledger) try(ctx context.Context, f func(tx *store.Tx) error) error {
	return l.Access().Write(ctx, func(tx access.Tx) error { return f(tx.(*store.Tx)) })
}

// write is try for writes that must succeed.
func (l *ledger) write(f func(tx *store.Tx) error) {
	l.t.Helper()
	ok(l.t, l.try(l.ctx(), f))
}

// hold keeps the writer busy until release is called, so that what is written
// meanwhile waits, and then shares a transaction.
func (l *ledger) hold() (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	tell, release := sync.OnceFunc(func() { close(held) }), sync.OnceFunc(func() { close(free) })
	go func() {
		err := l.try(l.ctx(), func(*store.Tx) error {
			tell()
			<-free
			return nil
		})
		if err != nil {
			l.t.Errorf("the write that held the writer: %v", err)
			tell()
		}
	}()
	<-held
	l.t.Cleanup(release)
	return release
}

// app stores an app that can be told of events.
func (l *ledger) app(slug string) {
	l.t.Helper()
	l.write(func(tx *store.Tx) error { return tx.InsertApp(newApp(slug)) })
}

func newApp(slug string) access.App {
	a := access.NewApp()
	a.Slug, a.EventURL, a.SealedKey = slug, "https://"+slug+".test/hook", []byte("sealed")
	a.CreatedAt, a.UpdatedAt = base, base
	return a
}

// grant stores what a user grants an app, which must exist.
func (l *ledger) grant(app, user string) access.Grant {
	l.t.Helper()
	g := access.Grant{App: app, User: user, Scopes: access.Scopes{"USER_ID"}, GrantedAt: base}
	l.write(func(tx *store.Tx) error {
		g.ID = tx.NextID()
		return tx.InsertGrant(g)
	})
	return g
}

// revoke ends a grant.
func (l *ledger) revoke(g access.Grant, at time.Time) {
	l.t.Helper()
	l.write(func(tx *store.Tx) error { return tx.RevokeGrant(g.ID, at) })
}

// token stores an access token on a grant.
func (l *ledger) token(g access.Grant, expires time.Time) access.Token {
	l.t.Helper()
	t := access.Token{App: g.App, User: g.User, Grant: g.ID, Scopes: g.Scopes, CreatedAt: base, ExpiresAt: expires}
	l.write(func(tx *store.Tx) error {
		t.ID = tx.NextID()
		t.Hash = fmt.Append(nil, "token ", t.ID)
		return tx.InsertToken(t)
	})
	return t
}

// The verdicts of events.

func pending(app string) event.Verdict { return event.Verdict{App: app, State: delivery.Pending} }

func pendingOn(g access.Grant) event.Verdict {
	return event.Verdict{App: g.App, State: delivery.Pending, Grant: g.ID}
}

func skipped(app, reason string) event.Verdict {
	return event.Verdict{App: app, State: delivery.Skipped, Reason: reason}
}

// happening is an event of a post.
func happening(id int64, at time.Time) event.Event {
	return event.Event{ID: id, Type: event.PostUpdate, At: at, Key: "post p", Payload: []byte(`{"type":"PUBLISH"}`)}
}

// happen writes an event of a post with its verdicts.
func (l *ledger) happen(at time.Time, verdicts ...event.Verdict) int64 {
	l.t.Helper()
	return l.happenTimes(1, at, verdicts...)[0]
}

// happenTimes writes n events with the same verdicts.
func (l *ledger) happenTimes(n int, at time.Time, verdicts ...event.Verdict) (ids []int64) {
	l.t.Helper()
	l.write(func(tx *store.Tx) error {
		ids = ids[:0]
		for range n {
			id := tx.NextID()
			if err := tx.InsertEvent(happening(id, at), verdicts); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids
}

// say writes a message with its event and verdicts, and returns the event.
func (l *ledger) say(m chat.Stored, verdicts ...event.Verdict) (id int64) {
	l.t.Helper()
	l.write(func(tx *store.Tx) (err error) {
		id, err = say(tx, m, verdicts...)
		return err
	})
	return id
}

func say(tx *store.Tx, m chat.Stored, verdicts ...event.Verdict) (int64, error) {
	m.Event, m.SentAt, m.Hash, m.Payload = tx.NextID(), base, []byte("hash of "+m.ID), []byte(`{"id":"`+m.ID+`"}`)
	if _, err := tx.InsertMessages([]chat.Stored{m}); err != nil {
		return 0, err
	}
	return m.Event, tx.InsertEvent(event.Event{
		ID: m.Event, Type: event.NewMessageOnPost, At: base, Key: "conversation " + m.Conversation, Payload: m.Payload,
	}, verdicts)
}

// publish writes a post with the event of its change, and returns the event.
func (l *ledger) publish(token, owner string, verdicts ...event.Verdict) (id int64) {
	l.t.Helper()
	l.write(func(tx *store.Tx) error {
		id = tx.NextID()
		e := happening(id, base)
		e.Key = "post " + token
		if err := tx.InsertEvent(e, verdicts); err != nil {
			return err
		}
		return tx.PutPost(market.Post{Token: token, Owner: owner, State: market.Published}, id, base)
	})
	return id
}

// row returns a delivery as a list of the log shows it.
func (l *ledger) row(event int64, app string) delivery.Row {
	l.t.Helper()
	r, _, found, err := l.Delivery(l.ctx(), delivery.ID{Event: event, App: app})
	ok(l.t, err)
	if !found {
		l.t.Fatalf("delivery %d-%s is not in the log", event, app)
	}
	r.Body = nil // of a single one only
	return r
}

// attempts returns the log of a delivery.
func (l *ledger) attempts(event int64, app string) []delivery.Attempt {
	l.t.Helper()
	_, log, _, err := l.Delivery(l.ctx(), delivery.ID{Event: event, App: app})
	ok(l.t, err)
	return log
}

// record writes outcomes.
func (l *ledger) record(outcomes ...delivery.Outcome) {
	l.t.Helper()
	ok(l.t, l.Record(l.ctx(), outcomes))
}

// all returns the ids of a list of the log.
func (l *ledger) all(f delivery.Filter) []delivery.ID {
	l.t.Helper()
	f.Limit = 1_000_000
	rows, err := l.Deliveries(l.ctx(), f)
	ok(l.t, err)
	ids := make([]delivery.ID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// due returns the deliveries of an app that are due.
func (l *ledger) due(app string, now time.Time) []delivery.Delivery {
	l.t.Helper()
	list, err := l.Due(l.ctx(), app, now, 1_000_000)
	ok(l.t, err)
	return list
}

// The outcomes of sends.

func attempt(n, status int) *delivery.Attempt {
	return &delivery.Attempt{
		N: n, At: base.Add(time.Duration(n) * time.Minute), Duration: 12_345 * time.Microsecond,
		Request: "POST / HTTP/1.1", Status: status, Answer: []byte("an answer"), Why: delivery.WhyFirst,
	}
}

func delivered(event int64, app string, n int) delivery.Outcome {
	return delivery.Outcome{ID: delivery.ID{Event: event, App: app}, State: delivery.Delivered, Attempts: n - 1, Retry: n - 1, Attempt: attempt(n, 200)}
}

func failed(event int64, app string, n int, next time.Time) delivery.Outcome {
	o := delivery.Outcome{
		ID: delivery.ID{Event: event, App: app}, State: delivery.Pending, Reason: "answered 500", Attempts: n - 1, Retry: n,
		NextAt: next, Why: fmt.Sprintf("retry %d", n), Attempt: attempt(n, 500),
	}
	o.Attempt.Error, o.Attempt.NextAt = "answered 500", next
	return o
}

func exhausted(event int64, app string, n int) delivery.Outcome {
	o := delivery.Outcome{
		ID: delivery.ID{Event: event, App: app}, State: delivery.Exhausted, Reason: "all attempts failed", Attempts: n - 1, Retry: n - 1,
		Attempt: attempt(n, 500),
	}
	o.Attempt.Error = "answered 500"
	return o
}

// ids names the deliveries of events to one app.
func ids(app string, events ...int64) []delivery.ID {
	list := make([]delivery.ID, len(events))
	for i, e := range events {
		list[i] = delivery.ID{Event: e, App: app}
	}
	return list
}

// together runs f n times at once and returns what each run returned.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	running.Wait()
	return errs
}

// ok ends the test at the first error.
func ok(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// same fails the test unless two values are deeply equal.
func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// object is free-form JSON.
func object(text string) wire.Object { return wire.Object(text) }
