package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/wire"
)

// Access returns the ledger as package access needs it.
func (s *Store) Access() access.Store { return accessStore{s} }

type accessStore struct{ *Store }

// Write implements access.Store.
func (s accessStore) Write(ctx context.Context, f func(access.Tx) error) error {
	return s.write(ctx, func(tx *Tx) error { return f(tx) })
}

var _ access.Tx = (*Tx)(nil)

const appColumns = `slug, settings, sealed_key, created_at, updated_at`

func scanApp(r scanner) (access.App, error) {
	var slug, settings string
	var sealed []byte
	var created, updated int64
	if err := r.Scan(&slug, &settings, &sealed, &created, &updated); err != nil {
		return access.App{}, err
	}
	a := access.NewApp()
	if err := json.Unmarshal([]byte(settings), &a); err != nil {
		return access.App{}, fmt.Errorf("settings of app %s: %w", slug, err)
	}
	a.SealedKey, a.CreatedAt, a.UpdatedAt = sealed, moment(created), moment(updated)
	return a, nil
}

func app(ctx context.Context, db querier, slug string) (access.App, bool, error) {
	return one(rows(ctx, db, scanApp, `SELECT `+appColumns+` FROM apps WHERE slug = $1`, slug))
}

// one takes the first of a list.
func one[T any](list []T, err error) (T, bool, error) {
	if err != nil || len(list) == 0 {
		var none T
		return none, false, err
	}
	return list[0], true, nil
}

// App returns an app.
func (s *Store) App(ctx context.Context, slug string) (access.App, bool, error) {
	return app(ctx, &s.reading, slug)
}

// App returns an app.
func (tx *Tx) App(slug string) (access.App, bool, error) { return app(tx.ctx, tx, slug) }

// Apps returns apps by slug.
func (s *Store) Apps(ctx context.Context, after string, limit int) ([]access.App, error) {
	return rows(ctx, &s.reading, scanApp,
		`SELECT `+appColumns+` FROM apps WHERE slug > $1 ORDER BY slug LIMIT $2`, after, limit)
}

// settings is an app without its identification key, which is kept sealed.
func settings(a access.App) (string, error) {
	a.IdentificationKey = ""
	b, err := wire.Marshal(a)
	return string(b), err
}

