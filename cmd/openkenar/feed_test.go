package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

const (
	feedKills   = 20
	feedSenders = 3   // goroutines for each way to send
	feedSends   = 170 // of each goroutine that are answered
	feedEnd     = "the end"
	feedTime    = 2 * time.Minute // a machine that needs longer hangs
)

// shown is an item of the feed as a consumer saw it.
type shown struct{ cursor, app, user, typ, id, text string }

// UnmarshalJSON implements json.Unmarshaler.
func (s *shown) UnmarshalJSON(b []byte) error {
	var item struct {
		Cursor, App, User, Type string
		Message                 struct{ ID, Text string }
		Notification            struct{ ID, Message string }
	}
	err := json.Unmarshal(b, &item)
	*s = shown{item.Cursor, item.App, item.User, item.Type, item.Message.ID + item.Notification.ID, item.Message.Text + item.Notification.Message}
	return err
}

// consumer follows the feed, whatever becomes of the program, and keeps what
// it saw.
type consumer struct {
	marketplace
	saw    []shown
	lost   int // answers or connections that a kill ended, or that found nobody
	cursor string
}

// take keeps items, and returns whether they are the last.
func (c *consumer) take(items ...shown) (end bool) {
	for _, i := range items {
		c.saw, c.cursor, end = append(c.saw, i), i.cursor, i.text == feedEnd
	}
	return end
}

// poll follows the feed by calls that wait, until its end.
func (c *consumer) poll(ctx context.Context) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		var page struct {
			Items []shown
			Next  string
		}
		switch ok, err := c.get(ctx, "/feed?wait=30&after="+c.cursor, &page); {
		case err != nil:
			return err
		case !ok:
			if c.lost++; !next(ctx, again.C) {
				return ctx.Err()
			}
			continue
		}
		if c.take(page.Items...) {
			return nil
		}
		if page.Next != c.cursor {
			return fmt.Errorf("the last item is %s, next is %s", c.cursor, page.Next)
		}
	}
}

// follow follows the feed as server-sent events, until its end, and comes
// again as a browser does.
func (c *consumer) follow(ctx context.Context) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for ; ; c.lost++ {
		end, err := c.connect(ctx)
		if end || err != nil {
			return err
		}
		if !next(ctx, again.C) {
			return ctx.Err()
		}
	}
}

// connect reads a stream until the feed's end or its own.
func (c *consumer) connect(ctx context.Context) (end bool, err error) {
	req, err := c.request(ctx, http.MethodGet, "/feed", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-ID", c.cursor)
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		return false, nil // the program is not there; come again
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the stream is answered %d", resp.StatusCode)
	}
	data := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = text
		}
		if lines.Text() != "" || data == "" { // an event ends with an empty line; one that was cut off does not count
			continue
		}
		var s shown
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return false, err
		}
		if c.take(s) {
			return true, nil
		}
		data = ""
	}
	return false, nil
}

// get calls the host API; ok is false when the program was killed meanwhile.
func (m marketplace) get(ctx context.Context, path string, v any) (ok bool, err error) {
	req, err := m.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return false, err
	}
	answer, status, err := call(req)
	if err != nil {
		return false, nil //nolint:nilerr // the program is not there, or was killed
	}
	if status != http.StatusOK {
		return false, fmt.Errorf("GET %s: %d %s", path, status, answer)
	}
	return true, json.Unmarshal(answer, v)
}

// next waits for a tick, or returns false when there is no time left.
func next(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-tick:
		return true
	case <-ctx.Done():
		return false
	}
}

// speaker is the app, which sends in one way.
type speaker struct {
	key, token string
	target     string // URL
	field      string // of the text, in a body; "" for the query
}

