package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const subscriptionsPath = "/v1/open-platform/events/subscriptions"

// The five event types, in the order of the contract.
var eventTypes = []string{
	"NEW_MESSAGE_ON_POST", "POST_UPDATE", "NEW_CHATBOT_MESSAGE", "USER_ACCESS_REVOCATION", "PAYMENT_TRANSACTION",
}

// forTest is the platform as a subtest uses it: failures are the subtest's own.
func (p *platform) forTest(t testing.TB) *platform {
	q := *p
	q.t = t
	return &q
}

// sample is the sample app as a caller and a listener.
func (p *platform) sample() caller {
	return caller{p: p, slug: p.dev.App.Slug, key: p.dev.App.APIKey, hook: p.hook}
}

// caller is an app with a key of every permission and a receiver of its own.
type caller struct {
	p    *platform
	slug string
	key  string
	hook *receiver
}

// otherApp makes an app beside the sample app.
func (p *platform) otherApp() caller {
	p.t.Helper()
	c := caller{p: p, slug: "other-app", hook: newReceiver(p.t)}
	const permissions = `["EVENTS_REGISTER_SUBSCRIPTION","EVENTS_SEND","CHAT_SEND_MESSAGE_OAUTH","CHAT_BOT_SEND_MESSAGE",` +
		`"CHAT_READ_CONVERSATION","CHAT_UPLOAD_MEDIA","USER_RETRIEVE","GET_POST"]`
	p.host("POST", "/apps", `{"slug":"`+c.slug+`","event_url":"`+c.hook.url+`","permissions":`+permissions+`}`).ok()
	c.key = p.newKey(c.slug, permissions).Key
	return c
}

// madeKey is an API key as it is shown once.
type madeKey struct{ ID, Key string }

func (p *platform) newKey(app, permissions string) madeKey {
	p.t.Helper()
	var k madeKey
	p.host("POST", "/apps/"+app+"/keys", `{"title":"a key","permissions":`+permissions+`}`).ok().into(&k)
	return k
}

func (c caller) call(method, path, token, body string) answer {
	c.p.t.Helper()
	header := []string{"X-API-Key: " + c.key}
	if token != "" {
		header = append(header, "Authorization: Bearer "+token)
	}
	return c.p.do(method, path, body, header...)
}

func (c caller) token(user string, scopes ...string) string {
	c.p.t.Helper()
	return c.p.tokenOf(c.slug, user, "1h", scopes...)
}

func (c caller) subscribe(token, body string) answer {
	c.p.t.Helper()
	return c.call("POST", subscriptionsPath, token, body)
}

// registered is a subscription as its app's list shows it.
type registered struct {
	ID        string          `json:"id"`
	Type      string          `json:"event_type"`
	Resource  *string         `json:"event_resource_id"`
	UserID    string          `json:"user_id"`
	Metadata  json.RawMessage `json:"metadata"`
	ExpiresAt time.Time       `json:"expires_at"`
}

// listed returns all of the app's subscriptions, page after page.
func (c caller) listed() []registered {
	c.p.t.Helper()
	var all []registered
	for after := ""; ; {
		var page struct {
			Subscriptions []registered `json:"subscriptions"`
			Next          *string      `json:"next"`
		}
		c.call("GET", subscriptionsPath+"?after="+after, "", "").ok().into(&page)
		if page.Subscriptions == nil {
			c.p.t.Fatal("subscriptions is null, want a list")
		}
		all = append(all, page.Subscriptions...)
		if page.Next == nil {
			return all
		}
		after = *page.Next
	}
}

// end ends one of the app's own subscriptions.
func (c caller) end(id string) answer {
	c.p.t.Helper()
	return c.call("DELETE", subscriptionsPath+"/"+id, "", "")
}

// newPost stores a published post.
func (p *platform) newPost(token, owner string) {
	p.t.Helper()
	p.host("PUT", "/posts/"+token, `{"owner":"`+owner+`","state":"PUBLISHED","title":"a post"}`).ok()
}

// newConversation stores a conversation of a buyer on a post.
func (p *platform) newConversation(id, post, buyer string) {
	p.t.Helper()
	p.host("PUT", "/conversations/"+id, `{"type":"POST","post_token":"`+post+`","buyer":"`+buyer+`"}`).ok()
}

// newBotConversation stores a conversation of a user with an app's bot.
func (p *platform) newBotConversation(id, app, user string) {
	p.t.Helper()
	p.host("PUT", "/conversations/"+id, `{"type":"BOT","app":"`+app+`","user":"`+user+`"}`).ok()
}

// sayIn writes a text into a conversation and returns the event's id.
func (p *platform) sayIn(conversation, side, text string) string {
	p.t.Helper()
	q := *p
	q.dev.ConversationID = conversation
	return q.say(side, text)
}

// setApp changes the sample app's settings.
func (p *platform) setApp(settings string) {
	p.t.Helper()
	p.host("PATCH", "/apps/sample-app", settings).ok()
}

// arrived settles the platform and returns what an app got since the last
// call, its bodies read.
func (c caller) arrived() []envelope {
	c.p.t.Helper()
	c.p.settle()
	return read(c.p.t, c.hook.take())
}

// envelope is the body of a webhook.
type envelope struct {
	Type        string          `json:"type"`
	Metadata    json.RawMessage `json:"metadata"`
	NewMessage  *payloadMessage `json:"new_message"`
	BotMessage  *payloadMessage `json:"new_chatbot_message"`
	PostUpdate  *payloadPost    `json:"post_update"`
	Revocation  json.RawMessage `json:"user_access_revocation"`
	Transaction json.RawMessage `json:"transaction"`
	Payment     json.RawMessage `json:"payment_transaction"`
}

type payloadMessage struct {
	Text         string
	Conversation struct {
		ID        string
		PostToken string `json:"post_token"`
	}
	Sender struct{ Side, Type string }
}

type payloadPost struct {
	Type string          `json:"type"`
	Post json.RawMessage `json:"post"`
}

func read(t testing.TB, hooks []hook) []envelope {
	t.Helper()
	list := make([]envelope, len(hooks))
	for i, h := range hooks {
		if err := json.Unmarshal([]byte(h.body), &list[i]); err != nil {
			t.Fatalf("webhook %q: %v", h.body, err)
		}
	}
	return list
}

// heard settles the platform and returns the sample app's only webhook.
func (p *platform) heard() envelope {
	p.t.Helper()
	return read(p.t, []hook{p.one()})[0]
}

// echoed settles the platform and checks the metadata of the only webhook;
// want "" means that it has none.
func (p *platform) echoed(want string) {
	p.t.Helper()
	if got := string(p.heard().Metadata); got != want {
		p.t.Errorf("metadata %q, want %q", got, want)
	}
}

// pay stores a new transaction of an app.
func (p *platform) pay(id, app string) {
	p.t.Helper()
	p.host("PUT", "/transactions/"+id, `{"app":"`+app+`","state":"PENDING","type":"REORDER","cost_rials":1000}`).ok()
}

// skipped checks that an event has one verdict, a skip whose reason holds a
// word.
func (p *platform) skipped(event, reason string) {
	p.t.Helper()
	v := p.verdicts(event)
	if len(v) != 1 || v[0].State != "skipped" || v[0].DeliveryID != nil || !strings.Contains(v[0].Reason, reason) {
		p.t.Errorf("verdicts %+v, want one that is skipped for %q", v, reason)
	}
}

// logLine is a delivery in the log.
type logLine struct {
	ID       string
	EventID  string `json:"event_id"`
	App      string
	Type     string
	State    string
	Reason   string
	Attempts int
}

