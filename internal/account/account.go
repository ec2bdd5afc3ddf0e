// Package account is the people who sign in to the panel: operators, who may do
// everything, and developers, who were invited to apps and may see and change
// only these. Passwords are kept as argon2id, sessions and invitations as
// hashes of what the cookie or the link carries. Guessing is slowed down by name
// and by address. Every change is on the audit log.
//
// The files: account.go people and their apps, session.go who is signed in,
// password.go the cryptography, throttle.go what slows guessing down.
package account

import (
	"context"
	"crypto/sha256"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
)

// Role is what a person may do.
type Role string

// The roles.
const (
	Operator  Role = "operator"  // everything
	Developer Role = "developer" // see and change the apps that it was invited to
)

// InvitationTTL is how long an invitation waits for somebody to accept it.
const InvitationTTL = 7 * 24 * time.Hour

// Account is a person.
type Account struct {
	Name      string
	Role      Role
	Password  string   // argon2id with its salt and costs
	Apps      []string // of a developer, by slug
	CreatedAt time.Time
	EndedAt   time.Time // zero: alive
}

// May says whether a person may see and change an app.
func (a Account) May(app string) bool {
	return a.Role == Operator || app != "" && slices.Contains(a.Apps, app)
}

// Invitation lets whoever has its link become a developer of an app.
type Invitation struct {
	Hash      []byte
	App       string
	MadeBy    string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Tx is the part of the store's transaction that accounts need. The methods that
// report won are guarded: of several callers one gets true.
type Tx interface {
	access.NoteTx
	App(slug string) (a access.App, ok bool, err error)
	Account(name string) (a Account, ok bool, err error)
	// InsertAccount stores a new account without apps.
	InsertAccount(a Account) error
	SetPassword(name, password string) error
	EndAccount(name string, now time.Time) (won bool, err error)
	AddApp(account, app string, now time.Time) error
	RemoveApp(account, app string) (won bool, err error)
	InsertInvitation(i Invitation) error
	// TakeInvitation removes an invitation that has not expired.
	TakeInvitation(hash []byte, now time.Time) (i Invitation, ok bool, err error)
	// InsertSession stores a session; some that have expired go.
	InsertSession(s Session) error
	// TouchSession notes when a session was last used.
	TouchSession(hash []byte, now time.Time) error
	EndSession(hash []byte) error
	// EndSessions ends all sessions of an account.
	EndSessions(account string) error
}

// Store is the ledger as accounts need it.
type Store interface {
	Write(ctx context.Context, f func(Tx) error) error
	Account(ctx context.Context, name string) (a Account, ok bool, err error)
	// Accounts returns accounts by name, ended ones included.
	Accounts(ctx context.Context, after string, limit int) ([]Account, error)
	// AppAccounts returns the developers of an app.
	AppAccounts(ctx context.Context, app string) ([]Account, error)
	Invitation(ctx context.Context, hash []byte) (i Invitation, ok bool, err error)
	// Session returns a session with its account.
	Session(ctx context.Context, hash []byte) (s Session, a Account, ok bool, err error)
}

// Accounts is the rules over a store.
type Accounts struct {
	store Store
	now   func() time.Time

	hashing   chan struct{} // a place for each password that is being hashed
	names     throttle
	addresses throttle
}

// Options of Accounts.
type Options struct {
	Store Store
	Now   func() time.Time // default time.Now
}

// New returns the rules of accounts.
func New(o Options) (*Accounts, error) {
	if o.Store == nil {
		return nil, errors.New("account: Store is needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Accounts{
		store: o.Store, now: o.Now, hashing: make(chan struct{}, hashingAtOnce),
		names: newThrottle(nameBurst, nameRefill), addresses: newThrottle(addressBurst, addressRefill),
	}, nil
}

// NameForm is the form of names, as a regular expression. Their letters are safe
// wherever they are shown, and one name is not another in different letter case.
const NameForm = `^[a-z0-9]([a-z0-9._@+-]{0,62}[a-z0-9])?$`

var nameForm = regexp.MustCompile(NameForm)

// CheckName refuses what is no name of an account.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return status.New(status.Invalid,
			"name: want at most 64 of a-z, 0-9, dot, dash, underscore, plus and @, with a letter or digit at both ends")
	}
	return nil
}

