package chat

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// The scopes of sending and reading (contract, section 4).
const (
	scopeSendHere    = "CONVERSATION_SEND_MESSAGE"            // with a conversation
	scopeSendOnPost  = "CHAT_POST_CONVERSATIONS_MESSAGE_SEND" // with a post token
	scopeSendOnAll   = "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"
	scopeSendAsBot   = "CHAT_BOT_USER_MESSAGE_SEND"
	scopeReadHere    = "CHAT_CONVERSATION_READ" // with a conversation
	mostMessagesRead = 1000
)

// Carried is what both kinds of an app's messages may carry besides text.
type Carried struct {
	Media string      `json:"media_token"`
	Type  MessageType `json:"type"` // may be left out
}

// SideMessage is what an app says for a user in a conversation on a post.
type SideMessage struct {
	Text     string    `json:"message"`
	Sender   *Keyboard `json:"sender_buttons"`
	Receiver *Keyboard `json:"receiver_buttons"`
	Carried
}

// BotMessage is what an app says as its chatbot.
type BotMessage struct {
	Text    string    `json:"text_message"`
	Buttons *Keyboard `json:"buttons"`
	Carried
}

// Check refuses what cannot be a message.
func (m SideMessage) Check() error {
	return firstError(m.check("message", m.Text), m.Sender.check("sender_buttons"), m.Receiver.check("receiver_buttons"))
}

// Check refuses what cannot be a message.
func (m BotMessage) Check() error {
	return firstError(m.check("text_message", m.Text), m.Buttons.check("buttons"))
}

// check refuses what is not either text or media. A client that always says
// TEXT may carry media all the same.
func (c Carried) check(field, text string) error {
	if c.Type != "" {
		if err := wire.Enum("type", c.Type, messageTypes...); err != nil {
			return err
		}
	}
	switch {
	case strings.TrimSpace(text) == "" && c.Media == "":
		return status.New(status.Invalid, "%s: missing or empty, and there is no media_token either", field)
	case text != "" && c.Media != "":
		return status.New(status.Invalid, "%s, media_token: a message carries one of them, not both", field)
	case text != "" && c.Type != "" && c.Type != Text:
		return status.New(status.Invalid, "type: %s has no text; leave %s out, or send TEXT", c.Type, field)
	default:
		return wire.MaxText(field, text, maxText)
	}
}

// content is what a message of an app carries, its media looked up. It changes
// nothing, so that a refusal costs the writes that share the transaction
// nothing.
func (c *Chat) content(tx Tx, app, text string, carried Carried) (MessageType, Content, error) {
	if carried.Media == "" {
		return Text, Content{Text: text}, nil
	}
	u, ok, err := tx.Upload(carried.Media)
	switch {
	case err != nil:
		return "", Content{}, err
	case !ok || u.App != app:
		return "", Content{}, status.New(status.Invalid, "media_token: unknown; upload the media, and send it within %d hours", keepUnsent/time.Hour)
	}
	t, content := u.content(c.media.link(u.ID))
	if carried.Type != "" && carried.Type != Text && carried.Type != t {
		return "", Content{}, status.New(status.Invalid, "type: %s, but the media is %s", carried.Type, t)
	}
	return t, content, nil
}

// Send says something for the token's user in a conversation on a post. Errors:
// PermissionDenied without the scope or where the user takes no part, NotFound,
// Invalid, FailedPrecondition when the other side has blocked the user.
func (c *Chat) Send(ctx context.Context, t access.Token, conversation string, m SideMessage) error {
	if err := wire.CheckID("conversation_id", conversation); err != nil {
		return err
	}
	return c.store.Write(ctx, func(tx Tx) error {
		conv, ok, err := tx.Conversation(conversation)
		if err != nil {
			return err
		}
		if err := maySend(t, conversation, conv.PostToken); err != nil {
			return err
		}
		if !ok {
			return NoConversation(conversation)
		}
		if conv.Type == WithBot {
			return status.New(status.Invalid, "conversation %q is with a chatbot; send as the bot with /v1/open-platform/chat/bot/conversations", conversation)
		}
		side, ok := conv.SideOf(t.User)
		byConversation := t.Scopes.Holds(scopeSendHere, conversation)
		if !ok || side != Seller && !byConversation {
			return status.New(status.PermissionDenied, "conversation %q is not one of the user's own that the scope covers", conversation)
		}
		if _, err := conv.writer(side); err != nil {
			return err
		}
		if err := alive(tx, t, c.now()); err != nil {
			return err
		}
		typ, content, err := c.content(tx, t.App, m.Text, m.Carried)
		if err != nil {
			return err
		}
		return c.say(tx, conv, said{
			app: t.App, user: t.User, side: side, typ: typ, content: content, media: m.Media,
			keyboards: Keyboards{Sender: m.Sender.orNil(), Receiver: m.Receiver.orNil()},
		})
	})
}

