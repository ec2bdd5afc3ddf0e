package store

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

var _ event.Store = (*Store)(nil)

const subscriptionColumns = `s.id, s.app, s.user_id, s.event_type, s.resource, s.metadata, s.token_id, s.grant_id,
	s.created_at, s.ended_at, t.expires_at, t.revoked_at, g.revoked_at`

const subscriptionTables = ` FROM subscriptions s
	JOIN access_tokens t ON t.id = s.token_id JOIN grants g ON g.id = s.grant_id `

// dated is a subscription with its ends, which depend on the moment.
type dated struct {
	event.Subscription
	ended, tokenRevoked, grantRevoked time.Time
}

func scanSubscription(r scanner) (dated, error) {
	var s dated
	var created, ended, expires, tokenRevoked, grantRevoked int64
	err := r.Scan(&s.ID, &s.App, &s.User, &s.Type, &s.Resource, object{&s.Metadata}, &s.Token, &s.Grant,
		&created, &ended, &expires, &tokenRevoked, &grantRevoked)
	s.At, s.ExpiresAt = moment(created), moment(expires)
	s.ended, s.tokenRevoked, s.grantRevoked = moment(ended), moment(tokenRevoked), moment(grantRevoked)
	return s, err
}

// at fills in whether the subscription has ended at a moment, and returns when.
// Only expiry is a matter of the clock; what was ended stays ended.
func (s dated) at(now time.Time) (event.Subscription, time.Time) {
	for _, end := range []struct {
		at  time.Time
		why string
	}{
		{s.grantRevoked, delivery.ReasonRevoked},
		{s.tokenRevoked, "the access token was revoked"},
		{s.ended, "the app ended its subscription"},
	} {
		if !end.at.IsZero() {
			s.Ended = end.why
			return s.Subscription, end.at
		}
	}
	if !now.Before(s.ExpiresAt) {
		s.Ended = "the access token expired"
		return s.Subscription, s.ExpiresAt
	}
	return s.Subscription, time.Time{}
}

// Subscriptions implements event.Tx.
func (tx *Tx) Subscriptions(user string, t event.Type, resource string, now, since time.Time) ([]event.Subscription, error) {
	wanted := heard{user, t, resource}
	all, ok := tx.store.known.subscriptions[wanted]
	if !ok {
		var err error
		all, err = rows(tx.ctx, tx, scanSubscription, `SELECT `+subscriptionColumns+subscriptionTables+`
			WHERE s.user_id = $1 AND s.event_type = $2 AND s.resource IN ('', $3)`, user, string(t), resource)
		if err != nil {
			return nil, err
		}
		learn(&tx.store.known.subscriptions, wanted, all)
	}
	var concerned []event.Subscription
	for _, d := range all {
		if s, ended := d.at(now); s.Ended == "" || ended.After(since) {
			concerned = append(concerned, s)
		}
	}
	return concerned, nil
}

// alive is the condition of a live subscription at the moment $1.
const alive = ` s.ended_at = 0 AND t.expires_at > $1 AND t.revoked_at = 0 AND g.revoked_at = 0 `

// Echo implements event.Tx.
func (tx *Tx) Echo(app string, t event.Type, user string, now time.Time) (wire.Object, error) {
	var metadata wire.Object
	if user != "" {
		ok, err := row(tx.ctx, tx, `SELECT s.metadata`+subscriptionTables+`
			WHERE`+alive+`AND s.user_id = $2 AND s.event_type = $3 AND s.app = $4 AND s.resource = ''`,
			[]any{micros(now), user, string(t), app}, object{&metadata})
		if err != nil || ok {
			return metadata, err
		}
	}
	// Of an app whose subscriptions have all expired, the search for the
	// newest living one would walk through all of them.
	var one int
	ok, err := row(tx.ctx, tx, `SELECT 1 FROM subscriptions WHERE app = $1 AND event_type = $2 AND expires_at > $3 LIMIT 1`,
		[]any{app, string(t), micros(now)}, &one)
	if err != nil || !ok {
		return nil, err
	}
	_, err = row(tx.ctx, tx, `SELECT s.metadata`+subscriptionTables+`
		WHERE`+alive+`AND s.app = $2 AND s.event_type = $3 AND s.expires_at > $1 ORDER BY s.created_at DESC, s.id DESC LIMIT 1`,
		[]any{micros(now), app, string(t)}, object{&metadata})
	return metadata, err
}

