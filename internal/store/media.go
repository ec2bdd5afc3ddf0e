package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
)

var _ chat.MediaStore = (*Store)(nil)

// InsertUpload stores an upload.
func (s *Store) InsertUpload(ctx context.Context, u chat.Upload) error {
	return s.write(ctx, func(tx *Tx) error {
		return tx.run(`INSERT INTO media (id, app, kind, mime, name, size_bytes, height_px, width_px, created_at, state)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'unsent')`,
			u.ID, u.App, string(u.Kind), u.MIME, u.Name, u.SizeBytes, u.HeightPx, u.WidthPx, micros(u.CreatedAt))
	})
}

// UnsentBytes implements chat.MediaStore.
func (s *Store) UnsentBytes(ctx context.Context, app string) (n int64, err error) {
	_, err = row(ctx, &s.reading, `SELECT CAST(coalesce(sum(size_bytes), 0) AS BIGINT) FROM media WHERE app = $1 AND state = 'unsent'`, []any{app}, &n)
	return n, err
}

func upload(ctx context.Context, db querier, id string) (chat.Upload, bool, error) {
	return one(rows(ctx, db, scanUpload, `SELECT id, app, kind, mime, name, size_bytes, height_px, width_px, created_at
		FROM media WHERE id = $1 AND state <> 'gone'`, id))
}

func scanUpload(r scanner) (u chat.Upload, err error) {
	var created int64
	err = r.Scan(&u.ID, &u.App, &u.Kind, &u.MIME, &u.Name, &u.SizeBytes, &u.HeightPx, &u.WidthPx, &created)
	u.CreatedAt = moment(created)
	return u, err
}

// StoredUpload implements chat.MediaStore.
func (s *Store) StoredUpload(ctx context.Context, id string) (chat.Upload, bool, error) {
	return upload(ctx, &s.reading, id)
}

// Upload implements chat.Tx.
func (tx *Tx) Upload(id string) (chat.Upload, bool, error) { return upload(tx.ctx, tx, id) }

// KeepUpload implements chat.Tx.
func (tx *Tx) KeepUpload(id string) error {
	return tx.run(`UPDATE media SET state = 'sent' WHERE id = $1 AND state = 'unsent'`, id)
}

// GoneUploads implements chat.MediaStore.
func (s *Store) GoneUploads(ctx context.Context, before time.Time, limit int) (ids []string, err error) {
	err = s.write(ctx, func(tx *Tx) error {
		if err := tx.run(`UPDATE media SET state = 'gone' WHERE id IN
			(SELECT id FROM media WHERE state = 'unsent' AND created_at < $1 ORDER BY created_at LIMIT $2)`, micros(before), limit); err != nil {
			return err
		}
		ids, err = rows(tx.ctx, tx, scanText, `SELECT id FROM media WHERE state = 'gone' ORDER BY id LIMIT $1`, limit)
		return err
	})
	return ids, err
}

// ForgetUploads implements chat.MediaStore.
func (s *Store) ForgetUploads(ctx context.Context, ids []string) error {
	return s.write(ctx, func(tx *Tx) error {
		for _, id := range ids {
			if err := tx.run(`DELETE FROM media WHERE id = $1 AND state = 'gone'`, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// letMediaGo lets the media of an erased message go, unless another carries it.
func (tx *Tx) letMediaGo(id string) error {
	return tx.run(`UPDATE media SET state = 'gone' WHERE id = $1
		AND NOT EXISTS (SELECT 1 FROM messages WHERE media = $1 AND media <> '' AND erased_at = 0)`, id)
}

// InsertUploadToken implements access.Tx; those that have expired go.
func (tx *Tx) InsertUploadToken(t access.UploadToken) error {
	if err := tx.run(`DELETE FROM upload_tokens WHERE hash IN
		(SELECT hash FROM upload_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT 10)`, micros(tx.store.now())); err != nil {
		return err
	}
	return tx.run(`INSERT INTO upload_tokens (hash, app, key_id, expires_at) VALUES ($1, $2, $3, $4)`,
		t.Hash, t.App, t.Key, micros(t.ExpiresAt))
}

// UploadTokenByHash implements access.Store.
func (s *Store) UploadTokenByHash(ctx context.Context, hash []byte) (t access.UploadToken, ok bool, err error) {
	var expires, revoked int64
	var permissions string
	ok, err = row(ctx, &s.reading, `SELECT u.hash, u.app, u.key_id, u.expires_at, k.revoked_at, k.permissions
		FROM upload_tokens u JOIN api_keys k ON k.id = u.key_id WHERE u.hash = $1`, []any{hash},
		&t.Hash, &t.App, &t.Key, &expires, &revoked, &permissions)
	if err != nil || !ok {
		return t, false, err
	}
	t.ExpiresAt, t.Revoked = moment(expires), revoked != 0
	return t, true, json.Unmarshal([]byte(permissions), &t.Permissions)
}
