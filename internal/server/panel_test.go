package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

// person is a browser of somebody who looks at the panel.
type person struct {
	*platform
	t    testing.TB
	jar  http.CookieJar
	lang string
}

func (p *platform) visitor(t testing.TB) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{platform: p, t: t, jar: jar, lang: "en"}
}

// ask makes a request as a browser would; no redirect is followed.
func (b *person) ask(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	header = append([]string{"Cookie: openkenar_lang=" + b.lang}, header...)
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.jar.Cookies(u) {
		header[0] += "; " + c.Name + "=" + c.Value
	}
	body := ""
	if form != nil {
		body = form.Encode()
		header = append(header, "Content-Type: application/x-www-form-urlencoded")
	}
	a, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	a.t = b.t
	b.jar.SetCookies(u, (&http.Response{Header: a.header}).Cookies())
	return a
}

func (b *person) get(path string) answer { b.t.Helper(); return b.ask("GET", path, nil) }

var csrfOf = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// formToken is that of the forms of a page.
func (b *person) formToken(page string) string {
	b.t.Helper()
	m := csrfOf.FindStringSubmatch(b.get(page).ok().body)
	if m == nil {
		b.t.Fatalf("%s has no form", page)
	}
	return m[1]
}

// send sends a form with the token of a page.
func (b *person) send(page, path string, form url.Values) answer {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrf", b.formToken(page))
	return b.ask("POST", path, form)
}

const operatorPassword = "a few words are enough" //nolint:gosec // of accounts that last as long as a test

// signIn signs in.
func (b *person) signIn(name, password string) answer {
	b.t.Helper()
	return b.ask("POST", "/panel/sign-in", url.Values{"name": {name}, "password": {password}})
}

// withSignIn is a platform that others reach, too: there people sign in, and the
// clock can be moved all the same.
func withSignIn(t testing.TB) *platform {
	t.Helper()
	hook := newReceiver(t)
	p := &platform{t: t, data: t.TempDir(), hook: hook}
	p.run(&server.DevOptions{EventURL: hook.url}, func(o *server.Options) { o.Listen = "0.0.0.0:0" })
	p.host("POST", "/operators", `{"name":"ops","password":"`+operatorPassword+`"}`).ok()
	return p
}

func operator(t testing.TB, p *platform) *person {
	t.Helper()
	b := p.visitor(t)
	b.signIn("ops", operatorPassword).want(http.StatusSeeOther)
	return b
}

// developer makes a developer of an app by an invitation.
func developer(t testing.TB, p *platform, name, app string) *person {
	t.Helper()
	ops := operator(t, p)
	page := ops.send("/panel/apps/"+app+"/people", "/panel/apps/"+app+"/invitations", nil).ok().body
	link := regexp.MustCompile(`/panel/invitations/[\w-]+`).FindString(page)
	if link == "" {
		t.Fatalf("no invitation on the page: %s", page)
	}
	b := p.visitor(t)
	b.get(link).ok()
	b.ask("POST", link, url.Values{"name": {name}, "password": {operatorPassword}}).leads("/panel/apps/" + app)
	b.get(link).want(http.StatusNotFound)
	p.visitor(t).ask("POST", link, url.Values{"name": {"second"}, "password": {operatorPassword}}).want(http.StatusNotFound)
	return b
}

// leads fails the test unless the answer leads to a path.
func (a answer) leads(path string) answer {
	a.t.Helper()
	a.want(http.StatusSeeOther)
	if to := a.header.Get("Location"); to != path {
		a.t.Errorf("%s leads to %q, want %q", a.call, to, path)
	}
	return a
}

