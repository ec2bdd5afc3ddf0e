// Package chat holds conversations and messages, what apps say in them and as
// bots, the buttons and media that they send, and their notifications. A
// message that was accepted is stored, is an event, has its deliveries, and is
// on the feed when an app has sent it, all in one transaction. Contract:
// sections 4, 5, 6 and 8.
//
// The files: message.go is what people write, send.go what apps do,
// button.go, media.go and notification.go what they add, feed.go how the
// marketplace hears of it.
package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// ConversationType tells a conversation on a post from one with a bot.
type ConversationType string

// The types of conversations.
const (
	OnPost  ConversationType = "POST"
	WithBot ConversationType = "BOT"
)

// Side is a side of a conversation.
type Side string

// The sides. In a conversation with a bot the person is User.
const (
	Buyer  Side = "BUYER"
	Seller Side = "SELLER"
	User   Side = "USER"
)

// Conversation is a chat between two people on a post, or between a user and
// an app's bot. What it is about never changes.
type Conversation struct {
	ID        string           `json:"id"`
	Type      ConversationType `json:"type"`
	PostToken string           `json:"post_token,omitempty"` // of OnPost
	Buyer     string           `json:"buyer,omitempty"`      // of OnPost
	App       string           `json:"app,omitempty"`        // of WithBot
	User      string           `json:"user,omitempty"`       // of WithBot

	// Seller is the post's present owner; empty when the post is gone.
	Seller string `json:"-"`
	// Who has blocked the other side.
	BlockedByBuyer  bool `json:"-"`
	BlockedBySeller bool `json:"-"`
}

// SideOf returns the side of a user; ok is false for who takes no part.
func (c Conversation) SideOf(user string) (side Side, ok bool) {
	switch {
	case user == "":
		return "", false
	case c.Type == WithBot:
		return User, user == c.User
	case user == c.Seller:
		return Seller, true
	default:
		return Buyer, user == c.Buyer
	}
}

// same says whether two conversations are about the same.
func (c Conversation) same(d Conversation) bool {
	return c.Type == d.Type && c.PostToken == d.PostToken && c.Buyer == d.Buyer && c.App == d.App && c.User == d.User
}

// Tx is the part of the store's transaction that chat needs.
type Tx interface {
	market.Tx
	// Conversation returns a conversation with its post's present owner.
	Conversation(id string) (c Conversation, ok bool, err error)
	BotConversation(app, user string) (id string, ok bool, err error)
	InsertConversation(c Conversation, now time.Time) error
	SetBlocked(id string, by Side, blocked bool) error
	Message(id string) (m Stored, ok bool, err error)
	// InsertMessages stores messages, and says of each whether it did: not where
	// one with its id is stored already.
	InsertMessages(list []Stored) (inserted []bool, err error)
	// EraseMessage erases a message's content, its event's too, and cancels
	// what was not sent yet; again, it only returns the event. ok is false where
	// there is no such message.
	EraseMessage(id string, now time.Time) (event int64, ok bool, err error)
	// TokenLives says whether an access token may still be used.
	TokenLives(id int64, now time.Time) (bool, error)
	InsertNotification(n Notice) error
	// Publish puts what an app did on the feed: the event of a message, or the
	// id of a notification.
	Publish(t FeedType, app string, ref int64)
	// Upload returns what an app uploaded.
	Upload(id string) (u Upload, ok bool, err error)
	// KeepUpload notes that a message carries it.
	KeepUpload(id string) error
}

// Store is the ledger as chat needs it.
type Store interface {
	Write(ctx context.Context, f func(Tx) error) error
	Conversation(ctx context.Context, id string) (c Conversation, ok bool, err error)
	// BotConversation returns the id of a user's conversation with an app's bot.
	BotConversation(ctx context.Context, app, user string) (id string, ok bool, err error)
	Message(ctx context.Context, id string) (m Stored, ok bool, err error)
	// Messages returns messages of a conversation ascending: those after an
	// event id, or the newest when after is negative.
	Messages(ctx context.Context, conversation string, after int64, limit int) ([]Stored, error)
	// Texts returns the newest messages of type TEXT, ascending.
	Texts(ctx context.Context, conversation string, limit int) ([]Stored, error)
	Notification(ctx context.Context, id int64) (n Notice, ok bool, err error)
	// Notifications returns a user's notifications older than before, newest
	// first.
	Notifications(ctx context.Context, user string, before int64, limit int) ([]Notice, error)
	// Feed returns what comes after a number, ascending.
	Feed(ctx context.Context, after int64, limit int) ([]FeedEntry, error)
}

// Chat is the rules over a store.
type Chat struct {
	store  Store
	access *access.Access
	media  *Media
	now    func() time.Time
	erase  func(ctx context.Context, event int64) error
	feed   *Feed
}

// Options of a Chat.
type Options struct {
	Store  Store
	Access *access.Access
	Media  *Media
	Now    func() time.Time // default time.Now
	// Erase returns when nothing of the event is being sent any more.
	Erase func(ctx context.Context, event int64) error
}

