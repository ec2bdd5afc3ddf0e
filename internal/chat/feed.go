package chat

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/event"
)

// FeedType is what kind of thing an app did.
type FeedType string

// The types of the feed's items.
const (
	FeedMessage      FeedType = "MESSAGE"
	FeedNotification FeedType = "NOTIFICATION"
)

const (
	// MaxWait is the longest that a call for the feed waits.
	MaxWait = 60 * time.Second
	// lookEvery is how often a waiting call looks for what another node wrote.
	lookEvery = time.Second
)

// FeedEntry is a line of the feed as the store has it. What was erased since
// has neither a message nor a notification.
type FeedEntry struct {
	Number  int64 // in the order of commits, from 1
	Type    FeedType
	App     string
	Message *Stored
	Notice  *Notice
}

// FeedItem is what an app did and the marketplace has to show.
type FeedItem struct {
	Cursor       string        `json:"cursor"`
	Type         FeedType      `json:"type"`
	App          string        `json:"app"`
	User         string        `json:"user"` // for whom it was sent, or to whom
	Message      *Message      `json:"message,omitempty"`
	Notification *Notification `json:"notification,omitempty"`
}

// feed wakes those who wait for its next item.
type feed struct {
	mu     *sync.Mutex
	grown  chan struct{} // closed when an item was added
	closed chan struct{} // closed when nobody shall wait any more
}

func newFeed() feed {
	return feed{mu: &sync.Mutex{}, grown: make(chan struct{}), closed: make(chan struct{})}
}

// FeedGrown wakes those who wait for the feed.
func (c *Chat) FeedGrown() {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	close(c.feed.grown)
	c.feed.grown = make(chan struct{})
}

// CloseFeed answers those who wait for the feed, and lets nobody wait again.
func (c *Chat) CloseFeed() { close(c.feed.closed) }

// FeedClosed is closed when nobody shall wait for the feed any more.
func (c *Chat) FeedClosed() <-chan struct{} { return c.feed.closed }

func (f *feed) growing() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grown
}

// Feed returns what apps did after a cursor, a page of it, and the cursor to go
// on from. Where there is nothing yet it waits for the next item, but no longer
// than wait.
func (c *Chat) Feed(ctx context.Context, cursor string, wait time.Duration) ([]FeedItem, string, error) {
	after, err := event.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	enough := time.NewTimer(min(wait, MaxWait))
	defer enough.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		grown := c.feed.growing() // before the ledger is read, so that nothing is missed in between
		entries, err := c.store.Feed(ctx, after, event.Page)
		if err != nil {
			return nil, "", err
		}
		items, err := c.items(entries)
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
		case <-c.feed.closed:
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
		case e.Notice != nil:
			n, err := e.Notice.show()
			if err != nil {
				return nil, err
			}
			item.User, item.Notification = e.Notice.User, &n
		default:
			continue
		}
		items = append(items, item)
	}
	return items, nil
}
