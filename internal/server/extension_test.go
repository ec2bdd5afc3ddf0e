package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

// pages is an app's session initialization and dynamic action URL. It answers
// with what it was told to.
type pages struct {
	faulty *faulty
	url    string

	mu     sync.Mutex
	got    []string // requests, as they came
	answer func(w http.ResponseWriter, r *http.Request)
}

// opens gives the sample app its URLs.
func (p *platform) opens() *pages {
	p.t.Helper()
	app := &pages{faulty: faultsOf(p.t)}
	srv := httptest.NewServer(app)
	p.t.Cleanup(srv.Close)
	app.url = srv.URL
	p.host("PATCH", "/apps/sample-app", `{"session_initialization_url":"`+srv.URL+`/init","dynamic_action_url":"`+srv.URL+`/act"}`).ok()
	return app
}

// ServeHTTP implements http.Handler.
func (a *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	heldPushed(a.faulty, r.Header, string(body))
	var head strings.Builder
	for _, name := range []string{"Authorization", "Content-Type", "User-Agent", "Api_version", "Api-Version", "Webhook-Id"} {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&head, "%s: %s\n", name, value)
		}
	}
	a.mu.Lock()
	a.got = append(a.got, r.Method+" "+r.URL.Path+"\n"+head.String()+string(body))
	answer := a.answer
	a.mu.Unlock()
	answer(w, r)
}

