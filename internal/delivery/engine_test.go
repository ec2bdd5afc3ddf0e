package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	ledgerstatus "github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/webhook"
)

// world is an engine over a real ledger, with an app played by a function.
// Tests run it in a synctest bubble: hours pass in no time.
type world struct {
	t      *testing.T
	store  *store.Store
	engine *delivery.Engine
	log    *delivery.Log

	mu       sync.Mutex
	hold     string
	asked    func() // after an endpoint was looked up, before the answer is used
	recorded func() // after outcomes are on disk, before the engine knows
	waited   func() // after the apps with pending deliveries were read, before the engine knows
	broken   bool   // the ledger fails
	sends    []send
	inFlight map[string]int // by order key, to see that it never exceeds one
	most     int
	answer   func(ctx context.Context, n int, r *http.Request) (int, http.Header)
}

// send is one webhook as the app saw it.
type send struct {
	at  time.Time
	id  string
	n   int
	key string
}

// in runs a test in a bubble.
func in(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, inFlight: map[string]int{}}
		w.open(dir)
		defer w.close()
		w.makeApps()
		f(t, w)
	})
}

func (w *world) makeApps() {
	w.t.Helper()
	err := w.store.Access().Write(w.t.Context(), func(tx access.Tx) error {
		for _, slug := range []string{"app", "other"} {
			a := access.NewApp()
			a.Slug, a.SealedKey = slug, []byte{}
			if err := tx.InsertApp(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(dir string) { w.openAt(store.Options{Dir: dir}, false) }

// openAt opens the ledger at a place. Where others share it, nothing is sent
// before somebody says what.
func (w *world) openAt(place store.Options, shared bool) {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(w.t.Context(), place); err != nil {
		w.t.Fatal(err)
	}
	w.engine, err = delivery.New(delivery.Options{
		Store: slowStore{w.store, w}, Endpoints: w, Client: webhook.NewClient(webhook.Options{Transport: w}),
		Retention: 30 * 24 * time.Hour, Shared: shared,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.log, err = delivery.NewLog(w.store, w.engine); err != nil {
		w.t.Fatal(err)
	}
	w.store.OnCommit(w.engine.Accept)
	w.store.OnAppear(w.engine.Look)
	if err := w.engine.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), time.Second)
	defer cancel()
	if err := w.engine.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		w.t.Error(err)
	}
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// Endpoint implements delivery.Endpoints.
func (w *world) Endpoint(_ context.Context, app string) (delivery.Endpoint, error) {
	w.mu.Lock()
	e := delivery.Endpoint{URL: "https://" + app + ".test/hook", Hold: w.hold}
	asked := w.asked
	w.mu.Unlock()
	if asked != nil {
		asked()
	}
	return e, nil
}

// slowStore is the ledger, with a moment between the commit of outcomes and
// its answer.
type slowStore struct {
	*store.Store
	w *world
}

var errBroken = errors.New("the ledger is broken")

func (s slowStore) isBroken() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.broken
}

// Due implements delivery.Store.
func (s slowStore) Due(ctx context.Context, app string, now time.Time, limit int) ([]delivery.Delivery, error) {
	if s.isBroken() {
		return nil, errBroken
	}
	return s.Store.Due(ctx, app, now, limit)
}

// Waiting implements delivery.Store.
func (s slowStore) Waiting(ctx context.Context) ([]string, error) {
	if s.isBroken() {
		return nil, errBroken
	}
	apps, err := s.Store.Waiting(ctx)
	s.w.mu.Lock()
	waited := s.w.waited
	s.w.mu.Unlock()
	if waited != nil {
		waited()
	}
	return apps, err
}

// Record implements delivery.Store.
func (s slowStore) Record(ctx context.Context, outcomes []delivery.Outcome) error {
	if s.isBroken() {
		return errBroken
	}
	err := s.Store.Record(ctx, outcomes)
	s.w.mu.Lock()
	recorded := s.w.recorded
	s.w.mu.Unlock()
	if recorded != nil {
		recorded()
	}
	return err
}

// once returns a function that does f the first time it is called.
func once(f func()) func() {
	var o sync.Once
	return func() { o.Do(f) }
}

// RoundTrip plays the apps.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(header(r, "OpenKenar-Attempt"))
	key := r.URL.Host + strings.TrimSuffix(strings.TrimPrefix(string(body), `{"type":"PAYMENT_TRANSACTION","transaction":"`), `"}`)
	key, _, _ = strings.Cut(key, `"`)
	w.mu.Lock()
	w.sends = append(w.sends, send{at: time.Now(), id: header(r, "webhook-id"), n: n, key: key})
	w.inFlight[key]++
	w.most = max(w.most, w.inFlight[key])
	answer := w.answer
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inFlight[key]--
	}()
	code, header := 200, http.Header{}
	if answer != nil {
		code, header = answer(r.Context(), n, r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader("an answer")), Request: r}, nil
}

// header returns a header of an outgoing request, whose names are in the letter
// case of the contract.
func header(r *http.Request, name string) string {
	for key, values := range r.Header {
		if strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

func (w *world) respond(f func(ctx context.Context, n int, r *http.Request) (int, http.Header)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func status(code int) func(context.Context, int, *http.Request) (int, http.Header) {
	return func(context.Context, int, *http.Request) (int, http.Header) { return code, http.Header{} }
}

// hang plays an app that never answers.
func hang(ctx context.Context, _ int, _ *http.Request) (int, http.Header) {
	<-ctx.Done()
	return 0, nil
}

// happen commits an event for an app and returns its delivery.
func (w *world) happen(app, key string, grant int64) delivery.ID {
	w.t.Helper()
	var id delivery.ID
	err := w.store.Access().Write(w.t.Context(), func(tx access.Tx) error {
		e := event.Event{ID: tx.NextID(), Type: event.PaymentTransaction, At: time.Now(), Key: key, Payload: []byte(strconv.Quote(key)), App: app}
		id = delivery.ID{Event: e.ID, App: app}
		return tx.InsertEvent(e, []event.Verdict{{App: app, State: delivery.Pending, Grant: grant}})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// settle waits until nothing moves; time stands still meanwhile.
func (w *world) settle() {
	w.t.Helper()
	if err := w.engine.Settle(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	<-time.After(d)
	w.settle()
}

func (w *world) get(id delivery.ID) (delivery.Row, []delivery.Attempt) {
	w.t.Helper()
	r, attempts, err := w.log.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, attempts
}

func (w *world) state(id delivery.ID, want delivery.State) delivery.Row {
	w.t.Helper()
	r, _ := w.get(id)
	if r.State != want {
		w.t.Fatalf("delivery %s is %s (%s), want %s", id, r.State, r.Reason, want)
	}
	return r
}

func (w *world) seen() []send {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]send(nil), w.sends...)
}

// audited fails the test unless everything is accounted for.
func (w *world) audited() {
	w.t.Helper()
	a, err := w.store.Audit(w.t.Context(), func(int64) {})
	if err != nil || a.Unaccounted != 0 {
		w.t.Fatalf("audit: %+v, %v", a, err)
	}
}

func TestRetrySchedule(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(status(500))
		id := w.happen("app", "t1", 0)
		w.pass(5 * 24 * time.Hour)

		r := w.state(id, delivery.Exhausted)
		if !strings.Contains(r.Reason, "11 attempts") || !strings.Contains(r.Reason, "500") {
			t.Errorf("reason: %q", r.Reason)
		}
		steps := []time.Duration{
			5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
			5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}
		sends := w.seen()
		if len(sends) != len(steps)+1 {
			t.Fatalf("%d sends, want %d", len(sends), len(steps)+1)
		}
		for i, step := range steps {
			gap := sends[i+1].at.Sub(sends[i].at)
			if gap < step*8/10 || gap > step*12/10 {
				t.Errorf("retry %d came after %s, want %s ±20 %%", i+1, gap, step)
			}
			if sends[i+1].id != sends[0].id || sends[i+1].n != i+2 {
				t.Errorf("retry %d: webhook-id %s, attempt %d", i+1, sends[i+1].id, sends[i+1].n)
			}
		}
		_, attempts := w.get(id)
		for i, a := range attempts {
			if a.N != i+1 || a.Status != 500 || string(a.Answer) != "an answer" || a.Why == "" || !strings.Contains(a.Request, "webhook-id: "+id.String()) {
				t.Errorf("attempt %d of the log: %+v", i+1, a)
			}
			if last := i == len(steps); a.NextAt.IsZero() != last {
				t.Errorf("attempt %d: next at %s", i+1, a.NextAt)
			}
		}
		w.audited()
	})
}

func TestRetryAfter(t *testing.T) {
	cases := []struct {
		name   string
		status int
		header func(now time.Time) string
		want   time.Duration // exactly; 0: the schedule's first step
	}{
		{"429, seconds", 429, func(time.Time) string { return "3600" }, time.Hour},
		{"503, a date", 503, func(now time.Time) string { return now.Add(2 * time.Hour).UTC().Format(http.TimeFormat) }, 2 * time.Hour},
		{"at most a day", 429, func(time.Time) string { return "99999999999999" }, 24 * time.Hour},
		{"zero is no busy loop", 429, func(time.Time) string { return "0" }, time.Second},
		{"not of a 500", 500, func(time.Time) string { return "3600" }, 0},
		{"nonsense", 503, func(time.Time) string { return "soon" }, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.respond(func(_ context.Context, n int, _ *http.Request) (int, http.Header) {
					if n > 1 {
						return 200, nil
					}
					return c.status, http.Header{"Retry-After": {c.header(time.Now())}}
				})
				id := w.happen("app", "t1", 0)
				w.pass(25 * time.Hour)
				w.state(id, delivery.Delivered)
				sends := w.seen()
				gap := sends[1].at.Sub(sends[0].at)
				if c.want == 0 && (gap < 4*time.Second || gap > 6*time.Second) || c.want != 0 && (gap-c.want).Abs() > 10*time.Millisecond {
					t.Errorf("the retry came after %s, want %s", gap, c.want)
				}
			})
		})
	}
}

func TestAnswers(t *testing.T) {
	for code, want := range map[int]delivery.State{
		200: delivery.Delivered, 201: delivery.Delivered, 204: delivery.Delivered, 299: delivery.Delivered,
		301: delivery.Pending, 304: delivery.Pending, 400: delivery.Pending, 401: delivery.Pending, 404: delivery.Pending,
		410: delivery.Exhausted, 429: delivery.Pending, 500: delivery.Pending, 503: delivery.Pending,
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.respond(status(code))
				id := w.happen("app", "t1", 0)
				w.settle()
				w.state(id, want)
				w.pass(time.Minute)
				if sends := len(w.seen()); want != delivery.Pending && sends != 1 {
					t.Errorf("%d sends after a final answer", sends)
				}
				w.audited()
			})
		})
	}
}

