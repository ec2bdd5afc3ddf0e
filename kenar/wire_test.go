package kenar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/kenar"
)

// The tests of this file let the real platform call a real app.

// secret makes a signing secret of the app.
func (p *platform) secret() string {
	p.t.Helper()
	var out struct{ Secret string }
	p.mustHost(http.MethodPost, "/apps/sample-app/signing-secrets", "", &out)
	return out.Secret
}

// app serves a receiver and makes it the app's event URL.
func (p *platform) app(o kenar.ReceiverOptions) {
	p.t.Helper()
	url := listen(p.t, receiver(p.t, o))
	p.mustHost(http.MethodPatch, "/apps/sample-app", `{"event_url":"`+url+`"}`, nil)
}

// believing is the options of an app that checks all there is to check.
func (p *platform) believing(secrets ...string) kenar.ReceiverOptions {
	return kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{p.dev.App.IdentificationKey}, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Secrets: secrets, Log: quiet,
	}
}

func (p *platform) subscribe(event, metadata string) {
	p.t.Helper()
	status, answer := p.call(http.MethodPost, p.dev.BaseURL+"/v1/open-platform/events/subscriptions",
		`{"event_type":"`+event+`","metadata":`+metadata+`}`,
		"X-API-Key", p.dev.App.APIKey, "Authorization", "Bearer "+p.dev.Users.Seller.AccessToken)
	if status != http.StatusOK {
		p.t.Fatalf("subscribe to %s: %d %s", event, status, answer)
	}
}

// write has the seller write to the bot.
func (p *platform) write(text string) {
	p.t.Helper()
	p.mustHost(http.MethodPost, "/conversations/"+p.dev.BotConversationID+"/messages", `{"sender":"USER","text":"`+text+`"}`, nil)
}

type loggedDelivery struct {
	ID, Type, State, Reason string
	Attempts                int
	NextAt                  *time.Time `json:"next_at"`
}

func (p *platform) deliveries() []loggedDelivery {
	p.t.Helper()
	var out struct{ Deliveries []loggedDelivery }
	p.mustHost(http.MethodGet, "/deliveries?app=sample-app", "", &out)
	return out.Deliveries
}

