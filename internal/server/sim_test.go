package server_test

import (
	"bufio"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

// simulator is a browser on /sim/ of a running platform.
type simulator struct {
	*platform
	token string // of its forms
}

var formToken = regexp.MustCompile(`"X-CSRF-Token":"([^"]+)"`)

// simulator opens the page.
func (p *platform) simulator() *simulator {
	p.t.Helper()
	page := html.UnescapeString(p.do("GET", "/sim/", "").ok().body)
	m := formToken.FindStringSubmatch(page)
	if m == nil {
		p.t.Fatalf("the page carries no token of forms:\n%s", page)
	}
	return &simulator{p, m[1]}
}

// send sends a form, as htmx does.
func (s *simulator) send(path string, fields ...string) answer {
	s.t.Helper()
	form := url.Values{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		form.Set(name, value)
	}
	return s.do("POST", path, form.Encode(), "Content-Type: application/x-www-form-urlencoded", "X-CSRF-Token: "+s.token, "HX-Request: true")
}

// page is what /sim/ shows now, its text as a reader of HTML has it.
func (s *simulator) page() string {
	s.t.Helper()
	return s.do("GET", "/sim/", "", "Cookie: openkenar_lang=en").ok().body
}

// shows fails the test unless an answer holds each of the texts.
func (a answer) shows(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Errorf("%s lacks %q:\n%s", a.call, text, a.body)
		}
	}
	return a
}

// live follows what changes on the page until a text has come.
func (s *simulator) live(after string) func(text string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.base+"/sim/live?app=sample-app&after="+after, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Cookie", "openkenar_lang=en")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	if typ := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || typ != "text/event-stream" {
		s.t.Fatalf("live: %d %s", resp.StatusCode, typ)
	}
	lines := bufio.NewReader(resp.Body)
	return func(text string) string {
		s.t.Helper()
		var event strings.Builder
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				s.t.Fatalf("live ended before %q: %v", text, err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				event.WriteString(data)
			}
			if line == "\n" {
				if strings.Contains(event.String(), text) {
					return event.String()
				}
				event.Reset()
			}
		}
	}
}

// startAlone runs a platform whose app has no address yet.
func startAlone(t *testing.T) *platform {
	p := &platform{t: t, data: t.TempDir()}
	p.run(&server.DevOptions{})
	return p
}

func TestSimulatorAlone(t *testing.T) {
	t.Parallel()
	p := startAlone(t)
	s := p.simulator()
	a := p.do("GET", "/sim/", "", "Cookie: openkenar_lang=en").ok()
	a.shows("First step: connect an app", p.data+"/dev.env", "go -C examples run ./tictactoe", `id="phone-buyer"`, `id="phone-seller"`, `id="wire-list"`)
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; script-src 'self'; style-src 'self'") ||
		!strings.Contains(csp, "frame-src http: https:") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy: %s", csp)
	}
	for _, inline := range []string{"<style", " style=", "onclick", "javascript:"} {
		if strings.Contains(a.body, inline) {
			t.Errorf("the page has %q", inline)
		}
	}
	p.do("GET", "/sim/", "").ok().shows(`lang="fa" dir="rtl"`, "گام نخست")
	// An app that cannot be asked is shown with the reason and the way back.
	s.send("/sim/phones/buyer/apps/sample-app").ok().shows(`id="buyer-failed"`, "has no session_initialization_url", `id="buyer-back"`)
	s.send("/sim/app", "event_url=nonsense").want(400).shows("event_url: not an absolute URL")
	s.send("/sim/app", "event_url=http://127.0.0.1:1/event", "action_url=http://127.0.0.1:1/action").ok()
	a = p.host("GET", "/apps/sample-app", "").ok()
	a.shows(`"event_url":"http://127.0.0.1:1/event"`, `"dynamic_action_url":"http://127.0.0.1:1/action"`)
	if page := s.page(); strings.Contains(page, "First step") || !strings.Contains(page, `id="subscribe"`) {
		t.Errorf("with an event URL the page shows:\n%s", page)
	}
}