func TestPanelSignIn(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	b := p.visitor(t)
	b.get("/panel/apps").leads("/panel/sign-in?next=%2Fpanel%2Fapps")
	b.get("/sim/").leads("/panel/sign-in?next=%2Fsim%2F")
	b.get("/panel/sign-in").ok().shows(`name="password"`, `autocomplete="current-password"`)
	for _, wrong := range [][2]string{{"ops", "wrong wrong wrong"}, {"nobody", operatorPassword}, {"", ""}, {"ops\x00", "x"}} {
		if a := b.signIn(wrong[0], wrong[1]); a.status != http.StatusUnauthorized || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: %d, cookie %q", wrong, a.status, a.header.Get("Set-Cookie"))
		}
	}
	for _, next := range []string{"https://evil.test/", "//evil.test/", "/\\evil.test", "/host/v1/apps", "/panel/../host"} {
		b := p.visitor(t)
		b.ask("POST", "/panel/sign-in", url.Values{"name": {"ops"}, "password": {operatorPassword}, "next": {next}}).leads("/panel/")
	}
	a := b.ask("POST", "/panel/sign-in", url.Values{"name": {" OPS "}, "password": {operatorPassword}, "next": {"/panel/audit?after=5"}}).leads("/panel/audit?after=5")
	if c := a.header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || strings.Contains(c, "Secure") {
		t.Errorf("the session's cookie over http: %s", c)
	}
	b.get("/panel/apps").ok().shows("sample-app", "<bdi>ops<")
	b.get("/panel/audit").ok().shows("session.begun", "account.created")
	b.send("/panel/apps/sample-app/keys", "/panel/sign-out", nil).leads("/panel/sign-in")
	b.get("/panel/apps").want(http.StatusSeeOther)
}

func TestPanelCookieOverHTTPS(t *testing.T) {
	t.Parallel()
	p := &platform{t: t, data: t.TempDir(), hook: newReceiver(t)}
	p.run(&server.DevOptions{}, func(o *server.Options) { o.Listen, o.PublicURL = "0.0.0.0:0", "https://kenar.test" })
	p.host("POST", "/operators", `{"name":"ops","password":"`+operatorPassword+`"}`).ok()
	c := p.visitor(t).signIn("ops", operatorPassword).want(http.StatusSeeOther).header.Get("Set-Cookie")
	for _, want := range []string{"__Host-", "Secure", "HttpOnly", "Path=/", "SameSite=Lax"} {
		if !strings.Contains(c, want) || strings.Contains(c, "Domain") {
			t.Errorf("the cookie %q lacks %s, or has a domain", c, want)
		}
	}
}

func TestPanelSessionsExpire(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	b := operator(t, p)
	p.advance("7h59m")
	b.get("/panel/apps").ok() // which is a use
	p.advance("7h59m")
	b.get("/panel/apps").ok()
	p.advance("8h")
	b.get("/panel/apps").leads("/panel/sign-in?next=%2Fpanel%2Fapps")
	if a := b.ask("GET", "/panel/apps", nil, "HX-Request: true"); a.status != http.StatusUnauthorized || a.header.Get("HX-Redirect") == "" {
		t.Errorf("a part of a page: %d, leads to %q", a.status, a.header.Get("HX-Redirect"))
	}
	b = operator(t, p)
	token := b.formToken("/panel/apps/sample-app/keys")
	for range 7*24/7 - 1 {
		p.advance("7h")
		b.get("/panel/apps").ok()
	}
	p.advance("7h") // a week, used all the time
	a := b.ask("POST", "/panel/apps/sample-app/keys", url.Values{"csrf": {token}, "title": {"late"}}).want(http.StatusUnauthorized)
	a.shows("no longer signed in")
	if keys := p.host("GET", "/apps/sample-app/keys", "").ok().body; strings.Contains(keys, "late") {
		t.Error("a session that has expired made a key")
	}
}

func TestPanelThrottlesGuessing(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	p.host("POST", "/operators", `{"name":"other","password":"`+operatorPassword+`"}`).ok()
	b := p.visitor(t)
	for range 10 {
		b.signIn("ops", "wrong wrong wrong").want(http.StatusUnauthorized)
	}
	a := b.signIn("ops", operatorPassword).want(http.StatusTooManyRequests)
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	b.signIn("other", operatorPassword).want(http.StatusSeeOther) // by name
	p.advance("30s")
	b.signIn("ops", operatorPassword).want(http.StatusSeeOther)
	refused := false
	for n := 0; n < 120 && !refused; n++ { // by address
		refused = b.signIn(fmt.Sprintf("guess-%d", n), "wrong wrong wrong").status == http.StatusTooManyRequests
	}
	if !refused {
		t.Error("an address may guess names without end")
	}
}