// TestPlatformEvents: each type of event arrives as what it is, and a repeat of
// it is dropped.
func TestPlatformEvents(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	in := new(inbox)
	o := p.believing(p.secret())
	o.OnNewMessage, o.OnNewChatbotMessage, o.OnAccessRevoked, o.OnPostUpdate, o.OnTransaction = in.take, in.take, in.take, in.take, in.take
	o.OnOther = func(_ context.Context, d *kenar.Delivery) error {
		t.Errorf("an event of an unknown type: %s", d.Body)
		return nil
	}
	p.app(o)
	p.subscribe("NEW_MESSAGE_ON_POST", `{"for":"messages","n":9007199254740993}`)
	p.subscribe("POST_UPDATE", `{"for":"posts"}`)

	talk := "/conversations/" + p.dev.ConversationID + "/messages"
	sentAt := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	p.mustHost("POST", talk, `{"id":"m-text","sender":"BUYER","text":"سلام","sent_at":"`+sentAt.Format(time.RFC3339Nano)+`"}`, nil)
	p.mustHost("POST", talk, `{"id":"m-place","sender":"SELLER","type":"LOCATION","location_data":{"latitude":35.7,"longitude":51.4}}`, nil)
	p.mustHost("POST", talk, `{"id":"m-image","sender":"BUYER","type":"IMAGE","image_data":{"link":"https://media.example/1.jpg","size_bytes":7,"height_px":2,"width_px":3}}`, nil)
	p.write("/start")
	p.mustHost("PUT", "/posts/"+p.dev.PostToken, `{"owner":"seller","title":"A bicycle","state":"PUBLISHED","category":"bicycles","data":{"speeds":21}}`, nil)
	p.mustHost("PUT", "/transactions/t-1", `{"app":"sample-app","state":"PENDING","cost_rials":100000,"extra_details":{"order":7}}`, nil)
	p.mustHost("PUT", "/transactions/t-1", `{"app":"sample-app","state":"COMPLETED","cost_rials":100000,"extra_details":{"order":7}}`, nil)
	p.advance("0s")
	for _, d := range p.deliveries() {
		if d.State != "delivered" || d.Attempts != 1 {
			t.Errorf("first %+v", d)
		}
		p.mustHost("POST", "/deliveries/"+d.ID+"/redeliver", "", nil)
	}
	p.advance("0s")
	for _, d := range p.deliveries() {
		if d.State != "delivered" || d.Attempts != 2 {
			t.Errorf("then %+v", d)
		}
	}
	p.mustHost("DELETE", "/users/seller/grants/sample-app", "", nil)
	p.advance("0s")

	var about []string
	for _, d := range in.deliveries() {
		if d.ID == "" || d.Attempt != 1 || d.IsTest() || time.Since(d.Timestamp).Abs() > time.Minute {
			t.Errorf("it came as %+v", d)
		}
		switch {
		case d.NewMessage != nil:
			meta, err := kenar.Decode[struct {
				For string
				N   int64
			}](d.Metadata)
			if err != nil || meta.For != "messages" || meta.N != 9007199254740993 || d.NewMessage.Conversation.PostToken != p.dev.PostToken {
				t.Errorf("%s with %+v %v", d.Body, meta, err)
			}
			switch m := d.NewMessage; m.ID {
			case "m-text":
				if m.Text != "سلام" || m.Type != kenar.MessageText || !m.SentAt.Equal(sentAt) || m.Sender != (kenar.Sender{Type: kenar.SenderHuman, Side: kenar.SideBuyer}) {
					t.Errorf("a text is %+v", m)
				}
			case "m-place":
				if m.Location == nil || *m.Location != (kenar.LocationData{Latitude: 35.7, Longitude: 51.4}) || m.Sender.Side != kenar.SideSeller {
					t.Errorf("a place is %+v", m)
				}
			case "m-image":
				if m.Image == nil || *m.Image != (kenar.ImageData{Link: "https://media.example/1.jpg", SizeBytes: 7, HeightPx: 2, WidthPx: 3}) {
					t.Errorf("an image is %+v", m)
				}
			}
			about = append(about, d.NewMessage.ID)
		case d.NewChatbotMessage != nil:
			if c := d.NewChatbotMessage.Conversation; c.ID != p.dev.BotConversationID || c.Type != kenar.ConversationWithBot {
				t.Errorf("the bot hears of %+v", c)
			}
			about = append(about, d.NewChatbotMessage.Text)
		case d.PostUpdate != nil:
			speeds, err := kenar.Decode[struct{ Speeds int }](d.PostUpdate.Post.Data)
			if u := d.PostUpdate; err != nil || speeds.Speeds != 21 || u.Post.Token != p.dev.PostToken || u.Post.State != kenar.StatePublished {
				t.Errorf("the post is %+v %v", u, err)
			}
			about = append(about, string(d.PostUpdate.Type))
		case d.Transaction != nil:
			if x := d.Transaction; x.ID != "t-1" || x.CostRials != 100000 || x.Type != kenar.TransactionReorder || string(x.ExtraDetails) != `{"order":7}` {
				t.Errorf("the transaction is %+v", x)
			}
			about = append(about, string(d.Transaction.State))
		case d.UserAccessRevocation != nil:
			about = append(about, d.UserAccessRevocation.UserID)
		}
	}
	slices.Sort(about)
	want := []string{
		"m-text", "m-place", "m-image", "/start", "PUBLISH", "TRANSACTION_STATE_PENDING", "TRANSACTION_STATE_COMPLETED", p.dev.Users.Seller.AppUserID,
	}
	slices.Sort(want)
	if !slices.Equal(about, want) {
		t.Errorf("heard of\n%q, want\n%q", about, want)
	}
}

// TestPlatformTestEvent: the platform's test event is seen as one.
func TestPlatformTestEvent(t *testing.T) {
	t.Parallel()
	p := startPlatform(t, "--identification-key", "a-key-of-its-own")
	in := new(inbox)
	o := p.believing()
	o.OnNewChatbotMessage = in.take
	p.app(o)
	var out struct {
		Delivered bool
		Status    int
	}
	p.mustHost("POST", "/apps/sample-app/test-event", "", &out)
	if all := in.deliveries(); p.dev.App.IdentificationKey != "a-key-of-its-own" || !out.Delivered || len(all) != 1 || !all[0].IsTest() {
		t.Errorf("%+v: %+v", out, all)
	}
}

