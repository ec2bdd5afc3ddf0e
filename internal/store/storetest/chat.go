package storetest

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
)

var chatTests = tests{
	"of many messages each id is stored once":                    manyMessages,
	"a conversation comes back with its post's present owner":    conversationRoundTrip,
	"a user has one conversation with an app's bot":              botConversation,
	"of 20 messages with one id the first is stored":             duplicateMessages,
	"messages are listed ascending, the newest without a cursor": messagePages,
	"a conversation is read whole beside very many messages":     longConversations,
}

// conversation reads the conversation c, inside a transaction and outside.
func (l *ledger) conversation() chat.Conversation {
	l.t.Helper()
	outside, _, err := l.Conversation(l.ctx(), "c")
	ok(l.t, err)
	l.write(func(tx *store.Tx) error {
		inside, _, err := tx.Conversation("c")
		if inside != outside {
			l.t.Errorf("the conversation is %+v inside a transaction and %+v outside", inside, outside)
		}
		return err
	})
	return outside
}

func conversationRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	c := chat.Conversation{ID: "c", Type: chat.OnPost, PostToken: "p", Buyer: "buyer"}
	l.write(func(tx *store.Tx) error { return tx.InsertConversation(c, base) })
	same(t, "without its post", l.conversation(), c)

	l.publish("p", "seller")
	c.Seller = "seller"
	same(t, "with it", l.conversation(), c)
	l.publish("p", "the next owner")
	c.Seller = "the next owner"
	same(t, "sold", l.conversation(), c)

	for _, step := range []struct {
		by             chat.Side
		blocked        bool
		buyer, sellers bool
	}{{chat.Buyer, true, true, false}, {chat.Seller, true, true, true}, {chat.Buyer, false, false, true}} {
		l.write(func(tx *store.Tx) error { return tx.SetBlocked("c", step.by, step.blocked) })
		c.BlockedByBuyer, c.BlockedBySeller = step.buyer, step.sellers
		same(t, "blocked", l.conversation(), c)
	}
	if _, found, err := l.Conversation(t.Context(), "unknown"); found || err != nil {
		t.Errorf("an unknown conversation: found %t, %v", found, err)
	}
}

func botConversation(t *testing.T, open opener) {
	l := newLedger(t, open)
	c := chat.Conversation{ID: "c", Type: chat.WithBot, App: "a", User: "user"}
	l.write(func(tx *store.Tx) error {
		if _, found, err := tx.BotConversation("a", "user"); found {
			t.Error("found before it was stored")
		} else if err != nil {
			return err
		}
		return tx.InsertConversation(c, base)
	})
	same(t, "conversation", l.conversation(), c)
	l.write(func(tx *store.Tx) error {
		id, found, err := tx.BotConversation("a", "user")
		if id != "c" || !found {
			t.Errorf("the bot's conversation is %q, found %t", id, found)
		}
		return err
	})
	for user, want := range map[string]string{"user": "c", "another": ""} {
		id, found, err := l.BotConversation(t.Context(), "a", user)
		if err != nil || id != want || found != (want != "") {
			t.Errorf("outside, the bot's conversation with %s is %q, found %t, %v", user, id, found, err)
		}
	}
	second := c
	second.ID = "second"
	if l.try(t.Context(), func(tx *store.Tx) error { return tx.InsertConversation(second, base) }) == nil {
		t.Error("a second conversation with the same bot was stored")
	}
}

func duplicateMessages(t *testing.T, open opener) {
	l := newLedger(t, open)
	var inserted atomic.Int64
	stored := make([]chat.Stored, 20)
	ok(t, together(len(stored), func(i int) error {
		return l.try(t.Context(), func(tx *store.Tx) error {
			m := message("m", "c", userName(i))
			m.Event, m.SentAt, m.Hash, m.Payload = tx.NextID(), base, []byte(userName(i)), []byte(`{"by":"`+userName(i)+`"}`)
			first, err := tx.InsertMessages([]chat.Stored{m})
			if err != nil {
				return err
			}
			if first[0] {
				inserted.Add(1)
				if err := tx.InsertEvent(event.Event{
					ID: m.Event, Type: event.NewMessageOnPost, At: base, Key: "conversation c", Payload: m.Payload,
				}, []event.Verdict{pending("a")}); err != nil {
					return err
				}
			}
			stored[i], _, err = tx.Message("m")
			return err
		})
	})...)
	same(t, "inserted", inserted.Load(), 1)
	for _, s := range stored[1:] {
		same(t, "what each was given", s, stored[0])
	}
	list, err := l.Messages(t.Context(), "c", 0, 100)
	ok(t, err)
	same(t, "in the ledger", list, stored[:1])
	same(t, "deliveries", l.all(delivery.Filter{}), ids("a", stored[0].Event))
}

