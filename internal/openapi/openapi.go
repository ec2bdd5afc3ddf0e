// Package openapi is the face that apps call: /v1, /v2 and
// /experimental/open-platform, and /upload. It checks the key, its permission and the token,
// in this order, before it looks at a body; the rules are in the domain
// packages. Contract: section 4.
package openapi

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// API answers the calls of apps.
type API struct {
	access        *access.Access
	quotas        *access.Quotas
	subscriptions *event.Subscriptions
	market        *market.Market
	chat          *chat.Chat
	media         *chat.Media
	tail          *delivery.Tail
	log           *slog.Logger
}

// Options of New.
type Options struct {
	Access        *access.Access
	Quotas        *access.Quotas // nil: none are kept
	Subscriptions *event.Subscriptions
	Market        *market.Market
	Chat          *chat.Chat
	Media         *chat.Media
	Tail          *delivery.Tail
	Log           *slog.Logger
	Tracer        trace.Tracer // of calls; default: none
}

// New returns the face's router.
func New(o Options) (*api.Mux, error) {
	if o.Access == nil || o.Subscriptions == nil || o.Market == nil || o.Chat == nil || o.Media == nil || o.Tail == nil || o.Log == nil {
		return nil, errors.New("openapi: every option but Quotas and Tracer is needed")
	}
	a := &API{
		access: o.Access, quotas: o.Quotas, subscriptions: o.Subscriptions, market: o.Market, chat: o.Chat, media: o.Media,
		tail: o.Tail, log: o.Log,
	}
	m := api.NewMux(api.Options{Log: o.Log, Tracer: o.Tracer})
	for _, r := range routes() {
		switch p := access.Permission(r.Permission); {
		case r.raw != nil:
			m.HandleRaw(r.Operation, func(w http.ResponseWriter, req *http.Request) error { return r.raw(a, w, req) })
		case r.user != nil:
			m.Handle(r.Operation, a.forUser(p, func(c call) (any, error) { return r.user(a, c) }))
		default:
			m.Handle(r.Operation, a.forApp(p, func(req *http.Request, k access.Key) (any, error) { return r.app(a, req, k) }))
		}
	}
	return m, nil
}

// forApp is a call that needs a key with a permission.
func (a *API) forApp(p access.Permission, h func(*http.Request, access.Key) (any, error)) api.Handler {
	return func(r *http.Request) (any, error) {
		k, err := a.admit(r, p)
		if err != nil {
			return nil, err
		}
		return h(r, k)
	}
}

// admit returns the key of a call that has one with a permission, and counts the
// call.
func (a *API) admit(r *http.Request, p access.Permission) (access.Key, error) {
	k, err := a.access.Authenticate(r.Context(), r.Header.Get("X-API-Key"))
	if err != nil {
		return k, err
	}
	if a.quotas != nil {
		if err := a.quotas.Spend(r.Context(), k); err != nil {
			return k, err
		}
	}
	return k, k.May(p)
}

// call is a call that acts for a user.
type call struct {
	*http.Request
	key   access.Key
	token access.Token
}

// forUser is a call that needs a key with a permission and a user's token.
func (a *API) forUser(p access.Permission, h func(call) (any, error)) api.Handler {
	return a.forApp(p, func(r *http.Request, k access.Key) (any, error) {
		text := api.Bearer(r)
		if text == "" {
			text = r.Header.Get("X-Access-Token") // the older header
		}
		t, err := a.access.Token(r.Context(), k.App, text)
		if err != nil {
			return nil, err
		}
		return h(call{Request: r, key: k, token: t})
	})
}

func (a *API) subscribe(c call) (any, error) {
	var r event.Registration
	if err := api.Decode(c.Request, &r); err != nil {
		return nil, err
	}
	return api.Empty{}, a.subscriptions.Register(c.Context(), c.token.Holder(c.key), r)
}

// subscription is a subscription as its app sees it.
type subscription struct {
	ID        string      `json:"id"`
	Type      event.Type  `json:"event_type"`
	Resource  *string     `json:"event_resource_id"`
	UserID    string      `json:"user_id"` // the app's own id of the user
	Metadata  wire.Object `json:"metadata"`
	ExpiresAt wire.Time   `json:"expires_at"`
}

type subscriptionPage struct {
	Subscriptions []subscription `json:"subscriptions"`
	Next          *string        `json:"next"`
}

func (a *API) listSubscriptions(r *http.Request, k access.Key) (any, error) {
	subscriptions, next, err := a.subscriptions.List(r.Context(), k.App, r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	out := subscriptionPage{make([]subscription, len(subscriptions)), api.Next(next)}
	for i, s := range subscriptions {
		out.Subscriptions[i] = subscription{
			ID: strconv.FormatInt(s.ID, 10), Type: s.Type, Resource: api.Next(s.Resource),
			UserID: a.access.UserID(s.App, s.User), Metadata: s.Metadata, ExpiresAt: wire.Time{Time: s.ExpiresAt},
		}
	}
	return out, nil
}

func (a *API) endSubscription(r *http.Request, k access.Key) (any, error) {
	return api.Empty{}, a.subscriptions.End(r.Context(), k.App, r.PathValue("id"))
}

// user is the token's user; each field only with its scope.
type user struct {
	UserID string   `json:"user_id,omitempty"`
	Phone  string   `json:"phone_number,omitempty"`
	Phones []string `json:"phone_numbers,omitempty"`
}

func (a *API) getUser(c call) (any, error) {
	if c.Method == http.MethodPost {
		if err := api.Decode(c.Request, &struct{}{}); err != nil {
			return nil, err
		}
	}
	mayID, mayPhone := c.token.Scopes.Holds(access.ScopeUserID, ""), c.token.Scopes.Holds(access.ScopeUserPhone, "")
	if !mayID && !mayPhone {
		return nil, status.New(status.PermissionDenied, "token lacks %s and %s; one of them is needed", access.ScopeUserID, access.ScopeUserPhone)
	}
	var u user
	if mayID {
		u.UserID = a.access.UserID(c.key.App, c.token.User)
	}
	if mayPhone {
		stored, err := a.market.User(c.Context(), c.token.User)
		if err != nil {
			return nil, err
		}
		if stored.Phone != "" {
			u.Phone, u.Phones = stored.Phone, []string{stored.Phone}
		}
	}
	return u, nil
}

func (a *API) getPost(r *http.Request, _ access.Key) (any, error) {
	return a.market.Post(r.Context(), r.PathValue("token"))
}

type postPage struct {
	Posts []market.Listed `json:"posts"`
}

func (a *API) listPosts(c call) (any, error) {
	if err := c.token.Need(access.ScopeUserPosts, ""); err != nil {
		return nil, err
	}
	posts, err := a.market.PostsOf(c.Context(), c.token.User, c.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	return postPage{posts}, nil
}
