package event

import (
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/wire"
)

// SchemaValues implements schema.Enumerated.
func (Type) SchemaValues() []string { return schema.Values(Types()...) }

// Webhook returns the type of the envelope that tells of an event of the type,
// and the fields in which its payload stands.
func (t Type) Webhook() (name string, fields []string) {
	return kinds[t].webhook, kinds[t].fields
}

// Describe implements schema.Describer.
func (Registration) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("event_resource_id").Most(wire.MaxID).Say("The token of the post to hear of; absent, null or empty: every post of the token's user. " +
		"Ignored for types that are on by default.")
	s.Field("metadata").Say("Echoed in each webhook, as it was given; at most 4 KiB of JSON.")
	s.Require("event_type")
}