// TestPlatformKeepsWhatIsSaid: what a callback says becomes of the delivery on
// the platform.
func TestPlatformKeepsWhatIsSaid(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	in := &inbox{says: func(d *kenar.Delivery) error {
		switch text := d.NewChatbotMessage.Text; {
		case text == "never":
			return kenar.Reject(errors.New("nothing of this is mine"))
		case text == "later" && d.Attempt == 1:
			return kenar.Later(time.Hour, nil)
		case text == "fails" && d.Attempt == 1:
			return errApp
		case text == "panics" && d.Attempt == 1:
			panic("a bug")
		}
		return nil
	}}
	o := p.believing(p.secret())
	o.OnNewChatbotMessage = in.take
	p.app(o)
	said := func() (all []string) {
		for _, d := range in.deliveries() {
			all = append(all, fmt.Sprint(d.NewChatbotMessage.Text, d.Attempt))
		}
		slices.Sort(all)
		return all
	}
	for _, text := range []string{"never", "later", "fails", "panics", "fine"} {
		p.write(text)
	}
	p.advance("0s")
	if got := said(); !slices.Equal(got, []string{"fails1", "fine1", "later1", "never1", "panics1"}) {
		t.Errorf("first: %q", got)
	}
	p.advance("10s")
	if got := said(); !slices.Equal(got, []string{"fails1", "fails2", "fine1", "later1", "never1", "panics1", "panics2"}) {
		t.Errorf("after ten seconds: %q", got)
	}
	p.advance("2h")
	if got := said(); !slices.Equal(got, []string{"fails1", "fails2", "fine1", "later1", "later2", "never1", "panics1", "panics2"}) {
		t.Errorf("after two hours: %q", got)
	}
	states := map[string]int{}
	for _, d := range p.deliveries() {
		states[d.State]++
	}
	if states["delivered"] != 4 || states["exhausted"] != 1 {
		t.Errorf("they are %v", states)
	}
}

// TestPlatformRotatesSecret: while the platform signs with two secrets, an app
// may know either or both.
func TestPlatformRotatesSecret(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	older := p.secret()
	newer := p.secret()
	for _, test := range []struct {
		knows []string
		taken bool
	}{{[]string{older}, true}, {[]string{newer}, true}, {[]string{older, newer}, true}, {[]string{secret}, false}} {
		in := new(inbox)
		o := p.believing(test.knows...)
		o.OnNewChatbotMessage = in.take
		p.app(o)
		p.write("hello")
		p.advance("0s")
		if heard := len(in.deliveries()); (heard == 1) != test.taken {
			t.Errorf("an app that knows %d secrets heard %d", len(test.knows), heard)
		}
	}
}

// TestPlatformIsKilled: killed in the middle of a webhook, the platform does not
// know that it was done and sends it again; the app does it once.
func TestPlatformIsKilled(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	begun, goOn := make(chan struct{}, 2), make(chan struct{})
	var mu sync.Mutex
	runs := map[string]int{}
	o := p.believing(p.secret())
	o.OnNewChatbotMessage = func(_ context.Context, d *kenar.Delivery) error {
		mu.Lock()
		runs[d.ID]++
		mu.Unlock()
		begun <- struct{}{}
		<-goOn
		return nil
	}
	answered := make(chan struct{}, 10)
	inner := receiver(t, o)
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		answered <- struct{}{}
	}))
	p.mustHost(http.MethodPatch, "/apps/sample-app", `{"event_url":"`+url+`"}`, nil)
	p.write("hello")
	<-begun
	p.kill()
	close(goOn)
	<-answered // nobody is there to hear that it is done
	p.start()
	<-answered
	eventually(t, "the delivery is delivered", func() bool {
		all := p.deliveries()
		return len(all) == 1 && all[0].State == "delivered"
	})
	mu.Lock()
	defer mu.Unlock()
	for id, n := range runs {
		if n != 1 {
			t.Errorf("%s was done %d times", id, n)
		}
	}
}