// says sets what the app answers from now on.
func (a *pages) says(status int, body string) {
	a.does(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func (a *pages) does(f func(w http.ResponseWriter, r *http.Request)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

// take returns the requests since the last call.
func (a *pages) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

func (p *platform) open(body string) answer {
	p.t.Helper()
	return p.host("POST", "/extensions/sample-app/open", body)
}

func (p *platform) click(what, user string) answer {
	p.t.Helper()
	return p.host("POST", what+"/click", `{"user":"`+user+`","return_url":"https://market.test/chat"}`)
}

// TestGoldenCalls: what an app is sent when it is opened and when its buttons
// are clicked, to the byte.
func TestGoldenCalls(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	app := p.opens()
	strangers := p.app("GET", "/v1/open-platform/users", p.token("stranger", "USER_ID"), "").ok().body
	ids := strings.NewReplacer(strings.Split(strangers, `"`)[3], "STRANGER-ID", p.dev.Users.Seller.AppUserID, "SELLER-ID", p.dev.Users.Buyer.AppUserID, "BUYER-ID")
	saw := func(name string, a answer, want string) {
		t.Helper()
		if a.ok().body != want {
			t.Errorf("%s: the marketplace is told %s, want %s", name, a.body, want)
		}
		got := app.take()
		if len(got) != 1 {
			t.Fatalf("%s: %d calls", name, len(got))
		}
		g.saw(name, ids.Replace(got[0]))
	}
	app.says(200, `{"url":"https://app.test/start?a=1#b","more":null}`)
	const url = `{"url":"https://app.test/start?a=1#b"}`
	conversation := `"conversation_id":"` + p.dev.ConversationID + `"`
	saw("opened by the seller in a chat", p.open(`{"touchpoint":"CHAT","user":"seller",`+conversation+`,"return_url":"https://market.test/?a=<b>&c"}`), url)
	saw("opened by the buyer in a chat", p.open(`{"touchpoint":"CHAT","user":"buyer","post_token":"gZd7omnS",`+conversation+`,"return_url":"https://market.test/"}`), url)
	saw("opened on a post", p.open(`{"touchpoint":"CHAT","user":"stranger","post_token":"gZd7omnS","return_url":"app://back"}`), url)
	saw("opened from nowhere", p.open(`{"touchpoint":"CHAT","user":"seller","return_url":"https://market.test/"}`), url)

	const data = `{"your_key":"your value","n":1.50,"nothing":null,"سلام":"<&>"}`
	buttons := func(action string) string {
		return `{"rows":[{"buttons":[{"caption":"c","action":{` + action + `}}]}]}`
	}
	message := p.sends(`{"message":"hi","sender_buttons":` + buttons(`"open_server_link":{"data":`+data+`}`) + `,"receiver_buttons":` + buttons(`"open_server_link":{}`) + `}`)
	saw("a server link, clicked by the sender", p.click("/messages/"+message+"/buttons/0/0", "seller"), url)
	saw("a server link, clicked by the receiver", p.click("/messages/"+message+"/buttons/0/0", "buyer"), url)

	message = p.sends(`{"message":"hi","sender_buttons":` + buttons(`"get_dynamic_action":{}`) + `,"receiver_buttons":` + buttons(`"get_dynamic_action":{"data":`+data+`}`) + `}`)
	app.says(200, `{"text_message":"done"}`)
	saw("a dynamic action, clicked by the sender", p.click("/messages/"+message+"/buttons/0/0", "seller"), `{"text_message":"done"}`)
	saw("a dynamic action, clicked by the receiver", p.click("/messages/"+message+"/buttons/0/0", "buyer"), `{"text_message":"done"}`)

	p.app("POST", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages", "",
		`{"text_message":"hi","buttons":{"rows":[{"buttons":[{"caption":"a","action":{"get_dynamic_action":{"data":{"cell":4}}}},{"caption":"b","action":{"open_server_link":{"data":{}}}}]}]}}`).ok()
	message = p.last().id()
	app.says(200, `{"action":{"open_post_page":{"post_token":"gZd7omnS"}},"text_message":"see"}`)
	saw("a dynamic action of a bot", p.click("/messages/"+message+"/buttons/0/0", "seller"), `{"post_token":"gZd7omnS","text_message":"see"}`)
	app.says(200, `{"url":"https://app.test/"}`)
	saw("a server link of a bot", p.click("/messages/"+message+"/buttons/0/1", "seller"), `{"url":"https://app.test/"}`)

	n := p.notifies(`{"items":[{"title":"Press me","action":{"get_dynamic_action":{"data":{"n":1}}}},{"title":"Or me","action":{"open_server_link":{}}}]}`)
	saw("a server link of a notification", p.click("/notifications/"+n+"/buttons/1", "seller"), `{"url":"https://app.test/"}`)
	app.says(200, `{"action":{"open_direct_link":"https://app.test/x"}}`)
	saw("a dynamic action of a notification", p.click("/notifications/"+n+"/buttons/0", "seller"), `{"url":"https://app.test/x"}`)
	g.compare("calls.golden")
}

// TestClicks: what needs no word of the app, and what cannot be clicked.
func TestClicks(t *testing.T) {
	t.Parallel()
	p := start(t)
	m := p.sends(`{"message":"hi","receiver_buttons":{"rows":[{"buttons":[{"caption":"a",` + link + `}]},{"buttons":[
		{"caption":"b","action":{"open_post_page":{"post_token":"gZd7omnS"}}},{"caption":"c","action":{"open_post_manage_page":{"post_token":"gZd7omnS"}}},
		{"caption":"d","action":{"open_post_page":{"post_token":"gone"}}}]}]}}`)
	for place, want := range map[string]string{
		"0/0": `{"url":"https://x.test/"}`, "1/0": `{"post_token":"gZd7omnS"}`, "1/1": `{"post_token":"gZd7omnS"}`,
	} {
		if a := p.click("/messages/"+m+"/buttons/"+place, "buyer").ok(); a.body != want {
			t.Errorf("%s gives %s", place, a.body)
		}
	}
	p.click("/messages/"+m+"/buttons/1/2", "buyer").refused(404, 5, "gone")
	for _, place := range []string{"0/1", "2/0", "-1/0", "0/x", "99999999999999999999/0"} {
		p.click("/messages/"+m+"/buttons/"+place, "buyer").refused(404, 5)
	}
	p.click("/messages/"+m+"/buttons/0/0", "seller").refused(404, 5, "no button")
	p.click("/messages/"+m+"/buttons/0/0", "stranger").refused(403, 7, "takes no part")
	p.click("/messages/unknown/buttons/0/0", "buyer").refused(404, 5, "unknown")
	n := p.notifies(`{"items":[{"title":"Press me",` + link + `}]}`)
	p.click("/notifications/"+n+"/buttons/0", "seller").ok()
	p.click("/notifications/"+n+"/buttons/1", "seller").refused(404, 5)
	p.click("/notifications/"+n+"/buttons/0", "buyer").refused(403, 7, "another user")
	p.click("/notifications/12/buttons/0", "seller").refused(404, 5)
	p.click("/notifications/x/buttons/0", "seller").refused(404, 5)
	n = p.notifies(`{"items":[{"title":"Press me","action":{"open_server_link":{}}}]}`)
	p.click("/notifications/"+n+"/buttons/0", "seller").refused(412, 9, "session_initialization_url")
	p.host("PATCH", "/apps/sample-app", `{"status":"SUSPENDED"}`).ok()
	p.click("/notifications/"+n+"/buttons/0", "seller").refused(412, 9, "suspended")
}

// TestBadAnswers: what an app may not answer, and that the marketplace is told
// why in words, and finds the call on the app's log.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.opens()
	m := p.sends(`{"message":"hi","sender_buttons":{"rows":[{"buttons":[{"caption":"c","action":{"get_dynamic_action":{}}}]}]}}`)
	calls := 0
	refused := func(a answer, name, word string) {
		t.Helper()
		calls++
		a.refuses(503, word, name)
		if n := len(app.take()); n != 1 {
			t.Errorf("%s: %d calls", name, n)
		}
	}
	open := func() answer { return p.open(`{"touchpoint":"CHAT","user":"seller"}`) }
	click := func() answer { return p.click("/messages/"+m+"/buttons/0/0", "seller") }
	ofURL := func(url string) string { return fmt.Sprintf(`{"url":%q}`, url) }
	for _, c := range []struct {
		status     int
		body, word string
	}{
		{200, ofURL("javascript:alert(1)"), "absolute https"},
		{200, ofURL("JavaScript://app.test/%0aalert(1)"), "absolute https"},
		{200, ofURL("data:text/html,x"), "absolute https"},
		{200, ofURL("/start"), "absolute https"},
		{200, ofURL("start"), "absolute https"},
		{200, ofURL("//app.test/start"), "absolute https"},
		{200, ofURL("https:///start"), "absolute https"},
		{200, ofURL("https:app.test"), "absolute https"},
		{200, ofURL("ftp://app.test/"), "absolute https"},
		{200, ofURL("https://user:password@app.test/"), "password"},
		{200, ofURL("https://market.test@app.test/"), "password"},
		{200, ofURL("https://app.test\\@market.test/"), "not a URL"},
		{200, ofURL(" https://app.test/"), "not a URL"},
		{200, ofURL("https://app.test/a\nb"), "not a URL"},
		{200, ofURL("http://app.test/"), "https is needed"},
		{200, ofURL("http://192.0.2.1/"), "https is needed"},
		{200, ofURL("https://app.test/" + strings.Repeat("x", 2048)), "2048"},
		{200, `{}`, "missing"},
		{200, `{"url":null}`, "missing"},
		{200, ``, "missing"},
		{200, `{"url":5}`, "cannot be read"},
		{200, `[]`, "cannot be read"},
		{200, `<html>`, "cannot be read"},
		{200, "{\"url\":\"https://app.test/\xff\"}", "UTF-8"},
		{201, ofURL("https://app.test/"), "201"},
		{204, ``, "204"},
		{302, ofURL("https://app.test/"), "302"},
		{404, ofURL("https://app.test/"), "404"},
		{500, ofURL("https://app.test/"), "500"},
	} {
		app.says(c.status, c.body)
		refused(open(), c.body, c.word)
	}
	for body, word := range map[string]string{
		`{}`:                  "neither an action nor a text_message",
		`{"text_message":""}`: "neither",
		`{"action":null}`:     "neither",
		`{"action":{}}`:       "exactly one",
		`{"action":"x"}`:      "cannot be read",
		`{"text_message":"` + strings.Repeat("ب", 4097) + `"}`:                                           "4097",
		`{"action":{"get_dynamic_action":{}}}`:                                                           "another",
		`{"action":{"open_direct_link":"javascript:alert(1)"}}`:                                          "open_direct_link",
		`{"action":{"open_direct_link":"/x"}}`:                                                           "open_direct_link",
		`{"action":{"open_direct_link":"http://192.0.2.1/"}}`:                                            "https is needed",
		`{"action":{"open_direct_link":"https://app.test/","open_post_page":{"post_token":"gZd7omnS"}}}`: "exactly one",
		`{"action":{"open_post_page":{"post_token":""}}}`:                                                "post_token",
	} {
		app.says(200, body)
		refused(click(), body, word)
	}
	app.does(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"url":"https://app.test/","more":"`+strings.Repeat("x", 10<<20)+`"}`)
	})
	refused(open(), "10 MB", "65536")
	app.does(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.Close()
		}
	})
	refused(open(), "no answer at all", "not reached")

	page := deliveriesPage{}
	p.host("GET", "/deliveries?state=exhausted", "").ok().into(&page)
	if len(page.Deliveries) != calls {
		t.Errorf("%d calls on the log, want %d", len(page.Deliveries), calls)
	}
	p.host("PATCH", "/apps/sample-app", `{"session_initialization_url":"http://127.0.0.1:1/"}`).ok()
	open().refuses(503, "connection refused", "nobody there")
}

type deliveriesPage struct {
	Deliveries []struct{ ID, Type, State, Reason string }
}

// TestSilence: an app that says nothing for 6 seconds, or drips, has its user
// wait for 5. Real time: the server is a real one.
func TestSilence(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.opens()
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	wait := func(r *http.Request) {
		select {
		case <-time.After(6 * time.Second):
		case <-released:
		case <-r.Context().Done():
		}
	}
	app.does(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/act" {
			_, _ = io.WriteString(w, `{"text_message":"wait`)
			_ = http.NewResponseController(w).Flush()
		}
		wait(r)
		_, _ = io.WriteString(w, `{"url":"https://app.test/"}`)
	})
	m := p.sends(`{"message":"hi","sender_buttons":{"rows":[{"buttons":[{"caption":"c","action":{"get_dynamic_action":{}}}]}]}}`)
	var both sync.WaitGroup
	both.Go(func() { p.open(`{"touchpoint":"CHAT","user":"seller"}`).refuses(503, "no answer within 5s", "silence") })
	both.Go(func() { p.click("/messages/"+m+"/buttons/0/0", "seller").refuses(503, "no answer within 5s", "a drip") })
	both.Wait()
}

