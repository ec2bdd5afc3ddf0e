package kenar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

// newClient returns a client of the sample app, with other options where they
// are given.
func newClient(t testing.TB, p *platform, set ...func(*kenar.Options)) *kenar.Client {
	t.Helper()
	o := kenar.Options{Host: p.dev.BaseURL, APIKey: p.dev.App.APIKey}
	for _, s := range set {
		s(&o)
	}
	c, err := kenar.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// static is a source of one token.
func static(token string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
}

// devToken makes a token in dev mode.
func (p *platform) devToken(user string, scopes ...string) string {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{"app": p.dev.App.Slug, "user": user, "scopes": scopes})
	if err != nil {
		p.t.Fatal(err)
	}
	var out struct {
		Token string `json:"access_token"`
	}
	p.mustHost(http.MethodPost, "/dev/tokens", string(body), &out)
	return out.Token
}

// said returns the messages of a conversation, as the marketplace has them.
func (p *platform) said(conversation string) (messages []map[string]any) {
	p.t.Helper()
	var out struct {
		Messages []map[string]any `json:"messages"`
	}
	p.mustHost(http.MethodGet, "/conversations/"+conversation+"/messages", "", &out)
	return out.Messages
}

// TestEveryCall makes every call of the open API on a real platform, and looks from
// the marketplace's side at what has come of it.
func TestEveryCall(t *testing.T) {
	t.Parallel()
	p := startPlatform(t, "--event-url", "http://127.0.0.1:9/hook")
	client := newClient(t, p)
	seller := client.User(static(p.dev.Users.Seller.AccessToken))
	keyboard := &kenar.Keyboard{Rows: []kenar.Row{{Buttons: []kenar.Button{
		{Action: kenar.Action{DirectLink: "https://example.com/"}, Caption: "look", Icon: "HOME"},
		{Action: kenar.Action{ServerLink: &kenar.ActionData{Data: json.RawMessage(`{"n":1}`)}}, Caption: "open"},
	}}}}

	t.Run("post", func(t *testing.T) {
		t.Parallel()
		post, err := client.Post(t.Context(), p.dev.PostToken)
		if err != nil {
			t.Fatal(err)
		}
		if post.Token != p.dev.PostToken || post.State != kenar.StatePublished || post.Category == "" || len(post.Data) == 0 {
			t.Errorf("got %+v", post)
		}
	})

	t.Run("me", func(t *testing.T) {
		t.Parallel()
		me, err := seller.Me(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if me.UserID != p.dev.Users.Seller.AppUserID || me.PhoneNumber == "" || !slices.Equal(me.PhoneNumbers, []string{me.PhoneNumber}) {
			t.Errorf("got %+v", me)
		}
	})

	t.Run("posts", func(t *testing.T) {
		t.Parallel()
		const more = 205
		for i := range more {
			p.mustHost(http.MethodPut, fmt.Sprintf("/posts/many-%03d", i),
				`{"owner":"owner-of-many","title":"t","state":"PUBLISHED","category":"bicycle","city":"tehran","data":{"images":["https://example.com/i"]}}`, nil)
		}
		owner := client.User(static(p.devToken("owner-of-many", "USER_POSTS_GET")))
		var got []string
		for post, err := range owner.Posts(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if post.Title != "t" || post.Category != "bicycle" || len(post.Images) != 1 {
				t.Fatalf("got %+v", post)
			}
			got = append(got, post.Token)
		}
		if len(got) != more || !slices.IsSorted(got) || len(slices.Compact(got)) != more {
			t.Errorf("%d posts, want %d, each once", len(got), more)
		}
		if err := first(owner.Posts(t.Context())); err != nil { // a walk that is broken off
			t.Error(err)
		}
	})

	t.Run("conversation on a post", func(t *testing.T) {
		t.Parallel()
		err := seller.SendMessage(t.Context(), p.dev.ConversationID, kenar.ChatMessage{
			Text: "سلام! <b>&", SenderButtons: keyboard, ReceiverButtons: keyboard, Type: kenar.MessageText,
		})
		if err != nil {
			t.Fatal(err)
		}
		said := p.said(p.dev.ConversationID)
		last := said[len(said)-1]
		if last["text"] != "سلام! <b>&" || last["sender_buttons"] == nil || last["receiver_buttons"] == nil {
			t.Errorf("the marketplace has %v", last)
		}
		talk, err := seller.Conversation(t.Context(), p.dev.ConversationID)
		if err != nil {
			t.Fatal(err)
		}
		if talk.Conversation != (kenar.Conversation{ID: p.dev.ConversationID, Type: kenar.ConversationOnPost, PostToken: p.dev.PostToken}) {
			t.Errorf("got %+v", talk.Conversation)
		}
		m := talk.Messages[len(talk.Messages)-1]
		if m.Text != "سلام! <b>&" || m.Sender != (kenar.Sender{Type: kenar.SenderBot, Side: kenar.SideSeller}) || m.Type != kenar.MessageText ||
			time.Since(m.SentAt.Time).Abs() > time.Minute || m.ID != last["id"] {
			t.Errorf("got %+v", m)
		}
	})

	t.Run("chatbot", func(t *testing.T) {
		t.Parallel()
		if err := client.SendAsBot(t.Context(), p.dev.BotConversationID, kenar.BotMessage{Text: "here", Buttons: keyboard}); err != nil {
			t.Fatal(err)
		}
		conversation, err := seller.SendAsBotTo(t.Context(), p.dev.Users.Seller.AppUserID, kenar.BotMessage{Text: "there"})
		if err != nil {
			t.Fatal(err)
		}
		if conversation != p.dev.BotConversationID {
			t.Errorf("written to %q", conversation)
		}
		said := p.said(conversation)
		if n := len(said); n < 2 || said[n-2]["text"] != "here" || said[n-2]["buttons"] == nil || said[n-1]["text"] != "there" {
			t.Errorf("the marketplace has %v", said)
		}
		talk, err := seller.Conversation(t.Context(), conversation)
		if err != nil {
			t.Fatal(err)
		}
		if talk.Conversation.Type != kenar.ConversationWithBot || talk.Messages[0].Sender.Side != "" {
			t.Errorf("got %+v", talk)
		}
	})

	t.Run("event", func(t *testing.T) {
		t.Parallel()
		buyer := client.User(static(p.dev.Users.Buyer.AccessToken))
		for _, n := range []kenar.Notification{
			{Message: "to you & all", TargetType: kenar.TargetUser, TargetID: p.dev.Users.Buyer.AppUserID},
			{
				Message: "with buttons", TargetType: kenar.TargetUser, TargetID: p.dev.Users.Buyer.AppUserID,
				Buttons: []kenar.NotificationButton{
					{Title: "the first", Action: kenar.Action{PostPage: &kenar.ActionPost{PostToken: p.dev.PostToken}}},
					{Title: "the second", Action: kenar.Action{DynamicAction: &kenar.ActionData{Data: json.RawMessage(`{}`)}}},
				},
			},
		} {
			if err := buyer.SendEvent(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		if err := seller.SendEvent(t.Context(), kenar.Notification{
			Message: "about your post", TargetType: kenar.TargetPost, TargetID: p.dev.PostToken,
		}); err != nil {
			t.Fatal(err)
		}
		var out struct {
			Notifications []struct {
				Message string `json:"message"`
				Buttons struct {
					Items []kenar.NotificationButton `json:"items"`
				} `json:"buttons"`
			} `json:"notifications"`
		}
		p.mustHost(http.MethodGet, "/users/buyer/notifications", "", &out)
		if n := out.Notifications; len(n) != 2 || n[0].Message != "with buttons" || len(n[0].Buttons.Items) != 2 || n[1].Message != "to you & all" {
			t.Errorf("the user has %+v", n)
		}
	})

	t.Run("subscriptions", func(t *testing.T) {
		t.Parallel()
		const user = "subscriber"
		p.mustHost(http.MethodPut, "/posts/subscribed", `{"owner":"`+user+`","title":"t","state":"PUBLISHED","category":"bicycle","city":"tehran"}`, nil)
		u := client.User(static(p.devToken(user, "USER_ID", "USER_POSTS_GET", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "NOTIFICATION_ACCESS_REVOCATION")))
		me, err := u.Me(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wanted := []kenar.Subscription{
			{Type: kenar.SubscribeNewMessageOnPost, PostToken: "subscribed", Metadata: map[string][]any{"a": {1.0, nil, "سلام <&>"}}},
			{Type: kenar.SubscribeNewMessageOnPost},
			{Type: kenar.SubscribePostUpdate},
			{Type: kenar.SubscribeNewChatbotMessage},
			{Type: kenar.SubscribeUserAccessRevocation},
			{Type: kenar.SubscribePaymentTransaction},
		}
		for range 2 { // again is the same
			if err := u.Resubscribe(t.Context(), wanted...); err != nil {
				t.Fatal(err)
			}
		}
		mine := func() (mine []kenar.LiveSubscription) {
			for s, err := range client.Subscriptions(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if s.UserID == me.UserID {
					mine = append(mine, s)
				}
			}
			return mine
		}
		got := mine()
		if len(got) != len(wanted) {
			t.Fatalf("%d subscriptions, want %d", len(got), len(wanted))
		}
		for _, s := range got {
			if !slices.ContainsFunc(wanted, func(w kenar.Subscription) bool {
				echoed, err := kenar.Decode[map[string][]any](s.Metadata)
				return err == nil && w.Type == s.Type && w.PostToken == s.PostToken && (w.Metadata == nil) == (echoed == nil) &&
					(echoed == nil || reflect.DeepEqual(echoed, w.Metadata))
			}) || time.Until(s.ExpiresAt) < 50*time.Minute {
				t.Errorf("got %+v", s)
			}
		}
		if err := client.EndSubscription(t.Context(), got[0].ID); err != nil {
			t.Fatal(err)
		}
		if n := len(mine()); n != len(wanted)-1 {
			t.Errorf("%d are left", n)
		}
		if err := client.EndSubscription(t.Context(), got[0].ID); !errors.Is(err, kenar.ErrNotFound) {
			t.Errorf("ended twice: %v", err)
		}
	})

	t.Run("many subscriptions", func(t *testing.T) {
		t.Parallel()
		const many = 130 // more than a page
		u := client.User(static(p.devToken("owner-of-so-many", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_ID")))
		for i := range many {
			token := fmt.Sprintf("so-many-%03d", i)
			p.mustHost(http.MethodPut, "/posts/"+token, `{"owner":"owner-of-so-many","title":"t","state":"PUBLISHED","category":"bicycle","city":"tehran"}`, nil)
			if err := u.Subscribe(t.Context(), kenar.Subscription{Type: kenar.SubscribeNewMessageOnPost, PostToken: token}); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]bool{}
		for s, err := range client.Subscriptions(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(s.PostToken, "so-many-") {
				got[s.PostToken] = true
			}
		}
		if len(got) != many {
			t.Errorf("%d, want %d", len(got), many)
		}
		if err := first(client.Subscriptions(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// TestEventLog: an app follows its own events, page by page and as they come.
func TestEventLog(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	client := newClient(t, p)
	write := func(text string) {
		t.Helper()
		p.mustHost(http.MethodPost, "/conversations/"+p.dev.BotConversationID+"/messages", `{"sender":"USER","text":"`+text+`"}`, nil)
	}
	var cursor string
	var got []string
	follow := func(wait time.Duration) {
		t.Helper()
		page, err := client.Events(t.Context(), cursor, wait)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			d, err := e.Delivery()
			if err != nil {
				t.Fatal(err)
			}
			if d.ID != e.WebhookID || d.ID == "" || d.Type != kenar.EventNewChatbotMessage || e.Headers["webhook-id"] != d.ID && e.Headers["Webhook-Id"] != d.ID {
				t.Errorf("got %+v", e)
			}
			got = append(got, d.NewChatbotMessage.Text)
		}
		if page.Missed != 0 || cursor != "" && page.Next == "" {
			t.Errorf("got %+v", page)
		}
		cursor = page.Next
	}
	follow(0)
	if len(got) != 0 {
		t.Errorf("at first there are %q", got)
	}
	const many = 250
	want := make([]string, many)
	for i := range want {
		want[i] = fmt.Sprintf("message %d", i)
		write(want[i])
	}
	for range many {
		if follow(0); len(got) >= many {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d, want %d in their order", len(got), many)
	}
	// Nothing more, and then something while the call waits.
	before := cursor
	follow(0)
	began := time.Now()
	var writing sync.WaitGroup
	writing.Go(func() { write("at last") })
	for len(got) == many && time.Since(began) < 20*time.Second {
		follow(10 * time.Second)
	}
	writing.Wait()
	if len(got) != many+1 || got[many] != "at last" || time.Since(began) > 9*time.Second {
		t.Errorf("after %s there are %d behind %s", time.Since(began), len(got)-many, before)
	}
	if _, err := client.Events(t.Context(), "nonsense", 0); !errors.Is(err, kenar.ErrInvalid) {
		t.Errorf("a cursor that is none: %v", err)
	}
}

// TestWhatIsSent: a key may have a prefix, and the platform sees who calls.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ prefix, agent, wantKey, wantAgent string }{
		{"", "", "the-key", "openkenar-kenar-go"},
		{"Token", "shop/1.0 (sync)", "Token the-key", "shop/1.0 (sync)"},
	} {
		got := make(chan http.Header, 1)
		c := onPipe(t, func(o *kenar.Options) { o.APIKey, o.APIKeyPrefix, o.UserAgent = "the-key", tt.prefix, tt.agent },
			func(w http.ResponseWriter, r *http.Request) {
				got <- r.Header
				_, _ = w.Write([]byte(`{}`))
			})
		if _, err := c.User(static("the-token")).Me(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := <-got
		if h.Get("X-API-Key") != tt.wantKey || h.Get("User-Agent") != tt.wantAgent || h.Get("Authorization") != "Bearer the-token" {
			t.Errorf("sent %v", h)
		}
	}
}

// TestNotificationsAreSent: in the query and without a body, as the clients send
// them that Divar publishes; in a body where that cannot be.
func TestNotificationsAreSent(t *testing.T) {
	t.Parallel()
	const path = "/experimental/open-platform/events/send"
	long := strings.Repeat("س", 4096)
	for _, tt := range []struct {
		name                     string
		n                        kenar.Notification
		query, contentType, body string
	}{
		{
			"text",
			kenar.Notification{Message: "a b&c=سلام", TargetType: kenar.TargetUser, TargetID: "u_1-"},
			"message=a+b%26c%3D%D8%B3%D9%84%D8%A7%D9%85&target_resource_id=u_1-&target_type=USER", "", "",
		},
		{
			"buttons",
			kenar.Notification{Message: "m", TargetType: kenar.TargetPost, TargetID: "p", Buttons: []kenar.NotificationButton{
				kenar.NewNotificationButton("Press", kenar.OpenPostPage("p")),
			}},
			"", "application/json",
			`{"message":"m","target_type":"POST","target_resource_id":"p","buttons":{"items":[{"title":"Press","action":{"open_post_page":{"post_token":"p"}}}]}}`,
		},
		{
			"too long for a line",
			kenar.Notification{Message: long, TargetType: kenar.TargetUser, TargetID: "u", Buttons: []kenar.NotificationButton{}},
			"", "application/json", `{"message":"` + long + `","target_type":"USER","target_resource_id":"u"}`,
		},
	} {
		got := make(chan string, 1)
		c := onPipe(t, nil, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			got <- strings.Join([]string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"), string(body)}, " ")
			_, _ = w.Write([]byte(`{}`))
		})
		if err := c.User(static("the-token")).SendEvent(t.Context(), tt.n); err != nil {
			t.Fatal(err)
		}
		if want, sent := strings.Join([]string{"POST", path, tt.query, tt.contentType, tt.body}, " "), <-got; sent != want {
			t.Errorf("%s: sent\n%s\nwant\n%s", tt.name, sent, want)
		}
	}
}

// TestMessagesHaveAType: what an app leaves out is TEXT, unless it is media,
// whose type nobody here knows.
func TestMessagesHaveAType(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	c := onPipe(t, nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(body)
		_, _ = w.Write([]byte(`{}`))
	})
	u := c.User(static("the-token"))
	for _, tt := range []struct {
		send func() error
		want string
	}{
		{func() error { return c.SendAsBot(t.Context(), "c", kenar.BotMessage{Text: "x"}) }, `{"text_message":"x","type":"TEXT"}`},
		{func() error { return c.SendAsBot(t.Context(), "c", kenar.BotMessage{MediaToken: "m"}) }, `{"media_token":"m"}`},
		{
			func() error {
				return c.SendAsBot(t.Context(), "c", kenar.BotMessage{MediaToken: "m", Type: kenar.MessageImage})
			},
			`{"media_token":"m","type":"IMAGE"}`,
		},
		{func() error { _, err := u.SendAsBotTo(t.Context(), "u", kenar.BotMessage{Text: "x"}); return err }, `{"text_message":"x","type":"TEXT"}`},
		{func() error { return u.SendMessage(t.Context(), "c", kenar.ChatMessage{Text: "x"}) }, `{"message":"x","type":"TEXT"}`},
		{func() error { return u.SendMessage(t.Context(), "c", kenar.ChatMessage{MediaToken: "m"}) }, `{"media_token":"m"}`},
	} {
		if err := tt.send(); err != nil {
			t.Fatal(err)
		}
		if body := <-got; body != tt.want {
			t.Errorf("sent %s, want %s", body, tt.want)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]kenar.Options{
		"no key":              {},
		"a line break":        {APIKey: "okk_secret\n"},
		"a space":             {APIKey: "okk_secret okk_secret"}, //nolint:gosec // none
		"a prefix":            {APIKey: "okk_secret", APIKeyPrefix: "Token\r\n"},
		"an agent":            {APIKey: "okk_secret", UserAgent: "a\nb"},
		"no scheme":           {APIKey: "okk_secret", Host: "open-api.divar.ir"},
		"plain http":          {APIKey: "okk_secret", Host: "http://open-api.divar.ir"},
		"nearly this machine": {APIKey: "okk_secret", Host: "http://localhost.example.com"},
		"a name in it":        {APIKey: "okk_secret", Host: "https://me:secret@example.com"}, //nolint:gosec // none
		"a query":             {APIKey: "okk_secret", Host: "https://example.com/?key=secret"},
		"no host":             {APIKey: "okk_secret", Host: "https:///v1"},
		"another scheme":      {APIKey: "okk_secret", Host: "ftp://example.com"},
		"nonsense":            {APIKey: "okk_secret", Host: "https://[::1"},
		"plain, no http":      {APIKey: "okk_secret", Host: "ftp://example.com", PlainHTTP: true},
		"plain, with a name":  {APIKey: "okk_secret", Host: "http://me:secret@openkenar:7700", PlainHTTP: true},
		"a negative timeout":  {APIKey: "okk_secret", Timeout: -1},
	} {
		if c, err := kenar.NewClient(o); err == nil || c != nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, host := range []string{"", "https://example.com", "https://example.com/base/", "http://127.0.0.1:7700", "http://localhost:7700", "http://[::1]:7700"} {
		if _, err := kenar.NewClient(kenar.Options{APIKey: "okk_secret", Host: host}); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// TestPlainHTTP: an app beside its platform, in a network of their own.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	inside := kenar.Options{APIKey: "okk_secret", Host: "http://openkenar:7700"}
	if _, err := kenar.NewClient(inside); err == nil || !strings.Contains(err.Error(), "PlainHTTP") {
		t.Errorf("by default: %v", err)
	}
	got := make(chan *http.Request, 1)
	c := onPipe(t, func(o *kenar.Options) { o.Host, o.PlainHTTP = inside.Host, true }, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		_, _ = w.Write([]byte(`{"token":"gZd7omnS"}`))
	})
	if _, err := c.Post(t.Context(), "gZd7omnS"); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.Host != "openkenar:7700" || r.TLS != nil {
		t.Errorf("called %s, with TLS %t", r.Host, r.TLS != nil)
	}
}

// TestIdsStayInTheirPlace: an id cannot lead a call to another path.
func TestIdsStayInTheirPlace(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	c := newClient(t, p)
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Post(t.Context(), id); !errors.Is(err, kenar.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		} else if _, ok := errors.AsType[*kenar.Error](err); ok {
			t.Errorf("%q was sent", id)
		}
	}
	for _, id := range []string{"a/b", "../users", "a%2Fb", "a+b", "a b", "a?b=c", "a#b", "a;b", "سلام", strings.Repeat("x", 3000)} {
		_, err := c.Post(t.Context(), id)
		if e, ok := errors.AsType[*kenar.Error](err); !ok || !errors.Is(err, kenar.ErrNotFound) || strings.Count(e.Path, "/") != 5 {
			t.Errorf("%q: %v", id, err)
		}
	}
	// What the marketplace may choose as an id is found.
	for _, id := range []string{"a/b", "a+b=", "a%2Fb", "a?b#c", "a;b&c"} {
		body := `{"owner":"o","title":"t","state":"PUBLISHED","category":"bicycle","city":"tehran"}`
		p.mustHost(http.MethodPut, "/posts/"+strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F", "#", "%23").Replace(id), body, nil)
		post, err := c.Post(t.Context(), id)
		if err != nil || post.Token != id {
			t.Errorf("%q: %+v, %v", id, post, err)
		}
	}
}

// TestRefusedBeforeItIsSent: what the platform would refuse is not sent, where
// that can be seen here.
func TestRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	c := onPipe(t, nil, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) })
	u := c.User(static("a-token"))
	bad := &kenar.Keyboard{Rows: []kenar.Row{{Buttons: []kenar.Button{{Caption: "nothing"}}}}}
	for name, call := range map[string]func() error{
		"as bot: no id":         func() error { return c.SendAsBot(t.Context(), "", kenar.BotMessage{Text: "x"}) },
		"as bot: buttons":       func() error { return c.SendAsBot(t.Context(), "c", kenar.BotMessage{Text: "x", Buttons: bad}) },
		"as bot to: no id":      func() error { _, err := u.SendAsBotTo(t.Context(), "", kenar.BotMessage{Text: "x"}); return err },
		"as bot to: buttons":    func() error { _, err := u.SendAsBotTo(t.Context(), "u", kenar.BotMessage{Buttons: bad}); return err },
		"message: no id":        func() error { return u.SendMessage(t.Context(), "", kenar.ChatMessage{Text: "x"}) },
		"message: the sender's": func() error { return u.SendMessage(t.Context(), "c", kenar.ChatMessage{Text: "x", SenderButtons: bad}) },
		"message: the receiver's": func() error {
			return u.SendMessage(t.Context(), "c", kenar.ChatMessage{Text: "x", ReceiverButtons: bad})
		},
		"event: buttons": func() error {
			return u.SendEvent(t.Context(), kenar.Notification{Message: "x", Buttons: []kenar.NotificationButton{{Title: "four"}}})
		},
		"conversation":     func() error { _, err := u.Conversation(t.Context(), ".."); return err },
		"end subscription": func() error { return c.EndSubscription(t.Context(), "") },
		"upload: no kind":  func() error { _, err := c.Upload(t.Context(), "", "x", strings.NewReader("x")); return err },
		"upload: nothing":  func() error { _, err := c.Upload(t.Context(), kenar.UploadFile, "x", nil); return err },
		"events":           func() error { _, err := c.Events(t.Context(), "", -1); return err },
	} {
		err := call()
		if _, answered := errors.AsType[*kenar.Error](err); answered || !errors.Is(err, kenar.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sourceFunc is a source of an app's own.
type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

// TestSourceOfAnApp: what it says is passed on, and no call is made without a
// token.
func TestSourceOfAnApp(t *testing.T) {
	t.Parallel()
	c := onPipe(t, nil, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) })
	for name, token := range map[string]*oauth2.Token{"none": nil, "an empty one": {}} {
		if _, err := c.User(sourceFunc(func() (*oauth2.Token, error) { return token, nil })).Me(t.Context()); err == nil {
			t.Errorf("%s: a call without a token", name)
		}
	}
	if _, err := c.User(sourceFunc(func() (*oauth2.Token, error) { return nil, errDisk })).Me(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
}

// TestLoggedEventIsRead: as a Receiver reads it, and refused as it refuses it.
func TestLoggedEventIsRead(t *testing.T) {
	t.Parallel()
	body := `{"type":"USER_ACCESS_REVOCATION","user_access_revocation":{"user_id":"u1"},"metadata":{"a":1}}`
	d, err := kenar.LoggedEvent{
		WebhookID: "7-app", Headers: map[string]string{"webhook-timestamp": "1729429926", "OpenKenar-Attempt": "1"}, Body: body,
	}.Delivery()
	if err != nil || d.ID != "7-app" || d.UserAccessRevocation.UserID != "u1" || d.Attempt != 1 || d.Timestamp.Unix() != 1729429926 || string(d.Body) != body {
		t.Errorf("got %+v, %v", d, err)
	}
	for _, body := range []string{"", "null", "[]", "{", `{"type":"NEW_MESSAGE"}`} {
		if d, err := (kenar.LoggedEvent{Cursor: "41", Body: body}).Delivery(); err == nil || !strings.Contains(err.Error(), "41") {
			t.Errorf("%q: %+v, %v", body, d, err)
		}
	}
}

// TestSubscriptionIsEncoded: metadata of any kind becomes an object.
func TestSubscriptionIsEncoded(t *testing.T) {
	t.Parallel()
	for want, metadata := range map[string]any{
		`{"event_type":"POST_UPDATE"}`:                                       nil,
		`{"event_type":"POST_UPDATE","metadata":{"a":"<&>"}}`:                map[string]string{"a": "<&>"},
		`{"event_type":"POST_UPDATE","metadata":{"n":1.0}}`:                  []byte(`{"n": 1.0}`),
		`{"event_type":"POST_UPDATE","metadata":{"n":12345678901234567890}}`: json.RawMessage(`{"n":12345678901234567890}`),
		`{"event_type":"POST_UPDATE","metadata":{"Seller":"s"}}`:             struct{ Seller string }{"s"},
	} {
		got, err := json.Marshal(kenar.Subscription{Type: kenar.SubscribePostUpdate, Metadata: metadata})
		var plain bytes.Buffer
		if err == nil {
			enc := json.NewEncoder(&plain)
			enc.SetEscapeHTML(false)
			err = enc.Encode(json.RawMessage(got))
		}
		if err != nil || strings.ReplaceAll(strings.TrimSpace(plain.String()), `\u003c\u0026\u003e`, "<&>") != want {
			t.Errorf("%v: got %s, %v; want %s", metadata, got, err, want)
		}
	}
}

// TestContextEndsACall: at once, and it says why.
func TestContextEndsACall(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	c := onPipe(t, nil, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	why := errors.New("the user has gone away")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begun
		cancel(why)
	}()
	if _, err := c.Post(ctx, "x"); !errors.Is(err, why) || !errors.Is(err, kenar.ErrUnanswered) {
		t.Errorf("got %v", err)
	}
}
