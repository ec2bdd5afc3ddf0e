// Package access decides who may do what: apps and their API keys,
// permissions, scopes, access tokens, and the grants that users gave. A secret
// is kept only as a hash, or sealed where we must read it again. A change takes
// effect before it is answered. Contract: sections 2, 3, 5 and 7.
//
// The files: app.go, key.go, token.go, grant.go hold one kind of thing each,
// scope.go the catalogue of scopes, keyring.go the cryptography; audit.go says
// who changed what; upload.go lets
// apps upload media.
package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/webhook"
)

// Tx is the part of the store's transaction that access needs. Rows that do
// not exist are reported by ok, not by an error.
type Tx interface {
	event.Tx
	App(slug string) (a App, ok bool, err error)
	InsertApp(a App) error
	UpdateApp(a App) error
	SetClientSecret(app string, hash []byte, now time.Time) error
	InsertKey(k Key) error
	RevokeKey(app string, id int64, now time.Time) (found bool, err error)
	TouchKey(id int64, now time.Time) error
	InsertSecret(s Secret) error
	EndSecrets(app string, except int64, at time.Time) error
	InsertToken(t Token) error
	// ExpireTokens lets the access tokens that an app has of a user end now.
	ExpireTokens(app, user string, now time.Time) (expired int64, err error)
	EnsureUser(id string, now time.Time) error
	LiveGrant(app, user string) (g Grant, ok bool, err error)
	// RevokedGrant returns the id of the newest grant that the user took back.
	RevokedGrant(app, user string) (id int64, ok bool, err error)
	InsertGrant(g Grant) error
	UpdateGrant(g Grant) error
	RevokeGrant(id int64, now time.Time) error
	InsertUploadToken(t UploadToken) error
	InsertNote(n Note) error
}

// Store is the ledger as access needs it.
type Store interface {
	Write(ctx context.Context, f func(Tx) error) error
	App(ctx context.Context, slug string) (a App, ok bool, err error)
	Apps(ctx context.Context, after string, limit int) ([]App, error)
	KeyByHash(ctx context.Context, hash []byte) (k Key, ok bool, err error)
	Keys(ctx context.Context, app string, after int64, limit int) ([]Key, error)
	Secrets(ctx context.Context, app string, now time.Time) ([]Secret, error)
	TokenByHash(ctx context.Context, hash []byte) (t Token, ok bool, err error)
	Grants(ctx context.Context, user string) ([]Grant, error)
	// AppGrants returns the app's live grants with ids above after, ascending.
	AppGrants(ctx context.Context, app string, after int64, limit int) ([]Grant, error)
	// Notes returns the audit log below an id (0: from the newest), newest first;
	// of one app, or of all where app is "".
	Notes(ctx context.Context, app string, before int64, limit int) ([]Note, error)
	UploadTokenByHash(ctx context.Context, hash []byte) (t UploadToken, ok bool, err error)
}

// Access is the rules over a store.
type Access struct {
	store   Store
	keys    *Keyring
	guard   *webhook.Guard
	now     func() time.Time
	log     *slog.Logger
	changed func(app string)
	silence func(ctx context.Context, grant int64) error

	mu        sync.Mutex
	endpoints map[string]endpoint // by app, until it changes
	keysKnown map[string]knownKey // by hash, for as long as copyTTL
	offered   offered
	changes   int // what was read before the last one may be out of date
}

// Options of Access.
type Options struct {
	Store   Store
	Keyring *Keyring
	Guard   *webhook.Guard
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default: discard
	// Changed is told that an app may have to be called otherwise than before.
	Changed func(app string)
	// Silence returns when nothing that rests on the grant is being sent.
	Silence func(ctx context.Context, grant int64) error
}

// New returns the rules of access.
func New(o Options) (*Access, error) {
	if o.Store == nil || o.Keyring == nil || o.Guard == nil || o.Changed == nil || o.Silence == nil {
		return nil, errors.New("access: Store, Keyring, Guard, Changed and Silence are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Access{
		store: o.Store, keys: o.Keyring, guard: o.Guard, now: o.Now, log: o.Log,
		changed: o.Changed, silence: o.Silence, endpoints: map[string]endpoint{}, keysKnown: map[string]knownKey{},
	}, nil
}

// UserID returns the app's own id of a user: always the same, URL-safe, and
// telling nothing about the user to anyone but us.
func (a *Access) UserID(app, user string) string { return a.keys.UserID(app, user) }

var _ delivery.Endpoints = (*Access)(nil)
