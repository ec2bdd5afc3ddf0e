package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestManageAnApp: an app is made with what it needs, tried, and its deliveries
// are looked at and sent again, all in the panel.
func TestManageAnApp(t *testing.T) {
	t.Parallel()
	p := start(t)
	app := newReceiver(t)
	app.respond(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not yet", http.StatusTeapot) })
	b := openTab(t)
	b.open(p.base + "/panel/apps?lang=en")
	b.follow("main a[href='/panel/new-app']")
	b.fill("#slug", "My App")
	b.see("#slug-problem", "slug")
	b.fill("#slug", "my-app")
	b.gone("#slug-problem", "slug")
	b.fill("#display", "My app")
	b.fill("#event_url", "nonsense")
	b.see("#event_url-problem", "event_url")
	b.tolerate("status of 400")
	b.follow("main form[action='/panel/new-app'] button.main")
	b.see(".notice.bad", "Not saved")
	b.usable()
	b.fill("#event_url", "")
	for _, box := range []string{"permissions][value=EVENTS_REGISTER_SUBSCRIPTION", "oauth_scopes][value=CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"} {
		b.tick("input[name=" + box + "]")
	}
	b.follow("main form[action='/panel/new-app'] button.main")
	b.see("h1", "My app")

	b.followOn(".tabs a", "Settings")
	b.fill("#event_url", app.url)
	b.fill("#redirect_uris", "http://127.0.0.1:8000/callback")
	b.followOn("main form button.main", "Save")
	b.see(".notice", "Saved")
	b.followOn(".tabs a", "Overview")
	b.clickOn("form[action$='/test/event'] button", "Event")
	b.see("#trial .notice.bad", "418")
	app.respond(nil)
	b.clickOn("form[action$='/test/event'] button", "Event")
	b.see("#trial .notice", "as it should be")
	app.take()

	b.followOn(".tabs a", "Keys")
	b.fill("#title", "server")
	b.tick("input[name=permissions][value=EVENTS_REGISTER_SUBSCRIPTION]")
	b.followOn("main form button.main", "Create the key")
	key := b.text("[data-secret]")
	b.usable()
	b.open(p.base + "/panel/apps/my-app/keys")
	b.see("td", "server")
	b.gone("[data-secret]", "")

	token := p.tokenOf("my-app", "seller", "1h", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ")
	subscribe := func() answer {
		return p.do("POST", "/v1/open-platform/events/subscriptions", `{"event_type":"NEW_MESSAGE_ON_POST"}`, "X-API-Key: "+key, "Authorization: Bearer "+token)
	}
	subscribe().ok()
	app.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	event := p.say("BUYER", "the app is gone")
	p.settle()
	b.open(p.base + "/panel/apps/my-app/deliveries?state=exhausted")
	row := fmt.Sprintf("#delivery-%s-my-app", event)
	b.see(row, "exhausted")
	b.follow(row + " a")
	b.see("#attempt-1", "410")
	app.respond(nil)
	b.followOn("main form button.main", "Send again")
	p.settle()
	b.open(p.base + "/panel/deliveries/" + event + "-my-app")
	b.see("main .chip", "delivered")
	b.see("#attempt-2", "200")
	b.see("main pre", "the app is gone")

	// Many at once: first counted, then sent.
	b.open(p.base + "/panel/redeliveries?app=my-app")
	b.choose("#state", "delivered")
	b.followOn("main form button", "Count")
	b.see("#count", "1 deliver")
	b.followOn("main form button", "Send them")
	b.see(".notice", "Begun")
	if asked := b.asked(); len(asked) != 1 {
		t.Errorf("the page asked %q before it sent", asked)
	}
	until(t, "it is sent a third time", patience, func() bool { p.settle(); return len(app.take()) > 0 })

	b.open(p.base + "/panel/apps/my-app/keys")
	b.followOn("form[action$='/revoke'] button", "Revoke")
	b.see("td .chip", "revoked")
	subscribe().refused(http.StatusUnauthorized, 16)
	b.open(p.base + "/panel/apps/my-app/audit")
	for _, change := range []string{"app.created", "key.created", "key.revoked"} {
		b.see("main td", change)
	}
}

// TestDeliveriesOfStrangers: what is in a delivery is shown as text.
func TestDeliveriesOfStrangers(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.hook.respond(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, hostile, http.StatusInternalServerError) })
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	b := openTab(t)
	b.open(p.base + "/panel/apps?lang=en")
	texts := hostileTexts()
	texts["as long as they get"] = strings.Repeat("سلام", 1024)
	for name, text := range texts {
		id := p.say("BUYER", text)
		p.settle()
		b.open(p.base + "/panel/deliveries/" + id + "-sample-app")
		b.see("#attempt-1", "500")
		b.click("#attempt-1 summary")
		b.see("#attempt-1 pre", "alert(1)")
		shown := js[string](b, `document.querySelector("main .card pre").textContent`)
		for _, part := range strings.FieldsFunc(spelt(text), func(r rune) bool { return strings.ContainsRune(`<>&"'`, r) }) {
			if !strings.Contains(shown, part) {
				t.Errorf("%s: %q is not in the body shown: %q", name, part, shown)
			}
		}
		if n := js[int](b, `document.querySelectorAll("main img:not(.brand img), main script").length`); n != 0 {
			t.Errorf("%s: %d elements come from texts", name, n)
		}
		if title := js[string](b, "document.title"); !strings.HasSuffix(title, "· OpenKenar") {
			t.Errorf("%s: the title is %q", name, title)
		}
		b.usable()
	}
}

// TestLiveTailUnderLoad: of very many deliveries the page shows some, says so,
// and stays short.
func TestLiveTailUnderLoad(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	b := openTab(t)
	b.open(p.base + "/panel/live?lang=en")
	b.see("#live-rate", "Connected")
	var lines []string
	for i := range 4000 {
		lines = append(lines, fmt.Sprintf(`{"message":{"conversation":%q,"id":"tail-%d","sender":"BUYER","type":"TEXT","text":"hi"}}`, p.dev.ConversationID, i))
	}
	p.batch(lines...)
	b.see("#live-rate", "Busy: this is a sample")
	p.settle()
	b.see("#live li", "sample-app")
	if n := js[int](b, `document.querySelectorAll("#live > li").length`); n > 200 {
		t.Errorf("the page keeps %d rows", n)
	}
	b.click("[data-hold=live]")
	b.see("[data-hold=live]", "Go on")
	js[int](b, `window.words = 0, addEventListener("htmx:sse:before:message", () => window.words++, true), 0`)
	held := js[string](b, `document.querySelector("#live").textContent`)
	p.say("BUYER", "while it is held")
	b.until("the stream tells of it", "window.words > 0")
	if now := js[string](b, `document.querySelector("#live").textContent`); now != held {
		t.Error("a list that is held grew")
	}
}