func TestTimeout(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(hang)
		id := w.happen("app", "t1", 0)
		w.pass(11 * time.Second)
		w.state(id, delivery.Pending)
		_, attempts := w.get(id)
		if len(attempts) != 1 || attempts[0].Duration != webhook.Timeout || attempts[0].Status != 0 || !strings.Contains(attempts[0].Error, "10s") {
			t.Errorf("log: %+v", attempts)
		}
	})
}

func TestOrder(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		failed := ""
		w.respond(func(ctx context.Context, n int, r *http.Request) (int, http.Header) {
			select { // a slow app, so that sends would overlap
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if id := header(r, "webhook-id"); failed == "" || failed == id && n == 1 {
				failed = id
				return 500, nil
			}
			return 200, nil
		})
		const perKey, keys = 20, 5
		for i := range perKey * keys {
			w.happen("app", fmt.Sprintf("t%d", i%keys), 0)
		}
		w.settle()
		sends := w.seen()
		if len(sends) != perKey*keys {
			t.Fatalf("%d sends before the retry, want %d: the failing one must step aside", len(sends), perKey*keys)
		}
		last := map[string]string{}
		for _, s := range sends {
			if s.id <= last[s.key] {
				t.Errorf("%s: %s was sent after %s", s.key, s.id, last[s.key])
			}
			last[s.key] = s.id
		}
		w.mu.Lock()
		if w.most != 1 {
			t.Errorf("up to %d sends of one key at a time, want 1", w.most)
		}
		w.mu.Unlock()
		w.pass(10 * time.Second)
		if sends := w.seen(); sends[len(sends)-1].id != failed || len(sends) != perKey*keys+1 {
			t.Errorf("the failed one was not retried last: %+v", sends[len(sends)-1])
		}
		w.audited()
	})
}