// Listener implements event.Tx.
func (tx *Tx) Listener(slug string) (event.Listener, error) {
	if l, ok := tx.store.known.listeners[slug]; ok {
		return l, nil
	}
	a, ok, err := tx.App(slug)
	if err != nil || !ok {
		return event.Listener{}, err
	}
	l := event.Listener{EventURL: a.EventURL != "", Suspended: a.Status == access.Suspended, HearOwn: a.HearOwnMessages}
	learn(&tx.store.known.listeners, slug, l)
	return l, nil
}

// InsertEvent implements event.Tx.
func (tx *Tx) InsertEvent(e event.Event, verdicts []event.Verdict) error {
	skips := 0
	for _, v := range verdicts {
		if v.State == delivery.Skipped {
			skips++
		}
	}
	tx.insertEvent(e, len(verdicts)-skips, skips)
	for _, v := range verdicts {
		tx.insertDelivery(e, v)
		if v.State == delivery.Pending {
			tx.fresh = append(tx.fresh, delivery.Delivery{
				ID: delivery.ID{Event: e.ID, App: v.App}, Type: string(e.Type), Key: e.Key, Grant: v.Grant, Why: delivery.WhyFirst,
				NextAt: moment(tx.notBefore(e.At)), Body: event.Envelope(e.Type, v.Metadata, e.Payload),
			})
		}
		if v.Reason == delivery.ReasonNoURL {
			tx.unsent = append(tx.unsent, v.App)
		}
	}
	return nil
}

func (tx *Tx) insertEvent(e event.Event, deliveries, skips int) {
	tx.events++
	tx.add(eventRows, e.ID, string(e.Type), e.Key, text(e.Payload), micros(e.At), deliveries, skips)
}

// notBefore is when what happens now is due: not before what any node has
// committed, whose clock may differ, because lanes go by that time first.
func (tx *Tx) notBefore(now time.Time) int64 { return max(micros(now), tx.after>>idShift) }

func (tx *Tx) insertDelivery(e event.Event, v event.Verdict) {
	if v.State == delivery.Pending {
		due := tx.notBefore(e.At)
		tx.waits(v.App, due)
		tx.add(pendingRows, e.ID, v.App, delivery.Slot(v.App), v.Grant, text(v.Metadata), due)
		return
	}
	tx.add(deliveryRows,
		e.ID, v.App, delivery.Slot(v.App), v.Grant, text(v.Metadata), string(v.State), v.Reason, int64(0), "", micros(e.At))
}

// RecordCall implements extension.Store. A call is never pending beyond its
// transaction, so the engine does not see it.
func (s *Store) RecordCall(ctx context.Context, e event.Event, o delivery.Outcome) (id delivery.ID, err error) {
	err = s.write(ctx, func(tx *Tx) error {
		e, o := e, o
		if o.ID.Event != 0 { // unless it was erased while it was repeated
			ok, err := row(tx.ctx, tx, `UPDATE deliveries SET state = 'pending' WHERE event_id = $1 AND app = $2
				AND EXISTS (SELECT 1 FROM events WHERE id = $1 AND payload IS NOT NULL) RETURNING attempts`,
				[]any{o.ID.Event, o.ID.App}, &o.Attempts)
			if id = o.ID; err != nil || !ok {
				return err
			}
			tx.writes++
			_, err = tx.record(o)
			return err
		}
		if _, known, err := tx.User(e.User); err != nil {
			return err
		} else if !known {
			attempt := *o.Attempt
			attempt.Answer, o.Attempt, e.Payload = nil, &attempt, nil
		}
		e.ID = tx.NextID()
		o.ID.Event = e.ID
		tx.insertEvent(e, 1, 0)
		tx.insertDelivery(e, event.Verdict{App: o.ID.App, State: delivery.Pending})
		id = o.ID
		_, err := tx.record(o)
		return err
	})
	return id, err
}