func TestSimulatorIsOfDevModeAlone(t *testing.T) {
	t.Parallel()
	p := serve(t)
	for _, path := range []string{"/sim", "/sim/", "/sim/live"} {
		p.do("GET", path, "").refused(404, 5, path)
	}
	p.host("GET", "/dev/faults", "").refused(404, 5)
}

func TestSimulatorRefusesForeignForms(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	const form = "Content-Type: application/x-www-form-urlencoded"
	p.do("POST", "/sim/phones/buyer/chat", "text=hi", form).want(403)
	p.do("POST", "/sim/phones/buyer/chat", "text=hi", form, "X-CSRF-Token: guessed").want(403)
	p.do("POST", "/sim/phones/buyer/chat", "text=hi", form, "X-CSRF-Token: "+s.token, "Sec-Fetch-Site: cross-site").want(403)
	s.send("/sim/phones/nobody/chat", "text=hi").want(404)
	s.send("/sim/phones/buyer/chat", "text=").want(400)
	p.settle()
	if strings.Contains(s.page(), `class="bubble`) {
		t.Error("a refused message is shown")
	}
}

func TestSimulatorChat(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	next := s.live("0")
	next("sim-hints")
	s.send("/sim/subscribe").ok().shows("notice ok")
	s.send("/sim/phones/buyer/chat", "text=Hello there\r\nfriend").ok()
	if h := p.one(); !strings.Contains(h.body, `"text":"Hello there\nfriend"`) || !strings.Contains(h.body, `"side":"BUYER"`) {
		t.Errorf("the app got %s", h.body)
	}
	next("NEW_MESSAGE_ON_POST") // the row comes as it begins or later
	p.say("SELLER", "from the other API")
	next("from the other API") // what others write comes too
	s.send("/sim/phones/seller/bot", "text=hi bot").ok()
	for _, h := range p.hooks(2) {
		if !strings.Contains(h.body, "from the other API") && !strings.Contains(h.body, "hi bot") {
			t.Errorf("the app got %s", h.body)
		}
	}
	// A conversation with the bot begins with its first message.
	s.send("/sim/phones/buyer/bot", "text=first words").ok()
	if h := p.one(); !strings.Contains(h.body, `"text":"first words"`) {
		t.Errorf("the app got %s", h.body)
	}
	page := s.page()
	for _, text := range []string{
		"Hello there\nfriend", "from the other API", "hi bot", "first words", `data-outcome="ok"`, "the-identification-key",
		`class="bubble mine" id="seller-m-`, "webhook-signature: v1,",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	s.send("/sim/phones/seller/block", "blocked=true").ok()
	s.send("/sim/phones/buyer/chat", "text=are you there").want(412).shows("the seller has blocked the buyer")
	s.send("/sim/phones/seller/block", "blocked=false").ok()
	s.send("/sim/phones/buyer/chat", "text=are you there").ok()
	p.one()
}

// hooks settles the platform and returns the n webhooks that arrived.
func (p *platform) hooks(n int) []hook {
	p.t.Helper()
	p.settle()
	got := p.hook.take()
	if len(got) != n {
		p.t.Fatalf("%d webhooks arrived, want %d: %v", len(got), n, got)
	}
	return got
}

// copied is what a button copies, which nobody sees: the very text.
var copied = regexp.MustCompile(`data-copy="[^"]*"`)

// TestSimulatorShowsText: what strangers write is text, wherever it is shown.
func TestSimulatorShowsText(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	s.send("/sim/subscribe").ok()
	hostile := []string{
		`<script>alert("x")</script>`, `<img src=x onerror=alert(1)>`, `"><svg onload=alert(2)>`, "</textarea></template></hx-partial><b>bold</b>",
		"user \u202egnp.exe \u2066inside\u2069", "a\rdata: <i>split</i>\n\nid: 9", strings.Repeat("ژ", 4096), `{"a":"</code><script>1</script>"}`,
	}
	next := s.live("0")
	next("sim-hints")
	for _, text := range hostile {
		p.say("BUYER", text)
	}
	user := p.dev.Users.Seller
	in, _ := json.Marshal(map[string]any{
		"message": hostile[0] + hostile[4], "target_type": "USER", "target_resource_id": user.AppUserID,
		"buttons": map[string]any{"items": []any{map[string]any{"title": "<b>press</b>", "action": map[string]any{"open_direct_link": "https://x.test/\"><script>"}}}},
	})
	p.app("POST", "/experimental/open-platform/events/send", user.AccessToken, string(in)).ok()
	p.app("POST", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages", "",
		`{"text_message":"<u>bot</u>","buttons":{"rows":[{"buttons":[{"caption":"<i>cap</i>","action":{"get_dynamic_action":{"data":{}}}}]}]}}`).ok()
	p.hooks(len(hostile)) // a bot does not hear itself
	streamed := next("&lt;u&gt;bot&lt;/u&gt;")
	for name, content := range map[string]string{"page": s.page(), "stream": streamed} {
		content = copied.ReplaceAllString(content, "")
		for _, bad := range []string{
			"<script>alert", "<script>1", "<img src=x", "<svg onload", "<b>", "<i>", "<u>", "\u202e", "\u2066", "test/\"><script",
		} {
			if strings.Contains(content, bad) {
				i := strings.Index(content, bad)
				t.Errorf("the %s holds %q: %s", name, bad, content[max(0, i-80):i+40])
			}
		}
	}
	page := s.page()
	for _, good := range []string{
		"&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;", `user \u202egnp.exe \u2066inside\u2069`, strings.Repeat("ژ", 4096), "&lt;b&gt;press&lt;/b&gt;",
		"&lt;i&gt;cap&lt;/i&gt;",
	} {
		if !strings.Contains(page, good) {
			t.Errorf("the page lacks %.80q as text", good)
		}
	}
}

// actor is an app that opens and acts as it is told.
func (p *platform) actor(answers map[string]string) {
	p.t.Helper()
	p.hook.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answers[r.URL.Path])
	})
	p.host("PATCH", "/apps/sample-app", `{"session_initialization_url":"`+p.hook.url+`init","dynamic_action_url":"`+p.hook.url+`act"}`).ok()
}

