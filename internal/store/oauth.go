package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/openkenar/openkenar/internal/oauth"
)

// OAuth returns the ledger as package oauth needs it.
func (s *Store) OAuth() oauth.Store { return oauthStore{s} }

type oauthStore struct{ *Store }

// Write implements oauth.Store.
func (s oauthStore) Write(ctx context.Context, f func(oauth.Tx) error) error {
	return s.write(ctx, func(tx *Tx) error { return f(tx) })
}

const loginColumns = `hash, app, redirect_uri, scopes, state, code_challenge, browser, expires_at, user_id, decided_at`

func scanLogin(r scanner) (oauth.Login, error) {
	var l oauth.Login
	var scopes string
	var expires, decided int64
	var state *string
	err := r.Scan(&l.Hash, &l.App, &l.RedirectURI, &scopes, &state, &l.CodeChallenge, &l.Browser, &expires, &l.User, &decided)
	if err != nil {
		return l, err
	}
	l.ExpiresAt, l.Decided = moment(expires), decided != 0
	if state != nil { // any text, NUL and broken UTF-8 included
		raw, err := base64.StdEncoding.DecodeString(*state)
		if err != nil {
			return l, err
		}
		text := string(raw)
		l.State = &text
	}
	return l, json.Unmarshal([]byte(scopes), &l.Scopes)
}

// Login returns a login by the hash of its challenge.
func (s *Store) Login(ctx context.Context, hash []byte) (oauth.Login, bool, error) {
	return one(rows(ctx, &s.reading, scanLogin, `SELECT `+loginColumns+` FROM oauth_logins WHERE hash = $1`, hash))
}

// LoginByConsent returns a login by the hash of its consent challenge.
func (s *Store) LoginByConsent(ctx context.Context, hash []byte) (oauth.Login, bool, error) {
	return one(rows(ctx, &s.reading, scanLogin, `SELECT `+loginColumns+` FROM oauth_logins WHERE consent = $1`, hash))
}

// expiredLogins is how many dead logins and codes each new one sweeps out, so
// that strangers who begin logins cannot fill the ledger.
const expiredLogins = 64

