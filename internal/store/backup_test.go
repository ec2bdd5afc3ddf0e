package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/store"
)

func TestCopyIsTheWholeLedger(t *testing.T) {
	t.Parallel()
	dir, rest := t.TempDir(), t.TempDir()
	s := open(t, store.Options{Dir: dir})
	w := newWorld(t, s)
	ok(t, open(t, store.Options{Dir: dir, ReadOnly: true}).CopyTo(t.Context(), filepath.Join(rest, "openkenar.db")))
	sameWorld(t, seen(t, open(t, store.Options{Dir: rest}), w), seen(t, s, w))
}

// TestCopyBesideWriters: a copy is of one moment. It has all that was answered
// before it began, and of a write all or nothing.
func TestCopyBesideWriters(t *testing.T) {
	t.Parallel()
	s := open(t, store.Options{Dir: t.TempDir()})
	const writers = 4
	began, done := make(chan struct{}, writers), make(chan struct{})
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			for n := 0; ; n++ {
				err := s.Chat().Write(t.Context(), func(tx chat.Tx) error {
					user := strconv.Itoa(i) + "-" + strconv.Itoa(n)
					m := chat.Stored{ID: user, Conversation: "c", User: user, SentAt: base, Hash: []byte{1}, Payload: []byte(`{}`), Event: tx.NextID()}
					if err := tx.EnsureUser(user, base); err != nil {
						return err
					}
					if _, err := tx.InsertMessages([]chat.Stored{m}); err != nil {
						return err
					}
					return happen(tx, m.Event, 0)
				})
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if n == 10 {
					began <- struct{}{}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range writers {
		<-began
	}
	for range 5 {
		rest := t.TempDir()
		ok(t, s.CopyTo(t.Context(), filepath.Join(rest, "openkenar.db")))
		c := open(t, store.Options{Dir: rest, ReadOnly: true})
		ok(t, c.Check(t.Context()))
		a := audit(t, c)
		if a.Unaccounted != 0 || a.Events < writers*10 {
			t.Errorf("the copy has %d events; unaccounted for: %q", a.Events, a.Findings)
		}
		_, known, err := c.User(t.Context(), "0-10")
		ok(t, err)
		if messages, err := c.Messages(t.Context(), "c", 0, 1_000_000); !known || int64(len(messages)) != a.Events || err != nil {
			t.Errorf("the copy has %d messages of %d events, %v", len(messages), a.Events, err)
		}
	}
	close(done)
	writing.Wait()
}

func TestCheckFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, store.Options{Dir: t.TempDir()})
	newWorld(t, s)
	path := filepath.Join(dir, "a copy")
	ok(t, s.CopyTo(t.Context(), path))
	if err := s.CopyTo(t.Context(), path); err == nil {
		t.Error("a copy was written over another")
	}
	content, err := os.ReadFile(path)
	ok(t, err)
	page := bytes.Index(content, []byte("an answer")) &^ 4095 // of the log of attempts
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ok(t, err)
	_, err = f.WriteAt(make([]byte, 4096), int64(page))
	ok(t, errors.Join(err, f.Close()))
	if err := open(t, store.Options{Dir: dir, File: "a copy", ReadOnly: true}).Check(t.Context()); err == nil {
		t.Error("a broken ledger passed")
	}
}