func TestHangingAppDelaysNobody(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(func(ctx context.Context, n int, r *http.Request) (int, http.Header) {
			if r.URL.Host == "app.test" {
				return hang(ctx, n, r)
			}
			return 200, nil
		})
		for i := range 6000 {
			w.happen("app", fmt.Sprintf("t%d", i), 0)
		}
		start := time.Now()
		id := w.happen("other", "t1", 0)
		synctest.Wait()
		w.state(id, delivery.Delivered)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the other app waited %s", waited)
		}
		hanging := 0
		for _, s := range w.seen() {
			if strings.HasPrefix(s.key, "app.test") {
				hanging++
			}
		}
		if hanging != 32 {
			t.Errorf("%d sends to the hanging app at a time, want the 32 that a new one gets", hanging)
		}
	})
}

func TestBacklogIsSentInOrder(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.mu.Lock()
		w.hold = "the app is paused"
		w.mu.Unlock()
		const n = 6000 // more than a lane holds
		for range n {
			w.happen("app", "t1", 0)
		}
		w.settle()
		if sends := w.seen(); len(sends) != 0 {
			t.Fatalf("%d sends to a paused app", len(sends))
		}
		w.mu.Lock()
		w.hold = ""
		w.mu.Unlock()
		w.engine.Wake("app")
		w.happen("app", "t1", 0) // in the middle of catching up
		w.settle()
		sends := w.seen()
		if len(sends) != n+1 {
			t.Fatalf("%d sends, want %d", len(sends), n+1)
		}
		for i := 1; i < len(sends); i++ {
			if sends[i].id <= sends[i-1].id {
				t.Fatalf("send %d is out of order", i)
			}
		}
		w.audited()
	})
}

