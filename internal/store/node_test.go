package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// beat makes a store's node heard, with a lease that outlives its test.
func beat(t *testing.T, s *store.Store, release ...int) delivery.Standing {
	t.Helper()
	st, err := s.Beat(t.Context(), delivery.Beat{Name: "node", Version: "1", Lease: time.Hour, Release: release})
	ok(t, err)
	return st
}

// die ends a node's lease, and has another take it out.
func die(t *testing.T, dead, other *store.Store) {
	t.Helper()
	st, err := dead.Beat(t.Context(), delivery.Beat{Name: "dead", Lease: -2 * time.Second})
	ok(t, err)
	beat(t, other)
	left := ""
	ok(t, other.Probe(t.Context(), fmt.Sprintf(`SELECT CAST(count(*) AS TEXT) FROM nodes WHERE id = %d`, st.Node), &left))
	if left != "0" {
		t.Fatal("a node whose lease has ended lives")
	}
}

// nodes returns stores of one ledger, each a node.
func nodes(t *testing.T, n int) []*store.Store {
	t.Helper()
	here := store.Options{URL: storetest.Postgres(t)}
	list := make([]*store.Store, n)
	for i := range list {
		list[i] = open(t, here)
		beat(t, list[i])
	}
	return list
}

func TestNodesShareSlots(t *testing.T) {
	t.Parallel()
	all := nodes(t, 2)
	a, b := all[0], all[1]
	first := beat(t, a)
	if len(first.Slots) != delivery.Slots || first.Excess != delivery.Slots/2 || first.Nodes != 2 {
		t.Fatalf("the first of two has %d slots, %d in excess, of %d nodes", len(first.Slots), first.Excess, first.Nodes)
	}
	if st := beat(t, b); len(st.Slots) != 0 {
		t.Errorf("the second has %d slots before the first gives any up", len(st.Slots))
	}
	beat(t, a, first.Slots[delivery.Slots/2:]...)
	second := beat(t, b)
	first = beat(t, a)
	if len(first.Slots) != delivery.Slots/2 || len(second.Slots) != delivery.Slots/2 || first.Excess+second.Excess != 0 {
		t.Errorf("two have %d and %d slots, %d in excess", len(first.Slots), len(second.Slots), first.Excess+second.Excess)
	}
	if slices.ContainsFunc(first.Slots, func(s int) bool { return slices.Contains(second.Slots, s) }) {
		t.Error("a slot has two owners")
	}
	ok(t, b.Leave(t.Context()))
	if st := beat(t, a); len(st.Slots) != delivery.Slots || st.Nodes != 1 {
		t.Errorf("the one that is left has %d slots of %d nodes", len(st.Slots), st.Nodes)
	}
}

// TestDeadNodeWritesNothing: others have taken over what it did.
func TestDeadNodeWritesNothing(t *testing.T) {
	t.Parallel()
	all := nodes(t, 2)
	a, b := all[0], all[1]
	was := beat(t, b).Node
	die(t, b, a)
	put := func() error {
		return b.Chat().Write(t.Context(), func(tx chat.Tx) error { return tx.EnsureUser("user", base) })
	}
	if err := put(); status.KindOf(err) != status.Unavailable {
		t.Errorf("a dead node wrote: %v", err)
	}
	if st := beat(t, b); st.Node == was {
		t.Error("it came back as what it was")
	}
	ok(t, put())
	if st := beat(t, a); len(st.Slots)-st.Excess != delivery.Slots/2 {
		t.Errorf("the other keeps %d slots", len(st.Slots)-st.Excess)
	}
}