// TestCallsAreOnTheLog: beside the webhooks, with request, answer and duration;
// they can be repeated, and bulk redelivery leaves them alone.
func TestCallsAreOnTheLog(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.opens()
	app.says(500, `{"error":"out of order"}`)
	p.open(`{"touchpoint":"CHAT","user":"seller","post_token":"gZd7omnS"}`).refuses(503, "it answered 500", "500")
	var page deliveriesPage
	p.host("GET", "/deliveries?app=sample-app", "").ok().into(&page)
	if len(page.Deliveries) != 1 || page.Deliveries[0].Type != "SESSION_INITIALIZATION" || page.Deliveries[0].State != "exhausted" {
		t.Fatalf("the log has %+v", page)
	}
	id := page.Deliveries[0].ID
	type shown struct {
		State, Reason string
		Attempts      int
		Body          string
		AttemptLog    []struct {
			N                           int
			Request, Answer, Error, Why string
			Status                      int
			DurationMS                  int64 `json:"duration_ms"`
		} `json:"attempt_log"`
	}
	get := func() (s shown) {
		p.host("GET", "/deliveries/"+id, "").ok().into(&s)
		return s
	}
	s := get()
	if len(s.AttemptLog) != 1 || !strings.HasPrefix(s.AttemptLog[0].Request, "POST "+app.url+"/init\nAuthorization: ••••••\n") ||
		!strings.Contains(s.AttemptLog[0].Request, "API_VERSION: 2\nAPI-Version: 2\n") || s.AttemptLog[0].Status != 500 ||
		s.AttemptLog[0].Answer != `{"error":"out of order"}` || s.AttemptLog[0].Error != "answered 500" {
		t.Errorf("the log has %+v", s)
	}
	sent := app.take()
	if _, body, _ := strings.Cut(sent[0], "\n{"); s.Body != "{"+body {
		t.Errorf("the body is %s, the app got %s", s.Body, sent[0])
	}

	var dry struct{ Count int64 }
	p.host("POST", "/redeliveries", `{"state":"exhausted","dry_run":true}`).ok().into(&dry)
	p.host("POST", "/redeliveries", `{"state":"exhausted"}`).ok()
	p.settle()
	if got := app.take(); dry.Count != 0 || len(got) != 0 {
		t.Errorf("a bulk redelivery means %d and repeats %q", dry.Count, got)
	}

	app.says(200, `{"url":"https://app.test/"}`)
	p.host("POST", "/deliveries/"+id+"/redeliver", "").ok()
	if got := app.take(); len(got) != 1 || got[0] != sent[0] {
		t.Errorf("repeated as %q, first %q", got, sent)
	}
	if s := get(); s.State != "delivered" || s.Attempts != 2 || len(s.AttemptLog) != 2 || s.AttemptLog[1].Why != "repeated by hand" || s.Reason != "" {
		t.Errorf("the log has %+v", s)
	}
	p.none() // no webhook came of all that
	p.host("DELETE", "/users/seller", "").ok()
	if s := get(); s.Body != "" || s.AttemptLog[0].Answer != "" {
		t.Errorf("of an erased user the log has %+v", s)
	}
	p.host("POST", "/deliveries/"+id+"/redeliver", "").refused(412, 9, "deleted")
	ledger, err := server.OpenLedger(t.Context(), server.Place{Data: p.data, Database: p.database})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ledger.Close() }()
	if a, err := ledger.Audit(t.Context(), func(int64) {}); err != nil || a.Unaccounted != 0 {
		t.Errorf("verify finds %q, %v", a.Findings, err)
	}
}

