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
	c, ok := tx.store.known.conversations[id]
	if !ok {
		var byBuyer, bySeller int
		ok, err := row(tx.ctx, tx, `SELECT id, type, post_token, buyer, app, user_id, blocked_by_buyer, blocked_by_seller
			FROM conversations WHERE id = $1`, []any{id},
			&c.ID, &c.Type, &c.PostToken, &c.Buyer, &c.App, &c.User, &byBuyer, &bySeller)
		if err != nil || !ok {
			return chat.Conversation{}, false, err
		}
		c.BlockedByBuyer, c.BlockedBySeller = byBuyer != 0, bySeller != 0
		learn(&tx.store.known.conversations, id, c)
	}
	var err error
	c.Seller, err = tx.owner(c.PostToken)
	return c, true, err
}

// owner returns who owns a post; "" where there is none.
func (tx *Tx) owner(post string) (owner string, err error) {
	if post == "" {
		return "", nil
	}
	owner, ok := tx.store.known.owners[post]
	if !ok {
		if _, err := row(tx.ctx, tx, `SELECT owner FROM posts WHERE token = $1`, []any{post}, &owner); err != nil {
			return "", err
		}
		learn(&tx.store.known.owners, post, owner)
	}
	return owner, nil
}

func botConversation(ctx context.Context, db querier, app, user string) (id string, ok bool, err error) {
	ok, err = row(ctx, db, `SELECT id FROM conversations WHERE user_id = $1 AND app = $2 AND type = 'BOT'`, []any{user, app}, &id)
	return id, ok, err
}

// BotConversation returns the id of a user's conversation with an app's bot.
func (s *Store) BotConversation(ctx context.Context, app, user string) (id string, ok bool, err error) {
	return botConversation(ctx, &s.reading, app, user)
}

// BotConversation returns the id of a user's conversation with an app's bot.
func (tx *Tx) BotConversation(app, user string) (id string, ok bool, err error) {
	return botConversation(tx.ctx, tx, app, user)
}

// InsertConversation stores a new conversation.
func (tx *Tx) InsertConversation(c chat.Conversation, now time.Time) error {
	known := tx.store.known.conversations // which an insertion does not change
	defer func() { tx.store.known.conversations = known }()
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

const messageColumns = `m.event_id, m.id, m.conversation, m.type, m.user_id, m.app, m.sent_at, m.hash,
	coalesce(m.payload, e.payload), m.buttons, m.media`

// messageTables: the content of a message is that of its event, and moves to
// the message itself when the event goes.
const messageTables = ` FROM messages m LEFT JOIN events e ON e.id = m.event_id `

func scanMessage(r scanner) (chat.Stored, error) {
	var m chat.Stored
	var sent int64
	var payload, buttons []byte
	err := r.Scan(&m.Event, &m.ID, &m.Conversation, &m.Type, &m.User, &m.App, &sent, &m.Hash, &payload, &buttons, &m.Media)
	m.SentAt, m.Payload, m.Buttons = moment(sent), payload, buttons
	return m, err
}

// InsertMessages implements chat.Tx. Nearly always all of them are new, so it
// looks only when one was not.
func (tx *Tx) InsertMessages(list []chat.Stored) (inserted []bool, err error) {
	kind := plainMessageRows
	for _, m := range list {
		if m.App != "" || m.Buttons != nil || m.Media != "" {
			kind = messageRows
		}
	}
	args := make([]any, 0, len(list)*len(kind.columns))
	for _, m := range list {
		if kind == plainMessageRows {
			args = append(args, m.Event, m.ID, m.Conversation, string(m.Type), m.User, micros(m.SentAt), m.Hash)
			continue
		}
		args = append(args, m.Event, m.ID, m.Conversation, string(m.Type), m.User, m.App, micros(m.SentAt), m.Hash,
			text(m.Buttons), m.Media)
	}
	inserted = make([]bool, len(list))
	n, err := tx.execBulk(kind, args)
	if err != nil {
		return inserted, err
	}
	if int(n) == len(list) {
		for i := range inserted {
			inserted[i] = true
		}
	} else if err := tx.found(list, inserted); err != nil {
		return inserted, err
	}
	for i, m := range list {
		if inserted[i] {
			tx.participate(m.User, m.Conversation)
			tx.messages++
		}
	}
	return inserted, nil
}

// found says which messages of a list are there under the events that they were
// given just now.
func (tx *Tx) found(list []chat.Stored, there []bool) error {
	at := make(map[int64]int, len(list)) // by event
	for i, m := range list {
		at[m.Event] = i
	}
	events, err := rows(tx.ctx, tx, scanID, `SELECT event_id FROM messages WHERE event_id BETWEEN $1 AND $2`,
		list[0].Event, list[len(list)-1].Event)
	for _, e := range events {
		if i, ok := at[e]; ok {
			there[i] = true
		}
	}
	return err
}

// participate notes that a user has written in a conversation, for the day on
// which the user's content is erased.
func (tx *Tx) participate(user, conversation string) {
	p := participant{user, conversation}
	if _, ok := tx.store.known.participants[p]; !ok {
		tx.add(participantRows, user, conversation)
		learn(&tx.store.known.participants, p, struct{}{})
	}
}

func message(ctx context.Context, db querier, id string) (chat.Stored, bool, error) {
	return one(rows(ctx, db, scanMessage, `SELECT `+messageColumns+messageTables+`WHERE m.id = $1`, id))
}

// Message returns a message.
func (s *Store) Message(ctx context.Context, id string) (chat.Stored, bool, error) {
	return message(ctx, &s.reading, id)
}

// Message returns a message.
func (tx *Tx) Message(id string) (chat.Stored, bool, error) { return message(tx.ctx, tx, id) }

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
		return s.messagesOf(ctx, conversation, after, ``, ascending, limit)
	}
	newest, err := s.messagesOf(ctx, conversation, after, ``, descending, limit)
	slices.Reverse(newest)
	return newest, err
}

