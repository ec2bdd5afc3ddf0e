package chat

import "github.com/openkenar/openkenar/internal/schema"

// What the documents of the contract say of this package's types besides their
// fields: the limits and rules that the checks beside them enforce.

// MaxText is the longest text, in characters.
const MaxText = maxText

// EventPayload is a value of the type that tells apps of a message.
func EventPayload() any { return payload{} }

// SchemaValues implements schema.Enumerated.
func (ConversationType) SchemaValues() []string { return schema.Values(OnPost, WithBot) }

// SchemaValues implements schema.Enumerated.
func (Side) SchemaValues() []string { return schema.Values(Buyer, Seller, User) }

// SchemaValues implements schema.Enumerated.
func (MessageType) SchemaValues() []string { return schema.Values(messageTypes...) }

// SchemaValues implements schema.Enumerated.
func (SenderType) SchemaValues() []string { return schema.Values(Human, Bot) }

// SchemaValues implements schema.Enumerated.
func (TargetType) SchemaValues() []string { return schema.Values(TargetUser, TargetPost) }

// SchemaValues implements schema.Enumerated.
func (FeedType) SchemaValues() []string {
	return schema.Values(FeedMessage, FeedNotification, FeedNotice)
}

// SchemaName implements schema.Named.
func (payload) SchemaName() string { return "EventMessage" }

// SchemaName implements schema.Named.
func (spoken) SchemaName() string { return "TextMessage" }

// SchemaName implements schema.Named.
func (Talk) SchemaName() string { return "ConversationWithMessages" }

// SchemaName implements schema.Named.
func (Item) SchemaName() string { return "NotificationButton" }

// SchemaName implements schema.Named.
func (Items) SchemaName() string { return "NotificationButtons" }

// Describe implements schema.Describer.
func (Data) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("data").Say("Given back to the app as `extra_data`; at most 16 KiB of JSON.")
}

// Describe implements schema.Describer.
func (PostRef) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("post_token").ID()
	if d == schema.Request {
		s.Require("post_token")
	}
}

// Describe implements schema.Describer.
func (Action) Describe(s *schema.Schema, d schema.Direction) {
	s.Say("What a button does: exactly one of these.")
	s.Field("open_direct_link").Page().Say("Opens this page.")
	s.Field("open_server_link").Say("Asks the app by session initialization which page to open.")
	s.Field("get_dynamic_action").Say("Asks the app's dynamic action URL what happens.")
	s.Field("open_post_page").Say("Opens a post.")
	s.Field("open_post_manage_page").Say("Opens the page on which its owner manages a post.")
	s.ExactlyOne("open_direct_link", "open_server_link", "get_dynamic_action", "open_post_page", "open_post_manage_page")
}

// Describe implements schema.Describer.
func (Button) Describe(s *schema.Schema, d schema.Direction) {
	s.Say("A button with a caption, an icon or both.")
	s.Field("caption").Most(maxCaption)
	s.Field("icon").Most(maxCaption).Say("The name of an icon; any is accepted.")
	s.Field("icon_name").Most(maxCaption).Say("The older name of `icon`.")
	if d == schema.Request {
		s.Require("action")
		s.AtLeastOne("caption", "icon", "icon_name")
	}
}

// Describe implements schema.Describer.
func (Row) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("buttons").MaxItems = maxColumns
}

// Describe implements schema.Describer.
func (Keyboard) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("rows").MaxItems = maxRows
}

// Describe implements schema.Describer.
func (Item) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("title").Most(maxTitle).MinLength = minTitle
	if d == schema.Request {
		s.Require("title", "action")
	}
}

// Describe implements schema.Describer.
func (Items) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("items").MaxItems = maxItems
}

