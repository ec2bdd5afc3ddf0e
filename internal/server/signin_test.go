package server_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// asksToSignIn is a platform whose panel asks people to sign in, at an address
// of this machine.
func asksToSignIn(t *testing.T) *platform {
	t.Helper()
	p := withSignIn(t)
	_, port, err := net.SplitHostPort(p.srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p.base = "http://127.0.0.1:" + port
	return p
}

// signIn fills in the page of signing in and sends it.
func (b *tab) signIn(name, password string) {
	b.t.Helper()
	b.fill("#name", name)
	b.fill("#password", password)
	b.follow("main form button.main")
}

// TestSignIn: who is not signed in sees nothing, wrong passwords let nobody in,
// sessions end, and nobody else's page does anything with one.
func TestSignIn(t *testing.T) {
	t.Parallel()
	p := asksToSignIn(t)
	b := openTab(t)
	b.tolerate("status of 401")
	b.open(p.base + "/panel/apps?lang=en")
	b.see("h1", "Sign in to the panel")
	b.usable()
	b.signIn("ops", "a wrong password")
	b.see(".notice", "The name or the password is wrong")
	b.usable()
	b.signIn("nobody", operatorPassword)
	b.see(".notice", "The name or the password is wrong")
	b.open(p.base + "/panel/apps")
	b.see("h1", "Sign in")
	b.signIn("ops", operatorPassword)
	b.see("h1", "Apps")
	b.see("td", "sample-app")

	// Forms of other sites, which the browser sends with the cookie (another
	// port is the same site) or without.
	for _, host := range []string{"127.0.0.1", "localhost"} {
		evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<!doctype html><title>x</title><form method=post action="%s/panel/sign-out"><button>Win a prize</button></form>`, p.base)
		}))
		b.tolerate("status of 403")
		b.open(strings.Replace(evil.URL, "127.0.0.1", host, 1))
		b.follow("button")
		b.see("main", "sent from another site")
		evil.Close()
		b.open(p.base + "/panel/apps")
		b.see("h1", "Apps")
	}
	// A page of ours whose token is of another session.
	js[*struct{}](b, `document.querySelectorAll("form[action='/panel/sign-out'] input[name=csrf]").forEach(i => { i.value = "of-another-session" }), null`)
	b.follow("form[action='/panel/sign-out'] button")
	b.see("h1", "Not allowed")

	p.advance("8h30m")
	b.open(p.base + "/panel/apps")
	b.see("h1", "Sign in")
	b.signIn("ops", operatorPassword)
	b.see("h1", "Apps")
	b.follow("form[action='/panel/sign-out'] button")
	b.see("h1", "Sign in")
	b.open(p.base + "/panel/apps")
	b.see("h1", "Sign in")
}

// TestDeveloper: who was invited to an app sees that, and no other.
func TestDeveloper(t *testing.T) {
	t.Parallel()
	p := asksToSignIn(t)
	p.host("POST", "/apps", `{"slug":"other-app","display":"Other app","event_url":"`+p.hook.url+`"}`).ok()
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	event := p.say("BUYER", "hello")
	p.settle()
	ops, b := openTab(t), openTab(t)
	ops.open(p.base + "/panel/apps/other-app/people?lang=en")
	ops.signIn("ops", operatorPassword)
	ops.follow("form[action$='/invitations'] button")
	_, path, _ := strings.Cut(ops.text("[data-secret]"), "/panel/")
	b.open(p.base + "/panel/" + path + "?lang=en")
	b.fill("#name", "sara")
	b.fill("#password", "short")
	b.tolerate("status of 400")
	b.follow("main form button.main")
	b.see(".notice", "12")
	b.fill("#password", operatorPassword)
	b.follow("main form button.main")
	b.see("h1", "Other app")
	b.followOn(".side nav a", "Apps")
	b.see("td", "other-app")
	b.gone("td", "sample-app")
	b.gone(".side nav a", "Engine")
	for _, path := range []string{
		"/panel/apps/sample-app", "/panel/apps/sample-app/settings", "/panel/apps/sample-app/keys", "/panel/deliveries/" + event + "-sample-app",
		"/panel/engine", "/panel/people", "/panel/new-app",
	} {
		b.status(p.base+path, http.StatusNotFound)
		b.see("h1", "Not found")
	}
	b.open(p.base + "/panel/deliveries")
	b.see("main .empty", "")
	b.gone("main", "sample-app")
	b.open(p.base + "/panel/live")
	p.say("BUYER", "hello again")
	p.host("POST", "/apps/other-app/test-event", "").ok()
	b.see("#live li", "other-app")
	b.gone("#live li", "sample-app")
}
