package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

const (
	backApps          = 8
	backConversations = 90
	backMessages      = 2 * backConversations // for each app, before anything is sent
	backLane          = 32                    // sends of one app that may be under way at first
	backCallbacks     = backApps * backLane
	backClicks        = 4                // of each app; and as many sessions
	backTime          = 30 * time.Second // a send is given up after 10
)

// rush is what the apps of TestCallbacks have in common.
type rush struct {
	*platform
	full     chan struct{}  // closed when every lane is full
	filling  sync.WaitGroup // one for each send until then
	released chan struct{}  // closed when every callback has been answered
	calling  sync.WaitGroup // one for each callback

	mu    sync.Mutex
	waits map[string][]time.Duration // for an answer, by what was asked
}

// took notes how long a call took, and fails the test unless it was answered
// with 200, and while every lane was full.
func (r *rush) took(what string, begun time.Time, a answer, err error) {
	wait := time.Since(begun)
	if err != nil || a.status != http.StatusOK {
		r.t.Errorf("%s after %s: %v: %s: %d %s", what, wait, err, a.call, a.status, a.body)
	}
	select {
	case <-r.released:
		r.t.Errorf("%s was answered when the lanes were no longer full", what)
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits[what] = append(r.waits[what], wait)
}

// figures are the times of calls, in words.
func (r *rush) figures(what string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	waits := slices.Sorted(slices.Values(r.waits[what]))
	if len(waits) == 0 {
		return "no " + what
	}
	at := func(q float64) time.Duration {
		return waits[int(q*float64(len(waits)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("%d %s: p50 %s · p99 %s · max %s", len(waits), what, at(0.5), at(0.99), at(1))
}

// chatty is an app that calls back whenever it is called.
type chatty struct {
	*rush
	slug, key, token string
	bot              string // its chatbot's conversation with the seller
	message          string // in it, with a button

	mu                   sync.Mutex
	arrived, active, top int // webhooks: all, now, and the most at a time
}

// newChatty makes an app that hears everything on the seller's post, and is
// paused.
func newChatty(r *rush, slug string) *chatty {
	r.t.Helper()
	c := &chatty{rush: r, slug: slug, bot: "bot-" + slug}
	mux := http.NewServeMux()
	mux.HandleFunc("/hook", c.hear)
	mux.HandleFunc("/act", func(w http.ResponseWriter, _ *http.Request) {
		c.inside(w, `{"text_message":"done"}`, func() (answer, error) {
			return c.ask("POST", "/v1/open-platform/chat/bot/conversations/"+c.bot+"/messages", `{"text_message":"clicked"}`)
		})
	})
	mux.HandleFunc("/init", func(w http.ResponseWriter, _ *http.Request) {
		c.inside(w, `{"url":"https://app.test/"}`, func() (answer, error) {
			return c.ask("GET", "/v1/open-platform/finder/post/gZd7omnS", "")
		})
	})
	srv := httptest.NewServer(mux)
	r.t.Cleanup(srv.Close)

	const permissions = `"permissions":["EVENTS_REGISTER_SUBSCRIPTION","CHAT_SEND_MESSAGE_OAUTH","CHAT_BOT_SEND_MESSAGE","CHAT_READ_CONVERSATION","GET_POST"]`
	r.host("POST", "/apps", fmt.Sprintf(`{"slug":%q,"event_url":"%s/hook","session_initialization_url":"%[2]s/init","dynamic_action_url":"%[2]s/act",
		"touchpoints":[{"touchpoint":"CHAT","action":"LOAD_WEBVIEW_SERVER_LINK"}],"paused":true,`+permissions+`}`, slug, srv.URL)).ok()
	var k struct{ Key string }
	r.host("POST", "/apps/"+slug+"/keys", `{`+permissions+`}`).ok().into(&k)
	c.key = k.Key
	scopes := []string{"CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"}
	for i := range backConversations {
		scopes = append(scopes, fmt.Sprintf("CHAT_CONVERSATION_READ.c%d", i))
	}
	c.token = r.tokenOf(slug, "seller", "1h", scopes...)
	setUp := func(method, path, body string) {
		a, err := c.ask(method, path, body)
		if err != nil {
			r.t.Fatal(err)
		}
		a.ok()
	}
	setUp("POST", "/v1/open-platform/events/subscriptions", `{"event_type":"NEW_MESSAGE_ON_POST"}`)
	r.host("PUT", "/conversations/"+c.bot, `{"type":"BOT","app":"`+slug+`","user":"seller"}`).ok()
	setUp("POST", "/v1/open-platform/chat/bot/conversations/"+c.bot+"/messages",
		`{"text_message":"hi","buttons":{"rows":[{"buttons":[{"caption":"c","action":{"get_dynamic_action":{}}}]}]}}`)
	c.message = r.last().id()
	return c
}

// ask calls the open API.
func (c *chatty) ask(method, path, body string) (answer, error) {
	return c.try(method, path, body, "X-API-Key: "+c.key, "Authorization: Bearer "+c.token)
}

// hear receives webhooks. The first ones, as many as the lane takes, wait until
// every lane is full, call back, and wait until all of them and all who click
// have been answered.
func (c *chatty) hear(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.arrived++
	c.active++
	c.top = max(c.top, c.active)
	n := c.arrived
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.active--
	}()
	if n > backLane {
		return
	}
	c.filling.Done()
	if !c.wait(r, c.full) {
		return
	}
	begun := time.Now()
	a, err := c.callBack(n, body)
	c.took("callbacks", begun, a, err)
	c.calling.Done()
	c.wait(r, c.released)
}

// wait returns false when the sender does not wait as long.
func (c *chatty) wait(r *http.Request, until <-chan struct{}) bool {
	select {
	case <-until:
		return true
	case <-r.Context().Done():
		c.t.Errorf("%s: a webhook was given up", c.slug)
		return false
	}
}

// callBack calls the open API from inside the n-th webhook.
func (c *chatty) callBack(n int, webhook []byte) (answer, error) {
	var hook struct {
		Message struct{ Conversation struct{ ID string } } `json:"new_message"`
	}
	if err := json.Unmarshal(webhook, &hook); err != nil {
		return answer{}, err
	}
	conversation := hook.Message.Conversation.ID
	switch n % 8 {
	case 0: // is heard by every app, after the webhook that it is sent from
		return c.ask("POST", "/v2/open-platform/conversations/"+conversation+"/messages", `{"message":"reply"}`)
	case 1, 2, 3:
		return c.ask("POST", "/v1/open-platform/chat/bot/conversations/"+c.bot+"/messages", `{"text_message":"heard"}`)
	case 4, 5:
		return c.ask("GET", "/v1/open-platform/chat/conversations/"+conversation, "")
	default:
		return c.ask("GET", "/v1/open-platform/finder/post/gZd7omnS", "")
	}
}

// inside calls back from inside a call that a user waits for, and answers that.
func (c *chatty) inside(w http.ResponseWriter, body string, callBack func() (answer, error)) {
	begun := time.Now()
	a, err := callBack()
	c.took("callbacks from actions and sessions", begun, a, err)
	_, _ = io.WriteString(w, body)
}

// clicks clicks the app's button and opens the app.
func (c *chatty) clicks() {
	for what, call := range map[string]string{
		"clicks":   "/host/v1/messages/" + c.message + "/buttons/0/0/click",
		"sessions": "/host/v1/extensions/" + c.slug + "/open",
	} {
		begun := time.Now()
		a, err := c.try("POST", call, `{"user":"seller","touchpoint":"CHAT"}`, "Authorization: Bearer "+c.dev.HostKey)
		c.took(what, begun, a, err)
	}
}

// TestCallbacks: apps call back from inside webhooks, dynamic actions and
// session initializations while every lane is full. Such a call must not wait
// for a place in a lane: here it would wait for ever. No other test runs beside
// it, since a webhook is given up after 10 seconds however slow the machine is.
func TestCallbacks(t *testing.T) {
	r := &rush{platform: start(t), full: make(chan struct{}), released: make(chan struct{}), waits: map[string][]time.Duration{}}
	r.filling.Add(backCallbacks)
	r.calling.Add(backCallbacks)
	release := sync.OnceFunc(func() { close(r.released) })
	apps := make([]*chatty, backApps)
	for i := range apps {
		apps[i] = newChatty(r, fmt.Sprintf("app-%d", i))
	}
	t.Cleanup(release) // before the servers are stopped
	var lines strings.Builder
	for i := range backConversations {
		fmt.Fprintf(&lines, `{"conversation":{"id":"c%d","type":"POST","post_token":"gZd7omnS","buyer":"buyer-%[1]d"}}`+"\n", i)
	}
	for i := range backMessages {
		fmt.Fprintf(&lines, `{"message":{"conversation":"c%d","sender":"BUYER","text":"hello"}}`+"\n", i%backConversations)
	}
	if a := r.host("POST", "/batch", lines.String()).ok(); !strings.Contains(a.body, `"errors":[]`) {
		t.Fatal(a.body)
	}

	begun := time.Now()
	for _, c := range apps {
		r.host("PATCH", "/apps/"+c.slug, `{"paused":false}`).ok()
	}
	within(t, "every lane is full", &r.filling)
	filled := time.Since(begun)
	close(r.full)
	var clicking sync.WaitGroup
	for _, c := range apps {
		for range backClicks {
			clicking.Go(c.clicks)
		}
	}
	within(t, "every callback is answered", &r.calling)
	within(t, "every click is answered", &clicking)
	held := time.Since(begun)
	for _, c := range apps {
		c.mu.Lock()
		if c.active != backLane || c.arrived != backLane {
			t.Errorf("%s: %d of %d webhooks are held, want %d", c.slug, c.active, c.arrived, backLane)
		}
		c.mu.Unlock()
	}
	release()
	r.settle()

	const replies = backCallbacks / 8
	for _, c := range apps {
		c.mu.Lock()
		if c.arrived != backMessages+replies || c.top != backLane {
			t.Errorf("%s: %d webhooks, at most %d at a time, want %d and %d", c.slug, c.arrived, c.top, backMessages+replies, backLane)
		}
		c.mu.Unlock()
	}
	ledger, err := server.OpenLedger(t.Context(), server.Place{Data: r.data, Database: r.database})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ledger.Close() }()
	audit, err := ledger.Audit(t.Context(), func(int64) {})
	if want := int64(backApps * (backMessages + replies + 2*backClicks)); err != nil || audit.Unaccounted != 0 || audit.Pending != 0 || audit.Delivered != want {
		t.Errorf("audit: %v: %+v, want %d delivered", err, audit, want)
	}
	t.Logf("%d lanes of %d full after %s, held %s · %s · %s · %s · %s · delivered %d · unaccounted %d", backApps, backLane,
		filled.Round(time.Millisecond), held.Round(time.Millisecond), r.figures("callbacks"), r.figures("callbacks from actions and sessions"),
		r.figures("clicks"), r.figures("sessions"), audit.Delivered, audit.Unaccounted)
}

// within waits for all of a group.
func within(t *testing.T, what string, group *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(backTime):
		t.Fatalf("not within %s: %s", backTime, what)
	}
}