// try sends a text; ok is false when the program was killed meanwhile.
func (s speaker) try(ctx context.Context, text string) (ok bool, err error) {
	target, body := s.target+url.QueryEscape(text), io.Reader(nil)
	if s.field != "" {
		in, err := json.Marshal(map[string]string{s.field: text})
		if err != nil {
			return false, err
		}
		target, body = s.target, bytes.NewReader(in)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return false, err
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Authorization", "Bearer "+s.token)
	answer, status, err := call(req)
	if err == nil && status != http.StatusOK {
		return false, fmt.Errorf("send %q: %d %s", text, status, answer)
	}
	return err == nil, nil
}

// speakers are the ways of an app to say something to the seller or for it.
func speakers(p *process) []speaker {
	app := speaker{key: p.dev.App.APIKey, token: p.dev.Users.Seller.AccessToken}
	in := func(field, path string) speaker {
		s := app
		s.target, s.field = p.dev.BaseURL+path, field
		return s
	}
	return []speaker{
		in("message", "/v2/open-platform/conversations/"+p.dev.ConversationID+"/messages"),
		in("text_message", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages"),
		in("text_message", "/v1/open-platform/chat/bot/users/"+p.dev.Users.Seller.AppUserID+"/messages"),
		in("", "/experimental/open-platform/events/send?target_type=POST&target_resource_id="+p.dev.PostToken+"&message="),
	}
}

// sendings is what the app knows: each text that it tried to send, and whether
// that was answered.
type sendings struct {
	mu       sync.Mutex
	answered map[string]bool
	one      chan struct{} // receives for each that was answered
}

// send sends texts until n are answered. Every try has a text of its own, so
// that it is known which of them has to be there.
func (s *sendings) send(ctx context.Context, by speaker, name string, n int) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for i := 0; n > 0; i++ {
		text := fmt.Sprintf("%s-%d", name, i)
		ok, err := by.try(ctx, text)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.answered[text] = ok
		s.mu.Unlock()
		if ok {
			n--
			s.one <- struct{}{}
		} else if !next(ctx, again.C) {
			return ctx.Err()
		}
	}
	return nil
}

// TestFeed kills the program while apps send and the marketplace follows what
// they did: what it saw equals what the store holds, in order, and every send
// that was answered is there.
func TestFeed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), feedTime)
	defer cancel()
	p := &process{t: t, Place: server.Place{Data: t.TempDir()}}
	p.args = []string{"dev", "--data", p.Data, "--listen", freeAddress(t)}
	p.start()
	host := marketplace{base: p.dev.BaseURL, key: p.dev.HostKey}
	polls, follows := &consumer{marketplace: host}, &consumer{marketplace: host}
	failed := make(chan error, 1)
	var working, consuming sync.WaitGroup
	in := func(group *sync.WaitGroup, f func() error) {
		group.Go(func() {
			if err := f(); err != nil {
				select {
				case failed <- err:
				default:
				}
				cancel()
			}
		})
	}
	in(&consuming, func() error { return polls.poll(ctx) })
	in(&consuming, func() error { return follows.follow(ctx) })
	ways := speakers(p)
	total := len(ways) * feedSenders * feedSends
	sent := &sendings{answered: map[string]bool{}, one: make(chan struct{}, total+1)}
	for i := range len(ways) * feedSenders {
		in(&working, func() error { return sent.send(ctx, ways[i%len(ways)], fmt.Sprintf("m-%d", i), feedSends) })
	}

	answered := 0
	for k := range feedKills {
		// The next kill comes after a random part of the next share of the
		// sends, so that every one falls into them.
		for until := (k*total + rand.IntN(total)) / (feedKills + 1); answered < until; answered++ {
			select {
			case <-sent.one:
			case <-ctx.Done():
				t.Fatalf("%v: %v", ctx.Err(), <-failed)
			}
		}
		p.kill()
		p.start()
	}
	working.Wait()
	if ctx.Err() == nil { // the consumers go home when they have seen this
		if ok, err := ways[0].try(ctx, feedEnd); !ok {
			t.Fatalf("the last send: %v", err)
		}
		sent.answered[feedEnd] = true
	}
	consuming.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}

	again := &consumer{marketplace: host}
	if err := again.poll(ctx); err != nil || again.lost != 0 {
		t.Fatalf("the feed from its start: %v, %d answers lost", err, again.lost)
	}
	same(t, "polling", polls.saw, again.saw)
	same(t, "the stream", follows.saw, again.saw)
	checkFeed(t, p, again.saw)
	unanswered := sent.check(t, again.saw)
	p.kill()
	audit := audit(t, p.Place)
	if audit.Unaccounted != 0 {
		t.Errorf("audit: %+v", audit)
	}
	t.Logf("kills %d · sends answered %d · tries without an answer %d, of them stored %d · items on the feed %d · "+
		"calls that a kill ended or refused: polling %d, stream %d · unaccounted %d",
		feedKills, total+1, len(sent.answered)-total-1, unanswered, len(again.saw), polls.lost, follows.lost, audit.Unaccounted)
}