func manyMessages(t *testing.T, open opener) {
	l := newLedger(t, open)
	first := message("m3", "c", "user")
	first.Event = l.say(first)
	const n = 150
	l.write(func(tx *store.Tx) error {
		var list []chat.Stored
		for i := range n {
			m := message("m"+strconv.Itoa(i%(n-10)), "c", userName(i%7)) // the last ten are there already
			m.Event, m.SentAt, m.Hash, m.Payload = tx.NextID(), base, []byte{1}, []byte(`{}`)
			list = append(list, m)
		}
		inserted, err := tx.InsertMessages(list)
		for i, got := range inserted {
			if want := i != 3 && i < n-10; got != want {
				t.Errorf("message %d: inserted %t, want %t", i, got, want)
			}
		}
		return err
	})
	list, err := l.Messages(t.Context(), "c", 0, 1000)
	ok(t, err)
	same(t, "in the ledger", len(list), n-10)
}

// longConversations: whoever reads a conversation while messages come finds all
// up to one moment, page by page and from its end; an erasure finds the rest.
func longConversations(t *testing.T, open opener) {
	l := newLedger(t, open)
	const (
		n             = 6000 // of which the ledger keeps some apart
		atATime       = 100
		conversations = 3
	)
	var said atomic.Int64 // messages of each conversation
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; i < n; i += atATime {
			l.write(func(tx *store.Tx) error {
				var list []chat.Stored
				for j := i; j < i+atATime; j++ {
					for c := range conversations {
						m := message(strconv.Itoa(j)+" of "+strconv.Itoa(c), "c"+strconv.Itoa(c), "user")
						m.Event, m.SentAt, m.Hash, m.Payload = tx.NextID(), base, []byte{1}, []byte(`{}`)
						list = append(list, m)
					}
				}
				_, err := tx.InsertMessages(list)
				return err
			})
			said.Store(int64(i + atATime))
		}
	}()
	whole := func(list []chat.Stored, first int) bool {
		for i, m := range list {
			if m.ID != strconv.Itoa(first+i)+" of 1" {
				t.Errorf("message %d is %q", first+i, m.ID)
				return false
			}
		}
		return true
	}
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
		}
		least, found, after := int(said.Load()), 0, int64(0)
		for {
			page, err := l.Messages(t.Context(), "c1", after, 700)
			ok(t, err)
			if !whole(page, found) {
				return
			}
			if found += len(page); len(page) < 700 {
				break
			}
			after = page[len(page)-1].Event
		}
		newest, err := l.Messages(t.Context(), "c1", -1, 5)
		ok(t, err)
		if found < least || len(newest) > 0 && !whole(newest, number(t, newest[0].ID)) {
			t.Fatalf("%d messages were there, %d are found; the newest are %+v", least, found, newest)
		}
	}
	same(t, "messages in all", int(said.Load()), n)
	for _, id := range []string{"0 of 1", "5999 of 1"} {
		l.eraseMessage(id)
	}
	left, err := l.Messages(t.Context(), "c1", 0, n)
	ok(t, err)
	same(t, "left", len(left), n-2)
	whole(left, 1)
	for done := false; !done; {
		l.write(func(tx *store.Tx) (err error) {
			_, done, err = tx.EraseStep("user", base)
			return err
		})
	}
	for c := range conversations {
		left, err := l.Messages(t.Context(), "c"+strconv.Itoa(c), 0, 1)
		ok(t, err)
		same(t, "left of an erased user", len(left), 0)
	}
}

// number is the first word of an id, as a number.
func number(t *testing.T, id string) int {
	first, _, _ := strings.Cut(id, " ")
	n, err := strconv.Atoi(first)
	ok(t, err)
	return n
}

func messagePages(t *testing.T, open opener) {
	l := newLedger(t, open)
	var events []int64
	for i := range 5 {
		events = append(events, l.say(message(userName(i), "c", "user")))
		l.say(message("other "+userName(i), "another conversation", "user"))
	}
	page := func(after int64) (got []int64) {
		t.Helper()
		list, err := l.Messages(t.Context(), "c", after, 3)
		ok(t, err)
		for _, m := range list {
			got = append(got, m.Event)
		}
		return got
	}
	same(t, "the newest", page(-1), events[2:])
	same(t, "from the first", page(0), events[:3])
	same(t, "after the third", page(events[2]), events[3:])
	same(t, "after the last", page(events[4]), nil)

	list, err := l.Messages(t.Context(), "c", events[3], 1)
	ok(t, err)
	m := message(userName(4), "c", "user")
	m.Event, m.SentAt, m.Hash, m.Payload = events[4], base, []byte("hash of "+m.ID), []byte(`{"id":"`+m.ID+`"}`)
	same(t, "as it was stored", list, []chat.Stored{m})
	l.write(func(tx *store.Tx) error {
		got, found, err := tx.Message(m.ID)
		same(t, "by its id", got, m)
		same(t, "found", found, true)
		if err != nil {
			return err
		}
		_, found, err = tx.Message("unknown")
		same(t, "an unknown one is found", found, false)
		return err
	})
}
