package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/store"
)

var accountTests = tests{
	"an account comes back with its apps":            accountRoundTrip,
	"accounts are listed by name, page by page":      accountPages,
	"an account ends once":                           accountEnds,
	"one invitation makes one developer":             invitationOnce,
	"an invitation that has expired is not taken":    invitationExpires,
	"sessions come back, are touched, and end":       sessionRoundTrip,
	"the audit log is read from its end, and by app": notesNewestFirst,
	"the grants of an app are those that live":       grantsOfApp,
}

// person makes an account, and the apps a and b.
func person(t *testing.T, l *ledger, name string, role account.Role) {
	t.Helper()
	l.write(func(tx *store.Tx) error {
		for _, slug := range []string{"a", "b"} {
			if _, found, err := tx.App(slug); err != nil || found {
				return err
			}
			app := access.NewApp()
			app.Slug, app.SealedKey = slug, []byte{1}
			if err := tx.InsertApp(app); err != nil {
				return err
			}
		}
		return nil
	})
	l.write(func(tx *store.Tx) error {
		return tx.InsertAccount(account.Account{Name: name, Role: role, Password: "kept", CreatedAt: base})
	})
}

func accountRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	person(t, l, "dev", account.Developer)
	l.write(func(tx *store.Tx) error { return tx.AddApp("dev", "b", base) })
	l.write(func(tx *store.Tx) error { return tx.AddApp("dev", "a", base) })
	l.write(func(tx *store.Tx) error { return tx.AddApp("dev", "a", base) })
	l.write(func(tx *store.Tx) error { return tx.SetPassword("dev", "other") })
	want := account.Account{Name: "dev", Role: account.Developer, Password: "other", Apps: []string{"a", "b"}, CreatedAt: base}
	got, found, err := l.Accounts().Account(t.Context(), "dev")
	if ok(t, err); !found {
		t.Fatal("the account is not there")
	}
	same(t, "outside", got, want)
	l.write(func(tx *store.Tx) (err error) { got, _, err = tx.Account("dev"); return err })
	same(t, "in a transaction", got, want)
	of, err := l.Accounts().AppAccounts(t.Context(), "a")
	ok(t, err)
	same(t, "of the app", of, []account.Account{want})
	for _, first := range []bool{true, false} {
		l.write(func(tx *store.Tx) error {
			if won, err := tx.RemoveApp("dev", "a"); won != first || err != nil {
				t.Errorf("taken away: %t, %v", won, err)
			}
			return nil
		})
	}
	if of, err = l.Accounts().AppAccounts(t.Context(), "a"); len(of) != 0 || err != nil {
		t.Errorf("after that the app has %v, %v", of, err)
	}
	if _, found, err := l.Accounts().Account(t.Context(), "nobody"); found || err != nil {
		t.Errorf("an account that is not there: %t, %v", found, err)
	}
}

func accountPages(t *testing.T, open opener) {
	l := newLedger(t, open)
	for n := range 5 {
		person(t, l, fmt.Sprintf("n%d", n), account.Operator)
	}
	page, err := l.Accounts().Accounts(t.Context(), "n1", 2)
	if ok(t, err); len(page) != 2 || page[0].Name != "n2" || page[1].Name != "n3" {
		t.Errorf("two after n1: %v", page)
	}
}

func accountEnds(t *testing.T, open opener) {
	l := newLedger(t, open)
	person(t, l, "dev", account.Developer)
	for _, first := range []bool{true, false} {
		l.write(func(tx *store.Tx) error {
			if won, err := tx.EndAccount("dev", base); won != first || err != nil {
				t.Errorf("ended: %t, %v", won, err)
			}
			return nil
		})
	}
	got, _, err := l.Accounts().Account(t.Context(), "dev")
	if ok(t, err); !got.EndedAt.Equal(base) {
		t.Errorf("it ended at %s", got.EndedAt)
	}
}

func invitation(l *ledger, hash string, expires time.Time) {
	l.write(func(tx *store.Tx) error {
		return tx.InsertInvitation(account.Invitation{Hash: []byte(hash), App: "a", MadeBy: "ops", CreatedAt: base, ExpiresAt: expires})
	})
}

