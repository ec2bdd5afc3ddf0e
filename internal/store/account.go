package store

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
)

// Accounts returns the ledger as package account needs it.
func (s *Store) Accounts() account.Store { return accountStore{s} }

type accountStore struct{ *Store }

// Write implements account.Store.
func (s accountStore) Write(ctx context.Context, f func(account.Tx) error) error {
	return s.write(ctx, func(tx *Tx) error { return f(tx) })
}

var _ account.Tx = (*Tx)(nil)

// accountColumns are those of an account a.
const accountColumns = `a.name, a.role, a.password, a.created_at, a.ended_at`

func scanAccount(r scanner) (of account.Account, err error) {
	var created, ended int64
	err = r.Scan(&of.Name, &of.Role, &of.Password, &created, &ended)
	of.CreatedAt, of.EndedAt = moment(created), moment(ended)
	return of, err
}

// appsOfAccounts adds to accounts the apps that each has.
func appsOfAccounts(ctx context.Context, db querier, list []account.Account) error {
	for i, of := range list {
		var err error
		if list[i].Apps, err = rows(ctx, db, scanText, `SELECT app FROM account_apps WHERE account = $1 ORDER BY app`, of.Name); err != nil {
			return err
		}
	}
	return nil
}

func accounts(ctx context.Context, db querier, q string, args ...any) ([]account.Account, error) {
	list, err := rows(ctx, db, scanAccount, q, args...)
	if err != nil {
		return nil, err
	}
	return list, appsOfAccounts(ctx, db, list)
}

const accountByName = `SELECT ` + accountColumns + ` FROM accounts a WHERE a.name = $1`

// Account implements account.Store.
func (s accountStore) Account(ctx context.Context, name string) (account.Account, bool, error) {
	return one(accounts(ctx, &s.reading, accountByName, name))
}

// Account implements account.Tx.
func (tx *Tx) Account(name string) (account.Account, bool, error) {
	return one(accounts(tx.ctx, tx, accountByName, name))
}

// Accounts implements account.Store.
func (s accountStore) Accounts(ctx context.Context, after string, limit int) ([]account.Account, error) {
	return accounts(ctx, &s.reading, `SELECT `+accountColumns+` FROM accounts a WHERE a.name > $1 ORDER BY a.name LIMIT $2`, after, limit)
}

// AppAccounts implements account.Store.
func (s accountStore) AppAccounts(ctx context.Context, app string) ([]account.Account, error) {
	return accounts(ctx, &s.reading, `SELECT `+accountColumns+` FROM account_apps m JOIN accounts a ON a.name = m.account
		WHERE m.app = $1 AND a.ended_at = 0 ORDER BY m.account`, app)
}

// InsertAccount implements account.Tx.
func (tx *Tx) InsertAccount(of account.Account) error {
	return tx.run(`INSERT INTO accounts (name, role, password, created_at) VALUES ($1, $2, $3, $4)`,
		of.Name, string(of.Role), of.Password, micros(of.CreatedAt))
}

// SetPassword implements account.Tx.
func (tx *Tx) SetPassword(name, password string) error {
	return tx.run(`UPDATE accounts SET password = $2 WHERE name = $1`, name, password)
}

// EndAccount implements account.Tx.
func (tx *Tx) EndAccount(name string, now time.Time) (won bool, err error) {
	n, err := tx.exec(`UPDATE accounts SET ended_at = $2 WHERE name = $1 AND ended_at = 0`, name, micros(now))
	return n > 0, err
}

// AddApp implements account.Tx.
func (tx *Tx) AddApp(name, app string, now time.Time) error {
	return tx.run(`INSERT INTO account_apps (account, app, added_at) VALUES ($1, $2, $3) ON CONFLICT (account, app) DO NOTHING`,
		name, app, micros(now))
}

// RemoveApp implements account.Tx.
func (tx *Tx) RemoveApp(name, app string) (won bool, err error) {
	n, err := tx.exec(`DELETE FROM account_apps WHERE account = $1 AND app = $2`, name, app)
	return n > 0, err
}

// expiredAccountRows is how many dead invitations and sessions each new one
// sweeps out.
const expiredAccountRows = 64

