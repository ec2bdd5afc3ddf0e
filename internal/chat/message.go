package chat

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// MessageType is what a message carries.
type MessageType string

// The types of messages.
const (
	Text     MessageType = "TEXT"
	Image    MessageType = "IMAGE"
	File     MessageType = "FILE"
	Voice    MessageType = "VOICE"
	Location MessageType = "LOCATION"
	Video    MessageType = "VIDEO"
	Contact  MessageType = "CONTACT"
)

// messageTypes lists them in the order of the contract.
var messageTypes = []MessageType{Text, Image, File, Voice, Location, Video, Contact}

// Limits of a message.
const (
	maxText = 4096 // characters
	maxName = 255  // characters of a file's or a contact's name
)

// The content of messages that are not text; contract section 6.
type (
	// ImageData is the content of IMAGE.
	ImageData struct {
		Link      string `json:"link"`
		SizeBytes int64  `json:"size_bytes"`
		HeightPx  int64  `json:"height_px"`
		WidthPx   int64  `json:"width_px"`
	}
	// FileData is the content of FILE.
	FileData struct {
		Link      string `json:"link"`
		Name      string `json:"name"`
		SizeBytes int64  `json:"size_bytes"`
	}
	// VoiceData is the content of VOICE.
	VoiceData struct {
		Link      string `json:"link"`
		SizeBytes int64  `json:"size_bytes"`
	}
	// LocationData is the content of LOCATION, in degrees.
	LocationData struct {
		Latitude  *float64 `json:"latitude"`
		Longitude *float64 `json:"longitude"`
	}
	// VideoData is the content of VIDEO.
	VideoData struct {
		Link          string `json:"link"`
		ThumbnailLink string `json:"thumbnail_link,omitempty"`
		SizeBytes     int64  `json:"size_bytes"`
	}
	// ContactData is the content of CONTACT.
	ContactData struct {
		Name  string `json:"name,omitempty"`
		Phone string `json:"phone"`
	}
)

// Content is what a message carries: exactly the field of its type.
type Content struct {
	Text     string        `json:"text,omitempty"`
	Image    *ImageData    `json:"image_data,omitempty"`
	File     *FileData     `json:"file_data,omitempty"`
	Voice    *VoiceData    `json:"voice_data,omitempty"`
	Location *LocationData `json:"location_data,omitempty"`
	Video    *VideoData    `json:"video_data,omitempty"`
	Contact  *ContactData  `json:"contact_data,omitempty"`
}

// relink changes where the content's media is found.
func (c *Content) relink(link string) {
	switch {
	case c.Image != nil:
		c.Image.Link = link
	case c.File != nil:
		c.File.Link = link
	case c.Voice != nil:
		c.Voice.Link = link
	case c.Video != nil:
		c.Video.Link = link
	}
}