// Describe implements schema.Describer.
func (NewNotification) Describe(s *schema.Schema, d schema.Direction) {
	s.Say("An event for a user. What is left out is taken from the query.")
	s.Field("message").NotEmpty().Most(maxText)
	s.Field("target_type").Say("`USER`: the token's user. `POST`: the owner of a post, who is the token's user.")
	s.Field("target_resource_id").NotEmpty().Say("The app's id of the user, or the token of the post.")
}

// Describe implements schema.Describer.
func (Notification) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("post_token").Say("The post that it is about; null unless `target_type` is `POST`.")
	s.NotNull("sent_at")
}

// Describe implements schema.Describer.
func (Content) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("text").NotEmpty().Most(maxText)
	s.Field("type").Say("Says which field holds the content.")
	s.ByField("type", contentFields...)
}

// contentFields say which field holds the content of which type.
var contentFields = []schema.Variant{
	{Value: string(Text), Fields: []string{"text"}},
	{Value: string(Image), Fields: []string{"image_data"}},
	{Value: string(File), Fields: []string{"file_data"}},
	{Value: string(Voice), Fields: []string{"voice_data"}},
	{Value: string(Location), Fields: []string{"location_data"}},
	{Value: string(Video), Fields: []string{"video_data"}},
	{Value: string(Contact), Fields: []string{"contact_data"}},
}

func describeMedia(s *schema.Schema, d schema.Direction, numbers ...string) {
	s.Field("link").Page()
	for _, name := range numbers {
		s.Field(name).NotNegative()
	}
	if d == schema.Request {
		s.Require("link")
	}
}

// Describe implements schema.Describer.
func (ImageData) Describe(s *schema.Schema, d schema.Direction) {
	describeMedia(s, d, "size_bytes", "height_px", "width_px")
}

// Describe implements schema.Describer.
func (FileData) Describe(s *schema.Schema, d schema.Direction) {
	describeMedia(s, d, "size_bytes")
	s.Field("name").Most(maxName)
}

// Describe implements schema.Describer.
func (VoiceData) Describe(s *schema.Schema, d schema.Direction) { describeMedia(s, d, "size_bytes") }

// Describe implements schema.Describer.
func (VideoData) Describe(s *schema.Schema, d schema.Direction) {
	describeMedia(s, d, "size_bytes")
	s.Field("thumbnail_link").Format, s.Field("thumbnail_link").MaxLength = "uri", 2048
}

// Describe implements schema.Describer.
func (LocationData) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("latitude").Between(-90, 90).Say("In degrees.")
	s.Field("longitude").Between(-180, 180).Say("In degrees.")
	s.Require("latitude", "longitude")
}

// Describe implements schema.Describer.
func (ContactData) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("name").Most(maxName)
	s.Field("phone").NotEmpty().Most(maxName)
	s.Require("phone")
}

// Describe implements schema.Describer.
func (n NewMessage) Describe(s *schema.Schema, d schema.Direction) {
	n.Content.Describe(s, d)
	s.Say("A message that a person wrote.")
	s.Default = string(Text)
	s.Field("id").ID().Say("The marketplace's own id of the message. The same message under the same id is stored once; without an id one is made up.")
	s.Field("conversation").Say("In a line of a batch: the conversation. In a call the path's wins.")
	s.Field("sender").Say("`USER` in a conversation with a chatbot, a side otherwise.")
	s.Field("sent_at").Say("From 1970 to 9999; absent: now.")
	s.Require("sender")
}

// Describe implements schema.Describer.
func (conversationRef) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("post_token").Say("Of a conversation of type `POST`.")
}

// SchemaName implements schema.Named.
func (conversationRef) SchemaName() string { return "ConversationRef" }

// Describe implements schema.Describer.
func (sender) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("side").One(schema.Values(Buyer, Seller)...).Say("Left out in conversations with a chatbot.")
	s.Field("type").Say("`BOT` is an app, in whoever's name.")
}

// Describe implements schema.Describer.
func (p payload) Describe(s *schema.Schema, d schema.Direction) {
	p.Content.Describe(s, d)
	s.Field("sent_at").Say("Microseconds since the epoch.")
}