func TestRevoke(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		var grant int64
		err := w.store.Access().Write(t.Context(), func(tx access.Tx) error {
			grant = tx.NextID()
			return tx.InsertGrant(access.Grant{ID: grant, App: "app", User: "u", GrantedAt: time.Now()})
		})
		if err != nil {
			t.Fatal(err)
		}
		w.respond(hang)
		const n = 6000 // more than a lane holds
		var ids []delivery.ID
		for i := range n {
			ids = append(ids, w.happen("app", fmt.Sprintf("t%d", i), grant))
		}
		free := w.happen("app", "free", 0)
		synctest.Wait()
		before := len(w.seen())

		start := time.Now()
		err = w.store.Access().Write(t.Context(), func(tx access.Tx) error { return tx.RevokeGrant(grant, time.Now()) })
		if err != nil {
			t.Fatal(err)
		}
		if err := w.engine.Revoke(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("revoking waited %s for sends that hang", took)
		}
		w.respond(status(200))
		w.pass(time.Minute)
		for _, id := range ids {
			if r := w.state(id, delivery.Canceled); !strings.Contains(r.Reason, "took the app's access away") {
				t.Fatalf("reason: %q", r.Reason)
			}
		}
		w.state(free, delivery.Delivered)
		if more := len(w.seen()) - before; more != 1 {
			t.Errorf("%d sends after the revocation, want the one that rests on no grant", more)
		}
		w.audited()
	})
}

