package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// item is an item of the feed.
type item struct {
	Cursor       string          `json:"cursor"`
	Type         string          `json:"type"`
	App          string          `json:"app"`
	User         string          `json:"user"`
	Message      json.RawMessage `json:"message"`
	Notification json.RawMessage `json:"notification"`
}

// id is that of the message or notification.
func (i item) id() string {
	var of struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(append(i.Message, i.Notification...), &of)
	return of.ID
}

// feed reads what is on the feed after a cursor.
func (p *platform) feed(after string) (items []item, next string) {
	p.t.Helper()
	var out struct {
		Items []item
		Next  *string
	}
	p.host("GET", "/feed?after="+after, "").ok().into(&out)
	if out.Next != nil {
		next = *out.Next
	}
	return out.Items, next
}

// last is the newest item of the feed.
func (p *platform) last() item {
	p.t.Helper()
	items, _ := p.feed("")
	if len(items) == 0 {
		p.t.Fatal("the feed is empty")
	}
	return items[len(items)-1]
}

// write sends a message of the sample app for a user in the demo conversation.
func (p *platform) write(token, body string) answer {
	p.t.Helper()
	return p.app("POST", "/v2/open-platform/conversations/"+p.dev.ConversationID+"/messages", token, body)
}

// sends sends a message for the seller and returns its id.
func (p *platform) sends(body string) string {
	p.t.Helper()
	p.write(p.dev.Users.Seller.AccessToken, body).ok()
	return p.last().id()
}

// notifies sends the seller a notification with buttons and returns its id.
func (p *platform) notifies(buttons string) string {
	p.t.Helper()
	p.app("POST", "/experimental/open-platform/events/send", p.dev.Users.Seller.AccessToken,
		`{"message":"Look","target_type":"POST","target_resource_id":"gZd7omnS","buttons":`+buttons+`}`).ok()
	return p.last().id()
}

const link = `"action":{"open_direct_link":"https://x.test/"}`

// keyboard is a keyboard with the same button everywhere.
func keyboard(rows, columns int) string {
	row := `{"buttons":[` + strings.TrimSuffix(strings.Repeat(`{"caption":"c","icon":"HOME",`+link+`},`, columns), ",") + `]}`
	return `{"rows":[` + strings.TrimSuffix(strings.Repeat(row+",", rows), ",") + `]}`
}

