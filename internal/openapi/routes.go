package openapi

import (
	"net/http"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/status"
)

// route is an operation with what carries it out: exactly one of its functions.
// What the key and the token need is checked as the operation says.
type route struct {
	api.Operation
	app  func(a *API, r *http.Request, k access.Key) (any, error)
	user func(a *API, c call) (any, error)
	raw  func(a *API, w http.ResponseWriter, r *http.Request) error
}

// Operations describes all calls of the face.
func Operations() []api.Operation {
	list := routes()
	operations := make([]api.Operation, len(list))
	for i, r := range list {
		operations[i] = r.Operation
	}
	return operations
}

// Parts of the contract.
const (
	tagEvents = "Events"
	tagChat   = "Chat"
	tagUsers  = "Users and posts"
	tagMedia  = "Media"
)

// anyOf are scopes of which one is enough.
func anyOf(scopes ...string) [][]string {
	list := make([][]string, len(scopes))
	for i, s := range scopes {
		list[i] = []string{form(s)}
	}
	return list
}

// form is a scope with what its identifier stands for.
func form(name string) string {
	k, _ := access.KindOf(name)
	return k.Form()
}

func routes() []route {
	list := append(eventRoutes(), userRoutes()...)
	list = append(list, chatRoutes()...)
	return append(list, mediaRoutes()...)
}