// TestOffered: by touchpoint, city and category, in groups.
func TestOffered(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := func(slug, rest string) {
		p.host("POST", "/apps", `{"slug":"`+slug+`","display":"`+slug+`",`+rest+`}`).ok()
	}
	const chat = `"touchpoints":[{"touchpoint":"CHAT","action":"START_CHAT_BOT"}]`
	app("tehran", `"service_type":"DELIVERY","cities":["tehran","karaj"],`+chat)
	app("shiraz", `"service_type":"DELIVERY","cities":["shiraz"],`+chat)
	app("bicycle", `"service_type":"DELIVERY","categories":["bicycle"],`+chat)
	app("both", `"service_type":"CHECK","categories":["bicycle"],"cities":["tehran"],`+chat)
	app("nearly", `"service_type":"CHECK","categories":["car"],"cities":["tehran"],`+chat)
	app("elsewhere", `"service_type":"CHECK","touchpoints":[{"touchpoint":"MY_POST","action":"START_CHAT_BOT"}]`)
	app("suspended", `"status":"SUSPENDED",`+chat)
	app("paused", `"paused":true,`+chat)
	offered := func(query string) string {
		var out struct {
			Groups []struct {
				ServiceType string `json:"service_type"`
				Apps        []struct{ Slug string }
			}
		}
		p.host("GET", "/extensions?"+query, "").ok().into(&out)
		var b strings.Builder
		for _, g := range out.Groups {
			fmt.Fprint(&b, g.ServiceType, g.Apps)
		}
		return b.String()
	}
	const onPost = "CHECK[{both}]DELIVERY[{bicycle} {tehran}]SAMPLE[{sample-app}]"
	for query, want := range map[string]string{
		"touchpoint=CHAT&user=seller&post_token=gZd7omnS":                                        onPost,
		"touchpoint=CHAT&user=buyer&conversation_id=" + p.dev.ConversationID:                     onPost,
		"touchpoint=CHAT&user=buyer&post_token=gZd7omnS&conversation_id=" + p.dev.ConversationID: onPost,
		"touchpoint=CHAT&user=seller":                                                            "SAMPLE[{sample-app}]",
		"touchpoint=MY_POST&user=seller&post_token=gZd7omnS":                                     "CHECK[{elsewhere}]",
		"touchpoint=NOWHERE&user=seller":                                                         "",
		"touchpoint=CHAT&user=seller&conversation_id=" + p.dev.BotConversationID:                 "SAMPLE[{sample-app}]",
	} {
		if got := offered(query); got != want {
			t.Errorf("%s offers %s, want %s", query, got, want)
		}
	}
	p.host("PATCH", "/apps/tehran", `{"cities":["shiraz"]}`).ok()
	if got := offered("touchpoint=CHAT&user=seller&post_token=gZd7omnS"); strings.Contains(got, "tehran") {
		t.Errorf("an app that has just left the city is offered: %s", got)
	}
	for query, status := range map[string]int{
		"user=seller": 400, "touchpoint=CHAT": 400, "touchpoint=CHAT&user=seller&post_token=unknown": 404, "touchpoint=CHAT&user=a+b": 400,
		"touchpoint=CHAT&user=seller&conversation_id=unknown": 404, "touchpoint=CHAT&user=stranger&conversation_id=" + p.dev.ConversationID: 403,
	} {
		p.host("GET", "/extensions?"+query, "").refused(status, errorTable[status])
	}
	p.host("POST", "/extensions/shiraz/open", `{"touchpoint":"CHAT","user":"seller","post_token":"gZd7omnS"}`).refused(412, 9, "not offered")
	p.host("POST", "/extensions/unknown/open", `{"touchpoint":"CHAT","user":"seller"}`).refused(404, 5, "unknown")
	p.host("POST", "/extensions/paused/open", `{"touchpoint":"CHAT","user":"seller"}`).refused(412, 9, "paused")
}