func TestRestartTakesUpWhatIsPending(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, inFlight: map[string]int{}}
		w.open(dir)
		err := w.store.Access().Write(t.Context(), func(tx access.Tx) error {
			a := access.NewApp()
			a.Slug, a.SealedKey = "app", []byte{}
			return tx.InsertApp(a)
		})
		if err != nil {
			t.Fatal(err)
		}
		w.respond(hang)
		id := w.happen("app", "t1", 0)
		synctest.Wait()
		w.close() // breaks the send off
		w.respond(status(200))
		w.open(dir)
		defer w.close()
		w.settle()
		w.state(id, delivery.Delivered)
		sends := w.seen()
		if len(sends) != 2 || sends[0].id != sends[1].id || sends[1].n != 1 {
			t.Errorf("sends: %+v; want the same attempt of the same webhook-id twice", sends)
		}
		w.audited()
	})
}

func TestRedeliver(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(status(410))
		const n = 1200 // more than a step of a bulk redelivery
		var ids []delivery.ID
		for i := range n {
			ids = append(ids, w.happen("app", fmt.Sprintf("t%d", i%50), 0))
		}
		w.settle()
		w.respond(status(200))
		if _, err := w.log.Redeliver(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.state(ids[0], delivery.Delivered)
		_, attempts := w.get(ids[0])
		if len(attempts) != 2 || attempts[1].N != 2 || attempts[1].Why != "redelivered by hand" {
			t.Errorf("log: %+v", attempts)
		}
		selection := delivery.Selection{App: "app", State: delivery.Exhausted}
		if count, err := w.log.Count(t.Context(), selection); err != nil || count != n-1 {
			t.Fatalf("count %d, %v; want %d", count, err, n-1)
		}
		w.state(ids[1], delivery.Exhausted) // counting changes nothing
		if count, _, err := w.log.RedeliverAll(t.Context(), selection); err != nil || count != n-1 {
			t.Fatalf("count %d, %v; want %d", count, err, n-1)
		}
		synctest.Wait()
		w.settle()
		for _, id := range ids {
			w.state(id, delivery.Delivered)
		}
		w.audited()
	})
}

func TestResumedWhileFoundPaused(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.mu.Lock()
		w.hold = "the app is paused"
		w.asked = once(func() { // the sender has read "paused", and not yet acted on it
			w.mu.Lock()
			w.hold = ""
			w.mu.Unlock()
			w.engine.Wake("app")
			synctest.Wait()
		})
		w.mu.Unlock()
		id := w.happen("app", "t1", 0)
		w.settle()
		w.state(id, delivery.Delivered)
	})
}

func TestRedeliveredBeforeTheOutcomeIsKnown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(func(_ context.Context, n int, _ *http.Request) (int, http.Header) {
			if n == 1 {
				return 410, nil
			}
			return 200, nil
		})
		var id delivery.ID
		ready := make(chan struct{})
		w.mu.Lock()
		w.recorded = once(func() { // the outcome is on disk, and the lane still holds the delivery
			<-ready
			if _, err := w.log.Redeliver(w.t.Context(), id); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
		w.mu.Unlock()
		id = w.happen("app", "t1", 0)
		close(ready)
		w.settle()
		w.state(id, delivery.Delivered)
	})
}

func TestReadBeforeItIsHandedOver(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		// The lane reads the ledger between the commit and the hand-over.
		w.store.OnCommit(func(fresh []delivery.Delivery) {
			w.engine.Wake("app")
			synctest.Wait()
			w.engine.Accept(fresh)
		})
		id := w.happen("app", "t1", 0)
		w.settle()
		w.state(id, delivery.Delivered)
		if sends := w.seen(); len(sends) != 1 {
			t.Errorf("it was sent %d times", len(sends))
		}
	})
}

// TestRetention: what is finished goes by its age; what is not stays, and goes
// once it is.
func TestRetention(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		const day = 24 * time.Hour
		hold := func(why string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.hold = why
		}
		gone := func(id delivery.ID) bool {
			_, _, err := w.log.Get(t.Context(), id)
			return ledgerstatus.KindOf(err) == ledgerstatus.NotFound
		}
		sent := w.happen("app", "t1", 0)
		w.settle()
		hold("the app is paused")
		waits := w.happen("app", "t2", 0)

		w.pass(30*day - time.Minute)
		w.state(sent, delivery.Delivered)
		w.pass(2 * time.Hour)
		if !gone(sent) {
			t.Error("a delivery that was finished 30 days ago is there")
		}
		w.state(waits, delivery.Pending)

		hold("")
		w.engine.Wake("app")
		w.settle()
		w.state(waits, delivery.Delivered)
		w.pass(2 * time.Hour)
		if !gone(waits) {
			t.Error("a delivery of an event of 30 days ago is there, though it is finished")
		}
		w.audited()
	})
}

