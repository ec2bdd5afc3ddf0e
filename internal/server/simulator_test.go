package server_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// example builds and runs an app of the examples as the sample app, and makes
// settings of it, in which ADDRESS stands for where it is.
func (p *platform) example(t *testing.T, name, settings string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "-C", "../../examples", "build", "-o", program, "./"+name)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	address, secrets := freeAddress(t), p.dev.App
	app := exec.CommandContext(t.Context(), program)
	app.Env = append(os.Environ(), "LISTEN="+address, "BASE_URL="+p.base, "REDIRECT_URI=http://"+address+"/oauth/callback",
		"API_KEY="+secrets.APIKey, "IDENTIFICATION_KEY="+secrets.IdentificationKey, "CLIENT_ID="+secrets.Slug, "CLIENT_SECRET="+secrets.ClientSecret)
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Wait() }) // the test's context has ended it
	dialer := net.Dialer{}
	until(t, name+" listens", 10*time.Second, func() bool {
		c, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	p.host("PATCH", "/apps/sample-app", strings.ReplaceAll(settings, "ADDRESS", address)).ok()
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	config := net.ListenConfig{}
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// phones opens the simulator in English.
func (p *platform) phones(t *testing.T) *tab {
	t.Helper()
	b := openTab(t)
	b.open(p.base + "/sim/?lang=en")
	b.see("h1", "Simulator")
	return b
}

// write writes in a phone: place is "buyer-chat", "seller-bot", …
func (b *tab) write(place, text string) {
	b.t.Helper()
	b.fill("#"+place+"-text", text)
	b.click("#" + place + "-send")
}

// crosses waits for an exchange on the wire view, by its type and outcome.
func (b *tab) crosses(kind, outcome string) {
	b.t.Helper()
	b.see("#wire-list .x-line[data-outcome="+outcome+"]", kind)
}

// TestSimulatorPlay: the buyer writes and the webhook is on the wire; the seller
// writes to the example bot, gets its board, and plays on it.
func TestSimulatorPlay(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.example(t, "tictactoe", `{"event_url":"http://ADDRESS/event","dynamic_action_url":"http://ADDRESS/action"}`)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"shop":"velenjak"}}`).ok()
	b := p.phones(t)
	b.write("buyer-chat", "Is it still there?")
	b.see("#seller-talk .bubble .said", "Is it still there?")
	b.see("#buyer-talk .bubble.mine .said", "Is it still there?")
	b.crosses("NEW_MESSAGE", "ok")

	b.click("#seller-tab-bot")
	b.write("seller-bot", "hello")
	b.crosses("NEW_CHATBOT_MESSAGE", "ok")
	b.see("#seller-bot-talk .bubble .said", "Your move")
	b.until("the board has nine buttons", `document.querySelectorAll("#seller-bot-talk .bubble .keys button").length === 9`)
	b.clickOn("#seller-bot-talk .keys button", "⬜")
	b.crosses("DYNAMIC_ACTION", "ok")
	b.see("#seller-said", "Your move")
	b.click("#seller-back")
	b.see("#seller-bot-talk .keys button", "❌")
	b.see("#seller-bot-talk .keys button", "⭕")
	b.gone("#phone-buyer .keys button", "")

	// The call is sent again with a click, and changed.
	b.clickOn("#wire-list summary", "NEW_CHATBOT_MESSAGE")
	b.see("#wire-list details[open] pre", "hello")
	b.clickOn("#wire-list details[open] button", "Redeliver")
	b.until("it is sent again", `[...document.querySelectorAll("#wire-list .x-line[data-outcome=ok]")].filter(e => e.innerText.includes("NEW_CHATBOT_MESSAGE")).length === 2`)
	b.clickOn("#wire-list details[open] button", "Edit and resend")
	b.fill("#wire-list details[open] textarea", "{}")
	b.clickOn("#wire-list details[open] .x-edit button", "Send")
	b.until("what was edited is sent", `document.querySelectorAll("#wire-list .x").length >= 5`)
	b.usable()
}

// TestSimulatorFaults: the world is changed in the drawer, and calls go wrong.
func TestSimulatorFaults(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"POST_UPDATE"}`).ok()
	b := p.phones(t)
	b.click("#drawer-open")
	b.see("#drawer-title", "Change the world")
	b.usable()
	b.choose("#fault", "cut")
	b.click("#fault-add")
	b.see("#drawer-faults li", "")
	b.click("#drawer-close")
	b.write("buyer-chat", "this goes wrong once")
	b.crosses("NEW_MESSAGE", "bad")
	b.click("#drawer-open")
	b.click("#clock-1m")
	b.click("#drawer-close")
	b.crosses("NEW_MESSAGE", "ok")
	b.click("#drawer-open")
	b.click("#post-retire")
	b.see("#drawer-post .chip", "Retired")
	b.click("#post-publish")
	b.see("#drawer-post .chip", "Published")
	b.click("#pay-PENDING")
	b.see("#drawer-payment .chip", "Pending")
	b.click("#pay-COMPLETED")
	b.see("#drawer-payment .chip", "Completed")
	b.click("#drawer-close")
	b.crosses("POST_UPDATE", "ok")
	b.crosses("PAYMENT_TRANSACTION", "ok")
	b.see("#sim-now", "ahead")
}

