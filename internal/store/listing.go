package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/openkenar/openkenar/internal/chat"
)

const (
	// maxUnlisted is how many messages wait before they are listed. Whoever reads
	// a conversation looks through them.
	maxUnlisted = 2048
	// listStep is how many are listed at a time where very many wait, as after an
	// import.
	listStep = 100_000
)

// An index of messages by conversation writes a page for nearly each message,
// since each comes to another conversation. A ledger that no other process
// writes to has listed_messages instead, up to the event of listed_to: messages
// come there many at a time, in its order, and share pages.

const unlisted = ` FROM messages WHERE event_id > (SELECT event_id FROM listed_to)`

// list lists messages that are not, from the first on, and says whether it has
// come to the last.
func (tx *Tx) list() (done bool, err error) {
	var n int
	var to int64
	if _, err := row(tx.ctx, tx, `SELECT count(*), coalesce(max(event_id), 0) FROM (SELECT event_id`+unlisted+` ORDER BY event_id LIMIT $1) part`,
		[]any{listStep}, &n, &to); err != nil || n == 0 {
		return err == nil, err
	}
	if err := tx.run(`INSERT INTO listed_messages (conversation, event_id) SELECT conversation, event_id`+unlisted+
		` AND event_id <= $1 AND erased_at = 0 ORDER BY conversation, event_id`, to); err != nil {
		return false, err
	}
	tx.listed = true
	return n < listStep, tx.run(`UPDATE listed_to SET event_id = $1`, to)
}

// listAll lists all messages that are not.
func (tx *Tx) listAll() error {
	for tx.store.dialect.exclusive {
		if done, err := tx.list(); done || err != nil {
			return err
		}
	}
	return nil
}

// resumeListing lists what was not when the ledger was last open, if it is much.
func (s *Store) resumeListing(ctx context.Context) error {
	for s.dialect.exclusive {
		var n int
		_, err := row(ctx, &s.reading, `SELECT count(*) FROM (SELECT event_id`+unlisted+` LIMIT $1) part`, []any{maxUnlisted}, &n)
		if err == nil && n == maxUnlisted {
			err = s.write(ctx, func(tx *Tx) error {
				_, err := tx.list()
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("list messages by conversation: %w", err)
		}
		if n < maxUnlisted {
			break
		}
	}
	return nil
}

// The orders of messages.
const (
	ascending  = "ASC"
	descending = "DESC"
)

// messagesOf returns messages of a conversation in the given order of their
// events: those after an event, which more may narrow down, as many as limit.
func (s *Store) messagesOf(ctx context.Context, conversation string, after int64, more, order string, limit int) ([]chat.Stored, error) {
	const columns, events = `SELECT ` + messageColumns, ` LEFT JOIN events e ON e.id = m.event_id WHERE `
	more = ` AND m.erased_at = 0` + more
	end := `.event_id ` + order + ` LIMIT $3`
	if !s.dialect.exclusive {
		return rows(ctx, &s.reading, scanMessage,
			columns+` FROM messages m`+events+`m.conversation = $1 AND m.event_id > $2`+more+` ORDER BY m`+end, conversation, after, limit)
	}
	// In this order nothing is missed: what is listed in between is found twice,
	// and what comes in between comes after all that is found.
	list, err := rows(ctx, &s.reading, scanMessage,
		columns+` FROM messages m`+events+`m.event_id > max($2, (SELECT event_id FROM listed_to)) AND m.conversation = $1`+more+` ORDER BY m`+end,
		conversation, after, limit)
	if err != nil {
		return nil, err
	}
	listed, err := rows(ctx, &s.reading, scanMessage,
		columns+` FROM listed_messages l JOIN messages m ON m.event_id = l.event_id`+events+`l.conversation = $1 AND l.event_id > $2`+more+` ORDER BY l`+end,
		conversation, after, limit)
	list = append(list, listed...)
	slices.SortFunc(list, func(a, b chat.Stored) int {
		if order == descending {
			a, b = b, a
		}
		return cmp.Compare(a.Event, b.Event)
	})
	list = slices.CompactFunc(list, func(a, b chat.Stored) bool { return a.Event == b.Event })
	return list[:min(len(list), limit)], err
}