// TestCircuit: an endpoint that is down is left alone but for a probe now and
// then, nothing of what waits is attempted or counted, and all of it goes out
// once the endpoint is back.
func TestCircuit(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(status(503))
		const n = 500
		var ids []delivery.ID
		for i := range n {
			ids = append(ids, w.happen("app", fmt.Sprintf("t%d", i), 0))
		}
		w.pass(4 * time.Second)
		first := len(w.seen())
		if first < 10 || first > 64 {
			t.Errorf("%d sends before the circuit opened", first)
		}
		untouched := 0
		for _, id := range ids {
			if r, _ := w.get(id); r.Attempts == 0 {
				untouched++
			}
		}
		if untouched != n-first {
			t.Errorf("%d of %d were not attempted, %d sends were made", untouched, n, first)
		}
		w.pass(10 * time.Minute)
		if probes := len(w.seen()) - first; probes < 3 || probes > 20 {
			t.Errorf("%d probes in ten minutes", probes)
		}
		w.respond(status(200))
		w.pass(10 * time.Minute)
		for _, id := range ids {
			w.state(id, delivery.Delivered)
		}
		w.audited()
	})
}

// TestAnswersOnPurpose: what an app answers on purpose opens no circuit.
func TestAnswersOnPurpose(t *testing.T) {
	for _, code := range []int{301, 400, 401, 404, 410} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.respond(status(code))
				for i := range 200 {
					w.happen("app", fmt.Sprintf("t%d", i), 0)
				}
				w.pass(time.Second)
				if sends := len(w.seen()); sends != 200 {
					t.Errorf("%d sends of 200", sends)
				}
			})
		})
	}
}

// TestFailingForDays: the endpoint is marked, once; what waits is not burnt; a
// success ends it.
func TestFailingForDays(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(status(500))
		for day := range 5 {
			w.happen("app", strconv.Itoa(day), 0)
			w.pass(24*time.Hour - time.Minute)
		}
		later := w.happen("app", "later", 0)
		w.pass(20 * 24 * time.Hour)
		r, attempts := w.get(later)
		if r.State != delivery.Pending || !strings.Contains(attempts[len(attempts)-1].Why, "failing for days") {
			t.Errorf("a delivery of a marked endpoint is %+v after weeks", r)
		}
		failing, err := w.store.Failing(t.Context())
		if err != nil || len(failing) != 1 || failing[0].MarkedAt.IsZero() {
			t.Errorf("failing: %+v, %v", failing, err)
		}
		feed, err := w.store.Feed(t.Context(), 0, 10)
		if err != nil || len(feed) != 1 || feed[0].Notice == nil || feed[0].App != "app" {
			t.Errorf("the feed has %+v, %v", feed, err)
		}
		w.respond(status(200))
		w.pass(2 * time.Hour)
		w.state(later, delivery.Delivered)
		if failing, err := w.store.Failing(t.Context()); err != nil || len(failing) != 0 {
			t.Errorf("failing once it is well: %+v, %v", failing, err)
		}
		w.audited()
	})
}

