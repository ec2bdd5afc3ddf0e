package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/wire"
)

var marketTests = tests{
	"a user is known by being named, and keeps what is known": userRoundTrip,
	"a post comes back as it was stored":                      postRoundTrip,
	"a user's posts are listed by token, without archived":    postPages,
	"a transaction comes back as it was stored":               transactionRoundTrip,
	"every package writes through a door of its own":          doors,
}

func userRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	read := func() (u market.User) {
		t.Helper()
		u, _, err := l.User(t.Context(), "u")
		ok(t, err)
		l.write(func(tx *store.Tx) error {
			inside, _, err := tx.User("u")
			if inside != u {
				t.Errorf("the user is %+v inside a transaction and %+v outside", inside, u)
			}
			return err
		})
		return u
	}
	same(t, "known at first", l.known("u"), false)
	l.write(func(tx *store.Tx) error { return tx.EnsureUser("u", base) })
	same(t, "named", read(), market.User{ID: "u"})
	l.write(func(tx *store.Tx) error { return tx.PutUser(market.User{ID: "u", Phone: "+98"}, base) })
	l.write(func(tx *store.Tx) error { return tx.EnsureUser("u", base) })
	same(t, "put, and named again", read(), market.User{ID: "u", Phone: "+98"})
	l.write(func(tx *store.Tx) error { return tx.DeleteUser("u") })
	same(t, "known once deleted", l.known("u"), false)
}

func postRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	p := market.Post{
		Token: "p/+=", Owner: "seller", Title: "خودرو <&>", State: market.Published, Category: "cars", City: "tehran", District: "1",
		ChatEnabled: true, PhoneHidden: true, ChatAssistant: true, FirstPublishedAt: wire.Time{Time: base},
		Data: object(`{"price":1.50,"null":null}`),
	}
	for _, change := range []func(){
		func() {},
		func() { p.Owner, p.State, p.Data = "another", market.Retired, nil },
		func() { p.Data, p.FirstPublishedAt = object(`{}`), wire.Time{} },
	} {
		change()
		l.write(func(tx *store.Tx) error { return tx.PutPost(p, tx.NextID(), base) })
		got, _, err := l.Post(t.Context(), p.Token)
		ok(t, err)
		same(t, "post", got, p)
		owner, _, err := l.PostOwner(t.Context(), p.Token)
		ok(t, err)
		same(t, "owner", owner, p.Owner)
	}
	l.write(func(tx *store.Tx) error { return tx.DeletePost(p.Token) })
	_, found, err := l.Post(t.Context(), p.Token)
	ok(t, err)
	same(t, "found once deleted", found, false)
	_, found, err = l.PostOwner(t.Context(), p.Token)
	ok(t, err)
	same(t, "its owner", found, false)
}

func postPages(t *testing.T, open opener) {
	l := newLedger(t, open)
	for _, token := range []string{"d", "a", "c", "b"} {
		l.publish(token, "seller")
	}
	l.publish("e", "another")
	l.write(func(tx *store.Tx) error {
		return tx.PutPost(market.Post{Token: "b", Owner: "seller", State: market.Archived}, tx.NextID(), base)
	})
	for after, want := range map[string][]string{"": {"a", "c"}, "a": {"c", "d"}, "c": {"d"}, "d": nil} {
		posts, err := l.PostsOf(t.Context(), "seller", after, 2)
		ok(t, err)
		var got []string
		for _, p := range posts {
			got = append(got, p.Token)
		}
		same(t, "after "+after, got, want)
	}
}

func transactionRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	x := market.Transaction{ID: "x", App: "a", State: market.TransactionPending, Type: market.Reorder, CostRials: 1 << 60}
	for _, change := range []func(){
		func() {},
		func() { x.State, x.CostRials, x.ExtraDetails = market.TransactionCompleted, 0, object(`{}`) },
		func() { x.ExtraDetails = object(`{"n":1.50}`) },
	} {
		change()
		var got market.Transaction
		var id, last int64
		l.write(func(tx *store.Tx) (err error) {
			id = tx.NextID()
			if err := tx.PutTransaction(x, id, base); err != nil {
				return err
			}
			if got, _, err = tx.Transaction("x"); err != nil {
				return err
			}
			last, err = tx.TransactionEvent("x")
			return err
		})
		same(t, "transaction", got, x)
		same(t, "its event", last, id)
	}
	l.write(func(tx *store.Tx) error {
		last, err := tx.PostEvent("not there")
		same(t, "the event of a post that is not there", last, 0)
		return err
	})
}

func doors(t *testing.T, open opener) {
	l := newLedger(t, open)
	for name, write := range map[string]func(context.Context) error{
		"market": func(ctx context.Context) error {
			return l.Market().Write(ctx, func(tx market.Tx) error { return tx.EnsureUser("market", base) })
		},
		"chat": func(ctx context.Context) error {
			return l.Chat().Write(ctx, func(tx chat.Tx) error { return tx.EnsureUser("chat", base) })
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		ok(t, write(ctx))
		cancel()
		same(t, name, l.known(name), true)
	}
}