func TestSimulatorOpensApps(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	answers := map[string]string{"/init": `{"url":"https://app.test/x?a=1&b=2"}`, "/act": `{"text_message":"<b>well</b>"}`}
	p.actor(answers)
	s.send("/sim/phones/seller/apps/sample-app").ok().shows(
		`id="seller-frame" src="https://app.test/x?a=1&amp;b=2"`, `sandbox="`, `id="seller-back"`, `id="seller-away"`, `target="_blank"`)
	got := p.hook.take()
	if len(got) != 1 || !strings.Contains(got[0].body, `"return_url":"`+p.base+`/sim/back?phone=seller"`) || !strings.Contains(got[0].body, `"user_side":"Supply"`) {
		t.Fatalf("the app was asked %v", got)
	}
	back := p.do("GET", "/sim/back?phone=seller", "").ok().shows(`data-went-back="seller"`, `href="/sim/"`)
	if csp := back.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'self'") || back.header.Get("X-Frame-Options") != "SAMEORIGIN" {
		t.Errorf("the way back may not be framed: %s", csp)
	}

	p.app("POST", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages", "",
		`{"text_message":"pick","buttons":{"rows":[{"buttons":[{"caption":"act","action":{"get_dynamic_action":{"data":{"k":1}}}},`+
			`{"caption":"link","action":{"open_direct_link":"https://direct.test/"}},{"caption":"post","action":{"open_post_page":{"post_token":"gZd7omnS"}}}]}]}}`).ok()
	ids := regexp.MustCompile(`hx-post="(/sim/phones/seller/messages/[^"]+/buttons/0/)0"`).FindStringSubmatch(s.page())
	if ids == nil {
		t.Fatal("the page has no button of the bot")
	}
	s.send(ids[1]+"0").ok().shows(`id="seller-said"`, "&lt;b&gt;well&lt;/b&gt;")
	s.send(ids[1] + "1").ok().shows(`src="https://direct.test/"`)
	s.send(ids[1]+"2").ok().shows("gZd7omnS", "دوچرخه شهری")
	s.send(ids[1] + "9").ok().shows(`id="seller-failed"`)
	s.send(ids[1] + "x").want(404)
	s.send(strings.Replace(ids[1], "seller", "buyer", 1) + "0").ok().shows(`id="buyer-failed"`)

	answers["/init"] = `{"url":"javascript:alert(1)"}`
	s.send("/sim/phones/buyer/apps/sample-app").ok().shows(`id="buyer-failed"`, "gave a url that cannot be opened", `id="buyer-back"`)
	page := s.page()
	for _, text := range []string{"SESSION_INITIALIZATION", "DYNAMIC_ACTION", "wrong answer", "javascript:alert(1)"} {
		if !strings.Contains(page, text) {
			t.Errorf("the wire lacks %q", text)
		}
	}
	if strings.Contains(page, `href="javascript`) || strings.Contains(page, `src="javascript`) {
		t.Error("a script's address is a link")
	}

	p.host("PATCH", "/apps/sample-app", `{"touchpoints":[{"touchpoint":"CHAT","action":"START_CHAT_BOT"}]}`).ok()
	s.send("/sim/phones/buyer/apps/sample-app").ok().shows(`data-select="buyer-tab-bot"`)

	s.send("/sim/phones/buyer/consent").ok().shows("/oauth2/auth?client_id=sample-app", `id="buyer-frame"`)
	for _, path := range []string{"/oauth2/login?login_challenge=x", "/oauth2/consent?consent_challenge=x"} {
		if h := p.do("GET", path, "").header; !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'self'") {
			t.Errorf("%s may not be framed by the phones: %v", path, h)
		}
	}
}