// TestAppSends: what an app says in a conversation is stored, shown to the
// marketplace, and heard by those who listen, itself among them unless it does
// not want to.
func TestAppSends(t *testing.T) {
	t.Parallel()
	p := start(t)
	seller := p.dev.Users.Seller.AccessToken
	p.subscribe(seller, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	a := p.write(seller, `{"message":"From the app","type":"TEXT","sender_buttons":`+keyboard(1, 1)+`,"receiver_buttons":`+keyboard(3, 3)+`}`).ok()
	if !regexp.MustCompile(`^\{"status":200,"message":"[^"]+"\}$`).MatchString(a.body) {
		t.Errorf("the answer is %s", a.body)
	}
	hook := p.one().body
	if !strings.Contains(hook, `"sender":{"side":"SELLER","type":"BOT"},"type":"TEXT","sent_at":`) || strings.Contains(hook, "buttons") {
		t.Errorf("the webhook is %s", hook)
	}
	i := p.last()
	list := p.host("GET", "/conversations/"+p.dev.ConversationID+"/messages", "").ok().body
	if i.Type != "MESSAGE" || i.App != "sample-app" || i.User != "seller" || !strings.Contains(list, string(i.Message)) {
		t.Errorf("the feed has %+v, the conversation %s", i, list)
	}
	for _, want := range []string{`"text":"From the app"`, `"sender_buttons":{"rows":[{"buttons":[{"action"`, `"receiver_buttons":{"rows":`, `"icon":"HOME"`} {
		if !strings.Contains(string(i.Message), want) {
			t.Errorf("%s lacks %s", i.Message, want)
		}
	}
	p.host("PATCH", "/apps/sample-app", `{"hear_own_messages":false}`).ok()
	p.write(p.dev.Users.Buyer.AccessToken, `{"message":"Unheard","receiver_buttons":{"rows":[{"buttons":[]}]}}`).ok()
	p.none()
	var m struct {
		EventID string `json:"event_id"`
		Sender  struct{ Side, Type string }
	}
	if err := json.Unmarshal(p.last().Message, &m); err != nil || m.Sender.Side != "BUYER" || strings.Contains(string(p.last().Message), "buttons") {
		t.Errorf("%v: %s", err, p.last().Message)
	}
	if v := p.verdicts(m.EventID); len(v) != 1 || v[0].State != "skipped" || !strings.Contains(v[0].Reason, "own message") {
		t.Errorf("verdicts %+v", v)
	}
}

// TestWhoMaySend: the scopes of contract section 4, and whose conversation it is.
func TestWhoMaySend(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.host("PUT", "/posts/other", `{"owner":"another","state":"PUBLISHED"}`).ok()
	p.host("PUT", "/conversations/foreign", `{"type":"POST","post_token":"other","buyer":"stranger"}`).ok()
	here := p.dev.ConversationID
	for _, c := range []struct {
		user, conversation string
		status             int
		scopes             []string
	}{
		{"seller", here, 200, []string{"CONVERSATION_SEND_MESSAGE." + here}},
		{"buyer", here, 200, []string{"CONVERSATION_SEND_MESSAGE." + here}},
		{"stranger", here, 403, []string{"CONVERSATION_SEND_MESSAGE." + here}},
		{"seller", here, 200, []string{"CHAT_POST_CONVERSATIONS_MESSAGE_SEND.gZd7omnS"}},
		{"seller", here, 403, []string{"CHAT_POST_CONVERSATIONS_MESSAGE_SEND.other"}},
		{"buyer", here, 403, []string{"CHAT_POST_CONVERSATIONS_MESSAGE_SEND.gZd7omnS"}},
		{"seller", here, 200, []string{"CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"}},
		{"buyer", here, 403, []string{"CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"}},
		{"seller", here, 403, []string{"CONVERSATION_SEND_MESSAGE.foreign", "CHAT_CONVERSATION_READ." + here, "SEND_EVENT"}},
		{"seller", "foreign", 403, []string{"CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"}},
		{"seller", "foreign", 403, []string{"CHAT_POST_CONVERSATIONS_MESSAGE_SEND.other"}}, // a foreign post
		{"seller", "unknown", 404, []string{"CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"}},
		{"seller", "unknown", 404, []string{"CONVERSATION_SEND_MESSAGE.unknown"}},
		{"seller", "unknown", 403, []string{"CHAT_POST_CONVERSATIONS_MESSAGE_SEND.gZd7omnS"}},
		{"seller", p.dev.BotConversationID, 400, []string{"CONVERSATION_SEND_MESSAGE." + p.dev.BotConversationID}},
	} {
		token := p.token(c.user, c.scopes...)
		a := p.app("POST", "/v2/open-platform/conversations/"+c.conversation+"/messages", token, `{"message":"hi"}`)
		if c.status == 200 {
			a.ok()
			continue
		}
		a.refused(c.status, errorTable[c.status])
		p.host("DELETE", "/users/"+c.user+"/grants/sample-app", "").ok()
		p.app("POST", "/v2/open-platform/conversations/"+c.conversation+"/messages", token, `{"message":"hi"}`).refused(401, 16, "revoked")
	}
	p.host("PUT", "/conversations/"+here+"/block", `{"by":"BUYER","blocked":true}`).ok()
	p.write(p.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND"), `{"message":"hi"}`).refused(412, 9, "blocked")
	p.write(p.token("buyer", "CONVERSATION_SEND_MESSAGE."+here), `{"message":"hi"}`).ok()
}

// TestBotMessages: all five paths, the conversation that a message begins, and
// what a bot does not hear.
func TestBotMessages(t *testing.T) {
	t.Parallel()
	p := start(t)
	const body = `{"text_message":"سلام","type":"TEXT","buttons":{"rows":[{"buttons":[{"caption":"c","action":{"get_dynamic_action":{"data":{"k":null}}}}]}]}}`
	bot := p.dev.BotConversationID
	for _, path := range []string{
		"/v1/open-platform/chat/bot/conversations/" + bot, "/experimental/open-platform/chat/bot/conversations/" + bot,
		"/experimental/open-platform/chatbot-conversations/" + bot,
	} {
		if a := p.app("POST", path+"/messages", "", body).ok(); a.body != `{"conversation_id":"`+bot+`"}` {
			t.Errorf("%s answers %s", path, a.body)
		}
	}
	p.none()
	var m struct {
		EventID string `json:"event_id"`
	}
	i := p.last()
	if err := json.Unmarshal(i.Message, &m); err != nil {
		t.Fatal(err)
	}
	if v := p.verdicts(m.EventID); len(v) != 1 || v[0].State != "skipped" || v[0].Reason != "the app's own message" {
		t.Errorf("verdicts %+v", v)
	}
	for _, want := range []string{
		`"conversation":{"id":"` + bot + `","type":"BOT"},"sender":{"type":"BOT"}`, `"text":"سلام"`,
		`"buttons":{"rows":[{"buttons":[{"action":{"get_dynamic_action":{"data":{"k":null}}},"caption":"c"}]}]}`,
	} {
		if !strings.Contains(string(i.Message), want) || i.User != "seller" {
			t.Errorf("%s of %s lacks %s", i.Message, i.User, want)
		}
	}

	buyer := p.token("buyer", "CHAT_BOT_USER_MESSAGE_SEND")
	var begun [2]struct {
		ID string `json:"conversation_id"`
	}
	for n, prefix := range []string{"/v1", "/experimental"} {
		p.app("POST", prefix+"/open-platform/chat/bot/users/"+p.dev.Users.Buyer.AppUserID+"/messages", buyer, body).ok().into(&begun[n])
	}
	if begun[0] != begun[1] || begun[0].ID == "" || begun[0].ID == bot {
		t.Errorf("the conversations are %+v", begun)
	}
	p.host("POST", "/conversations/"+begun[0].ID+"/messages", `{"sender":"USER","text":"hello, bot"}`).ok()
	if h := p.one().body; !strings.Contains(h, `"type":"NEW_CHATBOT_MESSAGE"`) || !strings.Contains(h, `"sender":{"type":"HUMAN"}`) {
		t.Errorf("the bot heard %s", h)
	}

	toSeller := "/v1/open-platform/chat/bot/users/" + p.dev.Users.Seller.AppUserID + "/messages"
	p.app("POST", toSeller, buyer, body).refused(403, 7, "user_id") // a foreign user id
	p.app("POST", "/v1/open-platform/chat/bot/users/seller/messages", p.token("seller", "CHAT_BOT_USER_MESSAGE_SEND"), body).refused(403, 7, "user_id")
	p.app("POST", toSeller, p.token("seller", "USER_ID"), body).refused(403, 7, "CHAT_BOT_USER_MESSAGE_SEND")
	p.app("POST", toSeller, "", body).refused(401, 16)
	inConversation := func(id string) answer {
		return p.app("POST", "/v1/open-platform/chat/bot/conversations/"+id+"/messages", "", body)
	}
	inConversation(p.dev.ConversationID).refused(403, 7, "chatbot")
	inConversation("unknown").refused(404, 5, "unknown")
	p.host("POST", "/apps", `{"slug":"other-app"}`).ok()
	p.host("PUT", "/conversations/with-other", `{"type":"BOT","app":"other-app","user":"seller"}`).ok()
	inConversation("with-other").refused(403, 7, "chatbot")
}

// TestSendEvent: every generation of the query, and JSON.
func TestSendEvent(t *testing.T) {
	t.Parallel()
	p := start(t)
	seller, id := p.dev.Users.Seller.AccessToken, p.dev.Users.Seller.AppUserID
	const path = "/experimental/open-platform/events/send"
	for _, c := range []struct{ query, body, want string }{
		{"message=a+b%20c&target_type=USER&target_resource_id=" + id, "", `"message":"a b c","buttons":{"items":[]},"target_type":"USER","post_token":null`},
		{"message=%D8%B3&target_type=POST&target_resource_id=gZd7omnS", "", `"message":"س","buttons":{"items":[]},"target_type":"POST","post_token":"gZd7omnS"`},
		{
			"message=m&target_type=POST&target_resource_id=gZd7omnS&primary_button.title=Press+me&primary_button.action.open_direct_link=https://x.test/" +
				"&secondary_button.title=Or+me&secondary_button.action.open_server_link.data[k%5D=v&secondary_button.action.open_server_link.data%5Ba+b%5D=%3D",
			"",
			`"buttons":{"items":[{"title":"Press me","action":{"open_direct_link":"https://x.test/"}},{"title":"Or me","action":{"open_server_link":{"data":{"a b":"=","k":"v"}}}}]}`,
		},
		{
			// A client that sends every name it knows.
			"message=m&target_type=POST&target_resource_id=gZd7omnS&primary_button.title=Press+me&primary_button.action.open_direct_link=" +
				"&primary_button.action.open_post_page.post_token=&primary_button.action.open_post_manage_page.post_token=gZd7omnS&secondary_button.title=",
			"", `"buttons":{"items":[{"title":"Press me","action":{"open_post_manage_page":{"post_token":"gZd7omnS"}}}]}`,
		},
		{
			"", `{"message":"m","target_type":"USER","target_resource_id":"` + id + `","buttons":{"items":[{"title":"پنج‌حرف","action":{"get_dynamic_action":{}}},` +
				`{"title":"😀😀😀😀😀","action":{"open_post_page":{"post_token":"gZd7omnS"}}}]}}`,
			`"items":[{"title":"پنج‌حرف","action":{"get_dynamic_action":{"data":null}}},{"title":"😀😀😀😀😀","action":{"open_post_page":{"post_token":"gZd7omnS"}}}]`,
		},
		{"message=query&target_type=USER", `{"message":"body","target_resource_id":"` + id + `"}`, `"message":"body"`},
	} {
		if a := p.app("POST", path+"?"+c.query, seller, c.body).ok(); a.body != `{}` {
			t.Errorf("the answer is %s", a.body)
		}
		i := p.last()
		if i.Type != "NOTIFICATION" || i.User != "seller" || !strings.Contains(string(i.Notification), c.want) {
			t.Errorf("%+v: %s lacks %s", i, i.Notification, c.want)
		}
	}
	var list struct {
		Notifications []struct{ ID string } `json:"notifications"`
	}
	p.host("GET", "/users/seller/notifications", "").ok().into(&list)
	if len(list.Notifications) != 6 || list.Notifications[0].ID != p.last().id() {
		t.Errorf("the notifications are %+v", list)
	}

	title := func(title string) answer {
		body, _ := json.Marshal(map[string]any{
			"message": "m", "target_type": "POST", "target_resource_id": "gZd7omnS",
			"buttons": map[string]any{"items": []any{map[string]any{"title": title, "action": map[string]string{"open_direct_link": "https://x.test/"}}}},
		})
		return p.app("POST", path, seller, string(body))
	}
	for _, letter := range []string{"a", "س", "😀"} {
		for n, status := range map[int]int{4: 400, 5: 200, 50: 200, 51: 400} {
			if a := title(strings.Repeat(letter, n)); a.status != status {
				t.Errorf("a title of %d %s: %d %s", n, letter, a.status, a.body)
			}
		}
	}
	p.host("PUT", "/posts/other", `{"owner":"another","state":"PUBLISHED"}`).ok()
	query := func(target, id string) answer {
		return p.app("POST", path+"?"+url.Values{"message": {"m"}, "target_type": {target}, "target_resource_id": {id}}.Encode(), seller, "")
	}
	query("POST", "other").refused(403, 7, "target_resource_id")
	query("POST", "unknown").refused(404, 5, "target_resource_id")
	query("USER", p.dev.Users.Buyer.AppUserID).refused(403, 7, "target_resource_id")
	query("USER", "").refused(400, 3, "target_resource_id")
	query("NOBODY", id).refused(400, 3, "target_type")
	p.app("POST", path+"?message=%zz", seller, "").refused(400, 3, "query")
	p.app("POST", path+"?message=m&target_type=USER&target_resource_id="+id, p.token("seller", "USER_ID"), "").refused(403, 7, "SEND_EVENT")
}

// TestGoldenConversation: get conversation, to the byte.
func TestGoldenConversation(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	p.host("PUT", "/conversations/empty", `{"type":"POST","post_token":"gZd7omnS","buyer":"another"}`).ok()
	read := func(id, token string) answer {
		return p.app("GET", "/v1/open-platform/chat/conversations/"+id, token, "")
	}
	seller := p.token("seller", "CHAT_CONVERSATION_READ."+p.dev.ConversationID, "CHAT_CONVERSATION_READ."+p.dev.BotConversationID, "CHAT_CONVERSATION_READ.empty",
		"CHAT_CONVERSATION_READ.unknown", "CHAT_CONVERSATION_READ.foreign", "CHAT_CONVERSATION_READ.with-other")
	g.saw("an empty conversation on a post", read("empty", seller).ok().body)
	say := func(conversation, body string) { p.host("POST", "/conversations/"+conversation+"/messages", body).ok() }
	for n, c := range contents {
		say(p.dev.ConversationID, fmt.Sprintf(`{"id":"m-%02d","sender":"BUYER","sent_at":%q,%s}`, n, sentAt, c.fields))
	}
	say(p.dev.ConversationID, `{"id":"m-90","sender":"SELLER","sent_at":"2024-10-20T16:42:06.000001+03:30","text":"from the seller"}`)
	g.saw("a conversation on a post", read(p.dev.ConversationID, seller).ok().body)
	say(p.dev.BotConversationID, `{"id":"b-1","sender":"USER","sent_at":"2024-10-20T13:12:06Z","text":"to the bot"}`)
	g.saw("a conversation with a bot", read(p.dev.BotConversationID, seller).ok().body)
	g.compare("conversation.golden")

	p.write(p.dev.Users.Seller.AccessToken, `{"message":"by the app"}`).ok()
	if a := read(p.dev.ConversationID, seller).ok(); !strings.Contains(a.body, `"sender":{"side":"SELLER","type":"BOT"}`) {
		t.Errorf("no message of the app in %s", a.body)
	}
	p.host("PUT", "/posts/other", `{"owner":"another","state":"PUBLISHED"}`).ok()
	p.host("PUT", "/conversations/foreign", `{"type":"POST","post_token":"other","buyer":"stranger"}`).ok()
	p.host("POST", "/apps", `{"slug":"other-app"}`).ok()
	p.host("PUT", "/conversations/with-other", `{"type":"BOT","app":"other-app","user":"seller"}`).ok()
	read("foreign", seller).refused(403, 7, "takes no part")
	read("with-other", seller).refused(403, 7, "another app")
	read("unknown", seller).refused(404, 5, "unknown")
	read("empty", p.token("buyer", "CHAT_CONVERSATION_READ."+p.dev.ConversationID)).refused(403, 7, "CHAT_CONVERSATION_READ.empty")
}

// TestErasedIsGone: what the marketplace takes away, apps and the feed no
// longer show.
func TestErasedIsGone(t *testing.T) {
	t.Parallel()
	p := start(t)
	secret := p.sends(`{"message":"a secret","sender_buttons":` + keyboard(1, 1) + `}`)
	kept := p.sends(`{"message":"not a secret"}`)
	p.notifies(`{"items":[]}`)
	_, end := p.feed("")
	p.host("DELETE", "/messages/"+secret, "").ok()
	if items, next := p.feed(""); len(items) != 2 || items[0].id() != kept || next != end {
		t.Errorf("the feed has %+v", items)
	}
	p.host("POST", "/messages/"+secret+"/buttons/0/0/click", `{"user":"seller"}`).refused(404, 5, "no such message")
	p.host("DELETE", "/users/seller", "").ok()
	if items, next := p.feed(""); len(items) != 0 || next != end {
		t.Errorf("the feed has %+v", items)
	}
	if a := p.host("GET", "/users/seller/notifications", "").ok(); a.body != `{"notifications":[],"next":null}` {
		t.Errorf("the user's notifications are %s", a.body)
	}
}

// TestErasedUserIsLeftAlone: a bot writes to nobody, and a call that was under
// way leaves nothing of the user behind.
func TestErasedUserIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.opens()
	app.does(func(w http.ResponseWriter, _ *http.Request) {
		p.host("DELETE", "/users/seller", "").ok()
		_, _ = io.WriteString(w, `{"url":"https://app.test/","secret":"of the seller"}`)
	})
	p.open(`{"touchpoint":"CHAT","user":"seller"}`).ok()
	var page deliveriesPage
	p.host("GET", "/deliveries", "").ok().into(&page)
	if a := p.host("GET", "/deliveries/"+page.Deliveries[0].ID, "").ok(); strings.Contains(a.body, "secret") || !strings.Contains(a.body, `"body":""`) {
		t.Errorf("the log has %s", a.body)
	}
	p.app("POST", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages", "", `{"text_message":"hi"}`).
		refused(404, 5, p.dev.BotConversationID)
	if items, _ := p.feed(""); len(items) != 0 {
		t.Errorf("the feed has %+v", items)
	}
}

// TestSparseActions: clients that send every field they know.
func TestSparseActions(t *testing.T) {
	t.Parallel()
	p := start(t).beyond()
	p.sends(`{"message":"hi","sender_buttons":null,"receiver_buttons":{"rows":[{"buttons":[{"caption":"c","icon":null,"action":{"open_direct_link":"",
		"open_server_link":null,"get_dynamic_action":{"data":null},"open_post_page":{"post_token":""},"open_post_manage_page":null}}]}]}}`)
	if m := string(p.last().Message); !strings.Contains(m, `"action":{"get_dynamic_action":{"data":null}},"caption":"c"}`) {
		t.Errorf("the message is %s", m)
	}
	for _, link := range []string{
		"https://user@x.test/", "https://x.test\\y", "https:///y", "https://x.test:99999/", "https://x.test/\u202e", "https:// x.test/", "https://x..test/", "https://<x>/",
	} {
		body, _ := json.Marshal(map[string]any{"message": "hi", "receiver_buttons": map[string]any{"rows": []any{map[string]any{"buttons": []any{
			map[string]any{"caption": "c", "action": map[string]string{"open_direct_link": link}},
		}}}}})
		p.write(p.dev.Users.Seller.AccessToken, string(body)).refused(400, 3, "open_direct_link")
	}
	p.write(p.dev.Users.Seller.AccessToken, `{"message":"  \n"}`).refused(400, 3, "message")
}