// deliveries returns the newest page of the log.
func (p *platform) deliveries(query string) []logLine {
	p.t.Helper()
	var out struct{ Deliveries []logLine }
	p.host("GET", "/deliveries?"+query, "").ok().into(&out)
	return out.Deliveries
}

// stateOf returns what became of an event for the one app that it concerned.
func (p *platform) stateOf(event string) string {
	p.t.Helper()
	v := p.verdicts(event)
	if len(v) != 1 {
		p.t.Fatalf("verdicts of event %s: %+v, want one", event, v)
	}
	return v[0].State
}

// codes is the google.rpc code that goes with an HTTP status, where there is
// but one.
var codes = map[int]int{400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 6, 412: 9, 413: 8, 415: 3}

// TestRegistration holds the rules of who may register what: section 5's
// table and the bullets below it. The seller owns "gZd7omnS" and "second", the
// buyer "foreign"; there is no post "nowhere".
func TestRegistration(t *testing.T) {
	t.Parallel()
	world := start(t)
	world.newPost("second", "seller")
	world.newPost("foreign", "buyer")
	const (
		narrow = "CHAT_POST_CONVERSATIONS_READ.gZd7omnS"
		wide   = "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"
		posts  = "USER_POSTS_GET"
		told   = "NOTIFICATION_ACCESS_REVOCATION"
		id     = "USER_ID"
		ok     = http.StatusOK
	)
	on := func(typ, resource string) string { // resource is JSON, "" for absent
		if resource == "" {
			return `{"event_type":"` + typ + `"}`
		}
		return `{"event_type":"` + typ + `","event_resource_id":` + resource + `}`
	}
	message := func(resource string) string { return on("NEW_MESSAGE_ON_POST", resource) }
	post := func(resource string) string { return on("POST_UPDATE", resource) }
	with := func(metadata string) string {
		return `{"event_type":"PAYMENT_TRANSACTION","metadata":` + metadata + `}`
	}
	sized := func(bytes int) string { return `{"a":"` + strings.Repeat("x", bytes-len(`{"a":""}`)) + `"}` }

	tests := []struct {
		name   string
		scopes string // of the seller's token
		body   string
		want   int
		says   string // a refusal: words of the message; else the subscription's resource id
	}{
		{"message/narrow scope, that post", narrow, message(`"gZd7omnS"`), ok, "gZd7omnS"},
		{"message/narrow scope, another post", narrow, message(`"second"`), 403, "CHAT_POST_CONVERSATIONS_READ.second " + wide},
		{"message/narrow scope is no prefix", "CHAT_POST_CONVERSATIONS_READ.gZd7", message(`"gZd7omnS"`), 403, narrow},
		{"message/narrow scope has letter case", "CHAT_POST_CONVERSATIONS_READ.GZD7OMNS", message(`"gZd7omnS"`), 403, narrow},
		{"message/narrow scope of another kind", "CHAT_POST_CONVERSATIONS_MESSAGE_SEND.gZd7omnS", message(`"gZd7omnS"`), 403, narrow},
		{"message/narrow scope, resource id absent", narrow, message(``), 403, wide},
		{"message/narrow scope, resource id null", narrow, message(`null`), 403, wide},
		{"message/narrow scope, resource id empty", narrow, message(`""`), 403, wide},
		{"message/wide scope, one post", wide, message(`"second"`), ok, "second"},
		{"message/wide scope, resource id absent", wide, message(``), ok, ""},
		{"message/wide scope, resource id null", wide, message(`null`), ok, ""},
		{"message/wide scope, resource id empty", wide, message(`""`), ok, ""},
		{"message/both scopes, one post", narrow + " " + wide, message(`"gZd7omnS"`), ok, "gZd7omnS"},
		{"message/no scope, one post", "", message(`"gZd7omnS"`), 403, narrow + " " + wide},
		{"message/no scope, every post", "", message(``), 403, wide},
		{"message/scopes of other types", posts + " " + told + " " + id, message(``), 403, wide},
		{"message/scopes of other types, one post", posts + " " + told + " " + id, message(`"gZd7omnS"`), 403, narrow},
		{"message/wide scope, foreign post", wide, message(`"foreign"`), 403, "event_resource_id foreign"},
		{"message/narrow scope, foreign post", "CHAT_POST_CONVERSATIONS_READ.foreign", message(`"foreign"`), 403, "event_resource_id foreign"},
		{"message/wide scope, unknown post", wide, message(`"nowhere"`), 404, "event_resource_id nowhere"},
		{"message/narrow scope, unknown post", "CHAT_POST_CONVERSATIONS_READ.nowhere", message(`"nowhere"`), 404, "event_resource_id nowhere"},

		{"post/its scope, one post", posts, post(`"second"`), ok, "second"},
		{"post/its scope, resource id absent", posts, post(``), ok, ""},
		{"post/its scope, resource id null", posts, post(`null`), ok, ""},
		{"post/its scope, resource id empty", posts, post(`""`), ok, ""},
		{"post/other scopes, one post", narrow + " " + wide + " " + id + " " + told, post(`"gZd7omnS"`), 403, posts},
		{"post/other scopes, every post", narrow + " " + wide + " " + id + " " + told, post(``), 403, posts},
		{"post/its scope, foreign post", posts, post(`"foreign"`), 403, "event_resource_id foreign"},
		{"post/its scope, unknown post", posts, post(`"nowhere"`), 404, "event_resource_id nowhere"},

		{"chatbot/no scope", "", on("NEW_CHATBOT_MESSAGE", ``), ok, ""},
		{"chatbot/resource id ignored", "", on("NEW_CHATBOT_MESSAGE", `"nowhere"`), ok, ""},
		{"payment/no scope", "", on("PAYMENT_TRANSACTION", ``), ok, ""},
		{"payment/resource id ignored", "", on("PAYMENT_TRANSACTION", `"foreign"`), ok, ""},
		{"revocation/both scopes", told + " " + id, on("USER_ACCESS_REVOCATION", ``), ok, ""},
		{"revocation/resource id ignored", told + " " + id, on("USER_ACCESS_REVOCATION", `"foreign"`), ok, ""},
		{"revocation/one scope missing", told, on("USER_ACCESS_REVOCATION", ``), 403, id},
		{"revocation/the other scope missing", id, on("USER_ACCESS_REVOCATION", ``), 403, told},
		{"revocation/no scope", "", on("USER_ACCESS_REVOCATION", ``), 403, told + " " + id},
		{"revocation/other scopes", posts + " " + wide, on("USER_ACCESS_REVOCATION", ``), 403, told},

		{"type/unknown", "", on("NEW_PHONE_CALL", ``), 400, "event_type NEW_PHONE_CALL"},
		{"type/of the webhook", "", on("NEW_MESSAGE", ``), 400, "event_type"},
		{"type/lower case", "", on("payment_transaction", ``), 400, "event_type"},
		{"type/empty", "", on("", ``), 400, "event_type"},
		{"type/absent", "", `{}`, 400, "event_type"},
		{"type/null", "", `{"event_type":null}`, 400, "event_type"},
		{"type/a number", "", `{"event_type":1}`, 400, "event_type"},
		{"type/a list", "", `{"event_type":["PAYMENT_TRANSACTION"]}`, 400, "event_type"},
		{"type/no body", "", ``, 400, "event_type"},
		{"resource/a number", wide, message(`5`), 400, "event_resource_id"},
		{"resource/longer than any id", wide, message(`"` + strings.Repeat("x", 65) + `"`), 400, "event_resource_id"},

		{"metadata/4 KiB", "", with(sized(4096)), ok, ""},
		{"metadata/4 KiB and a byte", "", with(sized(4097)), 400, "metadata 4096"},
		{"metadata/4 KiB are bytes, not characters", "", with(`{"a":"` + strings.Repeat("س", 2100) + `"}`), 400, "metadata 4096"},
		{"metadata/empty", "", with(`{}`), ok, ""},
		{"metadata/null", "", with(`null`), ok, ""},
		{"metadata/a list", "", with(`[]`), 400, "metadata"},
		{"metadata/a text", "", with(`"{}"`), 400, "metadata"},
		{"metadata/a number", "", with(`1`), 400, "metadata"},
		{"metadata/true", "", with(`true`), 400, "metadata"},
		{"unknown fields are ignored", "", `{"event_type":"PAYMENT_TRANSACTION","x":{"y":[1]},"id":7}`, ok, ""},

		{"order/body before scope", "", `{"event_type":"NEW_MESSAGE_ON_POST","metadata":[]}`, 400, "metadata"},
		{"order/scope before unknown post", "", post(`"nowhere"`), 403, posts},
		{"order/scope before foreign post", "", post(`"foreign"`), 403, posts},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // one after the other: each looks at the whole list
			p := world.forTest(t)
			a := p.subscribe(p.token("seller", strings.Fields(tt.scopes)...), tt.body)
			list := p.sample().listed()
			for _, s := range list {
				p.sample().end(s.ID).ok()
			}
			if tt.want != ok {
				a.refused(tt.want, codes[tt.want], strings.Fields(tt.says)...)
				if len(list) != 0 {
					t.Errorf("it was refused and yet is there: %+v", list)
				}
				return
			}
			if a.ok().body != "{}" {
				t.Errorf("answer %s, want {}", a.body)
			}
			if len(list) != 1 {
				t.Fatalf("%d subscriptions, want 1", len(list))
			}
			s := list[0]
			if tt.says == "" && s.Resource != nil || tt.says != "" && (s.Resource == nil || *s.Resource != tt.says) {
				t.Errorf("resource id %v, want %q (null for none)", s.Resource, tt.says)
			}
			if s.UserID != p.dev.Users.Seller.AppUserID {
				t.Errorf("user %q, want %q", s.UserID, p.dev.Users.Seller.AppUserID)
			}
		})
	}
}

