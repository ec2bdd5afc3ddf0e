package access

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// Permission is what an API key lets its holder do.
type Permission string

// The permissions (contract, section 2).
const (
	RegisterSubscription Permission = "EVENTS_REGISTER_SUBSCRIPTION"
	SendEvents           Permission = "EVENTS_SEND"
	SendMessages         Permission = "CHAT_SEND_MESSAGE_OAUTH"
	SendAsBot            Permission = "CHAT_BOT_SEND_MESSAGE"
	ReadConversation     Permission = "CHAT_READ_CONVERSATION"
	UploadMedia          Permission = "CHAT_UPLOAD_MEDIA"
	RetrieveUser         Permission = "USER_RETRIEVE"
	GetPost              Permission = "GET_POST"
)

// Permissions lists all of them.
func Permissions() []Permission {
	return []Permission{
		RegisterSubscription, SendEvents, SendMessages, SendAsBot,
		ReadConversation, UploadMedia, RetrieveUser, GetPost,
	}
}

// CheckPermissions refuses a list with an unknown permission.
func CheckPermissions(field string, list []Permission) error {
	for i, p := range list {
		if err := wire.Enum(fmt.Sprintf("%s[%d]", field, i), p, Permissions()...); err != nil {
			return err
		}
	}
	return nil
}

// keyPrefix makes an API key readable for people and for secret scanners.
const keyPrefix = "okk_"

// shownOfKey is how much of a key is kept readable, in characters.
const shownOfKey = len(keyPrefix) + 4

// touchEvery is how exact a key's last-used time is.
const touchEvery = time.Minute

// Key is an API key of an app.
type Key struct {
	ID          int64
	App         string
	Title       string
	Prefix      string // its first characters, to tell it from others
	Hash        []byte
	Permissions []Permission
	CreatedAt   time.Time
	LastUsedAt  time.Time // to the minute; zero: never
	RevokedAt   time.Time // zero: alive

	// What authentication needs of the app, read with the key.
	AppStatus      AppStatus
	AppPermissions []Permission
	AppEventURL    bool
	PerMinute      int64 // calls; 0: no limit
	PerDay         int64
}

// CreateKey makes a key with some of the app's permissions and returns it with
// its text, which is shown this once.
func (a *Access) CreateKey(ctx context.Context, app, title string, permissions []Permission) (Key, string, error) {
	if err := wire.MaxText("title", title, maxShort); err != nil {
		return Key{}, "", err
	}
	if err := CheckPermissions("permissions", permissions); err != nil {
		return Key{}, "", err
	}
	text := NewSecret(keyPrefix)
	k := Key{
		App: app, Title: title, Prefix: text[:shownOfKey], Hash: hash(text),
		Permissions: permissions, CreatedAt: a.now(),
	}
	err := a.store.Write(ctx, func(tx Tx) error {
		owner, ok, err := tx.App(app)
		if err != nil || !ok {
			return errOr(err, noApp(app))
		}
		for i, p := range permissions {
			if !slices.Contains(owner.Permissions, p) {
				return status.New(status.Invalid, "permissions[%d]: the app itself lacks %s", i, p)
			}
		}
		k.ID = tx.NextID()
		if err := tx.InsertKey(k); err != nil {
			return err
		}
		return a.note(ctx, tx, app, KeyCreated, k.Prefix+"… "+title)
	})
	return k, text, err
}

// Keys returns a page of the app's keys, revoked ones included.
func (a *Access) Keys(ctx context.Context, app, cursor string) ([]Key, string, error) {
	after, err := event.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	if _, err := a.App(ctx, app); err != nil {
		return nil, "", err
	}
	keys, err := a.store.Keys(ctx, app, after, event.Page+1)
	if err != nil {
		return nil, "", err
	}
	keys, next := event.CutPage(keys, func(k Key) string { return event.Cursor(k.ID) })
	return keys, next, nil
}

// RevokeKey ends a key at once. Ending one that has ended is no error.
func (a *Access) RevokeKey(ctx context.Context, app, id string) error {
	unknown := status.New(status.NotFound, "key %q: the app has no such key", id)
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return unknown
	}
	err = a.store.Write(ctx, func(tx Tx) error {
		found, err := tx.RevokeKey(app, number, a.now())
		if err != nil {
			return err
		}
		if !found {
			return unknown
		}
		return a.note(ctx, tx, app, KeyRevoked, id)
	})
	a.Forget(app)
	return err
}

const (
	// copyTTL is how long a copy of a key is used: a change on another node
	// takes effect here within it. One on this node does at once.
	copyTTL = time.Second
	// maxCopies bounds the copies.
	maxCopies = 10_000
)

// knownKey is a copy of a key.
type knownKey struct {
	Key
	at time.Time // when it was read, in real time
}

// key returns the key with a hash, from memory where that is fresh enough.
func (a *Access) key(ctx context.Context, hash []byte) (k Key, ok bool, err error) {
	now := time.Now()
	a.mu.Lock()
	known, ok := a.keysKnown[string(hash)]
	changes := a.changes
	a.mu.Unlock()
	if ok && now.Sub(known.at) < copyTTL {
		return known.Key, true, nil
	}
	if k, ok, err = a.store.KeyByHash(ctx, hash); err != nil || !ok {
		return k, false, err
	}
	a.know(hash, k, changes, now)
	return k, true, nil
}

// know keeps a copy of a key, unless something changed since it was read.
func (a *Access) know(hash []byte, k Key, changes int, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes != changes {
		return
	}
	if len(a.keysKnown) >= maxCopies {
		clear(a.keysKnown)
	}
	a.keysKnown[string(hash)] = knownKey{Key: k, at: at}
}

// Authenticate returns the key behind the text of an X-API-Key header.
func (a *Access) Authenticate(ctx context.Context, text string) (Key, error) {
	if text == "" {
		return Key{}, status.New(status.Unauthenticated, "no API key; send it in the header X-API-Key")
	}
	k, ok, err := a.key(ctx, hash(text))
	switch {
	case err != nil:
		return Key{}, err
	case !ok:
		return Key{}, status.New(status.Unauthenticated, "the API key is unknown")
	case !k.RevokedAt.IsZero():
		return Key{}, status.New(status.Unauthenticated, "the API key was revoked")
	case k.AppStatus == Suspended:
		return Key{}, status.New(status.PermissionDenied, "the app is suspended")
	}
	if now := a.now(); now.Sub(k.LastUsedAt) >= touchEvery {
		// Failure policy: go on. A missing last-used time hurts nobody.
		if err := a.store.Write(ctx, func(tx Tx) error { return tx.TouchKey(k.ID, now) }); err != nil {
			a.log.WarnContext(ctx, "the key's last use was not noted", "key", k.ID, "err", err)
		}
		a.Forget(k.App) // its copies have the older time
	}
	return k, nil
}

// May checks a permission: the key has it, and so has its app still.
func (k Key) May(p Permission) error {
	if slices.Contains(k.Permissions, p) && slices.Contains(k.AppPermissions, p) {
		return nil
	}
	return status.New(status.PermissionDenied, "the API key lacks the permission %s", p)
}
