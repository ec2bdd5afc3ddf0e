package access

import "github.com/openkenar/openkenar/internal/schema"

// Limits that other faces' documents name.
const (
	MaxTitle  = maxShort       // characters of a key's title
	MaxScopes = maxScopesATime // of a list
)

// RevocationPayload is a value of the type that tells apps of a revocation.
func RevocationPayload() any { return revocation{} }

// SchemaName implements schema.Named.
func (revocation) SchemaName() string { return "EventUserAccessRevocation" }

// Describe implements schema.Describer.
func (revocation) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("user_id").Say("The app's own id of the user.")
}

// SchemaValues implements schema.Enumerated.
func (Permission) SchemaValues() []string { return schema.Values(Permissions()...) }

// SchemaValues implements schema.Enumerated.
func (AppStatus) SchemaValues() []string { return schema.Values(appStatuses...) }

// SchemaValues implements schema.Enumerated.
func (OpenAction) SchemaValues() []string { return schema.Values(openActions...) }

// Describe implements schema.Describer.
func (Touchpoint) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("touchpoint").ID().Most(maxTouchpoint).Say("A place of the marketplace, such as `CHAT`.")
	if d == schema.Request {
		s.Require("touchpoint", "action")
	}
}

// Describe implements schema.Describer.
func (App) Describe(s *schema.Schema, d schema.Direction) {
	s.Say("An app and its settings.")
	s.Field("slug").Most(maxSlug).Say("Its name in paths, and its OAuth client_id. It cannot change.").Form = slugForm.String()
	for _, name := range []string{"display", "subtitle", "avatar", "service_type"} {
		s.Field(name).Most(maxShort)
	}
	s.Field("description").Most(maxLong)
	s.Field("event_url").Say("Where webhooks go. https, and a public address unless the operator allows another.")
	s.Field("session_initialization_url").Say("Asked for a page when a user opens the app.")
	s.Field("dynamic_action_url").Say("Asked what a button does.")
	s.Field("fallback_url").Say("The app's own page, for touchpoints with `LOAD_WEBVIEW_DIRECT_LINK`.")
	s.Field("identification_key").Most(maxIdentKey).Say("Sent in the Authorization header of all our calls, as it is.").Form = `^[ -~]*$`
	s.Field("oauth_scopes").Items.Values = scopeNames()
	s.Field("oauth_scopes").Say("Names of the scopes that it may ask users for.")
	for _, name := range []string{"redirect_uris", "touchpoints", "oauth_scopes", "cities", "categories"} {
		s.Field(name).MaxItems = maxList
	}
	s.Field("redirect_uris").Items.Most(maxRedirect)
	s.Field("hear_own_messages").Say("Whether it hears of messages that it sent itself.")
	s.Field("cities").Say("Of posts on which it is offered; empty: all.")
	s.Field("categories").Say("Of posts on which it is offered; empty: all.")
	s.Field("per_minute").NotNegative().Say("Calls a minute; 0: no limit.")
	s.Field("per_day").NotNegative().Say("Calls a day; 0: no limit.")
	if d == schema.Request {
		s.Field("status").Say("`DEVELOPMENT` unless said.")
	}
}

// scopeNames are the names of the catalogue.
func scopeNames() []string {
	names := make([]string, len(catalogue))
	for i, k := range catalogue {
		names[i] = k.Name
	}
	return names
}

// Form is a scope as documents name it: with what its identifier stands for.
func (k ScopeKind) Form() string {
	if k.Resource == NoResource {
		return k.Name
	}
	return k.Name + scopeIdentifier + "{" + string(k.Resource) + "}"
}
