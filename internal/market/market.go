// Package market holds what the marketplace tells us of itself: users, posts
// and transactions. Every write is idempotent on the thing's id: the same
// content again changes nothing and makes no event. Contract: section 8.
//
// The Put functions work inside a transaction so that a batch shares one; the
// methods of Market are the same for a single call.
package market

import (
	"context"
	"errors"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// Change says what a write did.
type Change int

// What writes do.
const (
	Unchanged Change = iota // it was there already, the same
	Changed
)

// Tx is the part of the store's transaction that market needs.
type Tx interface {
	event.Tx
	EnsureUser(id string, now time.Time) error
	User(id string) (u User, ok bool, err error)
	PutUser(u User, now time.Time) error
	Post(token string) (p Post, ok bool, err error)
	// PostEvent and TransactionEvent return the event of the last change; 0 for
	// none.
	PostEvent(token string) (int64, error)
	TransactionEvent(id string) (int64, error)
	PutPost(p Post, event int64, now time.Time) error
	DeletePost(token string) error
	Transaction(id string) (t Transaction, ok bool, err error)
	PutTransaction(t Transaction, event int64, now time.Time) error
	App(slug string) (a access.App, ok bool, err error)
	// EraseStep erases a bounded part of what is stored of a user's content
	// and returns the events whose content went; done when nothing is left
	// but the user.
	EraseStep(user string, now time.Time) (events []int64, done bool, err error)
	DeleteUser(id string) error
	// ErasePostStep is EraseStep for the events of one post.
	ErasePostStep(token string, now time.Time) (events []int64, done bool, err error)
}

// Store is the ledger as market needs it.
type Store interface {
	Write(ctx context.Context, f func(Tx) error) error
	User(ctx context.Context, id string) (u User, ok bool, err error)
	Post(ctx context.Context, token string) (p Post, ok bool, err error)
	PostsOf(ctx context.Context, owner, after string, limit int) ([]Post, error)
}

// Market is the rules over a store.
type Market struct {
	store  Store
	access *access.Access
	now    func() time.Time
	erase  func(ctx context.Context, event int64) error
}

// Options of a Market.
type Options struct {
	Store  Store
	Access *access.Access
	Now    func() time.Time // default time.Now
	// Erase returns when nothing of the event is being sent any more.
	Erase func(ctx context.Context, event int64) error
}

// New returns the rules of the market.
func New(o Options) (*Market, error) {
	if o.Store == nil || o.Access == nil || o.Erase == nil {
		return nil, errors.New("market: Store, Access and Erase are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Market{store: o.Store, access: o.Access, now: o.Now, erase: o.Erase}, nil
}

// maxPhone is the longest phone number, in characters.
const maxPhone = 32

// User is a person of the marketplace, under the marketplace's own id.
type User struct {
	ID    string `json:"id"`
	Phone string `json:"phone"`
}

// PutUser stores a user.
func PutUser(tx Tx, u User, now time.Time) (Change, error) {
	if err := wire.CheckID("user", u.ID); err != nil {
		return Unchanged, err
	}
	if err := wire.MaxText("phone", u.Phone, maxPhone); err != nil {
		return Unchanged, err
	}
	old, ok, err := tx.User(u.ID)
	if err != nil || ok && old == u {
		return Unchanged, err
	}
	return Changed, tx.PutUser(u, now)
}

// PutUser stores a user.
func (m *Market) PutUser(ctx context.Context, u User) (User, error) {
	err := m.store.Write(ctx, func(tx Tx) error {
		_, err := PutUser(tx, u, m.now())
		return err
	})
	return u, err
}

// User returns a user; NotFound where there is none.
func (m *Market) User(ctx context.Context, id string) (User, error) {
	u, ok, err := m.store.User(ctx, id)
	if err == nil && !ok {
		err = status.New(status.NotFound, "user %q: no such user", id)
	}
	return u, err
}

// DeleteUser takes every app's access to the user away, erases the user's
// content, in the log too, and then the user. It works in bounded steps; one
// that broke off is taken up by calling again. Deleting who is not there is no
// error.
func (m *Market) DeleteUser(ctx context.Context, id string) error {
	if err := wire.CheckID("user", id); err != nil {
		return err
	}
	if err := m.revokeAll(ctx, id); err != nil {
		return err
	}
	err := m.eraseInSteps(ctx, func(tx Tx) ([]int64, bool, error) {
		events, done, err := tx.EraseStep(id, m.now())
		if err == nil && done {
			err = tx.DeleteUser(id)
		}
		return events, done, err
	})
	if err != nil {
		return err
	}
	return m.revokeAll(ctx, id) // what was granted while the erasure went on
}

func (m *Market) revokeAll(ctx context.Context, user string) error {
	grants, err := m.access.Grants(ctx, user)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if err := m.access.Revoke(ctx, user, g.App); err != nil {
			return err
		}
	}
	return nil
}

// eraseInSteps carries out an erasure, each step a transaction, until it is
// done; nothing of an erased event is being sent when it returns.
func (m *Market) eraseInSteps(ctx context.Context, step func(tx Tx) (events []int64, done bool, err error)) error {
	for done := false; !done; {
		var events []int64
		err := m.store.Write(ctx, func(tx Tx) (err error) {
			events, done, err = step(tx)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := m.erase(context.WithoutCancel(ctx), e); err != nil {
				return err
			}
		}
	}
	return nil
}