// maySend checks the token's scopes for a conversation, of which the post may
// be unknown.
func maySend(t access.Token, conversation, post string) error {
	switch {
	case t.Scopes.Holds(scopeSendHere, conversation), t.Scopes.Holds(scopeSendOnAll, ""):
		return nil
	case post != "" && t.Scopes.Holds(scopeSendOnPost, post):
		return nil
	}
	return status.New(status.PermissionDenied, "token lacks %s.%s, %s of the conversation's post, and %s; one of them is needed",
		scopeSendHere, conversation, scopeSendOnPost, scopeSendOnAll)
}

// alive makes sure that a token which was valid when the call came is so when
// it takes effect: a revocation that was answered comes before.
func alive(tx Tx, t access.Token, now time.Time) error {
	ok, err := tx.TokenLives(t.ID, now)
	if err == nil && !ok {
		err = status.New(status.Unauthenticated, "the access token has expired or was revoked; get a new one")
	}
	return err
}

// said is what an app says, whichever call it came by.
type said struct {
	app       string
	user      string
	side      Side
	typ       MessageType
	content   Content
	media     string
	keyboards Keyboards
}

// say stores what an app says, makes its event, and puts it on the feed.
func (c *Chat) say(tx Tx, conv Conversation, s said) error {
	now := c.now()
	m, err := conv.message(s.side, payload{
		ID: uuid.NewString(), Sender: sender{Type: Bot}, Type: s.typ, SentAt: now.UnixMicro(), Content: s.content,
	})
	if err != nil {
		return err
	}
	if s.keyboards != (Keyboards{}) {
		if m.Buttons, err = wire.Marshal(s.keyboards); err != nil {
			return err
		}
	}
	m.User, m.App, m.Media, m.Hash, m.Event = s.user, s.app, s.media, []byte{}, tx.NextID()
	if s.media != "" {
		if err := tx.KeepUpload(s.media); err != nil {
			return err
		}
	}
	if _, err := tx.InsertMessages([]Stored{m}); err != nil { // the id is new: it is stored
		return err
	}
	if err := emit(tx, conv, m, now); err != nil {
		return err
	}
	tx.Publish(FeedMessage, s.app, m.Event)
	return nil
}

// SendAsBot says something as the app's chatbot, in a conversation with it.
func (c *Chat) SendAsBot(ctx context.Context, app, conversation string, m BotMessage) error {
	if err := wire.CheckID("conversation_id", conversation); err != nil {
		return err
	}
	return c.store.Write(ctx, func(tx Tx) error {
		conv, ok, err := tx.Conversation(conversation)
		switch {
		case err != nil:
			return err
		case !ok:
			return NoConversation(conversation)
		case conv.Type != WithBot || conv.App != app:
			return status.New(status.PermissionDenied, "conversation %q is not with this app's chatbot", conversation)
		}
		// Of a user who was erased only the conversation is left.
		if _, ok, err := tx.User(conv.User); err != nil {
			return err
		} else if !ok {
			return NoConversation(conversation)
		}
		typ, content, err := c.content(tx, app, m.Text, m.Carried)
		if err != nil {
			return err
		}
		return c.sayAsBot(tx, conv, m, typ, content)
	})
}

func (c *Chat) sayAsBot(tx Tx, conv Conversation, m BotMessage, typ MessageType, content Content) error {
	return c.say(tx, conv, said{
		app: conv.App, user: conv.User, typ: typ, content: content, media: m.Media, keyboards: Keyboards{User: m.Buttons.orNil()},
	})
}

// SendAsBotTo says something as the app's chatbot to the token's user, who is
// named by the app's id of it, and begins the conversation where there is none.
func (c *Chat) SendAsBotTo(ctx context.Context, t access.Token, userID string, m BotMessage) (conversation string, err error) {
	if err := t.Need(scopeSendAsBot, ""); err != nil {
		return "", err
	}
	if userID != c.access.UserID(t.App, t.User) {
		return "", status.New(status.PermissionDenied, "user_id: not the token's user; use the id that this app has of it")
	}
	err = c.store.Write(ctx, func(tx Tx) error {
		if err := alive(tx, t, c.now()); err != nil {
			return err
		}
		typ, content, err := c.content(tx, t.App, m.Text, m.Carried)
		if err != nil {
			return err
		}
		conv, err := c.botConversation(tx, t.App, t.User)
		if err != nil {
			return err
		}
		conversation = conv.ID
		return c.sayAsBot(tx, conv, m, typ, content)
	})
	return conversation, err
}

// botConversation returns a user's conversation with an app's bot, a new one
// where there is none.
func (c *Chat) botConversation(tx Tx, app, user string) (Conversation, error) {
	id, ok, err := tx.BotConversation(app, user)
	if err != nil {
		return Conversation{}, err
	}
	if !ok {
		conv := Conversation{ID: uuid.NewString(), Type: WithBot, App: app, User: user}
		_, err := PutConversation(tx, conv, c.now())
		return conv, err
	}
	conv, _, err := tx.Conversation(id)
	return conv, err
}

