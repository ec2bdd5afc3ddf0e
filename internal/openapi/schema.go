package openapi

import "github.com/openkenar/openkenar/internal/schema"

// SchemaName implements schema.Named.
func (sent) SchemaName() string { return "MessageSent" }

// SchemaName implements schema.Named.
func (user) SchemaName() string { return "UserForApp" }

// Describe implements schema.Describer.
func (sent) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("status").Between(200, 200)
}

// Describe implements schema.Describer.
func (uploaded) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("id").Say("The media token that a message carries, within 24 hours.")
	s.Field("status").Const = uploadedOK
}

// Describe implements schema.Describer.
func (subscription) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("event_resource_id").Say("Null: every resource of the user.")
	s.Field("user_id").Say("The app's own id of the user.")
	s.NotNull("expires_at")
}

// Describe implements schema.Describer.
func (user) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("user_id").Say("With `USER_ID`: the app's own id of the user.")
	s.Field("phone_number").Say("With `USER_PHONE`, where the marketplace has told one.")
	s.Field("phone_numbers").Say("The same in a list.")
}

// SchemaName implements schema.Named.
func (told) SchemaName() string { return "PushedEvent" }

// Describe implements schema.Describer.
func (told) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("headers").Say("Those that it is pushed with, the signature among them.")
	s.Field("body").Say("The body that is pushed, byte by byte.")
}

// Describe implements schema.Describer.
func (gap) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("missed").NotNegative().Say("How many events before `next` are gone.")
	s.Field("missed_why").Say("How many of them for which reason.")
}
