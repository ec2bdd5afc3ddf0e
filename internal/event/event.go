// Package event knows the kinds of events, who may subscribe to them, and who
// hears of one that happened. Fan-out (Emit) runs inside the transaction of
// the thing that happened, so that the thing, its event and one verdict for
// each app concerned are on disk together or not at all. Contract: section 5.
package event

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

// Type is an event type as apps register it.
type Type string

// The five types.
const (
	NewMessageOnPost     Type = "NEW_MESSAGE_ON_POST"
	PostUpdate           Type = "POST_UPDATE"
	NewChatbotMessage    Type = "NEW_CHATBOT_MESSAGE"
	UserAccessRevocation Type = "USER_ACCESS_REVOCATION"
	PaymentTransaction   Type = "PAYMENT_TRANSACTION"
)

// Types lists them in the order of the contract.
func Types() []Type {
	return []Type{NewMessageOnPost, PostUpdate, NewChatbotMessage, UserAccessRevocation, PaymentTransaction}
}

// What the log of deliveries holds besides: calls that an app answers while
// somebody waits. Nobody subscribes to them, and nothing retries them.
const (
	SessionInitialization Type = "SESSION_INITIALIZATION"
	DynamicAction         Type = "DYNAMIC_ACTION"
)

// IsCall says whether a type is one of them.
func (t Type) IsCall() bool { return t == SessionInitialization || t == DynamicAction }

// CallKey is the order key of the calls that are made for a user.
func CallKey(user string) string { return "call " + user }

// The scopes that events ask for. They are part of access's catalogue.
const (
	scopePostConversations = "CHAT_POST_CONVERSATIONS_READ" // with a post token
	scopeAllConversations  = "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"
	scopeUserPosts         = "USER_POSTS_GET"
	scopeRevocation        = "NOTIFICATION_ACCESS_REVOCATION"
	scopeUserID            = "USER_ID"
)

// kind is what the contract's table says of a type.
type kind struct {
	webhook string   // the envelope's type
	fields  []string // where the payload stands
	// byDefault: heard without a subscription; one only sets the metadata to echo.
	byDefault bool
}

var kinds = map[Type]kind{
	NewMessageOnPost:     {webhook: "NEW_MESSAGE", fields: []string{"new_message"}},
	PostUpdate:           {webhook: "POST_UPDATE", fields: []string{"post_update"}},
	NewChatbotMessage:    {webhook: "NEW_CHATBOT_MESSAGE", fields: []string{"new_chatbot_message"}, byDefault: true},
	UserAccessRevocation: {webhook: "USER_ACCESS_REVOCATION", fields: []string{"user_access_revocation"}, byDefault: true},
	PaymentTransaction:   {webhook: "PAYMENT_TRANSACTION", fields: []string{"transaction", "payment_transaction"}, byDefault: true},
}

// Envelope returns the body of the webhook that tells of a payload; that of a
// call is the payload itself.
func Envelope(t Type, metadata, payload []byte) []byte {
	if t.IsCall() {
		return payload
	}
	k := kinds[t]
	return webhook.Envelope(k.webhook, metadata, payload, k.fields...)
}

// MayFetch says whether an app may fetch an event that it is not sent for want of
// an event URL. One that needs a grant must say which, which older ones do not.
func MayFetch(t Type, reason string, grant int64) bool {
	return reason == delivery.ReasonNoURL && (grant != 0 || kinds[t].byDefault)
}

// Event is a thing that happened and that apps may hear of.
type Event struct {
	ID      int64 // time-ordered; made by Emit when 0
	Type    Type
	At      time.Time
	Key     string // order key: conversation, post, transaction or grant
	Payload []byte // JSON, as it stands in the envelope; nil once erased

	// Whom it concerns. Of a message on a post and of a post's change:
	Owner string // the user whose subscriptions hear of it
	Post  string // the resource that a subscription may be narrowed to
	// Of the types that are heard by default:
	App string
	// Of messages: the writing user, or the app whose bot wrote.
	User   string
	Sender string
}

// Verdict says what an event means for one app.
type Verdict struct {
	App      string
	State    delivery.State // Pending or Skipped when made
	Reason   string
	Grant    int64 // the grant that the delivery rests on; 0 for none
	Metadata wire.Object
}

// Subscription is one registration.
type Subscription struct {
	ID        int64
	App       string
	User      string
	Type      Type
	Resource  string // a post token; "" for every resource of the user
	Metadata  wire.Object
	Token     int64 // the access token it was made with, and lives as long as
	Grant     int64
	At        time.Time
	ExpiresAt time.Time
	// Ended says in words why it is no longer heard; empty while it lives.
	Ended string
}

// Listener is what fan-out must know of an app.
type Listener struct {
	EventURL  bool
	Suspended bool
	HearOwn   bool // wants to hear of the messages that it sent itself
}

// Tx is the part of the store's transaction that fan-out needs.
type Tx interface {
	// NextID returns the next time-ordered id.
	NextID() int64
	// Subscriptions returns the user's subscriptions to a type, those narrowed
	// to another resource left out, those that ended before since left out too.
	Subscriptions(user string, t Type, resource string, now, since time.Time) ([]Subscription, error)
	// Echo returns the metadata of the app's newest live subscription to a
	// type, the given user's own before all others where user is not "".
	Echo(app string, t Type, user string, now time.Time) (wire.Object, error)
	// Listener returns what fan-out must know of an app.
	Listener(app string) (Listener, error)
	// InsertEvent writes the event with its verdicts.
	InsertEvent(e Event, verdicts []Verdict) error
}

// Store is the ledger as subscriptions need it.
type Store interface {
	// Register replaces the subscription with the same app, user, type and
	// resource. It returns false, and writes nothing, when the token is dead.
	Register(ctx context.Context, s Subscription, now time.Time) (bool, error)
	// PostOwner returns who owns a post; ok is false where there is none.
	PostOwner(ctx context.Context, token string) (owner string, ok bool, err error)
	// AppSubscriptions returns the app's live subscriptions with ids above
	// after, ascending.
	AppSubscriptions(ctx context.Context, app string, after int64, limit int, now time.Time) ([]Subscription, error)
	// EndSubscription ends one of the app's; false where there is none alive.
	EndSubscription(ctx context.Context, app string, id int64, now time.Time) (bool, error)
}
