package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const eventsPath = "/experimental/open-platform/events"

// fetched is an event as an app fetches it.
type fetched struct {
	Cursor    string            `json:"cursor"`
	WebhookID string            `json:"webhook_id"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
}

// hook is the event as it would have been pushed.
func (f fetched) hook() hook {
	h := hook{header: http.Header{}, body: f.Body}
	for name, value := range f.Headers {
		h.header.Set(name, value)
	}
	return h
}

// fetch is a page of an app's events.
type fetch struct {
	Events []fetched      `json:"events"`
	Next   string         `json:"next"`
	Missed int            `json:"missed"`
	Why    map[string]int `json:"missed_why"`
}

func (c caller) fetch(query string) (f fetch) {
	c.p.t.Helper()
	c.call("GET", eventsPath+query, "", "").ok().into(&f)
	return f
}

// texts are those of the messages of a page.
func (f fetch) texts(t *testing.T) []string {
	t.Helper()
	texts := []string{}
	for _, e := range f.Events {
		var body struct {
			New  struct{ Text string } `json:"new_message"`
			Chat struct{ Text string } `json:"new_chatbot_message"`
		}
		if err := json.Unmarshal([]byte(e.Body), &body); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, body.New.Text+body.Chat.Text)
	}
	return texts
}

func (f fetch) has(t *testing.T, want ...string) {
	t.Helper()
	if got := f.texts(t); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("fetched %q, want %q", got, want)
	}
}

// TestEventsArePushedAndFetchedAlike: the same id, headers and bytes, and a
// signature that the published library takes.
func TestEventsArePushedAndFetchedAlike(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	app := p.sample()
	if a := app.call("GET", eventsPath, "", "").ok(); a.body != `{"events":[],"next":null,"missed":0}` {
		t.Errorf("without events: %s", a.body)
	}
	p.host("POST", "/apps/sample-app/signing-secrets", "").ok()
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":`+metadata+`}`).ok()
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"POST_UPDATE"}`).ok()
	n := 0
	after := ""
	alike := func(what string) {
		t.Helper()
		n++
		pushed := p.one()
		a := app.call("GET", eventsPath+"?after="+after, "", "").ok()
		var f fetch
		a.into(&f)
		if len(f.Events) != 1 || f.Next != f.Events[0].Cursor || f.Missed != 0 {
			t.Fatalf("%s: %s", what, a.body)
		}
		after = f.Next
		got := f.Events[0].hook()
		if got.body != pushed.body {
			t.Errorf("%s: fetched %s\npushed %s", what, got.body, pushed.body)
		}
		for _, name := range []string{"Authorization", "Content-Type", "User-Agent", "webhook-id", "OpenKenar-Attempt"} {
			if got.header.Get(name) != pushed.header.Get(name) || got.header.Get(name) == "" {
				t.Errorf("%s: header %s is %q, pushed %q", what, name, got.header.Get(name), pushed.header.Get(name))
			}
		}
		if f.Events[0].WebhookID != pushed.header.Get("webhook-id") {
			t.Errorf("%s: webhook_id %q", what, f.Events[0].WebhookID)
		}
		for _, secret := range p.secrets() {
			if err := verify(t, got, secret); err != nil {
				t.Errorf("%s: signature: %v", what, err)
			}
		}
		for _, volatile := range []struct{ pattern, as string }{
			{f.Next, "EVENT"},
			{`"webhook-timestamp":"\d+"`, `"webhook-timestamp":"TIMESTAMP"`},
			{`v1,[A-Za-z0-9+/=]{44}`, "v1,SIGNATURE"},
			{p.dev.Users.Seller.AppUserID, "APP-USER"},
			{`\\"sent_at\\":\d+`, `\"sent_at\":MICROS`},
			{`\\"first_published_at\\":\\"[^"\\]+\\"`, `\"first_published_at\":\"TIME\"`},
			{`\\"id\\":\\"[0-9a-f-]{36}\\"`, `\"id\":\"ID\"`},
		} {
			a.body = regexp.MustCompile(volatile.pattern).ReplaceAllString(a.body, volatile.as)
		}
		g.saw(what, a.body)
	}
	p.say("BUYER", "سلام <&> \"")
	alike("a message on a post, with metadata, while two secrets sign")
	p.host("PUT", "/posts/gZd7omnS", `{"owner":"seller","title":"x","state":"RETIRED","data":{}}`).ok()
	alike("a post that is retired")
	p.sayToBot("hello")
	alike("a message to the bot")
	p.pay("tx-1", "sample-app")
	alike("a transaction")
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	alike("access taken away")
	g.compare("events.golden")
}