// Call implements extension.Store.
func (s *Store) Call(ctx context.Context, id delivery.ID) (e event.Event, ok bool, err error) {
	var payload []byte
	ok, err = row(ctx, &s.reading, `SELECT e.id, e.type, e.order_key, e.payload FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.event_id = $1 AND d.app = $2`, []any{id.Event, id.App}, &e.ID, &e.Type, &e.Key, &payload)
	e.App, e.Payload = id.App, payload
	return e, ok && e.Type.IsCall(), err
}

// Register implements event.Store.
func (s *Store) Register(ctx context.Context, sub event.Subscription, now time.Time) (ok bool, err error) {
	err = s.write(ctx, func(tx *Tx) error {
		n, err := tx.exec(`INSERT INTO subscriptions (id, app, user_id, event_type, resource, metadata, token_id, grant_id, created_at, expires_at)
			SELECT $1, $2, $3, $4, $5, $6, t.id, t.grant_id, $7, t.expires_at FROM access_tokens t JOIN grants g ON g.id = t.grant_id
			WHERE t.id = $8 AND t.expires_at > $7 AND t.revoked_at = 0 AND g.revoked_at = 0
			ON CONFLICT (user_id, event_type, resource, app) DO UPDATE SET metadata = excluded.metadata,
				token_id = excluded.token_id, grant_id = excluded.grant_id, created_at = excluded.created_at,
				expires_at = excluded.expires_at, ended_at = 0`,
			tx.NextID(), sub.App, sub.User, string(sub.Type), sub.Resource, text(sub.Metadata), micros(now), sub.Token)
		ok = n > 0
		return err
	})
	return ok, err
}

// PostOwner implements event.Store.
func (s *Store) PostOwner(ctx context.Context, token string) (owner string, ok bool, err error) {
	ok, err = row(ctx, &s.reading, `SELECT owner FROM posts WHERE token = $1`, []any{token}, &owner)
	return owner, ok, err
}

// AppSubscriptions implements event.Store.
func (s *Store) AppSubscriptions(ctx context.Context, app string, after int64, limit int, now time.Time) ([]event.Subscription, error) {
	all, err := rows(ctx, &s.reading, scanSubscription,
		`SELECT `+subscriptionColumns+subscriptionTables+`
		WHERE`+alive+`AND s.app = $2 AND s.id > $3 AND s.expires_at > $1 ORDER BY s.id LIMIT $4`, micros(now), app, after, limit)
	if err != nil {
		return nil, err
	}
	subscriptions := make([]event.Subscription, len(all))
	for i, d := range all {
		subscriptions[i], _ = d.at(now)
	}
	return subscriptions, nil
}

// EndSubscription implements event.Store.
func (s *Store) EndSubscription(ctx context.Context, app string, id int64, now time.Time) (ok bool, err error) {
	err = s.write(ctx, func(tx *Tx) error {
		n, err := tx.exec(`UPDATE subscriptions SET ended_at = $3 WHERE app = $1 AND id = $2 AND ended_at = 0
			AND EXISTS (SELECT 1 FROM access_tokens t JOIN grants g ON g.id = t.grant_id
				WHERE t.id = subscriptions.token_id AND t.expires_at > $3 AND t.revoked_at = 0 AND g.revoked_at = 0)`,
			app, id, micros(now))
		ok = n > 0
		return err
	})
	return ok, err
}
