package hostapi

import (
	"net/http"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

func (a *API) putUser(r *http.Request) (any, error) {
	var u market.User
	if err := api.Decode(r, &u); err != nil {
		return nil, err
	}
	u.ID = r.PathValue("user")
	return a.market.PutUser(r.Context(), u)
}

func (a *API) deleteUser(r *http.Request) (any, error) {
	return api.Empty{}, a.market.DeleteUser(r.Context(), r.PathValue("user"))
}

type grant struct {
	App       string        `json:"app"`
	Scopes    access.Scopes `json:"scopes"`
	GrantedAt wire.Time     `json:"granted_at"`
}

type grantList struct {
	Grants []grant `json:"grants"`
}

func (a *API) listGrants(r *http.Request) (any, error) {
	user := r.PathValue("user")
	if err := wire.CheckID("user", user); err != nil {
		return nil, err
	}
	grants, err := a.access.Grants(r.Context(), user)
	if err != nil {
		return nil, err
	}
	out := grantList{make([]grant, len(grants))}
	for i, g := range grants {
		out.Grants[i] = grant{App: g.App, Scopes: g.Scopes, GrantedAt: wire.Time{Time: g.GrantedAt}}
	}
	return out, nil
}

func (a *API) revokeGrant(r *http.Request) (any, error) {
	return api.Empty{}, a.access.Revoke(r.Context(), r.PathValue("user"), r.PathValue("app"))
}

// storedPost is a post with the newest event that it became.
type storedPost struct {
	market.Post
	EventID string `json:"event_id"`
}

func (a *API) putPost(r *http.Request) (any, error) {
	var p market.Post
	if err := api.Decode(r, &p); err != nil {
		return nil, err
	}
	p.Token = r.PathValue("token")
	p, id, err := a.market.PutPost(r.Context(), p)
	return storedPost{p, event.Cursor(id)}, err
}

func (a *API) deletePost(r *http.Request) (any, error) {
	return api.Empty{}, a.market.DeletePost(r.Context(), r.PathValue("token"))
}

func (a *API) putConversation(r *http.Request) (any, error) {
	var c chat.Conversation
	if err := api.Decode(r, &c); err != nil {
		return nil, err
	}
	c.ID = r.PathValue("id")
	return a.chat.PutConversation(r.Context(), c)
}

// blocking says whether a side has blocked the other.
type blocking struct {
	By      chat.Side `json:"by"`
	Blocked *bool     `json:"blocked"`
}

func (a *API) block(r *http.Request) (any, error) {
	var b blocking
	if err := api.Decode(r, &b); err != nil {
		return nil, err
	}
	if b.Blocked == nil {
		return nil, status.New(status.Invalid, "blocked: missing; true or false")
	}
	return b, a.chat.Block(r.Context(), r.PathValue("id"), b.By, *b.Blocked)
}

func (a *API) postMessage(r *http.Request) (any, error) {
	var n chat.NewMessage
	if err := api.Decode(r, &n); err != nil {
		return nil, err
	}
	n.Conversation = r.PathValue("id")
	return a.chat.PutMessage(r.Context(), n)
}

type messagePage struct {
	Messages []chat.Message `json:"messages"`
	Next     *string        `json:"next"`
}

func (a *API) listMessages(r *http.Request) (any, error) {
	messages, next, err := a.chat.Messages(r.Context(), r.PathValue("id"), r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	return messagePage{messages, api.Next(next)}, nil
}

func (a *API) deleteMessage(r *http.Request) (any, error) {
	return api.Empty{}, a.chat.DeleteMessage(r.Context(), r.PathValue("id"))
}

// storedTransaction is a transaction with the newest event that it became.
type storedTransaction struct {
	market.Transaction
	EventID string `json:"event_id"`
}

func (a *API) putTransaction(r *http.Request) (any, error) {
	var t market.Transaction
	if err := api.Decode(r, &t); err != nil {
		return nil, err
	}
	t.ID = r.PathValue("id")
	t, id, err := a.market.PutTransaction(r.Context(), t)
	return storedTransaction{t, event.Cursor(id)}, err
}
