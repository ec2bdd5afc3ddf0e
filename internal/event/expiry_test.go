package event_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/webhook"
)

// TestSubscriptionLivesAsLongAsItsToken lets the hours of a token go by: what
// happened while it lived stays due, what happens afterwards is skipped and
// explained, and a new token alone does not bring the subscription back.
func TestSubscriptionLivesAsLongAsItsToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s, err := store.Open(ctx, store.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		keyring, err := access.NewKeyring(access.NewMasterKey())
		if err != nil {
			t.Fatal(err)
		}
		rules, err := access.New(access.Options{
			Store: s.Access(), Keyring: keyring, Guard: webhook.NewGuard(),
			Changed: func(string) {}, Silence: func(context.Context, int64) error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		subscriptions, err := event.NewSubscriptions(event.SubscriptionsOptions{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		app := access.NewApp()
		app.Slug, app.EventURL = "app", "https://app.example/hook"
		if _, err := rules.CreateApp(ctx, app); err != nil {
			t.Fatal(err)
		}
		token := func() access.Token {
			issued, _, err := rules.IssueToken(ctx, "app", "seller", access.Scopes{"USER_POSTS_GET"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return issued
		}
		register := func(tok access.Token) error {
			return subscriptions.Register(ctx, tok.Holder(access.Key{AppEventURL: true}), event.Registration{Type: event.PostUpdate})
		}
		n := 0
		change := func() delivery.Audit { // and what the ledger then counts
			n++
			p := market.Post{Token: "post", Owner: "seller", State: market.Published, Title: strconv.Itoa(n)}
			err := s.Market().Write(ctx, func(tx market.Tx) error {
				_, err := market.PutPost(tx, p, time.Now())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			audit, err := s.Audit(ctx, func(int64) {})
			if err != nil {
				t.Fatal(err)
			}
			return audit
		}

		first := token()
		if err := register(first); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour - time.Second)
		if a := change(); a.Pending != 1 || a.Skipped != 0 {
			t.Fatalf("a second before the end: %+v", a)
		}

		<-time.After(time.Second)
		if err := register(first); err == nil {
			t.Error("an expired token can register")
		}
		token() // another one changes nothing
		if a := change(); a.Pending != 1 || a.Skipped != 1 || a.Unaccounted != 0 {
			t.Errorf("after the end: %+v; want the first still due and the second skipped", a)
		}

		if err := register(token()); err != nil {
			t.Fatal(err)
		}
		if a := change(); a.Pending != 2 || a.Skipped != 1 {
			t.Errorf("registered again: %+v", a)
		}
	})
}
