package access

import (
	"context"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

// Grant is what one user gave one app: the union of the consents.
type Grant struct {
	ID        int64
	App       string
	User      string
	Scopes    Scopes
	GrantedAt time.Time
}

// GrantScopes returns the user's live grant to the app, grown by scopes.
func (a *Access) GrantScopes(tx Tx, app, user string, scopes Scopes) (Grant, error) {
	g, ok, err := tx.LiveGrant(app, user)
	if err != nil {
		return Grant{}, err
	}
	if !ok {
		g = Grant{ID: tx.NextID(), App: app, User: user, Scopes: scopes, GrantedAt: a.now()}
		return g, tx.InsertGrant(g)
	}
	union := g.Scopes.Union(scopes)
	if len(union) == len(g.Scopes) {
		return g, nil
	}
	g.Scopes = union
	return g, tx.UpdateGrant(g)
}

// Grants returns the user's live grants.
func (a *Access) Grants(ctx context.Context, user string) ([]Grant, error) {
	return a.store.Grants(ctx, user)
}

// AppGrants returns a page of the app's live grants, and the cursor of the next.
func (a *Access) AppGrants(ctx context.Context, app, cursor string) ([]Grant, string, error) {
	after, err := event.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	grants, err := a.store.AppGrants(ctx, app, after, event.Page+1)
	if err != nil {
		return nil, "", err
	}
	grants, next := event.CutPage(grants, func(g Grant) string { return event.Cursor(g.ID) })
	return grants, next, nil
}

// revocation is the payload of USER_ACCESS_REVOCATION.
type revocation struct {
	UserID string `json:"user_id"`
}

// Revoke takes an app's access to a user away: the grant, its tokens and its
// subscriptions end, and one event says so where the grant asked for it, all
// in one transaction. When Revoke returns, nothing that rests on the grant is
// being sent. Revoking what is not there is no error. Contract: section 7.
func (a *Access) Revoke(ctx context.Context, user, app string) error {
	var revoked int64
	err := a.store.Write(ctx, func(tx Tx) error {
		g, ok, err := tx.LiveGrant(app, user)
		if err != nil {
			return err
		}
		if !ok {
			// A repeat is answered no earlier than the call that revoked.
			revoked, _, err = tx.RevokedGrant(app, user)
			return err
		}
		revoked = g.ID
		payload, err := wire.Marshal(revocation{UserID: a.UserID(app, user)})
		if err != nil {
			return err
		}
		if event.TellsOfRevocation(func(scope string) bool { return g.Scopes.Holds(scope, "") }) {
			// Before the grant ends: the metadata to echo is that of a
			// subscription which ends with it.
			if _, err := event.Emit(tx, event.Event{
				Type: event.UserAccessRevocation, At: a.now(), Key: "grant " + strconv.FormatInt(g.ID, 10),
				Payload: payload, App: app, User: user,
			}); err != nil {
				return err
			}
		}
		if err := tx.RevokeGrant(g.ID, a.now()); err != nil {
			return err
		}
		return a.note(ctx, tx, app, GrantRevoked, a.UserID(app, user))
	})
	if err != nil || revoked == 0 {
		return err
	}
	return a.silence(context.WithoutCancel(ctx), revoked)
}