func TestRegistrationNeedsKeyAndToken(t *testing.T) {
	t.Parallel()
	p := start(t)
	token := p.dev.Users.Seller.AccessToken
	for _, typ := range eventTypes {
		body := `{"event_type":"` + typ + `"}`
		p.do("POST", subscriptionsPath, body, "Authorization: Bearer "+token).refused(401, 16, "X-API-Key")
		p.do("POST", subscriptionsPath, body, "X-API-Key: "+p.dev.App.APIKey).refused(401, 16, "token")
		p.do("POST", subscriptionsPath, body, "X-API-Key: "+p.dev.App.APIKey, "Authorization: Bearer okt_unknown").refused(401, 16, "token")
		p.do("POST", subscriptionsPath, body).refused(401, 16, "X-API-Key")
	}
	if list := p.sample().listed(); len(list) != 0 {
		t.Errorf("subscriptions: %+v, want none", list)
	}
}

func TestRegistrationNeedsEventURL(t *testing.T) {
	t.Parallel()
	p := start(t)
	token := p.dev.Users.Seller.AccessToken
	p.setApp(`{"event_url":""}`)
	for _, typ := range eventTypes {
		p.subscribe(token, `{"event_type":"`+typ+`"}`).refused(412, 9, "event_url")
	}
	p.subscribe(token, `{"event_type":"X"}`).refused(400, 3, "event_type")
	p.subscribe(p.token("seller"), `{"event_type":"POST_UPDATE"}`).refused(403, 7, "USER_POSTS_GET")
	p.subscribe(token, `{"event_type":"POST_UPDATE","event_resource_id":"nowhere"}`).refused(404, 5, "nowhere")
	if list := p.sample().listed(); len(list) != 0 {
		t.Errorf("subscriptions: %+v, want none", list)
	}
	p.setApp(`{"event_url":"` + p.hook.url + `"}`)
	for _, typ := range eventTypes {
		p.subscribe(token, `{"event_type":"`+typ+`"}`).ok()
	}
}

func TestMetadataIsEchoedAsGiven(t *testing.T) {
	t.Parallel()
	world := start(t)
	token := world.dev.Users.Seller.AccessToken
	tests := []struct{ name, given, want string }{
		{name: "flat", given: `{"key":"value"}`},
		{name: "empty", given: `{}`},
		{name: "nesting", given: `{"a":{"b":{"c":{"d":[{"e":{}},[[]]]}}}}`},
		{name: "deep nesting", given: strings.Repeat(`{"a":`, 600) + `1` + strings.Repeat(`}`, 600)},
		{name: "lists", given: `{"a":[1,"2",true,false,[],{}]}`},
		{name: "null stays", given: `{"a":null,"b":[null],"c":{"d":null}}`},
		{name: "numbers as given", given: `{"a":1.50,"b":1e3,"c":-0,"d":0.10,"e":1E+2,"f":12345678901234567890123,"g":1e999}`},
		{name: "the order of keys", given: `{"z":1,"a":2,"m":3,"A":4}`},
		{name: "Persian", given: `{"شهر":"تهران","متن":"سلام دنیا` + "\u200c" + `ی ما"}`},
		{name: "emoji", given: `{"😀":"👩‍👩‍👧‍👦 🇮🇷"}`},
		{name: "escapes as given", given: `{"a":"\u0633\ud83d\ude00\u0000\n\t\"\\\/"}`},
		{name: "markup", given: `{"a":"<b>&'</b>` + "\u2028" + `"}`},
		{name: "names of our own", given: `{"type":"X","metadata":{"metadata":1},"new_message":null}`},
		{name: "white space goes", given: "{ \"a\" :\n[ 1 , 2 ]\t}", want: `{"a":[1,2]}`},
		{name: "null is none", given: `null`, want: "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := world.forTest(t)
			want := tt.want
			if want == "" {
				want = tt.given
			}
			p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":`+tt.given+`}`).ok()
			p.say("BUYER", "hello")
			h := p.one()
			listed := string(p.sample().listed()[0].Metadata)
			if want == "none" {
				if !strings.HasPrefix(h.body, `{"type":"NEW_MESSAGE","new_message":{`) || listed != "null" {
					t.Errorf("webhook %s, listed %s, want no metadata", h.body, listed)
				}
				return
			}
			if !strings.HasPrefix(h.body, `{"type":"NEW_MESSAGE","metadata":`+want+`,"new_message":{`) {
				t.Errorf("webhook %s\nwant metadata %s", h.body, want)
			}
			if listed != want {
				t.Errorf("listed %s\nwant %s", listed, want)
			}
		})
	}
}