// invitationOnce lets many take one invitation.
func invitationOnce(t *testing.T, open opener) {
	l := newLedger(t, open)
	person(t, l, "ops", account.Operator)
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	invitation(l, "link", expires)
	i, found, err := l.Accounts().Invitation(t.Context(), []byte("link"))
	if ok(t, err); !found {
		t.Fatal("the invitation is not there")
	}
	same(t, "invitation", i, account.Invitation{Hash: []byte("link"), App: "a", MadeBy: "ops", CreatedAt: base, ExpiresAt: expires})
	var won atomic.Int32
	var taking sync.WaitGroup
	for range 20 {
		taking.Go(func() {
			err := l.Accounts().Write(t.Context(), func(tx account.Tx) error {
				_, taken, err := tx.TakeInvitation([]byte("link"), expires.Add(-time.Second))
				if taken {
					won.Add(1)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	taking.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have taken it", won.Load())
	}
}

func invitationExpires(t *testing.T, open opener) {
	l := newLedger(t, open)
	person(t, l, "ops", account.Operator)
	invitation(l, "link", base)
	l.write(func(tx *store.Tx) error {
		if _, taken, err := tx.TakeInvitation([]byte("link"), base); taken || err != nil {
			t.Errorf("at its end it is taken: %t, %v", taken, err)
		}
		return nil
	})
	invitation(l, "next", base) // which sweeps the first out
	if _, found, err := l.Accounts().Invitation(t.Context(), []byte("link")); found || err != nil {
		t.Errorf("it is there: %t, %v", found, err)
	}
}

func sessionRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	person(t, l, "ops", account.Operator)
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	for _, name := range []string{"one", "two", "three"} {
		l.write(func(tx *store.Tx) error {
			return tx.InsertSession(account.Session{Hash: []byte(name), Account: "ops", CreatedAt: base, SeenAt: base, ExpiresAt: expires})
		})
	}
	l.write(func(tx *store.Tx) error { return tx.TouchSession([]byte("one"), base.Add(time.Minute)) })
	l.write(func(tx *store.Tx) error { return tx.TouchSession([]byte("one"), base) })
	s, of, found, err := l.Accounts().Session(t.Context(), []byte("one"))
	if ok(t, err); !found || of.Name != "ops" {
		t.Fatalf("found %t, of %q", found, of.Name)
	}
	same(t, "session", s, account.Session{
		Hash: []byte("one"), Account: "ops", CreatedAt: base, SeenAt: base.Add(time.Minute), ExpiresAt: expires,
	})
	l.write(func(tx *store.Tx) error { return tx.EndSession([]byte("one")) })
	there := func(name string) bool {
		t.Helper()
		_, _, found, err := l.Accounts().Session(t.Context(), []byte(name))
		ok(t, err)
		return found
	}
	if there("one") || !there("two") {
		t.Error("the one that ended is there, or the other is not")
	}
	l.write(func(tx *store.Tx) error { return tx.EndSessions("ops") })
	if there("two") || there("three") {
		t.Error("after all have ended one is there")
	}
}

func notesNewestFirst(t *testing.T, open opener) {
	l := newLedger(t, open)
	var want []access.Note
	for n := range 6 {
		note := access.Note{At: base.Add(time.Duration(n) * time.Second), Who: "ops", App: []string{"a", "b"}[n%2], Action: access.AppChanged, Detail: "display\x00"}
		l.write(func(tx *store.Tx) error {
			note.ID = tx.NextID()
			return tx.InsertNote(note)
		})
		note.Detail = "display\ufffd"
		want = append([]access.Note{note}, want...)
	}
	all, err := l.Notes(t.Context(), "", 0, 4)
	ok(t, err)
	same(t, "all", all, want[:4])
	rest, err := l.Notes(t.Context(), "", all[3].ID, 4)
	ok(t, err)
	same(t, "the rest", rest, want[4:])
	of, err := l.Notes(t.Context(), "a", want[1].ID, 1)
	ok(t, err)
	same(t, "of an app", of, want[3:4])
}

func grantsOfApp(t *testing.T, open opener) {
	l := newLedger(t, open)
	person(t, l, "ops", account.Operator)
	var ids []int64
	for n := range 4 {
		l.write(func(tx *store.Tx) error {
			g := access.Grant{ID: tx.NextID(), App: []string{"a", "a", "a", "b"}[n], User: fmt.Sprintf("u%d", n), GrantedAt: base}
			ids = append(ids[:n], g.ID)
			return tx.InsertGrant(g)
		})
	}
	l.write(func(tx *store.Tx) error { return tx.RevokeGrant(ids[1], base) })
	list, err := l.AppGrants(t.Context(), "a", 0, 10)
	if ok(t, err); len(list) != 2 || list[0].User != "u0" || list[1].User != "u2" {
		t.Errorf("the app has %v", list)
	}
	if list, err = l.AppGrants(t.Context(), "a", ids[0], 10); len(list) != 1 || err != nil || list[0].ID != ids[2] {
		t.Errorf("after the first it has %v, %v", list, err)
	}
}