// StartBot writes to an app's chatbot for a user, who opens it, and returns the
// conversation.
func (c *Chat) StartBot(ctx context.Context, app, user, text string) (conversation string, err error) {
	err = c.store.Write(ctx, func(tx Tx) error {
		conv, err := c.botConversation(tx, app, user)
		if err != nil {
			return err
		}
		conversation = conv.ID
		_, _, err = PutMessage(tx, NewMessage{Conversation: conv.ID, Sender: User, Content: Content{Text: text}}, c.now())
		return err
	})
	return conversation, err
}

// EnsureUser makes a user known by being named.
func (c *Chat) EnsureUser(ctx context.Context, user string) error {
	return c.store.Write(ctx, func(tx Tx) error { return tx.EnsureUser(user, c.now()) })
}

// Talk is a conversation as an app reads it (contract section 4, get
// conversation). It has no field that the schema lacks, at any depth.
type Talk struct {
	Conversation talkRef  `json:"conversation"`
	Messages     []spoken `json:"messages"`
}

type spoken struct {
	ID           string      `json:"id"`
	Conversation talkRef     `json:"conversation"`
	Sender       talkSender  `json:"sender"`
	Type         MessageType `json:"type"`
	SentAt       wire.Time   `json:"sent_at"`
	Text         string      `json:"text"`
}

// The same as elsewhere, but that no field may ever be added.
type (
	talkRef    conversationRef
	talkSender sender
)

// Read returns a conversation in which the token's user takes part, with the
// texts in it, the newest thousand of them.
func (c *Chat) Read(ctx context.Context, t access.Token, conversation string) (Talk, error) {
	if err := t.Need(scopeReadHere, conversation); err != nil {
		return Talk{}, err
	}
	conv, err := c.conversationOf(ctx, t.User, conversation)
	if err != nil {
		return Talk{}, err
	}
	if conv.Type == WithBot && conv.App != t.App {
		return Talk{}, status.New(status.PermissionDenied, "conversation %q is with another app's chatbot", conversation)
	}
	texts, err := c.store.Texts(ctx, conversation, mostMessagesRead)
	if err != nil {
		return Talk{}, err
	}
	talk := Talk{
		Conversation: talkRef{ID: conv.ID, Type: conv.Type, PostToken: conv.PostToken},
		Messages:     make([]spoken, len(texts)),
	}
	for i, s := range texts {
		m, err := s.message()
		if err != nil {
			return Talk{}, err
		}
		talk.Messages[i] = spoken{
			ID: m.ID, Conversation: talkRef(m.Conversation), Sender: talkSender(m.Sender), Type: m.Type, SentAt: m.SentAt, Text: m.Text,
		}
	}
	return talk, nil
}

// conversationOf returns a conversation in which a user takes part.
func (c *Chat) conversationOf(ctx context.Context, user, id string) (Conversation, error) {
	if err := wire.CheckID("conversation_id", id); err != nil {
		return Conversation{}, err
	}
	conv, ok, err := c.store.Conversation(ctx, id)
	if err != nil {
		return conv, err
	}
	if !ok {
		return conv, NoConversation(id)
	}
	if _, ok := conv.SideOf(user); !ok {
		return conv, status.New(status.PermissionDenied, "conversation %q: the user takes no part in it", id)
	}
	return conv, nil
}

// Of returns a conversation in which a user takes part, and the user's side.
func (c *Chat) Of(ctx context.Context, user, id string) (Conversation, Side, error) {
	conv, err := c.conversationOf(ctx, user, id)
	side, _ := conv.SideOf(user)
	return conv, side, err
}

// Click is a button of a message or a notification that a user clicks.
type Click struct {
	App          string
	Action       Action
	Conversation string // where it stands; "" for a notification
	Side         Side
	Post         string // "" for none
}

// MessageButton returns the button at a place below a message, counted from 0:
// the message's sender has others than the other side.
func (c *Chat) MessageButton(ctx context.Context, user, message string, row, column int) (Click, error) {
	if err := wire.CheckID("message", message); err != nil {
		return Click{}, err
	}
	m, ok, err := c.store.Message(ctx, message)
	if err != nil {
		return Click{}, err
	}
	if !ok || m.Payload == nil {
		return Click{}, status.New(status.NotFound, "message %q: no such message", message)
	}
	conv, side, err := c.Of(ctx, user, m.Conversation)
	if err != nil {
		return Click{}, err
	}
	shown, err := m.message()
	if err != nil {
		return Click{}, err
	}
	keyboard := shown.Receiver
	switch {
	case conv.Type == WithBot:
		keyboard = shown.User
	case shown.Sender.Side == side: // whoever owns the post by now
		keyboard = shown.Keyboards.Sender
	}
	action, err := keyboard.action(row, column)
	return Click{App: m.App, Action: action, Conversation: conv.ID, Side: side, Post: conv.PostToken}, err
}