// TestSimulatorConsent: access is taken away and given again, in the phone.
func TestSimulatorConsent(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.devChange(t, callback(t))
	b := p.phones(t)
	b.click("#drawer-open")
	b.click("#seller-revoke")
	b.see("#drawer-seller", "Nothing is granted")
	b.click("#drawer-close")
	b.crosses("USER_ACCESS_REVOCATION", "ok")
	if a := p.host("GET", "/users/seller/grants", "").ok(); !strings.Contains(a.body, `"grants":[]`) {
		t.Errorf("after the revocation: %s", a.body)
	}
	b.click("#seller-tab-apps")
	b.see("#seller-apps", "granted this app nothing")
	b.click("#seller-consent")
	b.click("#seller-frame >> button[name=user][value=seller]")
	b.see("#seller-frame >> h1", "asks for your permission")
	b.click("#seller-frame >> button[name=decision][value=accept]")
	until(t, "the grant is there", patience, func() bool {
		return strings.Contains(p.host("GET", "/users/seller/grants", "").ok().body, `"app":"sample-app"`)
	})
	b.click("#seller-back")
	b.gone("#seller-frame", "")
	b.see("#seller-apps", "scopes")
}

// TestSimulatorExtension: an app is opened in the phone, and closed by its user
// and by itself.
func TestSimulatorExtension(t *testing.T) {
	t.Parallel()
	p := start(t)
	var opened atomic.Int64
	var back atomic.Value
	var app *httptest.Server
	app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/init":
			var in struct {
				ReturnURL string `json:"return_url"`
			}
			_ = json.NewDecoder(r.Body).Decode(&in)
			back.Store(in.ReturnURL)
			_, _ = fmt.Fprintf(w, `{"url":"%s/app"}`, app.URL)
		case "/app":
			opened.Add(1)
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<!doctype html><title>App</title><style>a { position: fixed; inset: 0 }</style><a href="%s">Done</a>`, back.Load())
		}
	}))
	t.Cleanup(app.Close)
	p.host("PATCH", "/apps/sample-app", `{"session_initialization_url":"`+app.URL+`/init"}`).ok()
	b := p.phones(t)
	b.click("#buyer-tab-apps")
	b.click("#buyer-open-sample-app")
	b.see("#buyer-frame", "")
	b.crosses("SESSION_INITIALIZATION", "ok")
	until(t, "the app is open", patience, func() bool { return opened.Load() == 1 })
	b.usable()
	b.click("#buyer-back")
	b.gone("#buyer-frame", "")
	b.click("#buyer-open-sample-app")
	until(t, "the app is open again", patience, func() bool { return opened.Load() == 2 })
	b.click("#buyer-frame") // its link fills it
	b.gone("#buyer-frame", "")

	p.host("PATCH", "/apps/sample-app", `{"session_initialization_url":"`+app.URL+`/nothing"}`).ok()
	b.click("#buyer-open-sample-app")
	b.see("#buyer-failed", "did not answer as it should")
	b.crosses("SESSION_INITIALIZATION", "bad")
	b.click("#buyer-back")
	b.gone("#buyer-failed", "")
}

// TestSimulatorHostileText: whatever people write is text, on the phones and on
// the wire.
func TestSimulatorHostileText(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	b := p.phones(t)
	texts := hostileTexts()
	texts["as long as they get"] = strings.Repeat("سلام", 1024)
	for name, text := range texts {
		b.write("buyer-chat", text)
		b.until(name+" is shown as text", fmt.Sprintf(`[...document.querySelectorAll("#seller-talk .said")].some(e => e.textContent.trim() === %s)`, quote(spelt(text))))
	}
	b.until("all are on the wire", fmt.Sprintf(`document.querySelectorAll("#wire-list .x-line[data-outcome=ok]").length === %d`, len(texts)))
	for range texts {
		b.click("#wire-list details:not([open]) summary")
	}
	if title := js[string](b, "document.title"); title != "Simulator · OpenKenar" {
		t.Errorf("the title is %q", title)
	}
	if n := js[int](b, `document.querySelectorAll("main img, main script").length`); n != 0 {
		t.Errorf("%d elements come from texts", n)
	}
	b.usable()
}

// spelt is a text as pages show it: what is hidden in it is written out.
func spelt(text string) string {
	return strings.NewReplacer("\u202e", `\u202e`, "\u202c", `\u202c`, "\u2066", `\u2066`).Replace(text)
}