// TestNodesTakeTurns: ids follow the order of commits, whatever the clocks say,
// and what a transaction has read stays true until it ends.
func TestNodesTakeTurns(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	var all []*store.Store
	for i := range 3 {
		skew := time.Duration(i-1) * time.Minute
		s := open(t, store.Options{URL: url, Now: func() time.Time { return time.Now().Add(skew) }})
		beat(t, s)
		all = append(all, s)
	}
	const each = 100
	var mu sync.Mutex
	ids := map[int64]string{} // of those who were first to write a user
	var writing sync.WaitGroup
	for i, s := range all {
		writing.Go(func() {
			for n := range each {
				id, first := int64(0), false
				err := s.Chat().Write(t.Context(), func(tx chat.Tx) error {
					id = tx.NextID()
					user := fmt.Sprint("user ", n) // of which all know
					_, known, err := tx.(*store.Tx).User(user)
					if first = !known; err != nil || known {
						return err
					}
					return tx.(*store.Tx).PutUser(market.User{ID: user, Phone: fmt.Sprint(i)}, base)
				})
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				mu.Lock()
				if first {
					ids[id] = fmt.Sprint(i)
				}
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	if len(ids) != each {
		t.Errorf("%d writes found that they were the first, want %d", len(ids), each)
	}
	// One after another, from node to node.
	last := int64(0)
	for n := range 30 {
		write(t, all[n%3], func(tx chat.Tx) error {
			id := tx.NextID()
			if id <= last {
				return fmt.Errorf("id %d comes after %d", id, last)
			}
			last = id
			return tx.EnsureUser(fmt.Sprint("turn ", n), base)
		})
	}
}

func TestHandOverIsForOneAlone(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	a := open(t, here)
	beat(t, a)
	var handed, appeared int
	a.OnCommit(func(list []delivery.Delivery) { handed += len(list) })
	a.OnAppear(func(apps []string) {
		if apps == nil {
			appeared += 100
		}
		appeared += len(apps)
	})
	say := func(wantHanded, wantAppeared int) {
		t.Helper()
		handed, appeared = 0, 0
		write(t, a, func(tx chat.Tx) error { return happen(tx, tx.NextID(), 0) })
		if handed != wantHanded || appeared != wantAppeared {
			t.Errorf("%d were handed over and %d apps told, want %d and %d", handed, appeared, wantHanded, wantAppeared)
		}
	}
	say(1, 0)
	b := open(t, here)
	beat(t, b)
	say(0, 1)
	ok(t, b.Leave(t.Context()))
	say(0, 100) // the last word of the other may not have been heard
	say(1, 0)
}

// TestChangesAreAgreedOn: what ends something is answered when no node acts on
// what was before.
func TestChangesAreAgreedOn(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	a, b, c := open(t, here), open(t, here), open(t, here)
	grant := newWorld(t, a).grant
	for _, s := range []*store.Store{a, b, c} {
		beat(t, s)
	}
	revoked := make(chan error, 1)
	go func() {
		revoked <- a.Access().Write(t.Context(), func(tx access.Tx) error { return tx.RevokeGrant(grant, base) })
	}()
	change := hear(t, b, delivery.GrantRevoked)
	if change.Ref != fmt.Sprint(grant) {
		t.Errorf("the change is of %s", change.Ref)
	}
	ok(t, b.Saw(t.Context(), change.ID))
	select {
	case err := <-revoked:
		t.Fatalf("answered while a node has not seen it: %v", err)
	default:
	}
	die(t, c, a) // cannot act on anything any more
	ok(t, <-revoked)

	// Nor is anybody left without an answer.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		revoked <- a.Access().Write(ctx, func(tx access.Tx) error { return tx.RevokeGrant(grant, base) })
	}()
	hearAfter(t, b, change.ID)
	cancel()
	if err := <-revoked; status.KindOf(err) != status.Unavailable {
		t.Errorf("not waited for: %v", err)
	}
}

// hear waits for the first change of a kind.
func hear(t *testing.T, s *store.Store, kind delivery.ChangeKind) delivery.Change {
	t.Helper()
	for last := int64(0); ; {
		c := hearAfter(t, s, last)
		if last = c.ID; c.Kind == kind {
			return c
		}
	}
}

func hearAfter(t *testing.T, s *store.Store, last int64) delivery.Change {
	t.Helper()
	for {
		changes, err := s.Changes(t.Context(), last)
		ok(t, err)
		if len(changes) > 0 {
			return changes[0]
		}
	}
}

func TestNewsReachOtherNodes(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	a, b := open(t, here), open(t, here)
	w := newWorld(t, a)
	beat(t, a)
	beat(t, b)
	news := make(chan delivery.News, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Listen(ctx, func(n delivery.News) { news <- n }) }()
	if n := <-news; !n.LookAll || !n.Feed || !n.Changes || !n.Nodes {
		t.Errorf("the first news are %+v, want everything", n)
	}
	var id int64
	write(t, a, func(tx chat.Tx) error {
		id = tx.NextID()
		return happen(tx, id, 0)
	})
	if n := <-news; !slices.Equal(n.Look, []string{"a"}) || n.Feed {
		t.Errorf("of a new event: %+v", n)
	}
	write(t, a, func(tx chat.Tx) error { tx.Publish(chat.FeedMessage, "a", w.message); return nil })
	if n := <-news; !n.Feed || len(n.Look) > 0 {
		t.Errorf("of the feed: %+v", n)
	}
	_, _, err := a.PutBack(t.Context(), delivery.ID{Event: id, App: "a"}, "by hand", base)
	ok(t, err)
	if n := <-news; !slices.Equal(n.Wake, []string{"a"}) {
		t.Errorf("of what was put back: %+v", n)
	}
	many := make([]string, 300) // more than fits into a notification
	for i := range many {
		many[i] = fmt.Sprintf("an-app-with-a-long-name-%d", i)
	}
	write(t, a, func(tx chat.Tx) error {
		for _, app := range many {
			e := event.Event{ID: tx.NextID(), Type: event.PostUpdate, At: base, Key: "post p", Payload: []byte(`{}`)}
			if err := tx.InsertEvent(e, []event.Verdict{{App: app, State: delivery.Pending}}); err != nil {
				return err
			}
		}
		return nil
	})
	if n := <-news; !n.LookAll {
		t.Errorf("of very much: %+v", n)
	}
	ok(t, a.Leave(t.Context()))
	if n := <-news; !n.Nodes {
		t.Errorf("of a node that left: %+v", n)
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("listen: %v", err)
	}
}

// TestBeatTellsWhatWasSeen: word that was lost on the way does not keep a change
// waiting.
func TestBeatTellsWhatWasSeen(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	a, b := open(t, here), open(t, here)
	grant := newWorld(t, a).grant
	beat(t, a)
	beat(t, b)
	revoked := make(chan error, 1)
	go func() {
		revoked <- a.Access().Write(t.Context(), func(tx access.Tx) error {
			defer tx.NextID() // of what happens besides, and nobody sees
			return tx.RevokeGrant(grant, base)
		})
	}()
	change := hear(t, b, delivery.GrantRevoked)
	_, err := b.Beat(t.Context(), delivery.Beat{Name: "node", Lease: time.Hour, Seen: change.ID})
	ok(t, err)
	ok(t, <-revoked)
}

// TestLeaveThatCountsAsDone: of a node that has no time left, or was taken out.
func TestLeaveThatCountsAsDone(t *testing.T) {
	t.Parallel()
	all := nodes(t, 3)
	die(t, all[2], all[0])
	ok(t, all[2].Leave(t.Context()))
	late, cancel := context.WithCancel(t.Context())
	cancel()
	ok(t, all[1].Leave(late))
	if st := beat(t, all[0]); st.Nodes != 1 {
		t.Errorf("%d nodes live, want 1", st.Nodes)
	}
}

// TestNodeForgetsWhatOthersChanged: also when a transaction without a write has
// given ids as another node did, whose clock is behind too.
func TestNodeForgetsWhatOthersChanged(t *testing.T) {
	t.Parallel()
	behind := store.Options{URL: storetest.Postgres(t), Now: func() time.Time { return base }}
	a, b := open(t, behind), open(t, behind)
	newWorld(t, a)
	beat(t, b)
	_, err := a.Beat(t.Context(), delivery.Beat{Name: "node", Lease: time.Hour, Seen: math.MaxInt64}) // it remembers nothing else
	ok(t, err)
	eventURL := func() (has bool) {
		write(t, a, func(tx chat.Tx) error {
			l, err := tx.(*store.Tx).Listener("a")
			has = l.EventURL
			tx.NextID()
			tx.NextID()
			return err
		})
		return has
	}
	if eventURL() {
		t.Fatal("the app has an event URL from the beginning")
	}
	ok(t, b.Access().Write(t.Context(), func(tx access.Tx) error { // gives an id to the change, and one to the mark
		app := access.NewApp()
		app.Slug, app.SealedKey, app.EventURL = "a", []byte{}, "https://a.test"
		return tx.UpdateApp(app)
	}))
	if !eventURL() {
		t.Error("the node does not know of the app's event URL, which another has set")
	}
}

// TestNodesShareARedelivery: two that make its next step at once make two.
func TestNodesShareARedelivery(t *testing.T) {
	t.Parallel()
	here := store.Options{URL: storetest.Postgres(t)}
	all := []*store.Store{open(t, here), open(t, here)}
	newWorld(t, all[0])
	for more := true; more; { // the world's own
		var err error
		_, more, err = all[0].RedeliverStep(t.Context(), "by hand", base)
		ok(t, err)
	}
	const each = 300 // of two apps: more than a step looks at
	for range each {
		write(t, all[0], func(tx chat.Tx) error { return happen(tx, tx.NextID(), 0) })
	}
	_, err := all[0].StartPuttingBack(t.Context(), delivery.Selection{State: delivery.Exhausted}, 0, base.Add(time.Hour))
	ok(t, err)
	held, release := make(chan struct{}), make(chan struct{})
	var steps sync.WaitGroup
	steps.Go(func() { // both have to wait for their turn
		write(t, all[0], func(chat.Tx) error { close(held); <-release; return nil })
	})
	<-held
	for _, s := range all {
		steps.Go(func() {
			if _, _, err := s.RedeliverStep(t.Context(), "by hand", base); err != nil {
				t.Errorf("a step: %v", err)
			}
		})
	}
	steps.Go(func() { close(release) })
	steps.Wait()
	if _, more, err := all[0].RedeliverStep(t.Context(), "by hand", base); more || err != nil {
		t.Errorf("two steps have not looked at %d deliveries: %v", each, err)
	}
}
