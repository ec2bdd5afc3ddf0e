package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
)

// TestBatchOnAFullDisk fills the disk in the middle of a batch. The engine then
// rolls back by itself, and what is done after that would stay on its own: the
// call fails, nothing of it is there, and sent again all of it happens.
func TestBatchOnAFullDisk(t *testing.T) {
	t.Parallel()
	failed := 0
	for room := range 12 {
		dir := t.TempDir()
		s := open(t, store.Options{Dir: dir})
		write(t, s, func(tx chat.Tx) error {
			if _, err := market.PutPost(tx, market.Post{Token: "p", Owner: "o", Title: "t", State: market.Published}, base); err != nil {
				return err
			}
			return tx.InsertConversation(chat.Conversation{ID: "c", Type: chat.OnPost, PostToken: "p", Buyer: "b"}, base)
		})
		c, err := chat.New(chat.Options{
			Store: s.Chat(), Access: &access.Access{}, Media: &chat.Media{}, Erase: func(context.Context, int64) error { return nil },
		})
		ok(t, err)
		ok(t, s.FillDisk(t.Context(), room))
		var batch []chat.Write
		for i := range 6 {
			m := chat.NewMessage{ID: fmt.Sprintf("m%d", i), Conversation: "c", Sender: chat.Buyer, Content: chat.Content{Text: strings.Repeat("x", 300)}}
			p := market.Post{Token: fmt.Sprintf("p%d", i), Owner: "o", Category: strings.Repeat("y", 100), Data: []byte(`{"k":"` + strings.Repeat("z", 3500) + `"}`), State: market.Published}
			batch = append(batch, chat.Write{Message: &m}, chat.Write{
				Other: func(tx chat.Tx, now time.Time) (market.Change, error) { return market.PutPost(tx, p, now) },
			})
		}
		if _, err = c.All(t.Context(), batch); err == nil {
			continue
		}
		failed++
		if status.KindOf(err) != status.Unavailable {
			t.Errorf("room for %d pages: %v, want Unavailable", room, err)
		}
		db := raw(t, store.Options{Dir: dir})
		for table, want := range map[string]int{"messages": 0, "posts": 1, "events": 1, "deliveries": 0} {
			n := 0
			ok(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
			if n != want {
				t.Errorf("room for %d pages: the batch failed, and %s has %d rows, want %d", room, table, n, want)
			}
		}
		ok(t, s.FillDisk(t.Context(), 1000))
		again, err := c.All(t.Context(), batch)
		ok(t, err)
		for i, r := range again {
			if r.Err != nil || r.Change != market.Changed {
				t.Errorf("room for %d pages: line %d sent again: %v, %v", room, i, r.Change, r.Err)
			}
		}
		audit, err := s.Audit(t.Context(), func(int64) {})
		if err != nil || audit.Unaccounted != 0 {
			t.Errorf("room for %d pages: %v %v", room, audit.Findings, err)
		}
	}
	if failed < 3 {
		t.Errorf("the disk was full in %d of the batches only", failed)
	}
}
