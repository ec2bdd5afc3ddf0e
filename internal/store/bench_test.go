package store_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

const (
	benchGroup         = 500 // messages of a write
	benchConversations = 512
)

// bothEngines runs a benchmark on each engine.
func bothEngines(b *testing.B, f func(b *testing.B, o store.Options)) {
	b.Run("sqlite", func(b *testing.B) { f(b, store.Options{Dir: b.TempDir()}) })
	b.Run("postgres", func(b *testing.B) { f(b, store.Options{URL: storetest.Postgres(b)}) })
}

// benchLedger has an app that hears of every message on a post, and
// conversations on it.
func benchLedger(b *testing.B, o store.Options) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	now := time.Now()
	var token access.Token
	err = s.Access().Write(b.Context(), func(tx access.Tx) error {
		app := access.NewApp()
		app.Slug, app.EventURL, app.SealedKey, app.CreatedAt, app.UpdatedAt = "app", "https://app.test/", []byte("sealed"), now, now
		if err := tx.InsertApp(app); err != nil {
			return err
		}
		g := access.Grant{ID: tx.NextID(), App: "app", User: "seller", GrantedAt: now}
		if err := tx.InsertGrant(g); err != nil {
			return err
		}
		token = access.Token{ID: tx.NextID(), Hash: []byte("hash"), App: "app", User: "seller", Grant: g.ID, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		return tx.InsertToken(token)
	})
	if err != nil {
		b.Fatal(err)
	}
	_, err = s.Register(b.Context(), event.Subscription{
		App: "app", User: "seller", Type: event.NewMessageOnPost, Token: token.ID, Grant: token.Grant, At: now, ExpiresAt: token.ExpiresAt,
	}, now)
	if err != nil {
		b.Fatal(err)
	}
	err = s.Chat().Write(b.Context(), func(tx chat.Tx) error {
		if _, err := market.PutPost(tx, market.Post{Token: "post", Owner: "seller", State: market.Published}, now); err != nil {
			return err
		}
		for i := range benchConversations {
			c := chat.Conversation{ID: "c" + strconv.Itoa(i), Type: chat.OnPost, PostToken: "post", Buyer: "buyer-" + strconv.Itoa(i)}
			if _, err := chat.PutConversation(tx, c, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// accept writes n messages in groups, each an event with one delivery.
func accept(b *testing.B, s *store.Store, n int) {
	b.Helper()
	for done := 0; done < n; done += benchGroup {
		list := make([]chat.NewMessage, 0, benchGroup)
		for i := done; i < min(n, done+benchGroup); i++ {
			list = append(list, chat.NewMessage{
				ID: fmt.Sprintf("e7a08a2c-8ee4-11ef-%017d", i), Conversation: "c" + strconv.Itoa(i%benchConversations), Sender: chat.Buyer,
				Content: chat.Content{Text: "a message of a usual length, to be sent"},
			})
		}
		err := s.Chat().Write(b.Context(), func(tx chat.Tx) error {
			for _, r := range chat.PutMessages(tx, list, time.Now()) {
				if r.Err != nil {
					return r.Err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatch finds who hears of a message.
func BenchmarkMatch(b *testing.B) {
	bothEngines(b, func(b *testing.B, o store.Options) {
		s := benchLedger(b, o)
		b.ResetTimer()
		err := s.Chat().Write(b.Context(), func(tx chat.Tx) error {
			for b.Loop() {
				now := time.Now()
				heard, err := tx.Subscriptions("seller", event.NewMessageOnPost, "post", now, now.Add(-time.Hour))
				if err != nil || len(heard) != 1 {
					return fmt.Errorf("%d subscriptions, %w", len(heard), err)
				}
				if _, err := tx.Listener(heard[0].App); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkCommit is the way of an event to the disk: the rule, the match, the
// rows, the commit of five hundred at a time.
func BenchmarkCommit(b *testing.B) {
	bothEngines(b, func(b *testing.B, o store.Options) {
		s := benchLedger(b, o)
		b.ResetTimer()
		accept(b, s, b.N)
	})
}

// BenchmarkRecord is the outcome of a first attempt that was a delivery.
func BenchmarkRecord(b *testing.B) {
	bothEngines(b, func(b *testing.B, o store.Options) {
		s := benchLedger(b, o)
		var fresh []delivery.Delivery
		s.OnCommit(func(list []delivery.Delivery) { fresh = append(fresh, list...) })
		accept(b, s, b.N)
		outcomes := make([]delivery.Outcome, len(fresh))
		for i, d := range fresh {
			outcomes[i] = delivery.Outcome{ID: d.ID, State: delivery.Delivered, Attempt: &delivery.Attempt{
				N: 1, At: time.Now(), Duration: time.Millisecond, Request: fmt.Sprintf("POST https://app.test/\n%400d", i), Status: 200, Why: delivery.WhyFirst,
			}}
		}
		b.ResetTimer()
		for done := 0; done < len(outcomes); done += benchGroup {
			if err := s.Record(b.Context(), outcomes[done:min(len(outcomes), done+benchGroup)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDue reads what waits for an app.
func BenchmarkDue(b *testing.B) {
	bothEngines(b, func(b *testing.B, o store.Options) {
		s := benchLedger(b, o)
		accept(b, s, b.N)
		b.ResetTimer()
		for left := b.N; left > 0; left -= benchGroup {
			if _, err := s.Due(b.Context(), "app", time.Now(), min(left, benchGroup)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
