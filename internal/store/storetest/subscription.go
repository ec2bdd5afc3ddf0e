package storetest

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/wire"
)

var subscriptionTests = tests{
	"a subscription comes back as it was registered":               subscriptionRoundTrip,
	"registering again replaces, and revives what was ended":       registerAgain,
	"of 20 that register the same at once one remains":             registerTogether,
	"a dead token registers nothing":                               deadToken,
	"nothing lives that was registered beside a revocation":        registerBesideRevocation,
	"a user's event concerns those who listen to it":               matching,
	"what ended since a moment is told with why it ended":          endedSince,
	"a revocation counts whatever the clock says":                  clockSetBack,
	"the echo is the user's own, else the newest that lives":       echo,
	"an app's subscriptions are listed page by page":               subscriptionPages,
	"a subscription is ended once, while it lives, by its own app": endSubscription,
}

// subscription is what a test says of one; the rest is the token's.
type subscription struct {
	kind     event.Type // default NewMessageOnPost
	resource string
	metadata wire.Object
}

// register is event.Store's, with a token.
func (l *ledger) register(token access.Token, s subscription, at time.Time) bool {
	l.t.Helper()
	alive, err := l.Register(l.ctx(), full(token, s, at), at)
	ok(l.t, err)
	return alive
}

func full(token access.Token, s subscription, at time.Time) event.Subscription {
	return event.Subscription{
		App: token.App, User: token.User, Type: cmp.Or(s.kind, event.NewMessageOnPost), Resource: s.resource,
		Metadata: s.metadata, Token: token.ID, Grant: token.Grant, At: at, ExpiresAt: token.ExpiresAt,
	}
}

// subscribe registers what must be registered.
func (l *ledger) subscribe(token access.Token, s subscription) {
	l.t.Helper()
	if !l.register(token, s, base) {
		l.t.Fatal("a live token did not register")
	}
}

// live returns the app's live subscriptions.
func (l *ledger) live(app string, now time.Time) []event.Subscription {
	l.t.Helper()
	list, err := l.AppSubscriptions(l.ctx(), app, 0, 1000, now)
	ok(l.t, err)
	return list
}

// concerned asks as fan-out does, and returns the subscriptions by app.
func (l *ledger) concerned(user, resource string, now, since time.Time) (list []event.Subscription) {
	l.t.Helper()
	l.write(func(tx *store.Tx) (err error) {
		list, err = tx.Subscriptions(user, event.NewMessageOnPost, resource, now, since)
		return err
	})
	slices.SortFunc(list, func(a, b event.Subscription) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Resource, b.Resource))
	})
	return list
}

// member stores an app and a user's token for it.
func (l *ledger) member(app, user string) access.Token {
	l.t.Helper()
	l.app(app)
	return l.token(l.grant(app, user), base.Add(time.Hour))
}

func subscriptionRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	for app, metadata := range map[string]wire.Object{
		"none": nil, "empty": object(`{}`), "full": object(`{"n":1.50,"deep":{"null":null},"text":"سلام <&>"}`),
	} {
		token := l.member(app, "user")
		s := subscription{resource: "p", metadata: metadata}
		l.subscribe(token, s)
		got := l.live(app, base)
		if len(got) != 1 {
			t.Fatalf("%s: %d subscriptions, want 1", app, len(got))
		}
		want := full(token, s, base)
		want.ID = got[0].ID
		same(t, app+", listed", got[0], want)
		for _, c := range l.concerned("user", "p", base, base) {
			if c.App == app {
				same(t, app+", matched", c, want)
			}
		}
	}
}

func registerAgain(t *testing.T, open opener) {
	l := newLedger(t, open)
	token := l.member("a", "user")
	l.subscribe(token, subscription{metadata: object(`{"v":1}`)})
	first := l.live("a", base)[0]

	other := l.token(access.Grant{ID: token.Grant, App: "a", User: "user"}, base.Add(2*time.Hour))
	later := base.Add(time.Minute)
	for range 2 { // the second time it revives what the app has ended
		l.register(other, subscription{metadata: object(`{"v":2}`)}, later)
		want := full(other, subscription{metadata: object(`{"v":2}`)}, later)
		want.ID = first.ID
		same(t, "replaced", l.live("a", later), []event.Subscription{want})
		if ended, err := l.EndSubscription(t.Context(), "a", first.ID, later); !ended || err != nil {
			t.Fatalf("ended %t, %v", ended, err)
		}
	}
}

