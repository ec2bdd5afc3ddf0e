package store_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

const (
	// contested is the environment variable that makes the test binary one of the
	// processes that contend for the ledger it names.
	contested = "TEST_CONTESTED"

	contenders = 2 // processes
	writers    = 4 // of each, with a connection of its own
	rounds     = 200
)

// spoils is what a process has won: of each thing that all tried to do, how
// often one of its writers was told that it was the one.
type spoils struct {
	Messages, Codes map[string]int
	Told            []int64 // events, in the order in which one writer was told
}

// TestProcessesContend: eight connections of two processes do the same things at
// the same time. Each thing happens once, one writer is told that it was the one,
// and all is accounted for.
func TestProcessesContend(t *testing.T) {
	if url := os.Getenv(contested); url != "" {
		contend(t, url)
		return
	}
	t.Parallel()
	url := storetest.Postgres(t)
	s := open(t, store.Options{URL: url})
	prepareCodes(t, s)

	var all []*contender
	for range contenders {
		all = append(all, startContender(t, url))
	}
	messages, codes := map[string]int{}, map[string]int{}
	for _, c := range all {
		ok(t, c.begin())
	}
	for _, c := range all {
		won := c.end()
		if len(won.Messages) == 0 || len(won.Codes) == 0 {
			t.Errorf("a process has won %d messages and %d codes: the other did not contend", len(won.Messages), len(won.Codes))
		}
		for name, n := range won.Messages {
			messages[name] += n
		}
		for name, n := range won.Codes {
			codes[name] += n
		}
		for i := 1; i < len(won.Told); i++ {
			if won.Told[i] <= won.Told[i-1] {
				t.Errorf("a writer got event %d after %d", won.Told[i], won.Told[i-1])
			}
		}
	}
	for n := range rounds {
		if m, c := messages[messageName(n)], codes[codeName(n)]; m != 1 || c != 1 {
			t.Errorf("message %d is new to %d writers, code %d was redeemed by %d; want 1", n, m, n, c)
		}
	}
	list, err := s.Messages(t.Context(), "c", 0, 2*rounds)
	ok(t, err)
	audit, err := s.Audit(t.Context(), func(int64) {})
	ok(t, err)
	if len(list) != rounds || audit.Pending != rounds || audit.Unaccounted != 0 {
		t.Errorf("%d messages are in the ledger, want %d; audit: %+v", len(list), rounds, audit)
	}
}

func messageName(n int) string { return fmt.Sprint("m-", n) }

func codeName(n int) string { return fmt.Sprint("code-", n) }

// prepareCodes makes the codes that are contended for.
func prepareCodes(t *testing.T, s *store.Store) {
	t.Helper()
	beat(t, s)
	write(t, s, func(tx chat.Tx) error {
		all := tx.(*store.Tx)
		app := access.NewApp()
		app.Slug, app.SealedKey = "a", []byte("sealed")
		grant := tx.NextID()
		err := errors.Join(all.InsertApp(app), tx.EnsureUser("u", base), all.InsertGrant(access.Grant{ID: grant, App: "a", User: "u", GrantedAt: base}))
		for n := range rounds {
			err = errors.Join(err, all.InsertCode(oauth.Code{
				Hash: []byte(codeName(n)), App: "a", User: "u", Grant: grant, ExpiresAt: time.Now().Add(time.Hour),
			}))
		}
		return err
	})
}

// contender is a process, as this one sees it.
type contender struct {
	t     *testing.T
	cmd   *exec.Cmd
	begin func() error // lets it begin
	out   *bufio.Reader
}

// startContender returns once the process has its connections.
func startContender(t *testing.T, url string) *contender {
	t.Helper()
	program, err := os.Executable()
	ok(t, err)
	c := &contender{t: t, cmd: exec.CommandContext(t.Context(), program, "-test.run=^TestProcessesContend$")}
	c.cmd.Env = append(os.Environ(), contested+"="+url)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	ok(t, err)
	c.begin = in.Close
	out, err := c.cmd.StdoutPipe()
	ok(t, err)
	c.out = bufio.NewReader(out)
	ok(t, c.cmd.Start())
	if line, err := c.out.ReadString('\n'); line != ready {
		t.Fatalf("a process that contends says %q: %v", line, err)
	}
	return c
}

// end returns what the process has won.
func (c *contender) end() (won spoils) {
	c.t.Helper()
	line, err := c.out.ReadBytes('\n')
	rest, readErr := io.ReadAll(c.out)
	if err = errors.Join(err, json.Unmarshal(line, &won), readErr, c.cmd.Wait()); err != nil {
		c.t.Fatalf("a process that contends: %v: %s%s", err, line, rest)
	}
	return won
}

// ready is what a process says when it has its connections.
const ready = "ready\n"

// contend is one of the processes. It prints what it has won.
func contend(t *testing.T, url string) {
	won := spoils{Messages: map[string]int{}, Codes: map[string]int{}}
	var all []*store.Store
	for range writers {
		s := open(t, store.Options{URL: url})
		beat(t, s)
		all = append(all, s)
	}
	_, err := os.Stdout.WriteString(ready)
	ok(t, err)
	_, err = io.Copy(io.Discard, os.Stdin) // until all may begin
	ok(t, err)
	var mu sync.Mutex
	var writing sync.WaitGroup
	for w, s := range all {
		writing.Go(func() {
			for n := range rounds {
				var id int64
				var isNew, used bool
				err := s.Chat().Write(t.Context(), func(tx chat.Tx) (err error) {
					id = tx.NextID()
					if isNew, err = sayOnce(tx, messageName(n), id); err != nil {
						return err
					}
					used, err = tx.(*store.Tx).UseCode([]byte(codeName(n)), base)
					return err
				})
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				mu.Lock()
				if isNew {
					won.Messages[messageName(n)]++
				}
				if used {
					won.Codes[codeName(n)]++
				}
				if w == 0 {
					won.Told = append(won.Told, id)
				}
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	ok(t, json.NewEncoder(os.Stdout).Encode(won))
}

// sayOnce writes a message and its event, unless it is there.
func sayOnce(tx chat.Tx, name string, id int64) (isNew bool, err error) {
	m := chat.Stored{ID: name, Conversation: "c", User: "u", SentAt: base, Hash: []byte{1}, Payload: []byte(`{}`), Event: id}
	inserted, err := tx.InsertMessages([]chat.Stored{m})
	if err != nil || !inserted[0] {
		return false, err
	}
	return true, tx.InsertEvent(event.Event{ID: id, Type: event.NewMessageOnPost, At: base, Key: "conversation c", Payload: m.Payload},
		[]event.Verdict{{App: "a", State: delivery.Pending}})
}