// TestWhoHearsOfMessages holds the first row of the table: which message on
// which post is heard through which subscription.
func TestWhoHearsOfMessages(t *testing.T) {
	t.Parallel()
	const demo = "edbb9499-cccc-4d35-b21f-621fa95f2b3e" // on the demo post
	type written struct {
		what         string
		conversation string
		side         string
		heard        bool
	}
	tests := []struct {
		name     string
		register string // by the seller
		writes   []written
	}{
		{"no subscription", "", []written{
			{"the buyer", demo, "BUYER", false},
			{"the seller", demo, "SELLER", false},
		}},
		{"one post", `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS"}`, []written{
			{"the buyer", demo, "BUYER", true},
			{"the seller", demo, "SELLER", true},
			{"another buyer", "another-buyers", "BUYER", true},
			{"on another of the user's posts", "on-second", "BUYER", false},
			{"on a foreign post", "on-foreign", "SELLER", false},
		}},
		{"every post", `{"event_type":"NEW_MESSAGE_ON_POST"}`, []written{
			{"the buyer", demo, "BUYER", true},
			{"the seller", demo, "SELLER", true},
			{"another buyer", "another-buyers", "BUYER", true},
			{"on another of the user's posts", "on-second", "BUYER", true},
			{"by the user on a foreign post", "on-foreign", "BUYER", false},
			{"to the user on a foreign post", "on-foreign", "SELLER", false},
		}},
		{"another type", `{"event_type":"POST_UPDATE"}`, []written{
			{"the buyer", demo, "BUYER", false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.newPost("second", "seller")
			p.newPost("foreign", "buyer")
			p.newConversation("another-buyers", "gZd7omnS", "third")
			p.newConversation("on-second", "second", "buyer")
			p.newConversation("on-foreign", "foreign", "seller")
			if tt.register != "" {
				p.subscribe(p.dev.Users.Seller.AccessToken, tt.register).ok()
			}
			for _, w := range tt.writes {
				event := p.sayIn(w.conversation, w.side, w.what)
				p.settle()
				got := read(t, p.hook.take())
				if !w.heard {
					if v := p.verdicts(event); len(got) != 0 || len(v) != 0 {
						t.Errorf("%s: heard %+v, verdicts %+v; want nothing: it is not concerned", w.what, got, v)
					}
					continue
				}
				if len(got) != 1 || got[0].Type != "NEW_MESSAGE" || got[0].NewMessage == nil {
					t.Errorf("%s: heard %+v, want one message", w.what, got)
					continue
				}
				if m := got[0].NewMessage; m.Text != w.what || m.Conversation.ID != w.conversation || m.Sender.Side != w.side || m.Sender.Type != "HUMAN" {
					t.Errorf("%s: heard %+v", w.what, m)
				}
			}
		})
	}
}

func TestDefaultTypesNeedNoSubscription(t *testing.T) {
	t.Parallel()
	p := start(t)
	other := p.otherApp()

	p.sayIn(p.dev.BotConversationID, "USER", "to the bot")
	if e := p.heard(); e.Type != "NEW_CHATBOT_MESSAGE" || e.Metadata != nil || e.BotMessage == nil || e.BotMessage.Text != "to the bot" {
		t.Errorf("chatbot: %+v", e)
	}
	p.pay("tx-1", "sample-app")
	if e := p.heard(); e.Type != "PAYMENT_TRANSACTION" || e.Metadata != nil || e.Transaction == nil {
		t.Errorf("transaction: %+v", e)
	}
	if got := other.arrived(); len(got) != 0 {
		t.Errorf("the other app heard %+v of what is the sample app's", got)
	}
	p.newBotConversation("with-other", "other-app", "seller")
	p.sayIn("with-other", "USER", "to the other bot")
	p.pay("tx-2", "other-app")
	if got := other.arrived(); len(got) != 2 {
		t.Errorf("the other app heard %+v, want its two", got)
	}
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok() // both scopes are in the demo grant
	if e := p.heard(); e.Type != "USER_ACCESS_REVOCATION" || string(e.Revocation) != `{"user_id":"`+p.dev.Users.Seller.AppUserID+`"}` {
		t.Errorf("revocation: %+v", e)
	}
}

func TestRegisteringAgainReplaces(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.newPost("second", "seller")
	app, other := p.sample(), p.otherApp()
	token := p.dev.Users.Seller.AccessToken

	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"n":1}}`).ok()
	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"","metadata":{"n":2}}`).ok()
	if list := app.listed(); len(list) != 1 || string(list[0].Metadata) != `{"n":2}` {
		t.Fatalf("subscriptions %+v, want one with the newer metadata", list)
	}
	p.say("BUYER", "one")
	p.echoed(`{"n":2}`)
	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.say("BUYER", "two")
	p.echoed("") // the newer one has none

	// App, user, type and resource are the key: these are all different.
	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS"}`).ok()
	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"second"}`).ok()
	p.subscribe(token, `{"event_type":"POST_UPDATE"}`).ok()
	p.subscribe(p.dev.Users.Buyer.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	other.subscribe(other.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"), `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	if list := app.listed(); len(list) != 5 {
		t.Errorf("%d subscriptions, want 5: %+v", len(list), list)
	}
	// Of a default type the resource id is ignored: one key.
	p.subscribe(token, `{"event_type":"PAYMENT_TRANSACTION","event_resource_id":"a","metadata":{"n":1}}`).ok()
	p.subscribe(token, `{"event_type":"PAYMENT_TRANSACTION","event_resource_id":"b","metadata":{"n":2}}`).ok()
	if list := app.listed(); len(list) != 6 {
		t.Errorf("%d subscriptions, want 6: %+v", len(list), list)
	}
}

func TestMostSpecificSubscriptionWins(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.sample()
	wide := p.tokenOf("sample-app", "seller", "24h", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_POSTS_GET")
	narrow := p.token("seller", "CHAT_POST_CONVERSATIONS_READ.gZd7omnS", "USER_POSTS_GET")
	const one = `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS"`
	p.subscribe(narrow, one+`,"metadata":{"of":"one"}}`).ok()
	p.subscribe(wide, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"of":"all"}}`).ok() // the newer one

	event := p.say("BUYER", "the narrow one wins, and it is one webhook")
	p.echoed(`{"of":"one"}`)
	if v := p.verdicts(event); len(v) != 1 {
		t.Errorf("verdicts: %+v, want one for the app", v)
	}
	p.subscribe(narrow, one+`}`).ok()
	p.say("BUYER", "also without metadata")
	p.echoed("")

	for _, s := range app.listed() {
		if s.Resource != nil {
			app.end(s.ID).ok()
		}
	}
	p.say("BUYER", "the wide one takes over when the narrow one was ended")
	p.echoed(`{"of":"all"}`)

	p.subscribe(narrow, one+`,"metadata":{"of":"one"}}`).ok()
	p.advance("2h")
	p.say("BUYER", "and when it expired")
	p.echoed(`{"of":"all"}`)

	// Posts follow the same rule.
	p.subscribe(wide, `{"event_type":"POST_UPDATE","metadata":{"of":"all"}}`).ok()
	p.subscribe(wide, `{"event_type":"POST_UPDATE","event_resource_id":"gZd7omnS","metadata":{"of":"one"}}`).ok()
	p.host("PUT", "/posts/gZd7omnS", `{"owner":"seller","state":"PUBLISHED","city":"shiraz"}`).ok()
	p.echoed(`{"of":"one"}`)
	p.newPost("second", "seller")
	p.echoed(`{"of":"all"}`)
}

func TestEachAppHearsOnce(t *testing.T) {
	t.Parallel()
	p := start(t)
	app, other := p.sample(), p.otherApp()
	for i, c := range []caller{app, other} {
		token := c.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ")
		for _, resource := range []string{"", "gZd7omnS"} {
			c.subscribe(token, fmt.Sprintf(
				`{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":%q,"metadata":{"app":%d,"of":%q}}`, resource, i, resource)).ok()
		}
	}
	event := p.say("SELLER", "hello")
	p.settle()
	for i, c := range []caller{app, other} {
		got := read(t, c.hook.take())
		if len(got) != 1 || string(got[0].Metadata) != fmt.Sprintf(`{"app":%d,"of":"gZd7omnS"}`, i) {
			t.Errorf("%s heard %+v, want one with its own metadata", c.slug, got)
		}
	}
	var apps []string
	for _, v := range p.verdicts(event) {
		apps = append(apps, v.App+" "+v.State)
	}
	if want := []string{"other-app delivered", "sample-app delivered"}; !slices.Equal(apps, want) {
		t.Errorf("verdicts %v, want %v", apps, want)
	}
}