// New returns the rules of chat.
func New(o Options) (*Chat, error) {
	if o.Store == nil || o.Access == nil || o.Media == nil || o.Erase == nil {
		return nil, errors.New("chat: Store, Access, Media and Erase are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Chat{store: o.Store, access: o.Access, media: o.Media, now: o.Now, erase: o.Erase}
	c.feed = newFeed(c)
	return c, nil
}

// NoConversation is the error for a conversation that is not there.
func NoConversation(id string) error {
	return status.New(status.NotFound, "conversation %q: no such conversation", id)
}

// PutConversation stores a conversation. The same again changes nothing;
// another under the same id is Conflict, since a conversation cannot change.
func PutConversation(tx Tx, c Conversation, now time.Time) (market.Change, error) {
	if err := c.check(); err != nil {
		return market.Unchanged, err
	}
	old, exists, err := tx.Conversation(c.ID)
	switch {
	case err != nil:
		return market.Unchanged, err
	case exists && old.same(c):
		return market.Unchanged, nil
	case exists:
		return market.Unchanged, status.New(status.Conflict, "id: conversation %q exists and is about something else", c.ID)
	}
	person := c.Buyer
	if c.Type == WithBot {
		person = c.User
		err = checkBot(tx, c)
	} else {
		err = checkPost(tx, c)
	}
	if err != nil {
		return market.Unchanged, err
	}
	if err := tx.EnsureUser(person, now); err != nil {
		return market.Unchanged, err
	}
	return market.Changed, tx.InsertConversation(c, now)
}

func (c Conversation) check() error {
	if err := wire.CheckID("id", c.ID); err != nil {
		return err
	}
	if err := wire.Enum("type", c.Type, OnPost, WithBot); err != nil {
		return err
	}
	needed := []struct{ field, value string }{{"post_token", c.PostToken}, {"buyer", c.Buyer}}
	foreign := []struct{ field, value string }{{"app", c.App}, {"user", c.User}}
	if c.Type == WithBot {
		needed, foreign = foreign, needed
	}
	for _, f := range needed {
		if err := wire.CheckID(f.field, f.value); err != nil {
			return err
		}
	}
	for _, f := range foreign {
		if f.value != "" {
			return status.New(status.Invalid, "%s: a conversation of type %s has none", f.field, c.Type)
		}
	}
	return nil
}

func checkPost(tx Tx, c Conversation) error {
	p, ok, err := tx.Post(c.PostToken)
	switch {
	case err != nil:
		return err
	case !ok:
		return market.NoPost("post_token", c.PostToken)
	case p.Owner == c.Buyer:
		return status.New(status.Invalid, "buyer: %q owns the post; a conversation has two people", c.Buyer)
	default:
		return nil
	}
}

func checkBot(tx Tx, c Conversation) error {
	if _, ok, err := tx.App(c.App); err != nil {
		return err
	} else if !ok {
		return status.New(status.NotFound, "app: there is no app %q", c.App)
	}
	if id, ok, err := tx.BotConversation(c.App, c.User); err != nil {
		return err
	} else if ok {
		return status.New(status.Conflict, "id: the user's conversation with this app's bot is %q", id)
	}
	return nil
}

// PutConversation stores a conversation.
func (c *Chat) PutConversation(ctx context.Context, conv Conversation) (Conversation, error) {
	err := c.store.Write(ctx, func(tx Tx) error {
		_, err := PutConversation(tx, conv, c.now())
		return err
	})
	return conv, err
}

// WithBot returns the id of a user's conversation with an app's bot; ok is false
// where there is none yet.
func (c *Chat) WithBot(ctx context.Context, app, user string) (id string, ok bool, err error) {
	return c.store.BotConversation(ctx, app, user)
}

// Block notes that one side of a conversation on a post has blocked the other,
// or has ended that.
func (c *Chat) Block(ctx context.Context, id string, by Side, blocked bool) error {
	if err := wire.Enum("by", by, Buyer, Seller); err != nil {
		return err
	}
	if err := wire.CheckID("conversation", id); err != nil {
		return err
	}
	return c.store.Write(ctx, func(tx Tx) error {
		conv, ok, err := tx.Conversation(id)
		if err != nil {
			return err
		}
		if !ok {
			return NoConversation(id)
		}
		if conv.Type != OnPost {
			return status.New(status.Invalid, "by: only a conversation on a post has a buyer and a seller")
		}
		return tx.SetBlocked(id, by, blocked)
	})
}

// Write is one of many writes that share a transaction: a message, or another.
type Write struct {
	Message *NewMessage
	Other   func(tx Tx, now time.Time) (market.Change, error)
}

// Result is what became of one of them.
type Result struct {
	Change market.Change
	Err    error // why it was refused
	stored Stored
}

// All carries out writes in their order, in one transaction. One that is
// refused does not disturb the others; an error of our own undoes all.
func (c *Chat) All(ctx context.Context, writes []Write) (results []Result, err error) {
	err = c.store.Write(ctx, func(tx Tx) error {
		results = results[:0]
		for rest := writes; len(rest) > 0; rest = writes[len(results):] {
			done := c.some(tx, rest)
			for _, r := range done {
				if r.Err != nil && status.KindOf(r.Err) == status.Internal {
					return r.Err
				}
			}
			results = append(results, done...)
		}
		return nil
	})
	return results, err
}

// some carries out the first writes of several: all messages up to the next
// that is none, or one that is none.
func (c *Chat) some(tx Tx, writes []Write) []Result {
	n := slices.IndexFunc(writes, func(w Write) bool { return w.Message == nil })
	if n < 0 {
		n = len(writes)
	}
	if n > 0 {
		messages := make([]NewMessage, n)
		for i, w := range writes[:n] {
			messages[i] = *w.Message
		}
		return PutMessages(tx, messages, c.now())
	}
	change, err := writes[0].Other(tx, c.now())
	return []Result{{Change: change, Err: err}}
}
