// Package extension opens apps inside the chat: which apps a user is offered
// at a place, what happens when one is opened, and what a button does. Where
// that is the app's to say, the app is called while the user waits: session
// initialization and dynamic actions. Such a call has its own time and place,
// apart from the lanes of webhooks, is never retried by itself, and is on the
// app's log. Contract: sections 4, 6 and 8.
package extension

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

// The places that are no touchpoints of apps, as a session's source.
const (
	sourceMessage      = "CHAT_MESSAGE_ACTION"
	sourceNotification = "NOTIFICATION"
)

// touchpointChat is the place whose chatbots are started with the conversation;
// all others with the post, where they stand on one.
const touchpointChat = "CHAT"

// Store is the ledger as extensions need it.
type Store interface {
	Post(ctx context.Context, token string) (p market.Post, ok bool, err error)
	User(ctx context.Context, id string) (u market.User, ok bool, err error)
	// RecordCall puts an attempt of a call on its app's log: a new call when
	// the outcome's event is 0. Of a user who was erased meanwhile it keeps no
	// content.
	RecordCall(ctx context.Context, e event.Event, o delivery.Outcome) (delivery.ID, error)
	// Call returns a call of the log; ok is false for a webhook too.
	Call(ctx context.Context, id delivery.ID) (e event.Event, ok bool, err error)
}

// Extensions is the rules over a store.
type Extensions struct {
	o     Options
	calls map[called]prometheus.Counter
	// underWay makes sure that one app's slowness does not hold everything that
	// we have to wait with.
	underWay *access.Share
}

// Options of Extensions.
type Options struct {
	Store  Store
	Access *access.Access
	Chat   *chat.Chat
	Client *webhook.Client
	Guard  *webhook.Guard
	// Home is where users go back to when the marketplace names no place.
	Home    func() string
	Now     func() time.Time      // default time.Now
	Log     *slog.Logger          // default: discard
	Tracer  trace.Tracer          // of calls; default: none
	Metrics prometheus.Registerer // default: none are shown
}