// TestMetadataOfDefaultTypes holds which metadata is echoed for the types that
// are heard without a subscription.
func TestMetadataOfDefaultTypes(t *testing.T) {
	t.Parallel()
	t.Run("the app's newest still valid", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		other := p.otherApp()
		tx := 0
		pay := func() {
			tx++
			p.pay(fmt.Sprintf("tx-%d", tx), "sample-app")
		}
		other.subscribe(other.token("seller"), `{"event_type":"PAYMENT_TRANSACTION","metadata":{"of":"the other app"}}`).ok()
		p.subscribe(p.token("seller"), `{"event_type":"NEW_CHATBOT_MESSAGE","metadata":{"of":"another type"}}`).ok()
		pay()
		p.echoed("")
		p.subscribe(p.tokenOf("sample-app", "seller", "3h"), `{"event_type":"PAYMENT_TRANSACTION","metadata":{"of":"seller"}}`).ok()
		pay()
		p.echoed(`{"of":"seller"}`)
		p.subscribe(p.token("buyer"), `{"event_type":"PAYMENT_TRANSACTION","metadata":{"of":"buyer"}}`).ok()
		pay()
		p.echoed(`{"of":"buyer"}`)
		p.subscribe(p.tokenOf("sample-app", "seller", "3h"), `{"event_type":"PAYMENT_TRANSACTION","metadata":{"of":"seller again"}}`).ok()
		pay()
		p.echoed(`{"of":"seller again"}`)
		p.subscribe(p.token("buyer"), `{"event_type":"PAYMENT_TRANSACTION","metadata":{"of":"buyer again"}}`).ok()
		p.advance("2h") // the buyer's token is dead, the seller's is not
		pay()
		p.echoed(`{"of":"seller again"}`)
		p.advance("2h")
		pay()
		p.echoed("") // nothing is valid any more, the event is heard all the same
	})
	t.Run("chatbot: the writing user's own first", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.newBotConversation("bots-buyer", "sample-app", "buyer")
		p.newBotConversation("bots-third", "sample-app", "third")
		p.subscribe(p.token("seller"), `{"event_type":"NEW_CHATBOT_MESSAGE","metadata":{"of":"seller"}}`).ok()
		p.subscribe(p.tokenOf("sample-app", "buyer", "24h"), `{"event_type":"NEW_CHATBOT_MESSAGE","metadata":{"of":"buyer"}}`).ok()
		p.sayIn(p.dev.BotConversationID, "USER", "the seller's own, though it is older")
		p.echoed(`{"of":"seller"}`)
		p.sayIn("bots-buyer", "USER", "the buyer's own")
		p.echoed(`{"of":"buyer"}`)
		p.sayIn("bots-third", "USER", "the newest")
		p.echoed(`{"of":"buyer"}`)
		p.advance("2h")
		p.sayIn(p.dev.BotConversationID, "USER", "the seller's own has expired")
		p.echoed(`{"of":"buyer"}`)
		p.subscribe(p.token("seller"), `{"event_type":"NEW_CHATBOT_MESSAGE"}`).ok()
		p.sayIn(p.dev.BotConversationID, "USER", "the seller's own has no metadata")
		p.echoed("")
	})
	t.Run("ended by the app", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("seller"), `{"event_type":"NEW_CHATBOT_MESSAGE","metadata":{"n":1}}`).ok()
		p.sample().end(p.sample().listed()[0].ID).ok()
		p.sayIn(p.dev.BotConversationID, "USER", "heard without metadata")
		p.echoed("")
	})
	t.Run("ended with the grant", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.tokenOf("sample-app", "ali", "1h", "USER_ID"), `{"event_type":"PAYMENT_TRANSACTION","metadata":{"n":1}}`).ok()
		p.host("DELETE", "/users/ali/grants/sample-app", "").ok()
		p.pay("tx", "sample-app")
		p.echoed("")
	})
}

// TestSubscriptionLivesAsLongAsItsToken holds validity: from registration to
// the end of the token that it was made with.
func TestSubscriptionLivesAsLongAsItsToken(t *testing.T) {
	t.Parallel()
	const scope, body = "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", `{"event_type":"NEW_MESSAGE_ON_POST"}`
	t.Run("it dies with the token", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("seller", scope), body).ok()
		p.advance("50m")
		p.say("BUYER", "in time")
		p.one()
		p.advance("20m")
		event := p.say("BUYER", "too late")
		p.none()
		p.skipped(event, "expired")
		if list := p.sample().listed(); len(list) != 0 {
			t.Errorf("still listed: %+v", list)
		}
	})
	t.Run("what happened before is still delivered", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("seller", scope), `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"k":1}}`).ok()
		p.setApp(`{"paused":true}`)
		event := p.say("BUYER", "in time")
		p.advance("2h")
		if got := p.stateOf(event); got != "pending" {
			t.Errorf("state %s while paused, want pending", got)
		}
		p.setApp(`{"paused":false}`)
		p.echoed(`{"k":1}`)
		if got := p.stateOf(event); got != "delivered" {
			t.Errorf("state %s, want delivered", got)
		}
	})
	t.Run("what failed before is tried again afterwards", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.tokenOf("sample-app", "seller", "1m", scope), body).ok()
		p.hook.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		event := p.say("BUYER", "in time")
		p.advance("10m") // the last attempts come after the token's end
		p.hook.respond(nil)
		p.advance("1h")
		if got := p.stateOf(event); got != "delivered" {
			t.Errorf("state %s, want delivered", got)
		}
	})
	t.Run("another token does not carry it over", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("seller", scope), body).ok()
		fresh := p.tokenOf("sample-app", "seller", "24h", scope)
		p.advance("2h")
		p.skipped(p.say("BUYER", "the token it was made with is dead"), "expired")
		p.none()
		p.subscribe(fresh, body).ok()
		p.say("BUYER", "registered again")
		p.one()
	})
	t.Run("registering again makes it longer", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("seller", scope), body).ok()
		p.subscribe(p.tokenOf("sample-app", "seller", "5h", scope), body).ok()
		p.advance("2h")
		p.say("BUYER", "hello")
		p.one()
		p.advance("4h")
		p.say("BUYER", "hello")
		p.none()
	})
	t.Run("registering again makes it shorter", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.tokenOf("sample-app", "seller", "5h", scope), body).ok()
		p.subscribe(p.token("seller", scope), body).ok()
		p.advance("2h")
		p.say("BUYER", "hello")
		p.none()
	})
	t.Run("expires_at is the token's", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		before := time.Now().Truncate(time.Microsecond)
		token := p.token("seller", scope)
		after := time.Now()
		p.subscribe(token, body).ok()
		got := p.sample().listed()[0].ExpiresAt
		if got.Before(before.Add(time.Hour)) || got.After(after.Add(time.Hour)) {
			t.Errorf("expires_at %s, want an hour after the token was made (%s to %s)", got, before, after)
		}
	})
	t.Run("a dead token registers nothing", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		token := p.token("seller", scope)
		p.advance("61m")
		p.subscribe(token, body).refused(401, 16, "token", "expired")
	})
}

// revocable is a world in which ali's post is heard by the sample app, whose
// deliveries wait.
type revocable struct {
	*platform
	access                      string // ali's token
	message, post, bot, payment string // events that are queued
}

