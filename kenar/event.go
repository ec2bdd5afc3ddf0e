package kenar

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// EventType is what a webhook tells of. A platform may add types; an app leaves
// alone those that it does not know.
type EventType string

// The types of webhooks.
const (
	EventNewMessage           EventType = "NEW_MESSAGE"
	EventNewChatbotMessage    EventType = "NEW_CHATBOT_MESSAGE"
	EventUserAccessRevocation EventType = "USER_ACCESS_REVOCATION"
	EventPostUpdate           EventType = "POST_UPDATE"
	EventPaymentTransaction   EventType = "PAYMENT_TRANSACTION"
)

// Event is the body of a webhook: the field of its type, and the metadata of
// the subscription that it comes from, nil where that has none. Read the
// metadata with Decode.
//
// What a platform adds in time is left alone: fields that are not here, values
// of types and states that are not listed below, and types of events, of which
// only Type and Metadata are read.
type Event struct {
	Type                 EventType             `json:"type"`
	Metadata             json.RawMessage       `json:"metadata,omitempty"`
	NewMessage           *Message              `json:"new_message,omitempty"`
	NewChatbotMessage    *Message              `json:"new_chatbot_message,omitempty"`
	UserAccessRevocation *UserAccessRevocation `json:"user_access_revocation,omitempty"`
	PostUpdate           *PostUpdate           `json:"post_update,omitempty"`
	Transaction          *Transaction          `json:"transaction,omitempty"` // also read from payment_transaction
}