func TestPanelRefusesForgedForms(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	b := operator(t, p)
	token := b.formToken("/panel/apps/sample-app/keys")
	const path = "/panel/apps/sample-app/keys"
	for name, try := range map[string]func() answer{
		"no token":      func() answer { return b.ask("POST", path, url.Values{"title": {"forged"}}) },
		"another token": func() answer { return b.ask("POST", path, url.Values{"title": {"forged"}, "csrf": {token + "x"}}) },
		"another header": func() answer {
			return b.ask("POST", path, url.Values{"title": {"forged"}, "csrf": {token}}, "X-CSRF-Token: x")
		},
		"cross site": func() answer {
			return b.ask("POST", path, url.Values{"title": {"forged"}, "csrf": {token}}, "Sec-Fetch-Site: cross-site")
		},
		"same site": func() answer {
			return b.ask("POST", path, url.Values{"title": {"forged"}, "csrf": {token}}, "Sec-Fetch-Site: same-site")
		},
		"another origin": func() answer {
			return b.ask("POST", path, url.Values{"title": {"forged"}, "csrf": {token}}, "Origin: https://evil.test")
		},
		"sign-in from elsewhere": func() answer {
			return p.visitor(t).ask("POST", "/panel/sign-in", url.Values{"name": {"ops"}, "password": {operatorPassword}}, "Sec-Fetch-Site: cross-site")
		},
		"sign-out from elsewhere": func() answer { return b.ask("POST", "/panel/sign-out", url.Values{}) },
	} {
		if a := try(); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if keys := p.host("GET", "/apps/sample-app/keys", "").ok().body; strings.Contains(keys, "forged") {
		t.Error("a forged form made a key")
	}
	b.ask("POST", path, url.Values{"title": {"mine"}, "permissions": {"GET_POST"}}, "X-CSRF-Token: "+token).ok().shows("okk_") // as htmx sends it
}

// TestPanelOpenToThisMachineOnly: where nobody signs in, a page of another site
// whose name leads here is refused, and so is a form without the token.
func TestPanelOpenToThisMachineOnly(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.visitor(t)
	b.get("/panel/apps").ok()
	for _, host := range []string{"evil.test", "127.0.0.1.evil.test", "localhost.evil.test:7700", "10.0.0.1"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+"/panel/apps", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("Host: %s: %d, %v", host, resp.StatusCode, err)
		}
	}
	b.ask("POST", "/panel/apps/sample-app/client-secret", url.Values{}).want(http.StatusForbidden)
	serve := &platform{t: t, data: t.TempDir()}
	srv, err := server.New(t.Context(), server.Options{Listen: "127.0.0.1:0", Data: serve.data, HostKeys: []string{"0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	serve.srv = srv
	t.Cleanup(serve.stop)
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	serve.base = "http://" + srv.Addr()
	served := serve.visitor(t)
	served.get("/panel/apps").leads("/panel/sign-in?next=%2Fpanel%2Fapps")
	if a := served.get("/sim/"); a.status != http.StatusNotFound {
		t.Errorf("the simulator in serve mode: %d", a.status)
	}
}

// TestPanelDeveloperSeesOwnAppsOnly asks for everything of another's app.
func TestPanelDeveloperSeesOwnAppsOnly(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	p.host("POST", "/apps", `{"slug":"mine","display":"Mine","permissions":["GET_POST"],"per_minute":5}`).ok()
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	id := p.say("BUYER", "hi")
	p.settle()
	b := developer(t, p, "sara", "mine")
	b.get("/panel/apps").ok().shows("Mine")
	if body := b.get("/panel/apps").body; strings.Contains(body, "sample-app") || strings.Contains(body, "/panel/engine") {
		t.Error("a developer's list shows another's app, or the pages of operators")
	}
	for _, page := range []string{"", "/settings", "/keys", "/deliveries", "/live", "/subscriptions", "/grants", "/people", "/audit"} {
		b.get("/panel/apps/mine" + page).ok()
		b.get("/panel/apps/sample-app" + page).want(http.StatusNotFound)
	}
	delivery := "/panel/deliveries/" + id + "-sample-app"
	for _, page := range []string{
		delivery, "/panel/events/" + id, "/panel/deliveries?app=sample-app", "/panel/live?app=sample-app", "/panel/live/stream?app=sample-app",
		"/panel/redeliveries?app=sample-app", "/panel/engine", "/panel/people", "/panel/new-app", "/panel/apps/nobody",
	} {
		b.get(page).want(http.StatusNotFound)
	}
	before := p.host("GET", "/apps/sample-app", "").ok().body
	token := b.formToken("/panel/apps/mine/keys")
	for _, path := range []string{
		"/panel/apps/sample-app/settings", "/panel/apps/sample-app/check?field=display", "/panel/apps/sample-app/keys",
		"/panel/apps/sample-app/keys/1/revoke", "/panel/apps/sample-app/client-secret", "/panel/apps/sample-app/signing-secrets",
		"/panel/apps/sample-app/test/event", "/panel/apps/sample-app/grants/revoke", "/panel/apps/sample-app/invitations",
		"/panel/apps/sample-app/people/sara/remove", delivery + "/redeliver", "/panel/redeliver", "/panel/redeliveries", "/panel/new-app",
		"/panel/people/ops/end", "/panel/apps/mine/invitations", "/panel/apps/mine/people/sara/remove", "/panel/apps/mine/grants/revoke",
	} {
		form := url.Values{"csrf": {token}, "id": {id + "-sample-app"}, "app": {"sample-app"}, "state": {"delivered"}, "send": {"1"}, "user": {"seller"}, "slug": {"new"}}
		b.ask("POST", path, form).want(http.StatusNotFound)
	}
	if after := p.host("GET", "/apps/sample-app", "").ok().body; after != before {
		t.Errorf("another's app was changed: %s, before %s", after, before)
	}
	// What the platform allows is not a developer's to change.
	b.send("/panel/apps/mine/settings", "/panel/apps/mine/settings", url.Values{
		"display": {"Still mine"}, "per_minute": {"1000000"}, "status": {"PRODUCTION"}, "permissions": {"CHAT_BOT_SEND_MESSAGE"},
	}).leads("/panel/apps/mine/settings?saved")
	var app struct {
		Display, Status string
		PerMinute       int64 `json:"per_minute"`
		Permissions     []string
	}
	p.host("GET", "/apps/mine", "").ok().into(&app)
	if app.Display != "Still mine" || app.Status != "DEVELOPMENT" || app.PerMinute != 5 || !slices.Equal(app.Permissions, []string{"GET_POST"}) {
		t.Errorf("the app is %+v", app)
	}
	b.get("/panel/apps/mine/audit").ok().shows("sara", "display", "account.joined")
	ops := operator(t, p)
	ops.send("/panel/apps/mine/people", "/panel/apps/mine/people/sara/remove", nil).want(http.StatusSeeOther)
	b.get("/panel/apps/mine").want(http.StatusNotFound)
	ops.send("/panel/apps/mine/people", "/panel/people/sara/end", nil).want(http.StatusSeeOther)
	b.get("/panel/apps").want(http.StatusSeeOther)
}

func TestPanelPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	b, elsewhere := operator(t, p), operator(t, p)
	change := func(present, password string) answer {
		return b.send("/panel/account", "/panel/account", url.Values{"present": {present}, "password": {password}})
	}
	change("wrong wrong wrong", "another few words").want(http.StatusForbidden)
	change(operatorPassword, "short").want(http.StatusBadRequest)
	elsewhere.get("/panel/apps").ok()
	change(operatorPassword, "another few words").leads("/panel/")
	b.get("/panel/apps").ok()
	elsewhere.get("/panel/apps").want(http.StatusSeeOther)
	p.visitor(t).signIn("ops", operatorPassword).want(http.StatusUnauthorized)
	p.host("PUT", "/operators/ops/password", `{"password":"by the command line"}`).ok()
	b.get("/panel/apps").want(http.StatusSeeOther)
	p.visitor(t).signIn("ops", "by the command line").want(http.StatusSeeOther)
}

// hostile is what must be shown as text, wherever it is shown.
const hostile = `<script>alert(1)</script><img src=x onerror=alert(2)>"'</title></textarea></style>` + "\u202egnp.exe\u2066"

// asIs are the places where a text stands as it is, to be changed or copied.
var asIs = regexp.MustCompile(`(?s)(value|data-copy)="[^"]*"|<textarea.*?</textarea>`)

// panelPages are all pages that a platform has, with a delivery to look at.
func panelPages(event string) []string {
	pages := []string{
		"/panel/apps", "/panel/new-app", "/panel/deliveries", "/panel/deliveries?state=pending&type=NEW_MESSAGE_ON_POST&user=buyer&post=gZd7omnS",
		"/panel/deliveries?user=nobody", "/panel/deliveries?from=2020-01-01T00:00&to=2090-01-01T00:00", "/panel/deliveries/" + event + "-sample-app",
		"/panel/events/" + event, "/panel/redeliveries", "/panel/live", "/panel/audit", "/panel/engine", "/panel/people", "/panel/account",
		"/panel/apps/sample-app?over=1h",
	}
	for _, page := range []string{"", "/settings", "/keys", "/deliveries", "/live", "/subscriptions", "/grants", "/people", "/audit"} {
		pages = append(pages, "/panel/apps/sample-app"+page)
	}
	return pages
}

func TestPanelShowsWhatIsStoredAsText(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	ops := operator(t, p)
	metadata, err := json.Marshal(map[string]string{"k": hostile})
	if err != nil {
		t.Fatal(err)
	}
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":`+string(metadata)+`}`).ok()
	settings, err := json.Marshal(map[string]any{
		"display": hostile, "subtitle": hostile, "description": hostile, "avatar": hostile, "service_type": hostile,
		"cities": []string{hostile}, "categories": []string{hostile},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.host("PATCH", "/apps/sample-app", string(settings)).ok()
	key, err := json.Marshal(map[string]any{"title": hostile, "permissions": []string{"GET_POST"}})
	if err != nil {
		t.Fatal(err)
	}
	p.host("POST", "/apps/sample-app/keys", string(key)).ok()
	p.hook.respond(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(hostile))
	})
	text := hostile + strings.Repeat("م", 4096-len([]rune(hostile)))
	id := p.say("BUYER", text)
	p.settle()
	other := p.say("BUYER", hostile)
	p.settle()
	for _, lang := range []string{"fa", "en"} {
		ops.lang = lang
		for _, page := range append(panelPages(id), panelPages(other)...) {
			a := ops.get(page).ok()
			if !strings.Contains(a.body, `<html lang="`+lang+`"`) || !strings.Contains(a.body, map[string]string{"fa": `dir="rtl"`, "en": `dir="ltr"`}[lang]) {
				t.Errorf("%s is not in %s", page, lang)
			}
			for _, bad := range []string{"<script>alert", "<img src=x", " style=", "javascript:"} {
				if strings.Contains(a.body, bad) {
					t.Errorf("%s in %s has %q", page, lang, bad)
				}
			}
			if strings.ContainsAny(asIs.ReplaceAllString(a.body, ""), "\u202e\u2066") {
				t.Errorf("%s in %s has characters that turn others around", page, lang)
			}
			if scripts := regexp.MustCompile(`<script[^>]*>`).FindAllString(a.body, -1); slices.ContainsFunc(scripts, func(s string) bool { return !strings.Contains(s, `src="/panel/assets/`) }) {
				t.Errorf("%s has a script of its own: %q", page, scripts)
			}
			csp := a.header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'"} {
				if !strings.Contains(csp, want) || strings.Contains(csp, "unsafe") {
					t.Errorf("%s: policy %q", page, csp)
				}
			}
		}
	}
	ops.lang = "en"
	a := ops.get("/panel/deliveries/" + id + "-sample-app").ok()
	a.shows("&lt;script&gt;alert(1)&lt;/script&gt;", `\u202egnp.exe\u2066`, strings.Repeat("م", 2000), "&lt;img src=x")
	ops.get("/panel/apps/sample-app/subscriptions").ok().shows(`\u003cscript\u003ealert(1)`)
}

func TestPanelAssets(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.visitor(t)
	page := b.get("/panel/apps").ok().body
	paths := regexp.MustCompile(`/panel/assets/[\w.-]+`).FindAllString(page, -1)
	style := ""
	for _, path := range paths {
		a := b.get(path).ok()
		if c := a.header.Get("Cache-Control"); !strings.Contains(c, "immutable") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %q", path, c)
		}
		if strings.HasSuffix(path, ".css") {
			style = a.body
		}
	}
	font := regexp.MustCompile(`/panel/assets/vazirmatn\.\w+\.woff2`).FindString(style)
	b.get(font).ok()
	b.get("/panel/assets/style.0000000000000000.css").want(http.StatusNotFound)
	if strings.Contains(style, "//") || regexp.MustCompile(`(src|href)="(\w+:|//)`).MatchString(page) {
		t.Error("a page or the stylesheet names another host")
	}
	if a := b.get("/panel/apps?theme=dark&lang=fa"); a.status != http.StatusSeeOther || a.header.Get("Location") != "/panel/apps" {
		t.Errorf("a choice leads to %d %s", a.status, a.header.Get("Location"))
	}
	b.get("/panel/apps").ok().shows(`data-theme="dark"`)
}