// InsertApp stores a new app.
func (tx *Tx) InsertApp(a access.App) error {
	text, err := settings(a)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO apps (slug, settings, sealed_key, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)`,
		a.Slug, text, a.SealedKey, micros(a.CreatedAt), micros(a.UpdatedAt))
}

// UpdateApp replaces an app's settings.
func (tx *Tx) UpdateApp(a access.App) error {
	text, err := settings(a)
	if err != nil {
		return err
	}
	if err := tx.change(delivery.AppChanged, a.Slug); err != nil {
		return err
	}
	return tx.run(`UPDATE apps SET settings = $2, sealed_key = $3, updated_at = $4 WHERE slug = $1`,
		a.Slug, text, a.SealedKey, micros(a.UpdatedAt))
}

// SetClientSecret replaces the hash of an app's client secret.
func (tx *Tx) SetClientSecret(app string, hash []byte, now time.Time) error {
	return tx.run(`UPDATE apps SET client_secret = $2, updated_at = $3 WHERE slug = $1`, app, hash, micros(now))
}

const keyColumns = `k.id, k.app, k.title, k.prefix, k.permissions, k.created_at, k.last_used_at, k.revoked_at, a.settings`

func scanKey(r scanner) (access.Key, error) {
	var k access.Key
	var permissions, settings string
	var created, used, revoked int64
	err := r.Scan(&k.ID, &k.App, &k.Title, &k.Prefix, &permissions, &created, &used, &revoked, &settings)
	if err != nil {
		return k, err
	}
	k.CreatedAt, k.LastUsedAt, k.RevokedAt = moment(created), moment(used), moment(revoked)
	if err := json.Unmarshal([]byte(permissions), &k.Permissions); err != nil {
		return k, fmt.Errorf("permissions of key %d: %w", k.ID, err)
	}
	var a struct {
		Status      access.AppStatus    `json:"status"`
		Permissions []access.Permission `json:"permissions"`
		EventURL    string              `json:"event_url"`
		PerMinute   int64               `json:"per_minute"`
		PerDay      int64               `json:"per_day"`
	}
	if err := json.Unmarshal([]byte(settings), &a); err != nil {
		return k, fmt.Errorf("settings of app %s: %w", k.App, err)
	}
	k.AppStatus, k.AppPermissions, k.AppEventURL = a.Status, a.Permissions, a.EventURL != ""
	k.PerMinute, k.PerDay = a.PerMinute, a.PerDay
	return k, nil
}

// KeyByHash returns the key with a hash, revoked or not, with what
// authentication needs of its app.
func (s *Store) KeyByHash(ctx context.Context, hash []byte) (access.Key, bool, error) {
	return one(rows(ctx, &s.reading, scanKey,
		`SELECT `+keyColumns+` FROM api_keys k JOIN apps a ON a.slug = k.app WHERE k.hash = $1`, hash))
}

// Keys returns the app's keys by id.
func (s *Store) Keys(ctx context.Context, app string, after int64, limit int) ([]access.Key, error) {
	return rows(ctx, &s.reading, scanKey,
		`SELECT `+keyColumns+` FROM api_keys k JOIN apps a ON a.slug = k.app
		WHERE k.app = $1 AND k.id > $2 ORDER BY k.id LIMIT $3`, app, after, limit)
}

// InsertKey stores a new key.
func (tx *Tx) InsertKey(k access.Key) error {
	permissions, err := list(k.Permissions)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO api_keys (id, app, title, prefix, hash, permissions, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		k.ID, k.App, k.Title, k.Prefix, k.Hash, permissions, micros(k.CreatedAt))
}

// RevokeKey ends a key; found says whether the app has it.
func (tx *Tx) RevokeKey(app string, id int64, now time.Time) (found bool, err error) {
	n, err := tx.exec(`UPDATE api_keys SET revoked_at = CASE WHEN revoked_at = 0 THEN $3 ELSE revoked_at END
		WHERE app = $1 AND id = $2`, app, id, micros(now))
	if err != nil || n == 0 {
		return false, err
	}
	return true, tx.change(delivery.AppChanged, app)
}

// TouchKey notes when a key was last used.
func (tx *Tx) TouchKey(id int64, now time.Time) error {
	return tx.run(`UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2`, id, micros(now))
}

// InsertSecret stores a signing secret.
func (tx *Tx) InsertSecret(s access.Secret) error {
	if err := tx.change(delivery.AppChanged, s.App); err != nil {
		return err
	}
	return tx.run(`INSERT INTO signing_secrets (id, app, sealed, created_at, ends_at) VALUES ($1, $2, $3, $4, $5)`,
		s.ID, s.App, s.Sealed, micros(s.CreatedAt), micros(s.EndsAt))
}

// EndSecrets gives the app's other secrets an end, where theirs is later.
func (tx *Tx) EndSecrets(app string, except int64, at time.Time) error {
	return tx.run(`UPDATE signing_secrets SET ends_at = $3
		WHERE app = $1 AND id <> $2 AND (ends_at = 0 OR ends_at > $3)`, app, except, micros(at))
}

func scanSecret(r scanner) (access.Secret, error) {
	var s access.Secret
	var created, ends int64
	err := r.Scan(&s.ID, &s.App, &s.Sealed, &created, &ends)
	s.CreatedAt, s.EndsAt = moment(created), moment(ends)
	return s, err
}

// Secrets returns the app's signing secrets that have not ended, newest first.
func (s *Store) Secrets(ctx context.Context, app string, now time.Time) ([]access.Secret, error) {
	return rows(ctx, &s.reading, scanSecret,
		`SELECT id, app, sealed, created_at, ends_at FROM signing_secrets
		WHERE app = $1 AND (ends_at = 0 OR ends_at > $2) ORDER BY id DESC`, app, micros(now))
}

// InsertToken stores a new access token.
func (tx *Tx) InsertToken(t access.Token) error {
	scopes, err := list(t.Scopes)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO access_tokens (id, hash, app, user_id, grant_id, scopes, family, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		t.ID, t.Hash, t.App, t.User, t.Grant, scopes, t.Family, micros(t.CreatedAt), micros(t.ExpiresAt))
}

// ExpireTokens implements access.Tx.
func (tx *Tx) ExpireTokens(app, user string, now time.Time) (int64, error) {
	return tx.exec(`UPDATE access_tokens SET expires_at = $3 WHERE app = $1 AND user_id = $2 AND expires_at > $3 AND revoked_at = 0`,
		app, user, micros(now))
}

func scanToken(r scanner) (access.Token, error) {
	var t access.Token
	var scopes string
	var created, expires, revoked, ended int64
	if err := r.Scan(&t.ID, &t.App, &t.User, &t.Grant, &scopes, &created, &expires, &revoked, &ended); err != nil {
		return t, err
	}
	t.CreatedAt, t.ExpiresAt, t.Revoked = moment(created), moment(expires), revoked != 0 || ended != 0
	return t, json.Unmarshal([]byte(scopes), &t.Scopes)
}

// TokenByHash returns the access token with a hash, alive or not.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (access.Token, bool, error) {
	return one(rows(ctx, &s.reading, scanToken,
		`SELECT t.id, t.app, t.user_id, t.grant_id, t.scopes, t.created_at, t.expires_at, t.revoked_at, g.revoked_at
		FROM access_tokens t JOIN grants g ON g.id = t.grant_id WHERE t.hash = $1`, hash))
}

const grantColumns = `id, app, user_id, scopes, granted_at`

func scanGrant(r scanner) (access.Grant, error) {
	var g access.Grant
	var scopes string
	var granted int64
	if err := r.Scan(&g.ID, &g.App, &g.User, &scopes, &granted); err != nil {
		return g, err
	}
	g.GrantedAt = moment(granted)
	return g, json.Unmarshal([]byte(scopes), &g.Scopes)
}

// LiveGrant returns what a user grants an app.
func (tx *Tx) LiveGrant(app, user string) (access.Grant, bool, error) {
	return one(rows(tx.ctx, tx, scanGrant,
		`SELECT `+grantColumns+` FROM grants WHERE user_id = $1 AND app = $2 AND revoked_at = 0`, user, app))
}

// RevokedGrant implements access.Tx.
func (tx *Tx) RevokedGrant(app, user string) (id int64, ok bool, err error) {
	ok, err = row(tx.ctx, tx, `SELECT id FROM grants WHERE user_id = $1 AND app = $2 AND revoked_at <> 0 ORDER BY id DESC LIMIT 1`,
		[]any{user, app}, &id)
	return id, ok, err
}

// Grants returns what a user grants, by app.
func (s *Store) Grants(ctx context.Context, user string) ([]access.Grant, error) {
	return rows(ctx, &s.reading, scanGrant,
		`SELECT `+grantColumns+` FROM grants WHERE user_id = $1 AND revoked_at = 0 ORDER BY app`, user)
}

// InsertGrant stores a new grant.
func (tx *Tx) InsertGrant(g access.Grant) error {
	scopes, err := list(g.Scopes)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO grants (id, app, user_id, scopes, granted_at) VALUES ($1, $2, $3, $4, $5)`,
		g.ID, g.App, g.User, scopes, micros(g.GrantedAt))
}

// UpdateGrant replaces a live grant's scopes.
func (tx *Tx) UpdateGrant(g access.Grant) error {
	scopes, err := list(g.Scopes)
	if err != nil {
		return err
	}
	return tx.run(`UPDATE grants SET scopes = $2 WHERE id = $1 AND revoked_at = 0`, g.ID, scopes)
}

// RevokeGrant ends a grant, and with it everything that rests on it.
func (tx *Tx) RevokeGrant(id int64, now time.Time) error {
	if err := tx.changeID(delivery.GrantRevoked, id); err != nil {
		return err
	}
	return tx.run(`UPDATE grants SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0`, id, micros(now))
}
