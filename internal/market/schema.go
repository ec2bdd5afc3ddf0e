package market

import "github.com/openkenar/openkenar/internal/schema"

// PostPayloads are values of the types that tell apps of a post's change.
func PostPayloads() []any { return []any{postChange{}, postGone{}} }

// TransactionPayload is a value of the type that tells apps of a transaction.
func TransactionPayload() any { return transactionPayload{} }

// SchemaValues implements schema.Enumerated.
func (PostState) SchemaValues() []string { return schema.Values(postStates...) }

// SchemaValues implements schema.Enumerated.
func (TransactionState) SchemaValues() []string { return schema.Values(transactionStates...) }

// SchemaValues implements schema.Enumerated.
func (TransactionType) SchemaValues() []string { return schema.Values(Reorder) }

// SchemaName implements schema.Named.
func (postChange) SchemaName() string { return "EventPostChange" }

// SchemaName implements schema.Named.
func (postGone) SchemaName() string { return "EventPostGone" }

// SchemaName implements schema.Named.
func (transactionPayload) SchemaName() string { return "EventTransaction" }

// SchemaName implements schema.Named.
func (View) SchemaName() string { return "PostForApps" }

// SchemaName implements schema.Named.
func (tokenOnly) SchemaName() string { return "PostToken" }

// SchemaName implements schema.Named.
func (Listed) SchemaName() string { return "ListedPost" }

// Describe implements schema.Describer.
func (User) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("id").ID().Say("The marketplace's own id of the user.")
	s.Field("phone").Most(maxPhone)
	if d == schema.Request {
		s.Field("id").Say("In a line of a batch. In a call the path's wins.")
	}
}

// Describe implements schema.Describer.
func (Post) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("token").ID()
	s.Field("owner").ID().Say("The marketplace's own id of the user.")
	s.Field("title").Most(maxTitle)
	for _, name := range []string{"category", "city", "district"} {
		s.Field(name).Most(maxFacet)
	}
	s.Field("data").Say("Any fields of the post; at most 64 KiB of JSON.")
	if d == schema.Request {
		s.Field("token").Say("In a line of a batch. In a call the path's wins.")
		s.Require("owner", "state")
	}
}

// Describe implements schema.Describer.
func (View) Describe(s *schema.Schema, _ schema.Direction) {
	s.Say("A post as apps see it.")
	s.Field("state").One(schema.Values(postStates[:len(postStates)-1]...)...)
	s.NotNull("data")
}

// Describe implements schema.Describer.
func (postChange) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("type").One(updatePublish, updateOngoing).Say("`PUBLISH`: published, or changed while published. `ONGOING`: changed before publishing.")
}

// Describe implements schema.Describer.
func (postGone) Describe(s *schema.Schema, _ schema.Direction) {
	s.Say("A post that has left: its token alone.")
	s.Field("type").One(updateRetire, updateArchive)
}

// Describe implements schema.Describer.
func (Transaction) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("id").ID()
	s.Field("app").ID().Say("The app that it concerns.")
	s.Field("cost_rials").NotNegative()
	s.Field("extra_details").Say("At most 16 KiB of JSON.")
	if d == schema.Request {
		s.Field("id").Say("In a line of a batch. In a call the path's wins.")
		s.Field("type").Say("`REORDER` when absent.")
		s.Require("app", "state")
	}
}

// Describe implements schema.Describer.
func (transactionPayload) Describe(s *schema.Schema, _ schema.Direction) {
	states := make([]string, len(transactionStates))
	for i, state := range transactionStates {
		states[i] = wireState(state)
	}
	s.Field("cost_rials").NotNegative()
	s.Field("state").One(states...)
	s.Field("type").One(wireType(Reorder))
	s.NotNull("extra_details")
}