// TestPlatformOpensApp: session initialization and dynamic actions, as the real
// platform asks for them and takes them.
func TestPlatformOpensApp(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	type data struct{ Order int }
	var mu sync.Mutex
	var session *kenar.SessionRequest
	var action *kenar.ActionRequest
	page := "https://app.example/?token=1"
	reply := kenar.ActionAnswer{Text: "Ordered."}
	callers := p.believing().Callers
	sessions, err := kenar.NewSessionHandler(kenar.SessionOptions{Callers: callers, Log: quiet, Open: func(_ context.Context, r *kenar.SessionRequest) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		session = r
		return page, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	actions, err := kenar.NewActionHandler(kenar.ActionOptions{Callers: callers, Log: quiet, Click: func(_ context.Context, r *kenar.ActionRequest) (kenar.ActionAnswer, error) {
		mu.Lock()
		defer mu.Unlock()
		action = r
		return reply, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/session", sessions)
	mux.Handle("/action", actions)
	url := listen(t, mux)
	p.mustHost("PATCH", "/apps/sample-app", `{"session_initialization_url":"`+url+`/session","dynamic_action_url":"`+url+`/action"}`, nil)

	var opened struct {
		URL  string
		Text string `json:"text_message"`
	}
	p.mustHost("POST", "/extensions/sample-app/open",
		`{"touchpoint":"CHAT","user":"seller","conversation_id":"`+p.dev.ConversationID+`","post_token":"`+p.dev.PostToken+`","return_url":"https://market.example/back"}`, &opened)
	if opened.URL != page {
		t.Errorf("the user is sent to %q", opened.URL)
	}
	if session.ReturnURL != "https://market.example/back" || session.Source != "CHAT" || session.PostToken != p.dev.PostToken ||
		session.ConversationID != p.dev.ConversationID || session.UserSide != kenar.SideSupply || session.UserID != p.dev.Users.Seller.AppUserID ||
		string(session.ExtraData) != "{}" {
		t.Errorf("the app was asked with %+v", session)
	}

	buttons, err := kenar.Grid(2,
		kenar.NewButton("Order", kenar.GetDynamicAction(data{7})),
		kenar.NewButton("Open", kenar.OpenServerLink(data{8})).WithIcon("HOME"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := p.say(buttons); status != http.StatusOK {
		t.Fatalf("the keyboard is refused: %d %s", status, answer)
	}
	var messages struct{ Messages []struct{ ID string } }
	p.mustHost("GET", "/conversations/"+p.dev.BotConversationID+"/messages", "", &messages)
	click := func(column int) (int, []byte) {
		return p.host("POST", fmt.Sprintf("/messages/%s/buttons/0/%d/click", messages.Messages[0].ID, column), `{"user":"seller"}`)
	}
	if status, answer := click(0); status != http.StatusOK || json.Unmarshal(answer, &opened) != nil || opened.Text != "Ordered." {
		t.Errorf("a click: %d %s", status, answer)
	}
	order, err := kenar.Decode[data](action.ExtraData)
	if err != nil || order.Order != 7 || action.Touchpoint != "CHAT" || action.ConversationID != p.dev.BotConversationID ||
		action.UserID != p.dev.Users.Seller.AppUserID || action.UserSide != "" || action.PostToken != "" {
		t.Errorf("the app was asked with %+v, %+v %v", action, order, err)
	}
	if status, answer := click(1); status != http.StatusOK || json.Unmarshal(answer, &opened) != nil || opened.URL != page {
		t.Errorf("a click: %d %s", status, answer)
	}
	if order, err := kenar.Decode[data](session.ExtraData); err != nil || order.Order != 8 || session.Source != "CHAT_MESSAGE_ACTION" {
		t.Errorf("the app was asked with %+v, %+v %v", session, order, err)
	}

	// What the platform would not take, this package does not answer, and the
	// other way round.
	for _, page = range pages() {
		status, _ := click(1)
		if taken, ours := status == http.StatusOK, p.answered(); taken != ours {
			t.Errorf("the page %.60q: the platform takes it: %t; the app answers it: %t", page, taken, ours)
		}
	}
	for _, reply = range replies(p.dev.PostToken) {
		status, answer := click(0)
		if taken, ours := status == http.StatusOK, p.answered(); taken != ours {
			t.Errorf("the answer %+v: the platform takes it: %t (%s); the app answers it: %t", reply, taken, answer, ours)
		}
	}
}

// answered says whether the app answered the newest call with 200.
func (p *platform) answered() bool {
	p.t.Helper()
	var out struct {
		AttemptLog []struct{ Status int } `json:"attempt_log"`
	}
	p.mustHost("GET", "/deliveries/"+p.deliveries()[0].ID, "", &out)
	return out.AttemptLog[len(out.AttemptLog)-1].Status == http.StatusOK
}

// pages are URLs of which each is taken or refused.
func pages() []string {
	return []string{
		"https://app.example/", "https://app.example:8443/a?b=c#d", "http://app.example/", "http://127.0.0.1:8000/", "http://localhost:8000/",
		"http://[::1]:8000/", "http://127.8.9.10/", "http://app.localhost/", "http://LOCALHOST./", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]/",
		"", "/", "//app.example/", "app.example", "ftp://app.example/", "javascript:alert(1)", "https://", "https:///x", "https://:443/",
		"https://user@app.example/", "https://user:password@app.example/", "https://app.example:99999/", "https://app.example:x/", "https://app.example:/",
		"https://app.example/ x", "https://app.example/\tx", "https://app.example\\@evil.example/", "https://app.example/\\", "https://app.example/\u200b",
		"https://دیوار.example/", "https://app..example/", "https://.example/", "https://app.example./", "https://a*b.example/", "https://[::1/", "https://[x]/",
		"https://app.example/" + strings.Repeat("x", 2048-20), "https://app.example/" + strings.Repeat("x", 2049-20), "https://app.example/" + strings.Repeat("ی", 2048-20),
		"HTTPS://APP.EXAMPLE/", "https://app.example/%zz", "https://app.example/\ufffd", "https://a_b.example/", "https://%61pp.example/",
	}
}

// replies are answers to a click of which each is taken or refused.
func replies(post string) []kenar.ActionAnswer {
	do := func(a kenar.Action) kenar.ActionAnswer { return kenar.ActionAnswer{Action: &a} }
	return []kenar.ActionAnswer{
		{},
		{Text: "x"},
		{Text: strings.Repeat("ی", 4096)},
		{Text: strings.Repeat("ی", 4097)},
		{Text: "a\x00b"},
		do(kenar.Action{}), do(kenar.OpenDirectLink("https://app.example/")), do(kenar.OpenDirectLink("http://app.example/")),
		do(kenar.OpenDirectLink("http://localhost/")), do(kenar.GetDynamicAction(nil)), do(kenar.OpenPostPage(post)), do(kenar.OpenPostManagePage(post)),
		do(kenar.OpenPostPage("")), do(kenar.OpenPostPage("a b")), do(kenar.Action{DirectLink: "https://app.example/", PostPage: &kenar.ActionPost{PostToken: post}}),
		{Text: "x", Action: &kenar.Action{PostPage: &kenar.ActionPost{PostToken: post}}},
	}
}

// say sends a message with buttons as the bot.
func (p *platform) say(k *kenar.Keyboard) (status int, answer []byte) {
	p.t.Helper()
	return p.call(http.MethodPost, p.dev.BaseURL+"/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages",
		`{"text_message":"Choose.","buttons":`+p.json(k)+`}`, "X-API-Key", p.dev.App.APIKey)
}

func (p *platform) notify(items []kenar.NotificationButton) (status int, answer []byte) {
	p.t.Helper()
	return p.call(http.MethodPost, p.dev.BaseURL+"/experimental/open-platform/events/send",
		`{"message":"Look.","target_type":"USER","target_resource_id":"`+p.dev.Users.Seller.AppUserID+`","buttons":{"items":`+p.json(items)+`}}`,
		"X-API-Key", p.dev.App.APIKey, "Authorization", "Bearer "+p.dev.Users.Seller.AccessToken)
}

// json encodes as encoding/json does, but for <, > and &.
func (p *platform) json(v any) string {
	p.t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		p.t.Fatal(err)
	}
	return b.String()
}
