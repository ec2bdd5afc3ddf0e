package access

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// tokenPrefix makes an access token readable for people and secret scanners.
const tokenPrefix = "okt_"

// Token is an access token: one app acting for one user.
type Token struct {
	ID        int64
	Hash      []byte
	App       string
	User      string
	Grant     int64
	Scopes    Scopes
	Family    int64 // of the code that it comes from; 0 for none
	CreatedAt time.Time
	ExpiresAt time.Time
	Revoked   bool // itself, or the grant it rests on
}

// Token returns the live token behind the text of an Authorization header. A
// token of another app is as good as none.
func (a *Access) Token(ctx context.Context, app, text string) (Token, error) {
	if text == "" {
		return Token{}, status.New(status.Unauthenticated, "no access token; send it as Authorization: Bearer TOKEN")
	}
	t, ok, err := a.store.TokenByHash(ctx, hash(text))
	switch {
	case err != nil:
		return Token{}, err
	case !ok || t.App != app:
		return Token{}, status.New(status.Unauthenticated, "the access token is unknown to this app")
	case t.Revoked:
		return Token{}, status.New(status.Unauthenticated, "the access token was revoked; ask the user for access again")
	case !a.now().Before(t.ExpiresAt):
		return Token{}, status.New(status.Unauthenticated, "the access token has expired; refresh it")
	default:
		return t, nil
	}
}

// Need returns PermissionDenied unless the token holds the scope.
func (t Token) Need(name, identifier string) error {
	if t.Scopes.Holds(name, identifier) {
		return nil
	}
	if identifier != "" {
		name += scopeIdentifier + identifier
	}
	return status.New(status.PermissionDenied, "token lacks %s", name)
}

// Holder is the token as a subscription's holder.
func (t Token) Holder(k Key) event.Holder {
	return event.Holder{
		App: t.App, User: t.User, Token: t.ID, Grant: t.Grant, ExpiresAt: t.ExpiresAt,
		EventURL: k.AppEventURL, Holds: t.Scopes.Holds,
	}
}

// IssueToken makes a token for a user, whose grant to the app grows by its
// scopes. The text is shown this once.
func (a *Access) IssueToken(ctx context.Context, app, user string, scopes Scopes, ttl time.Duration) (Token, string, error) {
	if err := wire.CheckID("app", app); err != nil {
		return Token{}, "", err
	}
	if err := wire.CheckID("user", user); err != nil {
		return Token{}, "", err
	}
	t := Token{App: app, User: user, Scopes: scopes, ExpiresAt: a.now().Add(ttl)}
	text := ""
	err := a.store.Write(ctx, func(tx Tx) error {
		if _, ok, err := tx.App(app); err != nil || !ok {
			return errOr(err, noApp(app))
		}
		if err := tx.EnsureUser(user, a.now()); err != nil {
			return err
		}
		g, err := a.GrantScopes(tx, app, user, scopes)
		if err != nil {
			return err
		}
		t.Grant = g.ID
		t, text, err = a.InsertToken(tx, t)
		return err
	})
	return t, text, err
}

// ExpireTokens lets the access tokens that an app has of a user expire before
// their time, and the subscriptions with them, and returns how many there were.
// It is for dev mode: apps are to be seen coping with it.
func (a *Access) ExpireTokens(ctx context.Context, app, user string) (expired int64, err error) {
	err = a.store.Write(ctx, func(tx Tx) (err error) {
		expired, err = tx.ExpireTokens(app, user, a.now())
		return err
	})
	return expired, err
}

// InsertToken makes an access token that rests on a grant. The text is shown
// this once.
func (a *Access) InsertToken(tx Tx, t Token) (Token, string, error) {
	text := NewSecret(tokenPrefix)
	t.ID, t.Hash, t.CreatedAt = tx.NextID(), hash(text), a.now()
	return t, text, tx.InsertToken(t)
}