func registerTogether(t *testing.T, open opener) {
	l := newLedger(t, open)
	token := l.member("a", "user")
	ok(t, together(20, func(int) error {
		_, err := l.Register(t.Context(), full(token, subscription{resource: "p"}, base), base)
		return err
	})...)
	same(t, "subscriptions", len(l.live("a", base)), 1)
	l.subscribe(token, subscription{})
	l.subscribe(token, subscription{resource: "q"})
	l.subscribe(token, subscription{resource: "p", kind: event.PostUpdate})
	same(t, "with other resources and types", len(l.live("a", base)), 4)
}

func deadToken(t *testing.T, open opener) {
	l := newLedger(t, open)
	expired := l.member("expired", "user")
	same(t, "expired", l.register(expired, subscription{}, expired.ExpiresAt), false)

	unknown := expired
	unknown.ID++
	same(t, "unknown", l.register(unknown, subscription{}, base), false)

	revoked := l.member("revoked", "user")
	l.revoke(access.Grant{ID: revoked.Grant}, base)
	same(t, "revoked", l.register(revoked, subscription{}, base), false)
	same(t, "anything matches", len(l.concerned("user", "", base, time.Time{})), 0)
}

func registerBesideRevocation(t *testing.T, open opener) {
	l := newLedger(t, open)
	token := l.member("a", "user")
	ok(t, together(21, func(i int) error {
		if i == 10 {
			return l.try(t.Context(), func(tx *store.Tx) error { return tx.RevokeGrant(token.Grant, base) })
		}
		_, err := l.Register(t.Context(), full(token, subscription{resource: userName(i)}, base), base)
		return err
	})...)
	same(t, "live subscriptions", len(l.live("a", base)), 0)
}

func matching(t *testing.T, open opener) {
	l := newLedger(t, open)
	all, narrow, other, both := l.member("all", "seller"), l.member("narrow", "seller"), l.member("other", "seller"), l.member("both", "seller")
	l.subscribe(all, subscription{})
	l.subscribe(narrow, subscription{resource: "p"})
	l.subscribe(other, subscription{resource: "q"})
	l.subscribe(both, subscription{})
	l.subscribe(both, subscription{resource: "p"})
	l.subscribe(l.member("kind", "seller"), subscription{kind: event.PostUpdate})
	l.subscribe(l.member("foreign", "another user"), subscription{})

	for resource, want := range map[string][]string{
		"p": {"all ", "both ", "both p", "narrow p"},
		"q": {"all ", "both ", "other q"},
		"r": {"all ", "both "},
		"":  {"all ", "both "},
	} {
		var got []string
		for _, s := range l.concerned("seller", resource, base, base) {
			got = append(got, s.App+" "+s.Resource)
			if s.Ended != "" {
				t.Errorf("%s has ended: %s", s.App, s.Ended)
			}
		}
		same(t, "concerned by "+resource, got, want)
	}
}

func endedSince(t *testing.T, open opener) {
	l := newLedger(t, open)
	end := base.Add(time.Hour) // when the tokens of members expire
	l.subscribe(l.member("expired", "user"), subscription{})

	l.subscribe(l.member("ended", "user"), subscription{})
	if ended, err := l.EndSubscription(t.Context(), "ended", l.live("ended", base)[0].ID, end.Add(-time.Microsecond)); !ended || err != nil {
		t.Fatalf("ended %t, %v", ended, err)
	}
	revoked := l.member("revoked", "user")
	l.subscribe(revoked, subscription{})
	l.revoke(access.Grant{ID: revoked.Grant}, end.Add(-2*time.Microsecond))

	for since, want := range map[time.Duration][]string{
		0:                     nil,
		-time.Microsecond:     {"expired"},
		-2 * time.Microsecond: {"ended", "expired"},
		-3 * time.Microsecond: {"ended", "expired", "revoked"},
	} {
		var got []string
		for _, s := range l.concerned("user", "p", end, end.Add(since)) {
			got = append(got, s.App)
			if why := map[string]string{"expired": "expired", "ended": "the app ended", "revoked": "took"}[s.App]; !strings.Contains(s.Ended, why) {
				t.Errorf("%s ended because %q", s.App, s.Ended)
			}
		}
		same(t, "since "+since.String(), got, want)
	}
}