func eventRoutes() []route {
	subscription := api.Operation{Tag: tagEvents, Permission: string(access.RegisterSubscription)}
	register, list, end := subscription, subscription, subscription

	register.Route, register.ID = "POST /v1/open-platform/events/subscriptions", "registerSubscription"
	register.Summary = "Register a subscription"
	register.Words = "Registering the same app, user, type and resource again replaces metadata and validity. A subscription lives as long as the " +
		"access token that it was made with. Scopes by type: `NEW_MESSAGE_ON_POST` with a resource id needs `CHAT_POST_CONVERSATIONS_READ.{post}` of it " +
		"or `CHAT_SUPPLIER_ALL_CONVERSATIONS_READ`, without one the latter; `POST_UPDATE` needs `USER_POSTS_GET`; `USER_ACCESS_REVOCATION` needs both " +
		"`NOTIFICATION_ACCESS_REVOCATION` and `USER_ID`; `NEW_CHATBOT_MESSAGE` and `PAYMENT_TRANSACTION` need none. 412: the app has no event URL."
	register.Credential, register.In, register.Out = api.AccessToken, event.Registration{}, api.Empty{}
	register.Scopes = append(anyOf("CHAT_POST_CONVERSATIONS_READ", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", access.ScopeUserPosts),
		[]string{"NOTIFICATION_ACCESS_REVOCATION", access.ScopeUserID}, []string{})
	register.Errors = []status.Kind{status.NotFound, status.FailedPrecondition}

	list.Route, list.ID = "GET /v1/open-platform/events/subscriptions", "listSubscriptions"
	list.Summary, list.Credential, list.Out = "List the app's subscriptions", api.APIKey, subscriptionPage{}
	list.Params, list.Errors = []api.Param{api.After()}, []status.Kind{status.Invalid}

	end.Route, end.ID = "DELETE /v1/open-platform/events/subscriptions/{id}", "endSubscription"
	end.Summary, end.Credential, end.Out = "End a subscription", api.APIKey, api.Empty{}
	end.Errors = []status.Kind{status.NotFound}

	return []route{
		{Operation: register, user: (*API).subscribe},
		{Operation: list, app: (*API).listSubscriptions},
		{Operation: end, app: (*API).endSubscription},
		{Operation: api.Operation{
			Route: "GET /experimental/open-platform/events", ID: "listEvents", Tag: tagEvents, Summary: "Follow the app's own events",
			Words: "As they are pushed, also while an event URL is set, and as far back as the retention. A list, by long poll; or server-sent events with " +
				"`Accept: text/event-stream`, each with its cursor as the id and an entry of `events` as the data; one named `missed` tells what is gone.",
			Credential: api.APIKey, Permission: string(access.RegisterSubscription),
			Params: []api.Param{
				{Name: "after", Schema: schema.Text("Where to go on: the value of `next`; absent: from the beginning.")},
				{Name: "wait", Schema: (&schema.Schema{Type: "integer", Words: "Seconds to wait for an event where there is none yet."}).
					Between(0, delivery.MaxTailWait.Seconds())},
			},
			Out: eventPage{}, Also: []api.Content{{Type: "text/event-stream", Schema: schema.Text("Events whose data is an entry of `events`.")}},
			Errors: []status.Kind{status.Invalid},
		}, raw: (*API).events},
		{Operation: api.Operation{
			Route: "POST /experimental/open-platform/events/send", ID: "sendEvent", Tag: tagEvents, Summary: "Send an event to a user",
			Words: "The user gets a notification. In the query without a body, or as JSON, whose fields win. The dotted names are those of older clients; " +
				"what is empty counts as absent.",
			Credential: api.AccessToken, Permission: string(access.SendEvents), Scopes: anyOf("SEND_EVENT"),
			Params: sendEventParams(), In: chat.NewNotification{}, Out: api.Empty{}, Errors: []status.Kind{status.NotFound},
		}, user: (*API).sendEvent},
	}
}

func sendEventParams() []api.Param {
	params := []api.Param{
		{Name: "message", Schema: schema.Text("The text.").Most(chat.MaxText)},
		{Name: "target_type", Schema: schema.Text("`USER`: the token's user. `POST`: the owner of a post, who is the token's user.").
			One(chat.TargetType("").SchemaValues()...)},
		{Name: "target_resource_id", Schema: schema.Text("The app's id of the user, or the token of the post.")},
	}
	for _, button := range []string{"primary_button.", "secondary_button."} {
		in := button + "action."
		data := func() *schema.Schema {
			return &schema.Schema{Type: "object", Additional: schema.Text(""), Words: "Given back to the app as `extra_data`."}
		}
		params = append(params,
			api.Param{Name: button + "title", Schema: schema.Text("5 to 50 characters.")},
			api.Param{Name: in + "open_direct_link", Schema: schema.Text("Opens this page.")},
			api.Param{Name: in + "open_server_link.data", Schema: data(), Deep: true},
			api.Param{Name: in + "get_dynamic_action.data", Schema: data(), Deep: true},
			api.Param{Name: in + "open_post_page.post_token", Schema: schema.Text("Opens this post.")},
			api.Param{Name: in + "open_post_manage_page.post_token", Schema: schema.Text("Opens the page on which its owner manages this post.")},
		)
	}
	return params
}

func userRoutes() []route {
	get := api.Operation{
		Route: "GET /v1/open-platform/users", ID: "getUser", Tag: tagUsers, Summary: "Get the token's user",
		Words:      "Each field is there only with its scope; with neither 403.",
		Credential: api.AccessToken, Permission: string(access.RetrieveUser), Scopes: anyOf(access.ScopeUserID, access.ScopeUserPhone),
		Out: user{}, Errors: []status.Kind{status.NotFound},
	}
	post := get
	post.Route, post.ID, post.AliasOf, post.In = "POST /v1/open-platform/users", "getUserByPost", get.ID, api.Empty{}
	return []route{
		{Operation: get, user: (*API).getUser},
		{Operation: post, user: (*API).getUser},
		{Operation: api.Operation{
			Route: "GET /v1/open-platform/finder/post/{token}", ID: "getPost", Tag: tagUsers, Summary: "Get a post",
			Words: "An archived post is 404.", Credential: api.APIKey, Permission: string(access.GetPost),
			Params: []api.Param{{Name: "token", Schema: schema.ID("The token of the post.")}},
			Out:    market.View{}, Errors: []status.Kind{status.NotFound},
		}, app: (*API).getPost},
		{Operation: api.Operation{
			Route: "GET /v1/open-platform/finder/user-posts", ID: "listUserPosts", Tag: tagUsers, Summary: "List the user's posts",
			Words: "A hundred by token, archived ones left out.", Credential: api.AccessToken, Permission: string(access.GetPost), Scopes: anyOf(access.ScopeUserPosts),
			Params: []api.Param{{Name: "after", Schema: schema.Text("The token of the last post of the page before.")}},
			Out:    postPage{},
		}, user: (*API).listPosts},
	}
}

func chatRoutes() []route {
	conversation := []api.Param{{Name: "id", Schema: schema.ID("The conversation.")}}
	list := []route{
		{Operation: api.Operation{
			Route: "POST /v2/open-platform/conversations/{id}/messages", ID: "sendMessage", Tag: tagChat, Summary: "Send a message for the user",
			Words:      "In a conversation on a post. 412: the other side has blocked the user.",
			Credential: api.AccessToken, Permission: string(access.SendMessages),
			Scopes: anyOf("CONVERSATION_SEND_MESSAGE", "CHAT_POST_CONVERSATIONS_MESSAGE_SEND", "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"),
			Params: conversation, In: chat.SideMessage{}, Out: sent{}, Errors: []status.Kind{status.NotFound, status.FailedPrecondition},
		}, user: (*API).sendMessage},
		{Operation: api.Operation{
			Route: "GET /v1/open-platform/chat/conversations/{id}", ID: "getConversation", Tag: tagChat, Summary: "Read a conversation",
			Credential: api.AccessToken, Permission: string(access.ReadConversation), Scopes: anyOf("CHAT_CONVERSATION_READ"),
			Params: conversation, Out: chat.Talk{}, Errors: []status.Kind{status.Invalid, status.NotFound},
		}, user: (*API).readConversation},
	}
	bot := api.Operation{
		ID: "sendAsBot", Tag: tagChat, Summary: "Send a message as the app's chatbot", Words: "In a conversation with it.",
		Credential: api.APIKey, Permission: string(access.SendAsBot), Params: conversation, In: chat.BotMessage{}, Out: inConversation{},
		Errors: []status.Kind{status.NotFound},
	}
	to := api.Operation{
		ID: "sendAsBotToUser", Tag: tagChat, Summary: "Send a message as the app's chatbot to the token's user",
		Words:      "The conversation is created when there is none.",
		Credential: api.AccessToken, Permission: string(access.SendAsBot), Scopes: anyOf("CHAT_BOT_USER_MESSAGE_SEND"),
		Params: []api.Param{{Name: "user", Schema: schema.ID("The app's own id of the token's user.")}},
		In:     chat.BotMessage{}, Out: inConversation{},
	}
	older := func(o api.Operation, suffix string) api.Operation {
		if suffix != "" {
			o.ID, o.AliasOf = o.ID+suffix, o.ID
		}
		return o
	}
	for _, at := range []struct{ prefix, suffix string }{
		{"/v1/open-platform/chat/bot", ""}, {"/experimental/open-platform/chat/bot", "Experimental"},
	} {
		here, him := older(bot, at.suffix), older(to, at.suffix)
		here.Route, him.Route = "POST "+at.prefix+"/conversations/{id}/messages", "POST "+at.prefix+"/users/{user}/messages"
		list = append(list, route{Operation: here, app: (*API).sendAsBot}, route{Operation: him, user: (*API).sendAsBotTo})
	}
	oldest := older(bot, "Oldest")
	oldest.Route = "POST /experimental/open-platform/chatbot-conversations/{id}/messages"
	return append(list, route{Operation: oldest, app: (*API).sendAsBot})
}

func mediaRoutes() []route {
	file := &schema.Schema{Type: "object"}
	file.Properties = []schema.Property{{Name: fileField, Schema: &schema.Schema{ContentType: "application/octet-stream", Words: "The file; its type is judged by its content."}}}
	file.Required = []string{fileField}
	return []route{
		{Operation: api.Operation{
			Route: "POST /experimental/open-platform/chat/upload", ID: "newUploadToken", Tag: tagMedia, Summary: "Get an upload token",
			Words: "For uploads within an hour.", Credential: api.APIKey, Permission: string(access.UploadMedia), Out: uploadToken{},
		}, app: (*API).uploadToken},
		{Operation: api.Operation{
			Route: "POST /upload/{kind}", ID: "upload", Tag: tagMedia, Summary: "Upload media", Words: chat.MediaWords(), Credential: api.UploadToken,
			Params: []api.Param{{Name: "kind", Schema: schema.Text("What is uploaded.").One(chat.MediaKinds()...)}},
			In:     file, InType: []string{"multipart/form-data"}, Out: uploaded{}, Errors: []status.Kind{status.PermissionDenied, status.NotFound, status.ResourceExhausted},
		}, raw: (*API).upload},
		{Operation: api.Operation{
			Route: "GET " + chat.MediaPath("{id}"), ID: "getMedia", Tag: tagMedia, Summary: "Get media", Words: "By the signed links that messages hold.",
			Params: []api.Param{
				{Name: "expires", Schema: schema.Text("As the link has it."), Required: true},
				{Name: "signature", Schema: schema.Text("As the link has it."), Required: true},
			},
			Also:   []api.Content{{Type: "*/*", Schema: &schema.Schema{Words: "The file."}}},
			Errors: []status.Kind{status.PermissionDenied, status.NotFound},
		}, raw: (*API).getMedia},
	}
}