func TestSimulatorChangesTheWorld(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	s.send("/sim/subscribe").ok()
	for _, tt := range []struct{ path, field, wants string }{
		{"/sim/post", "state=RETIRED", `"type":"RETIRE"`},
		{"/sim/post", "state=ARCHIVED", `"type":"ARCHIVE"`},
		{"/sim/post", "state=PUBLISHED", `"type":"PUBLISH"`},
		{"/sim/post", `data={"price":1}`, `"price":1`},
		{"/sim/payment", "state=PENDING", `"state":"TRANSACTION_STATE_PENDING"`},
		{"/sim/payment", "state=COMPLETED", `"state":"TRANSACTION_STATE_COMPLETED"`},
		{"/sim/payment", "state=REFUNDED", `"state":"TRANSACTION_STATE_REFUNDED"`},
	} {
		s.send(tt.path, tt.field).ok().shows("notice ok")
		if h := p.one(); !strings.Contains(h.body, tt.wants) {
			t.Errorf("%s %s: the app got %s", tt.path, tt.field, h.body)
		}
	}
	s.send("/sim/post", "data=[1]").want(400).shows("data:")
	s.send("/sim/post", "state=SOLD").want(400).shows("state")
	s.send("/sim/payment", "state=LOST").want(400).shows("state")
	s.send("/sim/clock", "advance=1h").ok()
	s.send("/sim/clock", "advance=-1h").want(400)
	s.send("/sim/clock", "advance=9000h").want(400)
	if !strings.Contains(s.page(), "ahead: 1 hour") {
		t.Error("the page does not say that the clock is ahead")
	}
	token := s.send("/sim/phones/seller/token").ok().shows("export SELLER_TOKEN=").body
	fresh := regexp.MustCompile(`okt_[A-Za-z0-9_-]+`).FindString(token)
	read := func(token string) int { return p.app("GET", "/v1/open-platform/users", token, "").status }
	if got := read(fresh); got != 200 {
		t.Errorf("the new token: %d", got)
	}
	s.send("/sim/phones/seller/expire").ok()
	if got := read(fresh); got != 401 {
		t.Errorf("an expired token: %d", got)
	}
	s.send("/sim/phones/buyer/chat", "text=who hears").ok()
	p.none()
	s.send("/sim/phones/seller/revoke").ok()
	if h := p.one(); !strings.Contains(h.body, "USER_ACCESS_REVOCATION") {
		t.Errorf("the app got %s", h.body)
	}
	p.host("GET", "/users/seller/grants", "").ok().shows(`"grants":[]`)
}

