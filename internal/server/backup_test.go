package server_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store"
)

// TestUnprovenBackup: a copy that does not prove itself does not get the name
// of a backup.
func TestUnprovenBackup(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Chat().Write(t.Context(), func(tx chat.Tx) error {
		_, err := tx.InsertMessages([]chat.Stored{{ID: "m", Event: tx.NextID(), SentAt: time.Now(), Hash: []byte{}}}) // and no event
		return err
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	b, err := server.BackUp(t.Context(), data, file, func(int64) {})
	if err != nil || b.Audit.Unaccounted != 1 || b.File != file+".partial" {
		t.Errorf("got %+v, %v; want the message without an event, and the copy as .partial", b, err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy got its name: %v", err)
	}
}
