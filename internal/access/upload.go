package access

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

const (
	uploadPrefix = "oku_"
	uploadTTL    = time.Hour
)

// UploadToken lets its holder upload media for an app, for an hour and as long
// as the key lives that it was made with.
type UploadToken struct {
	Hash      []byte
	App       string
	Key       int64
	ExpiresAt time.Time

	// Of the key, read with the token.
	Revoked     bool
	Permissions []Permission
}

// IssueUploadToken makes an upload token and returns its text.
func (a *Access) IssueUploadToken(ctx context.Context, k Key) (string, error) {
	text := NewSecret(uploadPrefix)
	t := UploadToken{Hash: hash(text), App: k.App, Key: k.ID, ExpiresAt: a.now().Add(uploadTTL)}
	return text, a.store.Write(ctx, func(tx Tx) error { return tx.InsertUploadToken(t) })
}

// UploadToken returns the app behind the text of an upload token.
func (a *Access) UploadToken(ctx context.Context, text string) (App, error) {
	refuse := func(problem string) (App, error) {
		return App{}, status.New(status.Unauthenticated, "%s; get one from /experimental/open-platform/chat/upload", problem)
	}
	if text == "" {
		return refuse("no upload token in Authorization: Bearer TOKEN")
	}
	t, ok, err := a.store.UploadTokenByHash(ctx, hash(text))
	switch {
	case err != nil:
		return App{}, err
	case !ok:
		return refuse("the upload token is unknown")
	case t.Revoked:
		return refuse("the API key of the upload token was revoked")
	case !a.now().Before(t.ExpiresAt):
		return refuse("the upload token has expired")
	}
	app, err := a.App(ctx, t.App)
	if err != nil {
		return App{}, err
	}
	if app.Status == Suspended {
		return App{}, status.New(status.PermissionDenied, "the app is suspended")
	}
	return app, Key{Permissions: t.Permissions, AppPermissions: app.Permissions}.May(UploadMedia)
}

// SignLink adds to a path an end and a signature, so that it can be given to
// anybody and changed by nobody.
func (a *Access) SignLink(path string, expires time.Time) (query string) {
	return a.keys.signLink(path, expires.Unix())
}

// CheckLink refuses a link that SignLink has not made, or whose end has come.
func (a *Access) CheckLink(path, expires, signature string) error {
	if !a.keys.linkIs(path, expires, signature) {
		return status.New(status.NotFound, "the link is not one that was given out")
	}
	if a.now().Unix() >= linkEnd(expires) {
		return status.New(status.NotFound, "the link has expired; the conversation has a fresh one")
	}
	return nil
}
