package account

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

const (
	// SessionTTL is how long a session lives at most.
	SessionTTL = 7 * 24 * time.Hour
	// SessionIdle is how long it lives without being used.
	SessionIdle = 8 * time.Hour
	// touchEvery is how exact a session's last use is.
	touchEvery = time.Minute
)

// Session is a person who is signed in, in one browser.
type Session struct {
	Hash      []byte // of what the cookie carries
	Account   string
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
}

// errSignIn tells nothing of which of both was wrong.
func errSignIn() error {
	return status.New(status.Unauthenticated, "the name or the password is wrong")
}

// SignIn checks a password and begins a session; text is for the cookie. Errors:
// Unauthenticated; ResourceExhausted when it was tried too often, of the name
// or from the address.
func (a *Accounts) SignIn(ctx context.Context, name, password, address string) (text string, s Session, err error) {
	of, err := a.prove(ctx, name, password, address)
	if err != nil {
		return "", s, err
	}
	return a.Begin(ctx, of)
}

// prove returns the account whose name and password these are.
func (a *Accounts) prove(ctx context.Context, name, password, address string) (of Account, err error) {
	now := a.now()
	if wait := max(a.names.take(name, now), a.addresses.take(address, now)); wait > 0 {
		return of, status.Later(wait, "too many attempts to sign in; wait %s", wait.Round(time.Second))
	}
	ok := false
	if CheckName(name) == nil {
		if of, ok, err = a.store.Account(ctx, name); err != nil {
			return of, err
		}
	}
	alive := ok && of.EndedAt.IsZero()
	if !alive {
		of.Password = decoy
	}
	right, err := a.isPassword(ctx, of.Password, password)
	switch {
	case err != nil:
		return of, err
	case !right || !alive:
		return of, errSignIn()
	}
	a.names.give(name, now)
	a.addresses.give(address, now)
	return of, nil
}

// Begin begins a session of an account.
func (a *Accounts) Begin(ctx context.Context, of Account) (text string, s Session, err error) {
	text = access.NewSecret("ops_")
	s = Session{Hash: hash(text), Account: of.Name, CreatedAt: a.now(), SeenAt: a.now(), ExpiresAt: a.now().Add(SessionTTL)}
	ctx = access.By(ctx, of.Name)
	return text, s, a.store.Write(ctx, func(tx Tx) error {
		if err := tx.InsertSession(s); err != nil {
			return err
		}
		return access.WriteNote(ctx, tx, access.Note{At: a.now(), Action: access.SignedIn})
	})
}

// Session returns who is signed in with the text of a cookie; ok is false where
// nobody is, or is no longer.
func (a *Accounts) Session(ctx context.Context, text string) (of Account, ok bool, err error) {
	s, of, ok, err := a.store.Session(ctx, hash(text))
	if err != nil || !ok {
		return Account{}, false, err
	}
	now := a.now()
	if !of.EndedAt.IsZero() || !now.Before(s.ExpiresAt) || now.Sub(s.SeenAt) >= SessionIdle {
		return Account{}, false, nil
	}
	if now.Sub(s.SeenAt) >= touchEvery {
		err = a.store.Write(ctx, func(tx Tx) error { return tx.TouchSession(s.Hash, now) })
	}
	return of, err == nil, err
}

// SignOut ends a session. One that is not there is no error.
func (a *Accounts) SignOut(ctx context.Context, text string) error {
	return a.store.Write(ctx, func(tx Tx) error { return tx.EndSession(hash(text)) })
}