// Texts implements chat.Store.
func (s *Store) Texts(ctx context.Context, conversation string, limit int) ([]chat.Stored, error) {
	newest, err := s.messagesOf(ctx, conversation, -1, ` AND m.type = 'TEXT'`, descending, limit)
	slices.Reverse(newest)
	return newest, err
}

// TokenLives implements chat.Tx.
func (tx *Tx) TokenLives(id int64, now time.Time) (bool, error) {
	var one int
	return row(tx.ctx, tx, `SELECT 1 FROM access_tokens t JOIN grants g ON g.id = t.grant_id
		WHERE t.id = $1 AND t.expires_at > $2 AND t.revoked_at = 0 AND g.revoked_at = 0`, []any{id, micros(now)}, &one)
}

const noticeColumns = `n.id, n.app, n.user_id, n.message, n.buttons, n.target_type, n.post_token, n.sent_at`

func scanNotice(r scanner) (n chat.Notice, err error) {
	var sent int64
	err = r.Scan(&n.ID, &n.App, &n.User, &n.Message, &n.Buttons, &n.TargetType, &n.Post, &sent)
	n.SentAt = moment(sent)
	return n, err
}

// InsertNotification stores a notification.
func (tx *Tx) InsertNotification(n chat.Notice) error {
	return tx.run(`INSERT INTO notifications (id, app, user_id, message, buttons, target_type, post_token, sent_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		n.ID, n.App, n.User, n.Message, string(n.Buttons), string(n.TargetType), n.Post, micros(n.SentAt))
}

// Notification returns a notification.
func (s *Store) Notification(ctx context.Context, id int64) (chat.Notice, bool, error) {
	return one(rows(ctx, &s.reading, scanNotice, `SELECT `+noticeColumns+` FROM notifications n WHERE n.id = $1`, id))
}

// Notifications implements chat.Store.
func (s *Store) Notifications(ctx context.Context, user string, before int64, limit int) ([]chat.Notice, error) {
	return rows(ctx, &s.reading, scanNotice, `SELECT `+noticeColumns+` FROM notifications n
		WHERE n.user_id = $1 AND n.id < $2 ORDER BY n.id DESC LIMIT $3`, user, before, limit)
}