// check refuses content that is not exactly what the type asks for.
func (c Content) check(t MessageType) error {
	if t == Text && c.Text != "" && c == (Content{Text: c.Text}) { // nearly all there are
		return wire.MaxText("text", c.Text, maxText)
	}
	fields := []struct {
		of    MessageType
		name  string
		given bool
		check func() error
	}{
		{Text, "text", c.Text != "", func() error { return wire.MaxText("text", c.Text, maxText) }},
		{Image, "image_data", c.Image != nil, func() error {
			return firstError(checkLink("image_data.link", c.Image.Link), notNegative("image_data.size_bytes", c.Image.SizeBytes),
				notNegative("image_data.height_px", c.Image.HeightPx), notNegative("image_data.width_px", c.Image.WidthPx))
		}},
		{File, "file_data", c.File != nil, func() error {
			return firstError(checkLink("file_data.link", c.File.Link), wire.MaxText("file_data.name", c.File.Name, maxName),
				notNegative("file_data.size_bytes", c.File.SizeBytes))
		}},
		{Voice, "voice_data", c.Voice != nil, func() error {
			return firstError(checkLink("voice_data.link", c.Voice.Link), notNegative("voice_data.size_bytes", c.Voice.SizeBytes))
		}},
		{Location, "location_data", c.Location != nil, func() error {
			return firstError(within("location_data.latitude", c.Location.Latitude, 90),
				within("location_data.longitude", c.Location.Longitude, 180))
		}},
		{Video, "video_data", c.Video != nil, func() error {
			if c.Video.ThumbnailLink != "" {
				if err := checkLink("video_data.thumbnail_link", c.Video.ThumbnailLink); err != nil {
					return err
				}
			}
			return firstError(checkLink("video_data.link", c.Video.Link), notNegative("video_data.size_bytes", c.Video.SizeBytes))
		}},
		{Contact, "contact_data", c.Contact != nil, func() error {
			if c.Contact.Phone == "" {
				return status.New(status.Invalid, "contact_data.phone: must not be empty")
			}
			return firstError(wire.MaxText("contact_data.phone", c.Contact.Phone, maxName), wire.MaxText("contact_data.name", c.Contact.Name, maxName))
		}},
	}
	for _, f := range fields { // the one that is needed first
		switch {
		case f.of == t && !f.given:
			return status.New(status.Invalid, "%s: missing or empty; a message of type %s needs it", f.name, t)
		case f.of == t:
			if err := f.check(); err != nil {
				return err
			}
		}
	}
	for _, f := range fields {
		if f.of != t && f.given {
			return status.New(status.Invalid, "%s: a message of type %s has none", f.name, t)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkLink(field, link string) error {
	if _, err := wire.Page(link); err != nil {
		return status.New(status.Invalid, "%s: %s", field, err)
	}
	return nil
}

func notNegative(field string, n int64) error {
	if n < 0 {
		return status.New(status.Invalid, "%s: %d is negative", field, n)
	}
	return nil
}

func within(field string, degrees *float64, most float64) error {
	if degrees == nil {
		return status.New(status.Invalid, "%s: missing", field)
	}
	if *degrees < -most || *degrees > most {
		return status.New(status.Invalid, "%s: %g is not between %g and %g", field, *degrees, -most, most)
	}
	return nil
}

// NewMessage is a message as the marketplace sends it.
type NewMessage struct {
	ID           string      `json:"id"` // made up when absent
	Conversation string      `json:"conversation"`
	Sender       Side        `json:"sender"`
	Type         MessageType `json:"type"`    // default Text
	SentAt       wire.Time   `json:"sent_at"` // default now
	Content
}

// conversationRef and sender are parts of a message on the wire.
type conversationRef struct {
	ID        string           `json:"id"`
	Type      ConversationType `json:"type"`
	PostToken string           `json:"post_token,omitempty"`
}

// SenderType tells a person from an app.
type SenderType string

// The types of senders; there is no third (contract, section 9).
const (
	Human SenderType = "HUMAN"
	Bot   SenderType = "BOT"
)

type sender struct {
	Side Side       `json:"side,omitempty"` // none in bot conversations
	Type SenderType `json:"type"`
}

// payload is a message in a webhook. The order of its fields is the contract's.
type payload struct {
	ID           string          `json:"id"`
	Conversation conversationRef `json:"conversation"`
	Sender       sender          `json:"sender"`
	Type         MessageType     `json:"type"`
	SentAt       int64           `json:"sent_at"` // microseconds since the epoch
	Content
}

// Message is a message as the host API shows it: the webhook's, with sent_at
// in RFC 3339, its buttons, and the event it became.
type Message struct {
	ID           string          `json:"id"`
	Conversation conversationRef `json:"conversation"`
	Sender       sender          `json:"sender"`
	Type         MessageType     `json:"type"`
	SentAt       wire.Time       `json:"sent_at"`
	Content
	Keyboards
	EventID string `json:"event_id"`
}

// Stored is a message as the store keeps it.
type Stored struct {
	ID           string
	Conversation string
	Type         MessageType
	User         string // who wrote it, or for whom App did
	App          string // that sent it for User, or as its bot; empty for a person
	SentAt       time.Time
	Hash         []byte // of what was sent, to tell a repeat from another message
	Payload      []byte // as in the webhook; nil once erased
	Buttons      []byte // Keyboards; nil where there are none
	Media        string // what App uploaded; empty for none
	Event        int64

	fresh *payload // what Payload was made from
}

func (s Stored) message() (Message, error) {
	var p payload
	if s.fresh != nil {
		p = *s.fresh
	} else if err := json.Unmarshal(s.Payload, &p); err != nil {
		return Message{}, fmt.Errorf("read message %s: %w", s.ID, err)
	}
	m := Message{
		ID: p.ID, Conversation: p.Conversation, Sender: p.Sender, Type: p.Type,
		SentAt: wire.Time{Time: time.UnixMicro(p.SentAt).UTC()}, Content: p.Content, EventID: strconv.FormatInt(s.Event, 10),
	}
	var err error
	m.Keyboards, err = s.keyboards()
	return m, err
}

func (s Stored) keyboards() (k Keyboards, err error) {
	if s.Buttons != nil {
		if err = json.Unmarshal(s.Buttons, &k); err != nil {
			err = fmt.Errorf("read the buttons of message %s: %w", s.ID, err)
		}
	}
	return k, err
}

// PutMessage accepts a message that a person wrote. The same again under its
// id changes nothing and returns the first; another is Conflict.
func PutMessage(tx Tx, n NewMessage, now time.Time) (Stored, market.Change, error) {
	r := PutMessages(tx, []NewMessage{n}, now)[0]
	return r.stored, r.Change, r.Err
}

// PutMessages is PutMessage for many: one that is refused does not disturb the
// others.
func PutMessages(tx Tx, list []NewMessage, now time.Time) []Result {
	results := make([]Result, len(list))
	sent := make([]conversing, 0, len(list))
	for i, n := range list {
		c, err := n.converse(tx, now)
		if c.index = i; err != nil || c.known {
			results[i] = Result{stored: c.Stored, Err: err}
			if err != nil && status.KindOf(err) == status.Internal {
				return results // all of it is undone
			}
			continue
		}
		sent = append(sent, c)
	}
	if len(sent) == 0 {
		return results
	}
	messages := make([]Stored, len(sent))
	for i := range sent {
		sent[i].Event = tx.NextID()
		messages[i] = sent[i].Stored
	}
	inserted, err := tx.InsertMessages(messages)
	for i, c := range sent {
		r := Result{stored: c.Stored, Err: err}
		switch {
		case err != nil:
		case inserted[i]:
			r.Change, r.Err = market.Changed, emit(tx, c.conv, c.Stored, now)
		default:
			r.stored, r.Err = c.repeated(tx)
		}
		results[c.index] = r
	}
	return results
}

// conversing is a message in its conversation, ready to be stored.
type conversing struct {
	Stored
	conv  Conversation
	known bool // it is stored already
	index int
}

// converse puts a message into its conversation.
func (n NewMessage) converse(tx Tx, now time.Time) (c conversing, err error) {
	if n.Type == "" {
		n.Type = Text
	}
	if err := n.check(); err != nil {
		return c, err
	}
	conv, ok, err := tx.Conversation(n.Conversation)
	if err != nil {
		return c, err
	}
	if !ok {
		return c, NoConversation(n.Conversation)
	}
	c.conv = conv
	if c.Stored, err = n.stored(conv, now); err != nil {
		return c, err
	}
	var refusal error
	if c.User, refusal = conv.writer(n.Sender); refusal != nil {
		// A repeat of what was accepted is answered as before, whatever has
		// happened since.
		stored, ok, err := tx.Message(c.ID)
		if err != nil || !ok || !bytes.Equal(stored.Hash, c.Hash) {
			return c, cmp.Or(err, refusal)
		}
		c.Stored, c.known = stored, true
	}
	return c, nil
}

// repeated is the message that is stored under the same id, if it is the same.
func (c conversing) repeated(tx Tx) (Stored, error) {
	stored, _, err := tx.Message(c.ID)
	switch {
	case err != nil:
		return stored, err
	case stored.Payload == nil: // erased since, its hash too: nothing to compare
		stored.Payload = c.Payload
	case !bytes.Equal(stored.Hash, c.Hash):
		return stored, status.New(status.Conflict, "id: message %q exists with other content", c.ID)
	}
	return stored, nil
}

func (n NewMessage) check() error {
	if err := wire.CheckID("conversation", n.Conversation); err != nil {
		return err
	}
	if n.ID != "" {
		if err := wire.CheckID("id", n.ID); err != nil {
			return err
		}
	}
	if err := wire.Enum("sender", n.Sender, Buyer, Seller, User); err != nil {
		return err
	}
	if err := wire.Enum("type", n.Type, messageTypes...); err != nil {
		return err
	}
	return n.Content.check(n.Type)
}

// writer returns the user on a side of the conversation, who must not be
// blocked by the other.
func (c Conversation) writer(side Side) (string, error) {
	if c.Type == WithBot {
		if side != User {
			return "", status.New(status.Invalid, "sender: %q; in a conversation with a bot it is USER", side)
		}
		return c.User, nil
	}
	if side == User {
		return "", status.New(status.Invalid, `sender: "USER"; in a conversation on a post it is BUYER or SELLER`)
	}
	if c.Seller == "" {
		return "", market.NoPost("conversation", c.PostToken)
	}
	if side == Seller {
		if c.BlockedByBuyer {
			return "", status.New(status.FailedPrecondition, "sender: the buyer has blocked the seller")
		}
		return c.Seller, nil
	}
	if c.BlockedBySeller {
		return "", status.New(status.FailedPrecondition, "sender: the seller has blocked the buyer")
	}
	return c.Buyer, nil
}

// stored is the message as it is kept, without its author.
func (n NewMessage) stored(conv Conversation, now time.Time) (Stored, error) {
	said, err := wire.Marshal(n) // before defaults: a repeat without them is the same
	if err != nil {
		return Stored{}, err
	}
	hash := sha256.Sum256(said)
	if n.ID == "" {
		n.ID = uuid.NewString()
	}
	sent := n.SentAt.Time
	if sent.IsZero() {
		sent = now
	}
	m, err := conv.message(n.Sender, payload{
		ID: n.ID, Sender: sender{Type: Human}, Type: n.Type, SentAt: sent.UnixMicro(), Content: n.Content,
	})
	m.Hash = hash[:]
	return m, err
}

// message is a message of a side of the conversation as it is kept, without
// its author.
func (c Conversation) message(side Side, p payload) (Stored, error) {
	p.Conversation = conversationRef{ID: c.ID, Type: c.Type, PostToken: c.PostToken}
	if c.Type == OnPost {
		p.Sender.Side = side
	}
	body, err := wire.Marshal(p)
	return Stored{ID: p.ID, Conversation: c.ID, Type: p.Type, SentAt: time.UnixMicro(p.SentAt).UTC(), Payload: body, fresh: &p}, err
}

// emit makes the event of a message.
func emit(tx Tx, conv Conversation, m Stored, now time.Time) error {
	e := event.Event{
		ID: m.Event, Type: event.NewMessageOnPost, At: now, Key: "conversation " + conv.ID, Payload: m.Payload,
		Owner: conv.Seller, Post: conv.PostToken, User: m.User, Sender: m.App,
	}
	if conv.Type == WithBot {
		e.Type, e.App, e.Owner, e.Post = event.NewChatbotMessage, conv.App, "", ""
	}
	_, err := event.Emit(tx, e)
	return err
}

// PutMessage accepts a message that a person wrote.
func (c *Chat) PutMessage(ctx context.Context, n NewMessage) (Message, error) {
	var stored Stored
	err := c.store.Write(ctx, func(tx Tx) (err error) {
		stored, _, err = PutMessage(tx, n, c.now())
		return err
	})
	if err != nil {
		return Message{}, err
	}
	return stored.message()
}

// Messages returns a page of a conversation, ascending, and the cursor of the
// next: the newest page without a cursor.
func (c *Chat) Messages(ctx context.Context, conversation, cursor string) ([]Message, string, error) {
	after := int64(-1)
	if cursor != "" {
		var err error
		if after, err = event.ParseCursor(cursor); err != nil {
			return nil, "", err
		}
	}
	if _, ok, err := c.store.Conversation(ctx, conversation); err != nil {
		return nil, "", err
	} else if !ok {
		return nil, "", NoConversation(conversation)
	}
	limit := event.Page
	if after >= 0 {
		limit++
	}
	list, err := c.store.Messages(ctx, conversation, after, limit)
	if err != nil {
		return nil, "", err
	}
	list, next := event.CutPage(list, func(s Stored) string { return event.Cursor(s.Event) })
	messages := make([]Message, len(list))
	for i, s := range list {
		if messages[i], err = c.show(s); err != nil {
			return nil, "", err
		}
	}
	return messages, next, nil
}

// show is a message for the marketplace, with a fresh link to its media.
func (c *Chat) show(s Stored) (Message, error) {
	m, err := s.message()
	if s.Media != "" {
		m.relink(c.media.link(s.Media))
	}
	return m, err
}

// DeleteMessage takes a message away: its content is erased and nothing more
// of it is sent. Deleting what is not there is no error.
func (c *Chat) DeleteMessage(ctx context.Context, id string) error {
	if err := wire.CheckID("id", id); err != nil {
		return err
	}
	var erased int64
	err := c.store.Write(ctx, func(tx Tx) (err error) {
		erased, _, err = tx.EraseMessage(id, c.now())
		return err
	})
	if err != nil || erased == 0 {
		return err
	}
	return c.erase(context.WithoutCancel(ctx), erased)
}

// Sample is the payload of a bot conversation's message that nobody wrote, for
// trying an app's event URL.
func Sample(now time.Time) ([]byte, error) {
	return wire.Marshal(payload{
		ID:           uuid.NewString(),
		Conversation: conversationRef{ID: uuid.NewString(), Type: WithBot},
		Sender:       sender{Type: Human},
		Type:         Text,
		SentAt:       now.UnixMicro(),
		Content:      Content{Text: "Test event: nobody wrote this."},
	})
}
