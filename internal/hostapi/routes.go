package hostapi

import (
	"net/http"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

// route is an operation with what carries it out: one of its functions.
type route struct {
	api.Operation
	handle func(a *API, r *http.Request) (any, error)
	raw    func(a *API, w http.ResponseWriter, r *http.Request) error
}

// Operations describes the calls of the face: dev mode's own only in dev mode.
func Operations(dev bool) []api.Operation {
	list := routes(dev)
	operations := make([]api.Operation, len(list))
	for i, r := range list {
		operations[i] = r.Operation
	}
	return operations
}

// Parts of the contract.
const (
	tagMarket     = "What happens"
	tagShow       = "What apps did"
	tagGrants     = "Grants and logins"
	tagApps       = "Apps"
	tagDeliveries = "Deliveries"
	tagPanel      = "Panel"
	tagDev        = "Dev mode"
)

func routes(dev bool) []route {
	var list []route
	for _, part := range []struct {
		tag    string
		routes []route
	}{
		{tagMarket, marketRoutes()},
		{tagShow, showRoutes()},
		{tagGrants, grantRoutes()},
		{tagApps, appRoutes()},
		{tagDeliveries, deliveryRoutes()},
		{tagPanel, panelRoutes()},
		{tagDev, devRoutes()},
	} {
		if part.tag == tagDev && !dev {
			continue
		}
		for _, r := range part.routes {
			r.Tag, r.Credential = part.tag, api.HostKey
			list = append(list, r)
		}
	}
	return list
}

// Parameters of paths.
func path(name, words string) []api.Param {
	return []api.Param{{Name: name, Schema: schema.ID(words)}}
}

func userPath() []api.Param { return path("user", "The marketplace's own id of the user.") }
func slugPath() []api.Param { return path("slug", "The app.") }
func convPath() []api.Param { return path("id", "The conversation.") }

// place is the position of a button, counted from 0.
func place(name string) api.Param {
	return api.Param{Name: name, Schema: (&schema.Schema{Type: "integer", Words: "Counted from 0."}).NotNegative()}
}

func marketRoutes() []route {
	invalid := []status.Kind{status.Invalid}
	missing := []status.Kind{status.NotFound}
	return []route{
		{Operation: api.Operation{
			Route: "PUT /host/v1/users/{user}", ID: "putUser", Summary: "Tell of a user", Params: userPath(), In: market.User{}, Out: market.User{},
		}, handle: (*API).putUser},
		{Operation: api.Operation{
			Route: "DELETE /host/v1/users/{user}", ID: "deleteUser", Summary: "Erase a user",
			Words:  "Its grants are revoked first; all personal content is erased, in the log too. Deleting who is not there is no error.",
			Params: userPath(), Out: api.Empty{}, Errors: invalid,
		}, handle: (*API).deleteUser},
		{Operation: api.Operation{
			Route: "PUT /host/v1/posts/{token}", ID: "putPost", Summary: "Tell of a post", Words: "Each write that changes it is an event.",
			Params: path("token", "The token of the post."), In: market.Post{}, Out: storedPost{},
		}, handle: (*API).putPost},
		{Operation: api.Operation{
			Route: "DELETE /host/v1/posts/{token}", ID: "deletePost", Summary: "Take a post away", Words: "Deleting what is not there is no error.",
			Params: path("token", "The token of the post."), Out: api.Empty{}, Errors: invalid,
		}, handle: (*API).deletePost},
		{Operation: api.Operation{
			Route: "PUT /host/v1/conversations/{id}", ID: "putConversation", Summary: "Tell of a conversation", Words: "It cannot change.",
			Params: convPath(), In: chat.Conversation{}, Out: chat.Conversation{}, Errors: []status.Kind{status.NotFound, status.Conflict},
		}, handle: (*API).putConversation},
		{Operation: api.Operation{
			Route: "PUT /host/v1/conversations/{id}/block", ID: "block", Summary: "Tell who blocked the other side",
			Params: convPath(), In: blocking{}, Out: blocking{}, Errors: missing,
		}, handle: (*API).block},
		{Operation: api.Operation{
			Route: "POST /host/v1/conversations/{id}/messages", ID: "postMessage", Summary: "Tell of a message",
			Words:  "412: the other side has blocked the sender.",
			Params: convPath(), In: chat.NewMessage{}, Out: chat.Message{}, Errors: []status.Kind{status.NotFound, status.Conflict, status.FailedPrecondition},
		}, handle: (*API).postMessage},
		{Operation: api.Operation{
			Route: "GET /host/v1/conversations/{id}/messages", ID: "listMessages", Summary: "List the messages of a conversation",
			Words:  "Ascending: the newest hundred without `after`.",
			Params: append(convPath(), api.After()), Out: messagePage{}, Errors: []status.Kind{status.Invalid, status.NotFound},
		}, handle: (*API).listMessages},
		{Operation: api.Operation{
			Route: "DELETE /host/v1/messages/{id}", ID: "deleteMessage", Summary: "Take a message away", Words: "Deleting what is not there is no error.",
			Params: path("id", "The message."), Out: api.Empty{}, Errors: invalid,
		}, handle: (*API).deleteMessage},
		{Operation: api.Operation{
			Route: "PUT /host/v1/transactions/{id}", ID: "putTransaction", Summary: "Tell of a transaction",
			Words:  "Its first sight and each change of its state are events.",
			Params: path("id", "The transaction."), In: market.Transaction{}, Out: storedTransaction{},
			Errors: []status.Kind{status.NotFound, status.Conflict},
		}, handle: (*API).putTransaction},
		{Operation: api.Operation{
			Route: "POST /host/v1/batch", ID: "batch", Summary: "Tell of many things at once",
			Words: "NDJSON, one operation a line, at most 16 MiB and 100,000 lines. Lines take effect in order, good lines are kept, duplicates do not count as accepted.",
			In:    operation{}, InType: []string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"}, Out: batchAnswer{},
		}, handle: (*API).batch},
	}
}

func showRoutes() []route {
	clicks := []status.Kind{status.PermissionDenied, status.NotFound, status.FailedPrecondition}
	return []route{
		{Operation: api.Operation{
			Route: "GET /host/v1/feed", ID: "feed", Summary: "Follow what apps did",
			Words: "A list, by long poll; or server-sent events with `Accept: text/event-stream`, each with the cursor as its id and an item as its data.",
			Params: []api.Param{
				{Name: "after", Schema: schema.Text("Where to go on: the value of `next`; absent: from the beginning.")},
				{Name: "wait", Schema: (&schema.Schema{Type: "integer", Words: "Seconds to wait for an item where there is none yet."}).Between(0, chat.MaxWait.Seconds())},
			},
			Out: feedPage{}, Also: []api.Content{{Type: "text/event-stream", Schema: schema.Text("Events whose data is a FeedItem.")}},
			Errors: []status.Kind{status.Invalid},
		}, raw: (*API).feed},
		{Operation: api.Operation{
			Route: "GET /host/v1/users/{user}/notifications", ID: "listNotifications", Summary: "List a user's notifications", Words: "Newest first.",
			Params: append(userPath(), api.After()), Out: notificationPage{}, Errors: []status.Kind{status.Invalid},
		}, handle: (*API).listNotifications},
		{Operation: api.Operation{
			Route: "GET /host/v1/extensions", ID: "listExtensions", Summary: "List the apps that a user is offered somewhere",
			Params: []api.Param{
				{Name: "touchpoint", Schema: schema.ID("Where the user is, such as `CHAT`."), Required: true},
				{Name: "user", Schema: schema.ID("The marketplace's own id of the user."), Required: true},
				{Name: "conversation_id", Schema: schema.Text("Where the user is in one.")},
				{Name: "post_token", Schema: schema.Text("Where the user is on one.")},
			},
			Out: extensionList{}, Errors: []status.Kind{status.Invalid, status.PermissionDenied, status.NotFound},
		}, handle: (*API).listExtensions},
		{Operation: api.Operation{
			Route: "POST /host/v1/extensions/{app}/open", ID: "openExtension", Summary: "Open an app for a user",
			Words:  "503 with the reason in words when the app does not answer as it should.",
			Params: path("app", "The app."), In: extension.Opening{}, Out: extension.Opened{}, Errors: clicks,
		}, handle: (*API).openExtension},
		{Operation: api.Operation{
			Route: "POST /host/v1/messages/{id}/buttons/{row}/{column}/click", ID: "clickMessage", Summary: "Click a button below a message",
			Words:  "The message's sender clicks `sender_buttons`, the other side `receiver_buttons`.",
			Params: append(path("id", "The message."), place("row"), place("column")), In: extension.Clicker{}, Out: extension.Opened{}, Errors: clicks,
		}, handle: (*API).clickMessage},
		{Operation: api.Operation{
			Route: "POST /host/v1/notifications/{id}/buttons/{n}/click", ID: "clickNotification", Summary: "Click a button of a notification",
			Params: append(path("id", "The notification."), place("n")), In: extension.Clicker{}, Out: extension.Opened{}, Errors: clicks,
		}, handle: (*API).clickNotification},
	}
}

func grantRoutes() []route {
	missing := []status.Kind{status.NotFound}
	return []route{
		{Operation: api.Operation{
			Route: "GET /host/v1/users/{user}/grants", ID: "listGrants", Summary: "List what a user granted",
			Params: userPath(), Out: grantList{}, Errors: []status.Kind{status.Invalid},
		}, handle: (*API).listGrants},
		{Operation: api.Operation{
			Route: "DELETE /host/v1/users/{user}/grants/{app}", ID: "revokeGrant", Summary: "Take an app's access to a user away",
			Words:  "Once it is answered nothing that rests on the grant is sent. Revoking what is not there is no error.",
			Params: append(userPath(), path("app", "The app.")...), Out: api.Empty{},
		}, handle: (*API).revokeGrant},
		{Operation: api.Operation{
			Route: "GET /host/v1/oauth/logins/{challenge}", ID: "getLogin", Summary: "See which app asks a user to log in",
			Params: challengePath(), Out: pendingLogin{}, Errors: missing,
		}, handle: (*API).getLogin},
		{Operation: api.Operation{
			Route: "POST /host/v1/oauth/logins/{challenge}", ID: "acceptLogin", Summary: "Say who the user is", Words: "Once.",
			Params: challengePath(), In: loginAcceptance{}, Out: acceptedLogin{}, Errors: missing,
		}, handle: (*API).acceptLogin},
	}
}

func challengePath() []api.Param {
	return []api.Param{{Name: "challenge", Schema: schema.Text("`login_challenge` of the login page's address.")}}
}

func appRoutes() []route {
	missing := []status.Kind{status.NotFound}
	paged := []status.Kind{status.Invalid, status.NotFound}
	return []route{
		{Operation: api.Operation{
			Route: "GET /host/v1/apps", ID: "listApps", Summary: "List apps", Params: []api.Param{api.After()}, Out: appPage{},
		}, handle: (*API).listApps},
		{Operation: api.Operation{
			Route: "POST /host/v1/apps", ID: "createApp", Summary: "Make an app", Words: "The same app again is no error; another under its slug is 409.",
			In: newApp{}, Out: access.App{}, Errors: []status.Kind{status.Conflict},
		}, handle: (*API).createApp},
		{Operation: api.Operation{
			Route: "GET /host/v1/apps/{slug}", ID: "getApp", Summary: "Get an app", Params: slugPath(), Out: access.App{}, Errors: missing,
		}, handle: (*API).getApp},
		{Operation: api.Operation{
			Route: "PATCH /host/v1/apps/{slug}", ID: "changeApp", Summary: "Change an app", Words: "Settings that the body does not name stay.",
			Params: slugPath(), In: access.App{}, Out: access.App{}, Errors: missing,
		}, handle: (*API).changeApp},
		{Operation: api.Operation{
			Route: "POST /host/v1/apps/{slug}/test-event", ID: "testEvent", Summary: "Send a test event",
			Words:  "A marked NEW_CHATBOT_MESSAGE goes to the event URL now. 412: there is none.",
			Params: slugPath(), Out: tested{}, Errors: []status.Kind{status.NotFound, status.FailedPrecondition},
		}, handle: (*API).testEvent},
		{Operation: api.Operation{
			Route: "GET /host/v1/apps/{slug}/signing-secrets", ID: "listSigningSecrets", Summary: "List an app's signing secrets",
			Params: slugPath(), Out: secretPage{}, Errors: missing,
		}, handle: (*API).listSecrets},
		{Operation: api.Operation{
			Route: "POST /host/v1/apps/{slug}/signing-secrets", ID: "addSigningSecret", Summary: "Add a signing secret",
			Params: slugPath(), In: newSecret{}, Out: signingSecret{}, Errors: missing,
		}, handle: (*API).addSecret},
		{Operation: api.Operation{
			Route: "GET /host/v1/apps/{slug}/keys", ID: "listKeys", Summary: "List an app's API keys", Words: "Revoked ones included.",
			Params: append(slugPath(), api.After()), Out: keyPage{}, Errors: paged,
		}, handle: (*API).listKeys},
		{Operation: api.Operation{
			Route: "POST /host/v1/apps/{slug}/keys", ID: "createKey", Summary: "Make an API key", Words: "It is shown this once.",
			Params: slugPath(), In: newKey{}, Out: createdKey{}, Errors: missing,
		}, handle: (*API).createKey},
		{Operation: api.Operation{
			Route: "DELETE /host/v1/apps/{slug}/keys/{id}", ID: "revokeKey", Summary: "Revoke an API key", Words: "At once, on every node.",
			Params: append(slugPath(), path("id", "The key.")...), Out: api.Empty{}, Errors: missing,
		}, handle: (*API).revokeKey},
		{Operation: api.Operation{
			Route: "POST /host/v1/apps/{slug}/client-secret", ID: "newClientSecret", Summary: "Replace an app's OAuth client secret", Words: "It is shown this once.",
			Params: slugPath(), Out: clientSecret{}, Errors: missing,
		}, handle: (*API).newClientSecret},
		{Operation: api.Operation{
			Route: "GET /host/v1/apps/{slug}/subscriptions", ID: "listSubscriptions", Summary: "List an app's subscriptions",
			Params: append(slugPath(), api.After()), Out: subscriptionPage{}, Errors: paged,
		}, handle: (*API).listSubscriptions},
	}
}

func deliveryRoutes() []route {
	delivered := path("id", "EVENT-APP: the `webhook-id` of its attempts.")
	return []route{
		{Operation: api.Operation{
			Route: "GET /host/v1/deliveries", ID: "listDeliveries", Summary: "List deliveries", Words: "Newest first.",
			Params: []api.Param{
				{Name: "app", Schema: schema.Text("Of this app.")},
				{Name: "state", Schema: schema.Text("In this state.").One(schema.Values(delivery.States()...)...)},
				{Name: "event", Schema: schema.Text("Of the event with this id.")},
				api.After(),
			},
			Out: deliveryPage{}, Errors: []status.Kind{status.Invalid},
		}, handle: (*API).listDeliveries},
		{Operation: api.Operation{
			Route: "GET /host/v1/deliveries/{id}", ID: "getDelivery", Summary: "Get a delivery with its attempts",
			Params: delivered, Out: deliveryWithLog{}, Errors: []status.Kind{status.NotFound},
		}, handle: (*API).getDelivery},
		{Operation: api.Operation{
			Route: "POST /host/v1/deliveries/{id}/redeliver", ID: "redeliver", Summary: "Send a delivery again",
			Params: delivered, Out: deliveryRow{}, Errors: []status.Kind{status.NotFound, status.FailedPrecondition},
		}, handle: (*API).redeliver},
		{Operation: api.Operation{
			Route: "POST /host/v1/redeliveries", ID: "redeliverAll", Summary: "Send many deliveries again",
			In: redelivery{}, Out: redelivering{}, Errors: []status.Kind{status.NotFound},
		}, handle: (*API).redeliverAll},
		{Operation: api.Operation{
			Route: "GET /host/v1/events/{id}", ID: "getEvent", Summary: "See what became of an event",
			Params: path("id", "The event."), Out: happened{}, Errors: []status.Kind{status.NotFound},
		}, handle: (*API).getEvent},
	}
}

func panelRoutes() []route {
	return []route{
		{Operation: api.Operation{
			Route: "POST /host/v1/operators", ID: "createOperator", Summary: "Make an operator of the panel",
			In: newOperator{}, Out: operator{}, Errors: []status.Kind{status.Conflict},
		}, handle: (*API).createOperator},
		{Operation: api.Operation{
			Route: "PUT /host/v1/operators/{name}/password", ID: "setPassword", Summary: "Replace the password of an account", Words: "Its sessions end.",
			Params: path("name", "The account."), In: newPassword{}, Out: operator{}, Errors: []status.Kind{status.NotFound},
		}, handle: (*API).setPassword},
	}
}

func devRoutes() []route {
	return []route{
		{Operation: api.Operation{
			Route: "POST /host/v1/dev/tokens", ID: "issueToken", Summary: "Make an access token without a consent", Words: "The scopes join the user's grant.",
			In: newToken{}, Out: issuedToken{}, Errors: []status.Kind{status.NotFound},
		}, handle: (*API).issueToken},
		{Operation: api.Operation{
			Route: "POST /host/v1/dev/clock", ID: "advanceClock", Summary: "Move the platform's clock",
			Words: "What falls due fires now, in order; it is answered when that has happened.", In: advance{}, Out: clockAnswer{},
		}, handle: (*API).advanceClock},
		{Operation: api.Operation{
			Route: "POST /host/v1/dev/faults", ID: "addFault", Summary: "Make the next calls to apps go wrong",
			In: newFault{}, Out: fault{}, Errors: []status.Kind{status.NotFound, status.FailedPrecondition},
		}, handle: (*API).addFault},
		{Operation: api.Operation{
			Route: "GET /host/v1/dev/faults", ID: "listFaults", Summary: "List what will go wrong", Out: faultPage{},
		}, handle: (*API).listFaults},
		{Operation: api.Operation{
			Route: "DELETE /host/v1/dev/faults", ID: "clearFaults", Summary: "Let nothing go wrong any more", Out: api.Empty{},
		}, handle: (*API).clearFaults},
	}
}

// callTypes choose the calls that a fault spoils.
func callTypes() []string {
	kinds := []string{webhook.AnyWebhook, webhook.AnyCall, string(event.SessionInitialization), string(event.DynamicAction)}
	return append(kinds, schema.Values(event.Types()...)...)
}