// TestEventsWithoutURL: an app without an event URL fetches what it would be
// sent, and no more.
func TestEventsWithoutURL(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.sample()
	token := p.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND")
	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"k":1}}`).ok()
	p.setApp(`{"event_url":""}`)
	event := p.say("BUYER", "one")
	p.skipped(event, "no event URL")
	f := app.fetch("")
	f.has(t, "one")
	if !strings.Contains(f.Events[0].Body, `"metadata":{"k":1}`) || f.Events[0].WebhookID != event+"-sample-app" {
		t.Errorf("fetched %+v", f)
	}

	p.setApp(`{"hear_own_messages":false}`)
	p.write(token, `{"message":"its own"}`).ok()
	p.sayToBot("to the bot")
	p.setApp(`{"hear_own_messages":true}`)
	p.write(token, `{"message":"its own, heard"}`).ok()
	app.fetch("?after="+f.Next).has(t, "to the bot", "its own, heard")
	p.none()

	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	f = app.fetch("")
	if len(f.Events) != 2 || f.Missed != 2 || f.Why["revoked"] != 2 {
		t.Errorf("after the revocation: %+v", f)
	}
}

func TestEventsAfterACursor(t *testing.T) {
	t.Parallel()
	p := start(t)
	app, other := p.sample(), p.otherApp()
	p.newBotConversation("other-bot", "other-app", "buyer")
	var latest fetch
	for i := range 230 {
		if i == 200 {
			latest = app.fetch("?after=latest")
		}
		p.sayToBot(fmt.Sprint("m", i))
		if i%50 == 0 {
			p.host("POST", "/conversations/other-bot/messages", `{"sender":"USER","text":"for the other"}`).ok()
		}
	}
	cursor, seen := "", 0
	for _, want := range []int{100, 100, 30, 0} {
		f := app.fetch("?after=" + cursor)
		for _, text := range f.texts(t) {
			if text != fmt.Sprint("m", seen) {
				t.Errorf("event %d is %q", seen, text)
			}
			seen++
		}
		if len(f.Events) != want || f.Missed != 0 || want == 0 && f.Next != cursor {
			t.Errorf("after %s: %d events, next %s", cursor, len(f.Events), f.Next)
		}
		cursor = f.Next
	}
	if got := app.fetch("?after=" + latest.Next).texts(t); len(latest.Events) != 0 || len(got) != 30 || got[0] != "m200" {
		t.Errorf("from the latest: %q", got)
	}
	other.fetch("").has(t, slices.Repeat([]string{"for the other"}, 5)...)

	for _, query := range []string{
		"after=x", "after=-1", "after=%2B5", "after=007", "after=1.5", "after=99999999999999999999", "after=9223372036854775807", "after=LATEST",
		"after=0x10", "after=%20", "wait=x", "wait=-1", "wait=61",
	} {
		app.call("GET", eventsPath+"?"+query, "", "").refused(400, 3, strings.Split(query, "=")[0])
	}
	p.do("GET", eventsPath, "").refused(401, 16, "API key")
	p.do("GET", eventsPath, "", "X-API-Key: "+p.newKey("sample-app", `["EVENTS_SEND"]`).Key).refused(403, 7, "EVENTS_REGISTER_SUBSCRIPTION")
	app.call("POST", eventsPath, "", "").refused(405, 12, "GET")
}

// TestEventsThatAreGone: what was erased or rests on a revoked grant is not
// given out, also when it was pushed before, and is counted.
func TestEventsThatAreGone(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.sample()
	p.subscribe(p.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"), `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages", `{"id":"m-1","sender":"BUYER","text":"erased"}`).ok()
	p.say("BUYER", "revoked")
	p.sayToBot("stays")
	p.settle()
	app.fetch("").has(t, "erased", "revoked", "stays")
	p.host("DELETE", "/messages/m-1", "").ok()
	if f := app.fetch(""); f.Missed != 1 || f.Why["erased"] != 1 || len(f.Events) != 2 {
		t.Errorf("after the erasure: %+v", f)
	}
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	if f := app.fetch(""); f.Missed != 2 || f.Why["revoked"] != 1 || f.Why["erased"] != 1 || len(f.Events) != 2 {
		t.Errorf("after the revocation: %+v", f)
	}
}

func TestEventsWait(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.sample()
	for _, url := range []string{p.hook.url, ""} {
		p.setApp(`{"event_url":"` + url + `"}`)
		after := app.fetch("?after=latest").Next
		got := make(chan answer)
		go func() { got <- app.call("GET", eventsPath+"?wait=60&after="+after, "", "") }()
		select {
		case a := <-got:
			t.Fatalf("answered before anything happened: %s", a.body)
		case <-time.After(100 * time.Millisecond): // failing to fail is all that a slow machine can do here
		}
		p.sayToBot("the first")
		begin := time.Now()
		var f fetch
		(<-got).ok().into(&f)
		f.has(t, "the first")
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
		if f := app.fetch("?wait=1&after=" + f.Next); len(f.Events) != 0 || f.Next == "" {
			t.Errorf("after a second without news: %+v", f)
		}
	}
}