func startRevocable(t *testing.T, scopes ...string) *revocable {
	t.Helper()
	p := start(t)
	p.newPost("alis", "ali")
	p.newConversation("on-alis", "alis", "buyer")
	p.newBotConversation("alis-bot", "sample-app", "ali")
	w := &revocable{platform: p}
	w.access = p.token("ali", append(scopes, "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_POSTS_GET")...)
	p.subscribe(w.access, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.subscribe(w.access, `{"event_type":"POST_UPDATE","event_resource_id":"alis"}`).ok()
	return w
}

// queue lets one event of each type happen.
func (w *revocable) queue() {
	w.t.Helper()
	w.message = w.sayIn("on-alis", "BUYER", "queued")
	w.host("PUT", "/posts/alis", `{"owner":"ali","state":"PUBLISHED","title":"changed"}`).ok()
	w.bot = w.sayIn("alis-bot", "USER", "queued")
	w.pay("tx", "sample-app")
	for _, d := range w.deliveries("state=pending") {
		switch d.Type {
		case "POST_UPDATE":
			w.post = d.EventID
		case "PAYMENT_TRANSACTION":
			w.payment = d.EventID
		}
	}
}

func (w *revocable) revoke() {
	w.t.Helper()
	if a := w.host("DELETE", "/users/ali/grants/sample-app", "").ok(); a.body != "{}" {
		w.t.Errorf("answer %s, want {}", a.body)
	}
}

// heardTypes returns the types of what arrived, sorted.
func (w *revocable) heardTypes() []string {
	w.t.Helper()
	types := []string{}
	for _, e := range w.sample().arrived() {
		types = append(types, e.Type)
	}
	slices.Sort(types)
	return types
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	both := []string{"NOTIFICATION_ACCESS_REVOCATION", "USER_ID"}

	t.Run("what is queued", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t, both...)
		w.subscribe(w.access, `{"event_type":"USER_ACCESS_REVOCATION","metadata":{"of":"ali"}}`).ok()
		w.setApp(`{"paused":true}`)
		w.queue()
		w.revoke()
		w.setApp(`{"paused":false}`)
		w.settle()
		for _, e := range read(t, w.hook.take()) {
			switch e.Type {
			case "USER_ACCESS_REVOCATION":
				if string(e.Metadata) != `{"of":"ali"}` || !strings.HasPrefix(string(e.Revocation), `{"user_id":"`) {
					t.Errorf("revocation: %s %s", e.Metadata, e.Revocation)
				}
			case "NEW_CHATBOT_MESSAGE", "PAYMENT_TRANSACTION":
			default:
				t.Errorf("%s was sent after the revocation", e.Type)
			}
		}
		for event, want := range map[string]string{w.message: "canceled", w.post: "canceled", w.bot: "delivered", w.payment: "delivered"} {
			if v := w.verdicts(event); len(v) != 1 || v[0].State != want || want == "canceled" && v[0].Reason == "" {
				t.Errorf("event %s: %+v, want %s", event, v, want)
			}
		}
		if got := w.deliveries("state=delivered&app=sample-app"); len(got) != 3 {
			t.Errorf("delivered %+v, want chatbot, transaction and revocation", got)
		}
	})

	t.Run("what waits for its retry", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t)
		w.hook.respond(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
		message := w.sayIn("on-alis", "BUYER", "fails")
		w.settle()
		w.revoke()
		w.hook.take()
		w.hook.respond(nil)
		w.advance("72h")
		if got := w.hook.take(); len(got) != 0 {
			t.Errorf("sent after the revocation: %+v", got)
		}
		if got := w.stateOf(message); got != "canceled" {
			t.Errorf("state %s, want canceled", got)
		}
	})

	t.Run("what is being sent", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t)
		began := make(chan struct{})
		var once sync.Once
		w.hook.respond(func(_ http.ResponseWriter, r *http.Request) {
			once.Do(func() { close(began) })
			<-r.Context().Done() // until the platform hangs up
		})
		message := w.sayIn("on-alis", "BUYER", "under way")
		second := w.sayIn("on-alis", "BUYER", "behind it")
		<-began
		w.revoke() // answered only when the send has ended
		w.hook.take()
		w.hook.respond(nil)
		w.advance("72h")
		if got := w.hook.take(); len(got) != 0 {
			t.Errorf("sent after the revocation: %+v", got)
		}
		for _, event := range []string{message, second} {
			if got := w.stateOf(event); got != "canceled" {
				t.Errorf("state %s, want canceled", got)
			}
		}
	})

	t.Run("what was sent already cannot be sent again", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t)
		w.sayIn("on-alis", "BUYER", "delivered")
		w.one()
		id := w.deliveries("state=delivered")[0].ID
		w.host("POST", "/deliveries/"+id+"/redeliver", "").ok()
		w.one()
		w.revoke()
		w.host("POST", "/deliveries/"+id+"/redeliver", "").refused(412, 9, id)
		if a := w.host("POST", "/redeliveries", `{"state":"delivered","dry_run":true}`).ok(); a.body != `{"count":0,"id":null}` {
			t.Errorf("dry run: %s, want none", a.body)
		}
		w.host("POST", "/redeliveries", `{"state":"delivered"}`).ok()
		w.none()
		w.access = w.tokenOf("sample-app", "ali", "1h", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ") // a new grant
		w.host("POST", "/deliveries/"+id+"/redeliver", "").refused(412, 9, id)
		w.none()
	})

	t.Run("whether the app is told", func(t *testing.T) {
		t.Parallel()
		world := start(t)
		tests := []struct {
			name   string
			grants [][]string // scopes of one token each
			told   bool
		}{
			{"both scopes", [][]string{both}, true},
			{"both scopes from two consents", [][]string{both[:1], both[1:]}, true},
			{"one scope", [][]string{both[:1]}, false},
			{"the other scope", [][]string{both[1:]}, false},
			{"other scopes", [][]string{{"USER_PHONE", "USER_POSTS_GET"}}, false},
			{"no scope at all", [][]string{nil}, false},
		}
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				p, user := world.forTest(t), fmt.Sprint("user-", i)
				for _, scopes := range tt.grants {
					p.token(user, scopes...)
				}
				p.host("DELETE", "/users/"+user+"/grants/sample-app", "").ok()
				if tt.told {
					if e := p.heard(); e.Type != "USER_ACCESS_REVOCATION" || e.Metadata != nil {
						t.Errorf("heard %+v, want the revocation without metadata", e)
					}
				} else {
					p.none()
				}
				p.host("DELETE", "/users/"+user+"/grants/sample-app", "").ok() // there is nothing left to take
				p.none()
			})
		}
	})

	t.Run("everything ends at once", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t, both...)
		second := w.access
		w.access = w.tokenOf("sample-app", "ali", "24h", "USER_POSTS_GET")
		w.revoke()
		w.one()
		for _, token := range []string{w.access, second} {
			w.app("GET", "/v1/open-platform/finder/user-posts", token, "").refused(401, 16, "token")
			w.subscribe(token, `{"event_type":"POST_UPDATE"}`).refused(401, 16, "token")
		}
		if a := w.host("GET", "/users/ali/grants", "").ok(); !strings.HasPrefix(a.body, `{"grants":[]`) {
			t.Errorf("grants: %s, want none", a.body)
		}
		if list := w.sample().listed(); len(list) != 0 {
			t.Errorf("subscriptions: %+v, want none", list)
		}
		w.skipped(w.sayIn("on-alis", "BUYER", "after the revocation"), "took the app's access away")
		w.none()
	})

	t.Run("chatbot and transactions go on", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t)
		w.revoke()
		w.queue()
		if got := w.heardTypes(); !slices.Equal(got, []string{"NEW_CHATBOT_MESSAGE", "PAYMENT_TRANSACTION"}) {
			t.Errorf("heard %v", got)
		}
	})

	t.Run("a new grant does not wake the old subscriptions", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t)
		w.revoke()
		w.access = w.token("ali", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ")
		w.sayIn("on-alis", "BUYER", "nobody listens")
		w.none()
		w.subscribe(w.access, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"again":true}}`).ok()
		w.sayIn("on-alis", "BUYER", "heard again")
		w.echoed(`{"again":true}`)
	})

	t.Run("other users and other apps keep theirs", func(t *testing.T) {
		t.Parallel()
		w := startRevocable(t)
		other := w.otherApp()
		other.subscribe(other.token("ali", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"), `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		w.subscribe(w.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		w.revoke()
		w.sayIn("on-alis", "BUYER", "heard by the other app")
		w.none()
		if got := other.arrived(); len(got) != 1 {
			t.Errorf("the other app heard %+v, want one", got)
		}
		w.say("BUYER", "heard through the other user")
		w.one()
	})

	t.Run("the delivery of the revocation is retried", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("ali", both...), `{"event_type":"USER_ACCESS_REVOCATION","metadata":{"of":"ali"}}`).ok()
		p.hook.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		p.host("DELETE", "/users/ali/grants/sample-app", "").ok()
		p.settle()
		p.hook.take()
		p.hook.respond(nil)
		p.advance("1h")
		if got := read(t, p.hook.take()); len(got) != 1 || string(got[0].Metadata) != `{"of":"ali"}` {
			t.Errorf("heard %+v, want the revocation with its metadata", got)
		}
	})

	t.Run("of what is not there", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.host("DELETE", "/users/nobody/grants/sample-app", "").ok()
		p.host("DELETE", "/users/seller/grants/no-such-app", "").ok()
		p.none()
		p.app("GET", "/v1/open-platform/users", p.dev.Users.Seller.AccessToken, "").ok()
	})
}

