package hostapi

import (
	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/webhook"
)

// span is the words for a span of time.
const span = "A span of time such as `90s`, `15m` or `24h`."

// SchemaName implements schema.Named.
func (deliveryPage) SchemaName() string { return "DeliveryPage" }

// SchemaName implements schema.Named.
func (operation) SchemaName() string { return "BatchLine" }

// SchemaName implements schema.Named.
func (tested) SchemaName() string { return "TestedEvent" }

// SchemaName implements schema.Named.
func (happened) SchemaName() string { return "Event" }

// Describe implements schema.Describer.
func (operation) Describe(s *schema.Schema, _ schema.Direction) {
	s.Say("A line of a batch: exactly one of its fields.")
	s.ExactlyOne("user", "post", "conversation", "message", "transaction")
}

// Describe implements schema.Describer.
func (p storedPost) Describe(s *schema.Schema, d schema.Direction) {
	p.Post.Describe(s, d)
	s.Field("event_id").Say("The newest event that it became.")
}

// Describe implements schema.Describer.
func (t storedTransaction) Describe(s *schema.Schema, d schema.Direction) {
	t.Transaction.Describe(s, d)
	s.Field("event_id").Say("The newest event that it became.")
}

// Describe implements schema.Describer.
func (blocking) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("by").One(schema.Values(chat.Buyer, chat.Seller)...)
	s.Require("by", "blocked")
}

// Describe implements schema.Describer.
func (grant) Describe(s *schema.Schema, _ schema.Direction) { s.NotNull("granted_at") }

// Describe implements schema.Describer.
func (loginAcceptance) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("user").ID().Say("The marketplace's own id of the user.")
	s.Require("user")
}

// Describe implements schema.Describer.
func (n newApp) Describe(s *schema.Schema, d schema.Direction) {
	n.App.Describe(s, d)
	s.Require("slug")
}

// Describe implements schema.Describer.
func (tested) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("status").Say("Null where there was no answer.")
	s.Field("answer").Say("Its first bytes.")
	s.Field("error").Say("Empty when the event was delivered.")
	s.Field("request").Say("The head of the request.")
}

// Describe implements schema.Describer.
func (signingSecret) Describe(s *schema.Schema, _ schema.Direction) {
	s.NotNull("created_at")
	s.Field("ends_at").Say("Null: no end is set.")
}

// Describe implements schema.Describer.
func (secretPage) Describe(s *schema.Schema, _ schema.Direction) { allOnOnePage(s) }

// Describe implements schema.Describer.
func (faultPage) Describe(s *schema.Schema, _ schema.Direction) { allOnOnePage(s) }

// allOnOnePage says of a list that it has no second page.
func allOnOnePage(s *schema.Schema) { s.Field("next").Say("Always null: all are on one page.") }

// Describe implements schema.Describer.
func (newSecret) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("older_ends_in").Span().Say("When those before it end; absent: after 24 h. " + span)
}

// Describe implements schema.Describer.
func (key) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("prefix").Say("Its first characters.")
	s.Field("last_used_at").Say("To the minute; null: never.")
	s.Field("revoked_at").Say("Null: it is alive.")
	s.NotNull("created_at")
}

// Describe implements schema.Describer.
func (newKey) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("title").Most(access.MaxTitle)
	s.Field("permissions").Say("Never more than the app's own.")
}

// Describe implements schema.Describer.
func (subscription) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("event_resource_id").Say("Null: every resource of the user.")
	s.Field("user").Say("The marketplace's own id of the user.")
	s.Field("user_id").Say("The app's own id of the user.")
	s.NotNull("expires_at")
}

// Describe implements schema.Describer.
func (deliveryRow) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("id").Say("EVENT-APP: the `webhook-id` of its attempts.")
	s.Field("state").One(schema.Values(delivery.States()...)...)
	s.Field("next_at").Say("Of a pending one.")
	s.Field("reason").Say("Why it is not delivered, or not yet; may be empty.")
}

// Describe implements schema.Describer.
func (l deliveryWithLog) Describe(s *schema.Schema, d schema.Direction) {
	l.deliveryRow.Describe(s, d)
	s.Field("body").Say("What is sent; empty once it was erased.")
}

// Describe implements schema.Describer.
func (attempt) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("status").Say("Null where there was no answer.")
	s.Field("answer").Say("Its first bytes.")
	s.Field("request").Say("The head of the request.")
	s.NotNull("at")
}

// Describe implements schema.Describer.
func (redelivery) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("app").Say("Absent: of all apps.")
	s.Field("state").One(schema.Values(delivery.States()...)...)
	s.Field("from").Say("When the event happened; absent: open.")
	s.Field("to").Say("When the event happened; absent: open.")
	s.Field("dry_run").Say("Only count.")
	s.Require("state")
}

// Describe implements schema.Describer.
func (redelivering) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("id").Say("Null of a dry run.")
}

// Describe implements schema.Describer.
func (happened) Describe(s *schema.Schema, _ schema.Direction) { s.NotNull("at") }

// Describe implements schema.Describer.
func (verdict) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("state").Say("A delivery's, or `skipped`.")
	s.Field("delivery_id").Say("Null where there is none.")
}

// Describe implements schema.Describer.
func (operator) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("password").Say("Where it was made here, this once; null otherwise.")
}

// Describe implements schema.Describer.
func (newOperator) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("name").Form = account.NameForm
	describePassword(s)
	s.Require("name")
}

// Describe implements schema.Describer.
func (newPassword) Describe(s *schema.Schema, _ schema.Direction) { describePassword(s) }

func describePassword(s *schema.Schema) {
	s.Field("password").Say("At least 12 characters, at most 256 bytes, and hard to guess; absent: one is made and shown.")
}

// Describe implements schema.Describer.
func (newToken) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("app").ID()
	s.Field("user").ID().Say("The marketplace's own id of the user.")
	s.Field("scopes").Say("Any of the catalogue, with identifiers where they take one; these are not checked.")
	s.Field("scopes").MaxItems = access.MaxScopes
	s.Field("ttl").Span().Say("How long it lives; absent: an hour. " + span)
	s.Require("app", "user")
}

// Describe implements schema.Describer.
func (issuedToken) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("expires_in").Say("Seconds.")
}

// Describe implements schema.Describer.
func (advance) Describe(s *schema.Schema, _ schema.Direction) {
	s.Require("advance")
	s.Field("advance").Span().Say(span)
}

// Describe implements schema.Describer.
func (clockAnswer) Describe(s *schema.Schema, _ schema.Direction) { s.NotNull("now") }

// Describe implements schema.Describer.
func (newFault) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("app").Say("Absent: of all apps.")
	s.Field("calls").One(callTypes()...).Say("Which calls; absent: all.")
	s.Field("count").Between(1, webhook.MaxFaultCalls).Say("How many calls go wrong; absent: one.")
	s.Field("delay").Span().Say("Of `delay` and `reorder`, at most a minute; absent: 3 s. " + span)
	s.Field("status").Between(200, 599).Say("Of `status`; absent: 500.")
	s.Require("fault")
}

// Describe implements schema.Describer.
func (fault) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("app").Say("Empty: of all apps.")
	s.Field("calls").Say("Empty: all.")
	s.Field("count").Say("Still to go wrong.")
}
