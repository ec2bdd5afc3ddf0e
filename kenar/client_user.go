package kenar

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"
)

// User makes the calls that act for a user. It is safe for concurrent use.
type User struct {
	client *Client
	source oauth2.TokenSource
}

// token returns the token to call with.
func (u *User) token(ctx context.Context) (*oauth2.Token, error) {
	if u.source == nil {
		return nil, errors.New("kenar: the user has no token source")
	}
	if s, ok := u.source.(*TokenSource); ok {
		return s.TokenContext(ctx)
	}
	t, err := u.source.Token()
	if err != nil {
		return nil, fmt.Errorf("kenar: get the user's token: %w", err)
	}
	if t == nil || t.AccessToken == "" {
		return nil, errors.New("kenar: the user's token source gave no token")
	}
	return t, nil
}

// isStale notes that the platform refused a token, and says whether another can
// be had.
func (u *User) isStale(t *oauth2.Token) bool {
	s, ok := u.source.(*TokenSource)
	return ok && s.refused(t)
}

// Me is what a user lets the app know of them.
type Me struct {
	UserID       string   `json:"user_id"`       // the app's own id of the user; with USER_ID
	PhoneNumber  string   `json:"phone_number"`  // with USER_PHONE
	PhoneNumbers []string `json:"phone_numbers"` // with USER_PHONE
}

// Me returns who the user is. Permission USER_RETRIEVE, scopes USER_ID and
// USER_PHONE: each gives its fields, with neither it is ErrPermission.
func (u *User) Me(ctx context.Context) (Me, error) {
	var me Me
	err := u.client.do(ctx, call{method: http.MethodGet, path: "/v1/open-platform/users", out: &me, harmless: true, user: u})
	return me, err
}

// OwnPost is a post in the list of a user's own.
type OwnPost struct {
	Token    string   `json:"token"`
	Title    string   `json:"title"`
	Images   []string `json:"images"`
	Category string   `json:"category"`
}

// postsPage is the number of posts in a page; fewer end the list.
const postsPage = 100

// Posts walks through the user's posts but archived ones, asking for them page
// by page. An error ends it. Permission GET_POST, scope USER_POSTS_GET.
func (u *User) Posts(ctx context.Context) iter.Seq2[OwnPost, error] {
	return func(yield func(OwnPost, error) bool) {
		for after, first := "", ""; ; {
			var page struct {
				Posts []OwnPost `json:"posts"`
			}
			if err := u.client.do(ctx, call{
				method: http.MethodGet, path: "/v1/open-platform/finder/user-posts", query: pageAfter(after), out: &page, harmless: true, user: u,
			}); err != nil {
				yield(OwnPost{}, err)
				return
			}
			if len(page.Posts) == 0 || page.Posts[0].Token == first { // a platform without pages gives all of them again
				return
			}
			for _, p := range page.Posts {
				if !yield(p, nil) {
					return
				}
			}
			if len(page.Posts) < postsPage {
				return
			}
			first, after = page.Posts[0].Token, page.Posts[len(page.Posts)-1].Token
		}
	}
}

// Subscribe makes the app hear of what it names. The same again replaces its
// metadata. It lives as long as the token that it was made with: after each
// renewal subscribe again, or let KeepSubscribed do it. Permission
// EVENTS_REGISTER_SUBSCRIPTION. Scopes: CHAT_POST_CONVERSATIONS_READ.{post} or
// CHAT_SUPPLIER_ALL_CONVERSATIONS_READ for messages on posts, USER_POSTS_GET for
// updates of posts, NOTIFICATION_ACCESS_REVOCATION and USER_ID for revocations.
// Errors: ErrPrecondition where the app has no event URL, ErrPermission,
// ErrNotFound.
func (u *User) Subscribe(ctx context.Context, s Subscription) error {
	return u.client.do(ctx, call{method: http.MethodPost, path: subscriptionsPath, in: s, harmless: true, user: u})
}

// TargetType says whom an event is for.
type TargetType string

// The targets.
const (
	TargetUser TargetType = "USER" // the user itself
	TargetPost TargetType = "POST" // the same, as the owner of a post
)

// Notification is an event that an app sends to a user.
type Notification struct {
	Message    string
	TargetType TargetType
	TargetID   string               // the app's own id of the user, or the post's token
	Buttons    []NotificationButton // at most ten
}

