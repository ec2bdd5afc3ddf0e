package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/store"
)

var logTests = tests{
	"the log is listed by app, state and event, newest first": logFilters,
	"a narrow filter tells what it passes by":                 logNarrow,
	"a picture of an endpoint is made from samples":           logSamples,
	"what waits for an app is counted up to a limit":          logBacklog,
	"the log is paged without gaps or repeats":                logPages,
	"the attempts of a delivery are listed first to last":     attemptOrder,
	"a single delivery shows what is sent":                    deliveryBody,
	"a delivery is put back whatever its state":               putBack,
	"what was skipped, revoked or erased is never put back":   neverPutBack,
}

func logFilters(t *testing.T, open opener) {
	l := newLedger(t, open)
	first := l.happen(base, pending("b"), pending("a"), skipped("c", "a reason"))
	second := l.happen(base, pending("a"))
	l.record(delivered(first, "a", 1))
	a1, b1, a2 := ids("a", first)[0], ids("b", first)[0], ids("a", second)[0]

	for name, c := range map[string]struct {
		filter delivery.Filter
		want   []delivery.ID
	}{
		"all":                      {delivery.Filter{}, []delivery.ID{a2, b1, a1}},
		"app":                      {delivery.Filter{App: "a"}, []delivery.ID{a2, a1}},
		"state":                    {delivery.Filter{State: delivery.Pending}, []delivery.ID{a2, b1}},
		"event":                    {delivery.Filter{Event: first}, []delivery.ID{b1, a1}},
		"app and state":            {delivery.Filter{App: "a", State: delivery.Delivered}, []delivery.ID{a1}},
		"app, state and event":     {delivery.Filter{App: "a", State: delivery.Pending, Event: second}, []delivery.ID{a2}},
		"state of no delivery":     {delivery.Filter{State: delivery.Skipped}, []delivery.ID{}},
		"app that was never meant": {delivery.Filter{App: "c"}, []delivery.ID{}},
	} {
		same(t, name, l.all(c.filter), c.want)
	}
	rows, err := l.Deliveries(t.Context(), delivery.Filter{Event: second, Limit: 1})
	ok(t, err)
	same(t, "a row of the list", rows, []delivery.Row{l.row(second, "a")})
}

func deliveryBody(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	v := pending("a")
	v.Metadata = object(`{"k":1}`)
	m := l.say(message("m", "c", "user"), v)
	body := func() string {
		t.Helper()
		r, _, _, err := l.Delivery(t.Context(), ids("a", m)[0])
		ok(t, err)
		return string(r.Body)
	}
	same(t, "the body", body(), `{"type":"NEW_MESSAGE","metadata":{"k":1},"new_message":{"id":"m"}}`)
	l.write(func(tx *store.Tx) error {
		_, _, err := tx.EraseMessage("m", base)
		return err
	})
	same(t, "once erased", body(), "")
}

func logPages(t *testing.T, open opener) {
	l := newLedger(t, open)
	events := l.happenTimes(20, base, pending("b"), pending("c"), pending("a"), skipped("d", "a reason"))
	for i, e := range events {
		if i%3 == 0 {
			l.record(delivered(e, "a", 1), exhausted(e, "b", 1))
		}
	}
	for name, f := range map[string]delivery.Filter{
		"all": {}, "app": {App: "b"}, "state": {State: delivery.Pending}, "both": {App: "b", State: delivery.Exhausted},
		"event": {Event: events[3]},
	} {
		whole := l.all(f)
		for _, size := range []int{1, 2, 7} {
			var paged []delivery.ID
			for f.Limit, f.After = size, (delivery.ID{}); len(paged) <= len(whole); f.After = paged[len(paged)-1] {
				page, err := l.Deliveries(t.Context(), f)
				ok(t, err)
				for _, r := range page {
					paged = append(paged, r.ID)
				}
				if len(page) < size {
					break
				}
				if len(paged) == size {
					l.happen(base, pending("a"), pending("b")) // newer ones change nothing
				}
			}
			same(t, fmt.Sprintf("%s in pages of %d", name, size), paged, whole)
			f.After = delivery.ID{}
			whole = l.all(f)
		}
	}
}

func attemptOrder(t *testing.T, open opener) {
	l := newLedger(t, open)
	id := l.happen(base, pending("a"))
	for n := 1; n <= 11; n++ {
		l.record(failed(id, "a", n, base))
	}
	for i, a := range l.attempts(id, "a") {
		same(t, "attempt", a.N, i+1)
	}
	same(t, "attempts", l.row(id, "a").Attempts, 11)
	if _, _, found, err := l.Delivery(t.Context(), delivery.ID{Event: id, App: "b"}); found || err != nil {
		t.Errorf("an unknown delivery: found %t, %v", found, err)
	}
}

