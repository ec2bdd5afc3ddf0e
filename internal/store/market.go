package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/wire"
)

// Market returns the ledger as package market needs it.
func (s *Store) Market() market.Store { return marketStore{s} }

type marketStore struct{ *Store }

// Write implements market.Store.
func (s marketStore) Write(ctx context.Context, f func(market.Tx) error) error {
	return s.write(ctx, func(tx *Tx) error { return f(tx) })
}

// eraseBatch is how many messages or posts one step of an erasure takes.
const eraseBatch = 200

// EnsureUser makes a user known by being named.
func (tx *Tx) EnsureUser(id string, now time.Time) error {
	return tx.run(`INSERT INTO users (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id, micros(now))
}

func user(ctx context.Context, db querier, id string) (u market.User, ok bool, err error) {
	ok, err = row(ctx, db, `SELECT id, phone FROM users WHERE id = $1`, []any{id}, &u.ID, &u.Phone)
	return u, ok, err
}

// User returns a user.
func (s *Store) User(ctx context.Context, id string) (market.User, bool, error) {
	return user(ctx, &s.reading, id)
}

// User returns a user.
func (tx *Tx) User(id string) (market.User, bool, error) { return user(tx.ctx, tx, id) }

// PutUser stores a user.
func (tx *Tx) PutUser(u market.User, now time.Time) error {
	return tx.run(`INSERT INTO users (id, phone, created_at) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET phone = excluded.phone`, u.ID, u.Phone, micros(now))
}

// DeleteUser removes a user.
func (tx *Tx) DeleteUser(id string) error {
	if err := tx.run(`DELETE FROM oauth_logins WHERE user_id = $1 AND user_id <> ''`, id); err != nil {
		return err
	}
	return tx.run(`DELETE FROM users WHERE id = $1`, id)
}

func scanPost(r scanner) (market.Post, error) {
	var content string
	if err := r.Scan(&content); err != nil {
		return market.Post{}, err
	}
	var p market.Post
	if err := json.Unmarshal([]byte(content), &p); err != nil {
		return p, fmt.Errorf("read a post: %w", err)
	}
	return p, nil
}

func post(ctx context.Context, db querier, token string) (market.Post, bool, error) {
	return one(rows(ctx, db, scanPost, `SELECT content FROM posts WHERE token = $1`, token))
}

// Post returns a post.
func (s *Store) Post(ctx context.Context, token string) (market.Post, bool, error) {
	return post(ctx, &s.reading, token)
}

// Post returns a post.
func (tx *Tx) Post(token string) (market.Post, bool, error) { return post(tx.ctx, tx, token) }

// PostEvent implements market.Tx.
func (tx *Tx) PostEvent(token string) (id int64, err error) {
	_, err = row(tx.ctx, tx, `SELECT event_id FROM posts WHERE token = $1`, []any{token}, &id)
	return id, err
}

// TransactionEvent implements market.Tx.
func (tx *Tx) TransactionEvent(transaction string) (id int64, err error) {
	_, err = row(tx.ctx, tx, `SELECT event_id FROM transactions WHERE id = $1`, []any{transaction}, &id)
	return id, err
}

// PostsOf returns a user's posts by token, archived ones left out.
func (s *Store) PostsOf(ctx context.Context, owner, after string, limit int) ([]market.Post, error) {
	return rows(ctx, &s.reading, scanPost,
		`SELECT content FROM posts WHERE owner = $1 AND token > $2 AND state <> $3 ORDER BY token LIMIT $4`,
		owner, after, string(market.Archived), limit)
}

// PutPost stores a post with the event of this change.
func (tx *Tx) PutPost(p market.Post, event int64, now time.Time) error {
	content, err := wire.Marshal(p)
	if err != nil {
		return err
	}
	return tx.run(`INSERT INTO posts (token, owner, state, content, event_id, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (token) DO UPDATE SET owner = excluded.owner, state = excluded.state, content = excluded.content,
			event_id = excluded.event_id, updated_at = excluded.updated_at`,
		p.Token, p.Owner, string(p.State), string(content), event, micros(now))
}

// DeletePost removes a post.
func (tx *Tx) DeletePost(token string) error {
	return tx.run(`DELETE FROM posts WHERE token = $1`, token)
}

// Transaction returns a transaction.
func (tx *Tx) Transaction(id string) (t market.Transaction, ok bool, err error) {
	ok, err = row(tx.ctx, tx, `SELECT id, app, state, type, cost_rials, extra_details FROM transactions WHERE id = $1`,
		[]any{id}, &t.ID, &t.App, &t.State, &t.Type, &t.CostRials, object{&t.ExtraDetails})
	return t, ok, err
}

// PutTransaction stores a transaction with the event of its newest state; 0
// keeps the one it has.
func (tx *Tx) PutTransaction(t market.Transaction, event int64, now time.Time) error {
	return tx.run(`INSERT INTO transactions (id, app, state, type, cost_rials, extra_details, event_id, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, type = excluded.type, cost_rials = excluded.cost_rials,
			extra_details = excluded.extra_details, updated_at = excluded.updated_at,
			event_id = CASE WHEN excluded.event_id = 0 THEN transactions.event_id ELSE excluded.event_id END`,
		t.ID, t.App, string(t.State), string(t.Type), t.CostRials, text(t.ExtraDetails), event, micros(now))
}

// EraseStep implements market.Tx.
func (tx *Tx) EraseStep(user string, now time.Time) (events []int64, done bool, err error) {
	if err := tx.listAll(); err != nil {
		return nil, false, err
	}
	in := tx.store.dialect.messagesIn
	// What the user wrote, and the private conversations with bots whole.
	for _, q := range []string{
		`SELECT m.event_id FROM participants p JOIN ` + in("p.conversation") + `
			WHERE p.user_id = $1 AND m.user_id = $1 AND m.erased_at = 0 LIMIT $2`,
		`SELECT m.event_id FROM conversations c JOIN ` + in("c.id") + `
			WHERE c.user_id = $1 AND c.type = 'BOT' AND m.erased_at = 0 LIMIT $2`,
	} {
		if events, err = rows(tx.ctx, tx, scanID, q, user, eraseBatch); err != nil {
			return nil, false, err
		}
		if len(events) > 0 {
			break
		}
	}
	for _, e := range events {
		if err := tx.eraseMessage(e, now); err != nil {
			return nil, false, err
		}
	}
	if len(events) > 0 {
		return events, false, nil
	}
	for _, q := range []string{
		`DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE user_id = $1 ORDER BY id LIMIT $2)`,
		`DELETE FROM participants WHERE user_id = $1 AND conversation IN
			(SELECT conversation FROM participants WHERE user_id = $1 ORDER BY conversation LIMIT $2)`,
	} {
		if n, err := tx.exec(q, user, eraseBatch); err != nil || n > 0 {
			return nil, false, err
		}
	}
	events, err = rows(tx.ctx, tx, scanID, `SELECT id FROM events WHERE order_key = $1 AND erased_at = 0
		AND type IN ('SESSION_INITIALIZATION', 'DYNAMIC_ACTION') ORDER BY id LIMIT $2`, event.CallKey(user), eraseBatch)
	if err != nil {
		return nil, false, err
	}
	for _, e := range events {
		if err := tx.eraseEvent(e, now); err != nil {
			return nil, false, err
		}
	}
	if len(events) > 0 {
		return events, false, nil
	}
	token, ok, err := one(rows(tx.ctx, tx, scanText, `SELECT token FROM posts WHERE owner = $1 ORDER BY token LIMIT 1`, user))
	if err != nil || !ok {
		return events, err == nil, err
	}
	changes, done, err := tx.ErasePostStep(token, now)
	if err == nil && done {
		err = tx.DeletePost(token)
	}
	return append(events, changes...), false, err
}

// ErasePostStep implements market.Tx.
func (tx *Tx) ErasePostStep(token string, now time.Time) (events []int64, done bool, err error) {
	events, err = rows(tx.ctx, tx, scanID,
		`SELECT id FROM events WHERE order_key = $1 AND type = 'POST_UPDATE' AND erased_at = 0 ORDER BY id LIMIT $2`,
		market.PostKey(token), eraseBatch)
	if err != nil {
		return nil, false, err
	}
	for _, e := range events {
		if err := tx.eraseEvent(e, now); err != nil {
			return nil, false, err
		}
	}
	return events, len(events) < eraseBatch, nil
}

func scanID(r scanner) (id int64, err error) {
	err = r.Scan(&id)
	return id, err
}

func scanText(r scanner) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// eraseEvent erases an event's payload and what apps answered to it, and
// cancels what was not sent yet.
func (tx *Tx) eraseEvent(id int64, now time.Time) error {
	if err := tx.run(`UPDATE events SET payload = NULL, erased_at = $2 WHERE id = $1`, id, micros(now)); err != nil {
		return err
	}
	n, err := tx.exec(`UPDATE deliveries SET state = 'canceled', reason = $2, next_at = 0, why = '', finished_at = $3
		WHERE event_id = $1 AND state = 'pending'`, id, delivery.ReasonErased, micros(now))
	if err != nil {
		return err
	}
	tx.ended[delivery.Canceled] += int(n)
	if err := tx.changeID(delivery.EventErased, id); err != nil {
		return err
	}
	return tx.run(`UPDATE attempts SET answer = NULL WHERE event_id = $1`, id)
}

// eraseMessage erases a message and its event; an empty hash and no payload
// stay, so that the same id cannot come back.
func (tx *Tx) eraseMessage(event int64, now time.Time) error {
	var media, conversation string
	if _, err := row(tx.ctx, tx, `UPDATE messages SET payload = NULL, buttons = NULL, hash = $3, erased_at = $2 WHERE event_id = $1
		RETURNING media, conversation`, []any{event, micros(now), []byte{}}, &media, &conversation); err != nil {
		return err
	}
	tx.writes++
	if tx.store.dialect.exclusive {
		if err := tx.run(`DELETE FROM listed_messages WHERE conversation = $1 AND event_id = $2`, conversation, event); err != nil {
			return err
		}
	}
	if media != "" {
		if err := tx.letMediaGo(media); err != nil {
			return err
		}
	}
	return tx.eraseEvent(event, now)
}