func clockSetBack(t *testing.T, open opener) {
	l := newLedger(t, open)
	token := l.member("a", "user")
	l.subscribe(token, subscription{})
	l.revoke(access.Grant{ID: token.Grant}, base)
	for _, s := range l.concerned("user", "", base.Add(-time.Second), base.Add(-time.Hour)) {
		if s.Ended == "" {
			t.Error("a subscription on a revoked grant lives again since the clock was set back")
		}
	}
}

func echo(t *testing.T, open opener) {
	l := newLedger(t, open)
	echoed := func(user string, now time.Time) (metadata string) {
		t.Helper()
		l.write(func(tx *store.Tx) error {
			m, err := tx.Echo("a", event.NewChatbotMessage, user, now)
			if metadata = string(m); m == nil {
				metadata = "none"
			}
			return err
		})
		return metadata
	}
	same(t, "without any", echoed("first", base), "none")

	bot := func(token access.Token, metadata string, at time.Duration) {
		t.Helper()
		l.register(token, subscription{kind: event.NewChatbotMessage, metadata: object(metadata)}, base.Add(at))
	}
	first := l.member("a", "first")
	second := l.token(l.grant("a", "second"), base.Add(2*time.Hour))
	third := l.token(l.grant("a", "third"), base.Add(3*time.Hour))
	bot(first, `{"of":"first"}`, 2*time.Minute) // expires first
	bot(second, `{}`, 3*time.Minute)
	bot(third, `{"of":"third"}`, time.Minute)
	l.subscribe(third, subscription{metadata: object(`{"of":"another type"}`)})

	now := base.Add(10 * time.Minute)
	same(t, "the user's own", echoed("first", now), `{"of":"first"}`)
	same(t, "the newest, for a stranger", echoed("stranger", now), `{}`)
	same(t, "the newest, for nobody", echoed("", now), `{}`)
	same(t, "once the own one expired", echoed("first", base.Add(time.Hour)), `{}`)
	l.revoke(access.Grant{ID: second.Grant}, now)
	same(t, "once the newest was revoked", echoed("", now), `{"of":"first"}`)
	same(t, "once that expired too", echoed("first", base.Add(time.Hour)), `{"of":"third"}`)
	same(t, "once all expired", echoed("third", base.Add(3*time.Hour)), "none")
}

func subscriptionPages(t *testing.T, open opener) {
	l := newLedger(t, open)
	token := l.member("a", "user")
	for i := range 5 {
		l.subscribe(token, subscription{resource: userName(i)})
	}
	l.subscribe(l.member("b", "user"), subscription{})
	whole := l.live("a", base)
	same(t, "all", len(whole), 5)
	var paged []event.Subscription
	for after := int64(0); ; {
		page, err := l.AppSubscriptions(t.Context(), "a", after, 2, base)
		ok(t, err)
		paged = append(paged, page...)
		if len(page) < 2 {
			break
		}
		after = page[1].ID
	}
	same(t, "page by page", paged, whole)
	same(t, "once the token expired", len(l.live("a", token.ExpiresAt)), 0)
}

func endSubscription(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.subscribe(l.member("a", "user"), subscription{})
	l.subscribe(l.member("b", "user"), subscription{})
	a, b := l.live("a", base)[0].ID, l.live("b", base)[0].ID
	end := func(app string, id int64, now time.Time) bool {
		t.Helper()
		ended, err := l.EndSubscription(t.Context(), app, id, now)
		ok(t, err)
		return ended
	}
	same(t, "by another app", end("b", a, base), false)
	same(t, "of 20 at once one ends it", countNil(together(20, func(int) error {
		ended, err := l.EndSubscription(t.Context(), "a", a, base)
		if err == nil && !ended {
			err = errBad
		}
		return err
	})), 1)
	same(t, "once its token expired", end("b", b, base.Add(time.Hour)), false)
	same(t, "subscriptions of a", len(l.live("a", base)), 0)
	same(t, "subscriptions of b", len(l.live("b", base)), 1)
}

func countNil(errs []error) (n int) {
	for _, err := range errs {
		if err == nil {
			n++
		}
	}
	return n
}
