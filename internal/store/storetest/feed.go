package storetest

import (
	"strconv"
	"testing"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/store"
)

var feedTests = tests{
	"the feed is numbered without gaps in the order of commits": feedOrder,
	"a write that fails leaves no number behind":                feedFailure,
	"an entry has its message or notification until it is gone": feedEntries,
	"notifications are paged newest first":                      notificationPages,
}

// publishing writes a notification and puts it on the feed.
func publishing(tx *store.Tx, user string) (int64, error) {
	n := chat.Notice{
		ID: tx.NextID(), App: "a", User: user, Message: "m", Buttons: []byte(`{"items":[]}`), TargetType: chat.TargetUser, SentAt: base,
	}
	tx.Publish(chat.FeedNotification, n.App, n.ID)
	return n.ID, tx.InsertNotification(n)
}

// feed returns the whole feed.
func (l *ledger) feed() []chat.FeedEntry {
	l.t.Helper()
	list, err := l.Feed(l.ctx(), 0, 1_000_000)
	ok(l.t, err)
	return list
}

func feedOrder(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	grown := make(chan struct{}, 1000)
	l.OnFeed(func() { grown <- struct{}{} })
	const writers, each = 20, 10
	release := l.hold()
	done := make(chan error)
	go func() {
		for _, err := range together(writers, func(i int) error {
			for range each {
				if err := l.try(l.ctx(), func(tx *store.Tx) error {
					_, err := publishing(tx, userName(i))
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		}) {
			done <- err
		}
	}()
	release()
	for range writers {
		ok(t, <-done)
	}
	list := l.feed()
	same(t, "entries", len(list), writers*each)
	last := int64(0)
	for i, e := range list {
		same(t, "number", e.Number, int64(i+1))
		if e.Notification.ID <= last {
			t.Errorf("entry %d came before the one that is numbered before it", i)
		}
		last = e.Notification.ID
	}
	part, err := l.Feed(t.Context(), 7, 5)
	ok(t, err)
	same(t, "a part", part, list[7:12])
	if len(grown) == 0 {
		t.Error("nobody was told that the feed grew")
	}
}

func feedFailure(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	for range 3 {
		if err := l.try(t.Context(), func(tx *store.Tx) error {
			tx.Publish(chat.FeedNotification, "a", 1)
			return errBad
		}); err == nil {
			t.Error("the write succeeded")
		}
		l.write(func(tx *store.Tx) error {
			_, err := publishing(tx, "user")
			return err
		})
	}
	for i, e := range l.feed() {
		same(t, "number", e.Number, int64(i+1))
	}
	same(t, "entries", len(l.feed()), 3)
}

func feedEntries(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	m := message("m", "c", "user")
	m.App, m.Buttons = "a", []byte(`{"buttons":{"rows":[]}}`)
	l.write(func(tx *store.Tx) error {
		id, err := say(tx, m)
		m.Event = id
		tx.Publish(chat.FeedMessage, "a", id)
		if err != nil {
			return err
		}
		_, err = publishing(tx, "user")
		return err
	})
	list := l.feed()
	m.SentAt, m.Hash, m.Payload = base, []byte("hash of m"), []byte(`{"id":"m"}`)
	same(t, "the message", *list[0].Message, m)
	same(t, "its entry has no notification", list[0].Notification, nil)
	n, found, err := l.Notification(t.Context(), list[1].Notification.ID)
	ok(t, err)
	same(t, "found", found, true)
	same(t, "the notification", *list[1].Notification, n)
	l.write(func(tx *store.Tx) error {
		for done := false; !done; {
			var err error
			if _, done, err = tx.EraseStep("user", base); err != nil {
				return err
			}
		}
		return nil
	})
	for i, e := range l.feed() {
		if e.Number != int64(i+1) || e.Message != nil || e.Notification != nil {
			t.Errorf("of what was erased the feed has %+v", e)
		}
	}
}

func notificationPages(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	var want []int64
	for range 5 {
		l.write(func(tx *store.Tx) error {
			id, err := publishing(tx, "user")
			want = append([]int64{id}, want...)
			if err == nil {
				_, err = publishing(tx, "another")
			}
			return err
		})
	}
	page := func(before int64, limit int) (got []int64) {
		t.Helper()
		list, err := l.Notifications(t.Context(), "user", before, limit)
		ok(t, err)
		for _, n := range list {
			got = append(got, n.ID)
		}
		return got
	}
	same(t, "the newest", page(1<<62, 3), want[:3])
	same(t, "those before", page(want[2], 3), want[3:])
}

var mediaTests = tests{
	"an upload goes when no message carries it in time":       unsentMedia,
	"media goes with the last message that carries it":        sharedMedia,
	"an upload token is known by its hash until its key ends": uploadTokens,
}

func (l *ledger) upload(id string) chat.Upload {
	l.t.Helper()
	u := chat.Upload{
		ID: id, App: "a", Kind: "image", MIME: "image/png", Name: "نام.png", SizeBytes: 9, HeightPx: 5, WidthPx: 7, CreatedAt: base,
	}
	ok(l.t, l.InsertUpload(l.ctx(), u))
	return u
}

// carry writes a message with media.
func (l *ledger) carry(id, media string) {
	l.t.Helper()
	l.write(func(tx *store.Tx) error {
		m := message(id, "c", "user")
		m.Media = media
		if _, err := say(tx, m); err != nil {
			return err
		}
		return tx.KeepUpload(media)
	})
}

func (l *ledger) uploaded(id string) bool {
	l.t.Helper()
	_, found, err := l.StoredUpload(l.ctx(), id)
	ok(l.t, err)
	return found
}

func unsentMedia(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	u := l.upload("unsent")
	l.upload("sent")
	l.carry("m", "sent")
	got, _, err := l.StoredUpload(t.Context(), "unsent")
	ok(t, err)
	same(t, "as it was stored", got, u)
	gone, err := l.GoneUploads(t.Context(), base, 10)
	ok(t, err)
	same(t, "gone in time", gone, nil)
	for range 2 { // until they are forgotten
		gone, err = l.GoneUploads(t.Context(), base.Add(1000), 10)
		ok(t, err)
		same(t, "gone afterwards", gone, []string{"unsent"})
	}
	same(t, "the unsent one is there", l.uploaded("unsent"), false)
	same(t, "the sent one is there", l.uploaded("sent"), true)
	ok(t, l.ForgetUploads(t.Context(), []string{"unsent", "sent"}))
	gone, err = l.GoneUploads(t.Context(), base.Add(1000), 10)
	ok(t, err)
	same(t, "gone once forgotten", gone, nil)
	same(t, "what has not gone is forgotten", l.uploaded("sent"), true)
}

func sharedMedia(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	l.upload("u")
	l.carry("first", "u")
	l.carry("second", "u")
	for i, id := range []string{"first", "second"} {
		same(t, "before "+id+" is erased", l.uploaded("u"), true)
		l.write(func(tx *store.Tx) error {
			_, _, err := tx.EraseMessage(id, base)
			return err
		})
		same(t, "after "+strconv.Itoa(i+1), l.uploaded("u"), i == 0)
	}
}

func uploadTokens(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	token := access.UploadToken{
		Hash: []byte("hash"), App: "a", ExpiresAt: base.Add(1e9), Permissions: []access.Permission{access.UploadMedia},
	}
	l.write(func(tx *store.Tx) error {
		k := access.Key{ID: tx.NextID(), App: "a", Hash: []byte("key"), Permissions: token.Permissions, CreatedAt: base}
		token.Key = k.ID
		if err := tx.InsertKey(k); err != nil {
			return err
		}
		return tx.InsertUploadToken(token)
	})
	read := func() (access.UploadToken, bool) {
		t.Helper()
		got, found, err := l.UploadTokenByHash(t.Context(), []byte("hash"))
		ok(t, err)
		return got, found
	}
	got, _ := read()
	same(t, "the token", got, token)
	l.write(func(tx *store.Tx) error {
		_, err := tx.RevokeKey("a", token.Key, base)
		return err
	})
	got, _ = read()
	same(t, "revoked with its key", got.Revoked, true)
	l.write(func(tx *store.Tx) error { // by now it has expired
		return tx.InsertUploadToken(access.UploadToken{Hash: []byte("next"), App: "a", Key: token.Key, ExpiresAt: base})
	})
	_, found := read()
	same(t, "an expired one is there", found, false)
}

var callTests = tests{
	"a call is on the log with each attempt, and never due": recordedCalls,
}

func recordedCalls(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	handed := 0
	l.OnCommit(func(list []delivery.Delivery) { handed += len(list) })
	l.write(func(tx *store.Tx) error { return tx.EnsureUser("user", base) })
	e := event.Event{Type: event.DynamicAction, At: base, Key: event.CallKey("user"), User: "user", Payload: []byte(`{"k":1}`)}
	o := exhausted(0, "a", 1)
	id, err := l.RecordCall(t.Context(), e, o)
	ok(t, err)
	stored, found, err := l.Call(t.Context(), id)
	ok(t, err)
	e.ID, e.App, e.At, e.User = id.Event, "a", stored.At, ""
	same(t, "found", found, true)
	same(t, "the call", stored, e)
	again := delivered(id.Event, "a", 2)
	if _, err := l.RecordCall(t.Context(), e, again); err != nil {
		t.Fatal(err)
	}
	same(t, "state", l.row(id.Event, "a").State, delivery.Delivered)
	same(t, "attempts", len(l.attempts(id.Event, "a")), 2)
	same(t, "due", len(l.due("a", base.Add(1e15))), 0)
	same(t, "handed over", handed, 0)
	put, _, err := l.PutBack(t.Context(), id, "by hand", base)
	ok(t, err)
	same(t, "put back", put, false)
	n, err := l.CountBack(t.Context(), delivery.Selection{State: delivery.Delivered})
	ok(t, err)
	same(t, "counted", n, 0)
	audit, err := l.Audit(t.Context(), func(int64) {})
	ok(t, err)
	same(t, "unaccounted", audit.Unaccounted, 0)

	webhook := l.happen(base, pending("a"))
	_, found, err = l.Call(t.Context(), ids("a", webhook)[0])
	ok(t, err)
	same(t, "a webhook is a call", found, false)
	l.write(func(tx *store.Tx) error {
		for done := false; !done; {
			if _, done, err = tx.EraseStep("user", base); err != nil {
				return err
			}
		}
		return nil
	})
	stored, _, err = l.Call(t.Context(), id)
	ok(t, err)
	same(t, "the content once the user is erased", stored.Payload, nil)
	if _, err := l.RecordCall(t.Context(), e, delivered(id.Event, "a", 3)); err != nil {
		t.Fatal(err)
	}
	same(t, "attempts after that", len(l.attempts(id.Event, "a")), 2)

	e.ID, e.User, e.Payload = 0, "erased meanwhile", []byte(`{"k":1}`)
	id, err = l.RecordCall(t.Context(), e, exhausted(0, "a", 1))
	ok(t, err)
	stored, _, err = l.Call(t.Context(), id)
	ok(t, err)
	same(t, "of a user who is not there the content", stored.Payload, nil)
	same(t, "and the answer", l.attempts(id.Event, "a")[0].Answer, nil)
}
