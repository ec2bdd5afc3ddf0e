package storetest

import (
	"slices"
	"testing"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

var erasureTests = tests{
	"an erased message is gone, and so is what apps answered": eraseMessage,
	"an erased message cannot come back":                      erasedComesBack,
	"an answer that arrives after the erasure is not kept":    lateAnswer,
	"erasing a user takes all that was theirs, in steps":      eraseUser,
	"erasing a post's events reaches no other, in steps":      erasePost,
	"a step is bounded, however often one post was changed":   eraseBusyPost,
	"erasing a user nobody knows is done at once":             eraseNobody,
}

func (l *ledger) eraseMessage(id string) (event int64, found bool) {
	l.t.Helper()
	l.write(func(tx *store.Tx) (err error) {
		event, found, err = tx.EraseMessage(id, base)
		return err
	})
	return event, found
}

// erased says whether nothing of an event can be sent any more, though it was
// to the app sent.
func (l *ledger) erased(event int64) bool {
	l.t.Helper()
	done, refusal, err := l.PutBack(l.ctx(), delivery.ID{Event: event, App: "sent"}, "by hand", base)
	ok(l.t, err)
	return !done && refusal == "the content was deleted"
}

func eraseMessage(t *testing.T, open opener) {
	l := newLedger(t, open)
	id := l.say(message("m", "c", "user"), pending("sent"), pending("retried"), pending("new"), skipped("skipped", "a reason"))
	other := l.say(message("other", "c", "user"), pending("sent"), pending("new"))
	l.record(delivered(id, "sent", 1), failed(id, "retried", 1, base), delivered(other, "sent", 1))

	event, found := l.eraseMessage("m")
	same(t, "event", event, id)
	same(t, "found", found, true)
	if event, found := l.eraseMessage("m"); !found || event != id {
		t.Errorf("again: event %d, found %t", event, found)
	}
	if _, found := l.eraseMessage("unknown"); found {
		t.Error("an unknown message was erased")
	}

	list, err := l.Messages(t.Context(), "c", 0, 10)
	ok(t, err)
	same(t, "messages left", len(list), 1)
	newest, err := l.Messages(t.Context(), "c", -1, 10)
	ok(t, err)
	same(t, "the newest left", newest, list)

	same(t, "sent", l.row(id, "sent").State, delivery.Delivered)
	for app, due := range map[string]int{"retried": 0, "new": 1} { // that of the other
		row := l.row(id, app)
		same(t, app, row.State, delivery.Canceled)
		same(t, app, row.Reason, "the content was deleted")
		same(t, "due of "+app, len(l.due(app, base)), due)
	}
	for _, app := range []string{"sent", "retried"} {
		for _, a := range l.attempts(id, app) {
			same(t, "the answer of "+app, a.Answer, nil)
			same(t, "attempts of "+app, l.row(id, app).Attempts, 1)
		}
	}
	same(t, "the event can be sent", l.erased(id), true)
	same(t, "the other's answer", string(l.attempts(other, "sent")[0].Answer), "an answer")
	same(t, "the other is erased", l.erased(other), false)
}

func erasedComesBack(t *testing.T, open opener) {
	l := newLedger(t, open)
	m := message("m", "c", "user")
	m.Event = l.say(m)
	l.eraseMessage("m")
	l.write(func(tx *store.Tx) error {
		again := chat.Stored{ID: "m", Conversation: "c", User: "user", SentAt: base, Hash: []byte("h"), Payload: []byte(`{}`), Event: tx.NextID()}
		inserted, err := tx.InsertMessages([]chat.Stored{again})
		if err != nil {
			return err
		}
		stored, _, err := tx.Message(again.ID)
		if inserted[0] || stored.Event != m.Event || stored.Payload != nil || len(stored.Hash) != 0 {
			t.Errorf("inserted %t, stored %+v; want the erased one", inserted[0], stored)
		}
		return err
	})
}

func lateAnswer(t *testing.T, open opener) {
	l := newLedger(t, open)
	id := l.say(message("m", "c", "user"), pending("a"))
	l.eraseMessage("m") // while it is being sent
	l.record(delivered(id, "a", 1))
	log := l.attempts(id, "a")
	same(t, "attempts", len(log), 1)
	same(t, "answer", string(log[0].Answer), "")
	same(t, "state", l.row(id, "a").State, delivery.Delivered)
}

// eraseAll erases a user and returns the events and the number of steps.
func (l *ledger) eraseAll(user string) (events []int64, steps int) {
	l.t.Helper()
	for done := false; !done; steps++ {
		var some []int64
		l.write(func(tx *store.Tx) (err error) {
			some, done, err = tx.EraseStep(user, base)
			return err
		})
		events = append(events, some...)
		if steps > 1000 {
			l.t.Fatal("erasing has no end")
		}
	}
	slices.Sort(events)
	return events, steps
}

func eraseUser(t *testing.T, open opener) {
	l := newLedger(t, open)
	var theirs, others []int64
	keep := func(list *[]int64, m chat.Stored) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			id, err := say(tx, m, pending("sent"), pending("new"))
			*list = append(*list, id)
			return err
		}
	}
	l.write(func(tx *store.Tx) error {
		for _, c := range []chat.Conversation{
			{ID: "post", Type: chat.OnPost, PostToken: "p", Buyer: "user"},
			{ID: "bot", Type: chat.WithBot, App: "a", User: "user"},
			{ID: "another bot", Type: chat.WithBot, App: "a", User: "another"},
		} {
			if err := tx.InsertConversation(c, base); err != nil {
				return err
			}
		}
		for i := range 150 {
			n := userName(i)
			for _, say := range []func(tx *store.Tx) error{
				keep(&theirs, message("post "+n, "post", "user")),
				keep(&theirs, message("bot "+n, "bot", "user")),
				keep(&theirs, message("answer "+n, "bot", "")), // the bot's
				keep(&others, message("seller "+n, "post", "seller")),
				keep(&others, message("another "+n, "another bot", "another")),
			} {
				if err := say(tx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for range 3 {
		theirs = append(theirs, l.publish("own", "user", pending("sent"), pending("new")))
	}
	others = append(others, l.publish("foreign", "seller", pending("sent"), pending("new")))
	var outcomes []delivery.Outcome
	for _, id := range slices.Concat(theirs, others) {
		outcomes = append(outcomes, delivered(id, "sent", 1))
	}
	l.record(outcomes...)

	events, steps := l.eraseAll("user")

	slices.Sort(theirs)
	same(t, "events", events, theirs)
	if steps < 3 {
		t.Errorf("450 messages took %d steps: they are not bounded", steps)
	}
	for _, id := range theirs {
		if !l.erased(id) || l.row(id, "new").State != delivery.Canceled || l.attempts(id, "sent")[0].Answer != nil {
			t.Fatalf("something is left of event %d", id)
		}
	}
	for _, id := range others {
		if l.row(id, "new").State != delivery.Pending || l.attempts(id, "sent")[0].Answer == nil {
			t.Fatalf("event %d of another was erased", id)
		}
	}
	for token, want := range map[string]bool{"own": false, "foreign": true} {
		_, found, err := l.Post(t.Context(), token)
		ok(t, err)
		same(t, "post "+token, found, want)
	}
	left, err := l.Messages(t.Context(), "post", 0, 1000)
	ok(t, err)
	same(t, "messages left in the conversation", len(left), 150)
}

func erasePost(t *testing.T, open opener) {
	l := newLedger(t, open)
	other := l.publish("q", "user", pending("sent"))
	theirs := []int64{l.publish("p", "user", pending("sent"), pending("new"))}
	l.record(delivered(theirs[0], "sent", 1), delivered(other, "sent", 1))
	theirs = append(theirs, l.happenTimes(450, base)...)
	var events []int64
	steps := 0
	for done := false; !done; steps++ {
		var some []int64
		l.write(func(tx *store.Tx) (err error) {
			some, done, err = tx.ErasePostStep("p", base)
			return err
		})
		events = append(events, some...)
	}
	same(t, "events", events, theirs)
	if steps < 2 {
		t.Error("451 changes were erased in one step: they are not bounded")
	}
	same(t, "erased", l.erased(theirs[0]), true)
	same(t, "what was not sent", l.row(theirs[0], "new").State, delivery.Canceled)
	same(t, "that of another post is erased", l.erased(other), false)
}

func eraseBusyPost(t *testing.T, open opener) {
	l := newLedger(t, open)
	const changes = 1000
	l.write(func(tx *store.Tx) error {
		for range changes {
			if err := tx.InsertEvent(happening(tx.NextID(), base), nil); err != nil {
				return err
			}
		}
		return nil
	})
	l.publish("p", "user")
	events, steps := l.eraseAll("user")
	same(t, "events", len(events), changes+1)
	if steps < 3 {
		t.Errorf("%d changes of one post were erased in %d steps: they are not bounded", changes, steps)
	}
}

func eraseNobody(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.say(message("m", "c", "user"))
	events, steps := l.eraseAll("nobody")
	same(t, "events", len(events), 0)
	same(t, "steps", steps, 1)
}
