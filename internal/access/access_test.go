package access_test

import (
	"context"
	"testing"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/webhook"
)

// newAccess returns the rules over a ledger, with nobody to tell of changes.
func newAccess(t testing.TB, s *store.Store) *access.Access {
	t.Helper()
	keyring, err := access.NewKeyring(access.NewMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := access.New(access.Options{
		Store: s.Access(), Keyring: keyring, Guard: webhook.NewGuard(),
		Changed: func(string) {}, Silence: func(context.Context, int64) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}