func TestSimulatorWire(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	s.send("/sim/phones/seller/bot", "text=once").ok()
	first := p.one()
	page := s.page()
	redeliver := regexp.MustCompile(`hx-post="(/sim/deliveries/[^"]+/redeliver)"`).FindStringSubmatch(page)
	edit := regexp.MustCompile(`hx-get="(/sim/wire/\d+)/edit"`).FindStringSubmatch(page)
	if redeliver == nil || edit == nil {
		t.Fatalf("the row has nothing to do:\n%s", page)
	}
	s.send(redeliver[1]).ok().shows("notice ok")
	if h := p.one(); h.header.Get("webhook-id") != first.header.Get("webhook-id") || h.header.Get("OpenKenar-Attempt") != "2" {
		t.Errorf("redelivered: %v", h.header)
	}
	p.do("GET", edit[1]+"/edit", "", "HX-Request: true").ok().shows("<textarea", "&#34;text&#34;: &#34;once&#34;")
	p.hook.edited.Store(true)
	s.send(edit[1]+"/resend", `body={"made":"up"}`).ok().shows("notice ok")
	h := p.one()
	if id := h.header.Get("webhook-id"); h.body != `{"made":"up"}` || !strings.HasPrefix(id, "test-") || h.header.Get("webhook-signature") == "" ||
		h.header.Get("Authorization") != "the-identification-key" {
		t.Errorf("sent by hand: %v %s", h.header, h.body)
	}
	p.hook.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	s.send(edit[1]+"/resend", "body=not JSON").ok().shows("answered 418")
	p.hook.respond(nil)
	s.send("/sim/wire/999999/resend", "body={}").want(404)
	s.send("/sim/deliveries/1-nobody/redeliver").want(404)
	if page := s.page(); !strings.Contains(page, ">TEST<") || !strings.Contains(page, ">418<") {
		t.Error("the wire does not show the tests")
	}
}

// TestFaultsOfDevMode: what the host API and the drawer say is what happens.
func TestFaultsOfDevMode(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.simulator()
	p.host("POST", "/dev/faults", `{"fault":"drop_answer","calls":"NEW_CHATBOT_MESSAGE"}`).ok().shows(
		`{"id":"1","fault":"drop_answer","app":"","calls":"NEW_CHATBOT_MESSAGE","count":1}`)
	s.send("/sim/faults", "fault=status", "status=503", "count=2", "calls=CALL").ok()
	p.host("GET", "/dev/faults", "").ok().shows(`"fault":"status","app":"","calls":"CALL","count":2,"status":503}],"next":null}`)
	s.send("/sim/faults", "fault=none").want(400).shows("fault:")
	s.send("/sim/faults", "fault=delay", "delay=soon").want(400).shows("delay")
	p.host("POST", "/dev/faults", `{"fault":"cut","app":"nobody"}`).refused(404, 5, "nobody")

	s.send("/sim/phones/seller/bot", "text=hi").ok()
	first := p.one() // the app got it, and the platform does not know
	p.advance("10s")
	if again := p.one(); again.header.Get("webhook-id") != first.header.Get("webhook-id") || again.header.Get("OpenKenar-Attempt") != "2" {
		t.Errorf("after a lost answer: %v", again.header)
	}
	p.host("GET", "/dev/faults", "").ok().shows(`{"faults":[{"id":"2"`)
	p.host("DELETE", "/dev/faults", "").ok().shows("{}")
	p.host("GET", "/dev/faults", "").ok().shows(`{"faults":[],"next":null}`)

	// Of two messages in one conversation the second arrives first.
	p.host("POST", "/dev/faults", `{"fault":"reorder","delay":"1ms"}`).ok()
	s.send("/sim/phones/seller/bot", "text=the first").ok()
	p.settle()
	s.send("/sim/phones/seller/bot", "text=the second").ok()
	if h := p.one(); !strings.Contains(h.body, "the second") {
		t.Errorf("the app got %s", h.body)
	}
	p.advance("10s")
	if h := p.one(); !strings.Contains(h.body, "the first") {
		t.Errorf("the app got %s", h.body)
	}
	s.send("/sim/faults", "fault=cut").ok()
	s.send("/sim/faults/clear").ok()
	s.send("/sim/phones/seller/bot", "text=whole").ok()
	p.one()
}

// TestSimulatorEnds: an open page does not hold the server.
func TestSimulatorEnds(t *testing.T) {
	t.Parallel()
	p := start(t)
	next := p.simulator().live("0")
	next("sim-hints")
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
}
