package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// TargetType is whom an app sends an event to.
type TargetType string

// The targets: the token's user, or the same as the owner of a post.
const (
	TargetUser TargetType = "USER"
	TargetPost TargetType = "POST"
)

const scopeSendEvent = "SEND_EVENT"

// NewNotification is an event that an app sends to a user.
type NewNotification struct {
	Message    string     `json:"message"`
	TargetType TargetType `json:"target_type"`
	Target     string     `json:"target_resource_id"`
	Buttons    Items      `json:"buttons"`
}

// Check refuses what cannot be a notification.
func (n NewNotification) Check() error {
	if strings.TrimSpace(n.Message) == "" {
		return status.New(status.Invalid, "message: missing or empty")
	}
	if n.Target == "" {
		return status.New(status.Invalid, "target_resource_id: missing or empty; the user's id, or the post's token")
	}
	return firstError(
		wire.MaxText("message", n.Message, maxText),
		wire.Enum("target_type", n.TargetType, TargetUser, TargetPost),
		n.Buttons.check("buttons"),
	)
}

// Notice is a notification as the store keeps it.
type Notice struct {
	ID         int64
	App        string
	User       string
	Message    string
	Buttons    []byte // Items
	TargetType TargetType
	Post       string // of TargetPost
	SentAt     time.Time
}

// Notification is a notification as the host API shows it.
type Notification struct {
	ID         string     `json:"id"`
	App        string     `json:"app"`
	Message    string     `json:"message"`
	Buttons    Items      `json:"buttons"`
	TargetType TargetType `json:"target_type"`
	Post       *string    `json:"post_token"` // null unless it is about one
	SentAt     wire.Time  `json:"sent_at"`
}

func (n Notice) show() (Notification, error) {
	shown := Notification{
		ID: strconv.FormatInt(n.ID, 10), App: n.App, Message: n.Message, TargetType: n.TargetType, SentAt: wire.Time{Time: n.SentAt},
	}
	if n.Post != "" {
		shown.Post = &n.Post
	}
	if err := json.Unmarshal(n.Buttons, &shown.Buttons); err != nil {
		return shown, fmt.Errorf("read the buttons of notification %d: %w", n.ID, err)
	}
	return shown, nil
}

// Notify sends an event to the token's user, by the app's id of it or as the
// owner of a post.
func (c *Chat) Notify(ctx context.Context, t access.Token, n NewNotification) error {
	if err := t.Need(scopeSendEvent, ""); err != nil {
		return err
	}
	if n.TargetType == TargetUser && n.Target != c.access.UserID(t.App, t.User) {
		return status.New(status.PermissionDenied, "target_resource_id: not the token's user; use the id that this app has of it")
	}
	buttons, err := wire.Marshal(n.Buttons)
	if err != nil {
		return err
	}
	return c.store.Write(ctx, func(tx Tx) error {
		notice := Notice{App: t.App, User: t.User, Message: n.Message, Buttons: buttons, TargetType: n.TargetType, SentAt: c.now()}
		if n.TargetType == TargetPost {
			p, ok, err := tx.Post(n.Target)
			switch {
			case err != nil:
				return err
			case !ok:
				return market.NoPost("target_resource_id", n.Target)
			case p.Owner != t.User:
				return status.New(status.PermissionDenied, "target_resource_id: the token's user does not own post %q", n.Target)
			}
			notice.Post = n.Target
		}
		if err := alive(tx, t, c.now()); err != nil {
			return err
		}
		notice.ID = tx.NextID()
		tx.Publish(FeedNotification, t.App, notice.ID)
		return tx.InsertNotification(notice)
	})
}

// Notifications returns a page of a user's notifications, newest first, and
// the cursor of the next.
func (c *Chat) Notifications(ctx context.Context, user, cursor string) ([]Notification, string, error) {
	if err := wire.CheckID("user", user); err != nil {
		return nil, "", err
	}
	before, err := event.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	if cursor == "" {
		before = math.MaxInt64
	}
	list, err := c.store.Notifications(ctx, user, before, event.Page+1)
	if err != nil {
		return nil, "", err
	}
	list, next := event.CutPage(list, func(n Notice) string { return event.Cursor(n.ID) })
	shown := make([]Notification, len(list))
	for i, n := range list {
		if shown[i], err = n.show(); err != nil {
			return nil, "", err
		}
	}
	return shown, next, nil
}

// NotificationButton returns a button of a notification, counted from 0.
func (c *Chat) NotificationButton(ctx context.Context, user, id string, n int) (Click, error) {
	unknown := status.New(status.NotFound, "notification %q: no such notification", id)
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return Click{}, unknown
	}
	notice, ok, err := c.store.Notification(ctx, number)
	switch {
	case err != nil:
		return Click{}, err
	case !ok:
		return Click{}, unknown
	case notice.User != user:
		return Click{}, status.New(status.PermissionDenied, "notification %q is another user's", id)
	}
	shown, err := notice.show()
	if err != nil {
		return Click{}, err
	}
	if n < 0 || n >= len(shown.Buttons.Items) {
		return Click{}, status.New(status.NotFound, "notification %q has no button %d; they count from 0", id, n)
	}
	click := Click{App: notice.App, Action: shown.Buttons.Items[n].Action, Post: notice.Post}
	if click.Post != "" {
		click.Side = Seller // it went to the post's owner
	}
	return click, nil
}
