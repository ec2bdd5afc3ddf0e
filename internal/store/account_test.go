package store_test

import (
	"testing"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/store"
)

// TestNothingChangesInTheAuditLog: not by whoever has the database, either.
func TestNothingChangesInTheAuditLog(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, at func(t *testing.T) store.Options) {
		here := at(t)
		s := open(t, here)
		write(t, s, func(tx chat.Tx) error {
			return tx.(*store.Tx).InsertNote(access.Note{ID: tx.NextID(), At: base, Who: "ops", Action: access.AppChanged})
		})
		db := raw(t, here)
		for _, q := range []string{`UPDATE audit_log SET who = 'nobody'`, `DELETE FROM audit_log`} {
			if _, err := db.ExecContext(t.Context(), q); err == nil {
				t.Errorf("%s was carried out", q)
			}
		}
		if notes, err := s.Notes(t.Context(), "", 0, 10); len(notes) != 1 || err != nil || notes[0].Who != "ops" {
			t.Errorf("the log is %v, %v", notes, err)
		}
	})
}