// TestVerdicts holds what an event says of each app that it concerned.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const scope, body = "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", `{"event_type":"NEW_MESSAGE_ON_POST"}`
	tests := []struct {
		name   string
		before func(p *platform)
		reason string
	}{
		{"token expired", func(p *platform) { p.advance("2h") }, "expired"},
		{"no event URL", func(p *platform) { p.setApp(`{"event_url":""}`) }, "event URL"},
		{"suspended", func(p *platform) { p.setApp(`{"status":"SUSPENDED"}`) }, "suspended"},
		{"suspended and paused", func(p *platform) { p.setApp(`{"status":"SUSPENDED","paused":true}`) }, "suspended"},
		{"revoked", func(p *platform) { p.host("DELETE", "/users/seller/grants/sample-app", "").ok() }, "took the app's access away"},
		{"ended by the app", func(p *platform) { p.sample().end(p.sample().listed()[0].ID).ok() }, "ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.subscribe(p.token("seller", scope), body).ok()
			tt.before(p)
			p.settle()
			p.hook.take()
			event := p.say("BUYER", "hello")
			p.none()
			p.skipped(event, tt.reason)
			if got := p.deliveries("event=" + event); len(got) != 0 {
				t.Errorf("deliveries %+v of a skipped event", got)
			}
			p.host("GET", "/deliveries/"+event+"-sample-app", "").refused(404, 5)
			p.host("POST", "/deliveries/"+event+"-sample-app/redeliver", "").refused(404, 5)
		})
	}
	t.Run("types heard by default", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.setApp(`{"event_url":""}`)
		p.skipped(p.sayIn(p.dev.BotConversationID, "USER", "hello"), "event URL")
		p.setApp(`{"event_url":"` + p.hook.url + `"}`)
		p.none() // what was skipped stays so
		event := p.sayIn(p.dev.BotConversationID, "USER", "hello")
		p.one()
		if got := p.stateOf(event); got != "delivered" {
			t.Errorf("state %s, want delivered", got)
		}
	})
	t.Run("paused is pending with the reason", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.token("seller", scope), body).ok()
		p.setApp(`{"paused":true}`)
		event := p.say("BUYER", "hello")
		p.none()
		if got := p.deliveries("event=" + event); len(got) != 1 || got[0].State != "pending" || !strings.Contains(got[0].Reason, "paused") || got[0].Attempts != 0 {
			t.Errorf("deliveries %+v, want one that is pending for the pause", got)
		}
	})
	t.Run("an app that is not concerned has none", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.otherApp()
		if v := p.verdicts(p.say("BUYER", "hello")); len(v) != 0 {
			t.Errorf("verdicts %+v, want none", v)
		}
		p.host("GET", "/events/1", "").refused(404, 5, "1")
		p.host("GET", "/events/x", "").refused(404, 5, "x")
	})
}

func TestPostUpdates(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name  string
		body  string // "" deletes the post
		typ   string // "" for no event
		alone bool   // the post holds its token alone
	}{
		{"a change while published", `{"owner":"seller","state":"PUBLISHED","city":"shiraz","data":{"price":1.50,"x":null}}`, "PUBLISH", false},
		{"the same again", `{"owner":"seller","state":"PUBLISHED","city":"shiraz","data":{"price":1.50,"x":null}}`, "", false},
		{"the same in other words", `{"data":{ "price": 1.50, "x": null },"city":"shiraz","title":"","district":null,"state":"PUBLISHED","owner":"seller","chat_enabled":false}`, "", false},
		{"data alone changes", `{"owner":"seller","state":"PUBLISHED","city":"shiraz","data":{"price":1.50}}`, "PUBLISH", false},
		{"back to review", `{"owner":"seller","state":"REVIEW_REQ","city":"shiraz"}`, "ONGOING", false},
		{"a change before publishing", `{"owner":"seller","state":"REVIEW_REQ","city":"tehran"}`, "ONGOING", false},
		{"to payment", `{"owner":"seller","state":"PAYMENT_REQ","city":"tehran"}`, "ONGOING", false},
		{"the same again before publishing", `{"owner":"seller","state":"PAYMENT_REQ","city":"tehran"}`, "", false},
		{"published", `{"owner":"seller","state":"PUBLISHED","city":"tehran"}`, "PUBLISH", false},
		{"retired", `{"owner":"seller","state":"RETIRED","city":"tehran","data":{"secret":1}}`, "RETIRE", true},
		{"retired again", `{"owner":"seller","state":"RETIRED","city":"tehran","data":{"secret":1}}`, "", false},
		{"archived", `{"owner":"seller","state":"ARCHIVED","city":"tehran","data":{"secret":1}}`, "ARCHIVE", true},
		{"archived again", `{"owner":"seller","state":"ARCHIVED","city":"tehran","data":{"secret":1}}`, "", false},
		{"published again", `{"owner":"seller","state":"PUBLISHED","city":"tehran"}`, "PUBLISH", false},
		{"deleted", "", "ARCHIVE", true},
		{"deleted again", "", "", false},
	}
	for name, body := range map[string]string{
		"every post": `{"event_type":"POST_UPDATE","metadata":{"k":1}}`,
		"one post":   `{"event_type":"POST_UPDATE","event_resource_id":"gZd7omnS","metadata":{"k":1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.newPost("second", "seller")
			p.newPost("foreign", "buyer")
			p.subscribe(p.dev.Users.Seller.AccessToken, body).ok()
			for _, step := range steps {
				if step.body == "" {
					p.host("DELETE", "/posts/gZd7omnS", "").ok()
				} else {
					p.host("PUT", "/posts/gZd7omnS", step.body).ok()
				}
				p.settle()
				got := read(t, p.hook.take())
				if step.typ == "" {
					if len(got) != 0 {
						t.Errorf("%s: heard %+v, want nothing", step.name, got)
					}
					continue
				}
				if len(got) != 1 || got[0].Type != "POST_UPDATE" || got[0].PostUpdate == nil || string(got[0].Metadata) != `{"k":1}` {
					t.Fatalf("%s: heard %+v, want one POST_UPDATE", step.name, got)
				}
				want := `{"token":"gZd7omnS"}`
				if !step.alone {
					want = p.app("GET", "/v1/open-platform/finder/post/gZd7omnS", "", "").ok().body
				}
				if u := got[0].PostUpdate; u.Type != step.typ || string(u.Post) != want {
					t.Errorf("%s: %s %s\nwant %s %s", step.name, u.Type, u.Post, step.typ, want)
				}
			}
			p.host("PUT", "/posts/foreign", `{"owner":"buyer","state":"RETIRED"}`).ok()
			p.none()
			p.host("PUT", "/posts/second", `{"owner":"seller","state":"RETIRED"}`).ok()
			p.newPost("third", "seller")
			p.settle()
			if got, every := len(p.hook.take()), strings.HasPrefix(name, "every"); every && got != 2 || !every && got != 0 {
				t.Errorf("of the user's other posts %d were heard", got)
			}
		})
	}
}

func TestTransactionEvents(t *testing.T) {
	t.Parallel()
	p := start(t)
	steps := []struct{ name, body, payload string }{
		{
			"first sight", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":100000,"extra_details":{"n":1.50,"x":null}}`,
			`{"id":"tx","cost_rials":100000,"extra_details":{"n":1.50,"x":null},"state":"TRANSACTION_STATE_PENDING","type":"TRANSACTION_TYPE_REORDER"}`,
		},
		{"the same again", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":100000,"extra_details":{"n":1.50,"x":null}}`, ""},
		{"the same state, another cost", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":200000}`, ""},
		{
			"completed", `{"app":"sample-app","state":"COMPLETED","type":"REORDER","cost_rials":200000,"extra_details":{"m":"سلام"}}`,
			`{"id":"tx","cost_rials":200000,"extra_details":{"m":"سلام"},"state":"TRANSACTION_STATE_COMPLETED","type":"TRANSACTION_TYPE_REORDER"}`,
		},
		{"completed, other details", `{"app":"sample-app","state":"COMPLETED","type":"REORDER","cost_rials":200000,"extra_details":{"m":"x"}}`, ""},
		{
			"refunded", `{"app":"sample-app","state":"REFUNDED","type":"REORDER","cost_rials":200000,"extra_details":{}}`,
			`{"id":"tx","cost_rials":200000,"extra_details":{},"state":"TRANSACTION_STATE_REFUNDED","type":"TRANSACTION_TYPE_REORDER"}`,
		},
		{
			"a state it had before", `{"app":"sample-app","state":"FAILED","type":"REORDER","cost_rials":0,"extra_details":{}}`,
			`{"id":"tx","cost_rials":0,"extra_details":{},"state":"TRANSACTION_STATE_FAILED","type":"TRANSACTION_TYPE_REORDER"}`,
		},
		{
			"and back", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":0,"extra_details":{}}`,
			`{"id":"tx","cost_rials":0,"extra_details":{},"state":"TRANSACTION_STATE_PENDING","type":"TRANSACTION_TYPE_REORDER"}`,
		},
	}
	for _, step := range steps {
		p.host("PUT", "/transactions/tx", step.body).ok()
		p.settle()
		got := p.hook.take()
		if step.payload == "" {
			if len(got) != 0 {
				t.Errorf("%s: heard %+v, want nothing", step.name, got)
			}
			continue
		}
		want := `{"type":"PAYMENT_TRANSACTION","transaction":` + step.payload + `,"payment_transaction":` + step.payload + `}`
		if len(got) != 1 || got[0].body != want {
			t.Errorf("%s: heard %+v\nwant %s", step.name, got, want)
		}
	}
}

