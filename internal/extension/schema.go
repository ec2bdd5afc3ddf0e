package extension

import (
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/wire"
)

// SessionCall returns values of the types of what a session initialization asks
// and of the answer that is wanted.
func SessionCall() (asks, answers any) { return sessionBody{}, sessionAnswer{} }

// ActionCall is SessionCall for dynamic actions.
func ActionCall() (asks, answers any) { return actionBody{}, actionAnswer{} }

// SchemaName implements schema.Named.
func (sessionBody) SchemaName() string { return "SessionInitialization" }

// SchemaName implements schema.Named.
func (actionBody) SchemaName() string { return "DynamicAction" }

// SchemaName implements schema.Named.
func (sessionAnswer) SchemaName() string { return "SessionInitializationAnswer" }

// SchemaName implements schema.Named.
func (actionAnswer) SchemaName() string { return "DynamicActionAnswer" }

// The lengths of the contract's table (section 6), in characters.
const (
	maxSource = 20
	maxSide   = 50
)

// Describe implements schema.Describer.
func (sessionBody) Describe(s *schema.Schema, _ schema.Direction) {
	s.Say("A user opens the app.")
	s.Field("return_url").Most(wire.MaxPage).Say("Where the app sends the user back to.")
	s.Field("source").Most(maxSource).Say("Where it was opened: a touchpoint of the app, such as `CHAT`, or `CHAT_MESSAGE_ACTION` or `NOTIFICATION` for a button.")
	s.Field("post_token").Most(maxToken)
	s.Field("conversation_id").Most(wire.MaxID)
	s.Field("user_side").Most(maxSide).One("Supply", "Demand")
	s.Field("user_id").Most(wire.MaxID).Say("The app's own id of the user.")
	s.Field("extra_data").Say("What the button carries; `{}` when there is none.")
	s.Field("provider_data").Say("The same as `extra_data`.")
	s.NotNull("extra_data", "provider_data")
}

// Describe implements schema.Describer.
func (actionBody) Describe(s *schema.Schema, _ schema.Direction) {
	s.Say("A user clicks a button with `get_dynamic_action`.")
	s.Field("touchpoint").Say("`CHAT` below a message, `NOTIFICATION` below a notification.")
	s.Field("user_side").One("SUPPLY", "DEMAND")
	s.Field("user_id").Say("The app's own id of the user.")
	s.Field("extra_data").Say("What the button carries; `{}` when there is none.")
	s.NotNull("extra_data")
}

// Describe implements schema.Describer.
func (sessionAnswer) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("url").Page().Say("Where the user is sent: absolute, https (http to loopback in dev mode), without credentials.")
	s.Require("url")
}

// Describe implements schema.Describer.
func (actionAnswer) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("text_message").Most(maxText).Say("Shown to the user.")
	s.Field("action").Say("Carried out; any but `get_dynamic_action`.")
	s.AtLeastOne("action", "text_message")
}

// Describe implements schema.Describer.
func (Clicker) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("user").ID().Say("Who clicks, by the marketplace's own id.")
	describeReturn(s)
	s.Require("user")
}

func describeReturn(s *schema.Schema) {
	s.Field("return_url").Most(wire.MaxPage).Say("Where the user goes back to: a page, or a place in the marketplace's own app.")
}

// Describe implements schema.Describer.
func (Place) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("touchpoint").ID().Say("Where the user is, such as `CHAT`.")
	s.Field("user").ID().Say("The marketplace's own id of the user.")
	s.Field("conversation_id").Most(wire.MaxID)
	s.Field("post_token").Most(wire.MaxID)
	s.Require("touchpoint", "user")
}

// Describe implements schema.Describer.
func (Opening) Describe(s *schema.Schema, d schema.Direction) {
	Place{}.Describe(s, d)
	describeReturn(s)
}

// Describe implements schema.Describer.
func (Opened) Describe(s *schema.Schema, _ schema.Direction) {
	s.Say("What the marketplace does next.")
	s.Field("url").Say("A page to send the user to.")
	s.Field("post_token").Say("A post to show.")
	s.Field("conversation_id").Say("The conversation with the app's chatbot, to show.")
	s.Field("text_message").Say("A text to show.")
}
