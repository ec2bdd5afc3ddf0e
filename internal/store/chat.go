package store

import (
	"context"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/chat"
)

// Chat returns the ledger as package chat needs it.
func (s *Store) Chat() chat.Store { return chatStore{s} }

type chatStore struct{ *Store }

// Write implements chat.Store.
func (s chatStore) Write(ctx context.Context, f func(chat.Tx) error) error {
	return s.write(ctx, func(tx *Tx) error { return f(tx) })
}

func conversation(ctx context.Context, db querier, id string) (c chat.Conversation, ok bool, err error) {
	var byBuyer, bySeller int
	ok, err = row(ctx, db, `SELECT c.id, c.type, c.post_token, c.buyer, c.app, c.user_id, c.blocked_by_buyer, c.blocked_by_seller,
			coalesce(p.owner, '')
		FROM conversations c LEFT JOIN posts p ON p.token = c.post_token WHERE c.id = $1`, []any{id},
		&c.ID, &c.Type, &c.PostToken, &c.Buyer, &c.App, &c.User, &byBuyer, &bySeller, &c.Seller)
	c.BlockedByBuyer, c.BlockedBySeller = byBuyer != 0, bySeller != 0
	return c, ok, err
}

// Conversation returns a conversation.
func (s *Store) Conversation(ctx context.Context, id string) (chat.Conversation, bool, error) {
	return conversation(ctx, &s.reading, id)
}

// Conversation returns a conversation.
func (tx *Tx) Conversation(id string) (chat.Conversation, bool, error) {
	return conversation(tx.ctx, tx, id)
}

// BotConversation returns the id of a user's conversation with an app's bot.
func (tx *Tx) BotConversation(app, user string) (id string, ok bool, err error) {
	ok, err = row(tx.ctx, tx, `SELECT id FROM conversations WHERE user_id = $1 AND app = $2 AND type = 'BOT'`, []any{user, app}, &id)
	return id, ok, err
}

// InsertConversation stores a new conversation.
func (tx *Tx) InsertConversation(c chat.Conversation, now time.Time) error {
	return tx.run(`INSERT INTO conversations (id, type, post_token, buyer, app, user_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		c.ID, string(c.Type), c.PostToken, c.Buyer, c.App, c.User, micros(now))
}

// SetBlocked notes that a side blocks the other, or has stopped to.
func (tx *Tx) SetBlocked(id string, by chat.Side, blocked bool) error {
	flag := 0
	if blocked {
		flag = 1
	}
	if by == chat.Buyer {
		return tx.run(`UPDATE conversations SET blocked_by_buyer = $2 WHERE id = $1`, id, flag)
	}
	return tx.run(`UPDATE conversations SET blocked_by_seller = $2 WHERE id = $1`, id, flag)
}

const messageColumns = `event_id, id, conversation, user_id, sent_at, hash, payload`

func scanMessage(r scanner) (chat.Stored, error) {
	var m chat.Stored
	var sent int64
	var payload []byte
	err := r.Scan(&m.Event, &m.ID, &m.Conversation, &m.User, &sent, &m.Hash, &payload)
	m.SentAt, m.Payload = moment(sent), payload
	return m, err
}

// InsertMessage implements chat.Tx.
func (tx *Tx) InsertMessage(m chat.Stored) (chat.Stored, bool, error) {
	n, err := tx.exec(`INSERT INTO messages (event_id, id, conversation, user_id, sent_at, hash, payload)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`,
		m.Event, m.ID, m.Conversation, m.User, micros(m.SentAt), m.Hash, string(m.Payload))
	if err != nil || n > 0 {
		return m, n > 0, err
	}
	stored, _, err := tx.Message(m.ID)
	return stored, false, err
}

// Message returns a message.
func (tx *Tx) Message(id string) (chat.Stored, bool, error) {
	return one(rows(tx.ctx, tx, scanMessage, `SELECT `+messageColumns+` FROM messages WHERE id = $1`, id))
}

// EraseMessage implements chat.Tx.
func (tx *Tx) EraseMessage(id string, now time.Time) (event int64, ok bool, err error) {
	var erased int64
	ok, err = row(tx.ctx, tx, `SELECT event_id, erased_at FROM messages WHERE id = $1`, []any{id}, &event, &erased)
	if err != nil || !ok || erased != 0 {
		return event, ok, err
	}
	return event, true, tx.eraseMessage(event, now)
}

// Messages implements chat.Store.
func (s *Store) Messages(ctx context.Context, conversation string, after int64, limit int) ([]chat.Stored, error) {
	if after >= 0 {
		return rows(ctx, &s.reading, scanMessage,
			`SELECT `+messageColumns+` FROM messages WHERE conversation = $1 AND event_id > $2 AND erased_at = 0
			ORDER BY event_id LIMIT $3`, conversation, after, limit)
	}
	newest, err := rows(ctx, &s.reading, scanMessage,
		`SELECT `+messageColumns+` FROM messages WHERE conversation = $1 AND erased_at = 0
		ORDER BY event_id DESC LIMIT $2`, conversation, limit)
	slices.Reverse(newest)
	return newest, err
}