// hanging adds apps hanging-0, hanging-1 and so on, which never answer; the
// others do.
func (w *world) hanging(apps int) {
	w.t.Helper()
	err := w.store.Access().Write(w.t.Context(), func(tx access.Tx) error {
		for i := range apps {
			a := access.NewApp()
			a.Slug, a.SealedKey = fmt.Sprintf("hanging-%d", i), []byte{}
			if err := tx.InsertApp(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.respond(func(ctx context.Context, n int, r *http.Request) (int, http.Header) {
		if strings.HasPrefix(r.URL.Host, "hanging") {
			return hang(ctx, n, r)
		}
		return 200, nil
	})
}

// TestManyHangingApps: what is free is shared out, so that hundreds of hanging
// apps leave something for the next.
func TestManyHangingApps(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		const apps = 200
		w.hanging(apps)
		for i := range 20 * apps {
			w.happen(fmt.Sprintf("hanging-%d", i%apps), fmt.Sprintf("t%d", i), 0)
		}
		synctest.Wait()
		if hanging := len(w.seen()); hanging >= 1024 || hanging < apps {
			t.Errorf("%d sends hang", hanging)
		}
		start := time.Now()
		id := w.happen("app", "t", 0)
		synctest.Wait()
		w.state(id, delivery.Delivered)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("a healthy app waited %s", waited)
		}
	})
}

// TestNoPlaceIsLost: what waits for a place among all sends gets one, also when
// lanes that waited before it have nothing to send any more.
func TestNoPlaceIsLost(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		const apps = 300 // more than have a place at once
		err := w.store.Access().Write(t.Context(), func(tx access.Tx) error {
			for i := range apps {
				a := access.NewApp()
				a.Slug, a.SealedKey = fmt.Sprintf("app-%d", i), []byte{}
				if err := tx.InsertApp(a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.respond(func(ctx context.Context, n int, r *http.Request) (int, http.Header) {
			<-time.After(time.Second)
			return 200, nil
		})
		var ids []delivery.ID
		for i := range 12 * apps {
			ids = append(ids, w.happen(fmt.Sprintf("app-%d", i%apps), fmt.Sprintf("t%d", i), 0))
		}
		w.pass(5 * time.Minute)
		for _, id := range ids {
			w.state(id, delivery.Delivered)
		}
	})
}

// sendsOf counts what an app got from a moment on.
func (w *world) sendsOf(app string, from time.Time) (n int) {
	for _, s := range w.seen() {
		if strings.HasPrefix(s.key, app+".test") && !s.at.Before(from) {
			n++
		}
	}
	return n
}

// TestAnswersOnPurposeForDays: they mark no endpoint and end by the schedule.
func TestAnswersOnPurposeForDays(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(status(404))
		var ids []delivery.ID
		for day := range 8 {
			start := time.Now()
			for i := range 20 {
				ids = append(ids, w.happen("app", fmt.Sprintf("t%d-%d", day, i), 0))
			}
			w.pass(time.Second)
			if n := w.sendsOf("app", start); n < 20 {
				t.Fatalf("day %d: %d of 20 sends: answers on purpose have opened the circuit", day, n)
			}
			w.pass(24 * time.Hour)
		}
		w.pass(5 * 24 * time.Hour)
		for _, id := range ids {
			if r := w.state(id, delivery.Exhausted); r.Attempts != 11 {
				t.Fatalf("%d attempts, the schedule has 11", r.Attempts)
			}
		}
	})
}

// TestProbesBackOff: retries that fall due meanwhile are no probes.
func TestProbesBackOff(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.respond(status(404)) // spreads the retries
		for i := range 1500 {
			w.happen("app", fmt.Sprintf("t%d", i), 0)
		}
		w.pass(5 * time.Minute)
		w.respond(status(500))
		start := time.Now()
		w.pass(2 * time.Minute)
		if n := w.sendsOf("app", start); n > 60 {
			t.Errorf("%d sends in the two minutes in which it broke down", n)
		}
		start = time.Now()
		w.pass(8 * time.Minute)
		if n := w.sendsOf("app", start); n > 10 {
			t.Errorf("%d probes in 8 minutes of an open circuit", n)
		}
	})
}

// TestHealthyBesideAThousand: who has nothing under way has the next free place,
// before a thousand apps that hang and want one more.
func TestHealthyBesideAThousand(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		const apps = 1100
		w.hanging(apps)
		for i := range 3 * apps {
			w.happen(fmt.Sprintf("hanging-%d", i%apps), fmt.Sprintf("t%d", i), 0)
			if i%11 == 0 {
				<-time.After(100 * time.Millisecond)
			}
		}
		for i := range 5 {
			id := w.happen("app", fmt.Sprintf("healthy%d", i), 0)
			w.pass(time.Second)
			w.state(id, delivery.Delivered)
		}
	})
}