func putBack(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	g := l.grant("a", "user")
	now := base.Add(time.Hour)
	for name, outcome := range map[string]func(event int64) delivery.Outcome{
		"delivered": func(e int64) delivery.Outcome { return delivered(e, "a", 1) },
		"exhausted": func(e int64) delivery.Outcome { return exhausted(e, "a", 1) },
		"pending":   func(e int64) delivery.Outcome { return failed(e, "a", 1, now.Add(time.Hour)) },
		"canceled": func(e int64) delivery.Outcome {
			o := exhausted(e, "a", 1)
			o.State = delivery.Canceled
			return o
		},
	} {
		id := l.happen(now, pendingOn(g)) // so that it is last of what is due
		l.record(outcome(id))
		done, refusal, err := l.PutBack(t.Context(), delivery.ID{Event: id, App: "a"}, "by hand", now)
		ok(t, err)
		if !done || refusal != "" {
			t.Errorf("%s: done %t, refused since %q", name, done, refusal)
		}
		due := l.due("a", now)
		got := due[len(due)-1]
		got.Body, got.Key = nil, ""
		same(t, name, got, delivery.Delivery{
			ID: delivery.ID{Event: id, App: "a"}, Type: "POST_UPDATE", Grant: g.ID, Attempts: 1, Retry: 0, Why: "by hand", NextAt: now,
		})
		l.record(delivered(id, "a", 2))
		same(t, name+", sent again", l.row(id, "a").Attempts, 2)
	}
}

func neverPutBack(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	g := l.grant("a", "user")
	skip := l.happen(base, skipped("a", "a reason"))
	revoked, erased := l.happen(base, pendingOn(g)), l.say(message("m", "c", "user"), pending("a"))
	l.record(delivered(revoked, "a", 1), delivered(erased, "a", 1))
	l.revoke(g, base)
	l.write(func(tx *store.Tx) error {
		_, _, err := tx.EraseMessage("m", base)
		return err
	})
	before := l.all(delivery.Filter{State: delivery.Delivered})

	for name, c := range map[string]struct {
		event int64
		why   string
	}{
		"skipped": {skip, ""},
		"revoked": {revoked, "the user took the app's access away"},
		"erased":  {erased, "the content was deleted"},
		"unknown": {erased + 1, ""},
	} {
		done, refusal, err := l.PutBack(t.Context(), delivery.ID{Event: c.event, App: "a"}, "by hand", base)
		ok(t, err)
		if done || refusal == "" || c.why != "" && refusal != c.why {
			t.Errorf("%s: done %t, refused since %q, want %q", name, done, refusal, c.why)
		}
	}
	same(t, "due", len(l.due("a", base)), 0)
	same(t, "unchanged", l.all(delivery.Filter{State: delivery.Delivered}), before)
	if h, _, err := l.Event(t.Context(), skip); err != nil || !slices.ContainsFunc(h.Verdicts, func(r delivery.Row) bool { return r.State == delivery.Skipped }) {
		t.Errorf("the skip is gone: %v, %v", h.Verdicts, err)
	}
}