// streamed opens an app's events as server-sent events.
func (c caller) streamed(query string, header ...string) io.Reader {
	c.p.t.Helper()
	req, err := http.NewRequestWithContext(c.p.t.Context(), http.MethodGet, c.p.base+eventsPath+query, nil)
	if err != nil {
		c.p.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", c.key)
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		c.p.t.Fatal(err)
	}
	c.p.t.Cleanup(func() { _ = resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		c.p.t.Fatalf("%d %s", resp.StatusCode, ct)
	}
	return resp.Body
}

// frames reads the fields of server-sent events: n with data, or all until the
// stream ends.
func frames(t *testing.T, stream io.Reader, n int) (list []map[string]string) {
	t.Helper()
	frame := map[string]string{}
	for lines := bufio.NewScanner(stream); len(list) < n && lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "" && frame["data"] != "":
			list = append(list, frame)
			frame = map[string]string{}
		case ok && name != "":
			frame[name] = value
		}
	}
	return list
}

func TestEventsStream(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := p.sample()
	live := app.streamed("?after=latest")
	p.subscribe(p.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"), `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.say("BUYER", "revoked later")
	for i := range 5 {
		p.sayToBot(fmt.Sprint("m", i))
	}
	var cursors []string
	for i, frame := range frames(t, live, 6) {
		var e fetched
		if err := json.Unmarshal([]byte(frame["data"]), &e); err != nil || e.Cursor != frame["id"] || i > 0 && !strings.Contains(e.Body, fmt.Sprint("m", i-1)) {
			t.Errorf("%v: %v", err, frame)
		}
		cursors = append(cursors, e.Cursor)
	}
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	from := func(query string, header ...string) (ids []string) {
		t.Helper()
		for _, frame := range frames(t, app.streamed(query, header...), 2) {
			ids = append(ids, frame["id"]+frame["event"]+frame["data"])
		}
		return ids
	}
	if got := from(""); got[0] != `missed{"missed":1,"missed_why":{"revoked":1}}` || !strings.HasPrefix(got[1], cursors[1]) {
		t.Errorf("from the beginning: %q", got)
	}
	if got := from("?after="+cursors[0], "Last-Event-ID: "+cursors[2]); !strings.HasPrefix(got[0], cursors[3]) {
		t.Errorf("resumed: %q", got)
	}
	app.call("GET", eventsPath+"?after=x", "", "").refused(400, 3)

	// A key that is revoked ends its stream, and stopping the server all.
	key := p.newKey("sample-app", `["EVENTS_REGISTER_SUBSCRIPTION"]`)
	revoked := app
	revoked.key = key.Key
	stream, open := revoked.streamed("?after=latest"), app.streamed("?after=latest")
	p.host("DELETE", "/apps/sample-app/keys/"+key.ID, "").ok()
	p.sayToBot("not for a revoked key")
	if got := frames(t, stream, 100); len(got) != 0 {
		t.Errorf("a revoked key was given %v", got)
	}
	begin := time.Now()
	p.stop()
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("the server took %s to stop", took)
	}
	if got := frames(t, open, 100); len(got) != 1 {
		t.Errorf("the stream of another key has %v", got)
	}
}

// FuzzEventsQuery: whatever is asked for is answered with events or refused by
// the contract.
func FuzzEventsQuery(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""}, {"latest", "0"}, {"0", ""}, {"-0", ""}, {"1", "0"}, {"9223372036854775807", "0"}, {"x", "x"}, {"1e3", "-1"}, {"٣", "٠"}, {"1 ", " 0"}, {"\x00", "\xff"}, {"0", "+0"}, {"+0", "00"},
	} {
		f.Add(seed[0], seed[1])
	}
	shared := start(f)
	shared.sayToBot("hello")
	f.Fuzz(func(t *testing.T, after, wait string) {
		if wait != "" && wait != "0" && strings.Trim(wait, "0123456789") == "" {
			wait = "61" + wait // else it would wait
		}
		p := shared.with(t)
		a := p.sample().call("GET", eventsPath+"?"+url.Values{"after": {after}, "wait": {wait}}.Encode(), "", "")
		if a.status != 200 {
			a.contractError(t)
			return
		}
		var got fetch
		a.into(&got)
		if got.Missed != 0 || len(got.Events) > 1 || got.Next == "" {
			t.Errorf("after %q: %s", after, a.body)
		}
	})
}

// TestNodesFetch: what one node writes is fetched from the other, by who waits
// there, and a revocation is known there when it is answered here.
func TestNodesFetch(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, here, there *platform) {
		here, there = here.forTest(t), there.forTest(t)
		app := there.sample()
		here.subscribe(here.tokenAt(t, "seller"), `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		after := app.fetch("?after=latest").Next
		got := make(chan answer)
		go func() { got <- app.call("GET", eventsPath+"?wait=60&after="+after, "", "") }()
		here.say("BUYER", "from the other node")
		var f fetch
		(<-got).ok().into(&f)
		f.has(t, "from the other node")
		here.host("DELETE", "/users/seller/grants/sample-app", "").ok()
		f = app.fetch("?after=" + after)
		if len(f.texts(t)) > 1 || f.Why["revoked"] != 1 {
			t.Errorf("after the revocation: %+v", f)
		}
	})
}
