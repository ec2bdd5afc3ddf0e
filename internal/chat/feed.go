package chat

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

// FeedType is what kind of thing an app did.
type FeedType string

// The types of the feed's items.
const (
	FeedMessage      FeedType = "MESSAGE"
	FeedNotification FeedType = "NOTIFICATION"
	FeedNotice       FeedType = "APP_NOTICE"
)

// NoticeFailing is the kind of notice that tells of an endpoint that has been
// failing for days.
const NoticeFailing = "ENDPOINT_FAILING"

// FailingText says it in words.
func FailingText(since time.Time) string {
	return "The app's event URL has not accepted a webhook since " + since.UTC().Format(time.RFC3339) +
		". Deliveries wait, none is lost; the URL is tried once an hour. Mend it, then redeliver or change the app's settings to go on at once."
}

// AppNotice is what the owner of an app has to know.
type AppNotice struct {
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	At   wire.Time `json:"at"`
}

const (
	// MaxWait is the longest that a call for the feed waits.
	MaxWait = 60 * time.Second
	// lookEvery is how often a waiting call looks for what another node wrote.
	lookEvery = time.Second
)

// FeedEntry is a line of the feed as the store has it.
type FeedEntry struct {
	Number int64 // in the order of commits, from 1
	Type   FeedType
	App    string

	// One of them, by Type; none once it was erased.
	Message      *Stored
	Notification *Notice
	Notice       *AppNotice
}

// FeedItem is what an app did and the marketplace has to show.
type FeedItem struct {
	Cursor       string        `json:"cursor"`
	Type         FeedType      `json:"type"`
	App          string        `json:"app"`
	User         string        `json:"user,omitempty"` // for whom it was sent, or to whom
	Message      *Message      `json:"message,omitempty"`
	Notification *Notification `json:"notification,omitempty"`
	Notice       *AppNotice    `json:"notice,omitempty"`
}

// Feed is what apps did and the marketplace has to show, in the order of
// commits.
type Feed struct {
	chat   *Chat
	close  sync.Once
	closed chan struct{} // closed when nobody shall wait any more

	mu    sync.Mutex
	grown chan struct{} // closed when an item was added
}

func newFeed(c *Chat) *Feed {
	return &Feed{chat: c, closed: make(chan struct{}), grown: make(chan struct{})}
}

// Feed returns the feed.
func (c *Chat) Feed() *Feed { return c.feed }

// Grown wakes those who wait for the feed.
func (f *Feed) Grown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.grown)
	f.grown = make(chan struct{})
}

// Close answers those who wait for the feed, and lets nobody wait again.
func (f *Feed) Close() { f.close.Do(func() { close(f.closed) }) }

// Closed is closed when nobody shall wait for the feed any more.
func (f *Feed) Closed() <-chan struct{} { return f.closed }

func (f *Feed) growing() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grown
}

// After returns what apps did after a cursor, a page of it, and the cursor to
// go on from. Where there is nothing yet it waits for the next item, but no
// longer than wait.
func (f *Feed) After(ctx context.Context, cursor string, wait time.Duration) ([]FeedItem, string, error) {
	after, err := event.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	enough := time.NewTimer(min(wait, MaxWait))
	defer enough.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		grown := f.growing() // before the ledger is read, so that nothing is missed in between
		entries, err := f.chat.store.Feed(ctx, after, event.Page)
		if err != nil {
			return nil, "", err
		}
		items, err := f.chat.items(entries)
		if n := len(entries); n > 0 {
			after = entries[n-1].Number
		}
		switch {
		case err != nil || len(items) > 0:
			return items, strconv.FormatInt(after, 10), err
		case len(entries) > 0: // all erased; look behind them
			continue
		}
		select {
		case <-grown:
		case <-look.C:
		case <-enough.C:
			return items, strconv.FormatInt(after, 10), nil
		case <-f.closed:
			return items, strconv.FormatInt(after, 10), nil
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
}

// items shows entries, those left out whose content was erased.
func (c *Chat) items(entries []FeedEntry) ([]FeedItem, error) {
	items := make([]FeedItem, 0, len(entries))
	for _, e := range entries {
		item := FeedItem{Cursor: strconv.FormatInt(e.Number, 10), Type: e.Type, App: e.App}
		switch {
		case e.Message != nil:
			m, err := c.show(*e.Message)
			if err != nil {
				return nil, err
			}
			item.User, item.Message = e.Message.User, &m
		case e.Notification != nil:
			n, err := e.Notification.show()
			if err != nil {
				return nil, err
			}
			item.User, item.Notification = e.Notification.User, &n
		case e.Notice != nil:
			item.Notice = e.Notice
		default:
			continue
		}
		items = append(items, item)
	}
	return items, nil
}
