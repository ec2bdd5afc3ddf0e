package event

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// MaxMetadata is the largest metadata of a subscription, in bytes of JSON
// without white space.
const MaxMetadata = 4 << 10

// Page is how many things a list holds.
const Page = 100

// Holder is the access token that a subscription is made with: whose it is,
// until when it lives, and what it allows.
type Holder struct {
	App       string
	User      string
	Token     int64
	Grant     int64
	ExpiresAt time.Time
	EventURL  bool // the app has one
	// Holds says whether the token carries a scope, with an identifier where
	// the scope takes one.
	Holds func(scope, identifier string) bool
}

// Registration is what an app asks for.
type Registration struct {
	Type     Type        `json:"event_type"`
	Resource string      `json:"event_resource_id"` // "" for every resource
	Metadata wire.Object `json:"metadata"`
}

// Subscriptions registers, lists and ends subscriptions.
type Subscriptions struct {
	store Store
	now   func() time.Time
}

// SubscriptionsOptions of Subscriptions.
type SubscriptionsOptions struct {
	Store Store
	Now   func() time.Time // default time.Now
}

// NewSubscriptions returns the rules of subscriptions over a store.
func NewSubscriptions(o SubscriptionsOptions) (*Subscriptions, error) {
	if o.Store == nil {
		return nil, errors.New("event: Store is needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Subscriptions{store: o.Store, now: o.Now}, nil
}

// Register makes or replaces a subscription. Errors: Invalid for the body,
// PermissionDenied for a missing scope or another's post, NotFound for an
// unknown post, FailedPrecondition without an event URL, Unauthenticated when
// the token died meanwhile.
func (s *Subscriptions) Register(ctx context.Context, h Holder, r Registration) error {
	if err := wire.Enum("event_type", r.Type, Types()...); err != nil {
		return err
	}
	if len(r.Metadata) > MaxMetadata {
		return status.New(status.Invalid, "metadata: %d bytes of JSON, want at most %d", len(r.Metadata), MaxMetadata)
	}
	if kinds[r.Type].byDefault {
		r.Resource = "" // ignored: the app hears all of them anyway
	} else if r.Resource != "" {
		if err := wire.CheckID("event_resource_id", r.Resource); err != nil {
			return err
		}
	}
	if err := mayHear(h, r); err != nil {
		return err
	}
	if r.Resource != "" {
		if err := s.owns(ctx, h.User, r.Resource); err != nil {
			return err
		}
	}
	if !h.EventURL {
		return status.New(status.FailedPrecondition, "the app has no event URL; set event_url, then register again")
	}
	alive, err := s.store.Register(ctx, Subscription{
		App: h.App, User: h.User, Type: r.Type, Resource: r.Resource, Metadata: r.Metadata,
		Token: h.Token, Grant: h.Grant, At: s.now(), ExpiresAt: h.ExpiresAt,
	}, s.now())
	if err != nil {
		return err
	}
	if !alive {
		return status.New(status.Unauthenticated, "the access token has expired or was revoked; get a new one")
	}
	return nil
}

// mayHear checks the token's scopes against the contract's table.
func mayHear(h Holder, r Registration) error {
	lacks := func(scopes string) error {
		return status.New(status.PermissionDenied, "token lacks %s", scopes)
	}
	switch r.Type {
	case NewMessageOnPost:
		all := h.Holds(scopeAllConversations, "")
		if r.Resource == "" && !all {
			return lacks(scopeAllConversations + ", which listening to every post needs")
		}
		if !all && !h.Holds(scopePostConversations, r.Resource) {
			return lacks(scopePostConversations + "." + r.Resource + " or " + scopeAllConversations)
		}
	case PostUpdate:
		if !h.Holds(scopeUserPosts, "") {
			return lacks(scopeUserPosts)
		}
	case UserAccessRevocation:
		for _, scope := range []string{scopeRevocation, scopeUserID} {
			if !h.Holds(scope, "") {
				return lacks(scope + "; " + string(r.Type) + " needs " + scopeRevocation + " and " + scopeUserID)
			}
		}
	case NewChatbotMessage, PaymentTransaction, SessionInitialization, DynamicAction:
	}
	return nil
}

func (s *Subscriptions) owns(ctx context.Context, user, post string) error {
	owner, ok, err := s.store.PostOwner(ctx, post)
	switch {
	case err != nil:
		return err
	case !ok:
		return status.New(status.NotFound, "event_resource_id: there is no post %q", post)
	case owner != user:
		return status.New(status.PermissionDenied, "event_resource_id: post %q is not the token user's own", post)
	default:
		return nil
	}
}

// List returns a page of the app's live subscriptions and the cursor of the
// next, "" at the end.
func (s *Subscriptions) List(ctx context.Context, app, cursor string) ([]Subscription, string, error) {
	after, err := ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	list, err := s.store.AppSubscriptions(ctx, app, after, Page+1, s.now())
	if err != nil {
		return nil, "", err
	}
	list, next := CutPage(list, func(sub Subscription) string { return Cursor(sub.ID) })
	return list, next, nil
}

// CutPage makes a page of a list that was asked for one entry more, so as to
// know whether there is a next page; next is the cursor of the page's last
// entry then, and "" otherwise.
func CutPage[T any](list []T, cursor func(T) string) (page []T, next string) {
	if len(list) <= Page {
		return list, ""
	}
	return list[:Page], cursor(list[Page-1])
}

// Cursor writes what ParseCursor reads.
func Cursor(number int64) string { return strconv.FormatInt(number, 10) }

// ParseCursor reads the number that a list gave as next; "" is the beginning.
func ParseCursor(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	after, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || after < 0 {
		return 0, status.New(status.Invalid, "after: not a cursor; use the value of next")
	}
	return after, nil
}

// End ends one of the app's own subscriptions.
func (s *Subscriptions) End(ctx context.Context, app, id string) error {
	number, err := strconv.ParseInt(id, 10, 64)
	if err == nil {
		var ended bool
		if ended, err = s.store.EndSubscription(ctx, app, number, s.now()); err != nil {
			return err
		}
		if ended {
			return nil
		}
	}
	return status.New(status.NotFound, "subscription %q: no such subscription of this app", id)
}

// TellsOfRevocation says whether a grant with these scopes is told of its end.
func TellsOfRevocation(holds func(scope string) bool) bool {
	return holds(scopeRevocation) && holds(scopeUserID)
}