// TestStartsTheBot: the opening messages of touchpoints.
func TestStartsTheBot(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.host("PATCH", "/apps/sample-app", `{"fallback_url":"https://app.test/","touchpoints":[{"touchpoint":"MY_POST","action":"START_CHAT_BOT"},{"touchpoint":"MY_DIVAR","action":"START_CHAT_BOT"},
		{"touchpoint":"DIVAR_PRO","action":"START_CHAT_BOT"},{"touchpoint":"CHAT","action":"START_CHAT_BOT"},{"touchpoint":"DEMAND_POST","action":"START_CHAT_BOT"},
		{"touchpoint":"POST_ADDON","action":"LOAD_WEBVIEW_DIRECT_LINK"}]}`).ok()
	text := regexp.MustCompile(`"sender":\{"type":"HUMAN"\},"type":"TEXT","sent_at":\d+,"text":"([^"]*)"`)
	for _, c := range []struct{ place, want string }{
		{`"touchpoint":"MY_POST","post_token":"gZd7omnS"`, "/start MY_POST gZd7omnS"},
		{`"touchpoint":"DEMAND_POST","post_token":"gZd7omnS"`, "/start DEMAND_POST gZd7omnS"},
		{`"touchpoint":"MY_DIVAR"`, "/start MY_DIVAR"},
		{`"touchpoint":"DIVAR_PRO"`, "/start DIVAR_PRO"},
		{`"touchpoint":"CHAT","conversation_id":"` + p.dev.ConversationID + `"`, "/start CHAT " + p.dev.ConversationID},
	} {
		a := p.open(`{"user":"seller",` + c.place + `}`).ok()
		if a.body != `{"conversation_id":"`+p.dev.BotConversationID+`"}` {
			t.Errorf("%s gives %s", c.place, a.body)
		}
		if m := text.FindStringSubmatch(p.one().body); len(m) != 2 || m[1] != c.want {
			t.Errorf("%s tells the bot %q, want %q", c.place, m, c.want)
		}
	}
	var out struct {
		ID string `json:"conversation_id"`
	}
	p.open(`{"touchpoint":"MY_DIVAR","user":"newcomer"}`).ok().into(&out)
	p.host("GET", "/conversations/"+out.ID+"/messages", "").ok()
	home := url.QueryEscape(p.base)
	if a := p.open(`{"touchpoint":"POST_ADDON","user":"buyer","post_token":"gZd7omnS"}`).ok(); a.body != `{"url":"https://app.test/?completion_url=`+home+`&post_token=gZd7omnS&return_url=`+home+`"}` {
		t.Errorf("a direct link gives %s", a.body)
	}
	if items, _ := p.feed(""); len(items) != 0 {
		t.Errorf("what people write is on the feed of what apps do: %+v", items)
	}
}