// UnmarshalJSON reads the field of the event's type and no other: what stands
// under the same name in a type that is not known here may be anything.
func (e *Event) UnmarshalJSON(b []byte) error {
	var in struct {
		Type                 EventType       `json:"type"`
		Metadata             json.RawMessage `json:"metadata"`
		NewMessage           json.RawMessage `json:"new_message"`
		NewChatbotMessage    json.RawMessage `json:"new_chatbot_message"`
		UserAccessRevocation json.RawMessage `json:"user_access_revocation"`
		PostUpdate           json.RawMessage `json:"post_update"`
		Transaction          json.RawMessage `json:"transaction"`
		PaymentTransaction   json.RawMessage `json:"payment_transaction"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*e = Event{Type: in.Type}
	if !absent(in.Metadata) {
		e.Metadata = in.Metadata
	}
	switch in.Type {
	case EventNewMessage:
		return readPayload("new_message", in.NewMessage, &e.NewMessage)
	case EventNewChatbotMessage:
		return readPayload("new_chatbot_message", in.NewChatbotMessage, &e.NewChatbotMessage)
	case EventUserAccessRevocation:
		return readPayload("user_access_revocation", in.UserAccessRevocation, &e.UserAccessRevocation)
	case EventPostUpdate:
		return readPayload("post_update", in.PostUpdate, &e.PostUpdate)
	case EventPaymentTransaction:
		if absent(in.Transaction) {
			in.Transaction = in.PaymentTransaction
		}
		return readPayload("transaction", in.Transaction, &e.Transaction)
	}
	return nil
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func readPayload[T any](field string, raw json.RawMessage, into **T) error {
	if absent(raw) {
		return nil
	}
	*into = new(T)
	err := json.Unmarshal(raw, *into)
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind.Field = strings.TrimSuffix(field+"."+kind.Field, ".")
	}
	return err
}

// check refuses an event that lacks what its type promises.
func (e *Event) check() error {
	field, missing := "", false
	switch e.Type {
	case "":
		field, missing = "type", true
	case EventNewMessage:
		field, missing = "new_message", e.NewMessage == nil
	case EventNewChatbotMessage:
		field, missing = "new_chatbot_message", e.NewChatbotMessage == nil
	case EventUserAccessRevocation:
		field, missing = "user_access_revocation", e.UserAccessRevocation == nil
	case EventPostUpdate:
		field, missing = "post_update", e.PostUpdate == nil
	case EventPaymentTransaction:
		field, missing = "transaction", e.Transaction == nil
	}
	if missing {
		return fmt.Errorf("%s: missing or null", field)
	}
	return nil
}

// IsTest says whether the platform made the event up, for somebody who wants to
// see that the app can be reached: its conversation, message and user do not
// exist, so there is nobody to answer.
func (e *Event) IsTest() bool {
	mark, err := Decode[struct {
		Test bool `json:"openkenar_test"`
	}](e.Metadata)
	return err == nil && mark.Test
}

// Decode reads what an app once gave to the platform and gets back: the
// metadata of an event, the extra data of a button. Where there is none it is
// the zero T. The error says which field is not as T wants it.
func Decode[T any](object json.RawMessage) (T, error) {
	var into T
	if absent(object) {
		return into, nil
	}
	if err := json.Unmarshal(object, &into); err != nil {
		return into, fmt.Errorf("kenar: decode %T: %w", into, err)
	}
	return into, nil
}

// ConversationType tells a conversation on a post from one with a chatbot.
type ConversationType string

// The types of conversations.
const (
	ConversationOnPost  ConversationType = "POST"
	ConversationWithBot ConversationType = "BOT"
)

// Conversation says where a message was sent.
type Conversation struct {
	ID        string           `json:"id"`
	Type      ConversationType `json:"type"`
	PostToken string           `json:"post_token,omitempty"` // of a conversation on a post
}

// SenderType tells a person from an app.
type SenderType string

// The types of senders.
const (
	SenderHuman SenderType = "HUMAN"
	SenderBot   SenderType = "BOT"
)

// Side is a side of a conversation on a post.
type Side string

// The sides.
const (
	SideBuyer  Side = "BUYER"
	SideSeller Side = "SELLER"
)

// Sender is who wrote a message.
type Sender struct {
	Type SenderType `json:"type"`
	Side Side       `json:"side,omitempty"` // of a conversation on a post
}

// MessageType is what a message carries.
type MessageType string

// The types of messages.
const (
	MessageText     MessageType = "TEXT"
	MessageImage    MessageType = "IMAGE"
	MessageFile     MessageType = "FILE"
	MessageVoice    MessageType = "VOICE"
	MessageLocation MessageType = "LOCATION"
	MessageVideo    MessageType = "VIDEO"
	MessageContact  MessageType = "CONTACT"
)

// Message is a chat message: the field of its type, and nothing else.
type Message struct {
	ID           string        `json:"id"`
	Conversation Conversation  `json:"conversation"`
	Sender       Sender        `json:"sender"`
	Type         MessageType   `json:"type"`
	SentAt       Time          `json:"sent_at"`
	Text         string        `json:"text,omitempty"`
	Image        *ImageData    `json:"image_data,omitempty"`
	File         *FileData     `json:"file_data,omitempty"`
	Voice        *VoiceData    `json:"voice_data,omitempty"`
	Location     *LocationData `json:"location_data,omitempty"`
	Video        *VideoData    `json:"video_data,omitempty"`
	Contact      *ContactData  `json:"contact_data,omitempty"`
}

// What messages that are not text carry.
type (
	// ImageData is a picture.
	ImageData struct {
		Link      string `json:"link"`
		SizeBytes Int    `json:"size_bytes"`
		HeightPx  Int    `json:"height_px"`
		WidthPx   Int    `json:"width_px"`
	}
	// FileData is a document.
	FileData struct {
		Link      string `json:"link"`
		Name      string `json:"name"`
		SizeBytes Int    `json:"size_bytes"`
	}
	// VoiceData is a recording.
	VoiceData struct {
		Link      string `json:"link"`
		SizeBytes Int    `json:"size_bytes"`
	}
	// VideoData is a video.
	VideoData struct {
		Link          string `json:"link"`
		ThumbnailLink string `json:"thumbnail_link,omitempty"`
		SizeBytes     Int    `json:"size_bytes"`
	}
	// LocationData is a place on the earth, in degrees.
	LocationData struct {
		Latitude  float64 `json:"latitude"`
		Longitude float64 `json:"longitude"`
	}
	// ContactData is an entry of an address book.
	ContactData struct {
		Name  string `json:"name,omitempty"`
		Phone string `json:"phone"`
	}
)

// UserAccessRevocation tells that a user took the app's access away. Tokens and
// subscriptions of that user are dead by then.
type UserAccessRevocation struct {
	UserID string `json:"user_id"` // the app's own id of the user
}

// PostUpdateType is what became of a post.
type PostUpdateType string

// The types of updates.
const (
	PostPublished PostUpdateType = "PUBLISH" // or changed while published
	PostOngoing   PostUpdateType = "ONGOING" // changed before it is published
	PostRetired   PostUpdateType = "RETIRE"
	PostArchived  PostUpdateType = "ARCHIVE"
)

// PostUpdate tells of a post's change.
type PostUpdate struct {
	Type PostUpdateType `json:"type"`
	Post Post           `json:"post"` // the token alone of RETIRE and ARCHIVE
}

// PostState is where a post stands.
type PostState string

// The states of posts.
const (
	StatePublished  PostState = "PUBLISHED"
	StateReviewReq  PostState = "REVIEW_REQ"
	StatePaymentReq PostState = "PAYMENT_REQ"
	StateRetired    PostState = "RETIRED"
)

// Post is a classified ad.
type Post struct {
	Token            string          `json:"token"`
	Category         string          `json:"category,omitempty"`
	City             string          `json:"city,omitempty"`
	District         string          `json:"district,omitempty"`
	State            PostState       `json:"state,omitempty"`
	ChatEnabled      bool            `json:"chat_enabled,omitempty"`
	PhoneHidden      bool            `json:"is_phone_hidden,omitempty"`
	ChatAssistant    bool            `json:"supplier_chat_assistant_enabled,omitempty"`
	FirstPublishedAt Time            `json:"first_published_at,omitzero"` // zero: never yet
	Data             json.RawMessage `json:"data,omitempty"`              // an object, by category
}

// TransactionState is where a payment stands.
type TransactionState string

// The states of transactions.
const (
	TransactionPending   TransactionState = "TRANSACTION_STATE_PENDING"
	TransactionCompleted TransactionState = "TRANSACTION_STATE_COMPLETED"
	TransactionFailed    TransactionState = "TRANSACTION_STATE_FAILED"
	TransactionRefunded  TransactionState = "TRANSACTION_STATE_REFUNDED"
)

// TransactionType is what is paid for.
type TransactionType string

// TransactionReorder is the one type there is.
const TransactionReorder TransactionType = "TRANSACTION_TYPE_REORDER"

// Transaction is a payment that concerns the app.
type Transaction struct {
	ID           string           `json:"id"`
	CostRials    Int              `json:"cost_rials"`
	ExtraDetails json.RawMessage  `json:"extra_details,omitempty"`
	State        TransactionState `json:"state"`
	Type         TransactionType  `json:"type"`
}

// Time is a moment as either side of the wire writes it: microseconds since the
// epoch in webhooks, RFC 3339 in answers.
type Time struct{ time.Time }

// UnmarshalJSON reads both forms, and microseconds in quotes; null and "" are the
// zero time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" || string(b) == `""` {
		*t = Time{}
		return nil
	}
	if micros, err := parseInt(b); err == nil {
		t.Time = time.UnixMicro(micros).UTC()
		return nil
	}
	if err := t.Time.UnmarshalJSON(b); err != nil {
		return &json.UnmarshalTypeError{Value: "value " + clip(b), Type: reflect.TypeFor[Time]()}
	}
	return nil
}

// MarshalJSON writes microseconds since the epoch, as webhooks do.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, t.UnixMicro(), 10), nil
}

// Int is a number as either side of the wire writes it: a number in webhooks, a
// string in answers.
type Int int64

// UnmarshalJSON reads both forms; null is 0.
func (i *Int) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*i = 0
		return nil
	}
	n, err := parseInt(b)
	if err != nil {
		return &json.UnmarshalTypeError{Value: "value " + clip(b), Type: reflect.TypeFor[Int]()}
	}
	*i = Int(n)
	return nil
}

// parseInt reads a whole number, in quotes or not. JSON knows no other kind, and
// some write 5 as 5.0 and 1000 as 1e3.
func parseInt(b []byte) (int64, error) {
	if len(b) > 1 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err == nil {
		return n, nil
	}
	if f, wrong := strconv.ParseFloat(string(b), 64); wrong == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return int64(f), nil
	}
	return 0, err
}

// clip keeps a stranger's value short in a message.
func clip(b []byte) string {
	const most = 40
	if len(b) <= most {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:most]), "") + "…"
}
