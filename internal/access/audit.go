package access

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

// Action is what somebody did, as the audit log has it.
type Action string

// The actions.
const (
	AppCreated       Action = "app.created"
	AppChanged       Action = "app.changed"
	KeyCreated       Action = "key.created"
	KeyRevoked       Action = "key.revoked"
	ClientSecretMade Action = "client_secret.made"
	SigningSecret    Action = "signing_secret.made"
	GrantRevoked     Action = "grant.revoked"
	Redelivered      Action = "delivery.redelivered"
	AllRedelivered   Action = "deliveries.redelivered"
	AccountCreated   Action = "account.created"
	AccountEnded     Action = "account.ended"
	AccountJoined    Action = "account.joined"
	AccountLeft      Action = "account.left"
	PasswordSet      Action = "password.set"
	InvitationMade   Action = "invitation.made"
	SignedIn         Action = "session.begun"
)

// Note is a line of the audit log. The log only grows; a note is written in the
// transaction of what it tells of.
type Note struct {
	ID     int64
	At     time.Time
	Who    string // an account, or one of the names below
	App    string // "" where it is of none
	Action Action
	Detail string // which settings, keys and so on; never a secret
}

// Who acts where no account does. No account has a name with a space.
const (
	byHost     = "host API"
	byPlatform = "the platform"
)

// maxDetail is the longest detail of a note, in bytes.
const maxDetail = 1000

type actor struct{}

// By says who acts in what is done with the context.
func By(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, actor{}, who)
}

// ByHost says that the marketplace's backend acts.
func ByHost(ctx context.Context) context.Context { return By(ctx, byHost) }

// NoteTx is the part of a transaction that a note needs.
type NoteTx interface {
	NextID() int64
	InsertNote(n Note) error
}

// WriteNote puts what is done on the audit log, beside what it does in the same
// transaction; who does it is in the context.
func WriteNote(ctx context.Context, tx NoteTx, n Note) error {
	who, _ := ctx.Value(actor{}).(string)
	n.ID, n.Who = tx.NextID(), cmp.Or(who, byPlatform)
	if len(n.Detail) > maxDetail {
		n.Detail = strings.ToValidUTF8(n.Detail[:maxDetail], "") + "…"
	}
	return tx.InsertNote(n)
}

func (a *Access) note(ctx context.Context, tx Tx, app string, what Action, detail string) error {
	return WriteNote(ctx, tx, Note{At: a.now(), App: app, Action: what, Detail: detail})
}

// Note puts on the audit log what is about to be done elsewhere.
func (a *Access) Note(ctx context.Context, app string, what Action, detail string) error {
	return a.store.Write(ctx, func(tx Tx) error { return a.note(ctx, tx, app, what, detail) })
}

// Notes returns a page of the audit log, newest first, and the cursor of the
// next; of one app, or of all where app is "".
func (a *Access) Notes(ctx context.Context, app, cursor string) ([]Note, string, error) {
	before, err := event.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	notes, err := a.store.Notes(ctx, app, before, event.Page+1)
	if err != nil {
		return nil, "", err
	}
	notes, next := event.CutPage(notes, func(n Note) string { return event.Cursor(n.ID) })
	return notes, next, nil
}

// changedSettings names the settings in which two apps differ.
func changedSettings(before, after App) (string, error) {
	fields := func(app App) (m map[string]json.RawMessage, err error) {
		b, err := wire.Marshal(app)
		if err != nil {
			return nil, err
		}
		return m, json.Unmarshal(b, &m)
	}
	x, err := fields(before)
	if err != nil {
		return "", err
	}
	y, err := fields(after)
	if err != nil {
		return "", err
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(y)) {
		if !bytes.Equal(x[name], y[name]) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", "), nil
}