// logNarrow chooses by what no index has: all are looked at, in their order, and
// those that are not meant are marked.
func logNarrow(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	grant := access.Grant{App: "a", User: "granter", GrantedAt: base}
	l.write(func(tx *store.Tx) error {
		grant.ID = tx.NextID()
		return errors.Join(
			tx.InsertGrant(grant),
			tx.InsertConversation(chat.Conversation{ID: "c", Type: chat.OnPost, PostToken: "p", Buyer: "buyer"}, base),
			tx.InsertConversation(chat.Conversation{ID: "b", Type: chat.WithBot, App: "a", User: "writer"}, base),
			tx.PutPost(market.Post{Token: "p", Owner: "owner", State: market.Published}, tx.NextID(), base),
		)
	})
	at := time.Now().UTC().Truncate(time.Microsecond)
	emit := func(kind event.Type, key string, of int64) (id int64) {
		t.Helper()
		l.write(func(tx *store.Tx) error {
			id = tx.NextID()
			v := pending("a")
			v.Grant = of
			return tx.InsertEvent(event.Event{ID: id, Type: kind, At: at, Key: key, Payload: []byte(`{}`)}, []event.Verdict{v})
		})
		return id
	}
	message := emit(event.NewMessageOnPost, "conversation c", 0)
	bot := emit(event.NewChatbotMessage, "conversation b", 0)
	post := emit(event.PostUpdate, "post p", 0)
	other := emit(event.PostUpdate, "post other", grant.ID)
	revoked := emit(event.UserAccessRevocation, fmt.Sprintf("grant %d", grant.ID), 0)
	call := emit(event.SessionInitialization, event.CallKey("buyer"), 0)
	payment := emit(event.PaymentTransaction, "transaction x", 0)
	everything := ids("a", payment, call, revoked, other, post, bot, message)
	for name, c := range map[string]struct {
		filter delivery.Filter
		want   []delivery.ID
	}{
		"type":             {delivery.Filter{Type: "POST_UPDATE"}, ids("a", other, post)},
		"post":             {delivery.Filter{Post: "p"}, ids("a", post, message)},
		"post without any": {delivery.Filter{Post: "nothing"}, nil},
		"buyer":            {delivery.Filter{User: "buyer"}, ids("a", call, message)},
		"owner":            {delivery.Filter{User: "owner"}, ids("a", post, message)},
		"writer":           {delivery.Filter{User: "writer"}, ids("a", bot)},
		"granter":          {delivery.Filter{User: "granter"}, ids("a", revoked, other)},
		"all three":        {delivery.Filter{App: "a", User: "owner", Post: "p", Type: "POST_UPDATE"}, ids("a", post)},
		"and a state":      {delivery.Filter{App: "a", User: "owner", State: delivery.Pending}, ids("a", post, message)},
	} {
		c.filter.Limit = 100
		rows, err := l.Deliveries(t.Context(), c.filter)
		ok(t, err)
		var looked, meant []delivery.ID
		for _, r := range rows {
			looked = append(looked, r.ID)
			if !r.Aside {
				meant = append(meant, r.ID)
			}
		}
		same(t, name+": looked at", looked, everything)
		same(t, name, meant, c.want)
	}
	for name, c := range map[string]struct {
		from, to time.Time
		want     int
	}{
		"from then":     {at, time.Time{}, 7},
		"from later":    {at.Add(time.Microsecond), time.Time{}, 0},
		"until then":    {time.Time{}, at, 7},
		"until earlier": {time.Time{}, at.Add(-time.Microsecond), 0},
	} {
		rows, err := l.Deliveries(t.Context(), delivery.Filter{From: c.from, To: c.to, Limit: 100})
		ok(t, err)
		same(t, name, len(rows), c.want)
	}
}

func logSamples(t *testing.T, open opener) {
	l := newLedger(t, open)
	now := time.Now()
	var all []int64
	for range 5 {
		all = append(all, l.happen(now, pending("a"), pending("b")))
	}
	broken := attempt(1, 500)
	broken.Error = "answered 500"
	l.record(delivered(all[0], "a", 1), delivered(all[1], "a", 1), delivered(all[0], "b", 1),
		delivery.Outcome{ID: ids("a", all[2])[0], State: delivery.Exhausted, Attempt: broken})
	from, to := now.Add(-time.Minute), now.Add(time.Minute)
	count := func(from, to time.Time, limit int) (n, bad int) {
		t.Helper()
		list, err := l.Samples(t.Context(), "a", from, to, limit)
		ok(t, err)
		for _, s := range list {
			if s.Failed {
				bad++
			}
		}
		return len(list), bad
	}
	if n, bad := count(from, to, 100); n != 3 || bad != 1 {
		t.Errorf("%d attempts, %d of them failed", n, bad)
	}
	if n, _ := count(from, to, 2); n != 2 {
		t.Errorf("%d attempts of two deliveries", n)
	}
	if n, _ := count(to, to.Add(time.Hour), 100); n != 0 {
		t.Errorf("%d attempts in a time when nothing happened", n)
	}
}

func logBacklog(t *testing.T, open opener) {
	l := newLedger(t, open)
	var first int64
	for n := range 5 {
		id := l.happen(base, pending("a"), pending("b"))
		if n == 0 {
			first = id
		}
	}
	l.record(delivered(first, "a", 1))
	for limit, want := range map[int]int{10: 4, 3: 3} {
		n, oldest, err := l.Backlog(t.Context(), "a", limit)
		if ok(t, err); n != want || oldest.IsZero() {
			t.Errorf("up to %d: %d wait, since %s", limit, n, oldest)
		}
	}
	if n, oldest, err := l.Backlog(t.Context(), "c", 10); n != 0 || !oldest.IsZero() || err != nil {
		t.Errorf("of nobody: %d, %s, %v", n, oldest, err)
	}
}