// same compares what a consumer saw with the feed as it is.
func same(t *testing.T, who string, saw, want []shown) {
	t.Helper()
	for i := range min(len(saw), len(want)) {
		if saw[i] != want[i] {
			t.Fatalf("%s: item %d is %+v, want %+v", who, i, saw[i], want[i])
		}
	}
	if len(saw) != len(want) {
		t.Errorf("%s saw %d items, want %d", who, len(saw), len(want))
	}
}

// checkFeed compares the feed with the conversations and notifications of the
// store: each is on the feed once, in the order in which they stand there.
func checkFeed(t *testing.T, p *process, feed []shown) {
	t.Helper()
	host := marketplace{base: p.dev.BaseURL, key: p.dev.HostKey}
	type thing struct{ typ, conversation, id, text string }
	var stored []thing
	for _, conversation := range []string{p.dev.ConversationID, p.dev.BotConversationID} {
		for after := "0"; after != ""; {
			var page struct {
				Messages []struct{ ID, Text string }
				Next     string
			}
			if ok, err := host.get(t.Context(), "/conversations/"+conversation+"/messages?after="+after, &page); !ok || err != nil {
				t.Fatalf("read %s after %s: %v", conversation, after, err)
			}
			for _, m := range page.Messages {
				stored = append(stored, thing{"MESSAGE", conversation, m.ID, m.Text})
			}
			after = page.Next
		}
	}
	messages := len(stored)
	for after := ""; ; {
		var page struct {
			Notifications []struct{ ID, Message string }
			Next          string
		}
		if ok, err := host.get(t.Context(), "/users/seller/notifications?after="+after, &page); !ok || err != nil {
			t.Fatalf("read notifications after %s: %v", after, err)
		}
		for _, n := range page.Notifications {
			stored = append(stored, thing{"NOTIFICATION", "", n.ID, n.Message})
		}
		if after = page.Next; after == "" {
			break
		}
	}
	slices.Reverse(stored[messages:]) // they come newest first

	place := map[string]int{} // of a stored thing, by id
	for i, s := range stored {
		if _, twice := place[s.id]; twice {
			t.Fatalf("the store lists %s twice", s.id)
		}
		place[s.id] = i
	}
	last := map[string]int{} // place of the newest, by conversation
	for i, f := range feed {
		at, ok := place[f.id]
		if !ok {
			t.Fatalf("%+v is on the feed, and not or not once in the store", f)
		}
		delete(place, f.id)
		s := stored[at]
		if f != (shown{strconv.Itoa(i + 1), "sample-app", "seller", s.typ, s.id, s.text}) {
			t.Fatalf("item %d of the feed is %+v, the store has %+v", i+1, f, s)
		}
		if before, ok := last[s.conversation]; ok && at != before+1 {
			t.Fatalf("%+v is on the feed out of its order", f)
		}
		last[s.conversation] = at
	}
	for id := range maps.Keys(place) {
		t.Errorf("%+v is in the store, and not on the feed", stored[place[id]])
	}
}

// check makes sure that each send that was answered is on the feed once, and
// the others at most once; it returns how many of those there are.
func (s *sendings) check(t *testing.T, feed []shown) (unanswered int) {
	t.Helper()
	times := map[string]int{}
	for _, f := range feed {
		times[f.text]++
	}
	for text, n := range times {
		if _, ok := s.answered[text]; !ok || n > 1 {
			t.Errorf("%q is on the feed %d times; sent: %t", text, n, ok)
		}
	}
	for text, answered := range s.answered {
		switch {
		case answered && times[text] == 0:
			t.Errorf("%q was answered, and is not on the feed", text)
		case !answered:
			unanswered += times[text]
		}
	}
	return unanswered
}
