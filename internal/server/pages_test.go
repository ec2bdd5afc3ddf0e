package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// callback is an app's redirect URI: a page that shows what it was sent.
func callback(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path != "/callback" {
			return
		}
		_, _ = w.Write([]byte(`<!doctype html><html lang="en" dir="ltr"><title>App</title><h1>Welcome back</h1>`))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/callback"
}

// TestConsentPages plays login and consent as people do, in both languages.
func TestConsentPages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, lang, heading, decision, want string }{
		{"accept in Persian", "fa", "از شما اجازه می‌خواهد", "accept", "code"},
		{"deny in Persian", "fa", "از شما اجازه می‌خواهد", "deny", "error"},
		{"accept in English", "en", "asks for your permission", "accept", "code"},
		{"deny in English", "en", "asks for your permission", "deny", "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.devChange(t, callback(t))
			b := openTab(t)
			b.speak(c.lang)
			b.open(p.config("USER_ID", "CHAT_POST_CONVERSATIONS_READ."+p.dev.PostToken).AuthCodeURL("the state"))
			b.see("h1", "")
			b.usable()
			b.follow(`button[name=user][value=seller]`)
			b.see("h1", c.heading)
			b.usable()
			b.see("li", "دوچرخه شهری")
			b.follow(`button[name=decision][value=` + c.decision + `]`)
			b.see("h1", "Welcome back")
			back, err := url.Parse(js[string](b, "location.href"))
			if err != nil {
				t.Fatal(err)
			}
			if q := back.Query(); q.Get(c.want) == "" || q.Get("state") != "the state" {
				t.Errorf("back at the app with %s, want %s and the state", back, c.want)
			}
		})
	}
}

// TestProblemPage shows a request that nobody can be sent back with.
func TestProblemPage(t *testing.T) {
	t.Parallel()
	p := start(t)
	for lang, heading := range map[string]string{"fa": "این درخواست پذیرفته نشد", "en": "This request was refused"} {
		b := openTab(t)
		b.speak(lang)
		b.status(p.base+"/oauth2/auth?response_type=code&client_id=nobody&state=x", http.StatusBadRequest)
		b.see("h1", heading)
		b.usable()
	}
}

// hostileTexts are what strangers store, to be shown as it is.
func hostileTexts() map[string]string {
	return map[string]string{
		"a script":     `<script>document.title = "broken in"</script>`,
		"a handler":    `"><img src=x onerror="document.title = 'broken in'">`,
		"an override":  "\u202egnp.exe\u202c and \u2066more",
		"no spaces":    strings.Repeat("a", 150),
		"half a tag":   `</main></body><!-- <textarea>`,
		"other script": "سلام world שלום",
	}
}

// TestConsentToHostileNames: what an app and a user call things is text.
func TestConsentToHostileNames(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.devChange(t, callback(t))
	b := openTab(t)
	for name, text := range hostileTexts() {
		in, _ := json.Marshal(map[string]string{"display": strings.TrimSpace(text[:min(len(text), 60)])})
		p.host("PATCH", "/apps/sample-app", string(in)).ok()
		in, _ = json.Marshal(map[string]any{"owner": "seller", "title": text, "state": "PUBLISHED", "category": "bicycle", "city": "tehran", "chat_enabled": true})
		p.host("PUT", "/posts/"+p.dev.PostToken, string(in)).ok()
		b.open(p.config("CHAT_POST_CONVERSATIONS_READ." + p.dev.PostToken).AuthCodeURL("s"))
		b.follow("button[value=seller]")
		b.see("li .about", "")
		if shown := js[string](b, `document.querySelector("li .about bdi").textContent`); shown != text {
			t.Errorf("%s: the page shows %q", name, shown)
		}
		if title := js[string](b, "document.title"); title != "اجازهٔ دسترسی" && title != "Access" {
			t.Errorf("%s: the title is %q", name, title)
		}
		b.usable()
	}
}

// devChange gives the sample app a redirect URI.
func (p *platform) devChange(t *testing.T, redirect string) {
	t.Helper()
	p.host("PATCH", "/apps/sample-app", `{"redirect_uris":["`+redirect+`"]}`).ok()
	p.dev.App.RedirectURI = redirect
}