func hash(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

// or is the error, or what follows where there is none.
func or(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func noAccount(name string) error {
	return status.New(status.NotFound, "account %q: there is no such account", name)
}

// CreateOperator makes an operator. Conflict where the name is taken.
func (a *Accounts) CreateOperator(ctx context.Context, name, password string) (Account, error) {
	made, err := a.draft(ctx, name, password, Operator)
	if err != nil {
		return Account{}, err
	}
	return made, a.store.Write(ctx, func(tx Tx) error { return a.insert(ctx, tx, made) })
}

// draft is an account that is not stored yet.
func (a *Accounts) draft(ctx context.Context, name, password string, role Role) (Account, error) {
	if err := CheckName(name); err != nil {
		return Account{}, err
	}
	if err := CheckPassword(name, password); err != nil {
		return Account{}, err
	}
	kept, err := a.hashPassword(ctx, password)
	return Account{Name: name, Role: role, Password: kept, CreatedAt: a.now()}, err
}

func (a *Accounts) insert(ctx context.Context, tx Tx, made Account) error {
	_, taken, err := tx.Account(made.Name)
	switch {
	case err != nil:
		return err
	case taken:
		return status.New(status.Conflict, "name: %q is taken; choose another", made.Name)
	}
	if err := tx.InsertAccount(made); err != nil {
		return err
	}
	return access.WriteNote(ctx, tx, access.Note{
		At: a.now(), Action: access.AccountCreated, Detail: made.Name + ", " + string(made.Role),
	})
}

// SetPassword replaces a password; whoever is signed in with the old one is no
// longer.
func (a *Accounts) SetPassword(ctx context.Context, name, password string) error {
	if err := CheckPassword(name, password); err != nil {
		return err
	}
	kept, err := a.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	return a.store.Write(ctx, func(tx Tx) error {
		of, ok, err := tx.Account(name)
		if err != nil || !ok || !of.EndedAt.IsZero() {
			return or(err, noAccount(name))
		}
		if err := errors.Join(tx.SetPassword(name, kept), tx.EndSessions(name)); err != nil {
			return err
		}
		return access.WriteNote(ctx, tx, access.Note{At: a.now(), Action: access.PasswordSet, Detail: name})
	})
}

// Replace replaces a person's own password, who gives the present one, and begins
// a new session. Errors are those of SignIn.
func (a *Accounts) Replace(ctx context.Context, of Account, present, password, address string) (text string, err error) {
	if err := CheckPassword(of.Name, password); err != nil {
		return "", err
	}
	if _, err := a.prove(ctx, of.Name, present, address); err != nil {
		return "", err
	}
	if err := a.SetPassword(ctx, of.Name, password); err != nil {
		return "", err
	}
	text, _, err = a.Begin(ctx, of)
	return text, err
}

// End ends an account and its sessions at once. Its name stays taken: the audit
// log speaks of it.
func (a *Accounts) End(ctx context.Context, name string) error {
	return a.store.Write(ctx, func(tx Tx) error {
		won, err := tx.EndAccount(name, a.now())
		if err != nil || !won {
			return or(err, noAccount(name))
		}
		if err := tx.EndSessions(name); err != nil {
			return err
		}
		return access.WriteNote(ctx, tx, access.Note{At: a.now(), Action: access.AccountEnded, Detail: name})
	})
}

// List returns a page of accounts by name, and the cursor of the next.
func (a *Accounts) List(ctx context.Context, after string) ([]Account, string, error) {
	list, err := a.store.Accounts(ctx, after, event.Page+1)
	if err != nil {
		return nil, "", err
	}
	list, next := event.CutPage(list, func(of Account) string { return of.Name })
	return list, next, nil
}

// Of returns the developers of an app.
func (a *Accounts) Of(ctx context.Context, app string) ([]Account, error) {
	return a.store.AppAccounts(ctx, app)
}

// Leave takes an app from a developer.
func (a *Accounts) Leave(ctx context.Context, name, app string) error {
	return a.store.Write(ctx, func(tx Tx) error {
		won, err := tx.RemoveApp(name, app)
		if err != nil || !won {
			return or(err, status.New(status.NotFound, "account %q: it does not have the app %q", name, app))
		}
		return access.WriteNote(ctx, tx, access.Note{At: a.now(), App: app, Action: access.AccountLeft, Detail: name})
	})
}

// Invite makes an invitation to an app and returns the text that its link
// carries, this once.
func (a *Accounts) Invite(ctx context.Context, by, app string) (text string, i Invitation, err error) {
	text = access.NewSecret("okv_")
	i = Invitation{Hash: hash(text), App: app, MadeBy: by, CreatedAt: a.now(), ExpiresAt: a.now().Add(InvitationTTL)}
	err = a.store.Write(ctx, func(tx Tx) error {
		if _, ok, err := tx.App(app); err != nil || !ok {
			return or(err, status.New(status.NotFound, "app %q: no such app", app))
		}
		if err := tx.InsertInvitation(i); err != nil {
			return err
		}
		return access.WriteNote(ctx, tx, access.Note{At: a.now(), App: app, Action: access.InvitationMade})
	})
	return text, i, err
}

func errInvitation() error {
	return status.New(status.NotFound, "this invitation has expired, or was accepted already; ask an operator for another")
}

// Invitation returns an invitation that can be accepted.
func (a *Accounts) Invitation(ctx context.Context, text string) (Invitation, error) {
	i, ok, err := a.store.Invitation(ctx, hash(text))
	if err == nil && (!ok || !a.now().Before(i.ExpiresAt)) {
		err = errInvitation()
	}
	return i, err
}

// Accept makes a developer of who has an invitation.
func (a *Accounts) Accept(ctx context.Context, text, name, password string) (Account, error) {
	ctx = access.By(ctx, name)
	if _, err := a.Invitation(ctx, text); err != nil { // before the password costs anything
		return Account{}, err
	}
	made, err := a.draft(ctx, name, password, Developer)
	if err != nil {
		return Account{}, err
	}
	return made, a.store.Write(ctx, func(tx Tx) error {
		if err := a.insert(ctx, tx, made); err != nil {
			return err
		}
		i, ok, err := tx.TakeInvitation(hash(text), a.now())
		if err != nil || !ok {
			return or(err, errInvitation())
		}
		made.Apps = []string{i.App}
		return a.join(ctx, tx, name, i.App)
	})
}

// Join gives an app to a developer who has an invitation to it.
func (a *Accounts) Join(ctx context.Context, text string, to Account) error {
	if to.Role == Operator {
		return status.New(status.FailedPrecondition, "an operator has every app already; give the link to whom it is for")
	}
	return a.store.Write(ctx, func(tx Tx) error {
		i, ok, err := tx.TakeInvitation(hash(text), a.now())
		if err != nil || !ok {
			return or(err, errInvitation())
		}
		return a.join(ctx, tx, to.Name, i.App)
	})
}

func (a *Accounts) join(ctx context.Context, tx Tx, name, app string) error {
	if err := tx.AddApp(name, app, a.now()); err != nil {
		return err
	}
	return access.WriteNote(ctx, tx, access.Note{At: a.now(), App: app, Action: access.AccountJoined, Detail: name})
}