func TestPanelManagesAnApp(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	b := operator(t, p)
	check := func(field, value, want string) {
		t.Helper()
		a := b.send("/panel/new-app", "/panel/new-app/check?field="+field, url.Values{field: {value}}).ok()
		if strings.Contains(a.body, "<html") || !strings.Contains(a.body, `id="`+field+`-problem"`) || (want == "") != strings.Contains(a.body, `dir="auto"></p>`) || !strings.Contains(a.body, want) {
			t.Errorf("%s %q: %s", field, value, a.body)
		}
	}
	check("event_url", "ftp://x.test/", "event_url")
	check("event_url", "https://shop.test/hook", "")
	check("event_url", "", "")
	check("redirect_uris", "https://shop.test/\nnot a URI", "redirect_uris[1]")
	check("identification_key", "سلام", "identification_key")
	check("per_minute", "many", "per_minute")
	check("per_minute", "۱۲۰", "")
	check("slug", "Not A Slug", "slug")
	b.send("/panel/new-app", "/panel/new-app", url.Values{"slug": {"shop"}, "event_url": {"nowhere"}, "per_minute": {"1"}, "per_day": {"x"}, "status": {"DEVELOPMENT"}}).
		want(http.StatusBadRequest).shows("event_url", "per_day", `value="nowhere"`, `value="shop"`)
	b.send("/panel/new-app", "/panel/new-app", url.Values{
		"slug": {"shop"}, "display": {"Shop"}, "event_url": {p.hook.url}, "per_minute": {"100"}, "per_day": {"0"}, "status": {"PRODUCTION"},
		"permissions": {"GET_POST", "USER_RETRIEVE"}, "oauth_scopes": {"USER_ID"}, "touchpoint": {"CHAT", ""}, "touchpoint_action": {"START_CHAT_BOT", "LOAD_WEBVIEW_SERVER_LINK"},
		"cities": {"tehran\r\n\r\nshiraz "}, "hear_own_messages": {"on"},
	}).leads("/panel/apps/shop/keys")
	var app struct {
		Display, Status string
		Cities          []string
		Touchpoints     []struct{ Touchpoint, Action string }
		PerDay          int64 `json:"per_day"`
		HearOwn         bool  `json:"hear_own_messages"`
	}
	p.host("GET", "/apps/shop", "").ok().into(&app)
	if app.Display != "Shop" || app.Status != "PRODUCTION" || !slices.Equal(app.Cities, []string{"tehran", "shiraz"}) || len(app.Touchpoints) != 1 ||
		app.Touchpoints[0].Action != "START_CHAT_BOT" || app.PerDay != 0 || !app.HearOwn {
		t.Errorf("the app is %+v", app)
	}
	page := b.send("/panel/apps/shop/keys", "/panel/apps/shop/keys", url.Values{"title": {"till"}, "permissions": {"GET_POST"}}).ok()
	key := regexp.MustCompile(`okk_[\w-]{30,}`).FindString(page.body)
	if key == "" {
		t.Fatalf("no key is shown: %s", page.body)
	}
	if strings.Contains(b.get("/panel/apps/shop/keys").ok().shows("till").body, key) {
		t.Error("the key is shown again")
	}
	p.do("GET", "/v1/open-platform/finder/post/gZd7omnS", "", "X-API-Key: "+key).ok()
	number := regexp.MustCompile(`id="key-(\d+)"`).FindStringSubmatch(page.body)[1]
	b.send("/panel/apps/shop/keys", "/panel/apps/shop/keys/"+number+"/revoke", nil).want(http.StatusSeeOther)
	p.do("GET", "/v1/open-platform/finder/post/gZd7omnS", "", "X-API-Key: "+key).refused(401, 16)
	b.send("/panel/apps/shop/keys", "/panel/apps/shop/keys", url.Values{"title": {"x"}, "permissions": {"EVENTS_SEND"}}).want(http.StatusBadRequest).shows("the app itself lacks EVENTS_SEND")
	b.send("/panel/apps/shop/keys", "/panel/apps/shop/client-secret", nil).ok().shows("oks_")
	b.send("/panel/apps/shop/keys", "/panel/apps/shop/signing-secrets", url.Values{"overlap": {"1h0m0s"}}).want(http.StatusSeeOther)
	if n := strings.Count(b.get("/panel/apps/shop/keys").ok().body, "whsec_") / 2; n != 2 {
		t.Errorf("%d signing secrets, want the new one and the old one", n)
	}
	b.send("/panel/apps/shop/keys", "/panel/apps/shop/signing-secrets", url.Values{"overlap": {"5s"}}).want(http.StatusBadRequest)
	a := b.ask("POST", "/panel/apps/shop/test/event", url.Values{"csrf": {b.formToken("/panel/apps/shop")}}, "HX-Request: true").ok()
	if a.shows("Status 200"); strings.Contains(a.body, "<html") {
		t.Error("htmx gets a whole page")
	}
	b.send("/panel/apps/shop", "/panel/apps/shop/test/session", nil).ok().shows("session_initialization_url")
	p.hook.respond(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"url":"https://shop.test/"}`)) })
	p.host("PATCH", "/apps/shop", `{"session_initialization_url":"`+p.hook.url+`","dynamic_action_url":"`+p.hook.url+`"}`).ok()
	b.send("/panel/apps/shop", "/panel/apps/shop/test/session", nil).ok().shows("The answer is as it should be")
	b.send("/panel/apps/shop", "/panel/apps/shop/test/action", nil).ok().shows("neither an action nor a text_message")
	b.get("/panel/audit").ok().shows("app.created", "key.created", "key.revoked", "client_secret.made", "signing_secret.made", "app.changed")
	b.get("/panel/apps/shop/audit").ok().shows("session_initialization_url", "host API", "ops")
}

func TestPanelRedelivers(t *testing.T) {
	t.Parallel()
	p := withSignIn(t)
	b := operator(t, p)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	var ids []string
	for range 3 {
		ids = append(ids, p.say("BUYER", "hi")+"-sample-app")
	}
	p.settle()
	p.hook.take()
	b.send("/panel/deliveries/"+ids[0], "/panel/deliveries/"+ids[0]+"/redeliver", nil).leads("/panel/deliveries/" + ids[0])
	p.settle()
	if got := p.hook.take(); len(got) != 1 || got[0].header.Get("Webhook-Id") != ids[0] {
		t.Errorf("one was sent again, %d arrived", len(got))
	}
	b.get("/panel/deliveries/"+ids[0]).ok().shows("attempt-2", "attempt-1", "redelivered by hand")
	b.send("/panel/deliveries", "/panel/redeliver", url.Values{"id": ids[1:], "back": {"/panel/deliveries?state=delivered"}}).
		leads("/panel/deliveries?redelivered=2&state=delivered")
	p.settle()
	if got := p.hook.take(); len(got) != 2 {
		t.Errorf("two were chosen, %d arrived", len(got))
	}
	b.send("/panel/redeliveries", "/panel/redeliveries", url.Values{"app": {"sample-app"}, "state": {"delivered"}, "count": {"1"}}).ok().shows("A dry run", ">3 ")
	p.none()
	b.send("/panel/redeliveries", "/panel/redeliveries", url.Values{"app": {"sample-app"}, "state": {"delivered"}, "send": {"1"}}).ok().shows("Begun")
	arrived := 0
	until(t, "all three are sent again", 10*time.Second, func() bool {
		p.settle()
		arrived += len(p.hook.take())
		return arrived == 3 && strings.Count(p.host("GET", "/deliveries?app=sample-app", "").body, `"attempts":3`) == 3
	})
	b.send("/panel/redeliveries", "/panel/redeliveries", url.Values{"app": {"nobody"}, "state": {"delivered"}, "count": {"1"}}).want(http.StatusNotFound)
	b.send("/panel/redeliveries", "/panel/redeliveries", url.Values{"state": {"delivered"}, "from": {"yesterday"}, "count": {"1"}}).want(http.StatusBadRequest)
	b.get("/panel/audit").ok().shows("delivery.redelivered", "deliveries.redelivered", ids[0])
}

// TestPanelPagesDeliveries goes through 10,000 of them by the links of the pages.
func TestPanelPagesDeliveries(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	const all = 10_000
	var lines strings.Builder
	for n := range all {
		fmt.Fprintf(&lines, `{"message":{"conversation":"%s","id":"m-%d","sender":"BUYER","type":"TEXT","text":"hi"}}`+"\n", p.dev.ConversationID, n)
	}
	p.do("POST", "/host/v1/batch", lines.String(), "Authorization: Bearer "+p.dev.HostKey, "Content-Type: application/x-ndjson").ok()
	b := p.visitor(t)
	rows := regexp.MustCompile(`<tr id="delivery-([^"]+)"`)
	link := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	for _, first := range []string{"/panel/deliveries", "/panel/apps/sample-app/deliveries?type=NEW_MESSAGE_ON_POST&post=gZd7omnS&user=buyer"} {
		seen := map[string]bool{}
		worst := time.Duration(0)
		for path, n := first, 0; path != "" && n <= all/100+10; n++ {
			began := time.Now()
			body := b.get(path).ok().body
			worst = max(worst, time.Since(began))
			for _, m := range rows.FindAllStringSubmatch(body, -1) {
				if seen[m[1]] {
					t.Fatalf("%s is there twice", m[1])
				}
				seen[m[1]] = true
			}
			path = ""
			if m := link.FindStringSubmatch(body); m != nil {
				path = strings.ReplaceAll(m[1], "&amp;", "&")
			}
		}
		if len(seen) != all {
			t.Errorf("%s: %d deliveries on the pages, want %d", first, len(seen), all)
		}
		t.Logf("%s: the slowest page took %s", first, worst)
	}
}

func TestPanelLiveTail(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+"/panel/live/stream?app=sample-app", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "openkenar_lang=en")
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	words := bufio.NewScanner(resp.Body)
	next := func() string {
		t.Helper()
		for words.Scan() {
			if line, ok := strings.CutPrefix(words.Text(), "data: "); ok {
				return line
			}
		}
		t.Fatalf("the stream ended: %v", words.Err())
		return ""
	}
	if first := next(); !strings.Contains(first, "Connected") {
		t.Errorf("at first it says %s", first)
	}
	id := p.say("BUYER", "hi")
	if row := next(); !strings.Contains(row, id+"-sample-app") || !strings.Contains(row, "200") {
		t.Errorf("then it says %s", row)
	}
	// More at once than fits: it says how much was left out.
	var lines strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&lines, `{"message":{"conversation":"%s","id":"m-%d","sender":"BUYER","type":"TEXT","text":"hi"}}`+"\n", p.dev.ConversationID, n)
	}
	p.do("POST", "/host/v1/batch", lines.String(), "Authorization: Bearer "+p.dev.HostKey, "Content-Type: application/x-ndjson").ok()
	for said := ""; !strings.Contains(said, "this is a sample"); {
		said = next()
	}
	p.stop() // the stream does not hold the server
}
