//go:build unix

package kenar_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/openkenar/openkenar/kenar"
)

// TestPlatformIsNotReady: 503, when the platform's ledger takes no writes. The
// test holds the ledger's lock of writers, byte 120 of the file beside it (SQLite,
// "WAL-mode File Format", 2.4), as another process that writes would.
func TestPlatformIsNotReady(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	c := newClient(t, p)
	file, err := os.OpenFile(filepath.Join(p.data, "openkenar.db-shm"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	lock := func(kind int16) {
		t.Helper()
		eventually(t, "the lock is ours to set", func() bool {
			return syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: kind, Start: 120, Len: 1}) == nil
		})
	}
	if err := c.SendAsBot(t.Context(), p.dev.BotConversationID, kenar.BotMessage{Text: "before"}); err != nil { // so that the key's last use is noted
		t.Fatal(err)
	}
	said := len(p.said(p.dev.BotConversationID))
	lock(syscall.F_WRLCK)
	err = c.SendAsBot(t.Context(), p.dev.BotConversationID, kenar.BotMessage{Text: "now"})
	isError(t, "send", err, kenar.ErrUnavailable, 503, 14)
	lock(syscall.F_UNLCK)
	if err := c.SendAsBot(t.Context(), p.dev.BotConversationID, kenar.BotMessage{Text: "later"}); err != nil {
		t.Fatal(err)
	}
	if n := len(p.said(p.dev.BotConversationID)) - said; n != 1 {
		t.Errorf("%d messages were sent, want the second alone", n)
	}
}