// InsertInvitation implements account.Tx.
func (tx *Tx) InsertInvitation(i account.Invitation) error {
	if err := tx.run(`DELETE FROM invitations WHERE hash IN
		(SELECT hash FROM invitations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, micros(tx.store.now()), expiredAccountRows); err != nil {
		return err
	}
	return tx.run(`INSERT INTO invitations (hash, app, made_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
		i.Hash, i.App, i.MadeBy, micros(i.CreatedAt), micros(i.ExpiresAt))
}

const invitationColumns = `hash, app, made_by, created_at, expires_at`

func scanInvitation(r scanner) (i account.Invitation, err error) {
	var created, expires int64
	err = r.Scan(&i.Hash, &i.App, &i.MadeBy, &created, &expires)
	i.CreatedAt, i.ExpiresAt = moment(created), moment(expires)
	return i, err
}

// Invitation implements account.Store.
func (s accountStore) Invitation(ctx context.Context, hash []byte) (account.Invitation, bool, error) {
	return one(rows(ctx, &s.reading, scanInvitation, `SELECT `+invitationColumns+` FROM invitations WHERE hash = $1`, hash))
}

// TakeInvitation implements account.Tx.
func (tx *Tx) TakeInvitation(hash []byte, now time.Time) (account.Invitation, bool, error) {
	i, ok, err := one(rows(tx.ctx, tx, scanInvitation,
		`DELETE FROM invitations WHERE hash = $1 AND expires_at > $2 RETURNING `+invitationColumns, hash, micros(now)))
	if ok {
		tx.writes++
	}
	return i, ok, err
}

// InsertSession implements account.Tx.
func (tx *Tx) InsertSession(s account.Session) error {
	if err := tx.run(`DELETE FROM sessions WHERE hash IN
		(SELECT hash FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, micros(tx.store.now()), expiredAccountRows); err != nil {
		return err
	}
	return tx.run(`INSERT INTO sessions (hash, account, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
		s.Hash, s.Account, micros(s.CreatedAt), micros(s.SeenAt), micros(s.ExpiresAt))
}

// Session implements account.Store.
func (s accountStore) Session(ctx context.Context, hash []byte) (found account.Session, of account.Account, ok bool, err error) {
	found.Hash = hash
	var created, seen, expires int64
	ok, err = row(ctx, &s.reading, `SELECT account, created_at, seen_at, expires_at FROM sessions WHERE hash = $1`, []any{hash},
		&found.Account, &created, &seen, &expires)
	if err != nil || !ok {
		return found, of, false, err
	}
	found.CreatedAt, found.SeenAt, found.ExpiresAt = moment(created), moment(seen), moment(expires)
	of, ok, err = s.Account(ctx, found.Account)
	return found, of, ok, err
}

// TouchSession implements account.Tx.
func (tx *Tx) TouchSession(hash []byte, now time.Time) error {
	return tx.run(`UPDATE sessions SET seen_at = $2 WHERE hash = $1 AND seen_at < $2`, hash, micros(now))
}

// EndSession implements account.Tx.
func (tx *Tx) EndSession(hash []byte) error {
	return tx.run(`DELETE FROM sessions WHERE hash = $1`, hash)
}

// EndSessions implements account.Tx.
func (tx *Tx) EndSessions(name string) error {
	return tx.run(`DELETE FROM sessions WHERE account = $1`, name)
}

// InsertNote implements access.Tx.
func (tx *Tx) InsertNote(n access.Note) error {
	return tx.run(`INSERT INTO audit_log (id, at, who, app, action, detail) VALUES ($1, $2, $3, $4, $5, $6)`,
		n.ID, micros(n.At), n.Who, n.App, string(n.Action), legible(n.Detail))
}

func scanNote(r scanner) (n access.Note, err error) {
	var at int64
	err = r.Scan(&n.ID, &at, &n.Who, &n.App, &n.Action, &n.Detail)
	n.At = moment(at)
	return n, err
}

// Notes implements access.Store.
func (s *Store) Notes(ctx context.Context, app string, before int64, limit int) ([]access.Note, error) {
	const columns = `SELECT id, at, who, app, action, detail FROM audit_log WHERE `
	if before == 0 {
		before = 1<<63 - 1
	}
	if app == "" {
		return rows(ctx, &s.reading, scanNote, columns+`id < $1 ORDER BY id DESC LIMIT $2`, before, limit)
	}
	return rows(ctx, &s.reading, scanNote, columns+`app = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, app, before, limit)
}

// AppGrants implements access.Store.
func (s *Store) AppGrants(ctx context.Context, app string, after int64, limit int) ([]access.Grant, error) {
	return rows(ctx, &s.reading, scanGrant,
		`SELECT `+grantColumns+` FROM grants WHERE app = $1 AND id > $2 AND revoked_at = 0 ORDER BY id LIMIT $3`, app, after, limit)
}
