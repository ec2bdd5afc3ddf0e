package openapi

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// sent is the answer to a message in a conversation on a post.
type sent struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

func (a *API) sendMessage(c call) (any, error) {
	var m chat.SideMessage
	if err := api.Decode(c.Request, &m); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return sent{http.StatusOK, "the message was sent"}, a.chat.Send(c.Context(), c.token, c.PathValue("id"), m)
}

// inConversation is the answer to a chatbot's message.
type inConversation struct {
	ID string `json:"conversation_id"`
}

func (a *API) sendAsBot(r *http.Request, k access.Key) (any, error) {
	m, err := botMessage(r)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	return inConversation{id}, a.chat.SendAsBot(r.Context(), k.App, id, m)
}

func (a *API) sendAsBotTo(c call) (any, error) {
	m, err := botMessage(c.Request)
	if err != nil {
		return nil, err
	}
	conversation, err := a.chat.SendAsBotTo(c.Context(), c.token, c.PathValue("user"), m)
	return inConversation{conversation}, err
}

func botMessage(r *http.Request) (m chat.BotMessage, err error) {
	if err := api.Decode(r, &m); err != nil {
		return m, err
	}
	return m, m.Check()
}

func (a *API) readConversation(c call) (any, error) {
	return a.chat.Read(c.Context(), c.token, c.PathValue("id"))
}

// sendEvent takes an event in the query, of any generation, and in a JSON body,
// whose fields win.
func (a *API) sendEvent(c call) (any, error) {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if unescaped, e := url.QueryUnescape(c.URL.RawQuery); err != nil || e != nil || !utf8.ValidString(unescaped) {
		return nil, status.New(status.Invalid, "query: it cannot be read; send UTF-8, escaped (RFC 3986)")
	}
	n, err := notification(query)
	if err != nil {
		return nil, err
	}
	if err := api.Decode(c.Request, &n); err != nil {
		return nil, err
	}
	if err := n.Check(); err != nil {
		return nil, err
	}
	return api.Empty{}, a.chat.Notify(c.Context(), c.token, n)
}

// notification reads an event from a query.
func notification(q url.Values) (chat.NewNotification, error) {
	n := chat.NewNotification{
		Message: q.Get("message"), TargetType: chat.TargetType(q.Get("target_type")), Target: q.Get("target_resource_id"),
	}
	for _, prefix := range []string{"primary_button.", "secondary_button."} {
		item, given, err := button(q, prefix)
		if err != nil {
			return n, err
		}
		if given {
			n.Buttons.Items = append(n.Buttons.Items, item)
		}
	}
	return n, nil
}

// button reads a button from a query's dotted names. Clients of that generation
// send every name they know; what is empty counts as absent.
func button(q url.Values, prefix string) (b chat.Item, given bool, err error) {
	b.Title = q.Get(prefix + "title")
	in := prefix + "action."
	b.Action.DirectLink = q.Get(in + "open_direct_link")
	if b.Action.ServerLink, err = queryData(q, in+"open_server_link"); err != nil {
		return b, false, err
	}
	if b.Action.DynamicAction, err = queryData(q, in+"get_dynamic_action"); err != nil {
		return b, false, err
	}
	b.Action.PostPage = queryPost(q, in+"open_post_page")
	b.Action.PostManagePage = queryPost(q, in+"open_post_manage_page")
	return b, b != chat.Item{}, nil
}

func queryPost(q url.Values, name string) *chat.PostRef {
	if token := q.Get(name + ".post_token"); token != "" {
		return &chat.PostRef{Token: token}
	}
	return nil
}

// queryData reads NAME.data[key]=value, as strings.
func queryData(q url.Values, name string) (*chat.Data, error) {
	data := map[string]string{}
	for key, values := range q {
		if inner, ok := strings.CutPrefix(key, name+".data["); ok && strings.HasSuffix(inner, "]") {
			data[strings.TrimSuffix(inner, "]")] = values[0]
		}
	}
	if len(data) == 0 {
		return nil, nil //nolint:nilnil // absent
	}
	object, err := wire.Marshal(data)
	return &chat.Data{Data: object}, err
}