func TestAppsListAndEndTheirOwnSubscriptions(t *testing.T) {
	t.Parallel()
	p := start(t)
	app, other := p.sample(), p.otherApp()
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS","metadata":{"k":1.50}}`).ok()
	p.subscribe(p.dev.Users.Buyer.AccessToken, `{"event_type":"POST_UPDATE"}`).ok()
	other.subscribe(other.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"), `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()

	list := app.listed()
	if len(list) != 2 || len(other.listed()) != 1 {
		t.Fatalf("the sample app has %+v, the other %+v; want two and one", list, other.listed())
	}
	first := list[0]
	if first.Type != "NEW_MESSAGE_ON_POST" || first.Resource == nil || *first.Resource != "gZd7omnS" ||
		first.UserID != p.dev.Users.Seller.AppUserID || string(first.Metadata) != `{"k":1.50}` {
		t.Errorf("the first is %+v", first)
	}
	if other.listed()[0].UserID == first.UserID {
		t.Error("the two apps know the user by the same id")
	}

	other.end(first.ID).refused(404, 5, first.ID)
	for _, id := range []string{"0", "-1", "999999999999", "99999999999999999999999", "x", "%2F", list[1].ID + "0"} {
		app.end(id).refused(404, 5)
	}
	if len(app.listed()) != 2 {
		t.Fatal("a refused end ended something")
	}
	if a := app.end(first.ID).ok(); a.body != "{}" {
		t.Errorf("answer %s, want {}", a.body)
	}
	app.end(first.ID).refused(404, 5, first.ID)
	if left := app.listed(); len(left) != 1 || left[0].ID != list[1].ID {
		t.Errorf("left: %+v, want the buyer's", left)
	}
	p.say("BUYER", "heard by the other app only")
	p.none()
	if got := other.arrived(); len(got) != 1 {
		t.Errorf("the other app heard %+v, want one", got)
	}
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS"}`).ok()
	p.say("BUYER", "registered again")
	p.one()

	// A key with the permission is enough; a token is ignored, whatever it is.
	app.call("GET", subscriptionsPath, "okt_nonsense", "").ok()
	for _, method := range []string{"GET", "DELETE"} {
		path := subscriptionsPath
		if method == "DELETE" {
			path += "/" + list[1].ID
		}
		p.do(method, path, "").refused(401, 16, "X-API-Key")
		p.do(method, path, "", "X-API-Key: "+p.newKey("sample-app", `["GET_POST"]`).Key).refused(403, 7, "EVENTS_REGISTER_SUBSCRIPTION")
	}
	for _, cursor := range []string{"x", "-1", "1.5", "99999999999999999999"} {
		app.call("GET", subscriptionsPath+"?after="+cursor, "", "").refused(400, 3, "after")
	}

	// The marketplace sees them too, under its own ids.
	if a := p.host("GET", "/apps/other-app/subscriptions", "").ok(); !strings.Contains(a.body, `"user":"seller"`) {
		t.Errorf("host's list: %s", a.body)
	}
	p.host("GET", "/apps/no-such-app/subscriptions", "").refused(404, 5, "no-such-app")
}

func TestSubscriptionsComeInPages(t *testing.T) {
	t.Parallel()
	p := start(t)
	const n = 101
	var batch strings.Builder
	for i := range n {
		fmt.Fprintf(&batch, `{"post":{"token":"post-%03d","owner":"seller","state":"PUBLISHED"}}`+"\n", i)
	}
	p.host("POST", "/batch", batch.String()).ok()
	for i := range n {
		p.subscribe(p.dev.Users.Seller.AccessToken, fmt.Sprintf(`{"event_type":"POST_UPDATE","event_resource_id":"post-%03d"}`, i)).ok()
	}
	list := p.sample().listed()
	if len(list) != n {
		t.Fatalf("%d subscriptions, want %d", len(list), n)
	}
	for i, s := range list {
		if want := fmt.Sprintf("post-%03d", i); *s.Resource != want {
			t.Fatalf("subscription %d is of %s, want %s: ascending", i, *s.Resource, want)
		}
	}
	var page struct {
		Subscriptions []registered
		Next          *string
	}
	p.app("GET", subscriptionsPath, "", "").ok().into(&page)
	if len(page.Subscriptions) != 100 || page.Next == nil {
		t.Errorf("the first page has %d, next %v; want 100 and a cursor", len(page.Subscriptions), page.Next)
	}
}
