package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
)

var writeTests = tests{
	"200 writers at once are all answered and all kept":               manyWriters,
	"bad writes leave nothing and take no good one of the group down": badWrites,
	"a write whose caller gave up in the queue is carried out":        givenUp,
	"a write is there exactly when its caller was told so":            callersKnow,
	"a write sees what its group wrote before it":                     sharedGroup,
	"text that no engine may store is refused, and nothing with it":   unsoundText,
}

func userName(i int) string { return fmt.Sprintf("user-%d", i) }

// known says whether a user is in the ledger.
func (l *ledger) known(user string) bool {
	l.t.Helper()
	_, found, err := l.Market().User(l.ctx(), user)
	if err != nil {
		l.t.Errorf("read user %s: %v", user, err)
	}
	return found
}

// join is a write that makes a user known and an event happen.
func join(user string) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		if err := tx.EnsureUser(user, base); err != nil {
			return err
		}
		return tx.InsertEvent(happening(tx.NextID(), base), []event.Verdict{pending("a")})
	}
}

func manyWriters(t *testing.T, open opener) {
	l := newLedger(t, open)
	const writers = 200
	ok(t, together(writers, func(i int) error {
		if err := l.try(t.Context(), join(userName(i))); err != nil {
			return err
		}
		if !l.known(userName(i)) {
			t.Errorf("%s was answered and cannot be read", userName(i))
		}
		return nil
	})...)
	same(t, "deliveries", len(l.all(delivery.Filter{App: "a"})), writers)
}

func badWrites(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, open)
		var told []delivery.Delivery
		l.OnCommit(func(d []delivery.Delivery) { told = append(told, d...) })
		bad := map[string]func(tx *store.Tx) error{
			"fails halfway": func(tx *store.Tx) error {
				_ = join("fails halfway")(tx)
				return errBad
			},
			"panics": func(tx *store.Tx) error {
				_ = join("panics")(tx)
				panic("bad on purpose")
			},
			"breaks a rule": func(tx *store.Tx) error {
				_ = join("breaks a rule")(tx)
				return tx.InsertToken(access.Token{ID: tx.NextID(), Hash: []byte{1}, App: "nobody"})
			},
			"fails at once": func(*store.Tx) error { return errBad },
		}
		const good = 50

		release := l.hold()
		var writing sync.WaitGroup
		for i := range good {
			writing.Go(func() {
				if err := l.try(t.Context(), join(userName(i))); err != nil {
					t.Errorf("a good write failed: %v", err)
				}
			})
		}
		for name, f := range bad {
			writing.Go(func() {
				switch err := l.try(t.Context(), f); {
				case err == nil:
					t.Errorf("the write that %s was answered as good", name)
				case status.KindOf(err) != status.Internal:
					t.Errorf("the write that %s got %v, which is not its own error", name, err)
				}
			})
		}
		synctest.Wait() // all of them wait in the queue
		release()
		writing.Wait()

		for i := range good {
			if !l.known(userName(i)) {
				t.Errorf("the good write of %s is lost", userName(i))
			}
		}
		for name := range bad {
			if l.known(name) {
				t.Errorf("the write that %s left something", name)
			}
		}
		same(t, "deliveries in the ledger", len(l.all(delivery.Filter{})), good)
		same(t, "deliveries told of", len(told), good)
		l.write(join("afterwards"))
	})
}

func givenUp(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, open)
		release := l.hold()
		ctx, giveUp := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() { answer <- l.try(ctx, join("impatient")) }()
		synctest.Wait()
		giveUp()
		synctest.Wait()
		select {
		case err := <-answer:
			t.Fatalf("answered %v while nobody can know", err)
		default:
		}
		release()
		ok(t, <-answer)
		if !l.known("impatient") {
			t.Error("answered as kept, and is not there")
		}
	})
}

func callersKnow(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, open)
		const writers = 5000 // more than the queue takes
		errs := make([]error, writers)
		release := l.hold()
		ctx, giveUp := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		for i := range writers {
			writing.Go(func() {
				errs[i] = l.try(ctx, func(tx *store.Tx) error { return tx.EnsureUser(userName(i), base) })
			})
		}
		synctest.Wait()
		giveUp()
		synctest.Wait()
		release()
		writing.Wait()
		for i, err := range errs {
			if known := l.known(userName(i)); known != (err == nil) {
				t.Fatalf("the caller of %s was told %v, and that it is there is %t", userName(i), err, known)
			}
		}
	})
}

func sharedGroup(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, open)
		l.app("a")
		release := l.hold()
		var writing sync.WaitGroup
		for range 20 {
			writing.Go(func() {
				err := l.try(t.Context(), func(tx *store.Tx) error {
					_, found, err := tx.LiveGrant("a", "user")
					if err != nil || found {
						return err
					}
					return tx.InsertGrant(access.Grant{ID: tx.NextID(), App: "a", User: "user", GrantedAt: base})
				})
				if err != nil {
					t.Errorf("grant what was not granted yet: %v", err)
				}
			})
		}
		synctest.Wait()
		release()
		writing.Wait()
		grants, err := l.Access().Grants(t.Context(), "user")
		ok(t, err)
		same(t, "grants", len(grants), 1)
	})
}

func unsoundText(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, open)
		release := l.hold()
		var writing sync.WaitGroup
		for _, name := range []string{"a\x00b", "\xff", "good"} {
			writing.Go(func() {
				err := l.try(t.Context(), func(tx *store.Tx) error { return tx.EnsureUser(name, base) })
				if refused := status.KindOf(err) == status.Invalid; refused != (name != "good") {
					t.Errorf("%q: %v", name, err)
				}
			})
		}
		synctest.Wait()
		release()
		writing.Wait()
		same(t, "the good one is known", l.known("good"), true)
		if _, _, err := l.Market().User(l.ctx(), "a\x00b"); status.KindOf(err) != status.Invalid {
			t.Errorf("a search for what cannot be: %v", err)
		}
	})
}