// New returns the rules of extensions.
func New(o Options) (*Extensions, error) {
	if o.Store == nil || o.Access == nil || o.Chat == nil || o.Client == nil || o.Guard == nil || o.Home == nil {
		return nil, errors.New("extension: Store, Access, Chat, Client, Guard and Home are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Extensions{o: o, calls: newCalls(o.Metrics), underWay: access.NewShare(maxBusy)}, nil
}

// Place is where a user is.
type Place struct {
	Touchpoint   string `json:"touchpoint"`
	User         string `json:"user"`
	Conversation string `json:"conversation_id"` // "" for none
	Post         string `json:"post_token"`      // "" for none
}

// Opening asks for an app to be opened at a place.
type Opening struct {
	Place
	ReturnURL string `json:"return_url"`
}

// spot is a place, looked up.
type spot struct {
	Place
	side      chat.Side
	returnURL string
	post      *market.Post // nil for none
	bot       string       // the app whose chatbot's conversation it is
}

// look checks a place and finds what stands there.
func (x *Extensions) look(ctx context.Context, p Place) (spot, error) {
	s := spot{Place: p}
	if err := wire.CheckID("touchpoint", p.Touchpoint); err != nil {
		return s, err
	}
	if err := wire.CheckID("user", p.User); err != nil {
		return s, err
	}
	if p.Conversation != "" {
		conv, side, err := x.o.Chat.Of(ctx, p.User, p.Conversation)
		if err != nil {
			return s, err
		}
		if p.Post != "" && p.Post != conv.PostToken {
			return s, status.New(status.Invalid, "post_token: conversation %q is not on post %q", p.Conversation, p.Post)
		}
		s.side, s.Post, s.bot = side, conv.PostToken, conv.App
	}
	if s.Post == "" {
		return s, nil
	}
	post, ok, err := x.o.Store.Post(ctx, s.Post)
	switch {
	case err != nil:
		return s, err
	case !ok || post.State == market.Archived:
		return s, market.NoPost("post_token", s.Post)
	}
	s.post = &post
	if s.side == "" {
		if s.side = chat.Buyer; post.Owner == p.User {
			s.side = chat.Seller
		}
	}
	return s, nil
}

// offers says whether an app is offered at a place, by the post's city and
// category; in the conversation with a chatbot only its own app is.
func (s spot) offers(app access.App) bool {
	if s.bot != "" && s.bot != app.Slug {
		return false
	}
	in := func(list []string, value func(market.Post) string) bool {
		return len(list) == 0 || s.post != nil && slices.Contains(list, value(*s.post))
	}
	return in(app.Cities, func(p market.Post) string { return p.City }) &&
		in(app.Categories, func(p market.Post) string { return p.Category })
}

// Group is the apps of one type of service that a user is offered.
type Group struct {
	ServiceType string  `json:"service_type"`
	Apps        []Offer `json:"apps"`
}

// Offer is an app that a user is offered.
type Offer struct {
	Slug     string            `json:"slug"`
	Display  string            `json:"display"`
	Subtitle string            `json:"subtitle"`
	Avatar   string            `json:"avatar"`
	Action   access.OpenAction `json:"action"`
}

// Offered returns the apps that a user is offered at a place, by the type of
// their service.
func (x *Extensions) Offered(ctx context.Context, p Place) ([]Group, error) {
	s, err := x.look(ctx, p)
	if err != nil {
		return nil, err
	}
	apps, err := x.o.Access.Offered(ctx, p.Touchpoint)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(apps, func(a, b access.App) int { return cmp.Compare(a.ServiceType, b.ServiceType) })
	groups := []Group{}
	for _, app := range apps {
		if !s.offers(app) {
			continue
		}
		if n := len(groups); n == 0 || groups[n-1].ServiceType != app.ServiceType {
			groups = append(groups, Group{ServiceType: app.ServiceType})
		}
		action, _ := app.At(p.Touchpoint)
		group := &groups[len(groups)-1]
		group.Apps = append(group.Apps, Offer{
			Slug: app.Slug, Display: app.Display, Subtitle: app.Subtitle, Avatar: app.Avatar, Action: action,
		})
	}
	return groups, nil
}

// Opened is what the marketplace does next: it sends the user to a URL, to a
// post or to a conversation, or shows a text.
type Opened struct {
	URL          string `json:"url,omitempty"`
	Post         string `json:"post_token,omitempty"`
	Conversation string `json:"conversation_id,omitempty"`
	Text         string `json:"text_message,omitempty"`
}

// Open opens an app for a user at a place. Errors: Unavailable, with the reason
// in words, when the app does not answer as it should; FailedPrecondition when
// it is not offered there.
func (x *Extensions) Open(ctx context.Context, slug string, p Place, returnURL string) (Opened, error) {
	if err := checkReturn(returnURL); err != nil {
		return Opened{}, err
	}
	s, err := x.look(ctx, p)
	if err != nil {
		return Opened{}, err
	}
	s.returnURL = x.returnURL(returnURL)
	app, err := x.app(ctx, slug)
	if err != nil {
		return Opened{}, err
	}
	action, ok := app.At(p.Touchpoint)
	if !ok || !s.offers(app) {
		return Opened{}, status.New(status.FailedPrecondition, "app %q is not offered at %s there", slug, wire.Clip(p.Touchpoint))
	}
	switch action {
	case access.StartChatBot:
		conversation, err := x.o.Chat.StartBot(ctx, slug, p.User, s.start())
		return Opened{Conversation: conversation}, err
	case access.DirectLink:
		link, err := s.direct(app)
		return Opened{URL: link}, err
	case access.ServerLink:
	}
	if _, known, err := x.o.Store.User(ctx, p.User); err != nil {
		return Opened{}, err
	} else if !known { // by being named; and to be erased like any other
		if err := x.o.Chat.EnsureUser(ctx, p.User); err != nil {
			return Opened{}, err
		}
	}
	url, err := x.initialize(ctx, app, s, nil)
	return Opened{URL: url}, err
}

// direct is an app's own page, told where it is opened from. The names are
// those that apps of Kenar read; return_url is ours.
func (s spot) direct(app access.App) (string, error) {
	u, err := url.Parse(app.FallbackURL)
	if err != nil || app.FallbackURL == "" {
		return "", status.New(status.FailedPrecondition, "app %q has no fallback_url to be opened at", app.Slug)
	}
	q := u.Query()
	if s.Post != "" {
		q.Set("post_token", s.Post)
	}
	q.Set("completion_url", s.returnURL)
	q.Set("return_url", s.returnURL)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// returnURL is where a user goes back to, also when the marketplace names no
// place.
func (x *Extensions) returnURL(given string) string {
	if given != "" {
		return given
	}
	return x.o.Home()
}

// start is the opening message of a chatbot: what it was started from.
func (s spot) start() string {
	text, id := "/start "+s.Touchpoint, s.Post
	if s.Touchpoint == touchpointChat {
		id = s.Conversation
	}
	if id = cmp.Or(id, s.Post, s.Conversation); id != "" {
		text += " " + id
	}
	return text
}

// app returns an app that may be called.
func (x *Extensions) app(ctx context.Context, slug string) (access.App, error) {
	app, err := x.o.Access.App(ctx, slug)
	switch {
	case err != nil:
		return app, err
	case app.Status == access.Suspended:
		return app, status.New(status.FailedPrecondition, "app %q is suspended", slug)
	case app.Paused:
		return app, status.New(status.FailedPrecondition, "app %q is paused", slug)
	}
	return app, nil
}