// InsertLogin stores a new login.
func (tx *Tx) InsertLogin(l oauth.Login) error {
	if err := tx.run(`DELETE FROM oauth_logins WHERE hash IN
		(SELECT hash FROM oauth_logins WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, micros(tx.store.now()), expiredLogins); err != nil {
		return err
	}
	scopes, err := list(l.Scopes)
	if err != nil {
		return err
	}
	var state *string
	if l.State != nil {
		text := base64.StdEncoding.EncodeToString([]byte(*l.State))
		state = &text
	}
	return tx.run(`INSERT INTO oauth_logins (hash, app, redirect_uri, scopes, state, code_challenge, browser, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		l.Hash, l.App, l.RedirectURI, scopes, state, l.CodeChallenge, l.Browser, micros(l.ExpiresAt))
}

// AcceptLogin implements oauth.Tx.
func (tx *Tx) AcceptLogin(hash []byte, user string, consent []byte, now time.Time) (bool, error) {
	n, err := tx.exec(`UPDATE oauth_logins SET user_id = $2, consent = $3 WHERE hash = $1 AND user_id = '' AND expires_at > $4`,
		hash, user, consent, micros(now))
	return n > 0, err
}

// DecideLogin implements oauth.Tx.
func (tx *Tx) DecideLogin(hash []byte, now time.Time) (bool, error) {
	n, err := tx.exec(`UPDATE oauth_logins SET decided_at = $2 WHERE hash = $1 AND user_id <> '' AND decided_at = 0 AND expires_at > $2`,
		hash, micros(now))
	return n > 0, err
}

// keepCodes is how long a dead code is kept: as long as a refresh token that it
// gave may live. One that comes again says that somebody has stolen it.
const keepCodes = 31 * 24 * time.Hour

// InsertCode stores a new code.
func (tx *Tx) InsertCode(c oauth.Code) error {
	if err := tx.run(`DELETE FROM oauth_codes WHERE hash IN
		(SELECT hash FROM oauth_codes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`,
		micros(tx.store.now().Add(-keepCodes)), expiredLogins); err != nil {
		return err
	}
	scopes, err := list(c.Scopes)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO oauth_codes (hash, app, user_id, grant_id, family, redirect_uri, scopes, code_challenge, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.Hash, c.App, c.User, c.Grant, c.Family, c.RedirectURI, scopes, c.CodeChallenge, micros(c.ExpiresAt))
}

func scanCode(r scanner) (oauth.Code, error) {
	var c oauth.Code
	var scopes string
	var expires, used, revoked int64
	err := r.Scan(&c.Hash, &c.App, &c.User, &c.Grant, &c.Family, &c.RedirectURI, &scopes, &c.CodeChallenge, &expires, &used, &revoked)
	if err != nil {
		return c, err
	}
	c.ExpiresAt, c.Used, c.Revoked = moment(expires), used != 0, revoked != 0
	return c, json.Unmarshal([]byte(scopes), &c.Scopes)
}

// Code returns a code, used or not.
func (tx *Tx) Code(hash []byte) (oauth.Code, bool, error) {
	return one(rows(tx.ctx, tx, scanCode,
		`SELECT c.hash, c.app, c.user_id, c.grant_id, c.family, c.redirect_uri, c.scopes, c.code_challenge, c.expires_at, c.used_at, g.revoked_at
		FROM oauth_codes c JOIN grants g ON g.id = c.grant_id WHERE c.hash = $1`, hash))
}

// UseCode implements oauth.Tx.
func (tx *Tx) UseCode(hash []byte, now time.Time) (bool, error) {
	n, err := tx.exec(`UPDATE oauth_codes SET used_at = $2 WHERE hash = $1 AND used_at = 0`, hash, micros(now))
	return n > 0, err
}

// InsertRefresh stores a new refresh token.
func (tx *Tx) InsertRefresh(r oauth.Refresh) error {
	scopes, err := list(r.Scopes)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO refresh_tokens (id, hash, family, app, user_id, grant_id, scopes, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		r.ID, r.Hash, r.Family, r.App, r.User, r.Grant, scopes, micros(r.ExpiresAt))
}

func scanRefresh(r scanner) (oauth.Refresh, error) {
	var t oauth.Refresh
	var scopes string
	var expires, rotated, revoked, ended int64
	err := r.Scan(&t.ID, &t.Hash, &t.Family, &t.App, &t.User, &t.Grant, &scopes, &expires, &rotated, &revoked, &ended)
	if err != nil {
		return t, err
	}
	t.ExpiresAt, t.RotatedAt, t.Revoked = moment(expires), moment(rotated), revoked != 0 || ended != 0
	return t, json.Unmarshal([]byte(scopes), &t.Scopes)
}

// Refresh returns a refresh token, alive or not.
func (tx *Tx) Refresh(hash []byte) (oauth.Refresh, bool, error) {
	return one(rows(tx.ctx, tx, scanRefresh,
		`SELECT r.id, r.hash, r.family, r.app, r.user_id, r.grant_id, r.scopes, r.expires_at, r.rotated_at, r.revoked_at, g.revoked_at
		FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id WHERE r.hash = $1`, hash))
}

// Rotate implements oauth.Tx.
func (tx *Tx) Rotate(r oauth.Refresh, now, end time.Time) (won bool, err error) {
	n, err := tx.exec(`UPDATE refresh_tokens SET rotated_at = $2 WHERE id = $1 AND rotated_at = 0 AND revoked_at = 0`, r.ID, micros(now))
	if err != nil || n == 0 {
		return false, err
	}
	if err := tx.run(`UPDATE refresh_tokens SET rotated_at = $2 WHERE family = $1 AND rotated_at = 0`, r.Family, micros(now)); err != nil {
		return false, err
	}
	// What has expired of the family can no longer tell of reuse.
	if err := tx.run(`DELETE FROM refresh_tokens WHERE family = $1 AND expires_at < $2`, r.Family, micros(now)); err != nil {
		return false, err
	}
	return true, tx.run(`UPDATE access_tokens SET expires_at = $2 WHERE family = $1 AND family <> 0 AND expires_at > $2`, r.Family, micros(end))
}

// UserExists implements oauth.Tx.
func (tx *Tx) UserExists(id string) (bool, error) {
	_, ok, err := tx.User(id)
	return ok, err
}

// RevokeFamily implements oauth.Tx.
func (tx *Tx) RevokeFamily(family int64, now time.Time) error {
	if err := tx.run(`UPDATE refresh_tokens SET revoked_at = $2 WHERE family = $1 AND revoked_at = 0`, family, micros(now)); err != nil {
		return err
	}
	return tx.run(`UPDATE access_tokens SET revoked_at = $2 WHERE family = $1 AND family <> 0 AND revoked_at = 0`, family, micros(now))
}

// RevokeAccess implements oauth.Tx.
func (tx *Tx) RevokeAccess(app string, hash []byte, now time.Time) error {
	return tx.run(`UPDATE access_tokens SET revoked_at = $3 WHERE hash = $2 AND app = $1 AND revoked_at = 0`, app, hash, micros(now))
}

// ClientSecret implements oauth.Store.
func (s *Store) ClientSecret(ctx context.Context, app string) (hash []byte, err error) {
	_, err = row(ctx, &s.reading, `SELECT client_secret FROM apps WHERE slug = $1`, []any{app}, &hash)
	return hash, err
}

// Resources implements oauth.Store.
func (s *Store) Resources(ctx context.Context, user string, posts, conversations []string) (map[string]string, error) {
	return titles(ctx, &s.reading, user, posts, conversations)
}

// Resources implements oauth.Tx.
func (tx *Tx) Resources(user string, posts, conversations []string) (map[string]string, error) {
	return titles(tx.ctx, tx, user, posts, conversations)
}

// titles returns the titles of those posts and conversations that are the
// user's own.
func titles(ctx context.Context, db querier, user string, posts, conversations []string) (map[string]string, error) {
	own := map[string]string{}
	for _, token := range posts {
		p, ok, err := post(ctx, db, token)
		if err != nil {
			return nil, err
		}
		if ok && p.Owner == user {
			own["post "+token] = cmp.Or(p.Title, token)
		}
	}
	for _, id := range conversations {
		c, ok, err := conversation(ctx, db, id)
		if err != nil {
			return nil, err
		}
		if !ok || user != c.Buyer && user != c.Seller && user != c.User {
			continue
		}
		p, _, err := post(ctx, db, c.PostToken)
		if err != nil {
			return nil, err
		}
		own["conversation "+id] = cmp.Or(p.Title, c.PostToken, c.App)
	}
	return own, nil
}