// Describe implements schema.Describer.
func (m Message) Describe(s *schema.Schema, d schema.Direction) {
	m.Content.Describe(s, d)
	m.Keyboards.Describe(s, d)
	s.NotNull("sent_at")
	s.Field("event_id").Say("The event that it became.")
}

// Describe implements schema.Describer.
func (Keyboards) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("sender_buttons").Say("For who sent the message, in a conversation on a post.")
	s.Field("receiver_buttons").Say("For the other side, in a conversation on a post.")
	s.Field("buttons").Say("For the user, in a conversation with a chatbot.")
}

// Describe implements schema.Describer.
func (Carried) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("media_token").Say("The `id` that an upload gave; instead of a text.")
	s.Field("type").Say("May be left out. `TEXT` is taken with media, too.")
}

// Describe implements schema.Describer.
func (m SideMessage) Describe(s *schema.Schema, d schema.Direction) {
	m.Carried.Describe(s, d)
	s.Say("Text or media, not both.")
	s.Field("message").Most(maxText)
	s.Field("sender_buttons").Say("For the user in whose name it is sent: at most 3 rows of 3.")
	s.Field("receiver_buttons").Say("For the other side: at most 3 rows of 3.")
	s.AtLeastOne("message", "media_token")
}

// Describe implements schema.Describer.
func (m BotMessage) Describe(s *schema.Schema, d schema.Direction) {
	m.Carried.Describe(s, d)
	s.Say("Text or media, not both.")
	s.Field("text_message").Most(maxText)
	s.Field("buttons").Say("At most 3 rows of 3.")
	s.AtLeastOne("text_message", "media_token")
}

// Describe implements schema.Describer.
func (Talk) Describe(s *schema.Schema, d schema.Direction) {
	s.Closed = true // the strictest clients refuse what the schema lacks
	s.Field("messages").MaxItems = mostMessagesRead
	s.Field("messages").Say("The newest 1,000 of type `TEXT`, ascending.")
}

// Describe implements schema.Describer.
func (spoken) Describe(s *schema.Schema, d schema.Direction) {
	s.Closed = true
	s.Field("type").Values, s.Field("type").Const = nil, string(Text)
	s.NotNull("sent_at")
}

// Describe implements schema.Describer.
func (r talkRef) Describe(s *schema.Schema, d schema.Direction) {
	conversationRef(r).Describe(s, d)
	s.Closed = true
}

// Describe implements schema.Describer.
func (r talkSender) Describe(s *schema.Schema, d schema.Direction) {
	sender(r).Describe(s, d)
	s.Closed = true
}

// Describe implements schema.Describer.
func (c Conversation) Describe(s *schema.Schema, d schema.Direction) {
	s.Say("A conversation on a post, between its owner and a buyer, or one between a user and an app's chatbot.")
	s.Field("id").ID()
	for _, name := range []string{"post_token", "buyer", "app", "user"} {
		s.Field(name).ID()
	}
	if d == schema.Request {
		s.Field("id").Say("In a line of a batch. In a call the path's wins.")
	}
	s.ByField("type",
		schema.Variant{Value: string(OnPost), Fields: []string{"post_token", "buyer"}},
		schema.Variant{Value: string(WithBot), Fields: []string{"app", "user"}},
	)
}

// Describe implements schema.Describer.
func (FeedItem) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("user").Say("For whom the message was sent, or to whom the notification went.")
	s.ByField("type",
		schema.Variant{Value: string(FeedMessage), Fields: []string{"message"}},
		schema.Variant{Value: string(FeedNotification), Fields: []string{"notification"}},
		schema.Variant{Value: string(FeedNotice), Fields: []string{"notice"}},
	)
}

// Describe implements schema.Describer.
func (AppNotice) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("kind").Known(NoticeFailing)
	s.NotNull("at")
}