// SendEvent sends the user a notification. Permission EVENTS_SEND, scope
// SEND_EVENT. Errors: ErrPermission for another user's id or post, ErrInvalid.
func (u *User) SendEvent(ctx context.Context, n Notification) error {
	if err := invalidIn("buttons", checkItems("items", n.Buttons)); err != nil {
		return err
	}
	k := call{method: http.MethodPost, path: "/experimental/open-platform/events/send", user: u}
	// The query is the one form that the clients published by Divar know.
	query := url.Values{"message": {n.Message}, "target_type": {string(n.TargetType)}, "target_resource_id": {n.TargetID}}
	if len(n.Buttons) == 0 && len(query.Encode()) <= maxQuery {
		k.query = query
		return u.client.do(ctx, k)
	}
	type items struct {
		Items []NotificationButton `json:"items"`
	}
	in := struct {
		Message    string     `json:"message"`
		TargetType TargetType `json:"target_type"`
		TargetID   string     `json:"target_resource_id"`
		Buttons    *items     `json:"buttons,omitempty"`
	}{n.Message, n.TargetType, n.TargetID, nil}
	if len(n.Buttons) > 0 {
		in.Buttons = &items{n.Buttons}
	}
	k.in = in
	return u.client.do(ctx, k)
}

// maxQuery is how long a query may be, in bytes, so that what stands before a
// platform takes it: 8 KiB for the whole line is usual.
const maxQuery = 4 << 10

// ChatMessage is what an app says for a user in a conversation on a post: a text
// of at most 4,096 characters, or media, not both.
type ChatMessage struct {
	Text            string      `json:"message,omitempty"`
	SenderButtons   *Keyboard   `json:"sender_buttons,omitempty"`   // what the user sees
	ReceiverButtons *Keyboard   `json:"receiver_buttons,omitempty"` // what the other side sees
	MediaToken      string      `json:"media_token,omitempty"`      // from Client.Upload
	Type            MessageType `json:"type,omitempty"`             // default: TEXT, unless there is a media token
}

// SendMessage writes for the user in a conversation. Permission
// CHAT_SEND_MESSAGE_OAUTH, one of the scopes
// CONVERSATION_SEND_MESSAGE.{conversation},
// CHAT_POST_CONVERSATIONS_MESSAGE_SEND.{post} and
// CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND. Errors: ErrPrecondition where
// the other side has blocked the user, ErrPermission, ErrNotFound.
func (u *User) SendMessage(ctx context.Context, conversation string, m ChatMessage) error {
	path, err := withID("/v2/open-platform/conversations/{}/messages", "conversation", conversation)
	if err != nil {
		return err
	}
	if err := errors.Join(invalidIn("sender_buttons", m.SenderButtons.Check()), invalidIn("receiver_buttons", m.ReceiverButtons.Check())); err != nil {
		return err
	}
	m.Type = typeOf(m.Type, m.MediaToken)
	return u.client.do(ctx, call{method: http.MethodPost, path: path, in: m, user: u})
}

// SendAsBotTo writes to the user as the app's chatbot, and returns the
// conversation, which is made where there is none. The id is the app's own of
// this user. Permission CHAT_BOT_SEND_MESSAGE, scope CHAT_BOT_USER_MESSAGE_SEND.
func (u *User) SendAsBotTo(ctx context.Context, userID string, m BotMessage) (conversation string, err error) {
	path, err := withID("/v1/open-platform/chat/bot/users/{}/messages", "user id", userID)
	if err != nil {
		return "", err
	}
	if err := invalidIn("buttons", m.Buttons.Check()); err != nil {
		return "", err
	}
	m.Type = typeOf(m.Type, m.MediaToken)
	var out struct {
		ID string `json:"conversation_id"`
	}
	err = u.client.do(ctx, call{method: http.MethodPost, path: path, in: m, out: &out, user: u})
	return out.ID, err
}

// Talk is a conversation and what was said in it.
type Talk struct {
	Conversation Conversation `json:"conversation"`
	Messages     []Message    `json:"messages"` // texts alone, the oldest first
}

// Conversation returns a conversation in which the user takes part, with the
// newest of its texts. Permission CHAT_READ_CONVERSATION, scope
// CHAT_CONVERSATION_READ.{conversation}.
func (u *User) Conversation(ctx context.Context, id string) (Talk, error) {
	path, err := withID("/v1/open-platform/chat/conversations/{}", "conversation", id)
	if err != nil {
		return Talk{}, err
	}
	var t Talk
	err = u.client.do(ctx, call{method: http.MethodGet, path: path, out: &t, harmless: true, user: u})
	return t, err
}
